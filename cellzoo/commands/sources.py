"""What a store or a Census is made of on the command line: h5ad files, ids of the registry, or what filters find."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cellzoo.commands.shared import open_zoo
from cellzoo.errors import NotFoundError

if TYPE_CHECKING:
    from cellzoo.converters.celldata import CellData
    from cellzoo.converters.zoo import Dataset, Zoo


@dataclass(frozen=True)
class Source:
    """An h5ad file, or a data set of the registry; nothing is looked up before it is asked for."""

    name: str
    """What was typed."""
    zoo: Zoo
    """The registry."""
    genes: str | None
    """Gene space of a data set of the registry; by default its organism's."""

    @property
    def file(self) -> Path | None:
        """Return the h5ad file, None where it is a data set."""
        return Path(self.name) if self.name.endswith(".h5ad") else None

    @property
    def dataset(self) -> Dataset | None:
        """Return the data set, None where it is a file; NotFoundError where the registry has none."""
        return None if self.file else self.zoo[self.name]

    @property
    def id(self) -> str:
        """Return what it is called in what is written."""
        return self.file.stem if self.file else self.zoo[self.name].id

    @property
    def digest(self) -> str:
        """Return what changes with the data: the sha256 of a file, or the digest of a card."""
        from cellzoo.converters.fetch import sha256_of

        if self.file:
            return sha256_of(self.file) if self.file.is_file() else ""
        return self.zoo[self.name].digest

    def open(self) -> CellData:
        """Return the data, those of a data set streamlined."""
        from cellzoo.converters.h5ad import open_h5ad

        return open_h5ad(self.file) if self.file else self.zoo[self.name].open(self.genes)


def sources(
    source: tuple[str, ...], wanted: dict[str, str], registry: tuple[str, ...], genes: str | None
) -> list[Source]:
    """Return each once the sources that are named and the verified data sets that match the filters."""
    if not source and not wanted:
        raise click.UsageError("name h5ad files or ids, or filter the registry, for example --tissue lung.")
    zoo = open_zoo(registry)
    found = list(zoo.datasets(status="verified", **wanted)) if wanted else []
    if not source and not found:
        raise NotFoundError("no verified data set matches every filter; `cellzoo datasets` shows what there is.")
    names = list(dict.fromkeys([*source, *found]))
    ids = Counter(Path(name).stem if name.endswith(".h5ad") else name for name in names)
    if twice := [name for name, times in ids.items() if times > 1]:
        files = " and ".join(one for one in names if Path(one).stem == twice[0])
        raise click.UsageError(f"{files} would both be called {twice[0]}; rename one of the files.")
    return [Source(name, zoo, genes) for name in names]
