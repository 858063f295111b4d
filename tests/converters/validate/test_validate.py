"""Validation of files: what a finding says, older schemas, files that cannot be read, the command."""

import json
import subprocess
import sys
from itertools import pairwise

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from cellzoo.commands.validate import validate as command
from cellzoo.converters.validate.check import validate
from cellzoo.converters.validate.codes import CODES
from cellzoo.converters.validate.matrices import VALUES, Matrix, Summary, _beside
from cellzoo.errors import InputError


@pytest.fixture
def file(bases, written, tmp_path):
    """Return a function that writes a base after a change."""

    def make(base="tissue", change=lambda adata: None, name="one.h5ad"):
        adata = bases[base]()
        change(adata)
        return written(adata, tmp_path / name)

    return make


def break_three(adata):
    adata.obs.loc[["cell2", "cell5"], "donor_id"] = np.nan
    adata.obs["sex_ontology_term_id"] = pd.Categorical(["female"] * 7 + ["PATO:0000384"] * 5)
    adata.uns["title"] = " spaced"


def test_all_findings_come_at_once_each_with_code_place_rows_and_remedy(file):
    findings = {finding.place: finding for finding in validate(file(change=break_three))}
    donor, sex, title = (findings[f] for f in ("obs.donor_id", "obs.sex_ontology_term_id", "uns.title"))
    assert (donor.code, donor.rows, donor.examples) == ("CXG103", 2, ("cell2", "cell5"))
    assert (sex.code, sex.rows, sex.examples) == ("CXG104", 7, tuple(f"cell{number}" for number in range(5)))
    assert "'female' is not allowed as sex: expected PATO:0000383 or PATO:0000384" in sex.message
    assert "[7 of them: cell0, cell1, cell2, cell3, cell4, …] Look for one with: cellzoo ontology" in str(sex)
    assert (title.code, title.severity, title.rows) == ("CXG302", "error", 0)
    assert all(finding.remedy for finding in findings.values())


def test_broken_counts_are_found_although_the_columns_are_broken_too(file):
    def change(adata):
        break_three(adata)
        counts = adata.raw.X.toarray()
        counts[4] = -1
        adata.raw = type(adata)(sp.csr_matrix(counts), adata.obs[[]], adata.raw.var)

    [finding] = [finding for finding in validate(file(change=change)) if finding.code == "CXG504"]
    assert (finding.place, finding.examples) == ("raw.X", ("cell4",))


def test_all_cells_with_the_same_counts_are_named(file):
    def change(adata):
        counts = adata.raw.X.toarray()
        counts[[7, 9]] = counts[2]
        adata.raw = type(adata)(sp.csr_matrix(counts), adata.obs[[]], adata.raw.var)

    [finding] = [finding for finding in validate(file(change=change)) if finding.code == "CXG506"]
    assert (finding.rows, finding.examples) == (3, ("cell2", "cell7", "cell9"))


def test_many_wrong_values_of_a_column_are_told_in_short(file):
    def change(adata):
        adata.obs["tissue_ontology_term_id"] = pd.Categorical([f"UBERON:{number}" for number in range(12)])

    found = [finding for finding in validate(file(change=change)) if finding.code == "CXG104"]
    assert len(found) == 11
    assert (found[-1].message, found[-1].rows) == ("2 further values are not allowed either.", 2)


@pytest.mark.parametrize("version", ["5.3.0", "6.0.0", "7.0.0"])
def test_a_file_of_another_schema_says_so_and_nothing_else(file, version):
    def change(adata):
        adata.uns["schema_version"] = version
        break_three(adata)

    [finding] = validate(file(change=change))
    assert (finding.code, finding.message) == ("CXG001", f"this is schema {version}, expected 7.1.0.")
    assert "cellzoo convert --to cellxgene" in finding.remedy


