"""Cells as a data set of the Hugging Face library `datasets`: Parquet shards that can be loaded, streamed and pushed.

data/cells-00000-of-00012.parquet  one row a cell: the obs columns, and the non-zeros of each matrix as two lists
var/var.parquet                    the genes, in the order that the lists count them (one file for each matrix
                                   with features of its own)
README.md                          the card of the data set
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse as sp
from ruamel.yaml import YAML

from cellzoo.converters.celldata import CellData
from cellzoo.converters.rows import Rows, blocks
from cellzoo.converters.store.handout import as_typed
from cellzoo.converters.write import new_folder
from cellzoo.errors import InputError

SHARD = 65_536
"""Cells in one file."""
CELL = "cell"
"""The column with the names of the cells."""
FEATURE = "feature"
"""The column with the names of the features."""


@dataclass(frozen=True)
class Lists:
    """The two columns of lists that one matrix becomes."""

    rows: Rows
    """The matrix."""
    places: str
    """Column with the positions of the non-zeros, from 0."""
    values: str
    """Column with their values."""
    features: str
    """Name of the configuration that lists the features."""


Arrays = dict[str, np.ndarray]
"""Column -> an array along the cells, (cells, numbers)."""


def write_dataset(
    data: CellData, folder: Path, *, title: str = "Cells", front: Mapping[str, Any] | None = None
) -> Path:
    """Write data as a Hugging Face data set, block by block, and return the folder, a new one.

    Arrays of numbers along the cells (obsm) become columns of lists. What belongs to no cell or gene (uns, obsp, varm,
    varp) has no place in such a data set; the card names what was left out.

    ``datasets.load_dataset(folder)`` gives the cells, with ``"var"`` the genes. `front` is added to the metadata of
    the card, for example a license. InputError where an obs column has no one type or the name of another column.
    """
    data = as_typed(data)
    lists, features = _lists(data)
    tables = {name: _features(name, var) for name, var in features.items()}
    arrays = {name: np.asarray(array) for name, array in data.obsm.items() if _is_numbers(array)}
    schema = _obs_schema(data.obs, {CELL, *arrays, *(name for one in lists for name in (one.places, one.values))})
    with new_folder(folder) as temporary:
        (temporary / "data").mkdir()
        (temporary / "var").mkdir()
        for name, table in tables.items():
            pq.write_table(table, temporary / "var" / f"{name}.parquet")
        shards = max(-(-data.n_obs // SHARD), 1)
        for shard in range(shards):
            path = temporary / "data" / f"cells-{shard:05d}-of-{shards:05d}.parquet"
            _write_shard(path, shard * SHARD, data.obs, schema, arrays, lists)
        (temporary / "README.md").write_text(_card(data, title, lists, arrays, front or {}), encoding="utf-8")
    return folder


def _lists(data: CellData) -> tuple[list[Lists], dict[str, pd.DataFrame]]:
    """Return the columns of each matrix, and the features of each name."""
    lists, features = [], {"var": data.var}
    if data.X is not None:
        lists.append(Lists(data.X, "genes", "counts", "var"))
    lists += [Lists(rows, f"{name}_genes", f"{name}_counts", "var") for name, rows in data.layers.items()]
    others = {"raw": data.raw} | data.modalities if data.raw else data.modalities
    for name, part in others.items():
        features[f"{name}_var"] = part.var
        if part.X is not None:
            lists.append(Lists(part.X, f"{name}_features", f"{name}_counts", f"{name}_var"))
        for layer, rows in getattr(part, "layers", {}).items():
            lists.append(Lists(rows, f"{name}_{layer}_features", f"{name}_{layer}_counts", f"{name}_var"))
    return lists, features


def _features(name: str, var: pd.DataFrame) -> pa.Table:
    """Return features as a table; their names in the column `FEATURE`, or with underscores where one has that name."""
    column = FEATURE
    while column in var:
        column += "_"
    arrays = {column: pa.array(var.index.astype(str), pa.string())}
    for key, values in var.items():
        arrays[str(key)] = _array(values, f"{name.replace('_', '/')} column {key}")
    return _plain(pa.table(arrays))


def _array(column: pd.Series[Any], where: str) -> pa.Array:
    try:
        return pa.Array.from_pandas(column)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise InputError(f"{where}: {error}. Make it text, numbers or categories of one type.") from error


def _obs_schema(obs: pd.DataFrame, taken: set[str]) -> pa.Schema:
    if clash := sorted(taken & set(obs.columns)):
        raise InputError(f"obs columns {', '.join(clash)}: the data set has columns of that name. Rename them.")
    fields = []
    for name, column in obs.items():
        kind = _array(column, f"obs column {name}").type
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        fields.append(pa.field(str(name), pa.string() if pa.types.is_null(kind) else kind))
    return pa.schema(fields)


def _write_shard(
    path: Path, start: int, obs: pd.DataFrame, schema: pa.Schema, arrays: Arrays, lists: list[Lists]
) -> None:
    stop = min(start + SHARD, len(obs))
    columns = [pa.field(CELL, pa.string()), *schema]
    columns += [pa.field(name, pa.list_(pa.from_numpy_dtype(array.dtype))) for name, array in arrays.items()]
    for one in lists:
        columns.append(pa.field(one.places, pa.list_(pa.int32())))
        columns.append(pa.field(one.values, pa.list_(pa.from_numpy_dtype(one.rows.dtype))))
    places = {f"{one.places}.list.element": "DELTA_BINARY_PACKED" for one in lists}  # increasing: small steps
    coded = [CELL, *schema.names, *(f"{one.values}.list.element" for one in lists)]
    whole = pa.schema(columns)
    with pq.ParquetWriter(path, whole, compression="zstd", use_dictionary=coded, column_encoding=places) as writer:
        for first, last, found in _together([one.rows for one in lists], start, stop):
            part = obs.iloc[first:last]
            names = pa.array(part.index.astype(str), pa.string())
            made = [names, *(_column(part[name], field.type) for name, field in zip(obs, schema, strict=True))]
            for array in arrays.values():
                ends = np.arange(last - first + 1, dtype=np.int32) * array.shape[1]
                made.append(pa.ListArray.from_arrays(ends, pa.array(array[first:last].ravel())))
            for csr in found:
                ends = csr.indptr.astype(np.int32)
                made += [pa.ListArray.from_arrays(ends, pa.array(side)) for side in (csr.indices, csr.data)]
            writer.write_batch(pa.record_batch(made, schema=whole), row_group_size=max(last - first, 1))


def _together(matrices: list[Rows], start: int, stop: int) -> Iterator[tuple[int, int, list[sp.csr_matrix]]]:
    """Yield the same cells of each matrix, as many as the first of them gives at a time."""
    if not matrices:
        yield start, stop, []
        return
    for offset, block in blocks(_Range(matrices[0], start, stop)):
        first, last = start + offset, start + offset + block.shape[0]
        yield first, last, [block, *(matrix.read(first, last) for matrix in matrices[1:])]


class _Range:
    """Neighbouring cells of a matrix."""

    def __init__(self, rows: Rows, start: int, stop: int) -> None:
        self.rows, self.start = rows, start
        self.shape = (stop - start, rows.shape[1])
        self.dtype = rows.dtype

    def read(self, start: int, stop: int) -> sp.csr_matrix:
        return self.rows.read(self.start + start, self.start + stop)


def _column(column: pd.Series[Any], kind: pa.DataType) -> pa.Array:
    array = pa.Array.from_pandas(column)
    array = array.dictionary_decode() if pa.types.is_dictionary(array.type) else array
    return array.cast(kind)


def _plain(table: pa.Table) -> pa.Table:
    for at, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(at, field.name, table.column(at).cast(field.type.value_type))
    return table.replace_schema_metadata(None)


def _is_numbers(array: Any) -> bool:
    return isinstance(array, np.ndarray) and array.ndim == 2 and array.dtype.kind in "iufb"


def _card(data: CellData, title: str, lists: list[Lists], arrays: Arrays, front: Mapping[str, Any]) -> str:
    cells, files = data.n_obs, [{"config_name": "cells", "default": True, "data_files": "data/cells-*.parquet"}]
    configs = sorted({"var", *(one.features for one in lists)}, key=lambda name: (name != "var", name))
    files += [{"config_name": name, "data_files": f"var/{name}.parquet"} for name in configs]
    left = [f"obsm {name}" for name in data.obsm if name not in arrays]
    left += [f"{part} {name}" for part in ("uns", "obsp", "varm", "varp") for name in getattr(data, part)]
    stream = io.StringIO()
    yaml = YAML()
    yaml.default_flow_style = False
    meta = {"pretty_name": title, "tags": ["single-cell", "biology", "cellzoo"], "size_categories": [_size(cells)]}
    yaml.dump(meta | dict(front) | {"configs": files}, stream)
    rows = [f"| `{one.places}`, `{one.values}` | non-zeros over `{one.features}` |" for one in lists]
    return "\n".join(
        [
            f"---\n{stream.getvalue()}---",
            f"# {title}",
            "",
            f"{cells:,} cells and {data.n_vars:,} genes, written by cellzoo.",
            "",
            "```python",
            "import datasets",
            "",
            'cells = datasets.load_dataset("ORGANIZATION/NAME", split="train")  # streaming=True reads as it goes',
            'genes = datasets.load_dataset("ORGANIZATION/NAME", "var", split="train")',
            "```",
            "",
            "| columns | what they hold |",
            "|---|---|",
            f"| `{CELL}` | name of the cell |",
            *rows,
            *(f"| `{name}` | from obsm |" for name in arrays),
            *(f"| `{name}` | from obs |" for name in data.obs),
            "",
            "Positions count the features from 0, in increasing order; a feature that is not listed is 0.",
            *(["", f"Left out, as it belongs to no one cell or gene: {', '.join(left)}."] if left else []),
            "",
        ]
    )


def _size(cells: int) -> str:
    steps = [(10**3, "1K"), (10**4, "10K"), (10**5, "100K"), (10**6, "1M"), (10**7, "10M"), (10**8, "100M")]
    for (most, name), (_, below) in zip(steps, [(0, "n"), *steps], strict=False):
        if cells < most:
            return f"n<{name}" if below == "n" else f"{below}<n<{name}"
    return "n>100M"
