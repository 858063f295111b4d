"""A Census we write is one to the clients of CELLxGENE: cells, counts and filters as they were given."""

import pickle
import warnings
from collections import Counter
from typing import Any

import cellxgene_census
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse as sp
import tiledbsoma as soma

from cellzoo.converters.celldata import CellData, Raw
from cellzoo.converters.census import experiment, layout
from cellzoo.converters.census.check import check_census
from cellzoo.converters.census.export import export
from cellzoo.converters.census.soma import _check_written
from cellzoo.converters.census.source import open_census
from cellzoo.converters.rows import Memory
from cellzoo.errors import CountsError, GenesError, InputError, WorldError
from cellzoo.registry.genes import gene_space
from cellzoo.registry.genetable import features

SPACES = {"NCBITaxon:9606": gene_space("Homo sapiens"), "NCBITaxon:10090": gene_space("Mus musculus")}
SMALL = {"soma.init_buffer_bytes": 64 * 2**20}
FIELDS = {
    "assay": "EFO:0009899",
    "cell_type": "CL:0000084",
    "development_stage": "unknown",
    "disease": "PATO:0000461",
    "self_reported_ethnicity": "unknown",
    "sex": "PATO:0000383",
    "tissue": "UBERON:0002048",
}


def data_of(seed, genes, cells=60, organism="NCBITaxon:9606", **columns):
    """Return streamlined data over some genes of an organism, with a value or a list of values for each column."""
    generator = np.random.default_rng(seed)
    counts = sp.random(
        cells, len(genes), 0.3, "csr", random_state=generator, data_rvs=lambda n: generator.integers(1, 40, n)
    )
    counts = counts @ sp.diags((np.arange(len(genes)) != 3).astype(float))  # one gene is not counted anywhere
    obs = pd.DataFrame(index=[f"{seed}-{cell}" for cell in range(cells)])
    for field, term in FIELDS.items():
        obs[f"{field}_ontology_term_id"] = pd.Categorical(np.resize(columns.pop(field, [term]), cells))
    obs["donor_id"], obs["suspension_type"], obs["tissue_type"], obs["is_primary_data"] = "d'1", "cell", "tissue", True
    for name, values in columns.items():
        obs[name] = np.resize(values, cells)
    ids = SPACES[organism].ids[list(genes)].astype(object)
    uns = {"title": f"Data {seed}", "organism_ontology_term_id": organism, "cellzoo": {"study": f"10.1/{seed}"}}
    return CellData(obs=obs, var=pd.DataFrame(index=ids), X=Memory(counts.astype(np.float32)), uns=uns)


@pytest.fixture(scope="session")
def given():
    return {
        "first": data_of(
            1, range(80), cell_type=["CL:0000084", "CL:0000236"], tissue=["UBERON:0008952", "UBERON:0000178"]
        ),
        "second": data_of(2, range(60, 140), disease=["MONDO:0005812 || MONDO:0100096"], is_primary_data=[True, False]),
        "full": data_of(3, range(20), assay=["EFO:0008931"]),
        "mouse": data_of(4, range(50), organism="NCBITaxon:10090", donor_id=["unknown", "m"]),
    }


@pytest.fixture(scope="session")
def exported(tmp_path_factory, given):
    path = tmp_path_factory.mktemp("own") / "census"
    return export(path, ((name, {"citation": f"Cite {name}"}, data) for name, data in given.items()))


@pytest.fixture(scope="session")
def official(exported):
    with cellxgene_census.open_soma(uri=str(exported.path), tiledb_config=SMALL) as opened:
        yield opened


