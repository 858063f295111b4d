"""h5ad: what is written is what anndata reads, what anndata writes is what is opened, block by block."""

import errno
import subprocess
import sys

import anndata
import h5py
import mudata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cellzoo.converters import h5ad, transpose
from cellzoo.converters.celldata import CellData, stack
from cellzoo.converters.h5ad import _Disk, open_h5ad, read_h5ad, typed, write_anndata, write_h5ad
from cellzoo.converters.rows import Mapped, Memory, Stored
from cellzoo.errors import InputError, WorldError


@pytest.fixture
def adata():
    random = np.random.default_rng(0)
    X = sp.random(300, 20, 0.2, format="csr", random_state=0, dtype=np.float32)
    obs = pd.DataFrame(
        {
            "cell_type": pd.Categorical(
                random.choice(["B cell", "T cell"], 300), categories=["T cell", "B cell", "none"]
            ),
            "age": random.integers(0, 90, 300),
            "score": random.normal(size=300),
            "name": [f"n{n}" for n in range(300)],
            "doublet": random.random(300) < 0.1,
        },
        index=pd.Index([f"c{n}" for n in range(300)], name="barcode"),
    )
    var = pd.DataFrame({"symbol": [f"s{n}" for n in range(20)]}, index=[f"g{n}" for n in range(20)])
    adata = anndata.AnnData(X, obs=obs, var=var, layers={"spliced": X * 2, "dense": X.toarray()})
    adata.obsm["X_umap"] = random.normal(size=(300, 2))
    adata.obsm["frame"] = pd.DataFrame({"a": range(300)}, index=obs.index)
    adata.varm["loadings"] = random.normal(size=(20, 3))
    adata.obsp["distances"] = sp.random(300, 300, 0.01, format="csr", random_state=1)
    adata.varp["graph"] = np.eye(20)
    adata.uns = {"title": "x", "colors": np.array(["#000000"]), "nested": {"a": 1, "b": [1.5, 2.5]}}
    adata.raw = anndata.AnnData(
        sp.hstack([X, X]).tocsr(), obs=obs, var=pd.DataFrame(index=[f"r{n}" for n in range(40)])
    )
    return adata


def dense(value):
    return value.toarray() if sp.issparse(value) else np.asarray(value)


def same(one, other):
    """Hold every part of two AnnData against each other."""
    assert (one.X != other.X).nnz == 0
    assert one.X.dtype == other.X.dtype
    pd.testing.assert_frame_equal(one.obs, other.obs)
    pd.testing.assert_frame_equal(one.var, other.var)
    for axis in ("layers", "obsm", "varm", "obsp", "varp"):
        ours, theirs = getattr(one, axis), getattr(other, axis)
        assert set(ours) == set(theirs), axis
        for name in ours:
            np.testing.assert_array_equal(dense(ours[name]), dense(theirs[name]))
    assert (one.raw.X != other.raw.X).nnz == 0
    assert one.raw.var.index.equals(other.raw.var.index)
    assert set(one.uns) == set(other.uns)
    assert one.uns["nested"]["a"] == other.uns["nested"]["a"]


def test_what_anndata_wrote_is_opened_as_it_is(adata, tmp_path):
    adata.write_h5ad(tmp_path / "x.h5ad")
    data = open_h5ad(tmp_path / "x.h5ad")
    assert isinstance(data.X, Stored), "nothing of the matrices is read"
    assert data.raw is not None and isinstance(data.raw.X, Stored) and isinstance(data.layers["dense"], Stored)
    same(data.to_anndata(), anndata.read_h5ad(tmp_path / "x.h5ad"))


def test_what_is_written_is_read_by_anndata_as_it_was(adata, tmp_path):
    write_h5ad(CellData.of(adata), tmp_path / "x.h5ad")
    same(anndata.read_h5ad(tmp_path / "x.h5ad"), adata)
    same(anndata.read_h5ad(tmp_path / "x.h5ad", backed="r").to_memory(), adata)


def test_an_anndata_is_written_as_anndata_writes_it(adata, tmp_path):
    adata.X = adata.X.toarray()
    write_anndata(adata.copy(), tmp_path / "ours.h5ad")
    adata.write_h5ad(tmp_path / "theirs.h5ad", compression="gzip")

    def held(path):
        """Return name -> attributes and values of everything in a file."""
        with h5py.File(path) as file:
            found = {"": dict(file.attrs)}
            file.visititems(
                lambda name, node: found.update({name: (dict(node.attrs), getattr(node, "compression", ""))})
            )
        return {name: str(said) for name, said in found.items()}

    assert held(tmp_path / "ours.h5ad") == held(tmp_path / "theirs.h5ad")
    np.testing.assert_array_equal(anndata.read_h5ad(tmp_path / "ours.h5ad").X, adata.X)


