"""From pinned files to an AnnData as the source has it: matrix, cells, genes, nothing changed yet."""

from __future__ import annotations

import csv
import gzip
import re
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellzoo.converters.rdata_objects import r_frame, r_matrix, r_object, r_vector
from cellzoo.errors import InputError
from cellzoo.registry.schema import DatasetCard, ObsTable

SEPARATORS = {"comma": ",", "tab": "\t", "space": " "}
UNREADABLE = (ValueError, OSError, EOFError, zlib.error, csv.Error)
TABLE_ROWS = 512  # rows of a delimited matrix that are dense in memory at a time


def read_source(card: DatasetCard, files: Mapping[str, Path]) -> anndata.AnnData:
    """Return what a card points at: X (cells, genes) CSR as stored, obs and var with the columns of the source.

    Raises `InputError` that names the data set, the file and the object where the file is not what the card says.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # duplicate gene names are handled when streamlining
            adata = {"h5ad": _h5ad, "rdata": _rdata, "table": _table}[card.read.format](card, files)
            adata = _with_obs(adata, card, files)
    except InputError as error:
        error.add_note(f"while reading {card.id}")
        raise
    if adata.n_obs != card.cells_expected:
        raise InputError(f"{card.id}: {adata.n_obs} cells after reading, the card expects {card.cells_expected}.")
    return adata


def _h5ad(card: DatasetCard, files: Mapping[str, Path]) -> anndata.AnnData:
    path, layer = files[card.read.matrix.file], card.counts.layer
    full = open_h5ad(path)
    if layer == "raw":
        if full.raw is None:
            raise InputError(f"{path.name}: has no raw; the card says counts.layer: raw.")
        matrix, var = full.raw.X, full.raw.var
    elif layer == "X" or layer in full.layers:
        matrix, var = full.X if layer == "X" else full.layers[layer], full.var
    else:
        raise InputError(f"{path.name}: has no layer {layer!r}, found {sorted(map(str, full.layers))}.")
    if matrix is None:
        raise InputError(f"{path.name}: has no X; the card says counts.layer: {layer}.")
    return anndata.AnnData(sp.csr_matrix(matrix), obs=full.obs.copy(), var=var.copy())


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


def _rdata(card: DatasetCard, files: Mapping[str, Path]) -> anndata.AnnData:
    spec = card.read.matrix
    matrix, rows, columns = r_matrix(r_object(files[spec.file], spec.object), f"{spec.file}: {spec.object}")
    if spec.orientation == "genes_by_cells":
        matrix, rows, columns = matrix.T, columns, rows
    return _assemble(card, sp.csr_matrix(matrix), rows, columns)


def _table(card: DatasetCard, files: Mapping[str, Path]) -> anndata.AnnData:
    spec = card.read.matrix
    path, separator = files[spec.file], _separator(spec.file, spec.separator)
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
    matrix = sp.vstack(blocks, format="csr")
    if spec.orientation == "genes_by_cells":
        matrix, rows, columns = matrix.T, columns, rows
    return _assemble(card, sp.csr_matrix(matrix), rows, columns)


def _assemble(card: DatasetCard, matrix: sp.csr_matrix, cells: Any, genes: Any) -> anndata.AnnData:
    if matrix.shape != (len(cells), len(genes)):
        raise InputError(
            f"{card.id}: the matrix is {matrix.shape}, with {len(cells)} cell and {len(genes)} gene names."
        )
    obs = pd.DataFrame(index=pd.Index(np.asarray(cells, dtype=object).astype(str), dtype=object))
    var = pd.DataFrame(index=pd.Index(np.asarray(genes, dtype=object).astype(str), dtype=object))
    return anndata.AnnData(matrix, obs=obs, var=var)


def _with_obs(adata: anndata.AnnData, card: DatasetCard, files: Mapping[str, Path]) -> anndata.AnnData:
    obs = adata.obs
    for name, spec in card.read.obs.columns.items():
        if spec.extract:
            found = [re.search(spec.extract, cell) for cell in obs.index]
            if None in found:
                cell = obs.index[found.index(None)]
                raise InputError(f"{card.id}: read.obs.columns.{name}: {spec.extract!r} does not match {cell!r}.")
            obs[name] = [match.group(1) for match in found if match]
        elif spec.file:
            values = r_vector(r_object(files[spec.file], spec.object), f"{spec.file}: {spec.object}")
            if len(values) != adata.n_obs:
                where = f"{card.id}: read.obs.columns.{name}"
                raise InputError(f"{where}: {len(values)} values for {adata.n_obs} cells.")
            obs[name] = values
    if card.read.obs.table is None:
        return adata
    return _joined(adata, _obs_table(card.read.obs.table, files), card)


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


def _joined(adata: anndata.AnnData, table: pd.DataFrame, card: DatasetCard) -> anndata.AnnData:
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
