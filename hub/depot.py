"""The content-addressed folder behind a folder remote and behind the server.

    blobs/ab/cd/<sha256>               the bytes of every file, stored once
    repos/<org>/<name>/commits/<id>    canonical JSON; the id is its sha1
    repos/<org>/<name>/refs/heads/main the head
    repos/<org>/<name>/refs/tags/v*    releases; never moved
    datasets/<org>/<name>/…            the same of repos of data sets

Whatever is read is hashed again, so a flipped byte is found by the one who would have used it.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import IO, BinaryIO, Literal

from cellzoo.errors import InputError, IntegrityError, NotFoundError, WorldError
from cellzoo.hub.names import check_repo, check_revision, check_tag, is_commit, release_order

CHUNK = 1 << 20


class HeadMovedError(WorldError):
    """Someone else committed first; nothing was changed."""


@dataclass(frozen=True)
class Blob:
    """The address of some bytes."""

    sha256: str
    size: int


@dataclass(frozen=True)
class Commit:
    """One state of a repo."""

    id: str
    parent: str | None
    message: str
    date: str
    """UTC, the way the Hub spells it."""
    files: dict[str, Blob]


class Depot:
    """Repos of files, commits and releases in a folder."""

    def __init__(self, root: Path, kind: Literal["repos", "datasets"] = "repos") -> None:
        self.root, self.kind = root, kind

    def datasets(self) -> Depot:
        """Return the repos of data sets in the same folder; both kinds share the bytes of files."""
        return Depot(self.root, "datasets")

    def put_blob(self, source: Path | IO[bytes]) -> Blob:
        """Store some bytes and return their address."""
        if isinstance(source, Path):
            with source.open("rb") as stream:
                return self.put_blob(stream)
        digest, size = hashlib.sha256(), 0
        self.root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.root, prefix=".") as scratch:
            part = Path(scratch) / "part"
            with part.open("wb") as sink:
                while chunk := source.read(CHUNK):
                    digest.update(chunk)
                    size += len(chunk)
                    sink.write(chunk)
            _move(part, self._blob(digest.hexdigest()))
        return Blob(digest.hexdigest(), size)

    def has_blob(self, sha256: str) -> bool:
        """Return whether these bytes are stored."""
        return self._blob(sha256).is_file()

    def size(self, sha256: str) -> int:
        """Return how many bytes a blob has."""
        return self._blob(sha256).stat().st_size

    def open_blob(self, sha256: str) -> BinaryIO:
        """Open a blob for reading, after checking that its bytes are still those that were stored."""
        path = self._blob(sha256)
        try:
            stream = path.open("rb")
        except FileNotFoundError:
            raise NotFoundError(f"{self.root}: no blob {sha256}; push the release again") from None
        if (got := hashlib.file_digest(stream, "sha256").hexdigest()) != sha256:
            stream.close()
            raise IntegrityError(
                f"{path}: sha256 is {got}, expected {sha256}; the depot is damaged, push the release again"
            )
        stream.seek(0)
        return stream

    def commit(
        self,
        repo: str,
        changes: Mapping[str, str | None],
        message: str,
        *,
        expect_head: str | None = None,
        tag: str | None = None,
    ) -> str:
        """Add (path: sha256) and delete (path: None) files, tag the result if asked to, and return the commit id.

        All or nothing. The same tree twice is one commit. With `expect_head`, the head must still be that commit.
        """
        check_repo(repo)
        for path in changes:
            check_path(path)
        if tag is not None:
            check_tag(tag)
        with self._lock(repo):
            head = self.head(repo)
            old = self.read(repo, head).files if head else {}
            files = {path: blob for path, blob in old.items() if path not in changes}
            files |= {path: self._address(path, sha256) for path, sha256 in changes.items() if sha256}
            if head and files == old:
                commit = head  # a retry after a lost answer, or nothing new
            elif expect_head is not None and not (head or "").startswith(expect_head):
                raise HeadMovedError(f"{repo}: the head is {head}, expected {expect_head}; look at it, then push again")
            else:
                commit = self._write_commit(repo, head, message, files)
            if tag is not None:
                self._write_tag(repo, tag, commit)
            _write(self._repo(repo) / "refs" / "heads" / "main", commit)
        return commit

    def tag(self, repo: str, tag: str, revision: str) -> str:
        """Release a commit under a tag that never moves, and return the commit id."""
        check_tag(tag)
        commit = self.resolve(repo, revision)
        with self._lock(repo):
            self._write_tag(repo, tag, commit)
        return commit

    def repos(self) -> list[str]:
        """Return all repo ids."""
        heads = self.root.glob(f"{self.kind}/*/*/refs/heads/main")
        return sorted(f"{head.parts[-5]}/{head.parts[-4]}" for head in heads)

    def head(self, repo: str) -> str | None:
        """Return the newest commit, None where there is no such repo."""
        return _read(self._repo(repo) / "refs" / "heads" / "main")

    def tags(self, repo: str) -> dict[str, str]:
        """Return the commit of each release, oldest version first."""
        paths = (self._repo(repo) / "refs" / "tags").glob("v*")
        tags = {path.name: commit for path in paths if (commit := _read(path))}
        return {tag: tags[tag] for tag in sorted(tags, key=release_order)}

    def resolve(self, repo: str, revision: str) -> str:
        """Return the commit id that a tag, ``main``, a commit id or 7 or more of its first digits stand for."""
        head = self.head(repo)
        if head is None:
            near = get_close_matches(repo, self.repos(), cutoff=0.4)
            raise NotFoundError(f"{self.root}: no repo {repo}; nearest: {', '.join(near) or 'none'}")
        tags = self.tags(repo)
        if found := {"main": head, "HEAD": head, **tags}.get(check_revision(revision)):
            return found
        if re.fullmatch(r"[0-9a-f]{7,40}", revision):
            found_ids = [
                path.name for path in (self._repo(repo) / "commits").glob(f"{revision}*") if is_commit(path.name)
            ]
            if len(found_ids) == 1:
                return found_ids[0]
        raise NotFoundError(f"{repo}: no revision {revision!r}; it has {', '.join(['main', *tags])}")

    def read(self, repo: str, commit: str) -> Commit:
        """Read a commit by its full id."""
        if not is_commit(commit):
            raise InputError(f"{commit!r} is no commit id, expected 40 hexadecimal digits; resolve it first")
        path = self._repo(repo) / "commits" / commit
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            raise NotFoundError(f"{repo}: no commit {commit}") from None
        if (got := _sha1(raw)) != commit:
            raise IntegrityError(f"{path}: sha1 is {got}, expected {commit}; the depot is damaged, restore this file")
        body = json.loads(raw)
        files = {path: Blob(**blob) for path, blob in body.pop("files").items()}
        return Commit(id=commit, files=files, **body)

    def files(self, repo: str, commit: str) -> dict[str, Blob]:
        """Return the files of a commit."""
        return self.read(repo, commit).files

    def git_oid(self, sha256: str) -> str:
        """Return the name that Git would give these bytes."""
        return _git_oid(self, sha256)

    def _blob(self, sha256: str) -> Path:
        if not re.fullmatch(r"[0-9a-f]{64}", sha256):
            raise InputError(f"{sha256!r} is no sha256, expected 64 hexadecimal digits")
        return self.root / "blobs" / sha256[:2] / sha256[2:4] / sha256

    def _repo(self, repo: str) -> Path:
        return self.root / self.kind / check_repo(repo)

    def _address(self, path: str, sha256: str) -> Blob:
        if not self.has_blob(sha256):
            raise InputError(f"{path}: blob {sha256} was never stored; upload it before the commit")
        return Blob(sha256, self.size(sha256))

    def _write_commit(self, repo: str, parent: str | None, message: str, files: dict[str, Blob]) -> str:
        raw = json.dumps(
            {
                "parent": parent,
                "message": message,
                "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
                "files": {path: asdict(blob) for path, blob in files.items()},
            },
            sort_keys=True,
            separators=(",", ":"),
        ).encode()
        commit = _sha1(raw)
        _write(self._repo(repo) / "commits" / commit, raw.decode())
        return commit

    def _write_tag(self, repo: str, tag: str, commit: str) -> None:
        path = self._repo(repo) / "refs" / "tags" / tag
        if (old := _read(path)) not in {None, commit}:
            raise InputError(
                f"{repo}: {tag} is already released, as commit {old}; releases are immutable, make a new one"
            )
        _write(path, commit)

    @contextmanager
    def _lock(self, repo: str) -> Iterator[None]:
        import fcntl  # POSIX: whoever writes to a depot; fetching from a Hub needs no lock

        folder = self._repo(repo)
        for sibling in self.repos() if self.head(repo) is None else []:
            if sibling.lower() == repo.lower() and sibling != repo:
                raise InputError(f"{repo}: there is a repo {sibling}; names that differ only in case are one name")
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield


def check_path(path: str) -> str:
    """Return `path` if it names a file inside a repo, on every system."""
    parts = path.split("/")
    if any(not part or part.startswith(".") or part != part.strip() for part in parts) or re.search(
        r'[\\:*?"<>|\x00-\x1f\x7f]', path
    ):
        raise InputError(
            f"{path!r} is no path in a repo, expected names joined by '/', none empty, none beginning with '.',"
            " without backslashes, colons or control characters; rename the file"
        )
    return path


@lru_cache(maxsize=4096)
def _git_oid(depot: Depot, sha256: str) -> str:
    digest = hashlib.sha1(f"blob {depot.size(sha256)}\0".encode(), usedforsecurity=False)
    with depot.open_blob(sha256) as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _sha1(raw: bytes) -> str:
    return hashlib.sha1(raw, usedforsecurity=False).hexdigest()


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except FileNotFoundError:
        return None


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as scratch:
        part = Path(scratch) / "part"
        part.write_text(text)
        _move(part, path)


def _move(part: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part.replace(path)
