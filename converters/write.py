"""Files are written to a temporary name and moved, so that nothing half-written is ever left."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cellzoo import settings
from cellzoo.errors import CellzooError, WorldError


@contextmanager
def partial_folder() -> Iterator[Path]:
    """Give the folder of the cache for what does not last; what the disk refuses inside is a `WorldError`."""
    folder = settings.home() / "partial"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
    except CellzooError:
        raise
    except OSError as error:
        raise WorldError(f"{folder}: cannot be written: {error.strerror or error}. Set CELLZOO_HOME.") from error


@contextmanager
def scratch() -> Iterator[Path]:
    """Give a folder in the cache that is removed afterwards; `WorldError` where it cannot be made."""
    with partial_folder() as folder:
        own = tempfile.TemporaryDirectory(dir=folder)
    with own as name:
        yield Path(name)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; move it there on success, remove it on failure.

    Raises `WorldError` where the folder cannot be made or written.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        as_usual(temporary)
        temporary.replace(path)
    except CellzooError:
        raise
    except OSError as error:
        raise WorldError(f"{path}: cannot be written: {error.strerror or error}. Choose another path.") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def as_usual(path: Path) -> None:
    """Give a file that was made for its owner alone the rights that a new file has."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)


def refuse_existing(path: Path) -> None:
    """Raise `WorldError` where there is something at ``path`` already; an empty folder is nothing."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise WorldError(f"{path}: is there already. Choose another path, or remove it first.")


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside ``path``; move it there on success, remove it on failure.

    Raises `WorldError` where there is something at ``path`` already, or it cannot be written.
    """
    refuse_existing(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as own:
            temporary = Path(own) / path.name
            temporary.mkdir()
            yield temporary
            temporary.replace(path)
    except CellzooError:
        raise
    except OSError as error:
        raise WorldError(f"{path}: cannot be written: {error.strerror or error}. Choose another path.") from error


def check_writable(path: Path) -> None:
    """Raise `WorldError` unless ``path`` can be written: before the work, not after it."""
    if path.is_dir():
        raise WorldError(f"{path}: is a folder. Give the path of a file.")
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise WorldError(f"{path}: cannot be written: {folder} is not a folder one may write to. Choose another path.")
