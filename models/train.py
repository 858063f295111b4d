"""Training: one loop, AdamW on a cosine, and augmentation that makes a model carry to studies it never saw.

What differs between studies is made to differ within a mini-batch: some cells lose genes (other gene lists), are
thinned (other depths), or have each gene multiplied by a random factor (other chemistry). All of it on training cells
only; the transform at prediction is that of the cell alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn

from cellzoo import __version__
from cellzoo.errors import InputError
from cellzoo.models.data import TEST, TRAIN, VALIDATION, TrainingData
from cellzoo.models.evaluate import evaluate_celltype, evaluate_embedding
from cellzoo.models.labels import LabelSpace
from cellzoo.models.losses import aggregated_cross_entropy, nb_nll
from cellzoo.models.model import Model
from cellzoo.models.networks import SCALE, Classifier, LinearEmbedding
from cellzoo.models.recipe import Recipe
from cellzoo.models.topology import topology

STEPS = (300, 1_500)  # fewest and most optimizer steps where a recipe leaves out epochs
EPOCHS = 60  # between these
MIN_CELLS = 3  # a gene seen in fewer training cells teaches nothing
BALANCE = 0.5  # cells are drawn with probability proportional to (size of their label)^-BALANCE
SMALLEST_SPREAD = 0.1  # floor of a gene's standard deviation, in log units

PLATFORMS = 4  # groups of a mini-batch that are perturbed alike
GENES_LOST = 0.8  # at most this share of genes
DEPTH_KEPT = 0.2  # at least this share of counts
GENE_FACTOR = 0.8  # at most this standard deviation of the log factor of a gene

Report = Callable[[str, int, int], None]
"""Called with what is being done, the steps so far and the steps in all."""


def train(recipe: Recipe, data: TrainingData, report: Report = lambda *_: None) -> tuple[Model, dict[str, Any]]:
    """Return the trained model and its metrics: history, validation and test. Reproducible from the seed.

    Test cells are never seen: not by the weights, the label space, the learned genes or the gene means.
    """
    torch.manual_seed(recipe.train.seed)
    start = time.monotonic()
    architecture = topology(recipe.task, recipe.topology)
    labels = LabelSpace.from_seen(data.terms[data.rows(TRAIN)]) if recipe.task == "celltype" else None
    genes = _learned_genes(data)
    small = architecture.build(len(genes), len(labels) if labels else 0)
    mean, spread, share = _statistics(data, genes)
    small.normalize.mean.copy_(torch.from_numpy(mean))
    small.normalize.share.copy_(torch.from_numpy(share))
    batches = _Batches(recipe, data, genes, labels, report)
    if isinstance(small, Classifier):
        history = _fit_classifier(small, batches, torch.from_numpy(mean), torch.from_numpy(1.0 / spread))
    else:
        history = _fit_embedding(small, batches)
    network = _over_space(small, architecture.build(len(data.space), len(labels) if labels else 0), genes)
    about = {
        "organ": recipe.organ,
        "trained_with": __version__,
        "training": {"seconds": round(time.monotonic() - start, 1), **recipe.train.model_dump(mode="json")},
    }
    model = Model(architecture, network.eval().requires_grad_(False), data.space, labels, about)
    return model, {"history": history, **evaluate(model, data)}


def evaluate(model: Model, data: TrainingData) -> dict[str, Any]:
    """Return the metrics of a model on validation and test cells; ``test`` is None where nothing was held out."""
    metrics: dict[str, Any] = {}
    for role in (VALIDATION, TEST):
        rows = data.rows(role)
        parts = [rows[data.dataset[rows] == name] for name in np.unique(data.dataset[rows])]
        if not parts:
            metrics[role] = None
        elif model.labels is not None:
            known = [data.measured[str(data.dataset[part[0]])] for part in parts]
            probability = [model.probabilities(data.counts[p], k) for p, k in zip(parts, known, strict=True)]
            metrics[role] = evaluate_celltype(
                np.concatenate(probability), data.terms[np.concatenate(parts)], model.labels
            )
        else:
            metrics[role] = evaluate_embedding(model, data, parts)
    return metrics


def _learned_genes(data: TrainingData) -> np.ndarray:
    rows = data.rows(TRAIN)
    cells = data.counts[rows].getnnz(axis=0)
    genes = np.flatnonzero(cells >= min(MIN_CELLS, len(rows)))
    if not len(genes):
        raise InputError(f"no gene of {data.space.name} is seen in {MIN_CELLS} training cells.")
    return genes


def _statistics(data: TrainingData, genes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean and spread of the normalized genes and their share of the counts, (genes,) float32.

    Each data set counts alike, and only those that measured a gene. A data set without some genes is scaled to the
    share of 10,000 that the others give to the genes it has.
    """
    rows = data.rows(TRAIN)
    names = np.unique(data.dataset[rows])
    own = {str(name): rows[data.dataset[rows] == name] for name in names}
    known = np.stack([data.measured[name][genes] for name in own])  # (data sets, genes)
    parts = [data.counts[cells][:, genes] for cells in own.values()]
    shares = np.stack([np.asarray(_scaled(part, 1.0).mean(axis=0)).ravel() for part in parts])
    share = np.zeros(len(genes))
    for _ in range(10):  # what a data set does not measure, the others say
        covered = np.where(share.any(), known @ share, 1.0)[:, None]
        share = (shares * covered * known).sum(axis=0) / known.sum(axis=0)
        share /= share.sum()
    covered = known @ share
    logs = [_scaled(part, SCALE * one).log1p() for part, one in zip(parts, covered, strict=True)]
    means = np.stack([np.asarray(log.mean(axis=0)).ravel() for log in logs])
    squares = np.stack([np.asarray(log.power(2).mean(axis=0)).ravel() for log in logs])
    seen = known.sum(axis=0)
    mean = (means * known).sum(axis=0) / seen
    variance = ((squares - means**2) * known).sum(axis=0) / seen
    spread = np.maximum(np.sqrt(np.maximum(variance, 0.0)), SMALLEST_SPREAD)
    return mean.astype(np.float32), spread.astype(np.float32), share.astype(np.float32)