def test_a_file_passes_through_without_being_in_memory(adata, tmp_path):
    adata.write_h5ad(tmp_path / "x.h5ad")
    most = []

    def watched(block, _):
        most.append(block.shape[0])
        return block

    data = open_h5ad(tmp_path / "x.h5ad")
    assert data.X is not None
    write_h5ad(data.with_(X=Mapped(data.X, data.n_vars, watched)), tmp_path / "y.h5ad")
    assert most == [300], "one block of so few cells"
    same(read_h5ad(tmp_path / "y.h5ad"), adata)


def test_who_waits_is_told_of_every_matrix_until_it_is_whole(adata, tmp_path):
    told: dict[str, list[tuple[int, int]]] = {}
    write_h5ad(
        CellData.of(adata), tmp_path / "x.h5ad", lambda name, done, of: told.setdefault(name, []).append((done, of))
    )
    assert list(told) == [f"x.h5ad: {name}" for name in ("X", "layers/spliced", "layers/dense", "raw/X")]
    for steps in told.values():
        assert steps == sorted(steps)
        assert steps[-1] == (300, 300)


@pytest.mark.parametrize("form", ["csc", "dense", "uncompressed", "0.7"])
def test_other_encodings_are_opened_too(adata, tmp_path, form):
    adata.X = adata.X.tocsc() if form == "csc" else adata.X.toarray() if form == "dense" else adata.X
    adata.write_h5ad(tmp_path / "x.h5ad")
    if form == "0.7":
        with h5py.File(tmp_path / "x.h5ad", "a") as file:
            for name in ("encoding-type", "encoding-version"):
                del file.attrs[name]
    read = open_h5ad(tmp_path / "x.h5ad").to_anndata()
    assert (sp.csr_matrix(adata.X) != read.X).nnz == 0
    pd.testing.assert_frame_equal(read.obs, adata.obs)


def test_some_cells_of_a_file_are_those_cells(adata, tmp_path):
    adata.write_h5ad(tmp_path / "x.h5ad")
    cells = np.array([0, 3, 4, 150, 299])
    picked = open_h5ad(tmp_path / "x.h5ad").pick(cells).to_anndata()
    assert list(picked.obs["cell_type"].cat.categories) == ["T cell", "B cell", "none"], "kept; anndata drops some"
    picked.obs["cell_type"] = picked.obs["cell_type"].cat.remove_unused_categories()
    same(picked, adata[cells].copy())
    with pytest.raises(InputError, match="by increasing position"):
        open_h5ad(tmp_path / "x.h5ad").pick(np.array([3, 3]))


def test_further_features_of_the_cells_are_written_as_h5mu(adata, tmp_path):
    protein = anndata.AnnData(
        sp.csr_matrix(np.ones((300, 3), dtype=np.float32)),
        obs=adata.obs[[]],
        var=pd.DataFrame(index=["CD3", "CD4", "CD8"]),
    )
    data = CellData.of(adata).with_(modalities={"protein": CellData.of(protein)})
    write_h5ad(data, tmp_path / "x.h5mu")
    with mudata.set_options(pull_on_update=False):
        read = mudata.read_h5mu(tmp_path / "x.h5mu")
    assert list(read.mod) == ["rna", "protein"]
    assert list(read.obs_names) == list(adata.obs_names)
    same(read["rna"], adata)
    assert read["protein"].X.toarray().tolist() == protein.X.toarray().tolist()
    made = data.to_mudata()
    assert (list(made.mod), made.shape) == (["rna", "protein"], read.shape)


def test_parts_are_stacked_with_everything_along_the_cells(adata):
    one, two = CellData.of(adata[:100].copy()), CellData.of(adata[100:].copy())
    two.obs = two.obs.drop(columns="score")
    two.obsm = {name: array for name, array in two.obsm.items() if name != "frame"}
    made = stack({"a": one, "b": two}, "part").to_anndata()
    assert list(made.obs["part"]) == ["a"] * 100 + ["b"] * 200
    assert made.obs_names[0] == "c0-a" and made.obs_names[-1] == "c299-b"
    assert (made.X != adata.X).nnz == 0
    assert (made.layers["spliced"] != adata.layers["spliced"]).nnz == 0
    np.testing.assert_array_equal(made.obsm["X_umap"], adata.obsm["X_umap"])
    assert made.obs["score"].isna().sum() == 200
    with pytest.raises(InputError, match="b: has other features than a"):
        stack({"a": one, "b": two.with_(var=two.var.iloc[::-1])}, "part")


