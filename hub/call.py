"""One request to the server: its body, who asks, and what they may do."""

from __future__ import annotations

import hmac
import json
import re
from dataclasses import dataclass
from typing import IO, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from cellzoo.errors import InputError
from cellzoo.hub.depot import Depot


@dataclass(frozen=True)
class User:
    """Who a token belongs to, and the organizations that they may publish for."""

    name: str
    orgs: tuple[str, ...] = ()


class Refusal(Exception):
    """An answer that is not the one asked for."""

    def __init__(self, status: int, message: str, code: str = "", **headers: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message
        self.headers = headers | ({"X-Error-Code": code} if code else {})

    def response(self) -> Response:
        """Return the refusal the way clients read it."""
        line = re.sub(r"[^\x20-\x7e]+", " ", self.message)
        return JSONResponse({"error": self.message}, self.status, self.headers | {"X-Error-Message": line})


@dataclass(frozen=True)
class Call:
    """A request with its body on disk, and the depot it is about."""

    depot: Depot
    request: Request
    body: IO[bytes]
    user: User | None
    public: bool
    """Whether those without a token may read."""
    secret: bytes
    """Signs the addresses of uploads, which clients call without their token."""

    @property
    def origin(self) -> str:
        """Return scheme, host and mount point of this server, as the client sees them."""
        return str(self.request.base_url).rstrip("/")

    def json(self) -> dict[str, Any]:
        """Return the body as a JSON object."""
        value = json.load(self.body)
        if not isinstance(value, dict):
            raise Refusal(400, f"the body is a JSON {type(value).__name__}, expected an object")
        return value

    def flag(self, name: str) -> bool:
        """Return whether the query sets a flag."""
        return self.request.query_params.get(name, "").lower() in {"1", "true"}

    def readable(self, repo: str) -> str:
        """Return the head of a repo that the user may read."""
        if self.user is None and not self.public:
            raise Refusal(401, "Repository not found", "RepoNotFound")
        try:
            head = self.depot.head(repo)
        except InputError:
            head = None
        if head is None:
            raise Refusal(404 if self.user else 401, "Repository not found", "RepoNotFound")
        return head

    def writable(self, repo: str) -> str:
        """Return the head of a repo that the user may publish to."""
        head = self.readable(repo)
        self.check_owner(repo)
        return head

    def check_owner(self, repo: str) -> None:
        """Refuse users who may not publish for the organization of `repo`."""
        organization = repo.partition("/")[0]
        if self.user is None:
            raise Refusal(401, "publishing needs a token")
        if organization not in {self.user.name, *self.user.orgs}:
            raise Refusal(403, f"{self.user.name} may not publish for {organization}")


def sign(secret: bytes, sha256: str, size: int | str, until: int | str) -> str:
    """Return the signature of the address that takes these bytes until then.

    >>> sign(b"a", "00", 1, 2) == sign(b"b", "00", 1, 2)
    False
    """
    return hmac.digest(secret, f"PUT {sha256} {size} {until}".encode(), "sha256").hex()
