"""Which files of a registry a check looks at: all of them, those that are named, or those that a branch changed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cellzoo.ci.sources import Sources
from cellzoo.registry.cards import map_names
from cellzoo.registry.schema import DatasetCard

ROOMS = ("datasets", "collections", "models")
CODE = ("registry", "ci")
"""Folders of the house that decide what a check says; cards apart, a change in them touches every card."""


@dataclass(frozen=True)
class Scope:
    """What a check looks at."""

    cards: tuple[Path, ...]
    """Card files."""
    maps: tuple[Path, ...]
    """Label maps that may be used by no card."""
    strays: tuple[Path, ...] = ()
    """Files that no listing finds."""
    everything: bool = True
    """Whether this is all of the registry."""


def whole(sources: Sources) -> Scope:
    """Return all of some registries."""
    files = (path for root in sources.roots for room in ROOMS for path in sorted((root / room).rglob("*")))
    return Scope(tuple(sources.cards), tuple(sources.maps), tuple(path for path in files if is_stray(path, sources)))


def named(paths: Iterable[Path], sources: Sources) -> Scope:
    """Return the cards, label maps and folders that are named: of a map the cards that use it, of a card its maps."""
    cards: list[Path] = []
    maps: list[Path] = []
    for path in paths:
        if path.is_dir():
            cards += sorted(path.glob("**/*.yaml"))
            maps += sorted(path.glob("**/*.tsv"))
        elif path.suffix == ".tsv":
            maps.append(path)
            cards += users(path, sources)
        else:
            cards.append(path)
    return Scope(tuple(dict.fromkeys(cards)), tuple(dict.fromkeys(maps)), everything=False)


def changed(paths: Iterable[Path], sources: Sources, top: Path) -> Scope:
    """Return what changed files touch: cards, cards that use a changed map, models trained on a changed data set.

    A change of the schema, an ontology or the check itself touches everything.
    """
    paths = list(paths)
    roots = [root.resolve() for root in sources.roots]
    inside = [path for path in paths if any(path.is_relative_to(root) for root in roots)]
    if any(_decides(path, top) for path in paths if path not in inside):
        return whole(sources)
    cards: list[Path] = []
    maps: list[Path] = []
    for path in inside:
        if path.suffix == ".tsv":
            maps.append(path)
            cards += users(path, sources)
        elif path.suffix == ".yaml" and path.parent.parent.name != "models":
            cards += [path] if path.is_file() else []
            cards += [card for card in sources.mention([path.stem]) if card.parent.parent.name == "models"]
            maps += sorted(path.parent.glob(f"{path.stem}.*.tsv"))
        elif path.suffix == ".yaml":
            cards += [path] if path.is_file() else []
            name = f"{path.parent.name}/{path.stem}"
            cards += [card for card in sources.mention([name]) if card.parent.parent.name == "models"]
    strays = [path for path in inside if path.is_file() and is_stray(path, sources)]
    known = {path.resolve(): path for path in sources.cards}
    cards = [known.get(path.resolve(), path) for path in cards]
    return Scope(tuple(dict.fromkeys(cards)), tuple(dict.fromkeys(maps)), tuple(strays), everything=False)


def users(label_map: Path, sources: Sources) -> list[Path]:
    """Return the cards beside a label map that use it; one that cannot be read uses what it mentions, and its own."""
    own = label_map.with_name(f"{label_map.name.partition('.')[0]}.yaml")
    beside = sources.mention([label_map.name], sorted(label_map.parent.glob("*.yaml")))
    return [
        path for path in dict.fromkeys([*beside, *([own] if own.exists() else [])]) if _uses(path, label_map, sources)
    ]


def _uses(path: Path, label_map: Path, sources: Sources) -> bool:
    card = sources.card(path).card
    return label_map.name in map_names(card) if isinstance(card, DatasetCard) else card is None


def is_stray(path: Path, sources: Sources) -> bool:
    """Return whether a file of a registry is neither a card nor a label map, so that nothing ever reads it."""
    if path.is_dir() or path.name.startswith(".") or path.name == "README.md":
        return False
    roots = {root.resolve() for root in sources.roots}
    resolved = path.parent.resolve()
    if path.suffix == ".yaml":
        return not (
            (path.parent.name in {"datasets", "collections"} and resolved.parent in roots)
            or (path.parent.parent.name == "models" and resolved.parents[1] in roots)
        )
    return not (path.suffix == ".tsv" and path.parent.name == "datasets" and resolved.parent in roots)


def _decides(path: Path, top: Path) -> bool:
    parts = path.relative_to(top).parts if path.is_relative_to(top) else ()
    return bool(parts) and parts[0] in CODE and (path.suffix == ".py" or "ontologies" in parts)