def test_what_hdf5_cannot_hold_is_said_with_its_place(tmp_path):
    data = CellData(
        obs=pd.DataFrame({"mixed": ["a", 1]}, index=["x", "y"]),
        var=pd.DataFrame(index=["g"]),
        X=Memory(np.ones((2, 1))),
    )
    with pytest.raises(InputError, match=r"/obs: cannot be written to HDF5: .* in column 'mixed'"):
        write_h5ad(data, tmp_path / "x.h5ad")
    assert list(tmp_path.iterdir()) == []


BROKEN = {
    "nothing there": (None, "there is no such file"),
    "a text": (b"barcode,gene\n", r"is not an h5ad file: it starts with b'barcode,'"),
    "another HDF5": ("other", r"is HDF5 but no AnnData: it has no obs and no var, only \['matrix'\]"),
    "a folder": ("folder", "is a folder, expected a file"),
    "a truncated one": ("half", "The file may be truncated"),
}


@pytest.mark.parametrize("reader", [open_h5ad, read_h5ad])
@pytest.mark.parametrize("kind", ["link", "storage", "view"])
def test_a_file_that_takes_values_from_another_is_refused(adata, tmp_path, reader, kind):
    adata.write_h5ad(tmp_path / "x.h5ad")
    (tmp_path / "secret").write_bytes(b"12345678" * 300)
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["secret"] = np.arange(300.0)
    with h5py.File(tmp_path / "x.h5ad", "a") as file:
        del file["obsm/X_umap"]
        if kind == "link":
            file["obsm/X_umap"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "secret")
        elif kind == "storage":
            file.create_dataset("obsm/X_umap", (300,), "f8", external=[(str(tmp_path / "secret"), 0, 2400)])
        else:
            layout = h5py.VirtualLayout(shape=(300,), dtype="f8")
            layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "secret", shape=(300,))
            file.create_virtual_dataset("obsm/X_umap", layout)
    with pytest.raises(InputError, match=r"X_umap: (is a link into another file|has its values in another file)"):
        reader(tmp_path / "x.h5ad")


