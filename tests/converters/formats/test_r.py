"""Objects of R that hold cells, read as such: real ones, and ones written in R's serialization as R writes them."""

import gzip
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from rdata.conversion import ConverterFromPythonToR
from rdata.conversion.to_r import DEFAULT_CLASS_MAP, build_r_object
from rdata.parser import RObjectType
from rdata.unparser._unparser import pack_r_object_info
from rdata.unparser._xdr import UnparserXDR

from cellzoo.converters.readers import read_source
from cellzoo.converters.rows import to_csr
from cellzoo.errors import InputError

COUNTS = sp.random(12, 5, 0.5, "csc", rng=np.random.default_rng(5))  # genes, cells
COUNTS.data = np.arange(1.0, COUNTS.nnz + 1)
GENES, CELLS = [f"GENE{at}" for at in range(12)], [f"cell{at}" for at in range(5)]


@dataclass
class S4:
    """An S4 object."""

    name: str
    slots: dict[str, Any] = field(default_factory=dict)


@dataclass
class Named:
    """A matrix with its dimnames; of an S4 class that extends it."""

    values: np.ndarray
    rows: list[str] | None
    columns: list[str] | None
    name: str | None = None


def to_s4(node, converter):
    slots = converter.convert_to_r_attributes(node.slots | {"class": node.name})
    return build_r_object(RObjectType.S4, is_object=True, attributes=slots, gp=1 << 4)


def to_matrix(node, converter):
    names = [None if one is None else np.array(one) for one in (node.rows, node.columns)]
    slots = {"dim": np.array(node.values.shape, np.int32), "dimnames": names}
    made = converter.convert_to_r_object(node.values.ravel(order="F"))
    made.attributes = converter.convert_to_r_attributes(slots | ({"class": node.name} if node.name else {}))
    made.info.attributes, made.info.object, made.info.gp = True, bool(node.name), int(bool(node.name)) << 4
    return made


class Writer(UnparserXDR):
    """Writes S4 objects too: their slots are their attributes."""

    def unparse_r_object(self, obj):
        if obj.info.type is not RObjectType.S4:
            return super().unparse_r_object(obj)
        self.unparse_int(pack_r_object_info(obj.info))
        return super().unparse_r_object(obj.attributes)


@pytest.fixture
def save(tmp_path):
    """Write an object as .rds."""

    def save(node):
        converter = ConverterFromPythonToR(constructor_dict={**DEFAULT_CLASS_MAP, S4: to_s4, Named: to_matrix})
        with gzip.open(tmp_path / "x.rds", "wb") as stream:
            Writer(stream).unparse_r_data(converter.convert_to_r_data(node))
        return {"x.rds": tmp_path / "x.rds"}

    return save


def dgc(matrix, rows=GENES, columns=CELLS):
    matrix = sp.csc_matrix(matrix)
    names = [None if one is None else np.array(one) for one in (rows, columns)]
    slots = {"i": matrix.indices, "p": matrix.indptr, "Dim": np.array(matrix.shape, np.int32)}
    return S4("dgCMatrix", slots | {"Dimnames": names, "x": matrix.data.astype(float), "factors": []})


def frame(columns, rows):
    values = {"listData": columns, "rownames": None if rows is None else np.array(rows)}
    return S4("DFrame", values | {"nrows": np.array([len(rows or ())], np.int32)})


def equal(rows, matrix):
    return (to_csr(rows) != matrix).nnz == 0


def dense(rows):
    return to_csr(rows).toarray()


# SingleCellExperiment


def experiment(assays, obs, genes, **slots):
    data = {"data": S4("SimpleList", {"listData": assays})}
    partitioning = S4("PartitioningByEnd", {"NAMES": np.array(genes)})
    ranges = {"partitioning": partitioning, "elementMetadata": frame({"length": np.arange(len(genes))}, None)}
    slots |= {"assays": S4("SimpleAssays", data), "colData": obs, "rowRanges": S4("CompressedGRangesList", ranges)}
    return S4("SingleCellExperiment", slots)


