"""What the CELLxGENE schema calls its columns and which terms it allows in them: the only place that spells either.

Source: schema_definition.yaml of cellxgene-schema 7.1.2 and 7.0.1. For the fields here both have the same rules; what
differs is the ontology versions they are held against. Left out: the own ontologies of fish, fly and worm, which are
not packaged.
"""

from __future__ import annotations

from dataclasses import dataclass

from cellzoo.errors import InputError, NotFoundError
from cellzoo.registry.ontology import current, load, term_ontology
from cellzoo.registry.pins import SCHEMA

HUMAN, MOUSE = "NCBITaxon:9606", "NCBITaxon:10090"
UNKNOWN, NOT_APPLICABLE, NORMAL = "unknown", "na", "PATO:0000461"
DELIMITER = " || "
"""Between the terms of one cell, which are sorted and unique."""
TISSUE_TYPES = ("tissue", "organoid", "primary cell culture", "cell line")
SUSPENSION_TYPES = ("cell", "nucleus", "na")
PLAIN_COLUMNS = ("donor_id", "is_primary_data", "suspension_type", "tissue_type")
"""The curated obs columns that hold no ontology term."""
ORGANISM_KEY = "organism_ontology_term_id"
"""Key of the organism in uns: one per file since schema 6.0."""
ORGANISMS = {
    "NCBITaxon:9606": "Homo sapiens",
    "NCBITaxon:10090": "Mus musculus",
    "NCBITaxon:7227": "Drosophila melanogaster",
    "NCBITaxon:7955": "Danio rerio",
    "NCBITaxon:6239": "Caenorhabditis elegans",
    "NCBITaxon:9541": "Macaca fascicularis",
    "NCBITaxon:9986": "Oryctolagus cuniculus",
    "NCBITaxon:9483": "Callithrix jacchus",
    "NCBITaxon:9595": "Gorilla gorilla gorilla",
    "NCBITaxon:9544": "Macaca mulatta",
    "NCBITaxon:9598": "Pan troglodytes",
    "NCBITaxon:9823": "Sus scrofa",
    "NCBITaxon:30608": "Microcebus murinus",
    "NCBITaxon:10116": "Rattus norvegicus",
}
DESCENDANTS_TOO = tuple(f"NCBITaxon:{taxon}" for taxon in (9541, 9544, 10090, 9986, 9598, 10116, 9823))
"""Organisms whose subspecies are allowed as well."""
FOREIGN_STAGES = ("NCBITaxon:7227", "NCBITaxon:7955", "NCBITaxon:6239")
"""Organisms with developmental stages of an ontology that is not packaged: only "unknown" can be checked."""


@dataclass(frozen=True)
class Rule:
    """Which terms a field takes."""

    roots: tuple[str, ...] = ()
    """Terms whose descendants are allowed, themselves not."""
    terms: tuple[str, ...] = ()
    """Terms and words that are allowed beside the descendants."""
    forbidden: tuple[str, ...] = ()
    """Terms that are not allowed although they descend from a root."""
    several: bool = False
    """Whether one cell can have several terms."""


CELL_TYPES = Rule(("CL:0000000",), ("CL:0000000", UNKNOWN), ("CL:0000255", "CL:0000257", "CL:0000548"))
FIELD_ROOTS = {
    "organism": Rule(DESCENDANTS_TOO, tuple(ORGANISMS)),
    "assay": Rule(("EFO:0002772", "EFO:0010183")),
    "cell_type": CELL_TYPES,
    "development_stage": Rule(("UBERON:0000105",), (UNKNOWN,), ("UBERON:0000071",)),
    "disease": Rule(("MONDO:0000001", "MONDO:0021178"), (NORMAL, "MONDO:0021178"), several=True),
    "self_reported_ethnicity": Rule(("HANCESTRO:0601", "HANCESTRO:0602"), (UNKNOWN,), several=True),
    "sex": Rule((), ("PATO:0000383", "PATO:0000384", "PATO:0001340", UNKNOWN)),
    "tissue": Rule(("UBERON:0001062",)),
    "cell_line": Rule(terms=(UNKNOWN, NOT_APPLICABLE)),
}
"""What each field takes where neither organism nor tissue type says otherwise (`rule`)."""
PREFIXES = {
    "organism": ("NCBITaxon",),
    "assay": ("EFO",),
    "cell_type": ("CL",),
    "development_stage": ("HsapDv", "MmusDv", "UBERON"),
    "disease": ("MONDO", "PATO"),
    "self_reported_ethnicity": ("HANCESTRO",),
    "sex": ("PATO",),
    "tissue": ("UBERON", "CL", "CVCL"),
    "cell_line": ("CVCL",),
}
"""The packaged ontologies of each field, the usual one first."""


def ontology_of(field: str, text: str = "", schema: str = SCHEMA) -> str:
    """Return the prefix of the ontology that knows a term id, label or synonym of a field, else that of the field.

    >>> ontology_of("disease", "normal"), ontology_of("disease", "lung cancer"), ontology_of("disease")
    ('PATO', 'MONDO', 'MONDO')
    """
    if field not in PREFIXES:
        raise NotFoundError(f"no field {field!r}; there are {', '.join(PREFIXES)}")
    return next((prefix for prefix in PREFIXES[field] if load(prefix, schema=schema).knows(text)), PREFIXES[field][0])


