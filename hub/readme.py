"""The README.md of a release: what the model is for, what it learned from, how good it is; a Hub model card."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML

from cellzoo.hub.names import ModelName

if TYPE_CHECKING:
    from cellzoo.models.model import Model

METRICS = {"accuracy": "accuracy", "macro_f1": "macro F1", "aggregated_accuracy": "aggregated accuracy", "ece": "ECE"}


def readme(model: Model, name: ModelName, tag: str, metrics: dict[str, Any], folder: Path) -> str:
    """Return the Markdown of a model card with Hub front matter, ``model-index`` included."""
    lock = YAML(typ="safe").load((folder / "data.lock.yaml").read_text())
    held = [entry["id"] for entry in lock["datasets"] if entry["role"] == "test"]
    test = metrics.get("test")
    front = {
        "library_name": "cellzoo",
        "tags": ["single-cell", "biology", "cellzoo", name.task, name.organism, name.organ],
        "license": "bsd-3-clause",
        "model-index": [{"name": str(name), "results": _results(name, test, held)}],
    }
    stream = io.StringIO()
    YAML(typ="safe").dump(front, stream)
    rows = [
        f"| {entry['id']} | {entry['study']} | {entry['role']} | {entry['cells']} | `{entry['digest'][:12]}` |"
        for entry in lock["datasets"]
    ]
    return "\n".join(
        [
            f"---\n{stream.getvalue()}---",
            f"# {name}",
            "",
            f"{_purpose(model)} Release {tag}, topology `{model.topology}`, {name.organism} {name.organ}, trained by "
            f"cellzoo {model.about['trained_with']}.",
            "",
            "## Use",
            "",
            "```python",
            "import cellzoo",
            "",
            f'model = cellzoo.from_pretrained("{name}", revision="{tag}")',
            "annotated = model.annotate(adata)" if model.labels else "embedded = model.embed(adata)",
            "```",
            "",
            "Give raw counts; the model normalizes them itself. Genes may be named by Ensembl id or symbol.",
            "",
            "## Trained on",
            "",
            "| data set | study | role | cells | card sha256 |",
            "|---|---|---|---|---|",
            *rows,
            "",
            "## How good it is",
            "",
            *_judgement(test, held),
            *_classes(model, test),
            "## Limits",
            "",
            "It knows the cell types above and no others; cells of any other type are called the nearest of them or, "
            "below the threshold, a coarser type or unknown. Not for diagnosis.",
            "",
        ]
    )


def _purpose(model: Model) -> str:
    if model.labels is None:
        return "Embeds cells and reconstructs their counts (negative binomial likelihood)."
    types = ", ".join(model.labels.label(leaf) for leaf in model.labels.leaves)
    return f"Calls cell types of single cells in Cell Ontology terms: {types}."


def _results(name: ModelName, test: dict[str, Any] | None, held: list[str]) -> list[dict[str, Any]]:
    if not test:
        return []
    found = [{"type": key, "value": round(test[key], 4), "name": text} for key, text in METRICS.items() if key in test]
    dataset = {"name": ", ".join(held) or "held-out cells", "type": "cellzoo"}
    return [{"task": {"type": "tabular-classification", "name": name.task}, "dataset": dataset, "metrics": found}]


def _judgement(test: dict[str, Any] | None, held: list[str]) -> list[str]:
    if not test:
        return ["No cells were held out: how good it is on new data was not measured.", ""]
    where = f"the held-out study data {', '.join(held)}" if held else "held-out cells of the training studies"
    if "accuracy" not in test:
        numbers = ", ".join(f"{key.replace('_', ' ')} {value:.4g}" for key, value in test.items())
        return [f"On {where}: {numbers}.", ""]
    lines = [f"On {where} ({test['cells']} cells, {test['outside']} of types it does not know are not judged):", ""]
    return [*lines, *(f"- {text}: {test[key]:.3f}" for key, text in METRICS.items()), ""]


def _classes(model: Model, test: dict[str, Any] | None) -> list[str]:
    if not test or model.labels is None or "classes" not in test:
        return []
    labels = model.labels
    rows = [
        f"| {term} | {labels.labels.get(term, '')} | {entry['cells']} | {entry['recall']:.3f} | {entry['f1']:.3f} |"
        for term, entry in sorted(test["classes"].items(), key=lambda item: -item[1]["cells"])
    ]
    return ["| term | label | cells | recall | F1 |", "|---|---|---|---|---|", *rows, ""]
