"""What a conversion writes, moves, keeps and refuses."""

from base64 import b85encode
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import xxhash

from cellzoo.converters.celldata import CellData
from cellzoo.converters.cellxgene import converted, form, migrate, to_cellxgene, to_sfaira, to_streamlined
from cellzoo.converters.cellxgene.embedding import pca
from cellzoo.converters.h5ad import open_h5ad, write_h5ad
from cellzoo.converters.rows import Memory
from cellzoo.converters.zoo import open_registry
from cellzoo.errors import GenesError, InputError, NotFoundError

GENES = ["ENSG00000010610", "ENSG00000000003", "ENSG00000004059"]
COUNTS = np.array([[1, 0, 2], [0, 3, 0], [4, 0, 0]])


def sfaira(columns=None, counts=COUNTS, uns=None, layers=None, genes=None):
    obs = pd.DataFrame(index=[f"cell{number}" for number in range(len(counts))])
    said = {
        "organism": "Homo sapiens",
        "organ": "blood",
        "assay_sc": "10x 3' v2",
        "cell_type": "T cell",
        "disease": "healthy",
        "development_stage": "unknown",
        "ethnicity": "unknown",
        "sex": "female",
        "sample_source": "primary_tissue",
        "individual": "d1",
        "suspension_type": "cell",
    }
    for name, value in {**said, **(columns or {})}.items():
        if value is not None:
            obs[name] = pd.Categorical([value] * len(obs) if isinstance(value, str) else value)
    var = pd.DataFrame({"ensembl": GENES, "gene_symbol": ["CD4", "TSPAN6", "ARF5"]}, index=genes or GENES)
    uns = {"title": "Some cells", "primary_data": True} | (uns or {})
    matrices: dict[str, Any] = {name: Memory(sp.csr_matrix(values)) for name, values in (layers or {}).items()}
    return CellData(obs=obs, var=var, X=Memory(sp.csr_matrix(counts)), uns=uns, layers=matrices)


def older(**columns):
    """Return a file of CELLxGENE 5.3."""
    data, _ = converted(sfaira(), "cellxgene")
    obs = data.obs.copy()
    obs["organism_ontology_term_id"] = pd.Categorical(["NCBITaxon:9606"] * len(obs))
    for name, value in columns.items():
        obs[name] = pd.Categorical([value] * len(obs))
    uns = {key: value for key, value in data.uns.items() if key not in {"organism_ontology_term_id", "cellzoo"}}
    var = data.var.set_index(pd.Index([f"{name}.{number}" for number, name in enumerate(data.var.index, 3)]))
    return data.with_(obs=obs, var=var, uns=uns | {"schema_version": "5.3.0"})


TERMS = {
    "tissue": ("UBERON:0000178", "blood"),
    "assay": ("EFO:0009899", "10x 3' v2"),
    "cell_type": ("CL:0000084", "T cell"),
    "disease": ("PATO:0000461", "normal"),
    "development_stage": ("unknown", "unknown"),
    "self_reported_ethnicity": ("unknown", "unknown"),
    "sex": ("PATO:0000383", "female"),
}


@pytest.mark.parametrize(("field", "expected"), TERMS.items())
def test_names_of_sfaira_become_term_ids_with_their_labels(field, expected):
    obs = to_cellxgene(sfaira()).obs
    assert (obs[f"{field}_ontology_term_id"].iloc[0], obs[field].iloc[0]) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("primary_tissue", "tissue"),
        ("tumor", "tissue"),
        ("3d_culture", "organoid"),
        ("2d_culture", "primary cell culture"),
    ],
)
def test_the_source_of_a_sample_is_its_tissue_type_and_comes_back(source, expected):
    found = converted(sfaira({"sample_source": source}), "cellxgene", check=False)[0]
    assert set(found.obs["tissue_type"]) == {expected}
    assert set(to_sfaira(found).obs["sample_source"]) == {source}


