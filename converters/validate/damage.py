"""Columns that nothing can open: shorter or longer than the index, with codes of no category, listed and not there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import h5py

from cellzoo.converters.validate.context import Context
from cellzoo.converters.validate.file import Column, Frame

PARTS = {"category": ("codes", "categories"), "nullable": ("values", "mask")}
"""What a column that is a group holds, by its kind."""


def can_be_read(context: Context) -> bool:
    """Return whether every column of obs, var and raw.var can be read, having found those that cannot."""
    whole = True
    for frame in context.frames:
        for name in dict.fromkeys(frame.order):
            for message, rows in _damage(frame, name):
                context.report.add("CXG128", f"{frame.name}.{name}", message, frame.names, rows)
                whole = False
    return whole


def _damage(frame: Frame, name: str) -> Iterator[tuple[str, Any]]:
    """Yield what keeps a column from being read, and the rows that it is about."""
    column = frame.columns.get(name)
    if column is None:
        yield "is listed in column-order, and not in the file.", None
        return
    parts = PARTS.get(column.kind, ())
    if lost := [part for part in parts if part not in column.node]:
        yield f"has no {' and no '.join(lost)}.", None
        return
    arrays = {part: column.node[part] for part in parts if part != "categories"}
    if isinstance(column.node, h5py.Dataset):
        arrays = {"values": column.node}
    other = {part: node.shape for part, node in arrays.items() if node.shape != (len(frame),)}
    for part, shape in other.items():
        yield f"holds {part} of shape {shape}, expected {(len(frame),)}.", None
    if column.kind == "category" and not other:
        yield from _strange_codes(column)


def _strange_codes(column: Column) -> Iterator[tuple[str, Any]]:
    codes, categories = column.codes, column.categories
    if len(set(categories)) < len(categories):
        yield "has a category twice.", None
    outside = (codes < -1) | (codes >= len(categories))
    if outside.any():
        yield f"holds codes {codes.min()} to {codes.max()}, expected -1 to {len(categories) - 1}.", outside
