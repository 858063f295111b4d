"""What a card of a sfaira loader is called: its id, and one line that a biologist understands."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from cellzoo.registry.fields import UNKNOWN
from cellzoo.registry.sfaira.cells import Cells
from cellzoo.registry.sfaira.loader import TERMS, Loader, word

COMMON = {"Homo sapiens": "human", "Mus musculus": "mouse"}
TITLED = COMMON | {
    "Ambystoma mexicanum": "axolotl",
    "Macaca fascicularis": "crab-eating macaque",
    "Mustela putorius furo": "ferret",
}
"""Organisms that a title calls by their common name."""


def identifier(loader: Loader, study: dict[str, Any]) -> str:
    """Return author, year and organ, else organism; a further loader of a study adds its index."""
    author = _slug(study["authors"].removesuffix(" et al.")).replace("-", "") or "study"
    organs, organisms = (distinct(loader, key) for key in ("organ", "organism"))
    by_column = loader.said("organ_obs_key").location and distinct(loader, "organ_obs_key")
    about = (
        organs[0] if len(organs) == 1 and not by_column else COMMON.get(organisms[0], organisms[0]) if organisms else ""
    )
    about = about if len(organisms) <= 1 or about in organs else "several-organisms"
    index = loader.word("dataset_index") or "1"
    tail = f"-{int(index)}" if index.isdecimal() and 1 < int(index) < 1000 else ""
    words = _slug(about)[:30].rpartition("-")[0] if len(_slug(about)) > 29 else _slug(about)
    parts = [f"{author[:30]}{study['year']}", re.sub("-of$", "", words)]
    return "-".join(part for part in parts if part) + tail


def _slug(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")


def distinct(loader: Loader, key: str) -> list[str]:
    """Return every different word that is said under a key, in the order of the samples."""
    said = loader.said(key)
    every = said.every if isinstance(said.every, list) else [said.every]
    return list(dict.fromkeys(filter(None, map(word, [*every, *said.each.values()]))))


def title(loader: Loader, cells: Cells) -> str:
    """Return organisms, organs, diseases and assays in one line, those of a label map too."""
    organisms = [TITLED.get(one, one) for one in distinct(loader, "organism")]
    organs, diseases, assays = (_named(loader, cells, key) for key in ("organ", "disease", "assay_sc"))
    diseases = [one for one in diseases if one not in {"healthy", "normal"}]
    assays = list(dict.fromkeys(re.sub(r" \(.*\)$|^sfaira ", "", one) for one in assays))
    sources = distinct(loader, "sample_source")
    what = {"3d_culture": "organoids", "2d_culture": "cells in culture", "tumor": "tumor"}
    kind = what.get(sources[0], "") if len(sources) == 1 else ""
    line = _listed(organisms, "organisms") + (":" if len(organisms) > 1 else "")
    if organs:
        line += f" {_listed(organs, 'organs')}" + (f"{', ' if len(organs) > 2 else ' '}{kind}" if kind else "")
    else:
        line += f" {kind or 'cells'}" + (", several organs" if distinct(loader, "organ_obs_key") else "")
    apart = "; " if len(organs) > 2 or len(diseases) > 1 else ", "
    line += f"{apart}{_listed(diseases, 'diseases')}" if diseases else ""
    line += f" ({_listed(assays, 'assays')})" if assays else ""
    return line[0].upper() + line[1:]


def _listed(names: list[str], of: str) -> str:
    shown = names if len(names) < 4 else [*names[:2], f"{len(names) - 2} more {of}"]
    return " and ".join(filter(None, (", ".join(shown[:-1]), *shown[-1:])))


def _named(loader: Loader, cells: Cells, key: str) -> list[str]:
    """Return what is said under a key for some cells: the values, else the terms of the label map of its column."""
    column = loader.said(f"{key}_obs_key")
    said = loader.said(key)
    values = [said.of(sample) for sample in loader.samples or (None,) if column.of(sample) is None]
    rows = cells.maps.get(f"{cells.card}.{TERMS[key]}.tsv", "").splitlines()[1:]
    terms = [row.split("\t")[2] for row in rows]
    return [one for one in dict.fromkeys(filter(None, map(word, [*values, *terms]))) if one != UNKNOWN]
