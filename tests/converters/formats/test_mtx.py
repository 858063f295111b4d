"""Matrix Market: with files of names, and folders of Cell Ranger as files, in a zip or in a tar."""

import gzip
import io
import tarfile
import zipfile

import numpy as np
import pytest
import scanpy
import scipy.io
import scipy.sparse as sp

from cellzoo.converters.readers import read_source
from cellzoo.converters.rows import to_csr
from cellzoo.errors import InputError

COUNTS = sp.random(40, 12, 0.3, "csr", rng=np.random.default_rng(1))
COUNTS.data = np.arange(1.0, COUNTS.nnz + 1)
CELLS = [f"{at:04b}ACGT-1" for at in range(40)]
TYPES = ["Gene Expression"] * 9 + ["Antibody Capture"] * 3
FEATURES = [(f"ENSG{at:011d}", f"GENE{at % 8}", kind) for at, kind in enumerate(TYPES)]


def mtx(matrix, field="integer"):
    """Return a matrix as scipy writes it."""
    stream = io.BytesIO()
    scipy.io.mmwrite(stream, matrix, field=field)
    return stream.getvalue()


def lines(rows):
    return "".join("\t".join(row) + "\n" for row in rows).encode()


def folder(version):
    """Return file name -> content as Cell Ranger writes it (genes x cells)."""
    pack = gzip.compress if version == 3 else bytes
    end = ".gz" if version == 3 else ""
    genes = lines(FEATURES) if version == 3 else lines(row[:2] for row in FEATURES)
    return {
        f"matrix.mtx{end}": pack(mtx(COUNTS.T)),
        f"barcodes.tsv{end}": pack(lines((name,) for name in CELLS)),
        f"features.tsv{end}" if version == 3 else "genes.tsv": pack(genes),
    }


@pytest.fixture
def put(tmp_path):
    """Write files by name and return their paths."""

    def put(files):
        for name, content in files.items():
            (tmp_path / name).write_bytes(content)
        return {name: tmp_path / name for name in files}

    return put


def zipped(files):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def tarred(files, mode="w"):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def equal(rows, matrix):
    got = to_csr(rows)
    return got.shape == matrix.shape and (got != sp.csr_matrix(matrix)).nnz == 0


def dense(rows):
    return to_csr(rows).toarray()


# Cell Ranger's folders


def below(files, top):
    return {top + name: content for name, content in files.items()}


PLACES = {
    "files of the card": (lambda files: files, lambda files: {"file": next(iter(files))}),
    "files with the prefix of a sample": (
        lambda files: below(files, "GSM123_"),
        lambda files: {"file": "GSM123_" + next(iter(files))},
    ),
    "a zip": (lambda files: {"x.zip": zipped(below(files, "filtered/"))}, lambda _: {"file": "x.zip"}),
    "a tar": (lambda files: {"x.tar": tarred(files)}, lambda _: {"file": "x.tar"}),
    "a tar.gz": (lambda files: {"x.tar.gz": tarred(below(files, "./a/b/"), "w:gz")}, lambda _: {"file": "x.tar.gz"}),
    "a member with a prefix": (
        lambda files: {"x.tar": tarred(below(files, "a/S1_") | below(files, "b/S2_"))},
        lambda files: {"file": "x.tar", "member": "b/S2_" + next(iter(files))},
    ),
}


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize(("pack", "place"), PLACES.values(), ids=PLACES.keys())
def test_a_10x_folder_is_read_as_scanpy_reads_it(make_card, put, tmp_path, version, pack, place):
    files = folder(version)
    (tmp_path / "theirs").mkdir()
    for name, content in files.items():
        (tmp_path / "theirs" / name).write_bytes(content)
    theirs = scanpy.read_10x_mtx(tmp_path / "theirs", make_unique=False, gex_only=False)
    ours = read_source(make_card(40, place(files), "10x_mtx"), put(pack(files)))
    genes = 9 if version == 3 else 12
    assert equal(ours.X, theirs.X[:, :genes])
    assert list(ours.obs.index) == list(theirs.obs_names) == CELLS
    assert list(ours.var.index) == list(theirs.var_names[:genes])
    assert list(ours.var["gene_ids"]) == list(theirs.var["gene_ids"][:genes])
    if version == 3:
        assert equal(ours.modalities["protein"].X, theirs.X[:, 9:])
        assert list(ours.modalities["protein"].var.index) == list(theirs.var_names[9:])
        assert list(ours.var["feature_types"]) == list(theirs.var["feature_types"][:9])
        assert set(ours.var["feature_type"]) == {"gene"}
        assert set(ours.modalities["protein"].var["feature_type"]) == {"protein"}


