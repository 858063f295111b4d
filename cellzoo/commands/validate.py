"""Hold files against the CELLxGENE schema."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from cellzoo.commands.shared import Command, FileIn, json_option
from cellzoo.console import say


@click.command(cls=Command)
@click.argument("files", nargs=-1, required=True, type=FileIn, metavar="FILE.h5ad...")
@click.option(
    "--schema-version",
    type=click.Choice(["7.1", "7.0"]),
    default="7.1",
    show_default=True,
    help="Version of the schema.",
)
@click.option(
    "--ignore-labels/--forbid-labels",
    default=None,
    help="Whether the labels may be there that CELLxGENE adds to a published file; by default in files that say their "
    "schema version.",
)
@click.option(
    "--pre-analysis", is_flag=True, help="The file is of before analysis: no cell types, perhaps no embedding."
)
@json_option
def validate(
    files: tuple[Path, ...], schema_version: str, ignore_labels: bool | None, pre_analysis: bool, as_json: bool
) -> None:
    """Find all that is wrong in h5ad files by the rules of the CELLxGENE schema.

    Each finding has a code, the place, what was found and expected, the first cells or genes, and a remedy. Exit code 1
    says that there are errors; warnings do not fail.
    """
    from cellzoo.ci.report import summary
    from cellzoo.converters.validate.check import validate as found_in

    documents, failed = [], False
    for file in files:
        findings = found_in(file, schema_version, ignore_labels=ignore_labels, pre_analysis=pre_analysis)
        valid = not any(finding.severity == "error" for finding in findings)
        failed |= not valid
        documents.append({"id": str(file), "valid": valid, "findings": [finding.as_dict() for finding in findings]})
        if not as_json:
            for finding in findings:
                click.echo(str(finding))
        say(f"{file}: {'valid' if valid else 'not valid'}, {summary(findings)}")
    if as_json:
        click.echo(json.dumps({"schema_version": schema_version, "files": documents}, indent=1))
    sys.exit(failed)
