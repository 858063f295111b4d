"""Every rule of the schema broken once: the same verdict as the official validator, and the finding that names it.

A mutation changes the AnnData of a base before it is written (`adata`), or the file afterwards (`file`).
"""

import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cellzoo.converters.validate.check import validate
from cellzoo.converters.validate.codes import CODES

EXCEPTIONS = {
    "NaN in raw": "the official validator takes NaN for an integer; counts that are not numbers are an error here",
    "infinity in raw": "the same of infinity",
}
"""Files on which the two differ, and why."""


@dataclass(frozen=True)
class Mutation:
    name: str
    base: str
    code: str | None
    adata: Callable[[Any], Any] = lambda adata: None
    file: Callable[[Any], Any] | None = None
    options: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


def drop(column):
    return lambda adata: adata.obs.drop(columns=column, inplace=True)


def term(field, value, rows=1):
    return fill(f"{field}_ontology_term_id", value, rows)


def fill(column, value, rows=12):
    def change(adata):
        values = adata.obs[column].astype(object).to_numpy(copy=True)
        values[: len(values) if rows == 12 else rows] = value
        adata.obs[column] = pd.Categorical(values)

    return change


def condition(value, rows=1):
    return fill("experimental_condition_ontology_term_id", value, rows)


def strategy(value, rows=12):
    return fill("genetic_perturbation_strategy", value, rows)


def put(column, make):
    return lambda adata: adata.obs.__setitem__(column, make(adata))


def as_type(column, kind):
    return put(column, lambda adata: adata.obs[column].astype(kind))


def uns(key, value):
    return lambda adata: adata.uns.__setitem__(key, value)


def unset(*keys):
    def change(adata):
        place = adata.uns
        for key in keys[:-1]:
            place = place[key]
        del place[keys[-1]]

    return change


def inside(value, *keys):
    def change(adata):
        place = adata.uns
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value

    return change


def obsm(key, value):
    return lambda adata: adata.obsm.__setitem__(key, value(adata) if callable(value) else value)


def only(key, value):
    def change(adata):
        del adata.obsm["X_umap"]
        adata.obsm[key] = value

    return change


def raw_x(change):
    def apply(adata):
        matrix = change(adata.raw.X.toarray())
        adata.raw = anndata.AnnData(
            matrix if sp.issparse(matrix) else sp.csr_matrix(matrix), adata.obs[[]], adata.raw.var
        )

    return apply


def at(row, column, value):
    def change(matrix):
        matrix[row, column] = value
        return matrix

    return change


def row(number, value):
    def change(matrix):
        matrix[number] = matrix[value] if isinstance(value, int) else 0
        return matrix

    return change


def raw_var(change):
    def apply(adata):
        frame = adata.raw.var.copy()
        frame = change(frame)
        adata.raw = anndata.AnnData(adata.raw.X, adata.obs[[]], frame)

    return apply


def named(names):
    """Rename the features of var and raw.var alike."""

    def change(adata):
        new = names(list(adata.var_names))
        adata.var.index = new
        adata.raw = anndata.AnnData(adata.raw.X, adata.obs[[]], pd.DataFrame(index=new))

    return change


def guide(**changes):
    return lambda adata: adata.uns["genetic_perturbations"]["guide1"].update(changes)


def no_guide(key):
    return unset("genetic_perturbations", "guide1", key)


def image(**options):
    return lambda adata: adata.uns["spatial"]["slide1"]["images"].update(options)


def several(*changes):
    def change(adata):
        for one in changes:
            one(adata)

    return change


def attribute(path, name, value):
    return lambda file: file[path].attrs.__setitem__(name, value)


def as_text(column):
    """Write a column as plain text, which anndata's writer would not do."""

    def change(file):
        group = file["obs"][column]
        values = group["categories"].asstr()[:][group["codes"][:]]
        del file["obs"][column]
        text = file["obs"].create_dataset(column, data=values.astype(object), dtype=h5py.string_dtype())
        text.attrs.update({"encoding-type": "string-array", "encoding-version": "0.2.0"})

    return change


def twice_in_order(file):
    file["obs"].attrs["column-order"] = [*file["obs"].attrs["column-order"], "batch"]


def delete(*paths):
    def change(file):
        for path in paths:
            del file[path]

    return change


def shortened(path):
    """Leave out the last value of an array."""

    def change(file):
        values, said = file[path][:-1], dict(file[path].attrs)
        del file[path]
        file.create_dataset(path, data=values).attrs.update(said)

    return change


def number(path, value):
    return lambda file: file[path].__setitem__(1, value)


def ghost_in_order(file):
    file["obs"].attrs["column-order"] = [*file["obs"].attrs["column-order"], "ghost"]


def strange_encoding(file):
    file["uns"].create_dataset("thing", data=h5py.Empty("f")).attrs.update(
        {"encoding-type": "null", "encoding-version": "0.1.0"}
    )


