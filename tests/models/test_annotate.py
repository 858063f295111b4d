"""Annotation: what it finds by itself, what it writes, what it refuses and how it says so."""

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cellzoo.errors import CountsError, GenesError, InputError
from cellzoo.registry.genes import gene_space, map_genes

COLUMNS = {
    "cellzoo_cell_type": "category",
    "cellzoo_cell_type_ontology_term_id": "category",
    "cellzoo_cell_type_probability": "float32",
    "cellzoo_leaf_cell_type_ontology_term_id": "category",
    "cellzoo_leaf_probability": "float32",
}


def calls(adata):
    return adata.obs[list(COLUMNS)].astype({name: str for name, kind in COLUMNS.items() if kind == "category"})


def normalized(adata):
    matrix = sp.csr_matrix(adata.X, dtype=np.float64)
    return (sp.diags(1e4 / np.asarray(matrix.sum(axis=1)).ravel()) @ matrix).log1p().tocsr().astype(np.float32)


def test_it_writes_the_columns_of_the_design_and_changes_nothing_else(model, cells):
    cells.obs["mine"] = "kept"
    before = cells.copy()
    out = model.annotate(cells)
    assert {name: str(out.obs[name].dtype) for name in COLUMNS} == COLUMNS
    assert out.obsm["X_cellzoo_celltype_mlp"].shape == (60, 128)
    assert (out.X != before.X).nnz == 0
    assert out.obs["mine"].tolist() == ["kept"] * 60
    assert list(cells.obs) == ["mine"]
    assert not cells.obsm
    assert not cells.uns
    notes = out.uns["cellzoo"]
    assert notes["counts"] == "X"
    assert notes["gene_names"] == "index"
    assert notes["gene_overlap"] == 1.0
    assert notes["gene_space"] == "homo_sapiens-gencode48-protein_coding"
    assert set(out.obs["cellzoo_leaf_cell_type_ontology_term_id"]) <= set(model.labels.leaves)
    assert out.obs["cellzoo_cell_type_probability"].between(0.5, 1).all()


def test_the_annotated_cells_can_be_written_and_read_back(model, cells, tmp_path):
    out = model.annotate(cells)
    out.write_h5ad(tmp_path / "out.h5ad")
    again = anndata.read_h5ad(tmp_path / "out.h5ad")
    pd.testing.assert_frame_equal(calls(again), calls(out), check_names=False)
    assert again.uns["cellzoo"]["model"] == "not published"


def as_raw(cells):
    full = cells.copy()
    full.raw = cells.copy()
    full.X = normalized(cells)
    return full


def as_layer(cells):
    full = cells.copy()
    full.layers["counts"] = cells.X.copy()
    full.layers["a_log"] = normalized(cells)
    full.X = normalized(cells)
    return full


def as_dense(cells):
    return anndata.AnnData(cells.X.toarray(), obs=cells.obs, var=cells.var)


def as_integers(cells):
    return anndata.AnnData(cells.X.astype(np.int32), obs=cells.obs, var=cells.var)


def as_csc(cells):
    return anndata.AnnData(sp.csc_matrix(cells.X), obs=cells.obs, var=cells.var)


@pytest.mark.parametrize(
    ("change", "where"),
    [(as_raw, "raw.X"), (as_layer, "layers['counts']"), (as_dense, "X"), (as_integers, "X"), (as_csc, "X")],
)
def test_raw_counts_are_found_wherever_they_are(model, cells, change, where):
    out = model.annotate(change(cells))
    assert out.uns["cellzoo"]["counts"] == where
    pd.testing.assert_frame_equal(calls(out), calls(model.annotate(cells)))


def with_ids(cells):
    space = gene_space("NCBITaxon:9606")
    position = map_genes(list(cells.var_names), space.organism, space).position
    cells = cells[:, position >= 0].copy()
    cells.var_names = space.ids[position[position >= 0]]
    return cells


def with_versions(cells):
    cells = with_ids(cells)
    cells.var_names = [f"{name}.7" for name in cells.var_names]
    return cells


def with_a_column(cells):
    cells = cells.copy()
    cells.var["feature_name"] = cells.var_names
    cells.var_names = [f"gene{number}" for number in range(cells.n_vars)]
    return cells


@pytest.mark.parametrize(
    ("change", "named"), [(with_ids, "index"), (with_versions, "index"), (with_a_column, "feature_name")]
)
def test_genes_are_found_by_id_or_symbol_wherever_they_are_named(model, cells, change, named):
    out = model.annotate(change(cells))
    assert out.uns["cellzoo"]["gene_names"] == named
    pd.testing.assert_frame_equal(calls(out), calls(model.annotate(cells)))


def test_neither_the_order_of_genes_nor_the_other_cells_matter(model, cells):
    whole = calls(model.annotate(cells))
    random = np.random.default_rng(0)
    shuffled = cells[random.permutation(60)][:, random.permutation(cells.n_vars)].copy()
    again = calls(model.annotate(shuffled)).loc[whole.index]
    numbers = ["cellzoo_cell_type_probability", "cellzoo_leaf_probability"]
    assert np.allclose(again[numbers], whole[numbers], atol=1e-5)
    assert (again.drop(columns=numbers) == whole.drop(columns=numbers)).all(axis=None)


