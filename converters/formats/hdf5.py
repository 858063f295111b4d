"""HDF5 files of single cells: h5ad, h5mu, Cell Ranger's matrices and Loom; matrices stay in the file where they can."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellzoo.converters.celldata import CellData
from cellzoo.converters.formats.features import feature_types, split_features
from cellzoo.converters.formats.files import Files, Found, reading
from cellzoo.converters.h5ad import HDF5, check_own, open_group, read_h5ad
from cellzoo.converters.rows import Stored, columns
from cellzoo.converters.transpose import settled
from cellzoo.errors import InputError
from cellzoo.registry.reading import Matrix, Names

if TYPE_CHECKING:
    import h5py

CELL_NAMES = ("CellID", "obs_names", "cell_names", "cell_id", "barcode", "barcodes")
GENE_NAMES = ("Gene", "var_names", "gene_names", "gene", "Accession")
"""Attributes of a Loom file that usually hold the names; ``read.matrix.cells`` and ``features`` name others."""


def read_anndata(spec: Matrix, found: Found, files: Files) -> CellData:
    """Return an h5ad file."""
    import h5py

    def read(path: Path, file: h5py.File) -> CellData:
        if any(isinstance(file.get(axis), h5py.Dataset) for axis in ("obs", "var")):  # before anndata 0.7
            return CellData.of(read_h5ad(path))
        if missing := [axis for axis in ("obs", "var") if axis not in file]:
            raise InputError(f"{found.name}: is HDF5 but not h5ad: it has no {missing[0]}, only {_held(file)}.")
        return open_group(path, file)

    return _opened(found, "h5ad", read)


def read_mudata(spec: Matrix, found: Found, files: Files) -> CellData:
    """Return a modality of an h5mu file, with the columns of cells that stand above all modalities."""

    def read(path: Path, file: h5py.File) -> CellData:
        from anndata.io import read_elem

        if "mod" not in file:
            raise InputError(f"{found.name}: is HDF5 but not h5mu: it has no mod, only {_held(file)}.")
        name = _chosen(spec.object, list(file["mod"]), found.name, "modality", "modalities")
        data = open_group(path, file["mod"][name])
        above = read_elem(file["obs"]) if "obs" in file else pd.DataFrame(index=data.obs.index)
        below = tuple(f"{modality}:" for modality in file["mod"])  # MuData's copies of columns of a modality
        new = [column for column in above if column not in data.obs and not str(column).startswith(below)]
        return data.with_(obs=data.obs.join(above[new])) if new else data

    return _opened(found, "h5mu", read)


class Barcodes(Stored):
    """A matrix (features, barcodes) of Cell Ranger by columns, so by cells: its shape is a data set."""

    def __init__(self, path: Path, key: str) -> None:
        self.path, self.key, self.turned, self.dense = path, key, False, False
        shape = self._node["shape"][:]
        self.shape, self.dtype = (int(shape[1]), int(shape[0])), self._node["data"].dtype


def read_10x(spec: Matrix, found: Found, files: Files) -> CellData:
    """Return a matrix of Cell Ranger: of version 3 the features of a genome or all, of version 2 one genome."""
    import h5py

    def read(path: Path, file: h5py.File) -> CellData:
        if isinstance(file.get("matrix"), h5py.Group) and "features" in file["matrix"]:
            return _version_3(spec, found, path, file["matrix"])
        genomes = [name for name, node in file.items() if isinstance(node, h5py.Group) and "barcodes" in node]
        if not genomes:
            raise InputError(f"{found.name}: is HDF5 but not of Cell Ranger: it has no matrix, only {_held(file)}.")
        group = file[_chosen(spec.object, genomes, found.name, "genome", "genomes")]
        names = {"gene_ids": _text(group["genes"]), "name": _text(group["gene_names"])}
        return _with_names(found, path, group, names)

    return _opened(found, "10x HDF5", read)


def _version_3(spec: Matrix, found: Found, path: Path, group: h5py.Group) -> CellData:
    features = group["features"]
    said = {"id": "gene_ids", "name": "name", "feature_type": "feature_types"}
    names = {
        said.get(key, key): _text(node) for key, node in features.items() if len(node.shape) == 1 and key[0] != "_"
    }
    data = _with_names(found, path, group, names)
    if spec.object is not None:
        genome = data.var["genome"].to_numpy() if "genome" in data.var else np.empty(0)
        at = np.flatnonzero(genome == _chosen(spec.object, sorted({*genome} - {""}), found.name, "genome", "genomes"))
        data = data.with_(var=data.var.iloc[at], X=columns(Barcodes(path, group.name), at))
    if "feature_types" not in data.var:
        return data
    data.var["feature_type"] = feature_types(data.var["feature_types"])
    return split_features(data, "feature_type")


def _with_names(found: Found, path: Path, group: h5py.Group, names: dict[str, Any]) -> CellData:
    index = names.pop("name")
    rows, barcodes = Barcodes(path, group.name), _text(group["barcodes"])
    if rows.shape != (len(barcodes), len(index)):
        message = f"the matrix has {rows.shape[0]} barcodes and {rows.shape[1]} features"
        raise InputError(f"{found.name}: {message}, names there are {len(barcodes)} and {len(index)}.")
    var = pd.DataFrame(names, index=pd.Index(index, dtype=object))
    return CellData(obs=pd.DataFrame(index=pd.Index(barcodes, dtype=object)), var=var, X=rows)


def read_loom(spec: Matrix, found: Found, files: Files) -> CellData:
    """Return a Loom file: its main matrix as X, its layers, attributes of cells and genes; (cells, n) ones as obsm."""

    def read(path: Path, file: h5py.File) -> CellData:
        if "matrix" not in file or "row_attrs" not in file or "col_attrs" not in file:
            raise InputError(
                f"{found.name}: is HDF5 but not Loom: it has no matrix with attributes, only {_held(file)}."
            )
        obs, obsm = _attributes(file["col_attrs"], spec.cells, CELL_NAMES, f"{found.name}: cells")
        var, varm = _attributes(file["row_attrs"], spec.features, GENE_NAMES, f"{found.name}: features")
        if file["matrix"].shape != (len(var), len(obs)):
            message = f"the matrix is {file['matrix'].shape}, with {len(var)} gene and {len(obs)} cell names"
            raise InputError(f"{found.name}: {message}.")
        layers = {name: Stored(path, f"layers/{name}", turned=True) for name in file.get("layers", ())}
        obsp = {name: _graph(node, len(obs)) for name, node in file.get("col_graphs", {}).items()}
        varp = {name: _graph(node, len(var)) for name, node in file.get("row_graphs", {}).items()}
        X = Stored(path, "matrix", turned=True)
        return CellData(obs, var, X, dict(layers), None, obsm, varm, obsp, varp)

    return _opened(found, "Loom", read)


def _attributes(
    group: h5py.Group, names: Names | None, usual: Iterable[str], where: str
) -> tuple[pd.DataFrame, dict[str, Any]]:
    named = names.column if names else None
    values = {name: _text(node) for name, node in group.items()}
    found = [name for name in ([named] if isinstance(named, str) else usual) if name in values]
    if not found:
        wanted = f"attribute {named!r}" if isinstance(named, str) else "attribute with names"
        axis = where.rpartition(" ")[2]
        raise InputError(f"{where}: no {wanted}; found {list(values)}. Name it in read.matrix.{axis}.column.")
    index = pd.Index(values.pop(found[0]).astype(str), dtype=object)
    frame = pd.DataFrame({name: value for name, value in values.items() if value.ndim == 1}, index=index)
    return frame, {name: value for name, value in values.items() if value.ndim > 1}


def _graph(group: h5py.Group, size: int) -> sp.csr_matrix:
    return sp.csr_matrix((group["w"][:], (group["a"][:], group["b"][:])), shape=(size, size))


def _text(node: Any) -> np.ndarray:
    """Return a data set, text decoded."""
    import h5py

    if h5py.check_string_dtype(node.dtype) is not None:
        return np.asarray(node.asstr()[:], dtype=object)
    return np.asarray(node[:])


def _chosen(wanted: str | None, there: list[str], where: str, one: str, many: str) -> str:
    if wanted is None and len(there) == 1:
        return there[0]
    if wanted is None:
        raise InputError(f"{where}: holds the {many} {there}; say which in read.matrix.object.")
    if wanted not in there:
        raise InputError(f"{where}: has no {one} {wanted!r}, found {there}.")
    return wanted


def _held(file: h5py.Group) -> str:
    return ", ".join(file) or "nothing"


def _opened(found: Found, kind: str, read: Callable[[Path, Any], CellData]) -> CellData:
    """Return what is read of an HDF5 file; what lies in an archive is taken out of it."""
    import h5py

    with found.path() as path:
        with path.open("rb") as stream:
            head = stream.read(len(HDF5))
        if head != HDF5 and not h5py.is_hdf5(path):  # h5mu has text before it
            message = f"is not an {kind} file: it starts with {head!r}, HDF5 starts with \\x89HDF"
            raise InputError(f"{found.name}: {message}.")
        what = f"{found.name}: cannot be read as {kind}"
        with reading(what, anything=True, hint="The file may be truncated."), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old files: index types, deprecated encodings
            with h5py.File(path) as file:
                check_own(file)
                data = read(path, file)
            return data if found.lasting else settle(data)


def settle(data: CellData) -> CellData:
    """Return data whose matrices no longer need the file they were read from."""
    modalities = {name: settle(part) for name, part in data.modalities.items()}
    return data.with_matrices(settled).with_(modalities=modalities)
