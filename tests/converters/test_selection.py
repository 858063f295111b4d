"""Selection: data sets by card, described without a byte of them, loaded on demand."""

import anndata
import numpy as np
import pytest

import cellzoo
from cellzoo.converters import fetch as fetching
from cellzoo.converters.zoo import open_registry
from cellzoo.errors import CardError, InputError, NotFoundError, WorldError
from cellzoo.registry.cells import TERM_FIELDS
from cellzoo.registry.genes import gene_space


@pytest.fixture
def zoo(copy):
    return open_registry(copy)


@pytest.fixture
def no_fetch(monkeypatch):
    """Fail where a file is asked for."""
    monkeypatch.setattr(fetching, "fetch", lambda *_: pytest.fail("a file was asked for"))


def test_the_face_opens_the_packaged_registry():
    zoo = cellzoo.open_registry()
    assert "tenx-pbmc3k" in zoo.ids
    assert list(zoo.ids) == sorted(zoo.ids)


def test_a_selection_is_a_mapping_in_the_order_of_ids(zoo, no_fetch):
    selected = zoo.datasets(tissue="pancreas")
    assert list(selected) == ["baron2016-human", "segerstolpe2016-human"]
    assert len(selected) == 2
    assert selected["baron2016-human"].card.study.year == 2016
    assert repr(selected) == "Selection(2 data sets: baron2016-human, segerstolpe2016-human)"
    with pytest.raises(KeyError):
        selected["tenx-pbmc3k"]


def test_a_selection_follows_the_ontology(zoo, no_fetch):
    selected = zoo.datasets(organism="Homo sapiens", tissue="blood", cell_type="T cell")
    assert "tenx-pbmc3k" in selected and "baron2016-human" not in selected
    assert len(zoo.datasets(tissue="brain")) == 0


def test_the_summary_comes_from_the_cards_alone(zoo, no_fetch):
    table = zoo.datasets().obs_summary()
    assert list(table.index) == list(zoo.ids) and table.index.name == "id"
    assert list(table) == ["status", "cells", "study", "year", *TERM_FIELDS, "title"]
    row = table.loc["segerstolpe2016-human"]
    assert (row["cells"], row["year"], row["status"]) == (702, 2016, "verified")
    assert (row["tissue"], row["disease"]) == ("islet of Langerhans", "normal, type 2 diabetes mellitus")
    assert row["sex"] == "unknown"
    assert "pancreatic A cell" in row["cell_type"]
    assert table["cells"].sum() == sum(card.cells_expected for card in zoo.registry.cards())


def test_the_summary_of_nothing_is_an_empty_table(zoo):
    assert zoo.datasets(tissue="brain").obs_summary().empty


def test_a_term_that_no_ontology_knows_never_stops_the_summary(copy):
    path = copy / "datasets" / "tenx-pbmc3k.cell_type.tsv"
    path.write_text(path.read_text().replace("CL:0000233\t", "CL:9999999\t").replace("CL:0000451\t", "dendritic\t"))
    table = open_registry(copy).datasets().obs_summary()
    assert {"CL:9999999", "dendritic"} <= set(str(table.loc["tenx-pbmc3k", "cell_type"]).split(", "))
    assert len(table) == 7


def test_a_bad_card_is_left_out_and_told(copy):
    (copy / "datasets" / "tenx-pbmc3k.cell_type.tsv").unlink()
    (copy / "datasets" / "onek1k-subset.yaml").write_text("id: [")
    zoo = open_registry(copy)
    table = zoo.datasets().obs_summary()
    assert len(table) == 5
    assert [finding.code for finding in zoo.registry.problems] == ["CARD002", "MAP001"]
    assert len(zoo.ids) == 7, "readable or not"


def test_an_id_that_is_not_there_is_refused_with_the_nearest(zoo):
    with pytest.raises(NotFoundError, match="no data set 'tenx-pbmc4k' in .*; nearest 'tenx-pbmc3k'"):
        zoo["tenx-pbmc4k"]


# loading, on the smallest of the real data sets


@pytest.fixture
def small(zoo):
    return zoo["pbmc68k-reduced"]


def test_load_fetches_reads_and_streamlines(small):
    adata = small.load()
    assert adata.shape == (700, 20_120)
    assert adata.uns["cellzoo"]["dataset_id"] == "pbmc68k-reduced"
    assert adata.obs["cell_type"].value_counts().index[0] == "dendritic cell"


def test_load_takes_another_gene_space(small):
    name = gene_space("Homo sapiens").name.replace("protein_coding", "all")
    for space in (name, gene_space(name)):
        adata = small.load(space)
        assert adata.n_vars > 70_000
        assert adata.uns["cellzoo"]["gene_space"] == name
    with pytest.raises(NotFoundError, match="no gene space 'gencode'"):
        small.load("gencode")
    with pytest.raises(InputError, match="the names are of NCBITaxon:9606, the gene space mus_musculus-"):
        small.load("Mus musculus")


def test_source_keeps_the_genes_and_columns_of_the_study(small):
    adata = small.source().to_anndata()
    assert adata.shape == (700, 765)
    assert {"bulk_labels", "louvain"} <= set(adata.obs)
    assert (adata.X.data == np.rint(adata.X.data)).all()


