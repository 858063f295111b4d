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
    "10xgenomics2019-blood": {"status_reason"},
    "baron2016-pancreas": {"read", "counts", "status_reason"},
    "becker2022-human": {"title", "cells", "status_reason"},
    "braga2019-human": {"study"},
    "braun2022-human": {"title"},
    "cao2019-mouse": {"title"},
    "cook2020-human": {"title", "cells"},
    "elmentaite2021-intestine": {"title", "status_reason"},
    "guo2018-testis": {"read", "counts", "status_reason"},
    "habib2017-brain": {"read", "counts", "status_reason"},
    "han2022-macaca-fascicularis": {"title"},
    "henry2018-prostate-gland": {"read", "counts", "status_reason"},
    "hove2019-mouse": {"study"},
    "james2020-colon": {"read", "counts", "cells", "status_reason"},
    "kleshchevnikov2020-brain": {"files", "samples"},
    "kuerten2021-neck": {"title", "cells"},
    "lukassen2020-lung": {"read", "counts", "status_reason"},
    "lukowski2019-retina": {"read", "counts", "status_reason"},
    "madissoon2019-human": {"status_reason"},
    "magen2019-mouse": {"title", "status_reason", "files", "cells"},
    "martin2019-ileum": {"read", "counts", "status_reason"},
    "mayr2021-human": {"title"},
    "mcfalinefigueroa2019-human": {"title", "cells"},
    "menon2019-retina": {"status_reason"},
    "miller2020-lung": {"read", "counts", "status_reason"},
    "opzoomer2021-mouse": {"title", "cells"},
    "pisco2019-mouse": {"cells", "status_reason"},
    "regev2018-human": {"read", "status_reason"},
    "reyfman2018-lung": {"cells"},
    "schulteschrepping2020-blood": {"title", "status_reason", "files", "samples"},
    "smilie2019-colonic-epithelium": {"read", "counts", "status_reason"},
    "song2022-human": {"title"},
    "travaglini2020-lung": {"samples", "status_reason"},
    "vandijk2018-human": {"title"},
    "via2021-bone-marrow": {"study"},
    "voigt2019-retina": {"status_reason"},
    "wang2019-human": {"read", "counts", "status_reason"},
    "wendisch2021-lung": {"status_reason", "files", "samples"},
    "wu2022-human": {"title", "cells"},
    "zheng2022-human": {"title", "files"},
}
"""Cards that were corrected by hand -> where: after the table of facts, which is of a later version than the loaders;
after the code of the loader, which says what became of X; titles where the loader names no organ."""
RELABELLED = {
    "braga2019-human.cell_type": 1,
    "braun2022-human.tissue": 4,
    "chung2020-kidney.cell_type": 1,
    "elmentaite2021-intestine.assay": 1,
    "elmentaite2021-intestine.cell_type": 6,
    "han2018-mouse.cell_type": 1,
    "han2020-human.cell_type": 2,
    "han2022-macaca-fascicularis.cell_type": 1,
    "han2022-macaca-fascicularis.tissue": 3,
    "hove2019-mouse.cell_type": 2,
    "korsunsky2022-human.disease": 1,
    "lake2019-kidney.cell_type": 2,
    "luecken2021-bone-marrow.self_reported_ethnicity": 1,
    "madissoon2019-human.cell_type": 1,
    "martin2019-ileum.cell_type": 1,
    "raghavan2021-human.cell_type": 1,
    "ren2021-human.cell_type": 1,
    "sikkema2022-human.self_reported_ethnicity": 2,
    "travaglini2020-lung.cell_type": 2,
    "uzquiano2022-human.cell_type": 1,
    "voigt2019-retina.cell_type": 1,
    "zheng2022-human.disease": 2,
    "zheng2022-human.tissue": 1,
}
"""Label maps that were read by hand -> rows with another term, or with a note that the term is doubtful."""
BY_CODE = {"d10_1038_s41590_020_0602_z": {"assay": "donor"}}
"""Columns that the code of a loader makes -> the column of the file that it makes them of."""
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
                name = BY_CODE.get(folder, {}).get(name, name)
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
            page = re.search(r"#|drive\.google\.com/open|fastgenomics", url)
            assert (first.access, first.url) == ("manual" if page else "open", url), where


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


@pytest.fixture(scope="module")
def imported():
    """Id -> what the importer makes of each loader today."""
    found = {one.id: one for folder in sorted(LOADERS.iterdir()) for one in import_loader(folder)}
    assert len(found) == 116
    return found


def test_the_importer_writes_these_cards_but_for_what_was_corrected_by_hand(imported):
    edited = set()
    for one in imported.values():
        path = PACKAGED / "datasets" / f"{one.id}.yaml"
        if path.read_bytes() != one.card_text.encode():
            edited.add(one.id)
    assert edited == {*EDITED, *(name.partition(".")[0] for name in RELABELLED)}


def test_what_was_corrected_by_hand_is_what_the_notes_say(imported, tmp_path):
    for name in {*EDITED, *(name.partition(".")[0] for name in RELABELLED)}:
        fresh = tmp_path / f"{name}.yaml"
        fresh.write_text(imported[name].card_text)
        before, after = read_yaml(fresh).data, read_yaml(PACKAGED / "datasets" / fresh.name).data
        different = {key for key in before | after if before.get(key) != after.get(key)}
        assert different == {*EDITED.get(name, ()), "notes"}, name
        said = after["notes"].removeprefix(before["notes"])
        why = r"Corrected (after sfaira 0\.3\.13|after the code of sfaira's loader|by hand)|Marked by hand as doubtful"
        assert re.match(f" ({why}): ", said), name


def test_label_maps_are_the_importers_but_for_rows_that_say_what_was_read_by_hand(imported, tmp_path):
    relabelled = {}
    for one in imported.values():
        for name, text in one.maps.items():
            path = PACKAGED / "datasets" / name
            if not path.exists():
                assert name == "becker2022-human.assay.tsv"  # its assay is one term after sfaira 0.3.13
                continue
            if path.read_bytes() == text.encode():
                continue
            (tmp_path / name).write_text(text)
            before, after = load_map(tmp_path / name), load_map(path)
            rows = [key for key in before.terms | after.terms if before.notes.get(key) != after.notes.get(key)]
            changed = {key for key in before.terms | after.terms if before.terms.get(key) != after.terms.get(key)}
            relabelled[name.removesuffix(".tsv")] = len(rows)
            assert changed <= set(rows), name
            for key in rows:
                said = r".+ in sfaira$" if key in changed else "narrower than the label|doubtful: "
                assert re.match(said, after.notes[key]), f"{name}: {key!r}"
    assert relabelled == RELABELLED


@pytest.mark.parametrize("name", ["read", "counts"])
def test_no_card_takes_processed_values_for_counts(cards, name):
    for card in cards.values():
        for part in [card.of_sample(sample) for sample in card.samples] or [card]:
            files = [file for sample in card.samples for file in sample.files] or [file.name for file in card.files]
            if part.layers.counts == "X" and any(re.search(r"processed.*\.h5ad$", file) for file in files):
                assert getattr(part, name) is None or part.counts.recover, card.id
