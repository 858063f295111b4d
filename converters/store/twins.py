"""The kernels of the store in plain NumPy: slow, short, and what the compiled ones are held against."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from cellzoo.converters.store.kernels import LONG_GAP


def encode(values: np.ndarray, sentinel: int, dtype: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return codes, and places and values of what does not fit below ``sentinel`` (0: everything fits)."""
    fits = np.full(len(values), True) if not sentinel else (values >= 0) & (values < sentinel) & (values % 1 == 0)
    codes = np.where(fits, values, sentinel).astype(dtype)
    return codes, np.flatnonzero(~fits), values[~fits].astype(np.float64)


def pack(indptr: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Return the gaps between the ids of each row as bytes."""
    gaps: list[int] = []
    for first, last in zip(indptr[:-1], indptr[1:], strict=True):
        for gap in (np.diff(ids[first:last].astype(np.int64), prepend=-1) - 1).tolist():
            gaps += [LONG_GAP] * (gap // LONG_GAP) + [gap % LONG_GAP]
    return np.array(gaps, np.uint8)


def unpack(ends: np.ndarray, wanted: np.ndarray, gaps: np.ndarray, packed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ids and codes of some rows of a group, one after the other."""
    counted = np.add.accumulate(gaps, dtype=np.int64)[gaps < LONG_GAP]  # what one gap and all before it span
    ids, codes = [np.empty(0, np.int64)], [packed[:0]]
    for row in wanted:
        first, last = ends[row : row + 2] - ends[0]
        ids.append(counted[first:last] - (counted[first - 1] if first else 0) + np.arange(last - first))
        codes.append(packed[first:last])
    return np.concatenate(ids), np.concatenate(codes)


def gather(
    whole: sp.csr_matrix,
    rows: np.ndarray,
    normalize: float | None = None,
    log1p: bool = False,
    columns: np.ndarray | None = None,
) -> np.ndarray:
    """Return rows of a matrix in memory, dense float64, as `Matrix.gather` gives them."""
    dense: np.ndarray = whole[rows].toarray().astype(np.float64)
    if normalize is not None:
        totals = dense.sum(axis=1, keepdims=True)
        dense *= np.divide(normalize, totals, out=np.ones_like(totals), where=totals != 0)
    dense = np.log1p(dense) if log1p else dense
    return dense if columns is None else dense[:, columns]