def test_fetch_gives_each_file_of_the_card(zoo, mirror, monkeypatch):
    monkeypatch.setenv("CELLZOO_MIRROR", str(mirror))
    files = zoo["tenx-pbmc3k"].fetch()
    assert {name: path.name[:8] for name, path in files.items()} == {
        "pbmc3k.rda": "d8f27cd6",
        "pbmc_meta.rda": "df238012",
    }


def test_write_makes_the_folder_and_leaves_only_the_file(small, tmp_path):
    path, data, _ = small.write(tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / "pbmc68k-reduced.h5ad"
    assert list(path.parent.iterdir()) == [path]
    written, loaded = anndata.read_h5ad(path), small.load()
    assert written.shape == (data.n_obs, data.n_vars) == loaded.shape
    assert (written.X != loaded.X).nnz == 0
    assert written.obs["cell_type"].equals(loaded.obs["cell_type"])


def test_a_write_that_fails_leaves_what_was_there(small, tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "pbmc68k-reduced.h5ad").write_text("before")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cellzoo.converters.h5ad.write_rows", full)
    with pytest.raises(WorldError, match=r"pbmc68k-reduced.h5ad: cannot be written: No space left on device"):
        small.write(tmp_path / "out")
    assert [(path.name, path.read_text()) for path in (tmp_path / "out").iterdir()] == [
        ("pbmc68k-reduced.h5ad", "before")
    ]


# combining and saving


def test_selections_are_combined_like_sets(zoo):
    blood, islets = zoo.datasets(tissue="blood"), zoo.datasets(tissue="pancreas")
    droplets = zoo.datasets(assay="10x technology") | zoo.datasets(assay="inDrop")
    assert list(blood | islets) == list(zoo.ids)
    assert list(blood & islets) == []
    assert list(zoo.datasets() - blood) == list(islets)
    assert list(islets & droplets) == ["baron2016-human"]
    assert list(droplets - islets) == list(droplets & blood)


def test_selections_of_two_registries_are_not_mixed(zoo):
    with pytest.raises(InputError, match="selections of two sources"):
        zoo.datasets() | open_registry().datasets(text="pbmc3k")


def test_a_selection_is_found_by_words_and_status(zoo):
    assert list(zoo.datasets(text="sorted zheng")) == ["zheng2017-pbmc14k", "zheng2017-sorted-pbmc"]
    assert list(zoo.datasets(text="10.1126/science.abf3041")) == ["onek1k-subset"]
    assert len(zoo.datasets(status="imported")) == 0


def test_a_saved_selection_comes_back(zoo, tmp_path):
    chosen = zoo.datasets(tissue="pancreas")
    path = chosen.save(tmp_path / "islets.yaml")
    assert list(zoo.selection(path)) == list(chosen)
    assert path.stat().st_size < 400


def test_a_saved_selection_says_which_cards_changed_or_went(zoo, copy, tmp_path):
    path = zoo.datasets(tissue="pancreas").save(tmp_path / "islets.yaml")
    changed = copy / "datasets" / "baron2016-human.cell_type.tsv"
    changed.write_text(changed.read_text().replace("CL:0000171\tpancreatic A cell", "unknown\tunknown"))
    (copy / "datasets" / "segerstolpe2016-human.yaml").unlink()
    with pytest.raises(CardError) as caught:
        open_registry(copy).selection(path)
    assert [(finding.code, finding.line) for finding in caught.value.findings] == [("SEL003", 4), ("SEL002", 5)]


def test_facets_count_data_sets_and_cells(zoo):
    table = zoo.datasets().facets("tissue")
    assert table.loc["UBERON:0000178", ["label", "datasets", "cells"]].tolist() == ["blood", 5, 16_789]
    assert table["datasets"].tolist() == [5, 2]


def test_a_status_or_a_field_that_does_not_exist_is_never_an_empty_answer(zoo):
    with pytest.raises(InputError, match="status 'foo': expected one of imported, verified, broken"):
        zoo.datasets(status="foo")
    with pytest.raises(InputError, match="'colour' is no field of terms; there are organism"):
        zoo.datasets().facets("colour")


REFUSED = {
    "camp2015-fetal-cortex": "camp2015-fetal-cortex cannot be used: The file holds no counts",
    "pisco2019-mouse": "`cellzoo verify pisco2019-mouse` in a clone of the registry fetches and pins them.",
    "cellxgene-census": "cellxgene-census is a collection, which is read by query, not a data set; `cellzoo show",
}


@pytest.mark.parametrize(("name", "said"), REFUSED.items(), ids=REFUSED.keys())
def test_what_cannot_be_loaded_says_what_to_do_before_anything_is_fetched(name, said, no_fetch):
    with pytest.raises(InputError) as caught:
        open_registry()[name].load()
    assert said in str(caught.value)


def test_healthy_is_normal_as_sfaira_says_it(zoo, no_fetch):
    assert list(zoo.datasets(disease="healthy")) == list(zoo.datasets(disease="normal")) != []
