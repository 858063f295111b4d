"""Delimited text and Excel: matrices of numbers, triplets of cell, feature and value, and tables of cells."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from datetime import datetime, time
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd

from cellzoo.converters.celldata import CellData
from cellzoo.converters.formats.files import PACKED, Files, Found, open_archive, reading
from cellzoo.converters.rows import blocks
from cellzoo.converters.transpose import Turn, gather
from cellzoo.errors import InputError
from cellzoo.registry.reading import Matrix, Names

SEPARATORS = {"comma": ",", "tab": "\t", "space": " "}
VALUES = 2_000_000
"""Values of a table that are dense in memory at a time, 16 MB."""
TRIPLETS = 1_000_000  # lines of a table of triplets that are read at a time
EXCEL = (".xlsx", ".xlsm")
NAME = re.compile(r'"((?:[^"]|"")*)"')


def read(spec: Matrix, found: Found, files: Files) -> CellData:
    """Return a matrix of numbers with the names of its rows in the first column, or a table of triplets."""
    separator = separator_of(found.file, spec.separator)
    with reading(f"{found.name}: cannot be read as a table of numbers"):
        if spec.cells and spec.features:
            return _triplets(spec, spec.cells, spec.features, found, separator)
        header, first = header_of(found, separator)
        if not first:
            raise InputError(f"{found.name}: cannot be read as a table of numbers: it has no row below the header.")
        rows: list[str] = []
        blocks = _blocks(found, separator, len(header) - 1, rows)
        if spec.orientation == "cells_by_genes":
            return data(rows, header[1:], gather(blocks, len(header) - 1))
        turn, start = Turn(), 0
        for block in blocks:
            features, cells = np.nonzero(block)
            turn.add(cells, features + start, block[features, cells])
            start += len(block)
        return data(header[1:], rows, turn.rows(len(header) - 1, len(rows)))


def data(cells: Any, features: Any, rows: Any) -> CellData:
    """Return a matrix with nothing but the names of its axes."""
    obs, var = (pd.DataFrame(index=pd.Index(list(map(str, names)), dtype=object)) for names in (cells, features))
    return CellData(obs=obs, var=var, X=rows)


def _blocks(found: Found, separator: str, columns: int, names: list[str]) -> Iterator[np.ndarray]:
    """Yield the numbers of some rows at a time (rows, columns), adding the names of the rows to ``names``."""
    at_once = max(1, VALUES // max(columns, 1))
    with found.text() as stream:
        next(stream)
        lines = (line for line in stream if line.strip("\r\n"))
        while chunk := list(islice(lines, at_once)):
            split = [_named(line, separator) for line in chunk]
            numbers = np.loadtxt(
                (line for _, line in split), delimiter=separator, comments=None, quotechar='"', ndmin=2
            )
            if numbers.shape[1] != columns:
                message = f"the row {split[0][0]!r} has {numbers.shape[1]} values, the header names {columns} columns"
                raise ValueError(message)
            names += [name for name, _ in split]
            yield numbers


def _named(line: str, separator: str) -> tuple[str, str]:
    """Return the first field of a line and the rest."""
    quoted = NAME.match(line) if line.startswith('"') else None
    if quoted:
        return quoted.group(1).replace('""', '"'), line[quoted.end() + 1 :]
    name, _, rest = line.partition(separator)
    return name, rest


def _triplets(spec: Matrix, cells: Names, features: Names, found: Found, separator: str) -> CellData:
    """Return a table with one line for each value: its cell, its feature and the number."""
    header, first = header_of(found, separator)
    at = [column_of(names, header, found.name) for names in (cells, features)]
    others = [number for number in range(len(first)) if number not in at]
    if spec.object in header:
        others = [header.index(spec.object)]
    if len(others) != 1:
        message = f"a table of triplets has one column of values beside cell and feature; found {header}"
        raise InputError(f"{found.name}: {message}. Name it in read.matrix.object.")
    columns = (at[0], at[1], others[0])
    turn = Turn()
    places: tuple[dict[str, int], dict[str, int]] = ({}, {})
    stated = np.zeros(0, np.int64)  # values of each cell
    for chunk in _chunks(found, separator, columns):
        cell, feature, value = (chunk[column] for column in columns)
        codes, values = [_codes(cell, places[0]), _codes(feature, places[1])], value.to_numpy()
        turn.add(codes[0], codes[1], values)
        here = np.bincount(codes[0][values != 0], minlength=len(places[0]))
        here[: len(stated)] += stated
        stated = here
    rows = turn.rows(len(places[0]), len(places[1]))
    held = np.concatenate([np.diff(block.indptr) for _, block in blocks(rows)])
    if len(more := np.flatnonzero(stated != held)):
        twice = _twice(_chunks(found, separator, columns), columns, list(places[0])[more[0]])
        remedy = "Expected one row for each cell and feature; take out what is repeated, or add it up."
        raise InputError(f"{found.name}: {twice}. {remedy}")
    return data(*places, rows)


def _chunks(found: Found, separator: str, columns: tuple[int, int, int]) -> Iterator[pd.DataFrame]:
    """Yield some rows of triplets at a time: the columns of cells, features and values."""
    with (
        found.bytes() as stream,
        pd.read_csv(
            stream,
            sep=separator,
            header=None,
            skiprows=1,
            usecols=list(columns),
            dtype={columns[0]: str, columns[1]: str, columns[2]: np.float64},
            na_filter=False,
            chunksize=TRIPLETS,
        ) as chunks,
    ):
        yield from chunks


def _twice(chunks: Iterable[pd.DataFrame], columns: tuple[int, int, int], cell: str) -> str:
    """Return which rows give a cell two values of one feature, counted from 1; a zero is no value."""
    seen: dict[str, int] = {}
    for chunk in chunks:
        names = chunk.loc[(chunk[columns[0]] == cell) & (chunk[columns[2]] != 0), columns[1]]
        for row, name in zip(names.index + 1, names, strict=True):
            if name in seen:
                return f"the rows {seen[name]} and {row} below the header are both of cell {cell!r}, feature {name!r}"
            seen[name] = row
    return f"cell {cell!r} has two values of a feature"


def _codes(names: pd.Series[Any], known: dict[str, int]) -> np.ndarray:
    """Return the number of each name, by first appearance; new ones are added to ``known``."""
    codes, distinct = pd.factorize(names)
    return np.asarray([known.setdefault(name, len(known)) for name in distinct])[codes]


def header_of(found: Found, separator: str) -> tuple[list[str], list[str]]:
    """Return column names as they are written, and the first row; R leaves out the name of the row names."""
    with reading(f"{found.name}: cannot be read as a table"), found.text() as stream:
        lines = csv.reader(stream, delimiter=separator)
        header, first = next(lines, []), next(lines, [])
    return (["", *header] if len(first) == len(header) + 1 else header), first


def column_of(names: Names, header: list[str], where: str) -> int:
    """Return the position of a column that is given by name or position."""
    if isinstance(names.column, int):
        if names.column < len(header):
            return names.column
    elif names.column in header:
        return header.index(names.column)
    raise InputError(f"{where}: has no column {names.column!r}, found {header}.")


def separator_of(name: str, stated: str | None) -> str:
    """Return the column separator of a table: stated, else a comma where it is named csv, else a tab."""
    if stated:
        return SEPARATORS[stated]
    for end in PACKED:
        name = name.removesuffix(end)
    return "," if name.endswith(".csv") else "\t"


def read_frame(found: Found, separator: str | None, sheet: str | None, index: str | None) -> pd.DataFrame:
    """Return a table of cells as the text it is written as; only an empty field is missing.

    Names of cells are in the column ``index`` or the first, and are never missing.
    """
    if sheet or found.file.lower().endswith(EXCEL):
        frame = _excel(found, sheet)
    else:
        sign = separator_of(found.file, separator)
        with reading(f"{found.name}: cannot be read as a table"):
            header, _ = header_of(found, sign)
            with found.bytes() as stream:
                frame = pd.read_csv(
                    stream, sep=sign, header=None, skiprows=1, dtype=str, keep_default_na=False, na_values=[""]
                )
            frame.columns = pd.Index(header)
    header = list(frame.columns)
    if header:
        at = header.index(index) if index in header else 0
        frame.isetitem(at, frame.iloc[:, at].fillna("").to_numpy())
    return frame


def _excel(found: Found, sheet: str | None) -> pd.DataFrame:
    import openpyxl

    what = f"{found.name}: cannot be read as an Excel file (.xlsx)"
    with found.path() as path, reading(what, anything=True), path.open("rb") as stream:
        with open_archive(found.name, path):  # a bomb is refused before it is unpacked
            book = openpyxl.load_workbook(stream, read_only=True, data_only=True)  # a pinned file has no .xlsx
        try:
            if sheet is not None and sheet not in book.sheetnames:
                raise InputError(f"{found.name}: has no sheet {sheet!r}, found {book.sheetnames}.")
            rows = (book[sheet] if sheet else book[book.sheetnames[0]]).iter_rows(values_only=True)
            header = ["" if one is None else str(one) for one in next(rows, ())]
            lines = [[_plain(one) for one in row] for row in rows if any(one is not None for one in row)]
        finally:
            book.close()
    return pd.DataFrame(lines, columns=pd.Index(header), dtype=object)


def _plain(value: Any) -> str | None:
    """Return a cell of Excel as text: numbers without the point, days without the hour, that it gives every one."""
    if value is None or value == "":
        return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime) and value.time() == time.min:
        return str(value.date())
    return str(value)
