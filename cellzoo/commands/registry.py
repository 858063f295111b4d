"""Commands that work on the registry itself: check cards."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from cellzoo.commands.shared import Command, FileIn, registry_option


@click.command(cls=Command)
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
