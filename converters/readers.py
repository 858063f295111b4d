"""From pinned files to an AnnData as the source has it: matrix, cells, genes, nothing changed yet."""

from __future__ import annotations

import csv
import gzip
import time
import warnings
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import regex
import scipy.sparse as sp

from cellzoo.converters.rdata_objects import r_frame, r_matrix, r_object, r_vector
from cellzoo.errors import InputError
from cellzoo.registry.reading import Matrix, ObsTable
from cellzoo.registry.schema import ReadableCard

SEPARATORS = {"comma": ",", "tab": "\t", "space": " "}
UNREADABLE = (ValueError, OSError, EOFError, zlib.error, csv.Error)
SECONDS = 30.0  # that a pattern of a card may take over all cell names; honest ones take one for a million
TABLE_ROWS = 512  # rows of a delimited matrix that are dense in memory at a time


def read_source(card: ReadableCard, files: Mapping[str, Path]) -> anndata.AnnData:
    """Return what a card points at: X (cells, genes) CSR as stored, obs and var with the columns of the source.

    Layers that the card names come as stored too, under the name they have in the file or the card's ``read.layers``.
    Raises `InputError` that names the data set, the file and the object where the file is not what the card says.
    """
    if (reader := READERS.get(card.read.format)) is None:
        raise InputError(f"{card.id}: cellzoo does not read {card.read.format} yet; it reads {', '.join(READERS)}.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # duplicate gene names are handled when streamlining
            adata = reader(card, files)
            adata = _kept(_with_obs(adata, card, files), card)
    except InputError as error:
        error.add_note(f"while reading {card.id}")
        raise
    if card.cells_expected is not None and adata.n_obs != card.cells_expected:
        raise InputError(f"{card.id}: {adata.n_obs} cells after reading, the card expects {card.cells_expected}.")
    return adata


def _h5ad(card: ReadableCard, files: Mapping[str, Path]) -> anndata.AnnData:
    path = files[card.read.matrix.file]
    full = open_h5ad(path)
    matrix, var = _place(full, card.layers.counts, path.name, "counts")
    adata = anndata.AnnData(sp.csr_matrix(matrix), obs=full.obs.copy(), var=var.copy())
    for role, name in card.layers.model_dump(exclude={"counts"}, exclude_none=True).items():
        if name == card.layers.counts:
            continue
        matrix, genes = _place(full, name, path.name, role)
        if not genes.index.equals(var.index):
            raise InputError(f"{path.name}: {name} has other genes than {card.layers.counts}; leave out layers.{role}.")
        adata.layers[name] = sp.csr_matrix(matrix)
    return adata


def _place(full: anndata.AnnData, name: str | None, where: str, role: str) -> tuple[Any, pd.DataFrame]:
    """Return the matrix that X, raw or a layer holds, with its genes."""
    if name == "raw":
        if full.raw is None:
            raise InputError(f"{where}: has no raw; the card says layers.{role}: raw.")
        return full.raw.X, full.raw.var
    if name != "X" and name not in full.layers:
        raise InputError(f"{where}: has no layer {name!r}, found {sorted(map(str, full.layers))}.")
    matrix = full.X if name == "X" else full.layers[name]
    if matrix is None:
        raise InputError(f"{where}: has no X; the card says layers.{role}: X.")
    return matrix, full.var


def open_h5ad(path: Path) -> anndata.AnnData:
    """Return an h5ad file in memory; what is not one is an `InputError`, not a stack of HDF5 errors."""
    if not path.is_file():
        raise InputError(f"{path}: there is no such file.")
    with path.open("rb") as stream:
        head = stream.read(8)
    if head != b"\x89HDF\r\n\x1a\n":
        raise InputError(f"{path}: is not an h5ad file: it starts with {head[:8]!r}, HDF5 starts with \\x89HDF.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old files: index types, deprecated encodings
            return anndata.read_h5ad(path)
    except Exception as error:  # h5py and anndata raise many kinds
        raise InputError(f"{path}: cannot be read as h5ad: {error}. The file may be truncated.") from error


def _rdata(card: ReadableCard, files: Mapping[str, Path]) -> anndata.AnnData:
    return _assembled(card, files, _r_part)


def _table(card: ReadableCard, files: Mapping[str, Path]) -> anndata.AnnData:
    return _assembled(card, files, _table_part)


Part = tuple[sp.csr_matrix, list[str], list[str]]
"""A matrix (rows, columns) as the file has it, and the names of both."""


def _r_part(spec: Matrix, path: Path) -> Part:
    return r_matrix(r_object(path, spec.object), f"{spec.file}: {spec.object}")


def _table_part(spec: Matrix, path: Path) -> Part:
    separator = _separator(spec.file, spec.separator)
    rows: list[str] = []
    blocks: list[Any] = []
    try:
        columns = _header(path, spec.file, separator)[1:]
        with pd.read_csv(
            path, index_col=0, na_filter=False, chunksize=TABLE_ROWS, **_shape(spec.file, separator, 0)
        ) as chunks:
            for chunk in chunks:
                rows += chunk.index.tolist()
                blocks.append(sp.csr_matrix(chunk.to_numpy(dtype=np.float64)))
    except UNREADABLE as error:
        raise InputError(f"{spec.file}: cannot be read as a table of numbers: {error}.") from error
    return sp.vstack(blocks, format="csr"), rows, columns


def _assembled(card: ReadableCard, files: Mapping[str, Path], part: Callable[[Matrix, Path], Part]) -> anndata.AnnData:
    """Return the matrix of a card and its further layers, each turned to cells by genes."""

    def read(spec: Matrix) -> anndata.AnnData:
        matrix, cells, genes = part(spec, files[spec.file])
        if spec.orientation == "genes_by_cells":
            matrix, cells, genes = matrix.T, genes, cells
        if matrix.shape != (len(cells), len(genes)):
            found = f"the matrix is {matrix.shape}, with {len(cells)} cell and {len(genes)} gene names"
            raise InputError(f"{card.id}: {found}.")
        obs, var = (pd.DataFrame(index=pd.Index(list(map(str, names)), dtype=object)) for names in (cells, genes))
        return anndata.AnnData(sp.csr_matrix(matrix), obs=obs, var=var)

    known = ["X", *card.read.layers]
    if missing := sorted(set(card.layers.model_dump(exclude_none=True).values()) - set(known)):
        raise InputError(f"{card.id}: layers names {missing}; read gives {known}.")
    adata = read(card.read.matrix)
    for name, spec in card.read.layers.items():
        layer = read(spec)
        for axis, ours, theirs in (("cells", adata.obs, layer.obs), ("genes", adata.var, layer.var)):
            if not theirs.index.equals(ours.index):
                message = f"has other {axis} than the matrix, or in another order"
                raise InputError(f"{card.id}: read.layers.{name}: {message}.")
        adata.layers[name] = layer.X
    return adata


def _with_obs(adata: anndata.AnnData, card: ReadableCard, files: Mapping[str, Path]) -> anndata.AnnData:
    obs = adata.obs
    for name, spec in card.read.obs.columns.items():
        if spec.extract:
            obs[name] = _extracted(f"{card.id}: read.obs.columns.{name}", spec.extract, obs.index)
        elif spec.file:
            values = r_vector(r_object(files[spec.file], spec.object), f"{spec.file}: {spec.object}")
            if len(values) != adata.n_obs:
                where = f"{card.id}: read.obs.columns.{name}"
                raise InputError(f"{where}: {len(values)} values for {adata.n_obs} cells.")
            obs[name] = values
    if card.read.obs.table is None:
        return adata
    return _joined(adata, _obs_table(card.read.obs.table, files), card)


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


def _obs_table(spec: ObsTable, files: Mapping[str, Path]) -> pd.DataFrame:
    if spec.object:
        frame = r_frame(r_object(files[spec.file], spec.object), f"{spec.file}: {spec.object}")
    else:
        path, separator = files[spec.file], _separator(spec.file, spec.separator)
        try:
            columns = _header(path, spec.file, separator)
            at = columns.index(spec.index) if spec.index in columns else 0
            frame = pd.read_csv(path, **_shape(spec.file, separator, at))
            frame.columns = pd.Index(columns)
        except UNREADABLE as error:
            raise InputError(f"{spec.file}: cannot be read as a table: {error}.") from error
        frame = frame if spec.index else frame.set_index(columns[0])
    if spec.index:
        if spec.index not in frame:
            raise InputError(f"{spec.file}: has no column {spec.index!r}, found {list(map(str, frame))}.")
        frame = frame.set_index(spec.index)
    frame.index = frame.index.astype(str)
    return frame


def _joined(adata: anndata.AnnData, table: pd.DataFrame, card: ReadableCard) -> anndata.AnnData:
    spec = card.read.obs.table
    suffix = spec.strip if spec and spec.strip else ""
    keys = adata.obs_names.str.removesuffix(suffix) if suffix else adata.obs_names
    if table.index.has_duplicates:
        twice = table.index[table.index.duplicated()][0]
        raise InputError(f"{card.id}: the table of cells lists {twice!r} twice.")
    known = keys.isin(table.index)
    if not known.any():
        example = f"the matrix has {keys[0]!r}, the table {table.index[0]!r}"
        raise InputError(f"{card.id}: no cell of the matrix is in the table of cells: {example}.")
    if not known.all() and spec is not None and spec.unmatched == "error":
        raise InputError(
            f"{card.id}: {int((~known).sum())} cells are not in the table of cells, first {keys[~known][0]!r}."
        )
    kept = adata[known].copy()
    for column in table:
        kept.obs[str(column)] = table[column].reindex(keys[known]).to_numpy()
    return kept


def _kept(adata: anndata.AnnData, card: ReadableCard) -> anndata.AnnData:
    """Return the cells that the card keeps, all where it does not say."""
    keep = card.read.keep
    if keep is None:
        return adata
    if keep.column not in adata.obs:
        raise InputError(f"{card.id}: read.keep: no column {keep.column!r} of cells; found {list(adata.obs)}.")
    values = adata.obs[keep.column].astype(str)
    kept = values.isin(keep.values).to_numpy()
    if not kept.any():
        found = values.value_counts().head(20).to_dict()
        message = f"no cell has one of {list(keep.values)} in column {keep.column!r}; found {found}"
        raise InputError(f"{card.id}: read.keep: {message}.")
    return adata[kept].copy()


def _header(path: Path, name: str, separator: str) -> list[str]:
    """Return the column names of a delimited table as they are written; R leaves out the one of the row names."""
    unpack: Any = gzip.open if name.endswith(".gz") else open
    with unpack(path, "rt", encoding="utf-8-sig", newline="") as stream:
        lines = csv.reader(stream, delimiter=separator)
        header, first = next(lines, []), next(lines, [])
    return ["", *header] if len(first) == len(header) + 1 else header


def _shape(name: str, separator: str, names: int) -> dict[str, Any]:
    """Return how pandas reads the rows below the header; the column ``names`` stays the text it is."""
    compression = "gzip" if name.endswith(".gz") else None
    return {
        "sep": separator,
        "compression": compression,
        "header": None,
        "skiprows": 1,
        "converters": {names: str},
    }


def _separator(name: str, stated: str | None) -> str:
    if stated:
        return SEPARATORS[stated]
    return "," if name.removesuffix(".gz").endswith(".csv") else "\t"


READERS: dict[str, Callable[[ReadableCard, Mapping[str, Path]], anndata.AnnData]] = {
    "h5ad": _h5ad,
    "rdata": _rdata,
    "table": _table,
}
"""Format -> what reads it."""
