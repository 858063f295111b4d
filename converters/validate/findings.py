"""What the validation of a file finds, collected as it goes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellzoo.converters.validate.codes import CODES
from cellzoo.errors import Finding

EXAMPLES = 5


@dataclass(frozen=True, order=True)
class FileFinding(Finding):
    """One thing that is wrong in a file of data."""

    place: str = ""
    """The column, key or matrix, for example ``obs.sex_ontology_term_id``."""
    rows: int = 0
    """Number of cells or features it is about, 0 where it is about the place as a whole."""
    examples: tuple[str, ...] = ()
    """The names of the first few of them."""

    def __str__(self) -> str:
        number = f" [{self.rows} of them: {', '.join(self.examples)}{', …' * (self.rows > len(self.examples))}]"
        said = f"{self.path}: {self.severity} {self.code}: {self.place}: {self.message}{number if self.rows else ''}"
        return f"{said} {self.remedy}".strip()

    def as_dict(self) -> dict[str, Any]:
        """Return the finding as plain JSON values."""
        return super().as_dict() | {"examples": list(self.examples)}


class Report:
    """The findings in one file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.findings: list[FileFinding] = []
        """In the order they were found."""

    def add(
        self, code: str, place: str, message: str, names: NDArray[np.object_] | None = None, rows: Any = None
    ) -> None:
        """Add a finding; ``rows`` are positions or a mask of the cells or features with these names."""
        rule = CODES[code]
        at = np.flatnonzero(rows) if rows is not None and np.asarray(rows).dtype == bool else rows
        first = [] if at is None or names is None else [str(name) for name in names[at[:EXAMPLES]]]
        found = FileFinding(
            path=str(self.path),
            line=0,
            column=0,
            code=code,
            message=message,
            remedy=rule.remedy,
            severity=rule.severity,
            place=place,
            rows=0 if at is None else len(at),
            examples=tuple(first),
        )
        if found not in self.findings:
            self.findings.append(found)
