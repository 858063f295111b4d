"""A stranger's cells, annotated: find the counts, fit the genes to the model, call cell types, say how."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellzoo import __version__
from cellzoo.converters.counts import find_counts
from cellzoo.converters.rows import Memory, to_csr
from cellzoo.converters.streamline import onto_space
from cellzoo.errors import GenesError, InputError
from cellzoo.models.model import Model
from cellzoo.registry.fields import ORGANISMS, UNKNOWN
from cellzoo.registry.genes import GeneMapping, GeneSpace, detect_organism, map_genes

FLOOR = 0.1
"""Smallest share of a model's weight (`Model.weight`) that the genes of a file must carry."""

NAME_COLUMNS = (
    *("ensembl_id", "ensembl", "gene_ids", "gene_id", "feature_id", "ensembl_gene_id"),
    *("feature_name", "gene_symbols", "gene_symbol", "symbol", "gene_name", "gene_names", "gene"),
)
"""Columns of genes that may hold their names; the index is looked at first."""

PREFIX = "cellzoo"


@dataclass(frozen=True)
class Query:
    """A file's cells in the gene space of a model."""

    counts: sp.csr_matrix
    """Raw counts, CSR float32 (cells, genes of the space)."""
    measured: np.ndarray
    """Which genes of the space the file has, bool (genes,)."""
    notes: dict[str, Any]
    """Where the counts and the names came from, and how many genes the model knows."""

    @property
    def empty(self) -> np.ndarray:
        """Return which cells have no counts of any gene of the space, bool (cells,)."""
        return np.asarray(self.counts.getnnz(axis=1) == 0)


def prepare(model: Model, adata: anndata.AnnData, layer: str | None = None) -> Query:
    """Return the cells of an AnnData in the gene space of a model.

    Raises `InputError` for no cells, `CountsError` where no raw counts are found, `GenesError` where the genes are of
    another organism or carry less than a tenth of the model's weight.
    """
    if not adata.n_obs:
        raise InputError("the file has no cells.")
    if not adata.n_vars:
        raise GenesError("the file has no genes.")
    found = find_counts(adata, layer)
    source, names, mapping = _named(found.var, model.space)
    counts = to_csr(onto_space(Memory(found.matrix), mapping))
    measured = mapping.measured_of(found.var) | (counts.getnnz(axis=0) > 0)
    learned = model.learned
    used_genes, carried = int((measured & learned).sum()), float(model.weight[measured].sum())
    if carried < FLOOR:
        raise GenesError(_too_few(model, names, source, used_genes, carried))
    used = sp.csr_matrix(counts.multiply(learned[None, :]))
    used.eliminate_zeros()
    notes = {
        "counts": found.where,
        "gene_names": source,
        "gene_overlap": round(used_genes / int(learned.sum()), 4),
        "weight_overlap": round(carried, 4),
        "genes_of_model": int(learned.sum()),
        "genes_in_file": len(names),
        "genes_used": used_genes,
        "genes_named_twice": len(mapping.report.duplicates),
        "median_counts_per_cell": float(np.median(np.asarray(used.sum(axis=1)))),
        "cells_without_counts": int((used.getnnz(axis=1) == 0).sum()),
    }
    return Query(used, measured, notes)


def _named(var: pd.DataFrame, space: GeneSpace) -> tuple[str, list[str], GeneMapping]:
    columns = {column.lower(): column for column in map(str, var.columns)}
    candidates = {"index": var.index.astype(str).tolist()}
    candidates |= {columns[name]: var[columns[name]].astype(str).tolist() for name in NAME_COLUMNS if name in columns}
    mapped = {source: map_genes(names, space.organism, space) for source, names in candidates.items()}
    best = max(mapped, key=lambda source: int(mapped[source].summary(0)["genes"]))  # the first of equals: the index
    return best, candidates[best], mapped[best]


