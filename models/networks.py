"""The networks: raw counts in, logits or reconstructed counts out.

Every network takes raw counts over its gene space and normalizes them itself, by a transform of the cell alone (the
paper's "Preprocessing layers": scale to 10,000, log1p), with genes that a file did not measure told apart from zeros.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

SCALE = 10_000.0
LOG_CLIP = 60.0  # exp of more is not a count


class Normalize(nn.Module):
    """Scale each cell to 10,000 and take log1p; genes that were not measured get their training mean.

    A cell of a file with few genes is scaled to the share of 10,000 that these genes had in training, so that a gene
    has the same value whatever else was measured. With every learned gene measured this is the paper's transform.
    """

    learned: Tensor
    share: Tensor
    mean: Tensor

    def __init__(self, n_genes: int) -> None:
        super().__init__()
        self.register_buffer("learned", torch.ones(n_genes, dtype=torch.bool))
        """Genes that training data measured; the others are ignored."""
        self.register_buffer("share", torch.full((n_genes,), 1.0 / n_genes))
        """Share of a cell's counts that a gene has in training, sums to 1."""
        self.register_buffer("mean", torch.zeros(n_genes))
        """Mean of the normalized gene in training: what an unmeasured gene is taken to be."""

    def forward(self, counts: Tensor, measured: Tensor | None = None) -> Tensor:
        """Return normalized genes (cells, genes) float32 of raw counts (cells, genes).

        measured, bool (genes,) or (cells, genes): genes the file has, by default every learned gene. A cell without
        counts is zero in every measured gene.

        >>> Normalize(2)(torch.tensor([[1.0, 3.0], [0.0, 0.0]])).expm1().round().tolist()
        [[2500.0, 7500.0], [0.0, 0.0]]
        """
        known = self.learned if measured is None else self.learned & measured
        counts = counts * known
        covered = (self.share * known).sum(dim=-1, keepdim=True)
        total = counts.sum(dim=1, keepdim=True).clamp(min=1.0)
        return torch.where(known, torch.log1p(counts * (SCALE * covered / total)), self.mean * self.learned)


class Classifier(nn.Module):
    """A stack of dense layers over normalized genes: no hidden layer is logistic regression, one or more an MLP."""

    def __init__(self, n_genes: int, n_leaves: int, units: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.normalize = Normalize(n_genes)
        sizes = (n_genes, *units, n_leaves)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:], strict=False))
        for layer in self.layers:  # LeCun normal, as selu wants it
            nn.init.normal_(layer.weight, std=1.0 / math.sqrt(layer.in_features))  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        nn.init.normal_(self.layers[-1].weight, std=0.1 / math.sqrt(sizes[-2]))  # type: ignore[arg-type]  # all near equal

    def forward(self, counts: Tensor, measured: Tensor | None = None) -> Tensor:
        """Return logits (cells, leaves) of raw counts (cells, genes)."""
        return self.logits(self.normalize(counts, measured))

    def embed(self, counts: Tensor, measured: Tensor | None = None) -> Tensor:
        """Return the last hidden layer (cells, units); the logits where there is none (cells, leaves)."""
        x = self.hidden(self.normalize(counts, measured))
        return x if len(self.layers) > 1 else self.layers[-1](x)

    def logits(self, x: Tensor) -> Tensor:
        """Return logits (cells, leaves) of normalized genes (cells, genes)."""
        return self.layers[-1](self.hidden(x))  # type: ignore[no-any-return]

    def hidden(self, x: Tensor) -> Tensor:
        """Return the last hidden layer (cells, units) of normalized genes; the genes where there is none."""
        for layer in self.layers[:-1]:
            x = nn.functional.selu(layer(x))
        return x


class LinearEmbedding(nn.Module):
    """A linear encoder and decoder with a negative binomial output, one dispersion per gene (nb_shared_disp)."""

    def __init__(self, n_genes: int, latent: int = 64) -> None:
        super().__init__()
        self.normalize = Normalize(n_genes)
        self.encoder = nn.Linear(n_genes, latent)
        self.decoder = nn.Linear(latent, n_genes)
        self.log_dispersion = nn.Parameter(torch.zeros(n_genes))
        nn.init.normal_(self.encoder.weight, std=1.0 / math.sqrt(n_genes))
        nn.init.normal_(self.decoder.weight, std=0.01)

    def embed(self, counts: Tensor, measured: Tensor | None = None) -> Tensor:
        """Return the latent code (cells, latent) of raw counts (cells, genes)."""
        return self.encoder(self.normalize(counts, measured))  # type: ignore[no-any-return]

    def forward(self, counts: Tensor, measured: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the expected counts (cells, genes) and the inverse dispersion (genes,), both > 0."""
        norm = self.normalize
        known = norm.learned if measured is None else norm.learned & measured
        covered = (norm.share * known).sum(dim=-1, keepdim=True).clamp(min=1e-6)
        total = (counts * known).sum(dim=1, keepdim=True) / covered  # had every learned gene been measured
        log_size = torch.log((total / SCALE).clamp(min=1e-3))
        log_mean = self.decoder(self.embed(counts, measured)) + log_size
        return log_mean.clamp(-LOG_CLIP, LOG_CLIP).exp(), self.log_dispersion.clamp(-LOG_CLIP, LOG_CLIP).exp()