def test_a_cultured_line_is_the_tissue_and_what_does_not_apply_to_it_comes_back():
    data = sfaira({"sample_source": "2d_culture", "cell_line_ontology_term_id": "CVCL_0023"})
    found = to_cellxgene(data)
    cells = found.obs.iloc[0]
    assert (cells["tissue_type"], cells["tissue"]) == ("cell line", "A-549")
    assert {cells[name] for name in ("donor_id", "sex_ontology_term_id", "development_stage")} >= {"na"}
    assert (to_sfaira(found).obs["sex"].iloc[0], to_sfaira(found).obs["organ"].iloc[0]) == ("female", "blood")


@pytest.mark.parametrize("word", ["NOT_A_CELL", "custom_thing", "unknown"])
def test_what_is_no_cell_type_is_unknown_and_comes_back(word):
    found = to_cellxgene(sfaira({"cell_type": word, "cell_type_ontology_term_id": word}))
    assert set(found.obs["cell_type_ontology_term_id"]) == {"unknown"}
    assert set(to_sfaira(found).obs["cell_type_ontology_term_id"]) == {word}


def test_labels_that_mean_no_term_are_said_with_the_reason():
    found, report = converted(
        sfaira({"development_stage": "adult", "ethnicity": "European", "cell_type": "NOT_A_CELL"}), "cellxgene"
    )
    assert set(report.unknown) == {"development_stage 'adult'", "self_reported_ethnicity 'European'"}
    assert "is no label or synonym in HsapDv" in report.unknown["development_stage 'adult'"]
    assert "HANCESTRO:0005 (European ancestry) is not allowed" in report.unknown["self_reported_ethnicity 'European'"]
    assert set(found.obs["development_stage_ontology_term_id"]) == {"unknown"}
    assert set(to_sfaira(found).obs["development_stage"]) == {"adult"}


def test_several_diseases_are_written_in_order_and_come_back_as_they_were():
    data = sfaira({"disease": "type 2 diabetes mellitus || COVID-19"})
    found = to_cellxgene(data)
    assert set(found.obs["disease_ontology_term_id"]) == {"MONDO:0005148 || MONDO:0100096"}
    assert set(to_sfaira(found).obs["disease"]) == {"type 2 diabetes mellitus || COVID-19"}


def test_a_cell_type_that_was_changed_in_between_stays_changed():
    found = to_cellxgene(sfaira({"cell_type_ontology_term_id": ["NOT_A_CELL", "NOT_A_CELL", "CL:0000084"]}))
    found.obs["cell_type_ontology_term_id"] = pd.Categorical(["unknown", "CL:0000236", "CL:0000236"])
    back = to_sfaira(found).obs
    assert list(back["cell_type_ontology_term_id"]) == ["NOT_A_CELL", "CL:0000236", "CL:0000236"]


def test_counts_stand_in_raw_beside_processed_values_and_come_back():
    processed = COUNTS / 2
    found = to_cellxgene(sfaira(layers={"processed_counts": processed}))
    there = found.to_anndata()
    assert np.array_equal(there.X.toarray(), processed)
    assert np.array_equal(there.raw.X.toarray(), COUNTS)
    assert (there.raw.X.dtype, there.X.dtype, list(there.layers)) == (np.float32, np.float32, [])
    back = to_sfaira(found).to_anndata()
    assert (back.X.dtype, list(back.layers), back.raw) == (np.int64, ["processed_counts"], None)


def test_columns_that_cellxgene_has_no_place_for_keep_their_name_or_return():
    data = sfaira({"gm": "KO", "treatment": "none", "bio_sample": "b1", "state_exact": "tired"}, uns={"year": 2019})
    found, report = converted(data, "cellxgene")
    assert {"genetic_modification", "condition", "treatment", "bio_sample"} <= set(found.obs)
    assert report.renamed["organ"] == "tissue"
    back = to_sfaira(found)
    assert list(back.obs) == list(data.obs)
    assert back.uns == data.uns


