"""What an h5ad file holds, seen without reading its matrices whole: counts or not, gene names, columns of cells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellzoo.converters.counts import COUNT_LAYERS, problem, recover
from cellzoo.errors import CountsError, InputError
from cellzoo.registry.genes import detect_kind, detect_organism
from cellzoo.registry.reading import Recover

if TYPE_CHECKING:
    import anndata

SAMPLE = 300_000  # values of a matrix that are looked at, a third at its start, its middle and its end
ROWS = 200  # cells on which a way to recover the counts is tried
DEPTHS = ("n_counts", "total_counts", "ncount_rna", "n_umis", "n_umi", "numi", "n_molecules", "sum", "smallest")
"""Columns that usually hold each cell's total count, and the word for its smallest value."""
SCALES = (1e4, 1e6)
ENSEMBL_COLUMNS = ("gene_ids", "gene_id", "ensembl_id", "ensembl", "feature_id", "ensembl_gene_id", "gene_stable_id")
SYMBOL_COLUMNS = ("feature_name", "gene_symbol", "gene_symbols", "gene_name", "gene_names", "symbol", "name", "gene")
READS_BELOW = (
    0.2  # share of ones among the counts; of the packaged data sets, UMIs have 0.36 or more, reads 0.13 or less
)


@dataclass(frozen=True)
class Contents:
    """What a file holds, as far as its card needs to know it."""

    path: Path
    """The file."""
    obs: pd.DataFrame
    """Columns of cells."""
    uns: dict[str, str]
    """What the file says of itself in words."""
    counts: str | None
    """Where raw counts are: ``X``, ``raw`` or a layer; None where nowhere."""
    recover: Recover | None
    """How exact counts come out of the log-normalized values at `counts`, where there are no raw ones."""
    looked: dict[str, str]
    """Place -> what keeps it from being raw counts, "" where it is."""
    reads: bool
    """Whether the counts look like reads of a full-length protocol, in which ones are rare."""
    genes: dict[str, str]
    """``ensembl`` and ``symbol`` -> the column of genes, or ``index``."""
    names: list[str] = field(repr=False)
    """Gene names as the card will read them."""
    feature_types: str | None
    """Column of genes that says what kind of feature each is, where there are several."""
    organism: str | None
    """NCBITaxon term: stated in the file, or told by the gene names."""

    @property
    def cells(self) -> int:
        """Return the number of cells."""
        return len(self.obs)


@dataclass(frozen=True)
class _Place:
    name: str
    matrix: Any
    var: pd.DataFrame


def contents_of(path: Path) -> Contents:
    """Return what an h5ad file holds; of matrices a sample is read, so that memory does not grow with the file.

    Files of anndata before 0.7 are read whole. Raises `InputError` for what is no h5ad file, or has no matrix.
    """
    import h5py

    from cellzoo.converters.h5ad import read_h5ad

    if path.is_dir():
        raise InputError(f"{path}: is a folder, expected an h5ad file.")
    if not path.is_file() or not h5py.is_hdf5(path):
        read_h5ad(path)  # says what it is instead
    try:
        with h5py.File(path) as file:
            if not isinstance(file.get("obs"), h5py.Dataset):
                return _contents(path, *_parts(path, file))
    except InputError:
        raise
    except Exception as error:  # h5py and anndata raise many kinds
        raise InputError(f"{path}: cannot be read as h5ad: {error}. The file may be truncated.") from error
    return _contents(path, *_old_parts(read_h5ad(path)))


def _parts(path: Path, file: Any) -> tuple[pd.DataFrame, dict[str, Any], list[_Place]]:
    from anndata.io import read_elem

    for name in ("obs", "var"):
        if name not in file:
            raise InputError(f"{path}: is HDF5 but not h5ad: it has no {name}, only {', '.join(file) or 'nothing'}.")
    var = read_elem(file["var"])
    places = [_Place("X", file["X"], var)] if "X" in file else []
    if "raw" in file and "X" in file["raw"]:
        places.append(_Place("raw", file["raw/X"], read_elem(file["raw/var"])))
    places += [_Place(name, matrix, var) for name, matrix in file.get("layers", {}).items()]
    said = {key: read_elem(file["uns"][key]) for key in file.get("uns", {}) if _is_word(file["uns"][key])}
    return read_elem(file["obs"]), said, places


def _is_word(element: Any) -> bool:
    return getattr(element, "shape", None) == () and element.dtype.kind in "OSU"


def _old_parts(adata: anndata.AnnData) -> tuple[pd.DataFrame, dict[str, Any], list[_Place]]:
    places = [_Place("X", adata.X, adata.var)] if adata.X is not None else []
    if adata.raw is not None:
        places.append(_Place("raw", adata.raw.X, adata.raw.var))
    places += [_Place(str(name), adata.layers[name], adata.var) for name in adata.layers]
    return adata.obs, {key: value for key, value in adata.uns.items() if isinstance(value, str)}, places


