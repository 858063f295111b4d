"""What one card says against another: the same data set twice, one study told in two ways, names that lead nowhere."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from cellzoo.ci.sources import Read, Sources
from cellzoo.errors import Finding
from cellzoo.registry.collection import CollectionCard
from cellzoo.registry.model_card import ModelCard
from cellzoo.registry.schema import DatasetCard, Location

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
    datasets = [read for read in others if isinstance(read.card, DatasetCard)]
    places = {read.path for read in looked}
    yield from (finding for finding in _same(datasets) if Path(finding.path) in places)
    yield from (finding for finding in _studies(datasets) if Path(finding.path) in places)
    yield from (finding for finding in _names(looked, others, sources))
    known = {path.stem for path in sources.cards if path.parent.name in {"datasets", "collections"}}
    aliases = {alias for read in datasets if isinstance(read.card, DatasetCard) for alias in read.card.aliases}
    models = {f"{path.parent.name}/{path.stem}" for path in sources.cards if path.parent.parent.name == "models"}
    for read in looked:
        if isinstance(read.card, ModelCard):
            yield from _references(read, read.card, known | aliases, models)


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


def _same(datasets: Iterable[Read]) -> Iterator[Finding]:
    found: dict[tuple[str, str, str], list[tuple[Read, Location]]] = defaultdict(list)
    for read in datasets:
        assert isinstance(read.card, DatasetCard)
        for key, place in readings(read.card).items():
            found[key].append((read, place))
    for several in found.values():
        for read, place in several:
            twin = next(
                (other for other, _ in several if other.card and read.card and other.card.id != read.card.id), None
            )
            if twin is not None and twin.card is not None and read.document is not None:
                message = f"the card {twin.card.id} reads the same matrix of the same file: this is the same data set."
                yield read.document.finding("DUP001", place, message, "Keep one of the cards.")


def _studies(datasets: Iterable[Read]) -> Iterator[Finding]:
    by_doi: dict[str, list[Read]] = defaultdict(list)
    for read in datasets:
        if isinstance(read.card, DatasetCard) and read.card.study.doi:
            by_doi[read.card.study.doi.lower()].append(read)
    for several in by_doi.values():
        for read in several:
            yield from _told_otherwise(read, several)


def _told_otherwise(read: Read, several: list[Read]) -> Iterator[Finding]:
    assert isinstance(read.card, DatasetCard) and read.document is not None
    for name in STUDY:
        own = getattr(read.card.study, name)
        for other in several:
            assert isinstance(other.card, DatasetCard)
            theirs = getattr(other.card.study, name)
            if own != theirs and None not in {own, theirs}:
                line, column = read.document.position(["study", name])
                message = f"study.{name} is {own!r}, and {theirs!r} in {other.card.id} with the same DOI."
                yield Finding(str(read.path), line, column, "DUP002", message, "Say it in one way.", "warning")
                break


def _names(looked: Iterable[Read], others: Iterable[Read], sources: Sources) -> Iterator[Finding]:
    claimed: dict[str, list[Path]] = defaultdict(list)
    for path in sources.cards:
        if path.parent.name in {"datasets", "collections"}:
            claimed[path.stem].append(path)
    for read in others:
        if isinstance(read.card, DatasetCard):
            for alias in read.card.aliases:
                claimed[alias].append(read.path)
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
                line, column = read.document.position(["aliases", at])
                message = f"the alias {alias!r} is also a name of {rivals[0]}."
                yield Finding(
                    str(read.path), line, column, "DUP004", message, "An alias leads to one data set.", "warning"
                )


def _references(read: Read, card: ModelCard, datasets: set[str], models: set[str]) -> Iterator[Finding]:
    assert read.document is not None
    own = {version.version for version in card.versions}
    for at, version in enumerate(card.versions):
        for i, name in enumerate(version.datasets):
            if name not in datasets:
                message = f"there is no data set {name!r} in the registry."
                yield read.document.finding("REF001", ["versions", at, "datasets", i], message, "Correct the id.")
        instead = version.superseded_by
        model, _, other = (instead or "").replace("@", " ").rpartition(" ")
        known = model in models if model else other in own - {version.version} or other in models - {card.id}
        if instead and not known:
            message = f"superseded_by: there is no other version or model {instead!r}."
            remedy = "Name a version of this model, or organization/name and a version."
            yield read.document.finding("REF001", ["versions", at, "superseded_by"], message, remedy)
