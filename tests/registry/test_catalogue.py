"""Catalogue: cards are found by ontology terms, and one bad card never stops the others."""

import pytest

from cellzoo import settings
from cellzoo.errors import CardError, InputError, NotFoundError
from cellzoo.registry.catalogue import PACKAGED, open_registry
from cellzoo.registry.cells import TERM_FIELDS
from tests.conftest import BLOOD, ISLETS


@pytest.fixture
def registry(copy):
    return open_registry(copy)


def ids(cards):
    return {card.id for card in cards}


def test_every_packaged_card_and_label_map_loads():
    registry = open_registry()
    records = registry.records()
    assert registry.problems == []
    assert [record.id for record in records] == sorted(registry.paths)
    assert ids(records) > BLOOD | ISLETS


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
def test_one_bad_card_never_stops_the_others(copy, registry, name, text, code, wanted):
    path = copy / "datasets" / name
    path.write_text(path.read_text().replace("id: tenx-pbmc3k", "id: other") if text is None else text)
    found = ids(registry.find(**wanted))
    assert found == (BLOOD - {"tenx-pbmc3k"}) | (set() if wanted else ISLETS)
    assert {(finding.path, finding.code) for finding in registry.problems} == {(str(path), code)}


def test_a_missing_label_map_never_stops_the_others(copy, registry):
    (copy / "datasets" / "tenx-pbmc3k.cell_type.tsv").unlink()
    assert ids(registry.find(organism="Homo sapiens")) == (BLOOD | ISLETS) - {"tenx-pbmc3k"}
    assert [finding.code for finding in registry.problems] == ["MAP001"]


def test_a_problem_is_told_once_however_often_one_asks(copy, registry):
    (copy / "datasets" / "tenx-pbmc3k.cell_type.tsv").write_text("")
    (copy / "datasets" / "onek1k-subset.yaml").write_text("")
    for _ in range(3):
        registry.find(cell_type="T cell")
    assert len(registry.problems) == 2


def test_a_bad_card_that_is_asked_for_says_why(copy, registry):
    (copy / "datasets" / "onek1k-subset.yaml").write_text("")
    with pytest.raises(CardError, match=r"onek1k-subset.yaml:1:1: error CARD002: holds nothing"):
        registry.card("onek1k-subset")


def test_the_terms_of_a_field_come_from_card_and_label_map(registry):
    [record] = [record for record in registry.records() if record.id == "segerstolpe2016-human"]
    assert record.terms["tissue"] == ["UBERON:0000006"]
    assert record.terms["disease"] == ["MONDO:0005148", "PATO:0000461"]
    assert record.terms["sex"] == ["unknown"]
    assert "donor_id" not in TERM_FIELDS


@pytest.mark.parametrize("inside", ["cards", "registry/cards", "."])
def test_a_registry_is_found_in_a_checkout(tmp_path, inside):
    (tmp_path / inside / "datasets").mkdir(parents=True)
    assert open_registry(tmp_path).root.resolve() == (tmp_path / inside).resolve()


def test_the_environment_says_which_registry(copy, monkeypatch):
    monkeypatch.setenv("CELLZOO_REGISTRY", str(copy))
    assert open_registry().root == copy
    assert open_registry(PACKAGED).root == PACKAGED, "what is asked for comes first"


def test_a_folder_without_cards_is_no_registry(tmp_path):
    with pytest.raises(NotFoundError) as caught:
        open_registry(tmp_path)
    assert str(caught.value) == f"{tmp_path}: is not a registry: it has no folder datasets/ with cards."


# several registries, and the index


def test_of_two_registries_the_first_wins_and_says_so(copy, tmp_path):
    private = tmp_path / "private" / "datasets"
    private.mkdir(parents=True)
    text = (copy / "datasets" / "tenx-pbmc3k.yaml").read_text()
    (private / "tenx-pbmc3k.yaml").write_text(text.replace("healthy donor", "donor of ours"))
    (private / "tenx-pbmc3k.cell_type.tsv").write_bytes((copy / "datasets" / "tenx-pbmc3k.cell_type.tsv").read_bytes())
    (private / "ours.yaml").write_text(text.replace("id: tenx-pbmc3k", "id: ours"))
    both = open_registry([tmp_path / "private", copy])
    assert ids(both.find()) == BLOOD | ISLETS | {"ours"}
    assert "donor of ours" in both.card("tenx-pbmc3k").title
    assert both.precedence() == (
        f"Registries, the first that has an id wins: 1. {tmp_path / 'private'} (2 cards), 2. {copy} (7 cards)."
        " In several, the first is used: tenx-pbmc3k."
    )
    assert open_registry(copy).precedence() == ""
    assert "healthy donor" in open_registry([copy, tmp_path / "private"]).card("tenx-pbmc3k").title


def test_the_environment_lists_registries_by_commas(copy, monkeypatch):
    monkeypatch.setenv("CELLZOO_REGISTRY", f"{copy}, packaged")
    assert open_registry().roots == (copy, PACKAGED)


def test_a_data_set_is_found_by_an_alias(copy):
    path = copy / "datasets" / "tenx-pbmc3k.yaml"
    path.write_text(path.read_text().replace("title:", "aliases: [d10_x_genomics]\ntitle:"))
    assert open_registry(copy).card("d10_x_genomics").id == "tenx-pbmc3k"


def test_a_changed_card_is_seen_though_the_index_is_kept(copy):
    assert len(open_registry(copy).find(text="healthy")) == 1
    path = copy / "datasets" / "tenx-pbmc3k.yaml"
    path.write_text(path.read_text().replace("healthy donor", "donor"))
    assert len(open_registry(copy).find(text="healthy")) == 0
    label_map = copy / "datasets" / "baron2016-human.cell_type.tsv"
    assert "baron2016-human" not in ids(open_registry(copy).find(cell_type="T cell"))
    label_map.write_text(label_map.read_text() + "t\tCL:0000084\tT cell\n")
    assert "baron2016-human" in ids(open_registry(copy).find(cell_type="T cell"))


def test_what_did_not_change_is_not_read_again(copy, monkeypatch):
    first = open_registry(copy).records()
    monkeypatch.setattr("cellzoo.registry.index.read_yaml", lambda path: pytest.fail(f"{path} was read again"))
    assert open_registry(copy).records() == first


def test_an_index_that_is_spoiled_or_cannot_be_written_costs_nothing_but_time(copy, monkeypatch, tmp_path):
    first = open_registry(copy).records()
    [kept] = (settings.home() / "catalogue").glob("*.json")
    for spoiled in (b"", b"[]", b"{}", b"\xff"):
        kept.write_bytes(spoiled)
        assert open_registry(copy).records() == first
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CELLZOO_HOME", str(tmp_path / "file" / "home"))
    assert open_registry(copy).records() == first


def test_the_repository_of_cellzoo_itself_is_a_registry():
    assert open_registry(PACKAGED.parents[1]).root == PACKAGED, "its folder models/ holds code"
