"""Every verified card of the package: `cellzoo get` gives the cells, counts and labels that the original files hold.

The originals are taken apart here by hand, from what the `rdata` package and pandas give, beside the readers.
"""

import re
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from click.testing import CliRunner

from cellzoo.cli import main
from cellzoo.converters import rdata_objects
from cellzoo.converters.rdata_objects import r_object
from cellzoo.registry.catalogue import open_registry
from cellzoo.registry.cells import Cells, TermField
from cellzoo.registry.fields import allowed
from cellzoo.registry.genes import gene_space, map_genes
from cellzoo.registry.ontology import term_ontology

TABLE = Path(__file__).parents[2].parent / "shared" / "data" / "DATASETS.md"
REGISTRY = open_registry("packaged")
VERIFIED, BROKEN = (
    [card.id for card in REGISTRY.cards() if card.status == status] for status in ("verified", "broken")
)
TERMS = [name for name, info in Cells.model_fields.items() if info.annotation is TermField]


@dataclass(frozen=True)
class Original:
    """A data set as its files have it."""

    counts: sp.csr_matrix
    """Cells x genes."""
    cells: list[str]
    genes: list[str]
    labels: pd.Series
    """Label of each cell that has one, by name, cells of the file that are not in the data set included."""


def original(matrix, cells, genes, labels):
    """Cells x genes with names; labels by name, or in the order of the cells."""
    cells = [str(cell) for cell in cells]
    labels = labels if isinstance(labels, pd.Series) else pd.Series(list(map(str, labels)), index=cells)
    return Original(sp.csr_matrix(matrix), cells, [str(gene) for gene in genes], labels.astype(str))


def r(matrix, labels):
    """Return how an original is put together: a matrix of R, genes x cells, and labels, each ``file: object``.

    Labels are a vector in the order of the cells, or ``file: data frame: column``, perhaps with ``: column of names``.
    """

    def put_together(files):
        file, path = matrix.split(": ")
        node = r_object(files[file], path)
        if hasattr(node, "Dim"):  # dgCMatrix
            counts, names = sp.csc_matrix((node.x, node.i, node.p), shape=tuple(node.Dim)), node.Dimnames
        elif isinstance(node, pd.DataFrame):
            counts, names = node.to_numpy(dtype=float), (node.index, node.columns)
        else:  # matrix with dimnames
            counts, names = node.values.astype(float), [node.coords[dim].values for dim in node.dims]
        file, path, *column = labels.split(": ")
        found = r_object(files[file], path)
        found = found.set_index(column[1]) if column[1:] else found
        return original(counts.T, names[1], names[0], found[column[0]] if column else np.asarray(found))

    return put_together


def pbmc3k(files):
    found = r("pbmc3k.rda: pbmc3k", "pbmc_meta.rda: pbmc_meta: classified")(files)
    return replace(found, labels=found.labels.rename(lambda barcode: f"{barcode}-1"))


def exact(put_together):
    """Undo log2(1 + v) cell by cell, where a cell's smallest v is one count."""

    def put(files):
        found = put_together(files)
        matrix = found.counts.astype(float)
        for start, end in zip(matrix.indptr[:-1], matrix.indptr[1:], strict=True):
            values = 2.0 ** matrix.data[start:end] - 1
            counts = np.rint(values / values.min())
            assert np.abs(values / values.min() - counts).max() < 1e-6, "not multiples of the smallest value"
            assert np.gcd.reduce(counts.astype(int)) == 1, "the smallest value is not one count"
            matrix.data[start:end] = counts
        return replace(found, counts=matrix)

    return put


def pbmc68k(files):
    full = anndata.read_h5ad(files["10x_pbmc68k_reduced.h5ad"])
    matrix = np.expm1(full.raw.X.toarray().astype(float)) * full.obs["n_counts"].to_numpy()[:, None] / 10_000
    return original(np.rint(matrix), full.obs_names, full.raw.var_names, full.obs["bulk_labels"])


def mixology(files):
    counts, meta = (pd.read_csv(path, index_col=0, compression="gzip") for path in files.values())
    return original(counts.to_numpy().T, counts.columns, counts.index, meta["cell_line_demuxlet"])


ESET, SCE, XIN = "pbmc14k_expression.eset", "example_sce.rda: example_sce", "scClassify_example"

