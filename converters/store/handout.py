"""Cells of a store for the tools of others: AnnData in memory or lazy, Dask arrays, Zarr."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import ArrayLike

from cellzoo.converters.celldata import MODALITIES, CellData, Raw
from cellzoo.converters.h5ad import AXES, dates, mixed_columns, typed
from cellzoo.converters.rows import BLOCK_BYTES, FIRST_BLOCK, Rows, cells_in
from cellzoo.converters.store.matrix import Matrix, StoreRows
from cellzoo.converters.store.sampling import RowNumbers, row_numbers
from cellzoo.converters.write import new_folder
from cellzoo.errors import GenesError, InputError, MissingExtraError

if TYPE_CHECKING:
    import dask.array
    import mudata

    from cellzoo.converters.store.store import Store


class Gathered:
    """Some cells of a matrix of a store, in any order, over some of its features or all."""

    def __init__(self, matrix: Matrix, cells: RowNumbers, columns: np.ndarray | None) -> None:
        self.matrix, self.cells, self.columns = matrix, cells, columns
        self.shape: tuple[int, int] = (len(cells), matrix.shape[1] if columns is None else len(columns))
        self.dtype: np.dtype[Any] = matrix.dtype

    def read(self, start: int, stop: int) -> sp.csr_matrix:
        """Return those cells."""
        return self.matrix.gather(self.cells[start:stop], columns=self.columns)


def select(source: Store | CellData, rows: ArrayLike | None = None, genes: Sequence[str] | None = None) -> CellData:
    """Return some cells (numbers in any order, or a mask) and some genes by id; the matrices stay on disk.

    `source` is a store, what its `celldata` gave of one data set, or a selection of either.

    Genes restrict X and its layers; what has features of its own (raw, proteins, peaks) keeps them.
    """
    whole = source if isinstance(source, CellData) else source.celldata()
    if rows is None and genes is None:
        return whole
    if genes is not None:
        at = _positions(whole.var.index, genes)
        whole = whole.pick_features(at, lambda matrix: _restricted(matrix, at))
    cells = row_numbers(whole.n_obs if rows is None else rows, whole.n_obs)
    return whole.pick(cells, lambda matrix: _gathered(matrix, cells))


def lazy(data: CellData) -> anndata.AnnData:
    """Return data as an AnnData whose matrices are Dask arrays: nothing is read before it is computed.

    Other modalities are in `lazy_mudata`.
    """
    adata = data.with_(X=None, layers={}, raw=None, modalities={}).to_anndata()
    if data.X is not None:
        adata.X = dask_array(data.X)
    for name, rows in data.layers.items():
        adata.layers[name] = dask_array(rows)
    if data.raw is not None:
        matrix = dask_array(data.raw.X)
        adata.raw = anndata.AnnData(matrix, obs=data.obs[[]], var=data.raw.var, varm=data.raw.varm)
    return adata


def lazy_mudata(data: CellData) -> mudata.MuData:
    """Return all modalities as a MuData whose matrices are Dask arrays."""
    import mudata

    parts = {MODALITIES["gene"]: data} | {MODALITIES.get(name, name): part for name, part in data.modalities.items()}
    with mudata.set_options(pull_on_update=False):
        return mudata.MuData({name: lazy(part) for name, part in parts.items()})


def dask_array(rows: Rows) -> dask.array.Array:
    """Return a matrix as a Dask array of CSR blocks, each of whole row groups of the store, about 32 MB."""
    try:
        import dask.array as da
    except ImportError as error:
        raise MissingExtraError("a Dask array", "store") from error

    def read(block_info: Any = None) -> sp.csr_matrix:
        start, stop = block_info[None]["array-location"][0]
        return rows.read(start, stop)

    heights = tuple(np.diff(_bounds(rows)).tolist())
    empty = sp.csr_matrix((0, 0), dtype=rows.dtype)
    chunks = (heights, (rows.shape[1],))
    array: dask.array.Array = da.map_blocks(read, chunks=chunks, dtype=rows.dtype, meta=empty)  # type: ignore[no-untyped-call]
    return array


def write_zarr(data: CellData, path: Path) -> Path:
    """Write data block by block as Zarr 3 and return the path, a new folder.

    `anndata.read_zarr` and `anndata.experimental.read_lazy` open it; with further modalities it is one of MuData,
    whose ``mod/rna`` they open. InputError for columns that mix numbers and text, which Zarr would make text, and for
    names that it does not take.
    """
    data = as_typed(data)
    refuse(data, path)
    with new_folder(path) as temporary, warnings.catch_warnings(), anndata.settings.override(zarr_write_format=3):
        warnings.simplefilter("ignore")  # metadata in one file is not yet in the specification; changes to come
        if data.modalities:
            lazy_mudata(data).write_zarr(temporary)
        else:
            lazy(data).write_zarr(temporary)
    return path


def as_typed(data: CellData) -> CellData:
    """Return data whose columns of objects have the type of what they hold."""
    raw = data.raw and Raw(data.raw.X, typed(data.raw.var), data.raw.varm)
    modalities = {name: as_typed(part) for name, part in data.modalities.items()}
    return data.with_(obs=typed(data.obs), var=typed(data.var), raw=raw, modalities=modalities)


def refuse(data: CellData, path: Path) -> None:
    """Raise InputError with everything that Zarr does not take."""
    found = [f"{path}: cannot be written: {what}" for what in _refused(data, "")]
    if found:
        raise InputError("\n".join(found))


def _refused(data: CellData, before: str) -> Iterator[str]:
    frames = {"obs": data.obs, "var": data.var} | ({"raw/var": data.raw.var} if data.raw else {})
    named: dict[str, Any] = frames | {part: getattr(data, part) for part in ("layers", *AXES, "uns")}
    for what, remedy, chosen in (
        (
            "mix numbers and text",
            "Make each of one type.",
            [(part, mixed_columns(one)) for part, one in frames.items()],
        ),
        ("hold dates or durations", "Make them text.", [(part, dates(one)) for part, one in frames.items()]),
        (
            "have a slash in their name",
            "Rename them.",
            [(part, [k for k in one if "/" in k]) for part, one in named.items()],
        ),
    ):
        if names := [f"{before}{part}[{str(name)!r}]" for part, keys in chosen for name in keys]:
            yield f"{', '.join(names)} {what}. {remedy}"
    for name, part in data.modalities.items():
        yield from _refused(part, f"{before}{name}/")


def _gathered(rows: Any, cells: RowNumbers) -> Gathered:
    own = rows.cells[cells] if isinstance(rows, Gathered) else rows.start + cells
    return Gathered(rows.matrix, own, rows.columns)


def _restricted(rows: Any, features: RowNumbers) -> Rows:
    own = features if rows.columns is None else rows.columns[features]
    if isinstance(rows, Gathered):
        return Gathered(rows.matrix, rows.cells, own)
    return StoreRows(rows.matrix, rows.start, rows.start + rows.shape[0], own)


def _positions(index: pd.Index, genes: Sequence[str]) -> RowNumbers:
    found = np.asarray(index.get_indexer(pd.Index(genes)), dtype=np.int64)
    if missing := [gene for gene, at in zip(genes, found, strict=True) if at < 0]:
        raise GenesError(f"{len(missing)} of {len(genes)} genes are not in the store: {', '.join(missing[:5])}.")
    return found


def _bounds(rows: Rows) -> np.ndarray:
    cells = rows.shape[0]
    first = rows.read(0, min(FIRST_BLOCK, cells))
    wanted = np.arange(0, cells, cells_in(2 * BLOCK_BYTES, first))
    if isinstance(rows, StoreRows):
        ends = rows.matrix.groups - rows.start
        inside = np.concatenate([[0], ends[(ends > 0) & (ends < cells)]])
        wanted = inside[np.searchsorted(inside, wanted, side="right") - 1]
    return np.unique([*wanted, cells])
