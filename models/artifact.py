"""The files of a release: written together, read back only when every one of them is what it should be.

model.safetensors, config.json (which pins every other file by sha256), genes.parquet, labels.json, data.lock.yaml,
metrics.json and smoke.safetensors (a few cells and what the model said of them). No pickle is ever opened.
"""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from pydantic import Field, StringConstraints, ValidationError
from ruamel.yaml import YAML
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save_file

from cellzoo import __version__
from cellzoo.converters.fetch import sha256_of
from cellzoo.converters.write import as_usual
from cellzoo.errors import IntegrityError, NotFoundError
from cellzoo.models.data import short_digest
from cellzoo.models.files import CONFIG, GENES, LABELS, LOCK, METRICS, PINNED, SMOKE, WEIGHTS, refuse_code
from cellzoo.models.labels import LabelSpace
from cellzoo.models.model import Model
from cellzoo.models.topology import Task, topology
from cellzoo.registry.genes import GeneSpace, gene_space
from cellzoo.registry.parts import Sha256, Strict

SMOKE_CELLS = 16
TOLERANCE = 1e-4  # between machines; on one machine predictions are bit-identical


class Config(Strict):
    """What ``config.json`` says: enough to build the network before a weight is read."""

    config_version: Literal[1]
    """Version of this file's schema."""
    task: Task
    """celltype or embedding."""
    topology: Annotated[str, StringConstraints(pattern=r"^[a-z]+-[0-9.]+$")]
    """Name and version, looked up in the closed registry of topologies."""
    hyperparameters: dict[str, Any]
    """Sizes and training settings, for the reader; sizes are checked against the topology."""
    organism: str
    """NCBITaxon term id."""
    organ: str
    """Organ, as in the model's name."""
    training_data: str
    """Training-data version: short digest of the data lock."""
    gene_space: str
    """Name of the gene space."""
    gene_space_sha256: Sha256
    """Digest of the ordered gene list."""
    label_space_sha256: Sha256 | None = None
    """Digest of the label space."""
    cellzoo_version: str
    """Version of cellzoo that trained the model."""
    files: Annotated[dict[str, Sha256], Field(min_length=1)]
    """File name -> sha256."""


