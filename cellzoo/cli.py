"""The command line: each command is one call of the package; findings are printed, exit codes say what happened.

Exit codes: 0 good, 1 the input has findings, 2 wrong usage, 3 the world failed (network, disk).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cellzoo import __version__
from cellzoo.errors import CardError, CellzooError, Finding

if TYPE_CHECKING:
    import anndata

FileIn = click.Path(path_type=Path)
FILTERS = ("organism", "tissue", "cell-type", "assay", "disease", "development-stage", "sex")
registry_option = click.option(
    "--registry", help="Folder of cards; by default CELLZOO_REGISTRY, else the packaged ones."
)
remote_option = click.option("--remote", help="Folder or URL of a hub; by default CELLZOO_REMOTE, else huggingface.co.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
layer_option = click.option("--layer", help="Where the raw counts are: X, raw or a layer. Found by itself otherwise.")


class Command(click.Command):
    """A command that turns cellzoo's errors into a message on stderr and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except CellzooError as error:
            for line in [str(error), *getattr(error, "__notes__", [])]:
                click.echo(f"Error: {line}" if not isinstance(error, CardError) else line, err=True)
            ctx.exit(error.exit_code)


class Group(click.Group):
    """A group of such commands, listed in the order of the file."""

    command_class = Command

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order they are written here."""
        return list(self.commands)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__)
def main() -> None:
    """A data zoo and a model zoo for single-cell genomics."""


@main.command()
@click.option("-o", "--out", type=FileIn, default=Path("demo"), show_default=True, help="Folder for page and models.")
@click.option("--study-split", is_flag=True, help="Train on two blood studies, annotate a third (needs the downloads).")
def demo(out: Path, study_split: bool) -> None:
    """Run the whole story on real data: check, get, train, release, pull, annotate, one page.

    By default on data that the installed scanpy carries: no network, about a minute.
    """
    from cellzoo.demo import run_demo

    page = run_demo(out, study_split, _say)
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


@main.command()
@registry_option
@json_option
@_filters
def datasets(wanted: dict[str, str], registry: str | None, as_json: bool) -> None:
    """List data sets, by any mix of filters; a term stands for all terms below it."""
    zoo = _zoo(registry)
    table = zoo.datasets(**wanted).obs_summary()
    _warn(zoo.registry.problems)
    if as_json:
        click.echo(table.reset_index().to_json(orient="records", indent=1))
        return
    if table.empty:
        click.echo("No data set matches.", err=True)
        return
    columns = ["status", "cells", "organism", "tissue", "assay", "title"]
    _table(
        ["id", *columns], [[row.Index, *(str(getattr(row, name)) for name in columns)] for row in table.itertuples()]
    )


@main.command()
@click.argument("dataset")
@registry_option
@json_option
def show(dataset: str, registry: str | None, as_json: bool) -> None:
    """Show everything a card says about one data set."""
    zoo = _zoo(registry)
    card = zoo.registry.card(dataset)
    if as_json:
        click.echo(card.model_dump_json(indent=1, exclude_none=True))
    else:
        click.echo(zoo.registry.path(dataset).read_text().rstrip())


@main.command()
@click.argument("dataset", nargs=-1, required=True)
@click.option("-o", "--out", type=FileIn, required=True, help="Folder for the h5ad files.")
@registry_option
def get(dataset: tuple[str, ...], out: Path, registry: str | None) -> None:
    """Fetch data sets, verify, read and streamline them, and write one h5ad each."""
    zoo = _zoo(registry)
    chosen = [zoo[name] for name in dataset]
    failed: CellzooError | None = None
    for one in chosen:
        try:
            with _progress() as progress:
                adata = one.load(progress=progress)
                path = one.write(adata, out)
        except CellzooError as error:  # one that fails never stops the others
            if len(chosen) == 1:
                raise
            click.echo(f"Error: {one.card.id}: {error}", err=True)
            failed = failed or error
            continue
        _report(one.card.id, adata)
        click.echo(path)
    if failed:
        raise failed


@main.command()
@click.argument("path", nargs=-1, type=FileIn)
@registry_option
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def check(path: tuple[Path, ...], registry: str | None, form: str) -> None:
    """Check cards and label maps: schema, terms, labels. All of the registry, or the cards given."""
    from cellzoo.ci.check import check_card, check_registry
    from cellzoo.registry.catalogue import open_registry

    if path:
        findings = sorted({finding for one in path for finding in check_card(one)})
    else:
        findings = check_registry(open_registry(registry))
    if form == "json":
        click.echo(json.dumps([finding.as_dict() for finding in findings], indent=1))
    else:
        for finding in findings:
            click.echo(str(finding))
        errors = sum(finding.severity == "error" for finding in findings)
        click.echo(f"{errors} errors, {len(findings) - errors} warnings", err=True)
    sys.exit(any(finding.severity == "error" for finding in findings))


@main.command()
@click.argument("recipe", type=FileIn)
@click.option("-o", "--out", type=FileIn, required=True, help="Folder for the run.")
@registry_option
def train(recipe: Path, out: Path, registry: str | None) -> None:
    """Train what a recipe says, evaluate it on the held-out studies, write a run folder."""
    _need_torch()
    from cellzoo.models.recipe import load_recipe
    from cellzoo.models.run import run_recipe

    with _progress() as progress:
        _, _, metrics = run_recipe(load_recipe(recipe), _zoo(registry), out, progress, _say)
    _metrics(metrics)
    click.echo(out)


@main.command()
@click.argument("run", type=FileIn)
@registry_option
@json_option
def evaluate(run: Path, registry: str | None, as_json: bool) -> None:
    """Compute the metrics of a run again, from the cards' bytes and the released weights."""
    _need_torch()
    from cellzoo.models.run import evaluate_run

    metrics = evaluate_run(run, _zoo(registry), _say)
    if as_json:
        click.echo(json.dumps(metrics, indent=1, sort_keys=True))
    else:
        _metrics(metrics)


