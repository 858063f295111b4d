"""Data of cells whose axes are in memory and whose matrices are read by ranges of cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
import pandas as pd

from cellzoo.converters.rows import Memory, Picked, Rows, Stacked, in_memory, to_csr
from cellzoo.errors import InputError

if TYPE_CHECKING:
    import mudata

MODALITIES = {"gene": "rna", "protein": "protein", "peak": "peak"}
"""Feature type -> name of its modality in MuData."""


@dataclass
class Raw:
    """The matrix of an AnnData's raw, with features of its own."""

    X: Rows
    """Values (cells, features)."""
    var: pd.DataFrame
    """The features."""
    varm: dict[str, Any] = field(default_factory=dict)
    """Arrays along the features."""

    def pick_features(self, at: np.ndarray, function: Callable[[Rows], Rows]) -> Raw:
        """Return some of the features, which ``function`` takes of the matrix."""
        varm = {name: _taken(array, at) for name, array in self.varm.items()}
        return Raw(function(self.X), self.var.iloc[at], varm)


@dataclass
class CellData:
    """What an AnnData holds, the matrices by ranges of cells; further features of the same cells as modalities."""

    obs: pd.DataFrame
    """Cells by name."""
    var: pd.DataFrame
    """Features by name."""
    X: Rows | None = None
    """Values (cells, features)."""
    layers: dict[str, Rows] = field(default_factory=dict)
    """Further values (cells, features)."""
    raw: Raw | None = None
    """Values over more features."""
    obsm: dict[str, Any] = field(default_factory=dict)
    """Arrays along the cells: embeddings, places in the tissue."""
    varm: dict[str, Any] = field(default_factory=dict)
    """Arrays along the features."""
    obsp: dict[str, Any] = field(default_factory=dict)
    """Matrices (cells, cells)."""
    varp: dict[str, Any] = field(default_factory=dict)
    """Matrices (features, features)."""
    uns: dict[str, Any] = field(default_factory=dict)
    """What is said about all cells."""
    modalities: dict[str, CellData] = field(default_factory=dict)
    """Feature type (protein, peak) -> its features, of the same cells in the same order."""

    @property
    def n_obs(self) -> int:
        """Return the number of cells."""
        return len(self.obs)

    @property
    def n_vars(self) -> int:
        """Return the number of features."""
        return len(self.var)

    @classmethod
    def of(cls, adata: anndata.AnnData) -> CellData:
        """Return an AnnData in memory as such; its frames and arrays are shared, not copied."""
        raw = adata.raw
        return cls(
            obs=adata.obs,
            var=adata.var,
            X=None if adata.X is None else Memory(in_memory(adata.X)),
            layers={name: Memory(in_memory(adata.layers[name])) for name in adata.layers if name is not None},
            raw=None if raw is None else Raw(Memory(in_memory(raw.X)), raw.var, dict(raw.varm)),
            obsm=dict(adata.obsm),
            varm=dict(adata.varm),
            obsp=dict(adata.obsp),
            varp=dict(adata.varp),
            uns=dict(adata.uns),
        )

    def to_anndata(self) -> anndata.AnnData:
        """Return the genes as an AnnData in memory, matrices as CSR; other modalities are in `to_mudata`."""
        adata = anndata.AnnData(
            X=None if self.X is None else to_csr(self.X),
            obs=self.obs.copy(),
            var=self.var.copy(),
            uns=dict(self.uns),
            obsm=self.obsm,
            varm=self.varm,
            obsp=self.obsp,
            varp=self.varp,
            layers={name: to_csr(rows) for name, rows in self.layers.items()},
            shape=(len(self.obs), len(self.var)) if self.X is None else None,
        )
        if self.raw is not None:
            adata.raw = anndata.AnnData(to_csr(self.raw.X), obs=self.obs[[]], var=self.raw.var, varm=self.raw.varm)
        return adata

    def to_mudata(self) -> mudata.MuData:
        """Return all modalities as a MuData in memory: the genes under ``rna``, the others under their feature type."""
        import mudata

        parts = {MODALITIES["gene"]: self} | {MODALITIES[name]: part for name, part in self.modalities.items()}
        with mudata.set_options(pull_on_update=False):
            return mudata.MuData({name: part.to_anndata() for name, part in parts.items()})

    def with_(self, **changes: Any) -> CellData:
        """Return the same data with other parts in place of those given; nothing else is copied."""
        return replace(self, **changes)

    def with_matrices(self, function: Callable[[Rows], Rows]) -> CellData:
        """Return the same data with X, the layers and the matrix of raw put through a function."""
        return replace(
            self,
            X=None if self.X is None else function(self.X),
            layers={name: function(rows) for name, rows in self.layers.items()},
            raw=None if self.raw is None else replace(self.raw, X=function(self.raw.X)),
        )

    def pick(self, cells: np.ndarray, function: Callable[[Rows], Rows] | None = None) -> CellData:
        """Return some of the cells, by increasing position; matrices are still read by ranges.

        ``function`` takes the cells of a matrix where they come in any order.
        """
        if np.array_equal(cells, np.arange(self.n_obs)):
            return self
        if function is None and (np.diff(cells) <= 0).any():
            raise InputError("cells are picked by increasing position, each once.")

        def rows(matrix: Rows) -> Rows:
            return Memory(matrix.csr[cells]) if isinstance(matrix, Memory) else Picked(matrix, cells)

        return replace(
            self.with_matrices(function or rows),
            obs=self.obs.iloc[cells],
            obsm={name: _taken(array, cells) for name, array in self.obsm.items()},
            obsp={name: matrix[cells][:, cells] for name, matrix in self.obsp.items()},
            modalities={name: part.pick(cells, function) for name, part in self.modalities.items()},
        )

    def pick_features(self, at: np.ndarray, function: Callable[[Rows], Rows]) -> CellData:
        """Return some of the features, which ``function`` takes of a matrix; what has its own (raw) keeps them."""
        return replace(
            self,
            var=self.var.iloc[at],
            X=None if self.X is None else function(self.X),
            layers={name: function(rows) for name, rows in self.layers.items()},
            varm={name: _taken(array, at) for name, array in self.varm.items()},
            varp={name: matrix[at][:, at] for name, matrix in self.varp.items()},
        )


