"""A registry and its data sets: fetched, verified, read and streamlined on demand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from cellzoo.converters.fetch import Progress
from cellzoo.converters.selection import Data, Selection, refuse_changed, saved
from cellzoo.errors import InputError
from cellzoo.registry.catalogue import Registry
from cellzoo.registry.catalogue import open_registry as open_cards
from cellzoo.registry.genes import GeneSpace, gene_space
from cellzoo.registry.schema import DatasetCard

if TYPE_CHECKING:
    from cellzoo.converters.celldata import CellData

STATUSES = ("imported", "verified", "broken")


@dataclass(frozen=True)
class Dataset(Data):
    """One data set of a registry; nothing is read before it is asked for."""

    id: str
    """Its id."""
    registry: Registry
    """Where the card stands."""

    @cached_property
    def card(self) -> DatasetCard:
        """Return what the registry says about it."""
        return self.registry.card(self.id)

    @property
    def digest(self) -> str:
        """Return the digest of what the card says about the data."""
        return self.registry.digest(self.id)

    def fetch(self, progress: Progress | None = None) -> dict[str, Path]:
        """Return file name -> verified path of every file of the card."""
        from cellzoo.converters.fetch import fetch

        return {file.name: fetch(file, progress) for file in self.card.files}

    def open(self, space: GeneSpace | str | None = None, progress: Progress | None = None) -> CellData:
        """Return the data fetched, verified, read and streamlined onto a gene space (by default the organism's).

        Counts are checked in a first pass and stay where they are, to be read by ranges of cells. The samples of a card
        are read one by one and joined; ``obs["sample"]`` then says which cell is of which.
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
        data = next(iter(read.values())) if len(read) == 1 else _joined(read)
        if self.card.cells_expected not in {None, data.n_obs}:
            raise InputError(f"{self.id}: {data.n_obs} cells after reading, expected {self.card.cells_expected}.")
        return data

    @property
    def organism(self) -> str:
        """Return the NCBITaxon term of the cells; InputError where the card mixes organisms."""
        found = {field.term or field.column for _, field in self.card.fields("organism")}
        if len(found - {"unknown"}) != 1:
            raise InputError(
                f"{self.id}: a gene space belongs to one organism, the card has {sorted(map(str, found))}."
            )
        return str(next(iter(found - {"unknown"})))

    def source(self) -> CellData:
        """Return the cells as the study has them: raw counts over its own genes, its own columns."""
        from cellzoo.converters.readers import read_source
        from cellzoo.converters.streamline import raw_counts

        self._refuse_unusable()
        card = self.card.readable()
        data = read_source(card, self.fetch())
        return data.with_(X=raw_counts(data, card))

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


def _joined(parts: Mapping[str, CellData]) -> CellData:
    """Return the samples of a data set as one: what all measured is measured, a layer that all have is kept.

    A column that a sample does not have is empty for its cells. The report has that of each sample under ``samples``.
    """
    from cellzoo.converters.celldata import stack

    joined = stack(parts, "sample")
    reports = {name: json.loads(part.uns["cellzoo"]["report"]) for name, part in parts.items()}
    for name, part in parts.items():
        reports[name]["layers_left_out"] = [layer for layer in part.layers if layer not in joined.layers]
    house = dict(joined.uns["cellzoo"]) | {"report": json.dumps({"samples": reports})}
    return joined.with_(uns=joined.uns | {"cellzoo": house})


@dataclass(frozen=True)
class Zoo:
    """A registry and what can be done with its data sets."""

    registry: Registry
    """The cards."""

    def datasets(self, *, text: str = "", status: str = "", **wanted: str) -> Selection[Dataset]:
        """Return the data sets that match every ``field=term`` and every word of the text.

        Fields are those of the cards (organism, tissue, cell_type, assay, disease, ...), terms are ids or labels and
        stand for all their descendants.
        """
        if status not in {"", *STATUSES}:
            raise InputError(f"status {status!r}: expected one of {', '.join(STATUSES)}.")
        return Selection(self, self.registry.find(text, status, **wanted))

    def selection(self, path: str | Path) -> Selection[Dataset]:
        """Return a saved selection; `CardError` lists the data sets that are gone or whose cards changed since."""
        document, said = saved(path, "registry")
        refuse_changed(document, said, self.registry.digest)
        return Selection(self, [record for record in self.registry.records() if record.id in said])

    @property
    def names(self) -> tuple[str, ...]:
        """Return what the registry is opened by."""
        return self.registry.names

    def dataset(self, name: str) -> Dataset:
        """Return a data set by its id; nothing is read."""
        return Dataset(name, self.registry)

    def __getitem__(self, dataset: str) -> Dataset:
        return self.dataset(self.registry.path(dataset).stem)

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Return the id of every card, readable or not."""
        return tuple(self.registry.paths)


def open_registry(where: str | Path | Sequence[str | Path] | None = None) -> Zoo:
    """Return the zoo of a registry: folders, ``URL@ref`` of Git or ``packaged``; the first that has an id wins.

    By default what ``CELLZOO_REGISTRY`` lists, else the cards of the package.
    """
    return Zoo(open_cards(where))
