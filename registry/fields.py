"""What the CELLxGENE schema calls its columns and which terms it allows in them: the only place that spells either.

Source: schema_definition.yaml of cellxgene-schema 7.1.2 and 7.0.1. For the fields here both have the same rules; what
differs is the ontology versions they are held against.
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
CELL_TERMS = ("assay", "cell_type", "development_stage", "disease", "self_reported_ethnicity", "sex", "tissue")
"""The fields in ontology terms that every cell has: a column of ids, and one of labels that the portal writes."""
PLAIN_COLUMNS = ("donor_id", "is_primary_data", "suspension_type", "tissue_type")
"""The curated obs columns that hold no ontology term."""
CONDITION, PERTURBATION = "experimental_condition", "genetic_perturbation_id"
"""A field of terms and an obs column that are new in 7.1 and need not be there."""
OBSERVATION_JOINID, KINDS_OF_PERTURBATION = "observation_joinid", "perturbation_types"
"""The obs columns that the portal writes beside the labels."""
FEATURE_LABELS = ("feature_name", "feature_reference", "feature_biotype", "feature_length", "feature_type")
"""The var columns that the portal writes."""
RESERVED_KEYS = ("schema_version", "schema_reference", "citation", "organism")
"""The keys of uns that the portal writes, in 7.1 `PRE_ANALYSIS` too."""
PRE_ANALYSIS = "is_pre_analysis"
DEPRECATED_KEYS = (
    *("X_normalization", "default_field", "layer_descriptions", "tags", "version", "contributors", "preprint_doi"),
    *("project_description", "project_links", "project_name", "publication_doi"),
)
"""Keys of uns that are no longer allowed."""
DEPRECATED_COLUMNS = ("ethnicity", "ethnicity_ontology_term_id", "organism", "organism_ontology_term_id")
"""Columns of obs that are no longer allowed."""
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
FLY, FISH, WORM = "NCBITaxon:7227", "NCBITaxon:7955", "NCBITaxon:6239"
"""The organisms with an anatomy and stages of their own."""


@dataclass(frozen=True)
class Rule:
    """Which terms a field takes."""

    roots: tuple[str, ...] = ()
    """Terms whose descendants are allowed, themselves not."""
    terms: tuple[str, ...] = ()
    """Terms and words that are allowed beside the descendants."""
    forbidden: tuple[str, ...] = ()
    """Terms that are not allowed although they descend from a root."""
    barred: tuple[str, ...] = ()
    """Terms that are not allowed, nor is anything below them."""
    whole: tuple[str, ...] = ()
    """Ontologies all current terms of which are allowed."""
    several: bool = False
    """Whether one cell can have several terms."""


VISIUM = "EFO:0010961"
"""The generic term: only what lies below it is allowed."""
CELL_TYPES = Rule(("CL:0000000",), ("CL:0000000", UNKNOWN), ("CL:0000255", "CL:0000257", "CL:0000548"))
FIELD_ROOTS = {
    "organism": Rule(DESCENDANTS_TOO, tuple(ORGANISMS)),
    "assay": Rule(("EFO:0002772", "EFO:0010183"), forbidden=(VISIUM,)),
    "cell_type": CELL_TYPES,
    "development_stage": Rule(("UBERON:0000105",), (UNKNOWN,), ("UBERON:0000071",)),
    "disease": Rule(("MONDO:0000001", "MONDO:0021178"), (NORMAL, "MONDO:0021178"), several=True),
    "self_reported_ethnicity": Rule(("HANCESTRO:0601", "HANCESTRO:0602"), (UNKNOWN,), several=True),
    "sex": Rule((), ("PATO:0000383", "PATO:0000384", "PATO:0001340", UNKNOWN)),
    "tissue": Rule(("UBERON:0001062",)),
    "cell_line": Rule(terms=(UNKNOWN, NOT_APPLICABLE)),
}
"""What each field takes where neither organism nor tissue type says otherwise (`rule`)."""
OWN_CELLS = {FISH: "ZFA:0009000", FLY: "FBbt:00007002", WORM: "WBbt:0004017"}
OWN_TISSUES = {FISH: "ZFA:0100000", FLY: "FBbt:10000000", WORM: "WBbt:0005766"}
"""What cell types and tissues of an organism of its own anatomy lie below, beside CL and UBERON."""
OWN_STAGES = {
    FISH: Rule(("ZFS:0100000",), (UNKNOWN,), ("ZFS:0000000",)),
    FLY: Rule(("FBdv:00007014", "FBdv:00005259"), (UNKNOWN,), ("FBdv:00007012",)),
    WORM: Rule(("WBls:0000803", "WBls:0000804"), ("WBls:0000669", UNKNOWN)),
}
NO_TISSUES = ("ZFA:0001093", "WBbt:0007849", "WBbt:0007850", "WBbt:0008595")
GERM_LINE = "WBbt:0006803"
"""Of the worm: no cell type and no tissue."""
CONDITIONS = Rule(
    ("CHEBI:24431", "EFO:0002755"),
    ("EFO:0001702", "EFO:0002755", "EFO:0002756", NOT_APPLICABLE),
    tuple(
        f"CHEBI:{number}"
        for number in (
            *(23367, 24431, 24835, 24867, 24870, 25212, 25367, 25699, 33238, 33259),
            *(33497, 33595, 33674, 33675, 36357, 36358, 36914, 37577),
        )
    ),
    barred=("CHEBI:36342", "CHEBI:50906"),
    whole=("UniProt",),
    several=True,
)
"""What cells were exposed to: substances, diets, temperature, proteins and (`AGAINST`) antibodies; new in 7.1."""
AGAINST = "anti-"
"""Before the protein that an antibody binds."""
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


def find_term(field: str, text: str) -> str:
    """Return the id of the term of a field that a person names by id, label or synonym; sfaira's healthy is normal.

    NotFoundError with the nearest where there is none.
    """
    text = "normal" if field == "disease" and text == "healthy" else text
    ontology = load(ontology_of(field, text))
    return text if text in ontology else ontology.find(text)


def id_column(field: str) -> str:
    """Return the obs column with the term ids of a field."""
    return f"{field}_ontology_term_id"


def rule(field: str, organism: str = HUMAN, tissue_type: str = "tissue") -> Rule:
    """Return which terms a field takes in this organism and kind of sample; NotFoundError for an unknown field."""
    if field == CONDITION:
        return CONDITIONS
    if field not in FIELD_ROOTS:
        raise NotFoundError(f"no field {field!r}; there are {', '.join(FIELD_ROOTS)}")
    if tissue_type not in TISSUE_TYPES:
        raise InputError(f"tissue type {tissue_type!r}: expected one of {', '.join(TISSUE_TYPES)}")
    line, culture = tissue_type == "cell line", tissue_type == "primary cell culture"
    cells = Rule(
        tuple(filter(None, (*CELL_TYPES.roots, OWN_CELLS.get(organism)))),
        (*CELL_TYPES.terms, NOT_APPLICABLE) if line else (UNKNOWN,) if field == "tissue" else CELL_TYPES.terms,
        CELL_TYPES.forbidden,
        barred=(GERM_LINE,) if organism == WORM else (),
    )
    special = {
        ("cell_type", True): cells,
        ("sex", line): Rule(terms=(NOT_APPLICABLE,)),
        ("development_stage", line): Rule(terms=(NOT_APPLICABLE,)),
        ("self_reported_ethnicity", line or organism != HUMAN): Rule(terms=(NOT_APPLICABLE,)),
        ("development_stage", not line and organism == HUMAN): Rule(("HsapDv:0000001",), (UNKNOWN,)),
        ("development_stage", not line and _is_mouse(organism)): Rule(("MmusDv:0000001",), (UNKNOWN,)),
        ("sex", not line and organism == WORM): Rule(terms=("PATO:0000384", "PATO:0001340", UNKNOWN)),
        ("development_stage", not line and organism in OWN_STAGES): OWN_STAGES.get(organism, cells),
        ("tissue", culture): cells,
        ("tissue", not culture and (organism in OWN_TISSUES or tissue_type == "organoid")): Rule(
            tuple(filter(None, ("UBERON:0001062", OWN_TISSUES.get(organism)))),
            forbidden=(*NO_TISSUES, "UBERON:0000922") if tissue_type == "organoid" else NO_TISSUES,
            barred=(*OWN_CELLS.values(), GERM_LINE) if organism in OWN_TISSUES else (),
        ),
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
    if expected is CONDITIONS:
        term_id = term_id.removeprefix(AGAINST)
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
    above = set(ontology.ancestors(term_id))
    if term_id in expected.forbidden or not above.union([term_id]).isdisjoint(expected.barred):
        return f"{name} is forbidden as {field}."
    return (
        None
        if ontology.prefix in expected.whole or not above.isdisjoint(expected.roots)
        else f"{name} is not allowed as {field}: expected {_expectation(expected)}."
    )


def _expectation(expected: Rule) -> str:
    below = [f"a descendant of {root} ({term_ontology(root).label(root)})" for root in expected.roots]
    return " or ".join([*below, *(f"a term of {prefix}" for prefix in expected.whole), *expected.terms])


def _is_mouse(organism: str) -> bool:
    taxa = load("NCBITaxon")
    return organism in taxa and taxa.is_descendant(organism, MOUSE, include_self=True)
