"""The rules of any data frame, and those of features: names, types, reserved columns, ids of genes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cellzoo.converters.validate.context import Context
from cellzoo.converters.validate.file import Column, Frame
from cellzoo.registry.fields import (
    CELL_TERMS,
    CONDITION,
    DEPRECATED_COLUMNS,
    FEATURE_LABELS,
    KINDS_OF_PERTURBATION,
    OBSERVATION_JOINID,
)
from cellzoo.registry.genetable import are_features, bare, organism_of_id

FEW = 20_000


def check_frames(context: Context) -> None:
    """Find what is wrong with the columns and indices of obs, var and raw.var, whatever they mean."""
    labels = {
        "obs": (
            *CELL_TERMS,
            OBSERVATION_JOINID,
            *((CONDITION, KINDS_OF_PERTURBATION) if context.has_conditions else ()),
        ),
        **dict.fromkeys(("var", "raw.var"), FEATURE_LABELS),
    }
    for frame in context.frames:
        names, report = frame.names, context.report
        if len(set(names)) < len(names):
            again = _repeated(names)
            report.add("CXG127", f"{frame.name}.index", "holds names that occur more than once.", names, again)
        for name in sorted(set(frame.order)):
            place = f"{frame.name}.{name}"
            if frame.order.count(name) > 1:
                report.add("CXG124", place, f"{frame.order.count(name)} columns have this name.")
            if name.startswith("__"):
                report.add("CXG123", place, "the name starts with '__'.")
            if name in labels[frame.name] and not context.ignore_labels:
                report.add("CXG121", place, "is a label that the portal writes.")
            if frame.name == "obs" and name in DEPRECATED_COLUMNS:
                report.add("CXG122", place, "is deprecated.")
            if name in frame.columns:
                _check_column(context, frame, frame.columns[name])


def _check_column(context: Context, frame: Frame, column: Column) -> None:
    place, report = f"{frame.name}.{column.name}", context.report
    if column.kind == "nullable" and (rows := column.missing).any():
        report.add("CXG125", place, f"is {column.encoding} with missing values.", frame.names, rows)
    elif column.kind != "category" and not len(frame):
        report.add("CXG125", place, "has no values.")
    if column.kind != "category":
        return
    if not column.has_text and np.asarray(column.categories).dtype == bool:
        report.add("CXG126", place, "has categories True and False.")
    if frame.name == "obs" and (unused := len(column.categories) - int(np.count_nonzero(column.counts))):
        report.add("CXG112", place, f"{unused} of {len(column.categories)} categories have no cells.")


def _repeated(names: NDArray[np.object_]) -> NDArray[np.bool_]:
    _, inverse, counts = np.unique(names.astype(str), return_inverse=True, return_counts=True)
    return np.asarray(counts[inverse] > 1)


def check_features(context: Context) -> None:
    """Find what is wrong with the features of var and raw.var."""
    var, raw, report = context.var, context.raw_var, context.report
    for frame in (var, raw) if raw else (var,):
        check_ids(context, frame.names, f"{frame.name}.index")
    if len(var) < FEW:
        report.add("CXG208", "var", f"has {len(var)} features, fewer than {FEW}.")
    if raw is not None:
        if len(raw) != len(var):
            report.add("CXG209", "raw.var.index", f"has {len(raw)} features, var has {len(var)}.")
        elif (rows := raw.names != var.names).any():
            report.add("CXG209", "raw.var.index", "has other features than var at the same place.", raw.names, rows)
        if "feature_is_filtered" in raw:
            report.add("CXG210", "raw.var.feature_is_filtered", "the column is there.")
    column = var.columns.get("feature_is_filtered")
    if column is None:
        report.add("CXG203", "var.feature_is_filtered", "the column is missing.")
    elif column.kind != "bool":
        report.add("CXG204", "var.feature_is_filtered", f"holds {column.encoding or column.kind}, expected bool.")
    elif raw is None and (rows := column.values).any():
        report.add("CXG205", "var.feature_is_filtered", "is True, although there is no raw.", var.names, rows)


def check_ids(context: Context, ids: NDArray[np.object_], place: str) -> None:
    """Find ids that are no features of the file's organism."""
    if context.organism is None:
        return
    unknown = ~are_features(ids, context.organism)
    if not unknown.any():
        return
    foreign = np.zeros(len(ids), bool)
    for row in np.flatnonzero(unknown):
        foreign[row] = organism_of_id(bare(str(ids[row]))) not in (None, context.organism)
    if foreign.any():
        context.report.add("CXG202", place, f"holds genes of another organism than {context.organism}.", ids, foreign)
    if (rows := unknown & ~foreign).any():
        versioned = any(bare(str(name)) != name for name in ids[rows])
        message = "holds what is no feature of the reference" + (", some with a version." if versioned else ".")
        context.report.add("CXG201", place, message, ids, rows)
