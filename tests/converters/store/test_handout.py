"""Cells of a store in the hands of other tools: the same cells, read by those tools themselves."""

import warnings
from functools import partial
from typing import Any

import anndata
import dask.array
import mudata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cellzoo.converters.celldata import CellData
from cellzoo.converters.h5ad import write_h5ad
from cellzoo.converters.rows import Memory
from cellzoo.converters.store import build, huggingface
from cellzoo.converters.store.handout import dask_array, lazy, lazy_mudata, select, write_zarr
from cellzoo.converters.store.huggingface import write_dataset
from cellzoo.errors import GenesError, InputError, WorldError

SOME = np.array([5, 90, 6, 40, 0])


def assert_equal(got, expected):
    """Every part of two AnnData is the same, to the type of each column."""
    pd.testing.assert_frame_equal(got.obs, expected.obs)
    pd.testing.assert_frame_equal(got.var, expected.var)
    assert list(got.layers) == list(expected.layers)
    pairs = [(got.X, expected.X), *((got.layers[name], expected.layers[name]) for name in expected.layers)]
    if expected.raw is not None:
        pd.testing.assert_frame_equal(got.raw.var, expected.raw.var)
        pairs.append((got.raw.X, expected.raw.X))
    for one, other in pairs:
        assert one.shape == other.shape
        assert (one != other).nnz == 0
    assert set(got.obsm) == set(expected.obsm)
    for name in expected.obsm:
        np.testing.assert_array_equal(got.obsm[name], expected.obsm[name])
    assert got.uns == expected.uns


def counts_only(store, rows=None):
    """Leave out the proteins, for formats that hold one matrix of features."""
    return select(store, rows).with_(modalities={})


def test_the_whole_store_is_what_went_in(store, cells):
    assert_equal(select(store).to_anndata(), cells)


def test_rows_in_any_order_and_genes_by_name_are_what_anndata_would_give(store, cells):
    genes = list(cells.var_names[[11, 3, 4]])
    expected = cells[SOME, genes].copy()
    got = select(store, SOME, genes).to_anndata()
    got.strings_to_categoricals()
    for name in ("cell_type",):  # anndata drops what no cell has, the store keeps the categories
        got.obs[name] = got.obs[name].cat.remove_unused_categories()
    assert_equal(got, expected)


def test_one_of_several_data_sets_is_selected_from_with_its_own_genes(cells, tmp_path):
    other = cells[100:200, ::-1].copy()  # the same genes in another order
    items = [("first", cells[:100].copy()), ("second", other)]
    opened = [(name, "0" * 64, partial(CellData.of, part)) for name, part in items]
    store = build(tmp_path / "two", opened)
    genes = list(other.var_names[[3, 0]])
    got = select(store.celldata("second"), [8, 2], genes).to_anndata()
    assert (got.X != other[[8, 2], genes].X).nnz == 0
    assert (lazy(store.celldata("second")).X.compute() != other.X).nnz == 0


def test_a_mask_selects_cells(store, cells):
    mask = (cells.obs["donor"] == "d1").to_numpy()
    assert (cells.X[mask] != select(store, mask).to_anndata().X).nnz == 0


def test_proteins_of_the_same_cells_come_along(store, proteins):
    part = select(store, SOME)
    assert (part.modalities["protein"].to_anndata().X.toarray() == proteins[SOME]).all()


@pytest.mark.parametrize("genes", [["ENSG3", "TP53"], ["TP53"]])
def test_genes_that_the_store_lacks_are_named(store, genes):
    with pytest.raises(GenesError, match="1 of [12] genes are not in the store: TP53"):
        select(store, genes=genes)


def test_rows_that_the_store_lacks_are_refused(store):
    with pytest.raises(InputError, match="rows 0 to 500"):
        select(store, [0, 500])


def test_a_dask_array_has_csr_blocks_of_whole_row_groups(store, cells, monkeypatch):
    monkeypatch.setattr("cellzoo.converters.store.handout.BLOCK_BYTES", 2000)
    array = dask_array(store.rows())
    assert isinstance(array, dask.array.Array)
    assert len(array.chunks[0]) == (3 if store.matrix("X").encoding == "hot" else 1)  # 300 cells pack into one group
    groups = set(store.matrix("X").groups.tolist()) | {store.shape[0]}
    assert set(np.cumsum(array.chunks[0]).tolist()) <= groups
    assert isinstance(array.blocks[0].compute(), sp.csr_matrix)
    assert (array.compute() != cells.X).nnz == 0
    assert (array[100:200].compute() != cells.X[100:200]).nnz == 0


