"""Data sets by card: described without a download, loaded on demand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import anndata
import pandas as pd

from cellzoo.converters.fetch import Progress, fetch
from cellzoo.converters.readers import read_source
from cellzoo.converters.streamline import raw_counts, streamline
from cellzoo.converters.write import write_h5ad
from cellzoo.errors import NotFoundError
from cellzoo.registry.catalogue import TERM_FIELDS, Registry
from cellzoo.registry.catalogue import open_registry as open_cards
from cellzoo.registry.genes import GeneSpace, gene_space
from cellzoo.registry.ontology import term_ontology
from cellzoo.registry.schema import DatasetCard


@dataclass(frozen=True)
class Dataset:
    """One data set of a registry; nothing is downloaded before `load` or `fetch`."""

    card: DatasetCard
    """What the registry says about it."""
    registry: Registry
    """Where the card stands."""

    def fetch(self, progress: Progress | None = None) -> dict[str, Path]:
        """Return file name -> verified path of every file of the card."""
        return {file.name: fetch(file, progress) for file in self.card.files}

    def load(self, space: GeneSpace | str | None = None, progress: Progress | None = None) -> anndata.AnnData:
        """Return the data fetched, verified, read and streamlined onto a gene space (by default the organism's)."""
        if not isinstance(space, GeneSpace):
            space = gene_space(space or str(self.card.cells.organism.term))
        source = read_source(self.card, self.fetch(progress))
        return streamline(source, self.card, self.registry.maps(self.card.id), space)

    def source(self) -> anndata.AnnData:
        """Return the cells as the study has them: raw counts over its own genes, its own columns."""
        adata = read_source(self.card, self.fetch())
        adata.X = raw_counts(adata, self.card)
        return adata

    def write(self, adata: anndata.AnnData, folder: Path) -> Path:
        """Write streamlined data to ``<folder>/<id>.h5ad`` and return the path; nothing half-written stays."""
        return write_h5ad(adata, folder / f"{self.card.id}.h5ad")


class Selection(Mapping[str, Dataset]):
    """Data sets by id, in the order of their ids; lazy: built from the cards alone."""

    def __init__(self, datasets: list[Dataset]) -> None:
        self._datasets = {dataset.card.id: dataset for dataset in sorted(datasets, key=lambda one: one.card.id)}

    def __getitem__(self, dataset: str) -> Dataset:
        return self._datasets[dataset]

    def __iter__(self) -> Iterator[str]:
        return iter(self._datasets)

    def __len__(self) -> int:
        return len(self._datasets)

    def __repr__(self) -> str:
        return f"Selection({len(self)} data sets: {', '.join(self)})"

    def obs_summary(self) -> pd.DataFrame:
        """Return one row per data set from the cards alone: cells, study, status and the labels of each field."""
        rows = []
        for dataset in self.values():
            card = dataset.card
            row: dict[str, object] = {"id": card.id, "status": card.status, "cells": card.cells_expected}
            row |= {"study": card.study.id, "year": card.study.year}
            for name in TERM_FIELDS:
                row[name] = ", ".join(sorted(map(_label, dataset.registry.terms(card, name))))
            rows.append(row | {"title": card.title})
        return pd.DataFrame(rows).set_index("id") if rows else pd.DataFrame()


def _label(term: str) -> str:
    try:
        return term if term in {"unknown", "na"} else term_ontology(term).label(term)
    except NotFoundError:  # a finding of the check, no reason to list nothing
        return term


@dataclass(frozen=True)
class Zoo:
    """A registry and what can be done with its data sets."""

    registry: Registry
    """The cards."""

    def datasets(self, **wanted: str) -> Selection:
        """Return the data sets that match every ``field=term``; terms stand for all their descendants.

        Fields are those of the cards (organism, tissue, cell_type, assay, disease, ...), terms are ids or labels.
        """
        return Selection([Dataset(card, self.registry) for card in self.registry.find(**wanted)])

    def __getitem__(self, dataset: str) -> Dataset:
        return Dataset(self.registry.card(dataset), self.registry)

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Return the id of every card, readable or not."""
        return tuple(self.registry.paths)


def open_registry(where: str | Path | None = None) -> Zoo:
    """Return the zoo of a registry: a folder, else ``CELLZOO_REGISTRY``, else the cards of the package."""
    return Zoo(open_cards(where))