def _too_few(model: Model, names: Sequence[str], source: str, used: int, carried: float) -> str:
    organism, known = detect_organism(names)
    learned = int(model.learned.sum())
    message = (
        f"the file has {used} of the {learned} genes that {model.name or 'the model'} learned from "
        f"({used / learned:.1%}); they carry {carried:.1%} of its weight, at least {FLOOR:.0%} are needed. "
        f"The names were taken from {source!r}, for example {list(names[:3])}."
    )
    if organism is not None and organism != model.space.organism:
        mine, yours = ORGANISMS[model.space.organism], ORGANISMS[organism]
        return f"{message} These look like {yours} genes ({known[organism]:.0%} are); the model is for {mine}."
    return f"{message} Give a file with the whole transcriptome, with Ensembl ids or symbols as gene names."


def annotate(model: Model, adata: anndata.AnnData, threshold: float, layer: str | None = None) -> anndata.AnnData:
    """Return a copy of ``adata`` with cell types in obs, the embedding in obsm, and how it was done in uns["cellzoo"].

    obs["cellzoo_cell_type"], ["cellzoo_cell_type_ontology_term_id"] and ["cellzoo_cell_type_probability"]: the deepest
    term whose summed probability reaches ``threshold``, in (0, 1]; ``unknown`` where no term that says something does,
    and for cells without counts. obs["cellzoo_leaf_cell_type_ontology_term_id"] and ["cellzoo_leaf_probability"]: the
    likeliest leaf. Each cell's call depends on that cell alone.
    """
    if model.labels is None:
        raise InputError(f"{model.name or model.topology}: is an embedding; use `cellzoo embed`.")
    if not 0 < threshold <= 1:
        raise InputError(f"threshold is {threshold}, expected more than 0 and at most 1.")
    query = prepare(model, adata, layer)
    probability = model.probabilities(query.counts, query.measured)
    terms, score = model.labels.call(probability, threshold)
    leaf = probability.argmax(axis=1)
    leaf_terms = np.asarray(model.labels.leaves, dtype=object)[leaf]
    leaf_score = probability[np.arange(len(leaf)), leaf]
    empty = query.empty
    terms[empty], leaf_terms[empty] = UNKNOWN, UNKNOWN
    score[empty], leaf_score[empty] = 0.0, 0.0
    out = adata.copy()
    obs = out.obs
    obs[f"{PREFIX}_cell_type"] = pd.Categorical([model.labels.label(term) for term in terms])
    obs[f"{PREFIX}_cell_type_ontology_term_id"] = pd.Categorical(terms)
    obs[f"{PREFIX}_cell_type_probability"] = score.astype(np.float32)
    obs[f"{PREFIX}_leaf_cell_type_ontology_term_id"] = pd.Categorical(leaf_terms)
    obs[f"{PREFIX}_leaf_probability"] = leaf_score.astype(np.float32)
    out.obsm[model.key] = model.codes(query.counts, query.measured)
    calls = {"threshold": threshold, "cells_unknown": int((terms == UNKNOWN).sum())}
    out.uns[PREFIX] = _provenance(model, query, calls)
    return out


def embed(model: Model, adata: anndata.AnnData, layer: str | None = None) -> anndata.AnnData:
    """Return a copy of ``adata`` with the model's embedding in obsm and how it was done in uns["cellzoo"]."""
    query = prepare(model, adata, layer)
    out = adata.copy()
    out.obsm[model.key] = model.codes(query.counts, query.measured)
    out.uns[PREFIX] = _provenance(model, query, {})
    return out


def reconstruct(model: Model, adata: anndata.AnnData, layer: str | None = None) -> anndata.AnnData:
    """Return the counts a reconstruction model expects, dense float32, over the genes it learned from."""
    query = prepare(model, adata, layer)
    genes = np.flatnonzero(model.learned)
    var = pd.DataFrame({"feature_name": model.space.symbols[genes]}, index=pd.Index(model.space.ids[genes]))
    means = model.means(query.counts, query.measured)[:, genes]
    return anndata.AnnData(means, obs=adata.obs.copy(), var=var, uns={PREFIX: _provenance(model, query, {})})


def _provenance(model: Model, query: Query, more: dict[str, Any]) -> dict[str, Any]:
    return {
        "model": model.name or "not published",
        "commit": model.commit or "not published",
        "topology": str(model.topology),
        "gene_space": model.space.name,
        "gene_space_sha256": model.space.sha256,
        "cellzoo_version": __version__,
        "about": json.dumps(model.about),
        **query.notes,
        **more,
    }
