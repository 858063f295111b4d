"""Card files and label maps: YAML and TSV in, types or findings with file, line and column out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from cellzoo.errors import CardError, Finding
from cellzoo.registry.cells import TERM_FIELDS
from cellzoo.registry.collection import CollectionCard
from cellzoo.registry.document import Document, dotted, read_yaml
from cellzoo.registry.model_card import ModelCard
from cellzoo.registry.schema import DatasetCard
from cellzoo.registry.upgrade import upgrade

MAP_COLUMNS = ("source", "term", "label")
NOTE = "note"
"""A fourth column that a label map may have: why a row is doubtful."""
SUGGESTED = "suggested"
"""How the note of a row begins that a program filled in and nobody has looked at."""
NOT_DATA = {"schema_version", "aliases", "title", "license", "status", "status_reason", "verified", "notes"}
"""What a card says about the data set without changing the data."""


Card = DatasetCard | CollectionCard | ModelCard
KINDS: dict[str, type[DatasetCard] | type[CollectionCard] | type[ModelCard]] = {
    "datasets": DatasetCard,
    "collections": CollectionCard,
    "models": ModelCard,
}
"""Folder of a registry -> what its cards are."""


def kind_of(document: Document) -> str:
    """Return which kind of card a document is, by what only that kind has: datasets, collections or models."""
    keys = set(document.data)
    return "models" if {"versions", "intended_use"} & keys else "collections" if "releases" in keys else "datasets"


def parse_any(document: Document) -> Card:
    """Return the card that a document spells, whichever kind it is, or raise every finding at once."""
    upgrade(document.data)
    try:
        card = KINDS[kind_of(document)].model_validate(document.data)
    except ValidationError as error:
        found = [item for item in error.errors() if not _follows(item, error.errors())]
        raise CardError([document.invalid(item, "CARD003") for item in found]) from error
    problems = [] if isinstance(card, CollectionCard) else card.problems()
    findings = [document.finding("CARD006", place, f"{dotted(place)}: {what}.") for place, what in problems]
    path = document.path
    expected = f"{path.parent.name}/{path.stem}" if isinstance(card, ModelCard) else path.stem
    if card.id != expected:
        message = f"id {card.id!r} does not equal the file name {path.name!r}: expected {expected!r}."
        findings.append(document.finding("CARD004", ["id"], message, "Rename one of them."))
    if findings:
        raise CardError(findings)
    return card


def _follows(item: ErrorDetails, errors: list[ErrorDetails]) -> bool:
    """Return whether an error says only that a list is too short whose items have errors of their own."""
    inside = (one for one in errors if len(one["loc"]) > len(item["loc"]))
    return item["type"] == "too_short" and any(one["loc"][: len(item["loc"])] == item["loc"] for one in inside)


def parse_card(document: Document) -> DatasetCard:
    """Return the dataset card that a document spells, or raise every finding at once."""
    card = parse_any(document)
    if not isinstance(card, DatasetCard):
        message = f"is a card of {kind_of(document)}, expected one of a data set."
        raise CardError([document.finding("CARD004", ["id"], message)])
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
    notes: dict[str, str]
    """Source label -> why the row is doubtful, where the file says so."""


def load_map(path: Path) -> LabelMap:
    """Return the label map in ``path``: a TSV with the columns source, term, label, and perhaps note."""
    findings: list[Finding] = []
    found = LabelMap(path, {}, {}, {}, {})
    try:
        rows = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")  # labels can hold other line breaks
    except (OSError, UnicodeDecodeError) as error:
        raise CardError([Finding(str(path), 0, 0, "MAP001", f"label map cannot be read: {error}.")]) from error
    columns = tuple(rows[0].split("\t"))
    if columns not in (MAP_COLUMNS, (*MAP_COLUMNS, NOTE)):
        message = f"label map starts with {list(columns)}, expected {list(MAP_COLUMNS)} separated by tabs."
        raise CardError([Finding(str(path), 1, 1, "MAP001", message)])
    for number, row in enumerate(rows[1:], start=2):
        fields = row.split("\t")
        if len(fields) not in (3, len(columns)) or not all(fields[:3]):
            message = f"expected {len(columns)} fields separated by tabs, found {len(fields)}: {row!r}."
            findings.append(Finding(str(path), number, 1, "MAP001", message))
            continue
        source, term, label, *note = fields
        if source in found.terms:
            message = f"label {source!r} is mapped twice, first in line {found.lines[source]}."
            findings.append(Finding(str(path), number, 1, "MAP002", message, "Keep one of them."))
            continue
        found.terms[source], found.labels[source], found.lines[source] = term, label, number
        if note and note[0]:
            found.notes[source] = note[0]
    if findings:
        raise CardError(findings)
    return found


def card_digest(path: Path) -> str:
    """Return the sha256 over what a card and its label maps say about the data: what a data lock pins."""
    card = load_card(path)
    digest = hashlib.sha256(card.model_dump_json(exclude_defaults=True, exclude=NOT_DATA).encode())
    for name in map_names(card):
        digest.update(b"\0" + name.encode() + b"\0" + load_map(path.parent / name).path.read_bytes())
    return digest.hexdigest()


def map_names(card: DatasetCard) -> list[str]:
    """Return the file names of the label maps that a card uses, sorted."""
    return sorted({field.map for name in TERM_FIELDS for _, field in card.fields(name) if field.map})
