"""Commands for registries in Git: what differs between two versions, who changed a card, hand in cards."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from cellzoo.commands.shared import Command, FileIn, json_option
from cellzoo.console import say, table, warn


@click.command(cls=Command)
@click.argument("old")
@click.argument("new", required=False)
@json_option
def diff(old: str, new: str | None, as_json: bool) -> None:
    """Show what differs between two versions of a registry, in terms of data sets and models.

    OLD and NEW are each a folder, URL@ref, PATH@ref or, inside a repository of cards, a branch, tag or commit. Without
    NEW, OLD is compared with the cards of the repository one stands in, as they are on disk.
    """
    from cellzoo.registry.changes import compare

    found = compare(_version(old), _version(new))
    warn(found.problems)
    if as_json:
        click.echo(json.dumps({"old": old, "new": new, **found.as_dict()}, indent=1))
        return
    for change in found.all():
        click.echo(str(change))
    say(found.summary())


def _version(where: str | None) -> Path:
    from cellzoo.registry.catalogue import open_registry
    from cellzoo.registry.git import at, cards_of, resolve
    from cellzoo.registry.source import parse

    if where is None:
        return cards_of(Path.cwd())[1]
    if parse(where) is None and not Path(where).expanduser().is_dir():
        return at(Path.cwd(), where)
    folder, commit, said = resolve(where)
    for line in said:
        say(f"warning: {line}")
    return folder if commit else open_registry(folder).root


def show_history(card: Path, as_json: bool) -> None:
    """Print the commits that changed a card or its label maps, the newest first."""
    from cellzoo.registry.history import history

    revisions = history(card)
    if as_json:
        click.echo(json.dumps([asdict(revision) for revision in revisions], indent=1))
        return
    columns = ["commit", "date", "author", "subject", "changes"]
    table(columns, [[one.commit[:10], one.date[:10], one.author, one.subject, one.changes] for one in revisions])


@click.command(cls=Command)
@click.argument("path", nargs=-1, type=FileIn)
@click.option("-m", "--message", help="Message of the commit and title of the pull request; says the cards otherwise.")
@click.option("--branch", help="Name of the new branch; cards/ID otherwise.")
@click.option("--remote", default="origin", show_default=True, help="Remote to push to: the repository, or your fork.")
@click.option("--base", default="main", show_default=True, help="Branch of that remote to build on and to merge into.")
@click.option("--dry-run", is_flag=True, help="Do everything but push.")
def submit(path: tuple[Path, ...], dry_run: bool, **wanted: Any) -> None:
    """Hand in cards: check them, commit them on a branch of their own, push it, open a pull request.

    Takes the cards given with the label maps they use, else every changed one. Nothing else in the working tree, the
    index or the branches is touched. A pull request is opened by gh where that is installed; otherwise the address to
    open one is printed.
    """
    from cellzoo.ci.submit import Wanted
    from cellzoo.ci.submit import submit as hand_in

    made = hand_in(list(path), Wanted(**wanted), dry_run)
    warn(made.warnings)
    for kind, name in made.files:
        say(f"{kind} {name}")
    for line in made.said:
        say(line)
    click.echo(made.pull_request or made.open_at or made.branch)