ORIGINALS = {
    "baccin2020-mouse-bone-marrow": (
        "baccin2020_mouse_bm: active_ident",
        r(
            "bone_marrow_genex.rda: bone_marrow_genex/assays/RNA/counts",
            "bone_marrow_genex.rda: bone_marrow_genex/active.ident",
        ),
    ),
    "baron2016-human": (
        "baron2016_human_neuca: cell_type",
        r("Baron_scRNA.RData: Baron_counts", "Baron_scRNA.RData: Baron_true_cell_label"),
    ),
    "baron2016-human-cider": (
        "baron2016_human_mouse_cider: Group",
        r("pancreas.RData: pancreas/assays/RNA/counts", "pancreas.RData: pancreas/meta.data: Group"),
    ),
    "baron2016-mouse1": (
        "baron2016_mouse1: clust_assign",
        r(
            "baron_mouse_1.rda: baron_mouse_1",
            "baron_mouse_1_ground_truth.rda: baron_mouse_1_ground_truth: clust_assign: cells",
        ),
    ),
    "bastidasponce2019-mouse-pancreas": (
        "bastidasponce2019_mouse_pancreas: cell_type",
        r("pancreas.rda: pancreas/spliced", "pancreas.rda: pancreas/clusters"),
    ),
    "han2018-mca-gut": (
        "han2018_mca_gut: Idents.pbmc.",
        r("mmu_subset.rda: mmu_subset/assays/RNA/counts", "mmu_subset.rda: mmu_subset/meta.data: Idents.pbmc."),
    ),
    "matsushita2023-mouse-bone-marrow": (
        "matsushita2023_mouse_bm: cell_type",
        r("rnaRaw.rda: rnaRaw", "rnaCluster.rda: rnaCluster"),
    ),
    "onek1k-subset": ("onek1k_subset: cell_type", r(f"{SCE}/assays/data/counts", f"{SCE}/colData/cell_type")),
    "pbmc68k-reduced": ("pbmc68k_reduced: bulk_labels", pbmc68k),
    "segerstolpe2016-human": (
        "segerstolpe2016_human_neuca: cell_type",
        r("Seg_scRNA.RData: Seg_counts", "Seg_scRNA.RData: Seg_true_cell_label"),
    ),
    "tenx-pbmc3k": ("tenx_pbmc3k: classified", pbmc3k),
    "tian2019-celseq2": ("tian2019_sc_celseq2: cell_line_demuxlet", mixology),
    "tian2019-dropseq": ("tian2019_sc_dropseq: cell_line_demuxlet", mixology),
    "wang2016-human-islet": (
        None,
        exact(r(f"{XIN}.rda: {XIN}/exprsMat_wang_subset", f"{XIN}.rda: {XIN}/wang_cellTypes")),
    ),
    "xin2016-human-islet": (
        "wang_xin2016_pancreas_scclassify: cell_type",
        exact(r(f"{XIN}.rda: {XIN}/exprsMat_xin_subset", f"{XIN}.rda: {XIN}/xin_cellTypes")),
    ),
    "zeisel2015-mouse-brain": (
        "zeisel2015_mouse_brain: cell_type",
        r("zeisel.rda: zeisel/count.matrix.large", "zeisel.rda: zeisel/labels"),
    ),
    "zheng2017-pbmc14k": (
        "zheng2017_pbmc14k: trueLabel_full",
        exact(r(f"{ESET}.rda: {ESET}/assayData/exprs", f"{ESET}.rda: {ESET}/phenoData/data: trueLabel_full")),
    ),
    "zheng2017-sorted-pbmc": (
        "zheng2017_sorted_pbmc: label",
        r("referenceCounts.rda: referenceCounts", "referenceAnnot.rda: referenceAnnot"),
    ),
}
"""Card -> line of the table of label counts (the table has none for Wang), and how the original is put together."""


