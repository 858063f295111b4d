"""Streamlined data, spelled as CELLxGENE does, and the other way; genes that were not measured leave and come back."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellzoo.converters.celldata import CellData, Raw
from cellzoo.converters.cellxgene.carried import HOUSE
from cellzoo.converters.cellxgene.fields import ORGANISM, SCHEMA_KEYS
from cellzoo.converters.cellxgene.frames import columns_of, constant, frame_of
from cellzoo.converters.cellxgene.portal import labelled, labels
from cellzoo.converters.cellxgene.sfaira import counts_first, organism_of, processed_first
from cellzoo.converters.h5ad import nullable
from cellzoo.converters.rows import Rows, computed, placed
from cellzoo.errors import GenesError
from cellzoo.registry.fields import FEATURE_LABELS, OBSERVATION_JOINID, ORGANISM_KEY, UNKNOWN, id_column

MEASURED = "measured"
PROCESSED = "processed"


def to_cellxgene(data: CellData) -> CellData:
    """Return streamlined data by CELLxGENE's names."""
    columns = columns_of(data.obs)
    organism = organism_of(columns)
    uns = dict(data.uns) if organism == UNKNOWN else dict(data.uns) | {ORGANISM_KEY: organism}
    var = data.var.copy(deep=False)
    var["feature_is_filtered"] = False
    found = data.with_(obs=frame_of(columns, data.obs.index), var=var, uns=uns)
    return labelled(processed_first(found, PROCESSED))


def from_cellxgene(data: CellData) -> CellData:
    """Return CELLxGENE's data as streamlined data name them, over the genes that they have."""
    columns = {name: one for name, one in columns_of(data.obs).items() if name not in {OBSERVATION_JOINID, *ORGANISM}}
    uns = {key: value for key, value in data.uns.items() if key not in {"organism", *SCHEMA_KEYS}}
    if ORGANISM_KEY in uns:
        ids = constant(str(uns[ORGANISM_KEY]), data.obs.index)
        columns = {id_column("organism"): ids, "organism": labels(ids), **columns}
    named = labelled(data.with_(obs=data.obs[[]], raw=None)).var
    genes = {
        name: one for name, one in columns_of(named).items() if name not in {*FEATURE_LABELS[1:], "feature_is_filtered"}
    }
    if "feature_name" in genes:
        genes["feature_name"] = genes["feature_name"].astype(object)
    genes.setdefault(MEASURED, pd.Series(np.ones(data.n_vars, dtype=bool), index=data.var.index))
    found = data.with_(obs=frame_of(columns, data.obs.index), var=frame_of(genes, data.var.index), uns=uns)
    return counts_first(found, PROCESSED)


def take_out(data: CellData) -> tuple[CellData, dict[str, Any]]:
    """Return data over the measured genes, and what `put_back` needs; {} where all were measured.

    The matrices are read through; `GenesError` then, where a gene that is said not to be measured has a count.
    """
    if MEASURED not in data.var or data.var[MEASURED].dtype != bool or data.var[MEASURED].all():
        return data, {}
    measured = data.var[MEASURED].to_numpy()
    kept = np.flatnonzero(measured)

    def matrix(rows: Rows) -> Rows:
        def picked(block: sp.csr_matrix, start: int) -> sp.csr_matrix:
            found = block[:, kept]
            if found.nnz != block.nnz:
                gene = data.var.index[block.indices[~measured[block.indices]][0]]
                raise GenesError(f"{gene} is said not to be measured, and has counts after cell {start}. Correct one.")
            return found

        return computed(rows, len(kept), picked)

    gone = data.var[~measured].drop(columns=MEASURED)
    taken = {
        "genes": _digest(data.var.index[kept]),
        "position": np.flatnonzero(~measured),
        "column": list(data.var).index(MEASURED),
        "var": gone,
        "varm": {name: array[~measured] for name, array in data.varm.items()},
    }
    raw = data.raw and data.raw.pick_features(kept, matrix)
    if raw is not None:
        raw.var = raw.var.drop(columns=MEASURED, errors="ignore")
    found = data.pick_features(kept, matrix)
    return found.with_(var=found.var.drop(columns=MEASURED), raw=raw), taken


