"""Counts: checked, recovered exactly or refused, and found where a file keeps them."""

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from cellzoo.converters.celldata import CellData
from cellzoo.converters.counts import MAX_EXACT, counted, find_counts, problem, recover
from cellzoo.converters.rows import Memory, canonical, to_csr
from cellzoo.converters.streamline import raw_counts
from cellzoo.errors import CountsError
from cellzoo.registry.reading import Recover

LOG1P = Recover(undo="log1p", scale=10_000, depth="depth")
COUNTS = np.array([[1, 0, 3, 7], [0, 2, 5, 0], [1, 4, 0, 9]])

GOOD = {
    "integers": COUNTS,
    "integers as fractions": COUNTS.astype(np.float64),
    "small integers": COUNTS.astype(np.uint8),
    "the largest that float32 can tell": np.array([[MAX_EXACT - 1]]),
    "a cell without counts": np.array([[0, 0], [1, 2]]),
    "sparse by column": sp.csc_matrix(COUNTS),
    "triplets": sp.coo_matrix(COUNTS),
}


@pytest.mark.parametrize("matrix", GOOD.values(), ids=GOOD.keys())
def test_counts_come_back_as_csr_float32(matrix):
    counts = to_csr(counted(Memory(matrix), "X"))
    assert isinstance(counts, sp.csr_matrix)
    assert counts.dtype == np.float32
    assert counts.toarray().tolist() == (matrix.toarray() if sp.issparse(matrix) else matrix).tolist()


BAD = {
    "nothing": ([[0, 0]], "every value is zero"),
    "NaN": ([[1, np.nan], [np.inf, 2]], "2 values are NaN or infinite"),
    "negative": ([[-1, 2], [-0.5, 1]], "2 values are negative (smallest -1): scaled, not counted"),
    "log-normalized": (
        [[0.5, 2], [1, 3.25]],
        "2 of 4 values are not integers (largest 3.25): log-normalized, not coun",
    ),
    "normalized": ([[0.5, 2], [1, 325.5]], "2 of 4 values are not integers (largest 325.5): normalized, not counted"),
    "nearly": ([[1 + 1e-6, 2]], "1 of 2 values are not integers"),
    "2**24": ([[2**24, 1]], "the largest value is 16777216; counts above 16777216 are not held exactly"),
}


@pytest.mark.parametrize(("values", "message"), BAD.values(), ids=BAD.keys())
def test_what_are_no_counts_is_said_with_numbers(values, message):
    assert (problem(sp.csr_matrix(np.array(values))) or "").startswith(message)
    with pytest.raises(CountsError) as caught:
        counted(Memory(np.array(values)), "here")
    assert str(caught.value).startswith(f"here: {message}")
    assert str(caught.value).endswith(". Raw counts are expected: non-negative integers.")


def test_duplicate_entries_are_summed_and_explicit_zeros_dropped():
    matrix = sp.coo_matrix(([1, 2, 0], ([0, 0, 1], [1, 1, 0])), shape=(2, 2))
    csr = canonical(matrix)
    assert (csr.toarray().tolist(), csr.nnz) == ([[0, 3], [0, 0]], 1)


def test_looking_at_a_matrix_leaves_it_as_it_was():
    matrix = sp.csr_matrix((np.array([5.0, 0.0, 2.0, 1.0]), np.array([2, 0, 1, 1]), np.array([0, 2, 4])), shape=(2, 3))
    data, indices, indptr = matrix.data.copy(), matrix.indices.copy(), matrix.indptr.copy()
    find_counts(anndata.AnnData(matrix, obs=frame(2), var=frame(3)))
    counted(Memory(matrix), "X")
    assert (matrix.data == data).all() and (matrix.indices == indices).all() and (matrix.indptr == indptr).all()


# recovering


def frame(size, **columns):
    return pd.DataFrame(columns, index=[f"c{number}" for number in range(size)])


def normalized(counts, depth, scale=10_000.0, undo="log1p", dtype=np.float32):
    """Normalize as scanpy does: log(1 + count / depth * scale)."""
    scaled = counts / np.asarray(depth, dtype=np.float64)[:, None] * scale
    return np.asarray(np.log1p(scaled) / (1.0 if undo == "log1p" else np.log(2.0)), dtype=dtype)


def test_the_counts_of_the_real_log_normalized_data_are_integers_that_normalize_to_it(packaged, real):
    card, source = packaged.card("pbmc68k-reduced"), real("pbmc68k-reduced")
    counts = to_csr(raw_counts(CellData.of(source), card))
    assert (counts.data == np.rint(counts.data)).all() and counts.data.min() >= 1
    assert (counts.nnz, counts.shape) == (source.X.nnz, (700, 765))
    again = normalized(counts.toarray(), source.obs["n_counts"], dtype=np.float64)
    assert np.abs(again - source.X.toarray()).max() < 1e-3
    assert (source.obs["n_counts"].to_numpy() >= counts.sum(axis=1).A1).all(), "over some of the genes"


