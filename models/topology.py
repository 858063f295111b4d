"""The closed registry of topologies: a name and a version stand for one architecture with its sizes.

Versions and sizes follow sfaira (`mlp` 0.1.1: one hidden layer of 128, selu). Nothing here is imported by a name that
was downloaded: what is not in the table does not exist.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from cellzoo.errors import NotFoundError

if TYPE_CHECKING:
    from cellzoo.models.networks import Classifier, LinearEmbedding

Task = Literal["celltype", "embedding"]


@dataclass(frozen=True)
class Topology:
    """One architecture."""

    task: Task
    """What it predicts."""
    name: str
    """For example ``mlp``."""
    version: str
    """For example ``0.1.1``."""
    units: tuple[int, ...] = ()
    """Sizes of the hidden layers, or of the latent space of an embedding."""

    def __str__(self) -> str:
        return f"{self.name}-{self.version}"

    def build(self, n_genes: int, n_leaves: int = 0) -> Classifier | LinearEmbedding:
        """Return the untrained network over ``n_genes`` genes (and ``n_leaves`` cell types)."""
        from cellzoo.models.networks import Classifier, LinearEmbedding

        if self.task == "celltype":
            return Classifier(n_genes, n_leaves, self.units)
        return LinearEmbedding(n_genes, *self.units)


TOPOLOGIES = (
    Topology("celltype", "linear", "0.0.1"),
    Topology("celltype", "mlp", "0.1.1", (128,)),
    Topology("embedding", "linear", "0.1", (64,)),
)


def topology(task: str, text: str) -> Topology:
    """Return the topology ``name-version`` (or ``name``: its newest version) of a task."""
    found = [one for one in TOPOLOGIES if one.task == task and text in {str(one), one.name}]
    if not found:
        known = ", ".join(f"{one.task} {one}" for one in TOPOLOGIES)
        raise NotFoundError(f"no topology {text!r} for task {task!r}; there are: {known}.")
    return found[-1]
