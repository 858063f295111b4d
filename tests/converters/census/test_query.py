"""A Census answers in ontology terms what its own API answers for the same cells listed by hand."""

import json
import pickle
import warnings

import cellxgene_census
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import yaml

from cellzoo.converters.census.soma import open_soma
from cellzoo.converters.census.source import open_census
from cellzoo.converters.zoo import open_registry
from cellzoo.errors import CardError, InputError, NotFoundError, WorldError
from cellzoo.registry.genes import gene_space

LUNG = "tissue_ontology_term_id in ['UBERON:0002048', 'UBERON:0008952', 'UBERON:0002171']"
T_CELL = "cell_type_ontology_term_id in ['CL:0000084', 'CL:0000625']"
PRIMARY = "is_primary_data == True"
HUMAN, MOUSE = "Homo sapiens", "Mus musculus"
FILTERS = [  # what we are asked, what the official client is asked
    ({"tissue": "lung"}, f"{LUNG} and {PRIMARY}"),
    ({"tissue": "UBERON:0008952"}, f"tissue == 'upper lobe of left lung' and {PRIMARY}"),
    ({"cell_type": "T cell", "tissue": "lung"}, f"{T_CELL} and {LUNG} and {PRIMARY}"),
    ({"disease": "COVID-19"}, f"disease in ['COVID-19', 'influenza || COVID-19'] and {PRIMARY}"),
    ({"disease": "normal", "sex": "female"}, f"disease == 'normal' and sex == 'female' and {PRIMARY}"),
    ({"disease": "lung cancer"}, f"disease == 'non-small cell lung carcinoma' and {PRIMARY}"),
    ({"tissue": "lung", "primary": False}, LUNG),
    ({"tissue": ["blood", "liver"]}, f"tissue in ['blood', 'liver'] and {PRIMARY}"),
    (
        {"cell_type": "unknown", "assay": "EFO:0009922"},
        f"cell_type == 'unknown' and assay == '10x 3\\' v3' and {PRIMARY}",
    ),
    ({"text": "it's"}, f"dataset_id == 'it\\'s \"b\"' and {PRIMARY}"),
    ({"organism": MOUSE, "cell_type": "T cell"}, f"{T_CELL} and {PRIMARY}"),
]


@pytest.fixture(scope="session", params=["folder", "s3"])
def place(request, mini):
    """Address and TileDB settings of the Census, on disk and behind S3."""
    if request.param == "folder":
        return str(mini), {"soma.init_buffer_bytes": str(64 * 2**20)}
    return request.getfixturevalue("s3")


@pytest.fixture(scope="session")
def census(place):
    uri, config = place
    return open_census(uri, **config)


@pytest.fixture(scope="session")
def official(place):
    uri, config = place
    with cellxgene_census.open_soma(uri=uri, tiledb_config={"soma.init_buffer_bytes": 64 * 2**20} | config) as opened:
        yield opened


@pytest.fixture(scope="module")
def local(mini):
    return open_census(mini)


@pytest.mark.parametrize(("asked", "theirs"), FILTERS, ids=[str(asked) for asked, _ in FILTERS])
def test_the_same_cells_and_counts_as_the_official_client(census, official, asked, theirs):
    asked = {"organism": HUMAN} | asked
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # anndata: an integer index is made text
        expected = cellxgene_census.get_anndata(official, asked["organism"], obs_value_filter=theirs)
    found = [data.load() for data in census.datasets(**asked).values()]
    cells = np.concatenate([one.obs_names for one in found]).astype(int)
    order = np.argsort(cells)
    assert len(cells) > 0
    assert cells[order].tolist() == expected.obs["soma_joinid"].tolist()
    assert (sp.vstack([one.X for one in found], format="csr")[order] != expected.X).nnz == 0
    for column in ("cell_type", "disease_ontology_term_id", "donor_id", "dataset_id"):
        ours = np.concatenate([one.obs[column].astype(str) for one in found])[order]
        assert ours.tolist() == expected.obs[column].astype(str).tolist()
    assert found[0].var_names.tolist() == expected.var["feature_id"].tolist()


@pytest.mark.parametrize("asked", [asked for asked, _ in FILTERS], ids=str)
def test_a_saved_selection_gives_the_same_cells(local, tmp_path, asked):
    chosen = local.datasets(**asked)
    again = open_census(local.uri).selection(chosen.save(tmp_path / "chosen.yaml"))
    assert again.said == chosen.said
    assert again.estimate() == chosen.estimate()
    assert {name: data.digest for name, data in again.items()} == {name: data.digest for name, data in chosen.items()}
    for name, data in chosen.items():
        assert again[name].load().obs_names.equals(data.load().obs_names)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda said: said | {"filters": {"dragon": ""}},
            "filters: expected one for each organism, which can be homo_",
        ),
        (lambda said: said | {"filters": 3}, "filters: expected one for each organism"),
        (lambda said: {"datasets": said["datasets"]}, "is no selection of a census; expected the key census"),
        (lambda said: said | {"datasets": []}, "datasets: expected id: digest of each data set"),
        (lambda said: said | {"datasets": {"gone": "0" * 64}}, "gone: .* has no such cells"),
        (
            lambda said: said | {"datasets": dict.fromkeys(said["datasets"], "0" * 64)},
            "the data are said to be others than when the selection was saved",
        ),
    ],
)
def test_a_saved_selection_that_does_not_hold_any_more_is_refused(local, tmp_path, change, message):
    path = local.datasets(tissue="lung").save(tmp_path / "chosen.yaml")
    path.write_text(json.dumps(change(yaml.safe_load(path.read_text()))))
    with pytest.raises(CardError, match=message):
        local.selection(path)


