"""Matrix Market with files of names, and the folders of Cell Ranger that hold them under their usual names."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePosixPath
from typing import IO, Any

import numpy as np
import pandas as pd

from cellzoo.converters.celldata import CellData
from cellzoo.converters.formats.features import feature_types, split_features
from cellzoo.converters.formats.files import Files, Found, reading
from cellzoo.converters.formats.text import column_of, separator_of
from cellzoo.converters.transpose import Turn
from cellzoo.errors import InputError
from cellzoo.registry.reading import Matrix, Names

LINES = 500_000
"""Entries of a matrix that are read at a time."""
BARCODES, FEATURES = ("barcodes.tsv",), ("features.tsv", "genes.tsv")
COLUMNS = ("gene_ids", "name", "feature_types")
"""Columns of Cell Ranger's features.tsv; the names become the index, as scanpy has it."""


@dataclass(frozen=True)
class _Header:
    rows: int
    columns: int
    entries: int
    """Values that the body lists."""
    kind: str
    """coordinate or array."""
    pattern: bool
    """Whether the entries have no value: each is 1."""


def read(spec: Matrix, found: Found, files: Files) -> CellData:
    """Return a Matrix Market file with names of cells and features from files of their own."""
    if spec.cells is None or spec.features is None:
        missing = [name for name in ("cells", "features") if getattr(spec, name) is None]
        raise InputError(f"{found.name}: an mtx holds no names; say where they are: read.matrix.{missing[0]}.")
    turned = spec.orientation == "genes_by_cells"
    header, turn = _matrix(found, turned)
    n_cells, n_features = (header.columns, header.rows) if turned else (header.rows, header.columns)
    cells = _names(spec.cells, files.one(spec.cells, found.parts), n_cells, found, "cells")
    features = _names(spec.features, files.one(spec.features, found.parts), n_features, found, "features")
    return CellData(obs=cells, var=features, X=turn.rows(n_cells, n_features))


def read_10x(spec: Matrix, found: Found, files: Files) -> CellData:
    """Return a matrix of Cell Ranger; barcodes and features lie beside it, in its archive or among the card's files."""
    header, turn = _matrix(found, turned=True)
    cells_file = files.one(spec.cells, found.parts) if spec.cells else _beside(spec, found, files, BARCODES)
    features_file = files.one(spec.features, found.parts) if spec.features else _beside(spec, found, files, FEATURES)
    cells = _lines(cells_file, header.columns, found, "cells")
    features = _lines(features_file, header.rows, found, "features")
    obs = pd.DataFrame(index=pd.Index(cells[0].to_numpy(dtype=object)))
    var = features.iloc[:, : len(COLUMNS)].set_axis(list(COLUMNS[: features.shape[1]]), axis=1)
    var.index = pd.Index(var.pop("name" if "name" in var else "gene_ids").to_numpy(dtype=object))
    data = CellData(obs=obs, var=var, X=turn.rows(header.columns, header.rows))
    if "feature_types" not in var:
        return data
    var["feature_type"] = feature_types(var["feature_types"])
    return split_features(data, "feature_type")


def matrices_in(spec: Matrix, files: Files) -> list[Found]:
    """Return the matrix of a 10x folder: where the card names an archive and no member, the only one that is in it."""
    if spec.member is not None or spec.file.removesuffix(".gz").endswith(".mtx"):
        return files.find(spec)
    archive = files.archive(spec.file)
    named = [name for name in archive.names if name.removesuffix(".gz").endswith("matrix.mtx")]
    if len(named) != 1:
        message = f"holds {len(named)} files named matrix.mtx, expected one: {named[:12] or archive.names[:12]}"
        raise InputError(f"{spec.file}: {message}. Name it in read.matrix.member; * reads several.")
    return [archive.found(named[0])]


def _beside(spec: Matrix, found: Found, files: Files, usual: tuple[str, ...]) -> Found:
    """Return the file of names that has the same folder and prefix (``GSM123_``) as the matrix."""
    path = PurePosixPath(found.file)
    stem = path.name.removesuffix(".gz").removesuffix("matrix.mtx")
    wanted = [str(path.with_name(f"{stem}{name}{end}")) for name in usual for end in (".gz", "")]
    there = files.archive(spec.file).names if found.local is None else list(files.paths)
    for name in wanted:
        if name in there:
            if found.local is None:
                return files.archive(spec.file).found(name)
            return Found.whole(name, files.paths[name])
    axis = "cells" if usual == BARCODES else "features"
    message = f"has no {wanted[-1]} beside it; found {[name for name in there if name != found.file][:12]}"
    raise InputError(f"{found.name}: {message}. Name it in read.matrix.{axis}.")


