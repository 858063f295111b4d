"""Ontologies of one's own: compiled files beside pronto, and extensions that attach or are refused."""

import io
import json
import subprocess
import sys
import warnings
from functools import cache
from pathlib import Path

import pytest
from pronto.ontology import Ontology as Pronto

from cellzoo import settings
from cellzoo.errors import CardError, MissingExtraError, WorldError
from cellzoo.registry.obo import compile_ontology, extend
from cellzoo.registry.ontology import load

CL_BASIC = "2d8eabdade868831d0b4e7af008ed69a998bc1ec3f70fdf0463c7b6d8c6b7169"
BLOOD_SLIM = "62e111627577a451b83884bb229b027572cb54d2e5886850a587d4f9375f6002"
GENERAL_SLIM = "c1da852f27157742be4b2324ef1067277d15aafd96b627030768ef6edddcfc80"
RELEASES = {CL_BASIC: 2692, BLOOD_SLIM: 1078, GENERAL_SLIM: 713}

ZOO = """format-version: 1.4
data-version: releases/2026-11-01
ontology: zoo

[Term]
id: ZOO:0000001
name: keeper T cell
def: "A T cell of the zoo." [keeper:1]
synonym: "zoo T lymphocyte" EXACT []
synonym: "zoo cell" BROAD []
is_a: CL:0000084 ! T cell

[Term]
id: ZOO:0000002
name: night keeper T cell
is_a: ZOO:0000001 ! keeper T cell
relationship: part_of CL:0000624
relationship: develops_from CL:0000542

[Term]
id: ZOO:0000003
name: obsolete day keeper T cell
is_obsolete: true
replaced_by: ZOO:0000001

[Typedef]
id: part_of
name: part of
"""

OWL = """<?xml version="1.0"?>
<rdf:RDF xmlns:owl="http://www.w3.org/2002/07/owl#" xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"
 xmlns:rdfs="http://www.w3.org/2000/01/rdf-schema#" xmlns:obo="http://purl.obolibrary.org/obo/"
 xmlns:oboInOwl="http://www.geneontology.org/formats/oboInOwl#">
 <owl:Ontology rdf:about="http://purl.obolibrary.org/obo/zoo.owl">
  <owl:versionIRI rdf:resource="http://purl.obolibrary.org/obo/zoo/2026-11-02/zoo.owl"/>
 </owl:Ontology>
 <owl:AnnotationProperty rdf:about="http://purl.obolibrary.org/obo/IAO_0000115"/>
 <owl:ObjectProperty rdf:about="http://purl.obolibrary.org/obo/BFO_0000050"/>
 <owl:Class rdf:about="http://purl.obolibrary.org/obo/ZOO_0000001">
  <rdfs:subClassOf rdf:resource="http://purl.obolibrary.org/obo/CL_0000084"/>
  <obo:IAO_0000115>A T cell of the zoo.</obo:IAO_0000115>
  <oboInOwl:hasExactSynonym>zoo T lymphocyte</oboInOwl:hasExactSynonym>
  <rdfs:label>keeper T cell</rdfs:label>
 </owl:Class>
 <owl:Class rdf:about="http://purl.obolibrary.org/obo/ZOO_0000002">
  <rdfs:subClassOf rdf:resource="http://purl.obolibrary.org/obo/ZOO_0000001"/>
  <rdfs:subClassOf><owl:Restriction>
   <owl:onProperty rdf:resource="http://purl.obolibrary.org/obo/BFO_0000050"/>
   <owl:someValuesFrom rdf:resource="http://purl.obolibrary.org/obo/CL_0000624"/>
  </owl:Restriction></rdfs:subClassOf>
  <rdfs:label>night keeper T cell</rdfs:label>
 </owl:Class>
</rdf:RDF>
"""


def written(folder: Path, text: str, name: str = "zoo.obo") -> Path:
    path = folder / name
    path.write_text(text)
    return path


