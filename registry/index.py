"""The index of a catalogue: one record for each card, kept in the cache, made anew for cards whose files changed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cellzoo import __version__, settings
from cellzoo.errors import CardError, Finding, NotFoundError
from cellzoo.registry.cards import load_map, map_names, parse_any
from cellzoo.registry.cells import TERM_FIELDS
from cellzoo.registry.collection import CollectionCard
from cellzoo.registry.document import read_yaml
from cellzoo.registry.ontology import term_ontology
from cellzoo.registry.schema import DatasetCard

FORMAT = f"1 {__version__}"


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


def records_of(paths: Mapping[str, Path]) -> tuple[list[Record], list[Finding]]:
    """Return the records of the cards in ``paths``, and the findings of the cards that have none."""
    cache = settings.home() / "catalogue" / f"{_digest(paths.values())}.json"
    old = _read(cache)
    entries: dict[str, Any] = {}
    for path in paths.values():
        entry = old.get(str(path))
        if entry is None or entry["stamps"] != _stamps(path.parent, entry["stamps"]):
            entry = _entry(path)
        entries[str(path)] = entry
    if entries != old:
        _write(cache, entries)
    records = [Record(**entry["record"]) for entry in entries.values() if entry["record"]]
    findings = [Finding(**finding) for entry in entries.values() for finding in entry["findings"]]
    return sorted(records, key=lambda record: record.id), findings


def _digest(paths: Iterable[Path]) -> str:
    return hashlib.sha256("\0".join(sorted({str(path.parent) for path in paths})).encode()).hexdigest()[:24]


def _stamps(folder: Path, names: Iterable[str]) -> dict[str, list[int]]:
    stamps = {}
    for name in names:
        try:
            stat = (folder / name).stat()
            stamps[name] = [stat.st_mtime_ns, stat.st_size]
        except OSError:
            stamps[name] = [0, 0]
    return stamps


def _entry(path: Path) -> dict[str, Any]:
    names = [path.name]
    record, findings = None, []
    try:
        card = parse_any(read_yaml(path))
        if isinstance(card, DatasetCard):
            names += map_names(card)
            record = _of_dataset(card, path.parent)
        elif isinstance(card, CollectionCard):
            record = _of_collection(card)
    except CardError as error:
        findings = [finding.as_dict() for finding in error.findings]
    return {"stamps": _stamps(path.parent, names), "record": record and asdict(record), "findings": findings}


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
        labels[name] = [_label(term) for term in terms[name] if term != "unknown" or not own] + own
    cells = card.verified.cells if card.verified else card.cells_expected
    return _record(card, "dataset", cells, len(card.files), terms, labels, [*card.aliases, *words])


def _of_collection(card: CollectionCard) -> Record:
    terms = {"organism": sorted(field.term or "unknown" for field in card.organisms)}
    labels = {"organism": [_label(term) for term in terms["organism"]]}
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


def _label(term: str) -> str:
    try:
        return term if term in {"unknown", "na"} else term_ontology(term).label(term)
    except NotFoundError:  # a finding of the check, no reason to list nothing
        return term


def _read(path: Path) -> dict[str, Any]:
    try:
        kept = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return kept["entries"] if isinstance(kept, dict) and kept.get("format") == FORMAT else {}


def _write(path: Path, entries: dict[str, Any]) -> None:
    """Keep the index; a cache that cannot be written costs time, not the listing."""
    part = path.with_suffix(f".{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps({"format": FORMAT, "entries": entries}))
        part.replace(path)
    except OSError:
        return
