"""Training: Adam on one cycle, and augmentation that makes a model carry to studies it never saw.

What differs between studies is made to differ within a mini-batch: some cells lose genes (other gene lists), are
thinned (other depths), or have each gene multiplied by a random factor (other chemistry). All of it on training cells
only; the transform at prediction is that of the cell alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
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
from cellzoo.models.parts import Counts, of_genes, pieces
from cellzoo.models.recipe import Recipe
from cellzoo.models.topology import topology

EPOCHS = 12
STEPS = (400, 20_000)  # fewest and most optimizer steps where a recipe leaves out epochs
MIN_CELLS = 3  # a gene seen in fewer training cells teaches nothing
BALANCE = 0.5  # cells are drawn with probability proportional to (share of their label)^-BALANCE
MOST_DRAWN = 20.0  # but no more than this many times the average

PLATFORMS = 4  # groups of a mini-batch that are perturbed alike
DEPTH_KEPT = 0.1  # at least this share of counts; half of the cells are thinned
GENE_FACTOR = 1.0  # at most this standard deviation of the log factor of a gene
GENES_LOST = 0.5  # at most this share of genes; half of the groups lose genes
OTHER_LIST = 0.5  # of the groups have the gene list of another data set

Report = Callable[[str, int, int], None]
"""Called with what is being done, the steps so far and the steps in all."""


def train(recipe: Recipe, data: TrainingData, report: Report = lambda *_: None) -> tuple[Model, dict[str, Any]]:
    """Return the trained model and its metrics: history, validation and test. Reproducible from the seed.

    Test cells are never seen: not by the weights, the label space, the learned genes or the gene means.
    """
    torch.manual_seed(recipe.train.seed)
    architecture = topology(recipe.task, recipe.topology)
    labels = LabelSpace.from_seen(data.terms[data.rows(TRAIN)]) if recipe.task == "celltype" else None
    genes = _learned_genes(data)
    small = architecture.build(len(genes), len(labels) if labels else 0)
    counts = of_genes(data.counts, genes)
    mean, share, spread = _statistics(data, counts, genes)
    small.normalize.mean.copy_(torch.from_numpy(mean))
    small.normalize.share.copy_(torch.from_numpy(share))
    batches = _Batches(recipe, data, counts, genes, labels, report)
    with _one_thread():
        if isinstance(small, Classifier):
            history = _fit_classifier(small, batches, 1.0 / spread)
        else:
            history = _fit_embedding(small, batches)
    network = _over_space(small, architecture.build(len(data.space), len(labels) if labels else 0), genes)
    about: dict[str, Any] = {
        "organ": recipe.organ,
        "trained_with": __version__,
        "training": recipe.train.model_dump(mode="json"),
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
            probability = [
                model.probabilities(data.counts[piece], k)
                for part, k in zip(parts, known, strict=True)
                for piece in pieces(part)
            ]
            metrics[role] = evaluate_celltype(
                np.concatenate(probability), data.terms[np.concatenate(parts)], model.labels
            )
        else:
            metrics[role] = evaluate_embedding(model, data, parts)
    return metrics


@contextmanager
def _one_thread() -> Iterator[None]:
    """Run torch on one thread: the same sums in the same order on every machine, and no slower on batches this small.

    Measured on two cores: as fast as two threads on an idle machine, four to thirty times faster on a busy one.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _learned_genes(data: TrainingData) -> np.ndarray:
    rows = data.rows(TRAIN)
    cells = np.zeros(len(data.space), np.int64)
    for piece in pieces(rows):
        cells += data.counts[piece].getnnz(axis=0)
    genes = np.flatnonzero(cells >= min(MIN_CELLS, len(rows)))
    if not len(genes):
        raise InputError(f"no gene of {data.space.name} is seen in {MIN_CELLS} training cells.")
    return genes


