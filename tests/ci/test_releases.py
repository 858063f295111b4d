"""Model cards against the bytes of their releases, in a folder remote."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import yaml

from cellzoo.ci.check import Question, check_registry
from cellzoo.hub.remote import FolderRemote
from cellzoo.registry.catalogue import Registry

CARD = "models/acme/mlp.yaml"
LOCK = "lock_version: 1\ndatasets:\n  - {id: blood, role: train}\n  - {id: held-out, role: test}\n"


def pin(content: bytes) -> dict[str, object]:
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


@pytest.fixture
def released(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FolderRemote:
    """Publish a release in a folder and pin it in the model card."""
    config = {"gene_space": "g", "gene_space_sha256": "c" * 64, "label_space_sha256": None}
    files = {
        "model.safetensors": b"weights",
        "config.json": json.dumps(config).encode(),
        "data.lock.yaml": LOCK.encode(),
    }
    folder = tmp_path / "release"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    remote = FolderRemote(tmp_path / "remote")
    commit = remote.push("acme/mlp", folder, "release", "v1.0.0")
    card = yaml.safe_load((root / CARD).read_text())
    version = card["versions"][0]
    version |= {"commit": commit, "data_lock": pin(LOCK.encode())["sha256"], "date": "2026-01-01"}
    version["files"] = [{"name": name, **pin(content)} for name, content in files.items()]
    head = (root / CARD).read_text().partition("\n")[0]
    (root / CARD).write_text(f"{head}\n{yaml.safe_dump(card, sort_keys=False)}")
    monkeypatch.setenv("CELLZOO_REMOTE", str(tmp_path / "remote"))
    return remote


def seen(root: Path) -> list[str]:
    found = check_registry(Registry((root,)), Question(data=True))
    assert {Path(one.path).relative_to(root).as_posix() for one in found} <= {CARD}
    return [f"{one.severity} {one.code}: {one.message}" for one in found]


def rewrite(root: Path, **changes: object) -> None:
    card = yaml.safe_load((root / CARD).read_text())
    card["versions"][0] |= changes
    head = (root / CARD).read_text().partition("\n")[0]
    (root / CARD).write_text(f"{head}\n{yaml.safe_dump(card, sort_keys=False)}")


def test_a_card_that_pins_what_was_released_has_no_findings(root, released):
    assert seen(root) == []


def test_other_bytes_than_those_released_are_found(root, released):
    files = yaml.safe_load((root / CARD).read_text())["versions"][0]["files"]
    rewrite(root, files=[files[0] | {"sha256": "e" * 64}, *files[1:]])
    [said] = seen(root)
    assert said.startswith("error MODEL002: release 1.0.0: model.safetensors has sha256 ")


def test_files_that_are_missing_or_not_listed_are_found(root, released):
    files = yaml.safe_load((root / CARD).read_text())["versions"][0]["files"]
    rewrite(root, files=[*files[:2], {"name": "genes.parquet", "sha256": "e" * 64, "bytes": 1}])
    assert [said.partition(":")[0] for said in seen(root)] == ["error MODEL003", "error MODEL003"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"gene_space": {"name": "h", "sha256": "c" * 64, "size": 3}},
            "gene_space.name is 'g' in the release, 'h' in the card",
        ),
        ({"label_space": {"name": "CL", "sha256": "e" * 64, "size": 3}}, "label_space.sha256 is None in the release"),
        ({"data_lock": "e" * 64}, "data_lock is "),
        ({"datasets": ["blood", "census"]}, "datasets is ['blood'] in the release, ['blood', 'census'] in the card"),
    ],
)
def test_what_the_release_says_otherwise_is_found(root, released, change, said):
    rewrite(root, **change)
    [found] = seen(root)
    assert found.startswith(f"error MODEL005: release 1.0.0: {said}")


def test_a_release_that_is_not_there_is_found(root, released):
    rewrite(root, commit="1e" * 20)
    [said] = seen(root)
    assert said.startswith("error MODEL001: the release 1.0.0 cannot be had: ")


def test_a_version_whose_tag_is_another_commit_is_found(root, released):
    rewrite(root, version="1.0.1")
    [said] = seen(root)
    assert said.startswith("error MODEL001: the tag v1.0.1 is not there, the card pins commit ")


def test_a_release_on_a_server_is_not_asked_for_without_links(root, monkeypatch):
    monkeypatch.setenv("CELLZOO_REMOTE", "http://127.0.0.1:9")
    assert seen(root) == []
