"""Ontologies: the pinned data, held against its source and against a second reader of the typed releases."""

import csv
import io
from collections import defaultdict
from functools import cache

import pytest
from cellxgene_ontology_guide.ontology_parser import OntologyParser
from pronto.ontology import Ontology as Obo

from cellzoo.errors import InputError, NotFoundError
from cellzoo.registry import build
from cellzoo.registry.ontology import FOLDER, Ontology, load, nearest_of, packaged, term_ontology

HSAPDV = "f34aca8f2bb21acd0895db928f325e39022002dbaddaf679d28ae9776dcd012d"
SLIMS = {
    "62e111627577a451b83884bb229b027572cb54d2e5886850a587d4f9375f6002": 162,  # blood_and_immune_upper_slim.obo
    "c1da852f27157742be4b2324ef1067277d15aafd96b627030768ef6edddcfc80": 85,  # general_cell_types_upper_slim.obo
}
NOT_FOR_PRONTO = ("xref:", "property_value:", "def:", "synonym:", "comment:")  # one xref of the slims it cannot parse


@cache
def guide() -> OntologyParser:
    return OntologyParser("v7.1.0")


def test_the_packaged_versions_are_those_cellxgene_7_1_pins():
    assert packaged() == {prefix: [version] for prefix, version in sorted(build.PINS.items())}


@pytest.mark.parametrize(("prefix", "step"), [("CL", 1), ("HsapDv", 1), ("MmusDv", 1), ("PATO", 5), ("UBERON", 40)])
def test_ancestors_and_labels_equal_the_ontology_guide(prefix, step):
    ontology = load(prefix)
    for term in ontology.ids[::step]:
        assert ontology.ancestors(term) == sorted(guide().get_term_ancestors(term)), term
        assert ontology.parents(term) == sorted(guide().get_term_parents(term)), term
        assert ontology.label(term) == " ".join(guide().get_term_label(term).split())
        assert ontology.is_obsolete(term) == guide().is_term_deprecated(term)
        assert ontology.replaced_by(term) == guide().get_term_replacement(term)


@pytest.mark.parametrize("prefix", ["CL", "UBERON", "EFO"])
def test_descendants_equal_the_ontology_guide(prefix):
    ontology = load(prefix)
    below = defaultdict(set)
    for term in ontology.ids:
        for ancestor in guide().get_term_ancestors(term):
            below[ancestor].add(term)
    for term in ontology.ids[:: 1 if prefix == "CL" else 20]:
        assert ontology.descendants(term) == sorted(below[term]), term


def test_efo_keeps_ancestors_that_are_reached_through_other_ontologies_only():
    assert load("EFO").parents("EFO:0000324") == []  # cell type: its parents are terms of BFO
    assert load("EFO").ancestors("EFO:0000324") == ["EFO:0000001"]


@pytest.mark.filterwarnings("ignore::Warning:pronto")
@pytest.mark.parametrize("sha256", SLIMS)
def test_is_a_ancestors_of_cl_equal_pronto_on_the_typed_slims(mirror, sha256):
    lines = (mirror / sha256).read_text("utf-8").splitlines(keepends=True)
    slim = Obo(io.BytesIO("".join(x for x in lines if not x.startswith(NOT_FOR_PRONTO)).encode()))
    compared = [term for term in slim.terms() if term.id in load("CL") and not load("CL").is_obsolete(term.id)]
    for term in compared:
        above = sorted(x.id for x in term.superclasses(with_self=False) if x.id.startswith("CL:"))
        assert load("CL").ancestors(term.id, relations=["is_a"]) == above, term
    assert len(compared) == SLIMS[sha256]


