"""The check of a registry: what a careful curator would find, with line and remedy."""

import json
import shutil

import pytest
from click.testing import CliRunner

from cellzoo.ci.check import check_card, check_registry
from cellzoo.cli import main
from cellzoo.registry.catalogue import PACKAGED, open_registry

CARD, MAP = "tenx-pbmc3k.yaml", "tenx-pbmc3k.cell_type.tsv"


@pytest.fixture
def copy(tmp_path):
    """Return the folder of a copy of two of the packaged cards."""
    others = shutil.ignore_patterns("[!ot]*.yaml", "[!ot]*.tsv")
    shutil.copytree(PACKAGED, tmp_path / "cards", ignore=others)
    return tmp_path / "cards" / "datasets"


@pytest.fixture
def change(copy):
    """Replace some text in one file of the copy."""

    def change(name, old, new):
        text = (copy / name).read_text()
        assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in {name}"
        (copy / name).write_text(text.replace(old, new))

    return change


def run(*args):
    return CliRunner().invoke(main, ["check", *map(str, args)])


def test_the_packaged_registry_has_no_findings():
    assert check_registry(open_registry()) == []


CHANGED = {
    "obsolete term in a card": (
        CARD,
        "{term: UBERON:0000178, label: blood}",
        "{term: UBERON:0000027, label: x}",
        ("TERM001", 29, 12, "tissue: UBERON:0000027 (", ") is obsolete."),
        "Use UBERON:0001466.",
    ),
    "obsolete term in a label map": (
        MAP,
        "CL:0000236\tB cell",
        "CL:0000003\tnative cell",
        ("TERM001", 5, 3, "cell_type: CL:0000003 (obsolete native cell", "is obsolete."),
        "Use CL:0000000.",
    ),
    "obsolete term without a successor": (
        MAP,
        "CL:0000236\tB cell",
        "CL:0000144\tx",
        ("TERM001", 5, 3, "cell_type: CL:0000144 (", "is obsolete."),
        "Choose a current term.",
    ),
    "wrong label in a card": (
        CARD,
        "label: blood",
        "label: plasma",
        ("TERM002", 29, 12, "tissue: the label of UBERON:0000178 is 'blood', the file says 'plasma'.", ""),
        "Correct id or label.",
    ),
    "label in another case": (
        CARD,
        "label: blood",
        "label: Blood",
        ("TERM002", 29, 12, "is 'blood', the file says 'Blood'", ""),
        "Correct id or label.",
    ),
    "wrong label in a label map": (
        MAP,
        "CL:0000236\tB cell",
        "CL:0000236\tT cell",
        ("TERM002", 5, 3, "cell_type: the label of CL:0000236 is 'B cell', the file says 'T cell'.", ""),
        "Correct id or label.",
    ),
    "a word with a label": (
        MAP,
        "CL:0000236\tB cell",
        "unknown\tB cell",
        ("TERM002", 5, 3, "cell_type: unknown is not labelled 'B cell'.", ""),
        "Write 'unknown'.",
    ),
    "term of another ontology": (
        CARD,
        "{term: UBERON:0000178, label: blood}",
        "{term: CL:0000236, label: B cell}",
        (
            "TERM003",
            29,
            12,
            "tissue: CL:0000236 (B cell) is not allowed as tissue: expected a descendant of UBERON",
            "",
        ),
        "",
    ),
    "term that is no assay": (
        CARD,
        "{term: EFO:0009901, label: 10x 3' v1}",
        "{term: EFO:0000001, label: experimental factor}",
        ("TERM003", 30, 11, "assay: EFO:0000001 (experimental factor) is not allowed as assay", ""),
        "",
    ),
    "term too general to say anything": (
        MAP,
        "CL:0000236\tB cell",
        "CL:0000255\teukaryotic cell",
        ("TERM003", 5, 3, "cell_type: CL:0000255 (eukaryotic cell) is forbidden as cell_type.", ""),
        "",
    ),
    "stage of another organism": (
        CARD,
        "  donor_id:",
        "  development_stage: {term: MmusDv:0000134, label: late adult stage}\n  donor_id:",
        (
            "TERM003",
            33,
            23,
            "development_stage: MmusDv:0000134 (late adult stage) is not allowed as development_stage",
            "",
        ),
        "",
    ),
    "unknown term in a card": (
        CARD,
        "UBERON:0000178",
        "UBERON:9999999",
        ("TERM001", 29, 12, "tissue: 'UBERON:9999999' is no term of UBERON", ""),
        "",
    ),
    "unknown term in a label map": (
        MAP,
        "CL:0000236\t",
        "CL:236\t",
        ("TERM001", 5, 3, "cell_type: 'CL:236' is no term of CL", "; nearest 'B cell' (CL:0000236)."),
        "",
    ),
    "unknown ontology": (
        MAP,
        "CL:0000236\t",
        "XYZ:0000236\t",
        ("TERM001", 5, 3, "cell_type: no ontology 'XYZ' is packaged; there are ", ""),
        "",
    ),
    "words in place of a term": (
        MAP,
        "CL:0000236\t",
        "B cell\t",
        ("TERM001", 5, 3, "cell_type: 'B cell' is no term id; expected PREFIX:NUMBER", ""),
        "",
    ),
    "label map that is missing": (
        CARD,
        "map: tenx-pbmc3k.cell_type.tsv",
        "map: absent.tsv",
        ("MAP001", 31, 35, "cells.cell_type.map: there is no file absent.tsv beside the card.", ""),
        "",
    ),
    "label map with a broken line": (MAP, "\tB cell", "", ("MAP001", 5, 1, "expected 3 fields", ""), ""),
    "label mapped twice": (MAP, "DC\t", "B\t", ("MAP002", 9, 1, "label 'B' is mapped twice", ""), "Keep one of them."),
    "unknown key": (
        CARD,
        "license:",
        "licence: x\nlicense:",
        ("CARD003", 5, 1, "licence: unknown key.", ""),
        "Remove it or correct its spelling.",
    ),
    "unknown kind of tissue": (
        CARD,
        "  donor_id:",
        "  tissue_type: {value: culture}\n  donor_id:",
        ("CARD005", 33, 17, "cells.tissue_type: 'culture' is not one of tissue, organoid, primary cell culture", ""),
        "",
    ),
    "unknown kind of suspension": (
        CARD,
        "  donor_id:",
        "  suspension_type: {value: nuclei}\n  donor_id:",
        ("CARD005", 33, 21, "cells.suspension_type: 'nuclei' is not one of cell, nucleus, na.", ""),
        "",
    ),
    "a tissue for a cell line": (
        CARD,
        "  donor_id:",
        "  tissue_type: {value: cell line}\n  donor_id:",
        ("TERM003", 29, 12, "tissue: 'UBERON:0000178' is no Cellosaurus id", ""),
        "",
    ),
}


