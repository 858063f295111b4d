"""The command that brings sfaira loaders over: a folder of loaders in, cards and label maps out."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cellzoo.commands.shared import Command, FileIn, json_option

if TYPE_CHECKING:
    from cellzoo.errors import Finding
    from cellzoo.registry.sfaira.importer import Imported


@click.command(cls=Command)
@click.argument("folder", metavar="DIR", type=FileIn)
@click.option("-o", "--output", required=True, type=FileIn, metavar="CARDS", help="Folder to write the cards to.")
@click.option("--force", is_flag=True, help="Write over files that say something else.")
@json_option
def import_sfaira(folder: Path, output: Path, force: bool, as_json: bool) -> None:
    """Describe the sfaira loaders in DIR as cards: DIR is one loader, or a folder of loaders.

    Of each loader the YAML and the label tables are read, its code never. What could not be carried over is printed
    with its place; a loader that gives no card makes the exit code 1.
    """
    from cellzoo.console import say, warn
    from cellzoo.errors import Finding
    from cellzoo.registry.sfaira.importer import import_loader

    imported = [one for loader in _loaders(folder) for one in import_loader(loader)]
    written: list[str] = []
    findings: list[Finding] = []
    taken: dict[str, Path] = {}
    for one in imported:
        findings += one.findings
        if not one.id:
            continue
        if (other := taken.setdefault(one.id, one.loader)) != one.loader:
            message = f"gives the card {one.id}, as {other} does."
            findings.append(Finding(str(one.loader), 0, 0, "SFAIRA011", message, "Change its dataset_index."))
            continue
        names, refused = _write(one, output, force)
        written += names
        findings += refused
    if as_json:
        done = {"written": written, "findings": [finding.as_dict() for finding in findings]}
        click.echo(json.dumps(done, indent=1))
    else:
        for name in written:
            click.echo(name)
        warn(findings)
        cards = sum(name.endswith(".yaml") for name in written)
        say(f"{len(imported)} loaders, {cards} cards written to {output}, {len(findings)} findings")
    sys.exit(any(finding.severity == "error" for finding in findings))


def _loaders(folder: Path) -> list[Path]:
    """Return the folder itself where it holds YAML or no folder, else the folders in it that are not hidden."""
    if not folder.is_dir() or any(path.suffix in {".yaml", ".yml"} for path in folder.iterdir()):
        return [folder]
    inside = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith((".", "__")))
    return inside or [folder]


def _write(one: Imported, output: Path, force: bool) -> tuple[list[str], list[Finding]]:
    """Write a card and its label maps, all or none; return the paths, or why nothing was written."""
    from cellzoo.converters.write import replacing
    from cellzoo.errors import Finding

    texts = {output / name: text for name, text in {**one.maps, f"{one.id}.yaml": one.card_text}.items()}
    changed = {path: text for path, text in texts.items() if not path.is_file() or path.read_bytes() != text.encode()}
    if (others := [path for path in changed if path.exists()]) and not force:
        message = f"is there and says something else; {one.id} was not written."
        remedy = "Compare them; --force writes over it."
        return [], [Finding(str(path), 0, 0, "SFAIRA012", message, remedy) for path in others]
    for path, text in changed.items():
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="")
    return [str(path) for path in texts], []