def _scaled(counts: sp.csr_matrix, to: float) -> sp.csr_matrix:
    total = np.maximum(np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel(), 1.0)
    return sp.csr_matrix(sp.diags(to / total) @ counts)


class _Batches:
    """Mini-batches of training cells, drawn so that rare labels are seen, perturbed as another study might be."""

    def __init__(
        self, recipe: Recipe, data: TrainingData, genes: np.ndarray, labels: LabelSpace | None, report: Report
    ) -> None:
        self.schedule = recipe.train
        self.rows = data.rows(TRAIN)
        self.counts = data.counts[self.rows][:, genes]
        self.known = np.stack([data.measured[str(name)][genes] for name in np.unique(data.dataset[self.rows])])
        self.dataset = np.unique(data.dataset[self.rows], return_inverse=True)[1]
        self.targets = labels.targets(data.terms[self.rows]) if labels else None
        _, label, size = np.unique(data.terms[self.rows], return_inverse=True, return_counts=True)
        weight = size[label] ** -BALANCE if labels else np.ones(len(label))
        self.chance = weight / weight.sum()
        self.random = np.random.default_rng(recipe.train.seed)
        epochs = recipe.train.epochs or EPOCHS
        self.steps = max(1, round(epochs * len(self.rows) / recipe.train.batch_size))
        if recipe.train.epochs is None:
            self.steps = int(np.clip(self.steps, *STEPS))
        self.report = report

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield counts (cells, genes), which of them are known, and the leaves of each label."""
        for step in range(self.steps):
            drawn = self.random.choice(len(self.rows), size=self.schedule.batch_size, p=self.chance)
            counts, known = self._perturbed(self.counts[drawn], self.known[self.dataset[drawn]])
            targets = self.targets[drawn] if self.targets is not None else np.empty((len(drawn), 0), dtype=bool)
            yield torch.from_numpy(counts), torch.from_numpy(known), torch.from_numpy(targets)
            self.report("training", step + 1, self.steps)

    def _perturbed(self, counts: sp.csr_matrix, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        random, (cells, genes) = self.random, counts.shape
        platform = np.arange(cells) % PLATFORMS
        cell = np.repeat(np.arange(cells), np.diff(counts.indptr))
        kept = np.where(random.random(cells) < 0.5, 1.0, DEPTH_KEPT ** random.random(cells))
        values = random.binomial(counts.data.astype(np.int64), kept[cell]).astype(np.float32)
        spread = random.uniform(0.0, GENE_FACTOR, PLATFORMS)[:, None].astype(np.float32)
        factor = np.exp(random.standard_normal((PLATFORMS, genes), dtype=np.float32) * spread)
        values *= factor[platform[cell], counts.indices]
        lost = random.uniform(0.0, GENES_LOST, PLATFORMS) * (random.random(PLATFORMS) < 0.5)
        present = random.random((PLATFORMS, genes), dtype=np.float32) >= lost[:, None]
        dense = sp.csr_matrix((values, counts.indices, counts.indptr), shape=counts.shape).toarray()
        return dense, known & present[platform]


def _optimizer(network: nn.Module, batches: _Batches) -> tuple[torch.optim.Optimizer, Any]:
    schedule = batches.schedule
    weights = [one for one in network.parameters() if one.ndim > 1]
    others = [one for one in network.parameters() if one.ndim <= 1]
    groups = [{"params": weights, "weight_decay": schedule.weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=schedule.learning_rate)
    steps = max(batches.steps, 2)
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, schedule.learning_rate, steps, pct_start=0.1)


def _fit_classifier(network: Classifier, batches: _Batches, mean: Tensor, inverse: Tensor) -> list[float]:
    """Fit on standardized genes, then fold the standardization into the first layer; return the loss of each step."""
    optimizer, scheduler = _optimizer(network, batches)
    history = []
    for counts, known, targets in batches:
        x = (network.normalize(counts, known) - mean) * inverse
        loss = aggregated_cross_entropy(network.logits(x), targets)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        scheduler.step()
        history.append(round(loss.item(), 5))
    with torch.no_grad():
        first: Any = network.layers[0]
        first.weight *= inverse
        first.bias -= first.weight @ mean
    return history


def _fit_embedding(network: LinearEmbedding, batches: _Batches) -> list[float]:
    optimizer, scheduler = _optimizer(network, batches)
    with torch.no_grad():  # start from the mean cell
        network.decoder.bias.copy_((network.normalize.share * SCALE).clamp(min=1e-6).log())
    history = []
    for counts, known, _ in batches:
        mean, dispersion = network(counts, known)
        loss = (nb_nll(counts, mean, dispersion) * known).sum() / known.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        history.append(round(loss.item(), 5))
    return history


def _over_space(
    small: Classifier | LinearEmbedding, full: Classifier | LinearEmbedding, genes: np.ndarray
) -> Classifier | LinearEmbedding:
    """Return ``full`` with the weights of ``small``, whose genes are the given ones of the space; the rest is zero."""
    at = torch.from_numpy(genes)
    state = {}
    for name, want in full.state_dict().items():
        have = small.state_dict()[name]
        for dim in range(want.ndim):
            if have.shape[dim] != want.shape[dim]:
                have = torch.zeros(
                    (*have.shape[:dim], want.shape[dim], *have.shape[dim + 1 :]), dtype=have.dtype
                ).index_copy(dim, at, have)
        state[name] = have
    full.load_state_dict(state)
    return full
