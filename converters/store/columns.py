"""Columns of cells on disk, a file for each: plain arrays, dictionary codes, or text; one is read without the others.

A column of a store is made of strips. A strip holds values of one kind (category, text, int32, …) for the data sets
that have the column in that kind, one after the other; so that neither a column that appears late nor one that changes
its kind makes anything be written again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cellzoo.converters.h5ad import EXACT, nullable
from cellzoo.converters.store.layout import Files, State, mapped, named, read_lines
from cellzoo.errors import InputError, IntegrityError

INDEX = "_index"
"""The strip of the names of cells: no column of AnnData has this name."""
PLAIN = "biufcmM"


def describe(values: pd.Series | np.ndarray, where: str) -> dict[str, Any]:
    """Return the kind of a column: two of the same kind go into one strip; InputError where a store has none for it."""
    dtype: Any = values.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        categories = dtype.categories
        kind = pd.api.types.infer_dtype(categories, skipna=False)
        if kind not in {"string", "integer", "floating", "boolean", "empty"}:
            raise InputError(f"{where}: has categories of {kind}. Make them text or numbers.")
        found = {"kind": "category", "dtype": str(categories.dtype)}
        if dtype.ordered:  # two orders cannot be made one
            said = json.dumps(categories.tolist(), ensure_ascii=False)
            found |= {"order": hashlib.sha256(said.encode()).hexdigest()[:16]}
        return found
    if isinstance(values, np.ndarray) or (isinstance(dtype, np.dtype) and dtype.kind in PLAIN):
        if dtype.kind not in PLAIN:
            raise InputError(f"{where}: is an array of {dtype}, expected numbers.")
        return {"kind": "plain", "dtype": dtype.str, "shape": list(values.shape[1:])}
    if isinstance(dtype, pd.StringDtype) or dtype.kind == "O":
        missing = bool(values.isna().any())
        if isinstance(dtype, pd.StringDtype) or all(isinstance(value, str) for value in values.dropna()):
            return {"kind": "text", "dtype": str(dtype), "missing": missing}
        return {"kind": "json", "dtype": "object", "missing": missing}
    if isinstance(dtype, pd.api.extensions.ExtensionDtype) and hasattr(dtype, "numpy_dtype"):
        return {"kind": "masked", "dtype": str(dtype), "plain": dtype.numpy_dtype.str}
    raise InputError(
        f"{where}: is a column of {dtype}, which a store cannot keep. Make it text, numbers or categories."
    )


class ColumnWriter:
    """Appends columns of data sets to the strips of a store."""

    def __init__(self, state: State, files: Files) -> None:
        self.strips: list[dict[str, Any]] = state["columns"]
        self.files = files
        self._categories: dict[int, dict[Any, int]] = {}

    def append(self, name: str, values: pd.Series | np.ndarray, where: str) -> list[int]:
        """Write the values of a data set and return in which strip and from which of its rows on."""
        kind = describe(values, where)
        found = [k for k, strip in enumerate(self.strips) if strip["name"] == name and strip["type"] == kind]
        if not found:
            stem = named("columns", len(self.strips), name)
            self.strips.append({"name": name, "type": kind, "stem": stem, "rows": 0})
            found = [len(self.strips) - 1]
        strip = self.strips[found[0]]
        for suffix, content in self._encoded(found[0], values, where):
            self.files.append(f"{strip['stem']}.{suffix}", content)
        start = strip["rows"]
        strip["rows"] += len(values)
        return [found[0], start]

    def _encoded(self, number: int, values: Any, where: str) -> Iterator[tuple[str, np.ndarray | bytes]]:
        strip = self.strips[number]
        kind = strip["type"]["kind"]
        if kind == "plain":
            yield "bin", np.asarray(values)
        elif kind == "masked":
            missing = values.isna().to_numpy()
            yield "bin", values.array._data
            yield "missing.u8", missing.astype(np.uint8)
        elif kind == "category":
            known = self._known(number)
            own, fresh = values.cat.categories.tolist(), b""
            for value in own:
                if value not in known:
                    known[value] = len(known)
                    fresh += json.dumps(value, ensure_ascii=False).encode() + b"\n"
            lookup = np.array([known[value] for value in own] + [-1], dtype="<i4")
            yield "categories.jsonl", fresh
            yield "codes.i32", lookup[values.cat.codes.to_numpy()]
        else:
            missing = values.isna().to_numpy()
            texts = ["" if gone else value for value, gone in zip(values.tolist(), missing, strict=True)]
            if kind == "json":
                texts = [_json(value, where) for value in texts]
            raw = [text.encode() for text in texts]
            before = self.files.lengths.get(f"{strip['stem']}.utf8", 0)
            yield "utf8", b"".join(raw)
            yield "ends.i64", before + np.cumsum([len(text) for text in raw], dtype="<i8")
            if strip["type"]["missing"]:
                yield "missing.u8", missing.astype(np.uint8)

    def _known(self, number: int) -> dict[Any, int]:
        """Return category -> code of a strip."""
        if number not in self._categories:
            name = f"{self.strips[number]['stem']}.categories.jsonl"
            said = read_lines(self.files.path, name, self.files.lengths.get(name, 0))
            self._categories[number] = {value: code for code, value in enumerate(said)}
        return self._categories[number]


def _json(value: Any, where: str) -> str:
    plain = value.item() if isinstance(value, np.generic) else value
    if not isinstance(plain, str | bool | int | float):
        raise InputError(
            f"{where}: holds a {type(value).__name__}, which a store cannot keep. Make it text or numbers."
        )
    return json.dumps(plain, ensure_ascii=False)


class Strip:
    """One strip, read."""

    def __init__(self, path: Path, record: Mapping[str, Any], files: Mapping[str, Any]) -> None:
        self.path, self.stem, self.type, self.files = path, record["stem"], record["type"], dict(files)
        self.kind: str = self.type["kind"]

    def _file(self, suffix: str, dtype: str) -> np.ndarray:
        return mapped(self.path, f"{self.stem}.{suffix}", dtype, self.files)

    @cached_property
    def categories(self) -> pd.Index:
        """Return the categories of all data sets, in the order in which they came."""
        name = f"{self.stem}.categories.jsonl"
        said = read_lines(self.path, name, self.files.get(name, {"bytes": 0})["bytes"])
        index: pd.Index = pd.Index(said, dtype=self.type["dtype"])
        return index

    @cached_property
    def codes(self) -> np.ndarray:
        """Return the codes of a strip of categories."""
        return self._file("codes.i32", "<i4")

    def read(self, rows: np.ndarray | slice) -> Any:
        """Return some values as what pandas holds in a column, or as an array of so many dimensions as came in."""
        dtype = self.type["dtype"]
        if self.kind == "category":
            codes = self.codes[rows]
            if codes.size and (codes.max() >= len(self.categories) or codes.min() < -1):
                raise IntegrityError(f"{self.path / self.stem}: codes of categories that are not there. Copy it anew.")
            return pd.Categorical.from_codes(codes, self.categories, ordered="order" in self.type)
        if self.kind == "plain":
            return np.array(self._file("bin", dtype).reshape(-1, *self.type["shape"])[rows])
        if self.kind == "masked":
            missing = self._file("missing.u8", "u1")[rows].astype(bool)
            extension: Any = pd.api.types.pandas_dtype(dtype)
            values = np.array(self._file("bin", self.type["plain"])[rows])
            return extension.construct_array_type()(values, missing)
        return self._texts(rows)

    def _texts(self, rows: np.ndarray | slice) -> Any:
        ends, raw = self._file("ends.i64", "<i8"), self._file("utf8", "u1")
        at = np.arange(len(ends))[rows]
        lasts = ends[at]
        firsts = np.where(at > 0, ends[at - 1], 0) if len(ends) else lasts
        if isinstance(rows, slice) and rows.step in {None, 1} and len(at):  # one stretch: decoded from one read
            content, shift = raw[firsts[0] : lasts[-1]].tobytes(), int(firsts[0])
            texts = [
                content[a - shift : b - shift].decode() for a, b in zip(firsts.tolist(), lasts.tolist(), strict=True)
            ]
        else:
            texts = [raw[a:b].tobytes().decode() for a, b in zip(firsts.tolist(), lasts.tolist(), strict=True)]
        values = np.array(
            [json.loads(text) if text else None for text in texts] if self.kind == "json" else texts, object
        )
        if self.type["missing"]:
            values[self._file("missing.u8", "u1")[rows].astype(bool)] = None if self.kind == "json" else np.nan
        return pd.array(values, dtype=self.type["dtype"]) if self.type["dtype"] != "object" else values


def _fits(column: pd.Series, common: np.dtype[Any]) -> bool:
    """Return whether a type holds every value of a column; NumPy calls float64 safe for any int64, which it is not."""
    dtype: Any = _number(column.dtype)
    if dtype.kind in "iu" and dtype.itemsize == 8 and common.kind == "f":
        there = column.dropna()
        return not len(there) or bool(there.min() >= -EXACT and there.max() <= EXACT)
    return np.can_cast(dtype, common, "safe")


def _number(dtype: Any) -> np.dtype[Any] | None:
    """Return the numbers or truth values of a column as NumPy has them, None for any other type."""
    plain = dtype if isinstance(dtype, np.dtype) else getattr(dtype, "numpy_dtype", None)
    return plain if isinstance(plain, np.dtype) and plain.kind in "biuf" else None


def joined(pieces: Sequence[Any], lengths: Sequence[int]) -> pd.Series:
    """Return stretches of one column (None: a data set without it) as one column, of their type where they agree."""
    there: list[Any] = [pd.Series(piece) for piece in pieces if piece is not None]
    dtypes = {str(piece.dtype) for piece in there}
    first = there[0]
    if isinstance(first.dtype, pd.CategoricalDtype) and all(one.dtype == first.dtype for one in there):
        codes = [np.full(n, -1) if p is None else p.codes for p, n in zip(pieces, lengths, strict=True)]
        return pd.Series(pd.Categorical.from_codes(np.concatenate(codes), dtype=first.dtype))
    if len(there) == len(pieces) and len(dtypes) == 1:
        return pd.Series(pd.concat(there, ignore_index=True))
    target: Any = object
    numbers = [plain for one in there if (plain := _number(one.dtype)) is not None]
    if len(numbers) == len(there) and len({one.kind == "b" for one in numbers}) == 1:
        common = np.result_type(*numbers)
        whole = len(there) == len(pieces) and all(isinstance(one.dtype, np.dtype) for one in there)
        if all(_fits(one, common) for one in there):  # of fractions NaN stands for those that are missing
            target = common if whole or common.kind == "f" else nullable(common)
    full = [
        pd.Series([np.nan if target is object else pd.NA] * n, dtype=object)
        if p is None
        else pd.Series(p).astype(object)
        for p, n in zip(pieces, lengths, strict=True)
    ]
    whole_column = pd.concat(full, ignore_index=True)
    if target is object:
        return whole_column.where(whole_column.notna(), np.nan)
    if isinstance(target, np.dtype):
        return whole_column.where(whole_column.notna(), np.nan).astype(target)
    return whole_column.astype(target)