def test_a_single_cell_experiment_brings_counts_layers_cells_embeddings_and_antibodies(make_card, save):
    obs = frame({"label": pd.Categorical(["B", "T", "B", "T", "B"])}, CELLS)
    adt = experiment({"counts": dgc(COUNTS[:2] * 2, None, None)}, frame({}, CELLS), ["CD3", "CD4"])
    inner = {
        "reducedDims": frame({"PCA": Named(np.arange(10.0).reshape(5, 2), CELLS, ["PC1", "PC2"])}, CELLS),
        "altExps": frame({"ADT": S4("SummarizedExperimentByColumn", {"se": adt})}, CELLS),
    }
    assays = {"logcounts": dgc(COUNTS * 0.5, None, None), "counts": dgc(COUNTS, None, None)}
    files = save(experiment(assays, obs, GENES, int_colData=frame(inner, CELLS)))
    card = make_card(5, {"file": "x.rds"}, "rdata", layers={"processed": "logcounts"})
    ours = read_source(card, files)
    assert (dense(ours.X) == COUNTS.toarray().T).all()
    assert (dense(ours.layers["logcounts"]) == COUNTS.toarray().T * 0.5).all()
    assert list(ours.layers) == ["logcounts"]
    assert list(ours.obs["label"]) == ["B", "T", "B", "T", "B"]
    assert (list(ours.obs.index), list(ours.var.index)) == (CELLS, GENES)
    assert list(ours.var["length"]) == list(range(12))
    assert (ours.obsm["X_pca"] == np.arange(10.0).reshape(5, 2)).all()
    assert (dense(ours.modalities["protein"].X) == COUNTS.toarray()[:2].T * 2).all()
    assert list(ours.modalities["protein"].var.index) == ["CD3", "CD4"]
    assert list(ours.modalities["protein"].obs.index) == CELLS


def test_a_real_single_cell_experiment_is_the_same_by_itself_and_by_its_parts(make_card, real, files_of):
    theirs = real("onek1k-subset")
    files = files_of("onek1k-subset")
    ours = read_source(make_card(7811, {"file": "example_sce.rda", "object": "example_sce"}, "rdata"), files)
    assert equal(ours.X, theirs.X)
    assert list(ours.obs.index) == list(theirs.obs_names)
    assert list(ours.var.index) == list(theirs.var_names)
    assert set(ours.obs) == {"indiv", "cell_type", "sex", "age"}
    for column in ("indiv", "cell_type"):
        assert list(ours.obs[column]) == list(theirs.obs[column])
    assert set(ours.layers) == {"logcounts"}


def test_an_experiment_without_a_matrix_says_so(make_card, save):
    files = save(experiment({"counts": S4("DelayedMatrix", {"seed": None})}, frame({}, CELLS), GENES))
    with pytest.raises(InputError) as caught:
        read_source(make_card(5, {"file": "x.rds"}, "rdata"), files)
    assert str(caught.value) == "x.rds: holds no assay that is a matrix."


# Seurat


def seurat(assays, meta, **slots):
    slots = {"reductions": []} | slots
    return S4("Seurat", {"assays": assays, "meta.data": meta, "active.assay": "SCT"} | slots)


META = pd.DataFrame({"depth": np.arange(5.0)}, index=pd.Index(CELLS, dtype=object))


def test_seurat_4_brings_counts_layers_cells_embeddings_and_antibodies(make_card, save):
    def assay(counts, genes, **more):
        features = pd.DataFrame({"variable": np.arange(len(genes))}, index=pd.Index(genes, dtype=object))
        return S4("Assay", {"counts": dgc(counts, genes), "meta.features": features} | more)

    assays = {
        "SCT": assay(COUNTS * 9, GENES),
        "RNA": assay(COUNTS, GENES, data=dgc(COUNTS * 0.5)),
        "ADT": assay(COUNTS[:2] * 2, ["CD3", "CD4"], data=dgc(COUNTS[:2], ["CD3", "CD4"])),
    }
    umap = S4("DimReduc", {"cell.embeddings": Named(np.arange(10.0).reshape(5, 2), CELLS, ["U1", "U2"])})
    ours = read_source(make_card(5, {"file": "x.rds"}, "rdata"), save(seurat(assays, META, reductions={"umap": umap})))
    assert (dense(ours.X) == COUNTS.toarray().T).all(), "the counts are those of RNA, not of what is computed from them"
    assert (dense(ours.layers["data"]) == COUNTS.toarray().T * 0.5).all()
    assert list(ours.obs["depth"]) == [0, 1, 2, 3, 4]
    assert list(ours.var["variable"]) == list(range(12))
    assert ours.obsm["X_umap"].shape == (5, 2)
    assert (dense(ours.modalities["protein"].X) == COUNTS.toarray()[:2].T * 2).all()


