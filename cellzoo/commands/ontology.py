"""Commands that look terms up: what they mean, what they are called, what is above and below them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from cellzoo.commands.shared import FileIn, Group, Words, json_option
from cellzoo.console import say, table, wrapped
from cellzoo.errors import InputError, NotFoundError

if TYPE_CHECKING:
    from rich.tree import Tree

    from cellzoo.registry.ontology import Ontology

LAST = "CVCL"
"""Cell lines have any name, T cells among them: they are asked only where no other ontology knows a text."""


@click.group(cls=Group)
def ontology() -> None:
    """Terms of cell types, tissues, assays, diseases, … by id, label or synonym."""


def _asked(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the ontologies that its options choose."""

    @click.option("--in", "where", help="An ontology, as CL, or a field of cells, as cell_type; by default all.")
    @click.option("--schema", help="The CELLxGENE schema whose versions are asked; by default the newest.")
    @click.option("--version", help="One packaged version, as v2025-07-30.")
    @click.option("--file", type=FileIn, help="Ask this OBO, OWL or OBO-graph JSON file instead.")
    @click.option("--extension", type=FileIn, help="Attach the terms of this file below those of --in.")
    @json_option
    @wraps(command)
    def found(where: str | None, schema: str | None, version: str | None, **options: Any) -> None:
        file, extension = options.pop("file"), options.pop("extension")
        if file or extension:
            from cellzoo.registry.obo import compile_ontology, extend
        ontologies = [compile_ontology(file)] if file else _ontologies(where, schema, version)
        if extension and len(ontologies) > 1:
            raise click.UsageError("--extension needs --in: the ontology whose terms it lies below.")
        command(ontologies=[extend(ontologies[0], extension)] if extension else ontologies, **options)

    return found


def _ontologies(where: str | None, schema: str | None, version: str | None) -> list[Ontology]:
    from cellzoo.registry.fields import PREFIXES
    from cellzoo.registry.ontology import load, packaged
    from cellzoo.registry.pins import PINS, SCHEMA

    prefixes = {prefix.lower(): (prefix,) for prefix in PINS[SCHEMA]} | PREFIXES
    wanted = where.lower().replace("-", "_") if where else None
    if wanted and wanted not in prefixes:
        raise click.UsageError(f"--in {where}: expected one of {', '.join([*PINS[SCHEMA], *PREFIXES])}.")
    chosen = prefixes[wanted] if wanted else tuple(PINS[SCHEMA])
    if not version:
        return [load(prefix, schema=schema or SCHEMA) for prefix in chosen]
    having = [load(prefix, version) for prefix in chosen if version in packaged()[prefix]]
    if not having:
        there = ", ".join(f"{prefix} {one}" for prefix in chosen for one in packaged()[prefix])
        raise NotFoundError(f"version {version} is not packaged; there is {there}")
    return having


@ontology.command()
@click.argument("term", type=Words)
@_asked
def show(term: str, ontologies: list[Ontology], as_json: bool) -> None:
    """Show what a term means, what it is called, and what it lies below."""
    one, term_id = _resolve(term, ontologies)
    parents = one.links(term_id)
    facts = {
        **_brief(one, term_id),
        "definition": one.description(term_id),
        "synonyms": one.synonyms(term_id),
        "obsolete": one.is_obsolete(term_id),
        "replaced_by": one.replaced_by(term_id),
        "parents": [{"id": up, "label": one.label(up), "relations": parents[up]} for up in sorted(parents)],
        "children": len(one.children(term_id)),
        "descendants": len(one.descendants(term_id)),
    }
    if as_json:
        click.echo(json.dumps(facts, indent=1))
        return
    click.echo(f"{term_id}  {one.label(term_id)}  ({one.prefix} {one.version})")
    rows = [("", facts["definition"]), ("synonyms", "; ".join(facts["synonyms"]))]
    rows += [("is below" if not at else "", _line(one, up, parents[up])) for at, up in enumerate(sorted(parents))]
    if facts["descendants"]:
        rows.append(("children", f"{facts['children']}, descendants {facts['descendants']}"))
    if facts["obsolete"]:
        new = facts["replaced_by"]
        rows.append(("obsolete", f"replaced by {_named(one, new)}" if new else "no replacement is named"))
    for name, text in rows:
        if text:
            click.echo(wrapped(text, f"  {name:10s}"))


@ontology.command()
@click.argument("text", type=Words)
@click.option("-n", "--number", type=click.IntRange(1), default=10, show_default=True, help="How many at most.")
@_asked
def search(text: str, number: int, ontologies: list[Ontology], as_json: bool) -> None:
    """Search labels and synonyms for words, or for what is most like them."""
    found = _searched(text, number, [one for one in ontologies if one.prefix != LAST or len(ontologies) == 1])
    found = found or _searched(text, number, ontologies)
    if as_json:
        listed = [{**_brief(one, term_id), "synonyms": one.synonyms(term_id)} for one, term_id in found]
        click.echo(json.dumps(listed, indent=1))
        return
    if not found:
        say("No term matches.")
        return
    table(
        ["id", "label", "synonyms"],
        [[term_id, one.label(term_id), "; ".join(one.synonyms(term_id)[:4])] for one, term_id in found],
    )