def test_a_matrix_that_does_not_fit_into_memory_is_the_same(make_card, put, monkeypatch, tmp_path):
    monkeypatch.setenv("CELLZOO_HOME", str(tmp_path / "home"))
    for name, value in {"transpose.IN_MEMORY": 20, "transpose.BUCKET": 7, "formats.mtx.LINES": 30}.items():
        monkeypatch.setattr(f"cellzoo.converters.{name}", value)
    ours = read_source(make_card(40, {"file": "matrix.mtx.gz"}, "10x_mtx"), put(folder(3)))
    assert equal(ours.X, COUNTS[:, :9])
    assert equal(ours.modalities["protein"].X, COUNTS[:, 9:])
    assert list((tmp_path / "home" / "partial").iterdir()) == []


def test_samples_of_an_archive_are_joined_with_their_barcodes_made_unique(make_card, put):
    files = below(folder(3), "GSM1_A/") | below(folder(3), "GSM2_B/")
    card = make_card(80, {"file": "x.tar", "member": "GSM*/matrix.mtx.gz"}, "10x_mtx")
    ours = read_source(card, put({"x.tar": tarred(files)}))
    assert equal(ours.X, sp.vstack([COUNTS[:, :9]] * 2))
    assert equal(ours.modalities["protein"].X, sp.vstack([COUNTS[:, 9:]] * 2))
    assert list(ours.obs.index) == [f"{cell}-1_A" for cell in CELLS] + [f"{cell}-2_B" for cell in CELLS]
    assert list(ours.obs["member"]) == ["1_A"] * 40 + ["2_B"] * 40
    assert list(ours.modalities["protein"].obs.index) == list(ours.obs.index)
    assert list(ours.var.index) == [row[1] for row in FEATURES[:9]], "a gene that is listed twice stays twice"


# Matrix Market with names


def named(turned, **change):
    """Return a card's matrix: names of cells in a table with a header, of genes in one without."""
    matrix = {"file": "x.mtx", "orientation": "genes_by_cells" if turned else "cells_by_genes"}
    return matrix | {"cells": {"file": "cells.csv", "column": "barcode"}, "features": {"file": "genes.tsv"}} | change


def beside(matrix, field="integer"):
    cells = "".join(f"{name},{at % 3}\n" for at, name in enumerate(CELLS))
    return {
        "x.mtx": mtx(matrix, field),
        "cells.csv": ("barcode,batch\n" + cells).encode(),
        "genes.tsv": lines(FEATURES),
    }


FORMS = {
    "integers": (COUNTS, "integer"),
    "reals": (COUNTS * 0.25, "real"),
    "a pattern": (sp.csr_matrix(COUNTS != 0), "pattern"),
    "dense": (COUNTS.toarray(), "integer"),
    "negative and not a number": (sp.csr_matrix(np.where(COUNTS.toarray() > 3, np.nan, -COUNTS.toarray())), "real"),
}


