"""Streamline: counts of the same gene meet in one column, cells get terms, and nothing goes without a word."""

import json
import warnings

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from cellzoo.converters.celldata import CellData
from cellzoo.converters.streamline import streamline
from cellzoo.errors import CardError, CountsError, GenesError, InputError
from cellzoo.registry.cards import load_map
from cellzoo.registry.fields import allowed
from cellzoo.registry.genes import gene_space, map_genes
from cellzoo.registry.ontology import term_ontology
from cellzoo.registry.reading import Spatial

SPACE = gene_space("NCBITaxon:9606")
TERM_FIELDS = ("organism", "tissue", "assay", "cell_type", "disease", "development_stage", "sex")


def streamlined(source, card, maps, space=SPACE):
    return streamline(CellData.of(source), card, maps, space).to_anndata()


# the real one


@pytest.fixture(scope="module")
def pbmc3k(packaged, real):
    """Return the streamlined data; do not change it."""
    return streamlined(real("tenx-pbmc3k"), packaged.card("tenx-pbmc3k"), packaged.maps("tenx-pbmc3k"))


def test_real_counts_are_integers_over_the_whole_space(pbmc3k):
    assert pbmc3k.shape == (2638, 20_120)
    assert isinstance(pbmc3k.X, sp.csr_matrix) and pbmc3k.X.dtype == np.float32
    assert pbmc3k.X.has_sorted_indices
    assert (pbmc3k.X.data == np.rint(pbmc3k.X.data)).all() and pbmc3k.X.data.min() >= 1
    assert list(pbmc3k.var_names) == SPACE.ids.tolist()
    assert list(pbmc3k.var["feature_name"]) == SPACE.symbols.tolist()


def test_real_counts_per_cell_and_gene_are_those_of_the_source(pbmc3k, files_of, r_file, real):
    node = r_file(files_of("tenx-pbmc3k")["pbmc3k.rda"])["pbmc3k"]
    matrix = sp.csc_matrix((node.x, node.i, node.p), shape=tuple(node.Dim)).tocsr()
    names = [str(name) for name in node.Dimnames[0]]
    position = map_genes(names, "NCBITaxon:9606", SPACE).position
    columns = {str(name): at for at, name in enumerate(node.Dimnames[1])}
    cells = [columns[name] for name in pbmc3k.obs_names]
    kept = matrix[position >= 0][:, cells]
    assert kept.sum(axis=0).A1.tolist() == pbmc3k.X.sum(axis=1, dtype=np.float64).A1.tolist()
    by_gene = np.bincount(position[position >= 0], weights=kept.sum(axis=1).A1, minlength=len(SPACE))
    assert by_gene.tolist() == pbmc3k.X.sum(axis=0, dtype=np.float64).A1.tolist()
    assert (pbmc3k.var["measured"].to_numpy() == np.isin(np.arange(len(SPACE)), position)).all()


def test_real_genes_are_where_their_names_say(pbmc3k, real):
    source = real("tenx-pbmc3k")
    at = {symbol: number for number, symbol in enumerate(SPACE.symbols.tolist())}
    for symbol in ("CD3E", "MS4A1", "NKG7", "HLA-A", "HLA-B", "HLA-DRA", "PPBP"):
        theirs = source.X[:, source.var_names.get_loc(symbol)].toarray()
        assert (pbmc3k.X[:, at[symbol]].toarray() == theirs).all(), symbol
    assert pbmc3k[pbmc3k.obs["cell_type"] == "B cell"].X[:, at["MS4A1"]].mean() > 1


def test_real_cells_have_terms_that_exist_are_allowed_and_carry_their_label(pbmc3k):
    for field in TERM_FIELDS:
        pairs = pbmc3k.obs[[f"{field}_ontology_term_id", field]].drop_duplicates()
        for term, label in pairs.itertuples(index=False):
            if term == "unknown":
                assert label == "unknown"
            else:
                assert term_ontology(term).label(term) == label
                assert allowed(field, term) is None


