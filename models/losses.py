"""Losses and metrics of the paper: aggregated cross-entropy and accuracy, negative binomial likelihood.

Source: Fischer et al. 2021, doi:10.1186/s13059-021-02452-6, equations 1, 4 and 5.
"""

from __future__ import annotations

import torch
from torch import Tensor


def aggregated_cross_entropy(logits: Tensor, targets: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return the mean over cells of minus the log of the probability summed over the leaves of each label (eq. 4).

    logits (cells, leaves); targets (cells, leaves) bool, at least one leaf a row; weight (cells,) of each cell in the
    mean. Computed as logsumexp over leaf sets, so it is finite for any logits; with one leaf a row it is the usual
    cross-entropy.

    >>> logits = torch.log(torch.tensor([[0.5, 0.3, 0.2]]))
    >>> round(aggregated_cross_entropy(logits, torch.tensor([[True, True, False]])).item(), 4)  # -ln(0.5 + 0.3)
    0.2231
    """
    if not bool(targets.any(dim=1).all()):
        raise ValueError("each cell's label must stand for at least one leaf")
    outside = ~targets
    inside = logits.masked_fill(outside, float("-inf"))
    loss = torch.logsumexp(logits, dim=1) - torch.logsumexp(inside, dim=1)
    if weight is None:
        return loss.mean()
    return (loss * weight).sum() / weight.sum()


def aggregated_accuracy(probability: Tensor, targets: Tensor) -> Tensor:
    """Return the share of cells whose label's summed probability exceeds that of every single leaf outside it (eq. 5).

    probability (cells, leaves), rows sum to 1; targets (cells, leaves) bool.

    >>> p = torch.tensor([[0.25, 0.25, 0.5], [0.4, 0.2, 0.4]])
    >>> aggregated_accuracy(p, torch.tensor([[True, True, False], [True, True, False]])).item()  # .5 > .5 no, .6 > .4
    0.5
    """
    inside = (probability * targets).sum(dim=1)
    outside = probability.masked_fill(targets, 0.0).amax(dim=1)
    return (inside > outside).double().mean()


def nb_nll(counts: Tensor, mean: Tensor, dispersion: Tensor) -> Tensor:
    """Return minus the log-likelihood of counts under a negative binomial, of each entry (eq. 1).

    counts (cells, genes) raw; mean (cells, genes) > 0; dispersion (genes,) > 0, the inverse: variance is
    mean + mean^2 / dispersion. Returns (cells, genes) nats.

    >>> round(nb_nll(torch.zeros(1, 1), torch.ones(1, 1), torch.ones(1)).exp().item(), 4)  # P(0) = 1/2
    2.0
    """
    log_total = torch.log(mean + dispersion)
    likelihood = (
        torch.lgamma(dispersion + counts)
        - torch.lgamma(counts + 1.0)
        - torch.lgamma(dispersion)
        + counts * (torch.log(mean) - log_total)
        + dispersion * (torch.log(dispersion) - log_total)
    )
    return -likelihood