def _save(tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Write tensors to a file that others may read as any other: safetensors makes one for its owner alone."""
    save_file(tensors, path, metadata={"format": "pt"})
    as_usual(path)


def write_artifact(model: Model, lock: dict[str, Any], metrics: dict[str, Any], cells: sp.csr_matrix, to: Path) -> None:
    """Write a release of ``model`` into the folder ``to``; ``cells`` are a few cells for the smoke test."""
    to.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.contiguous() for name, value in model.network.state_dict().items()}
    _save(tensors, to / WEIGHTS)
    genes = pd.DataFrame({"ensembl_id": model.space.ids, "symbol": model.space.symbols, "learned": model.learned})
    genes.to_parquet(to / GENES, index=False)
    (to / METRICS).write_text(json.dumps(metrics, indent=1, sort_keys=True) + "\n")
    with (to / LOCK).open("w") as stream:
        YAML(typ="safe").dump(lock, stream)
    if model.labels is not None:
        (to / LABELS).write_text(json.dumps(model.labels.as_dict(), indent=1) + "\n")
    smoke = cells[:SMOKE_CELLS]
    _save(
        {
            "indptr": torch.from_numpy(smoke.indptr.astype(np.int64)),
            "indices": torch.from_numpy(smoke.indices.astype(np.int64)),
            "counts": torch.from_numpy(smoke.data.astype(np.float32)),
            "expected": torch.from_numpy(_outputs(model, smoke)),
        },
        to / SMOKE,
    )
    config = Config(
        config_version=1,
        task=model.topology.task,
        topology=str(model.topology),
        hyperparameters={"units": list(model.topology.units), **model.about.get("training", {})},
        organism=model.space.organism,
        organ=model.about["organ"],
        training_data=f"zoo-{short_digest(lock)}",
        gene_space=model.space.name,
        gene_space_sha256=model.space.sha256,
        label_space_sha256=model.labels.sha256 if model.labels else None,
        cellzoo_version=__version__,
        files={name: sha256_of(to / name) for name in PINNED if (to / name).is_file()},
    )
    (to / CONFIG).write_text(json.dumps(config.model_dump(mode="json"), indent=1) + "\n")


def read_artifact(folder: Path, smoke: bool = False) -> Model:
    """Return the model in a folder, after every file of it was verified.

    Checked in this order, before anything is built: no file that could run code lies there; config.json; the sha256 of
    every file; the gene list against the gene space; the label space; names, shapes and types of every weight. With
    ``smoke`` the model must also say of the smoke cells what it said when it was released. Raises `IntegrityError`.
    """
    refuse_code(str(folder), (path.relative_to(folder).as_posix() for path in folder.rglob("*")))
    config = _config(folder / CONFIG)
    content = {name: _verified(folder / name, pinned) for name, pinned in config.files.items()}
    expected = set(PINNED) - (set() if config.task == "celltype" else {LABELS})
    if set(content) != expected:
        raise IntegrityError(f"{folder / CONFIG}: pins {sorted(content)}, expected {sorted(expected)}.")
    space, learned = _genes(content[GENES], config, folder)
    labels = _labels(content[LABELS], config, folder) if config.task == "celltype" else None
    try:
        architecture = topology(config.task, config.topology)
    except NotFoundError as error:
        raise IntegrityError(f"{folder / CONFIG}: {error}") from error
    network = architecture.build(len(space), len(labels) if labels else 0)
    network.load_state_dict(_weights(folder / WEIGHTS, content[WEIGHTS], network.state_dict()), strict=True)
    network.eval().requires_grad_(False)
    model = Model(
        topology=architecture,
        network=network,
        space=space,
        labels=labels,
        about={"organ": config.organ, "training_data": config.training_data, "trained_with": config.cellzoo_version},
    )
    if not np.array_equal(model.learned, learned):
        raise IntegrityError(f"{folder / GENES}: column 'learned' disagrees with the weights in {WEIGHTS}.")
    if smoke:
        _smoke(model, content[SMOKE], folder / SMOKE)
    return model


def _config(path: Path) -> Config:
    if not path.is_file():
        raise IntegrityError(f"{path.parent}: is not a cellzoo model: it has no {CONFIG}.")
    try:
        return Config.model_validate_json(path.read_bytes())
    except ValidationError as error:
        found = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise IntegrityError(f"{path}: is not the config of a cellzoo model: {found}") from error


def _verified(path: Path, pinned: str) -> bytes:
    """Return the bytes of a file, read once, so that what was verified is what is used."""
    if path.name not in PINNED or not path.is_file():
        raise IntegrityError(f"{path}: is pinned by {CONFIG} but is not there.")
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != pinned:
        raise IntegrityError(f"{path}: has sha256 {digest}, {CONFIG} pins {pinned}: it was changed or damaged.")
    return content


def _genes(content: bytes, config: Config, folder: Path) -> tuple[GeneSpace, np.ndarray]:
    where = folder / GENES
    table = pd.read_parquet(io.BytesIO(content))
    if list(table.columns) != ["ensembl_id", "symbol", "learned"]:
        raise IntegrityError(f"{where}: has the columns {list(table.columns)}, expected ensembl_id, symbol, learned.")
    ids, symbols = table["ensembl_id"].to_numpy(dtype=str), table["symbol"].to_numpy(dtype=str)
    space = GeneSpace(config.gene_space, config.organism, ids, symbols)
    if space.sha256 != config.gene_space_sha256:
        raise IntegrityError(
            f"{where}: a foreign gene list: its digest is {space.sha256}, {CONFIG} pins {config.gene_space_sha256}."
        )
    try:
        packaged = gene_space(config.gene_space)
    except NotFoundError:
        return space, table["learned"].to_numpy(dtype=bool)  # a space of another release: the list speaks for itself
    if packaged.sha256 != space.sha256:
        raise IntegrityError(
            f"{where}: a foreign gene list: it calls itself {space.name}, which has the digest {packaged.sha256}, "
            f"but has {space.sha256}."
        )
    return packaged, table["learned"].to_numpy(dtype=bool)


def _labels(content: bytes, config: Config, folder: Path) -> LabelSpace:
    where = folder / LABELS
    try:
        labels = LabelSpace.from_dict(json.loads(content))
        digest = labels.sha256
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise IntegrityError(f"{where}: is not a label space: {error!r}.") from error
    if digest != config.label_space_sha256:
        raise IntegrityError(f"{where}: its digest is {digest}, {CONFIG} pins {config.label_space_sha256}.")
    return labels


def _weights(path: Path, content: bytes, expected: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    try:
        found = load_tensors(content)
    except SafetensorError as error:
        raise IntegrityError(f"{path}: is not a safetensors file: {error}.") from error
    problems = [f"missing key {name!r}" for name in sorted(set(expected) - set(found))]
    problems += [f"unexpected key {name!r}" for name in sorted(set(found) - set(expected))]
    for name in sorted(set(found) & set(expected)):
        have, want = found[name], expected[name]
        if have.shape != want.shape or have.dtype != want.dtype:
            problems.append(f"{name!r} is {tuple(have.shape)} {have.dtype}, expected {tuple(want.shape)} {want.dtype}")
        elif have.is_floating_point() and not bool(have.isfinite().all()):
            problems.append(f"{name!r} holds NaN or infinite weights")
    if problems:
        raise IntegrityError(f"{path}: does not fit the topology: {'; '.join(problems)}.")
    return found


def _outputs(model: Model, cells: sp.csr_matrix) -> np.ndarray:
    return model.codes(cells) if model.labels is None else model.probabilities(cells).astype(np.float32)


def _smoke(model: Model, content: bytes, path: Path) -> None:
    smoke = {name: value.numpy() for name, value in load_tensors(content).items()}
    shape = (len(smoke["indptr"]) - 1, len(model.space))
    cells = sp.csr_matrix((smoke["counts"], smoke["indices"], smoke["indptr"]), shape=shape)
    worst = float(np.abs(_outputs(model, cells) - smoke["expected"]).max())
    if worst > TOLERANCE:
        raise IntegrityError(f"{path}: the model differs by {worst:.3g} from its release, allowed {TOLERANCE:g}.")
