"""Card files and label maps: YAML and TSV in, types or findings with file, line and column out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import CollectionEndEvent, CollectionStartEvent

from cellzoo.errors import CardError, Finding
from cellzoo.registry.schema import DatasetCard

MAX_BYTES = 1_000_000  # a card is a page of text; anything larger is not a card
MAX_DEPTH = 20  # levels of a card, which needs six
MAP_COLUMNS = ("source", "term", "label")


@dataclass(frozen=True)
class Document:
    """A YAML file that still knows where each of its values stands."""

    path: Path
    """The file."""
    data: Any
    """What it says, as ruamel's commented mappings and sequences."""

    def position(self, location: Sequence[str | int]) -> tuple[int, int]:
        """Return the 1-based line and column of the value at ``location``, or of the nearest thing above it."""
        node, line, column = self.data, 1, 1
        for key in location:
            place = getattr(node, "lc", None)
            known = isinstance(node, Mapping) and key in node
            known = known or (isinstance(node, list) and isinstance(key, int) and key < len(node))
            if place is None or not known:
                break
            line, column = (part + 1 for part in (place.key(key) if isinstance(node, Mapping) else place.item(key)))
            node = node[key]
        return line, column

    def finding(self, code: str, location: Sequence[str | int], message: str, remedy: str = "") -> Finding:
        """Return an error at the place of ``location``."""
        line, column = self.position(location)
        return Finding(str(self.path), line, column, code, message, remedy)

    def invalid(self, item: Mapping[str, Any], code: str) -> Finding:
        """Return one pydantic error as a finding at its place."""
        location = list(item["loc"])
        name = ".".join(str(part) for part in location)
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            return self.finding(code, location, f"{name}: unknown key.", "Remove it or correct its spelling.")
        if item["type"] == "missing":
            return self.finding(code, location, f"{name}: is missing.", "Add it.")
        found = "" if isinstance(item["input"], dict | list) else f" (found {item['input']!r})"
        return self.finding(code, location, f"{name + ': ' if name else ''}{message}{found}.")


def read_yaml(path: Path) -> Document:
    """Return the YAML document in ``path`` (YAML 1.2: ``no`` is a word, duplicate keys are errors)."""
    try:
        if (size := path.stat().st_size) > MAX_BYTES:
            raise CardError([Finding(str(path), 0, 0, "CARD001", f"is {size} bytes; a card has at most {MAX_BYTES}.")])
        text = path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CardError([Finding(str(path), 0, 0, "CARD001", f"cannot be read as UTF-8 text: {error}.")]) from error
    try:
        _refuse_unbounded(path, text)
        data = YAML(typ="rt").load(text)
    except CardError:  # which is a ValueError as well
        raise
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        problem = (error.problem or "not YAML").split("\n")[0]
        raise CardError([Finding(str(path), line, column, "CARD002", f"is not valid YAML: {problem}.")]) from error
    except (YAMLError, ValueError) as error:
        problem = " ".join(str(error).split())
        raise CardError([Finding(str(path), 0, 0, "CARD002", f"is not valid YAML: {problem}.")]) from error
    if not isinstance(data, dict):
        found = "nothing" if data is None else "a list" if isinstance(data, list) else repr(data)
        raise CardError([Finding(str(path), 1, 1, "CARD002", f"holds {found}, expected key: value.")])
    return Document(path, data)


def _refuse_unbounded(path: Path, text: str) -> None:
    """Refuse, before anything is built, aliases that unfold into gigabytes and nesting that takes for ever."""
    depth = 0
    for event in YAML(typ="rt").parse(text):
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if getattr(event, "anchor", None) or depth > MAX_DEPTH:
            line, column = event.start_mark.line + 1, event.start_mark.column + 1
            message, remedy = "YAML anchors and aliases are not allowed.", "Write the value out."
            if depth > MAX_DEPTH:
                message, remedy = f"is nested more than {MAX_DEPTH} levels deep.", ""
            raise CardError([Finding(str(path), line, column, "CARD002", message, remedy)])


def parse_card(document: Document) -> DatasetCard:
    """Return the dataset card that a document spells, or raise every finding at once."""
    try:
        card = DatasetCard.model_validate(document.data)
    except ValidationError as error:
        raise CardError([document.invalid(item, "CARD003") for item in error.errors()]) from error
    if card.id != document.path.stem:
        message = f"id {card.id!r} does not equal the file name {document.path.name!r}."
        raise CardError([document.finding("CARD004", ["id"], message, "Rename one of them.")])
    return card


def load_card(path: Path) -> DatasetCard:
    """Return the dataset card in ``path``; raises `CardError` with every finding."""
    return parse_card(read_yaml(path))


@dataclass(frozen=True)
class LabelMap:
    """From the labels of a study to ontology terms; the order of the file is kept."""

    path: Path
    """The TSV file."""
    terms: dict[str, str]
    """Source label -> term id, or ``unknown``."""
    labels: dict[str, str]
    """Source label -> label of the term as the file states it."""
    lines: dict[str, int]
    """Source label -> 1-based line."""


def load_map(path: Path) -> LabelMap:
    """Return the label map in ``path``: a TSV with the columns source, term, label."""
    findings: list[Finding] = []
    terms: dict[str, str] = {}
    labels: dict[str, str] = {}
    lines: dict[str, int] = {}
    try:
        rows = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")  # labels can hold other line breaks
    except (OSError, UnicodeDecodeError) as error:
        raise CardError([Finding(str(path), 0, 0, "MAP001", f"label map cannot be read: {error}.")]) from error
    if tuple(found := rows[0].split("\t")) != MAP_COLUMNS:
        message = f"label map starts with {found}, expected the columns {list(MAP_COLUMNS)} separated by tabs."
        raise CardError([Finding(str(path), 1, 1, "MAP001", message)])
    for number, row in enumerate(rows[1:], start=2):
        fields = row.split("\t")
        if len(fields) != len(MAP_COLUMNS) or not all(fields):
            message = f"expected 3 fields separated by tabs, found {len(fields)}: {row!r}."
            findings.append(Finding(str(path), number, 1, "MAP001", message))
            continue
        source, term, label = fields
        if source in terms:
            message = f"label {source!r} is mapped twice, first in line {lines[source]}."
            findings.append(Finding(str(path), number, 1, "MAP002", message, "Keep one of them."))
            continue
        terms[source], labels[source], lines[source] = term, label, number
    if findings:
        raise CardError(findings)
    return LabelMap(path, terms, labels, lines)


def card_digest(path: Path) -> str:
    """Return the sha256 over a card and the label maps it uses: what a data lock pins."""
    card = load_card(path)
    digest = hashlib.sha256(card.model_dump_json().encode())
    for name in sorted(map_names(card).values()):
        digest.update(b"\0" + name.encode() + b"\0" + load_map(path.parent / name).path.read_bytes())
    return digest.hexdigest()


def map_names(card: DatasetCard) -> dict[str, str]:
    """Return field -> file name of the label maps that a card uses."""
    fields = ((name, getattr(card.cells, name)) for name in type(card.cells).model_fields)
    return {name: field.map for name, field in fields if getattr(field, "map", None)}
