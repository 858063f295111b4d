"""Rows of a label map that was drafted: the likeliest term of each label, and in the note how likely it is.

A term is filled in without a note where the label is the term's own name. Otherwise the note says what was suggested,
and goes when a person has looked. What is unknown has a note that says why.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from cellzoo.registry.cards import MAP_COLUMNS, NOTE, SUGGESTED
from cellzoo.registry.fields import NOT_APPLICABLE, UNKNOWN
from cellzoo.registry.suggest.suggester import Suggestion

APPLY = 0.5  # a suggestion that is more probable than not is filled in, for a person to look at
NEXT = 0.05  # a second suggestion less probable than this is not named
SURE = 0.9  # where the few terms of a field have letters for names, such as f and m


@dataclass
class Row:
    """One row of a label map."""

    source: str
    """Label in the file."""
    cells: int
    """Cells that have it."""
    term: str
    """Term id, or unknown."""
    label: str
    """Label of the term."""
    note: str = ""
    """Why the row is doubtful."""
    choices: list[Suggestion] = field(default_factory=list)
    """What it may be, the likeliest first."""

    @property
    def open(self) -> bool:
        """Return whether a person has still to look at it."""
        return self.note.startswith(SUGGESTED)


def map_text(rows: list[Row]) -> str:
    """Return the TSV of a label map; it has notes only where a row has one."""
    noted = any(row.note for row in rows)
    lines = ["\t".join((*MAP_COLUMNS, NOTE) if noted else MAP_COLUMNS)]
    lines += ["\t".join([row.source, row.term, row.label, *([row.note] if row.note else [])]) for row in rows]
    return "\n".join(lines) + "\n"


def row_of(
    label: str, cells: int, suggest: Callable[[str], list[Suggestion]], text: str | None = None, exact: bool = False
) -> Row:
    """Return the row of a label with the term that is suggested for it, or for ``text`` where that says more.

    ``exact`` takes a suggestion above `SURE` for the term's own name.
    """
    if label in {UNKNOWN, NOT_APPLICABLE}:
        return Row(label, cells, label, label, "the study says so" if label == UNKNOWN else "")
    choices = suggest(text or label)
    if not choices:
        return Row(label, cells, UNKNOWN, UNKNOWN, f"{SUGGESTED} nothing; choose a term, or leave unknown")
    best = choices[0]
    if best.term == UNKNOWN and best.score >= APPLY:
        return Row(label, cells, UNKNOWN, UNKNOWN, "the label names none", choices)
    if best.why.startswith("label") or (exact and best.score > SURE):
        return Row(label, cells, best.term, best.label, "", choices)
    rest = "".join(f"; next: {one.label} {one.score:.2f}" for one in choices[1:2] if one.score >= NEXT)
    if best.score < APPLY:
        note = f"{SUGGESTED} {best.score:.2f} {best.label} {best.term}, not filled in{rest}"
        return Row(label, cells, UNKNOWN, UNKNOWN, note, choices)
    return Row(label, cells, best.term, best.label, f"{SUGGESTED} {best.score:.2f}{rest}", choices)
