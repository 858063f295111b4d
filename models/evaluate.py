"""How good a model is: metrics over labels at any level of the ontology, on cells the model never saw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch

from cellzoo.models.data import TrainingData
from cellzoo.models.labels import THRESHOLD, LabelSpace
from cellzoo.models.losses import aggregated_accuracy, nb_nll
from cellzoo.models.model import BATCH, Model
from cellzoo.models.networks import LinearEmbedding
from cellzoo.registry.fields import UNKNOWN

BINS = 15  # of the calibration error


def evaluate_celltype(probability: np.ndarray, terms: Sequence[str], labels: LabelSpace) -> dict[str, Any]:
    """Return the metrics of leaf probabilities (cells, leaves) against labels that may be coarser than the leaves.

    accuracy: the likeliest leaf is one the label stands for; aggregated_accuracy: equation 5 of the paper; macro_f1:
    mean over the labels observed, where a wrong call counts against each label it would have been right for; ece:
    expected calibration error, in [0, 1], of the calls that `annotate` makes by default. Cells whose label has no leaf
    are counted in ``outside`` and not judged.
    """
    targets = labels.targets(terms)
    judged = targets.any(axis=1)
    result: dict[str, Any] = {"cells": int(judged.sum()), "outside": int((~judged).sum())}
    if not judged.any():
        return result
    probability, targets, names = probability[judged], targets[judged], np.asarray(terms, dtype=str)[judged]
    called = probability.argmax(axis=1)
    right = targets[np.arange(len(called)), called]
    classes = {}
    for term in np.unique(names):
        own = names == term
        leaves = list(labels.members(str(term)))
        hit = int((own & right).sum())
        false = int((~own & ~right & np.isin(called, leaves)).sum())
        classes[str(term)] = {
            "cells": int(own.sum()),
            "recall": hit / int(own.sum()),
            "f1": 2 * hit / (int(own.sum()) + hit + false),
        }
    with torch.no_grad():
        aggregated = aggregated_accuracy(torch.from_numpy(probability), torch.from_numpy(targets))
    inside = (probability * targets).sum(axis=1)
    return result | {
        "accuracy": float(right.mean()),
        "aggregated_accuracy": float(aggregated),
        "aggregated_cross_entropy": float(-np.log(np.maximum(inside, 1e-30)).mean()),
        "macro_f1": float(np.mean([entry["f1"] for entry in classes.values()])),
        "ece": calibration_error(*_called(probability, targets, labels)),
        "classes": classes,
    }


def _called(probability: np.ndarray, targets: np.ndarray, labels: LabelSpace) -> tuple[np.ndarray, np.ndarray]:
    """Return the probability of each call that says something, and whether one of call and label lies in the other."""
    terms, score = labels.call(probability, THRESHOLD)
    known = terms != UNKNOWN
    called = labels.targets([str(term) for term in terms[known]])
    both = called & targets[known]
    return score[known], (both == called).all(axis=1) | (both == targets[known]).all(axis=1)


def calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """Return the expected calibration error: mean gap between confidence and accuracy over 15 equal bins.

    >>> calibration_error(np.array([0.75, 0.75, 0.75, 0.75]), np.array([True, True, True, False]))
    0.0
    """
    if not len(confidence):
        return 0.0
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = [(bins == one).sum() * abs(confidence[bins == one].mean() - right[bins == one].mean()) for one in set(bins)]
    return float(sum(gaps) / len(confidence))


def evaluate_embedding(model: Model, data: TrainingData, parts: Sequence[np.ndarray]) -> dict[str, Any]:
    """Return the mean negative log-likelihood of a count under a reconstruction model, in nats per gene and cell.

    ``nb_nll_mean_cell`` is that of a model which gives every cell the mean composition of the training cells: what a
    reconstruction has to beat. Only genes that a data set measured are judged.
    """
    network = cast(LinearEmbedding, model.network)
    norm = network.normalize
    total, baseline, entries = 0.0, 0.0, 0
    with torch.inference_mode():
        for part in parts:
            known = torch.from_numpy(data.measured[str(data.dataset[part[0]])]) & norm.learned
            for start in range(0, len(part), BATCH):
                counts = torch.from_numpy(data.counts[part[start : start + BATCH]].toarray())
                mean, dispersion = network(counts, known)
                share = norm.share[known] / norm.share[known].sum()
                flat = counts[:, known].sum(dim=1, keepdim=True) * share + 1e-8
                judged = counts[:, known].double()
                total += float(nb_nll(judged, mean[:, known].double(), dispersion[known].double()).sum())
                baseline += float(nb_nll(judged, flat.double(), dispersion[known].double()).sum())
                entries += judged.numel()
    cells = sum(len(part) for part in parts)
    return {"cells": cells, "nb_nll": total / entries, "nb_nll_mean_cell": baseline / entries}
