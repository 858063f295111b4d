"""`cellzoo check --fix`: what is mechanical is mended, at its place, and nothing else is touched."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cellzoo.ci.check import check_registry
from cellzoo.ci.edits import apply
from cellzoo.ci.fix import fix
from cellzoo.ci.rules import RULES
from cellzoo.cli import main
from cellzoo.errors import Edit, Finding, InputError, WorldError
from cellzoo.registry.catalogue import Registry

CARD, MAP = "datasets/blood.yaml", "datasets/blood.cell_type.tsv"

# file, what is right, what is written instead: mending gives back what is right, to the byte
THERE_AND_BACK = {
    "TERM002 in a card": (CARD, "label: blood}", "label: Blood}"),
    "TERM002 in a card, quoted": (CARD, "label: blood}", "label: 'the blood'}"),
    "TERM002 in a map": (MAP, "\tB cell", "\tB lymphocytes"),
    "TERM001 in a map": (MAP, "CL:0000084\tT cell", "CL:0000084\tT-cell"),
    "MAP005": (MAP, "CL:0000084\tT cell\t", " CL:0000084\tT cell \t"),
    "TEXT001 in a card": (CARD, "license: CC-BY-4.0\n", "license: CC-BY-4.0\r\n"),
    "TEXT001 in a map": (MAP, "source", "\ufeffsource"),
    "TEXT001 twice in a map": (MAP, "source", "\ufeff\ufeffsource"),
    "TEXT001 in a map with line ends": (MAP, "T cell\t\n", "T cell\t\r\n"),
    "TEXT002 in a card": (CARD, "license: CC-BY-4.0\n", "license: CC-BY-4.0 \t\n"),
    "TEXT002 in a map": (MAP, "kinds\n", "kinds"),
    "CARD003 in a digest": (CARD, "a" * 64, "A" * 64),
    "CARD003 in a DOI": (CARD, "doi: 10.1000/blood", "doi: https://doi.org/10.1000/blood"),
    "CARD007": (CARD, "schema_version: 2", "schema_version: 1"),
    "CARD008": (CARD, "# yaml-language-server: $schema=../../schema/dataset-card.schema.json\n", ""),
    "CARD008 that leads elsewhere": (CARD, "../../schema/dataset-card", "../../../schema/model-card"),
    "LICENSE002": (CARD, "CC-BY-4.0", "cc-by-4.0"),
    "several in a line": (CARD, "{term: UBERON:0000178, label: blood}", "{term: UBERON:0000178, label: Blood} "),
}
# what is written, what it becomes
BECOMES = {
    "an obsolete term in a card": (
        CARD,
        "{term: UBERON:0000178, label: blood}",
        "{term: UBERON:0000027, label: x}",
        "{term: UBERON:0001466, label: pedal digit}",
    ),
    "an obsolete term in a map": (MAP, "CL:0000084\tT cell", "CL:0000003\tnative cell", "CL:0000000\tcell"),
    "an obsolete term whose successor is obsolete too": (
        CARD,
        "{term: PATO:0000461, label: normal}",
        "{term: MONDO:0000121, label: obsolete emphysema}",
        "{term: MONDO:0004849, label: pulmonary emphysema}",
    ),
    "no licence": (CARD, "CC-BY-4.0", "NOASSERTION", "unknown"),
    "layers of their own": (
        CARD,
        "schema_version: 2",
        "schema_version: 1",
        "schema_version: 2",
    ),
}
LEFT_ALONE = {
    "a label of another term": (CARD, "label: blood}", "label: lung}"),
    "an obsolete term without a successor": (MAP, "CL:0000084\tT cell", "CL:0000144\tx"),
    "an obsolete term whose successor the field does not take": (MAP, "CL:0000084\tT cell", "CL:0017505\tx"),
    "a term that there is not": (MAP, "CL:0000084", "CL:84"),
    "a tab that indents": (CARD, "  format", "\tformat"),
    "a key twice": (CARD, "license: CC-BY-4.0", "license: CC-BY-4.0\nlicense: MIT"),
    "an id that is not the file name": (CARD, "id: blood", "id: bloods"),
}


def mend(root: Path) -> tuple[list[Finding], list[Finding]]:
    return fix(lambda: check_registry(Registry((root,))))


@pytest.mark.parametrize(("name", "right", "wrong"), THERE_AND_BACK.values(), ids=THERE_AND_BACK.keys())
def test_what_is_only_written_otherwise_is_written_right_again(root, change, name, right, wrong):
    before = (root / name).read_bytes()
    path = change(name, right, wrong)
    mended, left = mend(root)
    assert mended and not left
    assert path.read_bytes() == before
    assert mend(root) == ([], [])
    assert not [one for one in path.parent.iterdir() if one.name.startswith(".")]


@pytest.mark.parametrize(("name", "right", "wrong", "becomes"), BECOMES.values(), ids=BECOMES.keys())
def test_what_has_one_answer_becomes_it(root, change, name, right, wrong, becomes):
    before = (root / name).read_text()
    path = change(name, right, wrong)
    mended, _ = mend(root)
    assert mended
    assert path.read_text() == before.replace(right, becomes)


@pytest.mark.parametrize(("name", "right", "wrong"), LEFT_ALONE.values(), ids=LEFT_ALONE.keys())
def test_what_takes_a_person_is_left_alone(root, change, name, right, wrong):
    path = change(name, right, wrong)
    before = path.read_bytes()
    mended, left = mend(root)
    assert (mended, path.read_bytes()) == ([], before)
    assert left and not any(finding.edits for finding in left)


def test_an_upgrade_keeps_comments_and_order(root, change):
    change(CARD, "schema_version: 2", "schema_version: 1")
    path = change(CARD, "counts: {kind: umi}", "counts: {layer: raw, kind: umi} # as in the file")
    mended, left = mend(root)
    assert [finding.code for finding in mended] == ["CARD007"] and not left
    text = path.read_text()
    assert re.search(r"^layers:\n  counts: raw\ncounts: {kind: umi} +# as in the file$", text, re.MULTILINE)
    assert "label: normal} # as the study says" in text


def test_a_value_that_ends_in_blanks_keeps_them(root, change):
    path = change(CARD, "title: Blood of one donor", "title: Blood\nnotes: |\n  two blanks  \n  end")
    before = path.read_bytes()
    assert mend(root) == ([], [])
    assert path.read_bytes() == before


def test_an_edit_that_does_not_help_is_taken_back(root):
    path = root / CARD
    before = path.read_bytes()

    def worse() -> list[Finding]:
        bad = Finding(str(path), 1, 1, "CARD008", "x.", edits=(Edit((1, 1), (1, 3), "{"),))
        broken = Finding(str(path), 1, 1, "CARD002", "x.")
        return [bad] if path.read_bytes() == before else [broken]

    mended, left = fix(worse)
    assert (mended, [finding.code for finding in left]) == ([], ["CARD008"])
    assert path.read_bytes() == before


def test_what_was_mended_is_said_once_though_a_file_takes_several_rounds(root, change):
    change(MAP, "\tB cell", "\tB lymphocytes")
    change(MAP, "kinds\n", "kinds")
    mended, left = mend(root)
    assert (sorted(finding.code for finding in mended), left) == (["TERM002", "TEXT002"], [])


def test_of_edits_that_overlap_the_first_holds():
    edits = [
        Edit((1, 3), (1, 5), "XY"),
        Edit((1, 4), (2, 2), "Z"),
        Edit((2, 1), (2, 1), "+"),
        Edit((1, 3), (1, 5), "XY"),
    ]
    assert apply("abcd\nef", edits) == "abXY\n+ef"
    assert apply("abcd\nef", []) == "abcd\nef"


def test_a_link_is_not_written_through(root):
    outside = root.parent / "outside.yaml"
    (root / CARD).rename(outside)
    outside.write_text(outside.read_text().replace("CC-BY", "cc-by"))
    before = outside.read_bytes()
    (root / CARD).symlink_to(outside)
    assert mend(root)[0] == []
    assert outside.read_bytes() == before


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.sampled_from([row[:3] for row in [*THERE_AND_BACK.values(), *BECOMES.values(), *LEFT_ALONE.values()]]),
        max_size=5,
    )
)
def test_mending_twice_is_mending_once_and_leaves_fewer_findings(root, rows):
    kept = {name: (root / name).read_bytes() for name in (CARD, MAP)}
    for name, right, wrong in rows:
        content = (root / name).read_bytes()
        (root / name).write_bytes(content.replace(right.encode(), wrong.encode(), 1))
    try:
        first = check_registry(Registry((root,)))
        mended, left = mend(root)
        after = {name: (root / name).read_bytes() for name in kept}
        assert (len(left) < len(first)) == bool(mended) or any(one.code in {"TEXT001", "CARD003"} for one in mended)
        assert not any(finding.edits for finding in left)
        assert mend(root) == ([], left)
        assert {name: (root / name).read_bytes() for name in kept} == after
        assert check_registry(Registry((root,))) == left
    finally:
        for name, content in kept.items():
            (root / name).write_bytes(content)


def test_every_rule_that_says_it_is_fixable_is_mended_by_a_test_above():
    tables = {*THERE_AND_BACK, "TERM001", "LICENSE001"}
    assert {name.split()[0] for name in tables if name[0].isupper()} == {
        code for code, rule in RULES.items() if rule.fixable
    }


def test_the_command_says_what_it_mended_and_what_is_left(root, change):
    change(CARD, "CC-BY-4.0", "cc-by-4.0")
    change(MAP, "CL:0000084", "CL:84")
    result = CliRunner().invoke(main, ["check", "--registry", str(root), "--fix"])
    assert result.exit_code == 1
    assert result.stderr.startswith(f"mended: {root / CARD}:6:1: warning LICENSE002: ")
    assert result.stderr.endswith("1 error, 0 warnings\n")
    assert result.stdout.startswith(f"{root / MAP}:3:3: error TERM001: ")


def test_a_folder_that_cannot_be_written_is_the_worlds_fault(root, change, monkeypatch):
    change(CARD, "CC-BY-4.0", "cc-by-4.0")
    monkeypatch.setattr("tempfile.mkstemp", lambda **_: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    with pytest.raises(WorldError, match="Permission denied"):
        mend(root)


def test_a_version_of_a_repository_in_the_cache_is_not_written(root, change, monkeypatch):
    path = change(CARD, "CC-BY-4.0", "cc-by-4.0")
    before = path.read_bytes()
    monkeypatch.setenv("CELLZOO_HOME", str(root.parent))
    with pytest.raises(InputError, match="clone it and mend it there"):
        mend(root)
    assert path.read_bytes() == before
