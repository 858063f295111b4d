"""Streamlined cells on disk: any size goes in, any mini-batch comes out at the speed of memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cellzoo.converters.store.batches import Batches
    from cellzoo.converters.store.handout import dask_array, lazy, select, write_zarr
    from cellzoo.converters.store.huggingface import write_dataset
    from cellzoo.converters.store.matrix import Buffers, Matrix
    from cellzoo.converters.store.store import Store, Stretch
    from cellzoo.converters.store.writer import StoreWriter, build

_HOMES = {
    **dict.fromkeys(("Batches",), "batches"),
    **dict.fromkeys(("dask_array", "lazy", "select", "write_zarr"), "handout"),
    **dict.fromkeys(("write_dataset",), "huggingface"),
    **dict.fromkeys(("Buffers", "Matrix"), "matrix"),
    **dict.fromkeys(("Store", "Stretch"), "store"),
    **dict.fromkeys(("StoreWriter", "build"), "writer"),
}
__all__ = [
    "Batches",
    "Buffers",
    "Matrix",
    "Store",
    "StoreWriter",
    "Stretch",
    "build",
    "dask_array",
    "lazy",
    "select",
    "write_dataset",
    "write_zarr",
]


def __getattr__(name: str) -> Any:
    """Load what is asked for, and with it numba, only then."""
    from importlib import import_module

    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
