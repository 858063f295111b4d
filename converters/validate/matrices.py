"""The rules of X, raw and layers, found in one pass over each that takes a few megabytes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from cellzoo.converters.validate.chunks import Chunks
from cellzoo.converters.validate.context import Context
from cellzoo.converters.validate.spatial import SPOTS
from cellzoo.registry.ontology import load

VALUES = 2**16
"""Values that are looked at together: what is computed of them stays in the processor's cache."""
DENSE = 2**19
"""Values of a dense matrix that are read at a time."""
THREADS = min(os.cpu_count() or 1, 8)
NOT_RNA = ("EFO:0007045", "EFO:0008804", "EFO:0000751", "EFO:0008939")
WITH_RNA = ("EFO:0010891", "EFO:0008913")
"""Assays below both measure RNA as well."""
GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class Part(NamedTuple):
    """Some values, row by row; the first and the last row may have more of them in other parts."""

    start: int
    """The first row."""
    ends: NDArray[np.int64]
    """(rows + 1,) where the values of each row start in this part."""
    columns: NDArray[Any] | None
    """(values,) the feature of each; None where they were not asked for."""
    values: NDArray[Any]


class Tally(NamedTuple):
    """What a part tells of its rows."""

    here: slice
    """The rows."""
    number: int
    """Number of values other than zero."""
    filled: NDArray[np.bool_]
    infinite: NDArray[np.bool_] | None = None
    wrong: NDArray[np.bool_] | None = None
    digests: NDArray[np.int64] | None = None