@pytest.mark.parametrize(("name", "old", "new", "expected", "remedy"), CHANGED.values(), ids=CHANGED.keys())
def test_one_mistake_is_one_finding_at_its_place(copy, change, name, old, new, expected, remedy):
    change(name, old, new)
    code, line, column, start, end = expected
    findings = check_registry(open_registry(copy.parent))
    [finding] = [one for one in findings if one.severity == "error"]
    assert finding.path == str(copy / name)
    assert (finding.line, finding.column) == (line, column)
    assert finding.code == code
    assert start in finding.message and finding.message.endswith(end or ".")
    assert finding.remedy == remedy


def test_a_label_map_that_no_card_uses_is_a_warning(copy):
    (copy / "left-over.tsv").write_text("source\tterm\tlabel\n")
    [finding] = check_registry(open_registry(copy.parent))
    assert str(finding) == (
        f"{copy / 'left-over.tsv'}: warning MAP004: no card uses this label map. Remove it, or name it in a card."
    )
    assert run("--registry", copy.parent).exit_code == 0


def test_all_mistakes_of_a_registry_come_at_once_sorted_by_place(copy, change):
    change(CARD, "label: blood", "label: Blood")
    change(CARD, "label: normal", "label: healthy")
    change(MAP, "\tB cell", "\tB-cell")
    change(MAP, "\tplatelet", "\tthrombocyte")
    (copy / "onek1k-subset.yaml").write_text("")
    findings = check_registry(open_registry(copy.parent))
    assert [(finding.path.rpartition("/")[2], finding.line, finding.code) for finding in findings] == [
        ("onek1k-subset.yaml", 1, "CARD002"),
        (MAP, 5, "TERM002"),
        (MAP, 10, "TERM002"),
        (CARD, 29, "TERM002"),
        (CARD, 32, "TERM002"),
    ]


def test_only_the_cards_asked_for_are_looked_at(copy, change):
    change(CARD, "label: blood", "label: Blood")
    change("onek1k-subset.yaml", "label: blood", "label: Blood")
    (copy / "left-over.tsv").write_text("source\tterm\tlabel\n")
    registry = open_registry(copy.parent)
    assert {finding.path for finding in check_registry(registry, [copy / CARD])} == {str(copy / CARD)}
    assert check_card(copy / "onek1k-subset.yaml")[0].path == str(copy / "onek1k-subset.yaml")


def test_the_command_is_quiet_and_good_where_there_is_nothing_to_say():
    result = run()
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "0 errors, 0 warnings\n")


def test_the_command_prints_findings_and_fails(copy, change):
    change(MAP, "\tB cell", "\tT cell")
    for args in (["--registry", copy.parent], [copy / CARD], [copy / CARD, copy / CARD]):
        result = run(*args)
        assert result.exit_code == 1
        assert result.stdout == (
            f"{copy / MAP}:5:3: error TERM002: cell_type: the label of CL:0000236 is 'B cell', the file says 'T cell'. "
            "Correct id or label.\n"
        )
        assert result.stderr == "1 errors, 0 warnings\n"


def test_the_command_prints_one_json_document(copy, change):
    assert json.loads(run("--format", "json").stdout) == []
    change(MAP, "\tB cell", "\tT cell")
    result = run("--format", "json", copy / CARD)
    assert (result.exit_code, result.stderr) == (1, "")
    assert json.loads(result.stdout) == [
        {
            "path": str(copy / MAP),
            "line": 5,
            "column": 3,
            "code": "TERM002",
            "message": "cell_type: the label of CL:0000236 is 'B cell', the file says 'T cell'.",
            "remedy": "Correct id or label.",
            "severity": "error",
        }
    ]


def test_the_command_names_what_is_not_there(tmp_path):
    result = run(tmp_path / "absent.yaml")
    assert result.exit_code == 1
    assert result.stdout.startswith(f"{tmp_path / 'absent.yaml'}: error CARD001: cannot be read as UTF-8 text: ")
    result = run("--registry", tmp_path)
    assert result.exit_code == 1
    assert result.stderr == f"Error: {tmp_path}: is not a registry: it has no folder datasets/ with cards.\n"