@pytest.mark.filterwarnings("ignore::Warning:pronto")
def test_is_a_ancestors_of_stages_equal_pronto(mirror):
    with (mirror / HSAPDV).open("rb") as stream:
        obo = Obo(stream)
    stages = [term for term in obo.terms() if term.id in load("HsapDv") and not load("HsapDv").is_obsolete(term.id)]
    for term in stages:
        above = sorted(x.id for x in term.superclasses(with_self=False))
        assert load("HsapDv").ancestors(term.id, relations=["is_a"]) == above, term
    assert len(stages) == 239


@pytest.mark.parametrize(
    ("term", "relations", "parents"),
    [
        pytest.param("UBERON:0000006", ["is_a"], ["UBERON:0034922"], id="an islet is a cell cluster"),
        pytest.param("UBERON:0000006", "part_of", ["UBERON:0000016"], id="an islet is part of the endocrine pancreas"),
        pytest.param("UBERON:0000006", ["is_a", "part_of"], ["UBERON:0000016", "UBERON:0034922"], id="both"),
        pytest.param("UBERON:0000178", ["is_a"], ["UBERON:0000179"], id="blood is a haemolymphatic fluid"),
        pytest.param("CL:0000624", ["is_a"], ["CL:0000791"], id="a CD4 T cell is a mature alpha-beta T cell"),
        pytest.param("CL:0000624", ["part_of"], [], id="no cell type is part of another"),
        pytest.param("HsapDv:0000117", ["part_of"], ["HsapDv:0000237"], id="stages lie in stages"),
    ],
)
def test_relations_are_kept_apart(term, relations, parents):
    assert term_ontology(term).parents(term, relations=relations) == parents


def test_organs_above_the_pancreas_are_typed_up_to_the_root():
    uberon = load("UBERON")
    assert "UBERON:0001264" not in uberon.ancestors("UBERON:0000006", relations=["is_a"])
    assert uberon.is_descendant("UBERON:0000006", "UBERON:0001264")
    assert uberon.ancestors("UBERON:0000016", relations=["part_of"]) == [
        "UBERON:0000949", "UBERON:0001264",
    ]  # fmt: skip


def test_no_part_of_a_cell_is_a_cell():
    cl = load("CL")
    parts = set(cl.descendants("CL:0000000")) - set(cl.descendants("CL:0000000", relations=["is_a"]))
    assert len(parts) == 8
    assert all(
        "cytoplasm" in cl.label(part) or "nucleus" in cl.label(part) or "chrom" in cl.label(part) for part in parts
    )


def test_one_relation_alone_is_refused_where_the_source_merged_them():
    with pytest.raises(InputError, match=r"UBERON v2026-04-01 does not say whether UBERON:\d+ \(.+\) and .+ both rel"):
        load("UBERON").descendants("UBERON:0002048", relations=["is_a"])


def test_curated_relations_type_links_of_the_source_and_label_them_rightly():
    uberon = load("UBERON")
    with (FOLDER / "uberon_relations.tsv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    for row in rows:
        assert row["parent"] in uberon.parents(row["child"])
        assert (uberon.label(row["child"]), uberon.label(row["parent"])) == (row["child_label"], row["parent_label"])
    assert len(rows) == 13


@pytest.mark.parametrize(
    ("prefix", "text", "term"),
    [
        pytest.param("CL", "T cell", "CL:0000084", id="a label"),
        pytest.param("CL", "T lymphocyte", "CL:0000084", id="a synonym"),
        pytest.param("UBERON", "lung", "UBERON:0002048", id="an organ"),
        pytest.param("EFO", "10x 3' v2", "EFO:0009899", id="an assay"),
        pytest.param("MONDO", "disease", "MONDO:0000001", id="a root"),
        pytest.param("NCBITaxon", "mouse", "NCBITaxon:10090", id="a species by a name its genus shares"),
        pytest.param("HsapDv", "infant stage", "HsapDv:0000261", id="the current one of two terms with one label"),
    ],
)
def test_find_knows_labels_and_synonyms(prefix, text, term):
    assert load(prefix).find(text) == term
    assert load(prefix).knows(text)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: load("CL").find("T-cel"), "'T-cel' is no CL label or synonym; nearest 'T cell' (CL:0000084)"),
        (lambda: load("CL").label("CL:84"), "'CL:84' is no term of CL v2026-03-26; nearest 'T cell' (CL:0000084)"),
        (
            lambda: load("CL").ancestors("T cell"),
            "'T cell' is no term of CL v2026-03-26; nearest 'T cell' (CL:0000084)",
        ),
        (lambda: load("CL").label("CL:9999999"), "'CL:9999999' is no term of CL v2026-03-26"),
        (lambda: load("CL", "v1"), "CL v1 is not packaged; there is v2026-03-26"),
        (lambda: term_ontology("T cell"), "'T cell' is no term id; expected PREFIX:NUMBER, for example CL:0000084"),
        (lambda: load("ZFA"), f"no ontology 'ZFA' is packaged; there are {', '.join(packaged())}"),
    ],
)
def test_what_is_unknown_is_named_with_the_nearest(ask, message):
    with pytest.raises(NotFoundError) as error:
        ask()
    assert str(error.value) == message


