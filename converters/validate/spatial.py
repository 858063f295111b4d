"""The rules of Visium and bead-based assays: uns spatial, images, positions of spots."""

from __future__ import annotations

from typing import Any

import numpy as np

from cellzoo.converters.validate.context import Context
from cellzoo.converters.validate.file import Array
from cellzoo.registry.fields import UNKNOWN, id_column

IMAGE_SIDE = {False: 2000, True: 4000}
"""Longest side of the image by whether the slide is of 11 mm, in pixels."""
LAST_ROW_COLUMN = {False: (77, 127), True: (127, 223)}
SPOTS = {False: 4992, True: 14336}
PLACE = "uns.spatial"


def check_spatial(context: Context) -> None:
    """Find what is wrong with what a spatial file needs, and what another must not have."""
    if id_column("assay") not in context.obs:
        return
    if context.is_spatial and len(context.assays) > 1:
        message = f"holds {', '.join(context.assays)}."
        context.report.add("CXG610", f"obs.{id_column('assay')}", message)
    _check_uns(context)
    last_row, last_column = LAST_ROW_COLUMN[context.is_11mm]
    for name, last in (("array_col", last_column), ("array_row", last_row), ("in_tissue", 1)):
        _check_position(context, name, last)
    _check_outside(context)


def _check_uns(context: Context) -> None:
    spatial, report = context.uns.get("spatial"), context.report
    if spatial is not None and not context.is_spatial:
        report.add("CXG601", PLACE, "is there, although no assay is Visium or bead-based.")
        return
    if not context.is_spatial:
        return
    if not isinstance(spatial, dict):
        report.add("CXG601", PLACE, "is missing or no dictionary.")
        return
    if context.is_single is None:
        report.add("CXG602", f"{PLACE}.is_single", "is missing or no bool.")
        return
    libraries = [key for key in spatial if key != "is_single"]
    if len(libraries) > 1 or (libraries and not context.is_section):
        report.add("CXG603", PLACE, f"has the keys {', '.join(libraries)} beside is_single.")
    elif context.is_section and not libraries:
        report.add("CXG603", PLACE, "has no library beside is_single.")
    elif context.is_section:
        _check_library(context, f"{PLACE}.{libraries[0]}", spatial[libraries[0]])


def _check_library(context: Context, place: str, library: Any) -> None:
    known = {"images": ("hires",), "scalefactors": ("spot_diameter_fullres", "tissue_hires_scalef")}
    if not _check_keys(context, place, library, tuple(known), tuple(known)):
        return
    images, factors = library.get("images"), library.get("scalefactors")
    if images is not None and _check_keys(context, f"{place}.images", images, ("hires", "fullres"), known["images"]):
        if "hires" in images:
            _check_image(context, f"{place}.images.hires", images["hires"], IMAGE_SIDE[context.is_11mm])
        if images.get("fullres") is None:
            context.report.add("CXG612", f"{place}.images.fullres", "is missing.")
        else:
            _check_image(context, f"{place}.images.fullres", images["fullres"], None)
    needed = known["scalefactors"]
    if factors is not None and _check_keys(context, f"{place}.scalefactors", factors, needed, needed):
        for name in needed:
            if name in factors and not isinstance(factors[name], float):
                message = f"is {type(factors[name]).__name__}, expected a float of 64 bits."
                context.report.add("CXG606", f"{place}.scalefactors.{name}", message)


def _check_keys(context: Context, place: str, found: Any, known: tuple[str, ...], needed: tuple[str, ...]) -> bool:
    """Return whether something is a dictionary, having found keys that are missing or too many."""
    if not isinstance(found, dict):
        context.report.add("CXG604", place, "is no dictionary.")
        return False
    if unknown := [key for key in found if key not in known]:
        context.report.add("CXG604", place, f"has the keys {', '.join(unknown)}, expected {', '.join(known)}.")
    for key in needed:
        if key not in found:
            context.report.add("CXG604", f"{place}.{key}", "is missing.")
    return True


def _check_image(context: Context, place: str, found: Any, side: int | None) -> None:
    if not isinstance(found, Array) or found.flat_numbers:
        context.report.add("CXG605", place, "is no array of three dimensions.")
        return
    if found.node.dtype != np.uint8:
        context.report.add("CXG605", place, f"holds {found.node.dtype}, expected uint8.")
    if len(found.shape) != 3 or found.shape[2] not in (3, 4):
        context.report.add("CXG605", place, f"has shape {found.shape}, expected (height, width, 3 or 4).")
    if side is not None and max(found.shape) != side:
        context.report.add("CXG605", place, f"has {max(found.shape)} pixels on its longest side, expected {side}.")


def _check_position(context: Context, name: str, last: int) -> None:
    column, place, report = context.obs.columns.get(name), f"obs.{name}", context.report
    if column is None:
        if context.is_section:
            report.add("CXG607", place, "the column is missing.")
        return
    if not context.is_section:
        report.add("CXG607", place, "the column is there, although this is no single section of Visium.")
    elif column.kind not in ("category", "other", "text") and column.missing.any():
        report.add("CXG608", place, "has missing values.", context.obs.names, column.missing)
    elif column.kind != "int":
        report.add("CXG608", place, f"holds {column.encoding or column.kind}, expected integers.")
    elif (rows := (column.values < 0) | (column.values > last)).any():
        report.add("CXG608", place, f"is not between 0 and {last}.", context.obs.names, rows)


def _check_outside(context: Context) -> None:
    inside, types = context.obs.columns.get("in_tissue"), context.obs.text(id_column("cell_type"))
    if not context.is_section or inside is None or types is None or inside.kind not in ("int", "float", "bool"):
        return
    if (rows := (inside.values == 0) & ~types.where(UNKNOWN)).any():
        report = context.report
        report.add("CXG609", f"obs.{types.name}", "is known for spots outside the tissue.", context.obs.names, rows)
