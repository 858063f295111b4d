"""What is wrong with one card and the label maps it uses, from these files and the ontologies alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from cellzoo.ci.edits import scalar, upgraded
from cellzoo.ci.maps import check_map, check_text, misjudged
from cellzoo.ci.sources import Read, Sources
from cellzoo.ci.terms import Context, contexts, judge
from cellzoo.errors import Edit, Finding
from cellzoo.registry.cards import KINDS, kind_of
from cellzoo.registry.cells import TERM_FIELDS, TermField, ValueField
from cellzoo.registry.collection import CollectionCard
from cellzoo.registry.document import Document
from cellzoo.registry.fields import HUMAN, NOT_APPLICABLE, SUSPENSION_TYPES, TISSUE_TYPES, UNKNOWN
from cellzoo.registry.parts import SCHEMA_VERSION
from cellzoo.registry.schema import DatasetCard, Location

VALUES = {
    "tissue_type": TISSUE_TYPES,
    "suspension_type": SUSPENSION_TYPES,
    "sample_source": ("primary_tissue", "2d_culture", "3d_culture", "tumor"),
    "assay_type_differentiation": ("guided", "unguided"),
}
"""Fields in plain words that take some words only."""
NO_LICENSE = {"NOASSERTION", "NONE", "UNKNOWN", "N/A", "NA", "NOT STATED"}
"""What is written where no licence is stated; the word for it is ``unknown``."""
RESOLVER = re.compile(r"^(?:https?://(?:dx\.)?doi\.org/|doi:\s*)(?=10\.)", re.IGNORECASE)


def check_card(path: Path, sources: Sources) -> Iterator[Finding]:
    """Yield the findings in one card file and, where it is a data set, in its label maps."""
    read = sources.card(path)
    text = read.text
    if read.document is None:
        yield from read.findings
        return
    misplaced = list(_room(read))
    yield from misplaced
    yield from (_mended(finding, read) for finding in read.findings if finding.code != "CARD004" or not misplaced)
    yield from check_text(path, text)
    yield from _header(read)
    yield from _version(read)
    if read.card is not None:
        yield from _license(read, read.card.license)
    if isinstance(read.card, DatasetCard):
        yield from _cells(read, read.card, read.document, sources)
        yield from _values(read.card, read.document)
    if isinstance(read.card, CollectionCard):
        for at, field in enumerate(read.card.organisms):
            yield from _statement(read, ("organisms", at), "organism", field, [((HUMAN, "tissue"),)])


def _header(read: Read) -> Iterator[Finding]:
    if read.document is None or (schema := schema_of(read.path, kind_of(read.document))) is None:
        return
    first = read.text.partition("\n")[0]
    line = f"# yaml-language-server: $schema={schema}"
    if first.strip() == line:
        return
    remedy = f"Write as first line: {line}"
    if first.startswith("# yaml-language-server:"):
        edits: tuple[Edit, ...] = (Edit((1, 1), (1, len(first) + 1), line),)
        yield Finding(str(read.path), 1, 1, "CARD008", "names another JSON Schema.", f"{remedy}.", "warning", edits)
    elif not read.text.startswith("\ufeff"):
        edits = (Edit((1, 1), (1, 1), f"{line}\n"),)
        yield Finding(str(read.path), 1, 1, "CARD008", "no editor knows its schema.", f"{remedy}.", "warning", edits)


def schema_of(path: Path, kind: str) -> str | None:
    """Return the way from a card to the JSON Schema that lies beside its registry, none where there is none."""
    up = 3 if kind == "models" else 2
    name = f"schema/{kind.removesuffix('s')}-card.schema.json"
    if len(path.parents) <= up or not (path.parents[up] / name).is_file():
        return None
    return "../" * up + name


def _version(read: Read) -> Iterator[Finding]:
    if read.document is None or type(read.version) is not int or read.version == read.document.data["schema_version"]:
        return
    edits, said = upgraded(read.text)
    message = (
        f"schema_version {read.version} is older than today's, {SCHEMA_VERSION}{': ' if said else ''}{'; '.join(said)}."
    )
    yield read.document.finding("CARD007", ["schema_version"], message, "Upgrade it.", "warning", edits)


def _room(read: Read) -> Iterator[Finding]:
    """Cards of one kind lie in one folder, so that what lists them finds them."""
    parents = [parent.name for parent in read.path.parents[:2]]
    room = parents[1] if parents[1:] == ["models"] else parents[0]
    if read.document and room in KINDS and (kind := kind_of(read.document)) != room:
        message = f"is a card of {kind}, but lies in the folder of {room}."
        yield read.document.finding("CARD004", ["id"], message, f"Move it to {kind}/.")


def _license(read: Read, license: str) -> Iterator[Finding]:
    if read.document is None or license == UNKNOWN:
        return
    try:
        right: str = canonicalize_license_expression(license)
    except InvalidLicenseExpression:
        right = UNKNOWN if license.upper() in NO_LICENSE else ""
        remedy = "Write the SPDX id, LicenseRef- and a name for own terms, or unknown."
        edits = scalar(read.text, ("license",), right) if right else ()
        message = f"license: {license!r} is no SPDX licence expression."
        yield read.document.finding("LICENSE001", ["license"], message, remedy, "error", edits)
        return
    if right != license:
        edits = scalar(read.text, ("license",), right)
        message = f"license: SPDX writes {license!r} as {right!r}."
        yield read.document.finding("LICENSE002", ["license"], message, f"Write {right!r}.", "warning", edits)


def _mended(finding: Finding, read: Read) -> Finding:
    """Return a finding of the schema with its edit, where the value is only spelled otherwise: digests and DOIs."""
    if finding.code != "CARD003" or read.document is None:
        return finding
    for location, place in read.document.places.items():
        if place != (finding.line, finding.column) or location[-1] not in {"sha256", "doi", "preprint"}:
            continue
        value: object = read.document.data
        for part in location:
            value = value[part]  # type: ignore[index]
        if not isinstance(value, str):
            continue
        right = value.strip().lower() if location[-1] == "sha256" else RESOLVER.sub("", value)
        if right != value and re.fullmatch(r"[0-9a-f]{64}|10\.\d{4,9}/\S+", right):
            edits = scalar(read.text, location, right)
            return Finding(*_parts(finding), f"Write {right!r}.", finding.severity, edits)
    return finding


def _parts(finding: Finding) -> tuple[str, int, int, str, str]:
    return finding.path, finding.line, finding.column, finding.code, finding.message


def _cells(read: Read, card: DatasetCard, document: Document, sources: Sources) -> Iterator[Finding]:
    for name in TERM_FIELDS:
        for place, field in card.fields(name):
            if place[0] == "cells" and name not in card.cells.model_fields_set:
                continue
            groups = contexts(card, place, name)
            if field.map is None:
                yield from _statement(read, place, name, field, groups)
                continue
            path = read.path.parent / field.map
            if not path.is_file():
                message = f"{'.'.join(map(str, place))}.map: there is no file {field.map} beside the card."
                yield document.finding("MAP001", [*place, "map"], message, "Write it: source, term and label, by tabs.")
            else:
                yield from check_map(path, name, groups, card.status == "verified", sources)


def _statement(
    read: Read, place: Location, name: str, field: TermField, groups: list[tuple[Context, ...]]
) -> Iterator[Finding]:
    if field.term is None or read.document is None:
        return
    verdict = next((bad for group in groups if (bad := judge(name, field.term, field.label, group))), None)
    if verdict is None:
        return
    key = "label" if verdict.code == "TERM002" else "term"
    line, column = read.document.position([*place, key])
    edits: tuple[Edit, ...] = ()
    if verdict.term:
        edits = scalar(read.text, (*place, "term"), verdict.term)
    if verdict.label and edits or verdict.label and not verdict.term:
        label = scalar(read.text, (*place, "label"), verdict.label)
        edits = (*edits, *label) if label else ()
    yield misjudged(verdict, name, str(read.path), line, column, edits)


def _values(card: DatasetCard, document: Document) -> Iterator[Finding]:
    everywhere = [
        (("cells",), card.cells),
        *((("samples", at, "cells"), one.cells) for at, one in enumerate(card.samples)),
    ]
    for place, cells in everywhere:
        kind = (cells.tissue_type or card.cells.tissue_type).value
        for name in cells.model_fields_set:
            field = getattr(cells, name)
            if not isinstance(field, ValueField) or field.value is None:
                continue
            where = ".".join(map(str, (*place, name)))
            takes = VALUES.get(name)
            unknown = field.value == UNKNOWN and card.status != "verified"
            if takes and field.value not in takes and not unknown:
                message = f"{where}: {field.value!r} is not one of {', '.join(takes)}."
                yield document.finding("CARD005", [*place, name, "value"], message)
            if name == "donor_id" and field.value == NOT_APPLICABLE and kind in {"tissue", "organoid"}:
                message = f"{where}: na says that there is no donor, which holds for cell lines only."
                yield document.finding("CARD005", [*place, name, "value"], message, "Write 'unknown'.")
