"""A release folder: what is written is what is read, and anything else is refused by name."""

import hashlib
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from cellzoo.errors import IntegrityError
from cellzoo.models.artifact import read_artifact
from cellzoo.models.files import PINNED


@pytest.fixture
def release(trained, tmp_path) -> Path:
    """A copy of a release that a test may break."""
    return Path(shutil.copytree(trained[0] / "release", tmp_path / "release"))


def repin(release: Path, *names: str) -> None:
    """Pin changed files anew, as an attacker who can write the whole repo would."""
    config = json.loads((release / "config.json").read_text())
    for name in names:
        config["files"][name] = hashlib.sha256((release / name).read_bytes()).hexdigest()
    (release / "config.json").write_text(json.dumps(config))


def test_predictions_are_bit_identical_after_writing_and_reading(trained, cells):
    run, model, _ = trained
    again = read_artifact(run / "release", smoke=True)
    for name in ("cellzoo_cell_type_probability", "cellzoo_leaf_probability"):
        assert np.array_equal(again.annotate(cells).obs[name], model.annotate(cells).obs[name])
    assert np.array_equal(again.embed(cells).obsm[model.key], model.embed(cells).obsm[model.key])
    assert again.labels == model.labels
    assert again.space is model.space


def test_a_release_holds_the_files_of_the_design_and_no_pickle(trained):
    names = {path.name for path in (trained[0] / "release").iterdir()}
    assert names == {*PINNED, "config.json"}
    config = json.loads((trained[0] / "release" / "config.json").read_text())
    assert config["topology"] == "mlp-0.1.1"
    assert config["gene_space"] == "homo_sapiens-gencode48-protein_coding"
    assert set(config["files"]) == set(PINNED)


@pytest.mark.parametrize("name", PINNED)
def test_a_flipped_byte_is_found_and_the_file_named(release, name):
    content = bytearray((release / name).read_bytes())
    content[len(content) // 2] ^= 1
    (release / name).write_bytes(content)
    with pytest.raises(
        IntegrityError, match=rf"{name}: has sha256 [0-9a-f]{{64}}, config.json pins .* changed or damaged"
    ):
        read_artifact(release)


@pytest.mark.parametrize("name", PINNED)
def test_a_missing_file_is_named(release, name):
    (release / name).unlink()
    with pytest.raises(IntegrityError, match=rf"{name}: is pinned by config.json but is not there"):
        read_artifact(release)


def without_a_key(state):
    del state["layers.1.bias"]


def with_a_key(state):
    state["layers.2.weight"] = torch.zeros(2)


def with_a_shape(state):
    state["layers.0.bias"] = torch.zeros(3)


def with_a_type(state):
    state["layers.0.bias"] = state["layers.0.bias"].double()


def with_nan(state):
    state["layers.0.weight"][0, 0] = float("nan")


def with_both(state):
    without_a_key(state)
    with_a_key(state)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(without_a_key, r"missing key 'layers\.1\.bias'", id="a missing key"),
        pytest.param(with_a_key, r"unexpected key 'layers\.2\.weight'", id="an extra key"),
        pytest.param(with_both, r"missing key 'layers\.1\.bias'; unexpected key 'layers\.2\.weight'", id="all at once"),
        pytest.param(with_a_shape, r"'layers\.0\.bias' is \(3,\) torch.float32, expected \(128,\)", id="a wrong shape"),
        pytest.param(with_a_type, r"'layers\.0\.bias' is \(128,\) torch.float64, expected", id="a wrong type"),
        pytest.param(with_nan, r"'layers\.0\.weight' holds NaN or infinite weights", id="NaN"),
    ],
)
def test_weights_that_do_not_fit_are_refused_even_when_pinned(release, change, message):
    state = load_file(release / "model.safetensors")
    change(state)
    save_file(state, release / "model.safetensors")
    repin(release, "model.safetensors")
    with pytest.raises(IntegrityError, match=f"model.safetensors: does not fit the topology: .*{message}"):
        read_artifact(release)


def test_a_foreign_gene_list_is_refused(release):
    genes = pd.read_parquet(release / "genes.parquet")
    genes.iloc[[0, 1]] = genes.iloc[[1, 0]].to_numpy()
    genes.to_parquet(release / "genes.parquet", index=False)
    repin(release, "genes.parquet")
    with pytest.raises(IntegrityError, match=r"genes.parquet: a foreign gene list: its digest is"):
        read_artifact(release)


def test_a_foreign_gene_list_that_is_pinned_is_refused_by_the_name_it_bears(release):
    genes = pd.read_parquet(release / "genes.parquet")
    genes.iloc[[0, 1]] = genes.iloc[[1, 0]].to_numpy()
    genes.to_parquet(release / "genes.parquet", index=False)
    config = json.loads((release / "config.json").read_text())
    config["gene_space_sha256"] = hashlib.sha256("\n".join(genes["ensembl_id"]).encode()).hexdigest()
    (release / "config.json").write_text(json.dumps(config))
    repin(release, "genes.parquet")
    with pytest.raises(
        IntegrityError, match="it calls itself homo_sapiens-gencode48-protein_coding, which has the digest"
    ):
        read_artifact(release)


def test_a_changed_label_space_is_refused(release):
    labels = json.loads((release / "labels.json").read_text())
    labels["leaves"].reverse()
    (release / "labels.json").write_text(json.dumps(labels))
    repin(release, "labels.json")
    with pytest.raises(IntegrityError, match=r"labels.json: its digest is .*config.json pins"):
        read_artifact(release)


@pytest.mark.parametrize("name", ["model.pkl", "pytorch_model.bin", "model.pt", "extra/weights.joblib", "hook.py"])
def test_a_pickle_beside_the_safetensors_is_refused_unopened(release, name):
    class Attack:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was opened",))

    (release / name).parent.mkdir(exist_ok=True)
    (release / name).write_bytes(pickle.dumps(Attack()))
    with pytest.raises(IntegrityError, match=rf"{name} could run code when loaded"):
        read_artifact(release)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"topology": "mlp-9.9.9"}, "no topology 'mlp-9.9.9'", id="a topology that does not exist"),
        pytest.param({"topology": "os.system"}, "topology: String should match pattern", id="not a name of a topology"),
        pytest.param(
            {"task": "shell"}, "task: Input should be 'celltype' or 'embedding'", id="a task that does not exist"
        ),
        pytest.param({"files": {}}, "files: ", id="nothing pinned"),
        pytest.param(
            {"files": {"../../etc/passwd": "0" * 64}}, "is pinned by config.json but is not there", id="a path out"
        ),
        pytest.param({"surprise": 1}, "surprise: Extra inputs are not permitted", id="an unknown key"),
    ],
)
def test_a_config_that_says_something_else_is_refused(release, change, message):
    config = json.loads((release / "config.json").read_text()) | change
    (release / "config.json").write_text(json.dumps(config))
    with pytest.raises(IntegrityError, match=message):
        read_artifact(release)


def test_the_smoke_test_finds_weights_that_were_exchanged_for_others_that_fit(release):
    state = load_file(release / "model.safetensors")
    state["layers.1.weight"] = -state["layers.1.weight"]
    save_file(state, release / "model.safetensors")
    repin(release, "model.safetensors")
    read_artifact(release)  # fits: only the smoke test can tell
    with pytest.raises(IntegrityError, match=r"smoke.safetensors: the model differs by [\d.]+ from its release"):
        read_artifact(release, smoke=True)


def test_a_folder_without_a_config_is_no_model(tmp_path):
    with pytest.raises(IntegrityError, match=r"is not a cellzoo model: it has no config.json"):
        read_artifact(tmp_path)
