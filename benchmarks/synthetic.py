"""Synthetic counts that are computed when they are read: as many cells as are wanted, without a file.

Each cell draws its molecules from the profile of one of 30 cell types, so that gene means are log-normal, genes are in
no order of detection, and counts are mostly 1 with a long tail. A cell is a function of its number alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numba import njit

from cellzoo.converters.celldata import CellData

TYPES, GUIDE = 30, 2**18


class Synthetic:
    """A matrix of `cells` x `genes` with `molecules` a cell on average: 5,700 give about 2,400 non-zeros."""

    def __init__(self, cells: int, genes: int, molecules: int) -> None:
        rng = np.random.default_rng(0)
        means = rng.lognormal(0, 2, genes)
        at = (np.arange(GUIDE) + 0.5) / GUIDE
        profiles = means * rng.lognormal(0, 0.7, (TYPES, genes))
        self.guide = np.stack([np.searchsorted(np.cumsum(p / p.sum()), at) for p in profiles]).astype(np.uint16)
        self.molecules = molecules
        self.shape: tuple[int, int] = (cells, genes)
        self.dtype: np.dtype[Any] = np.dtype(np.float32)

    def read(self, start: int, stop: int) -> sp.csr_matrix:
        """Return those cells."""
        cells, genes = stop - start, self.shape[1]
        columns = np.empty(cells * min(2 * self.molecules, genes), np.int32)
        values, indptr = np.empty(len(columns), np.float32), np.zeros(cells + 1, np.int32)
        _draw(start, self.guide, self.molecules, np.zeros(genes, np.int32), indptr, columns, values)
        columns, values = columns[: indptr[-1]].copy(), values[: indptr[-1]].copy()
        csr = sp.csr_matrix((values, columns, indptr), shape=(cells, genes))
        csr.has_canonical_format = True
        return csr


def synthetic(cells: int, genes: int, molecules: int) -> CellData:
    """Return such cells with their types and donors."""
    numbers = np.arange(cells)
    kinds = pd.Categorical.from_codes(numbers % TYPES, pd.Index([f"type {number}" for number in range(TYPES)]))
    donors = pd.Categorical.from_codes(numbers * 8 // max(cells, 1), pd.Index([f"donor {n}" for n in range(8)]))
    obs = pd.DataFrame({"cell_type": kinds, "donor_id": donors}, index=pd.Index(numbers.astype(str)))
    var = pd.DataFrame(index=pd.Index([f"ENSG{number:011d}" for number in range(genes)]))
    return CellData(obs=obs, var=var, X=Synthetic(cells, genes, molecules))


@njit(nogil=True, cache=True)
def _draw(  # noqa: PLR0913, PLR0917
    start: int,
    guide: np.ndarray,
    molecules: int,
    tally: np.ndarray,
    indptr: np.ndarray,
    columns: np.ndarray,
    values: np.ndarray,
) -> None:
    filled = 0
    for cell in range(len(indptr) - 1):
        kind = (start + cell) % len(guide)
        state = np.uint64(start + cell + 1) * np.uint64(0x9E3779B97F4A7C15)
        wanted = molecules // 2 + (start + cell) * 7919 % molecules  # half to one and a half times the average
        for _ in range(wanted):  # xorshift64*, Marsaglia 2003
            state ^= state >> np.uint64(12)
            state ^= state << np.uint64(25)
            state ^= state >> np.uint64(27)
            tally[guide[kind, (state * np.uint64(0x2545F4914F6CDD1D)) >> np.uint64(46)]] += 1
        for gene in range(len(tally)):
            if tally[gene]:
                columns[filled], values[filled] = gene, tally[gene]
                filled += 1
                tally[gene] = 0
        indptr[cell + 1] = filled
