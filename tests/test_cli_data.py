"""The commands about data: datasets, show, get; what they print, where, and how they exit."""

import json
import re
import subprocess
import sys
from pathlib import Path

import anndata
import pytest
from click.testing import CliRunner

from cellzoo.cli import main
from cellzoo.converters import fetch as fetching
from cellzoo.converters.zoo import open_registry
from cellzoo.registry.catalogue import PACKAGED
from cellzoo.registry.schema import DatasetCard
from cellzoo.settings import home


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(fetching, "TRIES", 1)


def run(*args):
    return CliRunner().invoke(main, [str(arg) for arg in args])


def files_in(folder):
    return [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"] if folder.exists() else []


# every command


def test_a_full_disk_under_the_output_is_a_sentence_and_exit_code_3(copy):
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "cellzoo.cli", "datasets", "--registry", copy]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 3 and "Error: [Errno 28] No space left" in done.stderr
    assert "Traceback" not in done.stderr


SAYS_NOTHING = {
    "filter": ["datasets", "--tissue", ""],
    "word": ["datasets", " "],
    "data set": ["show", ""],
    "label": ["suggest", "x" * 100_000],
    "term": ["ontology", "show", ""],
    "search": ["ontology", "search", "x" * 100_000],
}


@pytest.mark.parametrize("args", SAYS_NOTHING.values(), ids=SAYS_NOTHING)
def test_an_empty_or_endless_word_is_wrong_usage_and_is_not_printed_back(args):
    done = run(*args)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "it is empty" in done.stderr or "it has 100000 characters" in done.stderr
    assert len(done.stderr) < 500


# datasets


def test_facets_leave_open_what_no_card_says(copy):
    card = copy / "datasets" / "baron2016-human.yaml"
    text = re.sub("^status: verified\nverified:.*\n", "status: imported\n", card.read_text(), flags=re.MULTILINE)
    card.write_text(re.sub("^cells_expected:.*\n", "", text, flags=re.MULTILINE))
    lines = run("datasets", "--facets", "assay", "--registry", copy).stdout.splitlines()
    assert [line.split()[-1] for line in lines if "inDrop" in line] == ["1"]


def test_datasets_prints_a_table_with_a_row_for_each(copy):
    result = run("datasets", "--registry", copy)
    assert (result.exit_code, result.stderr) == (0, "7 data sets, 7 of them verified with 20,303 cells\n")
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["id", "status", "cells", "tissue", "assay", "organism", "title"]
    assert [line.split()[0] for line in lines[1:]] == list(open_registry(copy).ids)
    assert "3k peripheral blood mononuclear cells of a healthy donor (10x Genomics)" in result.stdout


def test_datasets_prints_one_json_document_in_which_each_has_id_and_status(copy):
    result = run("datasets", "--json", "--registry", copy)
    assert (result.exit_code, result.stderr) == (0, "")
    listed = json.loads(result.stdout)
    assert [(one["id"], one["status"]) for one in listed] == [(name, "verified") for name in open_registry(copy).ids]
    assert listed[-1]["cells"] == 2140


FILTERS = {
    "tissue": (["--tissue", "pancreas"], {"baron2016-human", "segerstolpe2016-human"}),
    "tissue by id": (["--tissue", "UBERON:0001264"], {"baron2016-human", "segerstolpe2016-human"}),
    "disease": (["--disease", "diabetes mellitus"], {"segerstolpe2016-human"}),
    "cell type": (["--cell-type", "platelet"], {"tenx-pbmc3k"}),
    "assay": (["--assay", "inDrop"], {"baron2016-human"}),
    "two": (["--cell-type", "T cell", "--assay", "10x 3' v2"], {"onek1k-subset"}),
    "none": (["--organism", "Mus musculus"], set()),
}


@pytest.mark.parametrize(("filters", "expected"), FILTERS.values(), ids=FILTERS.keys())
def test_datasets_can_be_filtered_by_terms(copy, filters, expected):
    result = run("datasets", *filters, "--json", "--registry", copy)
    assert result.exit_code == 0
    assert {one["id"] for one in json.loads(result.stdout)} == expected


def test_no_match_is_said_aside(copy):
    result = run("datasets", "--organism", "Mus musculus", "--registry", copy)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "No data set matches.\n")


def test_an_unknown_term_exits_1_with_the_nearest():
    result = run("datasets", "--tissue", "blod")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Error: 'blod' is no UBERON label or synonym; nearest 'blood' (UBERON:0000178)\n"