def test_a_lazy_anndata_reads_only_what_is_computed(store, cells, monkeypatch):
    adata = lazy(counts_only(store))
    monkeypatch.setattr("cellzoo.converters.store.handout.BLOCK_BYTES", 2000)
    assert isinstance(adata.X, dask.array.Array)
    assert_equal(adata[20:40].to_memory(), cells[20:40].copy())


@pytest.mark.parametrize("rows", [None, SOME], ids=["whole", "some"])
def test_plain_anndata_reads_the_zarr(store, cells, tmp_path, rows, monkeypatch):
    monkeypatch.setattr("cellzoo.converters.store.handout.BLOCK_BYTES", 2000)  # many blocks
    path = write_zarr(counts_only(store, rows), tmp_path / "cells.zarr")
    expected = cells if rows is None else select(store, rows).to_anndata()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert_equal(anndata.read_zarr(path), expected)
        lazily = anndata.experimental.read_lazy(path)
        assert isinstance(lazily.X, dask.array.Array)
        assert (lazily.X.compute() != expected.X).nnz == 0


def test_a_zarr_with_proteins_is_one_of_mudata(store, cells, proteins, tmp_path):
    path = write_zarr(select(store), tmp_path / "cells.zarr")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read = mudata.read_zarr(path)
        assert_equal(anndata.read_zarr(path / "mod" / "rna"), cells)
    assert (read["protein"].X.toarray() == proteins).all()
    assert set(lazy_mudata(select(store)).mod) == {"rna", "protein"}


