"""What one data set says (var, uns, varm, …) as JSON, with its arrays and tables as files beside it; no pickle."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellzoo.errors import InputError, IntegrityError

Put = Callable[[bytes, str], str]
"""Writes bytes under a name of its own, given a suffix."""
KIND = "$kind"
"""The key that tells an encoded value from a mapping."""


def encode(value: Any, put: Put, where: str = "") -> Any:  # noqa: PLR0911 (a return for each kind)
    """Return a value as JSON; ``where`` names it in the InputError for what cannot be kept."""
    if value is None or isinstance(value, str | bool | int | float):
        return str(value) if isinstance(value, str) else value  # numpy.str_ is one
    if isinstance(value, Mapping):
        inside = {str(key): encode(item, put, f"{where}/{key}") for key, item in value.items()}
        return {KIND: "mapping", "items": inside} if KIND in inside else inside
    if isinstance(value, list | tuple):
        return [encode(item, put, f"{where}[{k}]") for k, item in enumerate(value)]
    if isinstance(value, pd.DataFrame):
        index = encode(value.index.to_series(), put, f"{where} index")
        columns = [[str(name), encode(value[name], put, f"{where}[{name!r}]")] for name in value]
        return {KIND: "frame", "index": index, "name": value.index.name, "columns": columns}
    if isinstance(value, pd.Series | pd.Index | pd.Categorical) and isinstance(value.dtype, pd.CategoricalDtype):
        column = pd.Series(value)
        kept = {"codes": column.cat.codes.to_numpy(), "categories": column.cat.categories.to_series()}
        encoded = {name: encode(part, put, where) for name, part in kept.items()}
        alone = isinstance(value, pd.Categorical)
        return {KIND: "category", "ordered": bool(column.cat.ordered), "alone": alone, **encoded}
    if isinstance(value, pd.Series | pd.Index | pd.api.extensions.ExtensionArray):
        alone = isinstance(value, pd.api.extensions.ExtensionArray)
        return {KIND: "column", "alone": alone, "file": put(_parquet(pd.Series(value), where), "parquet")}
    if sp.issparse(value):
        csr = sp.csr_matrix(value)
        parts = [encode(part, put, where) for part in (csr.data, csr.indices, csr.indptr)]
        return {KIND: "sparse", "format": value.format, "shape": list(value.shape), "parts": parts}
    if isinstance(value, np.generic | np.ndarray):
        return _encode_array(np.asarray(value), put, where)
    raise InputError(
        f"{where}: a store cannot keep a {type(value).__name__}. Leave it out, or make it text or numbers."
    )


def _encode_array(array: np.ndarray, put: Put, where: str) -> Any:
    if array.dtype.kind in "OTU":
        if not all(isinstance(item, str) for item in array.ravel().tolist()):
            raise InputError(f"{where}: a store cannot keep an array of mixed objects. Make it text or numbers.")
        kind = "object" if array.dtype.kind == "O" else "U"
        return {KIND: "text", "dtype": kind, "shape": list(array.shape), "items": array.ravel().tolist()}
    if array.dtype.hasobject:
        names = array.dtype.names or ()
        fields = {name: _encode_array(array[name], put, f"{where}[{name!r}]") for name in names}
        return {KIND: "record", "fields": fields}
    if array.dtype.kind not in "biufcV" or (array.dtype.kind == "V" and not array.dtype.names):
        raise InputError(f"{where}: a store cannot keep an array of {array.dtype}. Make it text or numbers.")
    return {KIND: "array", "file": put(npy(array), "npy")}


def npy(array: np.ndarray) -> bytes:
    """Return an array as the bytes of a .npy file."""
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


def _parquet(column: pd.Series, where: str) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    stream = io.BytesIO()
    try:
        table = pa.Table.from_pandas(column.rename("value").to_frame(), preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise InputError(
            f"{where}: mixes values that a store cannot keep: {error}. Make it text or numbers."
        ) from error
    pq.write_table(table, stream, compression="zstd")
    return stream.getvalue()


def decode(value: Any, path: Path) -> Any:
    """Return the value behind its JSON; files are looked for in ``path``."""
    if isinstance(value, list):
        return [decode(item, path) for item in value]
    if not isinstance(value, dict):
        return value
    kind = value.get(KIND)
    if kind is None:
        return {key: decode(item, path) for key, item in value.items()}
    return _DECODERS[kind](value, path)


def _frame(value: dict[str, Any], path: Path) -> pd.DataFrame:
    index = pd.Index(decode(value["index"], path), name=value["name"])
    columns = {name: decode(column, path).set_axis(index) for name, column in value["columns"]}
    return pd.DataFrame(columns, index=index)


def _column(value: dict[str, Any], path: Path) -> Any:
    import pyarrow.parquet as pq

    frame: pd.DataFrame = pq.read_table(io.BytesIO(read(path, value["file"]))).to_pandas()
    column = frame["value"].rename(None)
    return column.array if value["alone"] else column


def _category(value: dict[str, Any], path: Path) -> Any:
    codes, names = decode(value["codes"], path), pd.Index(decode(value["categories"], path))
    if codes.size and not -1 <= codes.min() <= codes.max() < len(names):
        raise IntegrityError(f"{path}: codes of categories that are not there. Copy or build the store anew.")
    column = pd.Categorical.from_codes(codes, names, ordered=value["ordered"])
    return column if value["alone"] else pd.Series(column)


def _sparse(value: dict[str, Any], path: Path) -> Any:
    data, indices, indptr = (decode(part, path) for part in value["parts"])
    return sp.csr_matrix((data, indices, indptr), shape=value["shape"]).asformat(value["format"])


def _array(value: dict[str, Any], path: Path) -> Any:
    return load_npy(path, value["file"])[()]


def load_npy(path: Path, name: str) -> np.ndarray:
    """Return the array in a .npy blob."""
    return np.asarray(np.load(io.BytesIO(read(path, name)), allow_pickle=False))


def _text(value: dict[str, Any], _path: Path) -> np.ndarray:
    return np.array(value["items"], dtype=object).astype(value["dtype"]).reshape(value["shape"])


def _record(value: dict[str, Any], path: Path) -> np.ndarray:
    fields = {name: decode(field, path) for name, field in value["fields"].items()}
    array = np.empty(len(next(iter(fields.values()))), dtype=[(name, field.dtype) for name, field in fields.items()])
    for name, field in fields.items():
        array[name] = field
    return array


def _mapping(value: dict[str, Any], path: Path) -> dict[str, Any]:
    return {key: decode(item, path) for key, item in value["items"].items()}


_DECODERS: dict[str, Callable[[dict[str, Any], Path], Any]] = {
    **{"frame": _frame, "column": _column, "category": _category, "sparse": _sparse, "array": _array},
    **{"text": _text, "record": _record, "mapping": _mapping},
}


def read(path: Path, name: str) -> bytes:
    """Return the bytes of a blob; IntegrityError where they are not those it is named by."""
    import hashlib

    if not re.fullmatch(r"blobs/[0-9a-f]{64}\.\w+", name):
        raise IntegrityError(f"{path}: {name!r} is no name of a blob.")
    content = (path / name).read_bytes()
    if hashlib.sha256(content).hexdigest() != Path(name).stem:
        raise IntegrityError(f"{path / name}: its bytes were altered. Copy or build the store anew.")
    return content


def dumps(value: Any) -> bytes:
    """Return encoded values as JSON text, the same for the same values."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
