"""Which files of a registry a check looks at: all of them, those that are named, or those that a branch changed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cellzoo.ci.sources import Sources
from cellzoo.errors import NotFoundError
from cellzoo.registry.cards import map_names
from cellzoo.registry.schema import DatasetCard
from cellzoo.registry.tree import ROOMS, root_in

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
    return Scope(tuple(sources.cards), tuple(sources.maps), strays(files, sources))


def named(paths: Iterable[Path], sources: Sources) -> Scope:
    """Return the cards, label maps and folders that are named: of a map the cards that use it, of a card its maps."""
    cards: list[Path] = []
    maps: list[Path] = []
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            files += (file for room in rooms(path) for file in sorted(room.rglob("*")))
        elif path.suffix == ".tsv":
            maps.append(path)
            cards += users(path, sources)
        else:
            cards.append(path)
    cards += (path for path in files if path.suffix == ".yaml")
    maps += (path for path in files if path.suffix == ".tsv")
    return Scope(tuple(dict.fromkeys(cards)), tuple(dict.fromkeys(maps)), strays(files, sources), everything=False)


def rooms(folder: Path) -> list[Path]:
    """Return the folders of cards in a folder: itself, or those of the registry in it; nothing else is ever touched."""
    absolute = folder.absolute()
    if absolute.name in ROOMS or absolute.parent.name == "models":
        return [folder]
    if (root := root_in(folder)) is None:
        raise NotFoundError(f"{folder}: holds no registry: no folder {', '.join(ROOMS)} with cards.")
    return [root / room for room in ROOMS if (root / room).is_dir()]


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
        elif path.suffix == ".yaml":
            name = f"{path.parent.name}/{path.stem}" if _is_model(path) else path.stem
            cards += [path] if path.is_file() else []
            cards += filter(_is_model, sources.mention([name]))
            maps += sorted(path.parent.glob(f"{path.stem}.*.tsv"))
    known = {path.resolve(): path for path in sources.cards}
    cards = [known.get(path.resolve(), path) for path in cards]
    return Scope(tuple(dict.fromkeys(cards)), tuple(dict.fromkeys(maps)), strays(inside, sources), everything=False)


def _is_model(path: Path) -> bool:
    return path.parent.parent.name == "models"


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


def strays(paths: Iterable[Path], sources: Sources) -> tuple[Path, ...]:
    """Return the files of a registry that are neither a card nor a label map, so that nothing ever reads them."""
    read = {_place(path) for path in (*sources.cards, *sources.maps)}
    files = (path for path in paths if path.is_file() or path.is_symlink())
    return tuple(
        path for path in files if not (path.name[0] == "." or path.name == "README.md" or _place(path) in read)
    )


def _place(path: Path) -> Path:
    """Return where a file lies, whatever its folder is called; a link is not followed."""
    return path.parent.resolve() / path.name


def _decides(path: Path, top: Path) -> bool:
    parts = path.relative_to(top).parts if path.is_relative_to(top) else ()
    return bool(parts) and parts[0] in CODE and (path.suffix == ".py" or "ontologies" in parts)
