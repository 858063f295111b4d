"""Commands about a Census: what it has, getting it, writing one, checking one."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cellzoo.commands.data import filters, listed
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
from cellzoo.commands.sources import each, sources
from cellzoo.console import bars, say, sized, table
from cellzoo.errors import InputError

if TYPE_CHECKING:
    from cellzoo.converters.census.query import CensusSelection


@click.group(cls=Group)
def census() -> None:
    """Read the Census of CELLxGENE, or one of your own; write and check one."""


config_option = click.option(
    "--config",
    multiple=True,
    metavar="NAME=VALUE",
    callback=lambda _, parameter, texts: pairs(texts, parameter, "vfs.s3.region=us-east-1"),
    help="Setting of TileDB, e.g. vfs.s3.region=us-east-1. vfs.s3.no_sign_request=false signs with the keys of AWS.",
)


def _query(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that choose cells of a Census; it gets the selection."""

    @click.argument("text", nargs=-1, type=Words)
    @filters
    @click.option("--census", "where", default="stable", show_default=True, help="Release, folder, or s3:// address.")
    @click.option("--all-cells", is_flag=True, help="Also cells that are copies of cells published elsewhere.")
    @config_option
    @wraps(command)
    def chosen(wanted: dict[str, str], **options: Any) -> None:
        from cellzoo.converters.census.source import open_census

        text, where, every, config = (options.pop(name) for name in ("text", "where", "all_cells", "config"))
        opened = open_census(where, **config)
        command(opened.datasets(text=" ".join(text), primary=not every, **wanted), **options)

    return chosen


@census.command(cls=Command)
@_query
@click.option("--save", type=FileIn, help="Write the selection to a small YAML that Census.selection reads.")
@json_option
def datasets(selection: CensusSelection, save: Path | None, as_json: bool) -> None:
    """List data sets of a Census with cells that match every filter, and how much they are.

    A term stands for all terms below it; the words of TEXT are looked for in id, title, collection and citation. No
    count is read.
    """
    if save:
        say(f"{len(selection)} data sets saved to {selection.save(save)}")
    if as_json:
        click.echo(json.dumps([listed(record) for record in selection.records], indent=1))
    else:
        rows = [
            [one.id, f"{one.cells or 0:,}", ", ".join(one.labels["tissue"][:3]), one.title] for one in selection.records
        ]
        table(["id", "cells", "tissue", "title"], rows, keep=2)
    _say(selection)


@census.command(cls=Command)
@_query
@click.option("-o", "--out", type=FileIn, required=True, help="Folder of the h5ad files, or the store.")
@click.option(
    "--as", "kind", type=click.Choice(["h5ad", "store"]), default="h5ad", show_default=True, help="What to write."
)
@click.option("--genes", type=Words, help="Gene space, or an organism for its own; by default the genes of the Census.")
def get(selection: CensusSelection, out: Path, kind: str, genes: str | None) -> None:
    """Stream the cells that match into one h5ad for each data set, or into a store; memory stays bounded."""
    from cellzoo.converters.h5ad import write_h5ad

    _say(selection)
    with bars() as progress:
        if kind == "store":
            selection.to_store(out, genes, progress)
            click.echo(out)
            return
        for done, data in enumerate(selection.values(), 1):
            click.echo(write_h5ad(data.open(genes), out / f"{data.id}.h5ad", progress))
            progress("data sets", done, len(selection))


@census.command(cls=Command)
@click.argument("source", nargs=-1, type=Words)
@filters
@click.option("-o", "--out", type=FileIn, required=True, help="Folder of the new Census.")
@click.option("--genes", type=Words, help="Gene space of data sets of the registry; by default that of their organism.")
@registry_option
def export(
    source: tuple[str, ...], wanted: dict[str, str], out: Path, genes: str | None, registry: tuple[str, ...]
) -> None:
    """Write a Census of your own of SOURCEs: h5ad files, stores, ids of the registry, or verified data sets by filters.

    What census schema 2.4.0 does not take is left out, and said. `cellxgene_census.open_soma(uri=OUT)` opens it.
    """
    from cellzoo.converters.census.export import export as write

    given = sources(source, wanted, registry, genes)
    failed = Failures()
    datasets = each(given, lambda one: (one.id, one.said, one.open()), failed)
    try:
        with bars() as progress:
            made = write(out, datasets, progress, failed)
    except InputError as error:  # of none of them there are cells
        failed(str(out), error)
        sys.exit(failed.code)
    for name, reasons in made.left_out.items():
        left = ", ".join(f"{number:,} {reason}" for reason, number in sorted(reasons.items()))
        say(f"{name}: {made.cells.get(name, 0):,} cells" + (f"; left out: {left}" if left else ""))
    click.echo(made.path)
    failed.exit()


@census.command(cls=Command)
@click.argument("where", metavar="CENSUS", type=Words)
@click.option("--structure", is_flag=True, help="Do not read the counts.")
@config_option
@json_option
def check(where: str, structure: bool, config: dict[str, str], as_json: bool) -> None:
    """Hold a Census against census schema 2.4.0; exit code 1 where there are findings."""
    from cellzoo.converters.census.check import check_census

    findings = check_census(where, counts=not structure, **config)
    show_findings(findings, as_json)
    say(f"{len(findings)} findings")
    if findings:
        sys.exit(1)


def _say(selection: CensusSelection) -> None:
    size = selection.estimate()
    say(f"{len(selection)} data sets with {size.cells:,} cells, {size.nnz:,} counts over at most {size.genes:,} genes:")
    say(f"about {sized(size.memory_bytes)} in memory, {sized(size.h5ad_bytes)} as h5ad")
    say(selection.said)