def test_real_cells_keep_their_original_labels(pbmc3k, real, packaged):
    assert list(pbmc3k.obs_names) == list(real("tenx-pbmc3k").obs_names)
    assert list(pbmc3k.obs["cell_type_original"]) == list(real("tenx-pbmc3k").obs["classified"])
    terms = packaged.maps("tenx-pbmc3k")["tenx-pbmc3k.cell_type.tsv"].terms
    assert list(pbmc3k.obs["cell_type_ontology_term_id"]) == [
        terms[label] for label in pbmc3k.obs["cell_type_original"]
    ]
    assert pbmc3k.obs["cell_type"].value_counts()["B cell"] == 344


def test_what_a_real_card_leaves_out_is_unknown(pbmc3k):
    for field in ("sex", "development_stage", "self_reported_ethnicity"):
        assert set(pbmc3k.obs[f"{field}_ontology_term_id"]) == set(pbmc3k.obs[field]) == {"unknown"}
    assert set(pbmc3k.obs["disease"]) == {"normal"}, "which the card states"
    assert set(pbmc3k.obs["donor_id"]) == {"pbmc3k"}
    assert pbmc3k.obs["is_primary_data"].all()


def test_the_real_report_adds_up(pbmc3k, real):
    notes = pbmc3k.uns["cellzoo"]
    report = json.loads(notes["report"])
    genes = report["genes"]
    assert (notes["dataset_id"], notes["gene_space_sha256"]) == ("tenx-pbmc3k", SPACE.sha256)
    assert report["counts_in_source"] == real("tenx-pbmc3k").X.sum()
    assert report["counts_kept"] == pbmc3k.X.sum(dtype=np.float64)
    assert genes["names"] == 32_738
    assert genes["genes"] == pbmc3k.var["measured"].sum()
    lost = ("outside", "ambiguous", "conflicts", "other_organism", "suggestions", "unmapped")
    assert genes["names"] - genes["mapped"] == sum(genes[kind]["number"] for kind in lost)


def test_a_streamlined_file_reads_back_as_it_was(pbmc3k, tmp_path):
    pbmc3k[:50].copy().write_h5ad(tmp_path / "x.h5ad")
    back = anndata.read_h5ad(tmp_path / "x.h5ad")
    assert (back.X != pbmc3k[:50].X).nnz == 0
    for column in pbmc3k.obs:
        assert list(back.obs[column]) == list(pbmc3k.obs[column][:50])
    assert back.uns["cellzoo"] == pbmc3k.uns["cellzoo"]


# made-up ones


NAMES = ["CD3E", "HLA-A", "HLA-B", "MS4A1", "GAPDH", "no such gene", "MALAT1"]  # MALAT1 codes for no protein
ID = dict(zip(SPACE.symbols.tolist(), SPACE.ids.tolist(), strict=True))


@pytest.fixture(scope="module")
def label_map(tmp_path_factory):
    path = tmp_path_factory.mktemp("maps") / "made-up.cell_type.tsv"
    path.write_text("source\tterm\tlabel\nB\tCL:0000236\tB cell\nT\tCL:0000084\tT cell\n?\tunknown\tunknown\n")
    return load_map(path)


@pytest.fixture(scope="module")
def card(make_card):
    return make_card(
        3,
        {"file": "x.h5ad"},
        cell_type={"column": "label", "map": "made-up.cell_type.tsv"},
        donor_id={"column": "donor"},
    )


@pytest.fixture(scope="module")
def run(card, label_map):
    """Streamline counts with gene names, three cells B, T and B of two donors unless said otherwise."""

    def run(counts, names, labels=("B", "T", "B"), donors=("d1", "d2", "d1"), cells=("c1", "c2", "c3"), on=card):
        obs = pd.DataFrame({"label": labels, "donor": donors}, index=pd.Index(cells, dtype=object))
        X = sp.csr_matrix(np.asarray(counts, dtype=np.float64))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # names that are listed twice
            source = anndata.AnnData(X, obs=obs, var=pd.DataFrame(index=pd.Index(names, dtype=object)))
        return streamlined(source, on, {label_map.path.name: label_map})

    return run


def by_symbol(adata):
    """Return symbol -> counts of the cells, where a gene was measured."""
    measured = np.flatnonzero(adata.var["measured"])
    return {SPACE.symbols[at]: adata.X[:, at].toarray().ravel().tolist() for at in measured}


COUNTS = [[1, 2, 3, 4, 5, 6, 7], [10, 0, 30, 40, 50, 60, 70], [0, 0, 0, 0, 0, 6, 7]]