def csc(adata):
    adata.X = sp.csc_matrix(adata.X)


def dense(adata):
    adata.X = adata.X.toarray()


def dense_layer(adata):
    adata.layers["other"] = adata.X.toarray()


def csc_raw(adata):
    adata.raw = anndata.AnnData(sp.csc_matrix(adata.raw.X), adata.obs[[]], adata.raw.var)


def fewer_in_raw(adata):
    adata.raw = anndata.AnnData(adata.raw.X[:, :-1], adata.obs[[]], adata.raw.var.iloc[:-1])


def swapped_in_raw(adata):
    order = [1, 0, *range(2, adata.n_vars)]
    adata.raw = anndata.AnnData(adata.raw.X, adata.obs[[]], adata.raw.var.iloc[order])


def filtered_without_raw(adata):
    adata.var.loc[adata.var_names[0], "feature_is_filtered"] = True


def double_cell(adata):
    adata.obs_names = ["cell0", "cell0", *adata.obs_names[2:]]
    adata.raw = anndata.AnnData(adata.raw.X, pd.DataFrame(index=adata.obs_names), adata.raw.var)


def embed(value):
    return obsm("X_umap", value)


def position(name, value):
    def change(adata):
        column = adata.obs[name].to_numpy(copy=True)
        column[3] = value
        adata.obs[name] = column

    return change


def as_floats(name):
    return lambda adata: adata.obs.__setitem__(name, adata.obs[name].astype(float))


def missing_position(adata):
    column = adata.obs["array_row"].astype(float)
    column.iloc[3] = np.nan
    adata.obs["array_row"] = column


def no_counts_outside(adata):
    counts = adata.X.toarray()
    counts[12:] = 0
    adata.X = sp.csr_matrix(counts)


def no_counts_inside(adata):
    counts = adata.X.toarray()
    counts[3] = 0
    adata.X = sp.csr_matrix(counts)


def two_inside_alike(adata):
    counts = adata.X.toarray()
    counts[3] = counts[4]
    adata.X = sp.csr_matrix(counts)


def known_outside(adata):
    adata.obs["cell_type_ontology_term_id"] = pd.Categorical(["CL:0000084"] * adata.n_obs)


def other_assay(adata):
    values = np.array(["EFO:0022857"] * adata.n_obs, object)
    values[:3] = "EFO:0022858"
    adata.obs["assay_ontology_term_id"] = pd.Categorical(values)


def crop(adata):
    return adata[:4000].copy()


