"""The files of a card as streams of bytes: plain, compressed, or members of a zip or tar.

Members are never unpacked by their own names. An archive with a name that leaves its folder, a link or a device, and
one that unpacks to far more than it weighs, is refused before anything in it is read.
"""

from __future__ import annotations

import bz2
import csv
import errno
import gzip
import io
import lzma
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, Self

from cellzoo import settings
from cellzoo.converters.write import scratch
from cellzoo.errors import CellzooError, InputError, IntegrityError, WorldError
from cellzoo.registry.reading import Place

RATIO = 250
"""How many times its size a file may unpack to: text of counts seldom reaches a hundred."""
FREE = 2**30
"""Bytes that a file may unpack to whatever its size."""
MEMBERS = 200_000
"""Members of an archive: an AnnData-Zarr of millions of cells has fewer."""
SHOWN = 12  # names in a message
UNPACK: dict[bytes, Callable[[Any], Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}
"""How a compressed file starts -> what unpacks it."""
PACKED = (".gz", ".bz2", ".xz")
UNREADABLE = (
    ValueError,
    OSError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    tarfile.TarError,
    csv.Error,
)


@contextmanager
def reading(what: str, *, anything: bool = False, hint: str = "") -> Iterator[None]:
    """Turn what a library raises on a broken file into an `InputError`: ``what`` it is, the error, a hint."""
    try:
        yield
    except CellzooError:
        raise
    except Exception as error:
        if not anything and not isinstance(error, UNREADABLE):
            raise
        if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise WorldError(f"{settings.home()}: {error.strerror}. Set CELLZOO_HOME to a larger disk.") from error
        said = str(error).rstrip(".") or type(error).__name__
        raise InputError(" ".join(filter(None, (f"{what}: {said}.", hint)))) from error


class _Limited(io.RawIOBase):
    """An unpacked stream that ends with an error where it gives more than is allowed for its packed size."""

    def __init__(self, stream: Any, packed: Any, name: str, size: int) -> None:
        self.stream, self.packed, self.name, self.left = stream, packed, name, max(FREE, RATIO * size)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        got = int(self.stream.readinto(buffer))
        self.left -= got
        if self.left < 0:
            raise IntegrityError(f"{self.name}: unpacks to more than {RATIO} times its size: not read to the end.")
        return got

    def close(self) -> None:
        self.stream.close()
        self.packed.close()
        super().close()


@dataclass(frozen=True)
class Found:
    """A file of a card, or a member of one, that can be read."""

    name: str
    """How messages call it."""
    file: str
    """Its own name, from whose end the kind of file is told."""
    parts: tuple[str, ...]
    """What each ``*`` of the card stood for."""
    size: int
    """Bytes of the file it is in."""
    raw: Callable[[], Any]
    """What opens its bytes."""
    local: Path | None = None
    """Where it is, if it is a file of its own."""

    @classmethod
    def whole(cls, name: str, path: Path) -> Found:
        """Return a file as such."""
        return cls(name, name, (), path.stat().st_size, lambda: path.open("rb"), path)

    @property
    def part(self) -> str:
        """Return what the ``*`` of the card stood for, as one name."""
        return "_".join(dict.fromkeys(part for part in self.parts if part))

    def bytes(self) -> IO[bytes]:
        """Return its content, unpacked where it is compressed."""
        stream = self.raw()
        head = stream.peek(6)[:6]
        unpack = next((unpack for magic, unpack in UNPACK.items() if head.startswith(magic)), None)
        if unpack is None:
            if self.file.endswith(PACKED):
                stream.close()
                message = f"is named {PurePosixPath(self.file).suffix} but starts with {head!r}, as no gzip file does"
                raise InputError(f"{self.name}: {message}.")
            return stream  # type: ignore[no-any-return]
        return io.BufferedReader(_Limited(unpack(stream), stream, self.name, self.size), 2**18)

    def text(self) -> IO[str]:
        """Return its content as text: UTF-8, with or without a mark at the start."""
        return io.TextIOWrapper(self.bytes(), encoding="utf-8-sig", newline="")

    @contextmanager
    def path(self, *, unpack: bool = True) -> Iterator[Path]:
        """Give a path to its content: its own, else that of a copy that is removed afterwards."""
        if self.local is not None and not (unpack and self.packed):
            yield self.local
            return
        with scratch() as folder:
            copy = folder / "file"
            with (
                reading(f"{self.name}: cannot be unpacked"),
                self.bytes() if unpack else self.raw() as source,
                copy.open("wb") as sink,
            ):
                shutil.copyfileobj(source, sink, 2**20)
            yield copy

    @property
    def packed(self) -> bool:
        """Return whether it is compressed."""
        with self.raw() as stream:
            return bool(stream.peek(6).startswith(tuple(UNPACK)))

    @property
    def lasting(self) -> bool:
        """Return whether it can be read by ranges later on: it is a file of its own, not compressed."""
        return self.local is not None and not self.packed


class Files:
    """The files of a card; what it opened is closed at the end of the ``with``."""

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self.paths = paths
        self.archives: dict[str, Archive] = {}
        self.stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def find(self, place: Place, parts: tuple[str, ...] = ()) -> list[Found]:
        """Return what a place of a card names: one file, or every member that fits, in the order of their names.

        With ``parts`` (of another place) each ``*`` stands for the same as there. `InputError` where nothing fits.
        """
        path = self.paths[place.file]
        if place.member is None:
            return [Found.whole(place.file, path)]
        archive = self.archive(place.file)
        pattern = place.member
        if parts and "*" in pattern:
            if pattern.count("*") != len(parts):
                wanted = f"{pattern!r} has {pattern.count('*')} *, the matrix {len(parts)}"
                raise InputError(f"{place.file}: {wanted}; each stands for the same as in the matrix.")
            for part in parts:
                pattern = pattern.replace("*", part, 1)
        found = archive.matching(pattern, exact=bool(parts))
        if not found:
            raise InputError(f"{place.file}: holds no member {pattern!r}; found {_some(archive.names)}.")
        return [archive.found(name, stood) for name, stood in found]

    def one(self, place: Place, parts: tuple[str, ...] = ()) -> Found:
        """Return the only thing that a place of a card names."""
        found = self.find(place, parts)
        if len(found) > 1:
            names = _some([one.file for one in found])
            raise InputError(f"{place.file}: {place.member!r} fits {len(found)} members, expected one: {names}.")
        return found[0]

    def archive(self, name: str) -> Archive:
        """Return a zip or tar file of the card, checked."""
        if name not in self.archives:
            self.archives[name] = self.stack.enter_context(open_archive(name, self.paths[name]))
        return self.archives[name]


class Archive:
    """Members of a zip or tar file by name."""

    def __init__(self, name: str, size: int, members: Mapping[str, Callable[[], Any]]) -> None:
        self.name, self.size, self.members = name, size, members

    @property
    def names(self) -> list[str]:
        """Return the names of the files in it, sorted."""
        return sorted(self.members)

    def matching(self, pattern: str, *, exact: bool = False) -> list[tuple[str, tuple[str, ...]]]:
        """Return each name that fits, with what each ``*`` stands for; a ``*`` never goes beyond a folder."""
        wanted = re.compile("([^/]*)".join(map(re.escape, [pattern] if exact else pattern.split("*"))))
        fits = ((name, wanted.fullmatch(name)) for name in self.names)
        return [(name, match.groups()) for name, match in fits if match]

    def found(self, name: str, parts: tuple[str, ...] = ()) -> Found:
        """Return a member."""
        return Found(f"{self.name}: {name}", name, parts, self.size, self.members[name])


@contextmanager
def open_archive(name: str, path: Path) -> Iterator[Archive]:
    """Give the members of a zip or tar file; `IntegrityError` where it is not safe, `InputError` where it is none."""
    size = path.stat().st_size
    with ExitStack() as stack:
        with reading(f"{name}: cannot be read as a zip or tar file"):
            if zipfile.is_zipfile(path):
                members = _zip(name, stack.enter_context(zipfile.ZipFile(path)), size)
            else:
                members = _tar(name, path, stack)
        yield Archive(name, size, members)


def _zip(name: str, archive: zipfile.ZipFile, size: int) -> dict[str, Callable[[], Any]]:
    infos = [info for info in archive.infolist() if not info.is_dir()]
    _check_number(name, len(infos))
    for info in infos:
        mode = info.external_attr >> 16
        if stat.S_IFMT(mode) not in {0, stat.S_IFREG}:
            raise IntegrityError(f"{name}: {info.filename!r} is a link or a device, not a file. Nothing was read.")
        if info.flag_bits & 0x1:
            raise InputError(f"{name}: {info.filename!r} is encrypted; pack it without a password.")
    unpacked = sum(info.file_size for info in infos)
    if unpacked > max(FREE, RATIO * size):
        message = f"its members unpack to {unpacked} bytes, {unpacked // size} times its size (at most {RATIO})"
        raise IntegrityError(f"{name}: {message}. Nothing was read.")

    def opener(info: zipfile.ZipInfo) -> Callable[[], Any]:
        return lambda: io.BufferedReader(archive.open(info))

    return _named(name, ((info.filename, opener(info)) for info in infos))


def _tar(name: str, path: Path, stack: ExitStack) -> dict[str, Callable[[], Any]]:
    unpacked = stack.enter_context(Found.whole(name, path).path())  # members are read in any order, gzip from the start
    length = unpacked.stat().st_size
    members = []
    with tarfile.open(unpacked, "r:") as archive:
        for number, member in enumerate(archive, 1):
            _check_number(name, number)
            if not (member.isfile() or member.isdir()) or member.issparse():
                raise IntegrityError(f"{name}: {member.name!r} is a link or a device, not a file. Nothing was read.")
            if member.offset_data + member.size > length:
                raise InputError(f"{name}: ends within {member.name!r}: the file may be truncated.")
            if member.isfile():
                members.append((member.name, _part(unpacked, member.offset_data, member.size)))
            else:
                _safe(name, member.name)
    return _named(name, members)


def _part(path: Path, start: int, size: int) -> Callable[[], Any]:
    return lambda: io.BufferedReader(_Part(path, start, size))


class _Part(io.RawIOBase):
    """Some bytes of a file as a stream."""

    def __init__(self, path: Path, start: int, size: int) -> None:
        self.stream, self.left = path.open("rb"), size
        self.stream.seek(start)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)[: self.left]
        got = self.stream.readinto(view)
        self.left -= got
        return got

    def close(self) -> None:
        self.stream.close()
        super().close()


def _check_number(name: str, members: int) -> None:
    if members > MEMBERS:
        raise IntegrityError(f"{name}: holds more than {MEMBERS} members. Nothing was read.")


def _named(name: str, members: Any) -> dict[str, Callable[[], Any]]:
    found: dict[str, Callable[[], Any]] = {}
    for member, opener in members:
        if (safe := _safe(name, member)) in found:
            raise IntegrityError(f"{name}: holds {member!r} twice. Nothing was read.")
        found[safe] = opener
    return found


def _safe(name: str, member: str) -> str:
    """Return a member's name in plain form; `IntegrityError` where it points out of its folder."""
    path = PurePosixPath(member.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", member) or "\0" in member:
        raise IntegrityError(f"{name}: {member!r} points out of the archive's folder. Nothing was read.")
    return str(path)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{names[:SHOWN]}{more}"
