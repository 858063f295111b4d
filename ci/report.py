"""Findings as text, JSON, GitHub annotations or SARIF 2.1.0."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cellzoo import __version__
from cellzoo.ci.rules import RULES
from cellzoo.errors import Finding

SARIF = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
FORMATS = ("text", "json", "github", "sarif")


def render(findings: Sequence[Finding], form: str, top: Path) -> str:
    """Return findings in one of `FORMATS`, without a line end; paths in github and sarif are relative to ``top``."""
    text = {"text": as_text, "json": as_json, "github": as_github, "sarif": as_sarif}[form](findings, top)
    return text.encode("utf-8", "backslashreplace").decode()  # a file name may hold what is no character


def summary(findings: Sequence[Finding]) -> str:
    """Return how many errors and warnings there are, and what `--fix` would mend."""
    errors = sum(finding.severity == "error" for finding in findings)
    said = f"{_count(errors, 'error')}, {_count(len(findings) - errors, 'warning')}"
    mendable = sum(bool(finding.edits) for finding in findings)
    return said + (f"; --fix mends {mendable}" if mendable else "")


def as_text(findings: Sequence[Finding], top: Path) -> str:
    """Return a line for each finding, paths relative to the working directory where they lie in it."""
    return "\n".join(str(_placed(finding, Path.cwd())).replace("\n", "\n    ") for finding in findings)


def as_json(findings: Sequence[Finding], top: Path) -> str:
    """Return a JSON list of findings."""
    return json.dumps([finding.as_dict() | {"fixable": bool(finding.edits)} for finding in findings], indent=1)


def as_github(findings: Sequence[Finding], top: Path) -> str:
    """Return workflow commands, errors first: GitHub shows only the first ten of a kind of each step."""
    lines = []
    for finding in sorted(findings, key=lambda one: one.severity != "error"):
        place = _placed(finding, top)
        given = {"file": place.path, "line": place.line, "col": place.column, "title": place.code}
        properties = ",".join(f"{name}={_property(str(value))}" for name, value in given.items() if value)
        message = f"{place.message} {place.remedy}".strip()
        lines.append(f"::{place.severity} {properties}::{_data(message)}")
    return "\n".join(lines)


def as_markdown(findings: Sequence[Finding], top: Path) -> str:
    """Return a table of all findings: the summary of a step, which has no limit of ten."""
    lines = ["### cellzoo check", "", summary(findings), ""]
    if findings:
        lines += ["| | code | place | finding |", "|---|---|---|---|"]
    for finding in sorted(findings, key=lambda one: one.severity != "error"):
        place = _placed(finding, top)
        where = ":".join(str(part) for part in (place.path, place.line, place.column) if part)
        said = f"{place.message} {place.remedy}".strip()
        lines.append("| " + " | ".join(map(_cell, (place.severity, place.code, where, said))) + " |")
    return "\n".join(lines).encode("utf-8", "backslashreplace").decode()


def as_sarif(findings: Sequence[Finding], top: Path) -> str:
    """Return SARIF 2.1.0 with every rule, as GitHub's code scanning reads it."""
    codes = list(RULES)
    rules = [
        {
            "id": code,
            "name": code,
            "shortDescription": {"text": rule.title},
            "fullDescription": {"text": rule.meaning},
            "help": {"text": rule.meaning, "markdown": rule.meaning},
            "defaultConfiguration": {"level": rule.severity},
        }
        for code, rule in RULES.items()
    ]
    results = [_result(_placed(finding, top), codes.index(finding.code)) for finding in findings]
    driver = {"name": "cellzoo", "version": __version__, "rules": rules}
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return json.dumps({"$schema": SARIF, "version": "2.1.0", "runs": [run]}, indent=1)


def _result(finding: Finding, rule: int) -> dict[str, Any]:
    region = {"startLine": max(finding.line, 1)} | ({"startColumn": finding.column} if finding.column else {})
    place = {"artifactLocation": {"uri": Path(finding.path).as_posix()}, "region": region}
    result = {
        "ruleId": finding.code,
        "ruleIndex": rule,
        "level": finding.severity,
        "message": {"text": f"{finding.message} {finding.remedy}".strip()},
        "locations": [{"physicalLocation": place}],
    }
    if finding.edits:
        changes = [
            {
                "deletedRegion": {
                    "startLine": edit.start[0],
                    "startColumn": edit.start[1],
                    "endLine": edit.end[0],
                    "endColumn": edit.end[1],
                },
                "insertedContent": {"text": edit.text},
            }
            for edit in finding.edits
        ]
        description = {"text": finding.remedy or RULES[finding.code].fixable}
        change = {"artifactLocation": place["artifactLocation"], "replacements": changes}
        result["fixes"] = [{"description": description, "artifactChanges": [change]}]
    return result


def _placed(finding: Finding, top: Path) -> Finding:
    path, top = Path(finding.path), top.resolve()
    path = path.parent.resolve() / path.name
    return replace(finding, path=path.relative_to(top).as_posix()) if path.is_relative_to(top) else finding


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _cell(text: str) -> str:
    for old, new in (("&", "&amp;"), ("<", "&lt;"), ("@", "&#64;"), ("|", "\\|"), ("\r", " "), ("\n", " ")):
        text = text.replace(old, new)
    return text