def test_a_selection_of_one_source_is_not_read_by_another(local, tmp_path):
    zoo = open_registry()
    path = local.datasets(tissue="lung").save(tmp_path / "census.yaml")
    with pytest.raises(CardError, match=r"It is one of a Census: `open_census\(…\).selection` reads it"):
        zoo.selection(path)
    path = zoo.datasets(tissue="blood").save(tmp_path / "registry.yaml")
    with pytest.raises(CardError, match=r"It is one of a registry: `open_registry\(\).selection` reads it"):
        local.selection(path)


def test_a_parent_tissue_returns_the_cells_of_its_children(local):
    found = local.datasets(organism=HUMAN, tissue="lung")["lung-a"].load()
    assert set(found.obs["tissue"]) == {"lung", "upper lobe of left lung", "lower lobe of right lung"}
    assert found.n_obs == 300


def test_primary_cells_are_the_default_and_said(local):
    primary, every = local.datasets(tissue="lung"), local.datasets(tissue="lung", primary=False)
    assert list(primary) == ["lung-a", "lung-d", "mouse-e"]
    assert set(every) - set(primary) == {"copy-c"}
    assert primary.said == (
        "primary cells only: 120 matching cells are copies of cells published elsewhere (primary=False, --all-cells)"
    )
    assert every.estimate().cells == primary.estimate().cells + 120


def test_a_cell_with_several_diseases_is_found_by_each_of_them(local):
    both = local.datasets(disease=["influenza"], organism=HUMAN)["lung-a"].load().obs["disease"]
    assert set(both) == {"influenza || COVID-19"}
    record = {one.id: one for one in local.datasets(organism=HUMAN).records}["lung-a"]
    assert record.labels["disease"] == ["non-small cell lung carcinoma", "influenza", "COVID-19", "normal"]


def test_the_estimate_is_exact_in_cells_and_counts_before_anything_is_read(local, monkeypatch):
    from cellzoo.converters.census.dataset import SomaRows

    chosen = local.datasets(organism=HUMAN, tissue="lung", sex="female")
    loaded = [data.load() for data in chosen.values()]
    monkeypatch.setattr(SomaRows, "read", None)
    found = local.datasets(organism=HUMAN, tissue="lung", sex="female").estimate()
    assert (found.cells, found.nnz, found.genes) == (
        sum(one.n_obs for one in loaded),
        sum(one.X.nnz for one in loaded),
        300,
    )
    assert found.memory_bytes >= sum(one.X.data.nbytes + one.X.indices.nbytes for one in loaded)


def test_the_summary_tells_cells_study_and_labels_of_what_was_chosen(local):
    frame = local.datasets(organism=HUMAN, tissue="blood").obs_summary()
    assert frame.index.tolist() == ['it\'s "b"']
    [row] = frame.to_dict("records")
    assert (row["study"], row["tissue"], row["title"]) == ("10.1/1", "blood", 'Data set it\'s "b"')
    assert row["cells"] == local.datasets(organism=HUMAN, tissue="blood")['it\'s "b"'].cells


def test_data_come_in_the_streamlined_form(local):
    found = local.datasets(organism=HUMAN, tissue="lung")["lung-d"].open()
    assert found.uns["organism_ontology_term_id"] == "NCBITaxon:9606"
    assert (found.uns["title"], found.uns["cellzoo"]["study"]) == ("Data set lung-d", "10.1/3")
    assert found.uns["cellzoo"]["census_version"] == "2026-01-02"
    assert (found.obs["study"].unique().tolist(), found.obs["dataset_id"].unique().tolist()) == (["10.1/3"], ["lung-d"])
    assert list(found.obs["tissue"].cat.categories) == ["lower lobe of right lung"]
    assert found.var["measured"].tolist() == [not 10 <= gene < 20 for gene in range(300)]
    assert found.X.dtype == np.float32


def test_a_gene_space_is_filled_and_no_count_of_its_genes_is_lost(local):
    data = local.datasets(organism=HUMAN, tissue="lung")["lung-d"]
    own, onto = data.load(), data.load("Homo sapiens")
    space = gene_space("Homo sapiens")
    assert onto.var_names.tolist() == space.ids.tolist()
    assert (onto[:, own.var_names].X != own.X).nnz == 0
    assert onto.X.nnz == own.X.nnz
    assert onto.var["measured"].sum() == own.var["measured"].sum() == 290


