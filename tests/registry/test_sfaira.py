"""sfaira loaders: YAML and label tables of any version become a card, or findings that say where and why not."""

import json
import os
import random
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from cellzoo.cli import main
from cellzoo.registry.cards import load_card, load_map, map_names
from cellzoo.registry.document import read_yaml
from cellzoo.registry.sfaira.files import file_of
from cellzoo.registry.sfaira.importer import import_loader
from cellzoo.registry.sfaira.loader import canonical, clean
from cellzoo.registry.sfaira.terms import by_id, by_label
from cellzoo.registry.sfaira.text import written

MIRROR = os.environ.get("CELLZOO_MIRROR") or Path(__file__).parents[2].parent / "shared" / "data" / "mirror"
LOADERS = Path(MIRROR).absolute().parent / "sfaira_loaders"

# line numbers of the tables below count in this loader
YAML = """\
dataset_structure:
    dataset_index: 1
    sample_fns:
        - "lung.h5ad"
        - "blood.h5ad"
dataset_wise:
    author: "Made, Up"
    doi_journal: "10.1038/ncomms14049"
    download_url_data:
        lung.h5ad: "https://example.org/lung.h5ad"
        blood.h5ad: "ftp://ftp.ncbi.nlm.nih.gov/blood.h5ad"
    primary_data: True
    year: 2017
layers:
    layer_counts: "X"
dataset_or_feature_wise:
    feature_type: "rna"
dataset_or_observation_wise:
    assay_sc: "10x 3' v2"
    cell_type_obs_key: "label"
    disease: "healthy"
    individual_obs_key: "patient*sample"
    organ:
        lung.h5ad: "lung"
        blood.h5ad: "blood"
    organism: "Homo sapiens"
    sample_source: "primary_tissue"
feature_wise:
    feature_symbol_var_key: "index"
meta:
    version: "1.2"
"""
TABLE = "source\ttarget\ttarget_id\nB\tB cell\tCL:0000236\nT \tT cell\tCL:0000084\n"


@pytest.fixture
def loader(tmp_path):
    """Write a loader with some text replaced, and return what becomes of it."""

    def write(*changes, table=TABLE, text=YAML):
        folder = tmp_path / "d10_1038_ncomms14049"
        folder.mkdir(exist_ok=True)
        for old, new in changes:
            assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in the loader"
            text = text.replace(old, new)
        (folder / "human_x_made_001.yaml").write_text(text)
        (folder / "human_x_made_001_cell_type.tsv").write_text(table)
        (folder / "human_x_made_001.py").write_text("raise SystemExit('code of a loader was run')")
        return folder

    return write


def one(folder):
    (imported,) = import_loader(folder)
    return imported


def card_of(imported, tmp_path):
    for name, text in {**imported.maps, f"{imported.id}.yaml": imported.card_text}.items():
        (tmp_path / name).write_bytes(text.encode())
    return load_card(tmp_path / f"{imported.id}.yaml")


def said(card):
    return card.model_dump(exclude_unset=True, mode="json")


def test_a_loader_becomes_a_card(loader, tmp_path):
    imported = one(loader())
    assert imported.findings == ()
    card = card_of(imported, tmp_path)
    assert (card.id, card.title) == ("made2017-human", "Human lung and blood (10x 3' v2)")
    assert card.aliases == ("d10_1038_ncomms14049", "human_x_made_001")
    assert (card.status, card.license, card.primary_data) == ("imported", "unknown", True)
    assert card.study.model_dump(exclude_none=True) == {
        "doi": "10.1038/ncomms14049",
        "authors": "Made et al.",
        "year": 2017,
    }
    assert [(file.name, file.url) for file in card.files] == [
        ("lung.h5ad", "https://example.org/lung.h5ad"),
        ("blood.h5ad", "https://ftp.ncbi.nlm.nih.gov/blood.h5ad"),
    ]
    cells = said(card)["cells"]
    assert cells == {
        "organism": {"term": "NCBITaxon:9606", "label": "Homo sapiens"},
        "assay": {"term": "EFO:0009899", "label": "10x 3' v2"},
        "cell_type": {"column": "label", "map": "made2017-human.cell_type.tsv"},
        "disease": {"term": "PATO:0000461", "label": "normal"},
        "donor_id": {"columns": ["patient", "sample"]},
        "suspension_type": {"value": "unknown"},
        "sample_source": {"value": "primary_tissue"},
    }
    tissues = [(sample.name, sample.files, sample.cells.tissue.label) for sample in card.samples]
    assert tissues == [("lung.h5ad", ("lung.h5ad",), "lung"), ("blood.h5ad", ("blood.h5ad",), "blood")]
    readable = [card.of_sample(sample).readable() for sample in card.samples]
    assert [(one.read.format, one.read.matrix.file) for one in readable] == [
        ("h5ad", "lung.h5ad"),
        ("h5ad", "blood.h5ad"),
    ]
    label_map = load_map(tmp_path / map_names(card)[0])
    assert label_map.terms == {"B": "CL:0000236", "T ": "CL:0000084"}, "labels are those of the data, blanks included"


