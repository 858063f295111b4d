"""What differs between two versions of a registry, said in terms of data sets and models."""

import json
import shutil

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from cellzoo.cli import main
from cellzoo.registry.changes import MapChange, compare, used_maps

CARD = "tenx-pbmc3k.yaml"
MAP = "tenx-pbmc3k.cell_type.tsv"
MODEL = """\
id: org/m
title: A model
versions:
- {version: 1.0.0, commit: aaa, status: active}
- {version: 1.1.0, commit: bbb}
"""


@pytest.fixture
def old(copy):
    """A registry of seven packaged cards and a model."""
    (copy / "models" / "org").mkdir(parents=True)
    (copy / "models" / "org" / "m.yaml").write_text(MODEL)
    return copy


@pytest.fixture
def new(old, tmp_path):
    """The same again, to be changed."""
    return shutil.copytree(old, tmp_path / "new")


def edit(root, name, before, after):
    path = root / name
    text = path.read_text()
    assert text.count(before) == 1, f"{before!r} is {text.count(before)} times in {name}"
    path.write_text(text.replace(before, after))


D, M = f"datasets/{CARD}", "models/org/m.yaml"
EDITS = {
    "nothing": ([], "no changes", []),
    "comment": ([(D, "license:", "# checked\nlicense:")], "no changes", []),
    "quotes": ([(D, "license: CC-BY-4.0", 'license: "CC-BY-4.0"')], "no changes", []),
    "keys": (
        [(D, "license: CC-BY-4.0", "license: CC0-1.0"), (D, "cells_expected: 2638", "cells_expected: 2600")],
        "1 card changed",
        ["~ tenx-pbmc3k: license, cells_expected"],
    ),
    "key that is new": ([(D, "license:", "homepage: x\nlicense:")], "1 card changed", ["~ tenx-pbmc3k: homepage"]),
    "status": (
        [(D, "status: verified", "status: broken")],
        "1 now broken",
        ["~ tenx-pbmc3k: status verified -> broken"],
    ),
    "row changed": (
        [(f"datasets/{MAP}", "B cell", "lymphocyte")],
        "1 label map changed",
        [f"~ tenx-pbmc3k: {MAP}: ~1 row"],
    ),
    "row added and removed": (
        [(f"datasets/{MAP}", "\nB\t", "\nb\t")],
        "1 label map changed",
        [f"~ tenx-pbmc3k: {MAP}: +1 -1 rows"],
    ),
    "card that is broken": (
        [(D, "license:", "license: [")],
        "1 card that cannot be read",
        ["~ tenx-pbmc3k: cannot be read"],
    ),
    "version": (
        [(M, "- {version: 1.1.0", "- {version: 1.2.0, commit: ccc}\n- {version: 1.1.0")],
        "+1 model version",
        ["~ org/m: 1.2.0 added"],
    ),
    "yanked": (
        [(M, "aaa, status: active", "aaa, status: yanked, reason: wrong labels")],
        "1 yanked",
        ["~ org/m: 1.0.0 yanked"],
    ),
    "deprecated": (
        [(M, "commit: bbb", "commit: bbb, status: deprecated, reason: old, superseded_by: 1.2.0")],
        "1 deprecated",
        ["~ org/m: 1.1.0 deprecated"],
    ),
    "pin that moved": ([(M, "bbb", "ccc")], "1 model version changed", ["~ org/m: 1.1.0 changed"]),
    "version that is gone": (
        [(M, "- {version: 1.1.0, commit: bbb}\n", "")],
        "-1 model version",
        ["~ org/m: 1.1.0 removed"],
    ),
    "words of a model": ([(M, "A model", "The model")], "1 model changed", ["~ org/m: title"]),
    "model that is broken": ([(M, "id: org/m", "id: [")], "1 card that cannot be read", ["~ org/m: cannot be read"]),
    "versions that are none": (
        [(M, MODEL, "id: org/m\nversions: 3\n")],
        "1 model changed, -2 model versions",
        ["~ org/m: title; 1.0.0, 1.1.0 removed"],
    ),
}


@pytest.mark.parametrize(("edits", "summary", "lines"), EDITS.values(), ids=EDITS)
def test_an_edit_is_told_as_what_it_does(old, new, edits, summary, lines):
    for one in edits:
        edit(new, *one)
    found = compare(old, new)
    assert found.summary() == summary
    assert [str(change) for change in found.all()] == lines
    assert bool(found.problems) == any(not one.readable for one in found.all())


def test_the_summary_counts_everything_at_once(old, new):
    datasets = new / "datasets"
    for name in ("a", "b", "c"):
        shutil.copy(datasets / CARD, datasets / f"{name}.yaml")
    (datasets / "onek1k-subset.yaml").unlink()
    edit(new, f"datasets/{MAP}", "B cell", "lymphocyte")
    edit(new, D, "license: CC-BY-4.0", "license: CC0-1.0")
    edit(new, "datasets/baron2016-human.yaml", "status: verified", "status: broken")
    edit(new, M, "aaa, status: active", "aaa, status: yanked")
    (datasets / "pbmc68k-reduced.yaml").write_text("id: [\n")
    (new / "models" / "org" / "n.yaml").write_text(MODEL)
    found = compare(old, new)
    assert found.summary() == (
        "+3 cards, -1 card, 1 card changed, 1 label map changed, 1 now broken, +1 model, 1 yanked, "
        "1 card that cannot be read"
    )
    assert {finding.path for finding in found.problems} == {str(datasets / "pbmc68k-reduced.yaml")}
    assert json.loads(json.dumps(found.as_dict()))["summary"] == found.summary()


