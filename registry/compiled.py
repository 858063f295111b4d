"""The file of a compiled ontology: one .npz of columns, texts as newline-joined UTF-8, links as compressed rows.

`cellzoo.registry.build` (packaged versions) and `cellzoo.registry.obo` (own ones) write it, `Ontology` reads it.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

TEXTS = ("label", "synonyms", "description", "replaced_by")
"""Columns of one text for each term."""
SAME = "\0"
"""What a text column of an older version holds where the newer version has the same text."""


@dataclass(frozen=True)
class Term:
    """All that is kept of one term."""

    label: str = ""
    """The label, "" where the source has none."""
    synonyms: tuple[str, ...] = ()
    """Exact synonyms in the order of the source."""
    description: str = ""
    """The definition."""
    replaced_by: str = ""
    """The term that replaces this one, of any ontology."""
    obsolete: bool = False
    """Whether it was withdrawn."""
    common: bool = False
    """Whether CELLxGENE groups cells by it."""
    parents: dict[str, int] = field(default_factory=dict)
    """Relation bits (`cellzoo.registry.ontology.RELATIONS`, ``INDIRECT``) by parent."""


def columns(terms: dict[str, Term], source: tuple[str, str]) -> dict[str, Any]:
    """Return the columns of an ontology; `source` is its prefix and version, every parent is one of the terms."""
    ids = sorted(terms)
    row = {term_id: number for number, term_id in enumerate(ids)}
    ordered = [terms[term_id] for term_id in ids]
    links = [[(row[parent], bits) for parent, bits in term.parents.items()] for term in ordered]
    return {
        "source": list(source),
        "id": ids,
        "label": [tidy(term.label) for term in ordered],
        "synonyms": ["\t".join(map(tidy, term.synonyms)) for term in ordered],
        "description": [tidy(term.description) for term in ordered],
        "replaced_by": [tidy(term.replaced_by) for term in ordered],
        "obsolete": np.array([term.obsolete for term in ordered], np.bool_),
        "common": np.array([term.common for term in ordered], np.bool_),
        "start": np.cumsum([0, *map(len, links)], dtype=np.uint32),
        "parent": np.array([parent for of_term in links for parent, _ in of_term], np.uint32),
        "relation": np.array([bits for of_term in links for _, bits in of_term], np.uint8),
    }


def beside(older: dict[str, Any], newer: dict[str, Any]) -> dict[str, Any]:
    """Return the columns of an older version without the texts that the newer one repeats: a tenth of the size."""
    row = {term_id: number for number, term_id in enumerate(newer["id"])}
    shared = [row.get(term_id) for term_id in older["id"]]
    lean = {
        name: [
            SAME if number is not None and text == newer[name][number] else text
            for text, number in zip(older[name], shared, strict=True)
        ]
        for name in TEXTS
    }
    return {**older, **lean, "newer": [newer["source"][1]]}


def write(path: Path, columns: dict[str, Any]) -> None:
    """Write columns as a compressed .npz without time stamps; lists of texts become newline-joined UTF-8 bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, column in columns.items():
            buffer = io.BytesIO()
            if isinstance(column, list):
                column = np.frombuffer("\n".join(column).encode(), np.uint8)  # noqa: PLW2901
            np.lib.format.write_array(buffer, column, allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy")  # dated 1980-01-01
            info.compress_type, info.create_system = zipfile.ZIP_DEFLATED, 3
            archive.writestr(info, buffer.getvalue(), compresslevel=9)


def tidy(text: str) -> str:
    """Return a text on one line, single-spaced."""
    return " ".join(text.split())