@dataclass
class Matrix:
    """A matrix in the file."""

    place: str
    node: Any

    @cached_property
    def form(self) -> str:
        """Return csr, csc, dense or unknown."""
        if isinstance(self.node, h5py.Dataset):
            return "dense" if len(self.node.shape or ()) == 2 and self.node.dtype.kind in "biuf" else "unknown"
        kind = str(self.node.attrs.get("encoding-type", ""))
        return kind[:3] if kind in ("csr_matrix", "csc_matrix") else "unknown"

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Return its shape."""
        found = self.node.shape if isinstance(self.node, h5py.Dataset) else self.node.attrs.get("shape", ())
        return tuple(int(size) for size in (() if found is None else found))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return the type of its values."""
        found: np.dtype[Any] = (self.node if self.form == "dense" else self.node["data"]).dtype
        return found

    @cached_property
    def ends(self) -> NDArray[np.int64]:
        """Return (cells + 1,) where the values of each row of a CSR matrix start."""
        return np.asarray(self.node["indptr"][:], np.int64)

    @cached_property
    def values(self) -> Chunks:
        """Return the stored values of a CSR matrix."""
        return Chunks(self.node["data"])

    @cached_property
    def columns(self) -> Chunks:
        """Return the column of each stored value of a CSR matrix."""
        return Chunks(self.node["indices"])

    @property
    def is_whole(self) -> bool:
        """Return whether the rows of a CSR matrix end where its values do."""
        ends = self.ends
        fits = len(ends) == self.shape[0] + 1 and ends[0] == 0
        return bool(fits and ends[-1] == self.values.size == self.columns.size and (np.diff(ends) >= 0).all())

    def is_alike(self, other: Matrix) -> bool:
        """Return whether another CSR matrix stores values in the same columns, as what is computed from it does."""
        same = self.form == other.form == "csr" and self.shape == other.shape
        return same and self.columns.same_bytes(other.columns)

    def stretches(self) -> Iterator[tuple[int, int]]:
        """Yield what to read at once, without a chunk in two of them: rows of a dense matrix, values of a CSR one."""
        if self.form == "dense":
            size, step = self.shape[0], max(DENSE // max(self.shape[1], 1), 1)
        else:
            size, step = self.values.size, max(self.values.step, self.columns.step)
            step *= -(-VALUES // step)
        for start in range(0, size, step):
            yield start, min(start + step, size)

    def parts(self, start: int, stop: int, with_columns: bool) -> Iterator[Part]:
        """Yield what lies in a stretch."""
        if self.form == "dense":
            block = self.node[start:stop]
            rows, places = np.nonzero(block)
            yield Part(start, np.searchsorted(rows, np.arange(len(block) + 1)), places, block[rows, places])
            return
        values = self.values.read(start, stop)
        columns = self.columns.read(start, stop) if with_columns else None
        for first in range(start, stop, VALUES):
            last = min(first + VALUES, stop)
            row = int(np.searchsorted(self.ends, first, side="right")) - 1
            ends = self.ends[row : int(np.searchsorted(self.ends, last)) + 1] - first
            ends[0], ends[-1] = 0, last - first
            at = slice(first - start, last - start)
            yield Part(row, ends, None if columns is None else columns[at], values[at])


class Summary:
    """What one pass over a matrix tells."""

    def __init__(self, matrix: Matrix, counts: bool, with_columns: bool = True) -> None:
        cells, features = matrix.shape
        self.number = 0
        """Number of values other than zero."""
        self.seen = np.zeros(features, bool)
        """(features,) whether a feature has a value other than zero; only with columns."""
        self.filled = np.zeros(cells, bool)
        """(cells,) whether a cell has a value other than zero."""
        self.wrong = np.zeros(cells, bool)
        """(cells,) whether a cell has a negative or broken value; only where counts are expected."""
        self.infinite = np.zeros(cells, bool)
        """(cells,) whether a cell has NaN or infinity."""
        self.digests = np.zeros(cells if counts else 0, np.int64)
        """(cells,) a digest of each row: equal for equal rows, and for others by a chance of about 1 in 10^18."""
        weights = np.random.default_rng(0).integers(2**63, size=features) * 2 + 1 if counts else None

        def look(stretch: tuple[int, int]) -> list[Tally]:
            return [_tally(part, weights, self.seen) for part in matrix.parts(*stretch, with_columns)]

        with ThreadPoolExecutor(THREADS) as pool:
            for tally in chain.from_iterable(pool.map(look, matrix.stretches())):
                self._add(tally)

    def _add(self, tally: Tally) -> None:
        self.number += tally.number
        self.filled[tally.here] |= tally.filled
        if tally.infinite is not None:
            self.infinite[tally.here] |= tally.infinite
        if tally.wrong is not None:
            self.wrong[tally.here] |= tally.wrong
        if tally.digests is not None:
            self.digests[tally.here] += tally.digests


def _tally(part: Part, weights: NDArray[np.int64] | None, seen: NDArray[np.bool_]) -> Tally:
    """Return what a part tells of its rows, with digests where there are weights; marks the features it has seen."""
    values, ends = part.values, part.ends
    here = slice(part.start, part.start + len(ends) - 1)
    if not len(values):
        return Tally(here, 0, np.zeros(len(ends) - 1, bool))
    low, high = values.min(), values.max()  # NaN where there is one
    solid = bool(low > 0 or values.all())
    columns = None if part.columns is None else part.columns.astype(np.intp, copy=False)
    if columns is not None:
        seen[columns if solid else columns[values != 0]] = True
    tally = Tally(
        here,
        number=len(values) if solid else int(np.count_nonzero(values)),
        filled=np.diff(ends) > 0 if solid else _any_by_row(values != 0, ends),
        infinite=None if np.isfinite(low) and np.isfinite(high) else _any_by_row(~np.isfinite(values), ends),
    )
    if weights is None or columns is None:
        return tally
    numbers, exact = _numbers(values)
    wrong = None
    if not (low >= 0 and exact):
        with np.errstate(invalid="ignore"):
            wrong = _any_by_row(((values < 0) | (values != np.trunc(values))) & np.isfinite(values), ends)
    mixed = weights[columns]
    mixed *= numbers
    return tally._replace(wrong=wrong, digests=_by_row(np.add, mixed, ends))


def _numbers(values: NDArray[Any]) -> tuple[NDArray[np.int64], bool]:
    """Return a number for each value, itself where it is a whole one of 32 bits, and whether all are."""
    if values.dtype.kind != "f":
        return values.astype(np.int64), True
    with np.errstate(invalid="ignore"):
        whole = values.astype(np.int32)
    equal = whole.astype(values.dtype) == values
    if equal.all():
        return whole.astype(np.int64), True
    return np.where(equal, whole, _bits(values)), False


def _bits(values: NDArray[Any]) -> NDArray[np.int64]:
    unsigned = {2: np.uint16, 4: np.uint32, 8: np.uint64}[values.dtype.itemsize]
    mixed = np.ascontiguousarray(values, values.dtype.newbyteorder("=")).view(unsigned).astype(np.uint64) * GOLDEN
    return np.asarray(mixed ^ mixed >> np.uint64(29)).view(np.int64)


def _by_row(function: np.ufunc, values: NDArray[Any], ends: NDArray[np.int64]) -> NDArray[Any]:
    """Return (rows,) the function over the values of each row, zero for a row without any."""
    found = np.zeros(len(ends) - 1, values.dtype)
    full = np.flatnonzero(np.diff(ends))
    if len(full):
        found[full] = function.reduceat(values, ends[full])
    return found


def _any_by_row(mask: NDArray[np.bool_], ends: NDArray[np.int64]) -> NDArray[np.bool_]:
    return np.asarray(_by_row(np.logical_or, mask, ends), bool)


def check_matrices(context: Context) -> None:
    """Find what is wrong with X, raw and layers."""
    file, report = context.file, context.report
    shape = (len(context.obs), len(context.var))
    raw_shape = (len(context.obs), len(context.raw_var)) if context.raw_var else shape
    found = {"X": Matrix("X", file["X"])} if "X" in file else {}
    found |= {"raw.X": Matrix("raw.X", file["raw/X"])} if "raw/X" in file else {}
    found |= {f"layers.{name}": Matrix(f"layers.{name}", file["layers"][name]) for name in file.get("layers", ())}
    counts = "raw.X" if "raw.X" in found else "X"
    readable = {}
    for place, matrix in found.items():
        expected = raw_shape if place == "raw.X" else shape
        if matrix.form == "unknown":
            report.add("CXG501", place, "is neither a matrix of numbers nor sparse.")
        elif matrix.form == "csc":
            report.add("CXG501", place, "is stored by columns (csc_matrix).")
        elif matrix.shape != expected:
            report.add("CXG005", place, f"has shape {matrix.shape}, expected {expected}.")
        elif matrix.form == "csr" and not matrix.is_whole:
            report.add("CXG005", place, "its rows do not end where its values do.")
        elif not (place.startswith("layers.") and matrix.form == "csr"):
            readable[place] = matrix
    summaries = {place: Summary(readable[place], counts=True) for place in [counts] if place in readable}
    for place, matrix in readable.items():
        if place != counts:
            summaries[place] = _beside(matrix, readable.get(counts), summaries.get(counts))
    for place, summary in summaries.items():
        cells, features = found[place].shape
        if found[place].form == "dense" and (zeros := 1 - summary.number / max(cells * features, 1)) > 0.5:
            report.add("CXG502", place, f"is dense, although {zeros:.0%} of it are zeros.")
    if counts in summaries:
        _check_counts(context, found[counts], summaries[counts])
    if "raw.X" in found and "X" in summaries:
        _check_filtered(context, summaries)


def _beside(matrix: Matrix, counts: Matrix | None, counted: Summary | None) -> Summary:
    """Return the summary of another matrix than the counts; where it has values where they have, these are not read."""
    if counts and counted and matrix.is_alike(counts) and counted.number == counts.values.size:
        summary = Summary(matrix, counts=False, with_columns=False)
        if summary.number == counted.number:
            summary.seen = counted.seen
            return summary
    return Summary(matrix, counts=False)


def _check_counts(context: Context, matrix: Matrix, summary: Summary) -> None:
    names, report, place = context.obs.names, context.report, matrix.place
    outside = _outside(context)
    kept = ~outside
    digests = summary.digests[kept]
    order = np.argsort(digests, kind="stable")
    equal = digests[order][1:] == digests[order][:-1]
    if equal.any():
        twice = np.zeros(len(digests), bool)
        twice[order[1:]] |= equal
        twice[order[:-1]] |= equal
        report.add("CXG506", place, "cells have the same counts as another.", names, np.flatnonzero(kept)[twice])
    if not _needs_counts(context):
        return
    if matrix.dtype != np.float32:
        report.add("CXG503", place, f"holds {matrix.dtype}, expected float32.")
    if summary.wrong.any():
        missing = "" if place == "raw.X" else " There is no raw."
        report.add("CXG504", place, f"holds negative values or fractions.{missing}", names, summary.wrong)
    if summary.infinite.any():
        report.add("CXG507", place, "holds NaN or infinity.", names, summary.infinite)
    if context.is_section and matrix.shape[0] != (spots := SPOTS[context.is_11mm]):
        report.add("CXG508", place, f"has {matrix.shape[0]} rows, expected {spots}.")
    if context.is_section and outside.any():
        if not summary.filled[outside].any():
            report.add("CXG509", place, "no spot outside the tissue has counts.")
        if (rows := ~outside & ~summary.filled).any():
            report.add("CXG509", place, "spots in the tissue have no counts.", names, rows)
    elif not summary.filled.all():
        report.add("CXG505", place, "cells have no counts.", names, ~summary.filled)
    if place == "X" and not summary.wrong.any():
        report.add("CXG510", place, "holds the counts, and there is no raw.")


def _outside(context: Context) -> NDArray[np.bool_]:
    inside = context.obs.columns.get("in_tissue")
    if inside is None or inside.kind not in ("int", "float", "bool"):
        return np.zeros(len(context.obs), bool)
    return np.asarray(inside.values == 0)


def _needs_counts(context: Context) -> bool:
    """Return whether the assays measure RNA: only then are there counts to check."""
    efo = load("EFO", schema=context.schema)
    above = [{*efo.ancestors(assay, include_self=True)} for assay in context.assays if assay in efo]
    return any(ids.issuperset(WITH_RNA) for ids in above) or all(ids.isdisjoint(NOT_RNA) for ids in above)


def _check_filtered(context: Context, summaries: dict[str, Summary]) -> None:
    """Compare what has values in X with what has counts in raw and with feature_is_filtered."""
    seen, column, names = summaries["X"].seen, context.var.columns.get("feature_is_filtered"), context.var.names
    if summaries["X"].infinite.any():
        rows = summaries["X"].infinite
        context.report.add("CXG511", "X", "holds NaN or infinity.", context.obs.names, rows)
    if column is None or column.kind != "bool":
        return
    filtered = column.values
    if (rows := filtered & seen).any():
        context.report.add("CXG207", "var.feature_is_filtered", "is True where X has values.", names, rows)
    counted = summaries["raw.X"].seen if "raw.X" in summaries else seen
    if len(counted) == len(seen) and (rows := ~seen & ~filtered & counted).any():
        context.report.add("CXG206", "var.feature_is_filtered", "is False where raw alone has values.", names, rows)
