"""YAML files that still know where each of their values stands.

YAML 1.2: ``no`` and dates are words, duplicate keys are errors. Anchors, tags and deep nesting are refused before
anything is built, so that no file can unfold into more than it is. PyYAML's C parser reads; ruamel.yaml, which keeps
comments, is for the places that write.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cellzoo.errors import CardError, Edit, Finding, Severity
from cellzoo.registry.parts import FORMS

MAX_BYTES = 1_000_000  # a card is a page of text; anything larger is not a card
MAX_DEPTH = 20  # levels of a card, which needs eight

Location = tuple[str | int, ...]
Place = tuple[int, int]


@dataclass(frozen=True)
class Document:
    """A YAML file that still knows where each of its values stands."""

    path: Path
    """The file."""
    data: Any
    """What it says, as plain dicts, lists and scalars."""
    places: dict[Location, Place]
    """Location -> 1-based line and column of its key, or of the item of a list."""

    def position(self, location: Sequence[str | int]) -> Place:
        """Return the 1-based line and column of the value at ``location``, or of the nearest thing above it."""
        for end in range(len(location), 0, -1):
            if (place := self.places.get(tuple(location[:end]))) is not None:
                return place
        return 1, 1

    def finding(  # noqa: PLR0913, PLR0917
        self,
        code: str,
        location: Sequence[str | int],
        message: str,
        remedy: str = "",
        severity: Severity = "error",
        edits: tuple[Edit, ...] = (),
    ) -> Finding:
        """Return a finding at the place of ``location``."""
        return Finding(str(self.path), *self.position(location), code, message, remedy, severity, edits)

    def invalid(self, item: Mapping[str, Any], code: str) -> Finding:
        """Return one pydantic error as a finding at its place."""
        location = list(item["loc"])
        name = dotted(location)
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            return self.finding(code, location, f"{name}: unknown key.", "Remove it or correct its spelling.")
        if item["type"] == "missing":
            return self.finding(code, location, f"{name}: is missing.", "Add it.")
        if words := FORMS.get(item.get("ctx", {}).get("pattern", "")):
            message = f"expected {words}"
        found = "" if isinstance(item["input"], dict | list) else f" (found {item['input']!r})"
        return self.finding(code, location, f"{name + ': ' if name else ''}{message}{found}.")


def dotted(location: Sequence[str | int]) -> str:
    """Return a location as it is written in messages: ``files.0.name``."""
    return ".".join(str(part) for part in location)


def read_yaml(path: Path) -> Document:
    """Return the YAML document in ``path``; `CardError` with the place of what is not one."""
    try:
        if (size := path.stat().st_size) > MAX_BYTES:
            raise CardError([Finding(str(path), 0, 0, "CARD001", f"is {size} bytes; a card has at most {MAX_BYTES}.")])
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        before = error.object[: error.start]
        at = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        message = f"is not UTF-8 text: byte {error.object[error.start]:#x} at offset {error.start}."
        raise CardError([Finding(str(path), *at, "CARD001", message, "Save it as UTF-8.")]) from error
    except OSError as error:
        raise CardError([Finding(str(path), 0, 0, "CARD001", f"cannot be read: {error.strerror or error}.")]) from error
    try:
        _refuse_unbounded(path, text)
        node = yaml.compose(text, Loader=_Loader)  # noqa: S506 (nodes only: nothing is constructed)
    except yaml.YAMLError as error:
        raise CardError([_malformed(path, text, error)]) from error
    if not isinstance(node, yaml.MappingNode):
        kind = "nothing" if node is None else "a list" if isinstance(node, yaml.SequenceNode) else repr(node.value)
        raise CardError([Finding(str(path), 1, 1, "CARD002", f"holds {kind}, expected key: value.")])
    builder = _Builder(path)
    data = builder.build(node, ())
    if builder.findings:
        raise CardError(builder.findings)
    return Document(path, data, builder.places)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """The fast parser with the types of YAML 1.2 alone."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 (PyYAML's way to have none of its own)


_BOOL, _INT, _FLOAT, _NULL, _STR = (f"tag:yaml.org,2002:{kind}" for kind in ("bool", "int", "float", "null", "str"))
_COLLECTIONS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")
_Loader.add_implicit_resolver(_NULL, re.compile(r"^(?:null|Null|NULL|~|)$"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver(_BOOL, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_Loader.add_implicit_resolver(_INT, re.compile(r"^[-+]?[0-9]{1,18}$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    _FLOAT,
    re.compile(r"^[-+]?(?:\.[0-9]{1,18}|[0-9]{1,18}(?:\.[0-9]{0,18})?)(?:[eE][-+]?[0-9]{1,3})?$"),
    list("-+.0123456789"),
)


class _Builder:
    """Plain values and their places out of the nodes of a parser."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.places: dict[Location, Place] = {}
        self.findings: list[Finding] = []

    def build(self, node: yaml.Node, location: Location) -> Any:
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, location)
        if isinstance(node, yaml.SequenceNode):
            for at, item in enumerate(node.value):
                self.places[(*location, at)] = _place(item)
            return [self.build(item, (*location, at)) for at, item in enumerate(node.value)]
        text: str = node.value
        if node.tag == _BOOL:
            return text[0] in "tT"
        if node.tag in {_INT, _FLOAT}:
            return (int if node.tag == _INT else float)(text)
        return None if node.tag == _NULL else text

    def _mapping(self, node: yaml.MappingNode, location: Location) -> dict[str, Any]:
        built: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._found(key, "a key must be a word, not a list or a mapping.")
                continue
            name: str = key.value
            if name in built:
                first = self.places[(*location, name)][0]
                self._found(key, f"duplicate key {name!r}, first in line {first}.", "Keep one of them.")
                continue
            self.places[(*location, name)] = _place(key)
            built[name] = self.build(value, (*location, name))
        return built

    def _found(self, node: yaml.Node, message: str, remedy: str = "") -> None:
        self.findings.append(Finding(str(self.path), *_place(node), "CARD002", message, remedy))


def _place(node: Any) -> Place:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _refuse_unbounded(path: Path, text: str) -> None:
    """Refuse, before anything is built, aliases that unfold into gigabytes, nesting that takes for ever, and tags."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        tag = getattr(event, "tag", None)
        if getattr(event, "anchor", None):
            message, remedy = "YAML anchors and aliases are not allowed.", "Write the value out."
        elif tag is not None and tag != "!":
            message, remedy = f"the tag {tag!r} is not allowed.", "Remove it."
        elif depth > MAX_DEPTH:
            message, remedy = f"is nested more than {MAX_DEPTH} levels deep.", ""
        else:
            continue
        raise CardError([Finding(str(path), *_place(event), "CARD002", message, remedy)])


def _malformed(path: Path, text: str, error: yaml.YAMLError) -> Finding:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is not None:
        problem = str(getattr(error, "problem", None) or getattr(error, "context", None) or error)
        line, column = mark.line + 1, mark.column + 1
    else:  # a character that YAML does not allow
        problem = str(getattr(error, "reason", error)).splitlines()[0]
        offset = getattr(error, "position", 0)
        before = text.encode()[:offset].decode(errors="ignore")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    tab = "\t" in text.split("\n")[line - 1][: column + 1] if 0 < line <= text.count("\n") + 1 else False
    remedy = "Indent with spaces, YAML takes no tabs." if tab else ""
    return Finding(str(path), line, column, "CARD002", f"is not valid YAML: {problem}.", remedy)
