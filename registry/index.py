"""The index of a catalogue: one record for each card, kept in the cache, made anew for cards whose files changed.

A change is told by the times and the size of a file. What changed less than `SETTLED` before it was read is read again
the next time: a coarse clock would not show one more change. What makes the records, this code and the ontologies, is
part of the name of an index: another version of cellzoo has an index of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from cellzoo import __version__, settings
from cellzoo.errors import CardError, Finding, NotFoundError
from cellzoo.registry.cards import load_map, map_names, parse_any
from cellzoo.registry.cells import TERM_FIELDS
from cellzoo.registry.collection import CollectionCard
from cellzoo.registry.document import read_yaml
from cellzoo.registry.ontology import term_ontology
from cellzoo.registry.schema import DatasetCard

HERE = Path(__file__).parent
SETTLED = 100_000_000
"""Nanoseconds after which the times of a file tell of its next change; file systems tick every few milliseconds."""
KEPT = 20
"""Indexes in the cache; the one written longest ago goes first."""


@dataclass(frozen=True)
class Record:
    """What a listing shows of one card."""

    id: str
    """Id of the data set or collection."""
    kind: str
    """dataset or collection."""
    status: str
    """imported, verified or broken."""
    title: str
    """Title of the card."""
    study: str
    """DOI of the study, else its name."""
    authors: str
    """Authors of the study."""
    year: int
    """Year of the study."""
    license: str
    """SPDX id, or unknown."""
    cells: int | None
    """Number of cells, where it is known."""
    files: int
    """Number of files."""
    terms: dict[str, list[str]]
    """Field -> term ids that its cells can have, sorted."""
    labels: dict[str, list[str]]
    """Field -> labels of those terms, in the order of the terms; the study's own words where there is no term."""
    aliases: list[str]
    """Other names of the data set."""
    text: str
    """What a free-text search looks in, casefolded."""


@dataclass(frozen=True)
class Entry:
    """What the index keeps of one card file."""

    stamps: dict[str, list[int]]
    """Name of the card file and of each label map -> its times and size when it was read, none where it was missing."""
    record: Record | None
    """What a listing shows; none for a model card and for a card that cannot be read."""
    findings: list[Finding]
    """Why it cannot be read."""


def records_of(paths: Mapping[str, Path]) -> tuple[list[Record], list[Finding]]:
    """Return the records of the cards in ``paths``, and the findings of the cards that have none."""
    cache = settings.home() / "catalogue" / f"{_digest(paths.values())}.json"
    old = _read(cache)
    entries: dict[str, Entry] = {}
    for path in paths.values():
        entry = old.get(str(path))
        if entry is None or any(_stamp(path.parent / name) != stamp for name, stamp in entry.stamps.items()):
            entry = _entry(path)
        entries[str(path)] = entry
    if entries != old:
        _write(cache, entries)
    records = [entry.record for entry in entries.values() if entry.record]
    findings = [finding for entry in entries.values() for finding in entry.findings]
    return sorted(records, key=lambda record: record.id), findings


def _digest(paths: Iterable[Path]) -> str:
    """Return what the name of an index is made of: the folders of the cards, and what makes records of them."""
    makers = [f"{path.name} {_stamp(path)}" for path in sorted([*HERE.glob("*.py"), *HERE.glob("ontologies/*.npz")])]
    folders = sorted({str(path.parent) for path in paths})
    return hashlib.sha256("\0".join([__version__, *makers, *folders]).encode()).hexdigest()[:24]


def _stamp(path: Path) -> list[int]:
    """Return times and size of a file, none where there is none; of one that changed just now also the time."""
    try:
        stat = path.stat()
    except OSError:
        return []
    now = time.time_ns()
    unsettled = [now] if now - stat.st_ctime_ns < SETTLED else []
    return [stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, *unsettled]


