"""What an h5ad file holds, seen without reading its matrices whole: counts or not, gene names, columns of cells."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellzoo.converters.celldata import layer_address
from cellzoo.converters.counts import COUNT_LAYERS, SMALLEST, UNSCALED, problem, recover
from cellzoo.errors import CountsError, InputError
from cellzoo.registry.genes import detect_kind, detect_organism
from cellzoo.registry.ontology import load
from cellzoo.registry.reading import Recover

if TYPE_CHECKING:
    import anndata

SAMPLE = 300_000  # values of a matrix that are looked at, a third at its start, its middle and its end
ROWS = 200  # cells on which a way to recover the counts is tried
DEPTHS = ("n_counts", "total_counts", "ncount_rna", "n_umis", "n_umi", "numi", "n_molecules", "sum")
"""Columns that usually hold each cell's total count."""
SCALES = (1e4, 1e6)
ORGANISMS = ("organism_ontology_term_id", "organism", "species")
"""Columns of cells, and entries of uns, that say the organism; the first that is there counts."""
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
    """How counts come out of the log-normalized values at `counts`, where there are no raw ones."""
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
    """NCBITaxon term: stated in the file, or told by the gene names where it states none."""
    doubt: str
    """What of the file keeps the organism from being sure, "" where nothing does."""

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

    from cellzoo.converters.h5ad import hint_of

    for name in ("obs", "var"):
        if name not in file:
            there = ", ".join(file) or "nothing"
            raise InputError(f"{path}: is HDF5 but not h5ad: it has no {name}, only {there}.{hint_of(file)}")
    var = read_elem(file["var"])
    places = [_Place("X", file["X"], var)] if "X" in file else []
    if "raw" in file and "X" in file["raw"]:
        places.append(_Place("raw", file["raw/X"], read_elem(file["raw/var"])))
    places += [_Place(layer_address(name), matrix, var) for name, matrix in file.get("layers", {}).items()]
    said = {key: read_elem(file["uns"][key]) for key in file.get("uns", {}) if _is_word(file["uns"][key])}
    return read_elem(file["obs"]), said, places


def _is_word(element: Any) -> bool:
    return getattr(element, "shape", None) == () and element.dtype.kind in "OSU"


def _old_parts(adata: anndata.AnnData) -> tuple[pd.DataFrame, dict[str, Any], list[_Place]]:
    places = [_Place("X", adata.X, adata.var)] if adata.X is not None else []
    if adata.raw is not None:
        places.append(_Place("raw", adata.raw.X, adata.raw.var))
    places += [_Place(layer_address(str(name)), adata.layers[name], adata.var) for name in adata.layers]
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
    organism, doubt = _organism(path.name, obs, uns)
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
        organism=organism or (None if doubt else detect_organism(names)[0]),
        doubt=doubt,
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
    """Yield each place whose values are logarithms of counts, and how to undo them: tried, not assumed."""
    for place in places:
        rows = _rows(place.matrix)
        if rows is None or not rows.nnz or rows.data.min() < 0 or rows.data.max() > 25:
            continue
        for recipe in _recipes(obs):
            try:
                counts = recover(rows, recipe, obs.iloc[: rows.shape[0]], place.name)
            except CountsError:
                continue
            if recipe.depth == UNSCALED and np.gcd.reduce(counts.data.astype(np.int64)) > 1:
                continue  # multiples of one number were scaled by it
            yield place, recipe


def _recipes(obs: pd.DataFrame) -> Iterator[Recover]:
    """Yield what may undo a normalization: what is proven by its result first, what is taken on trust last."""
    undo: tuple[Literal["log1p", "log2p1"], ...] = ("log1p", "log2p1")
    yield from (Recover(undo=one, scale=1, depth=UNSCALED) for one in undo)
    columns = {str(column).lower(): str(column) for column in obs.select_dtypes("number")}
    for depth in [columns[name] for name in DEPTHS if name in columns] + [SMALLEST]:
        scales = SCALES[:1] if depth == SMALLEST else (*SCALES, float(obs[depth].median()))
        yield from (
            Recover(undo=one, scale=scale, depth=depth, tolerance=tolerance)
            for tolerance in (1e-6, 1e-3)
            for one in undo
            for scale in scales
            if scale > 0
        )


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


def _organism(file: str, obs: pd.DataFrame, uns: dict[str, Any]) -> tuple[str | None, str]:
    """Return the term that a file states for all cells, and what is doubtful of it; `InputError` for several."""
    entry = next((name for name in ORGANISMS if name in uns), None)
    said = {"uns": str(uns[entry])} if entry else {}
    plain = {re.sub(r"[ .]", "_", name.lower()): name for name in map(str, obs)}
    column = next((plain[name] for name in ORGANISMS if name in plain), "")
    missing = 0
    if column:
        texts = obs[column].astype(object).where(obs[column].notna(), "").astype(str).str.strip()
        known = texts[~texts.str.lower().isin(("", "unknown", "na", "nan"))]
        missing = len(texts) - len(known)
        said |= {f"column {column!r}": _only(file, column, known)} if len(known) else {}
    terms = {where: term for where, text in said.items() if (term := _taxon(text))}
    if len(set(terms.values())) > 1:
        both = ", ".join(f"{where} says {text!r}" for where, text in said.items())
        raise InputError(f"{file}: {both}. Cells are of one organism: correct what is wrong, and draft again.")
    if not terms:
        return None, ", ".join(f"{where} says {text!r}, which is no term" for where, text in said.items())
    return next(iter(terms.values())), f"{missing} cells have none in column {column!r}" if missing else ""


def _only(file: str, column: str, texts: pd.Series[Any]) -> str:
    """Return the organism of a column, or `InputError` with how many cells each of several has."""
    counted = {str(text): int(cells) for text, cells in texts.value_counts().items()}
    if len({_taxon(text) or text for text in counted}) > 1:
        listed = ", ".join(f"{text!r} ({cells} cells)" for text, cells in counted.items())
        split = f"adata[adata.obs[{column!r}] == {next(iter(counted))!r}].write_h5ad(…)"
        remedy = f"A card is of one organism, as its genes are. Write a file of each, {split}, and draft each."
        raise InputError(f"{file}: column {column!r} says several organisms: {listed}. {remedy}")
    return next(iter(counted))


def _taxon(text: str) -> str | None:
    """Return the term of an organism that is given by id or name, None for what is neither."""
    ontology = load("NCBITaxon")
    return next(
        (name if name in ontology else ontology.find(name) for name in (text, text.lower()) if ontology.knows(name)),
        None,
    )
