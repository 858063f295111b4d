"""What a release consists of, and the verified copies of releases on this machine.

<cache>/<org>/<name>/<commit>/       the files
<cache>/<org>/<name>/<commit>.json   what they must be; written last
<cache>/<org>/<name>/refs/<revision> the commit that a tag or branch stood for when it was last asked
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from cellzoo.errors import InputError, IntegrityError, NotFoundError
from cellzoo.hub.names import check_repo, check_revision, is_commit
from cellzoo.models.files import RELEASE_FILES, REQUIRED, refuse_code


@dataclass(frozen=True)
class FileInfo:
    """What a remote says about a file: its size, and its sha256 or the name that Git gives its bytes."""

    size: int
    sha256: str | None = None
    git_oid: str | None = None

    def verify(self, path: Path, name: str) -> None:
        """Refuse the copy at `path` unless it has the size and digest that the remote listed."""
        algorithm, expected = ("sha256", self.sha256) if self.sha256 else ("git sha1", self.git_oid)
        size = path.stat().st_size
        digest = hashlib.sha256() if self.sha256 else hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
        with path.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
        if (size, digest.hexdigest()) != (self.size, expected):
            raise IntegrityError(
                f"{name}: got {size} bytes with {algorithm} {digest.hexdigest()},"
                f" expected {self.size} bytes with {algorithm} {expected}"
            )


@dataclass(frozen=True)
class Listing:
    """All files of a commit, as the remote lists them."""

    commit: str
    files: dict[str, FileInfo]

    def __post_init__(self) -> None:
        if not is_commit(self.commit):
            raise IntegrityError(f"the remote lists commit {self.commit!r}, expected 40 hexadecimal digits")


@dataclass(frozen=True)
class Pulled:
    """A folder of verified release files, and the commit they are of."""

    folder: Path
    commit: str


def release_files(folder: Path) -> dict[str, Path]:
    """Return the files of a folder that is about to be released, after checking that it is one."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if not path.is_dir()}
    refuse_code(str(folder), found)
    if strange := sorted(name for name, path in found.items() if name not in RELEASE_FILES or path.is_symlink()):
        raise InputError(f"{folder}: {', '.join(strange)}: expected only regular files of {', '.join(RELEASE_FILES)}")
    if missing := [name for name in REQUIRED if name not in found]:
        raise InputError(f"{folder}: no {' and no '.join(missing)}; a release needs {' and '.join(REQUIRED)}")
    return found


class Cache:
    """Verified copies of releases from one remote."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def commit(self, repo: str, revision: str) -> str:
        """Return the commit that a revision stood for when it was last fetched."""
        if is_commit(revision):
            return revision
        try:
            return self._ref(repo, revision).read_text()
        except FileNotFoundError:
            known = sorted(unquote(path.name) for path in self._ref(repo, revision).parent.glob("[!.]*"))
            raise NotFoundError(
                f"{repo}@{revision} is not in the cache {self.root}, which has {', '.join(known) or 'none of it'};"
                " unset CELLZOO_OFFLINE to fetch it"
            ) from None

    def get(self, repo: str, commit: str) -> Pulled | None:
        """Return the verified copy of a commit, None where it is not all here."""
        folder = self.root / check_repo(repo) / commit
        try:
            files = json.loads(folder.with_suffix(".json").read_text())
            listing = Listing(commit, {name: FileInfo(**info) for name, info in files.items()})
        except (FileNotFoundError, ValueError, TypeError):
            return None
        for name in _wanted(repo, listing):
            if not (folder / name).is_file():
                return None
            try:
                listing.files[name].verify(folder / name, f"{repo}@{commit[:7]}: {name} in the cache {folder}")
            except IntegrityError as error:
                (folder / name).unlink()
                error.args = (f"{error}; the bad copy was removed, fetch it again",)
                raise
        return Pulled(folder, commit)

    def pull(self, repo: str, revision: str, listing: Listing, fetch: Callable[[str, Path], Path]) -> Pulled:
        """Return the verified copy of a commit; where it is not all here, get it with ``fetch(name, into)`` first."""
        pulled = self.get(repo, listing.commit) or self._put(repo, listing, fetch)
        if not is_commit(revision):
            _write(self._ref(repo, revision), listing.commit)
        return pulled

    def _put(self, repo: str, listing: Listing, fetch: Callable[[str, Path], Path]) -> Pulled:
        folder, where = self.root / repo / listing.commit, f"{repo}@{listing.commit[:7]}"
        wanted = _wanted(where, listing)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".") as scratch:
            parts = {name: fetch(name, Path(scratch)) for name in wanted}
            for name, part in parts.items():
                listing.files[name].verify(part, f"{where}: {name}")
            folder.mkdir(exist_ok=True)
            for name, part in parts.items():
                part.replace(folder / name)
        _write(folder.with_suffix(".json"), json.dumps({name: asdict(info) for name, info in listing.files.items()}))
        return Pulled(folder, listing.commit)

    def _ref(self, repo: str, revision: str) -> Path:
        return self.root / check_repo(repo) / "refs" / quote(check_revision(revision), safe="")


def _wanted(where: str, listing: Listing) -> list[str]:
    refuse_code(where, listing.files)
    if missing := [name for name in REQUIRED if name not in listing.files]:
        raise NotFoundError(f"{where}: no {' and no '.join(missing)}; this is no release, choose another revision")
    return [name for name in RELEASE_FILES if name in listing.files]


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as scratch:
        part = Path(scratch) / "part"
        part.write_text(text)
        part.replace(path)
