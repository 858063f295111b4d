"""An h5ad file as the validation sees it: columns by their categories, values on demand, nothing of pandas."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import h5py
import numpy as np
from numpy.typing import NDArray

Kind = Literal["category", "text", "bool", "int", "float", "nullable", "other"]
KINDS: dict[str, Kind] = {"b": "bool", "i": "int", "u": "int", "f": "float"}
ENCODINGS = {
    *(("", ""), ("dict", "0.1.0"), ("dataframe", "0.2.0"), ("array", "0.2.0"), ("string-array", "0.2.0")),
    *(("csr_matrix", "0.1.0"), ("csc_matrix", "0.1.0"), ("categorical", "0.2.0"), ("raw", "0.1.0")),
    *(("string", "0.2.0"), ("numeric-scalar", "0.2.0"), ("bytes", "0.2.0"), ("rec-array", "0.2.0")),
    *(("nullable-integer", "0.1.0"), ("nullable-boolean", "0.1.0"), ("nullable-string-array", "0.1.0")),
    *(("awkward-array", "0.1.0"), ("anndata", "0.1.0")),
}
"""Encoding and version of every element that anndata 0.11 reads, which the official validator uses."""


@dataclass
class Column:
    """A column of obs or var."""

    name: str
    node: Any

    @cached_property
    def encoding(self) -> str:
        """Return the encoding of the column in the file."""
        return _encoding(self.node)[0]

    @cached_property
    def kind(self) -> Kind:
        """Return what kind of values it holds."""
        if self.encoding == "categorical":
            return "category"
        if self.encoding.startswith("nullable"):
            return "nullable"
        if not isinstance(self.node, h5py.Dataset):
            return "other"
        return "text" if _is_text(self.node) else KINDS.get(self.node.dtype.kind, "other")

    @cached_property
    def categories(self) -> list[Any]:
        """Return the categories of the file; of text the distinct values in the order they occur."""
        if self.kind == "text":
            return self._distinct[0]
        if isinstance(self.node["categories"], h5py.Group):  # nullable text
            return list(texts(self.node["categories"]["values"]))
        return list(texts(self.node["categories"]))

    @property
    def has_text(self) -> bool:
        """Return whether it holds text or text categories."""
        if self.kind != "category":
            return self.kind == "text"
        node = self.node["categories"]
        return _is_text(node["values"] if isinstance(node, h5py.Group) else node)

    @property
    def codes(self) -> NDArray[np.integer[Any]]:
        """Return the position in `categories` of each row's value, -1 where it is missing; read each time."""
        return self._distinct[1] if self.kind == "text" else np.asarray(self.node["codes"][:])

    @cached_property
    def _distinct(self) -> tuple[list[str], NDArray[np.int32]]:
        known: dict[str, int] = {}
        codes = np.fromiter((known.setdefault(text, len(known)) for text in texts(self.node)), np.int32)
        return list(known), codes

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Return (categories,) the number of rows of each."""
        codes = self.codes
        return np.bincount(codes[codes >= 0], minlength=len(self.categories))

    @cached_property
    def missing(self) -> NDArray[np.bool_]:
        """Return (rows,) whether a value is missing."""
        if self.kind == "category":
            return np.asarray(self.codes < 0)
        if self.kind == "nullable":
            return np.asarray(self.node["mask"][:], bool)
        return np.asarray(np.isnan(self.values) if self.kind == "float" else np.zeros(self.node.shape[0], bool))

    @property
    def used(self) -> list[Any]:
        """Return the categories that occur."""
        return [value for value, number in zip(self.categories, self.counts.tolist(), strict=True) if number]

    @property
    def values(self) -> NDArray[Any]:
        """Return the values of a column of numbers or booleans; read each time."""
        node = self.node["values"] if self.kind == "nullable" else self.node
        return np.asarray(node[:])

    def where(self, value: Any) -> NDArray[np.bool_]:
        """Return (rows,) where the value is this one."""
        if self.kind not in ("category", "text"):
            return np.asarray(self.values == value) & ~self.missing
        return np.asarray(self.codes == self.categories.index(value) if value in self.categories else self.codes < -1)


class Frame:
    """obs, var or raw.var."""

    def __init__(self, name: str, group: Any) -> None:
        self.name, self.group = name, group
        self.order = [str(column) for column in group.attrs.get("column-order", ())]
        """The names of the columns, perhaps one twice."""

    @cached_property
    def names(self) -> NDArray[np.object_]:
        """Return (rows,) the index."""
        key = self.group.attrs.get("_index", "_index")
        node = self.group[key]
        return np.array([str(name) for name in texts(node["values"] if isinstance(node, h5py.Group) else node)], object)

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self.order

    @cached_property
    def columns(self) -> dict[str, Column]:
        """Return the columns by name."""
        return {name: Column(name, self.group[name]) for name in self.order if name in self.group}

    def text(self, name: str) -> Column | None:
        """Return a column of text or text categories, None where there is none."""
        column = self.columns.get(name)
        return column if column is not None and column.has_text else None


@dataclass
class Array:
    """An array in uns or obsm, not read."""

    node: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """Return its shape."""
        return tuple(self.node.shape)

    @property
    def flat_numbers(self) -> bool:
        """Return whether it is a matrix of numbers, which the official validator does not take for an array."""
        return len(self.shape) == 2 and not _is_text(self.node)

    @property
    def is_text(self) -> bool:
        """Return whether it holds text."""
        return _is_text(self.node)

    @property
    def values(self) -> NDArray[Any]:
        """Return what it holds."""
        return texts(self.node)


@dataclass
class Other:
    """A data frame, a sparse matrix or the like in uns or obsm."""

    encoding: str
    shape: tuple[int, ...]


def value(node: Any) -> Any:
    """Return an element of uns or obsm: a text, number or bool, a dict of such, an `Array` or an `Other`."""
    encoding, _ = _encoding(node)
    if isinstance(node, h5py.Group):
        if encoding in ("", "dict"):
            return {key: value(node[key]) for key in node}
        shape = node.attrs.get("shape")
        if shape is None and encoding == "dataframe":
            shape = node[node.attrs["_index"]].shape if "_index" in node.attrs else (0,)
        elif shape is None:
            shape = next((node[key].shape for key in ("codes", "values") if key in node), (1,))
        return Other(encoding, tuple(int(size) for size in shape))
    if node.shape is None:
        return None
    if node.shape == ():
        found = node.asstr()[()] if _is_text(node) else node[()]
        return str(found) if isinstance(found, str) else found
    return Array(node)


def texts(node: Any) -> NDArray[Any]:
    """Return an array; what is text as str."""
    return np.asarray(node.asstr()[:] if _is_text(node) else node[:])


def strange(name: str, node: Any) -> Iterator[str]:
    """Yield the place and encoding of each element that anndata 0.11 cannot read."""
    encoding = _encoding(node)
    if encoding not in ENCODINGS:
        yield f"{name} is encoded as {' '.join(encoding)}"
    elif isinstance(node, h5py.Group) and encoding[0] not in ("csr_matrix", "csc_matrix", "awkward-array"):
        for key in node:
            yield from strange(f"{name}/{key}", node[key])


def _encoding(node: Any) -> tuple[str, str]:
    return str(node.attrs.get("encoding-type", "")), str(node.attrs.get("encoding-version", ""))


def _is_text(node: Any) -> bool:
    return h5py.check_string_dtype(node.dtype) is not None