def test_an_unknown_filter_is_wrong_usage():
    result = run("datasets", "--organ", "blood")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "No such option" in result.stderr and "--organ" in result.stderr


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["table", "json"])
def test_a_bad_card_is_told_aside_and_the_others_are_listed(copy, form):
    (copy / "datasets" / "onek1k-subset.yaml").write_text("id: [")
    (copy / "datasets" / "tenx-pbmc3k.cell_type.tsv").unlink()
    result = run("datasets", "--registry", copy, *form)
    assert result.exit_code == 0
    assert result.stderr.splitlines()[0].startswith(f"{copy / 'datasets' / 'onek1k-subset.yaml'}:2:1: error CARD002: ")
    assert result.stderr.splitlines()[1].endswith("tenx-pbmc3k.cell_type.tsv'.")
    found = [one["id"] for one in json.loads(result.stdout)] if form else result.stdout.splitlines()[1:]
    assert len(found) == 5


def test_a_title_is_printed_as_it_is_written(copy):
    path = copy / "datasets" / "onek1k-subset.yaml"
    path.write_text(path.read_text().replace("Blood cells of 40 donors", "A [bold] cell [/x] of 40 donors :smile:"))
    result = run("datasets", "--registry", copy, "--assay", "10x 3' v2")
    assert "A [bold] cell [/x] of 40 donors :smile:, four types" in result.stdout


def test_the_registry_comes_from_the_option_or_the_environment(copy, monkeypatch):
    for path in (copy / "datasets").glob("[!b]*"):
        path.unlink()
    for args, variable in ((["--registry", copy], None), ([], str(copy))):
        if variable:
            monkeypatch.setenv("CELLZOO_REGISTRY", variable)
        assert [one["id"] for one in json.loads(run("datasets", "--json", *args).stdout)] == ["baron2016-human"]


# show


def test_show_prints_the_card_as_it_is_written():
    result = run("show", "tenx-pbmc3k")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (PACKAGED / "datasets" / "tenx-pbmc3k.yaml").read_text()


