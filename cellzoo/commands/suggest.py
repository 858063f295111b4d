"""Terms for the labels of a study."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from cellzoo.commands.shared import Command, Words, json_option, open_cards, registry_option
from cellzoo.console import say, table


@click.command(cls=Command)
@click.argument("text", nargs=-1, required=True, type=Words)
@click.option("--field", default="cell_type", show_default=True, help="cell_type, tissue, disease, … or cell_line.")
@click.option(
    "--tissue", multiple=True, type=Words, help="Label or id of the tissue the labels come from; can be given again."
)
@click.option("--organism", default="Homo sapiens", type=Words, show_default=True, help="Label, synonym or id.")
@click.option("-n", "number", type=click.IntRange(1, 50), default=5, show_default=True, help="Most terms for a label.")
@registry_option
@json_option
def suggest(  # noqa: PLR0913, PLR0917
    text: tuple[str, ...],
    field: str,
    tissue: tuple[str, ...],
    organism: str,
    number: int,
    registry: tuple[str, ...],
    as_json: bool,
) -> None:
    """Suggest ontology terms for labels, each with a score and a reason; what to take is yours to decide."""
    from cellzoo.registry.suggest.suggester import suggest as suggest_terms

    zoo = open_cards(registry)
    found = {
        one: suggest_terms(one, field, tissue=tissue, organism=organism, n=number, registry=zoo)
        for one in dict.fromkeys(text)
    }
    if as_json:
        click.echo(json.dumps([{"id": one, "suggestions": [asdict(hit) for hit in found[one]]} for one in found]))
        return
    rows = [
        [one if not at else "", hit.term, hit.label, f"{hit.score:.2f}", hit.why]
        for one, hits in found.items()
        for at, hit in enumerate(hits)
    ]
    if rows:
        table(["text", "term", "label", "score", "why"], rows)
    for one in [one for one, hits in found.items() if not hits]:
        say(f"{one!r}: nothing to suggest")