def _contents(path: Path, obs: pd.DataFrame, uns: dict[str, Any], places: list[_Place]) -> Contents:
    if not places:
        raise InputError(f"{path}: holds no matrix: neither X, raw.X nor a layer.")
    if not len(obs):
        raise InputError(f"{path}: holds no cells.")
    if not any(len(place.var) for place in places):
        raise InputError(f"{path}: holds no genes.")
    obs = obs.rename(columns=str)
    places.sort(key=lambda place: _rank(place.name))
    looked, chosen, values = {}, None, np.empty(0)
    for place in places:
        values_here = _values(place.matrix)
        looked[place.name] = problem(sp.csr_matrix(values_here[None, :])) or ""
        if not looked[place.name] and (chosen is None or len(place.var) > len(chosen.var)):
            chosen, values = place, values_here
    how = None
    if chosen is None:
        chosen, how = next(_recoverable(places, obs), (None, None))
    var = (chosen or places[0]).var
    genes = _gene_columns(var)
    key = genes.get("ensembl") or genes["symbol"]
    names = [str(name) for name in (var.index if key == "index" else var[key])]
    return Contents(
        path=path,
        obs=obs,
        uns={key: str(value) for key, value in uns.items()},
        counts=chosen.name if chosen else None,
        recover=how,
        looked=looked,
        reads=bool(values.size) and float((values[values > 0] == 1).mean()) < READS_BELOW,
        genes=genes,
        names=names,
        feature_types=_feature_types(var),
        organism=_organism(obs, uns, names),
    )


def _rank(name: str) -> tuple[int, str]:
    known = ("X", "raw", *(layer for layer in COUNT_LAYERS if layer != "raw"))
    return (known.index(name) if name in known else len(known), name)


def _values(matrix: Any) -> np.ndarray:
    """Return stored values from the start, the middle and the end of a matrix, in memory or in a file."""
    if sp.issparse(matrix) or hasattr(matrix, "keys"):
        stored = matrix.data if sp.issparse(matrix) else matrix["data"]
        return np.concatenate([stored[start:stop] for start, stop in _thirds(stored.shape[0], SAMPLE)])
    rows = max(3, SAMPLE // max(matrix.shape[1], 1))
    blocks = [np.asarray(matrix[start:stop]).ravel() for start, stop in _thirds(matrix.shape[0], rows)]
    return np.concatenate(blocks)


def _thirds(length: int, wanted: int) -> list[tuple[int, int]]:
    """Return up to three ranges, ``wanted`` long in all, at the start, the middle and the end."""
    if length <= wanted:
        return [(0, length)]
    part = wanted // 3
    return [(0, part), (length // 2, length // 2 + part), (length - part, length)]


def _rows(matrix: Any) -> sp.csr_matrix | None:
    """Return the first cells; None where a file stores them by gene, so that all of it would be read."""
    if not hasattr(matrix, "keys"):
        return sp.csr_matrix(matrix[:ROWS])
    from anndata.io import sparse_dataset

    stored = sparse_dataset(matrix)
    return sp.csr_matrix(stored[:ROWS]) if stored.format == "csr" else None


def _recoverable(places: list[_Place], obs: pd.DataFrame) -> Iterator[tuple[_Place, Recover]]:
    """Yield each place whose values are logarithms of scaled counts, and how to undo them: tried, not assumed."""
    columns = {str(column).lower(): column for column in obs.select_dtypes("number")}
    depths = [columns.get(name, name) for name in DEPTHS if name in columns or name == "smallest"]
    for place in places:
        rows = _rows(place.matrix)
        if rows is None or not rows.nnz or rows.data.min() < 0 or rows.data.max() > 25:
            continue
        for depth in depths:
            scales = SCALES if depth == "smallest" else (*SCALES, float(obs[depth].median()))
            for recipe in (
                Recover(undo=undo, scale=scale, depth=str(depth), tolerance=tolerance)
                for tolerance in (1e-6, 1e-3)
                for undo in ("log1p", "log2p1")
                for scale in (scales if depth != "smallest" else scales[:1])
                if scale > 0
            ):
                try:
                    recover(rows, recipe, obs.iloc[: rows.shape[0]], place.name)
                except CountsError:
                    continue
                yield place, recipe


def _gene_columns(var: pd.DataFrame) -> dict[str, str]:
    """Return which columns, or the index, hold Ensembl ids and symbols."""
    found: dict[str, str] = {}
    index = [str(name) for name in var.index]
    kind = detect_kind(index)
    if kind == "ensembl":
        found["ensembl"] = "index"
    for column in sorted(map(str, var), key=lambda name: name.lower() not in ENSEMBL_COLUMNS):
        if "ensembl" not in found and _is_text(var[column]) and detect_kind(var[column].astype(str)) == "ensembl":
            found["ensembl"] = column
    named = {str(column).lower(): str(column) for column in var if _is_text(var[column])}
    symbols = next((named[name] for name in SYMBOL_COLUMNS if name in named), None)
    if kind == "symbol" and not all(name.isdecimal() for name in index):
        symbols = "index"
    if symbols and symbols != found.get("ensembl"):
        found["symbol"] = symbols
    return found or {"symbol": "index"}


def _is_text(values: pd.Series[Any]) -> bool:
    return not values.isna().any() and not pd.api.types.is_numeric_dtype(values)


def _feature_types(var: pd.DataFrame) -> str | None:
    return "feature_types" if "feature_types" in var and var["feature_types"].nunique() > 1 else None


def _organism(obs: pd.DataFrame, uns: dict[str, Any], names: list[str]) -> str | None:
    stated = uns.get("organism_ontology_term_id")
    if stated is None and "organism_ontology_term_id" in obs:
        terms = obs["organism_ontology_term_id"].unique()
        stated = terms[0] if len(terms) == 1 else None
    return str(stated) if stated else detect_organism(names)[0]
