"""What one card says against another: the same data set twice, one study told in two ways, names that lead nowhere."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from pathlib import Path

from cellzoo.ci.sources import Read, Sources
from cellzoo.errors import Finding
from cellzoo.registry.catalogue import FOLDERS
from cellzoo.registry.collection import CollectionCard
from cellzoo.registry.document import Document
from cellzoo.registry.model_card import ModelCard
from cellzoo.registry.schema import DatasetCard, Location

Dataset = tuple[Document, DatasetCard]
STUDY = ("authors", "year", "preprint")
"""What two cards with one DOI must say in the same way."""


def check_across(looked: Sequence[Read], sources: Sources, everything: bool) -> Iterator[Finding]:
    """Yield findings in the cards that are looked at, from comparing them with all others of the registries.

    Unless everything is looked at, other cards are read only where they name a digest, DOI or id of these.
    """
    paths = sources.cards
    if not everything:
        needles = {word for read in looked for word in _needles(read)}
        paths = sources.mention(needles)
    others = [sources.card(path) for path in dict.fromkeys([*paths, *(read.path for read in looked)])]
    datasets = [(read.document, read.card) for read in others if read.document and isinstance(read.card, DatasetCard)]
    places = {read.path for read in looked}
    yield from (finding for finding in _same(datasets) if Path(finding.path) in places)
    yield from (finding for finding in _studies(datasets) if Path(finding.path) in places)
    yield from _names(looked, datasets, sources)
    known = {path.stem for path in sources.cards if path.parent.name in FOLDERS}
    aliases = {alias for _, card in datasets for alias in card.aliases}
    models = {f"{path.parent.name}/{path.stem}" for path in sources.cards if path.parent.parent.name == "models"}
    for read in looked:
        if read.document and isinstance(read.card, ModelCard):
            yield from _references(read.document, read.card, known | aliases, models)


def readings(card: DatasetCard) -> dict[tuple[str, str, str], Location]:
    """Return what identifies the cells of each matrix that a card reads (bytes, object, which cells) -> its place."""
    found: dict[tuple[str, str, str], Location] = {}
    parts: list[tuple[Location, DatasetCard]] = [
        (("samples", at), card.of_sample(sample)) for at, sample in enumerate(card.samples)
    ]
    parts = parts or [((), card)]
    files = {file.name: file for file in card.files}
    for place, part in parts:
        if part.read is None or (file := files.get(part.read.matrix.file)) is None or not (file.sha256 or file.url):
            continue
        keep = part.read.keep.model_dump_json() if part.read.keep else ""
        key = str(file.sha256 or file.url), part.read.matrix.object or "", keep
        found.setdefault(key, place or ("files", card.files.index(file)))
    return found


def _needles(read: Read) -> Iterator[str]:
    card = read.card
    if isinstance(card, DatasetCard):
        yield from (word for file in card.files for word in (file.sha256, file.url) if word)
        yield from (card.id, *card.aliases, *([card.study.doi] if card.study.doi else []))
    elif isinstance(card, ModelCard):
        yield from (name for version in card.versions for name in version.datasets)


def _same(datasets: Iterable[Dataset]) -> Iterator[Finding]:
    found: dict[tuple[str, str, str], list[tuple[Document, str, Location]]] = defaultdict(list)
    for document, card in datasets:
        for key, place in readings(card).items():
            found[key].append((document, card.id, place))
    for several in found.values():
        for document, name, place in several:
            if twin := next((other for _, other, _ in several if other != name), None):
                message = f"the card {twin} reads the same matrix of the same file: this is the same data set."
                yield document.finding("DUP001", place, message, "Keep one of the cards.")


def _studies(datasets: Iterable[Dataset]) -> Iterator[Finding]:
    by_doi: dict[str, list[Dataset]] = defaultdict(list)
    for document, card in datasets:
        if card.study.doi:
            by_doi[card.study.doi.lower()].append((document, card))
    for several in by_doi.values():
        for (document, card), name in product(several, STUDY):
            own = getattr(card.study, name)
            said = [(theirs, other.id) for _, other in several if (theirs := getattr(other.study, name)) != own]
            if (other := next((one for one in said if None not in {own, one[0]}), None)) is not None:
                message = f"study.{name} is {own!r}, and {other[0]!r} in {other[1]} with the same DOI."
                yield document.finding("DUP002", ["study", name], message, "Say it in one way.", "warning")


def _names(looked: Iterable[Read], datasets: Iterable[Dataset], sources: Sources) -> Iterator[Finding]:
    claimed: dict[str, list[Path]] = defaultdict(list)
    for path in sources.cards:
        if path.parent.name in FOLDERS:
            claimed[path.stem].append(path)
    for document, card in datasets:
        for alias in card.aliases:
            claimed[alias].append(document.path)
    for read in looked:
        if read.document is None or not isinstance(read.card, DatasetCard | CollectionCard):
            continue
        room = read.path.parent
        for other in claimed[read.card.id]:
            if other.name == read.path.name and other.parent != room and other.parent.parent == room.parent:
                message = f"the id {read.card.id!r} is also that of {other.parent.name}/{other.name}."
                yield read.document.finding("DUP003", ["id"], message, "Rename one of them.")
        for at, alias in enumerate(getattr(read.card, "aliases", ())):
            if rivals := [path.stem for path in claimed[alias] if path.stem != read.path.stem]:
                message = f"the alias {alias!r} is also a name of {rivals[0]}."
                remedy = "An alias leads to one data set."
                yield read.document.finding("DUP004", ["aliases", at], message, remedy, "warning")


def _references(document: Document, card: ModelCard, datasets: set[str], models: set[str]) -> Iterator[Finding]:
    own = {version.version for version in card.versions}
    for at, version in enumerate(card.versions):
        for i, name in enumerate(version.datasets):
            if name not in datasets:
                message = f"there is no data set {name!r} in the registry."
                yield document.finding("REF001", ["versions", at, "datasets", i], message, "Correct the id.")
        instead = version.superseded_by
        model, _, other = (instead or "").replace("@", " ").rpartition(" ")
        known = model in models if model else other in own - {version.version} or other in models - {card.id}
        if instead and not known:
            message = f"superseded_by: there is no other version or model {instead!r}."
            remedy = "Name a version of this model, or organization/name and a version."
            yield document.finding("REF001", ["versions", at, "superseded_by"], message, remedy)