CHANGES: dict[str, tuple[tuple[str, str], dict[str, object]]] = {
    "no counts": (
        ('layer_counts: "X"', "layer_processed: X"),
        {"layers": {"counts": None, "processed": "X"}, "read": None}),
    "counts in raw": (('layer_counts: "X"', "layer_counts: raw"), {"layers": {"counts": "raw"}}),
    "proteins": (
        ('feature_type: "rna"', "feature_type: protein"),
        {"genes": {"symbol": "index", "feature_type": "protein"}}),
    "a file on request": (('"https://example.org/lung.h5ad"', "'private,lung.h5ad'"), {"read": None}),
    "a file that by its name holds processed values": (
        ('"https://example.org/lung.h5ad"', '"rename,lung.processed.h5ad,https://example.org/lung.h5ad"'),
        {"read": None, "counts": None, "status_reason": "By its name lung.processed.h5ad holds processed values, so "
         "its X may be no counts. The code of sfaira's loader, which read the files, is not carried over."}),
    "an organ by column, without a map": (
        ('organ:\n        lung.h5ad: "lung"\n        blood.h5ad: "blood"', "organ_obs_key: part"),
        {"id": "made2017-human", "title": "Human cells, several organs (10x 3' v2)"}),
    "an organ with a long name": (
        ('organ:\n        lung.h5ad: "lung"\n        blood.h5ad: "blood"', "organ: ventral part of telencephalon"),
        {"id": "made2017-ventral-part-of-telencephalon"}),
    "counts of one sample": (
        ('layer_counts: "X"', "layer_counts: {blood.h5ad: X}\n    layer_processed: {lung.h5ad: X}"),
        {"read": None, "status_reason": "sfaira names no matrix of raw counts for lung.h5ad. "
         "The code of sfaira's loader, which read the files, is not carried over."}),
    "an organoid with an age": (
        ('"primary_tissue"', "3d_culture\n    development_stage: Carnegie stage 23"),
        {"title": "Human lung and blood organoids (10x 3' v2)", "notes": "Described as in the loader "
         "d10_1038_ncomms14049/human_x_made_001.yaml of sfaira (theislab/sfaira, BSD-3-Clause). Where cells are of an "
         "organoid, the development stage is the age of the culture, as loaders give it."}),
    "an organism with a common name": (
        ("Homo sapiens", "Macaca fascicularis"), {"title": "Crab-eating macaque lung and blood (10x 3' v2)"}),
    "a table that code has read": (
        ("    year: 2017", "    year: 2017\n    download_url_meta: https://a.org/cells.csv"),
        {"read": None}),
    "an assay that counts reads": (("10x 3' v2", "Smart-seq2"), {"counts": {"kind": "reads"}}),
    "reads or molecules": (("10x 3' v2", "single-cell RNA sequencing"), {"read": None, "counts": None}),
    "a second loader of the study": (("dataset_index: 1", "dataset_index: 2"), {"id": "made2017-human-2"}),
    "no DOI, with a name": (
        ("10.1038/ncomms14049", "no_doi_made"), {"study": {"name": "no_doi_made", "authors": "Made", "year": 2017}}),
    "a preprint alone": (("doi_journal:", "doi_preprint:"), {"study": {
        "doi": "10.1038/ncomms14049", "preprint": "10.1038/ncomms14049", "authors": "Made et al.", "year": 2017}}),
    "a DOI with its resolver": (('"10.1038', '"https://doi.org/10.1038'), {}),
    "an embedding": (("year: 2017", "year: 2017\n    default_embedding: X_umap"), {"default_embedding": "X_umap"}),
    "places": (("    version:", "    spatial_x_coord_obs_key: x\n    version:"), {"spatial": {"x": "x"}}),
    "a year in quotes": (("year: 2017", "year: '2017'"), {}),
    "one organ": (
        ('blood.h5ad: "blood"', "blood.h5ad: lung"),
        {"id": "made2017-lung", "title": "Human lung (10x 3' v2)"}),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_what_a_loader_says_is_what_the_card_says(loader, tmp_path, name):
    (old, new), expected = CHANGES[name]
    text = YAML.replace(old, new, 1)
    assert text != YAML
    card = card_of(one(loader(text=text)), tmp_path)
    dumped = said(card)
    assert {key: dumped.get(key) for key in expected} == expected


FLAT = """\
author: Made, Up
doi_journal: 10.1038/ncomms14049
download: https://example.org/lung.h5ad
primary_data: yes
year: 2017
assay: 10x 3' v2
cell_types_original_obs_key: label
normalization: raw
healthy: true
organ: lung
organism: Homo sapiens
gene_symbol_col: index
"""
OLD = {
    "flat, without sections": FLAT,
    "names of version 1.0": YAML.replace("cell_type_obs_key", "cell_types_original_obs_key").replace(
        "feature_symbol_var_key", "gene_id_symbols_var_key"
    ),
    "names of the Python attributes": YAML.replace("cell_type_obs_key", "obs_key_cellontology_original").replace(
        "feature_symbol_var_key", "var_symbol_col"
    ),
    "one list of DOIs": YAML.replace('doi_journal: "10.1038/ncomms14049"', "doi: [10.1038/ncomms14049, 10.1101/1]"),
    "normalization instead of layers": YAML.replace('layer_counts: "X"', "normalization: raw"),
    "healthy as a word": YAML.replace('disease: "healthy"', "healthy: true"),
    "no headings known": YAML.replace("dataset_wise:", "general:"),
}


@pytest.mark.parametrize("name", OLD)
def test_older_dialects_say_the_same(loader, tmp_path, name):
    imported = one(loader(text=OLD[name]))
    card = card_of(imported, tmp_path)
    assert imported.findings == ()
    assert (card.study.doi, card.primary_data, card.genes.symbol) == ("10.1038/ncomms14049", True, "index")
    assert (card.cells.cell_type.column, card.cells.disease.label) == ("label", "normal")
    assert (card.layers.counts, card.cells.organism.label) == ("X", "Homo sapiens")


@pytest.mark.parametrize(
    ("table", "title"),
    [
        ("a\tlung\nb\tblood", "Human lung and blood (10x 3' v2)"),
        ("a\tlung\nb\tunknown\nc\tlung", "Human lung (10x 3' v2)"),
        ("a\tlung\nb\tblood\nc\tliver", "Human lung, blood and liver (10x 3' v2)"),
        ("a\tlung\nb\tblood\nc\tliver\nd\tspleen", "Human lung, blood and 2 more organs (10x 3' v2)"),
    ],
)
def test_a_title_names_the_organs_of_a_label_map(loader, table, title):
    text = YAML.replace('organ:\n        lung.h5ad: "lung"\n        blood.h5ad: "blood"', "organ_obs_key: part")
    folder = loader(text=text)
    (folder / "human_x_made_001_organ.tsv").write_text(f"source\ttarget\n{table}\n")
    assert f"title: {title}\n" in one(folder).card_text


def test_old_names_of_tables_and_tables_without_ids(loader, tmp_path):
    folder = loader()
    (folder / "human_x_made_001_cell_type.tsv").unlink()
    (folder / "human_x_made_001.tsv").write_text("source\ttarget\nB\tB cell\nP\ttype I pneumocyte\nX\tno such cell\n")
    card = card_of(one(folder), tmp_path)
    label_map = load_map(tmp_path / map_names(card)[0])
    assert label_map.terms == {"B": "CL:0000236", "P": "CL:0002062", "X": "unknown"}
    assert label_map.notes == {"X": "'no such cell' is no label or synonym in CL v2026-03-26"}


@pytest.mark.parametrize(
    ("key", "today"),
    [
        ("organ", "organ"),
        ("obs_key_organ", "organ_obs_key"),
        ("cell_types_original_obs_key", "cell_type_obs_key"),
        ("dev_stage_obs_key", "development_stage_obs_key"),
        ("gene_id_ensembl_var_key", "feature_id_var_key"),
        ("vdj_v_call_obs_key_suffix", "vdj_v_call_obs_key_suffix"),
        ("no_such_key", "no_such_key"),
    ],
)
def test_keys_of_all_versions(key, today):
    assert canonical(key) == today


FOUND = {
    "unknown key": (("    year: 2017", "    year: 2017\n    yaer: 2018"), "SFAIRA003", (14, 5), "unknown key 'yaer'"),
    "word for a year": (("year: 2017", "year: soon"), "SFAIRA002", (13, 5), "year: is missing or wrong"),
    "no author": (('"Made, Up"', ""), "SFAIRA002", (7, 5), "author: is missing or wrong"),
    "no organism": (('organism: "Homo sapiens"', ""), "SFAIRA002", (1, 1), "organism: is missing or wrong"),
    "no DOI": (("10.1038/ncomms", "ncomms"), "SFAIRA004", (8, 5), "is no DOI"),
    "not said whether primary": (("data: True", "data: perhaps"), "SFAIRA004", (12, 5), "false is written"),
    "a term nobody knows": (('"lung"', '"lnug"'), "SFAIRA005", (24, 9), "'lnug' is no label or synonym in UBERON"),
    "a term the field does not take": (
        ("10x 3' v2", "single cell library construction"), "SFAIRA005", (19, 5), "is not allowed as assay"),
    "a sample that is none": (("blood.h5ad: \"blood\"", "blod.h5ad: blood"), "SFAIRA006", (25, 9), "blod.h5ad"),
    "a sample twice": (('- "blood.h5ad"', '- "blood.h5ad"\n        - lung.h5ad'), "SFAIRA004", (3, 5), "twice"),
    "a URL that is none": (('"https://example.org/lung.h5ad"', "s3:x"), "SFAIRA004", (10, 9), "'s3:x' names no file"),
    "a word that is none of four": (("primary_tissue", "draw"), "SFAIRA004", (27, 5), "'draw' is not one of"),
    "no matrix": (('layer_counts: "X"', ""), "SFAIRA004", (1, 1), "no matrix is named"),
    "no genes": (("feature_symbol_var_key", "feature_reference"), "SFAIRA004", (1, 1), "no column names the genes"),
    "two columns for terms": (('"label"', '"a*b"'), "SFAIRA004", (20, 5), "'a*b' is not one column"),
    "a value and a column": (
        ('disease: "healthy"', 'disease: "healthy"\n    disease_obs_key: state'), "SFAIRA004", (21, 5),
        "both 'healthy' and the column 'state' are given"),
    "broken YAML": (('author: "Made', 'author: "Ma"de'), "CARD002", (7, 17), "is not valid YAML"),
    "a key twice": (("    year: 2017", "    year: 2017\n    year: 2018"), "CARD002", (14, 5), "duplicate key 'year'"),
}  # fmt: skip


@pytest.mark.parametrize("name", FOUND)
def test_what_cannot_be_carried_over_is_said_with_its_place(loader, name):
    change, code, place, message = FOUND[name]
    found = [(item.code, (item.line, item.column), item.message) for item in one(loader(change)).findings]
    assert any((code, place) == item[:2] and message in item[2] for item in found), found


TABLES = {
    "obsolete, replaced": (
        "x\tCNS interneuron\tCL:0000402",
        "CL:0000099",
        "CL:0000402 (CNS interneuron) until replaced",
    ),
    "obsolete, nothing in its place": ("x\tlining cell\tCL:0000213", "unknown", "nothing replaces it"),
    "renamed to a synonym": ("x\ttype I pneumocyte\tCL:0002062", "CL:0002062", None),
    "label of long ago": ("x\tfibrocyte\tCL:0000135", "CL:0000135", "CL:0000135 in sfaira is 'fibrocyte'"),
    "label of another term": ("x\tB cell\tCL:0000084", "unknown", "sfaira contradicts itself"),
    "id that never was": ("x\tB cell\tCL:9999999", "unknown", "CL:9999999 (B cell) does not exist"),
    "unknown to sfaira too": ("x\tunknown\tunknown", "unknown", None),
    "no cell": ("x\tunknown\tNOT_A_CELL", "unknown", "no cell (doublet, debris)"),
    "own term": ("x\tcustom_thing\tunknown", "unknown", "no term: custom_thing in sfaira"),
    "unknown beside a known": ("x\tunknown\tCL:0000084", "unknown", "sfaira contradicts itself"),
    "forbidden by CELLxGENE": ("x\tanimal cell\tCL:0000548", "CL:0000000", "until replaced"),
    "quotes": ('"x ""y"""\tB cell\tCL:0000236', "CL:0000236", None),
    "the same twice": ("x\tB cell\tCL:0000236\nx\tB cell\tCL:0000236", "CL:0000236", None),
    "twice, otherwise": (
        "x\tB cell\tCL:0000236\nx\tT cell\tCL:0000084",
        "unknown",
        "mapped to CL:0000236 and to CL:0000084",
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_rows_of_label_tables_are_brought_to_today_or_marked(loader, tmp_path, name):
    row, term, note = TABLES[name]
    card = card_of(one(loader(table=f"source\ttarget\ttarget_id\n{row}\n")), tmp_path)
    label_map = load_map(tmp_path / map_names(card)[0])
    (source,) = label_map.terms
    assert (label_map.terms[source], source) == (term, 'x "y"' if name == "quotes" else "x")
    assert (note or "") in label_map.notes.get(source, "") and bool(note) == bool(label_map.notes)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", "is no label table: starts with []"),
        ("a\tb\nx\ty\n", "is no label table: starts with ['a', 'b']"),
        ("source\ttarget\ttarget_id\n\tB cell\tCL:0000236\n", "row ['', 'B cell', 'CL:0000236'] has no label"),
        ('source\ttarget\n"a\tb"\tB cell\n', "has no label and target that a map can hold"),
    ],
)
def test_a_table_that_is_none_is_a_finding(loader, table, message):
    imported = one(loader(table=table))
    assert any(message in finding.message and finding.line for finding in imported.findings), imported.findings
    assert imported.id, "the card does without the map"


DOWNLOADS = [
    ("https://a.org/x%20y.h5ad?z=1", {"name": "x y.h5ad", "url": "https://a.org/x%20y.h5ad?z=1"}),
    ("ftp://ftp.ebi.ac.uk/x.csv", {"name": "x.csv", "url": "https://ftp.ebi.ac.uk/x.csv"}),
    ("ftp://other.org/x.csv", {"name": "x.csv", "url": "ftp://other.org/x.csv"}),
    (
        "https://www.ncbi.nlm.nih.gov/geo/download/?acc=GSE1&format=file&file=GSE1%5Fm%2Etsv%2Egz",
        {
            "name": "GSE1_m.tsv.gz",
            "url": "https://www.ncbi.nlm.nih.gov/geo/download/?acc=GSE1&format=file&file=GSE1%5Fm%2Etsv%2Egz",
        },
    ),
    (
        "https://drive.google.com/open?id=1a_b&authuser=0",
        {"name": "1a_b", "url": "https://drive.google.com/open?id=1a_b&authuser=0", "access": "manual"},
    ),
    ("https://a.org/sets/x#Files", {"name": "x", "url": "https://a.org/sets/x#Files", "access": "manual"}),
    (
        "https://www.ncbi.nlm.nih.gov/geo/download/?acc=GSE1&format=file",
        {"name": "GSE1_RAW.tar", "url": "https://www.ncbi.nlm.nih.gov/geo/download/?acc=GSE1&format=file"},
    ),
    (
        "https://www.ncbi.nlm.nih.gov/geo/query/acc.cgi?acc=GSE1",
        {"name": "GSE1", "url": "https://www.ncbi.nlm.nih.gov/geo/query/acc.cgi?acc=GSE1", "access": "manual"},
    ),
    ("private,x.rds", {"name": "x.rds", "access": "private"}),
    ("private:https://a.org/s/X1", {"name": "X1", "url": "https://a.org/s/X1", "access": "private"}),
    ("manual,x.zip,http://a.org/page", {"name": "x.zip", "url": "http://a.org/page", "access": "manual"}),
    ("rename,x.zip,https://a.org/download", {"name": "x.zip", "url": "https://a.org/download"}),
    (
        "syn12,x.h5ad",
        {"name": "x.h5ad", "url": "https://www.synapse.org/Synapse:syn12", "access": "registration"},
    ),
    (
        "SCP43",
        {
            "name": "SCP43",
            "url": "https://singlecell.broadinstitute.org/single_cell/study/SCP43",
            "access": "registration",
        },
    ),
    ("private,../../etc/.passwd", {"name": "passwd", "access": "private"}),
    ("private", None),
    ("a file", None),
    ("rename,x.zip", None),
]


@pytest.mark.parametrize(("text", "file"), DOWNLOADS)
def test_the_words_for_downloads(text, file):
    assert file_of(text) == file


@pytest.mark.parametrize(
    ("field", "label", "organism", "term"),
    [
        ("disease", "healthy", "NCBITaxon:9606", "PATO:0000461"),
        ("development_stage", "53-year-old human stage", "NCBITaxon:9606", "HsapDv:0000147"),
        ("development_stage", "3 month-old stage", "NCBITaxon:10090", "MmusDv:0000063"),
        ("development_stage", "Theiler stage 17", "NCBITaxon:9606", "unknown"),
        ("disease", "interstitial lung disease 2", "NCBITaxon:9606", "MONDO:0800497"),
        ("organism", "Mustela putorius furo", "unknown", "unknown"),
        ("self_reported_ethnicity", "European", "NCBITaxon:9606", "unknown"),
        ("cell_line", "A-549", "NCBITaxon:9606", "CVCL_0023"),
    ],
)
def test_labels_of_fields(field, label, organism, term):
    assert by_label(field, label, organism).id == term


def test_an_obsolete_id_takes_the_current_term_of_its_name():
    term = by_id("development_stage", "HsapDv:0000087", "human adult stage")
    assert (term.id, term.label) == ("HsapDv:0000258", "adult stage")
    assert "HsapDv:0000087 (human adult stage) is obsolete" in term.note


def test_samples_of_two_organisms_say_their_own(loader, tmp_path):
    organisms = "organism:\n        lung.h5ad: Mus musculus\n        blood.h5ad: Felis catus"
    card = card_of(one(loader(('organism: "Homo sapiens"', organisms))), tmp_path)
    assert card.cells.organism.term == "unknown" and card.cells.self_reported_ethnicity.term == "na"
    own = [(sample.cells.organism.term, sample.cells.organism.text) for sample in card.samples]
    assert own == [("NCBITaxon:10090", None), ("unknown", "Felis catus")]
    assert "several organisms" in card.status_reason


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).map(clean).filter(bool)


