"""Commands that read the registry: list, show and get data sets."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cellzoo.commands.shared import (
    Command,
    Failures,
    FileIn,
    Words,
    json_option,
    open_cards,
    open_zoo,
    registry_option,
    set_option,
)
from cellzoo.console import bars, report, say, say_set, table, warn
from cellzoo.errors import CellzooError

if TYPE_CHECKING:
    import pandas as pd

    from cellzoo.registry.index import Record

FILTERS = (
    *("organism", "tissue", "cell-type", "assay", "disease", "development-stage", "sex"),
    *("self-reported-ethnicity", "cell-line"),
)


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


def _once(_: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> str | None:
    """Return what was said; saying it twice would have meant the last only."""
    if len(texts) > 1:
        raise click.BadParameter("is given twice; a term stands for all terms below it.", param=parameter)
    return texts[0] if texts else None


def filters(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for each field of terms; it gets those that were used as ``wanted``."""
    for name in reversed(FILTERS):
        words = f"{name.replace('-', ' ').capitalize()}: id or label of a term."
        command = click.option(f"--{name}", type=Words, multiple=True, callback=_once, help=words)(command)

    @wraps(command)
    def wrapped(**options: Any) -> None:
        wanted = {name.replace("-", "_"): options.pop(name.replace("-", "_")) for name in FILTERS}
        command(wanted={name: value for name, value in wanted.items() if value}, **options)

    return wrapped


@click.command(cls=Command)
@click.argument("text", nargs=-1, type=Words)
@filters
@click.option("--status", type=click.Choice(["imported", "verified", "broken"]), help="Only cards of this status.")
@click.option("--facets", "facet", type=click.Choice(FILTERS), help="Count data sets and cells by a field instead.")
@click.option("--save", type=FileIn, help="Write the selection to a small YAML that Zoo.selection reads.")
@registry_option
@json_option
def datasets(  # noqa: PLR0913, PLR0917
    wanted: dict[str, str],
    text: tuple[str, ...],
    status: str | None,
    facet: str | None,
    save: Path | None,
    registry: tuple[str, ...],
    as_json: bool,
) -> None:
    """List data sets that hold every word of TEXT and match every filter; a term stands for all terms below it.

    Nothing is downloaded and no data are read: what is listed stands in the cards.
    """
    zoo = open_zoo(registry)
    chosen = zoo.datasets(text=" ".join(text), status=status or "", **wanted)
    warn(zoo.registry.problems)
    if save:
        say(f"{len(chosen)} data sets saved to {chosen.save(save)}")
    if facet:
        _show_facets(chosen.facets(facet.replace("-", "_")), as_json)
    elif as_json:
        click.echo(json.dumps([listed(record) for record in chosen.records], indent=1))
    elif chosen:
        _show_datasets(chosen.records)
    else:
        say("No data set matches.")


def listed(record: Record) -> dict[str, Any]:
    """Return a record as the listing shows it: labels by field, and the ids of the terms beside them."""
    plain = asdict(record)
    for hidden in ("text", "labels"):
        del plain[hidden]
    return plain | {name: ", ".join(labels) for name, labels in record.labels.items()}


def _show_datasets(records: list[Record]) -> None:
    fields = ("tissue", "assay", "organism")
    rows = [
        [one.id, one.status, f"{one.cells:,}" if one.cells else ""]
        + [*(_few(one.labels.get(name, [])) for name in fields), one.title]
        for one in records
    ]
    table(["id", "status", "cells", *fields, "title"], rows, keep=3)
    verified = [one for one in records if one.status == "verified"]
    cells = sum(one.cells or 0 for one in verified)
    say(f"{len(records)} data sets, {len(verified)} of them verified with {cells:,} cells")


def _few(labels: list[str]) -> str:
    shown = ", ".join(label for label in labels[:2] if label != "unknown")
    return f"{shown} +{len(labels) - 2}" if len(labels) > 2 else shown


def _show_facets(frame: pd.DataFrame, as_json: bool) -> None:
    if as_json:
        click.echo(frame.reset_index().to_json(orient="records", indent=1))
    else:
        table(
            ["term", "label", "datasets", "known cells"],
            [[*map(str, row[:3]), str(row[3] or "")] for row in frame.reset_index().itertuples(index=False)],
        )


@click.command(cls=Command)
@click.argument("name", metavar="ID", type=Words)
@click.option("--history", is_flag=True, help="Show who changed the card and its label maps, and when.")
@registry_option
@json_option
def show(name: str, history: bool, registry: tuple[str, ...], as_json: bool) -> None:
    """Show everything a card says about one data set, collection or model."""
    cards = open_cards(registry)
    card = cards.any_card(name)
    path = cards.model_paths.get(name) or cards.path(name)
    if history:
        from cellzoo.commands.git import show_history

        show_history(path, as_json)
    elif as_json:
        click.echo(card.model_dump_json(indent=1, exclude_none=True))
    else:
        click.echo(path.read_text(encoding="utf-8").rstrip())


def check_said(said: Mapping[str, str]) -> None:
    """Refuse a FIELD of --set that there is not."""
    from cellzoo.converters.cellxgene.rules import SETTABLE

    if strange := [field for field in said if field not in SETTABLE]:
        message = f"{', '.join(map(repr, strange))} cannot be set; expected one of {', '.join(SETTABLE)}."
        raise click.BadParameter(message, param_hint="--set")


@click.command(cls=Command)
@click.argument("dataset", nargs=-1, required=True, type=Words)
@click.option(
    "-o", "--out", type=FileIn, required=True, help="Folder for the h5ad files; h5mu with antibodies or peaks."
)
@click.option(
    "--schema",
    type=click.Choice(["cellxgene", "sfaira"]),
    help="Spell the file as CELLxGENE 7.1 (portal labels included) or sfaira has it; by default the streamlined form.",
)
@set_option
@registry_option
def get(
    dataset: tuple[str, ...], out: Path, schema: str | None, said: dict[str, str], registry: tuple[str, ...]
) -> None:
    """Fetch data sets, verify, read and streamline them, and write one h5ad each."""
    from cellzoo.converters.write import check_writable

    if said and schema != "cellxgene":
        raise click.UsageError("--set says what CELLxGENE wants to know: give --schema cellxgene with it.")
    check_said(said)
    zoo, failed = open_zoo(registry), Failures()
    for name in dataset:
        try:
            one = zoo[name]
            check_writable(out / f"{name}.h5ad")
            with bars() as progress:
                path, data, conversion = one.write(out, schema or "", said, progress)
        except CellzooError as error:  # one that fails never stops the others
            if len(dataset) == 1:
                raise
            failed(name, error)
            continue
        report(name, data)
        if conversion:
            say_set(conversion.set)
        click.echo(path)
    failed.exit()
