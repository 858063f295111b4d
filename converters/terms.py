"""Cells in ontology terms: the columns of a source as a card and its label maps say what they mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from cellzoo.converters.formats.members import MEMBER
from cellzoo.errors import CardError, Finding, InputError, NotFoundError
from cellzoo.registry.cards import LabelMap
from cellzoo.registry.cells import TERM_FIELDS, Cells, TermField, ValueField
from cellzoo.registry.fields import DELIMITER, NOT_APPLICABLE, UNKNOWN, id_column, ontology_of
from cellzoo.registry.ontology import load, term_ontology
from cellzoo.registry.schema import ReadableCard

NO_LABEL = "(none)"
"""Source of a row in a label map that says what cells without a label are; without it they are refused."""
PLACES = ("array_row", "array_col", "in_tissue")
"""The columns of Visium spots, as CELLxGENE calls them."""


def cells_in_terms(source: pd.DataFrame, card: ReadableCard, maps: Mapping[str, LabelMap]) -> pd.DataFrame:
    """Return the columns of streamlined cells; `CardError` lists every label that has no row in its map.

    For each field ``<field>_ontology_term_id`` and ``<field>`` (several terms of one cell sorted and joined by ``||``),
    and ``<field>_original`` where the source has a column for it.
    """
    obs = pd.DataFrame(index=source.index.astype(str))
    findings: list[Finding] = []
    for name in Cells.model_fields:
        field = getattr(card.cells, name)
        if field is None:
            continue
        if isinstance(field, ValueField):
            obs[name] = _values(source, card, name, field)
            continue
        terms, original = _terms(source, card, name, field, maps, findings)
        obs[id_column(name)] = pd.Categorical(terms)
        obs[name] = pd.Categorical(np.asarray([label_of(term) for term in terms.categories], dtype=object)[terms.codes])
        if original is not None:
            obs[f"{name}_original"] = original
    if findings:
        raise CardError(findings)
    for name in PLACES:
        if card.spatial and (column := getattr(card.spatial, name)):
            obs[name] = column_of(source, card, "spatial", column).to_numpy(dtype=np.int64)
    if MEMBER in source and "*" in (card.read.matrix.member or ""):
        obs[MEMBER] = pd.Categorical(source[MEMBER])
    obs["is_primary_data"] = card.primary_data
    obs["dataset_id"] = pd.Categorical([card.id] * len(obs))
    obs["study"] = pd.Categorical([card.study.id] * len(obs))
    if obs.index.has_duplicates:
        raise InputError(f"{card.id}: the cell {obs.index[obs.index.duplicated()][0]!r} is listed twice.")
    return obs


def _values(source: pd.DataFrame, card: ReadableCard, name: str, field: ValueField) -> Any:
    if field.value is not None:
        return pd.Categorical([field.value] * len(source))
    columns = [column_of(source, card, name, column).astype(str) for column in field.sources]
    return pd.Categorical(
        columns[0].str.cat(pd.concat(columns[1:], axis=1), sep="_") if len(columns) > 1 else columns[0]
    )


def columns_of(field: TermField | ValueField) -> tuple[str, ...]:
    """Return the columns of the source that a field is made of."""
    if isinstance(field, ValueField):
        return field.sources
    return (field.column,) if field.column else ()


def _terms(  # noqa: PLR0913, PLR0917
    source: pd.DataFrame,
    card: ReadableCard,
    name: str,
    field: TermField,
    maps: Mapping[str, LabelMap],
    findings: list[Finding],
) -> tuple[Any, Any | None]:
    if field.term is not None:
        return pd.Categorical([field.term] * len(source)), None
    label_map = maps.get(field.map or "")
    fill = NO_LABEL if label_map and NO_LABEL in label_map.terms else None
    original = pd.Categorical(column_of(source, card, name, field.column, fill).astype(str))
    if field.map is None:
        return _stated(original, card, name, field), original
    if label_map is None:
        raise InputError(f"{card.id}: cells.{name}: the label map {field.map} was not given.")
    for label in original.categories:
        if label not in label_map.terms:
            number = int((original == label).sum())
            message = f"label {label!r} ({number} cells) of column {field.column!r} has no row."
            findings.append(
                Finding(str(label_map.path), 0, 0, "MAP003", message, "Add it, with term unknown if unsure.")
            )
    mapped = [label_map.terms.get(label, "unknown") for label in original.categories]
    return pd.Categorical(np.asarray(mapped, dtype=object)[original.codes]), original


def _stated(original: Any, card: ReadableCard, name: str, field: TermField) -> Any:
    """Return the terms of a column that holds them by id or by label; InputError names what is neither."""
    terms, strange = [], []
    for value in original.categories:
        try:
            terms.append(DELIMITER.join(sorted({_term(one, name, field.holds) for one in value.split(DELIMITER)})))
        except (NotFoundError, InputError) as error:
            strange.append(f"{value!r} ({error})")
    if strange:
        where = f"{card.id}: cells.{name}: column {field.column!r} holds what is not among the {field.holds}"
        raise InputError(f"{where} of the ontology: {'; '.join(strange)}. Write a label map.")
    return pd.Categorical(np.asarray(terms, dtype=object)[original.codes])


def _term(value: str, name: str, holds: str | None) -> str:
    if value in {UNKNOWN, NOT_APPLICABLE}:
        return value
    if holds == "ids":
        term_ontology(value).label(value)  # NotFoundError for what is no term
        return value
    return load(ontology_of(name, value)).find(value)


def column_of(
    source: pd.DataFrame, card: ReadableCard, name: str, column: str | None, fill: str | None = None
) -> pd.Series[Any]:
    """Return a column of the source; InputError where there is none, or where it is empty for some cells."""
    if column not in source:
        raise InputError(f"{card.id}: cells.{name}: no column {column!r} of cells; found {list(map(str, source))}.")
    values = source[column]
    empty = values.isna() | (values.astype(str).str.strip() == "")
    if fill is not None:
        return values.astype(object).where(~empty, fill)
    if empty.any():
        known = f"A label map has the row {NO_LABEL} for them."
        remedy = known if name in TERM_FIELDS else "Fill it in; what is not known is the word unknown."
        raise InputError(f"{card.id}: cells.{name}: column {column!r} is empty for {int(empty.sum())} cells. {remedy}")
    return values


def label_of(terms: str) -> str:
    """Return the label of a term, or those of several joined as their ids are; unknown and na are their own."""
    return DELIMITER.join(
        term if term in {UNKNOWN, NOT_APPLICABLE} else term_ontology(term).label(term)
        for term in terms.split(DELIMITER)
    )