@given(TEXTS, st.lists(TEXTS, min_size=1, max_size=3))
def test_any_text_is_read_as_it_was_written(tmp_path_factory, text, texts):
    card = {"aliases": texts, "title": text, "study": {"authors": text}, "notes": " ".join([text, *texts] * 5)}
    path = tmp_path_factory.getbasetemp() / "written.yaml"
    path.write_bytes(written(card).encode())
    assert read_yaml(path).data == card


# the command


def run(*args):
    return CliRunner().invoke(main, ["import-sfaira", *[str(arg) for arg in args]])


def test_the_command_writes_cards_and_maps_and_says_so(loader, tmp_path):
    folder, out = loader(), tmp_path / "cards"
    result = run(folder.parent, "-o", out)
    assert result.exit_code == 0, result.output
    written = [out / "made2017-human.cell_type.tsv", out / "made2017-human.yaml"]
    assert sorted(out.iterdir()) == written and result.stdout.split() == [str(path) for path in written]
    assert "1 loaders, 1 cards written" in result.stderr
    assert run(folder, "-o", out).exit_code == 0, "the same again changes nothing"


def test_the_command_does_not_write_over_a_card_that_says_something_else(loader, tmp_path):
    out = tmp_path / "cards"
    run(loader(), "-o", out)
    mine = (out / "made2017-human.yaml").read_text().replace("license: unknown", "license: CC-BY-4.0")
    (out / "made2017-human.yaml").write_text(mine)
    result = run(loader(), "-o", out)
    assert result.exit_code == 1 and "SFAIRA012" in result.stderr
    assert (out / "made2017-human.yaml").read_text() == mine
    assert run(loader(), "-o", out, "--force").exit_code == 0
    assert (out / "made2017-human.yaml").read_text() != mine


