"""The sources of a store and of a Census: files, ids, filters; and what is said of those that cannot be had."""

import json
import shutil

import anndata
import datasets
import h5py
import numpy as np
import pytest
import scipy.sparse as sp
from click.testing import CliRunner

from cellzoo.cli import main
from cellzoo.converters.store import Store, StoreWriter
from cellzoo.converters.zoo import open_registry
from cellzoo.errors import InputError


@pytest.mark.parametrize("command", ["store build", "census export"])
def test_filters_that_no_data_set_matches_make_nothing(command, tmp_path):
    done = CliRunner().invoke(main, [*command.split(), "--tissue", "kidney", "-o", str(tmp_path / "x")])
    assert done.exit_code == 1
    assert "no verified data set matches every filter" in done.output
    assert list(tmp_path.iterdir()) == []


def run(*command):
    return CliRunner().invoke(main, [str(word) for word in command])


@pytest.fixture
def cells(tmp_path):
    """Return the path of a small h5ad."""
    adata = anndata.AnnData(np.eye(3, dtype=np.float32))
    adata.write_h5ad(tmp_path / "x.h5ad")
    return tmp_path / "x.h5ad"


def test_two_files_that_would_have_one_name_are_refused(cells, tmp_path):
    (tmp_path / "b").mkdir()
    shutil.copy(cells, tmp_path / "b" / "x.h5ad")
    done = run("store", "build", cells, tmp_path / "b" / "x.h5ad", "-o", tmp_path / "s")
    assert done.exit_code == 2
    assert "would both be called x; rename one of the files." in done.stderr


def test_a_filter_that_is_given_twice_is_refused():
    done = run("datasets", "--tissue", "blood", "--tissue", "kidney")
    assert done.exit_code == 2
    assert "is given twice; a term stands for all terms below it." in done.stderr


def test_a_build_of_which_nothing_came_leaves_no_store(cells, tmp_path):
    cells.write_bytes(b"no longer HDF5")
    done = run("store", "build", cells, "-o", tmp_path / "s")
    assert done.exit_code == 1
    assert "is not an h5ad file" in done.stderr
    assert not (tmp_path / "s").exists()


def test_a_build_of_a_damaged_matrix_leaves_no_store(cells, tmp_path):
    adata = anndata.read_h5ad(cells)
    adata.X = sp.csr_matrix(adata.X)
    adata.write_h5ad(cells)
    with h5py.File(cells, "r+") as file:
        file["X/indptr"][1] = -7
    done = run("store", "build", cells, "-o", tmp_path / "s")
    assert done.exit_code == 1
    assert "x.h5ad: X, cells 0 to 3: cannot be read: its pointers do not follow each other." in done.stderr
    assert not (tmp_path / "s").exists()


def test_what_is_there_stays_where_a_further_build_fails(cells, tmp_path):
    assert run("store", "build", cells, "-o", tmp_path / "s").exit_code == 0
    (tmp_path / "y.h5ad").write_text("no HDF5")
    assert run("store", "build", tmp_path / "y.h5ad", "-o", tmp_path / "s").exit_code == 1
    assert json.loads(run("store", "info", tmp_path / "s", "--json").stdout)["cells"] == 3


@pytest.mark.parametrize("packed", [[], ["--packed", "zstd"], ["--packed", "lz4"]], ids=["hot", "zstd", "lz4"])
def test_what_is_added_to_a_store_is_packed_as_the_store_is(cells, tmp_path, packed):
    shutil.copy(cells, tmp_path / "y.h5ad")
    assert run("store", "build", cells, "-o", tmp_path / "s", *packed).exit_code == 0
    added = run("store", "build", tmp_path / "y.h5ad", "-o", tmp_path / "s")
    assert (added.exit_code, added.stdout) == (0, f"{tmp_path / 's'}\n"), added.stderr
    again = Store(tmp_path / "s")
    assert list(again.datasets) == ["x", "y"]
    assert again.matrix("X").encoding == ("packed" if packed else "hot")
    assert again.celldata().to_anndata().X.toarray().tolist() == np.vstack([np.eye(3)] * 2).tolist()


