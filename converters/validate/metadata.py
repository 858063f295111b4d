"""The rules of uns, and of the embeddings and other arrays along the axes."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from cellzoo.converters.validate.context import Context
from cellzoo.converters.validate.file import Array, Other, value
from cellzoo.registry.fields import CELL_TERMS, DEPRECATED_KEYS, ORGANISM_KEY, PRE_ANALYSIS, RESERVED_KEYS, allowed

PLAIN = re.compile(r"[a-zA-Z][a-zA-Z0-9_.-]*")
HEX = re.compile(r"#[0-9a-fA-F]{6}")
CSS4 = """
aliceblue antiquewhite aqua aquamarine azure beige bisque black blanchedalmond blue blueviolet brown burlywood
cadetblue chartreuse chocolate coral cornflowerblue cornsilk crimson cyan darkblue darkcyan darkgoldenrod darkgray
darkgreen darkgrey darkkhaki darkmagenta darkolivegreen darkorange darkorchid darkred darksalmon darkseagreen
darkslateblue darkslategray darkslategrey darkturquoise darkviolet deeppink deepskyblue dimgray dimgrey dodgerblue
firebrick floralwhite forestgreen fuchsia gainsboro ghostwhite gold goldenrod gray green greenyellow grey honeydew
hotpink indianred indigo ivory khaki lavender lavenderblush lawngreen lemonchiffon lightblue lightcoral lightcyan
lightgoldenrodyellow lightgray lightgreen lightgrey lightpink lightsalmon lightseagreen lightskyblue lightslategray
lightslategrey lightsteelblue lightyellow lime limegreen linen magenta maroon mediumaquamarine mediumblue mediumorchid
mediumpurple mediumseagreen mediumslateblue mediumspringgreen mediumturquoise mediumvioletred midnightblue mintcream
mistyrose moccasin navajowhite navy oldlace olive olivedrab orange orangered orchid palegoldenrod palegreen
paleturquoise palevioletred papayawhip peachpuff peru pink plum powderblue purple rebeccapurple red rosybrown
royalblue saddlebrown salmon sandybrown seagreen seashell sienna silver skyblue slateblue slategray slategrey snow
springgreen steelblue tan teal thistle tomato turquoise violet wheat white whitesmoke yellow yellowgreen
"""
NAMED_COLORS = frozenset(CSS4.split())
"""The 148 names of CSS level 4."""


def check_uns(context: Context) -> None:
    """Find what is wrong in uns, but for its parts on space and perturbations."""
    uns, report = context.uns, context.report
    for key in ("title", ORGANISM_KEY):
        if key not in uns:
            report.add("CXG301", f"uns.{key}", "the key is missing.")
    for key, found in uns.items():
        place = f"uns.{key}"
        if _is_empty(found):
            report.add("CXG304", place, "is empty.")
        if key.startswith("__"):
            report.add("CXG123", place, "the name starts with '__'.")
        if key in DEPRECATED_KEYS:
            report.add("CXG122", place, "is deprecated.")
        if key.endswith("_colors"):
            _check_colors(context, key, found)
    reserved = (*RESERVED_KEYS, *((PRE_ANALYSIS,) if context.has_conditions else ()))
    for key in () if context.ignore_labels else reserved:
        if key in uns:
            report.add("CXG121", f"uns.{key}", "is written by the portal.")
    if "title" in uns:
        check_text(context, "uns.title", uns["title"])
    if ORGANISM_KEY in uns and context.organism is None:
        found = uns[ORGANISM_KEY]
        wrong = (
            allowed("organism", found, schema=context.schema) if isinstance(found, str) else f"{found!r} is no text."
        )
        report.add("CXG303", f"uns.{ORGANISM_KEY}", wrong or "")
    _check_choices(context)


def _check_choices(context: Context) -> None:
    uns, report = context.uns, context.report
    if "batch_condition" in uns:
        found = uns["batch_condition"]
        if not isinstance(found, Array) or found.flat_numbers or len(found.shape) != 1:
            report.add("CXG307", "uns.batch_condition", f"is {_what(found)}, expected a list of columns of obs.")
        elif absent := [str(one) for one in found.values if one not in context.obs]:
            report.add("CXG307", "uns.batch_condition", f"names no columns of obs: {', '.join(absent)}.")
    if "default_embedding" in uns:
        found = uns["default_embedding"]
        if context.pre_analysis:
            report.add("CXG801", "uns.default_embedding", "the key is there, in a file of before analysis.")
        if check_text(context, "uns.default_embedding", found) and found not in context.file.get("obsm", ()):
            report.add("CXG308", "uns.default_embedding", f"{found!r} is no key of obsm.")
    if "X_approximate_distribution" in uns:
        found = uns["X_approximate_distribution"]
        place = "uns.X_approximate_distribution"
        if check_text(context, place, found) and found not in ("count", "normal"):
            report.add("CXG309", place, f"is {found!r}, expected 'count' or 'normal'.")


def check_text(context: Context, place: str, found: Any) -> bool:
    """Return whether something is a tidy text, having found what is wrong with it."""
    if not isinstance(found, str):
        context.report.add("CXG302", place, f"is {_what(found)}, expected text.")
        return False
    if found != " ".join(found.split()):
        context.report.add("CXG302", place, f"{found!r} has a space too many.")
        return False
    return True


def _is_empty(found: Any) -> bool:
    if isinstance(found, str | dict):
        return len(found) == 0
    if isinstance(found, Other):
        return 0 in found.shape[: 2 if found.encoding.endswith("_matrix") else 1]
    return isinstance(found, Array) and 0 in (found.shape if found.flat_numbers else found.shape[:1])


def _what(found: Any) -> str:
    if isinstance(found, Array):
        return f"an array of shape {found.shape}"
    return found.encoding if isinstance(found, Other) else type(found).__name__


def _check_colors(context: Context, key: str, found: Any) -> None:
    place, column = f"uns.{key}", key.replace("_colors", "")
    held = context.obs.columns.get(column)
    if held is None or held.kind != "category" or not held.used:
        instead = f" Color {column}_ontology_term_id instead." if column in CELL_TERMS else ""
        context.report.add("CXG310", place, f"obs has no categorical column {column!r}.{instead}")
    elif not isinstance(found, Array) or found.flat_numbers:
        context.report.add("CXG310", place, f"is {_what(found)}, expected an array of colors.")
    elif not found.is_text or len(found.shape) != 1:
        context.report.add("CXG310", place, "holds no text, expected names or #rrggbb.")
    else:
        colors, expected = found.values.tolist(), len(held.used)
        if len(colors) < expected:
            context.report.add("CXG310", place, f"has {len(colors)} colors, obs.{column} has {expected} categories.")
        if not (all(map(HEX.fullmatch, colors)) or NAMED_COLORS.issuperset(colors)):
            context.report.add("CXG310", place, f"{colors[:5]} are neither all #rrggbb nor all names of CSS4.")


def check_arrays(context: Context) -> None:
    """Find what is wrong with obsm, obsp, varm and varp."""
    cells, features = len(context.obs), len(context.var)
    for part, size in (("obsm", (cells,)), ("obsp", (cells,) * 2), ("varm", (features,)), ("varp", (features,) * 2)):
        for key in context.file.get(part, ()):
            place, found = f"{part}.{key}", value(context.file[part][key])
            if key.startswith("__"):
                context.report.add("CXG123", place, "the name starts with '__'.")
            if isinstance(found, Array) and 0 in found.shape:
                context.report.add("CXG409", place, f"has shape {found.shape}.")
            if isinstance(found, Array | Other) and found.shape[: len(size)] != size and len(found.shape) >= len(size):
                context.report.add("CXG005", place, f"has shape {found.shape}, expected {size} at first.")
            if part == "obsm":
                _check_embedding(context, key, found)
    _check_embeddings(context)


def _check_embedding(context: Context, key: str, found: Any) -> None:
    place, report = f"obsm.{key}", context.report
    spatial, shown = key.lower() == "spatial", key.startswith("X_")
    if key.lower() == "x_spatial" or not (spatial or PLAIN.fullmatch(key.removeprefix("X_"))):
        report.add("CXG402", place, "is no name of an embedding.")
    if not (spatial or shown):
        report.add("CXG410", place, "is neither 'spatial' nor starts with 'X_'.")
    if not isinstance(found, Array) or found.is_text:
        report.add("CXG403", place, f"is {_what(found)}, expected an array of numbers.")
        return
    if len(found.shape) < 2 or found.shape[1] < (2 if spatial or shown else 1):
        report.add("CXG404", place, f"has shape {found.shape}, expected at least two columns.")
    if not (spatial or shown):
        return
    values = found.values
    if values.dtype.kind not in "iuf":
        report.add("CXG405", place, f"holds {values.dtype}, expected float or integer.")
        return
    missing = np.isnan(values)
    if np.isinf(values).any():
        report.add("CXG406", place, "holds infinite values.", context.obs.names, _by_row(np.isinf(values)))
    if spatial and missing.any():
        report.add("CXG406", place, "holds NaN.", context.obs.names, _by_row(missing))
    elif missing.all():
        report.add("CXG406", place, "holds nothing but NaN.")


def _by_row(mask: Any) -> Any:
    return mask.reshape(len(mask), -1).any(axis=1)


def _check_embeddings(context: Context) -> None:
    keys, report = list(context.file.get("obsm", ())), context.report
    if not keys:
        if not context.pre_analysis:
            report.add("CXG401", "obsm", "holds nothing.")
        return
    if not context.is_spatial and not any(key.startswith("X_") for key in keys):
        report.add("CXG407", "obsm", f"holds {', '.join(keys)}.")
    if context.is_single and "spatial" not in keys:
        report.add("CXG408", "obsm.spatial", "is missing, although uns['spatial']['is_single'] is True.")
    elif context.is_single is None and "spatial" in keys:
        report.add("CXG408", "obsm.spatial", "is there, although uns['spatial']['is_single'] is not set.")
