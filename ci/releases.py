"""Model cards against the bytes of their releases, and against what they said before."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cellzoo import settings
from cellzoo.ci.sources import Read
from cellzoo.errors import CardError, CellzooError, Finding, Severity, WorldError
from cellzoo.hub.remote import HubRemote, open_remote
from cellzoo.registry.cards import parse_any
from cellzoo.registry.document import read_yaml
from cellzoo.registry.git import GitError, merge_base, opened, run
from cellzoo.registry.model_card import ModelCard, ModelVersion

MAY_CHANGE = {"status", "reason", "superseded_by"}
"""What of a published version may change."""


def check_history(where: Path, base: str, paths: list[Path]) -> Iterator[Finding]:
    """Yield what became otherwise in the published versions of model cards since HEAD left ``base``.

    Versions are append-only: none disappears, none changes but in its status, new ones come last.
    """
    with opened(where) as repo:
        top, fork = Path(str(repo.working_tree_dir)).resolve(), merge_base(repo, base)
        for path in paths:
            try:
                old = run(repo, "show", f"{fork}:{path.resolve().relative_to(top).as_posix()}")
            except (GitError, ValueError):  # it is new, or of another registry
                continue
            if (before := _parsed(path, old)) is not None:
                yield from _appended(path, before)


def _parsed(path: Path, text: str) -> ModelCard | None:
    """Return the model card that a text of older days spells, none where it was none."""
    with tempfile.TemporaryDirectory(prefix="cellzoo-") as scratch:
        copy = Path(scratch) / path.parent.name / path.name
        copy.parent.mkdir()
        copy.write_text(text, encoding="utf-8")
        try:
            card = parse_any(read_yaml(copy))
        except CardError:
            return None
    return card if isinstance(card, ModelCard) else None


def _appended(path: Path, before: ModelCard) -> Iterator[Finding]:
    try:
        document = read_yaml(path)
        after = parse_any(document)
    except CardError:
        if not path.exists():
            message = f"{len(before.versions)} published versions would disappear with this card."
            yield Finding(str(path), 0, 0, "MODEL004", message, "Keep the card; mark the versions as yanked.")
        return
    if not isinstance(after, ModelCard):
        return
    for at, old in enumerate(before.versions):
        new = after.versions[at] if at < len(after.versions) else None
        if new is None or new.version != old.version:
            message = f"version {old.version} was published and is no longer in its place."
            yield document.finding("MODEL004", ["versions", at], message, "Versions are only added, at the end.")
            return
        for name in ModelVersion.model_fields:
            if name not in MAY_CHANGE and getattr(new, name) != getattr(old, name):
                message = f"{name} of the published version {old.version} was changed."
                yield document.finding("MODEL004", ["versions", at, name], message, "Publish a new version instead.")


def check_release(read: Read, network: bool) -> Iterator[Finding]:
    """Yield what the bytes of each release say otherwise than the model card.

    Without ``network`` a release is looked for in the cache only, or in the folder that ``CELLZOO_REMOTE`` names.
    """
    card, document = read.card, read.document
    if not isinstance(card, ModelCard) or document is None:
        return
    remote = open_remote(card.remote or settings.remote())
    for at, version in enumerate(card.versions):
        place = ("versions", at)
        try:
            if network or not isinstance(remote, HubRemote):
                folder = remote.pull(card.id, version.commit).folder
                tagged = remote.tags(card.id).get(f"v{version.version}")
            elif (pulled := remote.cache.get(card.id, version.commit)) is not None:
                folder, tagged = pulled.folder, version.commit
            else:
                continue
        except CellzooError as error:
            severity: Severity = "warning" if isinstance(error, WorldError) else "error"
            message = f"the release {version.version} cannot be had: {str(error).removesuffix('.')}."
            yield document.finding("MODEL001", [*place, "commit"], message, "Correct remote or commit.", severity)
            continue
        if tagged != version.commit:
            message = f"the tag v{version.version} is {tagged or 'not there'}, the card pins commit {version.commit}."
            yield document.finding(
                "MODEL001", [*place, "commit"], message, "A release never moves: find out who did it."
            )
        for where, code, message in _differences(version, folder):
            yield document.finding(code, [*place, *where], f"release {version.version}: {message}")


def _differences(version: ModelVersion, folder: Path) -> Iterator[tuple[tuple[str | int, ...], str, str]]:
    """Yield place, code and message of what a pulled release says otherwise than the card."""
    there = {path.name: path for path in folder.iterdir() if path.is_file()}
    for at, file in enumerate(version.files):
        if file.name not in there:
            yield ("files", at), "MODEL003", f"there is no file {file.name}."
            continue
        content = there[file.name].read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        if (digest, len(content)) != (file.sha256, file.bytes):
            said = f"the card says {file.sha256} and {file.bytes}"
            message = f"{file.name} has sha256 {digest} and {len(content)} bytes, {said}."
            yield ("files", at), "MODEL002", message
    if unlisted := sorted(there.keys() - {file.name for file in version.files} - {"README.md"}):
        yield ("files",), "MODEL003", f"the card does not list {', '.join(unlisted)}."
    yield from _contents(version, there)


def _contents(version: ModelVersion, there: dict[str, Path]) -> Iterator[tuple[tuple[str | int, ...], str, str]]:
    """Yield what config and data lock of the release say otherwise than the card."""
    try:
        config: dict[str, Any] = json.loads(there["config.json"].read_bytes())
        lock = read_yaml(there["data.lock.yaml"]).data if "data.lock.yaml" in there else {}
        listed = [one["id"] for one in lock.get("datasets", []) if one.get("role", "train") == "train"]
    except (KeyError, ValueError, TypeError, AttributeError, CardError) as error:
        yield ("files",), "MODEL005", f"config.json or data.lock.yaml cannot be read: {error!r}."
        return
    says: dict[tuple[str, ...], tuple[object, object]] = {
        ("gene_space", "name"): (version.gene_space.name, config.get("gene_space")),
        ("gene_space", "sha256"): (version.gene_space.sha256, config.get("gene_space_sha256")),
        ("label_space", "sha256"): (
            version.label_space.sha256 if version.label_space else None,
            config.get("label_space_sha256"),
        ),
    }
    if "data.lock.yaml" in there:
        digest = hashlib.sha256(there["data.lock.yaml"].read_bytes()).hexdigest()
        says["data_lock",] = (version.data_lock, digest)
        says["datasets",] = (sorted(version.datasets), sorted(listed))
    for place, (card, release) in says.items():
        if card != release:
            yield place, "MODEL005", f"{'.'.join(place)} is {release!r} in the release, {card!r} in the card."
