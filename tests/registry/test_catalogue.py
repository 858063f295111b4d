"""Catalogue: cards are found by ontology terms, and one bad card never stops the others."""

import shutil

import pytest

from cellzoo.errors import CardError, InputError, NotFoundError
from cellzoo.registry.cards import LabelMap
from cellzoo.registry.catalogue import PACKAGED, TERM_FIELDS, open_registry

BLOOD = {"onek1k-subset", "pbmc68k-reduced", "tenx-pbmc3k", "zheng2017-pbmc14k", "zheng2017-sorted-pbmc"}
ISLETS = {"baron2016-human", "segerstolpe2016-human"}


@pytest.fixture
def registry():
    return open_registry()


@pytest.fixture
def copy(tmp_path):
    """Return a registry with a copy of the packaged cards."""
    shutil.copytree(PACKAGED, tmp_path / "cards")
    return open_registry(tmp_path / "cards")


def ids(cards):
    return {card.id for card in cards}


def test_every_packaged_card_and_label_map_loads(registry):
    cards = list(registry.cards())
    assert registry.problems == []
    assert [card.id for card in cards] == sorted(registry.paths) == sorted(BLOOD | ISLETS)
    for card in cards:
        assert all(isinstance(label_map, LabelMap) for label_map in registry.maps(card.id).values())
        assert len(registry.digest(card.id)) == 64


FOUND = [
    ({}, BLOOD | ISLETS),
    ({"tissue": "blood"}, BLOOD),
    ({"tissue": "UBERON:0000178"}, BLOOD),
    ({"tissue": "pancreas"}, ISLETS),  # islet of Langerhans is part of it
    ({"tissue": "lung"}, set()),
    ({"organism": "Homo sapiens"}, BLOOD | ISLETS),
    ({"organism": "Mus musculus"}, set()),
    ({"cell_type": "T cell"}, BLOOD),  # labelled CD8-positive, naive, regulatory, ...
    ({"cell_type": "lymphocyte"}, BLOOD),
    ({"cell_type": "cell"}, BLOOD | ISLETS),
    ({"cell_type": "platelet"}, {"tenx-pbmc3k"}),
    ({"cell_type": "type B pancreatic cell"}, ISLETS),
    ({"cell_type": "T cell", "assay": "10x 3' v2"}, {"onek1k-subset"}),
    ({"assay": "Smart-seq2"}, {"segerstolpe2016-human"}),
    ({"disease": "type 2 diabetes mellitus"}, {"segerstolpe2016-human"}),
    ({"disease": "diabetes mellitus"}, {"segerstolpe2016-human"}),
    ({"disease": "normal"}, (BLOOD - {"onek1k-subset"}) | {"segerstolpe2016-human"}),
    ({"tissue": "blood", "disease": "diabetes mellitus"}, set()),
    ({"sex": "female"}, set()),  # no card states it: unknown is not a match
]


@pytest.mark.parametrize(("wanted", "expected"), FOUND, ids=[str(row[0]) for row in FOUND])
def test_a_term_stands_for_all_terms_below_it(registry, wanted, expected):
    assert ids(registry.find(**wanted)) == expected


REFUSED = [
    ({"organ": "blood"}, InputError, "'organ' is not a field to filter by; use one of organism, tissue, assay,"),
    ({"donor_id": "x"}, InputError, "'donor_id' is not a field to filter by"),
    ({"tissue": "blod"}, NotFoundError, "'blod' is no UBERON label or synonym; nearest 'blood' (UBERON:0000178)"),
    ({"cell_type": "T-cel"}, NotFoundError, "'T-cel' is no CL label or synonym; nearest "),
    ({"cell_type": "CL:9999999"}, NotFoundError, "'CL:9999999' is no CL label or synonym"),
    ({"tissue": ""}, NotFoundError, "'' is no UBERON label or synonym"),
]


@pytest.mark.parametrize(("wanted", "kind", "message"), REFUSED, ids=[str(row[0]) for row in REFUSED])
def test_a_question_that_cannot_be_answered_is_refused_with_what_is_near(registry, wanted, kind, message):
    with pytest.raises(kind) as caught:
        registry.find(**wanted)
    assert str(caught.value).startswith(message)