def anndata_of(official, organism, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # anndata: an integer index is made text
        found = cellxgene_census.get_anndata(official, organism, **options)
    found.var_names = found.var["feature_id"].astype(object)
    return found


@pytest.mark.parametrize("name", ["first", "second", "full", "mouse"])
def test_the_official_client_reads_the_counts_that_were_given(official, given, name):
    data = given[name]
    organism = "Mus musculus" if name == "mouse" else "Homo sapiens"
    found = anndata_of(official, organism, obs_value_filter=f"dataset_id == '{name}'")
    assert (data.X.csr != found[:, data.var.index].X).nnz == 0
    assert found.X.nnz == data.X.csr.nnz
    for column in data.obs:
        assert found.obs[column].tolist() == data.obs[column].tolist()


def test_filters_of_the_official_client_match(official, given):
    def cells(where):
        return len(cellxgene_census.get_obs(official, "homo_sapiens", value_filter=where))

    assert cells("cell_type == 'B cell'") == 30
    assert cells("disease == 'influenza || COVID-19' and is_primary_data == True") == 30
    assert cells("tissue_general == 'lung'") == 30 + 60 + 60
    assert cells('donor_id == "d\'1"') == 180


def test_the_presence_matrix_says_which_genes_a_data_set_counts(official, given):
    found = cellxgene_census.get_presence_matrix(official, "Homo sapiens")
    ids = cellxgene_census.get_var(official, "Homo sapiens")["feature_id"].tolist()
    assert found.shape == (4, 140)
    for row, name in enumerate(["first", "second", "full"]):
        counted = given[name].var.index[given[name].X.csr.getnnz(axis=0) > 0]
        assert {ids[gene] for gene in found[[row]].nonzero()[1]} == set(counted)


def test_normalized_counts_are_fractions_of_a_cell_or_by_length_for_full_transcripts(official, given):
    plain = anndata_of(official, "Homo sapiens", obs_value_filter="dataset_id == 'first'", X_layers=["normalized"])
    fractions = plain.X.toarray() / plain.X.sum(axis=1)
    np.testing.assert_allclose(plain.layers["normalized"].toarray(), fractions, rtol=2**-15)
    full = anndata_of(official, "Homo sapiens", obs_value_filter="dataset_id == 'full'", X_layers=["normalized"])
    by_length = full.X.toarray() / features(full.var_names)["feature_length"].to_numpy()
    expected = by_length / by_length.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(full.layers["normalized"].toarray(), expected, rtol=2**-15)
    bits = plain.layers["normalized"].data.view(np.int32)
    assert not (bits & 0xFF).any()  # 15 of the 23 bits of a mantissa


def test_normalized_counts_are_rounded_to_the_nearest_of_15_bits_ties_to_even():
    counts = np.random.default_rng(3).integers(1, 5000, (40, 900)).astype(np.float32)
    counts[0, :4], counts[0, 4:] = [2**17, 2**17 - 3, 2, 1], 0  # sums to 2**18: the second lies half-way
    found = experiment.normalized(sp.csr_matrix(counts), np.zeros(40, bool), np.ones(900, np.float32))
    mantissa, exponent = np.frexp((counts / counts.sum(axis=1, dtype=np.float64)[:, None]).astype(np.float32))
    expected = np.ldexp(np.rint(mantissa.astype(np.float64) * 2**16), exponent - 16)
    assert found.tolist() == expected[counts > 0].tolist()


def test_statistics_of_cells_are_those_of_their_counts(official, given):
    obs = cellxgene_census.get_obs(official, "Homo sapiens", value_filter="dataset_id == 'first'")
    dense = given["first"].X.csr.toarray().astype(np.float64)
    filled = np.where(dense > 0, dense, np.nan)
    np.testing.assert_array_equal(obs["raw_sum"], dense.sum(axis=1))
    np.testing.assert_array_equal(obs["nnz"], (dense > 0).sum(axis=1))
    np.testing.assert_allclose(obs["raw_mean_nnz"], np.nanmean(filled, axis=1))
    np.testing.assert_allclose(obs["raw_variance_nnz"], np.nanvar(filled, axis=1, ddof=1))
    assert set(obs["n_measured_vars"]) == {(dense > 0).any(axis=0).sum()}


def test_tiledbsoma_ml_trains_on_every_cell_once(official, given):
    from tiledbsoma_ml import ExperimentDataset

    with official["census_data"]["homo_sapiens"].axis_query("RNA") as query:
        made: Any = ExperimentDataset  # its signature is not told to a type checker
        batches = made(query, layer_name="raw", batch_size=32, io_batch_size=128, shuffle=True, seed=1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            seen = [(obs["soma_joinid"].tolist(), float(counts.sum())) for counts, obs in batches]
    assert sorted(cell for cells, _ in seen for cell in cells) == list(range(180))
    assert sum(total for _, total in seen) == sum(given[name].X.csr.sum() for name in ("first", "second", "full"))


def test_it_holds_census_schema_2_4_0(exported):
    assert check_census(exported.path) == []


def test_the_tables_about_the_whole(official):
    info = {name: official["census_info"][name].read().concat().to_pandas() for name in official["census_info"]}
    said = info["summary"].set_index("label")["value"].to_dict()
    assert (said["total_cell_count"], said["unique_cell_count"]) == ("240", "210")
    assert (said["number_donors_homo_sapiens"], said["number_donors_mus_musculus"]) == ("3", "1")
    assert info["organisms"]["organism"].tolist() == ["homo_sapiens", "mus_musculus"]
    datasets = info["datasets"].set_index("dataset_id")
    assert datasets["dataset_total_cell_count"].tolist() == [60] * 4
    assert datasets.loc["second", ["citation", "collection_doi", "dataset_title"]].tolist() == [
        "Cite second",
        "10.1/2",
        "Data 2",
    ]
    counts = info["summary_cell_counts"].set_index(["organism", "category", "label"])
    assert counts.loc[("Homo sapiens", "cell_type", "B cell"), "total_cell_count"] == 30
    assert counts.loc[("Homo sapiens", "all", "na"), "unique_cell_count"] == 150


def test_cells_get_the_ids_that_cellxgene_makes_of_their_names(tmp_path):
    data = data_of(5, range(30), cells=2)
    data.obs.index = ["AAACATACAACCAC-1", "b"]
    export(tmp_path / "census", [("one", {}, data)])
    obs = open_census(tmp_path / "census").datasets()["one"].open().obs
    assert obs["observation_joinid"].tolist() == ["9LH9I$46z7", "S6T}kMA(Es"]  # cellxgene-schema 7.1.2 made these


def test_general_tissues_are_tried_in_the_order_of_the_ontology_guide():
    from cellxgene_ontology_guide.curated_ontology_term_lists import get_curated_ontology_term_list
    from cellxgene_ontology_guide.entities import CuratedOntologyTermList

    assert list(layout.TISSUES) == get_curated_ontology_term_list(CuratedOntologyTermList.TISSUE_GENERAL)


def test_what_the_schema_does_not_take_is_left_out_and_said(tmp_path):
    assays, kinds = ["EFO:0009899", "EFO:0008992", "unknown"], ["tissue", "tissue", "tissue", "primary cell culture"]
    data = data_of(6, range(30), cells=12, assay=assays, tissue_type=kinds)
    counts = data.X.csr.tolil()
    counts[0] = 0
    ids = [*data.var.index[:28], "ERCC-00002", "no-gene"]
    beside = {"layers": {"unspliced_counts": data.X}, "modalities": {"protein": data_of(6, range(5), cells=12)}}
    data = data.with_(X=Memory(counts.tocsr()), var=pd.DataFrame(index=ids), obs=data.obs.assign(mine=1), **beside)
    found = export(tmp_path / "census", [("one", {}, data), ("none", {}, data_of(7, range(9), tissue=["unknown"]))])
    assert found.cells == {"one": 2}
    assert found.left_out["one"] == Counter(
        {
            "cells: assay that is not in a Census": 6,
            "cells: neither tissue nor organoid": 3,
            "cells: no counts of genes": 1,
            "genes: not of this organism in the release that CELLxGENE pins": 2,
            "columns of cells: not in a Census": 1,
            "layers: not in a Census": 1,
            "protein features: not in a Census": 5,
        }
    )
    assert found.left_out["none"] == Counter({"cells: unknown tissue": 60})
    assert check_census(tmp_path / "census") == []


def test_counts_of_a_cellxgene_file_are_taken_from_raw(tmp_path):
    data = data_of(8, range(30), cells=20)
    file = data.with_(X=Memory(data.X.csr.log1p()), raw=Raw(data.X, data.var))
    export(tmp_path / "census", [("one", {}, file)])
    assert (data.X.csr != open_census(tmp_path / "census").datasets()["one"].load().X).nnz == 0


def test_small_blocks_write_the_same_census(tmp_path, given, exported, monkeypatch):
    from cellzoo.converters import rows

    monkeypatch.setattr(experiment, "AT_ONCE", 300)
    monkeypatch.setattr(rows, "FIRST_BLOCK", 7)
    monkeypatch.setattr(rows, "BLOCK_BYTES", 1)
    export(tmp_path / "census", [("first", {}, given["first"]), ("full", {}, given["full"])])
    assert check_census(tmp_path / "census") == []
    ours, theirs = (
        open_census(path).datasets(organism="Homo sapiens") for path in (tmp_path / "census", exported.path)
    )
    for name in ("first", "full"):
        small, whole = ours[name].load(), theirs[name].load()
        assert (small.X != whole[:, small.var_names].X).nnz == 0
        assert small.obs.reset_index(drop=True).astype(str).equals(whole.obs.reset_index(drop=True).astype(str))


def test_a_slice_of_a_census_becomes_a_census_of_the_same_cells(tmp_path, mini):
    chosen = open_census(mini).datasets(cell_type="T cell")
    export(tmp_path / "census", ((data.id, {}, data.open()) for data in chosen.values()))
    again = open_census(tmp_path / "census").datasets(cell_type="T cell")
    assert list(again) == list(chosen)
    for name, data in chosen.items():
        ours, theirs = again[name].load(), data.load()
        assert ours.obs["observation_joinid"].tolist() == theirs.obs["observation_joinid"].tolist()
        assert (ours[:, theirs.var_names].X != theirs.X).nnz == 0


BAD = [
    (lambda data: data.with_(uns={}), InputError, "one: uns has no organism_ontology_term_id"),
    (
        lambda data: data.with_(obs=data.obs.drop(columns=["donor_id", "sex_ontology_term_id"])),
        InputError,
        "needs sex_ontology_term_id, donor_id",
    ),
    (lambda data: data.with_(X=Memory(data.X.csr * 0.5)), CountsError, "one: .*not integers"),
    (lambda data: data.with_(X=None), CountsError, "one: has no counts"),
    (
        lambda data: data.with_(var=pd.DataFrame(index=[f"g{gene}" for gene in range(data.n_vars)])),
        GenesError,
        "one: no gene id of its 30",
    ),
    (lambda data: data.with_(obs=data.obs.set_axis(["x"] * 60)), InputError, "one: the cell 'x' is listed twice"),
]


@pytest.mark.parametrize(("spoil", "error", "says"), BAD, ids=[says for *_, says in BAD])
def test_bad_data_are_refused_and_nothing_is_left_behind(tmp_path, given, spoil, error, says):
    with pytest.raises(error, match=says):
        export(tmp_path / "census", [("first", {}, given["first"]), ("one", {}, spoil(data_of(9, range(30))))])
    assert list(tmp_path.iterdir()) == []


def same_census(path, expected):
    """Hold cells, counts, genes and the tables of two Censuses against each other."""
    assert check_census(path) == []
    ours: Any
    theirs: Any
    with soma.open(str(path)) as ours, soma.open(str(expected)) as theirs:
        assert list(ours["census_data"]) == list(theirs["census_data"])
        for organism in theirs["census_data"]:
            one, other = ours["census_data"][organism], theirs["census_data"][organism]
            frames = [(each.obs, each.ms["RNA"].var) for each in (one, other)]
            for mine, its in zip(*frames, strict=True):
                assert mine.read().concat().to_pandas().equals(its.read().concat().to_pandas())
            for layer in ("raw", "normalized"):
                mine, its = (each.ms["RNA"].X[layer] for each in (one, other))
                assert mine.shape == its.shape
                assert mine.read().tables().concat().to_pandas().equals(its.read().tables().concat().to_pandas())
        tables = [each["census_info"]["datasets"].read().concat().to_pandas() for each in (ours, theirs)]
        assert tables[0].equals(tables[1])


def late(data, value):
    """Return data of which a value of the last cell alone is wrong."""
    counts = data.X.csr.copy()
    counts.data[-1] = value
    return data.with_(X=Memory(counts))


SPOILT = {says: (spoil, error) for spoil, error, says in BAD} | {
    "one: .*are not integers": (lambda data: late(data, 2.5), CountsError)
}


PLACES = ["first", "second", "third", "last"]
CASES = [(says, place) for says in SPOILT for place in PLACES if place == "second" or says == "one: .*are not integers"]


@pytest.mark.parametrize(("says", "where"), CASES)
def test_a_data_set_that_cannot_be_used_is_said_and_leaves_nothing_in_the_census(
    tmp_path, monkeypatch, given, says, where
):
    from cellzoo.converters import rows

    monkeypatch.setattr(experiment, "AT_ONCE", 50)  # what comes before a wrong value is written
    monkeypatch.setattr(rows, "FIRST_BLOCK", 7)
    monkeypatch.setattr(rows, "BLOCK_BYTES", 1)
    spoil, error = SPOILT[says]
    place = PLACES.index(where)
    good: list[Any] = [(name, {}, given[name]) for name in ("first", "full", "mouse")]
    bad: Any = ("one", {}, spoil(data_of(9, range(100, 130))))
    refused: list[Any] = []
    made = export(tmp_path / "own", [*good[:place], bad, *good[place:]], failed=lambda *one: refused.append(one))
    assert list(made.cells) == ["first", "full", "mouse"]
    assert [(name, type(found)) for name, found in refused] == [("one", error)]
    with pytest.raises(error, match=says):
        raise refused[0][1]
    export(tmp_path / "good", good)
    same_census(made.path, tmp_path / "good")
    assert {path.name for path in tmp_path.iterdir()} == {"own", "good"}


def test_where_no_data_set_can_be_used_nothing_is_written(tmp_path):
    refused: list[Any] = []
    with pytest.raises(InputError, match="no cell is left for a Census: no data set was given that can be used"):
        export(
            tmp_path / "own", [("one", {}, data_of(1, range(9)).with_(uns={}))], failed=lambda *one: refused.append(one)
        )
    assert len(refused) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fails_ends_the_whole_although_others_may_be_left_out(tmp_path, monkeypatch, given):
    def full(*_):
        raise WorldError("no space left")

    monkeypatch.setattr(experiment.Experiment, "write", full)
    with pytest.raises(WorldError, match="no space left"):
        export(tmp_path / "own", [("first", {}, given["first"])], failed=lambda *_: pytest.fail("left out"))
    assert list(tmp_path.iterdir()) == []


def test_an_id_that_is_given_twice_and_nothing_at_all_are_refused(tmp_path, given):
    with pytest.raises(InputError, match="first: is given twice"):
        export(tmp_path / "census", [("first", {}, given["first"])] * 2)
    with pytest.raises(InputError, match="no data set was given"):
        export(tmp_path / "census", [])
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_is_refused_before_any_work(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(WorldError, match="is there already"):
        export(tmp_path, iter(()))
    assert (tmp_path / "file").read_text() == "mine"


def test_words_that_tiledbsoma_lost_are_noticed(wordless):
    words = pa.DictionaryArray.from_arrays(pa.array([0, 1, 0], pa.int8()), pa.array(["a", "b"], pa.large_string()))
    table = pa.table({"soma_joinid": pa.array(range(3), pa.int64()), "word": words})
    with pytest.raises(WorldError, match="did not keep what was written .*the words of word"):
        _check_written(str(wordless(table)), table)


def test_what_was_exported_reads_in_another_process(exported):
    rows = open_census(exported.path).datasets(organism="Mus musculus")["mouse"].open().X
    assert pickle.loads(pickle.dumps(rows)).read(0, 60).nnz > 0


TRUTHS = {"True": True, "False": False, "true": True, "0": False, "1": True}


@pytest.mark.parametrize(("word", "primary"), TRUTHS.items())
def test_a_text_of_whether_cells_are_primary_is_read_as_what_it_says(tmp_path, word, primary):
    export(tmp_path / "census", [("one", {}, data_of(1, range(9), is_primary_data=[word]))])
    summary = open_census(tmp_path / "census").summary
    assert summary["unique_cell_count"] == (summary["total_cell_count"] if primary else "0")


def test_what_is_no_truth_value_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"one: obs\['is_primary_data'\] holds 'yes', expected True or False"):
        export(tmp_path / "census", [("one", {}, data_of(1, range(9), is_primary_data=["True", "yes"]))])
