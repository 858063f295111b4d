"""CELLxGENE files of older schemas (5.3, 6.0, 7.0) brought to the newest."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from cellzoo.converters.celldata import CellData, Raw
from cellzoo.converters.cellxgene.fields import ORGANISM
from cellzoo.converters.cellxgene.frames import columns_of, frame_of, mapped
from cellzoo.converters.cellxgene.portal import is_labelled, labelled
from cellzoo.converters.cellxgene.sfaira import organism_of
from cellzoo.converters.rows import Rows, columns
from cellzoo.errors import InputError
from cellzoo.registry.fields import (
    CELL_TERMS,
    CONDITION,
    DELIMITER,
    DEPRECATED_COLUMNS,
    DEPRECATED_KEYS,
    ORGANISM_KEY,
    UNKNOWN,
    id_column,
)
from cellzoo.registry.genetable import ENSEMBL, PACKAGED, bare, gene_table, organism_of_id
from cellzoo.registry.ontology import current
from cellzoo.registry.pins import SCHEMA

KINDS = {"cell culture": "primary cell culture"}
"""Words of tissue_type until 6.0 -> those of today."""
CHOSEN = {
    **{"CL:0000651": "CL:0002181", "CL:0000212": "CL:0000677", "CL:4023083": "CL:4023036"},
    **{"HANCESTRO:0006": "HANCESTRO:0848", "HANCESTRO:0007": "HANCESTRO:0850", "HANCESTRO:0008": "HANCESTRO:0847"},
    **{"HANCESTRO:0009": "HANCESTRO:0849", "HANCESTRO:0013": "HANCESTRO:0846", "HANCESTRO:0014": "HANCESTRO:0612"},
    **{"HANCESTRO:0015": "HANCESTRO:0852", "HANCESTRO:0286": "HANCESTRO:0851"},
}
"""Terms that the curators of CELLxGENE replaced without the ontology saying so (migrations to 6.0, 7.0 and 7.1)."""
KEPT = "migrated"
"""Where ``uns["cellzoo"]`` holds what the newest schema no longer allows."""


def migrate(data: CellData, said: dict[str, Any] | None = None) -> CellData:
    """Return a CELLxGENE file of schema 5.3 to 7.1 as one of 7.1; what is of 7.1 already is returned as it is.

    Organism from obs to uns, `` || `` between several terms, today's words and terms, gene ids without their version,
    retired gene ids as those that follow them. What is no longer allowed moves to ``uns["cellzoo"]["migrated"]``.
    ``said`` is filled with what was done. `InputError` for several organisms in a file.
    """
    said = {} if said is None else said
    if data.uns.get("schema_version") == SCHEMA:
        return data
    obs, organism, moved = _cells(data, said)
    gone = {key: data.uns[key] for key in (*DEPRECATED_KEYS, f"{ORGANISM_KEY}_colors") if key in data.uns}
    uns = {key: value for key, value in data.uns.items() if key not in gone}
    if organism != UNKNOWN:
        uns[ORGANISM_KEY] = organism
    if kept := gone | moved:
        said["moved to uns/cellzoo/migrated"] = sorted(kept)
        house = dict(uns.get("cellzoo", {}))
        uns["cellzoo"] = house | {KEPT: dict(house.get(KEPT, {})) | kept}
    data = _genes(data.with_(obs=obs, uns=uns), str(uns.get(ORGANISM_KEY, UNKNOWN)), said)
    return labelled(data) if is_labelled(data) else data


def _cells(data: CellData, said: dict[str, Any]) -> tuple[pd.DataFrame, str, dict[str, Any]]:
    columns = columns_of(data.obs)
    organism = organism_of({name: columns.pop(name) for name in ORGANISM if name in columns})
    if organism != UNKNOWN:
        said["organism from obs to uns"] = organism
    moved = {name: list(map(str, columns.pop(name))) for name in DEPRECATED_COLUMNS if name in columns}
    for field in (*CELL_TERMS, CONDITION):
        name = id_column(field)
        if name in columns:
            columns[name] = mapped(columns[name], lambda text, field=field: _terms(field, text, said))  # type: ignore[misc]
    if "tissue_type" in columns:
        columns["tissue_type"] = mapped(columns["tissue_type"], lambda one: KINDS.get(one, one))
    return frame_of(columns, data.obs.index), organism, moved


def _terms(field: str, text: str, said: dict[str, Any]) -> str:
    mark = "," if field == "self_reported_ethnicity" and DELIMITER not in text else DELIMITER
    old = [one.strip() for one in text.split(mark)]
    new = [CHOSEN.get(one) or current(one) or one for one in old]
    for one, other in zip(old, new, strict=True):
        if one != other:
            said.setdefault("terms", {})[one] = other
    return DELIMITER.join(sorted(set(new)) if len(new) > 1 else new)


def _genes(data: CellData, organism: str, said: dict[str, Any]) -> CellData:
    names = [bare(str(name)) for name in data.var.index]
    here = set(names)
    table = gene_table(PACKAGED[organism]) if organism in PACKAGED else None
    if table is not None:
        follows = {name: table.genes[row][0] for name, row in table.retired.items()}
        names = [follows[name] if follows.get(name, name) not in here else name for name in names]
    kept = np.ones(len(names), dtype=bool)
    if table is not None:
        kept = np.asarray(
            [name in table.row or not ENSEMBL.fullmatch(name) or organism_of_id(name) != organism for name in names]
        )
    changed = {str(old): new for old, new in zip(data.var.index, names, strict=True) if str(old) != new}
    if changed:
        said["gene ids"] = {"number": len(changed), "examples": dict(list(changed.items())[:10])}
    if changed and len(set(names)) < len(names):
        twice = next(name for name, times in Counter(names).items() if times > 1)
        raise InputError(f"two genes are {twice} once versions are taken off their ids. Sum or drop one of them.")
    if changed:
        raw = data.raw
        if raw is not None and not raw.var.index.equals(data.var.index):
            raise InputError("raw has other genes than X; CELLxGENE asks for the same in the same order. Correct one.")
        raw = raw and Raw(raw.X, _named(raw.var, names), raw.varm)
        data = data.with_(var=_named(data.var, names), raw=raw)
    if not kept.all():
        gone = [name for name, stays in zip(names, kept, strict=True) if not stays]
        said["genes that GENCODE no longer has, left out"] = gone
        at = np.flatnonzero(kept)

        def take(rows: Rows) -> Rows:
            return columns(rows, at)

        data = data.pick_features(at, take).with_(raw=data.raw and data.raw.pick_features(at, take))
    return data


def _named(var: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    new = var.copy(deep=False)
    new.index = pd.Index(names, name=var.index.name, dtype=object)
    return new
