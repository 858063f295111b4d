"""Streamlining: counts onto a gene space, cells in ontology terms, and a report of what became of everything.

One pure function of the source, the card and its label maps. Counts of names that are the same gene are summed, genes
of the space that the source lacks are zero, and nothing is merged that is not the same gene.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellzoo import __version__
from cellzoo.converters.celldata import LAYERS, CellData
from cellzoo.converters.counts import MAX_EXACT, counted, recover
from cellzoo.converters.formats.features import split_features
from cellzoo.converters.formats.members import MEMBER
from cellzoo.converters.rows import Mapped, Rows
from cellzoo.converters.terms import cells_in_terms, column_of, columns_of
from cellzoo.errors import CountsError, GenesError, InputError
from cellzoo.registry.cards import LabelMap
from cellzoo.registry.cells import Cells
from cellzoo.registry.genes import GeneMapping, GeneSpace, map_genes
from cellzoo.registry.reading import Genes
from cellzoo.registry.schema import ReadableCard

EXAMPLES = 10  # names listed in a report beside each number


def streamline(source: CellData, card: ReadableCard, maps: Mapping[str, LabelMap], space: GeneSpace) -> CellData:
    """Return streamlined data: X counts (cells, genes of the space) float32, obs in terms, uns with a report.

    For each field of cells obs has ``<field>_ontology_term_id``, ``<field>`` (the label) and, where the source had a
    column, ``<field>_original``; CELLxGENE schema 7.1 spells the names. ``var["measured"]`` says which genes of the
    space the source had. Every layer of the source is on the same genes, under what the card says it is
    (``unspliced_counts``, ``processed``), else under its own name. Features that are no genes (antibodies, peaks) come
    as modalities. Counts are looked at once and stay where they are. Raises `CountsError`, `GenesError`, `CardError`
    (a label without a mapping) or `InputError`.
    """
    source = _split(source, card)
    obs = cells_in_terms(source.obs, card, maps)
    house: dict[str, Any] = {
        "dataset_id": card.id,
        "study": card.study.id,
        "gene_space": space.name,
        "gene_space_sha256": space.sha256,
        "cellzoo_version": __version__,
    }
    uns = {"title": card.title, "organism_ontology_term_id": card.cells.organism.term}
    genes = _genes(source, card, space)
    modalities = {name: _features(part, obs, f"{card.id}: {name}") for name, part in source.modalities.items()}
    report = genes.report | _left_out(source, card)
    report |= {"modalities": {name: part.n_vars for name, part in modalities.items()}} if modalities else {}
    return CellData(
        obs=obs,
        var=genes.var,
        X=genes.X,
        layers=genes.layers,
        obsm=source.obsm | _places(source.obs, card),
        obsp=source.obsp,
        uns=uns | _said(source, card) | {"cellzoo": house | {"report": json.dumps(report)}},
        modalities=modalities,
    )


@dataclass(frozen=True)
class _Genes:
    """What of a source is on the gene space."""

    var: pd.DataFrame
    X: Rows | None
    layers: dict[str, Rows]
    report: dict[str, Any]


def _genes(source: CellData, card: ReadableCard, space: GeneSpace) -> _Genes:
    if source.X is None:  # only antibodies or peaks
        return _Genes(pd.DataFrame(index=pd.Index([], dtype=object, name="ensembl_id")), None, {}, {})
    names = gene_names(source.var, card.genes)
    mapping = map_genes(names, str(card.cells.organism.term), space)
    measured = mapping.measured_of(source.var)
    if not measured.any():
        none = f"{card.id}: none of {len(names)} gene names is in {space.name}, for example {names[:3]}."
        raise GenesError(f"{none} Check genes, and the orientation of the matrix.")
    seen = _Totals(mapping.position >= 0, source.n_obs)
    counts = raw_counts(source, card, seen.see)
    roles = {name: role for role, name in card.layers.model_dump(exclude={"counts"}, exclude_none=True).items()}
    layers: dict[str, Rows] = {}
    unplaced: dict[str, int] = {}
    for name, rows in source.layers.items():
        role = roles.get(name, name.removeprefix(LAYERS))
        role = f"{role}_layer" if role in layers else role
        if role.endswith("_counts"):
            layers[role] = onto_space(counted(rows, f"{card.id}: layer {name}"), mapping)
        else:  # values that are no counts are not added up
            layers[role], merged = _values_onto_space(rows, mapping)
            unplaced |= {role: merged} if merged else {}
    report = seen.report() | {"genes": mapping.summary(EXAMPLES)}
    report |= {"genes_without_value_in_layer": unplaced} if unplaced else {}
    return _Genes(genes_of(space, measured), onto_space(counts, mapping), layers, report)


class _Totals:
    """How many counts a source has, and how many of them are of genes that are kept."""

    def __init__(self, kept: np.ndarray, cells: int) -> None:
        self.kept, self.cells = kept, cells
        self.before = self.after = 0.0
        self.empty = 0

    def see(self, _: int, block: sp.csr_matrix) -> None:
        """Take a block of counts into account."""
        kept = self.kept[block.indices]
        self.before += float(block.data.sum(dtype=np.float64))
        self.after += float(block.data[kept].sum(dtype=np.float64))
        cell_of = np.repeat(np.arange(block.shape[0]), np.diff(block.indptr))
        self.empty += block.shape[0] - len(np.unique(cell_of[kept]))

    def report(self) -> dict[str, Any]:
        """Return the numbers by name."""
        numbers = {"cells": self.cells, "cells_without_counts": self.empty}
        return numbers | {"counts_in_source": self.before, "counts_kept": self.after}


def _split(source: CellData, card: ReadableCard) -> CellData:
    """Return a source whose X has genes only; the card says by feature or for all what else there is."""
    if (column := card.genes.feature_type_column) and column in source.var:
        return split_features(source, column)
    if card.genes.feature_type == "rna":
        return source
    part = source.with_(layers={}, raw=None, modalities={}, obsm={}, obsp={}, uns={})
    return source.with_(
        X=None, var=source.var.iloc[:0], layers={}, raw=None, modalities={card.genes.feature_type: part}
    )


def _features(part: CellData, obs: pd.DataFrame, where: str) -> CellData:
    """Return features that are no genes: counts over their own names, on the cells as they are named now."""
    if part.X is None:
        raise InputError(f"{where}: has no matrix.")
    if part.var.index.has_duplicates:
        raise InputError(f"{where}: the feature {part.var.index[part.var.index.duplicated()][0]!r} is listed twice.")
    return CellData(obs=obs[[]], var=part.var, X=counted(part.X, where))


def _places(obs: pd.DataFrame, card: ReadableCard) -> dict[str, np.ndarray]:
    """Return the coordinates of the cells in the tissue that the card points at, as obsm has them."""
    if card.spatial is None:
        return {}
    said = [column for axis in ("x", "y", "z") if (column := getattr(card.spatial, axis))]
    columns = [column_of(obs, card, "spatial", column) for column in said]
    return {"spatial": np.column_stack([column.to_numpy(dtype=np.float64) for column in columns])} if columns else {}


def _said(source: CellData, card: ReadableCard) -> dict[str, Any]:
    """Return what is said about all cells beside the title: by the card, and places in the tissue by the source."""
    said: dict[str, Any] = {key: source.uns[key] for key in ("spatial",) if key in source.uns}
    if card.default_embedding:
        said["default_embedding"] = card.default_embedding
    return said


def raw_counts(
    source: CellData, card: ReadableCard, see: Callable[[int, sp.csr_matrix], None] = lambda *_: None
) -> Rows:
    """Return the raw counts of a source, float32 (cells, its genes), recovered where the card says how.

    One pass checks them; ``see`` is told each block. Raises `CountsError` where they are no counts.
    """
    where = f"{card.id}: {card.read.matrix.object or card.layers.counts} in {card.read.matrix.file}"
    if source.X is None:
        raise CountsError(f"{where}: there is no matrix.")
    rows, recipe = source.X, card.counts.recover
    if recipe is not None:

        def recovered(block: sp.csr_matrix, start: int) -> sp.csr_matrix:
            return recover(block, recipe, source.obs.iloc[start : start + block.shape[0]], where)

        rows = Mapped(rows, rows.shape[1], recovered)
    return counted(rows, where, see)


def gene_names(var: pd.DataFrame, genes: Genes) -> list[str]:
    """Return the gene names that a card points at: Ensembl ids where there are any, else symbols."""
    column = genes.ensembl or genes.symbol or "index"
    if column == "index":
        return [str(name) for name in var.index]
    if column not in var:
        raise GenesError(f"genes: no column {column!r} of genes; found {list(map(str, var))}.")
    return var[column].astype(str).tolist()


def genes_of(space: GeneSpace, measured: np.ndarray) -> pd.DataFrame:
    """Return the genes of a space by Ensembl id: their names, and which of them were measured."""
    return pd.DataFrame(
        {"feature_name": np.asarray(space.symbols, dtype=object), "measured": measured},
        index=pd.Index(np.asarray(space.ids, dtype=object), name="ensembl_id"),
    )


def onto_space(counts: Rows, mapping: GeneMapping) -> Rows:
    """Return counts on the genes of a space, the columns of one gene summed; reading a sum too large is an error."""
    position, size = mapping.position, len(mapping.space)
    kept = np.flatnonzero(position >= 0)
    ones = np.ones(len(kept), dtype=np.float64)
    to_space = sp.csr_matrix((ones, (kept, position[kept])), shape=(len(position), size))

    def place(block: sp.csr_matrix, _: int) -> sp.csr_matrix:
        placed = sp.csr_matrix(block.astype(np.float64) @ to_space)
        placed.sort_indices()
        if placed.data.size and placed.data.max() >= MAX_EXACT:
            raise CountsError(f"a summed count is {placed.data.max():.0f}; above {MAX_EXACT} float32 is not exact.")
        return placed.astype(np.float32)

    return Mapped(counts, size, place)


def _values_onto_space(values: Rows, mapping: GeneMapping) -> tuple[Rows, int]:
    """Return values on the genes that one column alone stands for, and how many genes have several."""
    position = mapping.position
    times = np.bincount(position[position >= 0], minlength=len(mapping.space))
    alone = np.where((position >= 0) & (times[position] == 1), position, -1)

    def place(block: sp.csr_matrix, _: int) -> sp.csr_matrix:
        coo = block.tocoo()
        to = alone[coo.col]
        kept = to >= 0
        shape = (block.shape[0], len(mapping.space))
        return sp.csr_matrix((coo.data[kept], (coo.row[kept], to[kept])), shape=shape)

    return Mapped(values, len(mapping.space), place, values.dtype), int((times > 1).sum())


def _left_out(source: CellData, card: ReadableCard) -> dict[str, list[str]]:
    """Return the columns of cells that nothing in the card uses, and what the source says in uns that is not kept."""
    said = [field for name in Cells.model_fields if (field := getattr(card.cells, name)) is not None]
    used = {column for field in said for column in columns_of(field)}
    used |= set(card.spatial.model_dump(exclude_none=True).values()) if card.spatial else set()
    used |= {MEMBER} if "*" in (card.read.matrix.member or "") else set()
    return {
        "columns_left_out": sorted(str(column) for column in source.obs if column not in used),
        "uns_left_out": sorted(key for key in source.uns if key not in {"spatial"}),
    }
