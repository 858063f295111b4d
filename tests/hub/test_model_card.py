"""The registry's card of a released model: pinned to the byte, versions only ever added."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML

from cellzoo.cli import main
from cellzoo.converters.fetch import sha256_of
from cellzoo.converters.zoo import open_registry
from cellzoo.errors import InputError, NotFoundError
from cellzoo.hub.entry import About, enter
from cellzoo.hub.release import push
from cellzoo.hub.remote import open_remote
from cellzoo.models.recipe import Recipe
from cellzoo.models.run import run_recipe
from cellzoo.registry.cards import parse_any
from cellzoo.registry.catalogue import open_registry as open_cards
from cellzoo.registry.document import read_yaml
from cellzoo.registry.model_card import ModelCard

RECIPE = {
    "organ": "blood",
    "topology": "linear",
    "data": {"datasets": ["pbmc68k-reduced"]},
    "split": {"test": {"cells": 0.2}},
    "train": {"epochs": 1},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "linear"
    run_recipe(Recipe.model_validate(RECIPE), open_registry(), folder)
    return folder


def load(path: Path) -> ModelCard:
    card = parse_any(read_yaml(path))
    assert isinstance(card, ModelCard)
    return card


@pytest.fixture
def released(run, tmp_path):
    """Return a folder remote and what was released there as 1.0.0."""
    return str(tmp_path / "hub"), push(run, "acme", "1.0.0", str(tmp_path / "hub"))


def test_every_file_of_a_release_is_pinned_and_the_spaces_and_numbers_are_its_own(run, released, tmp_path):
    remote, release = released
    made = enter(f"{release.id}@v1.0.0", tmp_path / "cards" / "models", remote, About(date="2026-11-22"))
    card = load(made.path)
    [version] = card.versions
    listing = open_remote(remote).listing(release.id, "v1.0.0")
    assert {file.name: (file.sha256, file.bytes) for file in version.files} == {
        name: (file.sha256, file.size) for name, file in listing.files.items()
    }
    assert (card.id, version.version, version.commit, version.date) == (
        release.id,
        "1.0.0",
        release.commit,
        "2026-11-22",
    )
    config = json.loads((run / "release" / "config.json").read_text())
    assert (version.gene_space.sha256, version.gene_space.size) == (config["gene_space_sha256"], 20120)
    labels = json.loads((run / "release" / "labels.json").read_text())
    assert version.label_space
    assert (version.label_space.sha256, version.label_space.size) == (
        config["label_space_sha256"],
        len(labels["leaves"]),
    )
    assert version.data_lock == sha256_of(run / "release" / "data.lock.yaml")
    assert version.datasets == ("pbmc68k-reduced",)
    measured = json.loads((run / "release" / "metrics.json").read_text())["test"]
    assert version.metrics["test"]["macro_f1"] == pytest.approx(measured["macro_f1"], abs=1e-6)
    assert set(made.drafted) == {"title", "license", "intended_use", "limits"}
    assert "dendritic cell" in card.intended_use
    assert list(open_cards(tmp_path / "cards").model_paths) == [release.id]


def test_a_run_is_entered_as_the_release_it_became(run, released, tmp_path):
    made = enter(str(run), tmp_path / "models", released[0])
    assert (made.id, made.version) == (released[1].id, "1.0.0")


def test_a_version_is_added_and_what_the_card_says_of_others_stays(run, released, tmp_path):
    remote, release = released
    said = About(title="Ours", license="MIT", intended_use="For us.", limits="Not for you.", date="2026-11-22")
    made = enter(release.id, tmp_path / "models", remote, said)
    assert made.drafted == {}
    made.path.write_text(made.path.read_text().replace("title: Ours", "title: Ours   # agreed on by all"))
    before = made.path.read_text()
    push(run, "acme", "1.1.0", remote)
    enter(release.id, tmp_path / "models", remote, About(date="2026-11-23"))
    assert made.path.read_text().startswith(before)
    assert [one.version for one in load(made.path).versions] == ["1.0.0", "1.1.0"]


def test_a_version_is_published_once(released, tmp_path):
    remote, release = released
    made = enter(release.id, tmp_path / "models", remote)
    before = made.path.read_bytes()
    with pytest.raises(InputError, match=r"lists 1\.0\.0 already; a version is published once"):
        enter(release.id, tmp_path / "models", remote)
    assert made.path.read_bytes() == before


REFUSED = {
    "no such release": ("{id}@v9.0.0", {}, NotFoundError, "no revision 'v9.0.0'"),
    "a branch": ("{id}@main", {}, InputError, "tag 'main' is no release"),
    "no such model": ("acme/celltype-mlp-0.1_human-lung_zoo-1", {}, InputError, "has no release"),
    "no name": ("blood", {}, InputError, "is no model name"),
    "no run": ("{folder}", {}, InputError, "holds no run"),
    "no day": ("{id}", {"date": "today"}, InputError, "'today' is no day"),
}  # fmt: skip


@pytest.mark.parametrize(("model", "said", "kind", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_was_not_released_is_not_entered(released, tmp_path, model, said, kind, message):
    remote, release = released
    with pytest.raises(kind, match=message):
        enter(model.format(id=release.id, folder=tmp_path), tmp_path / "models", remote, About(**said))
    assert not (tmp_path / "models").exists()


def test_a_run_that_was_trained_but_not_pushed_is_told_how(run, released, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(run, other)
    weights = other / "release" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    with pytest.raises(NotFoundError, match=r"is not on the remote; publish it with `cellzoo push"):
        enter(str(other), tmp_path / "models", released[0])


def test_the_command_prints_the_card_and_what_is_to_be_read(released, tmp_path):
    remote, release = released
    args = ["new", "model", release.id, "--remote", remote, "-o", str(tmp_path / "models"), "--title", "Ours"]
    done = CliRunner().invoke(main, args)
    path = tmp_path / "models" / f"{release.id}.yaml"
    assert (done.exit_code, done.stdout) == (0, f"{path}\n")
    assert "limits is a draft, read it: Not for diagnosis." in done.stderr
    assert YAML(typ="safe").load(path.read_text())["title"] == "Ours"
