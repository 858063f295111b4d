"""Every exception cellzoo raises, and the finding that a check reports.

* CellzooError
  x InputError (ValueError)        the input has findings: exit code 1
    + CardError                    a card or a label map cannot be used as it stands
    + CountsError                  no raw counts where raw counts are needed
    + GenesError                   the genes do not fit the gene space or the model
    + IntegrityError               bytes are not the bytes that were pinned, or not safe to open
  x NotFoundError (LookupError)    no such card, term, model or revision: exit code 1
  x WorldError (OSError)           network or disk failed: exit code 3
    + HeadMovedError (cellzoo.hub.depot) somebody else committed in between
    + GitError (cellzoo.registry.git) Git could not do what was asked
  x MissingExtraError (ImportError) an optional dependency is not installed: exit code 2
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Edit:
    """A mechanical change of a file: what stands from ``start`` up to ``end`` becomes ``text``."""

    start: tuple[int, int]
    """1-based line and column of the first character."""
    end: tuple[int, int]
    """1-based line and column after the last character."""
    text: str
    """What stands there afterwards."""


@dataclass(frozen=True, order=True)
class Finding:
    """One thing a check found, where it found it and what to do about it."""

    path: str
    """File the finding is in."""
    line: int
    """1-based line, 0 where the finding is about the whole file."""
    column: int
    """1-based column, 0 where the finding is about the whole line."""
    code: str
    """Stable code, for example ``CARD003``."""
    message: str
    """What was found and what was expected, in one sentence."""
    remedy: str = ""
    """What to do about it."""
    severity: Severity = "error"
    """``error`` fails a check, ``warning`` does not."""
    edits: tuple[Edit, ...] = field(default=(), compare=False)
    """What `cellzoo check --fix` changes in the file; nothing where that takes a person."""

    def __str__(self) -> str:
        where = ":".join(str(part) for part in (self.path, self.line, self.column) if part)
        return f"{where}: {self.severity} {self.code}: {self.message}" + (f" {self.remedy}" if self.remedy else "")

    def as_dict(self) -> dict[str, Any]:
        """Return the finding as plain JSON values."""
        return {name: value for name, value in asdict(self).items() if name != "edits"}


class CellzooError(Exception):
    """Anything cellzoo raises on purpose."""

    exit_code = 1


class InputError(CellzooError, ValueError):
    """The input cannot be used as it stands."""


class CardError(InputError):
    """A card cannot be used as it stands; `findings` says why, each with its place."""

    def __init__(self, findings: list[Finding]) -> None:
        self.findings = sorted(findings)
        super().__init__("\n".join(str(finding) for finding in self.findings))


class CountsError(InputError):
    """No raw counts where raw counts are needed."""


class GenesError(InputError):
    """The genes do not fit the gene space or the model."""


class IntegrityError(InputError):
    """Bytes are not the bytes that were pinned, or are not safe to open."""


class NotFoundError(CellzooError, LookupError):
    """No such card, term, model or revision."""

    def __str__(self) -> str:  # LookupError subclasses would quote the message
        return str(self.args[0]) if self.args else ""


class WorldError(CellzooError, OSError):
    """The network or the disk failed."""

    exit_code = 3


class MissingExtraError(CellzooError, ImportError):
    """An optional dependency is not installed."""

    exit_code = 2

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an optional dependency: pip install 'cellzoo[{extra}]'")
