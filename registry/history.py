"""The history of a card: the commits that changed it or a label map it uses, and what each did to it."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cellzoo.errors import InputError, NotFoundError
from cellzoo.registry.changes import compare, used_maps
from cellzoo.registry.git import around, opened, run
from cellzoo.registry.tree import cards_in

if TYPE_CHECKING:
    from git import Repo


@dataclass(frozen=True)
class Revision:
    """One commit that changed a card or a label map it uses."""

    commit: str
    """40-hex commit."""
    date: str
    """When it was made, in ISO 8601."""
    author: str
    """Who wrote it."""
    subject: str
    """First line of the message."""
    changes: str
    """What it did to the card."""


def history(card: Path) -> list[Revision]:
    """Return the commits that changed a card or the label maps it uses now, the newest first.

    Raises `NotFoundError` for a card that is in no Git repository, as the packaged ones of an installed cellzoo are.
    """
    where, start = around(card.parent)
    try:
        with opened(where) as repo:
            paths = _paths(repo, where, card.resolve(), start)
            head = start or "HEAD"
            if paths and run(repo, "rev-list", "--max-count=1", head, "--", paths[0]):
                return _described(repo, run(repo, "rev-list", head, "--", *paths).split(), paths)
    except InputError:
        pass
    raise NotFoundError(
        f"{card}: is not kept in Git here, so its history is not known. Open the registry by its URL, for example "
        "--registry https://host/org/zoo.git@main."
    )


def _paths(repo: Repo, where: Path, card: Path, start: str | None) -> list[str]:
    """Return the paths in the repository of a card and its label maps; none for a card outside its working tree."""
    top = (
        next(parent for parent in card.parents if parent.name == start) if start else Path(repo.working_tree_dir or "")
    )
    if not card.is_relative_to(top.resolve()):
        return []
    place = str(cards_in(repo, start, str(where)).path) if start else ""
    folder = Path(place) / card.parent.relative_to(top.resolve())
    return [(folder / name).as_posix() for name in (card.name, *used_maps(card))]


def _described(repo: Repo, commits: list[str], paths: list[str]) -> list[Revision]:
    revisions = []
    above = Path(paths[0]).parts[:-1]
    folder = Path(*above[-2:] if above[-2:-1] == ("models",) else above[-1:])
    with tempfile.TemporaryDirectory() as temporary:
        states = [_state(repo, commit, paths, Path(temporary) / commit, folder) for commit in commits]
        for commit, new, old in zip(commits, states, [*states[1:], Path(temporary) / "before"], strict=True):
            made = repo.commit(commit)
            found = compare(old, new)
            text = ", ".join(one.what() for one in found.all()) or "spelling only"
            revisions.append(
                Revision(commit, made.authored_datetime.isoformat(), str(made.author.name), str(made.summary), text)
            )
    return revisions


def _state(repo: Repo, commit: str, paths: list[str], root: Path, folder: Path) -> Path:
    """Write the files of a commit, where it holds them, into a folder of a registry at ``root``; return the root."""
    (root / folder).mkdir(parents=True)
    tree = repo.commit(commit).tree
    for path in paths:
        try:
            blob = tree / path
        except KeyError:
            continue
        if blob.type == "blob":
            (root / folder / Path(path).name).write_bytes(blob.data_stream.read())
    return root