def test_counts_are_read_by_ranges_of_cells_and_by_other_processes(local):
    rows = local.datasets(organism=HUMAN, cell_type="T cell")["lung-a"].open().X
    whole = rows.read(0, rows.shape[0])
    again = pickle.loads(pickle.dumps(rows))
    assert (again.read(5, 40) != whole[5:40]).nnz == 0
    assert again.read(7, 7).shape == (0, 300)


def test_a_selection_can_be_combined_with_one_of_the_same_cells_only(local):
    lung = local.datasets(tissue="lung")
    assert list(lung - local.datasets(tissue="lung", organism="")) == []
    with pytest.raises(InputError, match="two sources"):
        lung & local.datasets(tissue="blood")


def test_the_digest_changes_with_the_cells(local):
    lung, again, female = (
        local.datasets(tissue="lung", **more)["lung-a"].digest for more in ({}, {}, {"sex": "female"})
    )
    assert lung == again != female


ERRORS = [
    (
        {"tissue": "upper lobe of right lung"},
        NotFoundError,
        r"no cell has tissue .*Nearest that it has: lung \(UBERON:0002048\)",
    ),
    ({"cell_type": "T cel"}, NotFoundError, "nearest 'T cell'"),
    ({"organism": "Danio rerio"}, NotFoundError, "there are cells of Homo sapiens"),
    ({"cell_line": "CVCL_0023"}, InputError, "not a field to filter a Census by"),
    ({"text": "no such words"}, NotFoundError, "no data set says"),
    ({"text": "copy"}, NotFoundError, "120 cells match, none of them primary"),
    (
        {"tissue": "liver", "text": "lung"},
        NotFoundError,
        "no cell matches all filters together .*tissue liver: 1[0-9]{2} cells",
    ),
]


@pytest.mark.parametrize(("asked", "error", "says"), ERRORS, ids=[str(asked) for asked, *_ in ERRORS])
def test_a_question_without_an_answer_says_why(local, asked, error, says):
    with pytest.raises(error, match=says):
        local.datasets(**asked)


def test_a_release_of_the_card_is_found_by_its_date_and_stable_is_the_newest():
    from cellzoo.converters.census.source import _place

    newest = "s3://cellxgene-census-public-us-west-2/cell-census/2025-11-08/soma"
    assert _place("2025-11-08") == _place("stable") == (newest, "2025-11-08")
    assert _place("2024-07-01")[0].endswith("cell-census/2024-07-01/soma")


def test_an_unknown_release_is_refused_offline_with_those_that_are_known(monkeypatch):
    with pytest.raises(WorldError, match=r"no Census 'latest' is known offline.*2025-11-08.*cannot be reached"):
        open_census("latest")
    monkeypatch.setenv("CELLZOO_OFFLINE", "1")
    with pytest.raises(NotFoundError, match=r"no Census '2030-01-01'.*2025-11-08.*CELLZOO_OFFLINE"):
        open_census("2030-01-01")


def test_what_is_no_census_is_refused(tmp_path, mini):
    with pytest.raises(NotFoundError, match="no such folder"):
        open_census(tmp_path / "gone")
    with pytest.raises(NotFoundError, match="there is no Census"):
        open_census(tmp_path)
    with pytest.raises(InputError, match="is not a Census: census_data and census_info is missing, it has datasets"):
        open_census(mini / "census_info")
    with pytest.raises(InputError, match="is not a Census"):
        open_census(mini / "census_info" / "datasets")


def test_a_server_that_cannot_be_reached_is_told_from_a_census_that_is_not_there(s3):
    _, config = s3
    with pytest.raises(NotFoundError, match="there is no Census"):
        open_census("s3://census/other", **config)
    dead = config | {"vfs.s3.endpoint_override": "127.0.0.1:9", "vfs.s3.connect_max_tries": "1"}
    with pytest.raises(WorldError, match="cannot be reached"):
        open_census("s3://census/2026-01-02/soma", **dead)


def test_requests_are_signed_only_with_keys():
    from cellzoo.converters.census.soma import settings_of

    assert settings_of("s3://bucket/x", {})["vfs.s3.no_sign_request"] == "true"
    assert settings_of("s3://bucket/x", {"vfs.s3.aws_access_key_id": "x"})["vfs.s3.no_sign_request"] == "false"
    assert "vfs.s3.region" not in settings_of("/folder", {})


def test_obs_summary_of_everything_counts_every_primary_cell(local):
    frame = local.datasets().obs_summary()
    assert isinstance(frame, pd.DataFrame)
    assert frame["cells"].sum() == 900


def test_reads_go_without_the_tasks_of_tiledb_that_end_the_process(mini):
    name, place = "sm.query.sparse_global_order.preprocess_tile_merge", f"{mini}/census_data/homo_sapiens/obs"
    with open_soma(place, {}) as ours, open_soma(place, {name: "99"}) as as_told:
        assert [frame.context.tiledb_config[name] for frame in (ours, as_told)] == ["0", "99"]
