"""The rules of obs: which columns there are, and which terms and words they hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cellzoo.converters.validate.context import Context, is_below
from cellzoo.converters.validate.file import Column
from cellzoo.registry.fields import (
    CELL_TERMS,
    NOT_APPLICABLE,
    PLAIN_COLUMNS,
    SUSPENSION_TYPES,
    TISSUE_TYPES,
    allowed,
    id_column,
)

MANY = 10
"""Wrong values of one column that are told one by one."""
SUSPENSIONS: tuple[tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]], ...] = (
    (
        ("EFO:0030080", "EFO:0010184", "EFO:0010010", "EFO:0009919"),
        (
            *("EFO:0008722", "EFO:0008780", "EFO:0700010", "EFO:0700011", "EFO:0030060", "EFO:0022490"),
            "EFO:0030028",
        ),
        ("cell", "nucleus"),
    ),
    (("EFO:0007045", "EFO:0002761"), ("EFO:0008720", "EFO:0030026"), ("nucleus",)),
    (
        ("EFO:0008919", "EFO:0008853", "EFO:0008953"),
        ("EFO:0030002", "EFO:0008796", "EFO:0700003", "EFO:0700004", "EFO:0008679", "EFO:0008877"),
        ("cell",),
    ),
    (("EFO:0008994",), ("EFO:0008992",), ("na",)),
)
"""Assays with all below them, single assays, and the suspension types that fit them."""


def check_cells(context: Context) -> None:
    """Find what is wrong with the curated columns of obs."""
    obs, report = context.obs, context.report
    for name in (*map(id_column, CELL_TERMS), *PLAIN_COLUMNS):
        if name in obs:
            continue
        if name == id_column("cell_type") and context.has_conditions:
            if not context.pre_analysis:
                report.add("CXG114", f"obs.{name}", "the column is missing, which only files of before analysis may.")
        else:
            report.add("CXG101", f"obs.{name}", "the column is missing.")
    if context.pre_analysis and id_column("cell_type") in obs:
        report.add("CXG801", f"obs.{id_column('cell_type')}", "the column is there, in a file of before analysis.")
    _check_primary(context)
    for name in ("tissue_type", "suspension_type", "donor_id"):
        _check_plain(context, name)
    for field in CELL_TERMS:
        _check_terms(context, field)
    _check_lines(context)
    _check_suspension(context)


def _check_primary(context: Context) -> None:
    column = context.obs.columns.get("is_primary_data")
    if column is None:
        return
    place = "obs.is_primary_data"
    if column.kind != "bool":
        context.report.add("CXG107", place, f"holds {column.encoding or column.kind}, expected bool.")
    elif context.is_single is False and (rows := column.values).any():
        message = "is True, although uns['spatial']['is_single'] is False."
        context.report.add("CXG611", place, message, context.obs.names, rows)


def check_missing(context: Context, column: Column) -> None:
    """Find values of a column that are missing."""
    if (rows := column.missing).any():
        context.report.add("CXG103", f"obs.{column.name}", "has missing values.", context.obs.names, rows)


def check_category(context: Context, column: Column, empty: bool = False) -> bool:
    """Return whether a column is categorical with text, having found what is wrong; ``empty`` asks for empty text."""
    place = f"obs.{column.name}"
    if column.kind != "category":
        context.report.add("CXG102", place, f"holds {column.encoding or column.kind}, expected categories of text.")
        return False
    if not column.has_text:
        if empty:
            context.report.add("CXG102", place, "has categories that are no text.")
        return not empty
    if empty and any(not text.strip() for text in column.categories):
        context.report.add("CXG110", place, "has a category without text.")
    return True


def _check_plain(context: Context, name: str) -> None:
    column = context.obs.columns.get(name)
    if column is None:
        return
    check_missing(context, column)
    if not check_category(context, column, empty=name == "donor_id") or name == "donor_id":
        return
    expected = TISSUE_TYPES if name == "tissue_type" else SUSPENSION_TYPES
    for found in column.used:
        if found not in expected:
            message = f"{found!r} is not allowed: expected {', '.join(expected)}."
            context.report.add("CXG105", f"obs.{name}", message, context.obs.names, column.where(found))


def _check_terms(context: Context, field: str) -> None:
    """Hold each term of a column against the rule of its tissue type."""
    column = context.obs.columns.get(id_column(field))
    if column is None:
        return
    check_missing(context, column)
    place = f"obs.{column.name}"
    if not column.has_text:
        context.report.add("CXG102", place, f"holds {column.encoding or column.kind}, expected categories of text.")
        return
    if column.kind == "text":
        context.report.add("CXG111", place, "is text, not categorical.")
    said: dict[str, tuple[set[Any], Any]] = {}
    for term, tissue_type, codes in _pairs(context, column):
        if wrong := _wrong(context, field, term, tissue_type):
            terms, rows = said.setdefault(wrong, (set(), np.zeros(len(context.obs), bool)))
            terms.add(term)
            rows |= codes
    for wrong, (_, rows) in list(said.items())[:MANY]:
        context.report.add("CXG104", place, wrong, context.obs.names, rows)
    if len(said) > MANY:
        rest = np.logical_or.reduce([rows for _, rows in list(said.values())[MANY:]])
        message = f"{len(said) - MANY} further values are not allowed either."
        context.report.add("CXG104", place, message, context.obs.names, rest)


def _pairs(context: Context, column: Column) -> Iterator[tuple[str, str | None, Any]]:
    """Yield each term, the tissue type it occurs with, and the rows of the two."""
    kinds = context.obs.text("tissue_type")
    types = kinds.categories if kinds else []
    codes = column.codes.astype(np.int64)
    other = kinds.codes.astype(np.int64) if kinds else np.full(len(codes), -1)
    joint = np.where(codes < 0, -1, codes * (len(types) + 1) + other + 1)
    for one in np.unique(joint[joint >= 0]).tolist():
        term, kind = divmod(one, len(types) + 1)
        yield column.categories[term], types[kind - 1] if kind else None, joint == one


def _wrong(context: Context, field: str, term: str, tissue_type: str | None) -> str | None:
    if field in ("assay", "disease"):
        return allowed(field, term, schema=context.schema)
    if context.organism is None or tissue_type not in TISSUE_TYPES:
        return None  # found already, and what holds depends on it
    wrong = allowed(field, term, context.organism, tissue_type, context.schema)
    return wrong and f"{wrong.removesuffix('.')} (tissue type {tissue_type}, {context.organism})."


def _check_lines(context: Context) -> None:
    """Find donors of cell lines, donors that are none, and cell lines of which some cells alone have no type."""
    obs, report = context.obs, context.report
    kinds = obs.text("tissue_type")
    if kinds is None:
        return
    lines = kinds.where("cell line")
    if donors := obs.text("donor_id"):
        absent = donors.where(NOT_APPLICABLE)
        if (rows := lines & ~absent).any():
            report.add("CXG106", "obs.donor_id", "cells of a cell line have a donor other than 'na'.", obs.names, rows)
        if (rows := ~lines & absent).any():
            report.add("CXG106", "obs.donor_id", "is 'na' for what is no cell line.", obs.names, rows)
    if types := obs.text(id_column("cell_type")):
        absent = types.where(NOT_APPLICABLE) & lines
        if absent.any() and (rows := lines & ~absent).any():
            message = "is 'na' for some cells of cell lines, and something else for these."
            report.add("CXG109", f"obs.{types.name}", message, obs.names, rows)


def _check_suspension(context: Context) -> None:
    """Hold the suspension type of each assay against the table."""
    obs, report = context.obs, context.report
    assays, column = obs.text(id_column("assay")), obs.text("suspension_type")
    if assays is None or column is None:
        return
    for assay in assays.used:
        fitting = [
            fits
            for roots, terms, fits in SUSPENSIONS
            if assay in terms or any(is_below(assay, root, True, context.schema) for root in roots)
        ]
        rows = assays.where(assay)
        if not fitting:
            report.add("CXG113", "obs.suspension_type", f"nothing is known of {assay}.", obs.names, rows)
        for fits in fitting:
            wrong = rows & ~np.logical_or.reduce([column.where(one) for one in fits])
            if wrong.any():
                message = f"does not fit {assay}: expected {' or '.join(fits)}."
                report.add("CXG108", "obs.suspension_type", message, obs.names, wrong)
