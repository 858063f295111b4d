"""The command line: each command is one call of the package; findings are printed, exit codes say what happened.

Exit codes: 0 good, 1 the input has findings, 2 wrong usage, 3 the world failed (network, disk).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cellzoo import __version__
from cellzoo.console import bars, report, say, say_metrics, table, told, warn
from cellzoo.errors import CardError, CellzooError

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


@main.command()
@registry_option
@json_option
@_filters
def datasets(wanted: dict[str, str], registry: str | None, as_json: bool) -> None:
    """List data sets, by any mix of filters; a term stands for all terms below it."""
    zoo = _zoo(registry)
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
    from cellzoo.converters.write import check_writable

    zoo = _zoo(registry)
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


@main.command()
@click.argument("path", nargs=-1, type=FileIn)
@registry_option
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def check(path: tuple[Path, ...], registry: str | None, form: str) -> None:
    """Check cards and label maps: schema, terms, labels. All of the registry, or the cards and folders given."""
    from cellzoo.ci.check import check_card, check_registry
    from cellzoo.registry.catalogue import open_registry

    folders: list[Path | str | None] = [one for one in path if one.is_dir()] if path else [registry]
    findings = {finding for one in path if not one.is_dir() for finding in check_card(one)}
    findings |= {finding for one in folders for finding in check_registry(open_registry(one))}
    if form == "json":
        click.echo(json.dumps([finding.as_dict() for finding in sorted(findings)], indent=1))
    else:
        for finding in sorted(findings):
            click.echo(str(finding))
        errors = sum(finding.severity == "error" for finding in findings)
        click.echo(f"{errors} errors, {len(findings) - errors} warnings", err=True)
    sys.exit(any(finding.severity == "error" for finding in findings))


@main.command()
@click.option("--task", type=click.Choice(["celltype", "embedding"]), help="What the models do.")
@click.option("--organism", help="human or mouse.")
@click.option("--organ", help="Organ, as in the models' names.")
@remote_option
@json_option
def models(task: str | None, organism: str | None, organ: str | None, remote: str | None, as_json: bool) -> None:
    """List the models of a hub, with their newest release."""
    from cellzoo import settings
    from cellzoo.hub.names import parse
    from cellzoo.hub.remote import open_remote

    place = open_remote(remote or settings.remote())
    rows = []
    for name in place.models():
        try:
            model = parse(name)
        except CellzooError:  # a repo that is tagged cellzoo but not named as one of its models
            continue
        if all(
            want in {None, have}
            for want, have in [(task, model.task), (organism, model.organism), (organ, model.organ)]
        ):
            releases = [tag for tag in place.tags(name) if tag.startswith("v")]
            rows.append({"id": name, "release": releases[-1] if releases else "", **asdict(model)})
    if as_json:
        click.echo(json.dumps(rows, indent=1))
    elif rows:
        columns = ["id", "release", "task", "topology", "organism", "organ"]
        table(columns, [[row[column] for column in columns] for row in rows])
    else:
        say("No model matches.")


@main.command()
@click.argument("recipe", type=FileIn)
@click.option("-o", "--out", type=FileIn, required=True, help="Folder for the run.")
@registry_option
def train(recipe: Path, out: Path, registry: str | None) -> None:
    """Train what a recipe says, evaluate it on the held-out studies, write a run folder."""
    _need_torch()
    from cellzoo.models.recipe import load_recipe
    from cellzoo.models.run import run_recipe

    with bars() as progress:
        _, _, metrics = run_recipe(load_recipe(recipe), _zoo(registry), out, progress, say)
    say_metrics(metrics)
    click.echo(out)


@main.command()
@click.argument("run", type=FileIn)
@registry_option
@json_option
def evaluate(run: Path, registry: str | None, as_json: bool) -> None:
    """Compute the metrics of a run again, from the cards' bytes and the released weights."""
    _need_torch()
    from cellzoo.models.run import evaluate_run

    metrics = evaluate_run(run, _zoo(registry), say)
    if as_json:
        click.echo(json.dumps(metrics, indent=1, sort_keys=True))
    else:
        say_metrics(metrics)


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
    told(annotated)
    if plot:
        from cellzoo.models.plot import draw, umap

        points = umap(annotated.obsm[predictor.key])
        annotated.obsm["X_cellzoo_umap"] = points
        panel = (f"{source.name}, called by\n{predictor.name or model}", annotated.obs["cellzoo_cell_type"])
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
    told(embedded)
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


def _write(adata: anndata.AnnData, out: Path) -> None:
    from cellzoo.converters.write import write_h5ad

    click.echo(write_h5ad(adata, out))


if __name__ == "__main__":
    main()
