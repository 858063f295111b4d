"""AnnData-Zarr in a zip or tar: of versions 2 and 3, as anndata writes it."""

import io
import shutil
import tarfile
import warnings
import zipfile

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cellzoo.converters.formats.zarr import Chunked
from cellzoo.converters.readers import read_source
from cellzoo.converters.rows import to_csr
from cellzoo.errors import InputError

COUNTS = sp.random(30, 8, 0.4, "csr", rng=np.random.default_rng(3))
COUNTS.data = np.arange(1.0, COUNTS.nnz + 1)
CELLS = [f"cell{at}" for at in range(30)]


def equal(rows, matrix):
    got = to_csr(rows)
    return got.shape == matrix.shape and (got != sp.csr_matrix(matrix)).nnz == 0


@pytest.fixture
def store(tmp_path):
    """Write an AnnData as a folder of Zarr."""

    def store(version, kind="csr"):
        as_kind = {"csr": sp.csr_matrix, "csc": sp.csc_matrix, "dense": lambda matrix: matrix.toarray()}[kind]
        obs = pd.DataFrame({"label": pd.Categorical(["B", "T"] * 15)}, index=CELLS)
        data = anndata.AnnData(as_kind(COUNTS * 0.5), obs=obs, var=pd.DataFrame(index=list("abcdefgh")))
        data.layers["counts"] = as_kind(COUNTS)
        data.obsm["spatial"] = np.arange(60.0).reshape(30, 2)
        data.uns["title"] = "made up"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the next defaults
            with anndata.settings.override(zarr_write_format=version):
                data.write_zarr(tmp_path / "x.zarr")
        return tmp_path / "x.zarr"

    return store


def zipped(folder, path, top=""):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, f"{top}{file.relative_to(folder)}")


def tarred(folder, path, top=""):
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as archive:
        archive.add(folder, top or ".")


PACKED = {
    "zip": ("x.zip", zipped, ""),
    "zip with a folder": ("x.zip", zipped, "x.zarr/"),
    "tar": ("x.tar", tarred, ""),
    "tar.gz with a folder": ("x.tar.gz", tarred, "x.zarr"),
}


@pytest.fixture
def read(make_card):
    def read(path, counts="counts"):
        return read_source(make_card(30, {"file": path.name}, "zarr", layers={"counts": counts}), {path.name: path})

    return read


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize(("name", "pack", "top"), PACKED.values(), ids=PACKED.keys())
def test_a_store_is_read_as_anndata_reads_it(read, store, tmp_path, monkeypatch, version, name, pack, top):
    monkeypatch.setenv("CELLZOO_HOME", str(tmp_path / "home"))
    folder = store(version)
    pack(folder, tmp_path / name, top)
    theirs = anndata.read_zarr(folder)
    shutil.rmtree(folder)
    ours = read(tmp_path / name)
    assert isinstance(ours.X, Chunked) == (pack is zipped), "a zip is read by ranges of cells"
    assert equal(ours.X, theirs.layers["counts"])
    assert equal(ours.layers["X"], theirs.X)
    pd.testing.assert_frame_equal(ours.obs, theirs.obs)
    assert list(ours.var.index) == list(theirs.var_names)
    assert (ours.obsm["spatial"] == theirs.obsm["spatial"]).all()
    assert ours.uns["title"] == "made up"
    assert not (tmp_path / "home").exists() or list((tmp_path / "home" / "partial").iterdir()) == []


@pytest.mark.parametrize("kind", ["csc", "dense"])
@pytest.mark.parametrize("version", [2, 3])
def test_each_encoding_of_a_matrix_is_read(read, store, tmp_path, kind, version):
    zipped(store(version, kind), tmp_path / "x.zip")
    ours = read(tmp_path / "x.zip")
    assert equal(ours.X, COUNTS)
    assert (ours.X.read(7, 13) != COUNTS[7:13]).nnz == 0


def test_a_truncated_store_is_refused(read, store, tmp_path):
    zipped(store(3), tmp_path / "x.zip")
    content = (tmp_path / "x.zip").read_bytes()
    (tmp_path / "x.zip").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"^x.zip: cannot be read as a zip or tar file: "):
        read(tmp_path / "x.zip")


def test_a_store_that_lacks_a_part_is_refused(read, store, tmp_path):
    folder = store(3)
    shutil.rmtree(folder / "obs")
    zipped(folder, tmp_path / "x.zip")
    with pytest.raises(InputError, match=r"^x.zip: is Zarr but not AnnData: it has no obs, only \['X', 'layers', "):
        read(tmp_path / "x.zip")


def test_an_archive_without_a_store_is_refused(read, tmp_path):
    stream = io.BytesIO(b"text")
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("readme.txt", stream.read())
    with pytest.raises(InputError) as caught:
        read(tmp_path / "x.zip")
    assert str(caught.value) == "x.zip: holds no Zarr group (.zgroup or zarr.json); found ['readme.txt']."