@pytest.mark.parametrize("turned", [True, False], ids=["genes by cells", "cells by genes"])
@pytest.mark.parametrize(("matrix", "field"), FORMS.values(), ids=FORMS.keys())
def test_an_mtx_is_read_as_scipy_reads_it(make_card, put, turned, matrix, field):
    files = put(beside(matrix.T if turned else matrix, field))
    theirs = scipy.io.mmread(files["x.mtx"])
    theirs = sp.csr_matrix(theirs.T if turned else theirs).toarray()
    ours = read_source(make_card(40, named(turned), "mtx"), files)
    assert np.array_equal(dense(ours.X), theirs, equal_nan=True)
    assert list(ours.obs.index) == CELLS
    assert list(ours.obs["batch"]) == [str(at % 3) for at in range(40)]
    assert list(ours.var.index) == [row[0] for row in FEATURES]
    assert list(ours.var["1"]) == [row[1] for row in FEATURES]


def test_a_place_that_an_mtx_lists_twice_is_summed_as_scipy_does(make_card, put):
    files = put(beside(COUNTS) | {"x.mtx": HEAD + b"40 12 3\n1 2 5\n3 1 1\n1 2 7\n"})
    ours = read_source(make_card(40, named(turned=False), "mtx"), files)
    assert equal(ours.X, sp.csr_matrix(scipy.io.mmread(files["x.mtx"])))
    assert dense(ours.X)[0, 1] == 12


def test_names_come_from_any_column_by_position_or_name(make_card, put):
    files = put(beside(COUNTS))
    spec = named(turned=False, cells={"file": "cells.csv", "column": 0}, features={"file": "genes.tsv", "column": 1})
    ours = read_source(make_card(40, spec, "mtx"), files)
    assert list(ours.var.index) == [row[1] for row in FEATURES]
    assert list(ours.obs.index) == CELLS


def test_names_as_r_writes_them_are_read(make_card, put):
    files = beside(COUNTS)
    files["cells.csv"] = ('"barcode"\n' + "".join(f'"{at}","{name}"\n' for at, name in enumerate(CELLS, 1))).encode()
    ours = read_source(make_card(40, named(turned=False), "mtx"), put(files))
    assert list(ours.obs.index) == CELLS


def test_antibodies_in_a_matrix_of_their_own_are_joined_by_cell(make_card, put):
    order = np.random.default_rng(0).permutation(40)
    files = beside(COUNTS[:, :9]) | {"genes.tsv": lines(FEATURES[:9])}
    files |= {"adt.mtx": mtx(COUNTS[order][:, 9:]), "adt.tsv": lines(FEATURES[9:])}
    files["adt_cells.tsv"] = lines([(CELLS[at],) for at in order])
    adt = {"file": "adt.mtx", "cells": {"file": "adt_cells.tsv"}, "features": {"file": "adt.tsv", "column": 1}}
    card = make_card(40, named(turned=False), "mtx", read={"modalities": {"protein": adt}})
    ours = read_source(card, put(files))
    assert equal(ours.X, COUNTS[:, :9])
    assert equal(ours.modalities["protein"].X, COUNTS[:, 9:])
    assert list(ours.modalities["protein"].obs.index) == CELLS
    files["adt_cells.tsv"] = lines([(f"x{CELLS[at]}",) for at in order])
    with pytest.raises(InputError) as caught:
        read_source(card, put(files))
    example = f"the matrix has '{min(CELLS)}', adt.mtx for example 'x{CELLS[order[0]]}'"
    assert str(caught.value) == f"made-up: read.modalities.protein: lacks 40 cells of the matrix: {example}."


# what is wrong