def _searched(text: str, number: int, ontologies: list[Ontology]) -> list[tuple[Ontology, str]]:
    """Return what each ontology finds, best first: the label itself, names with all the words, names like them."""
    wanted = text.casefold()

    def far(one: Ontology, term_id: str) -> int:
        names = [name.casefold() for name in (one.label(term_id), *one.synonyms(term_id))]
        return (wanted != names[0]) + (not any(all(word in name for word in wanted.split()) for name in names))

    ranked = [
        (far(one, term_id), place, order, term_id)
        for order, one in enumerate(ontologies)
        for place, term_id in enumerate(one.search(text, number))
    ]
    return [(ontologies[order], term_id) for *_, order, term_id in sorted(ranked)[:number]]


def _related(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the relation it follows."""
    help_text = "Follow this relation only; by default both."
    return click.option("--relation", type=click.Choice(["is_a", "part_of"]), help=help_text)(command)


@ontology.command()
@click.argument("term", type=Words)
@_related
@_asked
def children(term: str, relation: str | None, ontologies: list[Ontology], as_json: bool) -> None:
    """List the terms right below a term."""
    one, term_id = _resolve(term, ontologies)
    below = one.children(term_id, _relations(relation))
    rows = [
        {**_brief(one, child), "relations": one.links(child)[term_id], "descendants": len(one.descendants(child))}
        for child in sorted(below, key=lambda child: one.label(child).casefold())
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    say(f"{len(rows)} below {_named(one, term_id)}")
    if rows:
        cells = [[row["id"], row["label"], _spelled(row["relations"]), str(row["descendants"])] for row in rows]
        table(["id", "label", "relation", "terms below"], cells)


@ontology.command()
@click.argument("term", type=Words)
@_related
@_asked
def ancestors(term: str, relation: str | None, ontologies: list[Ontology], as_json: bool) -> None:
    """Show all that a term lies below, as a tree with the term at its root."""
    one, term_id = _resolve(term, ontologies)
    relations = _relations(relation)
    above = one.ancestors(term_id, relations=relations)
    distance = _distances(one, term_id, relations)
    if as_json:
        rows = [{**_brief(one, up), "distance": distance.get(up)} for up in above]
        click.echo(json.dumps(sorted(rows, key=lambda row: (row["distance"] or len(above), row["id"])), indent=1))
        return
    from rich.console import Console
    from rich.tree import Tree

    tree = Tree(_named(one, term_id))
    _grow(tree, one, term_id, relations, set())
    Console(width=None if sys.stdout.isatty() else 240, markup=False, highlight=False, emoji=False).print(tree)
    if through := sorted(set(above) - distance.keys()):
        say(f"also, through terms of other ontologies: {', '.join(_named(one, up) for up in through)}")


def _distances(one: Ontology, term_id: str, relations: Iterable[str]) -> dict[str, int]:
    """Return the number of links up to each ancestor that is reached through terms of the ontology itself."""
    distance, todo = {term_id: 0}, [term_id]
    for term in todo:
        for up in one.parents(term, relations):
            if up not in distance:
                distance[up] = distance[term] + 1
                todo.append(up)
    return distance


def _grow(tree: Tree, one: Ontology, term_id: str, relations: Iterable[str], drawn: set[str]) -> None:
    links = one.links(term_id)
    for up in one.parents(term_id, relations):
        again = up in drawn and bool(one.parents(up, relations))
        branch = tree.add(_line(one, up, links[up]) + (" … as above" if again else ""))
        if up not in drawn:
            drawn.add(up)
            _grow(branch, one, up, relations, drawn)


def _resolve(text: str, ontologies: list[Ontology]) -> tuple[Ontology, str]:
    """Return the one term that an id, a label or a synonym means, and its ontology."""
    for one in ontologies:
        if text in one:
            return one, text
    for asked in ([one for one in ontologies if one.prefix != LAST], [one for one in ontologies if one.prefix == LAST]):
        exact = [(one, one.find(text)) for one in asked if one.knows(text)]
        labels = [(one, term_id) for one, term_id in exact if one.label(term_id) == text]
        found = labels or exact or [(one, near) for one in asked if (near := _folded(one, text))]
        if len(found) > 1:
            names = ", ".join(_named(one, term_id) for one, term_id in found)
            raise InputError(f"{text!r} names several terms: {names}; give one of these ids")
        if found:
            return found[0]
    close = [_named(one, term_id) for one, term_id in _searched(text, 3, ontologies)]
    hint = f"; nearest {', '.join(close)}" if close else ""
    asked_of = ", ".join(f"{one.prefix} {one.version}" for one in ontologies)
    raise NotFoundError(f"{text!r} is no id, label or synonym of {asked_of}{hint}")


def _folded(one: Ontology, text: str) -> str | None:
    """Return the term with this name in another case."""
    near = next(iter(one.nearest(text, 1)), None)
    names = [one.label(near), *one.synonyms(near)] if near else []
    return near if text.casefold() in map(str.casefold, names) else None


def _brief(one: Ontology, term_id: str) -> dict[str, Any]:
    return {"id": term_id, "label": one.label(term_id), "ontology": one.prefix, "version": one.version}


def _named(one: Ontology, term_id: str) -> str:
    return f"{term_id} {one.label(term_id)}" if term_id in one else term_id


def _line(one: Ontology, term_id: str, relations: tuple[str, ...]) -> str:
    return f"{_named(one, term_id)} ({_spelled(relations)})"


def _spelled(relations: tuple[str, ...]) -> str:
    return " and ".join(relations) or "is_a or part_of"


def _relations(relation: str | None) -> tuple[str, ...]:
    from cellzoo.registry.ontology import BOTH

    return (relation,) if relation else BOTH