def test_the_same_file_is_held_against_the_terms_of_another_schema(file):
    def change(adata):
        adata.obs["cell_type_ontology_term_id"] = pd.Categorical(["CL:0020001"] * 12)

    path = file(change=change)
    assert [one.code for one in validate(path) if one.severity == "error"] == []
    assert [one.code for one in validate(path, "7.0") if one.severity == "error"] == ["CXG104"]
    with pytest.raises(InputError, match=r"schema '5.3': expected one of 7.1, 7.0"):
        validate(path, "5.3")


def test_perturbations_are_of_7_1_and_a_cell_type_is_needed_in_7_0(file):
    assert [one.code for one in validate(file("perturbed"), "7.0") if one.severity == "error"] == []
    path = file(change=lambda adata: adata.obs.drop(columns="cell_type_ontology_term_id", inplace=True))
    assert [one.code for one in validate(path, "7.0") if one.severity == "error"] == ["CXG101"]
    assert "CXG114" in [one.code for one in validate(path)]


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda content: content[: len(content) // 3], id="truncated"),
        pytest.param(lambda content: b"not HDF5 at all", id="another format"),
        pytest.param(lambda content: b"", id="empty"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_finding(file, damage):
    path = file()
    path.write_bytes(damage(path.read_bytes()))
    [finding] = validate(path)
    assert (finding.code, finding.severity) == ("CXG002", "error")
    assert "cannot be read" in finding.message


def replaced(opened, path, values):
    said = dict(opened[path].attrs)
    del opened[path]
    opened.create_dataset(path, data=values).attrs.update(said)


def damaged_columns(opened):
    replaced(opened, "obs/batch/codes", opened["obs/batch/codes"][:-2])
    codes = opened["obs/donor_id/codes"]
    codes[3], codes[5] = 77, -9
    del opened["obs/sex_ontology_term_id/codes"]
    replaced(opened, "var/feature_is_filtered", [False] * 99)
    opened["raw/var"].attrs["column-order"] = ["ghost"]


def test_columns_that_nothing_can_open_are_all_named_with_their_rows(file):
    path = file()
    with h5py.File(path, "r+") as opened:
        damaged_columns(opened)
    found = validate(path)
    assert {finding.code for finding in found} == {"CXG128"}
    assert {finding.place: (finding.message, finding.examples) for finding in found} == {
        "obs.batch": ("holds codes of shape (10,), expected (12,).", ()),
        "obs.donor_id": ("holds codes -9 to 77, expected -1 to 0.", ("cell3", "cell5")),
        "obs.sex_ontology_term_id": ("has no codes.", ()),
        "var.feature_is_filtered": ("holds values of shape (99,), expected (13,).", ()),
        "raw.var.ghost": ("is listed in column-order, and not in the file.", ()),
    }


def test_a_folder_and_what_is_not_there_are_findings_of_their_own(tmp_path):
    for path, message in ((tmp_path, "is a folder, expected a file."), (tmp_path / "x", "there is no such file.")):
        [finding] = validate(path)
        assert (finding.code, finding.message, finding.severity) == ("CXG006", message, "error")


def cut(opened):
    ends = opened["X/indptr"][:]
    ends[-1] += 99
    opened["X/indptr"][:] = ends


def far(opened):
    opened["raw/X/indices"][0] = 99


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda opened: opened.__delitem__("X/indices"), id="no indices"),
        pytest.param(lambda opened: opened.__delitem__("obs/sex_ontology_term_id/categories"), id="no categories"),
        pytest.param(lambda opened: opened.__delitem__("var/_index"), id="no index"),
        pytest.param(cut, id="rows that end behind the values"),
        pytest.param(far, id="columns that are not there"),
        pytest.param(lambda opened: opened["obs"].attrs.__setitem__("column-order", ["x"]), id="another column"),
        pytest.param(lambda opened: opened.__delitem__("obs") or opened.__setitem__("obs", [1]), id="obs a list"),
    ],
)
def test_a_file_that_is_damaged_inside_is_a_finding(file, damage):
    path = file()
    with h5py.File(path, "r+") as opened:
        damage(opened)
    assert [finding.code for finding in validate(path) if finding.severity == "error"]


