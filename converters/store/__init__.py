"""Streamlined cells on disk: any size goes in, any mini-batch comes out at the speed of memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cellzoo.converters.store.matrix import Buffers, Matrix
    from cellzoo.converters.store.store import Store, Stretch
    from cellzoo.converters.store.writer import StoreWriter, build

__all__ = ["Buffers", "Matrix", "Store", "StoreWriter", "Stretch", "build"]
_HOMES = {
    "Buffers": "matrix",
    "Matrix": "matrix",
    "Store": "store",
    "Stretch": "store",
    "StoreWriter": "writer",
    "build": "writer",
}


def __getattr__(name: str) -> Any:
    """Load what is asked for, and with it numba, only then."""
    from importlib import import_module

    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
