"""Cells published as a data set of the Hugging Face library `datasets`, on huggingface.co or a server of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cellzoo import settings
from cellzoo.errors import InputError
from cellzoo.hub.names import check_repo
from cellzoo.hub.remote import open_remote

if TYPE_CHECKING:
    from cellzoo.converters.celldata import CellData
    from cellzoo.converters.store.store import Store


def push_dataset(source: Store | CellData, repo: str, remote: str | None = None, *, title: str = "Cells") -> str:
    """Publish cells in one commit of the data set repo ``ORG/NAME`` and return the commit id.

    The repo is made where there is none; files that it had before are replaced. ``datasets.load_dataset(repo)`` reads
    it, from a server of one's own with ``HF_ENDPOINT`` set to it. On the way the files take room in ``CELLZOO_HOME``.
    """
    from cellzoo.converters.celldata import CellData
    from cellzoo.converters.store.huggingface import write_dataset
    from cellzoo.converters.write import scratch

    open_remote(remote or settings.remote())  # what can be refused is refused before the work
    check_repo(repo)
    data = source if isinstance(source, CellData) else source.celldata()
    with scratch() as own:
        folder = write_dataset(data, own / "data", title=title)
        return push_folder(folder, repo, remote, message=f"{title}, {data.n_obs:,} cells")


def push_folder(folder: Path, repo: str, remote: str | None = None, *, message: str = "Cells") -> str:
    """Publish a folder that `write_dataset` wrote, and return the commit id."""
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if not path.is_dir()}
    if strange := [name for name in files if not name.endswith((".parquet", "README.md")) or files[name].is_symlink()]:
        raise InputError(f"{folder}: {', '.join(strange)}: expected only Parquet files and README.md.")
    if "README.md" not in files:
        raise InputError(f"{folder}: no README.md; write the folder with `write_dataset`.")
    return open_remote(remote or settings.remote()).push_dataset(repo, files, message)