def test_nothing_is_written_over_and_nothing_half_written_stays(store, tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mine.txt").write_text("mine")
    for write in (write_zarr, write_dataset):
        with pytest.raises(WorldError, match="is there already"):
            write(counts_only(store), tmp_path / "there")

    class Failing:
        shape, dtype = (3, 2), np.dtype(np.float32)

        def read(self, start, stop):
            raise InputError("torn")

    obs, var = pd.DataFrame(index=list("abc")), pd.DataFrame(index=list("de"))
    for write in (write_zarr, write_dataset):
        with pytest.raises(InputError, match="torn"):
            write(CellData(obs=obs, var=var, X=Failing()), tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    assert (tmp_path / "there" / "mine.txt").read_text() == "mine"


def test_a_slice_is_written_as_h5ad(store, tmp_path):
    part = counts_only(store, SOME)
    assert_equal(anndata.read_h5ad(write_h5ad(part, tmp_path / "slice.h5ad")), part.to_anndata())


@pytest.fixture
def loaded(store, tmp_path, monkeypatch):
    """The data set that `datasets` loads from a folder of several shards, and the one that it streams."""
    import datasets

    datasets.disable_progress_bars()
    monkeypatch.setattr(huggingface, "SHARD", 80)
    folder = str(write_dataset(select(store), tmp_path / "cells", title="Blood", front={"license": "cc-by-4.0"}))
    load = {"split": "train", "cache_dir": str(tmp_path / "cache")}
    names = datasets.get_dataset_config_names(folder)
    parts = {name: datasets.load_dataset(folder, name, **load) for name in names}
    return parts, datasets.load_dataset(folder, split="train", streaming=True), tmp_path / "cells"


def test_datasets_loads_and_streams_every_count_of_every_matrix(loaded, store, cells, proteins):
    parts, streamed, folder = loaded
    assert len(list((folder / "data").iterdir())) == 4
    rows = list(streamed)
    assert rows == parts["cells"].to_list()
    for places, values, expected in (
        ("genes", "counts", cells.X),
        ("spliced_genes", "spliced_counts", cells.layers["spliced"]),
        ("protein_features", "protein_counts", sp.csr_matrix(proteins)),
        ("raw_features", "raw_counts", cells.raw.X),
    ):
        got = np.zeros(expected.shape, np.float32)
        for number, row in enumerate(rows):
            got[number, row[places]] = row[values]
        assert (got == expected.toarray()).all(), places
    assert [row["cell"] for row in rows] == list(cells.obs_names)
    kinds = cells.obs["cell_type"].astype(object).replace({np.nan: None}).tolist()
    assert [row["cell_type"] for row in rows] == kinds
    assert [row["age"] for row in rows] == cells.obs["age"].tolist()
    np.testing.assert_array_equal([row["spatial"] for row in rows], cells.obsm["spatial"])


def test_the_features_of_each_matrix_have_a_configuration(loaded, store, cells):
    parts, _, _ = loaded
    assert set(parts) == {"cells", "var", "raw_var", "protein_var"}
    assert parts["var"]["feature"] == list(cells.var_names)
    assert parts["var"]["feature_name"] == list(cells.var["feature_name"])
    assert len(parts["protein_var"]) == 4


def test_the_card_says_what_is_in_the_data_set_and_what_is_not(loaded):
    card = (loaded[2] / "README.md").read_text()
    assert "license: cc-by-4.0" in card
    assert "300 cells and 12 genes" in card
    assert "Left out, as it belongs to no one cell or gene: uns title." in card


@pytest.mark.parametrize(
    ("obs", "said"),
    [
        ({"genes": ["a", "b"]}, "obs columns genes: the data set has columns of that name"),
        ({"mixed": ["a", 1]}, "obs column mixed: .* Make it text"),
    ],
)
def test_obs_that_no_table_holds_is_refused(tmp_path, obs, said):
    adata = anndata.AnnData(sp.csr_matrix(np.eye(2, dtype=np.float32)), obs=pd.DataFrame(obs, index=["a", "b"]))
    with pytest.raises(InputError, match=said):
        write_dataset(CellData.of(adata), tmp_path / "cells")


@pytest.mark.parametrize(
    ("cells", "size"),
    [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (99_999, "10K<n<100K"), (10**7, "10M<n<100M"), (10**9, "n>100M")],
)
def test_the_card_has_the_size_category_of_the_hub(cells, size):
    assert huggingface._size(cells) == size


def test_a_selection_is_selected_from_again(store, cells):
    genes = list(cells.var_names[[7, 2, 9, 4]])
    first = select(store, SOME, genes)
    for again, expected in (
        (select(first, [4, 1, 1 + 2]), cells[SOME[[4, 1, 3]], genes]),
        (select(first, genes=genes[:0:-1]), cells[SOME, genes[:0:-1]]),
        (select(select(first, [0, 3]), [1], genes[1:3]), cells[SOME[[3]], genes[1:3]]),
    ):
        got = again.to_anndata()
        assert list(got.obs_names) == list(expected.obs_names)
        assert (got.X != expected.X).nnz == 0
        assert (got.layers["spliced"] != expected.layers["spliced"]).nnz == 0


def two(tmp_path, **columns):
    """Return the cells of two data sets as one, whose obs columns are of the types given."""
    datas = [
        CellData(
            pd.DataFrame({name: pair[k] for name, pair in columns.items()}, index=["a", "b"]), VAR, Memory(np.eye(2))
        )
        for k in (0, 1)
    ]
    given = [(f"d{k}", f"{k:064d}", partial(lambda data: data, data)) for k, data in enumerate(datas)]
    return build(tmp_path / "two.store", given).celldata()


VAR = pd.DataFrame(index=["ENSG1", "ENSG2"])


@pytest.mark.parametrize(
    ("first", "second", "dtype"),
    [
        ([1, 2], pd.array([3, None], "Int64"), "Int64"),
        (np.array([1, 2], "i4"), pd.array([3, None], "Int8"), "Int32"),
        ([True, False], pd.array([None, True], "boolean"), "boolean"),
        ([1.5, 2.5], pd.array([3.5, None], "Float64"), "float64"),
        (pd.array([1, None], "UInt8"), pd.array([3, None], "Int64"), "Int64"),
    ],
)
def test_numbers_of_which_some_are_missing_stay_numbers(tmp_path, first, second, dtype):
    data = two(tmp_path, number=(first, second))
    expected = [None if pd.isna(one) else one for one in [*first, *second]]
    assert str(data.obs["number"].dtype) == dtype
    write_zarr(data, tmp_path / "two.zarr")
    write_h5ad(data, tmp_path / "two.h5ad")
    for found in (data.obs, anndata.read_zarr(tmp_path / "two.zarr").obs, anndata.read_h5ad(tmp_path / "two.h5ad").obs):
        assert [None if pd.isna(one) else one for one in found["number"]] == expected


@pytest.mark.parametrize("write", [write_zarr, write_h5ad])
def test_a_column_of_numbers_and_text_is_refused_by_name(tmp_path, write):
    data = two(tmp_path, fine=(["x", "y"], ["z", None]), cluster=([1, 2], ["3", "4"]))
    with pytest.raises(InputError, match="'cluster'"):
        write(data, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    write(two(tmp_path / "other", fine=(["x", "y"], ["z", None])), tmp_path / "out")


def test_categories_in_uns_and_of_genes_come_back_as_they_were(tmp_path):
    lengths = pd.Categorical([7, 5], categories=[5, 7, 9], ordered=True)
    uns: dict[str, Any] = {
        "order": pd.Categorical(["b", "a", None]),
        "levels": pd.array([1, None], "Int64"),
        "nested": {"one": lengths},
    }
    data = CellData(pd.DataFrame(index=["a", "b"]), VAR.assign(length=lengths), Memory(np.eye(2)), uns=uns)
    found = build(tmp_path / "s", [("d", "0" * 64, lambda: data)]).celldata()
    assert found.var["length"].dtype == data.var["length"].dtype
    for got, expected in ((found.uns["order"], uns["order"]), (found.uns["nested"]["one"], lengths)):
        assert isinstance(got, pd.Categorical)
        assert got.dtype == expected.dtype
        assert got.equals(expected)
    write_h5ad(found, tmp_path / "x.h5ad")
    write_zarr(found, tmp_path / "x.zarr")
    for read in (anndata.read_h5ad(tmp_path / "x.h5ad"), anndata.read_zarr(tmp_path / "x.zarr")):
        assert read.uns["order"].tolist()[:2] == ["b", "a"]
        assert read.var["length"].tolist() == [7, 5]


def test_cells_without_features_are_handed_out(tmp_path):
    empty = CellData(pd.DataFrame(index=["a", "b"]), VAR[:0], Memory(sp.csr_matrix((2, 0))))
    made = build(tmp_path / "s", [("d", "0" * 64, lambda: empty)])
    assert made.gather(np.array([1, 0])).shape == (2, 0)
    assert made.celldata().to_anndata().shape == (2, 0)


def one(tmp_path, obs=None, var=None):
    """Return the cells of a store of one data set, with columns of cells and of genes."""
    obs, var = pd.DataFrame(obs or {}, index=["a", "b"]), pd.DataFrame(var or {}, index=VAR.index)
    return build(tmp_path / "one.store", [("d", "0" * 64, lambda: CellData(obs, var, Memory(np.eye(2))))]).celldata()


def test_what_zarr_does_not_take_is_said_all_at_once_with_the_remedy(tmp_path):
    obs = {"genes/umi": [1.5, 2], "mixed": ["a", 1], "sampled": pd.to_datetime(["2020-01-01"] * 2)}
    with pytest.raises(InputError) as told:
        write_zarr(one(tmp_path, obs, {"log/mean": [0.1, 0.2]}), tmp_path / "x.zarr")
    assert [line.split(": ")[-1] for line in str(told.value).splitlines()] == [
        "obs['mixed'] mix numbers and text. Make each of one type.",
        "obs['sampled'] hold dates or durations. Make them text.",
        "obs['genes/umi'], var['log/mean'] have a slash in their name. Rename them.",
    ]
    assert not (tmp_path / "x.zarr").exists()


def test_a_column_of_genes_may_be_called_as_that_of_their_names(tmp_path):
    folder = write_dataset(one(tmp_path, var={"feature": ["x", "y"], "n": [1, 2]}), tmp_path / "parquet")
    found = pd.read_parquet(folder / "var" / "var.parquet")
    assert found.to_dict("list") == {"feature_": ["ENSG1", "ENSG2"], "feature": ["x", "y"], "n": [1, 2]}


def test_a_column_of_genes_that_no_table_holds_is_refused(tmp_path):
    with pytest.raises(InputError, match="var column mixed: .* Make it text"):
        var = VAR.assign(mixed=["a", 1])
        write_dataset(CellData(pd.DataFrame(index=["a"]), var, Memory(np.eye(1, 2))), tmp_path / "parquet")


@pytest.mark.parametrize("write", [write_zarr, write_dataset, write_h5ad])
def test_whole_numbers_of_the_cells_that_are_left_are_written_as_such(tmp_path, write):
    both = two(tmp_path, it=([1, 2**53 + 1], [0.5, 2.0]))  # which no type of numbers holds
    made = write(select(both, [0, 1]), tmp_path / "out")
    found = {
        write_zarr: anndata.read_zarr,
        write_dataset: lambda folder: anndata.AnnData(obs=pd.read_parquet(folder / "data").set_index("cell")[["it"]]),
        write_h5ad: anndata.read_h5ad,
    }[write](made)
    assert found.obs["it"].tolist() == [1, 2**53 + 1]
    assert found.obs["it"].dtype == np.int64