def test_the_counts_of_the_real_cpm_data_are_exact_per_cell(packaged, real):
    card, source = packaged.card("zheng2017-pbmc14k"), real("zheng2017-pbmc14k")
    counts = to_csr(raw_counts(CellData.of(source), card))
    assert (counts.data == np.rint(counts.data)).all()
    smallest = np.minimum.reduceat(counts.data, counts.indptr[:-1])
    assert (smallest == 1).all(), "a cell's smallest value is one molecule"
    totals = counts.sum(axis=1, dtype=np.float64).A1
    cpm = np.expm1(source.X.data * np.log(2.0))
    assert np.allclose(cpm, counts.data / np.repeat(totals, np.diff(counts.indptr)) * 1e6, rtol=1e-9), "to the last"
    assert (totals <= source.obs["nUMI"]).all(), "over some of the genes"


@st.composite
def drawn(draw):
    """Return counts and, for each cell, the total over these and all other genes."""
    cells, genes = draw(st.integers(1, 8)), draw(st.integers(1, 12))
    seed = draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    counts = random.negative_binomial(0.5, draw(st.floats(0.005, 0.9)), size=(cells, genes))
    counts[:, 0] = 1  # each cell has its one molecule
    return counts, counts.sum(axis=1) + random.integers(0, 20_000, size=cells)


@given(drawn(), st.sampled_from([1_000.0, 10_000.0, 1_000_000.0]), st.sampled_from(["log1p", "log2p1"]))
def test_counts_are_recovered_from_float32_at_any_depth_and_scale(made, scale, undo):
    counts, depth = made
    stored = normalized(counts, depth, scale, undo)
    recipe = Recover(undo=undo, scale=scale, depth="depth", tolerance=5e-6)
    back = recover(sp.csr_matrix(stored), recipe, frame(len(counts), depth=depth), "X")
    assert back.toarray().tolist() == counts.tolist()


@given(drawn(), st.sampled_from(["log1p", "log2p1"]))
def test_counts_are_recovered_from_the_smallest_value_alone(made, undo):
    counts, depth = made
    stored = normalized(counts, depth, 1e6, undo, dtype=np.float64)
    recipe = Recover(undo=undo, scale=1e6, depth="smallest")
    assert recover(sp.csr_matrix(stored), recipe, frame(len(counts)), "X").toarray().tolist() == counts.tolist()


