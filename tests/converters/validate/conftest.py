"""Small files that are valid, each of another kind: what the corpus breaks, one rule at a time."""

import warnings

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

HUMAN, MOUSE, FISH, WORM, PIG = (f"NCBITaxon:{taxon}" for taxon in (9606, 10090, 7955, 6239, 9823))
GENES = {
    HUMAN: [f"ENSG000001{number}" for number in ("41510", "98851", "33703", "57764", "12486", "71862", "36997")]
    + ["ENSG00000141736", "ENSG00000146648", "ENSG00000012048", "ENSG00000139618", "ENSG00000075624", "ERCC-00002"],
    MOUSE: ["ENSMUSG00000059552", "ENSMUSG00000032093", "ENSMUSG00000029580", "ENSMUSG00000030265", "ERCC-00003"],
}
SAMPLE = {
    "assay": "EFO:0009899",
    "cell_type": "CL:0000084",
    "development_stage": "HsapDv:0000258",
    "disease": "PATO:0000461",
    "self_reported_ethnicity": "unknown",
    "sex": "PATO:0000383",
    "tissue": "UBERON:0002048",
}
CELL_LINE = {
    **{"cell_type": "na", "development_stage": "na", "self_reported_ethnicity": "na", "sex": "na"},
    "tissue": "CVCL_0023",
}


def make(organism=HUMAN, cells=12, raw=True, plain=None, genes=None, **terms):
    """Return a valid AnnData; ``terms`` are term ids by field, ``plain`` the other columns."""
    random = np.random.default_rng(7)
    names = genes or GENES[organism]
    obs = pd.DataFrame(index=[f"cell{number}" for number in range(cells)])
    for field, term in {**SAMPLE, **terms}.items():
        obs[f"{field}_ontology_term_id"] = pd.Categorical([term] * cells)
    columns = {"donor_id": "D1", "suspension_type": "cell", "tissue_type": "tissue"} | (plain or {})
    for name, value in columns.items():
        obs[name] = pd.Categorical([value] * cells)
    obs["is_primary_data"] = True
    obs["batch"] = pd.Categorical(["a", "b"] * (cells // 2))
    counts = random.poisson(0.4, (cells, len(names))).astype(np.float32)
    counts[np.arange(cells), np.arange(cells) % len(names)] = np.arange(cells) + 3
    var = pd.DataFrame({"feature_is_filtered": np.zeros(len(names), bool)}, index=names)
    adata = anndata.AnnData(sp.csr_matrix(counts), obs, var)
    if raw:
        adata.raw = anndata.AnnData(sp.csr_matrix(counts), obs[[]], var[[]])
        adata.X = sp.csr_matrix(np.log1p(counts / counts.sum(1, keepdims=True) * 1e4).astype(np.float32))
    adata.uns = {"title": "A small one", "organism_ontology_term_id": organism}
    adata.obsm["X_umap"] = random.normal(size=(cells, 2)).astype(np.float32)
    return adata


def tissue():
    return make()


def raw_only():
    return make(raw=False)


def mouse():
    return make(MOUSE, development_stage="MmusDv:0000062", self_reported_ethnicity="na")


def cell_line():
    return make(plain={"tissue_type": "cell line", "donor_id": "na"}, **CELL_LINE)


def organoid():
    return make(plain={"tissue_type": "organoid"})


def culture():
    return make(plain={"tissue_type": "primary cell culture"}, tissue="CL:0000057")


def fish():
    genes = ["ENSDARG00000103202", "ENSDARG00000009657", "ENSDARG00000000001", "ENSDARG00000000018", "ERCC-00004"]
    stage = {"development_stage": "ZFS:0000044", "self_reported_ethnicity": "na"}
    return make(FISH, genes=genes, tissue="ZFA:0000114", cell_type="ZFA:0009052", **stage)


def pig():
    genes = ["ENSSSCG00000028996", "ENSSSCG00000005267", "ENSSSASG_", "ERCC-00004"]
    genes[2] = "ENSSASG00005000002"
    return make(PIG, genes=genes, development_stage="UBERON:0000113", self_reported_ethnicity="na")


def worm():
    stage = {"development_stage": "WBls:0000669", "self_reported_ethnicity": "na", "sex": "PATO:0001340"}
    genes = ["WBGene00000003", "WBGene00000007", "ERCC-00002", "ERCC-00003"]
    return make(WORM, genes=genes, cell_type="WBbt:0005113", tissue="WBbt:0005772", **stage)


def visium():
    """Return all 4992 spots of a Visium slide, 12 of them in the tissue."""
    adata = make(cells=4992, raw=False, plain={"suspension_type": "na"}, assay="EFO:0022857", cell_type="unknown")
    inside = np.arange(4992) < 12
    adata.obs["in_tissue"] = inside.astype(int)
    adata.obs["array_row"] = np.arange(4992) // 64
    adata.obs["array_col"] = np.arange(4992) % 128
    counts = adata.X.toarray()
    counts[100:] = 0
    adata.X = sp.csr_matrix(counts)
    adata.obs["cell_type_ontology_term_id"] = pd.Categorical(np.where(inside, "CL:0000084", "unknown"))
    adata.obsm["spatial"] = np.stack([adata.obs["array_row"], adata.obs["array_col"]], 1).astype(float)
    adata.uns["spatial"] = {
        "is_single": True,
        "slide1": {
            "images": {"hires": np.zeros((2000, 3, 3), np.uint8)},
            "scalefactors": {"spot_diameter_fullres": 89.5, "tissue_hires_scalef": 0.17},
        },
    }
    return adata


def slide_seq():
    adata = make(assay="EFO:0030062", plain={"suspension_type": "na"})
    adata.obsm["spatial"] = adata.obsm["X_umap"].astype(float)
    adata.uns["spatial"] = {"is_single": True}
    return adata


def perturbed():
    adata = make()
    named = ["na", "guide1", "guide1 || guide2", "control1"] * 3
    known = {"na": "no perturbations", "control1": "control"}
    adata.obs["genetic_perturbation_id"] = pd.Categorical(named)
    adata.obs["genetic_perturbation_strategy"] = pd.Categorical(
        [known.get(one, "CRISPR interference screen") for one in named]
    )
    adata.obs["experimental_condition_ontology_term_id"] = pd.Categorical(
        ["na", "CHEBI:15377", "EFO:0001702", "CHEBI:15377 || EFO:0002756"] * 3
    )
    guide = {"protospacer_sequence": "ACGTACGTACGTACGTACGT", "protospacer_adjacent_motif": "3' NGG"}
    adata.uns["genetic_perturbations"] = {
        "guide1": {"role": "targeting", **guide, "intended_features": {"ENSG00000141510": "TP53"}},
        "guide2": {"role": "targeting", **guide},
        "control1": {"role": "control", **guide},
    }
    return adata


def pre_analysis():
    adata = make()
    del adata.obs["cell_type_ontology_term_id"], adata.obsm["X_umap"]
    return adata


BASES = {
    function.__name__: function
    for function in (
        *(tissue, raw_only, mouse, cell_line, organoid, culture, fish, pig, worm, visium, slide_seq, perturbed),
        pre_analysis,
    )
}


@pytest.fixture(scope="session")
def bases():
    """Return the functions that make a valid AnnData, by name."""
    return BASES


@pytest.fixture(scope="session")
def written():
    """Return a function that writes an AnnData as h5ad, without anndata's remarks."""

    def write(adata, path):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            adata.write_h5ad(path)
        return path

    return write
