"""The command line of models: exit codes, messages, and nothing half-written."""

import json
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import cellzoo
from cellzoo.cli import main

RECIPE = """\
organ: blood
topology: linear
data: {datasets: [pbmc68k-reduced]}
split: {test: {cells: 0.2}}
train: {epochs: 4}
"""


def call(*words: object):
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trained run and ten of its cells."""
    from cellzoo.converters.zoo import open_registry

    folder = tmp_path_factory.mktemp("desk")
    (folder / "recipe.yaml").write_text(RECIPE)
    done = call("train", folder / "recipe.yaml", "-o", folder / "run")
    assert done.exit_code == 0, done.output
    source = open_registry()["pbmc68k-reduced"].source().to_anndata()[:40]
    cells = anndata.AnnData(
        source.X, obs=pd.DataFrame(index=source.obs_names), var=pd.DataFrame(index=source.var_names)
    )
    cells.write_h5ad(folder / "in.h5ad")
    return folder


def test_train_push_pull_annotate_from_the_shell(desk, tmp_path):
    hub = tmp_path / "hub"
    pushed = call("push", desk / "run", "--to", "acme", "--release", "1.0.0", "--remote", hub)
    assert pushed.exit_code == 0, pushed.output
    model, commit = pushed.stdout.split()
    assert call("pull", model, "--remote", hub).stdout.split() == [model.split("@")[0], commit]
    (listed,) = json.loads(call("models", "--remote", hub, "--task", "celltype", "--json").stdout)
    assert (listed["id"], listed["release"], listed["organ"]) == (model.split("@")[0], "v1.0.0", "blood")
    assert json.loads(call("models", "--remote", hub, "--organ", "lung", "--json").stdout) == []
    out = tmp_path / "out.h5ad"
    done = call("annotate", desk / "in.h5ad", "--model", model, "--remote", hub, "-o", out)
    assert done.exit_code == 0, done.output
    assert done.stdout.split() == [str(out.with_suffix(".umap.png")), str(out)]
    assert "genes: 737 of the model's 737 (100.0%), which carry 100.0% of its weight; named in index" in done.stderr
    annotated = anndata.read_h5ad(out)
    assert annotated.uns["cellzoo"]["commit"] == commit
    assert all(f"  {label}\n" in done.stderr for label in annotated.obs["cellzoo_cell_type"].unique())


def test_the_registry_s_model_for_organism_and_tissue_annotates_where_none_is_named(desk, tmp_path, monkeypatch):
    hub, zoo = tmp_path / "hub", tmp_path / "zoo"
    name, commit = call("push", desk / "run", "--to", "acme", "--release", "1.0.0", "--remote", hub).stdout.split()
    said = ["--intended-use", "Tests.", "--limits", "Blood only.", "--license", "MIT", "--title", "Blood of a test"]
    entered = call("new", "model", name, "--remote", hub, "-o", zoo / "models", *said)
    assert entered.exit_code == 0, entered.output
    listed = json.loads(call("models", "--registry", zoo, "--json").stdout)
    assert [(one["id"], one["release"], one["status"]) for one in listed] == [(name.split("@")[0], "v1.0.0", "active")]
    words = ("annotate", desk / "in.h5ad", "--no-plot", "--remote", hub, "--registry", zoo)
    done = call(*words, "--tissue", "blood", "-o", tmp_path / "out.h5ad")
    assert done.exit_code == 0, done.output
    assert f"model: {name.replace('@', ' ')}, human by the genes, blood for blood\n" in done.stderr
    assert anndata.read_h5ad(tmp_path / "out.h5ad").uns["cellzoo"]["commit"] == commit
    assert "no column says the tissue" in call(*words, "-o", tmp_path / "x.h5ad").stderr
    refused = call(*words, "--tissue", "lung", "-o", tmp_path / "x.h5ad")
    assert (refused.exit_code, (tmp_path / "x.h5ad").exists()) == (1, False)
    assert "there is human blood. Give --model." in refused.stderr

    monkeypatch.setenv("CELLZOO_REGISTRY", str(zoo))
    [card] = (zoo / "models" / "acme").glob("*.yaml")
    good = card.read_text()
    card.write_text(good.replace("    commit:", "    status: yanked\n    reason: wrong genes\n    commit:"))
    assert "v1.0.0 is yanked: wrong genes.\n" in call("pull", name, "--remote", hub).stderr
    card.write_text(good)
    assert call("pull", name, "--remote", hub).stderr == ""
    cells = anndata.read_h5ad(desk / "in.h5ad")
    cells.obs["tissue_ontology_term_id"] = "UBERON:0000178"
    annotated = cellzoo.annotate(cells, remote=str(hub))
    assert annotated.uns["cellzoo"]["commit"] == commit


def test_evaluate_prints_one_json_document_and_nothing_else(desk):
    done = call("evaluate", desk / "run", "--json")
    stored = json.loads((desk / "run" / "release" / "metrics.json").read_text())
    assert json.loads(done.stdout) == stored


def test_embed_writes_the_embedding(desk, tmp_path):
    done = call("embed", desk / "in.h5ad", "--model", desk / "run", "-o", tmp_path / "out.h5ad")
    assert done.exit_code == 0, done.output
    assert "X_cellzoo_celltype_linear" in anndata.read_h5ad(tmp_path / "out.h5ad").obsm


def text_file(desk, folder):
    path = folder / "notes.h5ad"
    path.write_text("this is text\n" * 100)
    return path


def truncated(desk, folder):
    path = folder / "cut.h5ad"
    path.write_bytes((desk / "in.h5ad").read_bytes()[:3000])
    return path


def no_cells(desk, folder):
    anndata.read_h5ad(desk / "in.h5ad")[:0].copy().write_h5ad(folder / "empty.h5ad")
    return folder / "empty.h5ad"


def logged(desk, folder):
    cells = anndata.read_h5ad(desk / "in.h5ad")
    cells.X.data = np.log1p(cells.X.data)
    cells.write_h5ad(folder / "log.h5ad")
    return folder / "log.h5ad"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (text_file, "is not an h5ad file: it starts with b'this is ', HDF5 starts with"),
        (truncated, "cannot be read as h5ad"),
        (no_cells, "the file has no cells"),
        (logged, "no raw counts found"),
        (lambda desk, folder: folder / "nope.h5ad", "nope.h5ad: there is no such file"),
    ],
)
def test_wrong_files_are_findings_and_nothing_is_written(desk, tmp_path, make, message):
    done = call("annotate", make(desk, tmp_path), "--model", desk / "run", "-o", tmp_path / "out" / "out.h5ad")
    assert done.exit_code == 1, done.output
    assert message in done.stderr
    assert done.stderr.startswith("Error: ")
    assert not (tmp_path / "out").exists()


def test_an_unwritable_output_is_refused_before_the_work(desk, tmp_path):
    (tmp_path / "file").write_text("in the way")
    done = call("annotate", desk / "in.h5ad", "--model", desk / "run", "-o", tmp_path / "file" / "out.h5ad")
    assert done.exit_code == 3
    assert "cannot be written" in done.stderr
    assert "Choose another path" in done.stderr
    done = call("annotate", desk / "in.h5ad", "--model", desk / "run", "-o", tmp_path)
    assert (done.exit_code, "is a folder" in done.stderr) == (3, True)


def test_the_input_is_never_overwritten(desk):
    done = call("annotate", desk / "in.h5ad", "--model", desk / "run", "-o", desk / "in.h5ad")
    assert done.exit_code == 2
    assert "is the input; give another file" in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["train", "nope.yaml", "-o", "x"], 1, "nope.yaml: error CARD001: cannot be read"),
        (["evaluate", "nope"], 1, "holds no run; make one with `cellzoo train RECIPE.yaml -o nope`"),
        (["push", "nope", "--to", "acme", "--release", "1.0.0"], 1, "holds no release"),
        (["pull", "nope"], 1, "'nope' is no model name, expected <organization>/<task>"),
        (["annotate", "x.h5ad"], 2, "Missing option '-o'"),
        (["nope"], 2, "No such command 'nope'"),
    ],
)
def test_wrong_words_say_what_to_write(words, code, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = call(*words)
    assert done.exit_code == code, done.output
    assert message in done.stderr


def test_an_unreachable_hub_is_the_worlds_fault(tmp_path):
    name = "acme/celltype-mlp-0.1.1_human-blood_zoo-00000000@v1.0.0"
    done = call("pull", name, "--remote", "http://127.0.0.1:9")
    assert done.exit_code == 3
    assert "http://127.0.0.1:9" in done.stderr


def test_a_folder_that_is_not_there_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = "lab/celltype-mlp-0.1.1_human-blood_zoo-3f9a2c1d"
    for words in (("models",), ("pull", name), ("new", "model", name)):
        done = call(*words, "--remote", "hub")
        assert done.exit_code == 1, done.output
        assert "hub: there is no such folder of releases. Correct --remote, or CELLZOO_REMOTE." in done.stderr
    done = call("pull", "demo/run")
    assert "'demo/run' is no model name" in done.stderr and "There is no folder demo/run either." in done.stderr
