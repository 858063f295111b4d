"""Commands that write cards: draft one of a data set, enter a released model, verify data sets."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cellzoo.commands.shared import (
    Command,
    Failures,
    FileIn,
    Group,
    Words,
    json_option,
    open_cards,
    registry_option,
    remote_option,
)
from cellzoo.console import bars, say
from cellzoo.errors import CardError, CellzooError, InputError, NotFoundError

if TYPE_CHECKING:
    from cellzoo.converters.about import Said
    from cellzoo.converters.contents import Contents
    from cellzoo.converters.draft import Draft
    from cellzoo.converters.labels import Row
    from cellzoo.converters.verify import Outcome
    from cellzoo.registry.catalogue import Registry
    from cellzoo.registry.suggest.suggester import Suggestion

TERMS = ("organism", "tissue", "assay", "disease", "sex", "development_stage", "self_reported_ethnicity")
"""Fields that can be stated for all cells."""
MOST = 20
"""Doubtful labels of a map that are listed."""
SCHEMA = "../../schema/dataset-card.schema.json"
"""Where editors find the schema of a card, in a clone of the registry."""


@click.group(cls=Group)
def new() -> None:
    """Write a card: of a data set, or of a released model."""


def _term_options(command: Any) -> Any:
    for name in reversed(TERMS):
        words = name.replace("_", " ")
        command = click.option(f"--{words.replace(' ', '-')}", name, help=f"{words.capitalize()} of all cells.")(
            command
        )
    return command


@new.command("dataset")
@click.option("--file", "source", type=FileIn, required=True, help="The h5ad file.")
@click.option("--id", default="", help="Id of the card; by default made of author, year and file name.")
@click.option("--title", default="", help="One line that a biologist understands.")
@click.option("--doi", default="", help="DOI of the study.")
@click.option("--authors", default="", help="Authors as cited, for example 'Zheng et al.'.")
@click.option("--year", type=int, help="Year of the first publication.")
@click.option("--license", default="", help="SPDX id of the terms of the data.")
@click.option("--url", default="", help="Where the file can be downloaded; without, it is known to this machine only.")
@click.option("--primary/--not-primary", default=None, help="Whether these cells are first published here.")
@click.option("--donor", default="", help="Donor of all cells.")
@_term_options
@click.option("-o", "--out", type=FileIn, help="Folder for the card; by default registry/cards/datasets or datasets.")
@click.option("--yes", is_flag=True, help="Ask nothing, take what was found.")
@registry_option
def dataset(
    source: Path, out: Path | None, yes: bool, registry: tuple[str, ...], organism: str | None, **said: Any
) -> None:
    """Look into a file and draft its card and label maps.

    On a terminal it asks what the file does not say, and shows each suggested term. Without one it writes down what it
    found and lists what is left to decide.
    """
    from cellzoo.converters.about import Said
    from cellzoo.converters.contents import contents_of
    from cellzoo.converters.draft import draft
    from cellzoo.converters.fetch import keep

    stated = {name: said.pop(name) for name in TERMS[1:]} | {"organism": organism}
    answers = Said(**said, terms={name: text for name, text in stated.items() if text})
    cards, asking = open_cards(registry), on_terminal() and not yes
    contents = contents_of(source)
    say(f"{source.name}: {contents.cells} cells, {len(contents.names)} genes")
    asked: set[str] = set()
    if asking:
        answers, asked = _ask_all(contents, answers, cards)
    made = draft(contents, answers, cards)
    if missing := [question for question in made.questions if question.needed]:
        options = ", ".join(f"--{question.about}" for question in missing)
        raise click.UsageError(f"{'; '.join(question.text for question in missing)}. Give {options}.")
    if not answers.url and "url" not in made.card["files"][0]:
        made = draft(contents, answers, cards, keep(source)[1])
    for sentence in made.told:
        say(sentence)
    folder = _folder(out, made)
    if asking:
        _look_at(made)
    _tell(made, asked)
    path = _write(made, folder)
    verifying = "" if contents.counts is None else f"cellzoo verify {path}; then "
    say(f"next: {verifying}cellzoo check {path}")
    click.echo(path)


def on_terminal() -> bool:
    """Return whether a person can be asked."""
    return sys.stdin.isatty()


def _ask_all(contents: Contents, answers: Said, cards: Registry) -> tuple[Said, set[str]]:
    """Return the answers of a person at a terminal, and what was asked.

    An empty answer leaves a question open, a wrong one is asked again. What an answer tells of others is not asked: a
    DOI may have the year.
    """
    from cellzoo.converters.draft import draft

    asked = {"cell_type"}  # a column, which is for the card to name
    made = draft(contents, answers, cards)
    while question := next((one for one in made.questions if one.about not in asked), None):
        text = click.prompt(question.text, default="", show_default=False, err=True).strip()
        if not text and question.needed:
            say("  there is no card without it; Ctrl-C leaves, and nothing is written")
        elif text:
            try:
                tried = _answered(answers, question.about, text, contents.organism or "")
                made, answers = draft(contents, tried, cards), tried
            except CardError as error:
                say("\n".join(f"  {one.message}" for one in error.findings))
                continue
            except CellzooError as error:
                say(f"  {error}")
                continue
        if text or not question.needed:
            asked.add(question.about)
    return answers, asked


def _answered(answers: Said, about: str, text: str, organism: str) -> Said:
    from cellzoo.converters.draft import stated_term

    if about in TERMS:
        stated_term(about, text, organism)
        return replace(answers, terms={**answers.terms, about: text})
    changed: dict[str, Any] = {about: text}
    if about == "year":
        if not text.isdecimal():
            raise InputError(f"year: {text!r} is not a number.")
        changed[about] = int(text)
    if about == "primary":
        if text.lower() not in {"y", "yes", "n", "no"}:
            raise InputError(f"{text!r}: expected yes or no.")
        changed[about] = text.lower().startswith("y")
    return replace(answers, **changed)


def _short(text: str) -> str:
    """Return a label as a line has room for it."""
    return text if len(text) <= 60 else f"{text[:60]}…"


def _look_at(made: Draft) -> None:
    """Show each suggested row to a person, who takes, changes or leaves it."""
    from cellzoo.converters.draft import stated_term

    organism = made.card["cells"]["organism"]["term"]
    for name, row in [(name, row) for name, rows in made.maps.items() for row in rows if row.open]:
        say(f"{name}: {_short(row.source)!r} ({row.cells} cells)")
        shown = [one for one in row.choices if one.score >= 0.01]
        for number, choice in enumerate(shown, start=1):
            say(f"  {number}  {choice.label} ({choice.term})  {choice.score:.2f}  {choice.why}")
        field = name.removesuffix(".tsv").rpartition(".")[2]
        while True:
            question = f"  [{row.label}], number, term, u for unknown, s to leave it, q to leave all that follow"
            wanted = click.prompt(question, default="", show_default=False, err=True).strip()
            if wanted == "q":
                return
            try:
                _choose(row, wanted, shown, partial(stated_term, field, organism=organism))
            except CellzooError as error:
                say(f"  {error}")
                continue
            break


def _choose(row: Row, wanted: str, shown: list[Suggestion], term_of: Callable[[str], dict[str, str]]) -> None:
    """Set a row as a person wants it: Enter takes it as it stands, ``s`` leaves it open."""
    if wanted == "s":
        return
    if wanted == "u":
        row.term = row.label = "unknown"
    elif wanted.isdecimal():
        if not 0 < int(wanted) <= len(shown):
            raise InputError(f"{wanted} is none of these.")
        row.term, row.label = shown[int(wanted) - 1].term, shown[int(wanted) - 1].label
    elif wanted:
        found = term_of(wanted)
        row.term, row.label = found["term"], found.get("label", found["term"])
    row.note = "no term fits" if row.term == "unknown" else ""


def _tell(made: Draft, asked: set[str]) -> None:
    """Say what is left to do; what a person saw and let stand is done."""
    left = [question for question in made.questions if not (question.filled and question.about in asked)]
    for name, rows in made.maps.items():
        doubtful = [row for row in rows if row.open]
        known = sum(row.term != "unknown" for row in rows)
        say(f"{name}: {len(rows)} labels, {known} with a term, {len(doubtful)} to look at")
        for row in doubtful[:MOST]:
            say(f"  {_short(row.source)} ({row.cells} cells) -> {row.label}: {row.note}")
        if len(doubtful) > MOST:
            say(f"  and {len(doubtful) - MOST} more, with a note in {name}")
    if any(row.open for rows in made.maps.values() for row in rows):
        say("look at each row with a note, correct its term, and delete the note")
    if left:
        say("left for you to decide, in the card or by an option:")
    for question in left:
        say(f"  {question.about}: {question.text.removeprefix(f'{question.about}: ')}")


def _folder(out: Path | None, made: Draft) -> Path:
    """Return the folder for a draft; `InputError` where it holds such files: nothing that exists is overwritten."""
    usual = Path("registry/cards/datasets")
    folder = out or (usual if usual.is_dir() else Path("datasets"))
    folder = folder if folder.name == "datasets" else folder / "datasets"
    if there := [name for name in made.texts() if (folder / name).exists()]:
        raise InputError(f"{folder}: holds {', '.join(there)} already. Give another --id, or remove them.")
    return folder


def _write(made: Draft, folder: Path) -> Path:
    """Write the files of a draft and return the card."""
    from cellzoo.converters.write import replacing

    texts = made.texts()
    if (folder / SCHEMA).is_file():
        texts[f"{made.id}.yaml"] = f"# yaml-language-server: $schema={SCHEMA}\n{texts[f'{made.id}.yaml']}"
    for name, text in texts.items():  # the card last: it names the others
        with replacing(folder / name) as part:
            part.write_text(text, encoding="utf-8")
    return folder / f"{made.id}.yaml"


@new.command("model")
@click.argument("model", metavar="RUN|ORG/NAME[@vX.Y.Z]")
@click.option("--title", default="", help="One line that a biologist understands.")
@click.option("--license", default="", help="SPDX id of the weights' licence; BSD-3-Clause where left out.")
@click.option("--intended-use", default="", help="What the model is for.")
@click.option("--limits", default="", help="What it must not be used for.")
@click.option("--date", default="", help="Day of the release, YYYY-MM-DD; today where left out.")
@click.option("-o", "--out", type=FileIn, help="Folder of model cards; by default registry/cards/models or models.")
@remote_option
def model(model: str, out: Path | None, remote: str | None, **said: str) -> None:
    """Enter a released model into the registry: a card with every file pinned, or one more version of it."""
    from cellzoo.hub.entry import About, enter

    usual = Path("registry/cards")
    made = enter(model, out or (usual / "models" if usual.is_dir() else Path("models")), remote, About(**said))
    say(f"{made.id}: version {made.version} entered")
    for name, text in made.drafted.items():
        say(f"  {name} is a draft, read it: {text}")
    click.echo(made.path)


@click.command(cls=Command)
@click.argument("dataset", nargs=-1, required=True, type=Words, metavar="ID|CARD.yaml…")
@click.option("--files", "folder", type=FileIn, help="Folder with the files that no URL gives, by their names.")
@click.option("--renew", is_flag=True, help="Write the verified block of a verified card anew.")
@registry_option
@json_option
def verify(
    dataset: tuple[str, ...], folder: Path | None, renew: bool, registry: tuple[str, ...], as_json: bool
) -> None:
    """Turn imported data sets into verified ones.

    Each is fetched, pinned by sha256 and size, read, streamlined and judged; when all is good that is written into its
    card, otherwise nothing is. A verified card is verified again.
    """
    from cellzoo.converters.verify import verify as verified

    if folder is not None and not folder.is_dir():
        raise click.UsageError(f"--files: {folder} is not a folder.")
    cards, failed, seen = open_cards(registry), Failures(), []
    for name in dataset:
        try:
            with bars() as progress:
                outcome = verified(_card(name, cards), folder, renew, progress)
        except CellzooError as error:  # one that fails never stops the others
            failed(name, error)
        else:
            _say(outcome)
            seen.append({"id": outcome.id, "written": outcome.written, **outcome.seen.model_dump()})
            seen[-1]["pinned"] = {file: pin.model_dump(exclude_none=True) for file, pin in outcome.pinned.items()}
    if as_json:
        click.echo(json.dumps(seen, indent=1))
    failed.exit()


def _card(name: str, cards: Registry) -> Path:
    if name.endswith(".yaml"):
        if not Path(name).is_file():
            raise NotFoundError(f"{name}: there is no such card.")
        return Path(name)
    return cards.path(name)


def _say(outcome: Outcome) -> None:
    for name, pin in outcome.pinned.items():
        say(f"{outcome.id}: {name} pinned: {pin.bytes} bytes, sha256 {pin.sha256}")
    say(str(outcome))