def test_what_the_portal_writes_is_written():
    found = to_cellxgene(sfaira())
    digest = xxhash.xxh3_64_digest(b"cell0")
    assert found.obs["observation_joinid"].iloc[0] == b85encode(digest).decode()
    assert list(found.var["feature_name"]) == ["CD4", "TSPAN6", "ARF5"]
    assert (found.uns["schema_version"], found.uns["organism"]) == ("7.1.0", "Homo sapiens")
    assert "schema_version" not in converted(sfaira(), "cellxgene", labels=False)[0].uns


def test_seven_zero_is_what_the_builder_of_the_census_reads():
    found = to_cellxgene(sfaira(), "7.0")
    assert found.uns["schema_version"] == "7.0.0"
    assert "is_pre_analysis" not in found.uns


@pytest.fixture
def mouse(mirror, monkeypatch):
    """Streamlined cells of one mouse, over a space of genes that were not all measured."""
    monkeypatch.setenv("CELLZOO_MIRROR", str(mirror))
    return open_registry()["baron2016-mouse1"].open()


def test_genes_that_were_not_measured_leave_and_come_back(mouse):
    data = mouse
    found, report = converted(data, "cellxgene", said={"disease": "normal"})
    assert report.genes_not_measured == data.n_vars - found.n_vars == int((~data.var["measured"]).sum()) > 0
    back = to_streamlined(found)
    assert list(back.var.index) == list(data.var.index)
    assert (back.to_anndata().X != data.to_anndata().X).nnz == 0


@pytest.mark.parametrize("target", ["streamlined", "sfaira"])
@pytest.mark.parametrize(
    "pick",
    [
        lambda n: np.arange(1, n),
        lambda n: np.arange(n - 3),
        lambda n: np.arange(n)[::-1],
        lambda n: np.arange(0, n, 40),
    ],
    ids=["without the first", "without the last", "in reverse", "a few"],
)
def test_genes_that_were_picked_since_keep_their_counts_and_the_others_stay_away(mouse, target, pick):
    file = converted(mouse, "cellxgene", said={"disease": "normal"})[0].to_anndata()
    picked = file[:, pick(file.n_vars)].copy()
    found, report = converted(CellData.of(picked), target)
    assert list(found.var.index) == list(picked.var_names)
    assert (found.to_anndata().X != picked.X).nnz == 0
    gone = mouse.n_vars - file.n_vars
    assert report.not_restored == {
        "genes": f"{gone} genes that were not measured: the others were picked or reordered since"
    }
    if target == "streamlined":
        assert found.var["measured"].all()
        assert "gene_space" not in found.uns["cellzoo"]
        assert form(found) == "streamlined"


def test_a_gene_that_was_not_measured_has_no_counts(mouse):
    data = mouse
    data.var["measured"] = np.arange(data.n_vars) == 5
    with pytest.raises(GenesError, match="not to be measured"):
        converted(data, "cellxgene", said={"disease": "normal"})


REFUSED = {
    "disease": ({"disease": "unknown"}, "disease is unknown in 3 of 3 cells.*--set disease=PATO:0000461"),
    "tissue": ({"organ": "unknown"}, "tissue is unknown"),
    "assay": ({"assay_sc": "unknown"}, "assay is unknown"),
    "organism": ({"organism": "unknown"}, "organism is unknown"),
    "suspension_type": ({"suspension_type": "unknown"}, "suspension_type is 'unknown' in 3 cells"),
    "tissue_type": ({"sample_source": "unknown"}, "tissue_type is 'unknown' in 3 cells"),
}