def test_each_gene_has_its_counts_and_no_other(run):
    made = run(COUNTS, NAMES)
    assert by_symbol(made) == {
        "CD3E": [1, 10, 0],
        "HLA-A": [2, 0, 0],
        "HLA-B": [3, 30, 0],
        "MS4A1": [4, 40, 0],
        "GAPDH": [5, 50, 0],
    }


def test_genes_that_the_source_lacks_are_zero_and_not_measured(run):
    made = run(COUNTS, NAMES)
    assert made.var["measured"].sum() == 5
    assert made.X[:, ~made.var["measured"].to_numpy()].nnz == 0
    assert made.n_vars == len(SPACE)


def test_the_report_says_what_was_not_kept(run):
    report = json.loads(run(COUNTS, NAMES).uns["cellzoo"]["report"])
    assert report["counts_in_source"] - report["counts_kept"] == 6 + 7 + 60 + 70 + 6 + 7
    assert report["genes"]["outside"] == {"number": 1, "examples": {"MALAT1": "lncRNA"}}
    assert report["genes"]["unmapped"] == {"number": 1, "examples": ["no such gene"]}
    assert (report["cells"], report["cells_without_counts"]) == (3, 1)


def test_names_of_the_same_gene_are_summed(run):
    names = ["CD3E", "CD3E", ID["CD3E"], ID["CD3E"] + ".7", "GAPDH"]
    made = run([[1, 2, 4, 8, 16], [0, 0, 0, 1, 0], [1, 1, 1, 1, 1]], names)
    assert by_symbol(made) == {"CD3E": [15, 1, 4], "GAPDH": [16, 0, 1]}
    report = json.loads(made.uns["cellzoo"]["report"])
    assert report["genes"]["duplicates"]["number"] == 1


def test_genes_of_one_family_are_never_merged(run):
    names = ["HLA-A", "HLA-B", "HLA-C", "HLA-DRB1", "HLA-DRB5"]
    made = run([[1, 2, 3, 4, 5]] * 3, names)
    assert by_symbol(made) == {name: [number + 1] * 3 for number, name in enumerate(names)}


def test_a_sum_that_float32_cannot_hold_is_refused(run):
    with pytest.raises(CountsError, match="a summed count is 16777216; above 16777216 float32 is not exact"):
        run([[2**23, 2**23]] * 3, [ID["CD3E"], ID["CD3E"] + ".7"])


def test_ensembl_ids_are_preferred_where_a_card_names_both(run, make_card):
    card = make_card(3, {"file": "x.h5ad"}, genes={"symbol": "index", "ensembl": "index"})
    assert by_symbol(run([[1]] * 3, [ID["CD3E"]], on=card)) == {"CD3E": [1, 1, 1]}
    lacking = make_card(3, {"file": "x.h5ad"}, genes={"ensembl": "gene_id"})
    with pytest.raises(GenesError) as caught:
        run([[1]] * 3, ["CD3E"], on=lacking)
    assert str(caught.value) == "genes: no column 'gene_id' of genes; found []."


@st.composite
def shuffled(draw):
    """Return random counts of random genes, and an order of the cells and one of the genes."""
    pool = [*NAMES, "NKG7", "LYZ", "PPBP", "CD8A", "FAM213A", "PRXL2A", "TAZ", ID["CD3E"], "ENSG00000000003.15"]
    names = draw(st.lists(st.sampled_from(pool), min_size=2, max_size=10, unique=True).filter(lambda n: "CD3E" in n))
    cells = draw(st.integers(1, 6))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    counts = random.poisson(1.0, size=(cells, len(names)))
    counts[0, names.index("CD3E")] = 1
    return counts, names, draw(st.permutations(range(cells))), draw(st.permutations(range(len(names))))


@settings(max_examples=50)
@given(shuffled())
def test_the_order_of_cells_and_genes_plays_no_part(run, made):
    counts, names, cells, genes = made
    size = len(counts)
    labels, donors = np.resize(["B", "T", "?"], size), np.resize(["d1", "d2"], size)
    index = np.array([f"c{number}" for number in range(size)])
    one = run(counts, names, labels, donors, index)
    other = run(counts[cells][:, genes], [names[at] for at in genes], labels[cells], donors[cells], index[cells])
    assert (one.X[cells] != other.X).nnz == 0
    assert one.obs.iloc[cells].astype(str).equals(other.obs.astype(str))
    assert one.var.equals(other.var)
    assert one.uns == other.uns


