"""One matrix of a store: the same CSR either hot (mapped into memory as it is) or packed (compressed groups of rows).

A value that its small type cannot hold stands as the largest number of that type, and exactly in a side list of
(place, float64): so any value is held, and the type is only a matter of size. Ids are those of the users' order.

    ends.i64 totals.f64              where each row ends (from 0 on), and its sum
    escapes.i64 escapes.f64          places that increase, and values
    ids.u16|u32 values.u8|…          hot
    groups.i64 groups.bin            packed: (row end, byte end, bytes of gaps) of each group, and the groups
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from cellzoo.converters.store.layout import frozen, mapped
from cellzoo.errors import GenesError, InputError, IntegrityError

TYPES = {"u8": "u1", "u16": "<u2", "u32": "<u4", "f32": "<f4", "f64": "<f8"}
HOT_GROUP = 128
FAULTS = {
    2: "a feature that is not there",
    3: "a large count that its side list does not have",
    4: "a group whose bytes do not add up",
}


class Buffers:
    """Memory that `Store.gather` uses again: what it returned before is overwritten. One for each thread."""

    def __init__(self) -> None:
        self._indices = np.empty(0, np.int32)
        self._data: dict[str, np.ndarray] = {}

    def room(self, values: int, dtype: np.dtype[Any]) -> tuple[np.ndarray, np.ndarray]:
        """Return memory for so many indices and values."""
        if len(self._indices) < values:
            self._indices = np.empty(values + values // 8, np.int32)
        if len(self._data.get(dtype.name, ())) < values:
            self._data[dtype.name] = np.empty(values + values // 8, dtype)
        return self._indices[:values], self._data[dtype.name][:values]


class Pool:
    """Threads that read the rows of one request together."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._others = ThreadPoolExecutor(max(threads - 1, 1), thread_name_prefix="rows")

    def run(self, task: Callable[[slice], int], rows: int) -> int:
        """Run a task on equal parts of so many rows and return the largest of what it returned."""
        parts = [slice(a, b) for a, b in pairwise(np.linspace(0, rows, self.threads + 1).astype(int).tolist())]
        others = [self._others.submit(task, part) for part in parts[1:]]
        return max(task(parts[0]), *(other.result() for other in others), 0)


