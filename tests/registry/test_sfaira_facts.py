"""The packaged cards of the 116 sfaira studies say what the table of facts says, study by study and row by row.

Both tables were made from sfaira itself, by others than the importer. What may differ, and nothing else: labels are
today's (`RENAMED`, or an exact synonym); a column of cells stands in place of a value that is given beside it; samples
that a loader describes but does not list are not in its card (`UNLISTED`), one that it lists twice is one (`TWICE`).
"""

import csv
import os
import re
from functools import cache
from pathlib import Path

import pytest

from cellzoo.registry.cards import load_map, map_names
from cellzoo.registry.catalogue import PACKAGED, Registry
from cellzoo.registry.document import read_yaml
from cellzoo.registry.ontology import load, term_ontology
from cellzoo.registry.sfaira.importer import import_loader

MIRROR = os.environ.get("CELLZOO_MIRROR") or Path(__file__).parents[2].parent / "shared" / "data" / "mirror"
LOADERS = Path(MIRROR).absolute().parent / "sfaira_loaders"
FACTS = LOADERS.parents[1] / "facts"

RENAMED = {
    "healthy": "normal",
    "skeletal muscle organ": "",  # two terms today, for vertebrates and for arthropods: kept in words
}
EDITED = {
    "becker2022-human": {"title", "cells"},
    "braga2019-human": {"study"},
    "cook2020-human": {"cells"},
    "hove2019-mouse": {"study"},
    "kleshchevnikov2020-brain": {"files", "samples"},
    "kuerten2021-neck": {"title", "cells"},
    "magen2019-mouse": {"title", "status_reason", "files", "cells"},
    "mcfalinefigueroa2019-human": {"cells"},
    "opzoomer2021-mouse": {"title", "cells"},
    "reyfman2018-lung": {"cells"},
    "schulteschrepping2020-blood": {"title", "status_reason", "files", "samples"},
    "via2021-bone-marrow": {"study"},
    "wendisch2021-lung": {"status_reason", "files", "samples"},
    "wu2022-human": {"title", "cells"},
    "zheng2022-human": {"files"},
}
"""Cards that were corrected by hand after the table of facts, which is of a later version than the loaders -> where."""
UNLISTED = {
    "d10_1016_j_cell_2022_09_010": {"assay": {"10x scATAC-seq"}},
    "d10_1038_s41467_021_27162_2": {
        "organism": {"Anas platyrhynchos", "Cervus nippon", "Manis javanica", "Columba livia"},
    },
}
"""What a loader says only of samples that it does not list."""
TWICE = {"d10_1101_661728": 1}
"""Samples that a loader lists twice."""


