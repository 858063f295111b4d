"""What is wrong with a term in a field of cells: it must exist, be current, carry its label and be allowed there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product

from cellzoo.errors import InputError, NotFoundError
from cellzoo.registry.cells import Cells, SampleCells, TermField
from cellzoo.registry.fields import (
    FIELD_ROOTS,
    HUMAN,
    MOUSE,
    NOT_APPLICABLE,
    TISSUE_TYPES,
    UNKNOWN,
    allowed,
    rule,
)
from cellzoo.registry.ontology import FILED_UNDER, Ontology, current, packaged, term_ontology
from cellzoo.registry.schema import DatasetCard, Location

Context = tuple[str, str]
"""Organism and tissue type: what decides which terms a field takes."""


@dataclass(frozen=True)
class Verdict:
    """What is wrong with a term, and what may be written in its place."""

    code: str
    """TERM001 does not exist or is obsolete, TERM002 has another label, TERM003 is not allowed in the field."""
    message: str
    """What was found and what was expected."""
    remedy: str = ""
    """What to do."""
    term: str = ""
    """The only right term id, where there is one."""
    label: str = ""
    """The right label, where the rest of the statement leaves no doubt."""


@cache
def judge(field: str, term: str, label: str | None, alternatives: Sequence[Context]) -> Verdict | None:
    """Return what is wrong with a term and its label in a field, none if it is right in one of the contexts."""
    if term in {UNKNOWN, NOT_APPLICABLE}:
        return _word(field, term, label, alternatives)
    if field not in FIELD_ROOTS and _is_elsewhere(term):
        return None
    try:
        ontology = term_ontology(term)
        expected = ontology.label(term)
    except NotFoundError as error:
        return Verdict("TERM001", f"{error}.", "Look for one with: cellzoo ontology search.")
    if ontology.is_obsolete(term):
        return _obsolete(field, term, expected, alternatives)
    if label is not None and label != expected and expected:
        return _mislabelled(ontology, term, label, expected)
    problem = _problem(field, term, alternatives)
    return Verdict("TERM003", problem) if problem else None


def contexts(card: DatasetCard, place: Location, field: str) -> list[tuple[Context, ...]]:
    """Return the contexts that a statement at ``place`` holds in: each must take the term in one of its alternatives.

    What the card says holds for every sample that says nothing else; what stands in a column has alternatives.
    """
    if place[0] == "samples":
        return [_alternatives(card.cells, card.samples[int(place[1])].cells)]
    heirs = [sample.cells for sample in card.samples if getattr(sample.cells, field) is None]
    return list(dict.fromkeys(_alternatives(card.cells, heir) for heir in heirs or [SampleCells()]))


def _alternatives(cells: Cells, sample: SampleCells) -> tuple[Context, ...]:
    organism = sample.organism or cells.organism
    kind = (sample.tissue_type or cells.tissue_type).value
    kinds = [kind] if kind in TISSUE_TYPES else TISSUE_TYPES
    return tuple(product(_organisms(organism), kinds))


def _organisms(field: TermField) -> tuple[str, ...]:
    return (HUMAN, MOUSE) if field.term is None or field.term in {UNKNOWN, NOT_APPLICABLE} else (field.term,)


def _word(field: str, word: str, label: str | None, alternatives: Sequence[Context]) -> Verdict | None:
    if label not in {None, word}:
        return Verdict("TERM002", f"{word} is not labelled {label!r}.", f"Write {word!r}.", label=word)
    if word == UNKNOWN or field not in FIELD_ROOTS:
        return None
    if any(NOT_APPLICABLE in rule(field, *context).terms for context in alternatives):
        return None
    return Verdict("TERM003", f"na is not allowed as {field} here: it says that there can be none.", "Write 'unknown'.")


def _obsolete(field: str, term: str, name: str, alternatives: Sequence[Context]) -> Verdict:
    message = f"{term} ({name}) is obsolete."
    if (instead := current(term)) is None:
        return Verdict("TERM001", message, "Choose a current term.")
    label = term_ontology(instead).label(instead)
    if problem := _problem(field, instead, alternatives):
        return Verdict("TERM001", f"{message} It was replaced by {instead} ({label}).", f"Choose another: {problem}")
    return Verdict("TERM001", message, f"Use {instead} ({label}).", instead, label)


def _mislabelled(ontology: Ontology, term: str, label: str, expected: str) -> Verdict:
    """A label that names another term leaves it open which of the two is wrong; any other is only spelled badly."""
    message = f"the label of {term} is {expected!r}, the file says {label!r}."
    try:
        other = ontology.find(label)
    except (NotFoundError, InputError):
        other = term
    if other != term:
        return Verdict("TERM002", message, f"{label!r} is {other}: correct the id or the label.")
    return Verdict("TERM002", message, f"Write {expected!r}, or correct the id.", label=expected)


def _problem(field: str, term: str, alternatives: Sequence[Context]) -> str | None:
    if field not in FIELD_ROOTS:
        return None
    said = [allowed(field, term, *context) for context in alternatives]
    return None if None in said else said[0]


def _is_elsewhere(term: str) -> bool:
    """Return whether a well-formed id is of an ontology that is not packaged, such as ChEBI."""
    prefix, colon, number = term.partition(":")
    return bool(colon and number.isalnum()) and prefix not in {*packaged(), *FILED_UNDER}