def has_its_genes(data: CellData, taken: dict[str, Any]) -> bool:
    """Return whether data have the genes, in the order, that `take_out` left."""
    return str(taken["genes"]) == _digest(data.var.index)


def _digest(genes: pd.Index) -> str:
    return hashlib.sha256("\n".join(map(str, genes)).encode()).hexdigest()


def as_measured(data: CellData) -> CellData:
    """Return data all of whose genes were measured, and which are those of no gene space."""
    house = {key: value for key, value in data.uns.get(HOUSE, {}).items() if not key.startswith("gene_space")}
    return data.with_(var=data.var.assign(**{MEASURED: True}), uns=dict(data.uns) | {HOUSE: house})


def put_back(data: CellData, taken: dict[str, Any]) -> CellData:
    """Return data over the genes they had before `take_out`: without counts, and said not to be measured."""
    gone = np.asarray(taken["position"], dtype=np.int64)
    size = data.n_vars + len(gone)
    here = np.setdiff1d(np.arange(size), gone)
    order = np.argsort(np.concatenate([here, gone]))

    def matrix(rows: Rows) -> Rows:
        return placed(rows, here, size)

    def frame(kept: pd.DataFrame) -> pd.DataFrame:
        columns = {
            name: _joined(one, taken["var"].get(name), len(gone))[order] for name, one in columns_of(kept).items()
        }
        measured = np.isin(np.arange(size), here)
        index = pd.Index(np.concatenate([kept.index, taken["var"].index])[order], name=kept.index.name)
        names = list(columns)
        names.insert(int(taken["column"]), MEASURED)
        columns[MEASURED] = measured
        return frame_of({name: columns[name] for name in names}, index)

    return data.with_(
        var=frame(data.var),
        X=data.X and matrix(data.X),
        layers={name: matrix(rows) for name, rows in data.layers.items()},
        raw=data.raw and Raw(matrix(data.raw.X), frame(data.raw.var).drop(columns=MEASURED)),
        varm={
            name: np.concatenate([array, taken.get("varm", {}).get(name, np.full((len(gone), *array.shape[1:]), 0))])[
                order
            ]
            for name, array in data.varm.items()
        },
        varp={name: _widened(square, here, size) for name, square in data.varp.items()},
    )


def _joined(kept: Any, gone: Any, number: int) -> Any:
    """Return a column of genes and of those that were taken out, in the type it had."""
    if gone is None:
        kept, gone = _with_gaps(kept, number)
    if isinstance(kept.dtype, pd.CategoricalDtype):
        values = np.concatenate([np.asarray(kept, dtype=object), np.asarray(gone, dtype=object)])
        names = list(kept.cat.categories)
        names += sorted({one for one in values.tolist() if one is not None and one == one} - set(names))  # noqa: PLR0124
        return pd.Categorical(values, names, ordered=kept.cat.ordered)
    return pd.concat([kept.reset_index(drop=True), gone.reset_index(drop=True)]).array


def _with_gaps(kept: pd.Series[Any], number: int) -> tuple[pd.Series[Any], pd.Series[Any]]:
    """Return a column in a type whose values may be missing, and one of missing values."""
    dtype: Any = kept.dtype
    if isinstance(dtype, pd.CategoricalDtype) or dtype.kind == "O":
        return kept, pd.Series([None] * number, dtype=object)
    if isinstance(dtype, np.dtype) and dtype.kind in "iub":
        dtype = nullable(dtype)
    return kept.astype(dtype), pd.Series([pd.NA if dtype.kind in "iub" else np.nan] * number, dtype=dtype)


def _widened(square: Any, here: np.ndarray, size: int) -> Any:
    wide = sp.lil_matrix((size, size), dtype=square.dtype)
    wide[np.ix_(here, here)] = square
    return wide.tocsr() if sp.issparse(square) else wide.toarray()
