"""Findings as people, GitHub and other tools read them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from cellzoo.ci.report import FORMATS, render
from cellzoo.ci.rules import RULES, page
from cellzoo.cli import main
from cellzoo.errors import Edit, Finding

TOP = Path("/zoo")
WARNING = Finding("/zoo/cards/a,b.yaml", 0, 0, "MAP004", "no card uses this label map.", "Remove it.", "warning")
ERROR = Finding(
    "/zoo/cards/x.yaml", 3, 7, "CARD003", "100%: not\r\nso | <b>.", "Mend: it.", edits=(Edit((3, 1), (3, 4), "new"),)
)
FINDINGS = [WARNING, ERROR]


def run(*args: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, ["check", *map(str, args)])
    return result.exit_code, result.stdout, result.stderr


def test_github_sees_errors_first_escaped_and_relative_to_the_repository():
    assert render(FINDINGS, "github", TOP).splitlines() == [
        "::error file=cards/x.yaml,line=3,col=7,title=CARD003::100%25: not%0D%0Aso | <b>. Mend: it.",
        "::warning file=cards/a%2Cb.yaml,title=MAP004::no card uses this label map. Remove it.",
    ]


def test_json_is_one_list_of_flat_objects():
    assert json.loads(render([ERROR], "json", TOP)) == [
        {
            **{"path": "/zoo/cards/x.yaml", "line": 3, "column": 7, "code": "CARD003", "severity": "error"},
            **{"message": ERROR.message, "remedy": "Mend: it.", "fixable": True},
        }
    ]
    assert json.loads(render([], "json", TOP)) == []


def test_text_is_a_line_that_editors_can_follow(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    near = Finding(str(tmp_path / "x.yaml"), 3, 7, "CARD003", "not so.", "Mend it.")
    assert render([near, WARNING], "text", TOP).splitlines() == [
        "x.yaml:3:7: error CARD003: not so. Mend it.",
        "/zoo/cards/a,b.yaml: warning MAP004: no card uses this label map. Remove it.",
    ]


def test_sarif_has_what_github_needs():
    """Fields that GitHub's documentation of SARIF support calls required, and indices that fit."""
    sarif = json.loads(render(FINDINGS, "sarif", TOP))
    assert sarif["version"] == "2.1.0" and sarif["$schema"].endswith("sarif-schema-2.1.0.json")
    [run] = sarif["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert run["tool"]["driver"]["name"] == "cellzoo"
    assert {rule["id"] for rule in rules} == set(RULES)
    for rule in rules:
        assert rule["shortDescription"]["text"] and rule["fullDescription"]["text"] and rule["help"]["text"]
        assert rule["defaultConfiguration"]["level"] in {"error", "warning"}
    for result, finding in zip(run["results"], FINDINGS, strict=True):
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"] == finding.code
        assert result["level"] == finding.severity
        assert finding.message in result["message"]["text"]
        [place] = result["locations"]
        assert not place["physicalLocation"]["artifactLocation"]["uri"].startswith("/")
        assert place["physicalLocation"]["region"]["startLine"] >= 1
    assert "fixes" not in run["results"][0]
    [change] = run["results"][1]["fixes"][0]["artifactChanges"]
    assert change["replacements"] == [
        {
            "deletedRegion": {"startLine": 3, "startColumn": 1, "endLine": 3, "endColumn": 4},
            "insertedContent": {"text": "new"},
        }
    ]


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_gives_the_same_verdict(root, change, form):
    assert run("--registry", root, "--format", form)[0] == 0
    change("datasets/blood.cell_type.tsv", "of three kinds", "")
    code, out, err = run("--registry", root, "--format", form)
    assert (code, err) == (0, "0 errors, 1 warning\n")
    assert "MAP006" in out
    change("datasets/blood.yaml", "CC-BY-4.0", "freeware")
    code, out, err = run("--registry", root, "--format", form)
    assert (code, err) == (1, "1 error, 1 warning\n")
    assert "LICENSE001" in out


def test_the_summary_of_a_step_lists_everything(root, change, tmp_path, monkeypatch):
    summary = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    change("datasets/blood.yaml", "CC-BY-4.0", "<b>|free")
    run("--registry", root, "--format", "github")
    assert "1 error, 0 warnings" in summary.read_text()
    assert "| error | LICENSE001 | " in summary.read_text()
    assert "'&lt;b>\\|free'" in summary.read_text()


def test_the_command_is_quiet_where_there_is_nothing_to_say(root):
    assert run("--registry", root) == (0, "", "0 errors, 0 warnings\n")


def test_a_label_map_is_checked_with_the_card_that_uses_it(root, change):
    path = change("datasets/blood.cell_type.tsv", "\tB cell", "\tblood")
    for named in (path, root / "datasets/blood.yaml", root / "datasets", root):
        code, out, _ = run(named)
        assert code == 1
        assert re.search(r"blood\.cell_type\.tsv:2:14: error TERM002: ", out)
    assert run(root / "collections/census.yaml")[0] == 0


def test_what_is_not_there_is_a_finding_and_what_is_no_registry_an_error(tmp_path):
    code, out, _ = run(tmp_path / "absent.yaml")
    assert code == 1 and out.startswith(f"{tmp_path}/absent.yaml: error CARD001: cannot be read: ")
    code, out, err = run("--registry", tmp_path)
    assert (code, out) == (1, "") and "is not a registry" in err


@pytest.mark.parametrize(
    ("args", "code"), [(["--explain", "CARD003"], 0), (["--explain", "CARD999"], 1), (["--format", "x"], 2)]
)
def test_exit_codes_of_the_command(args, code):
    assert run(*args)[0] == code


def test_a_code_is_explained_and_a_misspelled_one_is_answered():
    assert run("--explain", "term001")[1].startswith("### TERM001: no such term, or an obsolete one\n")
    assert "nearest 'CARD003'" in run("--explain", "CARDOO3")[2]


def test_the_page_of_codes_is_up_to_date():
    text = (Path(__file__).parents[2] / "docs" / "checks.md").read_text()
    assert text == page(), "python -m cellzoo.ci.rules > docs/checks.md"
    assert all(f"### {code}: " in text for code in RULES)
