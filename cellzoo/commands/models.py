"""Commands for models: list, train, evaluate, publish, fetch, apply."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cellzoo.commands.shared import Command, FileIn, json_option, open_cards, open_zoo, registry_option, remote_option
from cellzoo.console import bars, say, say_metrics, table, told, warn
from cellzoo.errors import CardError, CellzooError

if TYPE_CHECKING:
    import anndata

    from cellzoo.hub.choice import Choice

layer_option = click.option("--layer", help="Where the raw counts are: X, raw or a layer. Found by itself otherwise.")


@click.command(cls=Command)
@click.option("--task", type=click.Choice(["celltype", "embedding"]), help="What the models do.")
@click.option("--organism", help="human or mouse.")
@click.option("--organ", help="Organ, as in the models' names.")
@remote_option
@registry_option
@json_option
def models(  # noqa: PLR0913, PLR0917
    task: str | None,
    organism: str | None,
    organ: str | None,
    remote: str | None,
    registry: tuple[str, ...],
    as_json: bool,
) -> None:
    """List the models that the registry pins, or with --remote those of a hub, with their newest release.

    CELLZOO_REMOTE counts as --remote.
    """
    from cellzoo.hub.names import parse

    listed = _of_hub(remote) if remote else _of_registry(registry)
    rows = []
    for name, release, status in listed:
        try:
            model = parse(name)
        except CellzooError:  # a repo that is tagged cellzoo but not named as one of its models
            continue
        wanted = [(task, model.task), (organism, model.organism), (organ, model.organ)]
        if all(want in {None, have} for want, have in wanted):
            rows.append({"id": name, "release": release, "status": status, **asdict(model)})
    if as_json:
        click.echo(json.dumps(rows, indent=1))
    elif rows:
        columns = ["id", "release", "status", "task", "topology", "organism", "organ"]
        table(columns, [[row[column] for column in columns] for row in rows])
    else:
        say("No model matches." if remote else "The registry pins no such model; --remote lists those of a hub.")


def _of_hub(remote: str) -> Iterator[tuple[str, str, str]]:
    from cellzoo.hub.remote import open_remote

    place = open_remote(remote, to_read=True)
    for name in place.models():
        releases = [tag for tag in place.tags(name) if tag.startswith("v")]
        yield name, releases[-1] if releases else "", "released" if releases else "unreleased"


def _of_registry(registry: tuple[str, ...]) -> Iterator[tuple[str, str, str]]:
    cards = open_cards(registry)
    for name in cards.model_paths:
        try:
            newest = cards.model(name).newest
        except CardError as error:
            warn(error.findings)
            continue
        yield name, f"v{newest.version}", newest.status


@click.command(cls=Command)
@click.argument("recipe", type=FileIn)
@click.option("-o", "--out", type=FileIn, required=True, help="Folder for the run.")
@registry_option
def train(recipe: Path, out: Path, registry: tuple[str, ...]) -> None:
    """Train what a recipe says, evaluate it on the held-out studies, write a run folder."""
    _need_torch()
    from cellzoo.models.recipe import load_recipe
    from cellzoo.models.run import run_recipe

    with bars() as progress:
        _, _, metrics = run_recipe(load_recipe(recipe), open_zoo(registry), out, progress, say)
    say_metrics(metrics)
    click.echo(out)


@click.command(cls=Command)
@click.argument("run", type=FileIn)
@registry_option
@json_option
def evaluate(run: Path, registry: tuple[str, ...], as_json: bool) -> None:
    """Compute the metrics of a run again, from the cards' bytes and the released weights."""
    _need_torch()
    from cellzoo.models.run import evaluate_run

    metrics = evaluate_run(run, open_zoo(registry), say)
    if as_json:
        click.echo(json.dumps(metrics, indent=1, sort_keys=True))
    else:
        say_metrics(metrics)


@click.command(cls=Command)
@click.argument("run", type=FileIn)
@click.option("--to", "organization", required=True, help="Organization that publishes.")
@click.option("--release", required=True, help="Semantic version, for example 1.0.0. A released version never changes.")
@remote_option
def push(run: Path, organization: str, release: str, remote: str | None) -> None:
    """Publish the model of a run as one commit with an immutable tag; print model id and commit."""
    from cellzoo.hub.release import push as publish

    made = publish(run, organization, release, remote)
    click.echo(f"{made.id}@{made.tag} {made.commit}")


