"""R objects as matrices, data frames and vectors, through the `rdata` package; no R is run.

Understood: matrix, dgCMatrix, dgTMatrix, data.frame, DFrame, factor, atomic vectors; an environment is walked like a
list. A path such as ``eset/assayData/exprs`` walks through lists, slots and environments.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellzoo.errors import InputError


def r_object(path: Path, where: str | None) -> Any:
    """Return the object at ``where`` (parts joined by ``/``) in an .rda, .RData or .rds file."""
    node = _parsed(path, path.stat().st_mtime_ns)
    for part in where.split("/") if where else ():
        children = _children(node)
        if part not in children:
            raise InputError(f"{path.name}: no {part!r} in {where!r}; found {sorted(children)[:20]}.")
        node = children[part]
    return node


@lru_cache(maxsize=2)  # a card often reads matrix and labels from one file
def _parsed(path: Path, _modified: int) -> Any:
    import rdata

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # classes without a constructor come as plain attributes
            parsed = rdata.parser.parse_file(path)
            return rdata.conversion.convert(parsed)
    except Exception as error:  # the parser raises many kinds
        raise InputError(f"{path.name}: cannot be read as R data: {error}. The file may be truncated.") from error


def _children(node: Any) -> dict[str, Any]:
    if isinstance(node, Mapping):  # list, environment
        found = {str(key): value for key, value in node.items()}
    elif hasattr(node, "__dict__") and not isinstance(node, pd.DataFrame):  # S4 object: its slots
        found = {str(key): value for key, value in vars(node).items()}
    else:
        return {}
    inner = found.get("listData")  # SimpleList and DFrame keep their members here
    return {**found, **_children(inner)} if inner is not None else found


def r_matrix(node: Any, where: str) -> tuple[sp.csc_matrix, list[str], list[str]]:
    """Return an R matrix as CSC with its row and column names."""
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
    else:
        raise InputError(f"{where}: is {_kind(node)}, expected a matrix.")
    rows, columns = ([] if name is None or isinstance(name, str) else [str(one) for one in name] for name in names)
    if (len(rows), len(columns)) != matrix.shape:
        raise InputError(f"{where}: is {matrix.shape}, with {len(rows)} row and {len(columns)} column names.")
    return matrix, rows, columns


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
    raise InputError(f"{where}: is {_kind(node)}, expected a data frame.")


def r_vector(node: Any, where: str) -> np.ndarray:
    """Return an R vector or factor as an array of its values, a factor as its labels."""
    if isinstance(node, pd.Categorical | pd.Series):
        return np.asarray(node, dtype=object)
    if isinstance(node, np.ndarray) and node.ndim == 1:
        return node
    if hasattr(node, "coords") and getattr(node, "ndim", 0) == 1:  # xarray: a vector with names
        return np.asarray(node.values)
    raise InputError(f"{where}: is {_kind(node)}, expected a vector with one value per cell.")


def _kind(node: Any) -> str:
    classes = getattr(node, "class", None)
    return f"of R class {list(map(str, classes))}" if classes is not None else f"a {type(node).__name__}"