class Matrix:
    """Values (cells, features) of a store."""

    def __init__(self, path: Path, record: Mapping[str, Any], features: int, files: Mapping[str, Any]) -> None:
        self.path = path / record["folder"]
        self._record, self._files, self._root = record, dict(files), path
        self.encoding: str = record["encoding"]
        self.shape = (int(record["rows"]), features)
        self.dtype: np.dtype[Any] = np.dtype(np.float64 if record["wide"] else np.float32)
        self.sentinel = sentinel(record["values"])

    def __getstate__(self) -> dict[str, Any]:
        """Leave open files behind: another process opens its own."""
        names = {"path", "_record", "_files", "_root", "encoding", "shape", "dtype", "sentinel"}
        return {name: value for name, value in vars(self).items() if name in names}

    def _file(self, name: str, dtype: str) -> np.ndarray:
        return mapped(self._root, f"{self._record['folder']}/{name}", dtype, self._files)

    @cached_property
    def indptr(self) -> np.ndarray:
        """Return where each row starts, and the end: int64 (cells + 1)."""
        ends = self._file("ends.i64", "<i8")
        if len(ends) != self.shape[0] + 1 or ends[0] != 0 or (np.diff(ends) < 0).any():
            raise self._torn("ends of rows that do not increase")
        values = self._file(*self._values) if self.encoding == "hot" else None
        if values is not None and (len(values) != ends[-1] or len(self._ids) != ends[-1]):
            raise self._torn("another number of values than its rows have")
        return ends

    @property
    def _values(self) -> tuple[str, str]:
        return f"values.{self._record['values']}", TYPES[self._record["values"]]

    @cached_property
    def _ids(self) -> np.ndarray:
        return self._file(f"ids.{self._record['ids']}", TYPES[self._record["ids"]])

    @cached_property
    def _codes(self) -> np.ndarray:
        return self._file(*self._values)

    @cached_property
    def totals(self) -> np.ndarray:
        """Return the sum of each row: float64 (cells)."""
        totals = self._file("totals.f64", "<f8")
        if len(totals) != self.shape[0]:
            raise self._torn("another number of sums than rows")
        return totals

    @cached_property
    def _escapes(self) -> tuple[np.ndarray, np.ndarray]:
        at, values = self._file("escapes.i64", "<i8"), self._file("escapes.f64", "<f8")
        if len(at) != len(values):
            raise self._torn("another number of large counts than places for them")
        return at, values

    @property
    def nnz(self) -> int:
        """Return the number of values that are not zero."""
        return int(self.indptr[-1])

    @cached_property
    def order(self) -> np.ndarray:
        """Return the features, those detected in most cells first: int32."""
        return ranked(self._record["order"], self.shape[1])

    @cached_property
    def _bytes(self) -> np.ndarray:
        return self._file("groups.bin", "u1")

    @cached_property
    def _groups(self) -> np.ndarray:
        groups = np.vstack([np.zeros((1, 3), np.int64), self._file("groups.i64", "<i8").reshape(-1, 3)])
        whole = [self.shape[0], len(self._bytes)]
        if groups[-1, :2].tolist() != whole or (np.diff(groups[:, :2], axis=0) < 0).any() or groups.min() < 0:
            raise self._torn("ends of groups that do not increase")
        return groups

    @cached_property
    def groups(self) -> np.ndarray:
        """Return the first row of each group, and the end: what a cold disk is read by and unpacked at once."""
        if self.encoding == "packed":
            return np.ascontiguousarray(self._groups[:, 0])
        return np.append(np.arange(0, self.shape[0], HOT_GROUP), self.shape[0])

    def gather(
        self,
        rows: np.ndarray,
        *,
        normalize: float | None = None,
        log1p: bool = False,
        columns: np.ndarray | None = None,
        out: Buffers | None = None,
        pool: Pool | None = None,
    ) -> sp.csr_matrix:
        """Return rows in the order they are asked for as canonical CSR; see `Store.gather`."""
        rows = self._checked(rows)
        raw = normalize is None and not log1p
        dtype = self.dtype if raw else np.dtype(np.float32)
        if normalize is not None and not normalize > 0:
            raise InputError(f"normalize: {normalize} is no sum to bring cells to; expected a number above 0.")
        places = self.indptr[rows]
        lengths = self.indptr[rows + 1] - places
        indptr = np.concatenate([[0], np.cumsum(lengths)])
        room = int(indptr[-1])
        if room >= 2**31:
            raise InputError(f"{len(rows)} cells have {room} values: more than one CSR holds here. Read fewer at once.")
        if self.encoding == "hot":
            at, ids, codes = places, self._ids, self._codes
        else:
            at, ids, codes = self._unpack(rows)
        column = None if columns is None else self._column(np.asarray(columns))
        indices, data = out.room(room, dtype) if out else (np.empty(room, np.int32), np.empty(room, dtype))
        from cellzoo.converters.store import kernels

        totals = self.totals[rows] if normalize is not None else np.empty(0)

        def write(part: slice) -> int:
            starts = at[part], places[part], lengths[part]
            scale = totals[part], float(normalize or 0), log1p
            matrix = indptr[part], indices, data
            return int(
                kernels.gather(*starts, ids, codes, self.sentinel, *self._escapes, *scale, self.shape[1], *matrix)
            )

        if found := pool.run(write, len(rows)) if pool else write(slice(0, len(rows))):
            raise self._torn(FAULTS[found])
        if column is not None:
            kernels.choose(column, indptr, indices, data)
        used = int(indptr[-1])
        width = self.shape[1] if columns is None else len(columns)
        csr = sp.csr_matrix((data[:used], indices[:used], indptr.astype(np.int32)), shape=(len(rows), width))
        if columns is not None and (np.diff(columns) < 0).any():
            csr.has_sorted_indices = False
            csr.sort_indices()
        csr.has_canonical_format = True
        return csr

    def _checked(self, rows: np.ndarray) -> np.ndarray:
        rows = np.asarray(rows)
        if rows.ndim != 1 or (rows.dtype.kind not in "iu" and rows.size):
            raise InputError(f"rows are an array of {rows.ndim} dimensions and {rows.dtype}; expected one of integers.")
        rows = rows.astype(np.int64, copy=False)
        if rows.size and (rows.min() < 0 or rows.max() >= self.shape[0]):
            raise InputError(f"rows {rows.min()} to {rows.max()} were asked for; there are {self.shape[0]} cells.")
        return rows

    def _column(self, columns: np.ndarray) -> np.ndarray:
        """Return the new column of each feature, -1 for none."""
        if columns.size and (columns.min() < 0 or columns.max() >= self.shape[1]):
            raise GenesError(f"columns up to {columns.max()} were asked for; there are {self.shape[1]} features.")
        column = np.full(self.shape[1], -1, np.int32)
        column[columns] = np.arange(len(columns), dtype=np.int32)
        if int((column >= 0).sum()) != len(columns):
            raise GenesError("a feature was asked for twice.")
        return column

    def _unpack(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return where each row starts, and ids and codes of just these rows, each once and in increasing order."""
        from cellzoo.converters.store import kernels

        unique, place = np.unique(rows, return_inverse=True)
        ends = np.concatenate([[0], np.cumsum(self.indptr[unique + 1] - self.indptr[unique])])
        values = TYPES[self._record["values"]]
        ids, codes = np.empty(ends[-1], TYPES[self._record["ids"]]), np.empty(ends[-1], values)
        group = np.searchsorted(self.groups, unique, side="right") - 1
        cuts = [*np.flatnonzero(np.diff(group, prepend=-1)).tolist(), len(unique)]
        for a, b in pairwise(cuts):
            (first, start, _), (last, stop, gap_bytes) = self._groups[group[a] : group[a] + 2].tolist()
            inside = self.indptr[first : last + 1]
            raw = self._decompressed(start, stop, gap_bytes + int(inside[-1] - inside[0]) * codes.itemsize)
            packed = np.ascontiguousarray(raw[gap_bytes:].reshape(codes.itemsize, -1).T).reshape(-1).view(values)
            mine = slice(ends[a], ends[b])
            wanted = unique[a:b] - first
            if found := kernels.unpack(
                *(inside, wanted, raw[:gap_bytes], frozen(packed), self.shape[1], ids[mine], codes[mine])
            ):
                raise self._torn(FAULTS[found])
        return ends[place], frozen(ids), frozen(codes)

    def _decompressed(self, start: int, stop: int, size: int) -> np.ndarray:
        import pyarrow as pa

        content = self._bytes[start:stop]
        if not size:
            return np.empty(0, np.uint8)
        try:
            raw = codec(self._record["codec"]).decompress(pa.py_buffer(content), size)
        except (pa.ArrowException, OSError) as error:
            raise self._torn(f"a group that cannot be unpacked ({error})") from error
        return np.frombuffer(raw, np.uint8)

    def _torn(self, what: str) -> IntegrityError:
        return IntegrityError(
            f"{self.path}: has {what}: it was altered. `cellzoo store verify` names the files; copy it anew."
        )


class StoreRows:
    """Cells of a matrix of a store by ranges, for whoever takes `cellzoo.converters.rows.Rows`."""

    def __init__(self, matrix: Matrix, start: int, stop: int, columns: np.ndarray | None = None) -> None:
        self.matrix, self.start, self.columns = matrix, start, columns
        self.shape = (stop - start, matrix.shape[1] if columns is None else len(columns))
        self.dtype = matrix.dtype

    def read(self, start: int, stop: int) -> sp.csr_matrix:
        """Return those cells."""
        rows = np.arange(self.start + start, self.start + min(stop, self.shape[0]))
        return self.matrix.gather(rows, columns=self.columns)


def codec(name: str) -> Any:
    """Return what compresses and decompresses."""
    import pyarrow as pa

    return pa.Codec("zstd", compression_level=1) if name == "zstd" else pa.Codec("lz4_raw")


def sentinel(values: str) -> int:
    """Return the number that stands for an escaped value of a type; 0 where nothing is escaped."""
    return int(np.iinfo(TYPES[values]).max) if values.startswith("u") else 0


def ranked(order: list[int], features: int) -> np.ndarray:
    """Return an order of the first features with those that came later behind them."""
    return np.concatenate([np.asarray(order, np.int32), np.arange(len(order), features, dtype=np.int32)])


def groups_of(lengths: np.ndarray, values: int, rows: int) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of groups that just have so many values or rows; a rest that has neither is not yielded."""
    ends = np.concatenate([[0], np.cumsum(lengths)])
    start = 0
    while True:
        stop = min(int(np.searchsorted(ends, ends[start] + values)), start + rows)
        if stop >= len(ends):
            return
        yield start, stop
        start = stop
