"""Delimited text and Excel: dense and as triplets, in memory and not, tables of cells, and what is wrong with them."""

import gzip
import io
import zipfile
from datetime import datetime

import numpy as np
import openpyxl
import pandas as pd
import pytest
import scipy.sparse as sp

from cellzoo.converters import transpose
from cellzoo.converters.formats import text
from cellzoo.converters.readers import read_source
from cellzoo.converters.rows import to_csr
from cellzoo.converters.transpose import Spilled
from cellzoo.errors import InputError
from cellzoo.registry.reading import Spatial

COUNTS = sp.random(30, 8, 0.4, "lil", rng=np.random.default_rng(4))
COUNTS[:, 0] = 1  # a triplet table lists no cell without counts
COUNTS = COUNTS.tocsr()
COUNTS.data = np.arange(1.0, COUNTS.nnz + 1)
CELLS, GENES = [f"cell{at}" for at in range(30)], [f"GENE{at}" for at in range(8)]
FRAME = pd.DataFrame(COUNTS.toarray().astype(int), index=CELLS, columns=GENES)


def dense(rows):
    return to_csr(rows).toarray()


@pytest.fixture
def put(tmp_path):
    def put(files):
        for name, content in files.items():
            (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return {name: tmp_path / name for name in files}

    return put


# matrices


@pytest.mark.parametrize("turned", [True, False], ids=["genes by cells", "cells by genes"])
@pytest.mark.parametrize("small", [True, False], ids=["in memory", "in a file"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"], ids=["Unix", "Windows"])
def test_a_table_of_pandas_is_read_to_the_last_count(make_card, put, monkeypatch, tmp_path, turned, small, ends):
    monkeypatch.setenv("CELLZOO_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(text, "VALUES", 70)
    if not small:
        monkeypatch.setattr(transpose, "IN_MEMORY", 9)
        monkeypatch.setattr(transpose, "BUCKET", 4)
    frame = FRAME.T if turned else FRAME
    files = put({"x.csv.gz": gzip.compress(frame.to_csv(lineterminator=ends).encode())})
    matrix = {"file": "x.csv.gz", "orientation": "genes_by_cells" if turned else "cells_by_genes"}
    ours = read_source(make_card(30, matrix, "table"), files)
    assert (dense(ours.X) == FRAME.to_numpy()).all()
    assert isinstance(ours.X, Spilled) != small
    assert (list(ours.obs.index), list(ours.var.index)) == (CELLS, GENES)
    assert small or list((tmp_path / "home" / "partial").iterdir()) == []


def test_names_in_quotes_keep_what_is_within(make_card, put):
    content = '"","a, b","say ""x"""\n"c,1",1,2\n"c ""2""",0,3\n'
    ours = read_source(make_card(2, {"file": "x.csv"}, "table"), put({"x.csv": content}))
    assert list(ours.var.index) == ["a, b", 'say "x"']
    assert list(ours.obs.index) == ["c,1", 'c "2"']
    assert dense(ours.X).tolist() == [[1, 2], [0, 3]]


def test_what_is_not_a_number_or_negative_survives_reading(make_card, put):
    ours = read_source(make_card(1, {"file": "x.csv"}, "table"), put({"x.csv": ",a,b,c\nc1,nan,-2,0.5\n"}))
    assert np.array_equal(dense(ours.X), [[np.nan, -2, 0.5]], equal_nan=True)


TRIPLETS = FRAME.rename_axis("barcode").reset_index().melt("barcode", var_name="gene", value_name="n").query("n > 0")


@pytest.mark.parametrize("small", [True, False], ids=["in memory", "in a file"])
def test_triplets_are_read_to_the_last_count(make_card, put, monkeypatch, small):
    monkeypatch.setattr(text, "TRIPLETS", 13)
    if not small:
        monkeypatch.setattr(transpose, "IN_MEMORY", 9)
        monkeypatch.setattr(transpose, "BUCKET", 4)
    rows = TRIPLETS.sample(frac=1, random_state=0)
    files = put({"x.tsv.gz": gzip.compress(rows.to_csv(sep="\t", index=False).encode())})
    names = {
        axis: {"file": "x.tsv.gz", "column": name} for axis, name in {"cells": "barcode", "features": "gene"}.items()
    }
    ours = read_source(make_card(30, {"file": "x.tsv.gz"} | names, "table"), files)
    got = pd.DataFrame(dense(ours.X), index=ours.obs.index, columns=ours.var.index)
    assert (got.loc[CELLS, GENES].to_numpy() == FRAME.to_numpy()).all()
    assert list(ours.obs.index) == list(dict.fromkeys(rows["barcode"]))


def test_the_column_of_values_is_named_where_there_are_others(make_card, put):
    files = put({"x.csv": TRIPLETS.assign(batch=1).to_csv(index=False)})
    names = {axis: {"file": "x.csv", "column": name} for axis, name in {"cells": "barcode", "features": "gene"}.items()}
    matrix = {"file": "x.csv", "object": "n"} | names
    assert dense(read_source(make_card(30, matrix, "table"), files).X).sum() == COUNTS.sum()
    with pytest.raises(InputError) as caught:
        read_source(make_card(30, {"file": "x.csv"} | names, "table"), files)
    found = "found ['barcode', 'gene', 'n', 'batch']. Name it in read.matrix.object."
    message = "x.csv: a table of triplets has one column of values beside cell and feature; "
    assert str(caught.value) == message + found
    names["cells"] = {"file": "x.csv", "column": "cell"}
    with pytest.raises(InputError) as caught:
        read_source(make_card(30, {"file": "x.csv"} | names, "table"), files)
    assert str(caught.value) == "x.csv: has no column 'cell', found ['barcode', 'gene', 'n', 'batch']."


TWICE = {
    "on rows that follow": ([1, 1], "1 and 2"),
    "far from each other": ([1, *range(20, 40), 1], "1 and 22"),
    "with values that cancel": ([1, 2, -1], "1 and 3"),
}


@pytest.mark.parametrize(("lines", "where"), TWICE.values(), ids=TWICE.keys())
@pytest.mark.parametrize("small", [True, False], ids=["in memory", "in a file"])
def test_a_cell_and_a_feature_on_two_rows_of_triplets_are_refused(make_card, put, monkeypatch, lines, where, small):
    monkeypatch.setattr(text, "TRIPLETS", 7)
    if not small:
        monkeypatch.setattr(transpose, "IN_MEMORY", 9)
        monkeypatch.setattr(transpose, "BUCKET", 4)
    rows = [f"c{abs(line)},g{abs(line) % 5},{line}\n" for line in lines]
    names = {axis: {"file": "x.csv", "column": at} for at, axis in enumerate(("cells", "features"))}
    with pytest.raises(InputError) as caught:
        read_source(
            make_card(None, {"file": "x.csv"} | names, "table"), put({"x.csv": "cell,gene,n\n" + "".join(rows)})
        )
    remedy = "Expected one row for each cell and feature; take out what is repeated, or add it up."
    twice = f"the rows {where} below the header are both of cell 'c1', feature 'g1'"
    assert str(caught.value) == f"x.csv: {twice}. {remedy}"


# samples of an archive


def zipped(files):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


SAMPLES = {"d/GSM2_b.csv": ",g1,g2\nc1,1,2\nc2,3,4\n", "d/GSM1_a.csv": ",g2,g0,g2\nc1,5,6,7\n"}


def test_samples_with_other_genes_are_joined_and_it_is_said(make_card, put):
    files = put({"x.zip": zipped(SAMPLES)})
    ours = read_source(make_card(3, {"file": "x.zip", "member": "d/GSM*_*.csv"}, "table"), files)
    assert list(ours.obs.index) == ["c1-1_a", "c1-2_b", "c2-2_b"]
    assert list(ours.obs["member"]) == ["1_a", "2_b", "2_b"]
    assert list(ours.var.index) == ["g2", "g0", "g2", "g1"]
    assert dense(ours.X).tolist() == [[5, 6, 7, 0], [2, 0, 0, 1], [4, 0, 0, 3]]
    assert list(ours.var["n_members"]) == [2, 1, 1, 1]


def test_cell_names_that_are_unique_stay_as_they_are(make_card, put):
    samples = {"a.csv": ",g\nx1,1\n", "b.csv": ",g\nx2,2\n"}
    ours = read_source(make_card(2, {"file": "x.zip", "member": "*.csv"}, "table"), put({"x.zip": zipped(samples)}))
    assert list(ours.obs.index) == ["x1", "x2"]
    assert list(ours.var) == []


def test_each_sample_has_its_own_table_of_cells(make_card, put):
    tables = {"d/GSM1_a.txt": "cell\tlabel\nc1\tone\n", "d/GSM2_b.txt": "cell\tlabel\nc2\tthree\nc1\ttwo\n"}
    files = put({"x.zip": zipped(SAMPLES | tables)})
    obs = {"table": {"file": "x.zip", "member": "d/GSM*_*.txt"}}
    ours = read_source(make_card(3, {"file": "x.zip", "member": "d/GSM*_*.csv"}, "table", obs=obs), files)
    assert list(ours.obs["label"]) == ["one", "two", "three"]


def test_two_members_of_one_name_are_refused(make_card, put):
    files = put({"x.zip": zipped({"a/x.csv": ",g\nc,1\n", "x/a.csv": ",g\nc,1\n"})})
    card = make_card(2, {"file": "x.zip", "member": "*/*.csv"}, "table")
    assert list(read_source(card, files).obs["member"]) == ["a_x", "x_a"]
    files = put({"x.zip": zipped({"a/a.csv": ",g\nc,1\n", "a/.csv": ",g\nc,1\n"})})
    with pytest.raises(InputError) as caught:
        read_source(card, files)
    assert str(caught.value) == "x.zip: the * of '*/*.csv' stands for one name in several members."


# tables of cells


def book(rows, sheet="cells", others=()):
    made = openpyxl.Workbook()
    made.active.title = sheet
    for row in rows:
        made.active.append(row)
    for name in others:
        made.create_sheet(name)
    stream = io.BytesIO()
    made.save(stream)
    return stream.getvalue()


@pytest.fixture
def join(make_card, put):
    """Read three cells 001, 2 and x joined with an Excel table."""

    def join(content, **spec):
        files = put({"x.csv": ",g\n001,1\n2,2\nx,3\n", "obs.xlsx": content})
        return read_source(make_card(3, {"file": "x.csv"}, "table", obs={"table": {"file": "obs.xlsx"} | spec}), files)

    return join


def test_a_sheet_of_excel_is_joined_by_name(join):
    content = book([["cell", "label", "age"], [2, "T", 0.5], ["x", None, 3], ["001", "B", 1], [None, None, None]])
    ours = join(content)
    assert ours.obs["label"].tolist()[:2] == ["B", "T"]
    assert ours.obs["label"].isna().tolist() == [False, False, True]
    assert ours.obs["age"].tolist() == ["1", "0.5", "3"]


WRITTEN = {
    "donors keep their leading zeros": ["0012", "012", "12"],
    "numbers keep their last zeros": ["1.10", "1.1", "1.100"],
    "an exponent stays as it is": ["001", "1e3", "1E3"],
    "large numbers keep every digit": ["9007199254740993", "9007199254740992", "1"],
    "words for nothing are words": ["NA", "None", "nan"],
    "and so are words for true": ["True", "TRUE", "false"],
    "days stay as they are": ["2020-01-02", "01/02/2020", "2020-01-02 00:00:00"],
    "blanks are kept": [" a", "a ", "a"],
}


@pytest.mark.parametrize("values", WRITTEN.values(), ids=WRITTEN.keys())
@pytest.mark.parametrize("name", ["obs.csv", "obs.tsv.gz", "obs.xlsx"])
def test_a_table_of_cells_is_read_as_it_is_written(make_card, put, tmp_path, name, values):
    frame = pd.DataFrame({"cell": ["a", "b", "c"], "donor": values})
    if name.endswith("xlsx"):
        frame.to_excel(tmp_path / name, index=False)
    else:
        frame.to_csv(tmp_path / name, sep="," if name == "obs.csv" else "\t", index=False)
    card = make_card(3, {"file": "x.csv"}, "table", obs={"table": {"file": name}})
    ours = read_source(card, put({"x.csv": ",g\na,1\nb,2\nc,3\n"}) | {name: tmp_path / name})
    assert ours.obs["donor"].tolist() == values


@pytest.mark.parametrize("name", ["obs.csv", "obs.xlsx"])
def test_whole_numbers_stay_whole_beside_an_empty_cell_which_alone_is_missing(make_card, put, tmp_path, name):
    frame = pd.DataFrame({"cell": ["a", "b", "c"], "cluster": pd.array([0, None, 12], dtype="Int64"), "flag": True})
    if name.endswith("xlsx"):
        frame.to_excel(tmp_path / name, index=False)
    else:
        frame.to_csv(tmp_path / name, index=False)
    card = make_card(3, {"file": "x.csv"}, "table", obs={"table": {"file": name, "index": "cell"}})
    ours = read_source(card, put({"x.csv": ",g\na,1\nb,2\nc,3\n"}) | {name: tmp_path / name})
    assert ours.obs["cluster"].isna().tolist() == [False, True, False]
    assert ours.obs["cluster"].dropna().tolist() == ["0", "12"]
    assert ours.obs["flag"].tolist() == ["True"] * 3


def test_a_day_of_excel_has_no_hour(join):
    day = datetime(2020, 1, 2)  # noqa: DTZ001  Excel knows no zones
    ours = join(book([["cell", "born"], [2, day], ["x", day.replace(hour=3)], ["001", "2020"]]))
    assert ours.obs["born"].tolist() == ["2020", "2020-01-02", "2020-01-02 03:00:00"]


SPATIAL = {"x": "px", "array_row": "row", "in_tissue": "under"}


@pytest.mark.parametrize("name", ["obs.csv", "obs.xlsx"])
def test_what_a_card_takes_as_numbers_of_a_table_is_numbers(make_card, put, tmp_path, name):
    frame = pd.DataFrame(
        {"cell": ["a", "b"], "px": [1.5, -2e3], "row": [3, 4], "under": [True, False], "depth": [7, 9], "donor": [1, 2]}
    )
    if name.endswith("xlsx"):
        frame.to_excel(tmp_path / name, index=False)
    else:
        frame.to_csv(tmp_path / name, index=False)
    recover = {"undo": "log1p", "scale": 7, "depth": "depth"}
    card = make_card(
        2,
        {"file": "x.csv"},
        "table",
        obs={"table": {"file": name}},
        counts={"kind": "umi", "recover": recover},
        donor_id={"column": "donor"},
    ).model_copy(update={"spatial": Spatial(**SPATIAL)})
    ours = read_source(card, put({"x.csv": ",g\na,1\nb,2\n"}) | {name: tmp_path / name})
    numbers = {column: ours.obs[column].tolist() for column in ("px", "row", "under", "depth")}
    assert numbers == {"px": [1.5, -2000], "row": [3, 4], "under": [1, 0], "depth": [7, 9]}
    assert ours.obs["row"].dtype == ours.obs["under"].dtype == np.int64
    assert ours.obs["donor"].tolist() == ["1", "2"]


def test_a_column_that_a_card_takes_as_numbers_and_holds_words_is_named(make_card, put):
    card = make_card(2, {"file": "x.csv"}, "table", obs={"table": {"file": "obs.csv"}})
    card = card.model_copy(update={"spatial": Spatial(x="px")})
    with pytest.raises(InputError) as caught:
        read_source(card, put({"x.csv": ",g\na,1\nb,2\n", "obs.csv": "cell,px\na,1\nb,NA\n"}))
    message = "column 'px' has 'NA' for cell 'b', the card takes it as numbers. Leave the field empty or correct it."
    assert str(caught.value) == f"made-up: the table of cells: {message}"


def test_a_field_without_an_end_is_refused(make_card, put):
    with pytest.raises(InputError, match=r"^x.csv: cannot be read as a table: field larger than field limit"):
        read_source(make_card(1, {"file": "x.csv"}, "table"), put({"x.csv": "\0" * 2**18}))


def test_an_excel_file_is_read_under_the_name_of_its_sha256_as_the_cache_keeps_it(make_card, put):
    files = put({"x.csv": ",g\n001,1\n", "obs.xlsx": book([["cell", "label"], ["001", "B"]])})
    files["obs.xlsx"] = files["obs.xlsx"].rename(files["obs.xlsx"].with_name("8ea067826f9e"))
    card = make_card(1, {"file": "x.csv"}, "table", obs={"table": {"file": "obs.xlsx"}})
    assert read_source(card, files).obs["label"].tolist() == ["B"]


def test_a_sheet_and_a_column_of_excel_are_named(join):
    rows = [["label", "cell"], ["T", 2.0], ["X", "x"], ["B", "001"]]
    ours = join(book(rows, "b", ["empty"]), sheet="b", index="cell")
    assert ours.obs["label"].tolist() == ["B", "T", "X"]
    with pytest.raises(InputError) as caught:
        join(book(rows, "b", ["empty"]), sheet="a")
    assert str(caught.value) == "obs.xlsx: has no sheet 'a', found ['b', 'empty']."
    with pytest.raises(InputError) as caught:
        join(book(rows, "b"), index="barcode")
    assert str(caught.value) == "obs.xlsx: has no column 'barcode', found ['label', 'cell']."


NO_EXCEL = {
    "text": b"cell,label\n",
    "an old xls": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600),
    "a zip of something else": zipped({"a": "b"}),
    "empty": b"",
    "truncated": book([["cell"], ["x"]])[:900],
}


@pytest.mark.parametrize("content", NO_EXCEL.values(), ids=NO_EXCEL.keys())
def test_what_is_no_excel_file_is_refused(join, content):
    with pytest.raises(InputError, match=r"^obs.xlsx: cannot be read as (an Excel file|a zip or tar file)"):
        join(content)


# what does not fit

LABELS = "cell,label\n" + "".join(f"{name},x\n" for name in CELLS)
JOINS: dict[str, tuple[str, str, dict[str, str], str]] = {
    "the table names the genes": (
        FRAME.T.to_csv(),
        LABELS,
        {},
        "the matrix has 'GENE0', the table 'cell0'. The table names the features: turn read.matrix.orientation.",
    ),
    "the matrix adds an ending": (
        FRAME.rename(index=lambda name: f"{name}-1").to_csv(),
        LABELS,
        {},
        "the matrix has 'cell0-1', the table 'cell0'. They meet with read.obs.table.strip: '-1'.",
    ),
    "the names are in a column": (
        FRAME.to_csv(),
        "at,barcode\n" + "".join(f"{at},{name}\n" for at, name in enumerate(CELLS)),
        {},
        "the matrix has 'cell0', the table '0'. They are in its column 'barcode': name it in read.obs.table.index.",
    ),
}


@pytest.mark.parametrize(("matrix", "table", "spec", "message"), JOINS.values(), ids=JOINS.keys())
def test_names_that_do_not_meet_are_said_with_what_would_help(make_card, put, matrix, table, spec, message):
    card = make_card(30, {"file": "x.csv"}, "table", obs={"table": {"file": "obs.csv"} | spec})
    with pytest.raises(InputError) as caught:
        read_source(card, put({"x.csv": matrix, "obs.csv": table}))
    assert str(caught.value) == f"made-up: no cell of the matrix is in the table of cells: {message}"


def test_a_turned_table_is_told_by_its_number_of_cells_or_names_of_genes(make_card, put):
    card = make_card(30, {"file": "x.csv"}, "table")
    with pytest.raises(InputError) as caught:
        read_source(card, put({"x.csv": FRAME.T.to_csv()}))
    assert str(caught.value) == (
        "made-up: 8 cells after reading, the card expects 30. "
        "There are 30 features: read.matrix.orientation may be the other one."
    )
    ensembl = FRAME.T.rename(index=lambda name: f"ENSG0000000000{name[-1]}")
    with pytest.raises(InputError) as caught:
        read_source(card, put({"x.csv": ensembl.to_csv()}))
    message = "the cells have names of genes, for example 'ENSG00000000000': the matrix lies the other way"
    assert str(caught.value) == f"made-up: {message}. Say read.matrix.orientation: genes_by_cells."


def test_cells_that_are_listed_twice_are_named(make_card, put):
    rows = ["a", "b", "a", "c", "b"]
    with pytest.raises(InputError) as caught:
        read_source(
            make_card(5, {"file": "x.csv"}, "table"), put({"x.csv": ",g\n" + "".join(f"{row},1\n" for row in rows)})
        )
    assert (
        str(caught.value) == "made-up: the cell names ['a', 'b'] stand more than once. Cells need names of their own."
    )
