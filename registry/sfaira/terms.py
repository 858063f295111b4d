"""Labels and ids that sfaira wrote in 2019 to 2023, as terms of today's ontologies; what stays doubtful says so.

The rules, for a label alone: `healthy` is PATO's normal; else the current term with this label, or the only one with
this exact synonym (HsapDv dropped "human" from its labels, HsapDv and MmusDv write "3-month-old" today); else what
replaces the obsolete term with this label; else unknown. For an id with a label:

1. A current id stays. Where neither its label nor a synonym is the one that sfaira gives, the row says so; where that
   label names another current term, id and label contradict each other: unknown.
2. An obsolete id becomes what `replaced_by` leads to, else the current term that bears its name; the row says so.
   An obsolete id without either is unknown.
3. `NOT_A_CELL` in either column, `custom_…`, an id that does not exist, an unknown beside a known: unknown, with why.
4. A term that CELLxGENE does not allow in the field is unknown, with why.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product

from cellzoo.errors import InputError, NotFoundError
from cellzoo.registry.cards import MAP_COLUMNS, NOTE
from cellzoo.registry.fields import HUMAN, NORMAL, PREFIXES, UNKNOWN, allowed
from cellzoo.registry.ontology import Ontology, load, term_ontology
from cellzoo.registry.sfaira.loader import Row

NOT_A_CELL = "NOT_A_CELL"
CUSTOM = "custom_"
NOTHING = {"", UNKNOWN, "nan", "none", "na", "n/a"}
"""Words for nothing, in small letters."""


@dataclass(frozen=True)
class Term:
    """A term of today, or unknown."""

    id: str
    """Term id, or ``unknown``."""
    label: str
    """Its label today."""
    note: str = ""
    """What is doubtful, or was changed."""


def _unknown(note: str = "") -> Term:
    return Term(UNKNOWN, UNKNOWN, " ".join(note.split()))


@cache
def by_label(field: str, text: str, organism: str = HUMAN, tissue_type: str = "tissue") -> Term:
    """Return the term of a field that a label of sfaira means in an organism and kind of sample."""
    if (why := _no_term(text, text)) is not None:
        return _unknown(why)
    if field == "disease" and text == "healthy":
        return Term(NORMAL, load("PATO").label(NORMAL))
    ontologies = [load(prefix) for prefix in _prefixes(field, organism)]
    names = dict.fromkeys((text, _today(text)))
    for ontology, name in product(ontologies, names):
        try:
            return _checked(field, ontology.find(name), "", organism, tissue_type)
        except InputError as error:
            return _unknown(str(error))
        except NotFoundError:
            continue
    for ontology, name in product(ontologies, names):
        if name in (obsolete := _obsolete_labels(ontology)):
            return by_id(field, obsolete[name], text, organism, tissue_type)
    return _unknown(f"{text!r} is no label or synonym in {', '.join(map(_version, ontologies))}")


@cache
def by_id(field: str, term: str, label: str, organism: str = HUMAN, tissue_type: str = "tissue") -> Term:
    """Return the term that an id of sfaira with its label means today."""
    if (why := _no_term(term, label)) is not None:
        return _unknown(why)
    try:
        ontology = term_ontology(term)
        name = ontology.label(term)
    except NotFoundError:
        return _unknown(f"{term} ({label}) does not exist")
    if ontology.is_obsolete(term):
        return _replaced(field, term, label, organism, tissue_type)
    note = ""
    if label and label not in {"healthy", name, *ontology.synonyms(term)} and _today(label) != name:
        note = f"{term} in sfaira is {label!r}"
        if ontology.knows(label):
            return _unknown(f"sfaira contradicts itself: {term} is {name!r}, {label!r} is another term")
    return _checked(field, term, note, organism, tissue_type)


def _no_term(term: str, label: str) -> str | None:
    """Return why a row names no term, "" where it says itself that it knows none; none where it names one."""
    if NOT_A_CELL in {term, label}:
        return "no cell (doublet, debris)"
    if label.startswith(CUSTOM):
        return f"no term: {label} in sfaira"
    if {term.lower(), label.lower()} <= NOTHING:
        return ""
    alone = term.lower() in NOTHING or label.lower() == UNKNOWN
    return f"sfaira contradicts itself: label {label!r}, id {term!r}" if alone else None


def _replaced(field: str, obsolete: str, label: str, organism: str, tissue_type: str) -> Term:
    term, seen = obsolete, {obsolete}
    while (new := term_ontology(term).replaced_by(term)) and new not in seen:
        seen.add(new)
        term = new
        try:
            if not term_ontology(new).is_obsolete(new):
                return _checked(field, new, f"{obsolete} ({label}) until replaced", organism, tissue_type)
        except NotFoundError:
            return _unknown(f"{obsolete} ({label}) is obsolete, {new} that replaces it is not packaged")
    ontology = term_ontology(obsolete)
    try:
        namesake = ontology.find(_plain(ontology.label(obsolete)))
    except (NotFoundError, InputError):
        return _unknown(f"{obsolete} ({label}) is obsolete, nothing replaces it")
    note = f"{obsolete} ({label}) is obsolete, {namesake} bears its name today"
    return _checked(field, namesake, note, organism, tissue_type)


def _checked(field: str, term: str, note: str, organism: str, tissue_type: str) -> Term:
    label = term_ontology(term).label(term)
    if field == "cell_line" or (wrong := allowed(field, term, organism, tissue_type)) is None:
        return Term(term, label, note)
    return _unknown(f"{note}; {wrong}" if note else wrong)


def _prefixes(field: str, organism: str) -> tuple[str, ...]:
    if field == "development_stage":
        return ("HsapDv",) if organism == HUMAN else ("MmusDv",) if _stages_of_mouse(organism) else ("UBERON",)
    return {"cell_line": ("CVCL",), "tissue": ("UBERON",)}.get(field) or PREFIXES[field]


def _stages_of_mouse(organism: str) -> bool:
    return allowed("development_stage", "MmusDv:0000003", organism) is None


def _today(label: str) -> str:
    return re.sub(r"(\d) (month|year|week|day)-old", r"\1-\2-old", label).replace("human ", "")


def _plain(label: str) -> str:
    return re.sub(r"^obsolete[ _]", "", label)


@cache
def _obsolete_labels(ontology: Ontology) -> dict[str, str]:
    return {_plain(ontology.label(term)): term for term in reversed(ontology.ids) if ontology.is_obsolete(term)}


def _version(ontology: Ontology) -> str:
    return f"{ontology.prefix} {ontology.version}"


def label_map(field: str, rows: list[Row], organism: str, tissue_type: str) -> tuple[str, int, int]:
    """Return the label map of a table as text, how many rows it has, and how many of them carry a note."""
    found: dict[str, Term] = {}
    for row in rows:
        label, term = row.target, row.target_id
        new = (
            by_id(field, term, label, organism, tissue_type) if term else by_label(field, label, organism, tissue_type)
        )
        old = found.setdefault(row.source, new)
        if old.id != new.id:
            found[row.source] = _unknown(f"mapped to {old.id} and to {new.id}")
    lines = list(_lines(found))
    return "".join(f"{line}\n" for line in lines), len(found), sum(bool(term.note) for term in found.values())


def _lines(found: dict[str, Term]) -> Iterator[str]:
    noted = any(term.note for term in found.values())
    yield "\t".join((*MAP_COLUMNS, NOTE) if noted else MAP_COLUMNS)
    for source, term in found.items():
        yield "\t".join((source, term.id, term.label, *([term.note] if noted else [])))
