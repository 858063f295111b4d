"""R data: a matrix by its path, or a SingleCellExperiment, Seurat object or ExpressionSet with all of its cells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellzoo.converters.celldata import CellData
from cellzoo.converters.formats.features import KIND_OF
from cellzoo.converters.formats.files import Files, Found
from cellzoo.converters.formats.text import data
from cellzoo.converters.rdata_objects import r_children, r_classes, r_frame, r_kind, r_matrix, r_object
from cellzoo.converters.rows import Memory
from cellzoo.errors import InputError
from cellzoo.registry.reading import Matrix

COUNTS = ("counts", "umi", "UMI", "raw", "exprs")
"""Names of an assay that holds counts, the first that is there; else the first assay."""


def read(spec: Matrix, found: Found, files: Files) -> CellData:
    """Return a matrix of R data, or the counts of an object that holds cells, its other assays as layers."""
    with found.path(unpack=False) as path:
        node = r_object(path, spec.object, found.name)
    where = f"{found.name}: {spec.object}" if spec.object else found.name
    classes = r_classes(node)
    if "Seurat" in classes:
        return _seurat(node, where)
    if any(name.endswith("ExpressionSet") for name in classes):
        return _expression_set(node, where)
    if any(name.endswith(("SingleCellExperiment", "SummarizedExperiment", "SpatialExperiment")) for name in classes):
        return _experiment(node, where)
    matrix, rows, columns = r_matrix(node, where)
    if spec.orientation == "genes_by_cells":
        matrix, rows, columns = matrix.T, columns, rows
    return data(rows, columns, Memory(matrix))


def _experiment(node: Any, where: str) -> CellData:
    """Return a SummarizedExperiment or what is built on it."""
    slots = r_children(node)
    obs = _frame(slots.get("colData"), f"{where}/colData")
    features = slots.get("elementMetadata")
    names = _vector(slots.get("NAMES"))
    if "rowRanges" in slots:
        ranges = r_children(slots["rowRanges"])
        features = ranges.get("elementMetadata", features)
        names = _vector(r_children(ranges.get("partitioning", ranges.get("ranges"))).get("NAMES"))
    var = _frame(features, f"{where}/rowData")
    assays = r_children(slots["assays"])
    while not any(map(_is_matrix, assays.values())) and (inner := assays.get("data", assays.get(".xData"))) is not None:
        assays = r_children(inner)
    known = (names, list(obs.index) if _is_named(obs) else None)
    found = _assays({name: part for name, part in assays.items() if _is_matrix(part)}, where, known, obs, var)
    inner = r_children(r_children(slots.get("int_colData")))
    found.obsm |= _arrays(r_children(inner.get("reducedDims")))
    for name, part in r_children(inner.get("altExps")).items():
        if (kind := KIND_OF.get(name.lower())) in {"protein", "peak"} and (other := r_children(part).get("se")):
            found.modalities[str(kind)] = _experiment(other, f"{where}/altExps/{name}")
    return found


def _seurat(node: Any, where: str) -> CellData:
    """Return a Seurat object of version 3, 4 or 5: its active assay, proteins and peaks beside it."""
    slots = r_children(node)
    assays = r_children(slots["assays"])
    obs = _frame(slots["meta.data"], f"{where}/meta.data")
    active = str(np.atleast_1d(slots.get("active.assay", next(iter(assays))))[0])
    active = "RNA" if "RNA" in assays else active  # SCT and integrated are computed from it
    if active not in assays:
        raise InputError(f"{where}: has no assay {active!r}, found {sorted(assays)}.")
    found = _seurat_assay(assays[active], f"{where}/assays/{active}", obs)
    reductions = {
        name: r_children(part).get("cell.embeddings") for name, part in r_children(slots["reductions"]).items()
    }
    found.obsm |= _arrays(reductions)
    for name, part in assays.items():
        if name != active and (kind := KIND_OF.get(name.lower())) in {"protein", "peak"}:
            found.modalities[str(kind)] = _seurat_assay(part, f"{where}/assays/{name}", obs[[]])
    return found


def _seurat_assay(node: Any, where: str, obs: pd.DataFrame) -> CellData:
    slots = r_children(node)
    var = _frame(slots.get("meta.features", slots.get("meta.data")), f"{where}/meta.features")
    if "layers" not in slots:  # before version 5
        parts = {name: slots[name] for name in ("counts", "data") if _is_matrix(slots.get(name)) and _size(slots[name])}
        return _assays(parts, where, (None, list(obs.index)), obs, var)
    (cells, of_cells), (features, of_features) = (
        _log_map(slots[name], f"{where}/{name}") for name in ("cells", "features")
    )
    place = {
        "cell": {name: at for at, name in enumerate(cells)},
        "feature": {name: at for at, name in enumerate(features)},
    }
    whole: dict[str, Any] = {}
    for name, part in r_children(slots["layers"]).items():
        known = (of_features.get(name, features), of_cells.get(name, cells))
        matrix, rows, columns = r_matrix(part, f"{where}/layers/{name}", known)
        at = ([place["cell"][one] for one in columns], [place["feature"][one] for one in rows])
        coo = matrix.T.tocoo()
        values = (coo.data, (np.asarray(at[0])[coo.row], np.asarray(at[1])[coo.col]))
        placed = sp.csr_matrix(values, shape=(len(cells), len(features)))
        kind = name.partition(".")[0]  # counts.sample1, counts.sample2: one layer in parts
        whole[kind] = whole[kind] + placed if kind in whole else placed
    whole.pop("scale", None)
    chosen = _chosen(whole, where)
    found = data(cells, features, Memory(whole.pop(chosen)))
    found.layers = {name: Memory(matrix) for name, matrix in whole.items()}
    found.obs, found.var = obs.reindex(found.obs.index), _over(var, features)
    return found


def _log_map(node: Any, where: str) -> tuple[list[str], dict[str, list[str]]]:
    """Return the names in a LogMap, and those of each layer: a logical matrix of names by layers."""
    node = vars(node).get(".Data", node) if hasattr(node, ".Data") else node
    if not hasattr(node, "coords") or node.ndim != 2:
        raise InputError(f"{where}: is {r_kind(node)}, expected a LogMap of names by layers.")
    names, layers = (list(map(str, node.coords[dim].values)) for dim in node.dims)
    values = np.asarray(node.values, dtype=bool)
    return names, {
        layer: [name for name, held in zip(names, values[:, at], strict=True) if held]
        for at, layer in enumerate(layers)
    }


def _expression_set(node: Any, where: str) -> CellData:
    slots = r_children(node)
    obs, var = (
        _frame(r_children(slots[name]).get("data"), f"{where}/{name}/data") for name in ("phenoData", "featureData")
    )
    parts = {name: part for name, part in r_children(slots["assayData"]).items() if _is_matrix(part)}
    return _assays(parts, where, (list(var.index), list(obs.index)), obs, var)


def _assays(
    parts: Mapping[str, Any], where: str, known: tuple[Any, Any], obs: pd.DataFrame, var: pd.DataFrame
) -> CellData:
    """Return matrices (genes, cells) as X and layers, with the columns of cells and genes of the object they are of."""
    if not parts:
        raise InputError(f"{where}: holds no assay that is a matrix.")
    chosen = _chosen(parts, where)
    matrix, genes, cells = r_matrix(parts[chosen], f"{where}: {chosen}", known)
    found = data(cells, genes, Memory(matrix.T))
    for name, part in parts.items():
        other, other_genes, other_cells = r_matrix(part, f"{where}: {name}", (genes, cells))
        if name != chosen and (other_genes, other_cells) == (genes, cells):
            found.layers[name] = Memory(other.T)
    found.obs, found.var = _over(obs, cells), _over(var, genes)
    return found


def _chosen(parts: Mapping[str, Any], where: str) -> str:
    if not parts:
        raise InputError(f"{where}: holds no matrix.")
    return next((name for name in COUNTS if name in parts), next(iter(parts)))


def _over(frame: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Return the columns of an axis under the names of the matrix."""
    if len(frame) != len(names):
        return pd.DataFrame(index=pd.Index(names, dtype=object)) if frame.empty else frame.reindex(names)
    if _is_named(frame) and sorted(frame.index) == sorted(names) and frame.index.is_unique:
        return frame.reindex(names)
    return frame.set_axis(pd.Index(names, dtype=object), axis=0)


