"""Pinned bytes on disk: from the cache, a mirror, an installed package or a URL, always checked."""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from filelock import FileLock

from cellzoo import __version__, settings
from cellzoo.converters.write import partial_folder
from cellzoo.errors import InputError, IntegrityError, WorldError
from cellzoo.registry.parts import Bytes, File

BLOCK = 1 << 20
TRIES = 3
TIMEOUT = 30.0  # seconds without a byte

Progress = Callable[[str, int, int], None]
"""Told the name of what is being done, how much is done, and how much there is."""


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file, read in blocks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def fetch(file: File, progress: Progress | None = None) -> Path:
    """Return a path whose bytes are the pinned ones.

    Looked for in the cache, then in ``CELLZOO_MIRROR``, then in the installed package that carries the file, then at
    its URL. Nothing is in the cache unless its sha256 was checked; a download goes to a temporary file, is resumed
    where the server allows it, and is moved. Raises `IntegrityError` for other bytes, `WorldError` where no source
    can be reached.
    """
    if not file.pins:
        raise InputError(f"{file.name}: the card pins no sha256; only `cellzoo verify` fetches unpinned bytes.")
    tried: list[str] = []
    for pin in file.pins:
        if _is_cached(pin):
            return _cached(pin)
    for find in (_from_mirror, _from_package):
        if path := find(file, tried):
            return path
    for pin in file.pins:
        if pin.url and file.access != "open":
            tried.append(f"{pin.url}: access is {file.access}; download it there by hand")
        elif pin.url and pin.url.startswith("ftp:"):
            tried.append(f"{pin.url}: ftp is not spoken here; download it by hand")
        elif pin.url and settings.offline():
            tried.append(f"{pin.url}: CELLZOO_OFFLINE is set")
        elif pin.url:
            try:
                return _download(file.name, pin, pin.url, progress)
            except WorldError as error:
                tried.append(str(error))
    raise WorldError(
        f"{file.name}: could not be had. Tried:\n  "
        + "\n  ".join(tried or ["nothing: the card names no source"])
        + f"\nPut a file with sha256 {file.sha256} into a folder, named by that digest, and set CELLZOO_MIRROR to it."
    )


def fetch_unpinned(name: str, url: str, progress: Progress | None = None) -> tuple[Path, Bytes]:
    """Return what a URL sends now, in the cache, and the digest and size it has: for `cellzoo verify`, which pins them.

    Nothing can be checked but that all of it came. Raises `WorldError` where the URL cannot be had.
    """
    if settings.offline():
        raise WorldError(f"{name}: {url} was not asked: CELLZOO_OFFLINE is set.")
    if not url.startswith(("http://", "https://")):
        raise WorldError(
            f"{name}: {url}: only http and https are spoken here. Download it, and give its folder by --files."
        )
    with _temporary() as part:
        try:
            _stream_with_tries(name, None, url, part, progress)
        except (OSError, http.client.HTTPException) as error:
            raise WorldError(f"{url}: {getattr(error, 'reason', None) or error}") from error
        return _keep(part, url)


def keep(path: Path) -> tuple[Path, Bytes]:
    """Return a copy of a file in the cache, where cards find it by its digest, and that digest and its size."""
    if not path.is_file():
        raise InputError(f"{path}: there is no such file.")
    if not path.stat().st_size:
        raise InputError(f"{path}: the file is empty.")
    pin = Bytes(sha256=sha256_of(path), bytes=path.stat().st_size)
    if _is_cached(pin):
        return _cached(pin), pin
    with _temporary() as part:
        shutil.copyfile(path, part)
        return _keep(part, None)


@contextmanager
def _temporary() -> Iterator[Path]:
    with partial_folder() as folder, tempfile.TemporaryDirectory(dir=folder) as own:
        yield Path(own) / "file"


def _keep(part: Path, url: str | None) -> tuple[Path, Bytes]:
    """Move a file of unknown digest into the cache."""
    if not part.stat().st_size:
        raise InputError(f"{url or part}: is empty.")
    pin = Bytes(sha256=sha256_of(part), bytes=part.stat().st_size, url=url)
    target = _cached(pin)
    target.parent.mkdir(parents=True, exist_ok=True)
    part.replace(target)
    return target, pin


def _cached(pin: Bytes) -> Path:
    return settings.home() / "files" / pin.sha256[:2] / pin.sha256


