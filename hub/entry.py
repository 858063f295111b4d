"""The entry of a released model in a registry: its card, drafted or with one more version, pinned to the byte."""

from __future__ import annotations

import json
import textwrap
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import accumulate
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.scalarstring import FoldedScalarString

from cellzoo import settings
from cellzoo.converters.fetch import sha256_of
from cellzoo.converters.write import replacing
from cellzoo.errors import InputError, NotFoundError
from cellzoo.hub.cache import Pulled
from cellzoo.hub.names import ModelName, check_tag, parse
from cellzoo.hub.release import newest
from cellzoo.hub.remote import HUGGING_FACE, Remote, open_remote
from cellzoo.models.files import CONFIG, GENES, LABELS, LOCK, METRICS, WEIGHTS
from cellzoo.registry.cards import parse_any
from cellzoo.registry.document import Document
from cellzoo.registry.parts import SCHEMA_VERSION


@dataclass(frozen=True)
class About:
    """What a person says about a model; what is "" is drafted, or as the card has it."""

    title: str = ""
    """One line that a biologist understands."""
    license: str = ""
    """SPDX id of the weights' licence."""
    intended_use: str = ""
    """What the model is for."""
    limits: str = ""
    """What it must not be used for."""
    date: str = ""
    """Day of the release; today where left out."""


@dataclass(frozen=True)
class Entry:
    """A model card that was written."""

    path: Path
    """The card."""
    id: str
    """Organization and name of the model."""
    version: str
    """The version that was added."""
    drafted: dict[str, str] = field(default_factory=dict)
    """Field -> text that nobody has stated, for a person to judge."""


def enter(model: str, folder: Path, remote: str | None = None, about: About | None = None) -> Entry:
    """Write the released version of a model into its card below ``folder`` and return what was written.

    ``model`` is a run folder whose model was pushed, or ``ORG/NAME[@vX.Y.Z]``, by default the newest release. Every
    file of the release is fetched and verified, and pinned by sha256 and size. Versions are only ever added: one that
    the card lists already is an `InputError`, and what the card says of the others stays as it is.
    """
    where = remote or settings.remote()
    place, about = open_remote(where, to_read=True), about or About()
    name, tag = _released(model, place)
    pulled = place.pull(str(name), tag)
    path = folder / name.organization / f"{str(name).partition('/')[2]}.yaml"
    version = _version(pulled, tag, about)
    drafted: dict[str, str] = {}
    if path.is_file():
        card = _appended(path, version)
    else:
        card, drafted = _drafted(name, version, pulled, where, about)
    _check(path, card)
    with replacing(path) as part, part.open("w", encoding="utf-8") as stream:
        _yaml().dump(card, stream)
    return Entry(path, str(name), version["version"], drafted)


def _released(model: str, place: Remote) -> tuple[ModelName, str]:
    """Return the name and the tag of a release: as given, or the one that a run folder became."""
    run = Path(model).expanduser()
    if not run.is_dir():
        repo, _, tag = model.partition("@")
        name = parse(repo)
        return name, check_tag(tag or newest(place.tags(str(name)), str(name)))
    release = run / "release" if (run / "release").is_dir() else run
    if not (release / CONFIG).is_file():
        raise InputError(f"{run}: holds no run; make one with `cellzoo train RECIPE.yaml -o {run}`.")
    weights = sha256_of(release / WEIGHTS)
    ending = f"_{json.loads((release / CONFIG).read_text())['training_data']}"
    for repo in place.models():
        if repo.endswith(ending):
            for tag in reversed(place.tags(repo)):
                if place.listing(repo, tag).files[WEIGHTS].sha256 == weights:
                    return parse(repo), check_tag(tag)
    raise NotFoundError(f"{run}: its model is not on the remote; publish it with `cellzoo push {run} --to ORG`.")