HEAD = b"%%MatrixMarket matrix coordinate integer general\n"
WRONG = {
    "no header": (b"3 3 1\n1 1 1\n", "x.mtx: is not Matrix Market: it starts with '3 3 1', not %%MatrixMarket matrix."),
    "symmetric": (
        HEAD.replace(b"general", b"symmetric") + b"40 12 0\n",
        "x.mtx: holds a symmetric matrix of integer values; expected a general one of integer or real values.",
    ),
    "no sizes": (HEAD + b"% a remark\n", "x.mtx: has no line with the number of rows, columns and values: b''."),
    "fewer values": (
        HEAD + b"40 12 3\n1 1 1\n2 2 2\n",
        "x.mtx: the header says 3 values, the body has 2: the file may be truncated.",
    ),
    "more values": (
        HEAD + b"40 12 1\n1 1 1\n2 2 2\n",
        "x.mtx: the header says 1 values, the body has more than 1: the file may be truncated.",
    ),
    "row 0": (HEAD + b"40 12 2\n1 1 1\n0 2 2\n", "x.mtx: value 2 is in row 0, there are 1 to 40."),
    "half a row": (HEAD + b"40 12 1\n1.5 1 1\n", "x.mtx: value 1 is in row 1.5, there are 1 to 40."),
    "a column too far": (HEAD + b"40 12 1\n1 13 1\n", "x.mtx: value 1 is in column 13, there are 1 to 12."),
    "a word": (HEAD + b"40 12 1\n1 1 many\n", "x.mtx: cannot be read as Matrix Market: "),
    "cut within a line": (HEAD + b"40 12 2\n1 1 1\n1 2", "x.mtx: cannot be read as Matrix Market: "),
    "more cells than names": (
        HEAD + b"42 12 1\n1 1 1\n",
        "cells.csv: names 41 cells, the matrix x.mtx has 42. Is the matrix turned: read.matrix.orientation?",
    ),
    "more genes than names": (
        HEAD + b"40 13 1\n1 1 1\n",
        "genes.tsv: names 12 features, the matrix x.mtx has 13. Are they of another matrix?",
    ),
}


@pytest.mark.parametrize(("content", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_with_an_mtx_is_said(make_card, put, content, message):
    with pytest.raises(InputError) as caught:
        read_source(make_card(40, named(turned=False), "mtx"), put(beside(COUNTS) | {"x.mtx": content}))
    assert str(caught.value).startswith(message)


def test_a_truncated_gzip_is_said(make_card, put):
    files = folder(3)
    files["matrix.mtx.gz"] = files["matrix.mtx.gz"][:200]
    with pytest.raises(InputError, match=r"^matrix.mtx.gz: cannot be read as Matrix Market: .*end-of-stream"):
        read_source(make_card(40, {"file": "matrix.mtx.gz"}, "10x_mtx"), put(files))


def test_names_that_are_missing_are_said_with_what_is_there(make_card, put):
    files = folder(3)
    del files["barcodes.tsv.gz"]
    with pytest.raises(InputError) as caught:
        read_source(make_card(40, {"file": "matrix.mtx.gz"}, "10x_mtx"), put(files))
    message = "has no barcodes.tsv beside it; found ['features.tsv.gz']"
    assert str(caught.value) == f"matrix.mtx.gz: {message}. Name it in read.matrix.cells."
    with pytest.raises(InputError) as caught:
        read_source(make_card(40, {"file": "x.mtx"}, "mtx"), put(beside(COUNTS)))
    assert str(caught.value) == "x.mtx: an mtx holds no names; say where they are: read.matrix.cells."


def test_an_archive_with_several_matrices_wants_one_named(make_card, put):
    files = {"x.tar": tarred(below(folder(3), "a/") | below(folder(3), "b/"))}
    with pytest.raises(InputError) as caught:
        read_source(make_card(40, {"file": "x.tar"}, "10x_mtx"), put(files))
    found = "['a/matrix.mtx.gz', 'b/matrix.mtx.gz']"
    assert str(caught.value) == (
        f"x.tar: holds 2 files named matrix.mtx, expected one: {found}. Name it in read.matrix.member; * reads several."
    )


def test_droplet_utils_writes_what_is_read(make_card, put):
    """DropletUtils writes version 3 with a fourth, empty or genomic column, and barcodes without an ending."""
    files = folder(3)
    files["features.tsv.gz"] = gzip.compress(lines((*row, "chr1", "1", "9") for row in FEATURES))
    ours = read_source(make_card(40, {"file": "matrix.mtx.gz"}, "10x_mtx"), put(files))
    assert equal(ours.X, COUNTS[:, :9])
    assert list(ours.var.columns) == ["gene_ids", "feature_types", "feature_type"]