@given(
    st.integers(1, 40).flatmap(
        lambda cells: st.lists(st.lists(st.integers(0, 2), min_size=4, max_size=4), min_size=cells, max_size=cells)
    ),
    st.booleans(),
)
def test_one_pass_over_a_matrix_tells_what_numpy_tells(tmp_path_factory, rows, dense):
    counts = np.array(rows, np.float32)
    path = tmp_path_factory.mktemp("matrix") / "x.h5"
    with h5py.File(path, "w") as opened:
        if dense:
            node = opened.create_dataset("X", data=counts)
        else:
            node = stored(opened.create_group("X"), sp.csr_matrix(counts)).node
        told = Summary(Matrix("X", node), counts=True)
    same = (told.digests[:, None] == told.digests[None]).tolist()
    assert same == (counts[:, None] == counts[None]).all(axis=2).tolist()
    assert told.seen.tolist() == counts.any(axis=0).tolist()
    assert told.filled.tolist() == counts.any(axis=1).tolist()
    assert told.number == np.count_nonzero(counts)


def stored(node, matrix, **options):
    """Write a CSR matrix as AnnData does and return it as the validation sees it."""
    node.attrs.update({"encoding-type": "csr_matrix", "shape": matrix.shape})
    for part in ("data", "indices", "indptr"):
        node.create_dataset(part, data=getattr(matrix, part), **options)
    return Matrix(node.name, node)