def _statistics(data: TrainingData, counts: Counts, genes: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the mean of the normalized genes, their share of the counts, (genes,) float32, and their spread.

    The spread is one number, the root of the mean variance of a gene.

    Each study counts alike, and a gene's numbers come from the data sets that measured it. A data set without some
    genes is scaled to the share of 10,000 that the others give to the genes it has.
    """
    rows = data.rows(TRAIN)
    names = np.unique(data.dataset[rows])
    own = {str(name): rows[data.dataset[rows] == name] for name in names}
    studies = [data.study[cells[0]] for cells in own.values()]
    known = np.stack([data.measured[name][genes] for name in own])  # (data sets, genes)
    cells_of_study = {study: (data.study[rows] == study).sum() for study in studies}
    weight = np.array([len(c) / cells_of_study[s] for c, s in zip(own.values(), studies, strict=True)])[:, None] * known
    shares = np.stack([_mean(counts, cells, partial(_scaled, to=1.0)) for cells in own.values()])
    share = np.zeros(len(genes))
    for _ in range(10):  # what a data set does not measure, the others say
        covered = (known @ share)[:, None] if share.any() else 1.0
        share = (shares * covered * weight).sum(axis=0) / weight.sum(axis=0)
        share /= share.sum()
    scales = zip(own.values(), SCALE * (known @ share), strict=True)
    logs = [(cells, partial(_log_scaled, to=scale)) for cells, scale in scales]
    means = np.stack([_mean(counts, cells, log) for cells, log in logs])
    squares = np.stack([_mean(counts, cells, log, power=2) for cells, log in logs])
    mean, square = ((one * weight).sum(axis=0) / weight.sum(axis=0) for one in (means, squares))
    return mean.astype(np.float32), share.astype(np.float32), float(np.sqrt((square - mean**2).mean()))


def _mean(
    counts: Counts, cells: np.ndarray, change: Callable[[sp.csr_matrix], sp.csr_matrix], power: int = 1
) -> np.ndarray:
    """Return the mean of a power of changed counts over cells, (genes,); they are read piece by piece."""
    total = np.zeros(counts.shape[1])
    for piece in pieces(cells):
        total += np.asarray(change(counts[piece]).power(power).sum(axis=0)).ravel()
    return total / len(cells)


def _log_scaled(counts: sp.csr_matrix, to: float) -> sp.csr_matrix:
    return _scaled(counts, to).log1p()


def _scaled(counts: sp.csr_matrix, to: float) -> sp.csr_matrix:
    total = np.maximum(np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel(), 1.0)
    return sp.csr_matrix(sp.diags(to / total) @ counts)


class _Batches:
    """Mini-batches of training cells, drawn so that rare labels are seen, perturbed as another study might be."""

    def __init__(  # noqa: PLR0913, PLR0917
        self,
        recipe: Recipe,
        data: TrainingData,
        counts: Counts,
        genes: np.ndarray,
        labels: LabelSpace | None,
        report: Report,
    ) -> None:
        self.schedule = recipe.train
        self.rows = data.rows(TRAIN)
        self.counts = counts
        self.known = np.stack([data.measured[str(name)][genes] for name in np.unique(data.dataset[self.rows])])
        self.dataset = np.unique(data.dataset[self.rows], return_inverse=True)[1]
        self.targets = labels.targets(data.terms[self.rows], learning=True) if labels else None
        _, label, size = np.unique(data.terms[self.rows], return_inverse=True, return_counts=True)
        weight = (size[label] / len(label)) ** -BALANCE if labels else np.ones(len(label))
        weight = np.minimum(weight / weight.mean(), MOST_DRAWN)
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
            counts, known = self.counts[self.rows[drawn]], self.known[self.dataset[drawn]]
            if self.targets is not None:
                counts, known = self._perturbed(counts, known)
            targets = self.targets[drawn] if self.targets is not None else np.empty((len(drawn), 0), dtype=bool)
            yield torch.from_numpy(counts.toarray()), torch.from_numpy(known), torch.from_numpy(targets)
            self.report("training", step + 1, self.steps)

    def _perturbed(self, counts: sp.csr_matrix, known: np.ndarray) -> tuple[sp.csr_matrix, np.ndarray]:
        random, (cells, genes) = self.random, counts.shape
        platform = np.arange(cells) % PLATFORMS
        cell = np.repeat(np.arange(cells), np.diff(counts.indptr))
        kept = np.where(random.random(cells) < 0.5, 1.0, DEPTH_KEPT ** random.random(cells))
        values = random.binomial(counts.data.astype(np.int64), kept[cell]).astype(np.float32)
        spread = random.uniform(0.0, GENE_FACTOR, (PLATFORMS, 1)).astype(np.float32)
        factor = np.exp(random.standard_normal((PLATFORMS, genes), dtype=np.float32) * spread)
        values *= factor[platform[cell], counts.indices]
        lost = random.uniform(0.0, GENES_LOST, (PLATFORMS, 1)) * (random.random((PLATFORMS, 1)) < 0.5)
        present = random.random((PLATFORMS, genes), dtype=np.float32) >= lost
        for group in np.flatnonzero(random.random(PLATFORMS) < OTHER_LIST):
            present[group] &= self.known[random.integers(len(self.known))]
        return sp.csr_matrix((values, counts.indices, counts.indptr), shape=counts.shape), known & present[platform]


def _optimizer(network: nn.Module, batches: _Batches, rate: float) -> tuple[torch.optim.Optimizer, Any]:
    rate = batches.schedule.learning_rate or rate
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, max(batches.steps, 2), pct_start=0.1)


def _fit_classifier(network: Classifier, batches: _Batches, scale: float) -> list[float]:
    """Fit on centred and scaled genes, then fold both into the first layer; return the loss of each step."""
    linear = len(network.layers) == 1
    optimizer, scheduler = _optimizer(network, batches, rate=3e-3 if linear else 1e-3)
    l2 = batches.schedule.l2 if batches.schedule.l2 is not None else (5e-2 if linear else 3e-3)
    mean = network.normalize.mean.clone()
    history = []
    for counts, known, targets in batches:
        loss = aggregated_cross_entropy(network.logits((network.normalize(counts, known) - mean) * scale), targets)
        penalty = sum(one.square().sum() for one in network.parameters() if one.ndim > 1)
        optimizer.zero_grad()
        (loss + 0.5 * l2 * penalty).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        scheduler.step()
        history.append(round(loss.item(), 5))
    with torch.no_grad():
        first: Any = network.layers[0]
        first.weight *= scale
        first.bias -= first.weight @ mean
    return history


def _fit_embedding(network: LinearEmbedding, batches: _Batches) -> list[float]:
    optimizer, scheduler = _optimizer(network, batches, rate=3e-3)
    with torch.no_grad():  # start from the mean cell
        network.decoder.bias.copy_((network.normalize.share * SCALE).clamp(min=1e-6).log())
    history = []
    for counts, known, _ in batches:
        mean, dispersion = network(counts, known)
        loss = (nb_nll(counts, mean, dispersion) * known).sum() / known.sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
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
    for name, have in small.state_dict().items():
        want = full.state_dict()[name]
        state[name] = have
        for dim in range(want.ndim):
            if have.shape[dim] < want.shape[dim]:  # the dimension of genes
                state[name] = torch.zeros_like(want).index_copy(dim, at, have)
    full.load_state_dict(state)
    return full