def test_json_is_one_document(loader, tmp_path):
    result = run(loader(("year: 2017", "year: soon")), "-o", tmp_path / "cards", "--json")
    said = json.loads(result.stdout)
    assert (result.exit_code, said["written"]) == (1, [])
    assert [(item["code"], item["line"]) for item in said["findings"]] == [("SFAIRA002", 13)]


def test_two_loaders_with_one_id_are_a_finding(loader, tmp_path):
    folder = loader()
    shutil.copy(folder / "human_x_made_001.yaml", folder / "human_x_made_002.yaml")
    result = run(folder, "-o", tmp_path / "cards")
    assert result.exit_code == 1 and "SFAIRA011" in result.stderr and "Change its dataset_index" in result.stderr


def empty(folder):
    pass


def garbage(folder):
    (folder / "x.yaml").write_bytes(bytes(range(256)) * 8)


def nothing(folder):
    (folder / "x.yaml").write_text("")


def deep(folder):
    (folder / "x.yaml").write_text("a: " + "[" * 1000)


def anchors(folder):
    (folder / "x.yaml").write_text("a: &a [1]\nb: *a\n")


@pytest.mark.parametrize("fill", [empty, garbage, nothing, deep, anchors])
def test_a_folder_without_a_loader_is_a_finding_and_exit_code_1(tmp_path, fill):
    folder = tmp_path / "loader"
    folder.mkdir()
    fill(folder)
    result = run(folder, "-o", tmp_path / "cards")
    assert result.exit_code == 1 and str(folder) in result.stderr and not (tmp_path / "cards").exists()
    assert not result.exception or isinstance(result.exception, SystemExit)


