"""The cards in a commit, written out from Git's objects: plain files and nothing else.

Nothing is checked out, so that no hook, filter, submodule or link of a repository ever takes part.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cellzoo.errors import CellzooError, IntegrityError, NotFoundError

if TYPE_CHECKING:
    from git import Repo
    from git.objects import Tree

PLACES = ("", "cards", "registry/cards")
"""Where a repository may keep its cards."""
ROOMS = ("datasets", "collections", "models")
"""Folders of cards; nothing beside them is taken out of a repository."""
NO_CARDS = "it holds no folder datasets/ with cards, neither at its root nor in cards/ or registry/cards/."
DOORS = [(place, room) for rooms in (ROOMS[:2], ROOMS[2:]) for place in PLACES for room in rooms]  # models/ may be code
MAX_ENTRIES, MAX_BYTES, MAX_TOTAL = 100_000, 10_000_000, 500_000_000  # cards are pages of text, and there are thousands

_PLAIN, _TREE = (0o100644, 0o100755, 0o100664), 0o040000


def root_in(folder: Path) -> Path | None:
    """Return the folder inside a folder, or itself, that holds the cards; None where it holds none."""
    return next((folder / place for place, room in DOORS if (folder / place / room).is_dir()), None)


def written(repo: Repo, commit: str, store: Path, name: str) -> Path:
    """Return the folder with the cards of a commit of the repository ``name``, written once and whole."""
    if (target := store / commit).is_dir():
        return target
    temporary = Path(tempfile.mkdtemp(dir=store, prefix=".new-"))
    try:
        cards = cards_in(repo, commit, name)
        for place, data in _files(cards):
            path = temporary / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            path.chmod(0o444)  # these are the bytes of a commit; whoever wants others makes another
        temporary.chmod(0o755)
        return temporary.rename(target)
    except CellzooError:  # some of which are a ValueError as well
        raise
    except ValueError as error:  # by which GitPython refuses names that no tree should hold
        raise IntegrityError(f"{name}: commit {commit[:10]} is not safe to write out: {error}.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)  # nothing is left of it where it was renamed


def cards_in(repo: Repo, commit: str, name: str) -> Tree:
    """Return the tree of the cards in a commit; `NotFoundError` where it holds none."""
    root = repo.commit(commit).tree
    for place, room in DOORS:
        with suppress(KeyError):
            found = root / "/".join(part for part in (place, room) if part)
            if found.mode in _PLAIN:
                continue
            if found.mode != _TREE:
                raise IntegrityError(f"{name}: {found.path} is a link or a submodule, expected a folder of cards.")
            return root / place if place else root
    raise NotFoundError(f"{name}: is not a registry at commit {commit[:10]}: {NO_CARDS}")


def _files(cards: Tree) -> Iterator[tuple[str, bytes]]:
    """Yield path and bytes of each file of the cards; `IntegrityError` for what is not safe to write out."""
    entries = total = 0
    for top in (entry for entry in cards if entry.name in ROOMS):
        found: Any = top.traverse() if top.type == "tree" else [] if top.mode in _PLAIN else [top]
        for item in found:
            entries += 1
            name = str(item.path)[len(str(cards.path)) :].lstrip("/")
            problem = ""
            if item.mode not in (*_PLAIN, _TREE):
                problem = "is a link or a submodule; cards are plain files"
            elif any(not part.isprintable() or part in {"", ".", "..", ".git"} for part in name.split("/")):
                problem = "is no safe name of a file"
            elif any(sign in name for sign in "\\:"):
                problem = "is no safe name of a file on every system"
            elif entries > MAX_ENTRIES:
                problem = f"is one file too many; at most {MAX_ENTRIES} are taken"
            elif item.mode != _TREE and item.size > MAX_BYTES:
                problem = f"has {item.size} bytes; at most {MAX_BYTES} are taken"
            elif item.mode != _TREE and (total := total + item.size) > MAX_TOTAL:
                problem = f"brings the cards above {MAX_TOTAL} bytes"
            if problem:
                raise IntegrityError(f"{name!r}: {problem}. Nothing of this version was written.")
            if item.mode != _TREE:
                yield name, item.data_stream.read()
