"""Streamlining: counts onto a gene space, cells in ontology terms, and a report of what became of everything.

One pure function of the source, the card and its label maps. Counts of names that are the same gene are summed, genes
of the space that the source lacks are zero, and nothing is merged that is not the same gene.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellzoo import __version__
from cellzoo.converters.counts import MAX_EXACT, recover, to_counts
from cellzoo.errors import CardError, CountsError, Finding, GenesError, InputError, NotFoundError
from cellzoo.registry.cards import LabelMap
from cellzoo.registry.cells import Cells, TermField, ValueField
from cellzoo.registry.fields import ontology_of
from cellzoo.registry.genes import GeneMapping, GeneSpace, map_genes
from cellzoo.registry.ontology import load, term_ontology
from cellzoo.registry.reading import Genes
from cellzoo.registry.schema import ReadableCard

EXAMPLES = 10  # names listed in a report beside each number
NO_LABEL = "(none)"
"""Source of a row in a label map that says what cells without a label are; without it they are refused."""


def streamline(
    source: anndata.AnnData, card: ReadableCard, maps: Mapping[str, LabelMap], space: GeneSpace
) -> anndata.AnnData:
    """Return streamlined data: X counts (cells, genes of the space) CSR float32, obs in terms, uns with a report.

    For each field of cells obs has ``<field>_ontology_term_id``, ``<field>`` (the label) and, where the source had a
    column, ``<field>_original``; CELLxGENE schema 7.1 spells the names. ``var["measured"]`` says which genes of the
    space the source had. Layers are the further counts that the card names (``unspliced_counts``), on the same genes.
    Raises `CountsError`, `GenesError`, `CardError` (a label without a mapping) or `InputError`.
    """
    counts = raw_counts(source, card)
    names = gene_names(source.var, card.genes)
    mapping = map_genes(names, str(card.cells.organism.term), space)
    matrix, measured = onto_space(counts, mapping, len(space))
    if not measured.any():
        raise GenesError(f"{card.id}: none of {len(names)} gene names is in {space.name}, for example {names[:3]}.")
    obs = _obs(source.obs, card, maps)
    var = pd.DataFrame(
        {"feature_name": np.asarray(space.symbols, dtype=object), "measured": measured},
        index=pd.Index(np.asarray(space.ids, dtype=object), name="ensembl_id"),
    )
    uns = {
        "title": card.title,
        "organism_ontology_term_id": card.cells.organism.term,
        "cellzoo": {
            "dataset_id": card.id,
            "study": card.study.id,
            "gene_space": space.name,
            "gene_space_sha256": space.sha256,
            "cellzoo_version": __version__,
            "report": json.dumps(_report(counts, matrix, mapping) | _left_out(source, card)),
        },
    }
    return anndata.AnnData(matrix, obs=obs, var=var, uns=uns, layers=_count_layers(source, card, mapping))


def _count_layers(source: anndata.AnnData, card: ReadableCard, mapping: GeneMapping) -> dict[str, sp.csr_matrix]:
    """Return the layers that hold counts, by what the card says they are; X is not repeated."""
    said = card.layers.model_dump(exclude_none=True)
    counted = {role: name for role, name in said.items() if role.endswith("_counts") and name in source.layers}
    return {
        role: onto_space(to_counts(source.layers[name], f"{card.id}: layer {name}"), mapping, len(mapping.space))[0]
        for role, name in counted.items()
    }


def raw_counts(source: anndata.AnnData, card: ReadableCard) -> sp.csr_matrix:
    """Return the raw counts of a source, CSR float32 (cells, its genes), recovered where the card says how."""
    where = f"{card.id}: {card.read.matrix.object or card.layers.counts} in {card.read.matrix.file}"
    if card.counts.recover:
        return recover(source.X, card.counts.recover, source.obs, where)
    return to_counts(source.X, where)


def gene_names(var: pd.DataFrame, genes: Genes) -> list[str]:
    """Return the gene names that a card points at: Ensembl ids where there are any, else symbols."""
    column = genes.ensembl or genes.symbol or "index"
    if column == "index":
        return [str(name) for name in var.index]
    if column not in var:
        raise GenesError(f"genes: no column {column!r} of genes; found {list(map(str, var))}.")
    return var[column].astype(str).tolist()


def onto_space(counts: sp.csr_matrix, mapping: GeneMapping, size: int) -> tuple[sp.csr_matrix, np.ndarray]:
    """Return counts (cells, size) with the columns of one gene summed, and which genes of the space were measured."""
    position = np.asarray(mapping.position)
    kept = np.flatnonzero(position >= 0)
    ones = np.ones(len(kept), dtype=np.float64)
    to_space = sp.csr_matrix((ones, (kept, position[kept])), shape=(len(position), size))
    placed = sp.csr_matrix(counts.astype(np.float64) @ to_space)
    placed.sort_indices()
    if placed.data.size and placed.data.max() >= MAX_EXACT:
        raise CountsError(f"a summed count is {placed.data.max():.0f}; above {MAX_EXACT} float32 is not exact.")
    measured = np.zeros(size, dtype=bool)
    measured[position[kept]] = True
    return placed.astype(np.float32), measured


def _report(counts: sp.csr_matrix, matrix: sp.csr_matrix, mapping: GeneMapping) -> dict[str, Any]:
    before, after = float(counts.sum(dtype=np.float64)), float(matrix.sum(dtype=np.float64))
    return {
        "cells": matrix.shape[0],
        "cells_without_counts": int((matrix.getnnz(axis=1) == 0).sum()),
        "counts_in_source": before,
        "counts_kept": after,
        "genes": mapping.summary(EXAMPLES),
    }


def _left_out(source: anndata.AnnData, card: ReadableCard) -> dict[str, list[str]]:
    """Return the columns of cells that no field of the card uses, and the layers of the card that hold no counts."""
    said = [field for name in Cells.model_fields if (field := getattr(card.cells, name)) is not None]
    used = {column for field in said for column in _columns(field)}
    layers = card.layers.model_dump(exclude_none=True)
    return {
        "columns_left_out": sorted(str(column) for column in source.obs if column not in used),
        "layers_left_out": sorted(role for role in layers if role != "counts" and not role.endswith("_counts")),
    }


def _obs(source: pd.DataFrame, card: ReadableCard, maps: Mapping[str, LabelMap]) -> pd.DataFrame:
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
        obs[f"{name}_ontology_term_id"] = pd.Categorical(terms)
        obs[name] = pd.Categorical(np.asarray([_label(term) for term in terms.categories], dtype=object)[terms.codes])
        if original is not None:
            obs[f"{name}_original"] = original
    if findings:
        raise CardError(findings)
    obs["is_primary_data"] = card.primary_data
    obs["dataset_id"] = pd.Categorical([card.id] * len(obs))
    obs["study"] = pd.Categorical([card.study.id] * len(obs))
    if obs.index.has_duplicates:
        raise InputError(f"{card.id}: the cell {obs.index[obs.index.duplicated()][0]!r} is listed twice.")
    return obs


def _values(source: pd.DataFrame, card: ReadableCard, name: str, field: ValueField) -> Any:
    if field.value is not None:
        return pd.Categorical([field.value] * len(source))
    columns = [_column(source, card, name, column).astype(str) for column in field.sources]
    return pd.Categorical(
        columns[0].str.cat(pd.concat(columns[1:], axis=1), sep="_") if len(columns) > 1 else columns[0]
    )


def _columns(field: TermField | ValueField) -> tuple[str, ...]:
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
    original = pd.Categorical(_column(source, card, name, field.column, fill).astype(str))
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
            if value in {"unknown", "na"}:
                terms.append(value)
            elif field.holds == "ids":
                terms.append(value if term_ontology(value).label(value) else value)
            else:
                terms.append(load(ontology_of(name, value)).find(value))
        except (NotFoundError, InputError) as error:
            strange.append(f"{value!r} ({error})")
    if strange:
        where = f"{card.id}: cells.{name}: column {field.column!r} holds what is not among the {field.holds}"
        raise InputError(f"{where} of the ontology: {'; '.join(strange)}. Write a label map.")
    return pd.Categorical(np.asarray(terms, dtype=object)[original.codes])


def _column(
    source: pd.DataFrame, card: ReadableCard, name: str, column: str | None, fill: str | None = None
) -> pd.Series[Any]:
    if column not in source:
        raise InputError(f"{card.id}: cells.{name}: no column {column!r} of cells; found {list(map(str, source))}.")
    values = source[column]
    empty = values.isna() | (values.astype(str).str.strip() == "")
    if fill is not None:
        return values.astype(object).where(~empty, fill)
    if empty.any():
        remedy = f"A label map has the row {NO_LABEL} for them."
        raise InputError(f"{card.id}: cells.{name}: column {column!r} is empty for {int(empty.sum())} cells. {remedy}")
    return values


def _label(term: str) -> str:
    return term if term in {"unknown", "na"} else term_ontology(term).label(term)
