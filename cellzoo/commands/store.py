"""Commands of the training store: build it, say what is in it, hold it against its checksums."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cellzoo.commands.data import filters
from cellzoo.commands.shared import (
    Command,
    Failures,
    FileIn,
    Group,
    Words,
    json_option,
    pairs,
    registry_option,
    show_findings,
)
from cellzoo.commands.sources import check_organisms, each, sources
from cellzoo.console import bars, say, sized, table
from cellzoo.errors import Finding, InputError, IntegrityError, NotFoundError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cellzoo.converters.celldata import CellData
    from cellzoo.converters.store import Store


@click.group(cls=Group)
def store() -> None:
    """Put any number of data sets on disk, for training at the speed of memory."""


@store.command(cls=Command)
@click.argument("source", nargs=-1, type=Words)
@filters
@click.option("-o", "--out", type=FileIn, required=True, help="Folder of the store; an existing one is added to.")
@click.option("--packed", type=click.Choice(["zstd", "lz4"]), help="Compress: a quarter of the size, slower to read.")
@click.option("--genes", type=Words, help="Gene space of data sets of the registry; by default that of their organism.")
@registry_option
def build(
    source: tuple[str, ...],
    wanted: dict[str, str],
    out: Path,
    packed: str | None,
    genes: str | None,
    registry: tuple[str, ...],
) -> None:
    """Stream SOURCEs into a store: h5ad files, other stores, ids of the registry, or verified data sets by filters.

    What is in the store already is skipped; an interrupted build goes on where it was when it is run again.
    """
    from cellzoo.converters.store import build as build_store

    given = sources(source, wanted, registry, genes)
    check_organisms(given)
    failed, is_new = Failures(), not out.exists()
    items = each(given, lambda one: (one.id, one.digest, one.open), failed)
    with bars() as progress:
        made = build_store(out, items, progress, failed, **_packing(out, packed))
    if is_new and failed.code and not made.datasets:
        shutil.rmtree(out)  # ours, of this minute, and empty
        failed.exit()
    say(f"{len(made.datasets)} data sets, {made.shape[0]:,} cells x {made.shape[1]:,} features, {sized(made.bytes)}")
    click.echo(out)
    failed.exit()


def _packing(out: Path, packed: str | None) -> dict[str, str]:
    """Return how the matrices of a store are written: as was asked, else as those that it holds, or began with."""
    from cellzoo.converters.store.layout import JOURNAL, MANIFEST, read_state

    if packed:
        return {"encoding": "packed", "codec": packed}
    for name in (JOURNAL, MANIFEST):
        if (out / name).is_file():
            said = read_state(out, name)
            state = said.get("state", said)
            return {"encoding": state["encoding"], "codec": state["codec"]}
    return {}


@store.command(cls=Command)
@click.argument("path", metavar="STORE", type=FileIn)
@click.option("-o", "--out", type=FileIn, required=True, help="File or folder to write, a new one.")
@click.option(
    "--as",
    "kind",
    type=click.Choice(["h5ad", "zarr", "parquet"]),
    default="h5ad",
    show_default=True,
    help="h5ad (h5mu where there are antibodies or peaks), Zarr of AnnData, or a data set of Hugging Face.",
)
@click.option("--dataset", type=Words, help="One data set as it was stored; by default all as one.")
@click.option(
    "--where",
    metavar="COLUMN=VALUE",
    multiple=True,
    type=Words,
    callback=lambda _, parameter, texts: pairs(texts, parameter, "cell_type='B cell'"),
    help="Only cells with this value in a column of obs. Several must all hold.",
)
def get(path: Path, out: Path, kind: str, dataset: str | None, where: dict[str, str]) -> None:
    """Write cells of a STORE for other tools, block by block: memory stays bounded."""
    from cellzoo.converters.h5ad import write_h5ad
    from cellzoo.converters.store import Store, select, write_dataset, write_zarr
    from cellzoo.converters.write import refuse_existing

    refuse_existing(out)
    stored = Store(path)
    part = stored.celldata(dataset)
    if dataset is None and len(stored.datasets) > 1:
        for name in stored.obsm.differing():
            say(f"obsm[{name!r}] is left out: data sets have it in several widths; --dataset gives that of one")
    if where:
        part = select(part, rows=_cells(path, part, where))
    with bars() as progress:
        writers: dict[str, Callable[[CellData, Path], Path]] = {
            "h5ad": partial(write_h5ad, progress=progress),
            "zarr": write_zarr,
            "parquet": write_dataset,
        }
        made = writers[kind](part, out)
    click.echo(made)
    say(f"{part.n_obs:,} cells x {part.n_vars:,} features")


def _cells(path: Path, data: CellData, where: dict[str, str]) -> NDArray[np.bool_]:
    """Return which cells have each value; NotFoundError where none has, or there is no such column."""
    import numpy as np

    mask = np.ones(data.n_obs, dtype=bool)
    for column, value in where.items():
        if column not in data.obs:
            raise NotFoundError(
                f"{path}: has no column {column!r} of cells; there are {', '.join(map(str, data.obs))}."
            )
        mask &= (data.obs[column].astype(str) == value).to_numpy()
    if not mask.any():
        raise NotFoundError(f"{path}: no cell has {' and '.join(map('='.join, where.items()))}.")
    return mask


@store.command(cls=Command)
@click.argument("path", type=FileIn)
@json_option
def info(path: Path, as_json: bool) -> None:
    """Say what is in a store: its data sets, matrices and columns of cells."""
    from cellzoo.converters.store import Store

    one = Store(path)
    if as_json:
        click.echo(json.dumps(_described(one), indent=1))
        return
    matrices = [one.matrix(name) for name in one.matrices]
    rows = [
        [name, one.feature_type(name), f"{matrix.shape[1]:,}", f"{matrix.nnz:,}", matrix.encoding]
        for name, matrix in zip(one.matrices, matrices, strict=True)
    ]
    table(
        ["data set", "cells", "matrices"], [[d.id, f"{len(d):,}", ", ".join(d.matrices)] for d in one.datasets.values()]
    )
    table(["matrix", "features", "number", "values", "encoding"], rows)
    say(f"{one.shape[0]:,} cells, {sized(one.bytes)}; columns of cells: {', '.join(one.obs)}")


@store.command(cls=Command)
@click.argument("path", type=FileIn)
@json_option
def verify(path: Path, as_json: bool) -> None:
    """Hold every file of a store against its sha256; exit code 1 where one was altered."""
    from cellzoo.converters.store import Store
    from cellzoo.converters.store.layout import MANIFEST

    try:
        with bars() as progress:
            findings = Store(path).verify(progress)
    except InputError as error:
        if not (path / MANIFEST).is_file():
            raise
        findings = [_closed(path, error)]
    show_findings(findings, as_json)
    errors = sum(finding.severity == "error" for finding in findings)
    say(f"{path}: {f'{errors} files were altered' if errors else 'every file is as it was written'}")
    if errors:
        sys.exit(IntegrityError.exit_code)


def _closed(path: Path, error: InputError) -> Finding:
    """Return what keeps a store from being opened as a finding."""
    remedy = "Copy or build the store anew." if isinstance(error, IntegrityError) else ""
    message = str(error).removeprefix(f"{path}: ").removesuffix(f" {remedy}")
    return Finding(str(path), 0, 0, "STO001", message, remedy)


def _described(one: Store) -> dict[str, Any]:
    matrices = {name: one.matrix(name) for name in one.matrices}
    return {
        "id": one.path.name,
        "digest": one.digest,
        "version": one.version,
        "cells": one.shape[0],
        "features": one.shape[1],
        "bytes": one.bytes,
        "datasets": [
            {"id": d.id, "digest": d.digest, "cells": len(d), "first": d.start} for d in one.datasets.values()
        ],
        "matrices": [
            {"id": name, "feature_type": one.feature_type(name), "features": matrix.shape[1], "values": matrix.nnz}
            | {"encoding": matrix.encoding, "dtype": str(matrix.dtype)}
            for name, matrix in matrices.items()
        ],
        "obs": list(one.obs),
        "obsm": list(one.obsm),
    }
