"""From pinned files to the cells as the source has them: matrices, cells, features, nothing changed yet."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from cellzoo.converters.celldata import CellData, Raw, matrices
from cellzoo.converters.formats import hdf5, mtx, r, text, zarr
from cellzoo.converters.formats.cells import kept, with_columns
from cellzoo.converters.formats.files import Files, Found
from cellzoo.converters.formats.members import joined
from cellzoo.converters.rows import Rows
from cellzoo.converters.transpose import reordered
from cellzoo.errors import InputError
from cellzoo.registry.genes import detect_kind
from cellzoo.registry.reading import Format, Matrix
from cellzoo.registry.schema import ReadableCard

Reader = Callable[[Matrix, Found, Files], CellData]
SHOWN = 5  # names in a message

READERS: dict[Format, Reader] = {
    "h5ad": hdf5.read_anndata,
    "h5mu": hdf5.read_mudata,
    "10x_h5": hdf5.read_10x,
    "10x_mtx": mtx.read_10x,
    "mtx": mtx.read,
    "table": text.read,
    "loom": hdf5.read_loom,
    "rdata": r.read,
    "zarr": zarr.read,
}
"""Format -> what reads one of its files."""


def read_source(card: ReadableCard, files: Mapping[str, Path]) -> CellData:
    """Return what a card points at: the counts it names as X (cells, features) as stored, all the source says of both.

    Further matrices are layers under the name they have in the file or in the card's ``read.layers``; proteins and
    peaks are modalities. Matrices stay in the file where it can be read by ranges of cells. Raises `InputError` that
    names the data set, the file and the place in it where the file is not what the card says.
    """
    try:
        with warnings.catch_warnings(), Files(files) as source:
            warnings.simplefilter("ignore", UserWarning)  # duplicate gene names are handled when streamlining
            data = _matrix(card, card.read.matrix, source)
            data = _with_layers(data, card, source)
            data = _chosen(data, card)
            data = _with_modalities(data, card, source)
            _refuse_turned(data, card)
            data = kept(with_columns(data, card, source), card)
    except InputError as error:
        error.add_note(f"while reading {card.id}")
        raise
    _check_cells(data, card)
    return data


def _matrix(card: ReadableCard, spec: Matrix, files: Files) -> CellData:
    """Return one matrix of the card, or every member that fits joined."""
    form = card.read.format
    if form == "zarr":  # the archive is the store
        return READERS[form](spec, Found.whole(spec.file, files.paths[spec.file]), files)
    found = mtx.matrices_in(spec, files) if form == "10x_mtx" else files.find(spec)
    if not found[0].parts:
        return READERS[form](spec, found[0], files)
    parts = {one.part: one for one in found}
    if len(parts) < len(found):
        raise InputError(f"{spec.file}: the * of {spec.member!r} stands for one name in several members.")
    return joined({part: READERS[form](spec, one, files) for part, one in parts.items()}, spec.file)


def _with_layers(data: CellData, card: ReadableCard, files: Files) -> CellData:
    """Return data with the further matrices of ``read.layers``."""
    for name, spec in card.read.layers.items():
        layer = _matrix(card, spec, files)
        for axis, ours, theirs in (("cells", data.obs, layer.obs), ("genes", data.var, layer.var)):
            if not theirs.index.equals(ours.index):
                message = f"has other {axis} than the matrix, or in another order"
                raise InputError(f"{card.id}: read.layers.{name}: {message}.")
        data.layers[name] = _x(layer, f"{card.id}: read.layers.{name}")
    return data


def _chosen(data: CellData, card: ReadableCard) -> CellData:
    """Return data whose X is what the card calls counts; what has the same features stays, under its own name."""
    where, counts = card.read.matrix.file, card.layers.counts
    there = matrices(data)
    if counts is None:
        raise InputError(f"{card.id}: layers.counts is null: the card says that the file holds no counts to read.")
    for role, name in card.layers.model_dump(exclude_none=True).items():
        if name in there:
            continue
        if name in {"X", "raw"}:
            raise InputError(f"{where}: has no {name}; the card says layers.{role}: {name}.")
        raise InputError(f"{where}: has no layer {name!r}, found {sorted(set(there) - {'X', 'raw'})}.")
    var = data.raw.var if counts == "raw" and data.raw else data.var
    same = {name: (data.raw.var if name == "raw" and data.raw else data.var).index.equals(var.index) for name in there}
    for role, name in card.layers.model_dump(exclude={"counts"}, exclude_none=True).items():
        if not same[name]:
            raise InputError(f"{where}: {name} has other genes than {counts}; leave out layers.{role}.")
    layers = {name: rows for name, rows in there.items() if same[name] and name != counts}
    if counts == "raw" and data.raw:
        return data.with_(X=there[counts], var=var, layers=layers, raw=None, varm=data.raw.varm, varp={})
    raw: Raw | None = None if same.get("raw") else data.raw
    return data.with_(X=there[counts], layers=layers, raw=raw)


def _with_modalities(data: CellData, card: ReadableCard, files: Files) -> CellData:
    """Return data with the further features of ``read.modalities``, their cells in the order of the matrix."""
    for name, spec in card.read.modalities.items():
        where = f"{card.id}: read.modalities.{name}"
        part = _matrix(card, spec, files)
        place = data.obs.index.get_indexer(part.obs.index) if data.obs.index.is_unique else None
        if place is None or not part.obs.index.is_unique:
            raise InputError(f"{where}: cells are joined by name, and {_twice(part.obs, data.obs)}.")
        if missing := sorted(set(data.obs.index) - set(part.obs.index)):
            example = f"the matrix has {missing[0]!r}, {spec.file} for example {part.obs.index[0]!r}"
            raise InputError(f"{where}: lacks {len(missing)} cells of the matrix: {example}.")
        rows = _x(part, where)
        if not np.array_equal(place, np.arange(data.n_obs)):
            rows = reordered(rows, place)
        data.modalities[name] = CellData(pd.DataFrame(index=data.obs.index), part.var, rows, varm=part.varm)
    return data


def _x(data: CellData, where: str) -> Rows:
    if data.X is None:
        raise InputError(f"{where}: holds no X.")
    return data.X


def _refuse_turned(data: CellData, card: ReadableCard) -> None:
    """Refuse a matrix whose cells have the names of genes."""
    if data.n_obs and detect_kind(data.obs.index) == "ensembl":
        other = {"genes_by_cells": "cells_by_genes", "cells_by_genes": "genes_by_cells"}[card.read.matrix.orientation]
        message = f"the cells have names of genes, for example {data.obs.index[0]!r}: the matrix lies the other way"
        raise InputError(f"{card.id}: {message}. Say read.matrix.orientation: {other}.")


def _check_cells(data: CellData, card: ReadableCard) -> None:
    if data.obs.index.has_duplicates:
        raise InputError(f"{card.id}: {_twice(data.obs)}. Cells need names of their own.")
    if card.cells_expected is None or data.n_obs == card.cells_expected:
        return
    message = f"{card.id}: {data.n_obs} cells after reading, the card expects {card.cells_expected}."
    if data.n_vars == card.cells_expected:
        message += f" There are {data.n_vars} features: read.matrix.orientation may be the other one."
    raise InputError(message)


def _twice(*frames: pd.DataFrame) -> str:
    for frame in frames:
        if frame.index.has_duplicates:
            names = frame.index[frame.index.duplicated()].unique()
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            return f"the cell names {list(names[:SHOWN])}{more} stand more than once"
    return "no cell name stands twice"
