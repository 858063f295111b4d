"""What the CELLxGENE portal writes into a file: labels beside term ids, names beside gene ids, ids of cells.

Written as the `add-labels` of cellxgene-schema 7.1.2 writes it. Term ids are what counts: a label is always that of its
id, in the ontology versions of the schema.
"""

from __future__ import annotations

from base64 import b85encode
from typing import Any

import numpy as np
import pandas as pd

from cellzoo.converters.celldata import CellData, Raw
from cellzoo.converters.cellxgene.frames import categories, coded, columns_of, frame_of
from cellzoo.errors import NotFoundError
from cellzoo.registry.fields import (
    CELL_TERMS,
    CONDITION,
    DELIMITER,
    FEATURE_LABELS,
    KINDS_OF_PERTURBATION,
    OBSERVATION_JOINID,
    ORGANISM_KEY,
    PERTURBATION,
    PRE_ANALYSIS,
    RESERVED_KEYS,
    id_column,
)
from cellzoo.registry.genetable import features
from cellzoo.registry.ontology import load, term_ontology
from cellzoo.registry.pins import SCHEMA

REFERENCE = "https://github.com/chanzuckerberg/single-cell-curation/blob/main/schema/{}/schema.md"
DIET, FASTING, TEMPERATURE = "EFO:0002755", "EFO:0002756", "EFO:0001702"


def labelled(data: CellData, version: str = SCHEMA) -> CellData:
    """Return data with everything that the portal writes, in place of what stands there."""
    organism = str(data.uns.get(ORGANISM_KEY, ""))
    uns = dict(data.uns)
    if organism and (name := label(organism, version)):
        uns["organism"] = name
    uns |= {"schema_version": version, "schema_reference": REFERENCE.format(version)}
    uns.pop(PRE_ANALYSIS, None)
    if version != "7.0.0":
        uns[PRE_ANALYSIS] = False
    raw = data.raw and Raw(data.raw.X, _features(data.raw.var, organism), data.raw.varm)
    return data.with_(obs=_cells(data.obs, version), var=_features(data.var, organism), raw=raw, uns=uns)


def unlabelled(data: CellData) -> CellData:
    """Return data as a curator hands them in: without what the portal writes."""
    written = {*CELL_TERMS, CONDITION, KINDS_OF_PERTURBATION, OBSERVATION_JOINID}
    obs = data.obs.drop(columns=[name for name in data.obs if name in written])
    var = data.var.drop(columns=[name for name in data.var if name in FEATURE_LABELS])
    raw = data.raw and Raw(data.raw.X, data.raw.var.drop(columns=list(FEATURE_LABELS), errors="ignore"), data.raw.varm)
    said = {*RESERVED_KEYS, PRE_ANALYSIS}
    return data.with_(obs=obs, var=var, raw=raw, uns={key: one for key, one in data.uns.items() if key not in said})


def is_labelled(data: CellData) -> bool:
    """Return whether the portal has written into data."""
    return OBSERVATION_JOINID in data.obs or "schema_version" in data.uns


def label(term: str, version: str = SCHEMA, field: str = "") -> str:
    """Return the label of a term, "" where no packaged ontology has one."""
    try:
        return term_ontology(term, version).label(term) if ":" in term or term.startswith("CVCL_") else term
    except NotFoundError:
        return ""


def labels(ids: Any, shown: Any | None = None, version: str = SCHEMA, instead: dict[str, str] | None = None) -> Any:
    """Return the label of each cell's terms as sorted categories; what is shown where no ontology has the term."""
    ids = categories(ids)
    codes = np.asarray(ids.cat.codes)
    names = [_several(str(term), version, instead or {}) for term in ids.cat.categories]
    if shown is not None and (lost := [code for code, name in enumerate(names) if not name]):
        text = categories(shown).astype(str).to_numpy()
        for code in lost:
            cells = np.flatnonzero(codes == code)
            names[code] = text[cells[0]] if len(cells) else ""
    names = [name or str(term) for name, term in zip(names, ids.cat.categories, strict=True)]
    used = np.unique(codes)
    distinct = sorted({names[code] for code in used})
    place = np.asarray([distinct.index(name) if name in distinct else -1 for name in names], dtype=np.int64)
    return coded(place[codes] if len(codes) else codes, distinct, ids.index)


def _several(text: str, version: str, instead: dict[str, str]) -> str:
    names = [instead.get(term) or label(term, version) for term in text.split(DELIMITER)]
    return DELIMITER.join(names) if all(names) else ""


def _cells(obs: pd.DataFrame, version: str) -> pd.DataFrame:
    columns = columns_of(obs)
    for field in (*CELL_TERMS, CONDITION):
        if id_column(field) in obs:
            columns[field] = labels(obs[id_column(field)], obs.get(field), version)
    if id_column(CONDITION) in obs or PERTURBATION in obs:
        columns[KINDS_OF_PERTURBATION] = _perturbations(obs)
    columns[OBSERVATION_JOINID] = pd.Series(joinids(obs.index), index=obs.index, dtype=object)
    return frame_of(columns, obs.index)


def joinids(names: pd.Index) -> list[str]:
    """Return the id that the portal gives each cell: base 85 of the 64-bit xxh3 of its name."""
    from xxhash import xxh3_64_digest

    return [b85encode(xxh3_64_digest(str(name).encode())).decode() for name in names]


def _perturbations(obs: pd.DataFrame) -> Any:
    kinds = pd.Series("", index=obs.index, dtype=object)
    for column in (id_column(CONDITION), PERTURBATION):
        if column in obs:
            kinds = kinds.str.cat(categories(obs[column]).astype(str), sep="\t")
    said = {text: _kinds(text.split("\t")[1:]) for text in kinds.unique()}
    return pd.Series(pd.Categorical(kinds.map(said)), index=obs.index)


def _kinds(values: list[str]) -> str:
    found = set()
    for term in (term for value in values for term in value.split(DELIMITER) if term != "na"):
        prefix = term.removeprefix("anti-").partition(":")[0]
        if prefix == "EFO":
            found.add("temperature" if term == TEMPERATURE else "diet")
        else:
            found.add({"CHEBI": "chemical", "uniprot": "protein"}.get(prefix, "genetic"))
    return DELIMITER.join(sorted(found)) or "no perturbations"


def _features(var: pd.DataFrame, organism: str) -> pd.DataFrame:
    """Return genes with what the portal writes; genes that are in no table keep what is said of them."""
    if not organism or organism not in load("NCBITaxon"):
        return var
    try:
        found = features([str(name) for name in var.index], organism)
    except NotFoundError:
        return var
    columns = columns_of(var)
    lost = (found["feature_reference"] == "").to_numpy()
    for name in FEATURE_LABELS:
        values = found[name].astype(object).to_numpy()
        if lost.any():
            shown = (
                var[name].astype(object).to_numpy() if name in var else (var.index if name == "feature_name" else None)
            )
            if shown is None:
                continue
            values = np.where(lost, np.asarray(shown, dtype=object), values)
        if name == "feature_length":
            values = values.astype(np.int64)
        columns[name] = pd.Series(pd.Categorical(values), index=var.index)
    return frame_of(columns, var.index)
