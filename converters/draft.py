"""A dataset card and its label maps, drafted from what an h5ad file holds and what a person says beside it.

Nothing is made up: what neither the file nor the person says is unknown, and is listed for the person to decide. A term
that was not stated but suggested has the score in the ``note`` of its row; a note goes when a person has looked.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

from pandas.api.types import is_float_dtype
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from cellzoo.converters.about import About, Question, Said
from cellzoo.converters.columns import Column, column_of, match_columns, unusable
from cellzoo.converters.contents import Contents
from cellzoo.converters.counts import SMALLEST, UNSCALED
from cellzoo.converters.labels import Row, map_text, row_of
from cellzoo.converters.terms import NO_LABEL
from cellzoo.errors import InputError
from cellzoo.registry.cards import parse_card
from cellzoo.registry.catalogue import Registry
from cellzoo.registry.cells import Cells
from cellzoo.registry.document import Document
from cellzoo.registry.fields import FIELD_ROOTS, HUMAN, NOT_APPLICABLE, UNKNOWN, allowed, find_term
from cellzoo.registry.ontology import term_ontology
from cellzoo.registry.parts import SCHEMA_VERSION, Bytes
from cellzoo.registry.reading import Recover
from cellzoo.registry.suggest.suggester import Suggestion, suggest

SAMPLES = ("bio_sample", "tech_sample")
"""Fields that say nothing where all cells have one value."""


@dataclass
class Draft:
    """A card, its label maps, and what a person should know of both."""

    id: str
    """Id of the data set."""
    card: CommentedMap
    """The card."""
    maps: dict[str, list[Row]] = field(default_factory=dict)
    """File name -> rows of the label map."""
    told: list[str] = field(default_factory=list)
    """What was found, in sentences."""
    questions: list[Question] = field(default_factory=list)
    """What is still to be decided."""

    def texts(self) -> dict[str, str]:
        """Return file name -> text of the label maps and, last, of the card."""
        stream = io.StringIO()
        yaml = YAML()
        yaml.width = 4096
        yaml.indent(mapping=2, sequence=4, offset=2)
        yaml.dump(self.card, stream)
        return {name: map_text(rows) for name, rows in self.maps.items()} | {f"{self.id}.yaml": stream.getvalue()}


def draft(contents: Contents, said: Said, registry: Registry, pin: Bytes | None = None) -> Draft:
    """Return the card of a file; ``pin`` names its bytes where they are nowhere but on this machine.

    Raises `InputError` for an id that is taken, `NotFoundError` for a term that is none.
    """
    about = About(contents, said, registry)
    made = Draft(about.id, CommentedMap(), told=about.told, questions=about.questions)
    file: dict[str, Any] = {"name": contents.path.name} | (
        {"url": said.url or about.url} if said.url or about.url else {}
    )
    if pin and (twin := _twin(pin, registry)):
        made.told.append(f"these are the bytes of {twin}, which is a card already")
    if pin:
        file |= {"access": "private", "sha256": pin.sha256, "bytes": pin.bytes}
    cells = _Cells(contents, said, registry, made).build()
    parts: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "id": made.id,
        "title": about.title,
        "study": _flow(about.study),
        "license": about.license,
        "status": "imported",
        **({"status_reason": _no_counts(contents)} if contents.counts is None else {}),
        "primary_data": about.primary,
        "files": CommentedSeq([CommentedMap(file)]),
        "read": CommentedMap({"format": "h5ad", "matrix": _flow({"file": contents.path.name})}),
        **({"layers": _flow({"counts": contents.counts})} if contents.counts != "X" else {}),
        **({"counts": _counts(contents, cells, made)} if contents.counts else {}),
        "genes": _flow(
            contents.genes | ({"feature_type_column": contents.feature_types} if contents.feature_types else {})
        ),
        "cells": CommentedMap({name: _flow(value) for name, value in cells.items()}),
        "cells_expected": contents.cells,
    }
    for key, value in parts.items():
        made.card[key] = value
    _doubt(made, contents)
    tried = json.loads(json.dumps(made.card))
    tried["study"]["year"] = tried["study"]["year"] or date.today().year  # what is not said yet is not wrong yet
    parse_card(Document(Path(f"{made.id}.yaml"), tried, {}))
    return made


def _doubt(made: Draft, contents: Contents) -> None:
    """Tell what of the file will not do as it is."""
    if contents.counts is None:
        made.told.append(_no_counts(contents) + " Without counts a data set is described, but never verified.")
    if doubled := int(contents.obs.index.duplicated().sum()):
        remedy = "they must differ: adata.obs_names_make_unique(), write the file again, then draft again"
        made.told.append(f"{doubled} cells have the name of another; {remedy}")
    for name, why in unusable(contents.obs).items():
        made.told.append(f"column {name!r} is not used: {why}")
    said = made.card["cells"]["organism"]
    if contents.doubt:
        made.told.append(f"organism: {contents.doubt}; the card says {said.get('label', UNKNOWN)} for all")
    if contents.organism not in {None, said["term"]}:
        seen = stated_term("organism", str(contents.organism))["label"]
        made.told.append(f"organism is {said['label']} as you say, but the file or its gene names say {seen}")


def stated_term(name: str, text: str, organism: str = "") -> dict[str, str]:
    """Return the term, and its label, that a person or a file states for all cells by id or label.

    `NotFoundError` with the nearest, `InputError` for a term that the field does not take.
    """
    if text in {UNKNOWN, NOT_APPLICABLE}:
        return {"term": text}
    term = find_term(name, text)
    if wrong := allowed(name, term, organism or HUMAN):
        raise InputError(f"{name}: {wrong}")
    return {"term": term, "label": term_ontology(term).label(term)}


def _twin(pin: Bytes, registry: Registry) -> str:
    """Return the id of a card that pins the same bytes, "" where there is none."""
    return next(
        (
            card.id
            for card in registry.cards()
            for file in card.files
            if pin.sha256 in {one.sha256 for one in file.pins}
        ),
        "",
    )


def _flow(said: dict[str, Any]) -> CommentedMap:
    """Return a mapping that is written on one line."""
    found = CommentedMap({key: _flow(value) if isinstance(value, dict) else value for key, value in said.items()})
    found.fa.set_flow_style()
    return found


def _no_counts(contents: Contents) -> str:
    looked = "; ".join(f"{place}: {why}" for place, why in contents.looked.items())
    return f"No raw counts in the file, and none that could be recovered. {looked}."


def _counts(contents: Contents, cells: dict[str, dict[str, Any]], made: Draft) -> CommentedMap:
    assay = str(cells.get("assay", {}).get("label") or "").lower()
    kind = "reads" if contents.reads else "umi"
    made.told.append(
        f"counts are in {contents.counts}"
        + (" and look like reads (few ones)" if contents.reads else " and look like UMIs (many ones)")
        + (f"; assay {assay}" if assay else "")
    )
    if contents.recover is None:
        return _flow({"kind": kind})
    recipe = contents.recover.model_dump()
    recipe["scale"] = int(recipe["scale"]) if recipe["scale"] == int(recipe["scale"]) else recipe["scale"]
    made.told.append(_recovered(str(contents.counts), contents.recover))
    return _flow({"kind": kind, "recover": recipe})


def _recovered(place: str, recipe: Recover) -> str:
    """Return how counts are recovered, and whether that proves them."""
    tried = "(tried on the first cells; verify tries all)"
    if recipe.depth == SMALLEST:
        return (
            f"the file has no raw counts; they are taken from {place}: undo {recipe.undo} by smallest, each cell's "
            f"smallest value as one count {tried}. That is not proven: a cell whose counts are all even comes out "
            "halved. A column with each cell's total count, as counts.recover.depth, would prove it"
        )
    how = "they were never scaled" if recipe.depth == UNSCALED else f"at scale {recipe.scale:g} by {recipe.depth}"
    comma = "," if recipe.depth == UNSCALED else ""
    return (
        f"the file has no raw counts; they are recovered exactly from {place}: undo {recipe.undo}{comma} {how} {tried}"
    )


class _Cells:
    """What the columns of cells say, field by field."""

    def __init__(self, contents: Contents, said: Said, registry: Registry, made: Draft) -> None:
        self.contents, self.said, self.registry, self.made = contents, said, registry, made
        self.organism = contents.organism or ""
        self.tissue = ""

    def build(self) -> dict[str, dict[str, Any]]:
        """Return field -> what the card says of it, in the order of the schema."""
        found: dict[str, dict[str, Any]] = {"organism": self._organism()}
        columns = {
            name: column
            for name, column in match_columns(self.contents.obs, self._fits).items()
            if name != "organism" and not (name in SAMPLES and column.constant)
        }
        for name in ("tissue", *(name for name in Cells.model_fields if name != "tissue")):
            if stated := self.said.terms.get(name):
                found[name] = stated_term(name, stated, self.organism)
            elif name in columns:
                found[name] = self._terms(name, columns[name]) if name in FIELD_ROOTS else self._values(columns[name])
            if name == "tissue":
                self.tissue = found.get(name, {}).get("term", UNKNOWN)
        self._tell_unfilled({*columns, *(["donor_id"] if self.said.donor else [])})
        if self.said.donor:
            found["donor_id"] = {"value": self.said.donor}
        if self.organism and self.organism != HUMAN:
            found["self_reported_ethnicity"] = {"term": NOT_APPLICABLE}
        for name in ("tissue", "assay"):
            if found.setdefault(name, {"term": UNKNOWN}).get("term") == UNKNOWN:
                self._ask(
                    name, f"{name} of all cells, as a term or its label; unknown keeps a card from being verified"
                )
        if "cell_type" not in found:
            self._ask("cell_type", "no column of cell types was found; name one under cells.cell_type, or leave it out")
        used = ", ".join(
            f"{name} from {column.name}" for name, column in columns.items() if name not in self.said.terms
        )
        self.made.told.append(f"columns of cells: {used or 'none that was understood'}")
        return {name: found[name] for name in Cells.model_fields if name in found}

    def _ask(self, about: str, text: str) -> None:
        self.made.questions.append(Question(about, text))

    def _tell_unfilled(self, known: set[str]) -> None:
        """Tell which columns would be fields in plain words, which every cell needs, but are empty for some cells."""
        obs = self.contents.obs
        lacking = {one.name: one.missing for name in obs if (one := column_of(obs, str(name))) and one.missing}
        filled = obs[list(lacking)].astype(object)
        filled = filled.where(filled.notna() & (filled.astype(str).apply(lambda one: one.str.strip()) != ""), UNKNOWN)
        for name, column in match_columns(filled, lambda *_: 0.0).items():
            if name not in known and name not in FIELD_ROOTS:
                why = f"{lacking[column.name]} cells have none"
                remedy = f"Fill it in, with {UNKNOWN} where it is not known, and draft again"
                self.made.told.append(f"column {column.name!r} is not taken as {name}: {why}. {remedy}")

    def _organism(self) -> dict[str, Any]:
        stated = self.said.terms.get("organism") or self.organism
        if not stated:
            why = self.contents.doubt or "the gene names do not tell"
            self.made.questions.append(Question("organism", f"organism: {why}", needed=True))
            return {"term": UNKNOWN}
        found = stated_term("organism", stated)
        self.organism = found["term"]
        return found

    def _values(self, column: Column) -> dict[str, Any]:
        return {"value": next(iter(column.labels))} if column.constant else {"column": column.name}

    def _terms(self, name: str, column: Column) -> dict[str, Any]:
        rows = [self._row(name, column, label) for label in column.labels]
        if column.missing:
            rows.append(Row(NO_LABEL, column.missing, UNKNOWN, UNKNOWN, "cells without a label"))
            self.made.told.append(
                f"{name}: {column.missing} cells have no {column.name}; their row {NO_LABEL} is unknown"
            )
        doubtful = any(row.open for row in rows)
        if column.constant:
            return self._constant(name, column, rows[0])
        if not doubtful and not column.missing:
            if column.words is not None:
                return {"column": column.name, "holds": "ids"}
            if all(row.source in {row.label, UNKNOWN} for row in rows):
                return {"column": column.name, "holds": "labels"}
        if is_float_dtype(self.contents.obs[column.name]):  # which is read with the point
            for row in rows[: len(column.labels)]:
                row.source = str(float(row.source))
        file = f"{self.made.id}.{name}.tsv"
        self.made.maps[file] = rows
        return {"column": column.name, "map": file}

    def _constant(self, name: str, column: Column, row: Row) -> dict[str, Any]:
        if row.open:
            text = f"{name}: all cells have {column.name} {row.source!r}, taken as {row.label}, {row.note}"
            self.made.questions.append(Question(name, text, filled=True))
        if row.term in {UNKNOWN, NOT_APPLICABLE}:
            return {"term": row.term} | ({"text": row.source} if row.source not in {UNKNOWN, NOT_APPLICABLE} else {})
        same = name == "sex" or row.source.casefold() in {row.term.casefold(), row.label.casefold()}
        return {"term": row.term, "label": row.label} | ({} if same else {"text": row.source})

    def _row(self, name: str, column: Column, label: str) -> Row:
        if label == NOT_APPLICABLE and allowed(name, label, self.organism or HUMAN):
            return Row(
                label, column.labels[label], UNKNOWN, UNKNOWN, "the study says na, which the field does not take"
            )
        if column.words is None:
            return row_of(label, column.labels[label], partial(self._suggest, name), exact=name == "sex")
        if label in {UNKNOWN, NOT_APPLICABLE} or allowed(name, label, self.organism or HUMAN):
            return row_of(label, column.labels[label], partial(self._suggest, name), column.words.get(label, label))
        return Row(label, column.labels[label], label, term_ontology(label).label(label))

    def _suggest(self, name: str, text: str) -> list[Suggestion]:
        tissue = self.tissue if self.tissue not in {"", UNKNOWN} and name == "cell_type" else None
        return suggest(text, name, tissue=tissue, organism=self.organism or HUMAN, n=3, registry=self.registry)

    def _fits(self, name: str, text: str) -> float:
        best = self._suggest(name, text)[:1]
        return best[0].score if best and best[0].term != UNKNOWN else 0.0