@pytest.mark.parametrize(("columns", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cellxgene_has_to_know_is_refused_where_it_is_unknown(columns, message):
    with pytest.raises(InputError, match=message):
        to_cellxgene(sfaira(columns))


def test_everything_that_is_wrong_is_said_at_once():
    counts = np.array([[1, 0, 2], [0, 0, 0], [1, 0, 2]])
    with pytest.raises(InputError) as error:
        to_cellxgene(sfaira({"disease": "unknown", "organ": "unknown"}, counts))
    said = str(error.value)
    assert all(word in said for word in ("disease", "tissue", "have no counts: cell1", "of another cell: cell2"))


def test_cells_are_left_out_only_where_that_is_asked_for():
    counts = np.array([[1, 0, 2], [0, 0, 0], [1, 0, 2]])
    found, report = converted(sfaira(counts=counts), "cellxgene", leave_out=("empty", "repeated"))
    assert (list(found.obs.index), report.left_out) == (["cell0"], {"empty": ["cell1"], "repeated": ["cell2"]})


@pytest.mark.parametrize("counts", [[[1, -1, 0]], [[0.5, 1, 0]]])
def test_values_that_are_no_counts_are_refused(counts):
    with pytest.raises(InputError, match="negative or no integers"):
        to_cellxgene(sfaira(counts=np.array(counts)))


@pytest.mark.parametrize("value", ["PATO:0000461", "normal"])
def test_what_is_said_holds_for_the_cells_of_which_it_is_unknown(value):
    data = sfaira({"disease_ontology_term_id": ["unknown", "MONDO:0005061", "unknown"]})
    found, report = converted(data, "cellxgene", said={"disease": value})
    assert list(found.obs["disease"]) == ["normal", "lung adenocarcinoma", "normal"]
    assert report.set == {"disease": 2}


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ({"colour": "red"}, InputError),
        ({"disease": "no such disease"}, NotFoundError),
        ({"tissue_type": "cell culture"}, InputError),
        ({"is_primary_data": "yes"}, InputError),
    ],
)
def test_what_cannot_be_said_is_refused(said, error):
    with pytest.raises(error, match="expected|no MONDO"):
        converted(sfaira(), "cellxgene", said=said)


def test_several_organisms_in_one_file_are_refused():
    organisms = ["NCBITaxon:9606", "NCBITaxon:9606", "NCBITaxon:10090"]
    with pytest.raises(InputError, match=r"2 organisms.*Split"):
        to_cellxgene(sfaira({"organism_ontology_term_id": organisms}))


def test_a_file_of_no_form_is_refused():
    data = CellData(obs=pd.DataFrame({"n_genes": [1]}, index=["a"]), var=pd.DataFrame(index=["x"]))
    with pytest.raises(InputError, match=r"neither a CELLxGENE, a sfaira nor a streamlined file.*found n_genes"):
        form(data)


MIGRATED = {
    "self_reported_ethnicity": ("HANCESTRO:0014,HANCESTRO:0022", "HANCESTRO:0022 || HANCESTRO:0612"),
    "cell_type": ("CL:0000212", "CL:0000677"),
    "disease": ("MONDO:0005061", "MONDO:0005061"),
}


@pytest.mark.parametrize(("field", "terms"), MIGRATED.items())
def test_older_terms_become_those_of_today(field, terms):
    found = migrate(older(**{f"{field}_ontology_term_id": terms[0]}))
    assert set(found.obs[f"{field}_ontology_term_id"]) == {terms[1]}


def test_an_older_file_becomes_one_of_today():
    data = older(tissue_type="cell culture", ethnicity="x")
    data.uns["X_normalization"] = "log"
    found = migrate(data)
    assert found.uns["organism_ontology_term_id"] == "NCBITaxon:9606"
    assert not {"organism", "organism_ontology_term_id", "ethnicity"} & set(found.obs)
    assert set(found.obs["tissue_type"]) == {"primary cell culture"}
    assert list(found.var.index) == GENES
    assert found.uns["schema_version"] == "7.1.0"
    assert found.uns["cellzoo"]["migrated"]["X_normalization"] == "log"


