"""What CELLxGENE demands of data that come from elsewhere: filled in on request, else refused; never guessed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from cellzoo.converters.celldata import CellData
from cellzoo.converters.cellxgene.frames import categories, chosen, columns_of, constant, frame_of
from cellzoo.converters.rows import Rows, blocks
from cellzoo.errors import InputError, NotFoundError
from cellzoo.registry.fields import (
    CELL_TERMS,
    DEPRECATED_COLUMNS,
    DEPRECATED_KEYS,
    HUMAN,
    NOT_APPLICABLE,
    ORGANISM_KEY,
    PLAIN_COLUMNS,
    SUSPENSION_TYPES,
    TISSUE_TYPES,
    UNKNOWN,
    allowed,
    find_term,
    id_column,
)
from cellzoo.registry.genetable import features, organism_id
from cellzoo.registry.pins import SCHEMA

WORDS = {"tissue_type": TISSUE_TYPES, "suspension_type": SUSPENSION_TYPES}
SETTABLE = ("organism", "title", *CELL_TERMS, "donor_id", "is_primary_data", *WORDS)
"""What can be said about all cells of which it is not known."""
NOT_OF_LINES = ("development_stage", "self_reported_ethnicity", "sex")
"""Fields of terms that do not apply to a cell line."""
EXAMPLES = {"disease": "disease=PATO:0000461", "tissue": "tissue=UBERON:0000178", "assay": "assay=EFO:0009899"}
SHOWN = 3


@dataclass(frozen=True)
class Problem:
    """What keeps data from being valid."""

    message: str
    """What was found."""
    remedy: str
    """What to do about it."""

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}"


def fill(data: CellData, said: Mapping[str, str]) -> tuple[CellData, dict[str, int]]:
    """Return data (by CELLxGENE's names) with what is said about the cells of which it is unknown, and how many.

    Raises `InputError` for a field that cannot be set or a value it does not take, `NotFoundError` for an unknown term.
    """
    columns = columns_of(data.obs)
    uns = dict(data.uns)
    number: dict[str, int] = {}
    for field, text in said.items():
        if field not in SETTABLE:
            raise InputError(f"{field!r} cannot be set; expected one of {', '.join(SETTABLE)}.")
        value = _value(field, text)
        if field in {"organism", "title"}:
            key = ORGANISM_KEY if field == "organism" else field
            number[field] = 0 if uns.get(key, UNKNOWN) != UNKNOWN else data.n_obs
            uns |= {key: value} if number[field] else {}
            continue
        name = id_column(field) if field in CELL_TERMS else field
        if field == "is_primary_data":
            number[field] = 0 if name in columns else data.n_obs
            if number[field]:
                columns[name] = pd.Series(np.full(data.n_obs, value == "true"), index=data.obs.index)
            continue
        known = categories(columns[name]) if name in columns else constant(UNKNOWN, data.obs.index)
        blank = (known == UNKNOWN).to_numpy()
        number[field] = int(blank.sum())
        columns[name] = chosen(blank, constant(value, data.obs.index), known)
    return data.with_(obs=frame_of(columns, data.obs.index), uns=uns), number


def _value(field: str, text: str) -> str:
    if field == "organism":
        return organism_id(text)
    if field in CELL_TERMS and text not in {UNKNOWN, NOT_APPLICABLE}:
        return find_term(field, text)
    if field == "is_primary_data" and text not in {"true", "false"}:
        raise InputError(f"is_primary_data={text}: expected true or false.")
    if field in WORDS and text not in WORDS[field]:
        raise InputError(f"{field}={text}: expected one of {', '.join(WORDS[field])}.")
    return text


def conform(data: CellData) -> CellData:
    """Return data without what the schema forbids, and with "na" where it says that a field does not apply."""
    columns = {
        name: one
        for name, one in columns_of(data.obs).items()
        if name not in DEPRECATED_COLUMNS and not name.startswith("__")
    }
    not_applicable = constant(NOT_APPLICABLE, data.obs.index)
    lines = _lines(columns, data.n_obs)
    for name in (*map(id_column, NOT_OF_LINES), "donor_id"):
        if name in columns:
            columns[name] = chosen(lines, not_applicable, columns[name])
    ethnicity = id_column("self_reported_ethnicity")
    organism = data.uns.get(ORGANISM_KEY, UNKNOWN)
    if ethnicity in columns and organism not in {HUMAN, UNKNOWN}:
        blank = (columns[ethnicity] == UNKNOWN).to_numpy()
        columns[ethnicity] = chosen(blank, not_applicable, columns[ethnicity])
    uns = {key: value for key, value in data.uns.items() if key not in DEPRECATED_KEYS and not _empty(value)}
    painted = {f"{name}_colors" for name in columns if name not in CELL_TERMS and _is_categorical(columns[name])}
    uns = {key: value for key, value in uns.items() if not key.endswith("_colors") or key in painted}
    if "batch_condition" in uns and not set(map(str, uns["batch_condition"])) <= set(columns):
        del uns["batch_condition"]
    if "default_embedding" in uns and str(uns["default_embedding"]) not in data.obsm:
        del uns["default_embedding"]
    var = data.var[[name for name in data.var if not str(name).startswith("__")]]
    return data.with_(obs=frame_of(columns, data.obs.index), var=var, uns=uns)


def _is_categorical(column: Any) -> bool:
    return isinstance(column.dtype, pd.CategoricalDtype)


def _empty(value: Any) -> bool:
    return hasattr(value, "__len__") and len(value) == 0


def _lines(columns: Mapping[str, Any], cells: int) -> np.ndarray:
    kinds = columns.get("tissue_type")
    return np.zeros(cells, dtype=bool) if kinds is None else (kinds == "cell line").to_numpy()


def problems(data: CellData, version: str = SCHEMA) -> list[Problem]:
    """Return what keeps data from being valid and only their owner can mend; counts are read once, by ranges."""
    return [*_of_file(data), *_of_cells(data, version), *_of_genes(data), *_of_counts(data)]


def refuse(data: CellData, version: str = SCHEMA) -> None:
    """Raise one `InputError` with everything that keeps data from being valid."""
    if found := problems(data, version):
        lines = "".join(f"\n  - {problem}" for problem in found)
        raise InputError(f"the data cannot be written as CELLxGENE {version} as they stand:{lines}")


def _of_file(data: CellData) -> Iterator[Problem]:
    if data.uns.get(ORGANISM_KEY, UNKNOWN) == UNKNOWN:
        yield Problem("The organism is unknown.", "Say it: --set organism='Homo sapiens'.")
    title = data.uns.get("title")
    if not isinstance(title, str) or not title.strip():
        yield Problem("There is no title.", "Give one: --set title='…'.")
    for name, index in (("cells", data.obs.index), ("genes", data.var.index)):
        if index.has_duplicates:
            one = index[index.duplicated()][0]
            yield Problem(f"{int(index.duplicated().sum())} names of {name} are there before, {one!r}.", "Rename them.")


def _of_cells(data: CellData, version: str) -> Iterator[Problem]:
    obs, organism = data.obs, str(data.uns.get(ORGANISM_KEY, UNKNOWN))
    missing = [name for name in (*map(id_column, CELL_TERMS), *PLAIN_COLUMNS) if name not in obs]
    for name in missing:
        field = name.removesuffix("_ontology_term_id")
        value = "true" if field == "is_primary_data" else "…"
        yield Problem(f"obs has no column {name}.", f"Say what all cells have: --set {field}={value}.")
    kinds = obs["tissue_type"].astype(str) if "tissue_type" in obs else pd.Series("tissue", index=obs.index)
    for field in (field for field in CELL_TERMS if id_column(field) in obs):
        pairs = Counter(zip(obs[id_column(field)].astype(str), kinds, strict=True))
        wrong: dict[str, tuple[int, str]] = {}
        for (term, kind), cells in pairs.most_common():
            known = kind if kind in TISSUE_TYPES else "tissue"
            if why := allowed(field, term, HUMAN if organism == UNKNOWN else organism, known, version):
                wrong[term] = (cells, why)
        if wrong.pop(UNKNOWN, None):
            cells = int((obs[id_column(field)] == UNKNOWN).sum())
            say = EXAMPLES.get(field, f"{field}=…")
            yield Problem(
                f"{field} is unknown in {cells} of {len(obs)} cells.", f"If it is known, say it: --set {say}."
            )
        for term, (cells, why) in list(wrong.items())[:SHOWN]:
            yield Problem(f"{field} {term!r} ({cells} cells): {why}", "Correct the term in the source.")
        if len(wrong) > SHOWN:
            yield Problem(f"{field}: {len(wrong) - SHOWN} more terms like these.", "Correct them too.")
    for field, words in WORDS.items():
        if field in obs:
            strange = Counter(str(one) for one in obs[field] if one not in words)
            for word, cells in strange.most_common(SHOWN):
                yield Problem(
                    f"{field} is {word!r} in {cells} cells, expected {', '.join(words)}.",
                    f"Say what it is: --set {field}={words[0]}." if word == UNKNOWN else "Correct it in the source.",
                )
    if "donor_id" in obs:
        lines = _lines(columns_of(obs), len(obs))
        nameless = ((obs["donor_id"] == NOT_APPLICABLE).to_numpy() & ~lines).sum()
        if nameless:
            yield Problem(f"donor_id is 'na' in {int(nameless)} cells of no cell line.", "Name the donor, or unknown.")


def _of_genes(data: CellData) -> Iterator[Problem]:
    organism = str(data.uns.get(ORGANISM_KEY, UNKNOWN))
    try:
        found = features([str(name) for name in data.var.index], organism)
    except NotFoundError:
        return
    strange = found.index[(found["feature_reference"] == "").to_numpy()]
    if len(strange):
        names = ", ".join(map(str, strange[:SHOWN]))
        message = f"{len(strange)} of {data.n_vars} genes are not in the reference of {organism}: {names}."
        yield Problem(message, "Map them onto a gene space first, or leave them out.")


def _of_counts(data: CellData) -> Iterator[Problem]:
    counts = data.X if data.raw is None else data.raw.X
    if counts is None:
        yield Problem("There is no matrix.", "CELLxGENE asks for raw counts in X or raw.")
        return
    empty, twins, strange = _read(counts, data.obs)
    if strange:
        yield Problem(f"{strange} values of the raw counts are negative or no integers.", "Give the raw counts.")
    if len(empty):
        names = ", ".join(map(str, data.obs.index[empty[:SHOWN]]))
        yield Problem(f"{len(empty)} cells have no counts: {names}.", "Leave them out: --leave-out empty.")
    if len(twins):
        names = ", ".join(map(str, data.obs.index[twins[:SHOWN]]))
        message = f"{len(twins)} cells have the counts of another cell: {names}."
        yield Problem(message, "Keep one of each: --leave-out repeated.")


def empty_and_repeated(data: CellData) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions of cells without counts, and of those with the counts of a cell before them."""
    counts = data.X if data.raw is None else data.raw.X
    if counts is None:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    return _read(counts, data.obs)[:2]


def _read(counts: Rows, obs: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the cells without counts, those with the counts of one before them, and how many values are no counts."""
    from xxhash import xxh3_128_digest

    digests, filled, strange = np.zeros((len(obs), 2), np.uint64), np.zeros(len(obs), dtype=bool), 0
    checked = np.asarray(obs["in_tissue"]) != 0 if "in_tissue" in obs else np.ones(len(obs), dtype=bool)
    for start, block in blocks(counts):
        values = block.data.astype(np.float64)
        strange += int(((values < 0) | (values != np.round(values))).sum())
        places, numbers = block.indices.astype(np.int64), block.data.astype(np.float32)
        for cell, (first, stop) in enumerate(pairwise(block.indptr.tolist()), start):
            if checked[cell] and first < stop:
                filled[cell] = True
                said = places[first:stop].tobytes() + numbers[first:stop].tobytes()
                digests[cell] = np.frombuffer(xxh3_128_digest(said), np.uint64)
    cells = np.flatnonzero(filled)
    order = np.lexsort(digests[cells].T)  # stable: of cells with the same counts the first stays the first
    again = (digests[cells][order[1:]] == digests[cells][order[:-1]]).all(axis=1)
    return np.flatnonzero(checked & ~filled), np.sort(cells[order[1:]][again]), strange
