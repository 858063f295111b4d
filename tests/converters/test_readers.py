"""Readers: what a card points at comes out to the last count, and what is not there is said with what is."""

import gzip
import shutil
import warnings
from types import SimpleNamespace
from typing import get_args

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cellzoo.converters.h5ad import read_h5ad
from cellzoo.converters.rdata_objects import r_matrix
from cellzoo.converters.readers import READERS
from cellzoo.converters.readers import read_source as read_lazily
from cellzoo.errors import InputError
from cellzoo.registry.reading import Format

FACTOR = "28e27e77beb08d5b574b1c2720e4633ad899489328c24947bf11013d60484a5a"  # rnaCluster.rda
SPARSE = "2fff4ef5b918cbb641ba3b4c996723d99c937454b2f73909a0d0683fb1f53cb0"  # rnaRaw.rda
FRAME = "479a80e704446d9a765a4b1832dee173cf1543b21c005f3dc7b65e4f8a790965"  # baron_mouse_1.rda
TRUTH = "5665f1a96e88f63ad997db67cec8e3f9d97659c0fa077de81184b53b4930b4e4"  # baron_mouse_1_ground_truth.rda
LIST = "b78261242f923e942559edfc0144ed8cbfc5f448650062e6ae6f37391095e87e"  # camp.rda
SEURAT = "92cdb9e4f58a5a805fe4942de94d78aea664ed05d6d9caf0e1a3d738fd504cc7"  # mmu_subset.rda
TABLE = "a82aa89b8995aed412f4260c0adb343967e33a801af6f2e0aa647c1d897a5a21"  # sc_celseq2.count.csv.gz
TABLE_OBS = "78429916bac394d92d8c972059a8f195c5479ce578da04f1eb3ba599585ef3d9"  # sc_celseq2.metadata.csv.gz