@main.command()
@click.argument("run", type=FileIn)
@click.option("--to", "organization", required=True, help="Organization that publishes.")
@click.option("--release", required=True, help="Semantic version, for example 1.0.0. A released version never changes.")
@remote_option
def push(run: Path, organization: str, release: str, remote: str | None) -> None:
    """Publish the model of a run as one commit with an immutable tag; print model id and commit."""
    from cellzoo.hub.release import push as publish

    made = publish(run, organization, release, remote)
    click.echo(f"{made.id}@{made.tag} {made.commit}")


@main.command()
@click.argument("model")
@remote_option
def pull(model: str, remote: str | None) -> None:
    """Fetch a model (ORG/NAME[@REV]), verify every file and its smoke test, print id and commit."""
    from cellzoo.hub.release import from_pretrained

    pulled = from_pretrained(model, remote=remote, smoke=True)
    click.echo(f"{pulled.name or model} {pulled.commit}".rstrip())


@main.command()
@click.argument("source", type=FileIn, metavar="IN.h5ad")
@click.option("--model", required=True, help="ORG/NAME[@REV], or a folder with a run or a release.")
@click.option("-o", "--out", type=FileIn, required=True, help="h5ad to write.")
@click.option("--threshold", type=float, default=0.5, show_default=True, help="Probability that a call must reach.")
@click.option("--plot/--no-plot", default=True, show_default=True, help="Draw a UMAP beside the output.")
@layer_option
@remote_option
def annotate(  # noqa: PLR0913, PLR0917
    source: Path, model: str, out: Path, threshold: float, plot: bool, layer: str | None, remote: str | None
) -> None:
    """Call the cell types of IN.h5ad in Cell Ontology terms and write OUT.h5ad and OUT.umap.png."""
    adata, predictor = _query(source, model, out, remote)
    annotated = predictor.annotate(adata, threshold=threshold, layer=layer)
    _told(annotated)
    if plot:
        from cellzoo.models.plot import draw, umap

        points = umap(annotated.obsm[predictor.key])
        annotated.obsm["X_cellzoo_umap"] = points
        panel = (f"{source.name}, called by {predictor.name or model}", annotated.obs["cellzoo_cell_type"])
        click.echo(draw([panel], points, out.with_suffix(".umap.png")))
    _write(annotated, out)


