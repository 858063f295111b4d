"""A small store with layers, raw, proteins and places, and the same cells as AnnData in memory."""

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cellzoo.converters.celldata import CellData
from cellzoo.converters.store import build

CELLS, GENES = 300, 12


@pytest.fixture(scope="session")
def proteins():
    """Antibody counts of the cells, (cells, 4)."""
    return np.random.default_rng(1).poisson(40, (CELLS, 4)).astype(np.float32)


@pytest.fixture(scope="session")
def cells():
    """Cells with everything that an AnnData holds of them."""
    rng = np.random.default_rng(0)
    counts, spliced, raw = (
        sp.csr_matrix(rng.poisson(0.6, (CELLS, width)).astype(np.float32)) for width in (GENES, GENES, GENES + 3)
    )
    obs = pd.DataFrame(
        {
            "cell_type": pd.Categorical(rng.choice(np.array(["B", "T", None]), CELLS), categories=["T", "NK", "B"]),
            "donor": pd.Categorical(rng.choice(["d0", "d1", "d2"], CELLS)),
            "age": rng.integers(20, 80, CELLS),
        },
        index=[f"cell{number}" for number in range(CELLS)],
    )
    var = pd.DataFrame({"feature_name": [f"gene {n}" for n in range(GENES)]}, index=[f"ENSG{n}" for n in range(GENES)])
    whole = pd.DataFrame(index=[*var.index, "ERCC1", "ERCC2", "ERCC3"])
    adata = anndata.AnnData(counts, obs=obs, var=var, layers={"spliced": spliced}, uns={"title": "Blood"})
    adata.obsm["spatial"] = rng.normal(size=(CELLS, 2))
    adata.raw = anndata.AnnData(raw, obs=obs[[]], var=whole)
    return adata


@pytest.fixture(scope="session", params=["hot", "packed"])
def store(request, cells, proteins, tmp_path_factory):
    """The cells and their proteins as a store."""
    markers = pd.DataFrame(index=["CD3", "CD4", "CD8", "CD19"])
    protein = CellData.of(anndata.AnnData(sp.csr_matrix(proteins), obs=cells.obs[[]], var=markers))
    data = CellData.of(cells).with_(modalities={"protein": protein})
    path = tmp_path_factory.mktemp("store") / "cells.store"
    return build(path, [("blood", "0" * 64, lambda: data)], encoding=request.param)
