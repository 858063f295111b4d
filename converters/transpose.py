"""Matrices that do not come cell by cell, turned out of core: in memory while small, else in files without a name.

The files are removed as soon as they are open, so that nothing is left behind whatever happens.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from cellzoo.converters.rows import Memory, Rows, blocks, canonical
from cellzoo.converters.write import partial_folder
from cellzoo.errors import WorldError

IN_MEMORY = 32_000_000
"""Non-zeros of a matrix that are held in memory, about 0.4 GB; what has more goes to a file."""
BUCKET = 1024
"""Cells that are put in order at a time."""
PIECE = 2_000_000
"""Values that are turned or written to a file at a time."""


class Scratch:
    """A file without a name in the cache folder, written at its end and read anywhere; gone with its last user."""

    def __init__(self) -> None:
        with partial_folder() as folder:
            handle, name = tempfile.mkstemp(dir=folder)
            Path(name).unlink()
        self.handle, self.size, self.folder = handle, 0, folder
        weakref.finalize(self, os.close, handle)

    def append(self, values: np.ndarray) -> int:
        """Write an array at the end and return where it starts; `WorldError` where the disk is full."""
        start, view = self.size, np.ascontiguousarray(values).view(np.uint8).data
        try:
            while view:
                written = os.pwrite(self.handle, view, self.size)
                self.size, view = self.size + written, view[written:]
        except OSError as error:
            message = f"{self.folder}: {error.strerror}. A large matrix is put in order there; set CELLZOO_HOME"
            raise WorldError(f"{message} to a folder on a larger disk.") from error
        return start

    def read(self, start: int, count: int, dtype: Any) -> np.ndarray:
        """Return ``count`` values from a place on."""
        values = np.empty(count, dtype)
        view = values.view(np.uint8).data
        while view:
            got = os.preadv(self.handle, [view], start)
            start, view = start + got, view[got:]
        return values


class Spilled:
    """A matrix (cells, features) in a scratch file, read by ranges of cells."""

    def __init__(self, values: Scratch, features: Scratch, ends: np.ndarray, columns: int, dtype: Any) -> None:
        self.values, self.features, self.ends = values, features, ends
        self.shape = (len(ends) - 1, columns)
        self.dtype: np.dtype[Any] = np.dtype(dtype)

    def read(self, start: int, stop: int) -> sp.csr_matrix:
        """Return those cells."""
        ends = self.ends[start : min(stop, self.shape[0]) + 1]
        first, count = int(ends[0]), int(ends[-1] - ends[0])
        values = self.values.read(first * self.dtype.itemsize, count, self.dtype)
        features = self.features.read(first * 4, count, np.int32)
        return sp.csr_matrix((values, features, ends - first), shape=(len(ends) - 1, self.shape[1]))


def gather(parts: Iterable[Any], columns: int, dtype: Any = np.float64) -> Rows:
    """Return blocks of cells that come in order, dense or CSR, as one matrix; above `IN_MEMORY` in a file."""
    held: list[sp.csr_matrix] = []
    size, ends = 0, [np.zeros(1, np.int64)]
    files: tuple[Scratch, Scratch] | None = None
    for part in parts:
        block = canonical(part)
        ends.append(size + block.indptr[1:].astype(np.int64))
        size += block.nnz
        held.append(block)
        if files is None and size > IN_MEMORY:
            files = (Scratch(), Scratch())
        if files is not None:
            for one in held:
                files[0].append(one.data.astype(dtype, copy=False))
                files[1].append(one.indices.astype(np.int32, copy=False))
            held.clear()
    if files is not None:
        return Spilled(*files, np.concatenate(ends), columns, dtype)
    return Memory(
        sp.vstack(held, format="csr", dtype=dtype) if held else sp.csr_matrix((0, columns), dtype=np.dtype(dtype))
    )


def settled(rows: Rows) -> Rows:
    """Return a matrix that no longer needs the file it was read from."""
    return gather((block for _, block in blocks(rows)), rows.shape[1], rows.dtype)


class Turn:
    """Collects single values of a matrix in any order and gives them out by ranges of cells."""

    def __init__(self, dtype: Any = np.float64) -> None:
        self.entry = np.dtype([("cell", np.int32), ("feature", np.int32), ("value", dtype)])
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self.held: list[np.ndarray] = []
        self.size = 0
        self.file: Scratch | None = None
        self.places: dict[int, list[tuple[int, int]]] = defaultdict(list)

    def add(self, cells: Any, features: Any, values: Any) -> None:
        """Take values with their cells and features, each an array or one number for all."""
        piece = np.empty(np.broadcast_shapes(*(np.shape(one) for one in (cells, features, values))), self.entry)
        piece["cell"], piece["feature"], piece["value"] = cells, features, values
        self.held.append(piece)
        self.size += len(piece)
        if self.size > (IN_MEMORY if self.file is None else PIECE):
            self._spill()

    def _spill(self) -> None:
        """Write what is held to the file, the values of each bucket of cells together."""
        self.file = self.file or Scratch()
        while self.held:
            group = [self.held.pop()]
            while self.held and sum(map(len, group)) + len(self.held[-1]) <= PIECE:
                group.append(self.held.pop())
            piece = np.concatenate(group)
            buckets = piece["cell"] // BUCKET
            order = np.argsort(buckets, kind="stable")
            names, counts = np.unique(buckets, return_counts=True)
            start = self.file.append(piece[order])
            for name, count in zip(names.tolist(), counts.tolist(), strict=True):
                self.places[name].append((start, count))
                start += count * self.entry.itemsize
        self.size = 0

    def rows(self, cells: int, columns: int) -> Rows:
        """Return all that was taken as a matrix (cells, columns); what was given twice for one place is summed."""
        if self.file is None:
            pieces, self.held = self.held, []
            return Memory(self._csr(pieces, 0, cells, columns))
        self._spill()
        starts = range(0, cells, BUCKET)
        return gather(
            (self._bucket(start, min(BUCKET, cells - start), columns) for start in starts), columns, self.dtype
        )

    def _bucket(self, start: int, cells: int, columns: int) -> sp.csr_matrix:
        file, places = self.file, self.places.pop(start // BUCKET, [])
        pieces = [file.read(place, count, self.entry) for place, count in places] if file else []
        return self._csr(pieces, start, cells, columns)

    def _csr(self, pieces: list[np.ndarray], start: int, cells: int, columns: int) -> sp.csr_matrix:
        names = ("value", "cell", "feature")
        empty = [np.empty(0, self.entry)]
        value, cell, feature = (np.concatenate([piece[name] for piece in pieces or empty]) for name in names)
        return canonical(sp.csr_matrix((value, (cell - np.int32(start), feature)), shape=(cells, columns)))


def turned(indptr: np.ndarray, indices: Any, data: Any, cells: int) -> Rows:
    """Return a column-wise matrix (CSC, by feature; the arrays in a file or in memory) by ranges of cells."""
    turn = Turn(data.dtype)
    for start in range(0, int(indptr[-1]), PIECE):
        stop = min(start + PIECE, int(indptr[-1]))
        features = np.searchsorted(indptr, np.arange(start, stop), side="right") - 1
        turn.add(np.asarray(indices[start:stop]), features, np.asarray(data[start:stop]))
    return turn.rows(cells, len(indptr) - 1)


def reordered(rows: Rows, place: np.ndarray) -> Rows:
    """Return the cells of a matrix in another order: ``place`` says where each goes, -1 leaves it out."""
    turn = Turn(rows.dtype)
    for start, block in blocks(rows):
        cells = np.repeat(place[start : start + block.shape[0]], np.diff(block.indptr))
        kept = cells >= 0
        turn.add(cells[kept], block.indices[kept], block.data[kept])
    return turn.rows(int((place >= 0).sum()), rows.shape[1])