def _is_cached(pin: Bytes) -> bool:
    path = _cached(pin)
    return path.is_file() and path.stat().st_size == pin.bytes


def _from_mirror(file: File, tried: list[str]) -> Path | None:
    mirror = settings.mirror()
    if mirror is None:
        tried.append("mirror: CELLZOO_MIRROR is not set")
        return None
    for pin in file.pins:
        path = mirror / pin.sha256
        if path.is_file():
            _check(path, file.name, pin)
            return path
    tried.append(f"mirror: {mirror} does not hold {file.sha256}")
    return None


def _from_package(file: File, tried: list[str]) -> Path | None:
    if file.package is None:
        return None
    try:
        path = Path(str(distribution(file.package.distribution).locate_file(file.package.path)))
    except PackageNotFoundError:
        tried.append(f"package: {file.package.distribution} is not installed (pip install 'cellzoo[demo]')")
        return None
    if not path.is_file():
        tried.append(f"package: {file.package.distribution} does not carry {file.package.path}")
        return None
    digest = sha256_of(path)
    if digest in {pin.sha256 for pin in file.pins}:
        return path
    tried.append(f"package: {path} has sha256 {digest}, expected {' or '.join(pin.sha256 for pin in file.pins)}")
    return None


def _check(path: Path, name: str, pin: Bytes) -> None:
    digest = sha256_of(path)
    if digest != pin.sha256:
        raise IntegrityError(f"{name}: {path} has sha256 {digest}, the card pins {pin.sha256}. The file was not used.")


def _download(name: str, pin: Bytes, url: str, progress: Progress | None) -> Path:
    target = _cached(pin)
    part = settings.home() / "partial" / pin.sha256
    try:
        for folder in (target.parent, part.parent):
            folder.mkdir(parents=True, exist_ok=True)
        with FileLock(part.with_suffix(".lock")):
            if _is_cached(pin):  # another process fetched it meanwhile
                return target
            try:
                _stream_with_tries(name, pin.bytes, url, part, progress)
                _check(part, name, pin)
            except IntegrityError:
                part.unlink(missing_ok=True)
                raise
            part.replace(target)
    except (OSError, http.client.HTTPException) as error:
        raise WorldError(f"{url}: {getattr(error, 'reason', None) or error}") from error
    return target


def _stream_with_tries(name: str, size: int | None, url: str, part: Path, progress: Progress | None) -> None:
    for left in reversed(range(TRIES)):
        try:
            stream(name, size, url, part, progress)
            break
        except (OSError, http.client.HTTPException) as error:  # HTTPError and timeouts are OSErrors
            final = isinstance(error, urllib.error.HTTPError) and error.code < 500 and error.code != 429
            if final or not left:
                raise
            time.sleep(2.0 ** (TRIES - left) / 4)


def stream(name: str, size: int | None, url: str, part: Path, progress: Progress | None) -> None:
    """Write what a URL sends to ``part``; what is there already is kept only where the size of the whole is known."""
    have = part.stat().st_size if size and part.is_file() else 0
    if size and have >= size:
        part.unlink()
        have = 0
    request = urllib.request.Request(url, headers={"User-Agent": f"cellzoo/{__version__}"})  # noqa: S310 (http only)
    if have:
        request.add_header("Range", f"bytes={have}-")
    with urllib.request.urlopen(request, timeout=TIMEOUT) as reply:  # noqa: S310
        have = have if reply.status == http.client.PARTIAL_CONTENT else 0
        whole = (
            (reply.headers.get("Content-Range") or "").rpartition("/")[2] if have else reply.headers["Content-Length"]
        )
        if size and (whole or "").isdecimal() and int(whole) < size:
            raise IntegrityError(f"{name}: {url} now has {whole} bytes, the card pins {size}. The file was not used.")
        total = size or int(reply.headers.get("Content-Length") or 0)
        with part.open("ab" if have else "wb") as sink:
            while block := reply.read(BLOCK):
                have += len(block)
                if size and have > size:
                    raise IntegrityError(f"{name}: {url} sends more than the {size} bytes that the card pins.")
                sink.write(block)
                if progress:
                    progress(name, have, total)
            sink.flush()
            os.fsync(sink.fileno())
    if have < total:
        raise http.client.IncompleteRead(b"", total - have)
