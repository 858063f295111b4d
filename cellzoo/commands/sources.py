"""What a store or a Census is made of on the command line: h5ad files, stores, and data sets of the registry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import click

from cellzoo.commands.shared import Failures, open_zoo
from cellzoo.console import say
from cellzoo.errors import CellzooError, InputError, NotFoundError

if TYPE_CHECKING:
    from cellzoo.converters.celldata import CellData
    from cellzoo.converters.store import Store
    from cellzoo.converters.zoo import Zoo


T = TypeVar("T")


class Source(Protocol):
    """Data that are looked up when they are asked for."""

    @property
    def name(self) -> str:
        """Return what was typed."""

    @property
    def id(self) -> str:
        """Return what the data are called in what is written."""

    @property
    def digest(self) -> str:
        """Return what changes when the data do."""

    @property
    def said(self) -> Mapping[str, str]:
        """Return what the table of data sets of a Census says of them, beside their id."""

    def open(self) -> CellData:
        """Return the data, streamlined or a CELLxGENE file."""


@dataclass(frozen=True)
class H5adFile:
    """An h5ad file, by its name."""

    name: str

    @property
    def id(self) -> str:
        """Return the name of the file without what comes after it."""
        return Path(self.name).stem

    @property
    def digest(self) -> str:
        """Return its sha256."""
        from cellzoo.converters.fetch import sha256_of

        return sha256_of(Path(self.name)) if Path(self.name).is_file() else ""

    @property
    def said(self) -> Mapping[str, str]:
        """Return nothing: the file says it."""
        return {}

    def open(self) -> CellData:
        """Return the data as they stand in the file; of a CELLxGENE file the counts in X, not in raw."""
        from cellzoo.converters.cellxgene import form
        from cellzoo.converters.cellxgene.sfaira import counts_first
        from cellzoo.converters.cellxgene.streamlined import PROCESSED
        from cellzoo.converters.h5ad import open_h5ad

        data = open_h5ad(Path(self.name))
        with suppress(InputError):  # what is of no form is taken as it is
            if data.raw is not None and data.X is not None and form(data) == "cellxgene":
                data = counts_first(data, PROCESSED)
                say(f"{self.name}: X are the counts of raw; the values of X are the layer {PROCESSED}")
        return data


@dataclass(frozen=True)
class OfRegistry:
    """A data set of the registry, which may lack it."""

    name: str
    zoo: Zoo
    genes: str | None

    @property
    def id(self) -> str:
        """Return the id of the card."""
        return self.zoo[self.name].id

    @property
    def digest(self) -> str:
        """Return the digest of what the card says of the data."""
        return self.zoo[self.name].digest

    @property
    def said(self) -> Mapping[str, str]:
        """Return study and title of the card."""
        card = self.zoo[self.name].card
        return {
            "collection_doi_label": f"{card.study.authors} ({card.study.year})",
            "collection_name": card.title,
        }

    def open(self) -> CellData:
        """Return the data streamlined onto the gene space."""
        return self.zoo[self.name].open(self.genes)


@dataclass(frozen=True)
class OfStore:
    """A data set of a store."""

    store: Store
    id: str

    @property
    def name(self) -> str:
        """Return which one of which store."""
        return f"{self.id} of {self.store.path}"

    @property
    def digest(self) -> str:
        """Return the digest that the data had when they were stored."""
        return self.store.datasets[self.id].digest

    @property
    def said(self) -> Mapping[str, str]:
        """Return nothing: a store keeps no cards."""
        return {}

    def open(self) -> CellData:
        """Return the data as they were stored."""
        return self.store.celldata(self.id)


def sources(
    source: tuple[str, ...], wanted: dict[str, str], registry: tuple[str, ...], genes: str | None
) -> list[Source]:
    """Return each once the sources that are named and the verified data sets that match the filters."""
    if not source and not wanted:
        raise click.UsageError("name h5ad files, stores or ids, or filter the registry, for example --tissue lung.")
    zoo = open_zoo(registry)
    found = list(zoo.datasets(status="verified", **wanted)) if wanted else []
    if not source and not found:
        raise NotFoundError("no verified data set matches every filter; `cellzoo datasets` shows what there is.")
    names = list(dict.fromkeys([*source, *found]))
    given = [one for name in names for one in _sources_of(name, zoo, genes)]
    ids = Counter(_called(one) for one in given)
    if twice := [name for name, times in ids.items() if times > 1]:
        clash = " and ".join(one.name for one in given if _called(one) == twice[0])
        raise click.UsageError(f"{clash} would both be called {twice[0]}; rename one of the files.")
    return given


def each(given: list[Source], take: Callable[[Source], T], failed: Failures) -> Iterator[T]:
    """Yield what is taken of each source, one at a time; one that cannot be had is told and never stops the others."""
    for one in given:
        try:
            item = take(one)
        except CellzooError as error:
            failed(one.name, error)
            continue
        yield item


def check_organisms(given: list[Source]) -> None:
    """Raise InputError where the cards are of several organisms: before the work."""
    from cellzoo.converters.selection import refuse_organisms

    organisms: set[str] = set()
    for one in given:
        if isinstance(one, OfRegistry):
            with suppress(CellzooError):  # a card that cannot be had is said when it is its turn
                organisms.add(str(one.zoo[one.name].card.cells.organism.label))
    refuse_organisms(organisms, "--organism")


def _sources_of(name: str, zoo: Zoo, genes: str | None) -> list[Source]:
    from cellzoo.converters.store.layout import MANIFEST

    if name.endswith(".h5ad"):
        return [H5adFile(name)]
    if (Path(name) / MANIFEST).is_file():
        from cellzoo.converters.store import Store

        store = Store(name)
        return [OfStore(store, one) for one in store.datasets]
    return [OfRegistry(name, zoo, genes)]


def _called(source: Source) -> str:
    """Return the id, without a look into the registry: an id that it lacks never stops the others."""
    return source.name if isinstance(source, OfRegistry) else source.id