M = Mutation
SPATIAL = ("spatial", "slide1")
GP = "genetic_perturbations"
LABELS = ("assay", "cell_type", "development_stage", "disease", "sex", "tissue", "self_reported_ethnicity")
CURATED = (
    *(f"{field}_ontology_term_id" for field in LABELS if field != "cell_type"),
    *("donor_id", "is_primary_data", "suspension_type", "tissue_type"),
)
MUTATIONS = [
    *(M(f"no {column}", "tissue", "CXG101", drop(column)) for column in CURATED),
    *(M(f"label {field}", "tissue", "CXG121", put(field, lambda adata: "x")) for field in LABELS),
    # words and types of the plain columns
    M("tissue type unknown to the schema", "tissue", "CXG105", fill("tissue_type", "cell culture")),
    M("tissue type as text", "tissue", "CXG102", file=as_text("tissue_type")),
    M("tissue type missing", "tissue", "CXG103", fill("tissue_type", None, 1)),
    M("suspension type unknown", "tissue", "CXG105", fill("suspension_type", "nuclei")),
    M("suspension type as text", "tissue", "CXG102", file=as_text("suspension_type")),
    M("suspension type not of 10x", "tissue", "CXG108", fill("suspension_type", "na", 1)),
    M("suspension type of ATAC", "tissue", "CXG108", term("assay", "EFO:0030059", 12)),
    M(
        "suspension type of Smart-seq", "tissue", "CXG108",
        several(term("assay", "EFO:0008919", 12), fill("suspension_type", "nucleus")),
    ),
    M("suspension type of MERFISH", "tissue", "CXG108", term("assay", "EFO:0008992", 12)),
    M("donor as text", "tissue", "CXG102", file=as_text("donor_id")),
    M("donor missing", "tissue", "CXG103", fill("donor_id", None, 1)),
    M("donor na", "tissue", "CXG106", fill("donor_id", "na", 1)),
    M("donor empty", "tissue", "CXG110", fill("donor_id", " ", 1)),
    M("donor as number", "tissue", "CXG102", put("donor_id", lambda adata: pd.Categorical([1, 2] * 6))),
    M("donor of a cell line", "cell_line", "CXG106", fill("donor_id", "D1", 1)),
    M("primary as text", "tissue", "CXG107", put("is_primary_data", lambda adata: "yes")),
    M("primary as number", "tissue", "CXG107", as_type("is_primary_data", int)),
    M("primary as category", "tissue", "CXG107", as_type("is_primary_data", "category")),
    M("primary nullable", "tissue", "CXG107", as_type("is_primary_data", "boolean")),
    # terms
    M("assay a root", "tissue", "CXG104", term("assay", "EFO:0002772")),
    M("assay generic Visium", "tissue", "CXG104", term("assay", "EFO:0010961", 12)),
    M("assay obsolete", "tissue", "CXG104", term("assay", "EFO:0009310")),
    M("assay no term", "tissue", "CXG104", term("assay", "10x 3' v2")),
    M("assay missing", "tissue", "CXG103", term("assay", None)),
    M("assay of another ontology", "tissue", "CXG104", term("assay", "CL:0000084")),
    M("cell type forbidden", "tissue", "CXG104", term("cell_type", "CL:0000255")),
    M("cell type obsolete", "tissue", "CXG104", term("cell_type", "CL:0000003")),
    M("cell type na in a tissue", "tissue", "CXG104", term("cell_type", "na")),
    M("cell type na in one cell of a line", "cell_line", "CXG109", term("cell_type", "CL:0000084")),
    M("cell type two terms", "tissue", "CXG104", term("cell_type", "CL:0000084 || CL:0000236")),
    M("cell type of a fish in human", "tissue", "CXG104", term("cell_type", "ZFA:0009052")),
    M("cell type of a worm in fish", "fish", "CXG104", term("cell_type", "WBbt:0005113")),
    M("cell type of the germ line of a worm", "worm", "CXG104", term("cell_type", "WBbt:0006803")),
    M("cell type missing", "tissue", "CXG103", term("cell_type", None)),
    M("cell type lower case", "tissue", "CXG104", term("cell_type", "cl:0000084")),
    M("stage of a mouse in human", "tissue", "CXG104", term("development_stage", "MmusDv:0000062")),
    M("stage of human in a mouse", "mouse", "CXG104", term("development_stage", "HsapDv:0000258")),
    M("stage the root", "tissue", "CXG104", term("development_stage", "HsapDv:0000001")),
    M("stage na in a tissue", "tissue", "CXG104", term("development_stage", "na")),
    M("stage known in a cell line", "cell_line", "CXG104", term("development_stage", "HsapDv:0000258")),
    M("stage forbidden in a pig", "pig", "CXG104", term("development_stage", "UBERON:0000071")),
    M("stage unknown of a fish", "fish", "CXG104", term("development_stage", "ZFS:0000000")),
    M("stage of UBERON in a fish", "fish", "CXG104", term("development_stage", "UBERON:0000113")),
    M("disease the root", "tissue", "CXG104", term("disease", "MONDO:0000001")),
    M("disease unknown", "tissue", "CXG104", term("disease", "unknown")),
    M("disease not sorted", "tissue", "CXG104", term("disease", "MONDO:0005148 || MONDO:0005061")),
    M("disease twice", "tissue", "CXG104", term("disease", "MONDO:0005061 || MONDO:0005061")),
    M("disease and normal", "tissue", "CXG104", term("disease", "MONDO:0005061 || PATO:0000461")),
    M("disease with another delimiter", "tissue", "CXG104", term("disease", "MONDO:0005061||MONDO:0005148")),
    M("disease of PATO", "tissue", "CXG104", term("disease", "PATO:0000383")),
    M("ethnicity na in human", "tissue", "CXG104", term("self_reported_ethnicity", "na")),
    M("ethnicity the root", "tissue", "CXG104", term("self_reported_ethnicity", "HANCESTRO:0601")),
    M("ethnicity with a comma", "tissue", "CXG104", term("self_reported_ethnicity", "HANCESTRO:0568,HANCESTRO:0590")),
    M("ethnicity unknown beside one", "tissue", "CXG104", term("self_reported_ethnicity", "HANCESTRO:0568 || unknown")),
    M("ethnicity of a mouse", "mouse", "CXG104", term("self_reported_ethnicity", "unknown")),
    M("ethnicity of a cell line", "cell_line", "CXG104", term("self_reported_ethnicity", "unknown")),
    M("sex a word", "tissue", "CXG104", term("sex", "female")),
    M("sex na in a tissue", "tissue", "CXG104", term("sex", "na")),
    M("sex of a cell line", "cell_line", "CXG104", term("sex", "PATO:0000383")),
    M("sex female of a worm", "worm", "CXG104", term("sex", "PATO:0000383")),
    M("tissue a cell type", "tissue", "CXG104", term("tissue", "CL:0000084")),
    M("tissue unknown", "tissue", "CXG104", term("tissue", "unknown")),
    M("tissue not of the line", "cell_line", "CXG104", term("tissue", "UBERON:0002048")),
    M("tissue of no known line", "cell_line", "CXG104", term("tissue", "CVCL_ZZZZ")),
    M("tissue an embryo as organoid", "organoid", "CXG104", term("tissue", "UBERON:0000922")),
    M("tissue no cell type in a culture", "culture", "CXG104", term("tissue", "UBERON:0002048")),
    M("tissue cell in a culture", "culture", "CXG104", term("tissue", "CL:0000000")),
    M("tissue of a fish in human", "tissue", "CXG104", term("tissue", "ZFA:0000114")),
    M("tissue a cell of a fish", "fish", "CXG104", term("tissue", "ZFA:0009052")),
    M("terms as numbers", "tissue", "CXG102", put("sex_ontology_term_id", lambda adata: pd.Categorical([1, 2] * 6))),
    # columns and indices of any frame
    M("obs deprecated organism", "tissue", "CXG122", put("organism_ontology_term_id", lambda adata: "NCBITaxon:9606")),
    M("obs deprecated ethnicity", "tissue", "CXG122", put("ethnicity", lambda adata: "x")),
    M("obs join id", "tissue", "CXG121", put("observation_joinid", lambda adata: "x")),
    M("obs perturbation types", "tissue", "CXG121", put("perturbation_types", lambda adata: "x")),
    M("obs two underscores", "tissue", "CXG123", put("__x", lambda adata: 1.0)),
    M("obs column name twice", "tissue", "CXG124", file=twice_in_order),
    M("obs nullable with missing", "tissue", "CXG125", put("n", lambda adata: pd.array([1, None] * 6, "Int64"))),
    M("obs index twice", "tissue", "CXG127", double_cell),
    M("var label", "tissue", "CXG121", lambda adata: adata.var.__setitem__("feature_name", "x")),
    M("var two underscores", "tissue", "CXG123", lambda adata: adata.var.__setitem__("__x", 1.0)),
    M("raw var label", "tissue", "CXG121", raw_var(lambda frame: frame.assign(feature_length=1))),
    M("raw var filtered", "tissue", "CXG210", raw_var(lambda frame: frame.assign(feature_is_filtered=False))),
    M("uns two underscores", "tissue", "CXG123", uns("__x", "y")),
    M("obsm two underscores", "tissue", "CXG123", obsm("__x", np.ones((12, 2)))),
    # features
    M("feature unknown", "tissue", "CXG201", named(lambda names: ["ENSG09999999999", *names[1:]])),
    M("feature with a version", "tissue", "CXG201", named(lambda names: [f"{names[0]}.3", *names[1:]])),
    M("feature a symbol", "tissue", "CXG201", named(lambda names: ["TP53", *names[1:]])),
    M("feature of a mouse", "tissue", "CXG202", named(lambda names: ["ENSMUSG00000059552", *names[1:]])),
    M("feature twice", "tissue", "CXG127", named(lambda names: [names[1], *names[1:]])),
    M(
        "filtered missing", "tissue", "CXG203",
        lambda adata: adata.var.drop(columns="feature_is_filtered", inplace=True),
    ),
    M("filtered as number", "tissue", "CXG204", lambda adata: adata.var.__setitem__("feature_is_filtered", 0)),
    M("filtered without raw", "raw_only", "CXG205", filtered_without_raw),
    M("raw with fewer features", "tissue", "CXG209", fewer_in_raw),
    M("raw with features swapped", "tissue", "CXG209", swapped_in_raw),
    # uns
    M("no title", "tissue", "CXG301", unset("title")),
    M("no organism", "tissue", "CXG301", unset("organism_ontology_term_id")),
    M("title with spaces", "tissue", "CXG302", uns("title", "two  spaces")),
    M("title with a space at the end", "tissue", "CXG302", uns("title", "end ")),
    M("title a number", "tissue", "CXG302", uns("title", 1)),
    M("title empty", "tissue", "CXG304", uns("title", "")),
    M("organism a genus", "tissue", "CXG303", uns("organism_ontology_term_id", "NCBITaxon:9605")),
    M("organism a virus", "tissue", "CXG303", uns("organism_ontology_term_id", "NCBITaxon:2697049")),
    M("organism a word", "tissue", "CXG303", uns("organism_ontology_term_id", "Homo sapiens")),
    M("organism a number", "tissue", "CXG303", uns("organism_ontology_term_id", 9606)),
    M("uns organism label", "tissue", "CXG121", uns("organism", "Homo sapiens")),
    M("uns citation", "tissue", "CXG121", uns("citation", "x")),
    M("uns schema version", "tissue", "CXG121", uns("schema_version", "7.1.0")),
    M("uns pre-analysis", "tissue", "CXG121", uns("is_pre_analysis", True)),
    M("uns deprecated", "tissue", "CXG122", uns("X_normalization", "CPM")),
    M("uns empty dict", "tissue", "CXG304", uns("log1p", {})),
    M("uns empty array", "tissue", "CXG304", uns("list", np.array([], float))),
    M("batch of no column", "tissue", "CXG307", uns("batch_condition", np.array(["plate"]))),
    M("batch a text", "tissue", "CXG307", uns("batch_condition", "batch")),
    M("default of no embedding", "tissue", "CXG308", uns("default_embedding", "X_tsne")),
    M("distribution a word", "tissue", "CXG309", uns("X_approximate_distribution", "poisson")),
    M("colors of no column", "tissue", "CXG310", uns("plate_colors", np.array(["red", "blue"]))),
    M("colors of a label", "tissue", "CXG310", uns("cell_type_colors", np.array(["red", "blue"]))),
    M("colors too few", "tissue", "CXG310", uns("batch_colors", np.array(["red"]))),
    M("colors mixed", "tissue", "CXG310", uns("batch_colors", np.array(["red", "#00ff00"]))),
    M("colors no names", "tissue", "CXG310", uns("batch_colors", np.array(["reddish", "blue"]))),
    M("colors a text", "tissue", "CXG310", uns("batch_colors", "red")),
    M("colors numbers", "tissue", "CXG310", uns("batch_colors", np.array([1, 2]))),
    M("schema 5.3", "tissue", "CXG001", uns("schema_version", "5.3.0")),
    M("schema 6.0", "tissue", "CXG001", uns("schema_version", "6.0.0")),
    M(
        "schema before 6.0 without labels", "tissue", "CXG001",
        several(unset("organism_ontology_term_id"), put("organism_ontology_term_id", lambda adata: "NCBITaxon:9606")),
    ),
    # embeddings and arrays
    M("no embedding", "tissue", "CXG401", lambda adata: adata.obsm.__delitem__("X_umap")),
    M("embedding name with a space", "tissue", "CXG402", obsm("X_my map", np.ones((12, 2)))),
    M("embedding name X_spatial", "tissue", "CXG402", obsm("X_spatial", np.ones((12, 2)))),
    M("embedding name without suffix", "tissue", "CXG402", obsm("X_", np.ones((12, 2)))),
    M("other array with a space", "tissue", "CXG402", obsm("my map", np.ones((12, 2)))),
    M(
        "embedding a frame", "tissue", "CXG403",
        embed(lambda adata: pd.DataFrame({"a": [1.0] * 12, "b": 2.0}, adata.obs_names)),
    ),
    M("embedding sparse", "tissue", "CXG403", embed(sp.csr_matrix(np.ones((12, 2))))),
    M("embedding of one column", "tissue", "CXG404", embed(np.ones((12, 1)))),
    M("embedding of bool", "tissue", "CXG405", embed(np.ones((12, 2), bool))),
    M("embedding infinite", "tissue", "CXG406", embed(np.array([[np.inf, 1.0]] * 12))),
    M("embedding all NaN", "tissue", "CXG406", embed(np.full((12, 2), np.nan))),
    M("embeddings without X_", "tissue", "CXG407", only("umap", np.ones((12, 2)))),
    M("spatial without section", "tissue", "CXG408", obsm("spatial", np.ones((12, 2)))),
    M("other array empty", "tissue", "CXG409", obsm("other", np.ones((12, 0)))),
    M("varm empty", "tissue", "CXG409", lambda adata: adata.varm.__setitem__("PCs", np.ones((13, 0)))),
    # matrices
    M("X by columns", "tissue", "CXG501", csc),
    M("raw by columns", "tissue", "CXG501", csc_raw),
    M("X dense", "tissue", "CXG502", dense),
    M("layer dense", "tissue", "CXG502", dense_layer),
    M("raw of 64 bits", "tissue", "CXG503", raw_x(lambda matrix: matrix.astype(np.float64))),
    M("raw of integers", "tissue", "CXG503", raw_x(lambda matrix: matrix.astype(np.int32))),
    M("raw negative", "tissue", "CXG504", raw_x(at(0, 0, -1))),
    M("raw fractions", "tissue", "CXG504", raw_x(at(0, 0, 1.5))),
    M("X normalized without raw", "tissue", "CXG504", lambda adata: adata.__setattr__("raw", None)),
    M("raw without counts in a cell", "tissue", "CXG505", raw_x(row(3, None))),
    M("raw with two cells alike", "tissue", "CXG506", raw_x(row(3, 5))),
    M("NaN in raw", "tissue", "CXG507", raw_x(at(0, 0, np.nan))),
    M("infinity in raw", "tissue", "CXG507", raw_x(at(0, 0, np.inf))),
    # space
    M("uns spatial of 10x", "tissue", "CXG601", uns("spatial", {"is_single": True})),
    M("no uns spatial", "slide_seq", "CXG601", unset("spatial")),
    M("spatial a text", "slide_seq", "CXG601", uns("spatial", "yes")),
    M("no is_single", "slide_seq", "CXG602", uns("spatial", {"other": 1})),
    M("is_single a text", "slide_seq", "CXG602", uns("spatial", {"is_single": "True"})),
    M("library of beads", "slide_seq", "CXG603", inside({"images": {}}, "spatial", "bead")),
    M("no library", "visium", "CXG603", unset(*SPATIAL)),
    M("two libraries", "visium", "CXG603", inside({"images": {}}, "spatial", "slide2")),
    M("no images", "visium", "CXG604", unset(*SPATIAL, "images")),
    M("no hires", "visium", "CXG604", unset(*SPATIAL, "images", "hires")),
    M("no scale factors", "visium", "CXG604", unset(*SPATIAL, "scalefactors")),
    M("no spot diameter", "visium", "CXG604", unset(*SPATIAL, "scalefactors", "spot_diameter_fullres")),
    M("library with more", "visium", "CXG604", inside("x", *SPATIAL, "metadata")),
    M("images with lowres", "visium", "CXG604", image(lowres=np.zeros((600, 3, 3), np.uint8))),
    M("scale factors with more", "visium", "CXG604", inside(0.1, *SPATIAL, "scalefactors", "tissue_lowres_scalef")),
    M("image too small", "visium", "CXG605", image(hires=np.zeros((1999, 3, 3), np.uint8))),
    M("image of floats", "visium", "CXG605", image(hires=np.zeros((2000, 3, 3), np.float32))),
    M("image without colors", "visium", "CXG605", image(hires=np.zeros((2000, 3), np.uint8))),
    M("image of five colors", "visium", "CXG605", image(fullres=np.zeros((20, 3, 5), np.uint8))),
    M("scale factor an integer", "visium", "CXG606", inside(1, *SPATIAL, "scalefactors", "tissue_hires_scalef")),
    M("no in_tissue", "visium", "CXG607", drop("in_tissue")),
    M("no array_row", "visium", "CXG607", drop("array_row")),
    M("in_tissue of 10x", "tissue", "CXG607", put("in_tissue", lambda adata: 1)),
    M("array_col of beads", "slide_seq", "CXG607", put("array_col", lambda adata: 1)),
    M("array_row off the slide", "visium", "CXG608", position("array_row", 78)),
    M("array_col negative", "visium", "CXG608", position("array_col", -1)),
    M("in_tissue of two", "visium", "CXG608", position("in_tissue", 2)),
    M("array_col of floats", "visium", "CXG608", as_floats("array_col")),
    M("array_row missing", "visium", "CXG608", missing_position),
    M("cell type outside the tissue", "visium", "CXG609", known_outside),
    M("two assays of Visium", "visium", "CXG610", other_assay),
    M("several sections as primary", "slide_seq", "CXG611", several(inside(False, "spatial", "is_single"))),
    M("no places", "slide_seq", "CXG408", lambda adata: adata.obsm.__delitem__("spatial")),
    M("places with NaN", "slide_seq", "CXG406", obsm("spatial", np.array([[np.nan, 1.0]] * 12))),
    M("places of one column", "slide_seq", "CXG404", obsm("spatial", np.ones((12, 1)))),
    M("Visium cropped", "visium", "CXG508", crop),
    M("no counts outside the tissue", "visium", "CXG509", no_counts_outside),
    M("no counts in the tissue", "visium", "CXG509", no_counts_inside),
    M("two spots in the tissue alike", "visium", "CXG506", two_inside_alike),
    # perturbations
    M("condition a root", "perturbed", "CXG104", condition("CHEBI:24431")),
    M("condition a role", "perturbed", "CXG104", condition("CHEBI:50906")),
    M("condition below a role", "perturbed", "CXG104", condition("CHEBI:35222")),
    M("condition obsolete", "perturbed", "CXG104", condition("CHEBI:1")),
    M("condition not sorted", "perturbed", "CXG104", condition("EFO:0001702 || CHEBI:15377")),
    M("condition of no protein", "perturbed", "CXG104", condition("uniprot:NOTONE")),
    M("condition another of EFO", "perturbed", "CXG104", condition("EFO:0009899")),
    M("condition na everywhere", "perturbed", "CXG705", condition("na", 12)),
    M("condition missing", "perturbed", "CXG103", condition(None)),
    M("condition label", "perturbed", "CXG121", put("experimental_condition", lambda adata: "x")),
    M("perturbations without uns", "perturbed", "CXG701", unset(GP)),
    M("perturbations without ids", "perturbed", "CXG701", drop("genetic_perturbation_id")),
    M("perturbations without strategy", "perturbed", "CXG701", drop("genetic_perturbation_strategy")),
    M(
        "strategy alone", "tissue", "CXG701",
        put("genetic_perturbation_strategy", lambda adata: pd.Categorical(["control"] * 12)),
    ),
    M("perturbation not in uns", "perturbed", "CXG702", fill("genetic_perturbation_id", "guide9", 1)),
    M(
        "perturbations not sorted", "perturbed", "CXG702",
        several(fill("genetic_perturbation_id", "guide2 || guide1", 3), strategy("CRISPR knockout screen", 3)),
    ),
    M("perturbation ids as text", "perturbed", "CXG102", file=as_text("genetic_perturbation_id")),
    M("strategy as text", "perturbed", "CXG102", file=as_text("genetic_perturbation_strategy")),
    M("strategy a word", "perturbed", "CXG703", strategy("CRISPR", 3)),
    M("strategy where there is none", "perturbed", "CXG703", strategy("control", 1)),
    M("no strategy where there is one", "perturbed", "CXG703", strategy("no perturbations", 2)),
    M("control that targets", "perturbed", "CXG703", strategy("control")),
    M("guide without role", "perturbed", "CXG704", no_guide("role")),
    M("guide without sequence", "perturbed", "CXG704", no_guide("protospacer_sequence")),
    M("guide with a role of its own", "perturbed", "CXG704", guide(role="target")),
    M("guide too short", "perturbed", "CXG704", guide(protospacer_sequence="ACGTACGTACGTA")),
    M("guide in lower case", "perturbed", "CXG704", guide(protospacer_sequence="acgtacgtacgtacgtacgt")),
    M("motif without 3'", "perturbed", "CXG704", guide(protospacer_adjacent_motif="NGG")),
    M("guide with more", "perturbed", "CXG704", guide(vendor="x")),
    M("guide with what is derived", "perturbed", "CXG121", guide(derived_features={"ENSG00000141510": "TP53"})),
    M("guide for no gene", "perturbed", "CXG201", guide(intended_features={"TP53": "TP53"})),
    M(
        "guide for a gene of another organism", "perturbed", "CXG202",
        guide(intended_features={"ENSMUSG00000059552": "Trp53"}),
    ),
    M("guide a text", "perturbed", "CXG704", inside("ACGT", GP, "guide1")),
    M("guide called na", "perturbed", "CXG708", lambda adata: inside(adata.uns[GP]["guide1"], GP, "na")(adata)),
    M("perturbations empty", "perturbed", "CXG304", uns(GP, {})),
    M("perturbations a text", "perturbed", "CXG704", uns(GP, "guide1")),
    # before analysis
    M(
        "cell types before analysis", "pre_analysis", "CXG801",
        put("cell_type_ontology_term_id", lambda adata: pd.Categorical(["unknown"] * 12)), options=("pre_analysis",),
    ),
    M(
        "default embedding before analysis", "pre_analysis", "CXG801",
        several(obsm("X_umap", np.ones((12, 2))), uns("default_embedding", "X_umap")), options=("pre_analysis",),
    ),
    M("before analysis without saying so", "pre_analysis", "CXG401"),
    # the file
    M("encoding of another version", "tissue", "CXG003", file=attribute("/", "encoding-version", "0.0.9")),
    M("no encoding", "tissue", "CXG003", file=lambda file: [file.attrs.__delitem__(name) for name in list(file.attrs)]),
    M("element that anndata 0.11 does not know", "tissue", "CXG003", file=strange_encoding),
    M("no X", "tissue", "CXG004", file=delete("X")),
    M("no obs", "tissue", "CXG004", file=delete("obs")),
    M("X of another shape", "tissue", "CXG005", file=attribute("X", "shape", [11, 13])),
    M("column of cells too short", "tissue", "CXG128", file=shortened("obs/batch/codes")),
    M("column of flags too short", "tissue", "CXG128", file=shortened("obs/is_primary_data")),
    M("column of genes too short", "tissue", "CXG128", file=shortened("var/feature_is_filtered")),
    M("code of no category", "tissue", "CXG128", file=number("obs/batch/codes", 77)),
    M("code below what is missing", "tissue", "CXG128", file=number("obs/batch/codes", -2)),
    M("category twice", "tissue", "CXG128", file=number("obs/batch/categories", "a")),
    M("column that is listed and not there", "tissue", "CXG128", file=ghost_in_order),
]  # fmt: skip

