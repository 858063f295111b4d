"""What lies in the folder of a store: append-only files, blobs by content, and one manifest that names them all.

    manifest.json                    what is in the store, and bytes and sha256 of every file
    journal.json                     only while something is written: how far it is certain
    datasets/records.jsonl           one line a data set: its id, rows and where its columns are
    features/<space>.jsonl           names of the features of X and its layers, of raw, of each modality
    matrices/<n>-<name>/…            one matrix (`cellzoo.converters.store.matrix`)
    columns/<n>-<name>.…             one column of obs, or one array of obsm (`cellzoo.converters.store.columns`)
    blobs/<sha256>.<npy|parquet|json>  what belongs to one data set: var, uns, …

Files only grow. What the journal or the manifest does not count, an interrupted writer left: the next one cuts it off.
Rows are in the order in which data sets came, not shuffled: so a store can be appended to and resumed, and a data set
is one stretch of rows. Whoever reads a cold disk draws row groups at random instead (`Matrix.groups`).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from cellzoo.errors import InputError, IntegrityError, WorldError

FORMAT, VERSION = "cellzoo store", 1
MANIFEST, JOURNAL, LOCK = "manifest.json", "journal.json", ".lock"
DATASETS = "datasets/records.jsonl"
OURS = re.compile(
    r"datasets/records\.jsonl|features/\d+-[\w-]*\.jsonl|matrices/\d+-[\w-]*/\w+\.\w+|columns/\d+-[\w-]*\.[\w.]+|blobs/[0-9a-f]{64}\.\w+"
)
"""Every name that a store gives to a file."""

State = dict[str, Any]


def empty_state(encoding: str, codec: str) -> State:
    """Return what a manifest says of a store without cells."""
    head = {"format": FORMAT, "version": VERSION, "cells": 0, "encoding": encoding, "codec": codec}
    return head | {"spaces": {}, "matrices": {}, "columns": [], "lengths": {}}


def named(folder: str, number: int, name: str) -> str:
    """Return a path inside the store for something whose name may hold any character."""
    return f"{folder}/{number}-{re.sub('[^A-Za-z0-9_]+', '-', name)[:40]}"


def read_state(path: Path, name: str = MANIFEST) -> State:
    """Return the manifest or the journal of a store; InputError where it is none, or of a newer cellzoo."""
    if not (path / name).is_file():
        if (path / JOURNAL).is_file():
            raise InputError(f"{path}: its build was interrupted. Run the same `cellzoo store build` again.")
        raise InputError(f"{path}: is no store: there is no {name} in it.")
    try:
        state = json.loads((path / name).read_bytes())
        found, version = state["format"], int(state["version"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path / name}: is not the {name} of a store, or damaged: {error}.") from error
    if found != FORMAT:
        raise InputError(f"{path / name}: its format is {found!r}, expected {FORMAT!r}.")
    if version > VERSION:
        raise InputError(
            f"{path}: a newer cellzoo wrote it (version {version}; this one reads {VERSION}). Update cellzoo."
        )
    return dict(state)


def write_state(path: Path, name: str, state: State) -> None:
    """Write the manifest or the journal in one step; it is on the disk when this returns."""
    temporary = path / f"{name}.new"  # one name: what a killed writer left is written over
    with saying_what_to_do(path), temporary.open("wb") as stream:
        stream.write(line(state))
        stream.flush()
        os.fsync(stream.fileno())
        temporary.replace(path / name)
        _sync_folder(path)


def _bytes(array: np.ndarray) -> Any:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


@contextmanager
def _opened(file: Path, flags: int) -> Iterator[int]:
    with saying_what_to_do(file):
        handle = os.open(file, flags, 0o666)
        try:
            yield handle
        finally:
            os.close(handle)


def _sync_folder(path: Path) -> None:
    with _opened(path, os.O_RDONLY) as handle:
        os.fsync(handle)


@contextmanager
def saying_what_to_do(path: Path) -> Iterator[None]:
    """Turn an error of the disk into a `WorldError` that says how to go on."""
    try:
        yield
    except WorldError:
        raise
    except OSError as error:
        remedy = "Make room or mend it and run the same command again: what was written is kept."
        raise WorldError(f"{path}: cannot be written: {error.strerror or error}. {remedy}") from error


class Files:
    """The files of a store that is being written."""

    def __init__(self, path: Path, lengths: dict[str, int]) -> None:
        self.path, self.lengths = path, lengths
        self._unsynced: set[str] = set()

    def append(self, name: str, content: np.ndarray | bytes) -> None:
        """Write bytes at the end of a file."""
        raw = memoryview(_bytes(content) if isinstance(content, np.ndarray) else content)
        file = self.path / name
        if name not in self.lengths:
            with saying_what_to_do(self.path):
                file.parent.mkdir(parents=True, exist_ok=True)
            self.lengths[name] = 0
        at = self.lengths[name]
        with _opened(file, os.O_WRONLY | os.O_CREAT) as handle:
            while raw:  # a write may be a part of what was asked for
                done = os.pwrite(handle, raw, at)
                at, raw = at + done, raw[done:]
        self.lengths[name] = at
        self._unsynced.add(name)

    def put(self, content: bytes, suffix: str) -> str:
        """Write bytes under the name of their sha256 and return that name."""
        name = f"blobs/{hashlib.sha256(content).hexdigest()}.{suffix}"
        if name not in self.lengths:
            self.append(name, content)
        return name

    def sync(self) -> None:
        """Return when everything is on the disk."""
        for name in sorted(self._unsynced):
            with _opened(self.path / name, os.O_RDONLY) as handle:
                os.fsync(handle)
        for folder in sorted({(self.path / name).parent for name in self._unsynced}):
            _sync_folder(folder)
        self._unsynced.clear()

    def cut(self) -> None:
        """Cut off and remove what an interrupted writer left; IntegrityError where something is missing."""
        for name, length in self.lengths.items():
            size = _size(self.path / name)
            if size < length:
                raise IntegrityError(f"{self.path / name}: has {size} bytes, expected {length}. Build the store anew.")
            if size > length:
                os.truncate(self.path / name, length)
        for name in present(self.path) - set(self.lengths):
            (self.path / name).unlink()


def _size(file: Path) -> int:
    return file.stat().st_size if file.is_file() else 0


def present(path: Path) -> set[str]:
    """Return the files in a store that have a name a store gives."""
    found = {
        file.relative_to(path).as_posix() for folder in path.iterdir() if folder.is_dir() for file in folder.rglob("*")
    }
    return {name for name in found if OURS.fullmatch(name) and (path / name).is_file()}


def check_sizes(path: Path, files: dict[str, dict[str, Any]]) -> None:
    """Raise IntegrityError that names every file that is missing or shorter than the manifest says."""
    short = []
    for name, record in files.items():
        if not OURS.fullmatch(name):
            raise IntegrityError(f"{path / MANIFEST}: names a file {name!r} that no store has.")
        if (size := _size(path / name)) < record["bytes"]:
            short.append(f"{name} has {size} bytes, expected {record['bytes']}")
    if short:
        raise IntegrityError(f"{path}: {'; '.join(short[:10])}. Copy or build the store anew.")


def digest(file: Path, length: int) -> str:
    """Return the sha256 of the first ``length`` bytes of a file."""
    total = hashlib.sha256()
    with file.open("rb") as stream:
        while length and (block := stream.read(min(length, 2**22))):
            total.update(block)
            length -= len(block)
    return total.hexdigest()


def line(value: Any) -> bytes:
    """Return what `read_lines` reads: a value as JSON text on a line of its own."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def read_lines(path: Path, name: str, length: int) -> list[Any]:
    """Return the values in the first ``length`` bytes of a file of the store that holds one JSON text a line."""
    if not length:
        return []
    with (path / name).open("rb") as stream:
        return [json.loads(line) for line in stream.read(length).splitlines()]


def mapped(path: Path, name: str, dtype: str, files: dict[str, dict[str, Any]]) -> np.ndarray:
    """Return a file of the store as an array that is read when it is looked at."""
    length = files.get(name, {"bytes": 0})["bytes"] // np.dtype(dtype).itemsize
    if not length:
        return frozen(np.empty(0, dtype))
    return np.memmap(path / name, dtype=dtype, mode="r", shape=(length,)).view(np.ndarray)


def frozen(array: np.ndarray) -> np.ndarray:
    """Return an array as one that is only read, as those of files are: kernels are compiled once for both."""
    array.flags.writeable = False
    return array
