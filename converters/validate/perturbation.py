"""The rules of perturbations, new in schema 7.1: guides in uns, what each cell got in obs."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from cellzoo.converters.validate.cells import check_category, check_missing
from cellzoo.converters.validate.context import Context
from cellzoo.converters.validate.file import Column
from cellzoo.converters.validate.frames import check_ids
from cellzoo.converters.validate.metadata import check_text
from cellzoo.registry.fields import (
    CONDITION,
    DELIMITER,
    FISH,
    HUMAN,
    MOUSE,
    NOT_APPLICABLE,
    PERTURBATION,
    allowed,
    id_column,
)

KEY, ID, STRATEGY = "genetic_perturbations", PERTURBATION, "genetic_perturbation_strategy"
CONDITIONS = id_column(CONDITION)
ORGANISMS = (HUMAN, MOUSE, FISH)
NONE, CONTROL = "no perturbations", "control"
STRATEGIES = (
    CONTROL,
    *(f"CRISPR {kind}" for kind in ("activation screen", "interference screen", "knockout mutant", "knockout screen")),
)
ROLES = (CONTROL, "targeting")
DERIVED = ("derived_genomic_regions", "derived_features")
PATTERNS = {
    "protospacer_sequence": re.compile(r"[ACGT]{14,22}"),
    "protospacer_adjacent_motif": re.compile(r"3' [ABCDGHKMNRSTVWY]+"),
}
NAME = re.compile(r"""[^\s/,"']+""")


def check_perturbations(context: Context) -> None:
    """Find what is wrong with experimental conditions and genetic perturbations."""
    if not context.has_conditions:
        return
    _check_conditions(context)
    known = context.uns.get(KEY)
    if isinstance(known, dict):
        _check_known(context, known)
    elif known is not None:
        context.report.add("CXG704", f"uns.{KEY}", "is no dictionary.")
    ids, strategies = (context.obs.columns.get(name) for name in (ID, STRATEGY))
    _check_presence(context, known is not None, ids is not None, strategies is not None)
    if ids is None or strategies is None:
        return
    for column in (ids, strategies):
        if column is strategies or context.organism in ORGANISMS:
            check_missing(context, column)
            if not check_category(context, column, empty=column is ids):
                return
    if context.organism not in (None, *ORGANISMS):
        context.report.add("CXG707", f"obs.{ID}", f"the organism is {context.organism}.")
    if ids.has_text and strategies.has_text:
        _check_pairs(context, ids, strategies, known if isinstance(known, dict) else {})


def _check_presence(context: Context, known: bool, ids: bool, strategies: bool) -> None:
    if known and not ids:
        context.report.add("CXG701", f"obs.{ID}", f"the column is missing, although uns has {KEY}.")
    if (known or ids) and not strategies:
        context.report.add("CXG701", f"obs.{STRATEGY}", "the column is missing.")
    if ids and not known:
        context.report.add("CXG701", f"obs.{ID}", f"the column is there, although uns has no {KEY}.")
    if strategies and not ids:
        context.report.add("CXG701", f"obs.{STRATEGY}", f"the column is there without {ID}.")


def _check_conditions(context: Context) -> None:
    column = context.obs.columns.get(CONDITIONS)
    if column is None:
        return
    place = f"obs.{CONDITIONS}"
    check_missing(context, column)
    if not column.has_text:
        context.report.add("CXG102", place, f"holds {column.encoding or column.kind}, expected categories of text.")
        return
    if column.used == [NOT_APPLICABLE] and not column.missing.any():
        context.report.add("CXG705", place, "is 'na' for all cells.")
    for term in column.used:
        if wrong := allowed(CONDITION, term, schema=context.schema):
            context.report.add("CXG104", place, wrong, context.obs.names, column.where(term))


def _check_known(context: Context, known: dict[str, Any]) -> None:
    report = context.report
    for key, found in known.items():
        place = f"uns.{KEY}.{key}"
        if key == NOT_APPLICABLE:
            report.add("CXG708", place, "'na' says that there is no perturbation.")
        if not NAME.fullmatch(key):
            report.add("CXG706", place, "holds a space, slash, comma or quote; what it holds is not looked at.")
        elif not isinstance(found, dict):
            report.add("CXG704", place, "is no dictionary.")
        else:
            _check_guide(context, place, found)


def _check_guide(context: Context, place: str, found: dict[str, Any]) -> None:
    report, allowed_keys = context.report, ("role", *PATTERNS, "intended_features")
    for key in found:
        if key in DERIVED:
            report.add("CXG121", f"{place}.{key}", "is written by the portal.")
        elif key not in allowed_keys:
            report.add("CXG704", f"{place}.{key}", f"is no key of a perturbation; those are {', '.join(allowed_keys)}.")
    for key in ("role", *PATTERNS):
        if key not in found:
            report.add("CXG704", f"{place}.{key}", "is missing.")
        elif check_text(context, f"{place}.{key}", found[key]):
            fits = found[key] in ROLES if key == "role" else PATTERNS[key].fullmatch(found[key])
            if not fits:
                expected = " or ".join(ROLES) if key == "role" else PATTERNS[key].pattern
                report.add("CXG704", f"{place}.{key}", f"is {found[key]!r}, expected {expected}.")
    targets = found.get("intended_features")
    if targets is None:
        return
    place = f"{place}.intended_features"
    if not isinstance(targets, dict):
        report.add("CXG704", place, "is no dictionary.")
        return
    check_ids(context, np.array(list(targets), object), place)
    for gene, name in targets.items():
        check_text(context, f"{place}.{gene}", name)


def _check_pairs(context: Context, ids: Column, strategies: Column, known: dict[str, Any]) -> None:
    """Hold what each cell got against its strategy and against uns."""
    report, names = context.report, context.obs.names
    if context.organism not in ORGANISMS and ids.missing.any():
        report.add("CXG103", f"obs.{ID}", "has missing values.", names, ids.missing)
    for text in ids.used:
        rows, parts = ids.where(text), text.split(DELIMITER)
        got = {strategy: rows & strategies.where(strategy) for strategy in strategies.used}
        expected = (NONE,) if text == NOT_APPLICABLE else STRATEGIES
        for strategy, cells in got.items():
            if strategy not in expected and cells.any():
                message = f"is {strategy!r} where {ID} is {text!r}: expected {', '.join(expected)}."
                report.add("CXG703", f"obs.{STRATEGY}", message, names, cells)
        if text == NOT_APPLICABLE:
            continue
        if parts != sorted(set(parts)):
            right = DELIMITER.join(sorted(set(parts)))
            report.add("CXG702", f"obs.{ID}", f"{text!r} is not sorted and unique: expected {right!r}.", names, rows)
        if absent := [part for part in parts if part not in known]:
            report.add("CXG702", f"obs.{ID}", f"uns has no perturbation {', '.join(absent)}.", names, rows)
        others = [part for part in parts if part in known and not _is_control(known[part])]
        if others and (cells := got.get(CONTROL, np.zeros(0, bool))).any():
            message = f"is 'control', although {', '.join(others)} {'is' if len(others) == 1 else 'are'} no control."
            report.add("CXG703", f"obs.{STRATEGY}", message, names, cells)


def _is_control(found: Any) -> bool:
    return isinstance(found, dict) and found.get("role") == CONTROL