# what is refused


def test_a_label_without_a_row_is_a_finding_with_the_number_of_cells(run, label_map):
    with pytest.raises(CardError) as caught:
        run(COUNTS, NAMES, labels=("B", "Mono", "Mono"))
    assert str(caught.value) == (
        f"{label_map.path}: error MAP003: label 'Mono' (2 cells) of column 'label' has no row. "
        "Add it, with term unknown if unsure."
    )


def test_all_labels_without_a_row_come_at_once(run):
    with pytest.raises(CardError) as caught:
        run(COUNTS, NAMES, labels=("x", "y", "z"))
    assert [finding.message.split("'")[1] for finding in caught.value.findings] == ["x", "y", "z"]


def test_a_label_mapped_to_unknown_stays_readable(run):
    made = run(COUNTS, NAMES, labels=("?", "T", "B"))
    assert list(made.obs["cell_type"]) == ["unknown", "T cell", "B cell"]
    assert list(made.obs["cell_type_original"]) == ["?", "T", "B"]


REFUSED = {
    "no known gene": (
        {"names": [f"gene {number}" for number in range(7)]},
        GenesError,
        "made-up: none of 7 gene names is in homo_sapiens-gencode48-protein_coding, for example ['gene 0', 'gene 1', ",
    ),
    "genes of another organism": ({"names": ["Cd3e", "Gapdh", *"abcde"]}, GenesError, "made-up: none of 7 gene names"),
    "a cell listed twice": ({"cells": ("c1", "c2", "c1")}, InputError, "made-up: the cell 'c1' is listed twice."),
    "a cell without a label": (
        {"labels": ("B", None, "T")},
        InputError,
        "made-up: cells.cell_type: column 'label' is empty for 1 cells.",
    ),
    "a cell without a donor": (
        {"donors": (None, None, "d")},
        InputError,
        "made-up: cells.donor_id: column 'donor' is empty for 2 cells.",
    ),
    "no counts": ({"counts": np.zeros((3, 7))}, CountsError, "made-up: X in x.h5ad: every value is zero"),
    "log values": ({"counts": np.log1p(COUNTS)}, CountsError, "made-up: X in x.h5ad: 15 of 15 values are not integers"),
}


