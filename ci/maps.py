"""What is wrong with a label map: its form, and each of its terms in the field it stands for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import yaml

from cellzoo.ci.edits import cell, whole
from cellzoo.ci.sources import Sources
from cellzoo.ci.terms import Context, Verdict, judge
from cellzoo.errors import Edit, Finding
from cellzoo.registry.cards import SUGGESTED, LabelMap
from cellzoo.registry.fields import UNKNOWN

SAYS_UNKNOWN = re.compile(
    r"unknown|unassigned|undefined|unclassified|unclear|ambiguous|doublet|^na$|^nan$|^none$|\bother\b", re.I
)
"""Labels that say themselves that they mean no cell type."""


def check_map(
    path: Path, field: str, groups: list[tuple[Context, ...]], strict: bool, sources: Sources
) -> Iterator[Finding]:
    """Yield the findings in a label map of a field in some contexts; ``strict`` wants a note on what is unknown."""
    yield from check_rows(path, sources)
    label_map, _ = sources.map(path)
    if label_map is None:
        return
    text = sources.bytes(path).decode()
    for source in label_map.terms:
        yield from _row(label_map, source, field, groups, strict, text)


def check_rows(path: Path, sources: Sources) -> Iterator[Finding]:
    """Yield what is wrong with a label map whoever uses it."""
    _, findings = sources.map(path)
    yield from findings
    if all(finding.line for finding in findings):  # otherwise it is too large, a link, or not there
        with suppress(UnicodeDecodeError):
            yield from check_text(path, sources.bytes(path).decode())


def check_text(path: Path, text: str) -> Iterator[Finding]:
    """Yield what is wrong with the line ends of a file, whatever it says."""
    tidy = text.lstrip("\ufeff").replace("\r\n", "\n").rstrip("\n") + "\n"
    if not text:
        return
    if text.startswith("\ufeff"):
        message = "starts with a byte order mark."
        yield Finding(str(path), 1, 1, "TEXT001", message, "Save it as UTF-8 without one.", edits=whole(text, tidy))
    elif "\r\n" in text:
        at = text.count("\n", 0, text.index("\r\n")) + 1
        message = "has line ends of Windows, so that its digest is another one there."
        yield Finding(str(path), at, 0, "TEXT001", message, "Save it with line ends of Unix.", edits=whole(text, tidy))
    else:
        if path.suffix == ".yaml":
            tidy = _trimmed(tidy)
        if tidy != text:
            lines = zip(text.split("\n"), [*tidy.split("\n"), *[""] * text.count("\n")], strict=False)
            at = next((number for number, (old, new) in enumerate(lines, 1) if old != new), text.count("\n") + 1)
            message = "has blanks at the end of a line, or not one line end at the end of the file."
            yield Finding(str(path), at, 0, "TEXT002", message, "Remove them.", "warning", whole(text, tidy))


def _trimmed(text: str) -> str:
    """Return a YAML text without blanks at the ends of lines, as it is where they are part of a value."""
    trimmed = "\n".join(line.rstrip(" \t") for line in text.split("\n"))
    if trimmed == text:
        return text
    load = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    return trimmed if yaml.load(trimmed, load) == yaml.load(text, load) else text  # noqa: S506 (texts only)


def misjudged(verdict: Verdict, name: str, path: str, line: int, column: int, edits: tuple[Edit, ...]) -> Finding:
    """Return a verdict on a term as a finding at its place."""
    message = f"{name}: {verdict.message}"
    return Finding(path, line, column, verdict.code, message, verdict.remedy, "error", edits)


def _row(
    label_map: LabelMap, source: str, name: str, groups: list[tuple[Context, ...]], strict: bool, text: str
) -> Iterator[Finding]:
    path, line = str(label_map.path), label_map.lines[source]
    stated = label_map.terms[source], label_map.labels[source]
    term, label = (part.strip() for part in stated)
    at_term = len(source) + 2
    at_label = at_term + len(stated[0]) + 1
    if (term, label) != stated:
        message = f"there are blanks around the term or the label of {source!r}."
        edits = cell(text, line, at_term, "\t".join(stated), f"{term}\t{label}")
        yield Finding(path, line, at_term, "MAP005", message, "Remove them.", "error", edits)
        return
    verdict = next((bad for group in groups if (bad := judge(name, term, label, group))), None)
    if verdict:
        if verdict.term:
            edits = cell(text, line, at_term, f"{term}\t{label}", f"{verdict.term}\t{verdict.label}")
        else:
            edits = cell(text, line, at_label, label, verdict.label) if verdict.label else ()
        yield misjudged(verdict, name, path, line, at_label if verdict.code == "TERM002" else at_term, edits)
    elif strict and term == UNKNOWN and source not in label_map.notes and not SAYS_UNKNOWN.search(source):
        message = f"{name}: {source!r} is mapped to unknown without a note."
        yield Finding(path, line, at_term, "MAP006", message, "Say in a column note why.", "warning")
    if label_map.notes.get(source, "").startswith(SUGGESTED):
        message = f"{name}: nobody has looked at what was suggested for {source!r}."
        remedy = "Keep or correct the term, then remove the note."
        yield Finding(path, line, at_label + len(label) + 1, "MAP007", message, remedy, "warning")
