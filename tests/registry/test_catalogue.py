"""Catalogue: cards are found by ontology terms, and one bad card never stops the others."""

import os
import time

import pytest

from cellzoo import settings
from cellzoo.errors import CardError, InputError, NotFoundError
from cellzoo.registry.catalogue import PACKAGED, facets, open_registry
from cellzoo.registry.cells import TERM_FIELDS
from cellzoo.registry.document import read_yaml
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
    ({"disease": "normal"}, BLOOD | {"segerstolpe2016-human"}),
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
    ({"cell_type": "CL:9999999"}, NotFoundError, "'CL:9999999' is no term of CL v2026-03-26"),
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
        assert len(list(registry.cards())) == 6, "a card whose label map is broken is a card"
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


SAID = ("{term: PATO:0000461, label: normal}", "{term: unknown, text: Not asked}")
LUNG = "{tissue: {term: UBERON:0002048, label: lung}}"
ONE = f"samples: [{{name: a, cells: {LUNG}}}, {{name: b}}]\nread:"
BOTH = f"samples: [{{name: a, cells: {LUNG}}}, {{name: b, cells: {LUNG}}}]\nread:"
RECORDS = {
    "number of cells that was seen": (("cells: 2638", "cells: 7"), {}, "cells", 7),
    "words where there is no term": (SAID, {"text": "NOT asked"}, "disease", ["Not asked"]),
    "alias as text": (("title:", "aliases: [D10_x]\ntitle:"), {"text": "d10_X"}, "aliases", ["D10_x"]),
    "label of the data as text": ((), {"text": "fcgr3a+"}, "id", "tenx-pbmc3k"),
    "term of one sample": (("read:", ONE), {"tissue": "lung"}, "tissue", ["UBERON:0000178", "UBERON:0002048"]),
    "term of all samples": (("read:", BOTH), {"tissue": "lung"}, "tissue", ["UBERON:0002048"]),
    "status": (("status: verified", "status: imported"), {"status": "imported"}, "status", "imported"),
}


@pytest.mark.parametrize(("change", "wanted", "name", "expected"), RECORDS.values(), ids=RECORDS.keys())
def test_a_record_holds_what_a_listing_shows_and_searches(copy, change, wanted, name, expected):
    path = copy / "datasets" / "tenx-pbmc3k.yaml"
    path.write_text(path.read_text().replace(*change, 1) if change else path.read_text())
    found = {record.id: record for record in open_registry(copy).find(**wanted)}
    assert len(found) == (1 if wanted else 7)
    record = found["tenx-pbmc3k"]
    shown = vars(record) | {"tissue": record.terms["tissue"], "disease": record.labels["disease"]}
    assert shown[name] == expected


def test_facets_count_data_sets_and_known_cells_the_most_frequent_first(registry):
    counted = facets(registry.records(), "assay")
    assert list(counted.values()) == sorted(counted.values(), reverse=True) and len(counted) > 2
    assert counted["EFO:0008931"] == (1, registry.card("segerstolpe2016-human").cells_expected)


@pytest.mark.parametrize("inside", ["cards", "registry/cards", "."])
def test_a_registry_is_found_in_a_checkout(tmp_path, inside):
    (tmp_path / inside / "datasets").mkdir(parents=True)
    assert open_registry(tmp_path).root.resolve() == (tmp_path / inside).resolve()


def test_the_environment_says_which_registry(copy, monkeypatch):
    monkeypatch.setenv("CELLZOO_REGISTRY", str(copy))
    assert open_registry().root == copy
    assert open_registry(PACKAGED).root == PACKAGED, "what is asked for comes first"
    assert open_registry([]).root == copy, "nothing asked for"


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


@pytest.mark.parametrize("moved", [False, True], ids=["written in place", "moved over it"])
def test_a_change_is_seen_though_size_and_time_of_the_file_stay(copy, moved, monkeypatch):
    monkeypatch.setattr("cellzoo.registry.index.SETTLED", 0)
    path = copy / "datasets" / "tenx-pbmc3k.yaml"
    before = path.stat()
    assert len(open_registry(copy).find(text="healthy")) == 1
    time.sleep(0.02)
    new = path.with_suffix(".new") if moved else path
    new.write_text(path.read_text().replace("healthy", "sickish"))
    os.utime(new, ns=(before.st_atime_ns, before.st_mtime_ns))
    new.replace(path)
    assert len(open_registry(copy).find(text="healthy")) == 0


def test_a_card_that_changed_just_now_is_read_again_since_clocks_are_coarse(copy, monkeypatch):
    monkeypatch.setattr("cellzoo.registry.index.SETTLED", 10**15)
    read = []

    def counted(path):
        read.append(path.stem)
        return read_yaml(path)

    monkeypatch.setattr("cellzoo.registry.index.read_yaml", counted)
    for times in (1, 2):
        assert open_registry(copy).records()
        assert sorted(read) == sorted([*BLOOD, *ISLETS] * times)


@pytest.fixture
def settled(monkeypatch):
    """Files count as settled at once, so that no test waits for it."""
    monkeypatch.setattr("cellzoo.registry.index.SETTLED", 0)


def test_what_did_not_change_is_not_read_again(copy, settled, monkeypatch):
    (copy / "datasets" / "ours.yaml").write_text("id: [")
    first = open_registry(copy)
    assert first.records() and first.problems
    monkeypatch.setattr("cellzoo.registry.index.read_yaml", lambda path: pytest.fail(f"{path} was read again"))
    again = open_registry(copy)
    assert (again.records(), again.problems) == (first.records(), first.problems)


def test_other_code_or_another_ontology_makes_records_of_its_own(copy, settled, monkeypatch, tmp_path):
    monkeypatch.setattr("cellzoo.registry.index.HERE", tmp_path)
    (tmp_path / "ontologies").mkdir()
    for number, made in enumerate(("schema.py", "ontologies/CL-v1.npz", "schema.py"), 1):
        (tmp_path / made).write_text("#" * number)
        open_registry(copy).records()
        assert len(list((settings.home() / "catalogue").iterdir())) == number


def test_indexes_do_not_pile_up_in_the_cache(copy, monkeypatch, tmp_path):
    monkeypatch.setattr("cellzoo.registry.index.KEPT", 2)
    for name in "abcd":
        (tmp_path / name).symlink_to(copy)
        open_registry(tmp_path / name).records()
    kept = [path.read_text() for path in (settings.home() / "catalogue").iterdir()]
    assert len(kept) == 2 and not any(f"{tmp_path / 'a'}/" in text for text in kept)
    assert any(f"{tmp_path / 'd'}/" in text for text in kept)


ENTRY = b'{"CARD": {"stamps": {}, "record": {"a": 1}, "findings": []}}'
SPOILED = (b"", b"[]", b"{}", b"\xff", b"[1]", b'{"CARD": 1}', ENTRY)


def test_an_index_that_is_spoiled_or_cannot_be_written_costs_nothing_but_time(copy, monkeypatch, tmp_path):
    first = open_registry(copy).records()
    [kept] = (settings.home() / "catalogue").glob("*.json")
    for spoiled in SPOILED:
        kept.write_bytes(spoiled.replace(b"CARD", str(copy / "datasets" / "tenx-pbmc3k.yaml").encode()))
        assert open_registry(copy).records() == first
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CELLZOO_HOME", str(tmp_path / "file" / "home"))
    assert open_registry(copy).records() == first


def test_the_repository_of_cellzoo_itself_is_a_registry():
    assert open_registry(PACKAGED.parents[1]).root == PACKAGED, "its folder models/ holds code"