def test_a_synonym_of_several_terms_is_refused():
    message = r"'CS04' names several HsapDv terms: HsapDv:0000008 \(.+\), HsapDv:0000009 \(.+\)"
    with pytest.raises(InputError, match=message):
        load("HsapDv").find("CS04")


@pytest.mark.parametrize("relations", [[], ["develops_from"], "isa"])
def test_relations_are_a_closed_list(relations):
    with pytest.raises(InputError, match="relations are one or both of is_a, part_of"):
        load("CL").parents("CL:0000084", relations=relations)


def test_nearest_of_ends_an_error_message():
    assert nearest_of("pbmc3", ["pbmc3k", "lung"]) == "; nearest 'pbmc3k'"
    assert nearest_of("zzz", ["pbmc3k", "lung"]) == ""


def test_leaves_are_current_and_have_nothing_below():
    cl = load("CL")
    leaves = cl.leaves()
    assert "CL:0000084" not in leaves
    assert len(leaves) == 2119
    assert not any(cl.children(leaf) or cl.descendants(leaf) or cl.is_obsolete(leaf) for leaf in leaves)


def test_children_and_parents_mirror_each_other():
    cl = load("CL")
    assert all(term in cl.parents(child) for term in cl.ids for child in cl.children(term))
    assert "CL:0000624" in cl.children("CL:0000791")


def test_a_term_stands_below_itself_only_where_asked():
    cl = load("CL")
    assert not cl.is_descendant("CL:0000084", "CL:0000084")
    assert cl.is_descendant("CL:0000084", "CL:0000084", include_self=True)
    assert set(cl.descendants("CL:0000084", include_self=True)) - set(cl.descendants("CL:0000084")) == {"CL:0000084"}


def test_ethnicities_of_afpo_are_filed_under_hancestro():
    term = next(term for term in load("HANCESTRO").ids if term.startswith("AfPO"))
    assert term_ontology(term) is load("HANCESTRO", "v2025-10-14")


def test_the_packaged_file_is_what_the_source_compiles_to(tmp_path):
    columns = build.ontology("CL", build.read_terms("CL"), {})
    for name in ("one.npz", "two.npz"):
        build.write(tmp_path / name, columns)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    fresh, shipped = Ontology("CL", "v", tmp_path / "one.npz")._columns, load("CL")._columns
    assert fresh.files == shipped.files
    assert all((fresh[name] == shipped[name]).all() for name in fresh.files)


def test_the_build_stops_at_a_relation_that_contradicts_its_rule():
    terms: build.Terms = {"CL:1": {"ancestors": {"CL:2": 1}}, "CL:2": {"ancestors": {}}}
    with pytest.raises(InputError, match="CL:1 -> CL:2: relation bits 2, against the rule for CL"):
        list(build.term_links("CL", "CL:1", terms, {("CL:1", "CL:2"): build.PART_OF}))