@settings(max_examples=200)
@given(st.integers(0, 115), st.integers(0, 2**32), st.integers(1, 5))
def test_a_damaged_loader_gives_a_card_or_findings_never_a_traceback(tmp_path_factory, number, seed, blows):
    real = sorted(LOADERS.iterdir())[number]
    folder = tmp_path_factory.getbasetemp() / "damaged" / real.name
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(real, folder, copy_function=shutil.copyfile)
    chance = random.Random(seed)
    for _ in range(blows):
        damage(chance.choice(sorted(folder.iterdir())), chance)
    for imported in import_loader(folder):
        errors = [finding for finding in imported.findings if finding.severity == "error"]
        assert imported.id or errors
        if imported.id:
            card = card_of(imported, folder.parent)
            assert set(map_names(card)) == set(imported.maps)
            assert all(load_map(folder.parent / name) for name in imported.maps)


def damage(path, chance):
    """Drop, double, swap or exchange lines of a file, or write bytes anywhere in it."""
    lines = path.read_bytes().split(b"\n")
    at, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    match chance.randrange(6):
        case 0:
            del lines[at]
        case 1:
            lines.insert(at, lines[at])
        case 2:
            lines[at], lines[other] = lines[other], lines[at]
        case 3:
            lines[at] = lines[at].partition(b":")[0] + b":" + lines[other].partition(b":")[2]
        case 4:
            lines[at] = lines[at][: chance.randrange(len(lines[at]) + 1)]
        case 5:
            spot = chance.randrange(len(lines[at]) + 1)
            lines[at] = lines[at][:spot] + bytes(chance.randrange(256) for _ in range(3)) + lines[at][spot:]
    path.write_bytes(b"\n".join(lines))
