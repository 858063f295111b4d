"""The command that brings an h5ad from one schema into another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cellzoo.commands.data import check_said
from cellzoo.commands.shared import Command, FileIn, set_option
from cellzoo.console import bars, say, say_set

if TYPE_CHECKING:
    from cellzoo.converters.cellxgene import Report


@click.command(cls=Command)
@click.argument("source", metavar="IN.h5ad", type=FileIn)
@click.option("-o", "--out", type=FileIn, required=True, help="The h5ad to write.")
@click.option(
    "--to",
    "target",
    type=click.Choice(["cellxgene", "sfaira", "streamlined"]),
    required=True,
    help="The schema to write.",
)
@click.option(
    "--version",
    type=click.Choice(["7.1", "7.0"]),
    show_default="7.1",
    help="Which CELLxGENE schema: 7.0 is what the Census builder reads.",
)
@set_option
@click.option(
    "--leave-out",
    type=click.Choice(["empty", "repeated"]),
    multiple=True,
    help="Cells that CELLxGENE does not take: without counts, or with the same counts as a cell before.",
)
@click.option(
    "--labels/--no-labels",
    default=None,
    help="With or without what the portal writes; a CELLxGENE file stays as it is.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was done as one JSON document.")
def convert(  # noqa: PLR0913, PLR0917
    source: Path,
    out: Path,
    target: str,
    version: str | None,
    said: dict[str, str],
    leave_out: tuple[str, ...],
    labels: bool | None,
    as_json: bool,
) -> None:
    """Bring a CELLxGENE (5.3 to 7.1), sfaira or streamlined file into another of these forms.

    Nothing is lost: what the schema has no place for is carried in the file and returns on the way back. What is
    unknown stays unknown; where CELLxGENE does not allow that, the file is refused with everything that is missing, and
    --set says it. Matrices are read block by block.
    """
    from cellzoo.converters.cellxgene import converted
    from cellzoo.converters.h5ad import open_h5ad, write_h5ad
    from cellzoo.converters.write import check_writable
    from cellzoo.registry.pins import SCHEMA

    given = {"--version": version, "--set": said, "--leave-out": leave_out, "--labels": labels}
    given |= {"--no-labels": labels is False}
    _check_options([name for name, one in given.items() if one], target)
    check_said(said)
    if out.absolute() == source.absolute():
        raise click.BadParameter(
            f"{out}: would replace the file that is read. Choose another path.", param_hint="--out"
        )
    check_writable(out)
    data, report = converted(open_h5ad(source), target, version or SCHEMA, said, labels, leave_out)
    with bars() as progress:
        write_h5ad(data, out, progress)
    if as_json:
        click.echo(json.dumps(report.as_dict(), indent=1, ensure_ascii=False))
    else:
        _tell(report)
        click.echo(out)


def _check_options(names: list[str], target: str) -> None:
    """Refuse options that say something about a CELLxGENE file where another is written."""
    if names and target != "cellxgene":
        belong = "belong" if len(names) > 1 else "belongs"
        raise click.UsageError(f"{' and '.join(names)} {belong} to --to cellxgene, not to --to {target}.")


def _tell(report: Report) -> None:
    version = f" {report.version}" if report.version else ""
    say(f"{report.source} to {report.target}{version}: {report.cells} cells, {report.genes} genes")
    if report.genes_not_measured:
        say(f"{report.genes_not_measured} genes of the gene space were not measured and are not written")
    for label, why in report.unknown.items():
        say(f"unknown, {label}: {why}")
    say_set(report.set)
    for why, cells_out in report.left_out.items():
        say(f"left out, {why}: {len(cells_out)} cells")
    for name, done in report.migrated.items():
        shown = json.dumps(done, ensure_ascii=False) if not isinstance(done, str) else done
        say(f"migrated, {name}: {shown if len(shown) < 200 else shown[:200] + '…'}")
    for part, names in report.carried.items():
        say(f"carried, {part}: {', '.join(names)}")
    for part, names in report.restored.items():
        say(f"restored, {part}: {', '.join(names)}")
    for part, why in report.not_restored.items():
        say(f"not restored, {part}: {why}")
    for what in report.computed:
        say(f"computed, {what}")
