"""What kind of feature each is, and one matrix taken apart by it: genes stay, proteins and peaks become modalities."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from cellzoo.converters.celldata import CellData
from cellzoo.converters.rows import columns
from cellzoo.errors import InputError

KINDS = {
    "gene": ("gene", "genes", "gene expression", "rna", "gex", "mrna"),
    "protein": ("protein", "antibody capture", "antibody", "adt", "cite", "prot"),
    "peak": ("peak", "peaks", "atac", "chromatin accessibility"),
}
"""Feature type -> what sources call it."""
KIND_OF = {said: kind for kind, names in KINDS.items() for said in names}


def feature_types(said: Any) -> list[str]:
    """Return gene, protein or peak for what a source calls each feature; anything else stays as it is."""
    return [KIND_OF.get(str(one).strip().lower(), str(one)) for one in said]


def split_features(data: CellData, column: str) -> CellData:
    """Return data whose proteins and peaks, by a column of the features, are modalities of their own.

    What is neither stays with the genes. Where all features are of one kind nothing changes.
    """
    if column not in data.var:
        raise InputError(f"no column {column!r} of features; found {list(map(str, data.var))}.")
    kinds = np.asarray(feature_types(data.var[column]), dtype=object)
    others = [kind for kind in ("protein", "peak") if (kinds == kind).any()]
    if len(set(kinds)) < 2 or not others:
        return data
    modalities = {kind: _only(data, kinds == kind) for kind in others}
    return _only(data, ~np.isin(kinds, others), modalities=data.modalities | modalities)


def _only(data: CellData, kept: np.ndarray, **changes: Any) -> CellData:
    """Return some features of the same cells; what belongs to the cells goes with the genes only."""
    at = np.flatnonzero(kept)
    found = data.pick_features(at, lambda rows: columns(rows, at))
    if "modalities" in changes:
        return found.with_(**changes)
    parts = {name: getattr(found, name) for name in ("var", "X", "layers", "varm", "varp")}
    return CellData(obs=pd.DataFrame(index=data.obs.index), **parts)
