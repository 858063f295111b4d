"""Data as sfaira spells them, spelled as CELLxGENE does, and the other way; what gets lost is `carried`'s to keep."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from cellzoo.converters.celldata import CellData, Raw
from cellzoo.converters.cellxgene.fields import (
    IDS,
    KINDS,
    OBS,
    ORGANISM,
    PROCESSED,
    SCHEMA_KEYS,
    UNIQUE,
    VAR,
)
from cellzoo.converters.cellxgene.frames import categories, chosen, columns_of, constant, frame_of, mapped, renamed
from cellzoo.converters.cellxgene.portal import labelled, labels
from cellzoo.errors import InputError
from cellzoo.registry.fields import (
    CELL_TERMS,
    DELIMITER,
    NORMAL,
    NOT_APPLICABLE,
    OBSERVATION_JOINID,
    ORGANISM_KEY,
    UNKNOWN,
    id_column,
)
from cellzoo.registry.sfaira.cells import SOURCES
from cellzoo.registry.sfaira.terms import CUSTOM, NOT_A_CELL, by_label

CELL_LINE = "cell line"
HEALTHY = {NORMAL: "healthy"}
"""What sfaira labels otherwise than the ontology does."""


def to_cellxgene(data: CellData) -> CellData:
    """Return sfaira's data by CELLxGENE's names; `InputError` for several organisms in one file."""
    columns = renamed(data.obs, OBS)
    organism = organism_of(columns)
    uns = {key: value for key, value in data.uns.items() if key not in {*UNIQUE, "annotated", "primary_data"}}
    if organism != UNKNOWN:
        uns[ORGANISM_KEY] = organism
    columns["tissue_type"] = mapped(columns.pop("sample_source", _unknown(data)), lambda one: SOURCES.get(one, UNKNOWN))
    for field in (*CELL_TERMS, "cell_line"):
        if field in CELL_TERMS or field in columns or id_column(field) in columns:
            columns[id_column(field)] = _terms(columns, field, organism, _unknown(data))
    lines = _lines(columns)
    columns["tissue_type"] = chosen(lines, constant(CELL_LINE, data.obs.index), columns["tissue_type"])
    if lines.any():
        tissue, line = id_column("tissue"), id_column("cell_line")
        columns[tissue] = chosen(lines, columns[line], columns[tissue])
    columns["donor_id"] = categories(columns.get("donor_id", _unknown(data)))
    columns["suspension_type"] = categories(columns.get("suspension_type", _unknown(data)))
    if "is_primary_data" not in columns and isinstance(primary := data.uns.get("primary_data"), bool | np.bool_):
        columns["is_primary_data"] = pd.Series(np.full(data.n_obs, bool(primary)), index=data.obs.index)
    genes = renamed(data.var, VAR)
    index = pd.Index(genes.pop(IDS, data.var.index.to_series()).astype(str), name=data.var.index.name, dtype=object)
    var = frame_of(genes, data.var.index)
    var.index = index
    var["feature_is_filtered"] = False
    found = data.with_(obs=frame_of(columns, data.obs.index), var=var, uns=uns)
    return labelled(processed_first(found, PROCESSED))


def from_cellxgene(data: CellData) -> CellData:
    """Return CELLxGENE's data by sfaira's names."""
    source = data.obs.drop(columns=[name for name in (OBSERVATION_JOINID, *ORGANISM) if name in data.obs])
    columns = columns_of(source)
    index = data.obs.index
    kinds = categories(columns.pop("tissue_type", _unknown(data)))
    columns["sample_source"] = mapped(kinds, lambda one: KINDS.get(one, UNKNOWN))
    lines = (kinds == CELL_LINE).to_numpy()
    tissue, line = id_column("tissue"), id_column("cell_line")
    if lines.any() and tissue in columns:
        known = columns.get(line, _unknown(data))
        columns[line] = chosen(lines, columns[tissue], known)
        columns["cell_line"] = labels(columns[line], columns.get("cell_line"))
        columns[tissue] = chosen(lines, _unknown(data), columns[tissue])
    for field in CELL_TERMS:
        if id_column(field) in columns:
            columns[field] = labels(columns[id_column(field)], columns.get(field), instead=HEALTHY)
    if ORGANISM_KEY in data.uns:
        columns[id_column("organism")] = constant(str(data.uns[ORGANISM_KEY]), index)
        columns["organism"] = labels(columns[id_column("organism")])
    uns = {key: value for key, value in data.uns.items() if key not in {*ORGANISM, *SCHEMA_KEYS}}
    primary = columns.get("is_primary_data")
    if primary is not None and len(primary) and primary.dtype == bool and primary.nunique() == 1:
        uns["primary_data"] = bool(columns.pop("is_primary_data").iloc[0])
    obs = frame_of(renamed(frame_of(columns, index), {name: key for key, name in OBS.items()}), index)
    uns |= _unique(obs)
    genes = renamed(labelled_genes(data), {name: key for key, name in VAR.items()})
    for name in ("feature_is_filtered", "feature_reference", "feature_length"):
        genes.pop(name, None)
    genes[IDS] = data.var.index.to_series()
    var = frame_of(genes, data.var.index)
    return counts_first(data.with_(obs=obs, var=var, uns=uns), PROCESSED)


def labelled_genes(data: CellData) -> pd.DataFrame:
    """Return genes with names and types; without CELLxGENE's biotype, which but tells genes from spike-ins."""
    var = labelled(data.with_(obs=data.obs[[]], raw=None)).var
    return var.drop(columns=["feature_biotype"], errors="ignore")


