"""Fields: which terms CELLxGENE schema 7.1 allows in which column."""

import pytest

from cellzoo.errors import InputError, NotFoundError
from cellzoo.registry.fields import DELIMITER, FIELD_ROOTS, ORGANISMS, PREFIXES, allowed, id_column, ontology_of, rule
from cellzoo.registry.ontology import load, term_ontology
from cellzoo.registry.pins import PINS

FISH, WORM, PIG, FLY = "NCBITaxon:7955", "NCBITaxon:6239", "NCBITaxon:9823", "NCBITaxon:7227"
MOUSE = "NCBITaxon:10090"

GOOD = [
    ("organism", "NCBITaxon:9606", {}),
    ("organism", "NCBITaxon:9825", {}),  # Sus scrofa domesticus, below Sus scrofa
    ("assay", "EFO:0009899", {}),
    ("cell_type", "CL:0000084", {}),
    ("cell_type", "CL:0000000", {}),
    ("cell_type", "unknown", {}),
    ("cell_type", "na", {"tissue_type": "cell line"}),
    ("tissue", "UBERON:0002048", {}),
    ("tissue", "UBERON:0000922", {}),
    ("tissue", "UBERON:0002048", {"tissue_type": "organoid"}),
    ("tissue", "CL:0000084", {"tissue_type": "primary cell culture"}),
    ("tissue", "CVCL_0023", {"tissue_type": "cell line"}),
    ("disease", "PATO:0000461", {}),
    ("disease", "MONDO:0005061", {}),
    ("disease", "MONDO:0021178", {}),
    ("disease", "MONDO:0005061 || MONDO:0005148", {}),
    ("development_stage", "HsapDv:0000117", {}),
    ("development_stage", "unknown", {"organism": MOUSE}),
    ("development_stage", "MmusDv:0000062", {"organism": MOUSE}),
    ("development_stage", "UBERON:0000113", {"organism": PIG}),
    ("development_stage", "na", {"tissue_type": "cell line"}),
    ("development_stage", "unknown", {"organism": FISH}),
    ("development_stage", "ZFS:0000044", {"organism": FISH}),
    ("development_stage", "FBdv:00005369", {"organism": FLY}),
    ("development_stage", "WBls:0000669", {"organism": WORM}),
    ("cell_type", "ZFA:0009052", {"organism": FISH}),
    ("cell_type", "CL:0000084", {"organism": FISH}),
    ("cell_type", "FBbt:00005106", {"organism": FLY}),
    ("tissue", "ZFA:0000114", {"organism": FISH}),
    ("tissue", "UBERON:0002048", {"organism": FISH}),
    ("tissue", "WBbt:0005772", {"organism": WORM}),
    ("tissue", "ZFA:0009052", {"organism": FISH, "tissue_type": "primary cell culture"}),
    ("sex", "PATO:0000383", {}),
    ("sex", "unknown", {}),
    ("sex", "na", {"tissue_type": "cell line"}),
    ("sex", "PATO:0001340", {"organism": WORM}),
    ("self_reported_ethnicity", "unknown", {}),
    ("self_reported_ethnicity", "HANCESTRO:0371", {}),
    ("self_reported_ethnicity", "na", {"organism": MOUSE}),
]


@pytest.mark.parametrize(
    "term", ["na", "CHEBI:15377", "EFO:0001702", "CHEBI:15377 || EFO:0002756", "uniprot:P04637", "anti-uniprot:P04637"]
)
def test_conditions_are_substances_diets_temperature_proteins_and_antibodies(term):
    assert allowed("experimental_condition", term) is None


@pytest.mark.parametrize(("field", "term", "sample"), GOOD)
def test_what_cellxgene_allows_is_allowed(field, term, sample):
    assert allowed(field, term, **sample) is None


