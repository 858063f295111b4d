"""The commands about a Census say what they chose, write what matches, and end with the right exit code."""

import json
import shutil

import h5py
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
    path, *_ = every["pbmc68k-reduced"].write(tmp_path)
    assert every.estimate().h5ad_bytes == pytest.approx(path.stat().st_size, rel=0.3)


@pytest.fixture
def files(run, mini, tmp_path):
    """Return a data set of a Census as h5ad, and copies of it without an organism, with fractions, and cut short."""
    assert run("get", "--census", mini, "lung-d", "-o", tmp_path).exit_code == 0
    paths = {name: tmp_path / f"{name}.h5ad" for name in ("good", "nowhere", "fractions", "cut")}
    (tmp_path / "lung-d.h5ad").rename(paths["good"])
    for name in ("nowhere", "fractions", "cut"):
        shutil.copy(paths["good"], paths[name])
    with h5py.File(paths["nowhere"], "r+") as file:
        del file["uns/organism_ontology_term_id"]
    with h5py.File(paths["fractions"], "r+") as file:
        file["X/data"][-1] = 1.5
    paths["cut"].write_bytes(paths["cut"].read_bytes()[:9000])
    return paths


def test_data_sets_that_cannot_be_used_never_stop_the_others(run, files, tmp_path):
    made = run("export", *files.values(), "-o", tmp_path / "own")
    assert (made.exit_code, made.stdout) == (1, f"{tmp_path / 'own'}\n")
    assert "Error: nowhere: uns has no organism_ontology_term_id." in made.stderr
    assert "are not integers" in made.stderr and "Error: fractions: " in made.stderr
    assert f"Error: {files['cut']}: " in made.stderr
    assert made.stderr.count("Error: ") == 3
    assert "good: 200 cells" in made.stderr
    assert run("check", tmp_path / "own").exit_code == 0
    assert list(open_census(tmp_path / "own").datasets(primary=False)) == ["good"]


def test_where_none_can_be_used_each_is_said_and_nothing_is_written(run, files, tmp_path):
    made = run("export", files["nowhere"], files["fractions"], "-o", tmp_path / "own")
    assert (made.exit_code, made.stdout) == (1, "")
    assert [line.split(":")[1].strip() for line in made.stderr.splitlines()] == [
        "nowhere", "fractions", str(tmp_path / "own"),
    ]  # fmt: skip
    assert not (tmp_path / "own").exists()


def test_the_worst_of_what_failed_is_the_exit_code_where_nothing_is_written(run, files, tmp_path, monkeypatch):
    monkeypatch.setenv("CELLZOO_OFFLINE", "1")
    made = run("export", files["cut"], "tenx-pbmc3k", "-o", tmp_path / "own")
    assert (made.exit_code, made.stdout) == (3, "")
    assert made.stderr.endswith("no cell is left for a Census: no data set was given that can be used.\n")


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
        (["export", "-o", "own"], 2, "name h5ad files, stores or ids"),
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