VALID = [
    *(M(f"base {name}", name, None, options=("pre_analysis",) if name == "pre_analysis" else ()) for name in (
        *("tissue", "raw_only", "mouse", "cell_line", "organoid", "culture", "fish", "pig", "worm", "visium"),
        *("slide_seq", "perturbed", "pre_analysis"),
    )),
    M("no cell type", "tissue", None, drop("cell_type_ontology_term_id")),
    M("cell type unknown", "tissue", None, term("cell_type", "unknown", 12)),
    M("cell type cell", "tissue", None, term("cell_type", "CL:0000000")),
    M("cell line with cell types", "cell_line", None, term("cell_type", "unknown", 12)),
    M("terms as text", "tissue", None, file=as_text("sex_ontology_term_id")),
    M("two diseases", "tissue", None, term("disease", "MONDO:0005061 || MONDO:0005148")),
    M("two ethnicities", "tissue", None, term("self_reported_ethnicity", "HANCESTRO:0568 || HANCESTRO:0590")),
    M("nucleus of 10x", "tissue", None, fill("suspension_type", "nucleus", 3)),
    M("unused category", "tissue", None, put("batch", lambda adata: pd.Categorical(["a"] * 12, ["a", "b"]))),
    M("categories of bool", "tissue", None, put("flag", lambda adata: pd.Categorical([True, False] * 6))),
    M("nullable without missing", "tissue", None, put("n", lambda adata: pd.array([1, 2] * 6, "Int64"))),
    M("floats with NaN", "tissue", None, put("score", lambda adata: [1.0, np.nan] * 6)),
    M("colors by name", "tissue", None, uns("batch_colors", np.array(["red", "rebeccapurple"]))),
    M("colors by number", "tissue", None, uns("batch_colors", np.array(["#ff0000", "#00FF00", "#0000ff"]))),
    M(
        "batch and default", "tissue", None,
        several(uns("batch_condition", np.array(["batch", "donor_id"])), uns("default_embedding", "X_umap")),
    ),
    M("distribution", "tissue", None, uns("X_approximate_distribution", "normal")),
    M(
        "other embeddings", "tissue", None,
        several(obsm("pca", np.ones((12, 1))), obsm("X_t-SNE.2", np.ones((12, 3), np.int8))),
    ),
    M("embedding partly NaN", "tissue", None, embed(np.array([[np.nan, 1.0]] * 12))),
    M("layer sparse", "tissue", None, lambda adata: adata.layers.__setitem__("other", adata.X.copy())),
    M("filtered feature with values", "tissue", None, filtered_without_raw),
    M("subspecies", "mouse", None, uns("organism_ontology_term_id", "NCBITaxon:39442")),
    M("virus among the genes", "tissue", None, named(lambda names: ["ENSSASG00005000002", *names[1:]])),
    M(
        "ATAC without counts", "tissue", None,
        several(term("assay", "EFO:0030007", 12), fill("suspension_type", "nucleus"), raw_x(at(0, 0, 1.5))),
    ),
    M("antibody", "perturbed", None, condition("anti-uniprot:P04637")),
    M(
        "sections together", "slide_seq", None,
        several(inside(False, "spatial", "is_single"), put("is_primary_data", lambda adata: False)),
    ),
    M(
        "labelled, and labels passed over", "tissue", None,
        put("cell_type", lambda adata: "T cell"), options=("ignore_labels",),
    ),
    M(
        "perturbation everywhere na", "perturbed", None,
        several(fill("genetic_perturbation_id", "na"), strategy("no perturbations")),
    ),
]  # fmt: skip


