"""Raw counts: check them, recover them from log-normalized values, find them in an AnnData."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellzoo.converters.rows import Mapped, Rows, blocks, canonical, in_memory
from cellzoo.errors import CountsError
from cellzoo.registry.reading import Recover

if TYPE_CHECKING:
    import anndata

MAX_EXACT = 2**24
"""Largest integer up to which float32 holds every integer exactly."""

COUNT_LAYERS = ("counts", "raw_counts", "count", "raw", "umi", "umis", "spliced_unspliced")
"""Names of layers that usually hold raw counts, looked at first."""

SMALLEST, UNSCALED = "smallest", "unscaled"
"""Words for a recipe's depth: one count is a cell's smallest value, or in every cell ``scale``."""


class Judge:
    """What keeps values from being raw counts, seen block by block."""

    def __init__(self) -> None:
        self.values = self.unreal = self.negative = self.fractions = 0
        self.least, self.most = np.inf, -np.inf

    def see(self, values: np.ndarray) -> None:
        """Take further values, without the zeros, into account."""
        if not values.size:
            return
        self.values += values.size
        if values.dtype.kind == "f":
            self.unreal += int((~np.isfinite(values)).sum())
            self.fractions += int((values != np.rint(values)).sum())
        self.negative += int((values < 0).sum())
        self.least, self.most = min(self.least, float(values.min())), max(self.most, float(values.max()))

    def problem(self) -> str | None:
        """Return what was wrong, as a sentence, or None where all values are raw counts."""
        if not self.values:
            return "every value is zero"
        if self.unreal:
            return f"{self.unreal} values are NaN or infinite"
        if self.negative:
            return f"{self.negative} values are negative (smallest {self.least:.4g}): scaled, not counted"
        if self.fractions:
            kind = "log-normalized" if self.most < 20 else "normalized"
            found = f"{self.fractions} of {self.values} values are not integers (largest {self.most:.4g})"
            return f"{found}: {kind}, not counted"
        if self.most >= MAX_EXACT:
            return f"the largest value is {self.most:.0f}; counts above {MAX_EXACT} are not held exactly"
        return None


def problem(matrix: sp.csr_matrix) -> str | None:
    """Return what keeps a matrix from being raw counts, as a sentence, or None where it is raw counts."""
    judge = Judge()
    judge.see(matrix.data)
    return judge.problem()


def counted(rows: Rows, where: str, see: Callable[[int, sp.csr_matrix], None] = lambda *_: None) -> Rows:
    """Return raw counts as float32 by ranges of cells, or raise `CountsError` that says what ``where`` holds instead.

    One pass looks at every value; ``see`` is told the start of each block, and the block.
    """
    judge = Judge()
    for start, block in blocks(rows):
        judge.see(block.data)
        see(start, block)
    if found := judge.problem():
        raise CountsError(f"{where}: {found}. Raw counts are expected: non-negative integers.")
    return Mapped(rows, rows.shape[1], lambda block, _: block.astype(np.float32))


def recover(matrix: Any, recipe: Recover, obs: pd.DataFrame, where: str) -> sp.csr_matrix:
    """Return the counts behind log-normalized values as CSR float32 (cells, genes).

    A value v of a cell with total count n was log(1 + c / n * scale); c = (exp(v) - 1) * n / scale must be an integer
    within what the stored precision allows: normalizing the rounded counts again must give each stored value within
    ``recipe.tolerance``, and that precision must tell neighbouring counts apart. `CountsError` with the largest
    deviation otherwise. Depth `UNSCALED` takes ``scale`` as what one count became in every cell. Depth `SMALLEST` takes
    a cell's smallest value as one count, which nothing proves: the counts of a cell that share a factor lose it.
    """
    stored = canonical(matrix).astype(np.float64)
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
    return sp.csr_matrix((counts.astype(np.float32), stored.indices, stored.indptr), shape=stored.shape)


def _unit(
    scaled: np.ndarray, cell_of: np.ndarray, n_cells: int, recipe: Recover, obs: pd.DataFrame, where: str
) -> np.ndarray:
    if recipe.depth == UNSCALED:
        return np.full(n_cells, float(recipe.scale))
    if recipe.depth == SMALLEST:
        unit = np.full(n_cells, np.inf)
        np.minimum.at(unit, cell_of, scaled)
        unit[np.isinf(unit)] = 1.0  # a cell without any value
        return unit
    if recipe.depth not in obs:
        raise CountsError(f"{where}: counts.recover.depth: no column {recipe.depth!r} of cells; found {list(obs)}.")
    said = obs[recipe.depth]
    said = said if pd.api.types.is_numeric_dtype(said) else said.astype(object)
    total = pd.to_numeric(said, errors="coerce")
    if len(wrong := np.flatnonzero(total.isna() & said.notna())):
        found = f"column {recipe.depth!r} holds {said.iloc[wrong[0]]!r} for cell {obs.index[wrong[0]]!r}"
        raise CountsError(f"{where}: {found}, expected each cell's total count. Check counts.recover.depth.")
    depth = total.to_numpy(dtype=np.float64)
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
        csr = canonical(in_memory(matrix))
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