@main.command()
@click.argument("source", type=FileIn, metavar="IN.h5ad")
@click.option("--model", required=True, help="ORG/NAME[@REV], or a folder with a run or a release.")
@click.option("-o", "--out", type=FileIn, required=True, help="h5ad to write.")
@layer_option
@remote_option
def embed(source: Path, model: str, out: Path, layer: str | None, remote: str | None) -> None:
    """Write IN.h5ad with the model's embedding in obsm to OUT.h5ad."""
    adata, predictor = _query(source, model, out, remote)
    embedded = predictor.embed(adata, layer=layer)
    _told(embedded)
    _write(embedded, out)


def _zoo(registry: str | None) -> Any:
    from cellzoo.converters.selection import open_registry

    return open_registry(registry)


def _need_torch() -> None:
    from importlib.util import find_spec

    from cellzoo.errors import MissingExtraError

    if find_spec("torch") is None:
        raise MissingExtraError("training", "models")


def _query(source: Path, model: str, out: Path, remote: str | None) -> tuple[anndata.AnnData, Any]:
    """Return the cells and the model; what can be refused is refused before any work."""
    from cellzoo.converters.readers import open_h5ad
    from cellzoo.converters.write import check_writable
    from cellzoo.hub.release import from_pretrained

    if out.resolve() == source.resolve():
        raise click.UsageError(f"{out}: is the input; give another file, the input is never overwritten.")
    check_writable(out)
    return open_h5ad(source), from_pretrained(model, remote=remote)


def _told(adata: anndata.AnnData) -> None:
    notes = adata.uns["cellzoo"]
    _say(f"counts: {notes['counts']}, median {notes['median_counts_per_cell']:.0f} a cell")
    _say(
        f"genes: {notes['genes_used']} of the model's {notes['genes_of_model']} ({notes['gene_overlap']:.1%}), "
        f"named in {notes['gene_names']}"
    )
    if notes["gene_overlap"] < 0.5:
        _say("warning: less than half of the genes the model learned from; expect coarser and less certain calls")
    if notes["cells_without_counts"]:
        _say(f"warning: {notes['cells_without_counts']} cells have no counts of the model's genes; they are unknown")
    if "cellzoo_cell_type" in adata.obs:
        for label, number in adata.obs["cellzoo_cell_type"].value_counts().items():
            _say(f"{number:8d}  {label}")


def _write(adata: anndata.AnnData, out: Path) -> None:
    from cellzoo.converters.write import write_h5ad

    click.echo(write_h5ad(adata, out))


def _report(dataset: str, adata: anndata.AnnData) -> None:
    report = json.loads(adata.uns["cellzoo"]["report"])
    genes = report["genes"]
    kept = report["counts_kept"] / report["counts_in_source"]
    lost = {name: genes[name]["number"] for name in ("outside", "ambiguous", "conflicts", "unmapped")}
    _say(
        f"{dataset}: {report['cells']} cells, {genes['mapped']} of {genes['names']} gene names onto {genes['genes']} "
        f"genes, {kept:.1%} of the counts kept; not kept: {lost['outside']} of other biotypes, {lost['unmapped']} "
        f"unknown names, {lost['ambiguous']} ambiguous, {lost['conflicts']} that would have joined another gene"
    )


def _metrics(metrics: dict[str, Any]) -> None:
    for role, values in metrics.items():
        if values is None:
            _say(f"{role}: no cells were held out")
            continue
        numbers = [f"{name} {value:.4g}" for name, value in values.items() if isinstance(value, int | float)]
        _say(f"{role}: {', '.join(numbers)}")


def _say(text: str) -> None:
    click.echo(text, err=True)


def _warn(findings: list[Finding]) -> None:
    for finding in findings:
        click.echo(str(finding), err=True)


def _table(columns: list[str], rows: list[list[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 240).print(table)


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """Give a function that draws a bar on a terminal and is quiet in a pipe."""
    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def show(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=total)
            bars.update(tasks[name], completed=done)

        yield show


if __name__ == "__main__":
    main()