@pytest.mark.parametrize("undo", ["log1p", "log2p1"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_counts_that_were_never_scaled_are_not_divided_by_the_smallest_of_a_cell(undo, dtype):
    counts = np.array([[2, 4, 0, 6], [1, 0, 2500, 3], [0, 0, 9, 0]])
    stored = normalized(counts, [1, 1, 1], 1, undo, dtype)
    recipe = Recover(undo=undo, scale=1, depth="unscaled")
    assert recover(sp.csr_matrix(stored), recipe, frame(3), "X").toarray().tolist() == counts.tolist()


def test_a_total_that_is_text_counts_and_one_that_is_a_word_is_named():
    obs = frame(3, depth=pd.Categorical([str(depth) for depth in DEPTH]), word=["1", "many", "2"])
    assert recover(STORED, LOG1P, obs, "X").toarray().tolist() == COUNTS.tolist()
    with pytest.raises(CountsError) as caught:
        recover(STORED, LOG1P.model_copy(update={"depth": "word"}), obs, "X")
    message = "column 'word' holds 'many' for cell 'c1', expected each cell's total count. Check counts.recover.depth."
    assert str(caught.value) == f"X: {message}"


def test_a_cell_without_values_has_no_counts():
    stored = normalized(COUNTS, [100, 100, 100])
    stored[1] = 0
    for depth in ("depth", "smallest"):
        recipe = LOG1P.model_copy(update={"depth": depth})
        back = recover(stored, recipe, frame(3, depth=[100, 100, 100]), "X")
        assert back.toarray().tolist() == [[1, 0, 3, 7], [0, 0, 0, 0], [1, 4, 0, 9]]


DEPTH = [1013, 2027, 911]
STORED = normalized(COUNTS, DEPTH)
NOISE = np.where(COUNTS > 0, np.float32(1e-4), np.float32(0)).astype(np.float32)
NOT_RECOVERED = {
    "another scale": (STORED, {"scale": 12_345}, "cannot be recovered by undoing log1p at scale 12345"),
    "another logarithm": (STORED, {"undo": "log2p1"}, "cannot be recovered by undoing log2p1 at scale 10000"),
    "noise": (STORED + NOISE, {}, "misses a stored value by 0.0001 (allowed 1e-06)"),
    "twice normalized": (np.log1p(STORED), {}, "cannot be recovered by undoing log1p"),
    "rounded too much to tell counts apart": (
        normalized(np.array([[5000, 5001, 5]] * 3), [1e6] * 3).round(3),
        {"depth": "large", "tolerance": 0.01},
        "values do not tell one count from the next",
    ),
    "no such column": (STORED, {"depth": "n_counts"}, "counts.recover.depth: no column 'n_counts' of cells; found ["),
    "scaled, though said not to be": (
        STORED,
        {"depth": "unscaled", "scale": 1},
        "cannot be recovered by undoing log1p at scale 1: ",
    ),
    "cells without a total": (STORED, {"depth": "zero"}, "column 'zero' holds cells without a positive total count."),
    "unknown totals": (STORED, {"depth": "nan"}, "column 'nan' holds cells without a positive total count."),
    "negative values": (-STORED, {}, "holds negative or non-finite values, which no logarithm of counts gives."),
    "NaN": (STORED * np.nan, {}, "holds negative or non-finite values"),
}


@pytest.mark.parametrize(("stored", "change", "message"), NOT_RECOVERED.values(), ids=NOT_RECOVERED.keys())
def test_what_cannot_be_recovered_is_refused_with_numbers(stored, change, message):
    obs = frame(3, depth=DEPTH, zero=[0, 1, 1], nan=[np.nan, 1, 1], large=[1e6] * 3)
    with pytest.raises(CountsError) as caught:
        recover(stored, LOG1P.model_copy(update=change), obs, "X")
    assert str(caught.value).startswith("X: ")
    assert message in str(caught.value)
    if "cannot be recovered" in message:
        assert "worst cell 'c" in str(caught.value)
        assert str(caught.value).endswith("Check counts.recover: undo, scale and depth.")


# finding


@pytest.fixture
def adata():
    """Return a file as scanpy leaves it: X scaled, raw log-normalized, counts in a layer."""
    obs, var = frame(3), pd.DataFrame(index=list("abcd"))
    adata = anndata.AnnData(STORED - 1, obs=obs, var=var)
    adata.raw = anndata.AnnData(STORED, obs=obs, var=pd.DataFrame(index=list("efgh")))
    return adata


def with_layers(adata, **layers):
    for name, values in layers.items():
        adata.layers[name] = values
    return adata


def test_counts_in_x_come_first(adata):
    adata.X = COUNTS.astype(np.float32)
    found = find_counts(with_layers(adata, counts=COUNTS * 2))
    assert (found.where, list(found.var.index)) == ("X", list("abcd"))
    assert found.matrix.toarray().tolist() == COUNTS.tolist()


def test_counts_in_raw_come_with_their_own_genes(adata):
    adata.raw = anndata.AnnData(COUNTS.astype(np.float32), obs=frame(3), var=pd.DataFrame(index=list("efgh")))
    found = find_counts(with_layers(adata, counts=COUNTS * 2))
    assert (found.where, list(found.var.index)) == ("raw.X", list("efgh"))


LAYERS = [
    ({"counts": COUNTS}, "counts"),
    ({"Counts": COUNTS}, "Counts"),
    ({"a": COUNTS * 3, "umi": COUNTS}, "umi"),  # a usual name before any other
    ({"counts": STORED, "other": COUNTS}, "other"),  # what it holds counts, not what it is called
    ({"b": COUNTS, "a": COUNTS * 3}, "a"),  # else the first by name
]


@pytest.mark.parametrize(("layers", "name"), LAYERS, ids=[", ".join(row[0]) for row in LAYERS])
def test_counts_in_layers_are_found_by_name_then_by_what_they_hold(adata, layers, name):
    found = find_counts(with_layers(adata, **layers))
    assert found.where == f"layers[{name!r}]"
    assert found.matrix.toarray().tolist() == layers[name].tolist()


def test_the_layer_asked_for_is_taken_and_no_other(adata):
    with_layers(adata, counts=COUNTS, more=COUNTS * 2)
    assert find_counts(adata, layer="more").matrix.toarray().tolist() == (COUNTS * 2).tolist()
    with pytest.raises(CountsError, match=r"Looked at:\n  raw.X: .* log-normalized, not counted\nModels are trained"):
        find_counts(adata, layer="raw")
    with pytest.raises(CountsError) as caught:
        find_counts(adata, layer="umis")
    assert str(caught.value) == "there is no layers['umis']; the file has layers ['counts', 'more']."


def test_no_counts_anywhere_lists_every_place_and_what_to_do(adata):
    with pytest.raises(CountsError) as caught:
        find_counts(with_layers(adata, scaled=STORED - 1, zero=STORED * 0))
    lines = str(caught.value).split("\n")
    assert lines[0] == "no raw counts found. Looked at:"
    assert [line.split(":")[0].strip() for line in lines[1:5]] == ["X", "raw.X", "layers['scaled']", "layers['zero']"]
    assert "4 values are negative" in lines[1]
    assert lines[5].endswith("(adata.layers['counts'] = adata.X.copy()) and pass that file.")


def test_a_file_without_any_matrix_says_so():
    with pytest.raises(CountsError, match="nothing: X is empty and there are no layers"):
        find_counts(anndata.AnnData(obs=frame(2), var=frame(2)))


def test_counts_are_found_in_a_file_on_disk(adata, tmp_path):
    with_layers(adata, counts=sp.csr_matrix(COUNTS.astype(np.float32))).write_h5ad(tmp_path / "x.h5ad")
    backed = anndata.read_h5ad(tmp_path / "x.h5ad", backed="r")
    try:
        assert find_counts(backed).matrix.toarray().tolist() == COUNTS.tolist()
    finally:
        backed.file.close()