def test_an_interrupted_build_goes_on_as_it_began(cells, tmp_path, monkeypatch):
    shutil.copy(cells, tmp_path / "y.h5ad")
    command = ("store", "build", cells, tmp_path / "y.h5ad", "-o", tmp_path / "s")
    with monkeypatch.context() as stopped:
        stopped.setattr(StoreWriter, "finish", lambda _: 1 / 0)
        assert isinstance(run(*command, "--packed", "lz4").exception, ZeroDivisionError)
    assert not (tmp_path / "s" / "manifest.json").exists()
    assert run(*command).exit_code == 0
    assert Store(tmp_path / "s").matrix("X").encoding == "packed"


def test_a_store_is_never_packed_in_two_ways(cells, tmp_path):
    assert run("store", "build", cells, "-o", tmp_path / "s", "--packed", "zstd").exit_code == 0
    done = run("store", "build", cells, "-o", tmp_path / "s", "--packed", "lz4")
    assert done.exit_code == 1
    assert "is packed with zstd; it cannot go on as packed with lz4" in done.stderr


def cut_short(store):
    longest = max(store.glob("matrices/*/*"), key=lambda path: path.stat().st_size)
    longest.write_bytes(longest.read_bytes()[:-1])
    return f"{longest.relative_to(store)} has {longest.stat().st_size} bytes, expected {longest.stat().st_size + 1}"


def spoiled_manifest(store):
    (store / "manifest.json").write_text("{")
    return "is not the manifest.json of a store, or damaged"


@pytest.mark.parametrize("damage", [cut_short, spoiled_manifest])
def test_what_keeps_a_store_from_being_opened_is_a_finding_of_verify(cells, tmp_path, damage):
    assert run("store", "build", cells, "-o", tmp_path / "s").exit_code == 0
    said = damage(tmp_path / "s")
    found = run("store", "verify", tmp_path / "s", "--json")
    [finding] = json.loads(found.stdout)
    assert (found.exit_code, finding["code"], finding["severity"]) == (1, "STO001", "error")
    assert said in finding["message"] and str(tmp_path / "s") in finding["path"]
    told = run("store", "verify", tmp_path / "s")
    assert (told.exit_code, said in told.stdout, told.stdout.count("\n")) == (1, True, 1)


def test_verify_of_what_is_no_store_says_so(tmp_path):
    done = run("store", "verify", tmp_path, "--json")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "is no store" in done.stderr


@pytest.fixture
def blood(tmp_path):
    """Return real cells, streamlined, and a store of two copies of them."""
    adata = open_registry()["pbmc68k-reduced"].load()
    for name in ("a", "b"):
        adata.write_h5ad(tmp_path / f"{name}.h5ad")
    assert run("store", "build", tmp_path / "a.h5ad", tmp_path / "b.h5ad", "-o", tmp_path / "s").exit_code == 0
    return adata, tmp_path / "s"


def same(one, other):
    assert (one.X != other.X).nnz == 0
    assert (one.obs == other.obs.astype(one.obs.dtypes)).all(axis=None)
    assert list(one.var_names) == list(other.var_names)


def test_a_store_is_a_source_of_another_store_and_of_a_census(blood, tmp_path):
    adata, store = blood
    assert run("store", "build", store, "-o", tmp_path / "packed", "--packed", "zstd").exit_code == 0
    again = Store(tmp_path / "packed")
    assert {one.id: one.digest for one in again.datasets.values()} == {
        one.id: one.digest for one in Store(store).datasets.values()
    }
    same(adata, again.celldata("b").to_anndata())
    twice = run("store", "build", store, tmp_path / "a.h5ad", "-o", tmp_path / "t")
    assert twice.exit_code == 2
    assert f"a of {store} and {tmp_path / 'a.h5ad'} would both be called a" in twice.stderr
    assert run("census", "export", store, "-o", tmp_path / "census").exit_code == 0
    listed = json.loads(run("census", "datasets", "--census", tmp_path / "census", "--all-cells", "--json").stdout)
    assert {one["id"]: one["cells"] for one in listed} == {"a": adata.n_obs, "b": adata.n_obs}


