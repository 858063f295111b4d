"""What the command line shows: messages on stderr, tables on stdout, bars on a terminal."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from cellzoo.errors import Finding

if TYPE_CHECKING:
    import anndata

    from cellzoo.converters.celldata import CellData

MAX_WIDTH = 40  # characters of a column that a narrow terminal makes room for


def told(adata: anndata.AnnData) -> None:
    """Say where the counts and genes of an annotated file came from, and how many cells were called what."""
    notes = adata.uns["cellzoo"]
    say(f"counts: {notes['counts']}, median {notes['median_counts_per_cell']:.0f} a cell")
    say(
        f"genes: {notes['genes_used']} of the model's {notes['genes_of_model']} ({notes['gene_overlap']:.1%}), "
        f"which carry {notes['weight_overlap']:.1%} of its weight; named in {notes['gene_names']}"
    )
    if notes["weight_overlap"] < 0.5:
        say("warning: the genes carry less than half of the model's weight; expect coarser and less certain calls")
    if notes["cells_without_counts"]:
        say(f"warning: {notes['cells_without_counts']} cells have no counts of the model's genes; they are unknown")
    if "cellzoo_cell_type" in adata.obs:
        for label, number in adata.obs["cellzoo_cell_type"].value_counts().items():
            say(f"{number:8d}  {label}")


def report(dataset: str, data: CellData) -> None:
    """Say what became of the gene names, counts, columns and layers of a streamlined data set, sample by sample."""
    found = json.loads(data.uns["cellzoo"]["report"])
    for sample, one in found.get("samples", {"": found}).items():
        _report_of(f"{dataset} {sample}".rstrip(), one)


def _report_of(name: str, report: dict[str, Any]) -> None:
    if "genes" in report:
        _report_of_genes(name, report)
    if unused := report["columns_left_out"]:
        names = ", ".join(column if column.isprintable() else repr(column) for column in unused)
        say(f"{name}: columns of cells that the card does not use, left out: {names}")
    if unsaid := report["uns_left_out"]:
        say(f"{name}: parts of uns that are left out: {', '.join(unsaid)}")
    for layer, number in report.get("genes_without_value_in_layer", {}).items():
        say(f"{name}: layer {layer}: {number} genes that several columns stand for have no value; only counts add up")
    if layers := report.get("layers_left_out"):
        say(f"{name}: layers that other samples lack, left out: {', '.join(layers)}")
    for modality, number in report.get("modalities", {}).items():
        say(f"{name}: {number} features of type {modality}, as a modality of their own")


def _report_of_genes(name: str, report: dict[str, Any]) -> None:
    genes = report["genes"]
    kept = report["counts_kept"] / report["counts_in_source"]
    lost = {kind: genes[kind]["number"] for kind in ("outside", "ambiguous", "conflicts", "unmapped")}
    say(
        f"{name}: {report['cells']} cells, {genes['mapped']} of {genes['names']} gene names onto {genes['genes']} "
        f"genes, {kept:.1%} of the counts kept; not kept: {lost['outside']} of other biotypes, {lost['unmapped']} "
        f"unknown names, {lost['ambiguous']} ambiguous, {lost['conflicts']} that would have joined another gene"
    )


def say_metrics(metrics: dict[str, Any]) -> None:
    """Say the metrics of a model."""
    for role, values in metrics.items():
        if values is None:
            say(f"{role}: no cells were held out")
            continue
        numbers = [f"{name} {value:.4g}" for name, value in values.items() if isinstance(value, int | float)]
        say(f"{role}: {', '.join(numbers)}")


def say_set(number: dict[str, int]) -> None:
    """Say in how many cells each field was unknown and was set."""
    for field, cells in number.items():
        say(f"{field}: set in {cells} cells" if cells else f"{field}: known in every cell, nothing was set")


def say(text: str) -> None:
    """Print one line on stderr."""
    click.echo(text, err=True)


def warn(findings: list[Finding]) -> None:
    """Print findings on stderr."""
    for finding in findings:
        click.echo(str(finding), err=True)


def wrapped(text: str, indent: str) -> str:
    """Return a text wrapped to the width of the terminal, hanging from a first indent."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 120
    return textwrap.fill(text, max(width, 40), initial_indent=indent, subsequent_indent=" " * len(indent))


def sized(number: int) -> str:
    """Return a number of bytes as it is read: 1.2 GB, 3.4 MB."""
    return f"{number / 1e9:,.1f} GB" if number >= 1e9 else f"{number / 1e6:,.1f} MB"


def table(columns: list[str], rows: list[list[str]], keep: int | None = None) -> None:
    """Print a table, a line for each row; a narrow terminal shows the first ``keep`` columns and what else fits."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 10_000, markup=False, emoji=False)
    widths = [max(len(cell) for cell in column) for column in zip(columns, *rows, strict=True)]
    shown = len(columns)
    while keep and shown > keep and sum(min(width, MAX_WIDTH) + 2 for width in widths[:shown]) > console.width:
        shown -= 1
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns[:shown]:
        table.add_column(column, no_wrap=True, overflow="ellipsis")
    for row in rows:
        table.add_row(*row[:shown])
    console.print(table)


@contextmanager
def bars() -> Iterator[Callable[[str, int, int], None]]:
    """Give a function that draws a bar on a terminal and is quiet in a pipe."""
    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as drawn:
        tasks: dict[str, Any] = {}

        def show(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = drawn.add_task(name, total=total)
            drawn.update(tasks[name], completed=done)

        yield show