def arguments(mutation) -> dict[str, Any]:
    return dict.fromkeys(mutation.options, True)


@pytest.fixture(scope="module")
def judged(oracle, bases, written, tmp_path_factory):
    """Return what the two validators say of each file of the corpus, by its name."""
    folder = tmp_path_factory.mktemp("corpus")

    def make(mutation):
        path = folder / f"{mutation}.h5ad".replace("/", "")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what pandas and anndata say of odd data
            adata = bases[mutation.base]()
            changed = mutation.adata(adata)
            written(changed if isinstance(changed, anndata.AnnData) else adata, path)
        if mutation.file:
            with h5py.File(path, "r+") as file:
                mutation.file(file)
        return path

    with ThreadPoolExecutor(1) as official:  # another process, busy while this one goes on
        made = {}
        for mutation in (*MUTATIONS, *VALID):
            path, options = make(mutation), arguments(mutation)
            made[mutation.name] = validate(path, **options), official.submit(oracle.validate, path, **options)
        return {name: (native, answer.result()) for name, (native, answer) in made.items()}


def errors(findings):
    return [finding for finding in findings if finding.severity == "error"]


def test_the_corpus_is_large_and_breaks_every_rule_that_is_an_error():
    names = [mutation.name for mutation in (*MUTATIONS, *VALID)]
    assert len(MUTATIONS) >= 120
    assert len(VALID) >= 20
    assert len(set(names)) == len(names)
    broken = {mutation.code for mutation in MUTATIONS}
    assert broken == {code for code, rule in CODES.items() if rule.severity == "error"} - {"CXG002", "CXG006"}


@pytest.mark.parametrize("mutation", MUTATIONS, ids=str)
def test_a_broken_rule_is_found_and_named(judged, mutation):
    native, official = judged[mutation.name]
    assert mutation.code in {finding.code for finding in errors(native)}, "\n".join(map(str, native))
    assert official.ok == (mutation.name in EXCEPTIONS), official.errors


@pytest.mark.parametrize("mutation", VALID, ids=str)
def test_what_is_valid_has_no_error(judged, mutation):
    native, official = judged[mutation.name]
    assert official.ok, official.errors
    assert [str(finding) for finding in errors(native)] == []


def test_both_give_the_same_verdict_on_98_of_100_files_and_the_rest_is_explained(judged):
    apart = {name for name, (native, official) in judged.items() if official.ok == bool(errors(native))}
    assert apart <= EXCEPTIONS.keys()
    assert len(apart) <= 0.02 * len(judged)
