"""h5ad, h5mu, Cell Ranger's HDF5 and Loom: read by ranges of cells, the same as the ecosystem's own readers."""

import gzip
import io
import tarfile
import warnings

import anndata
import h5py
import loompy
import mudata
import numpy as np
import pandas as pd
import pytest
import scanpy
import scipy.sparse as sp

from cellzoo.converters import transpose
from cellzoo.converters.readers import read_source
from cellzoo.converters.rows import Stored, to_csr
from cellzoo.errors import InputError, WorldError

COUNTS = sp.random(30, 8, 0.4, "csr", rng=np.random.default_rng(2))
COUNTS.data = np.arange(1.0, COUNTS.nnz + 1)
CELLS = [f"cell{at}" for at in range(30)]
GENES = [f"GENE{at}" for at in range(8)]


def equal(rows, matrix):
    got = to_csr(rows)
    return got.shape == matrix.shape and (got != sp.csr_matrix(matrix)).nnz == 0


def tarred(name, content):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


@pytest.fixture
def read(make_card, tmp_path):
    """Read a file as a card of a format says."""

    def read(path, form, expected=30, layers=None, read=None, **matrix):
        card = make_card(expected, {"file": path.name} | matrix, form, layers=layers, read=read)
        return read_source(card, {path.name: path})

    return read


# AnnData


def full(kind):
    """Return an AnnData with everything, its matrices CSR, CSC or dense."""
    as_kind = {"csr": sp.csr_matrix, "csc": sp.csc_matrix, "dense": lambda matrix: matrix.toarray()}[kind]
    obs = pd.DataFrame({"label": pd.Categorical(["B", "T"] * 15), "depth": np.arange(30)}, index=CELLS)
    var = pd.DataFrame({"length": np.arange(8)}, index=GENES)
    wide = pd.DataFrame(index=[*GENES, "GENE8"])
    data = anndata.AnnData(as_kind(COUNTS * 0.5), obs=obs, var=var)
    data.raw = anndata.AnnData(as_kind(sp.hstack([COUNTS, COUNTS[:, :1]], format="csr")), obs=obs[[]], var=wide)
    data.layers["counts"] = as_kind(COUNTS)
    data.layers["unspliced"] = as_kind(COUNTS * 3)
    data.obsm["X_umap"], data.obsm["spatial"] = np.arange(60.0).reshape(30, 2), np.ones((30, 2))
    data.varm["loadings"] = np.ones((8, 3))
    data.obsp["near"] = sp.identity(30, format="csr")
    data.uns = {"title": "made up", "colors": np.array(["red", "blue"])}
    return data


@pytest.mark.parametrize("kind", ["csr", "csc", "dense"])
@pytest.mark.parametrize("layer", ["X", "raw", "counts"])
def test_every_part_of_an_h5ad_is_read_whatever_its_encoding(read, tmp_path, kind, layer):
    theirs = full(kind)
    theirs.write_h5ad(tmp_path / "x.h5ad")
    ours = read(tmp_path / "x.h5ad", "h5ad", layers={"counts": layer})
    expected = {"X": COUNTS * 0.5, "raw": theirs.raw.X, "counts": COUNTS}[layer]
    assert equal(ours.X, expected)
    assert isinstance(ours.X, Stored) == (kind != "csc"), "what comes cell by cell stays in the file"
    others = {"X": {"counts", "unspliced"}, "raw": set(), "counts": {"X", "unspliced"}}[layer]
    assert set(ours.layers) == others
    for name in others:
        assert equal(ours.layers[name], theirs.X if name == "X" else theirs.layers[name])
    assert list(ours.var.index) == ([*GENES, "GENE8"] if layer == "raw" else GENES)
    pd.testing.assert_frame_equal(ours.obs, theirs.obs)
    assert set(ours.obsm) == {"X_umap", "spatial"}
    assert (ours.obsm["X_umap"] == theirs.obsm["X_umap"]).all()
    assert set(ours.varm) == (set() if layer == "raw" else {"loadings"})
    assert (ours.raw is None) == (layer == "raw")
    assert ours.uns["title"] == "made up"


def test_a_csc_larger_than_memory_is_turned_in_a_file(read, tmp_path, monkeypatch):
    monkeypatch.setattr(transpose, "IN_MEMORY", 10)
    monkeypatch.setattr(transpose, "BUCKET", 4)
    full("csc").write_h5ad(tmp_path / "x.h5ad")
    ours = read(tmp_path / "x.h5ad", "h5ad", layers={"counts": "counts"})
    assert isinstance(ours.X, transpose.Spilled)
    assert equal(ours.X, COUNTS)


