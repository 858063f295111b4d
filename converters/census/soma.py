"""TileDB-SOMA: imported late, its errors as ours, and tables that are read again after they were written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache, reduce
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from cellzoo.converters.census.layout import JOINID
from cellzoo.errors import InputError, MissingExtraError, NotFoundError, WorldError

if TYPE_CHECKING:
    from types import ModuleType

BUFFER = str(64 * 2**20)
"""Bytes that one column of a read may take: what bounds memory."""
SAFE = {"sm.query.sparse_global_order.preprocess_tile_merge": "0"}
"""TileDB 2.30 orders the tiles of a read in tasks that can outlive it; they then free what is gone, and the process
ends (seen with tiledbsoma 1.17 to 2.3; TileDB pull request 5723). With 0 tiles are ordered while they are read."""
REMOTE = ("s3://", "gs://", "azure://", "http://", "https://", "tiledb://")


def library() -> ModuleType:
    """Return tiledbsoma; MissingExtraError where it is not installed."""
    try:
        import tiledbsoma
    except ImportError as error:
        raise MissingExtraError("The Census", "census") from error
    module: ModuleType = tiledbsoma
    return module


def settings_of(uri: str, config: Mapping[str, str]) -> dict[str, str]:
    """Return the TileDB settings to open a place with: those given over those of a public bucket and small buffers."""
    signed = any(name.startswith("vfs.s3.aws_") for name in config)
    public = {"vfs.s3.region": "us-west-2", "vfs.s3.no_sign_request": "false" if signed else "true"}
    return {"soma.init_buffer_bytes": BUFFER, **(public if uri.startswith("s3://") else {}), **config}


def open_soma(uri: str, config: Mapping[str, str], mode: str = "r") -> Any:
    """Return an opened SOMA object; NotFoundError where there is none, WorldError where it cannot be reached."""
    soma = library()
    with told(uri):
        return soma.open(uri, mode, context=_context(frozenset(config.items())))


@cache
def _context(config: frozenset[tuple[str, str]]) -> Any:
    return library().SOMATileDBContext(tiledb_config=SAFE | dict(config))


@contextmanager
def told(uri: str) -> Iterator[None]:
    """Turn what TileDB raises inside into errors of ours that name the place."""
    soma = library()
    try:
        yield
    except soma.DoesNotExistError as error:
        raise NotFoundError(f"{uri}: there is no Census. Check the address and that it may be read.") from error
    except (soma.SOMAError, RuntimeError) as error:  # TileDB's own core raises RuntimeError
        what = " ".join(str(error).split())
        if uri.startswith(REMOTE):
            raise WorldError(
                f"{uri}: cannot be reached: {what}. Check the network, the address and the keys."
            ) from error
        raise InputError(f"{uri}: cannot be read as SOMA: {what}.") from error


def to_arrow(frame: pd.DataFrame, columns: Mapping[str, pa.DataType]) -> pa.Table:
    """Return a table of these columns and types; dictionaries hold what occurs, indices as narrow as that allows."""
    arrays = {}
    for name, kind in columns.items():
        if not pa.types.is_dictionary(kind):
            arrays[name] = pa.array(frame[name].to_numpy(), kind, from_pandas=False)
            continue
        words = pd.Categorical(frame[name]).remove_unused_categories()
        width = next(
            one for one in (pa.int8(), pa.int16(), pa.int32()) if len(words.categories) < 2 ** (one.bit_width - 1)
        )
        arrays[name] = pa.DictionaryArray.from_arrays(
            pa.array(np.asarray(words.codes), width), pa.array(words.categories.astype(str).to_numpy(), kind.value_type)
        )
    return pa.table(arrays)


def write_frame(uri: str, table: pa.Table, config: Mapping[str, Any] | None = None) -> None:
    """Write a table as a new SOMADataFrame at a path and hold what can be read of it against the table.

    It is created, closed and opened again before it is written: through a parent that is still open tiledbsoma 2
    loses the words of dictionaries, and filters then match nothing.
    """
    soma = library()
    domain = [(0, max(table.num_rows - 1, 0))]
    soma.DataFrame.create(
        uri, schema=table.schema, index_column_names=[JOINID], domain=domain, platform_config=config
    ).close()
    if table.num_rows:
        with soma.open(uri, "w") as frame:
            frame.write(table)
    _check_written(uri, table)


def _check_written(uri: str, table: pa.Table) -> None:
    """Raise WorldError unless all rows are there, all words, and the rows that are like the first."""
    names = [name for name in table.schema.names if pa.types.is_dictionary(table.schema.field(name).type)]
    columns = {name: table[name].combine_chunks() for name in names if table.num_rows}
    with open_soma(uri, {}) as frame:
        lost = [] if frame.count == table.num_rows else [f"{frame.count} of {table.num_rows} rows"]
        kept = frame.get_enumeration_values(list(columns))
        for name, column in columns.items():
            if sorted(kept[name].to_pylist()) != sorted(column.dictionary.to_pylist()):
                lost.append(f"the words of {name}")
        if columns and not lost:
            codes = [column.indices.to_numpy() for column in columns.values()]
            expected = int(np.logical_and.reduce([code == code[0] for code in codes]).sum())
            found = matches(frame, {name: [column[0].as_py()] for name, column in columns.items()})
            lost += [] if found == expected else [f"{found} of {expected} rows are like the first"]
    if lost:
        version = library().__version__
        message = f"{uri}: tiledbsoma {version} did not keep what was written ({'; '.join(lost)})."
        raise WorldError(f"{message} Use another version of tiledbsoma.")


def words_of(frame: Any, column: str) -> list[str] | None:
    """Return the words of a dictionary column of a SOMADataFrame, sorted; None where it is a plain column."""
    if not pa.types.is_dictionary(frame.schema.field(column).type):
        return None
    return sorted(frame.get_enumeration_values([column])[column].to_pylist())


def matches(frame: Any, words: Mapping[str, list[str]]) -> int:
    """Return how many rows of a SOMADataFrame have one of the words in each of its columns.

    Counted here: what TileDB's filters find is what is in question.
    """
    found = 0
    for part in tables(frame, list(words)):
        has = [pc.is_in(part[name].cast(pa.string()), pa.array(kept, pa.string())) for name, kept in words.items()]
        found += int(pc.sum(reduce(pc.and_, has)).as_py() or 0)
    return found


def tables(frame: Any, columns: list[str], value_filter: str | None = None) -> Iterator[pa.Table]:
    """Yield columns of the matching rows of a SOMADataFrame, as many rows at a time as the buffers hold."""
    with told(frame.uri):
        yield from frame.read(column_names=columns, value_filter=value_filter or None)
