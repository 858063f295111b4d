"""Cards of older schema versions become today's: the same card as if it had been written by hand."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellzoo.ci.edits import upgraded
from cellzoo.registry.cards import load_card
from cellzoo.registry.parts import SCHEMA_VERSION
from cellzoo.registry.upgrade import STEPS, upgrade

OLD = """\
schema_version: 1
id: blood
title: Blood # of one donor
study: {doi: 10.1000/blood, authors: Doe et al., year: 2020}
license: CC-BY-4.0
status: imported
# every file
primary_data: true
files:
  - name: blood.h5ad
counts: {layer: raw, kind: umi}
cells:
  organism: {term: NCBITaxon:9606, label: Homo sapiens}
"""
BY_HAND = {
    "counts in a layer": (
        OLD,
        OLD.replace("version: 1", "version: 2").replace("counts: {layer: raw, ", "layers: {counts: raw}\ncounts: {"),
    ),
    "no counts": (
        OLD.replace("counts: {layer: raw, kind: umi}\n", ""),
        OLD.replace("version: 1", "version: 2").replace("counts: {layer: raw, kind: umi}\n", ""),
    ),
    "counts in X": (
        OLD.replace("layer: raw", "layer: X"),
        OLD.replace("version: 1", "version: 2").replace("layer: raw, ", ""),
    ),
}


@pytest.mark.parametrize(("old", "by_hand"), BY_HAND.values(), ids=BY_HAND.keys())
def test_an_old_card_is_read_as_the_one_written_by_hand(tmp_path, old, by_hand):
    path = tmp_path / "blood.yaml"
    path.write_text(by_hand)
    expected = load_card(path)
    path.write_text(old)
    assert load_card(path) == expected
    [edit], _ = upgraded(old)
    path.write_text(edit.text)
    assert load_card(path) == expected


def test_an_upgraded_file_keeps_comments_and_order():
    [edit], said = upgraded(OLD)
    assert said == ["counts.layer moved to layers.counts"]
    assert "title: Blood # of one donor\n" in edit.text and "# every file\nprimary_data" in edit.text
    keys = [line.partition(":")[0] for line in edit.text.splitlines() if line[0].isalpha()]
    assert keys == [
        "schema_version",
        "id",
        "title",
        "study",
        "license",
        "status",
        "primary_data",
        "files",
        "layers",
        "counts",
        "cells",
    ]


def test_there_is_a_step_from_every_version_to_todays():
    assert sorted(STEPS) == list(range(1, SCHEMA_VERSION))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["layer", "kind", "counts"]), inner),
)
KEYS = st.sampled_from(["schema_version", "counts", "layers", "id"])


@given(st.dictionaries(KEYS, VALUES), st.sampled_from([1, SCHEMA_VERSION, 3, 0, None, True, "1"]))
def test_upgrading_ends_and_changes_nothing_twice(card, version):
    card["schema_version"] = version
    before = copy.deepcopy(card)
    said = upgrade(card)
    once = copy.deepcopy(card)
    assert upgrade(card) == [] and card == once
    if version != 1 or isinstance(version, bool):
        assert (said, once) == ([], before)
    else:
        assert once["schema_version"] == SCHEMA_VERSION
        assert {key for key in before if key not in {"counts", "layers"}} <= once.keys()
