"""The table of cells that a Census keeps, from streamlined data: its columns, and why a cell is not taken."""

from __future__ import annotations

from functools import cache
from typing import Any

import pandas as pd

from cellzoo.converters.celldata import CellData
from cellzoo.converters.cellxgene.frames import categories, mapped
from cellzoo.converters.cellxgene.portal import joinids, labels
from cellzoo.converters.census.layout import ASSAYS, GENERAL, NO_DONOR, TISSUE_TYPES, TISSUES, WORDS
from cellzoo.errors import InputError
from cellzoo.registry.fields import CELL_TERMS, OBSERVATION_JOINID, PLAIN_COLUMNS, UNKNOWN, id_column
from cellzoo.registry.ontology import term_ontology


def cells_of(name: str, data: CellData) -> pd.DataFrame:
    """Return the columns of a Census for the cells of a data set, without the statistics of their counts.

    InputError names every column that the data lack, and a cell that is listed twice.
    """
    obs = data.obs
    needed = [*map(id_column, CELL_TERMS), *PLAIN_COLUMNS]
    lost = [column for column in needed if column not in obs or obs[column].isna().any()]
    if lost:
        remedy = "Streamlined and CELLxGENE files have it: `cellzoo get`, `cellzoo convert`."
        raise InputError(f"{name}: obs needs {', '.join(lost)} for every cell. {remedy}")
    if obs.index.has_duplicates:
        raise InputError(f"{name}: the cell {obs.index[obs.index.duplicated()][0]!r} is listed twice.")
    found: dict[str, Any] = {"dataset_id": pd.Categorical([name] * len(obs))}
    for field in CELL_TERMS:
        found |= {
            id_column(field): categories(obs[id_column(field)]),
            field: labels(obs[id_column(field)], obs.get(field)),
        }
    general = mapped(obs[id_column("tissue")], general_tissue)
    found |= {id_column(GENERAL): general, GENERAL: labels(general)}
    found |= {column: categories(obs[column]) for column in PLAIN_COLUMNS if column in WORDS}
    found["is_primary_data"] = _truth(name, obs["is_primary_data"])
    found[OBSERVATION_JOINID] = (
        obs[OBSERVATION_JOINID].astype(object) if OBSERVATION_JOINID in obs else joinids(obs.index)
    )
    return pd.DataFrame(found, index=obs.index)


def _truth(name: str, column: pd.Series) -> pd.Series:
    """Return a column of truth values; InputError for one of anything else, for every text would be true."""
    words = {"true": True, "1": True, "false": False, "0": False}
    found = column.astype(str).str.lower().map(words)
    if found.isna().any():
        strange = column[found.isna()].iloc[0]
        raise InputError(f"{name}: obs[{column.name!r}] holds {strange!r}, expected True or False for every cell.")
    return found.astype(bool)


def excluded(obs: pd.DataFrame) -> pd.Series:
    """Return for each cell why census schema 2.4.0 does not take it, "" where it does."""
    reasons = pd.Series("", index=obs.index, dtype=object)
    reasons[~obs[id_column("assay")].isin(ASSAYS).to_numpy()] = "assay that is not in a Census"
    reasons[(obs[id_column("tissue")] == UNKNOWN).to_numpy()] = "unknown tissue"
    reasons[~obs["tissue_type"].isin(TISSUE_TYPES).to_numpy()] = f"neither {' nor '.join(TISSUE_TYPES)}"
    return reasons


def donors(obs: pd.DataFrame) -> int:
    """Return the number of donors: those of each data set for themselves, without pooled and unknown ones."""
    known = obs[~obs["donor_id"].isin(NO_DONOR)]
    return len(known[["dataset_id", "donor_id"]].drop_duplicates())


@cache
def general_tissue(term: str) -> str:
    """Return the general tissue a tissue lies in, itself where it lies in none.

    >>> general_tissue("UBERON:0008952")
    'UBERON:0002048'
    """
    above = set(term_ontology(term).ancestors(term, include_self=True)) if term.startswith("UBERON:") else set()
    return next((one for one in TISSUES if one in above), term)
