"""AnnData in HDF5: read whole or by ranges of cells, written block by block; several modalities are written as h5mu."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
import pandas as pd
from pandas.api.types import infer_dtype

from cellzoo import __version__
from cellzoo.converters.celldata import MODALITIES, CellData, Raw
from cellzoo.converters.fetch import Progress
from cellzoo.converters.formats.files import reading
from cellzoo.converters.rows import Rows, Stored, blocks, check_pointers
from cellzoo.converters.transpose import turned
from cellzoo.converters.write import replacing
from cellzoo.errors import InputError

if TYPE_CHECKING:
    import h5py

HDF5 = b"\x89HDF\r\n\x1a\n"
CHUNK, AT_ONCE = 2**16, 2**22
"""Values in one compressed piece of a matrix, and values that are copied together."""
SHORT = 2**31
"""Values from which on the places in a matrix need 64 bits."""
EXACT = 2**53
"""The largest whole number up to which float64 has all."""
USER_BLOCK = 512
"""Bytes before the HDF5 of an h5mu, where mudata looks for the name of the format."""
H5MU = "0.1.0"
AXES = ("obsm", "varm", "obsp", "varp")


def read_h5ad(path: Path) -> anndata.AnnData:
    """Return an h5ad file in memory; what is not one is an `InputError`, not a stack of HDF5 errors."""
    import h5py

    with _reading(path):
        with h5py.File(path) as file:
            check_own(file)
            _check_anndata(file, path)
        return anndata.read_h5ad(path)


def open_h5ad(path: Path) -> CellData:
    """Return an h5ad file with its axes in memory and its matrices by ranges of cells; `InputError` as `read_h5ad`.

    Files of before anndata 0.7 are read whole.
    """
    import h5py

    with _reading(path), h5py.File(path) as file:
        check_own(file)
        _check_anndata(file, path)
        if isinstance(file.get("obs"), h5py.Group) and isinstance(file.get("var"), h5py.Group):
            return open_group(path, file)
    return CellData.of(read_h5ad(path))


def check_own(file: h5py.File) -> None:
    """Raise `InputError` where an HDF5 file takes its values from another file: it could name any on this machine."""
    import h5py

    links: list[tuple[str, Any]] = []
    file.visititems_links(lambda name, link: links.append((name, link)))  # an error in there would upset HDF5
    for name, link in links:
        if isinstance(link, h5py.ExternalLink):
            raise InputError(f"{name}: is a link into another file, {link.filename!r}. Copy the values into this one.")
        node = file[name] if isinstance(link, h5py.HardLink) else None
        if isinstance(node, h5py.Dataset) and (node.external or node.is_virtual):
            raise InputError(f"{name}: has its values in another file. Copy them into this one.")


def _check_anndata(file: h5py.File, path: Path) -> None:
    if missing := {"obs", "var"} - set(file):
        message = f"is HDF5 but no AnnData: it has no {' and no '.join(sorted(missing))}, only {sorted(file)[:10]}"
        raise InputError(f"{path}: {message}.{hint_of(file)}")


def hint_of(file: h5py.File) -> str:
    """Return how a file that is no h5ad is made one, "" where nobody knows."""
    if "matrix" in file and "shape" in file["matrix"]:
        return (
            " It is one of 10x: scanpy.read_10x_h5(path) reads it; call var_names_make_unique() on what it gives, write"
            " that with .write_h5ad(...), and pass the new file."
        )
    return ""


def open_group(path: Path, group: h5py.Group, matrix: Callable[[Path, Any], Rows] | None = None) -> CellData:
    """Return the AnnData in a group of an HDF5 file: the whole file, or a modality of h5mu.

    ``matrix`` opens a matrix where the group is not of HDF5 but of Zarr.
    """
    from anndata.io import read_elem

    matrix = matrix or stored

    def parts(name: str) -> dict[str, Any]:
        return {key: read_elem(group[name][key]) for key in group.get(name, ())}

    raw = None
    if "raw" in group and _has_values(group["raw"]):
        varm = {key: read_elem(group["raw/varm"][key]) for key in group.get("raw/varm", ())}
        raw = Raw(matrix(path, group["raw/X"]), read_elem(group["raw/var"]), varm)
    return CellData(
        obs=read_elem(group["obs"]),
        var=read_elem(group["var"]),
        X=matrix(path, group["X"]) if "X" in group and _has_values(group["X"]) else None,
        layers={name: matrix(path, group["layers"][name]) for name in group.get("layers", ())},
        raw=raw,
        uns=read_elem(group["uns"]) if "uns" in group else {},
        **{name: parts(name) for name in AXES},
    )


def _has_values(node: Any) -> bool:
    return str(node.attrs.get("encoding-type", "")) != "null"


def stored(path: Path, node: h5py.Group | h5py.Dataset) -> Rows:
    """Return a matrix of an HDF5 file by ranges of cells; a column-wise one is turned first."""
    kind = str(node.attrs.get("encoding-type", node.attrs.get("h5sparse_format", "")))
    if not kind.startswith("csc"):
        return Stored(path, node.name)
    shape = node.attrs.get("shape", node.attrs.get("h5sparse_shape"))
    try:
        if lost := sorted({"indptr", "indices", "data"} - set(node)):
            raise ValueError(f"has no {' and no '.join(lost)}")
        ends, indices, data = node["indptr"][:], node["indices"], node["data"]
        check_pointers(ends, int(shape[1]), min(data.shape[0], indices.shape[0]))
    except ValueError as error:
        raise InputError(f"{path}: {node.name.lstrip('/')}: {error}. The file is damaged.") from error
    return turned(ends, indices, data, int(shape[0]))


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    if not path.is_file():
        raise InputError(f"{path}: {'is a folder, expected a file' if path.is_dir() else 'there is no such file'}.")
    with path.open("rb") as stream:
        head = stream.read(8)
    if head != HDF5:
        raise InputError(f"{path}: is not an h5ad file: it starts with {head[:8]!r}, HDF5 starts with \\x89HDF.")
    what = f"{path}: cannot be read as h5ad"
    with reading(what, anything=True, hint="The file may be truncated."), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old files: index types, deprecated encodings
        yield


def write_h5ad(data: CellData, path: Path, progress: Progress | None = None) -> Path:
    """Write data block by block, gzip-compressed, and return the path; with further modalities an h5mu is written."""
    with _new_file(path, USER_BLOCK if data.modalities else None) as (file, disk):

        def wrote(matrix: str, cells: int, of: int) -> None:
            disk.check()
            if progress:
                progress(f"{path.name}: {matrix}", cells, of)

        if data.modalities:
            _write_h5mu(data, file, wrote)
            file.close()
            disk.seek(0)
            disk.write(f"MuData (format-version={H5MU};creator=cellzoo;creator-version={__version__})".encode())
        else:
            write_group(data, file, wrote)
    return path


def write_anndata(adata: anndata.AnnData, path: Path) -> Path:
    """Write an AnnData in memory as it is, gzip-compressed, and return the path."""
    from anndata.io import write_elem

    adata.strings_to_categoricals()
    if adata.raw is not None:
        adata.strings_to_categoricals(adata.raw.var)
    with _new_file(path) as (file, _):
        write_elem(file, "/", adata, dataset_kwargs={"compression": "gzip"})
    return path


@contextmanager
def _new_file(path: Path, user_block: int | None = None) -> Iterator[tuple[h5py.File, _Disk]]:
    """Give an HDF5 file, and what it is written to, that is moved to ``path`` once it is whole."""
    import h5py

    with replacing(path) as temporary, _Disk(temporary, "w+") as disk:
        with h5py.File(disk, "w", userblock_size=user_block) as file:
            yield file, disk
        disk.check()


class _Disk(io.FileIO):
    """A file that remembers when it could not be written: HDF5 crashes the process when told so as it closes.

    What the disk did not take is kept and read back, or HDF5 would crash on what it finds in its place.
    """

    failed: OSError | None = None

    def __init__(self, path: Path, mode: str) -> None:
        super().__init__(path, mode)
        self._kept: list[tuple[int, bytes]] = []

    def write(self, data: Any) -> int:
        """Write all of ``data``, or keep it where the disk is full."""
        left = memoryview(data).cast("B")
        size, start = len(left), self.tell()
        with self._remembering():
            while left and not self.failed:
                left = left[super().write(left) :]
        if self.failed:
            self._kept.append((start, bytes(data)))
        return size

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer`` with what is in the file, and over it what the disk did not take."""
        view, start = memoryview(buffer).cast("B"), self.tell()
        got = super().readinto(view) or 0
        for at, data in self._kept:
            first, last = max(at, start), min(at + len(data), start + len(view))
            if first < last:
                view[first - start : last - start] = data[first - at : last - at]
                got = max(got, last - start)
        return got

    def truncate(self, size: int | None = None) -> int:
        """Set the size of the file, or leave it where the disk is full."""
        with self._remembering():
            super().truncate(size)
        return size or 0

    def flush(self) -> None:
        """Do nothing: every write has been made."""

    @contextmanager
    def _remembering(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.failed = self.failed or error

    def check(self) -> None:
        """Raise what kept the file from being written."""
        if self.failed:
            raise self.failed


def write_group(data: CellData, group: h5py.Group, wrote: Progress = lambda *_: None) -> None:
    """Write data as an AnnData into a group of an HDF5 file; ``wrote`` is told of each block."""
    group.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
    _write(group, "obs", typed(data.obs))
    _write(group, "var", typed(data.var))
    if data.X is not None:
        write_rows(group, "X", data.X, wrote)
    _write(group, "layers", {})
    for name, rows in data.layers.items():
        write_rows(group["layers"], name, rows, wrote)
    if data.raw is not None:
        raw = group.create_group("raw")
        raw.attrs.update({"encoding-type": "raw", "encoding-version": "0.1.0"})
        write_rows(raw, "X", data.raw.X, wrote)
        _write(raw, "var", typed(data.raw.var))
        _write(raw, "varm", data.raw.varm)
    for name in AXES:
        _write(group, name, getattr(data, name))
    _write(group, "uns", data.uns)


def nullable(dtype: np.dtype[Any]) -> Any:
    """Return the type of pandas that holds whole numbers, or truth values, of a type of NumPy, and missing ones."""
    return pd.array(np.zeros(0, dtype)).dtype


def typed(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose columns of objects have the type of what they hold.

    Texts with gaps become categories, as anndata makes them; numbers and truth values are such, nullable with gaps.
    """
    found = {name: kind for name in frame if frame[name].dtype == object and (kind := _type_of(frame[name]))}
    return frame.astype(found) if found else frame


def _type_of(column: pd.Series) -> str:
    """Return the type that holds the values of a column of objects, "" where it stays as it is."""
    kind, gaps = infer_dtype(column, skipna=True), bool(column.isna().any())
    if kind == "string":
        return "category" if gaps else ""
    if kind == "boolean":
        return "boolean" if gaps else "bool"
    if kind == "integer" and all(-(2**63) <= one < 2**63 for one in column.dropna()):
        return "Int64" if gaps else "int64"
    exact = kind == "floating" or (
        kind == "mixed-integer-float"
        and all(isinstance(one, float | np.floating) or abs(one) <= EXACT for one in column.dropna())
    )
    return "float64" if exact else ""


def mixed_columns(frame: pd.DataFrame) -> list[Any]:
    """Return the columns of a table whose values are of several types; missing ones are of none."""
    return [name for name in frame if str(infer_dtype(frame[name], skipna=True)).startswith("mixed")]


def dates(frame: pd.DataFrame) -> list[Any]:
    """Return the columns of a table that hold dates or durations, which AnnData has no place for."""
    return [name for name in frame if getattr(frame[name].dtype, "kind", "") in "mM"]


def _write(group: h5py.Group, name: str, value: Any) -> None:
    from anndata.io import write_elem

    place = f"{group.name.rstrip('/')}/{name}"
    if isinstance(value, pd.DataFrame) and (found := dates(value)):
        which = ", ".join(map(repr, found))
        raise InputError(f"{place}: cannot be written to HDF5: {which} hold dates or durations. Make them text.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # keys with a slash, nullable strings
        try:
            write_elem(group, name, value, dataset_kwargs={"compression": "gzip"} if name in AXES else {})
        except (TypeError, ValueError, NotImplementedError) as error:
            mixed = list(map(repr, mixed_columns(value))) if isinstance(value, pd.DataFrame) else []
            where = f" in column {', '.join(mixed)}" if mixed else ""
            message = f"cannot be written to HDF5: {error}{where}. Make it text, numbers or categories of one type."
            raise InputError(f"{place}: {message}") from error


def write_rows(group: h5py.Group, name: str, rows: Rows, wrote: Progress = lambda *_: None) -> None:
    """Write a matrix as a CSR group of AnnData, block by block; ``wrote`` is told its name, cells so far and in all."""
    node = group.create_group(name)
    node.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0"})
    node.attrs["shape"] = np.asarray(rows.shape, dtype=np.int64)
    growing: Mapping[str, Any] = {"shape": (0,), "maxshape": (None,), "chunks": (CHUNK,), "compression": "gzip"}
    values = node.create_dataset("data", dtype=rows.dtype, **growing)
    features = node.create_dataset("indices", dtype=np.int32, **growing)
    ends = np.zeros(rows.shape[0] + 1, dtype=np.int64)
    for start, block in blocks(rows):
        filled = int(ends[start])
        ends[start + 1 : start + block.shape[0] + 1] = filled + block.indptr[1:]
        for node_part, new in ((values, block.data), (features, block.indices)):
            node_part.resize((filled + block.nnz,))
            node_part[filled:] = new
        wrote(node.name.lstrip("/"), start + block.shape[0], rows.shape[0])
    short = ends[-1] < SHORT
    node.create_dataset("indptr", data=ends.astype(np.int32) if short else ends, compression="gzip")
    if not short:
        _widen(node, growing)


def _widen(node: h5py.Group, growing: Mapping[str, Any]) -> None:
    """Write the indices of a CSR group again in the type of its pointers: SciPy's loops take both in one type alone."""
    narrow = node["indices"]
    del node["indices"]
    wide = node.create_dataset("indices", dtype=np.int64, **growing)
    wide.resize(narrow.shape)
    for start in range(0, len(narrow), AT_ONCE):
        wide[start : start + AT_ONCE] = narrow[start : start + AT_ONCE]


def _write_h5mu(data: CellData, file: h5py.File, wrote: Progress) -> None:
    """Write the modalities, and above them what `mudata` expects to find about all of them."""
    import mudata

    parts = {MODALITIES["gene"]: data.with_(modalities={})}
    parts |= {MODALITIES[name]: part for name, part in data.modalities.items()}
    empty = {
        name: anndata.AnnData(obs=pd.DataFrame(index=part.obs.index), var=pd.DataFrame(index=part.var.index))
        for name, part in parts.items()
    }
    with mudata.set_options(pull_on_update=False), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = mudata.MuData(empty)
    file.attrs.update({"encoding-type": "MuData", "encoding-version": H5MU, "axis": 0})
    for name, value in {"obs": whole.obs, "var": whole.var, "uns": {}}.items():
        _write(file, name, value)
    for name in (*AXES, "obsmap", "varmap"):
        _write(file, name, dict(getattr(whole, name)))
    mod = file.create_group("mod")
    mod.attrs["mod-order"] = list(parts)
    for name, part in parts.items():
        write_group(part, mod.create_group(name), wrote)
