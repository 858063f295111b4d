"""A run folder: from a recipe to everything that is released, with the history beside it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from cellzoo.converters.write import new_folder
from cellzoo.converters.zoo import Zoo
from cellzoo.errors import InputError
from cellzoo.models.artifact import SMOKE_CELLS, read_artifact, write_artifact
from cellzoo.models.data import TEST, TRAIN, TrainingData, assemble, short_digest
from cellzoo.models.model import Model
from cellzoo.models.recipe import Recipe, load_recipe
from cellzoo.models.topology import topology
from cellzoo.models.train import Report, evaluate, train

RECIPE, HISTORY, RELEASE = "recipe.yaml", "history.json", "release"


def run_recipe(
    recipe: Recipe, zoo: Zoo, to: Path, report: Report = lambda *_: None, say: Callable[[str], None] = lambda _: None
) -> tuple[Model, TrainingData, dict[str, Any]]:
    """Train what a recipe says and write the run folder ``to``; return the model, its data and its metrics.

    The folder holds ``recipe.yaml``, ``history.json`` and ``release/``, which is exactly what `push` publishes. An
    existing run is refused, never overwritten.
    """
    if (to / RELEASE).exists():
        raise InputError(f"{to}: holds a run already. Choose another folder, or remove it.")
    topology(recipe.task, recipe.topology)
    with new_folder(to) as folder:  # made before the work, and moved there whole
        data = assemble(recipe, zoo, say)
        model, metrics = train(recipe, data, report)
        history = metrics.pop("history")
        model = model.knowing(training_data=f"zoo-{short_digest(data.lock)}")
        cells = data.rows(TEST) if len(data.rows(TEST)) else data.rows(TRAIN)
        write_artifact(model, data.lock, metrics, data.counts[cells[:SMOKE_CELLS]], folder / RELEASE)
        with (folder / RECIPE).open("w") as stream:
            YAML(typ="safe").dump(recipe.model_dump(mode="json"), stream)
        (folder / HISTORY).write_text(json.dumps(history, indent=1) + "\n")
    return model, data, metrics


def evaluate_run(run: Path, zoo: Zoo, say: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Return the metrics of a run's model, computed again from the data it was trained on and the release."""
    if not (run / RELEASE).is_dir():
        raise InputError(f"{run}: holds no run; make one with `cellzoo train RECIPE.yaml -o {run}`.")
    data = assemble(load_recipe(run / RECIPE), zoo, say)
    model = read_artifact(run / RELEASE, smoke=True)
    if model.about["training_data"] != f"zoo-{short_digest(data.lock)}":
        raise InputError(
            f"{run}: the data have changed since: the model was trained on {model.about['training_data']}, "
            f"they now give zoo-{short_digest(data.lock)}."
        )
    return evaluate(model, data)
