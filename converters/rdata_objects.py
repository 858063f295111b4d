"""R objects as matrices, data frames and vectors, through the `rdata` package; no R is run.

Understood: matrix, dgCMatrix, dgTMatrix, data.frame, DFrame, factor, atomic vectors; an environment is walked like a
list. A path such as ``eset/assayData/exprs`` walks through lists, slots and environments.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellzoo.converters.formats.files import reading
from cellzoo.errors import InputError


def r_object(path: Path, where: str | None, name: str | None = None) -> Any:
    """Return the object at ``where`` (parts joined by ``/``) in an .rda, .RData or .rds file; messages call it name."""
    name = name or path.name
    with reading(f"{name}: cannot be read as R data", anything=True, hint="The file may be truncated."):
        node = _parsed(path, path.stat().st_mtime_ns)
    for part in where.split("/") if where else ():
        children = r_children(node)
        if part not in children:
            raise InputError(f"{name}: no {part!r} in {where!r}; found {sorted(children)[:20]}.")
        node = children[part]
    return node


@lru_cache(maxsize=2)  # a card often reads matrix and labels from one file
def _parsed(path: Path, _modified: int) -> Any:
    import rdata

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # classes without a constructor come as plain attributes
        return rdata.conversion.convert(rdata.parser.parse_file(path))


def r_children(node: Any) -> dict[str, Any]:
    """Return the members of a list or environment, or the slots of an S4 object, by name."""
    if isinstance(node, Mapping):  # list, environment
        found = {str(key): value for key, value in node.items()}
    elif hasattr(node, "__dict__") and not isinstance(node, pd.DataFrame):  # S4 object: its slots
        found = {str(key): value for key, value in vars(node).items()}
    else:
        return {}
    inner = found.get("listData")  # SimpleList and DFrame keep their members here
    return {**found, **r_children(inner)} if inner is not None else found


Names = Sequence[str] | None


def r_matrix(node: Any, where: str, known: tuple[Names, Names] = (None, None)) -> tuple[Any, list[str], list[str]]:
    """Return an R matrix as CSC with its row and column names; ``known`` are those that it itself may lack."""
    names: list[Any]
    if all(hasattr(node, slot) for slot in ("Dim", "x", "i")) and not hasattr(node, "uplo"):  # dgC, dgT; uplo: a half
        shape = tuple(int(side) for side in node.Dim)
        if hasattr(node, "p"):
            matrix = sp.csc_matrix((np.asarray(node.x), np.asarray(node.i), np.asarray(node.p)), shape=shape)
        else:
            matrix = sp.coo_matrix((np.asarray(node.x), (np.asarray(node.i), np.asarray(node.j))), shape=shape).tocsc()
        names = list(node.Dimnames)
    elif hasattr(node, "coords") and getattr(node, "ndim", 0) == 2:  # xarray: a matrix with dimnames
        matrix = sp.csc_matrix(np.asarray(node.values))
        names = [node.coords[dim].values if dim in node.coords else None for dim in node.dims]
    elif isinstance(node, pd.DataFrame):
        matrix, names = sp.csc_matrix(node.to_numpy(dtype=np.float64)), [node.index, node.columns]
    elif isinstance(node, np.ndarray) and node.ndim == 2 and node.dtype.kind in "biuf":
        matrix, names = sp.csc_matrix(node), [None, None]
    else:
        raise InputError(f"{where}: is {r_kind(node)}, expected a matrix.")
    found = [own if _named(own) else other for own, other in zip(names, known, strict=True)]
    rows, columns = ([str(one) for one in name] if _named(name) else [] for name in found)  # type: ignore[union-attr]
    if (len(rows), len(columns)) != matrix.shape:
        raise InputError(f"{where}: is {matrix.shape}, with {len(rows)} row and {len(columns)} column names.")
    return matrix, rows, columns


def _named(names: Any) -> bool:
    """Return whether there are names: NULL comes as None or as text."""
    return names is not None and not isinstance(names, str) and len(names) > 0


def r_frame(node: Any, where: str) -> pd.DataFrame:
    """Return an R data.frame or DFrame as a data frame with its row names."""
    if isinstance(node, pd.DataFrame):
        return node
    members = getattr(node, "listData", None)
    if isinstance(members, Mapping) and members:
        names = getattr(node, "rownames", None)
        index = None if names is None or isinstance(names, str) else pd.Index(np.asarray(names).astype(str))
        return pd.DataFrame(
            {str(key): r_vector(value, f"{where}/{key}") for key, value in members.items()}, index=index
        )
    raise InputError(f"{where}: is {r_kind(node)}, expected a data frame.")


def r_vector(node: Any, where: str) -> np.ndarray:
    """Return an R vector or factor as an array of its values, a factor as its labels."""
    if isinstance(node, pd.Categorical | pd.Series):
        return np.asarray(node, dtype=object)
    if isinstance(node, np.ndarray) and node.ndim == 1:
        return node
    if hasattr(node, "coords") and getattr(node, "ndim", 0) == 1:  # xarray: a vector with names
        return np.asarray(node.values)
    raise InputError(f"{where}: is {r_kind(node)}, expected a vector with one value per cell.")


def r_classes(node: Any) -> list[str]:
    """Return the S4 classes of an object, empty for what has none."""
    classes = getattr(node, "class", None)
    return [] if classes is None else list(map(str, np.atleast_1d(classes)))


def r_kind(node: Any) -> str:
    """Return what something of R is, in words."""
    return f"of R class {classes}" if (classes := r_classes(node)) else f"a {type(node).__name__}"
