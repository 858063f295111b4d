"""Mechanical changes of a file: found at the place of a value, applied without touching anything else."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import yaml

from cellzoo.errors import Edit
from cellzoo.registry.upgrade import upgrade

PLAIN = re.compile(r"(?!(?:null|true|false|[\d.e+-]+)$)[A-Za-z0-9](?:[\w '()/.+\-]|:(?=\w))*(?<! )", re.IGNORECASE)
"""Words that YAML 1.2 takes as they are, in lists and mappings on one line too."""


def scalar(text: str, location: Sequence[str | int], value: str) -> tuple[Edit, ...]:
    """Return the edit that puts another word at a location of a YAML text; none where it does not stand on one line."""
    with suppress(yaml.YAMLError, LookupError, TypeError):
        node: Any = yaml.compose(text, Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader))  # noqa: S506 (nodes only)
        for part in location:
            node = _child(node, part)
        start, end = node.start_mark, node.end_mark
        if isinstance(node, yaml.ScalarNode) and start.line == end.line and node.style in {None, "", "'", '"'}:
            stands = text.split("\n")[start.line][start.column : end.column]
            if stands.strip("'\"").replace("''", "'") == node.value:
                return (Edit((start.line + 1, start.column + 1), (end.line + 1, end.column + 1), quoted(value)),)
    return ()


def _child(node: yaml.Node | None, part: str | int) -> yaml.Node:
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int):
        return node.value[part]  # type: ignore[no-any-return]
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == part:
                return value  # type: ignore[no-any-return]
    raise LookupError(part)


def quoted(value: str) -> str:
    """Return a word as YAML has it, in quotes where it needs them.

    >>> quoted("10x 3' v2"), quoted("a, b"), quoted("CL:0000236"), quoted("null"), quoted("12e4")
    ("10x 3' v2", "'a, b'", 'CL:0000236', "'null'", "'12e4'")
    """
    return value if PLAIN.fullmatch(value) else "'" + value.replace("'", "''") + "'"


def cell(text: str, line: int, column: int, old: str, new: str) -> tuple[Edit, ...]:
    """Return the edit of a piece of a line; none where ``old`` does not stand there."""
    lines = text.split("\n")
    if 0 < line <= len(lines) and lines[line - 1][column - 1 : column - 1 + len(old)] == old:
        return (Edit((line, column), (line, column + len(old)), new),)
    return ()


def whole(old: str, new: str) -> tuple[Edit, ...]:
    """Return the edit that changes a text as a whole; none where nothing changes."""
    lines = old.split("\n")
    return (Edit((1, 1), (len(lines), len(lines[-1]) + 1), new),) if old != new else ()


def upgraded(text: str) -> tuple[tuple[Edit, ...], list[str]]:
    """Return the edit that brings a card to today's schema, comments and order kept, and what it does in words."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    writer = YAML()
    writer.preserve_quotes, writer.width = True, 1_000_000
    writer.indent(mapping=2, sequence=4, offset=2)
    try:
        card = writer.load(text)
        said = upgrade(card)
        stream = io.StringIO()
        writer.dump(card, stream)
    except (YAMLError, ValueError, TypeError, AttributeError, LookupError):
        return (), []
    return whole(text, stream.getvalue()), said


def apply(text: str, edits: Sequence[Edit]) -> str:
    """Return a text after those edits that do not overlap an earlier one of the list."""
    starts = [0]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)

    def offset(place: tuple[int, int]) -> int:
        return starts[place[0] - 1] + place[1] - 1

    taken: list[tuple[int, int, str]] = []
    for edit in edits:
        first, last = offset(edit.start), offset(edit.end)
        if all(last <= start or end <= first for start, end, _ in taken) and (first, last, edit.text) not in taken:
            taken.append((first, last, edit.text))
    for first, last, new in sorted(taken, reverse=True):
        text = text[:first] + new + text[last:]
    return text
