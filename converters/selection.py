"""Data sets by card: described without a download, combined, saved, loaded on demand."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from cellzoo.errors import CardError, Finding, InputError, NotFoundError
from cellzoo.registry.catalogue import Registry, facets
from cellzoo.registry.catalogue import open_registry as open_cards
from cellzoo.registry.cells import TERM_FIELDS
from cellzoo.registry.document import read_yaml
from cellzoo.registry.genes import GeneSpace, gene_space
from cellzoo.registry.index import Record
from cellzoo.registry.schema import DatasetCard

if TYPE_CHECKING:
    import anndata
    import pandas as pd

STATUSES = ("imported", "verified", "broken")
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Dataset:
    """One data set of a registry; nothing is read before it is asked for."""

    id: str
    """Its id."""
    registry: Registry
    """Where the card stands."""

    @cached_property
    def card(self) -> DatasetCard:
        """Return what the registry says about it."""
        return self.registry.card(self.id)

    def fetch(self, progress: Progress | None = None) -> dict[str, Path]:
        """Return file name -> verified path of every file of the card."""
        from cellzoo.converters.fetch import fetch

        return {file.name: fetch(file, progress) for file in self.card.files}

    def load(self, space: GeneSpace | str | None = None, progress: Progress | None = None) -> anndata.AnnData:
        """Return the data fetched, verified, read and streamlined onto a gene space (by default the organism's).

        The samples of a card are read one by one and joined; ``obs["sample"]`` then says which cell is of which.
        """
        from cellzoo.converters.readers import read_source
        from cellzoo.converters.streamline import streamline

        self._refuse_unusable()
        if not isinstance(space, GeneSpace):
            space = gene_space(space or self.organism)
        parts = {sample.name: self.card.of_sample(sample) for sample in self.card.samples} or {"": self.card}
        readable = {name: part.readable() for name, part in parts.items()}
        files, maps = self.fetch(progress), self.registry.maps(self.id)
        read = {name: streamline(read_source(part, files), part, maps, space) for name, part in readable.items()}
        adata = next(iter(read.values())) if len(read) == 1 else _joined(read)
        if self.card.cells_expected not in {None, adata.n_obs}:
            raise InputError(f"{self.id}: {adata.n_obs} cells after reading, expected {self.card.cells_expected}.")
        return adata

    @property
    def organism(self) -> str:
        """Return the NCBITaxon term of the cells; InputError where the card mixes organisms."""
        found = {field.term or field.column for _, field in self.card.fields("organism")}
        if len(found - {"unknown"}) != 1:
            raise InputError(
                f"{self.id}: a gene space belongs to one organism, the card has {sorted(map(str, found))}."
            )
        return str(next(iter(found - {"unknown"})))

    def source(self) -> anndata.AnnData:
        """Return the cells as the study has them: raw counts over its own genes, its own columns."""
        from cellzoo.converters.readers import read_source
        from cellzoo.converters.streamline import raw_counts

        self._refuse_unusable()
        card = self.card.readable()
        adata = read_source(card, self.fetch())
        adata.X = raw_counts(adata, card)
        return adata

    def write(self, adata: anndata.AnnData, folder: Path) -> Path:
        """Write streamlined data to ``<folder>/<id>.h5ad`` and return the path; nothing half-written stays."""
        from cellzoo.converters.write import write_h5ad

        return write_h5ad(adata, folder / f"{self.id}.h5ad")

    def _refuse_unusable(self) -> None:
        """Refuse what cannot be read before anything is fetched."""
        card = self.card
        if card.status == "broken":
            raise InputError(f"{self.id} cannot be used: {card.status_reason}")
        if loose := [file.name for file in card.files if not file.pins]:
            files = loose[0] + (f" and {len(loose) - 1} more" if len(loose) > 1 else "")
            remedy = f"`cellzoo verify {self.id}` in a clone of the registry fetches and pins them."
            why = f" {card.status_reason}" if card.status_reason else ""
            raise InputError(f"{self.id} is {card.status}, not verified: no sha256 pins {files}. {remedy}{why}")


def _joined(parts: Mapping[str, anndata.AnnData]) -> anndata.AnnData:
    """Return the samples of a data set as one: what all measured is measured, a layer that all have is kept.

    A column that a sample does not have is empty for its cells. The report has that of each sample under ``samples``.
    """
    import anndata
    import numpy as np

    common = set.intersection(*({str(name) for name in part.layers} for part in parts.values()))
    reports = {name: json.loads(part.uns["cellzoo"]["report"]) for name, part in parts.items()}
    for name, part in parts.items():
        for layer in {str(key) for key in part.layers} - common:
            reports[name]["layers_left_out"].append(layer)
            del part.layers[layer]
    joined = anndata.concat(parts, join="outer", label="sample", merge="same", uns_merge="first", index_unique="-")
    joined.var["measured"] = np.logical_and.reduce([part.var["measured"] for part in parts.values()])
    joined.uns["cellzoo"]["report"] = json.dumps({"samples": reports})
    return joined


class Selection(Mapping[str, Dataset]):
    """Data sets by id, in the order of their ids; lazy, and combined by ``&``, ``|`` and ``-``."""

    def __init__(self, registry: Registry, records: Sequence[Record]) -> None:
        self.registry = registry
        self.records = sorted(records, key=lambda record: record.id)
        """What the catalogue knows of each data set, without reading a card."""
        self._by_id = {record.id: record for record in self.records}

    def __getitem__(self, dataset: str) -> Dataset:
        return Dataset(self._by_id[dataset].id, self.registry)

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_id)

    def __len__(self) -> int:
        return len(self._by_id)

    def __repr__(self) -> str:
        return f"Selection({len(self)} data sets: {', '.join(list(self)[:10])}{', …' if len(self) > 10 else ''})"

    def __and__(self, other: Selection) -> Selection:
        return self._with(other, [record for record in self.records if record.id in other])

    def __or__(self, other: Selection) -> Selection:
        return self._with(other, list((other._by_id | self._by_id).values()))

    def __sub__(self, other: Selection) -> Selection:
        return self._with(other, [record for record in self.records if record.id not in other])

    def _with(self, other: Selection, records: list[Record]) -> Selection:
        if other.registry.roots != self.registry.roots:
            raise InputError(f"selections of two registries ({self.registry}; {other.registry}) are not combined.")
        return Selection(self.registry, records)

    def obs_summary(self) -> pd.DataFrame:
        """Return one row per data set from the cards alone: cells, study, status and the labels of each field."""
        import pandas as pd

        rows = []
        for record in self.records:
            row: dict[str, object] = {"id": record.id, "status": record.status, "cells": record.cells}
            row |= {"study": record.study, "year": record.year}
            row |= {name: ", ".join(sorted(record.labels.get(name, []))) for name in TERM_FIELDS}
            rows.append(row | {"title": record.title})
        frame = pd.DataFrame(rows)
        return frame.astype({"cells": "Int64"}).set_index("id") if rows else frame

    def facets(self, field: str) -> pd.DataFrame:
        """Return the terms of one field with the number of data sets and of known cells, the most frequent first."""
        import pandas as pd

        if field not in TERM_FIELDS:
            raise InputError(f"{field!r} is no field of terms; there are {', '.join(TERM_FIELDS)}.")
        labels = {
            term: label
            for one in self.records
            for term, label in zip(one.terms.get(field, ()), one.labels.get(field, ()), strict=False)
        }
        rows = [(term, labels.get(term, term), *counts) for term, counts in facets(self.records, field).items()]
        return pd.DataFrame(rows, columns=["term", "label", "datasets", "cells"]).set_index("term")

    def save(self, path: str | Path) -> Path:
        """Write the selection as a small YAML that `Zoo.selection` reads: registry, ids and digests of the cards."""
        from ruamel.yaml import YAML

        from cellzoo.converters.write import replacing

        path = Path(path)
        digests = {name: self.registry.digest(name) for name in self if self._by_id[name].kind == "dataset"}
        with replacing(path) as part, part.open("w", encoding="utf-8") as stream:
            yaml = YAML()
            yaml.width = 200  # an id and its digest stay on one line
            yaml.dump({"registry": list(self.registry.names), "datasets": digests}, stream)
        return path


@dataclass(frozen=True)
class Zoo:
    """A registry and what can be done with its data sets."""

    registry: Registry
    """The cards."""

    def datasets(self, *, text: str = "", status: str = "", **wanted: str) -> Selection:
        """Return the data sets that match every ``field=term`` and every word of the text.

        Fields are those of the cards (organism, tissue, cell_type, assay, disease, ...), terms are ids or labels and
        stand for all their descendants.
        """
        if status not in {"", *STATUSES}:
            raise InputError(f"status {status!r}: expected one of {', '.join(STATUSES)}.")
        return Selection(self.registry, self.registry.find(text, status, **wanted))

    def selection(self, path: str | Path) -> Selection:
        """Return a saved selection; `CardError` lists the data sets that are gone or whose cards changed since."""
        document = read_yaml(Path(path))
        said = document.data.get("datasets")
        if not isinstance(said, dict):
            raise CardError([document.finding("SEL001", ["datasets"], "datasets: expected id: digest of each card.")])
        findings: list[Finding] = []
        for name, digest in said.items():
            try:
                now = self.registry.digest(name)
            except (NotFoundError, CardError) as error:
                findings.append(document.finding("SEL002", ["datasets", name], f"{error}"))
                continue
            if now != digest:
                message = f"{name}: the card says something else about the data than when the selection was saved."
                findings.append(document.finding("SEL003", ["datasets", name], message, "Save the selection anew."))
        if findings:
            raise CardError(findings)
        return Selection(self.registry, [record for record in self.registry.records() if record.id in said])

    def __getitem__(self, dataset: str) -> Dataset:
        return Dataset(self.registry.path(dataset).stem, self.registry)

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Return the id of every card, readable or not."""
        return tuple(self.registry.paths)


def open_registry(where: str | Path | Sequence[str | Path] | None = None) -> Zoo:
    """Return the zoo of a registry: folders, ``URL@ref`` of Git or ``packaged``; the first that has an id wins.

    By default what ``CELLZOO_REGISTRY`` lists, else the cards of the package.
    """
    return Zoo(open_cards(where))