BAD = [
    ("organism", "NCBITaxon:9605", {}, "NCBITaxon:9605 (Homo) is not allowed as organism: expected a descendant of"),
    ("organism", "unknown", {}, "'unknown' is not allowed as organism"),
    ("assay", "EFO:0010183", {}, "EFO:0010183 (single cell library construction) is not allowed as assay"),
    ("assay", "unknown", {}, "'unknown' is not allowed as assay: expected a descendant of EFO:0002772 (assay by mol"),
    ("cell_type", "CL:0000548", {}, "CL:0000548 (obsolete animal cell) is obsolete; use CL:0000000."),
    ("cell_type", "CL:0000255", {}, "CL:0000255 (eukaryotic cell) is forbidden as cell_type."),
    ("cell_type", "CL:0000003", {}, "is obsolete; use CL:0000000."),
    ("cell_type", "na", {}, "'na' is not allowed as cell_type"),
    ("cell_type", "T cell", {}, "'T cell' is not allowed as cell_type: expected a descendant of CL:0000000 (cell) or"),
    ("cell_type", "CL:84", {}, "'CL:84' is no term of CL v2026-03-26; nearest 'T cell' (CL:0000084)."),
    ("cell_type", "UBERON:0002048", {}, "UBERON:0002048 (lung) is not allowed as cell_type"),
    ("cell_type", "CL:0000084 || CL:0000236", {}, "cell_type takes one term, not 2."),
    ("tissue", "CL:0000084", {}, "CL:0000084 (T cell) is not allowed as tissue"),
    ("tissue", "UBERON:0000922", {"tissue_type": "organoid"}, "UBERON:0000922 (embryo) is forbidden as tissue."),
    ("tissue", "unknown", {}, "'unknown' is not allowed as tissue"),
    ("tissue", "CL:0000000", {"tissue_type": "primary cell culture"}, "CL:0000000 (cell) is not allowed as tissue"),
    (
        "tissue",
        "A549",
        {"tissue_type": "cell line"},
        "'A549' is no term of CVCL 55.0; nearest 'A-549' (CVCL_0023): expected a Cellosaurus id, for example CVCL_0023",
    ),
    (
        "tissue",
        "CVCL_ZZZZ",
        {"tissue_type": "cell line"},
        "'CVCL_ZZZZ' is no term of CVCL 55.0: expected a Cellosaurus",
    ),
    ("tissue", "CVCL_0023", {}, "'CVCL_0023' is not allowed as tissue: expected a descendant of UBERON:0001062"),
    ("tissue", "UBERON:0002048", {"tissue_type": "cell line"}, "'UBERON:0002048' is no term of CVCL 55.0"),
    ("disease", "unknown", {}, "'unknown' is not allowed as disease"),
    ("disease", "MONDO:0000001", {}, "MONDO:0000001 (disease) is not allowed as disease"),
    ("disease", "MONDO:0005148 || MONDO:0005061", {}, "must be sorted and unique: MONDO:0005061 || MONDO:0005148."),
    ("disease", "MONDO:0005061 || PATO:0000461", {}, "PATO:0000461 stands alone, not beside other disease terms."),
    ("development_stage", "HsapDv:0000117", {"organism": MOUSE}, "expected a descendant of MmusDv:0000001"),
    ("development_stage", "HsapDv:0000001", {}, "HsapDv:0000001 (life cycle) is not allowed as development_stage"),
    ("development_stage", "UBERON:0000071", {"organism": PIG}, "is forbidden as development_stage."),
    ("development_stage", "ZFS:0000000", {"organism": FISH}, "is forbidden as development_stage."),
    ("development_stage", "UBERON:0000113", {"organism": FISH}, "expected a descendant of ZFS:0100000"),
    ("development_stage", "FBdv:00007012", {"organism": FLY}, "is forbidden as development_stage."),
    ("cell_type", "ZFA:0009052", {}, "is not allowed as cell_type"),
    ("cell_type", "WBbt:0006803", {"organism": WORM}, "is forbidden as cell_type."),
    ("tissue", "ZFA:0009052", {"organism": FISH}, "is forbidden as tissue."),
    ("tissue", "ZFA:0000114", {}, "is not allowed as tissue"),
    ("assay", "EFO:0010961", {}, "EFO:0010961 (Visium Spatial Gene Expression) is forbidden as assay."),
    ("experimental_condition", "CHEBI:24431", {}, "is forbidden as experimental_condition."),
    ("experimental_condition", "CHEBI:35222", {}, "is forbidden as experimental_condition."),
    ("experimental_condition", "uniprot:X", {}, "'uniprot:X' is no term of UniProt 2026-01-28"),
    ("experimental_condition", "EFO:0009899", {}, "expected a descendant of CHEBI:24431"),
    ("sex", "PATO:0000461", {}, "PATO:0000461 (normal) is not allowed as sex: expected PATO:0000383 or PATO:0000384"),
    ("sex", "unknown", {"tissue_type": "cell line"}, "'unknown' is not allowed as sex: expected na."),
    ("sex", "PATO:0000383", {"organism": WORM}, "PATO:0000383 (female) is not allowed as sex"),
    ("self_reported_ethnicity", "unknown", {"organism": MOUSE}, "'unknown' is not allowed as self_reported_ethnicity"),
    ("self_reported_ethnicity", "HANCESTRO:0601", {}, "is not allowed as self_reported_ethnicity"),
]