def test_an_h5ad_of_before_anndata_0_7_is_read(read, tmp_path):
    """Axes were compound data sets, categories lay in uns, sparse matrices named their format otherwise."""
    with h5py.File(tmp_path / "x.h5ad", "w") as file:
        obs = np.array(
            [(name.encode(), at % 2) for at, name in enumerate(CELLS)], dtype=[("index", "S10"), ("label", "i1")]
        )
        file["obs"] = obs
        file["var"] = np.array([(name.encode(),) for name in GENES], dtype=[("index", "S10")])
        file["uns/label_categories"] = np.array([b"B", b"T"])
        group = file.create_group("X")
        group.attrs.update({"h5sparse_format": "csr", "h5sparse_shape": COUNTS.shape})
        for name in ("data", "indices", "indptr"):
            group[name] = getattr(COUNTS, name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = anndata.read_h5ad(tmp_path / "x.h5ad")
    ours = read(tmp_path / "x.h5ad", "h5ad")
    assert equal(ours.X, COUNTS)
    assert list(ours.obs.index) == list(theirs.obs_names) == CELLS
    assert list(ours.obs["label"]) == list(theirs.obs["label"]) == ["B", "T"] * 15


PACKED = {"x.h5ad.gz": gzip.compress, "x.tar": lambda content: tarred("a/x.h5ad", content)}


@pytest.mark.parametrize(("name", "pack"), PACKED.items(), ids=PACKED.keys())
def test_an_h5ad_that_is_packed_leaves_nothing_behind(read, tmp_path, monkeypatch, name, pack):
    monkeypatch.setenv("CELLZOO_HOME", str(tmp_path / "home"))
    full("csr").write_h5ad(tmp_path / "x.h5ad")
    (tmp_path / name).write_bytes(pack((tmp_path / "x.h5ad").read_bytes()))
    ours = read(
        tmp_path / name, "h5ad", layers={"counts": "counts"}, **({"member": "*/x.h5ad"} if "tar" in name else {})
    )
    assert not isinstance(ours.X, Stored), "nothing refers to the copy that was read"
    assert equal(ours.X, COUNTS)
    assert equal(ours.layers["X"], COUNTS * 0.5)
    assert list((tmp_path / "home" / "partial").iterdir()) == []


def test_a_packed_h5ad_that_is_truncated_or_finds_no_room_leaves_nothing_behind(read, tmp_path, monkeypatch):
    monkeypatch.setenv("CELLZOO_HOME", str(tmp_path / "home"))
    full("csr").write_h5ad(tmp_path / "x.h5ad")
    packed = gzip.compress((tmp_path / "x.h5ad").read_bytes())
    (tmp_path / "x.h5ad.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(InputError, match=r"^x.h5ad.gz: cannot be unpacked: .*end-of-stream"):
        read(tmp_path / "x.h5ad.gz", "h5ad")

    def no_room(*_):
        raise OSError(28, "No space left on device")

    (tmp_path / "x.h5ad.gz").write_bytes(packed)
    monkeypatch.setattr("shutil.copyfileobj", no_room)
    with pytest.raises(WorldError) as caught:
        read(tmp_path / "x.h5ad.gz", "h5ad")
    assert str(caught.value) == f"{tmp_path / 'home'}: No space left on device. Set CELLZOO_HOME to a larger disk."
    assert list((tmp_path / "home" / "partial").iterdir()) == []


# MuData


@pytest.fixture
def h5mu(tmp_path):
    """Write RNA, antibodies and peaks of the same cells, with a column of cells above them."""
    parts = {
        "rna": anndata.AnnData(
            COUNTS, obs=pd.DataFrame({"depth": range(30)}, index=CELLS), var=pd.DataFrame(index=GENES)
        ),
        "prot": anndata.AnnData(
            COUNTS[:, :2] * 2, obs=pd.DataFrame(index=CELLS), var=pd.DataFrame(index=["CD3", "CD4"])
        ),
        "atac": anndata.AnnData(
            COUNTS[::-1], obs=pd.DataFrame(index=CELLS[::-1]), var=pd.DataFrame(index=[f"chr{at}" for at in range(8)])
        ),
    }
    with mudata.set_options(pull_on_update=False), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = mudata.MuData(parts)
        data.obs["label"] = [f"label of {name}" for name in data.obs_names]
        data.write(tmp_path / "x.h5mu")
    return tmp_path / "x.h5mu"


def test_a_modality_of_an_h5mu_is_read_and_others_beside_it(read, h5mu):
    others = {"protein": {"file": "x.h5mu", "object": "prot"}, "peak": {"file": "x.h5mu", "object": "atac"}}
    ours = read(h5mu, "h5mu", object="rna", read={"modalities": others})
    assert equal(ours.X, COUNTS)
    assert isinstance(ours.X, Stored)
    assert list(ours.obs["label"]) == [f"label of {name}" for name in CELLS]
    assert list(ours.obs["depth"]) == list(range(30))
    assert equal(ours.modalities["protein"].X, COUNTS[:, :2] * 2)
    assert list(ours.modalities["protein"].var.index) == ["CD3", "CD4"]
    assert equal(ours.modalities["peak"].X, COUNTS), "cells are joined by name"
    assert {tuple(part.obs.index) for part in ours.modalities.values()} == {tuple(CELLS)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = mudata.read(h5mu)
    assert equal(ours.X, theirs["rna"].X)
    assert equal(ours.modalities["protein"].X, theirs["prot"].X)


def test_a_column_above_the_modalities_is_kept_though_its_name_begins_like_one_of_them(read, h5mu, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = mudata.read(h5mu)
        data["prot"].obs["depth"] = range(30)
        data.obs["protocol"], data.obs["rnaseq_batch"], data.obs["atac"] = ["v2", "v3"] * 15, "b1", "yes"
        data.pull_obs()
        assert {"rna:depth", "prot:depth", "protocol"} <= set(data.obs)
        data.write(tmp_path / "named.h5mu")
    ours = read(tmp_path / "named.h5mu", "h5mu", object="rna")
    assert set(ours.obs) == {"depth", "label", "protocol", "rnaseq_batch", "atac"}
    assert list(ours.obs["protocol"]) == ["v2", "v3"] * 15


MODALITIES = {
    "none named": ({}, "x.h5mu: holds the modalities ['atac', 'prot', 'rna']; say which in read.matrix.object."),
    "another": ({"object": "gex"}, "x.h5mu: has no modality 'gex', found ['atac', 'prot', 'rna']."),
}


@pytest.mark.parametrize(("matrix", "message"), MODALITIES.values(), ids=MODALITIES.keys())
def test_a_modality_that_is_not_there_is_said(read, h5mu, matrix, message):
    with pytest.raises(InputError) as caught:
        read(h5mu, "h5mu", **matrix)
    assert str(caught.value) == message


# Cell Ranger

TYPES = ["Gene Expression"] * 5 + ["Antibody Capture"] * 2 + ["Peaks"]
GENOMES = ["GRCh38"] * 3 + ["mm10"] * 2 + ["", "", "GRCh38"]


def write_csc(group, matrix):
    """Write (barcodes, features) as Cell Ranger does: (features, barcodes) by columns, its shape a data set."""
    group["data"], group["indices"] = matrix.data.astype(np.int32), matrix.indices.astype(np.int64)
    group["indptr"], group["shape"] = matrix.indptr.astype(np.int64), np.array(matrix.shape[::-1], np.int32)
    group["barcodes"] = np.array(CELLS, "S")


@pytest.fixture
def version_3(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.attrs["filetype"] = "matrix"
        group = file.create_group("matrix")
        write_csc(group, COUNTS)
        features = group.create_group("features")
        features["id"], features["name"] = np.array([f"ENSG{at}" for at in range(8)], "S"), np.array(GENES, "S")
        features["feature_type"], features["genome"] = np.array(TYPES, "S"), np.array(GENOMES, "S")
        features["_all_tag_keys"] = np.array(["genome"], "S")
    return tmp_path / "x.h5"


@pytest.fixture
def version_2(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for genome, matrix in {"GRCh38": COUNTS, "mm10": COUNTS[:, :3].tocsr()}.items():
            write_csc(file.create_group(genome), matrix)
            size = matrix.shape[1]
            file[genome]["genes"] = np.array([f"ENSG{at}" for at in range(size)], "S")
            file[genome]["gene_names"] = np.array(GENES[:size], "S")
    return tmp_path / "x.h5"


def test_version_3_of_10x_is_read_as_scanpy_reads_it_proteins_and_peaks_apart(read, version_3):
    theirs = scanpy.read_10x_h5(version_3, gex_only=False)
    ours = read(version_3, "10x_h5")
    parts = {"gene": ours, **ours.modalities}
    assert list(parts) == ["gene", "protein", "peak"]
    for kind, said in {"gene": "Gene Expression", "protein": "Antibody Capture", "peak": "Peaks"}.items():
        part, wanted = parts[kind], theirs[:, (theirs.var["feature_types"] == said).to_numpy()]
        assert equal(part.X, wanted.X)
        assert list(part.obs.index) == list(wanted.obs_names) == CELLS
        for column in ("gene_ids", "feature_types", "genome"):
            assert list(part.var[column]) == list(wanted.var[column])
        assert list(part.var.index) == list(wanted.var_names)
        assert set(part.var["feature_type"]) == {kind}


@pytest.mark.parametrize(("genome", "genes"), [("GRCh38", GENES[:3]), ("mm10", GENES[3:5])])
def test_one_genome_of_version_3_is_read_as_scanpy_reads_it(read, version_3, genome, genes):
    theirs = scanpy.read_10x_h5(version_3, genome=genome)
    ours = read(version_3, "10x_h5", object=genome)
    assert equal(ours.X, theirs.X)
    assert list(ours.var.index) == list(theirs.var_names) == genes


@pytest.mark.parametrize("genome", ["GRCh38", "mm10"])
def test_a_genome_of_version_2_is_read_as_scanpy_reads_it(read, version_2, genome):
    theirs = scanpy.read_10x_h5(version_2, genome=genome)
    ours = read(version_2, "10x_h5", object=genome)
    assert equal(ours.X, theirs.X)
    assert list(ours.var["gene_ids"]) == list(theirs.var["gene_ids"])
    assert list(ours.var.index) == list(theirs.var_names)


def test_a_genome_that_is_not_there_is_said(read, version_2):
    with pytest.raises(InputError) as caught:
        read(version_2, "10x_h5")
    assert str(caught.value) == "x.h5: holds the genomes ['GRCh38', 'mm10']; say which in read.matrix.object."
    with pytest.raises(InputError) as caught:
        read(version_2, "10x_h5", object="hg19")
    assert str(caught.value) == "x.h5: has no genome 'hg19', found ['GRCh38', 'mm10']."


def test_a_genome_that_no_feature_has_is_said(read, version_3):
    with pytest.raises(InputError) as caught:
        read(version_3, "10x_h5", object="hg19")
    assert str(caught.value) == "x.h5: has no genome 'hg19', found ['GRCh38', 'mm10']."


def test_samples_of_10x_in_a_tar_are_joined(make_card, version_3, tmp_path):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name in ("GSM2_b.h5", "GSM1_a.h5"):
            archive.add(version_3, name)
    (tmp_path / "x.tar").write_bytes(stream.getvalue())
    card = make_card(60, {"file": "x.tar", "member": "GSM*.h5"}, "10x_h5")
    ours = read_source(card, {"x.tar": tmp_path / "x.tar"})
    assert equal(ours.X, sp.vstack([COUNTS[:, :5]] * 2))
    assert list(ours.obs.index[[0, 30]]) == ["cell0-1_a", "cell0-2_b"]
    assert equal(ours.modalities["peak"].X, sp.vstack([COUNTS[:, 7:]] * 2))


def test_names_that_do_not_fit_the_matrix_are_said(read, version_3):
    with h5py.File(version_3, "a") as file:
        del file["matrix/barcodes"]
        file["matrix/barcodes"] = np.array(CELLS[1:], "S")
    with pytest.raises(InputError) as caught:
        read(version_3, "10x_h5")
    assert str(caught.value) == "x.h5: the matrix has 30 barcodes and 8 features, names there are 29 and 8."


# Loom


@pytest.fixture
def loom(tmp_path):
    path = tmp_path / "x.loom"
    layers = {"": COUNTS.T.toarray(), "spliced": 2 * COUNTS.T.toarray(), "unspliced": 3 * COUNTS.T.toarray()}
    rows = {"Gene": np.array(GENES), "Accession": np.array([f"ENSG{at}" for at in range(8)])}
    columns = {"CellID": np.array(CELLS), "label": np.array(["B", "T"] * 15), "umap": np.arange(60.0).reshape(30, 2)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loompy.create(str(path), layers, rows, columns)
        with loompy.connect(str(path)) as file:
            file.col_graphs["near"] = sp.coo_matrix(sp.identity(30))
    return path


def test_a_loom_is_read_as_anndata_reads_it(read, loom):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = anndata.io.read_loom(loom, validate=False, X_name="")
    ours = read(loom, "loom")
    assert equal(ours.X, theirs.X)
    assert isinstance(ours.X, Stored)
    assert set(ours.layers) == {"spliced", "unspliced"}
    for name, factor in {"spliced": 2, "unspliced": 3}.items():
        assert equal(ours.layers[name], theirs.layers[name])
        assert equal(ours.layers[name], COUNTS * factor)
    assert list(ours.obs.index) == list(theirs.obs_names) == CELLS
    assert list(ours.var.index) == list(theirs.var_names) == GENES
    assert list(ours.obs["label"]) == list(theirs.obs["label"])
    assert list(ours.var["Accession"]) == list(theirs.var["Accession"])
    assert (ours.obsm["umap"] == np.arange(60.0).reshape(30, 2)).all()
    assert (ours.obsp["near"] != sp.identity(30)).nnz == 0


def test_a_layer_of_a_loom_can_hold_the_counts(read, loom):
    ours = read(loom, "loom", layers={"counts": "spliced", "unspliced_counts": "unspliced"})
    assert equal(ours.X, COUNTS * 2)
    assert set(ours.layers) == {"X", "unspliced"}


def test_names_of_a_loom_are_any_attribute(read, loom):
    spec = {"features": {"file": "x.loom", "column": "Accession"}, "cells": {"file": "x.loom", "column": "CellID"}}
    assert list(read(loom, "loom", **spec).var.index) == [f"ENSG{at}" for at in range(8)]
    with pytest.raises(InputError) as caught:
        read(loom, "loom", features={"file": "x.loom", "column": "symbol"})
    message = "no attribute 'symbol'; found ['Accession', 'Gene']. Name it in read.matrix.features.column."
    assert str(caught.value) == f"x.loom: features: {message}"


def test_a_loom_without_names_of_cells_says_what_there_is(read, loom):
    with h5py.File(loom, "a") as file:
        file["col_attrs"].move("CellID", "number")
    with pytest.raises(InputError) as caught:
        read(loom, "loom")
    message = "no attribute with names; found ['label', 'number', 'umap']. Name it in read.matrix.cells.column."
    assert str(caught.value) == f"x.loom: cells: {message}"


# what is wrong

KINDS = {"h5ad": "h5ad", "h5mu": "h5mu", "10x_h5": "10x HDF5", "loom": "Loom"}


@pytest.fixture(params=KINDS)
def made(request, tmp_path):
    """Return a format, what messages call it, and a file of it."""
    form = request.param
    if form == "h5ad":
        full("csr").write_h5ad(tmp_path / "x.h5ad")
        return form, KINDS[form], tmp_path / "x.h5ad"
    return form, KINDS[form], request.getfixturevalue({"h5mu": "h5mu", "10x_h5": "version_3", "loom": "loom"}[form])


@pytest.mark.parametrize("share", [0.02, 0.5, 0.95])
def test_a_truncated_file_is_refused(read, made, share):
    form, kind, path = made
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(InputError) as caught:
        read(path, form)
    assert str(caught.value).startswith((f"{path.name}: cannot be read as {kind}: ", f"{path.name}: is not an {kind}"))


def test_what_is_no_hdf5_is_refused(read, made):
    form, kind, path = made
    path.write_text("gene,cell\n")
    with pytest.raises(InputError) as caught:
        read(path, form)
    started = "it starts with b'gene,cel', HDF5 starts with \\x89HDF."
    assert str(caught.value) == f"{path.name}: is not an {kind} file: {started}"


LACKS = {
    "h5ad": "is HDF5 but not h5ad: it has no obs, only thing.",
    "h5mu": "is HDF5 but not h5mu: it has no mod, only thing.",
    "10x_h5": "is HDF5 but not of Cell Ranger: it has no matrix, only thing.",
    "loom": "is HDF5 but not Loom: it has no matrix with attributes, only thing.",
}


@pytest.mark.parametrize(("form", "message"), LACKS.items(), ids=LACKS.keys())
def test_hdf5_of_something_else_is_refused(read, tmp_path, form, message):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["thing"] = 1
    with pytest.raises(InputError) as caught:
        read(tmp_path / "x.h5", form)
    assert str(caught.value) == f"x.h5: {message}"