def _version(pulled: Pulled, tag: str, about: About) -> dict[str, Any]:
    """Return what a card says of one release, from the files of the release."""
    import pyarrow.parquet as pq

    folder = pulled.folder
    config = json.loads((folder / CONFIG).read_text())
    lock = YAML(typ="safe").load((folder / LOCK).read_text())
    metrics = json.loads((folder / METRICS).read_text())
    files = sorted(path for path in folder.iterdir() if path.is_file())
    spaces = {
        "gene_space": {
            "name": config["gene_space"],
            "sha256": config["gene_space_sha256"],
            "size": pq.read_metadata(folder / GENES).num_rows,
        }
    }
    if config.get("label_space_sha256"):
        labels = json.loads((folder / LABELS).read_text())
        spaces["label_space"] = {
            "name": f"{labels['ontology']} {labels['version']}",
            "sha256": config["label_space_sha256"],
            "size": len(labels["leaves"]),
        }
    measured = {
        role: {key: round(value, 6) for key, value in values.items() if isinstance(value, int | float)}
        for role, values in metrics.items()
        if isinstance(values, dict)
    }
    trained = [entry["id"] for entry in lock["datasets"] if entry["role"] == "train"]
    return {
        "version": tag.removeprefix("v"),
        "commit": pulled.commit,
        "date": _day(about.date),
        "files": [
            _flow({"name": path.name, "sha256": sha256_of(path), "bytes": path.stat().st_size}) for path in files
        ],
        **{key: _flow(space) for key, space in spaces.items()},
        "data_lock": sha256_of(folder / LOCK),
        "datasets": _flow(trained),
        **({"metrics": {role: _flow(values) for role, values in measured.items()}} if measured else {}),
    }


def _day(text: str) -> date:
    """Return a day, which YAML writes without quotes; today for ""."""
    try:
        return date.fromisoformat(text) if text else datetime.now(UTC).date()
    except ValueError as error:
        raise InputError(f"date: {text!r} is no day; expected YYYY-MM-DD.") from error


def _drafted(
    name: ModelName, version: dict[str, Any], pulled: Pulled, where: str, about: About
) -> tuple[CommentedMap, dict[str, str]]:
    """Return a new card, and which of its texts nobody has stated."""
    organ = name.organ.replace("-", " ")
    what = "Cell types" if name.task == "celltype" else "Embedding"
    draft = {
        "title": f"{what} of {name.organism} {organ} ({name.topology})",
        "license": "BSD-3-Clause",
        "intended_use": _use(name, organ, pulled.folder),
        "limits": _limits(name, organ, version),
    }
    drafted = {key: text for key, text in draft.items() if not getattr(about, key)}
    card = CommentedMap({"schema_version": SCHEMA_VERSION, "id": str(name), "title": about.title or draft["title"]})
    if where.startswith(("http://", "https://")) and where.rstrip("/") != HUGGING_FACE:
        card["remote"] = f"{where.rstrip('/')}/"
    card["license"] = about.license or draft["license"]
    card["intended_use"] = _folded(about.intended_use or draft["intended_use"])
    card["limits"] = _folded(about.limits or draft["limits"])
    card["versions"] = [version]
    return card, drafted


def _use(name: ModelName, organ: str, folder: Path) -> str:
    if name.task != "celltype":
        return f"Embedding cells of {name.organism} {organ} from raw counts."
    labels = json.loads((folder / LABELS).read_text())
    types = "; ".join(labels["labels"].get(leaf, leaf) for leaf in labels["leaves"])
    return f"Calling cell types of {name.organism} {organ} from raw counts, in Cell Ontology terms: {types}."


def _limits(name: ModelName, organ: str, version: dict[str, Any]) -> str:
    held = "test" in version.get("metrics", {})
    return (
        f"Not for diagnosis. It learned from {', '.join(version['datasets'])} and knows no other {organ}. "
        + ("Cells of other types are called the nearest it knows, or unknown. " if name.task == "celltype" else "")
        + ("How good it is on held-out cells stands in metrics." if held else "Nothing was held out to judge it by.")
    )


def _appended(path: Path, version: dict[str, Any]) -> CommentedMap:
    """Return the card in ``path`` with one more version; what it says of the others is not touched."""
    card: CommentedMap = _yaml().load(path.read_text(encoding="utf-8"))
    listed = [one["version"] for one in card["versions"]]
    if version["version"] in listed:
        raise InputError(f"{path}: lists {version['version']} already; a version is published once. Release a new one.")
    card["versions"].append(version)
    return card


def _check(path: Path, card: CommentedMap) -> None:
    """Raise `CardError` where the card would not be one."""
    parse_any(Document(path, json.loads(json.dumps(card, default=str)), {}))


def _yaml() -> YAML:
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


def _folded(text: str) -> Any:
    """Return a text that is written in lines of some length."""
    lines = textwrap.wrap(text, 112, break_long_words=False, break_on_hyphens=False)
    found = FoldedScalarString(" ".join(lines))
    found.fold_pos = [end - 1 for end in accumulate(len(line) + 1 for line in lines[:-1])]
    return found


def _flow(value: Any) -> Any:
    """Return a list or mapping that is written on one line."""
    found = CommentedSeq(value) if isinstance(value, list) else CommentedMap(value)
    found.fa.set_flow_style()
    return found
