"""The check of a registry: what a careful curator would look for in every card and label map."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from cellzoo.errors import CardError, Finding, NotFoundError
from cellzoo.registry.cards import Document, LabelMap, load_map, map_names, parse_card, read_yaml
from cellzoo.registry.catalogue import TERM_FIELDS, Registry
from cellzoo.registry.fields import NOT_APPLICABLE, SUSPENSION_TYPES, TISSUE_TYPES, UNKNOWN, allowed
from cellzoo.registry.ontology import term_ontology
from cellzoo.registry.schema import DatasetCard, TermField

WORDS = (UNKNOWN, NOT_APPLICABLE)
VALUES = {"tissue_type": TISSUE_TYPES, "suspension_type": SUSPENSION_TYPES}


def check_registry(registry: Registry, only: Iterable[Path] = ()) -> list[Finding]:
    """Return every finding in the cards and label maps of a registry, sorted by place; nothing is downloaded.

    Each card is read against the schema; each term must exist, not be obsolete, carry its label and be allowed in its
    field for the organism; label maps must be used and well-formed. ``only`` restricts the cards that are looked at.
    """
    wanted = {path.resolve() for path in only}
    paths = [path for path in registry.paths.values() if not wanted or path.resolve() in wanted]
    findings = [finding for path in paths for finding in check_card(path)]
    if not wanted:
        findings += _unused_maps(registry)
    return sorted(set(findings))


def check_card(path: Path) -> list[Finding]:
    """Return the findings in one card and the label maps it uses."""
    try:
        document = read_yaml(path)
        card = parse_card(document)
    except CardError as error:
        return error.findings
    findings = []
    for name in TERM_FIELDS:
        field: TermField = getattr(card.cells, name)
        if field.term is not None:
            at = document.position(["cells", name, "term"])
            findings += _term(Finding(str(path), *at, "", ""), name, field.term, field.label or field.term, card)
        elif field.map is not None:
            findings += _map(document, path.parent / field.map, name, card)
    for name, values in VALUES.items():
        value = getattr(card.cells, name).value
        if value is not None and value not in values:
            message = f"cells.{name}: {value!r} is not one of {', '.join(values)}."
            findings.append(document.finding("CARD005", ["cells", name, "value"], message))
    return findings


def _map(document: Document, path: Path, name: str, card: DatasetCard) -> list[Finding]:
    if not path.is_file():
        message = f"cells.{name}.map: there is no file {path.name} beside the card."
        return [document.finding("MAP001", ["cells", name, "map"], message)]
    try:
        label_map = load_map(path)
    except CardError as error:
        return error.findings
    return [finding for source in label_map.terms for finding in _row(label_map, source, name, card)]


def _row(label_map: LabelMap, source: str, name: str, card: DatasetCard) -> list[Finding]:
    term = label_map.terms[source]
    column = len(source) + 2
    return _term(
        Finding(str(label_map.path), label_map.lines[source], column, "", ""),
        name,
        term,
        label_map.labels[source],
        card,
    )


def _term(at: Finding, name: str, term: str, label: str, card: DatasetCard) -> list[Finding]:
    """Return what is wrong with a term in a field; ``at`` lends its place."""

    def found(code: str, message: str, remedy: str = "") -> list[Finding]:
        return [Finding(at.path, at.line, at.column, code, f"{name}: {message}", remedy)]

    if term in WORDS:
        return [] if label == term else found("TERM002", f"{term} is not labelled {label!r}.", f"Write {term!r}.")
    try:
        ontology = term_ontology(term)
        expected = ontology.label(term)
    except NotFoundError as error:
        return found("TERM001", f"{error}.")
    if ontology.is_obsolete(term):
        instead = ontology.replaced_by(term)
        remedy = f"Use {instead}." if instead else "Choose a current term."
        return found("TERM001", f"{term} ({expected}) is obsolete.", remedy)
    if label != expected:
        return found(
            "TERM002", f"the label of {term} is {expected!r}, the file says {label!r}.", "Correct id or label."
        )
    kind = card.cells.tissue_type.value
    problem = allowed(name, term, str(card.cells.organism.term), kind if kind in TISSUE_TYPES else "tissue")
    return found("TERM003", problem) if problem else []


def _unused_maps(registry: Registry) -> list[Finding]:
    used = set()
    for card in registry.cards():
        used |= {registry.path(card.id).parent / name for name in map_names(card).values()}
    unused = sorted(set((registry.root / "datasets").glob("*.tsv")) - used) if not registry.problems else []
    remedy = "Remove it, or name it in a card."
    return [Finding(str(path), 0, 0, "MAP004", "no card uses this label map.", remedy, "warning") for path in unused]
