"""From a run folder to a release, and from a model id back to a model that was verified file by file."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cellzoo import settings
from cellzoo.errors import InputError, MissingExtraError
from cellzoo.hub.names import ModelName, parse, release_tag
from cellzoo.hub.remote import open_remote

if TYPE_CHECKING:
    import anndata

    from cellzoo.models.model import Model

COMMON_NAMES = {"NCBITaxon:9606": "human", "NCBITaxon:10090": "mouse"}
"""Organism -> the word for it in a model's name."""


@dataclass(frozen=True)
class Release:
    """What a push made."""

    id: str
    """Model id, ``<organization>/<task>-<topology>-<version>_<organism>-<organ>_<training data>``."""
    commit: str
    """40-hex commit."""
    tag: str
    """Immutable tag ``vX.Y.Z``."""


def push(run: Path, organization: str, release: str, remote: str | None = None) -> Release:
    """Publish the release in a run folder under an organization as version ``release`` and return what was made.

    The artifact is verified first, smoke test included. One commit, then the tag on it.
    """
    from cellzoo.hub.readme import readme

    folder = run / "release"
    if not folder.is_dir():
        raise InputError(f"{run}: holds no release; make one with `cellzoo train RECIPE.yaml -o {run}`.")
    tag = release_tag(release)
    model = _read(folder, smoke=True)
    name = ModelName(
        organization=organization,
        task=model.topology.task,
        topology=model.topology.name,
        topology_version=model.topology.version,
        organism=COMMON_NAMES[model.space.organism],
        organ=str(model.about["organ"]),
        training_data=str(model.about["training_data"]),
    )
    with tempfile.TemporaryDirectory(prefix="cellzoo-") as scratch:
        staged = Path(scratch) / "release"
        shutil.copytree(folder, staged)
        metrics = json.loads((folder / "metrics.json").read_text())
        (staged / "README.md").write_text(readme(model, name, tag, metrics, folder))
        commit = open_remote(remote or settings.remote()).push(str(name), staged, f"Release {tag}", tag)
    return Release(str(name), commit, tag)


def from_pretrained(
    model: str | Path, revision: str | None = None, remote: str | None = None, smoke: bool = False
) -> Model:
    """Return a published model, or the one in a folder, after everything about it was verified.

    ``model`` is a model id (``organization/name``, an ``@revision`` may follow) or a folder with a release; without a
    revision it is the newest release. ``smoke`` also runs the model on the cells it was released with. Raises
    `IntegrityError` that says which file is not what it should be, `NotFoundError`, `WorldError`.
    """
    text = str(model)
    if isinstance(model, Path) or Path(text).expanduser().is_dir():
        folder = Path(text).expanduser()
        return _read(folder / "release" if (folder / "release").is_dir() else folder, smoke)
    repo, _, wanted = text.partition("@")
    try:
        repo = str(parse(repo))
    except InputError as error:
        raise InputError(f"{error}. There is no folder {text} either.") from error
    if revision and wanted and revision != wanted:
        raise InputError(f"{text}: and revision={revision!r}: give one revision.")
    place = open_remote(remote or settings.remote(), to_read=True)
    pulled = place.pull(repo, revision or wanted or newest(place.tags(repo), repo))
    return _read(pulled.folder, smoke).named(repo, pulled.commit)


def newest(tags: dict[str, str], repo: str) -> str:
    """Return the newest release tag, oldest first in ``tags``; `InputError` where nothing was released."""
    releases = [tag for tag in tags if tag.startswith("v")]
    if not releases:
        raise InputError(f"{repo}: has no release; give a revision.")
    return releases[-1]


def _read(folder: Path, smoke: bool) -> Model:
    try:
        from cellzoo.models.artifact import read_artifact
    except ModuleNotFoundError as error:
        if error.name == "torch":
            raise MissingExtraError("a model", "models") from error
        raise
    return read_artifact(folder, smoke)


def annotate(
    source: str | Path | anndata.AnnData,
    model: str | Path | Model | None = None,
    *,
    tissue: str | None = None,
    remote: str | None = None,
    **options: Any,
) -> anndata.AnnData:
    """Return cells annotated by a model: an AnnData or the path of an h5ad, and a model or what names one.

    Without a model the registry's is taken that fits organism and tissue (`hub.choice`); ``uns["cellzoo"]`` says which.
    Other options are those of `Model.annotate`: threshold and layer.
    """
    from cellzoo.converters.h5ad import read_h5ad

    adata = read_h5ad(Path(source)) if isinstance(source, str | Path) else source
    if model is None:
        from cellzoo.hub.choice import choose_for
        from cellzoo.registry.catalogue import open_registry

        choice = choose_for(adata, open_registry(), tissue)
        model, remote = choice.pinned, remote or choice.remote
    predictor = from_pretrained(model, remote=remote) if isinstance(model, str | Path) else model
    return predictor.annotate(adata, **options)