@pytest.mark.parametrize("reader", [open_h5ad, read_h5ad])
@pytest.mark.parametrize(("content", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_what_is_no_h5ad_is_said(adata, tmp_path, reader, content, message):
    path = tmp_path / "x.h5ad"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "other":
        with h5py.File(path, "w") as file:
            file["matrix"] = [1, 2]
    elif content == "folder":
        path.mkdir()
    elif content == "half":
        adata.write_h5ad(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=message):
        reader(path)


def no(name):
    return lambda matrix: matrix.__delitem__(name)


def pointer(place, value):
    return lambda matrix: matrix["indptr"].__setitem__(place, value)


DAMAGE = [
    (pointer(5, 0), "pointers do not follow each other"),
    (pointer(0, -3), "pointers do not follow each other"),
    (pointer(-1, 10**6), "pointers end at 1000000, it has "),
    (no("indptr"), "has no indptr"),
    (no("indices"), "has no indices"),
    (lambda matrix: matrix["indices"].__setitem__(0, 300), "(names feature 300 of 20|index 300 exceeds)"),
]


@pytest.mark.parametrize("form", [sp.csr_matrix, sp.csc_matrix], ids=["by cell", "by feature"])
@pytest.mark.parametrize(("damage", "says"), DAMAGE, ids=[says for _, says in DAMAGE])
def test_a_damaged_sparse_matrix_is_said_and_nothing_is_written(adata, tmp_path, form, damage, says):
    adata.X = form(adata.X)
    adata.write_h5ad(tmp_path / "x.h5ad")
    with h5py.File(tmp_path / "x.h5ad", "r+") as file:
        damage(file["X"])
    with pytest.raises(InputError, match=rf"x\.h5ad: .*{says}"):
        write_h5ad(open_h5ad(tmp_path / "x.h5ad"), tmp_path / "y.h5ad")
    assert [path.name for path in tmp_path.iterdir()] == ["x.h5ad"]


def test_a_folder_that_cannot_be_written_is_a_matter_of_the_world(adata, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(WorldError, match="cannot be written"):
        write_h5ad(CellData.of(adata), tmp_path / "file" / "x.h5ad")


def test_a_full_disk_is_said_and_leaves_nothing(adata, tmp_path):
    adata.write_h5ad(tmp_path / "x.h5ad")
    (tmp_path / "out").mkdir()
    code = f"""
import resource, signal, sys
from pathlib import Path
from cellzoo.converters.h5ad import open_h5ad, write_h5ad
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    write_h5ad(open_h5ad(Path({str(tmp_path / "x.h5ad")!r})), Path({str(tmp_path / "out" / "y.h5ad")!r}))
except Exception as error:
    print(error)
    sys.exit(error.exit_code)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == WorldError.exit_code, f"not a crash of HDF5: {done.stderr}"
    assert done.stdout.endswith("y.h5ad: cannot be written: File too large. Choose another path.\n")
    assert list((tmp_path / "out").iterdir()) == []


def test_what_a_full_disk_did_not_take_is_read_back(tmp_path):
    with _Disk(tmp_path / "x", "w+") as disk:
        disk.write(b"abcd")
        disk.failed = OSError(errno.ENOSPC, "No space left on device")
        disk.seek(2)
        assert disk.write(b"123456") == 6  # HDF5 goes on with what it has written, and crashes on anything else
        disk.seek(1)
        read = bytearray(9)
        assert disk.readinto(read) == 7
        assert read == b"b123456\0\0"


def test_a_disk_that_is_full_while_columns_are_turned_is_no_damaged_file(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    anndata.AnnData(sp.csc_matrix(np.eye(20, dtype=np.float32))).write_h5ad(tmp_path / "columns.h5ad")
    monkeypatch.setattr(transpose, "IN_MEMORY", 5)
    monkeypatch.setattr("os.pwrite", full)
    with pytest.raises(WorldError, match="No space left on device"):
        open_h5ad(tmp_path / "columns.h5ad")


@pytest.mark.parametrize("most", [2**31, 100], ids=["int32", "int64"])
def test_places_are_of_one_type_for_the_loops_that_change_a_matrix(adata, tmp_path, monkeypatch, most):
    monkeypatch.setattr(h5ad, "SHORT", most)  # from 2**31 values on places need 64 bits
    monkeypatch.setattr(h5ad, "AT_ONCE", 70)
    found = anndata.read_h5ad(write_h5ad(CellData.of(adata), tmp_path / "x.h5ad"))
    for matrix, expected in ((found.X, adata.X), (found.layers["spliced"], adata.layers["spliced"])):
        assert matrix.indices.dtype == matrix.indptr.dtype == (np.int32 if most > 100 else np.int64)
        matrix.sum_duplicates()
        matrix.eliminate_zeros()
        assert (matrix != expected).nnz == 0


HELD = {
    "whole numbers": ([3, 1, 2], "int64"),
    "whole numbers with gaps": ([3, None, 2], "Int64"),
    "fractions": ([0.5, np.nan, 2.0], "float64"),
    "numbers": ([1, 0.5, 2**53], "float64"),
    "numbers that float64 lacks": ([2**53 + 1, 0.5, 1], "object"),
    "whole numbers beyond 64 bits": ([2**63, 1, 2], "object"),
    "truth values": ([True, False, True], "bool"),
    "truth values with gaps": ([True, None, False], "boolean"),
    "text": (["a", "b", "1"], "object"),
    "text with gaps": (["a", None, "b"], "category"),
    "text and numbers": (["a", 1, "b"], "object"),
}


@pytest.mark.parametrize(("values", "kind"), HELD.values(), ids=HELD)
def test_a_column_of_objects_is_written_as_what_it_holds(values, kind):
    frame = pd.DataFrame({"it": pd.Series(values, dtype=object), "other": [1.5, 2, 3]})
    found = typed(frame)
    assert str(found["it"].dtype) == kind
    for one, value in zip(found["it"], values, strict=True):
        assert (pd.isna(one) and pd.isna(value)) or one == value
    assert found["other"] is not None and str(found["other"].dtype) == "float64"


def test_dates_are_refused_by_name(adata, tmp_path):
    adata.obs["sampled"] = pd.to_datetime(["2020-01-01"] * 300)
    with pytest.raises(InputError, match="obs: cannot be written to HDF5: 'sampled' hold dates or durations"):
        write_h5ad(CellData.of(adata), tmp_path / "x.h5ad")
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_10x_is_said_to_be_one(tmp_path):
    with h5py.File(tmp_path / "filtered.h5", "w") as file:
        file["matrix/shape"] = [2, 2]
    with pytest.raises(InputError, match=r"no AnnData: .* It is one of 10x: scanpy.read_10x_h5\(path\) reads it"):
        open_h5ad(tmp_path / "filtered.h5")