def _entry(path: Path) -> Entry:
    stamps = {path.name: _stamp(path)}  # before reading: what changes meanwhile is read again the next time
    record, findings = None, []
    try:
        card = parse_any(read_yaml(path))
        if isinstance(card, DatasetCard):
            stamps |= {name: _stamp(path.parent / name) for name in map_names(card)}
            record = _of_dataset(card, path.parent)
        elif isinstance(card, CollectionCard):
            record = _of_collection(card)
    except CardError as error:
        findings = error.findings
    return Entry(stamps, record, findings)


def _of_dataset(card: DatasetCard, folder: Path) -> Record:
    terms: dict[str, list[str]] = {}
    labels: dict[str, list[str]] = {}
    words: list[str] = []
    maps = {name: load_map(folder / name) for name in map_names(card)}
    for name in TERM_FIELDS:
        found: dict[str, str] = {}
        for place, field in card.fields(name):
            if place[0] == "cells" and card.overridden(name):
                continue
            if field.map:
                found |= {term: "" for term in maps[field.map].terms.values()}
                words += maps[field.map].terms
            else:
                found |= {field.term or "unknown": ""}
            words += [field.text] if field.text else []
        terms[name] = sorted(found)
        own = sorted({field.text for _, field in card.fields(name) if field.text})
        labels[name] = [label_of(term) for term in terms[name] if term != "unknown" or not own] + own
    cells = card.verified.cells if card.verified else card.cells_expected
    return _record(card, "dataset", cells, len(card.files), terms, labels, [*card.aliases, *words])


def _of_collection(card: CollectionCard) -> Record:
    terms = {"organism": sorted(field.term or "unknown" for field in card.organisms)}
    labels = {"organism": [label_of(term) for term in terms["organism"]]}
    return _record(card, "collection", card.releases[0].cells, 0, terms, labels, [])


def _record(  # noqa: PLR0913, PLR0917
    card: DatasetCard | CollectionCard,
    kind: str,
    cells: int | None,
    files: int,
    terms: dict[str, list[str]],
    labels: dict[str, list[str]],
    words: list[str],
) -> Record:
    study = card.study
    named = [label for several in labels.values() for label in several]
    text = [card.id, card.title, study.id, study.preprint or "", study.authors, str(study.year), *named, *words]
    return Record(
        id=card.id,
        kind=kind,
        status=card.status,
        title=card.title,
        study=study.id,
        authors=study.authors,
        year=study.year,
        license=card.license,
        cells=cells,
        files=files,
        terms=terms,
        labels=labels,
        aliases=list(card.aliases) if isinstance(card, DatasetCard) else [],
        text="\n".join(dict.fromkeys(text)).casefold(),
    )


def label_of(term: str) -> str:
    """Return the label of a term, the term itself where it has none."""
    try:
        return term if term in {"unknown", "na"} else term_ontology(term).label(term)
    except NotFoundError:  # a finding of the check, no reason to list nothing
        return term


def _read(path: Path) -> dict[str, Entry]:
    try:
        return {
            name: Entry(
                kept["stamps"],
                Record(**kept["record"]) if kept["record"] else None,
                [Finding(**finding) for finding in kept["findings"]],
            )
            for name, kept in json.loads(path.read_bytes()).items()
        }
    except (OSError, ValueError, LookupError, TypeError, AttributeError):  # not there, or spoiled
        return {}


def _write(path: Path, entries: Mapping[str, Entry]) -> None:
    """Keep the index; a cache that cannot be written costs time, not the listing."""
    part = path.with_suffix(f".{os.getpid()}.part")
    kept = {
        name: {
            "stamps": entry.stamps,
            "record": entry.record and asdict(entry.record),
            "findings": [finding.as_dict() for finding in entry.findings],
        }
        for name, entry in entries.items()
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(kept))
        part.replace(path)
        for old in sorted(path.parent.iterdir(), key=lambda one: one.stat().st_mtime_ns)[:-KEPT]:
            old.unlink()
    except OSError:
        return
