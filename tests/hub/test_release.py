"""Release and return: through a folder and through HTTP the same model comes back, bit for bit."""

import json
import pickle
import shutil

import anndata
import numpy as np
import pandas as pd
import pytest

import cellzoo
from cellzoo.converters.zoo import open_registry
from cellzoo.errors import InputError, IntegrityError, NotFoundError
from cellzoo.hub.names import parse
from cellzoo.hub.release import push
from cellzoo.models.recipe import Recipe
from cellzoo.models.run import run_recipe

RECIPE = {
    "organ": "blood",
    "topology": "linear",
    "data": {"datasets": ["pbmc68k-reduced"]},
    "split": {"test": {"cells": 0.2}},
    "train": {"epochs": 10},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "linear"
    run_recipe(Recipe.model_validate(RECIPE), open_registry(), folder)
    return folder


@pytest.fixture(scope="module")
def cells():
    source = open_registry()["pbmc68k-reduced"].source().to_anndata()[:50]
    return anndata.AnnData(source.X, obs=pd.DataFrame(index=source.obs_names), var=pd.DataFrame(index=source.var_names))


@pytest.fixture(params=["folder", "http"])
def remote(request, tmp_path, monkeypatch):
    """A folder, and a server that speaks the Hub's protocol to the unmodified client."""
    if request.param == "folder":
        return str(tmp_path / "hub")
    hub = request.getfixturevalue("hub")
    monkeypatch.setenv("CELLZOO_TOKENS", f"{hub.url}={hub.token}")
    return hub.url


def test_release_and_pull_give_bit_identical_predictions(run, cells, remote):
    before = cellzoo.from_pretrained(run).annotate(cells)
    release = push(run, "acme", "1.0.0", remote)
    name = parse(release.id)
    assert (name.organization, name.task, name.topology, name.organism, name.organ) == (
        *("acme", "celltype", "linear"),
        *("human", "blood"),
    )
    assert name.training_data.startswith("zoo-")
    for model in (
        cellzoo.from_pretrained(release.id, revision="v1.0.0", remote=remote, smoke=True),
        cellzoo.from_pretrained(f"{release.id}@{release.commit}", remote=remote),
        cellzoo.from_pretrained(release.id, remote=remote),  # the newest release
    ):
        after = model.annotate(cells)
        assert (model.name, model.commit) == (release.id, release.commit)
        assert after.uns["cellzoo"]["commit"] == release.commit
        for column in ("cellzoo_cell_type_probability", "cellzoo_leaf_probability"):
            assert np.array_equal(after.obs[column], before.obs[column])
        assert (after.obs["cellzoo_cell_type"] == before.obs["cellzoo_cell_type"]).all()
        assert np.array_equal(after.obsm[model.key], before.obsm[model.key])


def test_models_are_listed(run, remote):
    from cellzoo.hub.remote import open_remote

    release = push(run, "acme", "1.0.0", remote)
    assert open_remote(remote).models() == [release.id]


def test_a_model_can_be_given_by_name_to_annotate(run, cells, tmp_path, monkeypatch):
    monkeypatch.setenv("CELLZOO_REMOTE", str(tmp_path / "hub"))
    release = push(run, "acme", "1.0.0")
    cells.write_h5ad(tmp_path / "in.h5ad")
    by_name = cellzoo.annotate(tmp_path / "in.h5ad", release.id, threshold=0.6)
    by_model = cellzoo.annotate(cells, cellzoo.from_pretrained(run), threshold=0.6)
    assert (by_name.obs["cellzoo_cell_type"] == by_model.obs["cellzoo_cell_type"]).all()


def test_a_release_is_immutable_and_the_next_one_is_the_newest(run, remote):
    first = push(run, "acme", "1.0.0", remote)
    with pytest.raises(InputError, match=rf"v1.0.0 is already released, as commit {first.commit}; .*make a new one"):
        push(run, "acme", "1.0.0", remote)
    second = push(run, "acme", "1.0.1", remote)
    assert second.commit != first.commit
    assert cellzoo.from_pretrained(first.id, remote=remote).commit == second.commit
    assert cellzoo.from_pretrained(first.id, "v1.0.0", remote).commit == first.commit


def test_the_readme_of_a_release_is_a_hub_model_card(run, remote):
    from huggingface_hub import ModelCard

    from cellzoo.hub.remote import open_remote

    release = push(run, "acme", "1.0.0", remote)
    folder = open_remote(remote).pull(release.id, "v1.0.0").folder
    card = ModelCard.load(folder / "README.md")
    assert card.data.library_name == "cellzoo"
    results = {result.metric_type: result.metric_value for result in card.data.eval_results}
    test = json.loads((folder / "metrics.json").read_text())["test"]
    assert results["accuracy"] == pytest.approx(test["accuracy"], abs=1e-4)
    assert results["macro_f1"] == pytest.approx(test["macro_f1"], abs=1e-4)
    assert "10.1038/ncomms14049" in card.text
    assert f'cellzoo.from_pretrained("{release.id}", revision="v1.0.0")' in card.text


def test_a_run_with_a_pickle_is_never_published(run, tmp_path, remote):
    bad = shutil.copytree(run, tmp_path / "bad")
    (bad / "release" / "optimizer.pkl").write_bytes(pickle.dumps({}))
    with pytest.raises(IntegrityError, match=r"optimizer.pkl could run code when loaded"):
        push(bad, "acme", "1.0.0", remote)


def test_what_does_not_exist_is_said_with_what_does(run, remote, tmp_path):
    release = push(run, "acme", "1.0.0", remote)
    with pytest.raises(NotFoundError, match=r"v9.9.9"):
        cellzoo.from_pretrained(release.id, "v9.9.9", remote)
    with pytest.raises(NotFoundError):
        cellzoo.from_pretrained("acme/celltype-mlp-0.1.1_human-blood_zoo-00000000@v1.0.0", remote=remote)
    with pytest.raises(InputError, match="is no model name, expected <organization>/<task>"):
        cellzoo.from_pretrained("../../etc/passwd", remote=remote)
    with pytest.raises(InputError, match="holds no release; make one with `cellzoo train"):
        push(tmp_path, "acme", "1.0.0", remote)
    with pytest.raises(InputError, match="release '1.0' is no semantic version"):
        push(run, "acme", "1.0", remote)
