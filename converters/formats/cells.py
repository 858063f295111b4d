"""Columns of cells that do not lie with the matrix: vectors of R, parts of the cell names, a table joined by name."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import regex

from cellzoo.converters.celldata import CellData
from cellzoo.converters.formats.files import Files, Found
from cellzoo.converters.formats.members import MEMBER, own_names
from cellzoo.converters.formats.text import read_frame
from cellzoo.converters.rdata_objects import r_frame, r_object, r_vector
from cellzoo.errors import InputError
from cellzoo.registry.reading import ObsTable
from cellzoo.registry.schema import ReadableCard

SECONDS = 30.0  # that a pattern of a card may take over all cell names; honest ones take one for a million
ENDING = r"[-_.]\d+$"
"""What Cell Ranger and Seurat put behind a barcode."""
TRUTH = {"true": 1, "false": 0}
"""What a column of numbers may say in words."""


def with_columns(data: CellData, card: ReadableCard, files: Files) -> CellData:
    """Return data with the columns of cells that the card brings from elsewhere, without the cells it drops."""
    data = data.with_(obs=data.obs.copy())
    for name, spec in card.read.obs.columns.items():
        where = f"{card.id}: read.obs.columns.{name}"
        if spec.extract:
            data.obs[name] = _extracted(where, spec.extract, data.obs.index)
        elif spec.file:
            values = r_vector(r_object(files.paths[spec.file], spec.object, spec.file), f"{spec.file}: {spec.object}")
            if len(values) != data.n_obs:
                raise InputError(f"{where}: {len(values)} values for {data.n_obs} cells.")
            data.obs[name] = values
    return data if card.read.obs.table is None else _joined(data, card.read.obs.table, card, files)


def kept(data: CellData, card: ReadableCard) -> CellData:
    """Return the cells that the card keeps, all where it does not say."""
    keep = card.read.keep
    if keep is None:
        return data
    if keep.column not in data.obs:
        raise InputError(f"{card.id}: read.keep: no column {keep.column!r} of cells; found {list(data.obs)}.")
    values = data.obs[keep.column].astype(str)
    chosen = values.isin(keep.values).to_numpy()
    if not chosen.any():
        found = values.value_counts().head(20).to_dict()
        message = f"no cell has one of {list(keep.values)} in column {keep.column!r}; found {found}"
        raise InputError(f"{card.id}: read.keep: {message}.")
    return data.pick(np.flatnonzero(chosen))


def _extracted(where: str, pattern: str, cells: Iterable[str]) -> list[str]:
    """Return the first group of a pattern in each cell name; `InputError` for one that does not match or backtracks."""
    compiled, end = regex.compile(pattern), time.monotonic() + SECONDS
    values = []
    for cell in cells:
        try:
            match = compiled.search(cell, timeout=max(end - time.monotonic(), 0.001))
        except TimeoutError as error:
            message = f"{pattern!r} does not come to an end on {cell!r}; write it without a repeat inside a repeat."
            raise InputError(f"{where}: {message}") from error
        if match is None:
            raise InputError(f"{where}: {pattern!r} does not match {cell!r}.")
        values.append(match.group(1))
    return values


def _table(spec: ObsTable, found: Found) -> pd.DataFrame:
    if spec.object:
        with found.path(unpack=False) as path:
            frame = r_frame(r_object(path, spec.object, found.name), f"{found.name}: {spec.object}")
    else:
        frame = read_frame(found, spec.separator, spec.sheet, spec.index)
        frame = frame if spec.index else frame.set_index(frame.columns[0])
    if spec.index:
        if spec.index not in frame:
            raise InputError(f"{found.name}: has no column {spec.index!r}, found {list(map(str, frame))}.")
        frame = frame.set_index(spec.index)
    return frame.set_axis(frame.index.astype(str), axis=0)


def _joined(data: CellData, spec: ObsTable, card: ReadableCard, files: Files) -> CellData:
    found = files.find(spec)
    names = data.obs.index
    if found[0].parts:  # a table for each member: a cell is looked up in that of its own
        tables = {one.part: _table(spec, one) for one in found}
        table = pd.concat([frame.set_axis(f"{part}\t" + frame.index, axis=0) for part, frame in tables.items()])
        if MEMBER in data.obs:
            names = pd.Index(data.obs[MEMBER].astype(str) + "\t" + own_names(data.obs))
    else:
        table = _table(spec, found[0])
    keys = names.str.removesuffix(spec.strip) if spec.strip else names
    if table.index.has_duplicates:
        twice = table.index[table.index.duplicated()][0]
        raise InputError(f"{card.id}: the table of cells lists {twice!r} twice.")
    known = keys.isin(table.index)
    if not known.any():
        raise InputError(f"{card.id}: no cell of the matrix is in the table of cells: {_why(data, keys, table)}")
    if not known.all() and spec.unmatched == "error":
        message = f"{int((~known).sum())} cells are not in the table of cells, first {keys[~known][0]!r}"
        raise InputError(f"{card.id}: {message}.")
    picked = data.pick(np.flatnonzero(known))
    columns = table.reindex(keys[known]).set_axis(picked.obs.index, axis=0).rename(columns=str)
    for name in _numeric(card) & set(columns):
        columns[name] = _numbers(columns[name], f"{card.id}: the table of cells: column {name!r}")
    old = picked.obs.drop(columns=[column for column in columns if column in picked.obs])
    return picked.with_(obs=pd.concat([old, columns], axis=1))


def _numeric(card: ReadableCard) -> set[str]:
    """Return the columns that a card takes as numbers."""
    depth = card.counts.recover.depth if card.counts and card.counts.recover else None
    places = card.spatial.model_dump(exclude_none=True).values() if card.spatial else ()
    return {name for name in (depth, *places) if name is not None}


def _numbers(values: pd.Series[Any], where: str) -> pd.Series[Any]:
    """Return a column of text as numbers, true as 1 and false as 0; `InputError` names the first that is none.

    What is no text, as the numbers of R, stays as it is.
    """
    if not pd.api.types.is_object_dtype(values):
        return values
    said = values.map(lambda value: TRUTH.get(str(value).lower(), value))
    numbers = pd.to_numeric(said, errors="coerce")
    if len(wrong := np.flatnonzero(numbers.isna() & values.notna())):
        message = f"has {values.iloc[wrong[0]]!r} for cell {values.index[wrong[0]]!r}, the card takes it as numbers"
        raise InputError(f"{where} {message}. Leave the field empty or correct it.")
    return pd.Series(numbers, index=values.index)


def _why(data: CellData, keys: pd.Index, table: pd.DataFrame) -> str:
    """Return how the names differ, and what would make them meet."""
    example = f"the matrix has {keys[0]!r}, the table {table.index[0]!r}."
    if data.var.index.astype(str).isin(table.index).any():
        return f"{example} The table names the features: turn read.matrix.orientation."
    ends = pd.Series(keys).str.extract(f"({ENDING})", expand=False).dropna()
    if len(ends) and keys.str.replace(ENDING, "", regex=True).isin(table.index).any():
        return f"{example} They meet with read.obs.table.strip: {ends.mode()[0]!r}."
    for column in table:
        if keys.isin(table[column].astype(str)).any():
            return f"{example} They are in its column {str(column)!r}: name it in read.obs.table.index."
    return example
