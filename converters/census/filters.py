"""Filters in ontology terms, as the value filters that SOMA understands.

A filter names only words that the Census has, so that a term with a thousand descendants stays short, and a cell with
several diseases, one word in the Census, is found by each of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from cellzoo.errors import InputError, NotFoundError
from cellzoo.registry.catalogue import below
from cellzoo.registry.fields import CELL_TERMS, DELIMITER, id_column, ontology_of
from cellzoo.registry.index import label_of
from cellzoo.registry.ontology import current, load

NEAREST = 3


def check_field(field: str) -> None:
    """Raise InputError for what the cells of a Census cannot be filtered by."""
    if field not in CELL_TERMS:
        raise InputError(
            f"{field!r} is not a field to filter a Census by; use one of organism, {', '.join(CELL_TERMS)}."
        )


def matching(field: str, wanted: Sequence[str], words: Sequence[str]) -> list[str]:
    """Return the words of a Census that mean one of the terms, by id or label, or a term below it.

    A word is a term id or several joined by `DELIMITER`; an id that was replaced since counts as its successor.
    """
    ids = frozenset[str]().union(*(below(field, term) for term in wanted))
    return [
        word
        for word in words
        if any(part in ids or (":" in part and current(part) in ids) for part in word.split(DELIMITER))
    ]


def one_of(column: str, words: Sequence[str]) -> str:
    """Return the filter that a column holds one of the words; quotes in them are part of the words."""
    return f"{column} in {list(words)!r}"


def both(*filters: str) -> str:
    """Return the filter that all of those hold; an empty one always does."""
    return " and ".join(filter(None, filters))


def condition(field: str, wanted: Sequence[str], words: Sequence[str] | None) -> str:
    """Return the value filter of a field over the words of its column, "" where none of them matches.

    Without a dictionary, as in a Census of before 2024, the filter names every term below.
    """
    if words is None:
        words = sorted(frozenset[str]().union(*(below(field, term) for term in wanted)))
    found = matching(field, wanted, words)
    return one_of(id_column(field), found) if found else ""


def no_cells(field: str, wanted: Sequence[str], words: Sequence[str], where: str) -> NotFoundError:
    """Return the error that no cell has a term or one below it, with the nearest terms that cells have."""
    terms = {part for word in words for part in word.split(DELIMITER)}
    named = ", ".join(f"{term!r}" for term in wanted)
    near = [f"{label_of(term)} ({term})" for term in _nearest(field, wanted[0], terms)]
    hint = f" Nearest that it has: {', '.join(near)}." if near else ""
    return NotFoundError(f"{where}: no cell has {field} {named} or a term below it.{hint}")


def _nearest(field: str, text: str, terms: set[str]) -> list[str]:
    """Return the closest terms above that cells have, then those whose labels are most like the text."""
    from rapidfuzz import fuzz, process

    ontology = load(ontology_of(field, text))
    above: list[str] = []
    if ontology.knows(text):
        term = text if text in ontology else ontology.find(text)
        text = ontology.label(term)
        above = sorted(terms & set(ontology.ancestors(term)), key=lambda one: len(ontology.descendants(one)))
    labels = {label_of(term): term for term in sorted(terms)}
    alike = process.extract(text, list(labels), scorer=fuzz.ratio, score_cutoff=40, limit=NEAREST)
    return list(dict.fromkeys([*above, *(labels[label] for label, _, _ in alike)]))[:NEAREST]
