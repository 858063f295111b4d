"""A trained model: a network, its gene space, its label space, and where it came from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from cellzoo.errors import InputError
from cellzoo.models.labels import THRESHOLD, LabelSpace
from cellzoo.models.networks import Classifier, LinearEmbedding
from cellzoo.models.topology import Topology
from cellzoo.registry.genes import GeneSpace

if TYPE_CHECKING:
    import anndata

BATCH = 1024  # cells that are dense in memory at a time


@dataclass(frozen=True)
class Model:
    """A network that is ready to use; `annotate`, `embed` and `reconstruct` take AnnData, never change it."""

    topology: Topology
    """Architecture."""
    network: Classifier | LinearEmbedding
    """Weights, in evaluation mode."""
    space: GeneSpace
    """Genes of the input, in order."""
    labels: LabelSpace | None = None
    """What a cell type model predicts; None for an embedding."""
    about: dict[str, Any] = field(default_factory=dict)
    """Organ, training-data version, cellzoo version and what else the release says."""
    name: str = ""
    """Repository id, empty for a model that was not published."""
    commit: str = ""
    """40-hex commit of the release, empty for a model that was not published."""

    @property
    def key(self) -> str:
        """Return ``X_cellzoo_<task>_<topology>``, the key of the model's embedding in obsm."""
        return f"X_cellzoo_{self.topology.task}_{self.topology.name}"

    @property
    def learned(self) -> np.ndarray:
        """Return which genes of the space the model learned from, bool (genes,)."""
        return np.asarray(self.network.normalize.learned.numpy(), dtype=bool)

    @property
    def weight(self) -> np.ndarray:
        """Return how much of the model hangs on each gene: its share of the squared first weights, (genes,)."""
        first = self.network.layers[0] if isinstance(self.network, Classifier) else self.network.encoder
        squares = cast(torch.nn.Linear, first).weight.double().square().sum(dim=0) * self.network.normalize.learned
        return np.asarray((squares / squares.sum()).numpy())

    def named(self, name: str, commit: str) -> Model:
        """Return the same model under its repository id and commit."""
        return replace(self, name=name, commit=commit)

    def knowing(self, **more: Any) -> Model:
        """Return the same model with more said about it."""
        return replace(self, about={**self.about, **more})

    def probabilities(self, counts: sp.csr_matrix, measured: np.ndarray | None = None) -> np.ndarray:
        """Return leaf probabilities, float64 (cells, leaves), of raw counts over the model's gene space.

        measured: which genes of the space the file has, bool (genes,); by default all.
        """
        if self.labels is None:
            raise InputError(f"{self.name or self.topology}: is an embedding, it predicts no cell types.")
        network = cast(Classifier, self.network)
        return self._batched(counts, measured, lambda *x: torch.softmax(network(*x).double(), dim=1))

    def codes(self, counts: sp.csr_matrix, measured: np.ndarray | None = None) -> np.ndarray:
        """Return the embedding, float32 (cells, dimensions), of raw counts over the model's gene space."""
        return self._batched(counts, measured, self.network.embed).astype(np.float32)

    def means(self, counts: sp.csr_matrix, measured: np.ndarray | None = None) -> np.ndarray:
        """Return the expected counts, float32 (cells, genes), of raw counts over the model's gene space."""
        if not isinstance(self.network, LinearEmbedding):
            raise InputError(f"{self.name or self.topology}: is a classifier, it reconstructs no counts.")
        return self._batched(counts, measured, lambda *x: self.network(*x)[0]).astype(np.float32)

    def annotate(
        self, adata: anndata.AnnData, threshold: float = THRESHOLD, layer: str | None = None
    ) -> anndata.AnnData:
        """Return a copy with cell types in obs, the embedding in obsm and uns["cellzoo"]; see `annotate.annotate`."""
        from cellzoo.models.annotate import annotate

        return annotate(self, adata, threshold, layer)

    def embed(self, adata: anndata.AnnData, layer: str | None = None) -> anndata.AnnData:
        """Return a copy with the embedding in obsm[`key`] and uns["cellzoo"]."""
        from cellzoo.models.annotate import embed

        return embed(self, adata, layer)

    def reconstruct(self, adata: anndata.AnnData, layer: str | None = None) -> anndata.AnnData:
        """Return the expected counts over the model's gene space as a new AnnData (cells, genes)."""
        from cellzoo.models.annotate import reconstruct

        return reconstruct(self, adata, layer)

    def _batched(self, counts: sp.csr_matrix, measured: np.ndarray | None, function: Any) -> np.ndarray:
        known = None if measured is None else torch.from_numpy(measured)
        with torch.inference_mode():
            return np.concatenate([function(batch, known).numpy() for batch in _dense(counts)])


def _dense(counts: sp.csr_matrix) -> Iterator[Tensor]:
    for start in range(0, max(counts.shape[0], 1), BATCH):
        yield torch.from_numpy(counts[start : start + BATCH].toarray().astype(np.float32, copy=False))
