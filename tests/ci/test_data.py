"""`cellzoo check --data`: cards against the bytes they point at, where those are on this machine."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

from cellzoo.ci.check import Question, check_registry
from cellzoo.registry.catalogue import PACKAGED, Registry


@pytest.fixture
def file(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a real h5ad of ten cells into a mirror, and its digest into the card."""
    obs = pd.DataFrame({"label": ["B"] * 5 + ["T"] * 4 + ["junk"]}, index=[f"c{i}" for i in range(10)])
    source = anndata.AnnData(
        np.ones((10, 3), dtype=np.float32), obs=obs, var=pd.DataFrame(index=["CD19", "CD3E", "LYZ"])
    )
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    source.write_h5ad(mirror / "x")
    digest = hashlib.sha256((mirror / "x").read_bytes()).hexdigest()
    path = (mirror / "x").rename(mirror / digest)
    card = root / "datasets/blood.yaml"
    text = card.read_text().replace("a" * 64, digest).replace("bytes: 1000", f"bytes: {path.stat().st_size}")
    card.write_text(text)
    monkeypatch.setenv("CELLZOO_MIRROR", str(mirror))
    return path


def seen(root: Path) -> list[str]:
    found = check_registry(Registry((root,)), Question(data=True))
    return [f"{Path(one.path).relative_to(root)} {one.code} {one.line}:{one.column}" for one in found]


def test_a_card_that_says_what_is_in_the_file_has_no_findings(root, file):
    assert seen(root) == []


def test_a_file_that_is_not_on_this_machine_is_not_looked_for(root):
    assert seen(root) == []


CARD, MAP = "datasets/blood.yaml", "datasets/blood.cell_type.tsv"
BROKEN = {
    "a label without a row": (MAP, "T\tCL:0000084\tT cell\t\n", "", f"{MAP} MAP003 0:0"),
    "a row without a cell": (MAP, "junk\t", "NK\tunknown\tunknown\twhy\njunk\t", f"{MAP} DATA002 4:1"),
    "a column that is not there": (CARD, "column: label", "column: labels", f"{CARD} DATA001 23:15"),
    "another number of cells": (CARD, "cells_expected: 10", "cells_expected: 11", f"{CARD} DATA003 26:1"),
    "a layer that is not there": (CARD, "counts:", "layers: {counts: umi}\ncounts:", f"{CARD} DATA001 14:1"),
}


@pytest.mark.parametrize(("name", "old", "new", "expected"), BROKEN.values(), ids=BROKEN.keys())
def test_a_card_that_says_otherwise_is_found(root, file, change: Callable[..., Path], name, old, new, expected):
    change(name, old, new)
    assert seen(root) == [expected]


@pytest.mark.parametrize("content", [b"\x89HDF\r\n\x1a\nbut no more", b"other"], ids=["damaged", "other bytes"])
def test_other_bytes_are_found(root, file, content):
    file.write_bytes(content)
    assert seen(root) == [f"{CARD} FILE001 12:5"]


def test_a_broken_data_set_is_not_read(root, file, change):
    change(CARD, "status: verified", "status: broken\nstatus_reason: no counts")
    change(CARD, "column: label", "column: labels")
    assert seen(root) == []


def test_a_packaged_card_agrees_with_its_published_files(mirror, monkeypatch):
    monkeypatch.setenv("CELLZOO_MIRROR", str(mirror))
    path = PACKAGED / "datasets/tenx-pbmc3k.yaml"
    assert [one for one in check_registry(Registry((PACKAGED,)), Question((path,), data=True))] == []


@pytest.mark.parametrize("gap", [None, "  "], ids=["missing", "blank"])
def test_cells_without_a_label_are_those_of_the_row_for_none(root, file, change, gap):
    source = anndata.read_h5ad(file)
    labels = source.obs["label"].astype(object)
    labels.iloc[-1] = gap
    source.obs["label"] = pd.Categorical(labels)
    source.write_h5ad(file.with_name("x"))
    content = file.with_name("x").read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    card = root / "datasets/blood.yaml"
    card.write_text(
        card.read_text().replace(file.name, digest).replace(f"bytes: {file.stat().st_size}", f"bytes: {len(content)}")
    )
    file.with_name("x").rename(file.with_name(digest))
    assert seen(root) == [f"{MAP} MAP003 0:0", f"{MAP} DATA002 4:1"]
    change(MAP, "junk\t", "(none)\t")
    assert seen(root) == []