def test_migration_leaves_what_is_of_today_alone():
    data = to_cellxgene(sfaira())
    assert migrate(data) is data


def test_an_embedding_is_computed_where_there_is_none_and_only_there():
    found, report = converted(sfaira(), "cellxgene")
    assert found.obsm["X_pca"].shape == (3, 3)
    assert report.computed
    assert "X_pca" not in to_sfaira(found).obsm
    data = sfaira().with_(obsm={"X_umap": np.zeros((3, 2), np.float32)})
    assert list(to_cellxgene(data).obsm) == ["X_umap"]


def test_the_embedding_is_that_of_a_singular_value_decomposition():
    counts = np.random.default_rng(1).poisson(1.0, (40, 12)).astype(np.float32)
    counts[:, 0] += 1
    logged = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 10_000)
    left, values, _ = np.linalg.svd(logged - logged.mean(axis=0), full_matrices=False)
    names = np.array([f"gene{number:02}" for number in range(12)], dtype=object)
    found = pca(Memory(sp.csr_matrix(counts)), names)
    assert np.allclose(np.abs(found), np.abs(left * values), atol=1e-2)


def test_an_embedding_that_was_computed_anew_stays():
    file = converted(sfaira(), "cellxgene")[0]
    anew = file.with_(obsm={"X_pca": file.obsm["X_pca"][:, :2] + 1})
    for target in (to_sfaira, to_streamlined):
        np.testing.assert_array_equal(target(anew).obsm["X_pca"], anew.obsm["X_pca"])
        frame = pd.DataFrame({"PC1": [1.0, 2, 3]}, index=file.obs.index)
        assert target(file.with_(obsm={"X_pca": frame})).obsm["X_pca"] is frame
        assert "X_pca" not in target(file).obsm
        assert "X_pca" not in target(file.pick(np.array([0, 2]))).obsm, "fewer cells are no new embedding"


ADDED = {
    "whole numbers": (np.arange(9), "Int64"),
    "truth values": (np.arange(9) < 5, "boolean"),
    "fractions": (np.arange(9) / 2, "float64"),
    "text": (np.array(list("abcdefghi"), dtype=object), "object"),
    "categories": (pd.Categorical(list("abcabcabc")), "category"),
}


@pytest.mark.parametrize(("values", "kind"), ADDED.values(), ids=ADDED)
def test_what_is_computed_of_genes_is_missing_for_those_that_were_not_measured(mouse, tmp_path, values, kind):
    mouse.var["measured"] = mouse.var["measured"].to_numpy() & (np.arange(mouse.n_vars) < mouse.n_vars // 2)
    counts = mouse.to_anndata()
    counts.X = counts.X @ sp.diags(mouse.var["measured"].to_numpy().astype(np.float32))
    file = to_cellxgene_with(CellData.of(counts), disease="normal")
    computed = np.resize(np.asarray(values), file.n_vars)
    file.var["computed"] = pd.Categorical(computed) if kind == "category" else computed
    back = open_h5ad(write_h5ad(to_streamlined(file), tmp_path / "back.h5ad")).var
    assert str(back["computed"].dtype) in {kind, "category"}
    assert back["computed"][back["measured"]].tolist() == computed.tolist()
    assert back["computed"][~back["measured"]].isna().all()


def to_cellxgene_with(data, **said):
    return converted(data, "cellxgene", said=said)[0]


def test_what_was_said_or_corrected_in_cellxgene_is_there_in_sfaira():
    file = to_cellxgene_with(sfaira({"disease": None, "sex": None}), disease="normal")
    assert "sex" not in to_sfaira(file).obs, "unknown, as it was"
    file.obs["sex_ontology_term_id"] = pd.Categorical(["PATO:0000384"] * 3)
    back = to_sfaira(file).obs
    assert (set(back["disease"]), set(back["sex"])) == ({"healthy"}, {"male"})
