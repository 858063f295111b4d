"""Raw counts: check them, recover them from log-normalized values, find them in an AnnData."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from cellzoo.errors import CountsError
from cellzoo.registry.reading import Recover

if TYPE_CHECKING:
    import anndata
    import pandas as pd

MAX_EXACT = 2**24
"""Largest integer up to which float32 holds every integer exactly."""

COUNT_LAYERS = ("counts", "raw_counts", "count", "raw", "umi", "umis", "spliced_unspliced")
"""Names of layers that usually hold raw counts, looked at first."""


def as_csr(matrix: Any) -> sp.csr_matrix:
    """Return cells x genes as CSR without duplicate entries and explicit zeros; a matrix on disk is read."""
    if not sp.issparse(matrix) and not isinstance(matrix, np.ndarray):
        matrix = matrix.to_memory() if hasattr(matrix, "to_memory") else matrix[:]
    csr = sp.csr_matrix(matrix, copy=sp.issparse(matrix))  # the next lines change it in place
    csr.sum_duplicates()
    csr.eliminate_zeros()
    return csr


def problem(matrix: sp.csr_matrix) -> str | None:
    """Return what keeps a matrix from being raw counts, as a sentence, or None where it is raw counts."""
    values = matrix.data
    if not values.size:
        return "every value is zero"
    if not np.isfinite(values).all():
        return f"{int((~np.isfinite(values)).sum())} values are NaN or infinite"
    if values.min() < 0:
        return f"{int((values < 0).sum())} values are negative (smallest {values.min():.4g}): scaled, not counted"
    fractions = int((values != np.rint(values)).sum())
    if fractions:
        kind = "log-normalized" if values.max() < 20 else "normalized"
        return f"{fractions} of {values.size} values are not integers (largest {values.max():.4g}): {kind}, not counted"
    if values.max() >= MAX_EXACT:
        return f"the largest value is {values.max():.0f}; counts above {MAX_EXACT} are not held exactly"
    return None


def to_counts(matrix: Any, where: str) -> sp.csr_matrix:
    """Return raw counts as CSR float32, or raise `CountsError` that says what ``where`` holds instead."""
    csr = as_csr(matrix)
    if found := problem(csr):
        raise CountsError(f"{where}: {found}. Raw counts are expected: non-negative integers.")
    return csr.astype(np.float32)


def recover(matrix: Any, recipe: Recover, obs: pd.DataFrame, where: str) -> sp.csr_matrix:
    """Return the exact counts behind log-normalized values as CSR float32 (cells, genes).

    A value v of a cell with total count n was log(1 + c / n * scale); c = (exp(v) - 1) * n / scale must be an integer
    within what the stored precision allows: normalizing the rounded counts again must give each stored value within
    ``recipe.tolerance``, and that precision must tell neighbouring counts apart. `CountsError` with the largest
    deviation otherwise.
    """
    stored = as_csr(matrix).astype(np.float64)
    if stored.data.size and (stored.data.min() < 0 or not np.isfinite(stored.data).all()):
        raise CountsError(f"{where}: holds negative or non-finite values, which no logarithm of counts gives.")
    cell_of = np.repeat(np.arange(stored.shape[0]), np.diff(stored.indptr))
    base = 1.0 if recipe.undo == "log1p" else np.log(2.0)
    scaled = np.expm1(stored.data * base)
    unit = _unit(scaled, cell_of, stored.shape[0], recipe, obs, where)  # what one count became, per cell
    exact = scaled / unit[cell_of]
    counts = np.rint(exact)
    again = np.log1p(counts * unit[cell_of]) / base
    worst = float(np.abs(again - stored.data).max(initial=0.0))
    # the stored value moves by this much from one count to the next
    step = np.log1p(unit[cell_of] / (1.0 + counts * unit[cell_of])) / base
    unclear = int((step < 2 * worst).sum())
    if worst > recipe.tolerance or (counts < 1).any() or unclear:
        cell = int(cell_of[np.abs(exact - counts).argmax()]) if exact.size else 0
        raise CountsError(
            f"{where}: counts cannot be recovered by undoing {recipe.undo} at scale {recipe.scale:g}: normalizing the "
            f"nearest integers again misses a stored value by {worst:.3g} (allowed {recipe.tolerance:g}), "
            f"{unclear} values do not tell one count from the next; worst cell {obs.index[cell]!r}. "
            "Check counts.recover: undo, scale and depth."
        )
    recovered = sp.csr_matrix((counts, stored.indices, stored.indptr), shape=stored.shape)
    return to_counts(recovered, where)


def _unit(
    scaled: np.ndarray, cell_of: np.ndarray, n_cells: int, recipe: Recover, obs: pd.DataFrame, where: str
) -> np.ndarray:
    if recipe.depth == "smallest":
        unit = np.full(n_cells, np.inf)
        np.minimum.at(unit, cell_of, scaled)
        unit[np.isinf(unit)] = 1.0  # a cell without any value
        return unit
    if recipe.depth not in obs:
        raise CountsError(f"{where}: counts.recover.depth: no column {recipe.depth!r} of cells; found {list(obs)}.")
    depth = obs[recipe.depth].to_numpy(dtype=np.float64)
    if not (depth > 0).all():
        raise CountsError(f"{where}: column {recipe.depth!r} holds cells without a positive total count.")
    return np.asarray(recipe.scale / depth)


@dataclass(frozen=True)
class FoundCounts:
    """Where an AnnData holds its raw counts."""

    where: str
    """``X``, ``raw.X`` or ``layers['name']``."""
    matrix: sp.csr_matrix
    """Counts, CSR float32 (cells, genes)."""
    var: pd.DataFrame
    """The genes of that matrix."""


def find_counts(adata: anndata.AnnData, layer: str | None = None) -> FoundCounts:
    """Return the raw counts of an AnnData: ``layer`` where given, else the first of X, raw.X and the layers that fits.

    Raises `CountsError` that lists each place that was looked at and what it holds.
    """
    places: list[tuple[str, Any, pd.DataFrame]] = [("X", adata.X, adata.var)] if adata.X is not None else []
    if adata.raw is not None:
        places.append(("raw.X", adata.raw.X, adata.raw.var))
    names = [name for name in adata.layers if name is not None]
    names.sort(key=lambda name: (str(name).lower() not in COUNT_LAYERS, str(name)))
    places += [(f"layers[{name!r}]", adata.layers[name], adata.var) for name in names]
    if layer is not None:
        wanted = {"X": "X", "raw": "raw.X", "raw.X": "raw.X"}.get(layer, f"layers[{layer!r}]")
        if not (places := [place for place in places if place[0] == wanted]):
            raise CountsError(f"there is no {wanted}; the file has layers {[str(name) for name in names]}.")
    looked = []
    for where, matrix, var in places:
        csr = as_csr(matrix)
        found = problem(csr)
        if found is None:
            return FoundCounts(where, csr.astype(np.float32), var)
        looked.append(f"{where}: {found}")
    raise CountsError(
        "no raw counts found. Looked at:\n  "
        + "\n  ".join(looked or ["nothing: X is empty and there are no layers"])
        + "\nModels are trained on raw counts and normalize them themselves. Save the counts before normalizing "
        "(adata.layers['counts'] = adata.X.copy()) and pass that file."
    )
