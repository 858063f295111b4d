"""Columns of cells and genes: renamed, mapped by category, compared and cast."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from cellzoo.registry.fields import UNKNOWN


def renamed(frame: pd.DataFrame, names: Mapping[str, str]) -> dict[str, Any]:
    """Return the columns by their new names; a column that bears a new name already gives way."""
    columns = columns_of(frame)
    taken = {names[name] for name in columns if name in names}
    return {names.get(name, name): one for name, one in columns.items() if name in names or name not in taken}


def columns_of(frame: pd.DataFrame) -> dict[str, Any]:
    """Return the columns of a frame by name."""
    return {str(name): frame[name] for name in frame}


def frame_of(columns: Mapping[str, Any], index: pd.Index) -> pd.DataFrame:
    """Return columns as a frame; none of them is copied."""
    frame = pd.DataFrame(dict(columns), index=index, copy=False)
    frame.columns = pd.Index(list(columns), dtype=object)
    return frame


def constant(value: str, index: pd.Index) -> Any:
    """Return a column of one category."""
    return coded(np.zeros(len(index), np.int64), [value], index)


def coded(codes: Any, names: list[str], index: pd.Index) -> Any:
    """Return a column of categories from the position of each cell's."""
    return pd.Series(pd.Categorical.from_codes(codes, pd.Index(names, dtype=object)), index=index)


def categories(column: Any) -> Any:
    """Return a column as categories of text, in the order it has them; an empty value is unknown."""
    if isinstance(column.dtype, pd.CategoricalDtype) and all(isinstance(one, str) for one in column.cat.categories):
        return column if not column.isna().any() else mapped(column, str)
    values = column.astype(object)
    text = values.where(values.notna(), UNKNOWN).astype(str)
    return pd.Series(pd.Categorical(text), index=column.index)


def mapped(column: Any, function: Callable[[str], str]) -> Any:
    """Return categories of text through a function; the same column where it changes none."""
    if not isinstance(column.dtype, pd.CategoricalDtype):
        column = categories(column)
    old = [str(one) for one in column.cat.categories]
    codes = np.asarray(column.cat.codes)
    new = [function(one) for one in old] + ([UNKNOWN] if (codes < 0).any() else [])
    if new == list(column.cat.categories):
        return column
    distinct = list(dict.fromkeys(new))
    place = np.asarray([distinct.index(one) for one in new], dtype=np.int64)
    return coded(place[codes], distinct, column.index)


def chosen(mask: np.ndarray, yes: Any, no: Any) -> Any:
    """Return categories: one column where the mask holds, another elsewhere; the same column where it nowhere does."""
    if not mask.any():
        return no
    values = np.where(mask, np.asarray(yes, dtype=object), np.asarray(no, dtype=object))
    return pd.Series(pd.Categorical(values), index=no.index)


def same(one: Any, other: Any) -> bool:
    """Return whether two columns are the same, type and order of categories included."""
    if one.dtype != other.dtype:
        return False
    if isinstance(one.dtype, pd.CategoricalDtype):
        left, right = one.cat.categories, other.cat.categories
        return (
            left.dtype == right.dtype
            and list(left) == list(right)
            and np.array_equal(np.asarray(one.cat.codes), np.asarray(other.cat.codes))
        )
    return bool(one.reset_index(drop=True).equals(other.reset_index(drop=True)))


def type_of(column: Any) -> dict[str, Any] | None:
    """Return what `cast` needs to make a column of the same values like this one; None where that takes more."""
    if not isinstance(column.dtype, pd.CategoricalDtype):
        return {"dtype": str(column.dtype)}
    names = list(column.cat.categories)
    if not all(type(name) is str for name in names):
        return None
    return {"categories": names, "ordered": bool(column.cat.ordered)}


def cast(column: Any, kind: Mapping[str, Any]) -> Any:
    """Return a column in a type that `type_of` tells; unchanged where it holds what the type cannot."""
    try:
        if "dtype" in kind:
            return column.astype(kind["dtype"])
        names = [str(name) for name in kind["categories"]]
        values = column.astype(object)
        names += sorted(set(values.dropna()) - set(names))
        return pd.Series(pd.Categorical(values, names, ordered=kind["ordered"]), index=column.index)
    except (TypeError, ValueError):
        return column


def alike(one: Any, other: Any) -> bool:  # noqa: PLR0911 - one line for each kind of value
    """Return whether two values of uns are the same, types included."""
    if type(one) is not type(other):
        return False
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(alike(*pair) for pair in zip(one, other, strict=True))
    if isinstance(one, pd.DataFrame | pd.Series | pd.Index):
        return bool(one.equals(other))
    if hasattr(one, "dtype") and (one.dtype != other.dtype or one.shape != other.shape):
        return False
    if hasattr(one, "toarray"):
        return bool((one != other).nnz == 0)
    if isinstance(one, float) or getattr(one, "dtype", np.dtype(object)).kind in "fc":
        return bool(np.array_equal(one, other, equal_nan=True))
    return bool(np.all(one == other))
