"""What the commands share: errors as messages and exit codes, common options, the registry they work on.

Exit codes: 0 good, 1 the input has findings, 2 wrong usage, 3 the world failed (network, disk).
"""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cellzoo.console import say
from cellzoo.errors import CardError, CellzooError, Finding, WorldError

if TYPE_CHECKING:
    from cellzoo.converters.zoo import Zoo
    from cellzoo.registry.catalogue import Registry

LONGEST = 500
"""Characters of a term, a label or an id that is typed."""


class _Words(click.types.StringParamType):
    """A text that says something: an empty one is mostly a shell variable that is not set."""

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text; UsageError where it is blank or too long to be a term."""
        if not value.strip():
            self.fail("it is empty; leave it out, or say something.", param, ctx)
        if len(value) > LONGEST:
            self.fail(f"it has {len(value)} characters, expected at most {LONGEST}.", param, ctx)
        return value


Words = _Words()
FileIn = click.Path(path_type=Path)
registry_option = click.option(
    "--registry",
    multiple=True,
    help="Folder of cards, or URL@ref of a Git repository; may be given several times, the first that has an id wins. "
    "By default CELLZOO_REGISTRY, else the packaged cards.",
)
remote_option = click.option(
    "--remote", envvar="CELLZOO_REMOTE", help="Folder or URL of a hub; by default CELLZOO_REMOTE, else huggingface.co."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


set_option = click.option(
    "--set",
    "said",
    metavar="FIELD=VALUE",
    multiple=True,
    type=Words,
    callback=lambda _, parameter, texts: pairs(texts, parameter, "disease=normal"),
    help="What holds for the cells of which FIELD is unknown, as a term id, a label or a word: disease=PATO:0000461. "
    "May be given several times.",
)


def pairs(texts: tuple[str, ...], parameter: click.Parameter, example: str) -> dict[str, str]:
    """Return what NAME=VALUE says for each name; UsageError for anything else."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip() or not value.strip():
            message = f"{text!r}: expected {parameter.metavar}, for example {example}."
            raise click.BadParameter(message, param=parameter)
        found[name.strip()] = value.strip()
    return found


class Command(click.Command):
    """A command that turns cellzoo's errors into a message on stderr and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except CellzooError as error:
            _tell(error)
            ctx.exit(error.exit_code)
        except OSError as error:
            if error.errno == errno.EPIPE:  # who read our output has enough; click ends quietly
                raise
            click.echo(f"Error: {error}", err=True)
            ctx.exit(WorldError.exit_code)


class Group(click.Group):
    """A group of such commands, listed in the order of the file."""

    command_class = Command

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order they are written here."""
        return list(self.commands)


class Failures:
    """What of a list could not be used: each is told at once and stops no other; the command then exits with `code`."""

    code = 0
    """The highest exit code of the errors that were told."""

    def __call__(self, name: str, error: CellzooError) -> None:
        """Tell an error and what it is about."""
        _tell(error, name)
        self.code = max(self.code, error.exit_code)

    def exit(self) -> None:
        """End the command where something failed."""
        if self.code:
            sys.exit(self.code)


def _tell(error: CellzooError, about: str = "") -> None:
    """Print an error and its notes to stderr; findings in cards have their place in front."""
    for line in [str(error), *getattr(error, "__notes__", [])]:
        named = f"{about}: {line}" if about and not line.startswith(f"{about}:") else line
        click.echo(line if isinstance(error, CardError) else f"Error: {named}", err=True)


def show_findings(findings: Sequence[Finding], as_json: bool) -> None:
    """Print findings, a line each, or as one JSON document."""
    if as_json:
        click.echo(json.dumps([finding.as_dict() for finding in findings], indent=1))
        return
    for finding in findings:
        click.echo(str(finding))


def open_zoo(registry: tuple[str, ...]) -> Zoo:
    """Return the zoo of the registries that were asked for."""
    from cellzoo.converters.zoo import Zoo

    return Zoo(open_cards(registry))


def open_cards(registry: tuple[str, ...]) -> Registry:
    """Return the registries that were asked for as one."""
    from cellzoo.registry.catalogue import open_registry

    opened = open_registry(registry or None)
    for line in (*opened.said, opened.precedence()):
        if line:
            say(line)
    return opened