LAYERS = "layers/"
"""Before the name of a layer that is called X or raw, as some are."""


def layer_address(name: str) -> str:
    """Return the name that a card gives a layer: its own, or ``layers/X`` and ``layers/raw``."""
    return f"{LAYERS}{name}" if name in {"X", "raw"} else name


def matrices(data: CellData) -> Mapping[str, Rows]:
    """Return every matrix by the name a card gives it: X, raw, and the layers."""
    found = {} if data.X is None else {"X": data.X}
    found |= {} if data.raw is None else {"raw": data.raw.X}
    return found | {layer_address(name): rows for name, rows in data.layers.items()}


def stack(parts: Mapping[str, CellData], label: str) -> CellData:
    """Return data with the same features as one, the cells named ``<cell>-<part>`` and the part in ``obs[label]``.

    Kept are the layers and modalities that all parts have, the columns of features that agree in all, ``measured``
    where all measured, every column of cells and array along the cells (empty where a part has none), and uns of the
    first.
    """
    first = next(iter(parts.values()))
    if len(parts) == 1:
        return first
    for name, part in parts.items():
        if not part.var.index.equals(first.var.index):
            raise InputError(f"{name}: has other features than {next(iter(parts))}; they cannot be joined.")
    axes = {
        name: anndata.AnnData(obs=part.obs, var=part.var, obsm=part.obsm, shape=(part.n_obs, part.n_vars))
        for name, part in parts.items()
    }
    joined = anndata.concat(axes, join="outer", label=label, merge="same", index_unique="-")
    var = joined.var.loc[first.var.index]
    if "measured" in first.var:
        var["measured"] = np.logical_and.reduce([part.var["measured"] for part in parts.values()])

    def common(name: str) -> list[str]:
        return [key for key in getattr(first, name) if all(key in getattr(part, name) for part in parts.values())]

    return CellData(
        obs=joined.obs,
        var=var,
        X=None if first.X is None else Stacked([part.X for part in parts.values() if part.X is not None]),
        layers={name: Stacked([part.layers[name] for part in parts.values()]) for name in common("layers")},
        obsm=dict(joined.obsm),
        uns=first.uns,
        modalities={
            name: stack({key: part.modalities[name] for key, part in parts.items()}, label)
            for name in common("modalities")
        },
    )


def _taken(array: Any, cells: np.ndarray) -> Any:
    return array.iloc[cells] if isinstance(array, pd.DataFrame) else array[cells]
