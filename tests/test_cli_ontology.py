"""`cellzoo ontology`: terms by id, label or synonym, for people and as JSON."""

import json

import pytest
from click.testing import CliRunner

from cellzoo.cli import main
from cellzoo.registry.ontology import load

ZOO = """format-version: 1.4
data-version: 2026-11-01
ontology: zoo

[Term]
id: ZOO:0000001
name: keeper T cell
is_a: CL:0000084
"""


def run(*arguments: str):
    return CliRunner().invoke(main, ["ontology", *arguments])


def as_json(*arguments: str):
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.parametrize("term", ["CL:0000084", "T cell", "T lymphocyte", "t CELL"])
def test_a_term_is_known_by_id_label_synonym_and_in_any_case(term):
    shown = as_json("show", term)
    assert (shown["id"], shown["label"], shown["version"]) == ("CL:0000084", "T cell", "v2026-03-26")
    assert shown["parents"] == [{"id": "CL:0000542", "label": "lymphocyte", "relations": ["is_a"]}]
    assert "T lymphocyte" in shown["synonyms"]
    assert shown["descendants"] == len(load("CL").descendants("CL:0000084"))


def test_show_is_readable():
    shown = run("show", "CL:0000003").stdout
    assert shown.splitlines()[0] == "CL:0000003  obsolete native cell  (CL v2026-03-26)"
    assert "  obsolete  replaced by CL:0000000 cell" in shown
    assert "is below  UBERON:0000170 pair of lungs (is_a or part_of)" in run("show", "lung").stdout
    assert "  synonyms  T lymphocyte; T-cell; T-lymphocyte" in run("show", "T cell").stdout


@pytest.mark.parametrize(
    ("arguments", "term", "version"),
    [
        (["T cell", "--schema", "7.0.0"], "CL:0000084", "v2025-07-30"),
        (["T cell", "--version", "v2025-07-30"], "CL:0000084", "v2025-07-30"),
        (["pituitary gland"], "UBERON:0000007", "v2026-04-01"),  # a synonym of a disease in MONDO, too
        (["normal", "--in", "disease"], "PATO:0000461", "v2025-05-14"),
        (["CVCL_1511"], "CVCL_1511", "55.0"),
        (["A-549", "--in", "cvcl"], "CVCL_0023", "55.0"),
        (["10x 3' v2", "--in", "assay"], "EFO:0009899", "v3.90.0"),
    ],
)
def test_which_ontology_is_asked_can_be_chosen(arguments, term, version):
    shown = as_json("show", *arguments)
    assert (shown["id"], shown["version"]) == (term, version)


def test_search_lists_the_label_itself_first():
    found = as_json("search", "lung", "-n", "5")
    assert found[0]["id"] == "UBERON:0002048"
    assert len(found) == 5
    found = as_json("search", "memory CD8", "--in", "cell-type")
    assert "CL:0000909" in [term["id"] for term in found]
    assert {term["ontology"] for term in found} == {"CL"}
    assert run("search", "qqqqqqqqqqqq").stderr == "No term matches.\n"
    assert as_json("search", "qqqqqqqqqqqq") == []


def test_children_are_those_of_the_ontology():
    listed = as_json("children", "T cell")
    assert {child["id"] for child in listed} == set(load("CL").children("CL:0000084"))
    assert all(child["relations"] == ["is_a"] for child in listed)
    assert as_json("children", "T cell", "--relation", "part_of") == []
    assert "alpha-beta T cell" in run("children", "T cell").stdout


def test_ancestors_come_nearest_first_and_as_a_tree():
    listed = as_json("ancestors", "T cell")
    assert {above["id"] for above in listed} == set(load("CL").ancestors("CL:0000084"))
    assert [above["distance"] for above in listed] == sorted(above["distance"] for above in listed)
    assert listed[0]["label"] == "lymphocyte"
    tree = run("ancestors", "T cell").stdout
    assert tree.startswith("CL:0000084 T cell\n└── CL:0000542 lymphocyte (is_a)\n")
    assert all(above["id"] in tree for above in listed)


def test_ancestors_through_other_ontologies_are_told_apart():
    assert as_json("ancestors", "EFO:0000324")[0] | {"version": ""} == {
        "id": "EFO:0000001", "label": "experimental factor", "ontology": "EFO", "version": "", "distance": None,
    }  # fmt: skip
    assert "also, through terms of other ontologies: EFO:0000001" in run("ancestors", "EFO:0000324").stderr


def test_a_file_of_ones_own_is_asked_and_an_extension_attached(mirror, tmp_path):
    cl_basic = mirror / "2d8eabdade868831d0b4e7af008ed69a998bc1ec3f70fdf0463c7b6d8c6b7169"
    assert as_json("show", "T cell", "--file", str(cl_basic))["version"] == "2022-11-25"
    path = tmp_path / "zoo.obo"
    path.write_text(ZOO)
    above = as_json("ancestors", "keeper T cell", "--in", "CL", "--extension", str(path))
    assert {"CL:0000084", "CL:0000542"} <= {one["id"] for one in above}
    path.write_text(ZOO.replace("CL:0000084", "CL:9999999"))
    refused = run("show", "keeper T cell", "--in", "CL", "--extension", str(path))
    assert refused.exit_code == 1
    assert "zoo.obo:6: error ONTO003: ZOO:0000001 (keeper T cell) lies below CL:9999999" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (
            ["show", "T-cel", "--in", "CL"],
            1,
            "Error: 'T-cel' is no id, label or synonym of CL v2026-03-26; nearest CL:",
        ),
        (["show", "CS04", "--in", "HsapDv"], 1, "'CS04' names several HsapDv terms"),
        (["show", "embryonic stage"], 1, "names several terms: "),
        (["ancestors", "lung", "--relation", "is_a"], 1, "linked by is_a or by part_of; ask for both relations"),
        (["show", "T cell", "--version", "v1", "--in", "CL"], 1, "version v1 is not packaged; there is CL v2025-07-30"),
        (["show", "T cell", "--schema", "5.0.0"], 1, "no versions are pinned for CELLxGENE schema '5.0.0'"),
        (["show", "T cell", "--in", "foo"], 2, "--in foo: expected one of CL, UBERON"),
        (["show", "T cell", "--extension", "zoo.obo"], 2, "--extension needs --in"),
        (["show", "T cell", "--file", "nowhere.obo"], 3, "nowhere.obo: cannot be read"),
    ],
)
def test_what_cannot_be_answered_is_said(arguments, code, says):
    result = run(*arguments)
    assert result.exit_code == code
    assert says in result.stderr
    assert result.stdout == ""