@pytest.mark.filterwarnings("ignore:Variable names are not unique")
def test_duplicate_gene_names_are_summed(model, cells):
    half = cells.X.copy()
    half.data = np.floor(half.data / 2)
    split = sp.hstack([half, cells.X - half], format="csr")
    doubled = anndata.AnnData(split, obs=cells.obs, var=pd.DataFrame(index=[*cells.var_names, *cells.var_names]))
    out = model.annotate(doubled)
    assert out.uns["cellzoo"]["genes_named_twice"] >= out.uns["cellzoo"]["genes_used"]
    pd.testing.assert_frame_equal(calls(out), calls(model.annotate(cells)))


def test_an_empty_cell_is_unknown_and_the_others_are_called_as_before(model, cells):
    before = calls(model.annotate(cells))
    matrix = cells.X.tolil()
    matrix[7] = 0
    cells.X = matrix.tocsr()
    out = model.annotate(cells)
    assert out.obs["cellzoo_cell_type"].iloc[7] == "unknown"
    assert out.obs["cellzoo_cell_type_probability"].iloc[7] == 0
    assert out.uns["cellzoo"]["cells_without_counts"] == 1
    assert np.isfinite(out.obsm["X_cellzoo_celltype_mlp"]).all()
    others = np.arange(60) != 7
    pd.testing.assert_frame_equal(calls(out)[others], before[others])


def test_a_threshold_nothing_reaches_gives_unknown_and_a_low_one_gives_leaves(model, cells):
    strict, loose = model.annotate(cells, threshold=1.0), model.annotate(cells, threshold=1e-6)
    assert (strict.obs["cellzoo_cell_type"] == "unknown").mean() > 0.5
    assert (
        loose.obs["cellzoo_cell_type_ontology_term_id"].astype(str)
        == loose.obs["cellzoo_leaf_cell_type_ontology_term_id"].astype(str)
    ).all()
    with pytest.raises(InputError, match="threshold is 1.5, expected more than 0 and at most 1"):
        model.annotate(cells, threshold=1.5)


def log_normalized(cells):
    return anndata.AnnData(normalized(cells), obs=cells.obs, var=cells.var)


def scaled(cells):
    dense = normalized(cells).toarray()
    return anndata.AnnData(dense - dense.mean(axis=0), obs=cells.obs, var=cells.var)


def with_nan(cells):
    dense = cells.X.toarray()
    dense[3, 4] = np.nan
    return anndata.AnnData(dense, obs=cells.obs, var=cells.var)


def mouse(cells):
    symbols = gene_space("Mus musculus").symbols[: cells.n_vars]
    return anndata.AnnData(cells.X, obs=cells.obs, var=pd.DataFrame(index=symbols))


def few_genes(cells):
    return cells[:, : cells.n_vars // 20].copy()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        pytest.param(
            log_normalized,
            CountsError,
            r"no raw counts found.*X: \d+ of \d+ values are not integers \(largest [\d.]+\): log-normalized, not "
            r"counted.*Save the counts before normalizing",
            id="log-normalized X and no counts anywhere",
        ),
        pytest.param(scaled, CountsError, r"X: \d+ values are negative .*: scaled, not counted", id="scaled"),
        pytest.param(with_nan, CountsError, "X: 1 values are NaN or infinite", id="NaN"),
        pytest.param(
            mouse,
            GenesError,
            r"learned from \([\d.]+%\).*These look like Mus musculus genes \(100% are\); the model is for Homo sapiens",
            id="mouse cells to a human model",
        ),
        pytest.param(
            few_genes,
            GenesError,
            r"the file has \d+ of the \d+ genes that the model learned from \([45]\.\d%\); they carry \d\.\d% of "
            "its weight, at least 10% are needed.*Give a file with the whole transcriptome",
            id="5 % gene overlap",
        ),
        pytest.param(lambda cells: cells[:0].copy(), InputError, "the file has no cells", id="zero cells"),
        pytest.param(lambda cells: cells[:, :0].copy(), GenesError, "the file has no genes", id="zero genes"),
    ],
)
def test_wrong_input_is_refused_with_what_was_found(model, cells, change, error, message):
    with pytest.raises(error, match=f"(?s){message}"):
        model.annotate(change(cells))


def test_a_chosen_layer_is_taken_or_refused_never_replaced(model, cells):
    assert model.annotate(as_layer(cells), layer="counts").uns["cellzoo"]["counts"] == "layers['counts']"
    with pytest.raises(CountsError, match=r"layers\['a_log'\]: \d+ of \d+ values are not integers"):
        model.annotate(as_layer(cells), layer="a_log")
    with pytest.raises(CountsError, match=r"there is no layers\['nope'\]; the file has layers \['counts', 'a_log'\]"):
        model.annotate(as_layer(cells), layer="nope")


def test_embed_gives_the_same_embedding_without_calls(model, cells):
    out = model.embed(cells)
    assert np.array_equal(out.obsm[model.key], model.annotate(cells).obsm[model.key])
    assert not any(name.startswith("cellzoo") for name in out.obs)


def test_genes_that_a_file_says_were_not_measured_are_not_taken_for_zeros(model, cells):
    padded = cells.copy()
    padded.X = padded.X @ sp.diags((np.arange(cells.n_vars) < 500).astype(np.float32))
    padded.var["measured"] = np.arange(cells.n_vars) < 500
    found, expected = model.annotate(padded), model.annotate(cells[:, :500].copy())
    pd.testing.assert_frame_equal(calls(found), calls(expected))
    for note in ("gene_overlap", "weight_overlap", "genes_used"):
        assert found.uns["cellzoo"][note] == expected.uns["cellzoo"][note]
    assert found.uns["cellzoo"]["weight_overlap"] < model.annotate(cells).uns["cellzoo"]["weight_overlap"]
