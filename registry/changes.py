"""What is different between two versions of a registry, in terms of data sets and models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from cellzoo.errors import CardError, Finding
from cellzoo.registry.document import read_yaml

Kind = Literal["added", "removed", "changed"]
SIGNS = {"added": "+", "removed": "-", "changed": "~"}
WORDS = ("added", "removed", "changed", "yanked", "deprecated")
ABOUT_STATUS = {"status", "reason", "superseded_by"}
"""What the card of a model may change about a version that is out."""


@dataclass(frozen=True)
class MapChange:
    """What is different in a label map."""

    file: str
    """Name of the TSV file."""
    added: tuple[str, ...]
    """Source labels of new rows."""
    removed: tuple[str, ...]
    """Source labels of rows that are gone."""
    changed: tuple[str, ...]
    """Source labels that are mapped otherwise."""

    def __str__(self) -> str:
        rows = (("+", self.added), ("-", self.removed), ("~", self.changed))
        counts = " ".join(f"{sign}{len(labels)}" for sign, labels in rows if labels)
        return f"{self.file}: {counts} row{'s' if sum(len(labels) for _, labels in rows) > 1 else ''}"


@dataclass(frozen=True)
class CardChange:
    """What is different in the card of a data set or a collection, and in the label maps it uses."""

    id: str
    """Data set or collection."""
    kind: Kind
    """Whether the card is new, gone or another."""
    keys: tuple[str, ...] = ()
    """Top-level keys of the card that say something else."""
    status: tuple[str, str] | None = None
    """Status before and after, where it changed."""
    maps: tuple[MapChange, ...] = ()
    """Label maps that say something else."""
    readable: bool = True
    """Whether both versions of the card could be read."""

    def what(self) -> str:
        """Return what is different, without the id."""
        parts = [", ".join(key for key in self.keys if key != "status")]
        parts += [f"status {self.status[0]} -> {self.status[1]}"] if self.status else []
        parts += [*map(str, self.maps), *([] if self.readable else ["cannot be read"])]
        return "; ".join(part for part in parts if part) or self.kind

    def __str__(self) -> str:
        return f"{SIGNS[self.kind]} {self.id}" + (f": {self.what()}" if self.what() != self.kind else "")


@dataclass(frozen=True)
class ModelChange:
    """What is different in the card of a model."""

    id: str
    """``organization/name``."""
    kind: Kind
    """Whether the card is new, gone or another."""
    keys: tuple[str, ...] = ()
    """Top-level keys of the card that say something else, ``versions`` aside."""
    added: tuple[str, ...] = ()
    """New versions."""
    removed: tuple[str, ...] = ()
    """Versions that are gone, which a registry should not do."""
    changed: tuple[str, ...] = ()
    """Versions that pin something else, which a registry should not do."""
    yanked: tuple[str, ...] = ()
    """Versions that must no longer be used."""
    deprecated: tuple[str, ...] = ()
    """Versions that something better replaces."""
    readable: bool = True
    """Whether both versions of the card could be read."""

    def what(self) -> str:
        """Return what is different, without the id."""
        words = [(word, getattr(self, word)) for word in WORDS]
        parts = [", ".join(self.keys), *(f"{', '.join(versions)} {word}" for word, versions in words if versions)]
        parts += [] if self.readable else ["cannot be read"]
        return "; ".join(part for part in parts if part) or self.kind

    def __str__(self) -> str:
        return f"{SIGNS[self.kind]} {self.id}" + (f": {self.what()}" if self.what() != self.kind else "")


@dataclass(frozen=True)
class Changes:
    """All that is different between two versions of a registry."""

    cards: tuple[CardChange, ...]
    """Data sets and collections, sorted by id."""
    models: tuple[ModelChange, ...]
    """Models, sorted by id."""
    problems: list[Finding] = field(default_factory=list)
    """What was found in cards that could not be read."""

    def all(self) -> tuple[CardChange | ModelChange, ...]:
        """Return the changes of cards, then those of models."""
        return (*self.cards, *self.models)

    def summary(self) -> str:
        """Return one line: ``+3 cards, 1 label map changed, 1 yanked``."""
        cards = Counter[str](card.kind for card in self.cards if card.kind != "changed" or card.keys)
        models = Counter[str](model.kind for model in self.models if model.kind != "changed" or model.keys)
        versions = Counter({word: sum(len(getattr(model, word)) for model in self.models) for word in WORDS})
        now = Counter(card.status[1] for card in self.cards if card.status)
        counts = [
            *_signed(cards, "card"),
            ("", len({one.file for card in self.cards for one in card.maps}), " label map", " changed"),
            *(("", number, "", f" now {status}") for status, number in sorted(now.items())),
            *_signed(models, "model"),
            *_signed(versions, "model version"),
            ("", versions["yanked"], "", " yanked"),
            ("", versions["deprecated"], "", " deprecated"),
            ("", sum(not one.readable for one in self.all()), " card", " that cannot be read"),
        ]
        said = [f"{sign}{n}{noun}{'s' if noun and n > 1 else ''}{rest}" for sign, n, noun, rest in counts if n]
        return ", ".join(said) or "no changes"

    def as_dict(self) -> dict[str, Any]:
        """Return the changes as plain JSON values."""
        found = asdict(self)
        found["problems"] = [finding.as_dict() for finding in self.problems]
        return {"summary": self.summary(), **found}


def _signed(kinds: Mapping[str, int], noun: str) -> list[tuple[str, int, str, str]]:
    table = (("+", "added", ""), ("-", "removed", ""), ("", "changed", " changed"))
    return [(sign, kinds.get(kind, 0), f" {noun}", rest) for sign, kind, rest in table]


def compare(old: Path, new: Path) -> Changes:
    """Return what is different between the cards in two folders; one that cannot be read never stops the others.

    The cards are compared as they are written, not as one version of the schema reads them, so that versions with
    different schemas compare too. Comments, spelling and the order of keys are no changes.
    """
    problems: list[Finding] = []
    maps = _map_changes(old, new)
    cards = [_card(pair, maps, problems) for pair in _pairs(old, new, "datasets/*.yaml", "collections/*.yaml")]
    models = [_model(pair, problems) for pair in _pairs(old, new, "models/*/*.yaml")]
    return Changes(tuple(one for one in cards if one), tuple(one for one in models if one), problems)


@dataclass(frozen=True)
class _Pair:
    """The two versions of one file."""

    name: str
    """Path below the folder of the registry."""
    old: Path | None
    """None where it is new."""
    new: Path | None
    """None where it is gone."""

    @property
    def kind(self) -> Kind:
        """Return what happened to the file."""
        return "added" if self.old is None else "removed" if self.new is None else "changed"

    @property
    def same(self) -> bool:
        """Return whether the bytes are the same."""
        return self.kind == "changed" and len({path.read_bytes() for path in (self.old, self.new) if path}) == 1

    def raw(self, problems: list[Finding]) -> list[Mapping[str, Any]]:
        """Return what the two versions say; fewer than two where one cannot be read, which is added to the problems."""
        read: list[Mapping[str, Any]] = []
        for path in (self.old, self.new):
            try:
                read += [read_yaml(path).data] if path else [{}]
            except CardError as error:
                problems += error.findings
        return read


def _pairs(old: Path, new: Path, *patterns: str) -> list[_Pair]:
    found = [
        {path.relative_to(root).as_posix(): path for pattern in patterns for path in root.glob(pattern)}
        for root in (old, new)
    ]
    return [_Pair(name, found[0].get(name), found[1].get(name)) for name in sorted({*found[0], *found[1]})]


def _card(pair: _Pair, maps: Mapping[str, MapChange], problems: list[Finding]) -> CardChange | None:
    name = Path(pair.name).stem
    if pair.kind != "changed":
        return CardChange(name, pair.kind)
    text = b"".join(path.read_bytes() for path in (pair.old, pair.new) if path)
    near = [change for file, change in maps.items() if Path(file).name.encode() in text]
    if pair.same and not near:
        return None
    raw = pair.raw(problems)
    used = {file for data in raw for file in _maps_in(data)}
    changed = tuple(change for change in near if change.file in used)
    if len(raw) < 2:
        return None if pair.same else CardChange(name, "changed", maps=changed, readable=False)
    old, new = raw
    status = (str(old.get("status")), str(new.get("status")))
    keys = tuple(key for key in _different(old, new) if key != "status")
    if not keys and not changed and status[0] == status[1]:
        return None
    return CardChange(name, "changed", keys, status if status[0] != status[1] else None, changed)


def _model(pair: _Pair, problems: list[Finding]) -> ModelChange | None:
    name = pair.name.removeprefix("models/").removesuffix(".yaml")
    if pair.kind != "changed":
        return ModelChange(name, pair.kind)
    if pair.same:
        return None
    raw = pair.raw(problems)
    if len(raw) < 2:
        return ModelChange(name, "changed", readable=False)
    old, new = (_versions(data) for data in raw)
    both = [version for version in new if version in old]
    turned = {version: str(new[version].get("status")) for version in both}
    turned = {version: status for version, status in turned.items() if status != str(old[version].get("status"))}
    change = ModelChange(
        name,
        "changed",
        keys=tuple(key for key in _different(*raw) if key != "versions"),
        added=tuple(version for version in new if version not in old),
        removed=tuple(version for version in old if version not in new),
        changed=tuple(version for version in both if set(_different(old[version], new[version])) - ABOUT_STATUS),
        yanked=tuple(version for version, status in turned.items() if status == "yanked"),
        deprecated=tuple(version for version, status in turned.items() if status == "deprecated"),
    )
    return change if change.what() != change.kind else None


def _versions(data: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    listed = data.get("versions")
    versions = [one for one in listed if isinstance(one, Mapping)] if isinstance(listed, list) else []
    return {str(one.get("version")): one for one in versions}


def _different(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    return [str(key) for key in {**old, **new} if (key in old, old.get(key)) != (key in new, new.get(key))]


def _map_changes(old: Path, new: Path) -> dict[str, MapChange]:
    """Return path -> change for each label map whose rows differ."""
    changes = {}
    for pair in _pairs(old, new, "*/*.tsv"):
        if pair.same:
            continue
        before, after = _rows(pair.old), _rows(pair.new)
        added, removed = ([row for row in one if row not in other] for one, other in [(after, before), (before, after)])
        changed = [row for row in after if row in before and after[row] != before[row]]
        if added or removed or changed:
            change = MapChange(Path(pair.name).name, tuple(added), tuple(removed), tuple(changed))
            changes[pair.name] = change
    return changes


def _rows(path: Path | None) -> dict[str, str]:
    text = path.read_bytes().decode("utf-8", "replace") if path else ""
    lines = (line.rstrip("\r") for line in text.split("\n")[1:])
    return {source: rest for source, _, rest in (line.partition("\t") for line in lines if line)}


def used_maps(card: Path) -> list[str]:
    """Return the file names of the label maps that a card names, sorted; none where it cannot be read."""
    try:
        return sorted(set(_maps_in(read_yaml(card).data)))
    except CardError:
        return []


def _maps_in(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        name = value.get("map")
        if isinstance(name, str) and name == Path(name).name:
            yield name
    for one in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        yield from _maps_in(one)
