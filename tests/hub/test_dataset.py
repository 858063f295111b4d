"""Cells pushed as a data set of the Hugging Face library, and loaded back by it."""

import json
import os
import subprocess
import sys

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cellzoo.converters.celldata import CellData
from cellzoo.converters.store.huggingface import write_dataset
from cellzoo.errors import InputError
from cellzoo.hub.dataset import push_dataset, push_folder
from cellzoo.hub.depot import Depot

REPO = "acme/blood-cells"
LOAD = """
import json, sys, datasets
datasets.disable_progress_bars()
cells, genes = (datasets.load_dataset(sys.argv[1], *name, split="train") for name in ([], ["var"]))
stream = datasets.load_dataset(sys.argv[1], split="train", streaming=True)
json.dump({"cells": cells.to_list(), "genes": genes.to_list(), "streamed": list(stream)}, sys.stdout)
"""


@pytest.fixture
def cells():
    rng = np.random.default_rng(0)
    counts = sp.csr_matrix(rng.poisson(0.4, (30, 12)).astype(np.float32))
    obs = pd.DataFrame({"cell_type": pd.Categorical(["B", None, "T"] * 10)}, index=[f"cell{n}" for n in range(30)])
    return CellData.of(anndata.AnnData(counts, obs=obs, var=pd.DataFrame(index=[f"ENSG{n}" for n in range(12)])))


def load(url, tmp_path):
    """Load the data set in a process of its own, which reads the address of the server when it starts."""
    own = {"HF_ENDPOINT": url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1"}
    command = [sys.executable, "-c", LOAD, REPO]
    done = subprocess.run(command, env=os.environ | own, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_what_is_pushed_to_the_house_s_server_is_what_datasets_loads_and_streams(hub, cells, tmp_path):
    commit = push_dataset(cells, REPO, hub.url, title="Blood cells")
    assert hub.depot.datasets().head(REPO) == commit
    assert hub.depot.repos() == []  # no model
    loaded = load(hub.url, tmp_path)
    assert loaded["cells"] == loaded["streamed"]
    counts = np.zeros((30, 12), np.float32)
    for number, cell in enumerate(loaded["cells"]):
        counts[number, cell["genes"]] = cell["counts"]
    assert (counts == cells.X.csr.toarray()).all()
    assert [cell["cell_type"] for cell in loaded["cells"]] == ["B", None, "T"] * 10
    assert [gene["feature"] for gene in loaded["genes"]] == list(cells.var.index)


def test_a_second_push_replaces_what_was_there(hub, cells, tmp_path):
    first = push_dataset(cells, REPO, hub.url)
    second = push_dataset(cells.with_(layers={"spliced": cells.X}), REPO, hub.url)
    again = push_dataset(cells.with_(layers={"spliced": cells.X}), REPO, hub.url)
    assert first != second == again
    depot = hub.depot.datasets()
    assert depot.read(REPO, second).parent == first
    extra = tmp_path / "extra"
    write_dataset(cells, extra)
    (extra / "data" / "cells-00000-of-00001.parquet").rename(extra / "data" / "cells-00000-of-00002.parquet")
    third = push_folder(extra, REPO, hub.url)
    assert [name for name in depot.files(REPO, third) if name.startswith("data/")] == [
        "data/cells-00000-of-00002.parquet"
    ]


def test_large_files_are_streamed_to_the_server(hub, cells, monkeypatch):
    monkeypatch.setattr("cellzoo.hub.writing.LARGE", 100)
    push_dataset(cells, REPO, hub.url)
    assert any(method == "PUT" and path.startswith("/lfs/") for method, path, _ in hub.seen)


def test_a_folder_holds_the_same_as_the_server(hub, cells, tmp_path):
    pushed = hub.depot.datasets().files(REPO, push_dataset(cells, REPO, hub.url))
    depot = Depot(tmp_path / "depot").datasets()
    assert depot.files(REPO, push_dataset(cells, REPO, str(tmp_path / "depot"))) == pushed


def test_a_data_set_and_a_model_of_one_name_are_two_repos(hub, cells):
    hub.depot.commit(REPO, {}, "a model")
    commit = push_dataset(cells, REPO, hub.url)
    assert hub.depot.head(REPO) != commit
    assert hub.depot.files(REPO, hub.depot.head(REPO) or "") == {}


def test_only_those_with_a_token_push(hub, cells, monkeypatch):
    monkeypatch.setenv("CELLZOO_TOKENS", "")
    with pytest.raises(InputError, match="publishing needs a token"):
        push_dataset(cells, REPO, hub.url)


@pytest.mark.parametrize("strange", ["notes.txt", "data/weights.pkl"])
def test_a_folder_with_other_files_is_refused(cells, tmp_path, strange):
    folder = write_dataset(cells, tmp_path / "written")
    (folder / strange).write_text("")
    with pytest.raises(InputError, match=f"{strange}: expected only Parquet"):
        push_folder(folder, REPO, str(tmp_path / "depot"))