@click.command(cls=Command)
@click.argument("model")
@remote_option
def pull(model: str, remote: str | None) -> None:
    """Fetch a model (ORG/NAME[@REV]), verify every file and its smoke test, print id and commit."""
    from cellzoo.hub.release import from_pretrained

    pulled = from_pretrained(model, remote=remote, smoke=True)
    _warn_of(pulled)
    click.echo(f"{pulled.name or model} {pulled.commit}".rstrip())


@click.command(cls=Command)
@click.argument("source", type=FileIn, metavar="IN.h5ad")
@click.option("--model", help="ORG/NAME[@REV], or a folder; by default the registry's for organism and tissue.")
@click.option("--tissue", help="Tissue of the cells, id or label, where the file does not say; chooses the model.")
@click.option("-o", "--out", type=FileIn, required=True, help="h5ad to write.")
@click.option("--threshold", type=float, default=0.5, show_default=True, help="Probability that a call must reach.")
@click.option("--plot/--no-plot", default=True, show_default=True, help="Draw a UMAP beside the output.")
@layer_option
@remote_option
@registry_option
def annotate(  # noqa: PLR0913, PLR0917
    source: Path,
    model: str | None,
    tissue: str | None,
    out: Path,
    threshold: float,
    plot: bool,
    layer: str | None,
    remote: str | None,
    registry: tuple[str, ...],
) -> None:
    """Call the cell types of IN.h5ad in Cell Ontology terms and write OUT.h5ad and OUT.umap.png."""
    adata, predictor = _query(source, model, out, remote, lambda adata: _chosen(adata, registry, tissue), registry)
    annotated = predictor.annotate(adata, threshold=threshold, layer=layer)
    told(annotated)
    if plot:
        from cellzoo.models.plot import draw, umap

        say(f"drawing a UMAP of {annotated.n_obs:,} cells; --no-plot leaves it out")
        points = umap(annotated.obsm[predictor.key])
        annotated.obsm["X_cellzoo_umap"] = points
        panel = (f"{source.name}, called by\n{predictor.name or model}", annotated.obs["cellzoo_cell_type"])
        click.echo(draw([panel], points, out.with_suffix(".umap.png")))
    _write(annotated, out)


@click.command(cls=Command)
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


def _need_torch() -> None:
    from importlib.util import find_spec

    from cellzoo.errors import MissingExtraError

    if find_spec("torch") is None:
        raise MissingExtraError("training", "models")


def _query(
    source: Path,
    model: str | None,
    out: Path,
    remote: str | None,
    choose: Callable[[anndata.AnnData], Choice] | None = None,
    registry: tuple[str, ...] = (),
) -> tuple[anndata.AnnData, Any]:
    """Return the cells and the model, chosen where none is given; what can be refused is refused before any work."""
    from cellzoo.converters.h5ad import read_h5ad
    from cellzoo.converters.write import check_writable
    from cellzoo.hub.release import from_pretrained

    if out.resolve() == source.resolve():
        raise click.UsageError(f"{out}: is the input; give another file, the input is never overwritten.")
    check_writable(out)
    adata = read_h5ad(source)
    if model is None and choose:
        choice = choose(adata)
        model, remote = choice.pinned, remote or choice.remote
        say(f"model: {choice.id} v{choice.version}, {choice.why}")
    predictor = from_pretrained(str(model), remote=remote)
    _warn_of(predictor, registry)
    return adata, predictor


def _warn_of(predictor: Any, registry: tuple[str, ...] = ()) -> None:
    """Say where the registry has withdrawn the model that is used; a registry that cannot be opened says nothing."""
    from cellzoo.hub.choice import standing
    from cellzoo.registry.catalogue import open_registry

    with suppress(CellzooError):
        if said := standing(open_registry(registry or None), predictor.name, predictor.commit):
            say(f"warning: {said}")


def _chosen(adata: anndata.AnnData, registry: tuple[str, ...], tissue: str | None) -> Choice:
    from cellzoo.hub.choice import choose_for

    return choose_for(adata, open_cards(registry), tissue)


def _write(adata: anndata.AnnData, out: Path) -> None:
    from cellzoo.converters.h5ad import write_anndata

    click.echo(write_anndata(adata, out))
