"""The check of a registry: what a careful curator would look for in every card, label map and model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cellzoo.ci import scope as scopes
from cellzoo.ci.across import check_across
from cellzoo.ci.cards import check_card
from cellzoo.ci.maps import check_rows
from cellzoo.ci.scope import Scope
from cellzoo.ci.sources import Sources
from cellzoo.errors import Finding
from cellzoo.registry.catalogue import Registry
from cellzoo.registry.model_card import ModelCard
from cellzoo.registry.tree import ROOMS, root_in


@dataclass(frozen=True)
class Question:
    """What is to be checked, and how deep."""

    paths: tuple[Path, ...] = ()
    """Cards, label maps and folders to look at; all of the registry where none are named."""
    base: str | None = None
    """Branch or commit: look at what changed since HEAD left it."""
    data: bool = False
    """Whether to read the files of the cards, as far as they are on this machine."""
    links: bool = False
    """Whether to ask the network for links and releases."""


def check_registry(registry: Registry, question: Question | None = None) -> list[Finding]:
    """Return every finding in the cards and label maps of a registry, sorted by place.

    Nothing is downloaded unless the question asks for links; nothing of a card is ever run.
    """
    question = question or Question()
    sources = Sources(dict.fromkeys((*registry.roots, *filter(None, map(_root, question.paths)))))
    scope, gone = _scope(question, sources)
    found = [finding for path in scope.cards for finding in check_card(path, sources)]
    found += [finding for path in scope.maps for finding in _map(path, sources)]
    found += [_stray(path) for path in scope.strays]
    looked = [sources.card(path) for path in scope.cards]
    found += check_across(looked, sources, scope.everything)
    if question.base is not None:
        from cellzoo.ci.releases import check_history

        models = [path for path in (*scope.cards, *gone) if path.parent.parent.name == "models"]
        found += check_history(registry.root, question.base, models)
    if question.data:
        from cellzoo.ci.data import check_data

        found += [finding for read in looked for finding in check_data(read, sources)]
    if question.links:
        from cellzoo.ci.links import check_links

        found += check_links(looked)
    if question.data or question.links:
        from cellzoo.ci.releases import check_release

        models_read = [read for read in looked if isinstance(read.card, ModelCard)]
        found += [finding for read in models_read for finding in check_release(read, question.links)]
    return sorted(set(found))


def _scope(question: Question, sources: Sources) -> tuple[Scope, Sequence[Path]]:
    """Return what is looked at, and the cards that are no longer there."""
    if question.base is not None:
        from cellzoo.registry.git import cards_of, changed_files

        root = sources.roots[0]
        paths = changed_files(root, question.base)
        gone = [path for path in paths if path.suffix == ".yaml" and not path.exists()]
        return scopes.changed(paths, sources, cards_of(root)[0]), gone
    if question.paths:
        return scopes.named(question.paths, sources), ()
    return scopes.whole(sources), ()


def _root(path: Path) -> Path | None:
    """Return the registry that a card, label map or folder lies in, or that a folder holds, if there is one."""
    folders = [path, *path.parents] if path.is_dir() else list(path.absolute().parents)
    around = next((folder.parent for folder in folders[:3] if folder.name in ROOMS), None)
    return around or (root_in(path) if path.is_dir() else None)


def _map(path: Path, sources: Sources) -> Iterator[Finding]:
    """Yield what is wrong with a label map whoever uses it; its terms are checked with the cards that do."""
    if not path.exists():
        return
    yield from check_rows(path, sources)
    if path.parent.name == "datasets" and not scopes.users(path, sources):
        remedy = "Remove it, or name it in a card."
        yield Finding(str(path), 0, 0, "MAP004", "no card uses this label map.", remedy, "warning")


def _stray(path: Path) -> Finding:
    remedy = "Cards are <folder>/<id>.yaml, label maps datasets/<id>.<field>.tsv."
    return Finding(str(path), 0, 0, "CARD009", "is neither a card nor a label map: nothing ever reads it.", remedy)


def top_of(path: Path) -> Path:
    """Return the repository that a path lies in, else the working directory: what reports name files from."""
    folders = [path.absolute(), *path.absolute().parents]
    return next((folder for folder in folders if (folder / ".git").exists()), Path.cwd())
