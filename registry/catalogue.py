"""The catalogue: what a registry holds, and which of it answers a question in ontology terms.

A registry is one folder of cards, or several of which the first that has an id wins. What a listing needs is kept in an
index in the cache, a record for each card, made anew for those cards whose files changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from cellzoo import settings
from cellzoo.errors import CardError, Finding, InputError, NotFoundError
from cellzoo.registry.cards import Card, LabelMap, card_digest, load_card, load_map, map_names, parse_any
from cellzoo.registry.cells import TERM_FIELDS
from cellzoo.registry.document import read_yaml
from cellzoo.registry.fields import find_term, ontology_of
from cellzoo.registry.index import Record, records_of
from cellzoo.registry.model_card import ModelCard
from cellzoo.registry.ontology import load, nearest_of
from cellzoo.registry.schema import DatasetCard
from cellzoo.registry.source import parse, without_credentials
from cellzoo.registry.tree import ROOMS, root_in

PACKAGED = Path(__file__).parent / "cards"
FOLDERS = ROOMS[:2]
"""Folders whose cards are listed as data sets."""


def card_files(root: Path, rooms: Iterable[str] = ROOMS) -> list[Path]:
    """Return the card files in the folders of a registry, folder by folder: nothing else is ever read as a card."""
    patterns = [f"{room}/*/*.yaml" if room == "models" else f"{room}/*.yaml" for room in rooms]
    return [path for pattern in patterns for path in sorted(root.glob(pattern))]


@dataclass(frozen=True)
class Registry:
    """Folders of cards: ``datasets/<id>.yaml`` with their label maps beside them, ``collections/``, ``models/``."""

    roots: tuple[Path, ...]
    """The folders; where two hold the same id, the first wins."""
    names: tuple[str, ...] = ()
    """What each folder was opened as: a path, ``packaged``, or URL@commit."""
    said: tuple[str, ...] = ()
    """What the user should know of the opening, for example that a branch could not be refreshed."""
    problems: list[Finding] = field(default_factory=list)
    """What was found in cards that could not be read; one bad card never stops the others."""

    @property
    def root(self) -> Path:
        """Return the first folder: where new cards go."""
        return self.roots[0]

    @cached_property
    def paths(self) -> dict[str, Path]:
        """Return dataset or collection id -> card file, sorted by id."""
        found: dict[str, Path] = {}
        for root in self.roots:
            for path in card_files(root, FOLDERS):
                found.setdefault(path.stem, path)
        return dict(sorted(found.items()))

    @cached_property
    def model_paths(self) -> dict[str, Path]:
        """Return model id -> model card, sorted by id."""
        found: dict[str, Path] = {}
        for root in self.roots:
            for path in card_files(root, ["models"]):
                found.setdefault(f"{path.parent.name}/{path.stem}", path)
        return dict(sorted(found.items()))

    @cached_property
    def shadowed(self) -> dict[str, list[Path]]:
        """Return the ids that several folders hold, each with those folders; the card of the first is used."""
        held = {
            name: [root for root in self.roots if any((root / folder / path.name).is_file() for folder in FOLDERS)]
            for name, path in self.paths.items()
        }
        return {name: roots for name, roots in held.items() if len(roots) > 1}

    def precedence(self) -> str:
        """Return which of several folders wins, in words; "" where there is one."""
        if len(self.roots) < 2:
            return ""
        numbers = [len(card_files(root, FOLDERS)) for root in self.roots]
        listed = (
            f"{at}. {name} ({number} cards)"
            for at, (name, number) in enumerate(zip(self.names, numbers, strict=True), 1)
        )
        said = f"Registries, the first that has an id wins: {', '.join(listed)}."
        if not self.shadowed:
            return f"{said} No id is in several."
        return f"{said} In several, the first is used: {', '.join(self.shadowed)}."

    def any_card(self, name: str) -> Card:
        """Return the card of a data set, a collection or a model."""
        path = self.model_paths[name] if name in self.model_paths else self.path(name)
        return parse_any(read_yaml(path))

    def model(self, name: str) -> ModelCard:
        """Return the card of a model; `NotFoundError` with the nearest ids."""
        if name not in self.model_paths:
            raise NotFoundError(f"no model {name!r} in {self}{nearest_of(name, self.model_paths)}")
        card = self.any_card(name)
        if not isinstance(card, ModelCard):
            raise InputError(f"{self.model_paths[name]}: is no model card.")
        return card

    def card(self, dataset: str) -> DatasetCard:
        """Return the card of a data set; `NotFoundError` with the nearest ids, `CardError` with every finding."""
        path = self.path(dataset)
        if path.parent.name == "collections":
            message = f"{dataset} is a collection, which is read by query, not a data set"
            raise InputError(f"{message}; `cellzoo show {dataset}` says where it is.")
        return load_card(path)

    def path(self, dataset: str) -> Path:
        """Return the file of one card."""
        if dataset in self.paths:
            return self.paths[dataset]
        for record in self.records():
            if dataset in record.aliases:
                return self.paths[record.id]
        raise NotFoundError(f"no data set {dataset!r} in {self}{nearest_of(dataset, self.paths)}")

    def __str__(self) -> str:
        return ", ".join(self.names or map(str, self.roots))

    def digest(self, dataset: str) -> str:
        """Return the sha256 over a card and its label maps."""
        return card_digest(self.path(dataset))

    def maps(self, dataset: str) -> dict[str, LabelMap]:
        """Return file name -> label map of one card."""
        folder = self.path(dataset).parent
        return {name: load_map(folder / name) for name in map_names(self.card(dataset))}

    def cards(self) -> Iterator[DatasetCard]:
        """Yield the card of every data set that can be read; the findings of the others are added to `problems`."""
        for dataset, path in self.paths.items():
            if path.parent.name != "datasets":
                continue
            try:
                yield self.card(dataset)
            except CardError as error:
                self._note(error.findings)

    @cached_property
    def _records(self) -> list[Record]:
        records, findings = records_of(self.paths)
        self._note(findings)
        return records

    def records(self) -> list[Record]:
        """Return what a listing shows of each readable card, sorted by id; findings of the others are `problems`."""
        return self._records

    def find(self, text: str = "", status: str = "", **wanted: str) -> list[Record]:
        """Return the records that match every word of a text and every ``field=term id or label``.

        A term stands for all its descendants. The text is looked for in ids, titles, authors, DOI and labels of terms.
        """
        targets = [(name, below(name, term)) for name, term in wanted.items()]
        words = text.casefold().split()
        return [
            record
            for record in self.records()
            if all(not below.isdisjoint(record.terms.get(name, ())) for name, below in targets)
            and all(word in record.text for word in words)
            and status in {"", record.status}
        ]

    def _note(self, findings: Iterable[Finding]) -> None:
        self.problems.extend(finding for finding in findings if finding not in self.problems)


def facets(records: Sequence[Record], name: str) -> dict[str, tuple[int, int]]:
    """Return term id -> number of data sets and of known cells, the most frequent first, of one field."""
    counted: dict[str, tuple[int, int]] = {}
    for record in records:
        for term in record.terms.get(name, ()):
            datasets, cells = counted.get(term, (0, 0))
            counted[term] = datasets + 1, cells + (record.cells or 0)
    return dict(sorted(counted.items(), key=lambda item: (-item[1][0], -item[1][1], item[0])))


def below(name: str, text: str) -> frozenset[str]:
    """Return the ids of a term of a field, given by its id or label, and of all its descendants."""
    if name not in TERM_FIELDS:
        raise InputError(f"{name!r} is not a field to filter by; use one of {', '.join(TERM_FIELDS)}.")
    if text in {"unknown", "na"}:
        return frozenset({text})
    term = text if ":" in text else find_term(name, text)  # an id that there is not is said as such
    return frozenset(load(ontology_of(name, term)).descendants(term, include_self=True))


def open_registry(where: str | Path | Sequence[str | Path] | None = None) -> Registry:
    """Return the registry at ``where``: folders, ``URL@ref`` of Git, or ``packaged``; the first that has an id wins.

    By default what ``CELLZOO_REGISTRY`` lists, separated by commas, else the cards of the package.
    """
    if not where:
        where = [one.strip() for one in settings.registry().split(",") if one.strip()] or "packaged"
    chosen = [where] if isinstance(where, str | Path) else list(where)
    opened = [_opened(str(one)) for one in chosen]
    roots, names, said = zip(*opened, strict=True)
    return Registry(roots, names, tuple(line for lines in said for line in lines))


def _opened(where: str) -> tuple[Path, str, list[str]]:
    """Return the folder of cards that ``where`` names, its name with the commit, and what the user should know."""
    if where == "packaged":
        return PACKAGED, where, []
    root = Path(where).expanduser()
    if not root.exists() and parse(where) is not None:
        from cellzoo.registry.git import checkout

        made = checkout(where)
        return made.folder, f"{without_credentials(made.url)}@{made.commit}", list(made.said)
    if (cards := root_in(root)) is not None:
        return cards, str(cards), []
    raise NotFoundError(f"{root}: is not a registry: it has no folder datasets/ with cards.")