def log_map(names, held):
    layers = list(held)
    values = np.array([[name in held[layer] for layer in layers] for name in names])
    return Named(values, names, layers, "LogMap")


def assay_5(layers, cells, features):
    return S4(
        "Assay5",
        {"layers": layers, "cells": cells, "features": features, "meta.data": pd.DataFrame(index=pd.RangeIndex(1, 13))},
    )


def test_layers_of_seurat_5_have_their_names_beside_them(make_card, save):
    cells, features = (log_map(names, {"counts": names, "data": names}) for names in (CELLS, GENES))
    layers = {"counts": dgc(COUNTS, None, None), "data": dgc(COUNTS * 0.5, None, None)}
    ours = read_source(
        make_card(5, {"file": "x.rds"}, "rdata"), save(seurat({"RNA": assay_5(layers, cells, features)}, META))
    )
    assert (dense(ours.X) == COUNTS.toarray().T).all()
    assert (dense(ours.layers["data"]) == COUNTS.toarray().T * 0.5).all()
    assert (list(ours.obs.index), list(ours.var.index)) == (CELLS, GENES)
    assert list(ours.obs["depth"]) == [0, 1, 2, 3, 4]


def test_layers_of_seurat_5_that_were_split_are_put_together(make_card, save):
    cells = log_map(CELLS, {"counts.a": CELLS[1::2], "counts.b": CELLS[::2]})
    features = log_map(GENES, {"counts.a": GENES[:7], "counts.b": GENES})
    layers = {"counts.a": dgc(COUNTS[:7, 1::2], None, None), "counts.b": dgc(COUNTS[:, ::2], None, None)}
    ours = read_source(
        make_card(5, {"file": "x.rds"}, "rdata"), save(seurat({"RNA": assay_5(layers, cells, features)}, META))
    )
    expected = COUNTS.toarray().T.copy()
    expected[1::2, 7:] = 0
    assert (dense(ours.X) == expected).all()
    assert list(ours.obs.index) == CELLS


def test_a_real_seurat_object_is_the_same_by_itself_and_by_its_parts(make_card, mirror):
    files = {"x.rda": mirror / "068143995dc64e5f7add59b24f979d5539267a06b9b1e405df5065584169c471"}
    matrix = {"file": "x.rda", "object": "bone_marrow_genex/assays/RNA/counts", "orientation": "genes_by_cells"}
    table = {"table": {"file": "x.rda", "object": "bone_marrow_genex/meta.data"}}
    theirs = read_source(make_card(180, matrix, "rdata", obs=table), files)
    ours = read_source(make_card(180, {"file": "x.rda", "object": "bone_marrow_genex"}, "rdata"), files)
    assert (dense(ours.X) == dense(theirs.X)).all()
    assert list(ours.layers) == ["data"]
    pd.testing.assert_frame_equal(ours.obs, theirs.obs)
    assert list(ours.var.index) == list(theirs.var.index)


# ExpressionSet


def test_a_real_expression_set_is_the_same_by_itself_and_by_its_parts(make_card, real, files_of):
    theirs = real("zheng2017-pbmc14k")
    files = files_of("zheng2017-pbmc14k")
    [name] = files
    ours = read_source(make_card(3500, {"file": name, "object": "pbmc14k_expression.eset"}, "rdata"), files)
    assert equal(ours.X, theirs.X)
    assert list(ours.obs.index) == list(theirs.obs_names)
    assert list(ours.var.index) == list(theirs.var_names)
    assert list(ours.obs["trueLabel_full"]) == list(theirs.obs["trueLabel_full"])