def test_cells_that_lie_in_several_parts_are_compared(tmp_path):
    cells = 40
    counts = np.ones((cells, VALUES // 8 + 100), np.float32) + np.arange(cells, dtype=np.float32)[:, None]
    counts[[7, 30]] = counts[[3, 39]]
    counts[20], counts[25, -1] = -1.5, np.inf
    with h5py.File(tmp_path / "x.h5", "w") as opened:
        matrix = stored(opened.create_group("X"), sp.csr_matrix(counts), compression="gzip")
        parts = [part for stretch in matrix.stretches() for part in matrix.parts(*stretch, with_columns=True)]
        assert all(one.start + len(one.ends) - 2 == other.start for one, other in pairwise(parts))
        told = Summary(matrix, counts=True)
    assert len(set(told.digests.tolist())) == cells - 2
    assert told.digests[7] == told.digests[3]
    assert told.digests[30] == told.digests[39]
    assert np.flatnonzero(told.wrong).tolist() == [20]
    assert np.flatnonzero(told.infinite).tolist() == [25]


@pytest.mark.parametrize("broken", [np.nan, np.inf, 1.5, -1, 2.0**40])
def test_a_strange_value_elsewhere_does_not_hide_that_cells_are_alike(tmp_path, broken):
    counts = np.ones((3 * VALUES // 1000, 1000), np.float32) + np.arange(3 * VALUES // 1000)[:, None]
    counts[5, 0], counts[6, 0], counts[180] = broken, broken, counts[2]
    counts[6, 1:] = counts[5, 1:]
    with h5py.File(tmp_path / "x.h5", "w") as opened:
        told = Summary(stored(opened.create_group("X"), sp.csr_matrix(counts.astype(np.float32))), counts=True)
    _, first = np.unique(told.digests, return_index=True)
    assert sorted({*range(len(counts))} - {*first.tolist()}) == [6, 180]


@pytest.mark.parametrize(
    ("change", "alike"),
    [
        pytest.param(lambda matrix: matrix, True, id="the same"),
        pytest.param(lambda matrix: matrix.data.__setitem__(0, 0), True, id="a zero that is stored"),
        pytest.param(lambda matrix: matrix.data.__setitem__(1, np.nan), True, id="a broken value"),
        pytest.param(lambda matrix: matrix.indices.__setitem__(0, 0), False, id="another column"),
    ],
)
@pytest.mark.parametrize("zero", [5, 0], ids=["", "a zero among the counts"])
def test_columns_that_are_those_of_the_counts_are_not_read_and_the_summary_is_the_same(tmp_path, change, alike, zero):
    counts = sp.csr_matrix(np.diag(np.arange(1, 6, dtype=np.float32))[:, [4, 0, 1, 2, 3]])
    values = counts.copy()
    change(values)
    counts.data[4] = zero
    with h5py.File(tmp_path / "x.h5", "w") as opened:
        raw = stored(opened.create_group("raw"), counts, compression="gzip")
        matrix = stored(opened.create_group("X"), values, compression="gzip")
        assert matrix.is_alike(raw) == alike
        told, expected = _beside(matrix, raw, Summary(raw, counts=True)), Summary(matrix, counts=False)
    for name in ("number", "seen", "filled", "infinite"):
        assert np.array_equal(getattr(told, name), getattr(expected, name)), name


def test_nothing_heavy_is_imported():
    code = (
        "import sys; import cellzoo.converters.validate.check; "
        "print([name for name in ('pandas', 'anndata', 'scipy', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_command_prints_findings_and_fails_on_errors(file):
    good, bad = file(name="good.h5ad"), file(change=break_three, name="bad.h5ad")
    assert CliRunner().invoke(command, [str(good)]).exit_code == 0
    result = CliRunner().invoke(command, [str(good), str(bad)])
    assert result.exit_code == 1
    assert f"{bad}: error CXG302: uns.title: ' spaced' has a space too many." in result.stdout
    assert f"{bad}: not valid, 3 errors, 1 warning" in result.stderr


def test_the_command_prints_one_json_document(file):
    bad = file(change=break_three)
    result = CliRunner().invoke(command, [str(bad), "--json"])
    [document] = json.loads(result.stdout)["files"]
    assert (document["id"], document["valid"]) == (str(bad), False)
    assert {"code", "severity", "place", "message", "remedy", "rows", "examples"} <= document["findings"][0].keys()


@pytest.mark.parametrize("order", [1, -1], ids=["first", "last"])
def test_a_file_that_cannot_be_read_never_stops_the_others(file, tmp_path, order):
    good, cut_off = file(name="good.h5ad"), file(name="cut.h5ad")
    cut_off.write_bytes(cut_off.read_bytes()[:5000])
    asked = [str(good), str(tmp_path / "nope.h5ad"), str(tmp_path), str(cut_off)][::order]
    told = CliRunner().invoke(command, asked)
    assert told.exit_code == 1
    assert f"{asked[1 if order == 1 else 2]}: error CXG006: file: there is no such file. Check the path." in told.stdout
    assert [line.partition(",")[0] for line in told.stderr.splitlines()] == [
        f"{path}: {'valid' if path == str(good) else 'not valid'}" for path in asked
    ]
    result = CliRunner().invoke(command, [*asked, "--json"])
    assert result.exit_code == 1
    found = {one["id"]: (one["valid"], one["findings"][0]["code"]) for one in json.loads(result.stdout)["files"]}
    assert list(found) == asked
    assert [found[path] for path in asked[::order]] == [
        (True, "CXG208"), (False, "CXG006"), (False, "CXG006"), (False, "CXG002"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ([], 2, "Missing argument"),
        (["FILE", "--schema-version", "4"], 2, "'4' is not one of '7.1', '7.0'"),
    ],
)
def test_the_command_says_what_is_wrong_with_what_was_asked(file, arguments, code, says):
    path = str(file())
    result = CliRunner().invoke(command, [path if one == "FILE" else one for one in arguments])
    assert result.exit_code == code
    assert says in result.stderr


def test_every_code_is_used_and_says_what_to_do():
    from pathlib import Path

    import cellzoo.converters.validate.check as checked

    text = "".join(path.read_text("utf-8") for path in Path(checked.__file__).parent.glob("*.py"))
    assert {code for code in CODES if text.count(f'"{code}"') < 2} == set()
    assert all(rule.rule.endswith(".") and rule.remedy for rule in CODES.values())