def id_column(field: str) -> str:
    """Return the obs column with the term ids of a field."""
    return f"{field}_ontology_term_id"


def rule(field: str, organism: str = HUMAN, tissue_type: str = "tissue") -> Rule:
    """Return which terms a field takes in this organism and kind of sample; NotFoundError for an unknown field."""
    if field not in FIELD_ROOTS:
        raise NotFoundError(f"no field {field!r}; there are {', '.join(FIELD_ROOTS)}")
    if tissue_type not in TISSUE_TYPES:
        raise InputError(f"tissue type {tissue_type!r}: expected one of {', '.join(TISSUE_TYPES)}")
    line = tissue_type == "cell line"
    special = {
        ("cell_type", line): Rule(CELL_TYPES.roots, (*CELL_TYPES.terms, NOT_APPLICABLE), CELL_TYPES.forbidden),
        ("sex", line): Rule(terms=(NOT_APPLICABLE,)),
        ("development_stage", line): Rule(terms=(NOT_APPLICABLE,)),
        ("self_reported_ethnicity", line or organism != HUMAN): Rule(terms=(NOT_APPLICABLE,)),
        ("development_stage", not line and organism == HUMAN): Rule(("HsapDv:0000001",), (UNKNOWN,)),
        ("development_stage", not line and _is_mouse(organism)): Rule(("MmusDv:0000001",), (UNKNOWN,)),
        ("sex", not line and organism == "NCBITaxon:6239"): Rule(terms=("PATO:0000384", "PATO:0001340", UNKNOWN)),
        ("development_stage", not line and organism in FOREIGN_STAGES): Rule(terms=(UNKNOWN,)),
        ("tissue", tissue_type == "primary cell culture"): Rule(CELL_TYPES.roots, (UNKNOWN,), CELL_TYPES.forbidden),
        ("tissue", tissue_type == "organoid"): Rule(("UBERON:0001062",), forbidden=("UBERON:0000922",)),
    }
    return special.get((field, True), FIELD_ROOTS[field])


def allowed(
    field: str, term_id: str, organism: str = HUMAN, tissue_type: str = "tissue", schema: str = SCHEMA
) -> str | None:
    """Return None if this version of the CELLxGENE schema allows a term in a field, else one sentence: what is wrong.

    `term_id` is what one cell holds: a term id, "unknown" or "na" where allowed, or terms joined by `DELIMITER`.

    >>> allowed("sex", "PATO:0000384")
    >>> allowed("cell_type", "CL:0000255")
    'CL:0000255 (eukaryotic cell) is forbidden as cell_type.'
    """
    if (field == "tissue" and tissue_type == "cell line") or (field == "cell_line" and term_id.startswith("CVCL")):
        return _cell_line(term_id, schema)
    expected = rule(field, organism, tissue_type)
    terms = term_id.split(DELIMITER)
    if len(terms) > 1:
        return _several(field, terms, expected, schema)
    return _one(field, term_id, expected, schema)


def _cell_line(term_id: str, schema: str) -> str | None:
    try:
        load("CVCL", schema=schema).label(term_id)
    except NotFoundError as error:
        return f"{error}: expected a Cellosaurus id, for example CVCL_0023 (A-549)."
    return None


def _several(field: str, terms: list[str], expected: Rule, schema: str) -> str | None:
    if not expected.several:
        return f"{field} takes one term, not {len(terms)}."
    if terms != sorted(set(terms)):
        return f"The {field} terms must be sorted and unique: {DELIMITER.join(sorted(set(terms)))}."
    if alone := sorted({NORMAL, UNKNOWN, NOT_APPLICABLE} & set(terms)):
        return f"{alone[0]} stands alone, not beside other {field} terms."
    return next((wrong for term in terms if (wrong := _one(field, term, expected, schema))), None)


def _one(field: str, term_id: str, expected: Rule, schema: str) -> str | None:
    if term_id in expected.terms:
        return None
    if ":" not in term_id:
        return f"{term_id!r} is not allowed as {field}: expected {_expectation(expected)}."
    try:
        ontology = term_ontology(term_id, schema)
        name = f"{term_id} ({ontology.label(term_id)})"
    except NotFoundError as error:
        return f"{error}."
    if ontology.is_obsolete(term_id):
        return f"{name} is obsolete; " + (f"use {new}." if (new := current(term_id, schema)) else "find another.")
    if term_id in expected.forbidden:
        return f"{name} is forbidden as {field}."
    below = not set(expected.roots).isdisjoint(ontology.ancestors(term_id))
    return None if below else f"{name} is not allowed as {field}: expected {_expectation(expected)}."


def _expectation(expected: Rule) -> str:
    below = [f"a descendant of {root} ({term_ontology(root).label(root)})" for root in expected.roots]
    return " or ".join([*below, *expected.terms])


def _is_mouse(organism: str) -> bool:
    taxa = load("NCBITaxon")
    return organism in taxa and taxa.is_descendant(organism, MOUSE, include_self=True)