@cache
def parsed(path: Path) -> Pronto:
    """The file as pronto alone reads it; without what it cannot read of the slims."""
    unread = ("xref:", "property_value:", "def:", "synonym:", "comment:", "relationship: BSPO:")
    lines = path.read_text("utf-8").splitlines(keepends=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Pronto(io.BytesIO("".join(line for line in lines if not line.startswith(unread)).encode()))


@pytest.mark.parametrize("sha256", RELEASES)
def test_every_term_has_the_ancestors_descendants_and_leaves_that_pronto_gives(mirror, sha256):
    ours, oracle = compile_ontology(mirror / sha256), parsed(mirror / sha256)
    terms = {term.id: term for term in oracle.terms()}
    assert ours.ids == sorted(terms)
    assert len(terms) == RELEASES[sha256]
    for term_id, term in terms.items():
        above = sorted(one.id for one in term.superclasses(with_self=False))
        below = sorted(one.id for one in term.subclasses(with_self=False))
        assert ours.ancestors(term_id, relations="is_a") == above, term_id
        assert ours.descendants(term_id, relations="is_a") == below, term_id
        assert ours.label(term_id) == " ".join((term.name or "").split())
        assert ours.is_obsolete(term_id) == term.obsolete
    leaves = sorted(term_id for term_id, term in terms.items() if term.is_leaf() and not term.obsolete)
    assert ours.leaves(relations="is_a") == leaves
    assert len(leaves) > 300


@pytest.mark.parametrize("sha256", RELEASES)
def test_every_term_has_the_links_over_part_of_that_pronto_gives(mirror, sha256):
    ours, oracle = compile_ontology(mirror / sha256), parsed(mirror / sha256)
    direct = {
        term.id: {up.id for up in term.superclasses(distance=1, with_self=False)}
        | {up.id for kind, ups in term.relationships.items() if kind.id in {"part_of", "BFO:0000050"} for up in ups}
        for term in oracle.terms()
    }
    for term_id, parents in direct.items():
        seen: set[str] = set()
        todo = [term_id]
        while todo:
            fresh = direct[todo.pop()] - seen
            seen |= fresh
            todo.extend(fresh)
        assert ours.parents(term_id) == sorted(parents), term_id
        assert ours.ancestors(term_id) == sorted(seen - {term_id}), term_id


def test_a_release_is_named_by_its_header(mirror):
    assert repr(compile_ontology(mirror / CL_BASIC)) == "<Ontology CL 2022-11-25: 2692 terms>"
    assert repr(compile_ontology(mirror / BLOOD_SLIM)) == "<Ontology CL 2026-06-08: 1078 terms>"
    assert compile_ontology(mirror / BLOOD_SLIM, prefix="blood").prefix == "blood"


def test_definitions_and_exact_synonyms_are_read_past_malformed_cross_references(mirror):
    slim = compile_ontology(mirror / BLOOD_SLIM)
    assert slim.description("CL:0000084") == load("CL").description("CL:0000084")
    assert slim.synonyms("CL:0000084") == sorted(load("CL").synonyms("CL:0000084"))


def test_a_file_is_compiled_once_and_again_when_it_changes(tmp_path, monkeypatch):
    path = written(tmp_path, ZOO)
    first = compile_ontology(path)
    assert first.path.is_relative_to(settings.home())
    monkeypatch.setitem(sys.modules, "pronto.ontology", None)  # from here on, no pronto
    assert compile_ontology(path).path == first.path
    path.write_text(ZOO.replace("keeper", "feeder"))
    with pytest.raises(MissingExtraError, match=r"pip install 'cellzoo\[ontology\]'"):
        compile_ontology(path)
    assert sorted(settings.home().glob("ontologies/*")) == [first.path]


def test_pronto_is_imported_only_where_a_file_is_read():
    code = "import sys, cellzoo.registry.obo, cellzoo.cli; assert not {'pronto', 'rapidfuzz'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(("name", "text"), [("zoo.obo", ZOO), ("zoo.owl", OWL)])
def test_an_extension_attaches_below_existing_terms(tmp_path, name, text):
    cl = load("CL")
    zoo = extend(cl, written(tmp_path, text, name))
    assert zoo.parents("ZOO:0000001") == ["CL:0000084"]
    assert zoo.links("ZOO:0000002") == {"ZOO:0000001": ("is_a",), "CL:0000624": ("part_of",)}
    assert set(zoo.descendants("CL:0000084")) - set(cl.descendants("CL:0000084")) == {"ZOO:0000001", "ZOO:0000002"}
    assert set(zoo.ancestors("ZOO:0000001")) == {"CL:0000084", *cl.ancestors("CL:0000084")}
    assert zoo.find("keeper T cell") == zoo.find("zoo T lymphocyte") == "ZOO:0000001"
    assert zoo.description("ZOO:0000001") == "A T cell of the zoo."
    assert zoo.version.startswith("v2026-03-26 + zoo 2026-11-0")
    assert not zoo.is_common("ZOO:0000001")


def test_an_extension_leaves_everything_else_as_it_was(tmp_path):
    cl, zoo = load("CL"), extend(load("CL"), written(tmp_path, ZOO))
    assert len(zoo) == len(cl) + 3
    assert {term: all_of for term, all_of in zoo.terms().items() if term in cl} == cl.terms()
    for term in cl.ids:
        assert zoo.ancestors(term) == cl.ancestors(term)
    assert zoo.replaced_by("ZOO:0000003") == "ZOO:0000001"
    assert "ZOO:0000003" not in zoo.leaves()


def test_an_older_version_can_be_extended_too(tmp_path):
    zoo = extend(load("CL", schema="7.0.0"), written(tmp_path, ZOO))
    assert zoo.label("CL:0000084") == "T cell"
    assert zoo.version.startswith("v2025-07-30 + zoo")


def test_what_an_extension_repeats_of_existing_terms_is_no_change(tmp_path):
    known = "\n[Term]\nid: CL:0000084\nname: T cell\nis_a: CL:0000542 ! lymphocyte\n"
    assert "ZOO:0000001" in extend(load("CL"), written(tmp_path, ZOO + known))


CL = "<Ontology CL v2026-03-26: 3596 terms>"
REFUSED = [
    pytest.param(
        "\n[Term]\nid: CL:0000084\nname: T-lymphocyte of mine\n",
        "zoo.obo:31: error ONTO001: CL:0000084 (T cell) exists in " + CL + " with another label.",
        id="another label for an existing term",
    ),
    pytest.param(
        '\n[Term]\nid: CL:0000084\nname: T cell\nsynonym: "Tee" EXACT []\n',
        "zoo.obo:31: error ONTO001: CL:0000084 (T cell) exists in " + CL + " with another synonyms.",
        id="another synonym for an existing term",
    ),
    pytest.param(
        "\n[Term]\nid: CL:0000084\nname: T cell\nis_obsolete: true\n",
        "with another obsolescence.",
        id="an existing term withdrawn",
    ),
    pytest.param(
        "\n[Term]\nid: CL:0000084\nis_a: CL:0000236\n",
        "zoo.obo:31: error ONTO002: CL:0000084 (T cell) exists and is not below CL:0000236.",
        id="a link between existing terms",
    ),
    pytest.param(
        "\n[Term]\nid: CL:0000084\nis_a: ZOO:0000001\n",
        "zoo.obo:31: error ONTO002: CL:0000084 (T cell) exists and is not below ZOO:0000001.",
        id="an existing term below a new one",
    ),
    pytest.param(
        "\n[Term]\nid: ZOO:0000009\nname: stray cell\nis_a: CL:9999999\n",
        "zoo.obo:31: error ONTO003: ZOO:0000009 (stray cell) lies below CL:9999999, in neither " + CL + " nor",
        id="a parent that does not exist",
    ),
    pytest.param(
        "\n[Term]\nid: ZOO:0000009\nname: native cell of mine\nis_a: CL:0000003\n",
        "zoo.obo:31: error ONTO003: ZOO:0000009 (native cell of mine) lies below CL:0000003, obsolete in " + CL,
        id="a parent that is obsolete",
    ),
    pytest.param(
        "\n[Term]\nid: ZOO:0000009\nname: stray cell\n",
        "zoo.obo:31: error ONTO004: ZOO:0000009 (stray cell) lies below no term of",
        id="no parent",
    ),
    pytest.param(
        "\n[Term]\nid: ZOO:0000008\nname: a\nis_a: ZOO:0000009\n"
        "\n[Term]\nid: ZOO:0000009\nname: b\nis_a: ZOO:0000008\n",
        "zoo.obo:36: error ONTO004: ZOO:0000009 (b) lies below no term of",
        id="a circle of its own",
    ),
    pytest.param(
        "\n[Term]\nid: ZOO:0000009\nname: B cell\nis_a: CL:0000084\n",
        "zoo.obo:31: error ONTO001: the label 'B cell' of ZOO:0000009 already names CL:0000236.",
        id="the label of an existing term",
    ),
]


@pytest.mark.parametrize(("more", "message"), REFUSED)
def test_what_is_no_extension_is_refused_with_file_and_term(tmp_path, more, message):
    with pytest.raises(CardError) as error:
        extend(load("CL"), written(tmp_path, ZOO + more))
    assert message in str(error.value)
    assert not list(settings.home().glob("ontologies/*"))


def test_all_findings_are_shown_together(tmp_path):
    more = "\n[Term]\nid: ZOO:0000009\nname: B cell\n\n[Term]\nid: ZOO:0000010\nname: x\nis_a: CL:9999999\n"
    with pytest.raises(CardError) as error:
        extend(load("CL"), written(tmp_path, ZOO + more))
    assert [finding.code for finding in error.value.findings] == ["ONTO001", "ONTO004", "ONTO003"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("zoo.obo", "", "ONTO000: holds no terms."),
        ("zoo.obo", "hello world", "ONTO000"),
        ("zoo.obo", ZOO + "\n[Term]\nid: ZOO:0000009\nis_a: \n", "zoo.obo:32: error ONTO000: cannot be read: "),
        ("zoo.owl", OWL[:900], "zoo.owl"),
        ("zoo.json", "{", "ONTO000: is no OBO, OWL (RDF/XML) or OBO-graph JSON file that pronto can read"),
        ("zoo.json", "[]", "ONTO000"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_finding(tmp_path, name, text, message):
    with pytest.raises(CardError) as error:
        compile_ontology(written(tmp_path, text, name))
    assert message in str(error.value)


def test_an_owl_file_cannot_draw_other_files_in(tmp_path):
    (tmp_path / "secret").write_text("secret")
    doctype = f'<!DOCTYPE rdf:RDF [<!ENTITY drawn SYSTEM "{tmp_path}/secret">]>\n<rdf:RDF'
    text = OWL.replace("<rdf:RDF", doctype, 1).replace("keeper T cell", "&drawn;")
    with pytest.raises(CardError) as error:
        compile_ontology(written(tmp_path, text, "zoo.owl"))
    assert str(error.value).startswith(f"{tmp_path}/zoo.owl:2: error ONTO000: declares an external entity. Write out")


def test_bytes_that_are_no_text_and_files_that_are_not_there(tmp_path):
    (tmp_path / "zoo.obo").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CardError, match="ONTO000"):
        compile_ontology(tmp_path / "zoo.obo")
    with pytest.raises(WorldError, match=r"nowhere\.obo: cannot be read: No such file"):
        compile_ontology(tmp_path / "nowhere.obo")


def test_obo_graph_json_is_read(tmp_path):
    nodes = [
        {"id": f"http://purl.obolibrary.org/obo/ZOO_000000{n}", "lbl": f"cell {n}", "type": "CLASS"} for n in (1, 2)
    ]
    edges = [{"sub": nodes[1]["id"], "pred": "is_a", "obj": nodes[0]["id"]}]
    graphs = {"graphs": [{"id": "http://purl.obolibrary.org/obo/zoo.owl", "nodes": nodes, "edges": edges}]}
    zoo = compile_ontology(written(tmp_path, json.dumps(graphs), "zoo.json"))
    assert zoo.parents("ZOO:0000002") == ["ZOO:0000001"]
    assert zoo.prefix == "ZOO"


@pytest.mark.parametrize(
    ("name", "text", "before", "statement"),
    [
        pytest.param("zoo.obo", ZOO, "ontology: zoo\n", "import: {}\n", id="OBO"),
        pytest.param("zoo.owl", OWL, " </owl:Ontology>\n", '  <owl:imports rdf:resource="{}"/>\n', id="OWL"),
    ],
)
def test_imports_that_a_file_names_are_not_followed(tmp_path, name, text, before, statement):
    other = written(tmp_path, text.replace("ZOO", "OTHER"), f"other{name[3:]}")
    zoo = compile_ontology(written(tmp_path, text.replace(before, statement.format(other) + before), name))
    assert "ZOO:0000001" in zoo
    assert not any(term.startswith("OTHER") for term in zoo.ids)
