"""Draft: from an h5ad file to a card that is verified and checked clean, and nothing in it that nobody said."""

import re
import shlex
import tracemalloc
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from click.testing import CliRunner

import cellzoo
from cellzoo.cli import main
from cellzoo.commands import new
from cellzoo.converters.about import Said
from cellzoo.converters.columns import match_columns
from cellzoo.converters.contents import contents_of
from cellzoo.converters.counts import recover
from cellzoo.converters.draft import draft
from cellzoo.converters.labels import row_of
from cellzoo.errors import CardError, InputError, NotFoundError
from cellzoo.registry.cards import load_card, load_map
from cellzoo.registry.catalogue import open_registry
from cellzoo.registry.genes import map_genes
from cellzoo.registry.suggest.suggester import Suggestion

DOC = Path(__file__).parents[2] / "docs" / "adding-a-dataset.md"
PAPER = ["--authors", "Doe et al.", "--year", "2024"]


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder with files as labs and atlases have them, made of packaged and published cells."""
    folder = tmp_path_factory.mktemp("desk")
    full = cellzoo.open_registry()["pbmc68k-reduced"].source().to_anndata()
    lab = anndata.AnnData(
        np.log1p(full.X[:90].toarray()).astype("f4"), full.obs[["bulk_labels"]][:90].copy(), full.var[[]]
    )
    lab.layers["counts"] = full.X[:90].copy()
    lab.obs = lab.obs.rename(columns={"bulk_labels": "CellType"})
    lab.obs["Patient"] = [f"P{at % 3}" for at in range(90)]
    lab.obs["Gender"] = ["F", "M", "F"] * 30
    lab.obs["organ"], lab.obs["Protocol"], lab.obs["diagnosis"] = "blood", "10x 3' v2", "healthy"
    lab.obs["barcode"], lab.obs["pct_mito"] = lab.obs_names, np.linspace(0, 1, 90)
    lab.obs["leiden"] = pd.Categorical([str(at % 7) for at in range(90)])
    lab.write_h5ad(folder / "lab.h5ad")
    few = lab.copy()
    few.obs.loc[few.obs_names[:4], "CellType"] = np.nan
    few.write_h5ad(folder / "unlabelled.h5ad")
    bare = anndata.AnnData(lab.X[:, :50] * 1.7 + 0.1, var=lab.var[:50])
    bare.write_h5ad(folder / "scaled.h5ad")
    return folder


@pytest.fixture
def here(tmp_path, desk, monkeypatch):
    """Work in a folder of its own, where those files lie."""
    for path in desk.glob("*.h5ad"):
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*args, **options):
    return CliRunner().invoke(main, [str(arg) for arg in args], **options)


def accepted(path):
    """Do what a person does who has looked at a label map: delete the notes of what was suggested."""
    path.write_text(re.sub(r"\tsuggested .*", "", path.read_text()))


def test_from_a_labs_file_to_a_verified_card_that_is_checked_clean(here):
    done = run("new", "dataset", "--file", "lab.h5ad", *PAPER, "--title", "Blood of our lab", "--license", "CC-BY-4.0")
    assert (done.exit_code, done.stdout) == (0, "datasets/doe2024-lab.yaml\n")
    card = load_card(here / "datasets" / "doe2024-lab.yaml")
    assert (card.status, card.layers.counts) == ("imported", "counts")
    assert (card.readable().counts.kind, card.readable().genes.symbol) == ("umi", "index")
    said = {name: field for name, field in card.cells.model_dump(exclude_unset=True).items()}
    assert said == {
        "organism": {"term": "NCBITaxon:9606", "label": "Homo sapiens"},
        "tissue": {"term": "UBERON:0000178", "label": "blood"},
        "assay": {"term": "EFO:0009899", "label": "10x 3' v2"},
        "cell_type": {"column": "CellType", "map": "doe2024-lab.cell_type.tsv"},
        "disease": {"term": "PATO:0000461", "label": "normal", "text": "healthy"},
        "sex": {"column": "Gender", "map": "doe2024-lab.sex.tsv"},
        "donor_id": {"column": "Patient"},
    }
    accepted(here / "datasets" / "doe2024-lab.cell_type.tsv")
    verified = run("verify", "datasets/doe2024-lab.yaml")
    assert verified.exit_code == 0
    seen = load_card(here / "datasets" / "doe2024-lab.yaml").verified
    assert seen and (seen.cells, seen.gene_space) == (90, "homo_sapiens-gencode48-protein_coding")
    checked = run("check", "datasets/doe2024-lab.yaml")
    assert (checked.exit_code, checked.stdout) == (0, ""), checked.output
    got = run("get", "doe2024-lab", "--registry", here, "-o", "out")
    assert got.exit_code == 0, got.output


def test_a_suggestion_is_never_applied_in_silence(here):
    done = run("new", "dataset", "--file", "lab.h5ad", *PAPER)
    rows = load_map(here / "datasets" / "doe2024-lab.cell_type.tsv")
    assert rows.terms["CD19+ B"] == "CL:0000236"
    assert all(note.startswith("suggested ") for note in rows.notes.values())
    assert "CD19+ B" in rows.notes
    assert "CD19+ B (" in done.stderr
    for about in ("doi", "title", "license", "primary", "disease"):
        assert f"\n  {about}: " in done.stderr


def test_cells_without_a_label_get_a_row_of_their_own(here):
    assert run("new", "dataset", "--file", "unlabelled.h5ad", *PAPER).exit_code == 0
    rows = load_map(here / "datasets" / "doe2024-unlabelled.cell_type.tsv")
    assert (rows.terms["(none)"], rows.notes["(none)"]) == ("unknown", "cells without a label")
    assert run("verify", "datasets/doe2024-unlabelled.yaml").exit_code == 0


def test_the_packaged_file_without_counts_gets_the_recipe_that_recovers_them(
    here, packaged, files_of, mirror, monkeypatch
):
    path = files_of("pbmc68k-reduced")["10x_pbmc68k_reduced.h5ad"]
    contents = contents_of(path)
    assert (contents.counts, contents.recover) == ("raw", packaged.card("pbmc68k-reduced").counts.recover)
    assert "scaled, not counted" in contents.looked["X"]
    (here / "blood.h5ad").symlink_to(path)
    done = run(
        "new",
        "dataset",
        "--file",
        "blood.h5ad",
        "--doi",
        "10.1038/ncomms14049",
        "--tissue",
        "blood",
        "--assay",
        "EFO:0009901",
    )
    assert "the file has no raw counts; they are recovered exactly from raw" in done.stderr
    assert "authors and year as in pbmc68k-reduced" in done.stderr
    verified = run("verify", done.stdout.strip())
    assert verified.exit_code == 0, verified.output
    assert "700 cells, 738 genes" in verified.stderr


def logged(path, counts, depth=None, scale=1e4, dtype="f4"):
    """Write log1p of counts, scaled where a depth is given, as scanpy does."""
    scaled = counts / depth[:, None] * scale if depth is not None else counts
    cells = anndata.AnnData(sp.csr_matrix(np.log1p(scaled).astype(dtype)))
    cells.var_names = cellzoo.open_registry()["pbmc68k-reduced"].source().var.index[: counts.shape[1]]
    cells.obs_names = [f"c{at}" for at in range(len(counts))]
    cells.write_h5ad(path)
    return cells


def drawn_counts():
    """Return counts of which the first ten cells have even ones only."""
    counts = np.random.default_rng(7).poisson(0.8, (40, 60))
    counts[:, 0] = 1
    counts[:10] *= 2
    return counts


def test_logarithms_of_unscaled_counts_are_not_halved_in_cells_with_even_counts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    counts = drawn_counts()
    cells = logged(tmp_path / "log.h5ad", counts)
    recipe = contents_of(tmp_path / "log.h5ad").recover
    assert recipe and recover(cells.X, recipe, cells.obs, "X").toarray().tolist() == counts.tolist()
    done = run("new", "dataset", "--file", "log.h5ad", *PAPER, "--tissue", "blood", "--assay", "10x 3' v2")
    assert "recovered exactly from X: undo log1p, they were never scaled (tried" in done.stderr
    verified = run("verify", done.stdout.strip())
    assert verified.exit_code == 0, verified.output


def test_scaled_counts_whose_totals_are_known_are_still_recovered_by_them(tmp_path):
    counts = drawn_counts()
    cells = logged(tmp_path / "log.h5ad", counts, counts.sum(axis=1))
    cells.obs["n_counts"] = counts.sum(axis=1)
    cells.write_h5ad(tmp_path / "log.h5ad")
    recipe = contents_of(tmp_path / "log.h5ad").recover
    assert recipe and recipe.depth == "n_counts"
    assert recover(cells.X, recipe, cells.obs, "X").toarray().tolist() == counts.tolist()


def test_counts_by_the_smallest_value_of_a_cell_are_not_called_exact(tmp_path):
    counts = drawn_counts()
    logged(tmp_path / "log.h5ad", counts, counts.sum(axis=1), dtype="f8")
    made = draft(contents_of(tmp_path / "log.h5ad"), Said(year=2024), open_registry())
    assert made.card["counts"]["recover"]["depth"] == "smallest"
    [told] = [sentence for sentence in made.told if "by smallest" in sentence]
    assert "exactly" not in told
    assert "not proven: a cell whose counts are all even comes out halved" in told


def test_a_file_without_any_counts_gives_a_card_that_says_so_and_is_not_verified(here):
    done = run(
        "new",
        "dataset",
        "--file",
        "scaled.h5ad",
        *PAPER,
        "--organism",
        "hooman",
        "--tissue",
        "blood",
        "--assay",
        "10x 3' v2",
    )
    assert done.exit_code == 1 and "no NCBITaxon label" in done.stderr
    done = run("new", "dataset", "--file", "scaled.h5ad", *PAPER, "--tissue", "blood", "--assay", "10x 3' v2")
    card = load_card(here / done.stdout.strip())
    assert (card.layers.counts, card.counts) == (None, None)
    assert str(card.status_reason).startswith("No raw counts in the file")
    assert "No raw counts in the file" in done.stderr
    assert "never verified" in done.stderr and "next: cellzoo verify" not in done.stderr
    assert done.stderr.endswith("next: cellzoo check datasets/doe2024-scaled.yaml\n")
    assert "verified needs counts" in run("verify", done.stdout.strip()).stderr


def test_a_cellxgene_file_needs_no_person_but_for_its_year(tmp_path, monkeypatch, desk):
    lab = anndata.read_h5ad(desk / "lab.h5ad")
    terms = {"tissue": "UBERON:0000178", "assay": "EFO:0009899", "disease": "PATO:0000461", "sex": "unknown"}
    atlas = anndata.AnnData(lab.X, pd.DataFrame(index=lab.obs_names), lab.var)
    for name, term in terms.items():
        atlas.obs[f"{name}_ontology_term_id"] = term
    atlas.obs["cell_type_ontology_term_id"] = ["CL:0000236", "CL:0000084", "unknown"] * 30
    atlas.obs["cell_type"] = ["B cell", "T cell", "unknown"] * 30
    atlas.obs["is_primary_data"], atlas.obs["donor_id"] = False, "d1"
    atlas.raw = anndata.AnnData(lab.layers["counts"], var=lab.var)
    atlas.uns = {
        "title": "Blood",
        "organism_ontology_term_id": "NCBITaxon:9606",
        "citation": "Publication: https://doi.org/10.1000/x.y Dataset Version: https://datasets.cellxgene.cziscience.com/"
        "1.h5ad curated and distributed by CZ CELLxGENE Discover in Collection: https://cellxgene.cziscience.com/c",
    }
    atlas.write_h5ad(tmp_path / "atlas.h5ad")
    monkeypatch.chdir(tmp_path)
    assert "Give --year." in run("new", "dataset", "--file", "atlas.h5ad").stderr
    card = load_card(tmp_path / run("new", "dataset", "--file", "atlas.h5ad", "--year", "2024").stdout.strip())
    assert (card.title, card.study.doi, card.license, card.primary_data) == ("Blood", "10.1000/x.y", "CC-BY-4.0", False)
    assert (card.files[0].url, card.files[0].sha256) == ("https://datasets.cellxgene.cziscience.com/1.h5ad", None)
    assert card.cells.cell_type.model_dump(exclude_none=True) == {
        "column": "cell_type_ontology_term_id",
        "holds": "ids",
    }
    assert (card.layers.counts, card.cells.tissue.label, card.cells.donor_id.value) == ("raw", "blood", "d1")
    assert run("verify", tmp_path / "datasets" / "atlas.yaml", "--files", tmp_path).exit_code == 0


def test_mouse_ids_and_symbols_are_told_apart(tmp_path, real):
    mouse = real("baron2016-mouse1")[:50].copy()
    table = map_genes(list(mouse.var_names), "Mus musculus").table()
    kept = (table["id"] != "").to_numpy() & ~table["id"].duplicated().to_numpy()
    mouse = mouse[:, kept].copy()
    mouse.var["gene_symbol"] = mouse.var_names.to_numpy()
    mouse.var_names = table["id"][kept].to_numpy()
    mouse.write_h5ad(tmp_path / "mouse.h5ad")
    contents = contents_of(tmp_path / "mouse.h5ad")
    assert (contents.organism, contents.genes) == ("NCBITaxon:10090", {"ensembl": "index", "symbol": "gene_symbol"})
    cells = draft(contents, Said(year=2016), open_registry()).card["cells"]
    assert cells["self_reported_ethnicity"] == {"term": "na"}
    assert cells["donor_id"] == {"value": "mouse1"}


def test_reads_of_a_full_length_protocol_are_told_from_molecules(tmp_path, real):
    for dataset, kind in (("segerstolpe2016-human", True), ("baron2016-human", False)):
        real(dataset).write_h5ad(tmp_path / "x.h5ad")
        assert contents_of(tmp_path / "x.h5ad").reads is kind


def odd(change):
    cells = anndata.AnnData(
        sp.csr_matrix(np.eye(60, 3, dtype=np.float32)), pd.DataFrame(index=[f"c{at}" for at in range(60)])
    )
    cells.var_names = ["CD3E", "CD79A", "MS4A1"]
    cells.obs["celltype"] = ["B cell", "T cell", "B cell"] * 20
    change(cells)
    return cells


def same_names(cells):
    cells.obs_names = ["c"] * 60


ODD = {
    "cells of one name": (same_names, "59 cells have the name of another"),
    "a label with a line end": (
        lambda cells: cells.obs.__setitem__("celltype", ["B\ncell", "T cell", "B cell"] * 20),
        "column 'celltype' is not used: it holds line ends or tabs, as in 'B\\ncell'",
    ),
    "blanks around a name": (
        lambda cells: cells.obs.rename(columns={"celltype": "cell type "}, inplace=True),
        "column 'cell type ' is not used: its name has blanks",
    ),
    "donors that some cells lack": (
        lambda cells: cells.obs.__setitem__("patient", [1.0, 2.0, np.nan] + [1.0] * 57),
        "column 'patient' is not taken as donor_id: 1 cells have none. Fill it in",
    ),
    "samples that some cells lack": (
        lambda cells: cells.obs.__setitem__("sample", ["a", "b", " "] * 20),
        "column 'sample' is not taken as bio_sample: 20 cells have none. Fill it in",
    ),
    "an organism that some cells lack": (
        lambda cells: cells.obs.__setitem__("organism", ["human"] * 40 + [""] * 20),
        "organism: 20 cells have none in column 'organism'; the card says Homo sapiens for all",
    ),
    "an organism that is no term": (
        lambda cells: cells.obs.__setitem__("species", "patient"),
        "organism: column 'species' says 'patient', which is no term; the card says Homo sapiens",
    ),
    "cells of another organism": (lambda cells: None, "organism is Mus musculus as you say, but the file"),
}


@pytest.mark.parametrize(("change", "told"), ODD.values(), ids=ODD.keys())
def test_what_of_a_file_will_not_do_is_told(tmp_path, change, told):
    odd(change).write_h5ad(tmp_path / "odd.h5ad")
    terms = {"organism": "Mus musculus"} if "Mus" in told else {"organism": "Homo sapiens"}
    made = draft(contents_of(tmp_path / "odd.h5ad"), Said(year=2024, terms=terms), open_registry())
    assert any(told in sentence for sentence in made.told), made.told


ONE = {
    "by id": ({"organism_ontology_term_id": ["NCBITaxon:10090"] * 60}, "NCBITaxon:10090"),
    "by name": ({"Organism": ["Mus musculus"] * 60}, "NCBITaxon:10090"),
    "by its names": ({"species": ["mouse", "Mus musculus", "Mouse"] * 20}, "NCBITaxon:10090"),
    "by id before its name": (
        {"organism": ["a"] * 60, "organism_ontology_term_id": ["NCBITaxon:10090"] * 60},
        "NCBITaxon:10090",
    ),
    "where some say unknown": ({"organism": ["Mus musculus", "unknown"] * 30}, "NCBITaxon:10090"),
    "by genes where no column says": ({}, "NCBITaxon:9606"),
}


@pytest.mark.parametrize(("columns", "term"), ONE.values(), ids=ONE.keys())
def test_the_organism_is_what_the_column_of_the_file_says(tmp_path, columns, term):
    def change(cells):
        for name, values in columns.items():
            cells.obs[name] = values

    odd(change).write_h5ad(tmp_path / "odd.h5ad")
    made = draft(contents_of(tmp_path / "odd.h5ad"), Said(year=2024), open_registry())
    assert made.card["cells"]["organism"]["term"] == term


SEVERAL = {
    "by id": ("organism_ontology_term_id", ["NCBITaxon:9606", "NCBITaxon:10090", "NCBITaxon:9606"]),
    "by name": ("organism", ["Homo sapiens", "Mus musculus", "Homo sapiens"]),
}


@pytest.mark.parametrize(("column", "values"), SEVERAL.values(), ids=SEVERAL.keys())
@pytest.mark.parametrize("said", [[], ["--organism", "Homo sapiens"]], ids=["not said", "said"])
def test_a_file_of_two_organisms_is_refused_and_nothing_is_written(tmp_path, monkeypatch, column, values, said):
    monkeypatch.chdir(tmp_path)
    odd(lambda cells: cells.obs.__setitem__(column, values * 20)).write_h5ad(tmp_path / "odd.h5ad")
    done = run("new", "dataset", "--file", "odd.h5ad", *PAPER, *said)
    assert done.exit_code == 1
    found = f"column {column!r} says several organisms: {values[0]!r} (40 cells), {values[1]!r} (20 cells)."
    split = f"adata[adata.obs[{column!r}] == {values[0]!r}].write_h5ad(…)"
    remedy = f"A card is of one organism, as its genes are. Write a file of each, {split}, and draft each."
    assert f"Error: odd.h5ad: {found} {remedy}" in " ".join(done.stderr.split())
    assert not (tmp_path / "datasets").exists()


def test_an_organism_that_is_no_term_is_asked_for_and_not_told_by_the_genes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    odd(lambda cells: cells.uns.__setitem__("organism", "unicorn")).write_h5ad(tmp_path / "odd.h5ad")
    done = run("new", "dataset", "--file", "odd.h5ad", *PAPER)
    assert done.exit_code == 2
    said = "organism: uns says 'unicorn', which is no term. Give --organism."
    assert said in " ".join(done.stderr.split())


def test_a_file_that_says_one_organism_and_its_cells_another_is_refused(tmp_path):
    def change(cells):
        cells.uns["organism"] = "human"
        cells.obs["organism"] = "Mus musculus"

    odd(change).write_h5ad(tmp_path / "odd.h5ad")
    with pytest.raises(InputError) as caught:
        contents_of(tmp_path / "odd.h5ad")
    both = "uns says 'human', column 'organism' says 'Mus musculus'"
    remedy = "Cells are of one organism: correct what is wrong, and draft again."
    assert str(caught.value) == f"odd.h5ad: {both}. {remedy}"


def test_blank_labels_are_cells_without_a_label_and_na_is_none_of_cell_types(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    odd(lambda cells: cells.obs.__setitem__("celltype", ["", " ", "na", "B cell", "T cell", "T cell"] * 10)).write_h5ad(
        tmp_path / "odd.h5ad"
    )
    done = run("new", "dataset", "--file", "odd.h5ad", *PAPER, "--tissue", "blood", "--assay", "10x 3' v2")
    rows = load_map(tmp_path / "datasets" / "doe2024-odd.cell_type.tsv")
    assert {label: rows.terms[label] for label in ("(none)", "na")} == {"(none)": "unknown", "na": "unknown"}
    verified = run("verify", done.stdout.strip())
    assert verified.exit_code == 0, verified.output


def test_the_rows_of_numbers_beside_gaps_are_what_the_file_is_read_as(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    odd(lambda cells: cells.obs.__setitem__("age", [34.0, 51.0, np.nan] * 20)).write_h5ad(tmp_path / "odd.h5ad")
    done = run("new", "dataset", "--file", "odd.h5ad", *PAPER, "--tissue", "blood", "--assay", "10x 3' v2")
    rows = load_map(tmp_path / "datasets" / "doe2024-odd.development_stage.tsv")
    assert rows.terms == {"34.0": "HsapDv:0000128", "51.0": "HsapDv:0000145", "(none)": "unknown"}
    verified = run("verify", done.stdout.strip())
    assert verified.exit_code == 0, verified.output


def test_many_doubtful_labels_are_counted_and_only_some_are_listed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    labels = [f"T cell of kind {at // 2}" for at in range(60)]
    odd(lambda cells: cells.obs.__setitem__("celltype", labels)).write_h5ad(tmp_path / "odd.h5ad")
    done = run("new", "dataset", "--file", "odd.h5ad", *PAPER)
    assert done.stderr.count("T cell of kind") == 20
    assert "and 10 more, with a note in doe2024-odd.cell_type.tsv" in done.stderr


def test_a_name_without_latin_letters_is_asked_for_an_id(desk):
    with pytest.raises(InputError, match="'日本' gives no id.*--id"):
        draft(contents_of(desk / "lab.h5ad"), Said(id="日本", year=2024), open_registry())


def test_a_folder_and_a_file_without_genes_are_said_to_be_that(desk, tmp_path):
    with pytest.raises(InputError, match="is a folder, expected an h5ad file"):
        contents_of(tmp_path)
    anndata.read_h5ad(desk / "lab.h5ad")[:, :0].write_h5ad(tmp_path / "none.h5ad")
    with pytest.raises(InputError, match="holds no genes"):
        contents_of(tmp_path / "none.h5ad")


BROKEN = {
    "text": (b"hello", "is not an h5ad file: it starts with b'hello'"),
    "half": (None, "cannot be read as h5ad"),
}


@pytest.mark.parametrize(("content", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_file_is_said_to_be_broken(desk, tmp_path, content, message):
    path = tmp_path / "broken.h5ad"
    path.write_bytes(content or (desk / "lab.h5ad").read_bytes()[:20_000])
    with pytest.raises(InputError, match=re.escape(message)):
        contents_of(path)


def test_a_matrix_is_looked_at_without_reading_it_whole(tmp_path):
    """The file says that it holds 800 MB of values, of which none were ever written."""
    import h5py

    small = anndata.AnnData(sp.csr_matrix(np.ones((3, 4), dtype=np.float32)))
    small.var_names = ["CD3E", "CD79A", "MS4A1", "GAPDH"]
    small.write_h5ad(tmp_path / "big.h5ad")
    with h5py.File(tmp_path / "big.h5ad", "a") as file:
        del file["X/data"]
        file["X"].create_dataset("data", shape=(10**8,), dtype="f8", chunks=(10**5,), fillvalue=1.0)
    contents_of(tmp_path / "big.h5ad")  # gene tables and the like are loaded once
    tracemalloc.start()
    contents = contents_of(tmp_path / "big.h5ad")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (contents.counts, contents.cells) == ("X", 3)
    assert peak < 100 * 2**20


NAMES = {
    "author_cell_type": ("cell_type", ["B cell", "T cell"]),
    "cell.type": ("cell_type", ["B cell", "T cell"]),
    "Celltype_fine": ("cell_type", ["B cell", "T cell"]),
    "leiden": (None, ["0", "1"]),
    "my column": ("cell_type", ["B cell", "T cell"]),
    "Organ": ("tissue", ["lung", "liver"]),
    "sampled from": ("tissue", ["lung", "liver"]),
    "patient_id": ("donor_id", ["a", "b"]),
    "orig.ident": ("bio_sample", ["s1", "s2"]),
    "batch": ("tech_sample", ["1", "2"]),
    "Protocol": ("assay", ["10x 3' v2", "10x 3' v3"]),
    "gender": ("sex", ["F", "M"]),
    "sex": (None, ["a", "b"]),
    "age": ("development_stage", ["34", "51"]),
    "n_genes": (None, [0.5, 1.5]),
}


@pytest.mark.parametrize(("name", "expected", "values"), [(name, *rest) for name, rest in NAMES.items()], ids=NAMES)
def test_a_column_is_matched_by_its_name_and_what_it_holds(name, expected, values):
    obs = pd.DataFrame({name: values * 30}, index=[f"cell {at}" for at in range(60)])
    known = {"cell_type": {"B cell", "T cell"}, "tissue": {"lung", "liver"}}
    found = match_columns(obs, lambda field, text: float(text in known.get(field, ())))
    assert {field: column.name for field, column in found.items()} == ({expected: name} if expected else {})


def test_names_of_cells_are_no_labels():
    obs = pd.DataFrame({"cell_type": [f"AAACT{at}" for at in range(60)]})
    assert match_columns(obs, lambda *_: 1.0) == {}


def best(score, why="similar", term="CL:0000236"):
    return [
        Suggestion(term, "B cell" if term != "unknown" else term, score, why),
        Suggestion("CL:0000084", "T cell", 0.1, ""),
    ]


ROWS = {
    "its own name": (best(0.9, "label"), "CL:0000236", ""),
    "likely": (best(0.8), "CL:0000236", "suggested 0.80; next: T cell 0.10"),
    "unlikely": (best(0.4), "unknown", "suggested 0.40 B cell CL:0000236, not filled in; next: T cell 0.10"),
    "no cell": (best(0.9, term="unknown"), "unknown", "the label names none"),
    "nothing": ([], "unknown", "suggested nothing; choose a term, or leave unknown"),
}


@pytest.mark.parametrize(("choices", "term", "note"), ROWS.values(), ids=ROWS.keys())
def test_a_row_says_how_sure_its_term_is(choices, term, note):
    row = row_of("b", 7, lambda _: choices)
    assert (row.term, row.note, row.open) == (term, note, note.startswith("suggested"))


REFUSED = {
    "a term that is none": ({"terms": {"tissue": "blod"}}, NotFoundError, "nearest 'blood'"),
    "a term of another field": ({"terms": {"tissue": "B cell"}}, InputError, "tissue: CL:0000236"),
    "an id that is taken": ({"id": "tenx-pbmc3k"}, InputError, "has a card of that id. Give another by --id."),
    "a doi that is none": ({"doi": "paper"}, CardError, "study.doi"),
    "a year that is none": ({"year": 20244}, CardError, "study.year"),
}


@pytest.mark.parametrize(("said", "kind", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_stand_in_a_card_is_refused_before_anything_is_written(desk, said, kind, message):
    with pytest.raises(kind, match=re.escape(message)):
        draft(contents_of(desk / "lab.h5ad"), Said(**{"year": 2024} | said), open_registry())


def test_nothing_that_exists_is_overwritten(here):
    assert run("new", "dataset", "--file", "lab.h5ad", *PAPER).exit_code == 0
    before = {path: path.read_text() for path in (here / "datasets").iterdir()}
    again = run("new", "dataset", "--file", "lab.h5ad", *PAPER)
    assert again.exit_code == 1
    assert "holds doe2024-lab.cell_type.tsv, doe2024-lab.sex.tsv, doe2024-lab.yaml already" in again.stderr
    assert {path: path.read_text() for path in (here / "datasets").iterdir()} == before


def test_on_a_terminal_a_person_is_asked_and_shown_each_suggestion(here, monkeypatch):
    run("new", "dataset", "--file", "lab.h5ad", *PAPER, "--out", "before")
    before = load_map(here / "before" / "datasets" / "doe2024-lab.cell_type.tsv")
    first, second, third, fourth, *rest = [
        label for label, note in before.notes.items() if note.startswith("suggested")
    ]
    monkeypatch.setattr(new, "on_terminal", lambda: True)
    answers = ["paper", "10.1000/x.y", "Doe et al.", "", "MMXXIV", "20244", "2024", "Blood", "CC0-1.0", "maybe", "no"]
    answers += ["helthy", "normal", "u", "2", "s", "9", "blood", "T cell"]
    done = run("new", "dataset", "--file", "lab.h5ad", input="\n".join([*answers, "q"]))
    assert done.exit_code == 0, done.output
    for wrong in ("study.doi", "no card without it", "'MMXXIV' is not a number", "study.year", "expected yes or no"):
        assert f"  {wrong}" in done.stderr or wrong in done.stderr
    assert "'helthy' is no" in done.stderr and "9 is none of these" in done.stderr and "'blood' is no CL" in done.stderr
    card = load_card(here / done.stdout.strip().splitlines()[-1])
    assert (card.study.doi, card.study.year, card.title, card.license) == ("10.1000/x.y", 2024, "Blood", "CC0-1.0")
    assert (card.primary_data, card.cells.disease.term) == (False, "PATO:0000461")
    rows = load_map(here / "datasets" / card.cells.cell_type.map)
    assert (rows.terms[first], rows.notes[first]) == ("unknown", "no term fits")
    assert rows.terms[second] != before.terms[second] and second not in rows.notes
    assert (rows.terms[fourth], rows.labels[fourth]) == ("CL:0000084", "T cell")
    assert [label for label, note in rows.notes.items() if note.startswith("suggested")] == [third, *rest]


def test_the_commands_of_the_guide_run(here):
    """docs/adding-a-dataset.md is followed to the letter, in a folder with the file of the guide."""
    (here / "pbmc.h5ad").symlink_to(here / "lab.h5ad")
    commands = [
        line.removesuffix("\\")
        for block in re.findall(r"^```sh\n(.*?)^```", DOC.read_text(), re.MULTILINE | re.DOTALL)
        for line in block.replace("\\\n", " ").splitlines()
        if line.startswith("cellzoo ")
    ]
    assert [shlex.split(command)[1] for command in commands] == ["new", "verify", "check", "get"]
    for command in commands:
        if command.startswith("cellzoo verify"):
            accepted(here / "datasets" / "doe2024-pbmc.cell_type.tsv")
        done = run(*shlex.split(command, comments=True)[1:])
        assert done.exit_code == 0, f"{command}\n{done.output}"
    assert (here / "out" / "doe2024-pbmc.h5ad").is_file()


def drafted(path, adata, **said):
    """Write a file, draft and verify its card, and return it streamlined."""
    adata.write_h5ad(f"{path}.h5ad")
    more = [text for name, value in said.items() for text in (f"--{name}", value)]
    done = run("new", "dataset", "--file", f"{path}.h5ad", *PAPER, "--id", path, *more)
    assert done.exit_code == 0, done.output
    for label_map in Path("datasets").glob(f"{path}.*.tsv"):
        accepted(label_map)
    done = run("verify", f"datasets/{path}.yaml")
    assert done.exit_code == 0, done.output
    return cellzoo.open_registry(".")[path].load()


def test_a_streamlined_file_is_drafted_and_read_as_it_is(here):
    first = cellzoo.open_registry()["pbmc68k-reduced"].load()
    assert "X" in first.layers and not first.var["measured"].all()
    again = drafted("again", first)
    assert (again.X != first.X).nnz == 0
    assert (again.layers["X"] != first.layers["X"]).nnz == 0
    assert again.var["measured"].tolist() == first.var["measured"].tolist()


@pytest.mark.parametrize("counts", ["X", "raw", "layers/X", "layers/raw"])
def test_a_layer_called_as_the_matrix_or_raw_is_not_taken_for_it(here, counts):
    lab = anndata.read_h5ad("lab.h5ad")
    places = {"X": 0.5, "layers/X": 0.25, "layers/raw": 0.75, "raw": 0.125}  # none of which are counts, but for one
    values = {place: lab.layers["counts"] * (1 if place == counts else share) for place, share in places.items()}
    made = anndata.AnnData(values["X"], obs=lab.obs, var=lab.var)
    made.raw = anndata.AnnData(values["raw"], obs=lab.obs[[]], var=lab.var)
    made.layers["X"], made.layers["raw"] = values["layers/X"], values["layers/raw"]
    found = drafted("mine", made)
    mapped = map_genes(list(lab.var_names), "NCBITaxon:9606").position >= 0
    assert found.X.sum() == lab.layers["counts"][:, mapped].sum() > 0


def test_a_gap_in_whether_cells_are_primary_is_asked_about(here):
    lab = anndata.read_h5ad("lab.h5ad")
    lab.obs["is_primary_data"] = pd.array([True, None, False] * 30, "boolean")
    lab.write_h5ad("gap.h5ad")
    done = run("new", "dataset", "--file", "gap.h5ad", *PAPER)
    assert done.exit_code == 0, done.output
    assert "are the cells first published here" in done.stderr
