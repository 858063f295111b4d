"""The commands about a Census say what they chose, write what matches, and end with the right exit code."""

import json

import pytest
from click.testing import CliRunner

from cellzoo.commands.census import census
from cellzoo.converters.census.source import open_census
from cellzoo.converters.h5ad import read_h5ad


@pytest.fixture
def run():
    def run(*words):
        return CliRunner().invoke(census, [str(word) for word in words])

    return run


def test_datasets_are_listed_with_the_cells_that_match_and_how_much_they_are(run, mini):
    found = run("datasets", "--census", mini, "--tissue", "lung", "--organism", "Homo sapiens")
    assert found.exit_code == 0, found.output
    assert "lung-a" in found.stdout
    assert "2 data sets with 500 cells" in found.stderr
    assert "primary cells only: 120 matching cells are copies" in found.stderr


def test_json_is_one_document_alone(run, mini):
    found = run("datasets", "--census", mini, "--tissue", "lung", "--all-cells", "--json")
    records = {one["id"]: one for one in json.loads(found.stdout)}
    assert sorted(records) == ["copy-c", "lung-a", "lung-d", "mouse-e"]
    assert (records["copy-c"]["cells"], records["copy-c"]["organism"]) == (120, "Homo sapiens")


def test_get_writes_an_h5ad_of_the_matching_cells_for_each_data_set(run, mini, tmp_path):
    found = run("get", "--census", mini, "--cell-type", "T cell", "lung-d", "-o", tmp_path, "--genes", "Homo sapiens")
    assert found.exit_code == 0, found.output
    assert found.stdout.split() == [str(tmp_path / "lung-d.h5ad")]
    written = read_h5ad(tmp_path / "lung-d.h5ad")
    expected = open_census(mini).datasets(cell_type="T cell", text="lung-d")["lung-d"].load("Homo sapiens")
    assert (written.X != expected.X).nnz == 0
    assert set(written.obs["cell_type"]) == {"T cell", "CD8-positive, alpha-beta T cell"}


def test_a_census_of_an_h5ad_and_a_data_set_of_the_registry(run, mini, tmp_path, mirror, monkeypatch):
    monkeypatch.setenv("CELLZOO_MIRROR", str(mirror))
    assert run("get", "--census", mini, "lung-d", "-o", tmp_path).exit_code == 0
    made = run("export", tmp_path / "lung-d.h5ad", "pbmc68k-reduced", "-o", tmp_path / "own")
    assert made.exit_code == 0, made.output
    assert made.stdout.strip() == str(tmp_path / "own")
    assert "pbmc68k-reduced: " in made.stderr
    assert run("check", tmp_path / "own").exit_code == 0
    own = open_census(tmp_path / "own").datasets(tissue="blood", cell_type="T cell", primary=False)
    assert list(own) == ["pbmc68k-reduced"]
    assert own["pbmc68k-reduced"].cells == 192
    every = open_census(tmp_path / "own").datasets(text="pbmc68k", primary=False)
    path, _ = every["pbmc68k-reduced"].write(tmp_path)
    assert every.estimate().h5ad_bytes == pytest.approx(path.stat().st_size, rel=0.3)


def test_findings_of_the_check_end_with_1(run, spoiled):
    spoiled.unset("census_info", "organisms")
    found = run("check", spoiled.path, "--structure", "--json")
    assert found.exit_code == 1
    assert [one["code"] for one in json.loads(found.stdout)] == ["CEN002"]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["datasets", "--tissue", "kidney"], 1, "no cell has tissue 'kidney'"),
        (["datasets", "--config", "vfs.s3.region"], 2, "expected NAME=VALUE"),
        (["datasets", "--cell-line", "CVCL_0023"], 1, "is not a field"),
        (["export", "-o", "own"], 2, "name h5ad files or ids"),
        (["get", "--tissue", "lung"], 2, "--out"),
    ],
)
def test_what_cannot_be_done_is_said(run, mini, words, code, says):
    place = [] if words[0] == "export" else ["--census", mini]
    found = run(*words, *place)
    assert found.exit_code == code
    assert says in found.stderr


def test_a_missing_extra_says_how_to_install_it(run, mini, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tiledbsoma", None)
    found = run("datasets", "--census", mini)
    assert found.exit_code == 2
    assert "pip install 'cellzoo[census]'" in found.stderr