def _matrix(found: Found, turned: bool) -> tuple[_Header, Turn]:
    """Return the values of a Matrix Market file, and what its header says of them."""
    turn = Turn()
    with reading(f"{found.name}: cannot be read as Matrix Market"):
        with found.bytes() as stream:
            header = _header(found, stream)
            seen = 0
            for chunk in _chunks(stream, header):
                rows, columns, values = _entries(chunk, header, seen)
                _inside(found, rows, header.rows, "row", seen)
                _inside(found, columns, header.columns, "column", seen)
                seen += len(rows)
                if seen > header.entries:
                    break
                turn.add(*((columns, rows) if turned else (rows, columns)), values)
        if seen != header.entries:
            body = f"more than {header.entries}" if seen > header.entries else str(seen)
            message = f"the header says {header.entries} values, the body has {body}"
            raise InputError(f"{found.name}: {message}: the file may be truncated.")
    return header, turn


def _header(found: Found, stream: IO[bytes]) -> _Header:
    words = stream.readline(1000).decode("latin-1").lower().split()
    if words[:2] != ["%%matrixmarket", "matrix"] or len(words) != 5:
        started = " ".join(words)[:60]
        raise InputError(f"{found.name}: is not Matrix Market: it starts with {started!r}, not %%MatrixMarket matrix.")
    kind, values, symmetry = words[2:]
    if values not in {"real", "integer", "double", "unsigned-integer", "pattern"} or symmetry != "general":
        message = f"holds a {symmetry} matrix of {values} values; expected a general one of integer or real values"
        raise InputError(f"{found.name}: {message}.")
    line = stream.readline()
    while line.startswith(b"%") or (line and not line.strip()):
        line = stream.readline()
    sizes = [int(word) for word in line.split()]
    if kind not in {"coordinate", "array"} or len(sizes) != (3 if kind == "coordinate" else 2) or min(sizes) < 0:
        raise InputError(f"{found.name}: has no line with the number of rows, columns and values: {line[:60]!r}.")
    entries = sizes[2] if kind == "coordinate" else sizes[0] * sizes[1]
    return _Header(sizes[0], sizes[1], entries, kind, values == "pattern")


def _chunks(stream: IO[bytes], header: _Header) -> Iterator[np.ndarray]:
    """Yield the numbers of some lines at a time."""
    wanted = 1 if header.kind == "array" else 2 if header.pattern else 3
    while lines := list(islice(stream, LINES)):
        numbers = np.loadtxt(lines, comments="%", ndmin=2)
        if numbers.size and numbers.shape[1] != wanted:
            raise ValueError(f"a line has {numbers.shape[1]} numbers, expected {wanted}")
        if numbers.size:
            yield numbers


def _entries(chunk: np.ndarray, header: _Header, seen: int) -> tuple[np.ndarray, np.ndarray, Any]:
    """Return rows, columns (from 0) and values."""
    if header.kind == "array":
        at = np.arange(seen, seen + len(chunk))
        return at % header.rows, at // header.rows, chunk[:, 0]
    return chunk[:, 0] - 1, chunk[:, 1] - 1, 1.0 if header.pattern else chunk[:, 2]


def _inside(found: Found, positions: np.ndarray, size: int, axis: str, seen: int) -> None:
    wrong = np.flatnonzero(~((positions >= 0) & (positions < size) & (positions % 1 == 0)))
    if len(wrong):
        message = f"value {seen + wrong[0] + 1} is in {axis} {positions[wrong[0]] + 1:g}, there are 1 to {size}"
        raise InputError(f"{found.name}: {message}.")


def _names(spec: Names, file: Found, wanted: int, matrix: Found, axis: str) -> pd.DataFrame:
    """Return the names of an axis as the index, and the further columns of their file."""
    frame = _lines(file, wanted, matrix, axis)
    at = column_of(spec, list(map(str, frame)), file.name)
    rest = frame.drop(columns=frame.columns[at])
    return rest.set_axis(pd.Index(frame.iloc[:, at].to_numpy(dtype=object)), axis=0).rename(columns=str)


def _lines(file: Found, wanted: int, matrix: Found, axis: str) -> pd.DataFrame:
    """Return a file of names as text; its first line is a header where there is one line more than names."""
    sign = separator_of(file.file, None)
    with reading(f"{file.name}: cannot be read as the names of {axis}"), file.text() as stream:
        lines = [line for line in csv.reader(stream, delimiter=sign) if line]
    header: list[str] | None = None
    if len(lines) == wanted + 1:
        header = lines.pop(0)
        if lines and len(lines[0]) == len(header) + 1:
            header = ["", *header]
    if len(lines) != wanted:
        way = "Is the matrix turned: read.matrix.orientation?" if axis == "cells" else "Are they of another matrix?"
        message = f"names {len(lines)} {axis}, the matrix {matrix.name} has {wanted}"
        raise InputError(f"{file.name}: {message}. {way}")
    width = max(map(len, lines), default=1)
    frame = pd.DataFrame([line + [""] * (width - len(line)) for line in lines], columns=range(width), dtype=object)
    return frame.set_axis(header, axis=1) if header and len(header) == width else frame
