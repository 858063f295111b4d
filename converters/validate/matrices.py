"""The rules of X, raw and layers, found in one pass over each that takes a few megabytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from cellzoo.converters.validate.context import Context
from cellzoo.converters.validate.spatial import SPOTS
from cellzoo.registry.ontology import load

VALUES = 2**19
"""Values that are read at a time."""
NOT_RNA = ("EFO:0007045", "EFO:0008804", "EFO:0000751", "EFO:0008939")
WITH_RNA = ("EFO:0010891", "EFO:0008913")
"""Assays below both measure RNA as well."""
GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class Part(NamedTuple):
    """The values of some rows; of each its row in this part and its column."""

    start: int
    rows: int
    ends: NDArray[np.int64]
    """(rows + 1,) where the values of each row start."""
    columns: NDArray[Any]
    values: NDArray[Any]


@dataclass
class Matrix:
    """A matrix in the file."""

    place: str
    node: Any

    @property
    def form(self) -> str:
        """Return csr, csc, dense or unknown."""
        if isinstance(self.node, h5py.Dataset):
            return "dense" if len(self.node.shape or ()) == 2 and self.node.dtype.kind in "biuf" else "unknown"
        kind = str(self.node.attrs.get("encoding-type", ""))
        return kind[:3] if kind in ("csr_matrix", "csc_matrix") else "unknown"

    @property
    def shape(self) -> tuple[int, ...]:
        """Return its shape."""
        found = self.node.shape if isinstance(self.node, h5py.Dataset) else self.node.attrs.get("shape", ())
        return tuple(int(size) for size in (() if found is None else found))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return the type of its values."""
        found: np.dtype[Any] = (self.node if self.form == "dense" else self.node["data"]).dtype
        return found

    @property
    def is_whole(self) -> bool:
        """Return whether the rows of a CSR matrix end where its values do."""
        ends, values, columns = (self.node[part] for part in ("indptr", "data", "indices"))
        ends = ends[:]
        fits = len(ends) == self.shape[0] + 1 and ends[0] == 0 and ends[-1] == len(values) == len(columns)
        return bool(fits and (np.diff(ends) >= 0).all())

    def parts(self) -> Iterator[Part]:
        """Yield all rows in order, a few megabytes at a time."""
        cells, features = self.shape
        if self.form == "dense":
            step = max(VALUES // max(features, 1), 1)
            for start in range(0, cells, step):
                block = self.node[start : start + step]
                rows, columns = np.nonzero(block)
                ends = np.searchsorted(rows, np.arange(len(block) + 1))
                yield Part(start, len(block), ends, columns, block[rows, columns])
            return
        ends = self.node["indptr"][:].astype(np.int64)
        start = 0
        while start < cells:
            stop = int(np.searchsorted(ends, ends[start] + VALUES, side="right")) - 1
            stop = min(max(stop, start + 1), cells)
            at = slice(int(ends[start]), int(ends[stop]))
            local = ends[start : stop + 1] - ends[start]
            yield Part(start, stop - start, local, self.node["indices"][at], self.node["data"][at])
            start = stop


class Summary:
    """What one pass over a matrix tells."""

    def __init__(self, matrix: Matrix, counts: bool) -> None:
        cells, features = matrix.shape
        self.number = 0
        """Number of values other than zero."""
        self.seen = np.zeros(features, bool)
        """(features,) whether a feature has a value other than zero."""
        self.filled = np.zeros(cells, bool)
        """(cells,) whether a cell has a value other than zero."""
        self.wrong = np.zeros(cells, bool)
        """(cells,) whether a cell has a negative or broken value; only where counts are expected."""
        self.infinite = np.zeros(cells, bool)
        """(cells,) whether a cell has NaN or infinity."""
        self.digests = np.zeros(cells if counts else 0, np.uint64)
        """(cells,) a digest of each row: equal for equal rows, and for others by a chance of 1 in 10^18."""
        weights = np.random.default_rng(0).integers(2**63, size=features, dtype=np.uint64) | np.uint64(1)
        for part in matrix.parts():
            self._add(part, weights, counts)

    def _add(self, part: Part, weights: NDArray[np.uint64], counts: bool) -> None:
        values, here = part.values, slice(part.start, part.start + part.rows)
        total = values.sum(dtype=np.float64)
        if not np.isfinite(total):
            self.infinite[here] = _any_by_row(~np.isfinite(values), part.ends)
        solid = values.all()
        self.seen[part.columns if solid else part.columns[values != 0]] = True
        self.number += len(values) if solid else int(np.count_nonzero(values))
        self.filled[here] = np.diff(part.ends) > 0 if solid else _any_by_row(values != 0, part.ends)
        if not counts:
            return
        if values.dtype.kind == "f" and len(values):
            with np.errstate(invalid="ignore"):
                broken = (values < 0) | (values != np.trunc(values))
            if broken.any():
                self.wrong[here] = _any_by_row(broken & np.isfinite(values), part.ends)
        elif values.dtype.kind == "i" and len(values) and values.min() < 0:
            self.wrong[here] = _any_by_row(values < 0, part.ends)
        mixed = _bits(values)
        mixed *= GOLDEN
        mixed ^= mixed >> np.uint64(29)
        mixed *= weights[part.columns]
        self.digests[here] = _by_row(np.add, mixed, part.ends)


def _bits(values: NDArray[Any]) -> NDArray[np.uint64]:
    unsigned = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}[values.dtype.itemsize]
    return np.ascontiguousarray(values).view(unsigned).astype(np.uint64)


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
    summaries = {}
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
            summaries[place] = Summary(matrix, place == counts)
    for place, summary in summaries.items():
        cells, features = found[place].shape
        if found[place].form == "dense" and (zeros := 1 - summary.number / max(cells * features, 1)) > 0.5:
            report.add("CXG502", place, f"is dense, although {zeros:.0%} of it are zeros.")
    if counts in summaries:
        _check_counts(context, found[counts], summaries[counts])
    if "raw.X" in found and "X" in summaries:
        _check_filtered(context, summaries)


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