def read_source(card, files):
    """Return what is read, in memory."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Variable names are not unique")  # a gene that is listed twice
        return read_lazily(card, files).to_anndata()


def equal(ours, theirs):
    """Return whether two matrices hold the same values, without a dense copy."""
    return ours.shape == theirs.shape and (sp.csr_matrix(ours) != sp.csr_matrix(theirs)).nnz == 0


def dgc(node):
    return sp.csc_matrix((node.x, node.i, node.p), shape=tuple(node.Dim))


# h5ad


@pytest.fixture
def adata():
    """Return 3 cells x 2 genes whose values say where they are: 10 * cell + gene, raw 100 more, the layer 200 more."""
    X = sp.csr_matrix(np.array([[10.0, 11.0], [20.0, 21.0], [30.0, 31.0]]))
    obs = pd.DataFrame({"label": pd.Categorical(["B", "T", "B"])}, index=["c1", "c2", "c3"])
    full = anndata.AnnData(X, obs=obs, var=pd.DataFrame(index=["g0", "g1"]))
    raw = anndata.AnnData(sp.csr_matrix(X.toarray() + 100), obs=obs, var=pd.DataFrame(index=["r0", "r1"]))
    full.raw = raw
    full.layers["counts"] = sp.csr_matrix(X.toarray() + 200)
    return full


@pytest.mark.parametrize(
    ("layer", "first", "genes"), [("X", 10, ["g0", "g1"]), ("raw", 110, ["r0", "r1"]), ("counts", 210, ["g0", "g1"])]
)
def test_h5ad_gives_the_layer_that_the_card_names_with_its_genes(make_card, adata, tmp_path, layer, first, genes):
    adata.write_h5ad(tmp_path / "x.h5ad")
    card = make_card(3, {"file": "x.h5ad"}, layers={"counts": layer})
    read = read_source(card, {"x.h5ad": tmp_path / "x.h5ad"})
    assert isinstance(read.X, sp.csr_matrix)
    assert read.X.toarray().tolist() == (adata.X.toarray() + first - 10).tolist()
    assert (list(read.obs_names), list(read.var_names)) == (["c1", "c2", "c3"], genes)
    assert list(read.obs["label"]) == ["B", "T", "B"]


def test_h5ad_keeps_genes_that_are_listed_twice(make_card, adata, tmp_path):
    adata.var_names = ["g", "g"]
    adata.raw = None
    with pytest.warns(UserWarning, match="not unique"):
        adata.copy().write_h5ad(tmp_path / "x.h5ad")
    read = read_source(make_card(3, {"file": "x.h5ad"}), {"x.h5ad": tmp_path / "x.h5ad"})
    assert list(read.var_names) == ["g", "g"]


def without_x(adata):
    return anndata.AnnData(obs=adata.obs, var=adata.var, layers=dict(adata.layers))


H5AD = {
    "layer that is not there": ("umis", lambda adata: adata, "x.h5ad: has no layer 'umis', found ['counts']."),
    "raw that is not there": ("raw", without_x, "x.h5ad: has no raw; the card says layers.counts: raw."),
    "X that is not there": ("X", without_x, "x.h5ad: has no X; the card says layers.counts: X."),
}


@pytest.mark.parametrize(("layer", "change", "message"), H5AD.values(), ids=H5AD.keys())
def test_h5ad_without_the_layer_says_what_there_is(make_card, adata, tmp_path, layer, change, message):
    change(adata).write_h5ad(tmp_path / "x.h5ad")
    card = make_card(3, {"file": "x.h5ad"}, layers={"counts": layer})
    with pytest.raises(InputError) as caught:
        read_source(card, {"x.h5ad": tmp_path / "x.h5ad"})
    assert str(caught.value) == message
    assert caught.value.__notes__ == ["while reading made-up"]


def test_the_real_h5ad_is_read_as_anndata_reads_it(real, files_of):
    [path] = files_of("pbmc68k-reduced").values()
    theirs = read_h5ad(path)
    ours = real("pbmc68k-reduced")
    assert equal(ours.X, theirs.raw.X)
    assert ours.shape == (700, 765)
    assert list(ours.var_names) == list(theirs.raw.var_names)
    assert ours.obs["bulk_labels"].value_counts()["Dendritic"] == 240


def test_a_file_that_is_no_h5ad_is_refused_by_its_first_bytes(tmp_path):
    path = tmp_path / "x.h5ad"
    path.write_text("gene,cell\n")
    with pytest.raises(InputError) as caught:
        read_h5ad(path)
    assert str(caught.value) == (f"{path}: is not an h5ad file: it starts with b'gene,cel', HDF5 starts with \\x89HDF.")
    path.write_bytes(b"")
    with pytest.raises(InputError, match="it starts with b''"):
        read_h5ad(path)
    with pytest.raises(InputError, match="there is no such file"):
        read_h5ad(tmp_path / "absent.h5ad")


@pytest.mark.parametrize("kept", [100, 5000, 1_000_000])
def test_a_truncated_h5ad_is_refused(files_of, tmp_path, kept):
    [path] = files_of("pbmc68k-reduced").values()
    cut = tmp_path / "cut.h5ad"
    cut.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match=r"cut.h5ad: cannot be read as h5ad: .*The file may be truncated\."):
        read_h5ad(cut)


# R


def test_a_sparse_matrix_of_r_is_read_to_the_last_count(real, files_of, r_file):
    files = files_of("tenx-pbmc3k")
    node = r_file(files["pbmc3k.rda"])["pbmc3k"]
    meta = r_file(files["pbmc_meta.rda"])["pbmc_meta"]
    ours = real("tenx-pbmc3k")
    cells = pd.Index([str(name).removesuffix("-1") for name in node.Dimnames[1]])
    rows = np.flatnonzero(cells.isin(meta.index))
    assert ours.shape == (2638, 32738)
    assert equal(ours.X, dgc(node).T.tocsr()[rows])
    assert list(ours.var_names) == [str(name) for name in node.Dimnames[0]]
    assert list(ours.obs_names) == [str(name) for name in node.Dimnames[1][rows]], "as the matrix spells them"
    assert list(ours.obs["classified"]) == list(meta.loc[cells[rows], "classified"])


def test_a_dense_matrix_of_r_is_read_to_the_last_count(real, files_of, r_file):
    objects = r_file(files_of("baron2016-human")["Baron_scRNA.RData"])
    ours = real("baron2016-human")
    assert equal(ours.X, objects["Baron_counts"].values.T)
    assert list(ours.obs["label"]) == list(objects["Baron_true_cell_label"])
    assert list(ours.obs["donor"]) == [name.partition("_")[0] for name in ours.obs_names]


def test_a_single_cell_experiment_is_read_to_the_last_count(real, files_of, r_file):
    node = r_file(files_of("onek1k-subset")["example_sce.rda"])["example_sce"]
    ours = real("onek1k-subset")
    counts = node.assays.data.listData["counts"]
    assert equal(ours.X, dgc(counts).T)
    assert list(ours.var_names) == [str(name) for name in counts.Dimnames[0]]
    assert list(ours.obs["cell_type"]) == list(node.colData.listData["cell_type"]), "a factor comes as its labels"
    assert ours.obs["indiv"].nunique() == 40


def test_an_expression_set_is_read_to_the_last_value(real, files_of, r_file):
    [node] = r_file(files_of("zheng2017-pbmc14k")["pbmc14k_expression.eset.rda"]).values()
    ours = real("zheng2017-pbmc14k")
    assert equal(ours.X, dgc(node.assayData["exprs"]).T)
    assert list(ours.obs_names) == [str(name) for name in node.assayData["exprs"].Dimnames[1]]
    assert ours.obs["trueLabel_full"].value_counts().tolist() == [500] * 7


def test_a_data_frame_of_r_is_read_as_a_matrix_with_labels_joined_by_row(make_card, mirror, r_file):
    truth = r_file(mirror / TRUTH)["baron_mouse_1_ground_truth"]
    [index] = set(truth) - {"clust_assign"}
    obs = {"table": {"file": "truth.rda", "object": "baron_mouse_1_ground_truth", "index": index}}
    matrix = {"file": "x.rda", "object": "baron_mouse_1", "orientation": "genes_by_cells"}
    ours = read_source(make_card(822, matrix, "rdata", obs=obs), {"x.rda": mirror / FRAME, "truth.rda": mirror / TRUTH})
    assert equal(ours.X, r_file(mirror / FRAME)["baron_mouse_1"].to_numpy(dtype=float).T)
    assert ours.obs["clust_assign"].value_counts().head(2).to_dict() == {"beta": 343, "ductal": 236}


def test_a_sparse_matrix_with_a_factor_beside_it(make_card, mirror, r_file):
    obs = {"columns": {"label": {"file": "label.rda", "object": "rnaCluster"}}}
    matrix = {"file": "x.rda", "object": "rnaRaw", "orientation": "genes_by_cells"}
    files = {"x.rda": mirror / SPARSE, "label.rda": mirror / FACTOR}
    ours = read_source(make_card(250, matrix, "rdata", obs=obs), files)
    assert equal(ours.X, dgc(r_file(mirror / SPARSE)["rnaRaw"]).T)
    assert ours.obs["label"].value_counts().to_dict() == dict.fromkeys(["CH", "ORT", "OS", "RE", "Stem"], 50)


def test_a_list_of_r_holds_cells_by_genes_and_a_data_frame(make_card, mirror, r_file):
    matrix = {"file": "camp.rda", "object": "camp/counts"}
    node = r_file(mirror / LIST)["camp"]
    ours = read_source(make_card(220, matrix, "rdata"), {"camp.rda": mirror / LIST})
    assert equal(ours.X, node["counts"].values)
    assert list(ours.obs_names) == list(node["counts"].coords["dim_0"].values)


def test_a_seurat_object_is_walked_through_its_slots(make_card, mirror):
    matrix = {"file": "x.rda", "object": "mmu_subset/assays/RNA/counts", "orientation": "genes_by_cells"}
    obs = {"columns": {"label": {"file": "x.rda", "object": "mmu_subset/meta.data/cell_type_annotation_broad"}}}
    files = {"x.rda": mirror / SEURAT}
    with pytest.raises(InputError, match="no 'cell_type_annotation_broad' in 'mmu_subset/meta.data/"):
        read_source(make_card(219, matrix, "rdata", obs=obs), files)
    table = {"table": {"file": "x.rda", "object": "mmu_subset/meta.data"}}
    ours = read_source(make_card(219, matrix, "rdata", obs=table), files)
    assert ours.obs["cell_type_annotation_broad"].value_counts().iloc[0] == 10
    assert ours.obs["nCount_RNA"].tolist() == ours.X.sum(axis=1).A1.tolist()
    assert ours.obs["nFeature_RNA"].tolist() == ours.X.getnnz(axis=1).tolist()


R_REFUSED = {
    "object that is not there": (
        {"object": "pbmc4k"},
        {},
        "pbmc_meta.rda: no 'pbmc4k' in 'pbmc4k'; found ['pbmc_meta'].",
    ),
    "part that is not there": (
        {"object": "pbmc_meta/x"},
        {},
        "pbmc_meta.rda: no 'x' in 'pbmc_meta/x'; found [].",
    ),
    "vector for a matrix": (
        {"file": "annot.rda", "object": "referenceAnnot"},
        {},
        "annot.rda: referenceAnnot: is a ndarray, expected a matrix.",
    ),
    "matrix for a vector": (
        {"file": "x.rda", "object": "rnaRaw"},
        {"columns": {"label": {"file": "x.rda", "object": "rnaRaw"}}},
        "x.rda: rnaRaw: is of R class ['dgCMatrix'], expected a vector with one value per cell.",
    ),
    "matrix for a table": (
        {"file": "x.rda", "object": "rnaRaw"},
        {"table": {"file": "x.rda", "object": "rnaRaw"}},
        "x.rda: rnaRaw: is of R class ['dgCMatrix'], expected a data frame.",
    ),
    "labels of other cells": (
        {"file": "x.rda", "object": "rnaRaw"},
        {"columns": {"label": {"file": "annot.rda", "object": "referenceAnnot"}}},
        "made-up: read.obs.columns.label: 2140 values for 250 cells.",
    ),
    "table of other cells": (
        {"file": "x.rda", "object": "rnaRaw"},
        {"table": {"file": "pbmc_meta.rda", "object": "pbmc_meta", "unmatched": "drop"}},
        "made-up: no cell of the matrix is in the table of cells: "
        "the matrix has 'rna_AGATCGTTCTAGACCA', the table 'AAACATACAACCAC'.",
    ),
    "column that is not there": (
        {"file": "x.rda", "object": "rnaRaw"},
        {"table": {"file": "pbmc_meta.rda", "object": "pbmc_meta", "index": "barcode"}},
        "pbmc_meta.rda: has no column 'barcode', found ['orig.ident', 'nCount_RNA', ",
    ),
    "pattern that does not match": (
        {"file": "x.rda", "object": "rnaRaw"},
        {"columns": {"donor": {"extract": "^human([0-9])"}}},
        "made-up: read.obs.columns.donor: '^human([0-9])' does not match ",
    ),
}


@pytest.mark.parametrize(("matrix", "obs", "message"), R_REFUSED.values(), ids=R_REFUSED.keys())
def test_what_an_r_file_does_not_hold_is_said_with_what_it_holds(
    make_card, files_of, mirror, tmp_path, matrix, obs, message
):
    files = {
        "pbmc_meta.rda": files_of("tenx-pbmc3k")["pbmc_meta.rda"],
        "annot.rda": files_of("zheng2017-sorted-pbmc")["referenceAnnot.rda"],
        "x.rda": mirror / SPARSE,
    }
    files = {name: shutil.copy(path, tmp_path / name) for name, path in files.items()}  # named as in the card
    matrix = {"file": "pbmc_meta.rda", "orientation": "genes_by_cells"} | matrix
    with pytest.raises(InputError) as caught:
        read_source(make_card(250, matrix, "rdata", obs=obs), files)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("content", [b"not R at all", b"", b"RDX2\nX\n"], ids=["text", "empty", "head only"])
def test_a_file_that_is_no_r_data_is_refused(make_card, tmp_path, content):
    (tmp_path / "x.rda").write_bytes(content)
    with pytest.raises(InputError, match=r"x.rda: cannot be read as R data: "):
        read_source(make_card(1, {"file": "x.rda", "object": "x"}, "rdata"), {"x.rda": tmp_path / "x.rda"})


def test_a_truncated_r_file_is_refused(make_card, mirror, tmp_path):
    (tmp_path / "x.rda").write_bytes((mirror / SPARSE).read_bytes()[:100_000])
    with pytest.raises(InputError, match=r"x.rda: cannot be read as R data: .*The file may be truncated\."):
        read_source(make_card(1, {"file": "x.rda", "object": "rnaRaw"}, "rdata"), {"x.rda": tmp_path / "x.rda"})


def test_another_number_of_cells_than_the_card_expects_is_refused(make_card, mirror):
    matrix = {"file": "x.rda", "object": "rnaRaw", "orientation": "genes_by_cells"}
    with pytest.raises(InputError) as caught:
        read_source(make_card(251, matrix, "rdata"), {"x.rda": mirror / SPARSE})
    assert str(caught.value) == "made-up: 250 cells after reading, the card expects 251."


# delimited tables


def test_the_real_table_is_read_to_the_last_count(make_card, mirror):
    obs = {"table": {"file": "obs.csv.gz"}}
    matrix = {"file": "x.csv.gz", "orientation": "genes_by_cells"}
    files = {"x.csv.gz": mirror / TABLE, "obs.csv.gz": mirror / TABLE_OBS}
    ours = read_source(make_card(274, matrix, "table", obs=obs), files)
    theirs = pd.read_csv(mirror / TABLE, index_col=0, compression="gzip")
    assert equal(ours.X, theirs.to_numpy(dtype=float).T)
    assert (list(ours.obs_names), list(ours.var_names)) == (list(theirs.columns), list(theirs.index))
    meta = pd.read_csv(mirror / TABLE_OBS, index_col=0, compression="gzip", dtype=str)
    assert ours.obs["cell_line_demuxlet"].value_counts().to_dict() == {"H1975": 112, "H2228": 81, "HCC827": 81}
    for column in ("cell_line_demuxlet", "total_count_per_cell"):
        assert list(ours.obs[column]) == list(meta.loc[theirs.columns, column])


ROWS = [["", "g0", "g1"], ["c1", "0", "11"], ["c2", "20", "21"], ["c3", "30", "0"]]
WRITTEN = {
    "csv": ("x.csv", None, ROWS),
    "tsv": ("x.tsv", None, ROWS),
    "txt": ("x.txt", None, ROWS),
    "csv.gz": ("x.csv.gz", None, ROWS),
    "tsv.gz": ("x.tsv.gz", None, ROWS),
    "spaces": ("x.txt", "space", [["cell", *ROWS[0][1:]], *ROWS[1:]]),
    "commas in a txt": ("x.txt", "comma", ROWS),
    "corner with a name": ("x.csv", None, [["cell", *ROWS[0][1:]], *ROWS[1:]]),
    "header without a corner, as write.table of R": ("x.tsv", None, [ROWS[0][1:], *ROWS[1:]]),
    "fractions of zero": ("x.csv", None, [ROWS[0], ["c1", "0.0", "1.1e1"], *ROWS[2:]]),
}
SEPARATOR = {"comma": ",", "tab": "\t", "space": " "}


@pytest.fixture
def write_table(tmp_path):
    """Write rows with a separator, gzip where the name says so."""

    def write(name, separator, rows):
        sign = SEPARATOR[separator] if separator else "," if ".csv" in name else "\t"
        text = "".join(sign.join(row) + "\n" for row in rows).encode()
        (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
        return {name: tmp_path / name}

    return write


@pytest.mark.parametrize(("name", "separator", "rows"), WRITTEN.values(), ids=WRITTEN.keys())
def test_a_table_is_read_in_each_way_it_is_written(make_card, write_table, name, separator, rows):
    matrix = {"file": name} | ({"separator": separator} if separator else {})
    ours = read_source(make_card(3, matrix, "table"), write_table(name, separator, rows))
    assert ours.X.toarray().tolist() == [[0, 11], [20, 21], [30, 0]]
    assert (list(ours.obs_names), list(ours.var_names)) == (["c1", "c2", "c3"], ["g0", "g1"])


def test_both_orientations_of_a_table_are_the_same_data(make_card, write_table):
    turned = [list(column) for column in zip(*ROWS, strict=True)]
    one = read_source(make_card(3, {"file": "x.csv"}, "table"), write_table("x.csv", None, ROWS))
    matrix = {"file": "y.csv", "orientation": "genes_by_cells"}
    other = read_source(make_card(3, matrix, "table"), write_table("y.csv", None, turned))
    assert equal(one.X, other.X)
    assert list(one.obs_names) == list(other.obs_names)
    assert list(one.var_names) == list(other.var_names)


NAMES = (["001", "1E5", "1.0", "-0"], ["NA", "nan", "TRUE", "MARCH1", "", "HLA-A", "HLA-B"], ["TRUE", "FALSE"])


@pytest.mark.parametrize("orientation", ["genes_by_cells", "cells_by_genes"])
@pytest.mark.parametrize("names", NAMES, ids=str)
def test_names_stay_the_text_they_are(make_card, write_table, names, orientation):
    rows = [["corner", *names], *([name, *["1"] * len(names)] for name in names)]
    matrix = {"file": "x.csv", "orientation": orientation}
    ours = read_source(make_card(len(names), matrix, "table"), write_table("x.csv", None, rows))
    assert list(ours.obs_names) == list(ours.var_names) == names


@pytest.mark.parametrize("orientation", ["genes_by_cells", "cells_by_genes"])
def test_a_gene_that_a_table_lists_twice_keeps_its_name(make_card, write_table, orientation):
    rows = [["", "GAPDH", "GAPDH", "CD3E"], ["c1", "1", "2", "3"], ["c2", "4", "5", "6"]]
    if orientation == "genes_by_cells":
        rows = [list(column) for column in zip(*rows, strict=True)]
    matrix = {"file": "x.csv", "orientation": orientation}
    ours = read_source(make_card(2, matrix, "table"), write_table("x.csv", None, rows))
    assert list(ours.var_names) == ["GAPDH", "GAPDH", "CD3E"]
    assert ours.X.toarray().tolist() == [[1, 2, 3], [4, 5, 6]]


def test_a_table_longer_than_a_block_keeps_every_row(make_card, write_table):
    rows = [["", "g0"], *([f"c{number}", str(number)] for number in range(1300))]
    ours = read_source(make_card(1300, {"file": "x.csv"}, "table"), write_table("x.csv", None, rows))
    assert ours.X.toarray().ravel().tolist() == list(range(1300))
    assert ours.obs_names[-1] == "c1299"


TABLES = {
    "words": ([["", "g0"], ["c1", "many"]], "x.csv: cannot be read as a table of numbers: "),
    "an empty field": ([["", "g0", "g1"], ["c1", "1", ""]], "x.csv: cannot be read as a table of numbers: could not"),
    "not available": ([["", "g0", "g1"], ["c1", "1", "NA"]], "x.csv: cannot be read as a table of numbers: could not"),
    "no rows": ([["", "g0"]], "x.csv: cannot be read as a table of numbers: it has no row below the header."),
    "a longer row": ([["", "g0"], ["c1", "1"], ["c2", "1", "2"]], "x.csv: cannot be read as a table of numbers: "),
    "a shorter row": ([["", "g0", "g1"], ["c1", "1", "2"], ["c2", "1"]], "x.csv: cannot be read as a table of num"),
    "a longer header": (
        [["", "g0", "g1"], ["c1", "1"]],
        "x.csv: cannot be read as a table of numbers: the row 'c1' has 1 values, the header names 2 columns.",
    ),
}


@pytest.mark.parametrize(("rows", "message"), TABLES.values(), ids=TABLES.keys())
def test_what_is_no_table_of_numbers_is_refused(make_card, write_table, rows, message):
    with pytest.raises(InputError) as caught:
        read_source(make_card(1, {"file": "x.csv"}, "table"), write_table("x.csv", None, rows))
    assert str(caught.value).startswith(message)


def test_an_empty_or_truncated_table_is_refused(make_card, mirror, tmp_path):
    (tmp_path / "x.csv").write_text("")
    with pytest.raises(InputError, match="x.csv: cannot be read as a table of numbers: it has no row below the header"):
        read_source(make_card(1, {"file": "x.csv"}, "table"), {"x.csv": tmp_path / "x.csv"})
    (tmp_path / "x.csv.gz").write_bytes((mirror / TABLE).read_bytes()[:50_000])
    matrix = {"file": "x.csv.gz", "orientation": "genes_by_cells"}
    with pytest.raises(InputError, match=r"x.csv.gz: cannot be read as a table of numbers: .*end-of-stream"):
        read_source(make_card(1, matrix, "table"), {"x.csv.gz": tmp_path / "x.csv.gz"})
    (tmp_path / "x.csv.gz").write_text("plain")
    with pytest.raises(InputError, match=r"x.csv.gz: is named .gz but starts with b'plain', as no gzip file does"):
        read_source(make_card(1, matrix, "table"), {"x.csv.gz": tmp_path / "x.csv.gz"})


# cells joined by name


def test_a_pattern_that_never_ends_is_stopped_and_said(make_card, write_table, monkeypatch):
    monkeypatch.setattr("cellzoo.converters.formats.cells.SECONDS", 0.1)
    files = write_table("x.csv", None, [["", "g0"], ["a" * 40 + "!", "1"]])
    card = make_card(1, {"file": "x.csv"}, "table", obs={"columns": {"donor": {"extract": "^((a|a)*)$"}}})
    with pytest.raises(InputError, match=r"^made-up: read.obs.columns.donor: '.*' does not come to an end on 'aaaa"):
        read_source(card.readable(), files)


@pytest.fixture
def join(make_card, write_table):
    """Read three cells c1-1, c2-1, c3-1 joined with a table of cells."""

    def join(cells, rows, **spec):
        matrix = [["", "g0"], *([f"{name}-1", str(at)] for at, name in enumerate(("c1", "c2", "c3")))]
        files = write_table("x.csv", None, matrix) | write_table("obs.csv", None, rows)
        obs = {"table": {"file": "obs.csv"} | spec}
        return read_source(make_card(cells, {"file": "x.csv"}, "table", obs=obs), files)

    return join


def test_labels_are_joined_by_name_not_by_order(join):
    read = join(3, [["", "label"], ["c3-1", "third"], ["c1-1", "first"], ["c2-1", "second"], ["c9-1", "none"]])
    assert list(read.obs["label"]) == ["first", "second", "third"]


def test_a_suffix_of_the_matrix_is_stripped_for_the_join_only(join):
    rows = [["label", "barcode"], ["third", "c3"], ["first", "c1"], ["second", "c2"]]
    read = join(3, rows, strip="-1", index="barcode")
    assert list(read.obs["label"]) == ["first", "second", "third"]
    assert list(read.obs_names) == ["c1-1", "c2-1", "c3-1"]


def test_cells_that_the_table_does_not_list_are_an_error_or_dropped(join):
    rows = [["", "label"], ["c3", "third"], ["c1", "first"]]
    with pytest.raises(InputError) as caught:
        join(3, rows, strip="-1")
    assert str(caught.value) == "made-up: 1 cells are not in the table of cells, first 'c2'."
    read = join(2, rows, strip="-1", unmatched="drop")
    assert read.obs["label"].to_dict() == {"c1-1": "first", "c3-1": "third"}
    assert read.X.toarray().ravel().tolist() == [0, 2], "the counts stay with their cells"


JOINS = {
    "without the suffix": ([["", "label"], ["c1", "x"]], {}, "the matrix has 'c1-1', the table 'c1'."),
    "listed twice": (
        [["", "label"], ["c1-1", "x"], ["c1-1", "y"]],
        {},
        "made-up: the table of cells lists 'c1-1' twice",
    ),
    "no such index": ([["b", "label"], ["c1-1", "x"]], {"index": "a"}, "obs.csv: has no column 'a', found ['b', 'l"),
    "empty": ([], {}, "obs.csv: cannot be read as a table: No columns to parse from file."),
}


@pytest.mark.parametrize(("rows", "spec", "message"), JOINS.values(), ids=JOINS.keys())
def test_a_table_that_does_not_fit_is_refused(join, rows, spec, message):
    with pytest.raises(InputError) as caught:
        join(3, rows, **spec)
    assert message in str(caught.value)


def test_names_of_the_table_stay_the_text_they_are(make_card, write_table):
    names = ["001", "1E5"]
    files = write_table("x.csv", None, [["", "g0"], *([name, "1"] for name in names)])
    files |= write_table("obs.csv", None, [["", "label"], *([name, f"is {name}"] for name in names)])
    for spec in ({}, {"index": "cell"}):
        header = [["label"], ["cell", "label"]][bool(spec)]
        files |= write_table("obs.csv", None, [header, *([name, f"is {name}"] for name in names)])
        card = make_card(2, {"file": "x.csv"}, "table", obs={"table": {"file": "obs.csv"} | spec})
        assert list(read_source(card, files).obs["label"]) == ["is 001", "is 1E5"]


# further layers


def test_h5ad_brings_the_layers_that_the_card_names(make_card, adata, tmp_path):
    adata.write_h5ad(tmp_path / "x.h5ad")
    card = make_card(3, {"file": "x.h5ad"}, layers={"counts": "counts", "processed": "X", "spliced_counts": "counts"})
    read = read_source(card, {"x.h5ad": tmp_path / "x.h5ad"})
    assert equal(read.X, adata.layers["counts"])
    assert list(read.layers) == ["X"], "a second name of the counts is no second layer"
    assert equal(read.layers["X"], adata.X)


def test_a_layer_of_other_genes_is_refused(make_card, adata, tmp_path):
    adata.write_h5ad(tmp_path / "x.h5ad")
    card = make_card(3, {"file": "x.h5ad"}, layers={"counts": "raw", "processed": "X"})
    with pytest.raises(InputError) as caught:
        read_source(card, {"x.h5ad": tmp_path / "x.h5ad"})
    assert str(caught.value) == "x.h5ad: X has other genes than raw; leave out layers.processed."


def test_spliced_and_unspliced_matrices_of_an_r_file_are_one_data_set(real, files_of, r_file):
    parts = r_file(files_of("bastidasponce2019-mouse-pancreas")["pancreas.rda"])["pancreas"]
    ours = real("bastidasponce2019-mouse-pancreas")
    assert equal(ours.X, parts["spliced"].values.T)
    assert equal(ours.layers["unspliced"], parts["unspliced"].values.T)
    assert (ours.layers["unspliced"] != ours.X).nnz > 100_000


TURNED = [list(column) for column in zip(*[["", "g0"], ["c1", "7"], ["c2", "8"]], strict=True)]
LAYERS = {
    "as the matrix": ([["", "g0"], ["c1", "7"], ["c2", "8"]], {}, None),
    "turned": (TURNED, {"orientation": "genes_by_cells"}, None),
    "cells in another order": (
        [["", "g0"], ["c2", "7"], ["c1", "8"]],
        {},
        "made-up: read.layers.extra: has other cells than the matrix, or in another order.",
    ),
    "another gene": (
        [["", "g1"], ["c1", "7"], ["c2", "8"]],
        {},
        "made-up: read.layers.extra: has other genes than the matrix, or in another order.",
    ),
}


@pytest.mark.parametrize(("rows", "spec", "message"), LAYERS.values(), ids=LAYERS.keys())
def test_a_layer_has_the_cells_and_genes_of_the_matrix(make_card, write_table, rows, spec, message):
    files = write_table("x.csv", None, [["", "g0"], ["c1", "1"], ["c2", "2"]]) | write_table("y.csv", None, rows)
    read = {"layers": {"extra": {"file": "y.csv"} | spec}}
    card = make_card(2, {"file": "x.csv"}, "table", read=read, layers={"velocity": "extra"})
    if message is None:
        assert read_source(card, files).layers["extra"].toarray().tolist() == [[7], [8]]
        return
    with pytest.raises(InputError) as caught:
        read_source(card, files)
    assert str(caught.value) == message


def test_a_layer_that_is_not_read_is_said(make_card, write_table):
    files = write_table("x.csv", None, [["", "g0"], ["c1", "1"]])
    card = make_card(1, {"file": "x.csv"}, "table", layers={"velocity": "speed"})
    with pytest.raises(InputError) as caught:
        read_source(card, files)
    assert str(caught.value) == "x.csv: has no layer 'speed', found []."


# cells that belong


def test_only_the_cells_that_a_card_keeps_are_read(real, files_of, r_file):
    object_ = r_file(files_of("baron2016-human-cider")["pancreas.RData"])["pancreas"]
    meta = getattr(object_, "meta.data")
    human = (meta["Batch"] == "human").to_numpy()
    ours = real("baron2016-human-cider")
    assert list(ours.obs_names) == [str(name) for name in meta.index[human]]
    assert equal(ours.X, dgc(object_.assays["RNA"].counts).T.tocsr()[human])
    assert set(ours.obs["Batch"]) == {"human"}


@pytest.mark.parametrize(("values", "kept"), [(["x"], ["c1", "c3"]), (["y"], ["c2"]), (["y", "x"], ["c1", "c2", "c3"])])
def test_cells_are_kept_by_what_a_column_holds(make_card, write_table, values, kept):
    files = write_table("x.csv", None, ROWS)
    files |= write_table("obs.csv", None, [["", "species"], ["c1", "x"], ["c2", "y"], ["c3", "x"]])
    read = {"keep": {"column": "species", "values": values}}
    card = make_card(len(kept), {"file": "x.csv"}, "table", read=read, obs={"table": {"file": "obs.csv"}})
    ours = read_source(card, files)
    assert list(ours.obs_names) == kept
    assert ours.X.toarray().tolist() == [[int(count) for count in row[1:]] for row in ROWS[1:] if row[0] in kept]


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        (
            {"column": "species", "values": ["z"]},
            "made-up: read.keep: no cell has one of ['z'] in column 'species'; found {'x': 2, 'y': 1}.",
        ),
        (
            {"column": "organism", "values": ["x"]},
            "made-up: read.keep: no column 'organism' of cells; found ['species'].",
        ),
    ],
    ids=["value", "column"],
)
def test_cells_to_keep_that_are_not_there_are_said_with_what_is(make_card, write_table, keep, message):
    files = write_table("x.csv", None, ROWS)
    files |= write_table("obs.csv", None, [["", "species"], ["c1", "x"], ["c2", "y"], ["c3", "x"]])
    card = make_card(1, {"file": "x.csv"}, "table", read={"keep": keep}, obs={"table": {"file": "obs.csv"}})
    with pytest.raises(InputError) as caught:
        read_source(card, files)
    assert str(caught.value) == message


def test_every_format_that_a_card_can_name_is_read():
    assert set(READERS) == set(get_args(Format))


@pytest.mark.parametrize("kind", ["dsCMatrix", "dtCMatrix", "dgRMatrix"])
def test_a_sparse_matrix_that_stores_its_values_otherwise_is_refused_not_misread(kind):
    slots = {"j": [0], "p": [0, 1, 1]} if kind == "dgRMatrix" else {"i": [0], "p": [0, 0, 1], "uplo": ["U"]}
    names = [np.array(["a", "b"]), np.array(["a", "b"])]
    node = SimpleNamespace(x=[5.0], Dim=[2, 2], Dimnames=names, **slots, **{"class": [kind]})
    with pytest.raises(InputError) as caught:
        r_matrix(node, "x.rda: x")
    assert str(caught.value) == f"x.rda: x: is of R class ['{kind}'], expected a matrix."
