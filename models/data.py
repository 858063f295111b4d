"""Training data: streamlined data sets joined over one gene space, split by study, pinned in a data lock."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cellzoo.converters.zoo import Dataset, Zoo
from cellzoo.errors import InputError
from cellzoo.models.parts import Counts, Part, joined, of_cards, of_cells, of_store, pieces
from cellzoo.models.recipe import Recipe
from cellzoo.registry.fields import ORGANISMS, UNKNOWN
from cellzoo.registry.genes import GeneSpace, gene_space
from cellzoo.registry.ontology import load

TRAIN, VALIDATION, TEST = "train", "validation", "test"


@dataclass(frozen=True)
class TrainingData:
    """Cells of several studies over one gene space."""

    counts: Counts
    """Raw counts, float32 (cells, genes): CSR, or cells of a store that are read when they are indexed."""
    cells: np.ndarray
    """Name of each cell in its data set."""
    terms: np.ndarray
    """Cell type term id of each cell."""
    dataset: np.ndarray
    """Data set id of each cell."""
    study: np.ndarray
    """Study of each cell."""
    role: np.ndarray
    """``train``, ``validation`` or ``test`` of each cell."""
    measured: dict[str, np.ndarray]
    """Data set id -> which genes of the space it measured, bool (genes,)."""
    space: GeneSpace
    """The gene space."""
    lock: dict[str, Any]
    """What the data were: cards, digests, spaces and split."""

    def rows(self, role: str) -> np.ndarray:
        """Return the row numbers of a role."""
        return np.flatnonzero(self.role == role)


def short_digest(lock: dict[str, Any]) -> str:
    """Return the first 8 hex digits of the lock's sha256: the training-data version of a model's name."""
    return hashlib.sha256(json.dumps(lock, sort_keys=True).encode()).hexdigest()[:8]


def organism_term(text: str) -> str:
    """Return the NCBITaxon id of an organism given by id or label."""
    by_label = {label.casefold(): term for term, label in ORGANISMS.items()}
    if text in ORGANISMS:
        return text
    if text.casefold() in by_label:
        return by_label[text.casefold()]
    raise InputError(f"organism {text!r} is not known; use one of {sorted(ORGANISMS.values())}.")


def assemble(recipe: Recipe, zoo: Zoo, report: Callable[[str], None] = lambda _: None) -> TrainingData:
    """Return the cells a recipe asks for, each data set on one side of the split by study.

    Cells without counts, and for a cell type model cells of unknown type, are left out and counted in the lock. The
    lock is the same whether data sets come from their cards or from a store; counts of a store stay on disk.
    """
    organism = organism_term(recipe.organism)
    space = gene_space(recipe.genes or organism)
    parts: Iterable[Part]
    if recipe.data.store is None:
        datasets = _chosen(recipe, zoo, organism)
        studies = {dataset.id: dataset.card.study.id for dataset in datasets}
        parts = of_cards(datasets, space, report)
    else:
        parts = of_store(recipe.data.store, space, organism)
        studies = {part.id: part.study for part in parts}
    held = _held_studies(recipe, studies)
    kept: list[tuple[Counts, np.ndarray, np.ndarray]] = []
    entries: list[dict[str, Any]] = []
    measured = {}
    for part in parts:
        unknown = (part.terms == UNKNOWN) & (recipe.task == "celltype")
        keep = np.flatnonzero(~part.empty & ~unknown)
        if not len(keep):
            raise InputError(f"{part.id}: no cell has counts and a known cell type.")
        counts = of_cells(part.counts, keep)
        kept.append((counts, part.cells[keep], part.terms[keep]))
        measured[part.id] = part.measured
        entries.append(
            {
                "id": part.id,
                "study": part.study,
                "digest": part.digest,
                "counts_sha256": _counts_digest(counts),
                "cells": len(keep),
                "left_out": {"without_counts": int(part.empty.sum()), "unknown_cell_type": int(unknown.sum())},
                "role": TEST if part.study in held else TRAIN,
            }
        )
    repeated = [entry["cells"] for entry in entries]
    study = np.repeat([entry["study"] for entry in entries], repeated)
    role = _roles(np.repeat([entry["role"] == TEST for entry in entries], repeated), recipe)
    lock = {
        "lock_version": 2,
        "gene_space": {"name": space.name, "sha256": space.sha256},
        "ontologies": {"CL": load("CL").version},
        "datasets": entries,
        "split": recipe.split.model_dump(mode="json", exclude_defaults=True),
        "seed": recipe.train.seed,
        "cells": {name: int((role == name).sum()) for name in (TRAIN, VALIDATION, TEST)},
    }
    matrices, cells, terms = zip(*kept, strict=True)
    return TrainingData(
        counts=joined(matrices),
        cells=np.concatenate(cells),
        terms=np.concatenate(terms),
        dataset=np.repeat([entry["id"] for entry in entries], repeated),
        study=study,
        role=role,
        measured=measured,
        space=space,
        lock=lock,
    )


def _chosen(recipe: Recipe, zoo: Zoo, organism: str) -> list[Dataset]:
    if recipe.data.where:
        wanted = {"organism": organism} | recipe.data.where
        chosen = list(zoo.datasets(status="verified", **wanted).values())
        if not chosen:
            raise InputError(f"data.where: no verified data set matches {recipe.data.where}.")
    else:
        chosen = [zoo[dataset] for dataset in recipe.data.datasets]
    ids = {dataset.id for dataset in chosen}
    for name in recipe.split.test.studies if recipe.split.test else ():
        if name in zoo.ids and name not in ids:  # a held-out data set need not be listed twice
            chosen.append(zoo[name])
    for dataset in chosen:
        if dataset.organism != organism:
            raise InputError(f"{dataset.id} is {dataset.card.cells.organism.label}, the recipe {recipe.organism}.")
    return chosen


def _held_studies(recipe: Recipe, study_of: Mapping[str, str]) -> set[str]:
    """Return the studies that are held out, of data sets by id."""
    if not (recipe.split.test and recipe.split.test.studies):
        return set()
    studies = set(study_of.values())
    held = {study_of.get(name, name) for name in recipe.split.test.studies}
    if missing := held - studies:
        raise InputError(f"split.test.studies: {sorted(missing)} is no study of the data; there are {sorted(studies)}.")
    if held == studies:
        raise InputError(f"split.test.studies holds out every study: {sorted(held)}; nothing is left to train on.")
    return held


def _roles(is_test: np.ndarray, recipe: Recipe) -> np.ndarray:
    random = np.random.default_rng(recipe.train.seed)
    role = np.where(is_test, TEST, TRAIN).astype(f"<U{len(VALIDATION)}")
    shares = [(TEST, recipe.split.test.cells)] if recipe.split.test and recipe.split.test.cells else []
    for name, share in [*shares, (VALIDATION, recipe.split.validation.cells)]:
        candidates = np.flatnonzero(role == TRAIN)
        drawn = random.choice(candidates, size=max(1, round(share * len(candidates))), replace=False)
        role[drawn] = name
    if (role == TRAIN).sum() < 2:
        raise InputError(f"only {int((role == TRAIN).sum())} cells are left to train on.")
    return role


def _counts_digest(counts: Counts) -> str:
    """Return the sha256 of counts, which are read piece by piece."""
    digest = hashlib.sha256(np.array(counts.shape, np.int64).tobytes())
    for piece in pieces(np.arange(counts.shape[0])):
        block = counts[piece]
        for part, dtype in ((block.indptr, np.int64), (block.indices, np.int32), (block.data, np.float32)):
            digest.update(np.ascontiguousarray(part, dtype=dtype).tobytes())
    return digest.hexdigest()