@pytest.mark.parametrize(("change", "kind", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_a_source_that_cannot_be_streamlined_is_refused(run, change, kind, message):
    with pytest.raises(kind) as caught:
        run(**({"counts": COUNTS, "names": NAMES} | change))
    assert str(caught.value).startswith(message)


def test_a_column_that_the_source_lacks_is_said_with_those_it_has(run, make_card):
    card = make_card(3, {"file": "x.h5ad"}, donor_id={"column": "patient"})
    with pytest.raises(InputError) as caught:
        run(COUNTS, NAMES, on=card)
    assert str(caught.value) == "made-up: cells.donor_id: no column 'patient' of cells; found ['label', 'donor']."


def test_a_label_map_that_was_not_given_is_refused(card):
    source = anndata.AnnData(
        sp.csr_matrix(np.ones((3, 1))),
        obs=pd.DataFrame({"label": list("BTB"), "donor": list("xyz")}, index=list("abc")),
        var=pd.DataFrame(index=["CD3E"]),
    )
    with pytest.raises(InputError, match="cells.cell_type: the label map made-up.cell_type.tsv was not given"):
        streamlined(source, card, {})


def test_a_gene_space_of_another_organism_is_refused(card, label_map):
    source = anndata.AnnData(
        sp.csr_matrix(np.ones((1, 1))),
        obs=pd.DataFrame({"label": ["B"], "donor": ["x"]}, index=["a"]),
        var=pd.DataFrame(index=["CD3E"]),
    )
    with pytest.raises(InputError, match="the names are of NCBITaxon:9606, the gene space mus_musculus-"):
        streamlined(source, card, {label_map.path.name: label_map}, gene_space("NCBITaxon:10090"))


def test_columns_that_no_field_uses_are_named_in_the_report(mirror, monkeypatch):
    from cellzoo.converters.zoo import open_registry

    monkeypatch.setenv("CELLZOO_MIRROR", str(mirror))
    report = json.loads(open_registry()["pbmc68k-reduced"].load().uns["cellzoo"]["report"])
    left_out = {"S_score", "G2M_score", "louvain", "n_counts", "n_genes", "percent_mito", "phase"}
    assert set(report["columns_left_out"]) == left_out


def test_cells_without_a_label_are_what_the_row_for_them_says(run, label_map, monkeypatch):
    with pytest.raises(InputError, match="column 'label' is empty for 1 cells"):
        run(COUNTS, NAMES, labels=("B", None, "T"))
    monkeypatch.setitem(label_map.terms, "(none)", "unknown")
    made = run(COUNTS, NAMES, labels=("B", None, "T"))
    assert list(made.obs["cell_type"]) == ["B cell", "unknown", "T cell"]
    assert list(made.obs["cell_type_original"]) == ["B", "(none)", "T"]


# laws


@settings(max_examples=50)
@given(shuffled())
def test_streamlined_data_are_streamlined_to_themselves(run, make_card, made):
    counts, names, *_ = made
    size = len(counts)
    once = run(
        counts, names, np.resize(["B", "T", "?"], size), np.resize(["d1", "d2"], size), [f"c{n}" for n in range(size)]
    )
    again = streamlined(
        once,
        make_card(
            size,
            {"file": "x.h5ad"},
            genes={"ensembl": "index"},
            cell_type={"column": "cell_type_ontology_term_id", "holds": "ids"},
            donor_id={"column": "donor_id"},
        ),
        {},
    )
    assert (again.X != once.X).nnz == 0
    assert again.var["feature_name"].equals(once.var["feature_name"])
    for column in once.obs.columns.drop("cell_type_original"):
        assert again.obs[column].astype(str).tolist() == once.obs[column].astype(str).tolist(), column


@settings(max_examples=50)
@given(shuffled())
def test_the_counts_of_every_gene_that_is_mapped_are_preserved_exactly(run, made):
    counts, names, *_ = made
    size = len(counts)
    streamed = run(counts, names, np.resize(["B"], size), np.resize(["d"], size), [f"c{n}" for n in range(size)])
    position = np.asarray(map_genes(names, "NCBITaxon:9606", SPACE).position)
    wanted = np.zeros((size, len(SPACE)))
    for column, at in enumerate(position):
        if at >= 0:
            wanted[:, at] += counts[:, column]
    assert streamed.X.toarray().tolist() == wanted.tolist()


# what travels along


@pytest.fixture
def source():
    """Return three cells with layers, places, an embedding and a feature that is counted twice."""
    names = ["CD3E", "HLA-A", "MS4A1", ID["CD3E"]]
    counts = np.array([[1, 2, 0, 4], [0, 3, 5, 0], [6, 0, 1, 1]], dtype=np.float32)
    obs = pd.DataFrame(
        {"label": ["B", "T", "B"], "donor": list("xyz"), "row": [1.5, 2.5, 3.5], "col": [9, 8, 7]},
        index=["c1", "c2", "c3"],
    )
    adata = anndata.AnnData(sp.csr_matrix(counts), obs=obs, var=pd.DataFrame(index=names))
    adata.layers["u"] = sp.csr_matrix(counts * 2)
    adata.layers["logcounts"] = np.log1p(counts)
    adata.layers["velo"] = counts - 3
    adata.obsm["X_umap"] = np.arange(6.0).reshape(3, 2)
    adata.uns = {"spatial": {"is_single": True}, "neighbors": {"k": 5}}
    return adata


def test_every_layer_is_on_the_genes_of_the_space(source, make_card):
    card = make_card(
        3,
        {"file": "x.h5ad"},
        layers={"unspliced_counts": "u", "processed": "logcounts"},
        cell_type={"term": "CL:0000236", "label": "B cell"},
    )
    made = streamlined(source, card, {})
    at = {symbol: SPACE.symbols.tolist().index(symbol) for symbol in ("CD3E", "HLA-A", "MS4A1")}
    assert set(made.layers) == {"unspliced_counts", "processed", "velo"}
    assert made.layers["unspliced_counts"][:, at["CD3E"]].toarray().ravel().tolist() == [10, 0, 14], "counts add up"
    assert (
        made.layers["processed"][:, at["HLA-A"]].toarray().ravel().tolist() == np.log1p([2, 3, 0]).astype("f4").tolist()
    )
    assert made.layers["velo"][:, at["MS4A1"]].toarray().ravel().tolist() == [-3, 2, -2]
    assert made.layers["processed"][:, at["CD3E"]].nnz == 0, "logarithms do not"
    report = json.loads(made.uns["cellzoo"]["report"])
    assert report["genes_without_value_in_layer"] == {"processed": 1, "velo": 1}


def test_embeddings_and_places_in_the_tissue_survive(source, make_card):
    card = make_card(3, {"file": "x.h5ad"}, cell_type={"term": "CL:0000236", "label": "B cell"})
    card = card.model_copy(update={"spatial": Spatial(x="row", y="col", array_row="col")})
    made = streamlined(source, card, {})
    assert made.obsm["X_umap"].tolist() == source.obsm["X_umap"].tolist()
    assert made.obsm["spatial"].tolist() == [[1.5, 9], [2.5, 8], [3.5, 7]]
    assert made.obs["array_row"].tolist() == [9, 8, 7]
    assert made.uns["spatial"] == {"is_single": True}
    report = json.loads(made.uns["cellzoo"]["report"])
    assert report["uns_left_out"] == ["neighbors"]
    assert report["columns_left_out"] == ["donor", "label"]


def test_antibodies_and_peaks_are_modalities_of_their_own(make_card):
    var = pd.DataFrame({"kind": ["gene", "protein", "gene", "peak"]}, index=["CD3E", "CD3", "GAPDH", "chr1:1-100"])
    X = sp.csr_matrix(np.array([[1, 20, 3, 1], [4, 50, 6, 0]], dtype=np.float32))
    adata = anndata.AnnData(X, obs=pd.DataFrame(index=["a", "b"]), var=var)
    card = make_card(2, {"file": "x.h5ad"}, genes={"symbol": "index", "feature_type_column": "kind"})
    made = streamline(CellData.of(adata), card, {}, SPACE)
    assert by_symbol(made.to_anndata()) == {"CD3E": [1, 4], "GAPDH": [3, 6]}
    assert {name: list(part.var.index) for name, part in made.modalities.items()} == {
        "protein": ["CD3"],
        "peak": ["chr1:1-100"],
    }
    assert made.modalities["protein"].to_anndata().X.toarray().tolist() == [[20], [50]]
    assert made.to_mudata().shape == (2, len(SPACE) + 2)
    report = json.loads(made.uns["cellzoo"]["report"])
    assert report["modalities"] == {"protein": 1, "peak": 1}
    assert report["genes"]["unmapped"]["number"] == 0, "an antibody is no unknown gene"


def test_data_of_peaks_alone_have_no_genes(make_card):
    adata = anndata.AnnData(
        sp.csr_matrix(np.eye(2, dtype=np.float32)),
        obs=pd.DataFrame(index=["a", "b"]),
        var=pd.DataFrame(index=["chr1:1-9", "chr2:1-9"]),
    )
    made = streamline(
        CellData.of(adata),
        make_card(2, {"file": "x.h5ad"}, genes={"symbol": "index", "feature_type": "peak"}),
        {},
        SPACE,
    )
    assert (made.X, made.n_vars, list(made.modalities)) == (None, 0, ["peak"])


def test_several_diseases_of_one_cell_are_kept(make_card):
    adata = anndata.AnnData(
        sp.csr_matrix(np.ones((3, 1), dtype=np.float32)),
        obs=pd.DataFrame({"d": ["MONDO:0005148 || MONDO:0005015", "MONDO:0005148", "PATO:0000461"]}, index=list("abc")),
        var=pd.DataFrame(index=["CD3E"]),
    )
    made = streamlined(adata, make_card(3, {"file": "x.h5ad"}, disease={"column": "d", "holds": "ids"}), {})
    assert made.obs["disease_ontology_term_id"].tolist()[0] == "MONDO:0005015 || MONDO:0005148", "sorted"
    assert made.obs["disease"].tolist() == [
        "diabetes mellitus || type 2 diabetes mellitus",
        "type 2 diabetes mellitus",
        "normal",
    ]
