"""Features of several kinds in one matrix: genes stay, proteins and peaks become modalities of the same cells."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cellzoo.converters.celldata import CellData
from cellzoo.converters.formats.features import feature_types, split_features
from cellzoo.converters.rows import Mapped, Memory, to_csr
from cellzoo.errors import InputError

COUNTS = np.arange(12).reshape(2, 6)
SAID = ["Gene Expression", "adt", "Peaks", "gene", "CRISPR Guide Capture", "Protein"]


def made(said, lazy=False):
    rows = Memory(sp.csr_matrix(COUNTS))
    X = Mapped(rows, 6, lambda block, _: block, rows.dtype) if lazy else rows
    obs = pd.DataFrame({"label": ["B", "T"]}, index=["c1", "c2"])
    var = pd.DataFrame({"kind": said}, index=[f"f{at}" for at in range(6)])
    return CellData(obs, var, X, {"twice": Memory(sp.csr_matrix(COUNTS * 2))}, obsm={"X_umap": np.ones((2, 2))})


def values(rows):
    return to_csr(rows).toarray().tolist()


@pytest.mark.parametrize("lazy", [False, True], ids=["in memory", "by ranges"])
def test_each_kind_has_its_columns_of_every_matrix(lazy):
    split = split_features(made(SAID, lazy), "kind")
    parts = {
        "gene": (split, [0, 3, 4]),
        "protein": (split.modalities["protein"], [1, 5]),
        "peak": (split.modalities["peak"], [2]),
    }
    for part, at in parts.values():
        assert values(part.X) == COUNTS[:, at].tolist()
        assert values(part.layers["twice"]) == (COUNTS[:, at] * 2).tolist()
        assert list(part.var.index) == [f"f{number}" for number in at]
        assert list(part.obs.index) == ["c1", "c2"]
    assert list(split.obs["label"]) == ["B", "T"]
    assert set(split.obsm) == {"X_umap"}
    assert not split.modalities["protein"].obsm, "what belongs to the cells stays with the genes"


@pytest.mark.parametrize("kind", ["gene", "Peaks", "Antibody Capture"])
def test_features_of_one_kind_stay_together(kind):
    data = made([kind] * 6)
    assert split_features(data, "kind") is data


def test_a_column_that_is_not_there_is_said():
    with pytest.raises(InputError) as caught:
        split_features(made(SAID), "type")
    assert str(caught.value) == "no column 'type' of features; found ['kind']."


def test_feature_types_are_told_by_what_sources_call_them():
    assert feature_types(SAID) == ["gene", "protein", "peak", "gene", "CRISPR Guide Capture", "protein"]