def test_cells_of_a_store_are_written_for_other_tools(blood, tmp_path):
    adata, store = blood
    assert run("store", "get", store, "--dataset", "a", "-o", tmp_path / "one.h5ad").exit_code == 0
    same(adata, anndata.read_h5ad(tmp_path / "one.h5ad"))
    again = run("store", "get", store, "-o", tmp_path / "one.h5ad")
    assert (again.exit_code, again.stdout) == (3, "") and "is there already. Choose another path" in again.stderr
    label = str(adata.obs["cell_type"].iloc[0])
    chosen = adata[adata.obs["cell_type"] == label]
    made = run("store", "get", store, "--where", f"cell_type={label}", "--as", "zarr", "-o", tmp_path / "part.zarr")
    assert (made.exit_code, made.stdout) == (0, f"{tmp_path / 'part.zarr'}\n")
    part = anndata.read_zarr(tmp_path / "part.zarr")
    assert part.n_obs == 2 * chosen.n_obs
    assert part.X.sum() == 2 * chosen.X.sum()
    assert run("store", "get", store, "--as", "parquet", "-o", tmp_path / "hub").exit_code == 0
    loaded = datasets.load_dataset(str(tmp_path / "hub"), split="train", cache_dir=str(tmp_path / "cache"))
    assert len(loaded) == 2 * adata.n_obs
    assert sum(map(sum, loaded["counts"])) == 2 * adata.X.sum()


def test_x_of_a_store_are_counts_though_a_cellxgene_file_has_them_in_raw(blood, tmp_path):
    adata, _ = blood
    adata.layers["processed"] = adata.X.log1p()
    del adata.layers["X"]
    adata.write_h5ad(tmp_path / "both.h5ad")
    portal = ["--to", "cellxgene", "--leave-out", "repeated", "--set", "disease=normal"]
    assert run("convert", tmp_path / "both.h5ad", *portal, "-o", tmp_path / "portal.h5ad").exit_code == 0
    file = anndata.read_h5ad(tmp_path / "portal.h5ad")
    assert (file.raw.X != file.X).nnz > 0
    done = run("store", "build", tmp_path / "portal.h5ad", "-o", tmp_path / "counts")
    assert done.exit_code == 0
    assert "X are the counts of raw; the values of X are the layer processed" in done.stderr
    made = Store(tmp_path / "counts")
    assert (made.gather(np.arange(file.n_obs)) != file.raw.X).nnz == 0
    assert (made.gather(np.arange(file.n_obs), layer="processed") != file.X).nnz == 0


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["--dataset", "c"], "has no data set 'c'; there are a, b"),
        (["--where", "celltype=B"], "has no column 'celltype' of cells; there are"),
        (["--where", "cell_type=none"], "no cell has cell_type=none"),
    ],
)
def test_cells_that_a_store_lacks_are_said_and_nothing_is_written(blood, tmp_path, asked, said):
    done = run("store", "get", blood[1], *asked, "-o", tmp_path / "x.h5ad")
    assert done.exit_code == 1
    assert said in done.stderr
    assert not (tmp_path / "x.h5ad").exists()


def test_a_store_of_two_organisms_is_refused_before_anything_is_read(tmp_path):
    both = open_registry().datasets(status="verified", tissue="islet of Langerhans")
    with pytest.raises(InputError, match="of Homo sapiens, Mus musculus: choose by organism"):
        both.to_store(tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_a_store_of_two_organisms_is_refused_from_the_shell_too(tmp_path):
    done = run("store", "build", "--tissue", "islet of Langerhans", "-o", tmp_path / "s")
    assert done.exit_code == 1
    assert "of Homo sapiens, Mus musculus: choose by --organism" in done.stderr
    assert not (tmp_path / "s").exists()