@pytest.mark.parametrize(("field", "term", "sample", "part"), BAD)
def test_what_cellxgene_refuses_is_refused_with_one_sentence(field, term, sample, part):
    sentence = allowed(field, term, **sample)
    assert sentence is not None
    assert part in sentence
    assert sentence.endswith(".")


@pytest.mark.parametrize("schema", PINS)
def test_roots_and_allowed_terms_exist_and_are_current(schema):
    for field, expected in FIELD_ROOTS.items():
        for term in (*expected.roots, *expected.terms):
            if ":" in term:
                assert not term_ontology(term, schema).is_obsolete(term), (field, term)


@pytest.mark.parametrize("sample", GOOD)
def test_what_7_1_allows_7_0_allows_too(sample):
    field, term, where = sample
    assert allowed(field, term, **where, schema="7.0.0") is None


@pytest.mark.parametrize(
    ("field", "term", "where", "verdict"),
    [
        ("cell_type", "CL:0020001", {}, "is no term of CL v2025-07-30"),
        ("tissue", "CVCL_F0QG", {"tissue_type": "cell line"}, "is no term of CVCL 53.0"),
    ],
)
def test_a_term_that_came_with_7_1_is_refused_by_7_0(field, term, where, verdict):
    assert allowed(field, term, **where) is None
    assert verdict in (allowed(field, term, **where, schema="7.0.0") or "")


@pytest.mark.parametrize("schema", PINS)
def test_organism_labels_are_those_of_the_taxonomy(schema):
    taxa = load("NCBITaxon", schema=schema)
    assert {taxon: taxa.label(taxon) for taxon in ORGANISMS} == ORGANISMS


@pytest.mark.parametrize(
    ("field", "text", "prefix"),
    [
        ("cell_type", "T cell", "CL"),
        ("cell_type", "no such cell", "CL"),
        ("disease", "normal", "PATO"),
        ("disease", "MONDO:0005061", "MONDO"),
        ("development_stage", "MmusDv:0000062", "MmusDv"),
        ("tissue", "CL:0000084", "CL"),
        ("tissue", "A-549", "CVCL"),
    ],
)
def test_ontology_of_finds_where_a_text_belongs(field, text, prefix):
    assert ontology_of(field, text) == prefix


def test_every_field_has_a_rule_and_an_ontology():
    assert FIELD_ROOTS.keys() == PREFIXES.keys()
    assert id_column("tissue") == "tissue_ontology_term_id"
    assert DELIMITER == " || "


def test_unknown_fields_and_tissue_types_are_refused():
    with pytest.raises(NotFoundError, match="no field 'celltype'; there are organism, assay"):
        allowed("celltype", "CL:0000084")
    with pytest.raises(NotFoundError, match="no field 'celltype'"):
        ontology_of("celltype")
    with pytest.raises(InputError, match="tissue type 'cell culture': expected one of tissue, organoid"):
        rule("tissue", tissue_type="cell culture")
