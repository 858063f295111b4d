"""Commands that read the registry: list, show and get data sets."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from cellzoo.commands.shared import Command, FileIn, json_option, open_zoo, registry_option
from cellzoo.console import bars, report, say, table, warn
from cellzoo.errors import CellzooError

FILTERS = ("organism", "tissue", "cell-type", "assay", "disease", "development-stage", "sex")


@click.command(cls=Command)
@click.option("-o", "--out", type=FileIn, default=Path("demo"), show_default=True, help="Folder for page and models.")
@click.option("--study-split", is_flag=True, help="Train on two blood studies, annotate a third (needs the downloads).")
def demo(out: Path, study_split: bool) -> None:
    """Run the whole story on real data: check, get, train, release, pull, annotate, one page.

    By default on data that the installed scanpy carries: no network, about a minute.
    """
    from cellzoo.demo import run_demo

    page = run_demo(out, study_split, say)
    click.echo(page)


def _filters(command: Callable[..., None]) -> Callable[..., None]:
    for name in reversed(FILTERS):
        command = click.option(f"--{name}", help=f"{name.replace('-', ' ').capitalize()}: id or label of a term.")(
            command
        )

    @wraps(command)
    def wrapped(**options: Any) -> None:
        wanted = {name.replace("-", "_"): options.pop(name.replace("-", "_")) for name in FILTERS}
        command(wanted={name: value for name, value in wanted.items() if value}, **options)

    return wrapped


@click.command(cls=Command)
@registry_option
@json_option
@_filters
def datasets(wanted: dict[str, str], registry: str | None, as_json: bool) -> None:
    """List data sets, by any mix of filters; a term stands for all terms below it."""
    zoo = open_zoo(registry)
    summary = zoo.datasets(**wanted).obs_summary()
    warn(zoo.registry.problems)
    if as_json:
        click.echo(summary.reset_index().to_json(orient="records", indent=1))
        return
    if summary.empty:
        click.echo("No data set matches.", err=True)
        return
    columns = ["status", "cells", "organism", "tissue", "assay", "title"]
    table(
        ["id", *columns], [[row.Index, *(str(getattr(row, name)) for name in columns)] for row in summary.itertuples()]
    )


@click.command(cls=Command)
@click.argument("dataset")
@registry_option
@json_option
def show(dataset: str, registry: str | None, as_json: bool) -> None:
    """Show everything a card says about one data set."""
    zoo = open_zoo(registry)
    card = zoo.registry.card(dataset)
    if as_json:
        click.echo(card.model_dump_json(indent=1, exclude_none=True))
    else:
        click.echo(zoo.registry.path(dataset).read_text().rstrip())


@click.command(cls=Command)
@click.argument("dataset", nargs=-1, required=True)
@click.option("-o", "--out", type=FileIn, required=True, help="Folder for the h5ad files.")
@registry_option
def get(dataset: tuple[str, ...], out: Path, registry: str | None) -> None:
    """Fetch data sets, verify, read and streamline them, and write one h5ad each."""
    from cellzoo.converters.write import check_writable

    zoo = open_zoo(registry)
    failed = 0
    for name in dataset:
        try:
            one = zoo[name]
            check_writable(out / f"{name}.h5ad")
            with bars() as progress:
                adata = one.load(progress=progress)
                path = one.write(adata, out)
        except CellzooError as error:  # one that fails never stops the others
            if len(dataset) == 1:
                raise
            click.echo(f"Error: {name}: {error}", err=True)
            failed = max(failed, error.exit_code)
            continue
        report(name, adata)
        click.echo(path)
    if failed:
        sys.exit(failed)
