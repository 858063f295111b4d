"""The whole story on real data, from a card to annotated cells, and one page that shows it."""

from __future__ import annotations

import base64
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anndata
import pandas as pd

from cellzoo import __version__
from cellzoo.errors import CardError, InputError, MissingExtraError, WorldError
from cellzoo.registry.fields import UNKNOWN
from cellzoo.registry.ontology import load

if TYPE_CHECKING:
    from cellzoo.converters.zoo import Zoo
    from cellzoo.models.data import TrainingData


PACKAGED = {"organ": "blood", "data": {"datasets": ["pbmc68k-reduced"]}, "split": {"test": {"cells": 0.2}}}
"""Recipe on the data that scanpy carries: one study, so cells are held out."""

STUDY_SPLIT = {
    "organ": "blood",
    "data": {"datasets": ["tenx-pbmc3k", "zheng2017-sorted-pbmc", "zheng2017-pbmc14k"]},
    "split": {"test": {"studies": ["onek1k-subset"]}},
}
"""Recipe on the blood cards: train on two studies, annotate a third."""

ORGANIZATION = "demo"
MARKER = ".cellzoo-demo"
THRESHOLD = 0.5


@dataclass
class Story:
    """What happened, step by step, for the page."""

    say: Callable[[str], None]
    """Told each step as it happens."""
    steps: list[tuple[str, str, float]] = field(default_factory=list)
    """Name, what happened and the seconds it took."""
    start: float = field(default_factory=time.monotonic)
    """When the first step began."""

    @property
    def seconds(self) -> float:
        """Return how long the steps took together."""
        return sum(taken for *_, taken in self.steps)

    def tell(self, name: str, text: str) -> None:
        """Add a step and say it."""
        self.steps.append((name, text, time.monotonic() - self.start - self.seconds))
        self.say(f"[{len(self.steps)}] {name}: {text}")


def run_demo(out: Path, study_split: bool, say: Callable[[str], None]) -> Path:
    """Run the story into the folder ``out`` and return its page, ``index.html``.

    A folder that an earlier demo made is replaced; any other folder that is not empty is refused.
    """
    try:
        import jinja2  # noqa: F401

        from cellzoo.hub.release import from_pretrained, push
        from cellzoo.models.recipe import Recipe
        from cellzoo.models.run import run_recipe
    except ImportError as error:
        raise MissingExtraError("the demo", "demo") from error
    from cellzoo.converters.zoo import open_registry

    _fresh(out)
    story, zoo = Story(say), open_registry()
    _check(zoo)
    story.tell("check", f"{len(zoo.ids)} cards: schema, ontology terms and labels are in order")

    recipe = Recipe.model_validate(STUDY_SPLIT if study_split else PACKAGED)
    for name in (*recipe.data.datasets, *(recipe.split.test.studies if recipe.split.test else ())):
        dataset = zoo[name]
        path, *_ = dataset.write(out / "data")
        story.tell("get", f"{dataset.card.cells_expected} cells, verified and streamlined to data/{path.name}")

    _, data, metrics = run_recipe(recipe, zoo, out / "run")
    taught = data.lock["cells"]["train"]
    sources = [entry["id"] for entry in data.lock["datasets"] if entry["role"] == "train"]
    story.tell("train", f"{recipe.topology} on {taught} cells of {', '.join(sources)}")
    test = metrics["test"]
    judged = f"{test['cells']} held-out cells: accuracy {test['accuracy']:.3f}, macro F1 {test['macro_f1']:.3f}"
    story.tell("evaluate", judged)
    release = push(out / "run", ORGANIZATION, "1.0.0", str(out / "hub"))
    story.tell("release", f"{release.id}@{release.tag}, commit {release.commit[:12]}")
    model = from_pretrained(release.id, release.tag, str(out / "hub"), smoke=True)
    story.tell("pull", "every file verified by sha256; the smoke cells are called as at release")

    query, terms = _held_out(zoo, data)
    query.write_h5ad(out / "held-out.h5ad")
    annotated = model.annotate(query, threshold=THRESHOLD)
    pictures = _pictures(annotated, model.key, [_label(term) for term in terms], out)
    annotated.write_h5ad(out / "annotated.h5ad")
    calls = annotated.obs["cellzoo_cell_type"]
    unknown = int((calls == UNKNOWN).sum())
    story.tell("annotate", f"{len(calls)} cells as strangers' cells: {calls.nunique()} terms, {unknown} unknown")
    page = _page(
        story=story,
        release=release,
        model=model,
        lock=data.lock,
        cards={entry["id"]: zoo[entry["id"]].card for entry in data.lock["datasets"]},
        test=test,
        notes=annotated.uns["cellzoo"],
        study_split=study_split,
        pictures=pictures,
    )
    (out / "index.html").write_text(page)
    return out / "index.html"


def _fresh(out: Path) -> None:
    if out.exists() and not (out / MARKER).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: is not empty and was not made by a demo. Choose another folder with -o.")
    shutil.rmtree(out, ignore_errors=True)
    try:
        out.mkdir(parents=True)
        (out / MARKER).touch()
    except OSError as error:
        raise WorldError(f"{out}: cannot be made: {error.strerror}. Choose another folder with -o.") from error


def _check(zoo: Zoo) -> None:
    from cellzoo.ci.check import check_registry

    if errors := [finding for finding in check_registry(zoo.registry) if finding.severity == "error"]:
        raise CardError(errors)


def _held_out(zoo: Zoo, data: TrainingData) -> tuple[anndata.AnnData, list[str]]:
    """Return the test cells as their study has them, own genes and raw counts, without labels; and the labels."""
    rows = data.rows("test")
    parts = []
    for name in dict.fromkeys(data.dataset[rows].tolist()):
        source = zoo[name].source().to_anndata()
        part = source[data.cells[rows[data.dataset[rows] == name]]]
        parts.append(
            anndata.AnnData(part.X, obs=pd.DataFrame(index=part.obs_names), var=pd.DataFrame(index=part.var_names))
        )
    query = parts[0] if len(parts) == 1 else anndata.concat(parts, join="outer")
    return query, [str(term) for term in data.terms[rows]]


def _pictures(annotated: anndata.AnnData, key: str, labels: list[str], out: Path) -> dict[str, str]:
    """Draw the pictures of the page and return them as base64 PNG."""
    from cellzoo.models.plot import draw, draw_calls, umap

    points = umap(annotated.obsm[key])
    annotated.obsm["X_cellzoo_umap"] = points
    calls = annotated.obs["cellzoo_cell_type"]
    panels = [("called by the model", calls), ("labelled by the study", labels)]
    paths = {"umap": draw(panels, points, out / "umap.png"), "calls": draw_calls(labels, calls, out / "calls.png")}
    return {name: base64.b64encode(path.read_bytes()).decode() for name, path in paths.items()}


def _page(**content: Any) -> str:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files("cellzoo").joinpath("demo.html").read_text())
    return template.render(version=__version__, threshold=THRESHOLD, label=_label, **content)


def _label(term: str) -> str:
    return load("CL").label(term)
