"""What the server tells those who read: models, files, revisions and bytes."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator
from typing import IO, Any
from urllib.parse import parse_qsl

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.tokens import AliasToken
from starlette.responses import JSONResponse, Response, StreamingResponse

from cellzoo.errors import IntegrityError
from cellzoo.hub.call import Call, Refusal
from cellzoo.hub.depot import CHUNK, Blob, Commit, Depot

_FRONT_MATTER = re.compile(r"\A---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_EXPOSED = "X-Repo-Commit, X-Linked-Size, X-Linked-ETag, ETag, X-Error-Code, X-Error-Message, Content-Range"


def whoami(call: Call) -> Response:
    """``GET /api/whoami-v2``."""
    if call.user is None:
        raise Refusal(401, "Invalid username or password.")
    name = call.user.name
    orgs = [{"type": "org", "name": org, "roleInOrg": "write"} for org in call.user.orgs]
    auth = {"type": "access_token", "accessToken": {"displayName": name, "role": "write"}}
    return JSONResponse({"type": "user", "id": name, "name": name, "fullname": name, "orgs": orgs, "auth": auth})


def validate_yaml(call: Call) -> Response:
    """``POST /api/validate-yaml``: clients ask before they upload a README.md."""
    try:
        card = read_card(str(call.json()["content"]))
    except (ValueError, YAMLError) as error:
        return JSONResponse({"errors": [{"message": str(error)}], "warnings": []}, 400)
    return JSONResponse({"errors": [], "warnings": [] if card else [{"message": "README.md has no metadata"}]})


def models(call: Call) -> Response:
    """``GET /api/models``: newest first; a damaged repo hides no other."""
    if call.user is None and not call.public:
        raise Refusal(401, "this hub needs a token")
    query, found = call.request.query_params, []
    for repo in call.depot.repos():
        author = repo.partition("/")[0]
        if query.get("author", author) != author or query.get("search", "").lower() not in repo.lower():
            continue
        try:
            commit = call.depot.read(repo, call.readable(repo))
        except IntegrityError:
            continue
        info = _model(call.depot, repo, commit)
        if call.flag("full"):
            info["siblings"] = [{"rfilename": path} for path in commit.files]
        if set(query.getlist("filter")) <= set(info["tags"]):
            found.append(info)
    found.sort(key=lambda info: str(info["lastModified"]), reverse=True)
    return JSONResponse(found[: int(query.get("limit", len(found)))])


def model(call: Call, repo: str, revision: str = "main") -> Response:
    """``GET /api/models/REPO/revision/REVISION``."""
    commit = _commit(call, repo, revision)
    info = _model(call.depot, repo, commit)
    info["siblings"] = [
        _sibling(entry(call.depot, path, blob)) if call.flag("blobs") else {"rfilename": path}
        for path, blob in commit.files.items()
    ]
    if wanted := call.request.query_params.getlist("expand"):
        info = {key: value for key, value in info.items() if key in {*wanted, "_id", "id"}}
    return JSONResponse(info)


def tree(call: Call, repo: str, revision: str, folder: str = "") -> Response:
    """``GET /api/models/REPO/tree/REVISION/FOLDER``."""
    commit, prefix = _commit(call, repo, revision), f"{folder}/" if folder else ""
    below = {path.removeprefix(prefix): blob for path, blob in commit.files.items() if path.startswith(prefix)}
    if folder and not below:
        raise Refusal(404, f"no folder {folder} in {commit.id}", "EntryNotFound")
    folders = {path[: match.start()] for path in below for match in re.finditer("/", path)}
    recursive = call.flag("recursive")
    entries = [
        {"type": "directory", "path": prefix + path, "size": 0, "oid": _sha1(f"{commit.id} {path}".encode())}
        for path in sorted(folders)
        if recursive or "/" not in path
    ]
    entries += [entry(call.depot, prefix + path, below[path]) for path in sorted(below) if recursive or "/" not in path]
    return JSONResponse(entries)


def paths_info(call: Call, repo: str, revision: str) -> Response:
    """``POST /api/models/REPO/paths-info/REVISION``: files by name; those missing are left out."""
    files = _commit(call, repo, revision).files
    if "json" in call.request.headers.get("content-type", ""):
        paths = call.json()["paths"]
    else:
        paths = [value for key, value in parse_qsl(call.body.read().decode()) if key == "paths"]
    return JSONResponse([entry(call.depot, path, files[path]) for path in paths if path in files])


def refs(call: Call, repo: str) -> Response:
    """``GET /api/models/REPO/refs``."""
    head, tags = call.readable(repo), call.depot.tags(repo).items()
    answer = {
        "branches": [{"name": "main", "ref": "refs/heads/main", "targetCommit": head}],
        "tags": [{"name": tag, "ref": f"refs/tags/{tag}", "targetCommit": commit} for tag, commit in tags],
    }
    return JSONResponse(answer | {"converts": [], "pullRequests": []})


def commits(call: Call, repo: str, revision: str) -> Response:
    """``GET /api/models/REPO/commits/REVISION``: newest first."""
    commit: Commit | None = _commit(call, repo, revision)
    history = []
    while commit:
        title, _, message = commit.message.partition("\n\n")
        history.append({"id": commit.id, "authors": [], "date": commit.date, "title": title, "message": message})
        commit = call.depot.read(repo, commit.parent) if commit.parent else None
    return JSONResponse(history)


def resolve(call: Call, repo: str, revision: str, path: str) -> Response:
    """``GET`` or ``HEAD /REPO/resolve/REVISION/PATH``: a file, or the part of it that ``Range`` wants."""
    commit = _commit(call, repo, revision)
    if path not in commit.files:
        raise Refusal(404, f"no {path} in {commit.id}", "EntryNotFound", **{"X-Repo-Commit": commit.id})
    blob = commit.files[path]
    large = _is_large(path, blob.size)
    etag = blob.sha256 if large else call.depot.git_oid(blob.sha256)
    headers = {"ETag": f'"{etag}"', "Accept-Ranges": "bytes", "X-Repo-Commit": commit.id}
    headers |= {"Access-Control-Expose-Headers": _EXPOSED, "X-Content-Type-Options": "nosniff"}
    headers |= {"X-Linked-Size": str(blob.size), "X-Linked-ETag": f'"{etag}"'} if large else {}
    start, end, status = 0, blob.size, 200
    wanted = re.fullmatch(r"bytes=([0-9]*)-([0-9]*)", call.request.headers.get("range", ""))
    if wanted and any(wanted.groups()):
        first, last = wanted.groups()
        start, status = int(first) if first else max(0, blob.size - int(last)), 206
        end = min(int(last) + 1, blob.size) if first and last else blob.size
        if start >= end:
            return Response(status_code=416, headers=headers | {"Content-Range": f"bytes */{blob.size}"})
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{blob.size}"
    headers["Content-Length"] = str(end - start)
    if call.request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type="application/octet-stream")
    chunks = _chunks(call.depot.open_blob(blob.sha256), start, end)
    return StreamingResponse(chunks, status, headers, media_type="application/octet-stream")


def entry(depot: Depot, path: str, blob: Blob) -> dict[str, Any]:
    """Describe a file by sha256, as LFS files are, or, a small one, by the name that Git gives it."""
    if not _is_large(path, blob.size):
        return {"type": "file", "path": path, "size": blob.size, "oid": depot.git_oid(blob.sha256)}
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{blob.sha256}\nsize {blob.size}\n".encode()
    oid = _sha1(f"blob {len(pointer)}\0".encode() + pointer)
    lfs = {"oid": blob.sha256, "size": blob.size, "pointerSize": len(pointer)}
    return {"type": "file", "path": path, "size": blob.size, "oid": oid, "lfs": lfs}


def read_card(text: str) -> dict[str, Any] | None:
    """Return the metadata of a model card as plain JSON values, None where it has none.

    >>> read_card("---\\nlicense: mit\\n---\\n# A model")
    {'license': 'mit'}
    """
    match = _FRONT_MATTER.match(text)
    if match is None:
        return None
    yaml = YAML(typ="safe", pure=True)
    if any(isinstance(token, AliasToken) for token in yaml.scan(match[1])):  # a few of them can fill the memory
        raise ValueError("the metadata of README.md uses YAML aliases, expected plain values")
    card = yaml.load(match[1])
    if not isinstance(card, dict):
        raise ValueError(f"the metadata of README.md is a {type(card).__name__}, expected 'key: value' lines")
    return {str(key): _plain(value) for key, value in card.items()}


def _commit(call: Call, repo: str, revision: str) -> Commit:
    call.readable(repo)
    return call.depot.read(repo, call.depot.resolve(repo, revision))


def _model(depot: Depot, repo: str, commit: Commit) -> dict[str, Any]:
    card: dict[str, Any] = {}
    if "README.md" in commit.files:
        try:
            with depot.open_blob(commit.files["README.md"].sha256) as stream:
                card = read_card(stream.read().decode(errors="replace")) or {}
        except (IntegrityError, ValueError, YAMLError):
            card = {}
    badges = {key: card[key] for key in ("library_name", "pipeline_tag") if isinstance(card.get(key), str)}
    tags = [tag for tag in card.get("tags") or () if isinstance(tag, str)] + list(badges.values())
    tags += [f"license:{card['license']}"] if "license" in card else []
    return {
        "_id": hashlib.sha256(repo.encode()).hexdigest()[:24],
        "id": repo,
        "modelId": repo,
        "author": repo.partition("/")[0],
        "sha": commit.id,
        "lastModified": commit.date,
        "private": False,
        "gated": False,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": tags,
        "cardData": card,
        **badges,
    }


def _is_large(path: str, size: int) -> bool:
    return size > 0 and (path.endswith(".safetensors") or size > CHUNK)


def _sibling(item: dict[str, Any]) -> dict[str, Any]:
    sibling = {"rfilename": item["path"], "size": item["size"], "blobId": item["oid"]}
    if lfs := item.get("lfs"):
        sibling["lfs"] = {"sha256": lfs["oid"], "size": lfs["size"], "pointerSize": lfs["pointerSize"]}
    return sibling


def _chunks(stream: IO[bytes], start: int, end: int) -> Iterator[bytes]:
    with stream:
        stream.seek(start)
        while start < end and (chunk := stream.read(min(CHUNK, end - start))):
            start += len(chunk)
            yield chunk


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    exact = isinstance(value, str | int | None) or (isinstance(value, float) and math.isfinite(value))
    return value if exact else str(value)


def _sha1(raw: bytes) -> str:
    return hashlib.sha1(raw, usedforsecurity=False).hexdigest()
