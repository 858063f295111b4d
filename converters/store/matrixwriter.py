"""One matrix into a store: types chosen by looking at it, blocks of cells encoded, packed and appended."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp

from cellzoo.converters.h5ad import EXACT
from cellzoo.converters.rows import Rows, blocks
from cellzoo.converters.store.layout import Files, State, named
from cellzoo.converters.store.matrix import TYPES, codec, groups_of, sentinel
from cellzoo.errors import CountsError, InputError

GROUP_VALUES, GROUP_ROWS = 2**16, 2**16
"""Values, and cells at most, in a packed group: all that has to be unpacked for one cell that is read alone."""
LOOKS, LOOK_CELLS = 8, 128
"""Stretches of the first data set that are looked at to choose types and the order of features, and their cells."""
MANY = 1 / 16
"""Share of values above 254 from which two bytes for each are smaller than a side list."""


class MatrixWriter:
    """Appends rows of one matrix."""

    def __init__(self, working: State, files: Files, name: str, space: str, where: str) -> None:
        self.working, self.files, self.name, self.space, self.where = working, files, name, space, where

    def prepare(self, rows: Rows, column: np.ndarray | None, values: str | None) -> None:
        """Choose types and the order of features by looking at stretches of the first data set that has the matrix."""
        known = self.working["matrices"]
        if self.name not in known:
            features = self.working["spaces"][self.space]["features"]
            seen = [_recolumned(block, column, features) for block in _looked(rows)]
            counted = sum(
                (np.bincount(block.indices, minlength=features) for block in seen), np.zeros(features, np.int64)
            )
            roomy = 2**16 if self.space == "" else 2**14  # the features of other spaces may become more
            folder = named("matrices", len(known), self.name)
            chosen = values or _fitting(seen, rows.dtype)
            known[self.name] = {
                "folder": folder, "space": self.space, "rows": 0, "wide": chosen == "f64",
                "encoding": self.working["encoding"], "codec": self.working["codec"],
                "ids": "u16" if features <= roomy else "u32", "values": chosen,
                "order": np.argsort(-counted, kind="stable").tolist(),
            }  # fmt: skip
            self.files.append(f"{folder}/ends.i64", np.zeros(1, "<i8"))
            self.pad(self.files, known[self.name], self.working["cells"])
        self.record = known[self.name]
        self.features = self.working["spaces"][self.space]["features"]
        if self.record["ids"] == "u16" and self.features > 2**16:
            raise InputError(f"{self.where}: {self.features} features are too many for this store. Build a new one.")
        self.nnz = _last(self.files, f"{self.record['folder']}/ends.i64")

    @property
    def _bulk(self) -> str:
        return f"ids.{self.record['ids']}" if self.record["encoding"] == "hot" else "groups.bin"

    @staticmethod
    def pad(files: Files, record: dict[str, Any], rows: int) -> None:
        """Write rows without values up to a number of rows: of data sets that do not have the matrix."""
        if missing := rows - record["rows"]:
            end = _last(files, f"{record['folder']}/ends.i64")
            files.append(f"{record['folder']}/ends.i64", np.full(missing, end, "<i8"))
            files.append(f"{record['folder']}/totals.f64", np.zeros(missing, "<f8"))
            if record["encoding"] == "packed":
                bytes_end = files.lengths.get(f"{record['folder']}/groups.bin", 0)
                files.append(f"{record['folder']}/groups.i64", np.array([rows, bytes_end, 0], "<i8"))
            record["rows"] = rows

    def write(self, rows: Rows, column: np.ndarray | None, start: int) -> Iterator[tuple[int, int]]:
        """Write the cells from ``start`` on; yield how many of all are written and how many bytes were read for it."""
        pending: sp.csr_matrix | None = None
        for at, block in blocks(_From(rows, start)):
            whole = block if pending is None else sp.vstack([pending, block], format="csr")
            first = start + at + block.shape[0] - whole.shape[0]
            last = start + at + block.shape[0] == rows.shape[0]
            stop = self._append(whole, column, first, last)
            pending = whole[stop:] if stop < whole.shape[0] else None
            yield first + stop, block.nnz * (block.dtype.itemsize + 4)

    def _append(self, block: sp.csr_matrix, column: np.ndarray | None, first: int, last: bool) -> int:
        """Write as many rows of a block as make whole groups, all of them where it is the last; return how many."""
        lengths = np.diff(block.indptr)
        cuts = [(0, block.shape[0])]
        if self.record["encoding"] == "packed":
            cuts = list(groups_of(lengths, GROUP_VALUES, GROUP_ROWS))
            done = cuts[-1][1] if cuts else 0
            if last and done < block.shape[0]:
                cuts.append((done, block.shape[0]))
        stop = cuts[-1][1] if cuts else 0
        if stop < block.shape[0]:
            block = block[:stop]
        if stop == 0:
            return 0
        block = _recolumned(block, column, self.features)
        codes, ids = self._encoded(block, first), block.indices.astype(TYPES[self.record["ids"]])
        folder, ends = self.record["folder"], block.indptr.astype("<i8")
        if self.record["encoding"] == "hot":
            self.files.append(f"{folder}/{self._bulk}", ids)
            self.files.append(f"{folder}/values.{self.record['values']}", codes)
        else:
            self._pack(ids, codes, ends, cuts)
        self.files.append(f"{folder}/ends.i64", self.nnz + ends[1:])
        self.nnz += int(ends[-1])
        self.record["rows"] += stop
        return stop

    def _encoded(self, block: sp.csr_matrix, first: int) -> np.ndarray:
        """Return the values as what is written, and write sums and what does not fit beside it."""
        from cellzoo.converters.store import kernels

        folder, kind = self.record["folder"], self.record["values"]
        data = block.data if block.dtype.kind == "f" and block.dtype.itemsize >= 4 else block.data.astype(np.float64)
        if block.dtype.kind in "iu" and block.data.size and max(int(block.data.max()), -int(block.data.min())) > EXACT:
            raise CountsError(f"{self.where}: holds integers above 2^53, which no floating point number holds exactly.")
        if data.dtype.itemsize > 8:
            raise CountsError(
                f"{self.where}: values of {data.dtype} are wider than what a store holds. Make them float64."
            )
        if data.dtype == np.float64 and not self.record["wide"]:
            self.record["wide"] = not _held(data) and bool(np.isfinite(data).all())
        if kind == "f32" and not _held(data) and np.isfinite(data).all():
            raise CountsError(
                f"{self.where}: holds values that float32 does not hold exactly. Build the store with f64."
            )
        codes = np.empty(len(data), TYPES[kind])
        places, values = np.empty(len(data), np.int64), np.empty(len(data))
        totals = np.empty(block.shape[0])
        fault, aside = kernels.encode(
            block.indptr.astype(np.int64), data, sentinel(kind), codes, places, values, totals
        )
        if fault:
            cell = first + int(np.searchsorted(block.indptr, aside, side="right")) - 1
            raise CountsError(
                f"{self.where}: holds {data[aside]} in cell {cell}, feature {int(block.indices[aside])} (both from 0); "
                "expected numbers. Remove such cells or features first."
            )
        if aside:
            self.files.append(f"{folder}/escapes.i64", self.nnz + places[:aside])
            self.files.append(f"{folder}/escapes.f64", values[:aside])
        self.files.append(f"{folder}/totals.f64", totals)
        return codes

    def _pack(self, ids: np.ndarray, codes: np.ndarray, ends: np.ndarray, cuts: list[tuple[int, int]]) -> None:
        from cellzoo.converters.store import kernels

        folder = self.record["folder"]
        row = self.record["rows"]
        for start, stop in cuts:
            a, b = int(ends[start]), int(ends[stop])
            gaps = np.empty(b - a + (stop - start) * (self.features // kernels.LONG_GAP + 1), np.uint8)
            used = kernels.pack(ends[start : stop + 1] - a, ids[a:b], gaps)
            turned = codes[a:b].view(np.uint8).reshape(-1, codes.itemsize).T  # high bytes together: they compress
            raw = np.concatenate([gaps[:used], turned.reshape(-1)])
            if len(raw):
                content = codec(self.record["codec"]).compress(raw, asbytes=True)
                self.files.append(f"{folder}/groups.bin", content)
            end = self.files.lengths.get(f"{folder}/groups.bin", 0)
            self.files.append(f"{folder}/groups.i64", np.array([row + stop, end, used], "<i8"))


class _From:
    """The rows of a matrix from one on."""

    def __init__(self, rows: Rows, start: int) -> None:
        self.rows, self.start = rows, start
        self.shape, self.dtype = (rows.shape[0] - start, rows.shape[1]), rows.dtype

    def read(self, start: int, stop: int) -> sp.csr_matrix:
        return self.rows.read(self.start + start, self.start + stop)


def _last(files: Files, name: str) -> int:
    """Return the last number of a file of int64."""
    with (files.path / name).open("rb") as stream:
        stream.seek(files.lengths[name] - 8)
        return int(np.frombuffer(stream.read(8), "<i8")[0])


def _looked(rows: Rows) -> list[sp.csr_matrix]:
    cells = rows.shape[0]
    if cells <= LOOKS * LOOK_CELLS:
        return [block for _, block in blocks(rows)]
    starts = np.linspace(0, cells - LOOK_CELLS, LOOKS).astype(int).tolist()
    return [rows.read(start, start + LOOK_CELLS) for start in starts]


def _fitting(seen: list[sp.csr_matrix], dtype: np.dtype[Any]) -> str:
    """Return the type of values that makes a matrix small; every type holds what does not fit it aside, exactly."""
    data = np.concatenate([block.data for block in seen]) if seen else np.empty(0)
    if not data.size or ((data != np.rint(data)) | (data < 0)).mean() <= MANY:
        return "u16" if data.size and (data > 254).mean() > MANY else "u8"
    return "f64" if dtype.itemsize > 4 and not _held(data) else "f32"


def _held(data: np.ndarray) -> bool:
    """Return whether float32 holds every value exactly."""
    if data.dtype == np.float32:
        return True
    with np.errstate(over="ignore", invalid="ignore"):
        return bool((data.astype(np.float32) == data).all())


def _recolumned(block: sp.csr_matrix, column: np.ndarray | None, features: int) -> sp.csr_matrix:
    """Return a block with the columns that the store has for its features."""
    if column is None:
        return block
    moved = sp.csr_matrix((block.data.copy(), column[block.indices], block.indptr), shape=(block.shape[0], features))
    moved.sort_indices()
    return moved
