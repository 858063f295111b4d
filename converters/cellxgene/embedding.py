"""An embedding for data that have none, which CELLxGENE asks for: principal components, in bounded memory."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from cellzoo.converters.rows import Rows, blocks

COMPONENTS = 50
GENES = 1000
TOTAL = 10_000
"""Counts that each cell is scaled to before the logarithm."""


def pca(counts: Rows, genes: NDArray[np.object_]) -> NDArray[np.float32]:
    """Return the principal components of the cells, (cells, 2 to 50) float32, from raw counts.

    Each cell is scaled to 10,000 counts, then log(1 + x); of the 1,000 genes that vary most, those named first where
    several vary alike. The matrix is read three times by ranges of cells. The sign of a component is that which makes
    its largest loading positive, so that the result does not depend on the machine, nor on the order of genes or cells.
    """
    cells, number = counts.shape
    sums, squares = np.zeros(number), np.zeros(number)
    for _, block in blocks(counts):
        scaled = _logged(block)
        sums += np.asarray(scaled.sum(axis=0)).ravel()
        squares += np.asarray(scaled.multiply(scaled).sum(axis=0)).ravel()
    variance = np.round(squares / cells - (sums / cells) ** 2, 9)
    order = np.lexsort((genes.astype(str), -variance))
    chosen = order[: min(GENES, number)]
    chosen = chosen[np.argsort(genes[chosen].astype(str), kind="stable")]
    products = np.zeros((len(chosen), len(chosen)))
    for _, block in blocks(counts):
        part = _logged(block)[:, chosen]
        products += (part.T @ part).toarray()
    means = sums[chosen] / cells
    values, vectors = np.linalg.eigh(products / cells - np.outer(means, means))
    loadings = vectors[:, np.argsort(-values, kind="stable")[:COMPONENTS]]
    largest = np.abs(np.round(loadings, 9)).argmax(axis=0)
    loadings = loadings * np.where(loadings[largest, np.arange(loadings.shape[1])] < 0, -1.0, 1.0)
    found = np.zeros((cells, max(loadings.shape[1], 2)), dtype=np.float32)
    for start, block in blocks(counts):
        placed = _logged(block)[:, chosen] @ loadings - means @ loadings
        found[start : start + block.shape[0], : placed.shape[1]] = placed
    return found


def _logged(block: sp.csr_matrix) -> sp.csr_matrix:
    scaled = block.astype(np.float64)
    totals = np.asarray(scaled.sum(axis=1)).ravel()
    scaled.data *= np.repeat(TOTAL / np.where(totals > 0, totals, 1.0), np.diff(scaled.indptr))
    return scaled.log1p()
