"""AnnData in Zarr, version 2 and 3, packed in a zip or tar; matrices are read out of a zip by ranges of cells."""

from __future__ import annotations

import shutil
import warnings
import zipfile
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from cellzoo.converters.celldata import CellData
from cellzoo.converters.formats.files import Archive, Files, Found, reading
from cellzoo.converters.formats.hdf5 import settle
from cellzoo.converters.h5ad import open_group
from cellzoo.converters.rows import Rows, Stored, kept_type
from cellzoo.converters.transpose import turned
from cellzoo.converters.write import scratch
from cellzoo.errors import InputError
from cellzoo.registry.reading import Matrix

GROUP = {".zgroup", "zarr.json"}
"""What lies in the folder of a group, by version."""


class Chunked(Stored):
    """A dense matrix or a CSR group of AnnData in a zip of Zarr."""

    def __init__(self, path: Path, key: str) -> None:
        import zarr

        self.path, self.key, self.turned = path, key, False
        self.dense = isinstance(self._node, zarr.Array)
        shape = self._node.shape if self.dense else self._node.attrs["shape"]
        self.dtype = kept_type((self._node if self.dense else self._node["data"]).dtype)
        self.shape = (int(shape[0]), int(shape[1]))

    @cached_property
    def _node(self) -> Any:
        import zarr

        return zarr.open(zarr.storage.ZipStore(self.path, mode="r"), path=self.key, mode="r")


def read(spec: Matrix, found: Found, files: Files) -> CellData:
    """Return an AnnData-Zarr; what lies in a tar, or in a folder with others, is taken out of it."""
    archive = files.archive(spec.file)
    roots = sorted(
        {PurePosixPath(name).parent for name in archive.names if PurePosixPath(name).name in GROUP},
        key=lambda folder: len(folder.parts),
    )
    if not roots:
        raise InputError(f"{spec.file}: holds no Zarr group (.zgroup or zarr.json); found {archive.names[:12]}.")
    root = "" if str(roots[0]) == "." else str(roots[0])
    path = files.paths[spec.file]
    what = f"{spec.file}: cannot be read as AnnData-Zarr"
    with reading(what, anything=True, hint="The file may be truncated."), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if zipfile.is_zipfile(path):
            return _data(spec, path, root)
        with scratch() as folder:
            _packed(archive, folder / "file.zip")
            return settle(_data(spec, folder / "file.zip", root))


def _data(spec: Matrix, path: Path, root: str) -> CellData:
    import zarr

    store = zarr.storage.ZipStore(path, mode="r")
    group = zarr.open_group(store, path=root, mode="r", use_consolidated=False)  # what is there, not what was
    if missing := [axis for axis in ("obs", "var") if axis not in group]:
        raise InputError(f"{spec.file}: is Zarr but not AnnData: it has no {missing[0]}, only {sorted(group)}.")
    return open_group(path, group, _rows)


def _rows(path: Path, node: Any) -> Rows:
    if not str(node.attrs.get("encoding-type", "")).startswith("csc"):
        return Chunked(path, node.path)
    return turned(node["indptr"][:], node["indices"], node["data"], int(node.attrs["shape"][0]))


def _packed(archive: Archive, path: Path) -> None:
    """Write the members of a tar into a zip, where Zarr can look them up: their names become no files."""
    with zipfile.ZipFile(path, "w") as target:
        for name in archive.names:
            with archive.members[name]() as source, target.open(name, "w", force_zip64=True) as sink:
                shutil.copyfileobj(source, sink)
