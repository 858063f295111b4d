"""Matrices that are read by ranges of cells, so that none has to fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp

from cellzoo.errors import InputError

BLOCK_BYTES = 2**24
"""About what one block of cells takes in memory."""
FIRST_BLOCK, LONGEST_BLOCK = 512, 65_536  # cells: before anything is known of their density, and at most
FAR = 16  # cells between two picked ones that are read along with them
TALL = 8  # times `BLOCK_BYTES` that a dense piece may take, to read chunks of many cells only once


class Rows(Protocol):
    """A matrix (cells, features) that is read by ranges of cells."""

    @property
    def shape(self) -> tuple[int, int]:
        """Return the number of cells and of features."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return the type of the values."""

    def read(self, start: int, stop: int) -> sp.csr_matrix:
        """Return those cells as canonical CSR: sorted, no entry twice, no explicit zero."""


def kept_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type in which values of another are held: SciPy has no sparse matrices of float16."""
    return np.dtype(np.float32) if dtype == np.float16 else dtype


def canonical(matrix: Any) -> sp.csr_matrix:
    """Return a matrix as CSR with sorted columns, no entry twice and no explicit zero; the given one is not changed."""
    matrix = matrix.astype(kept_type(matrix.dtype), copy=False)
    csr = sp.csr_matrix(matrix)
    shared = sp.issparse(matrix)
    if not csr.has_canonical_format:
        csr = csr.copy() if shared else csr
        csr.sum_duplicates()
        shared = False
    if csr.data.size and not csr.data.all():
        csr = csr.copy() if shared else csr
        csr.eliminate_zeros()
    return csr


def in_memory(matrix: Any) -> Any:
    """Return a matrix of an AnnData that is opened on disk as one in memory, any other as it is."""
    if hasattr(matrix, "to_memory"):
        return matrix.to_memory()
    return matrix if sp.issparse(matrix) or isinstance(matrix, np.ndarray) else matrix[:]


class Memory:
    """A matrix that is in memory."""

    def __init__(self, matrix: Any) -> None:
        self.csr = canonical(matrix)
        self.shape: tuple[int, int] = self.csr.shape
        self.dtype: np.dtype[Any] = self.csr.dtype

    def read(self, start: int, stop: int) -> sp.csr_matrix:
        """Return those cells."""
        return self.csr if (start, stop) == (0, self.shape[0]) else self.csr[start:stop]


def check_pointers(ends: np.ndarray, number: int, values: int) -> None:
    """Raise ValueError where the pointers of a sparse matrix are not those of so many rows, or columns, and values."""
    if len(ends) != number + 1:
        raise ValueError(f"has {len(ends)} pointers there, expected {number + 1}")
    if ends[0] < 0 or (ends[1:] < ends[:-1]).any():
        raise ValueError("its pointers do not follow each other")
    if ends[-1] > values:
        raise ValueError(f"its pointers end at {ends[-1]}, it has {values} values")


class Stored:
    """A dense matrix (cells, features), a CSR group of AnnData, or a dense (features, cells) one in an HDF5 file."""

    def __init__(self, path: Path, key: str, turned: bool = False) -> None:
        import h5py

        self.path, self.key, self.turned = path, key, turned
        node = self._node
        self.dense = isinstance(node, h5py.Dataset)
        if self.dense:
            shape: Sequence[int] = node.shape[::-1] if turned else node.shape
            dtype = node.dtype
        else:
            shape = node.attrs.get("shape", node.attrs.get("h5sparse_shape"))
            dtype = node["data"].dtype
        self.dtype: np.dtype[Any] = kept_type(dtype)
        self.shape: tuple[int, int] = (int(shape[0]), int(shape[1]))

    @cached_property
    def _node(self) -> Any:
        import h5py

        return h5py.File(self.path)[self.key]

    @cached_property
    def _indptr(self) -> np.ndarray:
        return np.asarray(self._part("indptr")[:])

    def _part(self, name: str) -> Any:
        """Return an array of a sparse matrix; ValueError where it is missing."""
        if name not in self._node:
            raise ValueError(f"has no {name}")
        return self._node[name]

    def __getstate__(self) -> dict[str, Any]:
        """Leave the open file behind: another process opens its own."""
        return {name: value for name, value in vars(self).items() if name not in {"_node", "_indptr"}}

    def read(self, start: int, stop: int) -> sp.csr_matrix:
        """Return those cells; InputError where the file is damaged there."""
        try:
            return self._read(start, min(stop, self.shape[0]))
        except (OSError, ValueError, IndexError) as error:
            where = f"{self.path}: {self.key.lstrip('/')}, cells {start} to {stop}"
            raise InputError(f"{where}: cannot be read: {error}. The file is damaged.") from error

    def _read(self, start: int, stop: int) -> sp.csr_matrix:
        if self.dense:
            parts = [self._dense(*ends) for ends in pairwise(self._pieces(start, stop))]
            return parts[0] if len(parts) == 1 else sp.vstack(parts, format="csr")
        ends, data, indices = self._indptr[start : stop + 1], self._part("data"), self._part("indices")
        check_pointers(ends, stop - start, min(data.shape[0], indices.shape[0]))
        part = slice(int(ends[0]), int(ends[-1]))
        values, features = data[part].astype(self.dtype, copy=False), indices[part]
        if features.size and not 0 <= int(features.min()) <= int(features.max()) < self.shape[1]:
            strange = int(features.min()) if features.min() < 0 else int(features.max())
            raise ValueError(f"names feature {strange} of {self.shape[1]}")
        return canonical(sp.csr_matrix((values, features, ends - ends[0]), shape=(stop - start, self.shape[1])))

    def _dense(self, start: int, stop: int) -> sp.csr_matrix:
        return canonical(self._node[:, start:stop].T if self.turned else self._node[start:stop])

    def _pieces(self, start: int, stop: int) -> list[int]:
        """Return where the pieces of some cells of a dense matrix start, and the end: whole chunks where they fit."""
        chunk = (self._node.chunks or (1, 1))[self.turned]
        step = max(BLOCK_BYTES // max(self.shape[1] * self.dtype.itemsize, 1), 1)
        step = max(step // chunk, 1) * chunk if chunk <= TALL * step else step
        return [start, *range((start // step + 1) * step, stop, step), stop]


class Mapped:
    """A matrix each block of which is computed from the same cells of another."""

    def __init__(
        self,
        rows: Rows,
        columns: int,
        function: Callable[[sp.csr_matrix, int], sp.csr_matrix],
        dtype: Any = np.float32,
    ) -> None:
        self.rows, self.function = rows, function
        self.shape = (rows.shape[0], columns)
        self.dtype: np.dtype[Any] = np.dtype(dtype)

    def read(self, start: int, stop: int) -> sp.csr_matrix:
        """Return those cells; the function is given the block and where it starts."""
        return self.function(self.rows.read(start, stop), start)


def columns(rows: Rows, at: np.ndarray) -> Rows:
    """Return some features of a matrix."""
    return computed(rows, len(at), lambda block, _: block[:, at])


def placed(rows: Rows, place: np.ndarray, size: int) -> Rows:
    """Return a matrix over more features: column i goes to ``place[i]``."""
    if np.array_equal(place, np.arange(size)):
        return rows

    def put(block: sp.csr_matrix, _: int) -> sp.csr_matrix:
        moved = sp.csr_matrix((block.data, place[block.indices], block.indptr), shape=(block.shape[0], size))
        moved.sort_indices()
        return moved

    return computed(rows, size, put)


def computed(rows: Rows, size: int, function: Callable[[sp.csr_matrix, int], sp.csr_matrix]) -> Rows:
    """Return a matrix of the same type over ``size`` features, by blocks, or at once where it is in memory."""
    return Memory(function(rows.csr, 0)) if isinstance(rows, Memory) else Mapped(rows, size, function, rows.dtype)


class Picked:
    """Some cells of a matrix, in increasing order."""

    def __init__(self, rows: Rows, cells: np.ndarray) -> None:
        self.rows, self.cells = rows, np.asarray(cells)
        self.shape = (len(cells), rows.shape[1])
        self.dtype = rows.dtype

    def read(self, start: int, stop: int) -> sp.csr_matrix:
        """Return those cells; what lies between cells far apart is not read."""
        cells = self.cells[start:stop]
        runs = np.split(cells, np.flatnonzero(np.diff(cells) > FAR) + 1) if len(cells) else []
        read = [self.rows.read(int(run[0]), int(run[-1]) + 1)[run - run[0]] for run in runs]
        return sp.vstack(read, format="csr") if read else sp.csr_matrix((0, self.shape[1]), dtype=self.dtype)


class Stacked:
    """Matrices with the same features, one after the other."""

    def __init__(self, parts: Sequence[Rows]) -> None:
        self.parts = parts
        self.starts = np.cumsum([0, *(part.shape[0] for part in parts)])
        self.shape = (int(self.starts[-1]), parts[0].shape[1])
        self.dtype = np.result_type(*(part.dtype for part in parts))

    def read(self, start: int, stop: int) -> sp.csr_matrix:
        """Return those cells, of as many parts as they lie in."""
        read = [
            part.read(max(start - first, 0), min(stop - first, part.shape[0]))
            for part, first in zip(self.parts, self.starts.tolist(), strict=False)
            if first < stop and start < first + part.shape[0]
        ]
        if not read:
            return sp.csr_matrix((0, self.shape[1]), dtype=self.dtype)
        return read[0] if len(read) == 1 else sp.vstack(read, format="csr")


def blocks(rows: Rows, cells: int | None = None) -> Iterator[tuple[int, sp.csr_matrix]]:
    """Yield (start, cells from there) over the whole matrix, about 16 MB or a given number of cells at a time."""
    start, size = 0, cells or FIRST_BLOCK
    while start < rows.shape[0]:
        block = rows.read(start, min(start + size, rows.shape[0]))
        yield start, block
        start += block.shape[0]
        if cells is None:
            size = cells_in(BLOCK_BYTES, block)


def cells_in(size: int, block: sp.csr_matrix) -> int:
    """Return how many cells like those of a block take about so many bytes, 64 to `LONGEST_BLOCK`."""
    per_cell = max(block.nnz * (block.dtype.itemsize + 4) / max(block.shape[0], 1), 1.0)
    return min(max(int(size / per_cell), 64), LONGEST_BLOCK)


def to_csr(rows: Rows) -> sp.csr_matrix:
    """Return the whole matrix in memory."""
    if isinstance(rows, Memory):
        return rows.csr
    read = [block for _, block in blocks(rows)]
    return sp.vstack(read, format="csr") if read else sp.csr_matrix(rows.shape, dtype=rows.dtype)