def processed_first(data: CellData, layer: str) -> CellData:
    """Return data with processed values, where a layer has them, in X and counts in raw."""
    if layer not in data.layers or data.X is None:
        return data
    layers = {name: rows for name, rows in data.layers.items() if name != layer}
    var = data.var.drop(columns=["feature_is_filtered"], errors="ignore")
    return data.with_(X=data.layers[layer], raw=Raw(data.X, var), layers=layers)


def counts_first(data: CellData, layer: str) -> CellData:
    """Return data with counts in X and processed values, where there are any, in a layer."""
    layers = {name: rows for name, rows in data.layers.items() if name != layer}
    if data.raw is None or data.X is None:
        return data.with_(layers=layers)
    if not data.raw.var.index.equals(data.var.index):
        raise InputError(
            f"raw has {len(data.raw.var)} genes that are not the {data.n_vars} of X in their order, as CELLxGENE wants"
            " it. Give both the same genes (feature_is_filtered says which X leaves out)."
        )
    return data.with_(X=data.raw.X, raw=None, layers=layers | {layer: data.X})


def organism_of(columns: dict[str, Any]) -> str:
    """Return the organism that columns of cells tell, taken out of them; unknown where they do not."""
    ids, names = columns.pop(id_column("organism"), None), columns.pop("organism", None)
    said = ids if ids is not None else names
    found = set() if said is None else {str(one) for one in categories(said).unique()} - {UNKNOWN}
    if ids is None:
        found = {by_label("organism", one).id for one in found}
    if len(found) > 1:
        raise InputError(f"{len(found)} organisms ({', '.join(sorted(found))}): CELLxGENE holds one a file. Split it.")
    return next(iter(found), UNKNOWN)


def _terms(columns: dict[str, Any], field: str, organism: str, unknown: Any) -> Any:
    """Return the term ids of a field, from its ids, else from its labels; sfaira's words for no term are unknown."""
    if id_column(field) in columns:
        return mapped(
            columns[id_column(field)], lambda one: UNKNOWN if _no_term(one) else in_order(one.split(DELIMITER))
        )
    if field not in columns:
        return unknown

    def terms(text: str) -> str:
        found = [one if one == NOT_APPLICABLE else by_label(field, one, organism).id for one in text.split(DELIMITER)]
        return in_order(found)

    return mapped(columns[field], terms)


def in_order(terms: list[str]) -> str:
    """Return several terms of a cell as CELLxGENE writes them: in order."""
    return DELIMITER.join(sorted(terms))


def unclear(data: CellData) -> dict[str, str]:
    """Return field and label of sfaira's that mean no term -> why; the cells that have them are unknown."""
    columns = renamed(data.obs, OBS)
    organism = organism_of(columns)
    found = {}
    for field in CELL_TERMS:
        if field in columns and id_column(field) not in columns:
            for text in sorted({str(one) for one in categories(columns[field]).unique()} - {UNKNOWN, NOT_APPLICABLE}):
                for one in text.split(DELIMITER):
                    term = by_label(field, one, organism)
                    if term.id == UNKNOWN and not _no_term(one):
                        found[f"{field} {one!r}"] = term.note
    return found


def _no_term(text: str) -> bool:
    return text == NOT_A_CELL or text.startswith(CUSTOM) or text.strip().lower() in {"", "nan", "none"}


def _lines(columns: dict[str, Any]) -> np.ndarray:
    """Return which cells are of a cultured line that is known."""
    line = columns.get(id_column("cell_line"))
    cultured = (columns["tissue_type"] == SOURCES["2d_culture"]).to_numpy()
    known = np.zeros(len(cultured), dtype=bool) if line is None else line.astype(str).str.startswith("CVCL_").to_numpy()
    return np.asarray(cultured & known)


def _unique(obs: pd.DataFrame) -> dict[str, Any]:
    """Return what sfaira says again about all cells: the values of a column, and whether cell types are known."""
    found: dict[str, Any] = {}
    for key in UNIQUE:
        if key in obs and len(obs):
            values = sorted({str(one) for one in obs[key].dropna().unique()})
            if values:
                found[key] = values[0] if len(values) == 1 else np.asarray(values, dtype=object)
    if "cell_type" in obs:
        found["annotated"] = bool((obs["cell_type"].astype(str) != UNKNOWN).any())
    return found


def _unknown(data: CellData) -> Any:
    return constant(UNKNOWN, data.obs.index)
