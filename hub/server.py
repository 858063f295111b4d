"""A small server that speaks the Hugging Face Hub protocol for the models and the data sets of a depot.

Stock clients work unchanged. Since 1.20 they use Xet for whatever a server wants sent as LFS, so they are asked
to send everything inline; cellzoo itself sends large files by LFS, which streams.
"""

from __future__ import annotations

import hmac
import secrets
import tempfile
import time
from collections.abc import Callable, Mapping
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cellzoo.errors import InputError, IntegrityError, NotFoundError
from cellzoo.hub import reading, writing
from cellzoo.hub.call import Call, Refusal, User, sign
from cellzoo.hub.depot import CHUNK, Depot, HeadMovedError

__all__ = ["User", "create_app"]

ANONYMOUS_BODY = 1 << 20
USER_BODY = 8 << 30
ROUTES: dict[str, Callable[..., Response]] = {
    "GET api/whoami-v2": reading.whoami,
    "POST api/validate-yaml": reading.validate_yaml,
    "GET api/models": reading.models,
    "GET api/models/REPO": reading.model,
    "GET api/models/REPO/revision/REVISION": reading.model,
    "GET api/models/REPO/tree/REVISION": reading.tree,
    "GET api/models/REPO/tree/REVISION/PATH": reading.tree,
    "POST api/models/REPO/paths-info/REVISION": reading.paths_info,
    "GET api/models/REPO/refs": reading.refs,
    "GET api/models/REPO/commits/REVISION": reading.commits,
    "GET REPO/resolve/REVISION/PATH": reading.resolve,
    "GET REPO/raw/REVISION/PATH": reading.resolve,
    "POST api/repos/create": writing.create,
    "POST api/models/REPO/preupload/BRANCH": writing.preupload,
    "POST api/models/REPO/commit/BRANCH": writing.commit,
    "POST api/models/REPO/tag/REVISION": writing.tag,
    "DELETE api/models/REPO/tag/TAG": writing.untag,
    "POST REPO/info/lfs/objects/batch": writing.lfs_batch,
    "PUT lfs/SHA": writing.lfs_put,
    "POST lfs/SHA/verify": writing.lfs_verify,
}
"""Words in capitals stand for one part of the path, REPO for two, PATH for all that are left.

The same is offered for repos of data sets, at api/datasets/REPO… and datasets/REPO….
"""


def create_app(depot: Depot, tokens: Mapping[str, User], *, public: bool = True) -> Starlette:
    """Serve a depot; `tokens` says who may publish, `public` whether reading is free to all."""
    secret = secrets.token_bytes(32)

    async def answer(request: Request) -> Response:
        path = request.scope.get("raw_path", b"").decode("ascii", "replace")
        raw = path.removeprefix(request.scope.get("root_path", "")).strip("/")
        parts = [unquote(part) for part in raw.split("/")]  # split first: %2F is no separator
        about, parts = _about(depot, parts)
        try:
            handler, found = _route(request.method, parts)
            user = _user(request, tokens)
            with tempfile.SpooledTemporaryFile(max_size=CHUNK) as body:
                limit, size = _body_limit(request, parts, user, secret), 0
                async for chunk in request.stream():
                    if (size := size + len(chunk)) > limit:
                        raise Refusal(413, f"the body is longer than {limit} bytes")
                    body.write(chunk)
                body.seek(0)
                return await run_in_threadpool(handler, Call(about, request, body, user, public, secret), *found)
        except Exception as error:
            return _refusal(error).response()

    return Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "HEAD", "POST", "PUT", "DELETE"])])


def _about(depot: Depot, parts: list[str]) -> tuple[Depot, list[str]]:
    match parts:
        case ["api", "datasets", *rest]:
            return depot.datasets(), ["api", "models", *rest]
        case ["datasets", *rest]:
            return depot.datasets(), rest
    return depot, parts


def _route(method: str, parts: list[str]) -> tuple[Callable[..., Response], list[str]]:
    for route, handler in ROUTES.items():
        verb, _, pattern = route.partition(" ")
        if verb == ("GET" if method == "HEAD" else method) and (found := _match(pattern, parts)) is not None:
            return handler, found
    raise Refusal(404, f"{method} {'/'.join(parts)} is not offered here")


def _match(pattern: str, parts: list[str]) -> list[str] | None:
    found, left = [], parts
    for word in pattern.split("/"):
        width = {"REPO": 2, "PATH": len(left)}.get(word, 1)
        taken, left = left[:width], left[width:]
        if word.isupper() and "".join(taken) and len(taken) == width:
            found.append("/".join(taken))
        elif taken != [word]:
            return None
    return None if left else found


def _user(request: Request, tokens: Mapping[str, User]) -> User | None:
    given = request.headers.get("authorization", "").removeprefix("Bearer ").strip().encode()
    users = [user for token, user in tokens.items() if hmac.compare_digest(token.encode(), given)]
    if given and not users:
        raise Refusal(401, "Invalid credentials in Authorization header")
    return users[0] if users else None


def _body_limit(request: Request, parts: list[str], user: User | None, secret: bytes) -> int:
    if request.method != "PUT":
        return USER_BODY if user else ANONYMOUS_BODY
    size, until, signature = (request.query_params.get(key, "") for key in ("size", "until", "signature"))
    expected = sign(secret, parts[-1], size, until)
    if not hmac.compare_digest(expected.encode(), signature.encode()) or int(until) < time.time():
        raise Refusal(403, "this upload address is not, or no longer, valid; start the upload again")
    return int(size)


def _refusal(error: Exception) -> Refusal:
    match error:
        case Refusal():
            return error
        case NotFoundError():
            return Refusal(404, str(error), "RevisionNotFound")
        case HeadMovedError():
            return Refusal(412, f"A commit has happened since. {error}")
        case IntegrityError():
            return Refusal(500, str(error), "IntegrityError")
        case InputError() | KeyError() | ValueError() | TypeError():
            return Refusal(400, f"{type(error).__name__}: {error}")
    raise error