def test_an_unknown_data_set_is_refused_with_the_nearest(registry):
    for ask in (registry.card, registry.path, registry.digest, registry.maps):
        with pytest.raises(NotFoundError) as caught:
            ask("tenx-pbmc4k")
        assert str(caught.value) == f"no data set 'tenx-pbmc4k' in {registry.root}; nearest 'tenx-pbmc3k'"


BREAKS = {
    "not YAML": ("tenx-pbmc3k.yaml", "id: [", "CARD002"),
    "not a card": ("tenx-pbmc3k.yaml", "id: tenx-pbmc3k\n", "CARD003"),
    "another id": ("tenx-pbmc3k.yaml", None, "CARD004"),
    "label map with a broken line": ("tenx-pbmc3k.cell_type.tsv", "source\tterm\tlabel\nB\n", "MAP001"),
}


@pytest.mark.parametrize(("name", "text", "code"), BREAKS.values(), ids=BREAKS.keys())
@pytest.mark.parametrize("wanted", [{}, {"tissue": "blood"}, {"cell_type": "T cell"}], ids=str)
def test_one_bad_card_never_stops_the_others(copy, name, text, code, wanted):
    path = copy.root / "datasets" / name
    path.write_text(path.read_text().replace("id: tenx-pbmc3k", "id: other") if text is None else text)
    found = ids(copy.find(**wanted))
    assert found == (BLOOD - {"tenx-pbmc3k"}) | (set() if wanted else ISLETS)
    assert {(finding.path, finding.code) for finding in copy.problems} == {(str(path), code)}


def test_a_missing_label_map_never_stops_the_others(copy):
    (copy.root / "datasets" / "tenx-pbmc3k.cell_type.tsv").unlink()
    assert ids(copy.find(organism="Homo sapiens")) == (BLOOD | ISLETS) - {"tenx-pbmc3k"}
    assert [finding.code for finding in copy.problems] == ["MAP001"]


def test_a_problem_is_told_once_however_often_one_asks(copy):
    (copy.root / "datasets" / "tenx-pbmc3k.cell_type.tsv").write_text("")
    (copy.root / "datasets" / "onek1k-subset.yaml").write_text("")
    for _ in range(3):
        copy.find(cell_type="T cell")
    assert len(copy.problems) == 2


def test_a_bad_card_that_is_asked_for_says_why(copy):
    (copy.root / "datasets" / "onek1k-subset.yaml").write_text("")
    with pytest.raises(CardError, match=r"onek1k-subset.yaml:1:1: error CARD002: holds nothing"):
        copy.card("onek1k-subset")


def test_the_terms_of_a_field_come_from_card_and_label_map(registry):
    card = registry.card("segerstolpe2016-human")
    assert registry.terms(card, "tissue") == {"UBERON:0000006"}
    assert registry.terms(card, "disease") == {"PATO:0000461", "MONDO:0005148"}
    assert registry.terms(card, "sex") == {"unknown"}
    assert "donor_id" not in TERM_FIELDS


@pytest.mark.parametrize("inside", ["cards", "registry/cards", "."])
def test_a_registry_is_found_in_a_checkout(tmp_path, inside):
    (tmp_path / inside / "datasets").mkdir(parents=True)
    assert open_registry(tmp_path).root.resolve() == (tmp_path / inside).resolve()


def test_the_environment_says_which_registry(copy, monkeypatch):
    monkeypatch.setenv("CELLZOO_REGISTRY", str(copy.root))
    assert open_registry().root == copy.root
    assert open_registry(PACKAGED).root == PACKAGED, "what is asked for comes first"


def test_a_folder_without_cards_is_no_registry(tmp_path):
    with pytest.raises(NotFoundError) as caught:
        open_registry(tmp_path)
    assert str(caught.value) == f"{tmp_path}: is not a registry: it has no folder datasets/ with cards."


@pytest.mark.parametrize("where", ["https://example.org/zoo.git@v2026.11", "git@example.org:zoo.git", "file:///zoo"])
def test_a_url_is_refused_with_what_to_do(where):
    with pytest.raises(InputError, match="a registry is a folder for now; clone it and give the folder of its cards"):
        open_registry(where)
