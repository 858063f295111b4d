"""Commands that work on the registry itself: check cards."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from cellzoo import settings
from cellzoo.commands.shared import Command, FileIn, open_cards, registry_option


@click.command(cls=Command)
@click.argument("path", nargs=-1, type=FileIn)
@registry_option
@click.option(
    "--changed",
    "base",
    metavar="BASE",
    help="Look at what changed in the repository one stands in since HEAD left this branch or commit.",
)
@click.option("--fix", "mend", is_flag=True, help="Mend what is mechanical, then say what is left.")
@click.option("--data", is_flag=True, help="Read the data too, as far as it is on this machine.")
@click.option("--links", is_flag=True, help="Ask the network whether links and releases are still there.")
@click.option(
    "--format", "form", type=click.Choice(["text", "json", "github", "sarif"]), default="text", show_default=True
)
@click.option("--explain", metavar="CODE", help="Say what a code means, for example CARD003.")
def check(  # noqa: PLR0913, PLR0917
    path: tuple[Path, ...],
    registry: tuple[str, ...],
    base: str | None,
    mend: bool,
    data: bool,
    links: bool,
    form: str,
    explain: str | None,
) -> None:
    """Check cards and label maps: schema, terms, labels, duplicates, licences, models.

    All of the registry, or the cards, label maps and folders given. The same command runs in CI. Exit code 1 says that
    there are errors; warnings do not fail.
    """
    if explain is not None:
        from cellzoo.ci.rules import explain as explained

        click.echo(explained(explain))
        return
    if path and base is not None:
        raise click.UsageError("give either paths or --changed")

    from cellzoo.ci.check import Question, check_registry, top_of
    from cellzoo.ci.report import as_markdown, render, summary
    from cellzoo.console import say

    question = Question(path, base, data, links)
    if base is not None and not registry and not settings.registry():
        from cellzoo.registry.git import cards_of

        registry = (str(cards_of(Path.cwd())[1]),)  # the repository one stands in, as `submit` and `diff` take it
    cards = open_cards(registry)
    if mend:
        from cellzoo.ci.fix import fix

        mended, findings = fix(lambda: check_registry(cards, question))
        for finding in mended:
            say(f"mended: {finding}")
    else:
        findings = check_registry(cards, question)
    top = top_of(path[0] if path else cards.root)
    if text := render(findings, form, top):
        click.echo(text)
    if form == "github" and (file := os.environ.get("GITHUB_STEP_SUMMARY")):
        with Path(file).open("a", encoding="utf-8") as stream:
            stream.write(as_markdown(findings, top) + "\n")
    stated = path or registry or base is not None
    say(summary(findings) + ("" if stated else f" in the cards of {cards}"))
    sys.exit(any(finding.severity == "error" for finding in findings))