def test_backwards_what_was_added_is_removed(old, new):
    shutil.copy(new / D, new / "datasets" / "a.yaml")
    edit(new, f"datasets/{MAP}", "\nB\t", "\nb\t")
    there, back = compare(old, new), compare(new, old)
    assert [change.kind for change in there.cards] == ["added", "changed"]
    assert [change.kind for change in back.cards] == ["removed", "changed"]
    assert there.cards[1].maps == (MapChange(MAP, ("b",), ("B",), ()),)
    assert back.cards[1].maps == (MapChange(MAP, ("B",), ("b",), ()),)


def test_a_label_map_that_two_cards_use_is_counted_once_and_told_of_both(old, new):
    for root in (old, new):
        shutil.copy(root / D, root / "datasets" / "twin.yaml")
    edit(new, f"datasets/{MAP}", "B cell", "lymphocyte")
    found = compare(old, new)
    assert found.summary() == "1 label map changed"
    assert [card.id for card in found.cards] == ["tenx-pbmc3k", "twin"]


def test_a_label_map_that_no_card_uses_is_no_change(old, new):
    (new / "datasets" / "left-over.tsv").write_text("source\tterm\tlabel\n")
    edit(new, D, "license:", f"# not {MAP}.tsv but left-over.tsv\nlicense:")
    assert compare(old, new).summary() == "no changes"


def test_other_versions_of_the_schema_compare_too(old, new):
    (old / D).write_text("schema_version: 99\nid: tenx-pbmc3k\nwhat: {ever: [1, {map: x.tsv}]}\n")
    (new / D).write_text("schema_version: 100\nid: tenx-pbmc3k\nwhat: {ever: [1, {map: x.tsv}]}\n")
    for root, label in ((old, "B cell"), (new, "T cell")):
        (root / "datasets" / "x.tsv").write_text(f"source\tterm\tlabel\nB\tCL:1\t{label}\n")
    [change] = compare(old, new).cards
    assert str(change) == "~ tenx-pbmc3k: schema_version; x.tsv: ~1 row"
    assert used_maps(new / D) == ["x.tsv"]


def test_a_map_outside_the_folder_is_no_map_of_a_card(new):
    edit(new, D, f"map: {MAP}", "map: ../../secret.tsv")
    assert used_maps(new / D) == []


ROWS = st.dictionaries(st.text("abcß ", min_size=1), st.sampled_from(["CL:1\tx", "CL:2\ty"]), max_size=6)


@given(ROWS, ROWS)
def test_rows_added_removed_and_changed_are_exactly_those(tmp_path_factory, before, after):
    folders = []
    for rows in (before, after):
        folder = tmp_path_factory.mktemp("registry") / "datasets"
        folder.mkdir()
        (folder / "one.yaml").write_text("cells: {cell_type: {map: one.tsv}}\n")
        text = "".join(f"{source}\t{rest}\n" for source, rest in rows.items())
        (folder / "one.tsv").write_text("source\tterm\tlabel\n" + text, encoding="utf-8")
        folders.append(folder.parent)
    changes = [change for card in compare(*folders).cards for change in card.maps]
    if before == after:
        assert changes == []
    else:
        [change] = changes
        assert set(change.added) == after.keys() - before.keys()
        assert set(change.removed) == before.keys() - after.keys()
        assert set(change.changed) == {key for key in before.keys() & after.keys() if before[key] != after[key]}


def test_diff_compares_folders_and_prints_lines_or_one_document(old, new):
    edit(new, D, "status: verified", "status: broken")
    result = CliRunner().invoke(main, ["diff", str(old), str(new)])
    assert (result.exit_code, result.stdout, result.stderr) == (
        0,
        "~ tenx-pbmc3k: status verified -> broken\n",
        "1 now broken\n",
    )
    said = json.loads(CliRunner().invoke(main, ["diff", str(old), str(new), "--json"]).stdout)
    assert (said["summary"], said["cards"][0]["status"]) == ("1 now broken", ["verified", "broken"])


def test_diff_inside_a_repository_takes_refs_and_compares_with_what_is_on_disk(old, git, tmp_path, monkeypatch):
    git(tmp_path, "init", "-q")
    for tag in ("v1", "v2"):
        git(tmp_path, "add", "-A")
        git(tmp_path, "commit", "-qm", tag)
        git(tmp_path, "tag", tag)
        edit(
            old,
            D,
            "status: verified" if tag == "v1" else "license: CC-BY-4.0",
            "status: broken" if tag == "v1" else "license: CC0-1.0",
        )
    monkeypatch.chdir(old / "datasets")
    url = f"file://{tmp_path}/.git"
    for arguments, lines in {
        ("v1", "v2"): ["~ tenx-pbmc3k: status verified -> broken"],
        ("v2",): ["~ tenx-pbmc3k: license"],
        ("v1",): ["~ tenx-pbmc3k: license; status verified -> broken"],
        (f"{url}@v2", str(old)): ["~ tenx-pbmc3k: license"],
        (f"{tmp_path}@v1", f"{url}@v2"): ["~ tenx-pbmc3k: status verified -> broken"],
        ("v2", "HEAD"): [],
    }.items():
        result = CliRunner().invoke(main, ["diff", *arguments])
        assert (result.exit_code, result.stdout.splitlines()) == (0, lines), arguments
    result = CliRunner().invoke(main, ["diff", "v3"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert "has no branch, tag or commit 'v3'" in result.stderr
