"""Validation of files: what a finding says, older schemas, files that cannot be read, the command."""

import json
import subprocess
import sys

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
from cellzoo.converters.validate.matrices import VALUES, Matrix, Summary
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
            csr = sp.csr_matrix(counts)
            node = opened.create_group("X")
            node.attrs.update({"encoding-type": "csr_matrix", "shape": counts.shape})
            for part in ("data", "indices", "indptr"):
                node[part] = getattr(csr, part)
        told = Summary(Matrix("X", node), counts=True)
    same = (told.digests[:, None] == told.digests[None]).tolist()
    assert same == (counts[:, None] == counts[None]).all(axis=2).tolist()
    assert told.seen.tolist() == counts.any(axis=0).tolist()
    assert told.filled.tolist() == counts.any(axis=1).tolist()
    assert told.number == np.count_nonzero(counts)


def test_cells_of_several_parts_are_compared(tmp_path):
    cells = 40
    counts = np.ones((cells, VALUES // 8), np.float32) + np.arange(cells)[:, None]
    counts[[7, 30]] = counts[[3, 39]]
    counts[20] = -1.5
    csr = sp.csr_matrix(counts)
    with h5py.File(tmp_path / "x.h5", "w") as opened:
        node = opened.create_group("X")
        node.attrs.update({"encoding-type": "csr_matrix", "shape": counts.shape})
        for part in ("data", "indices", "indptr"):
            node[part] = getattr(csr, part)
        matrix = Matrix("X", node)
        assert [(part.start, part.rows) for part in matrix.parts()] == [(start, 8) for start in range(0, cells, 8)]
        told = Summary(matrix, counts=True)
    assert len(set(told.digests.tolist())) == cells - 2
    assert told.digests[7] == told.digests[3]
    assert told.digests[30] == told.digests[39]
    assert np.flatnonzero(told.wrong).tolist() == [20]


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


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["nowhere.h5ad"], 1, "nowhere.h5ad: there is no such file"),
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
