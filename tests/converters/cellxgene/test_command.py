"""`cellzoo convert`: what it prints, what it writes, how it fails."""

import json

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from click.testing import CliRunner

from cellzoo.commands.convert import convert
from cellzoo.converters.celldata import CellData
from cellzoo.converters.cellxgene import form
from cellzoo.converters.h5ad import open_h5ad, write_h5ad
from cellzoo.converters.rows import Memory

SAID = {
    **{"organism": "Homo sapiens", "organ": "blood", "assay_sc": "10x 3' v2", "cell_type": "T cell"},
    **{"individual": "d1", "sample_source": "primary_tissue", "suspension_type": "cell", "organ_original": "PB"},
}


def run(*args):
    return CliRunner().invoke(convert, [str(arg) for arg in args])


@pytest.fixture
def source(tmp_path):
    """A file of sfaira of which the disease is not known."""
    obs = pd.DataFrame({name: pd.Categorical([text] * 3) for name, text in SAID.items()}, index=["a", "b", "c"])
    counts = Memory(sp.csr_matrix(np.array([[1, 2], [3, 0], [0, 4]], dtype=np.float32)))
    var = pd.DataFrame(index=["ENSG00000010610", "ENSG00000004059"])
    data = CellData(obs=obs, var=var, X=counts, uns={"title": "Cells", "primary_data": True})
    return write_h5ad(data, tmp_path / "sfaira.h5ad")


def test_what_is_missing_is_said_with_its_remedy_and_nothing_is_written(source, tmp_path):
    done = run(source, "-o", tmp_path / "out.h5ad", "--to", "cellxgene")
    assert done.exit_code == 1
    assert "disease is unknown in 3 of 3 cells. If it is known, say it: --set disease=PATO:0000461." in done.stderr
    assert not (tmp_path / "out.h5ad").exists()


def test_with_what_is_said_the_file_is_written_and_comes_back(source, tmp_path):
    out, back = tmp_path / "out.h5ad", tmp_path / "back.h5ad"
    done = run(source, "-o", out, "--to", "cellxgene", "--set", "disease=normal", "--json")
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["source"], report["set"], report["renamed"]["organ"]) == ("sfaira", {"disease": 3}, "tissue")
    assert form(open_h5ad(out)) == "cellxgene"
    assert run(out, "-o", back, "--to", "sfaira").stdout.strip() == str(back)
    found = [name for name in map(str, open_h5ad(back).obs) if not name.startswith("carried_")]
    assert found == [*SAID, "disease_ontology_term_id", "disease"], "what was said stays said"
    assert run(back, "-o", out, "--to", "cellxgene").exit_code == 0  # what was said is carried along
    assert set(open_h5ad(out).obs["disease"]) == {"normal"}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--set", "disease"), "expected FIELD=VALUE"),
        (("--version", "6.0"), "'7.1', '7.0'"),
        (("--to", "anndata"), "'cellxgene', 'sfaira'"),
        (("--set", "disaese=normal"), "'disaese' cannot be set; expected one of organism, title, assay"),
        (("--to", "sfaira", "--set", "disease=normal"), "--set belongs to --to cellxgene"),
        (("--to", "streamlined", "--version", "7.0"), "--version belongs to --to cellxgene"),
        (
            ("--to", "sfaira", "--version", "7.1", "--leave-out", "empty"),
            "--version and --leave-out belong to --to cel",
        ),
        (("--to", "sfaira", "--no-labels"), "--no-labels belongs to --to cellxgene, not to --to sfaira"),
    ],
)
def test_wrong_usage_is_said(source, tmp_path, args, message):
    done = run(source, "-o", tmp_path / "out.h5ad", "--to", "cellxgene", *args)
    assert (done.exit_code, message in done.stderr) == (2, True), done.stderr
    assert not (tmp_path / "out.h5ad").exists()


def test_the_older_schema_is_written_where_it_is_asked_for(source, tmp_path):
    for version in ("7.0", "7.1"):
        asked = ("--to", "cellxgene", "--set", "disease=normal", "--version", version, "--json")
        done = run(source, "-o", tmp_path / "out.h5ad", *asked)
        assert json.loads(done.stdout)["version"] == f"{version}.0"


def test_the_source_is_never_replaced(source):
    assert run(source, "-o", source, "--to", "cellxgene").exit_code == 2