@pytest.fixture(scope="module")
def parsed_once():
    """Keep what the `rdata` package makes of each file, which takes longest, for the originals and `cellzoo get`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rdata_objects, "_parsed", cache(rdata_objects._parsed.__wrapped__))
        yield


@pytest.fixture(scope="module")
def originals(files_of, parsed_once):
    """Each data set as its files have it, taken apart once."""
    return {dataset: put_together(files_of(dataset)) for dataset, (_, put_together) in ORIGINALS.items()}


@pytest.fixture(scope="module")
def get(mirror, tmp_path_factory):
    """Run `cellzoo get` from the mirror; return its result and the folder it wrote to."""
    home = tmp_path_factory.mktemp("home")

    def get(*datasets):
        out = tmp_path_factory.mktemp("got")
        with pytest.MonkeyPatch.context() as patch:
            for name, value in (("MIRROR", mirror), ("HOME", home), ("OFFLINE", 1)):
                patch.setenv(f"CELLZOO_{name}", str(value))
            return CliRunner().invoke(main, ["get", *datasets, "-o", str(out), "--registry", "packaged"]), out

    return get


@pytest.fixture(scope="module")
def got(get, originals, parsed_once):
    """Return the h5ad that one `cellzoo get` of every verified card wrote for this one: do not change it."""
    result, out = get(*VERIFIED)

    @cache
    def got(dataset):
        if not (out / f"{dataset}.h5ad").is_file():
            pytest.fail(f"{dataset} was not written: {result.output}")
        return anndata.read_h5ad(out / f"{dataset}.h5ad")

    return got


@pytest.fixture(scope="module")
def table():
    """Data set and column -> label -> number of cells, as the table of the shared data says."""
    lines = re.findall(r"^- \*\*(\w+)\*\* `([^`]+)`: (.+)$", TABLE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(lines) > 20
    pairs = {f"{name}: {column}": [pair.rpartition(" ") for pair in said.split(", ")] for name, column, said in lines}
    return {line: {label: int(number) for label, _, number in counts} for line, counts in pairs.items()}


def test_at_least_fifteen_cards_are_verified_and_each_has_its_original():
    assert len(VERIFIED) >= 15
    assert sorted(VERIFIED) == sorted(ORIGINALS)


@pytest.mark.parametrize("dataset", VERIFIED)
def test_every_cell_that_the_card_expects_is_there_once(got, originals, dataset):
    adata, card = got(dataset), REGISTRY.card(dataset)
    assert adata.n_obs == card.cells_expected
    assert adata.obs_names.is_unique
    assert set(adata.obs_names) <= set(originals[dataset].cells)
    assert adata.uns["cellzoo"]["dataset_id"] == dataset


@pytest.mark.parametrize("dataset", VERIFIED)
def test_counts_are_integers_and_each_cell_and_gene_has_the_total_of_the_original(got, originals, dataset):
    adata, there = got(dataset), originals[dataset]
    assert (adata.X.data == np.rint(adata.X.data)).all() and adata.X.data.min() >= 1
    organism = str(REGISTRY.card(dataset).cells.organism.term)
    position = map_genes(there.genes, organism, gene_space(organism)).position
    row_of = {cell: row for row, cell in enumerate(there.cells)}
    kept = there.counts[[row_of[cell] for cell in adata.obs_names]][:, position >= 0].astype(float)
    assert (kept.sum(axis=1).A1 > 0).all()
    ours = adata.X.astype(float)  # sums in float32 are not exact
    assert ours.sum(axis=1).A1.tolist() == kept.sum(axis=1).A1.tolist()
    by_gene = np.bincount(position[position >= 0], weights=kept.sum(axis=0).A1, minlength=adata.n_vars)
    assert ours.sum(axis=0).A1.tolist() == by_gene.tolist()


@pytest.mark.parametrize("dataset", VERIFIED)
def test_every_term_is_allowed_and_carries_its_label(got, dataset):
    obs = got(dataset).obs
    organism = obs["organism_ontology_term_id"].iloc[0]
    for field in TERMS:
        column = f"{field}_ontology_term_id"
        pairs = obs[[column, field, "tissue_type"]].astype(str).drop_duplicates()
        for term, label, kind in pairs.itertuples(index=False):
            if (field, term) != (
                "disease",
                "unknown",
            ):  # not stated; CELLxGENE has no word for it, and it is not normal
                assert allowed(field, term, organism, kind) is None
            assert label == (term if term in {"unknown", "na"} else term_ontology(term).label(term))


@pytest.mark.parametrize("dataset", VERIFIED)
def test_every_cell_carries_the_label_and_the_term_of_its_original(got, originals, table, dataset):
    obs, labels = got(dataset).obs, originals[dataset].labels
    field = "tissue" if dataset.startswith("tian2019") else "cell_type"
    assert obs[f"{field}_original"].astype(str).to_dict() == labels.loc[obs.index].to_dict()
    line = ORIGINALS[dataset][0]
    if line is not None:
        assert labels.value_counts().to_dict() == table[line]
    terms = REGISTRY.maps(dataset)[f"{dataset}.{field}.tsv"].terms
    assert set(terms) == set(obs[f"{field}_original"]), "a label map has no row that no cell needs"
    assert obs[f"{field}_ontology_term_id"].tolist() == [terms[label] for label in obs[f"{field}_original"]]


def test_unspliced_counts_stand_beside_the_spliced_ones(got, files_of):
    adata = got("bastidasponce2019-mouse-pancreas")
    file = files_of("bastidasponce2019-mouse-pancreas")["pancreas.rda"]
    node = r_object(file, "pancreas/unspliced")
    space = gene_space("NCBITaxon:10090")
    position = map_genes([str(gene) for gene in node.coords["dim_0"].values], "NCBITaxon:10090", space).position
    assert list(adata.layers) == ["unspliced_counts"]
    ours = adata.layers["unspliced_counts"].astype(float)
    assert ours.sum(axis=1).A1.tolist() == node.values[position >= 0].sum(axis=0).tolist()


@pytest.mark.parametrize("dataset", BROKEN)
def test_a_broken_card_gives_no_data_but_the_reason(get, dataset):
    result, out = get(dataset)
    assert result.exit_code == 1
    assert " ".join(str(REGISTRY.card(dataset).status_reason).split()) in " ".join(result.output.split())
    assert not list(out.iterdir())


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [("baron2016-human", "baron2016-human-cider", 36), ("zheng2017-sorted-pbmc", "zheng2017-pbmc14k", 81)],
)
def test_data_sets_that_share_cells_are_of_one_study(got, one, other, shared):
    barcodes = [
        set(got(dataset).obs_names.str.extract(r"([ACGT]{14}|human.*)", expand=False)) for dataset in (one, other)
    ]
    assert len(barcodes[0] & barcodes[1]) == shared
    assert REGISTRY.card(one).study.id == REGISTRY.card(other).study.id
