"""The catalogue: which cards a registry holds, and which of them match a question in ontology terms."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from cellzoo import settings
from cellzoo.errors import CardError, Finding, InputError, NotFoundError
from cellzoo.registry.cards import LabelMap, card_digest, load_card, load_map, map_names
from cellzoo.registry.fields import ontology_of
from cellzoo.registry.ontology import load, nearest_of
from cellzoo.registry.schema import Cells, DatasetCard, TermField

PACKAGED = Path(__file__).parent / "cards"
TERM_FIELDS = tuple(name for name, info in Cells.model_fields.items() if info.annotation is TermField)


@dataclass(frozen=True)
class Registry:
    """A folder of cards: ``datasets/<id>.yaml`` with their label maps beside them."""

    root: Path
    """The folder."""
    problems: list[Finding] = field(default_factory=list)
    """What was found in cards that could not be read; one bad card never stops the others."""

    @cached_property
    def paths(self) -> dict[str, Path]:
        """Return dataset id -> card file, sorted by id."""
        return {path.stem: path for path in sorted((self.root / "datasets").glob("*.yaml"))}

    def card(self, dataset: str) -> DatasetCard:
        """Return one card; `NotFoundError` with the nearest ids, `CardError` with every finding."""
        return load_card(self.path(dataset))

    def path(self, dataset: str) -> Path:
        """Return the file of one card."""
        if dataset not in self.paths:
            raise NotFoundError(f"no data set {dataset!r} in {self.root}{nearest_of(dataset, self.paths)}")
        return self.paths[dataset]

    def digest(self, dataset: str) -> str:
        """Return the sha256 over a card and its label maps."""
        return card_digest(self.path(dataset))

    def maps(self, dataset: str) -> dict[str, LabelMap]:
        """Return field -> label map of one card."""
        folder = self.path(dataset).parent
        return {name: load_map(folder / file) for name, file in map_names(self.card(dataset)).items()}

    def cards(self) -> Iterator[DatasetCard]:
        """Yield every card that can be read; the findings of the others are added to `problems`."""
        for dataset in self.paths:
            try:
                yield self.card(dataset)
            except CardError as error:
                self._note(error)

    def terms(self, card: DatasetCard, name: str) -> frozenset[str]:
        """Return the term ids that a card can have in a field, from the card and its label map alone."""
        value: TermField = getattr(card.cells, name)
        if value.map is None:
            return frozenset({value.term or "unknown"})
        return frozenset(load_map(self.path(card.id).parent / value.map).terms.values())

    def find(self, **wanted: str) -> list[DatasetCard]:
        """Return the cards that match every ``field=term id or label``; a term stands for all its descendants."""
        targets = {name: _below(name, text) for name, text in wanted.items()}
        matches = []
        for card in self.cards():
            try:
                terms = {name: self.terms(card, name) for name in TERM_FIELDS}  # all: a broken label map is a problem
            except CardError as error:
                self._note(error)
                continue
            if all(terms[name] & below for name, below in targets.items()):
                matches.append(card)
        return matches

    def _note(self, error: CardError) -> None:
        self.problems.extend(finding for finding in error.findings if finding not in self.problems)


def _below(name: str, text: str) -> frozenset[str]:
    if name not in TERM_FIELDS:
        raise InputError(f"{name!r} is not a field to filter by; use one of {', '.join(TERM_FIELDS)}.")
    ontology = load(ontology_of(name, text))
    term = text if text in ontology else ontology.find(text)
    return frozenset(ontology.descendants(term, include_self=True))


def open_registry(where: str | Path | None = None) -> Registry:
    """Return the registry at ``where``: a folder, else ``CELLZOO_REGISTRY``, else the cards of the package."""
    chosen = str(where or settings.registry() or PACKAGED)
    if "://" in chosen or chosen.startswith("git@"):
        raise InputError(f"{chosen}: a registry is a folder for now; clone it and give the folder of its cards.")
    root = Path(chosen).expanduser()
    for candidate in (root, root / "cards", root / "registry" / "cards"):
        if (candidate / "datasets").is_dir():
            return Registry(candidate)
    raise NotFoundError(f"{root}: is not a registry: it has no folder datasets/ with cards.")