def test_show_prints_the_card_as_one_json_document():
    result = run("show", "tenx-pbmc3k", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    shown = json.loads(result.stdout)
    assert (shown["id"], shown["status"]) == ("tenx-pbmc3k", "verified")
    assert DatasetCard.model_validate(shown) == open_registry().registry.card("tenx-pbmc3k"), "nothing is lost"


@pytest.mark.parametrize("command", [["show"], ["get", "-o", "out"]], ids=["show", "get"])
def test_an_unknown_id_exits_1_with_the_nearest(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*command, "tenx-pbmc4k")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.endswith("no data set 'tenx-pbmc4k' in packaged; nearest 'tenx-pbmc3k'\n")
    assert result.stderr.count("no data set") == 1
    assert files_in(tmp_path) == []


def test_show_of_a_bad_card_prints_its_findings(copy):
    (copy / "datasets" / "tenx-pbmc3k.yaml").write_text("id: tenx-pbmc3k\nlicense: 3\n")
    result = run("show", "tenx-pbmc3k", "--registry", copy)
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"{copy / 'datasets' / 'tenx-pbmc3k.yaml'}:2:1: error CARD003: license: " in result.stderr


# get


def test_get_writes_the_streamlined_data(mirror, tmp_path, monkeypatch):
    monkeypatch.setenv("CELLZOO_MIRROR", str(mirror))
    result = run("get", "tenx-pbmc3k", "-o", tmp_path / "out")
    path = tmp_path / "out" / "tenx-pbmc3k.h5ad"
    assert (result.exit_code, result.stdout) == (0, f"{path}\n")
    assert result.stderr.startswith("tenx-pbmc3k: 2638 cells, ")
    assert "% of the counts kept; not kept: " in result.stderr
    assert (
        "\ntenx-pbmc3k: columns of cells that the card does not use, left out: RNA_snn_res.0.5, UMAP_1" in result.stderr
    )
    assert result.stderr.count("\n") == 2
    assert files_in(tmp_path / "out") == [path]
    assert files_in(home()) == [], "what the mirror holds is not copied"
    written, loaded = anndata.read_h5ad(path), open_registry()["tenx-pbmc3k"].load()
    assert (written.X != loaded.X).nnz == 0
    assert written.obs.astype(str).equals(loaded.obs.astype(str))
    assert written.var.astype(str).equals(loaded.var.astype(str))
    assert written.uns["cellzoo"] == loaded.uns["cellzoo"]


def test_get_without_mirror_and_network_exits_3_and_leaves_nothing(tmp_path):
    result = run("get", "tenx-pbmc3k", "-o", tmp_path / "out")
    assert (result.exit_code, result.stdout) == (3, "")
    url = open_registry()["tenx-pbmc3k"].card.files[0].url
    lines = result.stderr.splitlines()
    assert lines[0] == "Error: pbmc3k.rda: could not be had. Tried:"
    assert lines[1] == "  mirror: CELLZOO_MIRROR is not set"
    assert lines[2].startswith(f"  {url}: ") and "no network in tests" in lines[2]
    assert lines[3].startswith("Put a file with sha256 d8f27cd6e0f1dc84")
    assert len(lines) == 4
    assert files_in(tmp_path) == files_in(home()) == []


def test_get_offline_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("CELLZOO_OFFLINE", "1")
    result = run("get", "tenx-pbmc3k", "-o", tmp_path / "out")
    assert result.exit_code == 3
    assert "CELLZOO_OFFLINE is set" in result.stderr


def test_get_refuses_other_bytes_and_writes_nothing(tmp_path, monkeypatch):
    card = open_registry()["tenx-pbmc3k"].card
    (tmp_path / "mirror").mkdir()
    for file in card.files:
        (tmp_path / "mirror" / file.sha256).write_bytes(b"other")
    monkeypatch.setenv("CELLZOO_MIRROR", str(tmp_path / "mirror"))
    result = run("get", "tenx-pbmc3k", "-o", tmp_path / "out")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "the card pins d8f27cd6" in result.stderr and result.stderr.endswith("The file was not used.\n")
    assert files_in(tmp_path / "out") == []


FAILING = {
    "cannot be had": ("tenx-pbmc3k", 3, "Error: tenx-pbmc3k: pbmc3k.rda: could not be had."),
    "is not there": ("nope", 1, "Error: nope: no data set 'nope' in "),
    "has a bad card": ("onek1k-subset", 1, "onek1k-subset.yaml:2:1: error CARD002"),
}


@pytest.mark.parametrize(("name", "code", "message"), FAILING.values(), ids=FAILING.keys())
@pytest.mark.parametrize("order", [1, -1], ids=["first", "last"])
def test_one_that_fails_never_stops_the_others(copy, tmp_path, name, code, message, order):
    (copy / "datasets" / "onek1k-subset.yaml").write_text("id: [")
    names = [name, "pbmc68k-reduced"][::order]
    result = run("get", *names, "-o", tmp_path / "out", "--registry", copy)
    path = tmp_path / "out" / "pbmc68k-reduced.h5ad"
    assert (result.exit_code, result.stdout) == (code, f"{path}\n")
    assert result.stderr.count(message) == 1, "said once"
    assert result.stderr.lower().count("error") == 1
    assert files_in(tmp_path / "out") == [path]


def test_get_to_a_place_that_cannot_be_written_fails_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr("cellzoo.converters.fetch.fetch", lambda *_: pytest.fail("the work began"))
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        result = run("get", "pbmc68k-reduced", "-o", out)
        assert (result.exit_code, result.stdout) == (3, "")
        assert "cannot be written" in result.stderr and "Choose another path." in result.stderr
    assert (tmp_path / "file").read_text() == "mine"


def test_get_without_a_folder_or_an_id_is_wrong_usage(tmp_path):
    assert run("get", "tenx-pbmc3k").exit_code == 2
    assert "Missing option '-o'" in run("get", "tenx-pbmc3k").stderr
    assert run("get", "-o", tmp_path).exit_code == 2
    assert "Missing argument 'DATASET...'" in run("get", "-o", tmp_path).stderr


def test_get_says_in_how_many_cells_a_field_was_set(tmp_path):
    said = ["--set", "sex=female", "--set", "tissue=blood"]
    result = run("get", "pbmc68k-reduced", "-o", tmp_path, "--schema", "cellxgene", *said)
    assert result.exit_code == 0, result.stderr
    assert "tissue: known in every cell, nothing was set" in result.stderr
    assert "sex: set in 700 cells" in result.stderr


WRONG = {
    "without a schema": ([], "disease=normal", "give --schema cellxgene with it"),
    "for sfaira": (["--schema", "sfaira"], "disease=normal", "give --schema cellxgene with it"),
    "of no field": (["--schema", "cellxgene"], "disaese=normal", "'disaese' cannot be set; expected one of organism"),
}


@pytest.mark.parametrize(("schema", "said", "message"), WRONG.values(), ids=WRONG)
def test_set_where_it_says_nothing_is_wrong_usage_before_any_work(tmp_path, monkeypatch, schema, said, message):
    monkeypatch.setattr("cellzoo.converters.fetch.fetch", lambda *_: pytest.fail("the work began"))
    result = run("get", "tenx-pbmc3k", "-o", tmp_path / "out", *schema, "--set", said)
    assert (result.exit_code, result.stdout, message in result.stderr) == (2, "", True)
    assert files_in(tmp_path) == []


def test_a_label_that_the_map_lacks_is_a_finding_and_nothing_is_written(copy, tmp_path):
    path = copy / "datasets" / "pbmc68k-reduced.cell_type.tsv"
    rows = path.read_text().splitlines(keepends=True)
    path.write_text("".join(row for row in rows if not row.startswith("Dendritic\t")))
    result = run("get", "pbmc68k-reduced", "-o", tmp_path / "out", "--registry", copy)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        f"{path}: error MAP003: label 'Dendritic' (240 cells) of column 'bulk_labels' has no row. "
        "Add it, with term unknown if unsure.\n"
    )
    assert files_in(tmp_path / "out") == []