def rows(name):
    with (FACTS / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t" if name.endswith("tsv") else ","))


@cache
def studies():
    return {row["directory"]: row for row in rows("sfaira_studies.csv") if "main" in row["branch"]}


@pytest.fixture(scope="module")
def cards():
    """Folder of the loader -> its card in the package."""
    registry = Registry((PACKAGED,))
    found = {alias: card for card in registry.cards() for alias in card.aliases if re.match(r"d(10_|no_)", alias)}
    assert registry.problems == []
    return found


def split(text):
    return {part for part in text.split(";") if part}


def same(fact, text):
    """Whether a label of today says what a label of sfaira's time said."""
    today = fact.replace("human ", "")
    synonyms = {name for prefix in ("UBERON", "EFO", "MONDO", "PATO", "NCBITaxon") for name in known(prefix, text)}
    return text in {fact, today, RENAMED.get(fact)} or fact in synonyms


@cache
def known(prefix, label):
    try:
        return load(prefix).synonyms(load(prefix).find(label))
    except LookupError:
        return []


def statements(card, name):
    """Every statement about a field, those that the samples say in place of the card's instead of it."""
    told = [field for place, field in card.fields(name) if place[0] == "samples"]
    own = getattr(card.cells, name)
    return [*told, *([] if told and own.term == "unknown" and not own.text else [own])]


def test_there_are_116_studies_and_each_has_one_card(cards):
    assert len(studies()) == 116
    assert set(cards) == set(studies())
    assert len({card.id for card in cards.values()}) == 116
    assert {card.status for card in cards.values()} == {"imported"}
    assert all(card.status_reason and "sfaira" in card.notes for card in cards.values())


def test_publication_and_year(cards):
    for folder, row in studies().items():
        study, doi = cards[folder].study, row["doi"]
        assert (study.doi or study.name, study.year) == (doi, int(row["year"])), folder
        assert study.preprint == (row["doi_preprint"] or None), folder
        author = row["author"].split(",")[0]
        assert study.authors == (f"{author} et al." if study.doi else author), folder


@pytest.mark.parametrize(
    ("fact", "field"), [("organism", "organism"), ("organ", "tissue"), ("assay", "assay"), ("disease", "disease")]
)
def test_organism_organ_assay_and_disease(cards, fact, field):
    for folder, row in studies().items():
        found = statements(cards[folder], field)
        columns = {one.column for one in found if one.column}
        words = {one.text or one.label for one in found if one.text or one.label}
        for expected in split(row[fact].replace("obs:Protocol;Area", "obs:Protocol;obs:Area")):
            name = expected.removeprefix("obs:")
            if name in UNLISTED.get(folder, {}).get(fact, ()):
                continue
            if name != expected:
                assert name in columns, f"{folder}: {fact} is in the column {name}, not {columns}"
            elif not any(same(expected, word) for word in words):
                assert columns and not words, f"{folder}: {fact} is {expected}, not {words}"
        extra = {word for word in words if not any(same(one, word) for one in split(row[fact]))}
        assert not extra, f"{folder}: {fact} is {row[fact]}, not {extra}"


def test_samples_files_and_where_they_are(cards):
    for folder, row in studies().items():
        card = cards[folder]
        assert len(card.samples) == int(row["n_sample_fns"]) - TWICE.get(folder, 0), folder
        first, said = card.files[0], row["download_url_data_first"]
        word, _, rest = said.replace("private:", "private,").partition(",")
        where = folder, said, first
        if said.startswith(("SCP", "syn")):
            assert first.access == "registration" and (first.url or "").endswith(word), where
        elif word in {"private", "manual"}:
            name, _, page = rest.partition(",")
            assert first.access == word and name in {first.name, first.url} and page in {"", first.url}, where
        else:
            url = re.sub(r"^ftp://(ftp\.(ncbi\.nlm\.nih\.gov|ebi\.ac\.uk)/)", r"https://\1", said)
            assert (first.access, first.url) == ("open", url), where


def test_primary_data_sample_source_feature_type_layers(cards):
    for folder, row in studies().items():
        card = cards[folder]
        parts = [card.of_sample(sample) for sample in card.samples] or [card]
        primary = {str(part.primary_data) for part in parts}
        assert primary == split(row["primary_data"]), folder
        source = {part.cells.sample_source.value for part in parts if part.cells.sample_source}
        assert source == split(row["sample_source"]), folder
        if row["feature_type"]:
            assert {part.genes.feature_type for part in parts} == {row["feature_type"]}, folder
        for name in ("counts", "processed"):
            assert {value for part in parts if (value := getattr(part.layers, name))} == split(row[f"layer_{name}"]), (
                folder
            )


def test_cell_type_columns_and_label_maps(cards):
    labelled = 0
    for folder, row in studies().items():
        card = cards[folder]
        found = statements(card, "cell_type")
        assert {one.column for one in found if one.column} == split(row["cell_type_obs_key"]), folder
        maps = {one.map for one in found if one.map}
        assert bool(maps) == (row["has_celltype_tsv"] == "True"), folder
        for name in maps:
            label_map = load_map(PACKAGED / "datasets" / name)
            labelled += 1
            assert len(label_map.terms) == int(row["n_celltype_labels"]), folder
    assert labelled == 75


def test_all_3525_labels_keep_their_term_or_have_todays_or_say_why_not(cards):
    maps = {}
    seen = changed = 0
    for row in rows("sfaira_cell_type_maps.tsv"):
        card = cards[row["study"]]
        if card.id not in maps:
            (name,) = {one.map for one in statements(card, "cell_type") if one.map}
            maps[card.id] = load_map(PACKAGED / "datasets" / name)
        label_map, source = maps[card.id], row["source"]
        term, note = label_map.terms[source], label_map.notes.get(source, "")
        where = f"{card.id}: {source!r}"
        seen += 1
        if term == row["target_id"]:
            continue
        changed += 1
        assert note, f"{where}: {row['target_id']} became {term} without a note"
        ontology = term_ontology("CL:0000000")
        if row["target_id"] in ontology and (new := ontology.replaced_by(row["target_id"])):
            assert term == new, where
        else:
            assert term == "unknown", where
    assert (seen, changed) == (3525, 19)


def test_labels_of_maps_are_todays_and_no_term_is_obsolete(cards):
    for card in cards.values():
        for name in map_names(card):
            label_map = load_map(PACKAGED / "datasets" / name)
            for source, term in label_map.terms.items():
                if term != "unknown":
                    assert not term_ontology(term).is_obsolete(term), f"{name}: {source}"
                    assert label_map.labels[source] == term_ontology(term).label(term), f"{name}: {source}"


def test_the_importer_writes_these_cards_but_for_what_was_corrected_by_hand():
    edited = {}
    for folder in sorted(LOADERS.iterdir()):
        (imported,) = import_loader(folder)
        path = PACKAGED / "datasets" / f"{imported.id}.yaml"
        if path.read_bytes() != imported.card_text.encode():
            edited[imported.id] = path, imported
            continue
        for name, text in imported.maps.items():
            assert (path.parent / name).read_bytes() == text.encode(), name
    assert set(edited) == set(EDITED)


def test_what_was_corrected_by_hand_is_what_the_notes_say(tmp_path):
    for folder in sorted(LOADERS.iterdir()):
        (imported,) = import_loader(folder)
        if imported.id not in EDITED:
            continue
        fresh = tmp_path / f"{imported.id}.yaml"
        fresh.write_text(imported.card_text)
        before, after = read_yaml(fresh).data, read_yaml(PACKAGED / "datasets" / fresh.name).data
        different = {key for key in before | after if before.get(key) != after.get(key)}
        assert different == {*EDITED[imported.id], "notes"}, imported.id
        assert " Corrected after sfaira 0.3.13: " in after["notes"]