def _is_named(frame: pd.DataFrame) -> bool:
    return not isinstance(frame.index, pd.RangeIndex) and len(frame) > 0


def _frame(node: Any, where: str) -> pd.DataFrame:
    """Return a data frame of R, names of rows as text; empty where it has no column."""
    members = getattr(node, "listData", None)
    if node is None or (members is not None and not members):
        names = _vector(getattr(node, "rownames", None))
        return pd.DataFrame(index=None if names is None else pd.Index(names, dtype=object))
    frame = r_frame(node, where)
    return frame if isinstance(frame.index, pd.RangeIndex) else frame.set_axis(frame.index.astype(str), axis=0)


def _vector(node: Any) -> list[str] | None:
    return None if node is None or isinstance(node, str) or not len(node) else list(map(str, np.asarray(node)))


def _arrays(parts: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return embeddings by name, as AnnData calls them."""
    found = {name: np.asarray(getattr(part, "values", part)) for name, part in parts.items() if part is not None}
    return {
        f"X_{name.lower()}": array for name, array in found.items() if array.ndim == 2 and array.dtype.kind in "fiu"
    }


def _is_matrix(node: Any) -> bool:
    return hasattr(node, "Dim") or isinstance(node, pd.DataFrame) or getattr(node, "ndim", 0) == 2


def _size(node: Any) -> int:
    shape = getattr(node, "Dim", None)
    return int(np.prod(np.asarray(node.shape if shape is None else shape)))
