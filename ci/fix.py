"""Mending what is mechanical: the edits that findings carry, applied until there are none left."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from cellzoo import settings
from cellzoo.ci.edits import apply
from cellzoo.converters.write import replacing
from cellzoo.errors import Finding, InputError

ROUNDS = 10
"""A mended place can show the next one: after a byte order mark its rows, after an upgrade its values."""
UNREADABLE = {"CARD001", "CARD002", "CARD003", "MAP001"}
"""Codes that no mended file may have which had them not before."""


def fix(check: Callable[[], list[Finding]]) -> tuple[list[Finding], list[Finding]]:
    """Mend files until a check finds nothing mechanical; return what was mended and what is left.

    An edit that does not help, or after which a file can no longer be read, is taken back and not tried again. Raises
    `WorldError` where a file cannot be written.
    """
    mended: list[Finding] = []
    hopeless: set[Finding] = set()
    left = check()
    for _ in range(ROUNDS):
        todo: dict[str, list[Finding]] = defaultdict(list)
        for finding in left:
            if finding.edits and finding not in hopeless:
                todo[finding.path].append(finding)
        if not todo:
            break
        chosen = {path: _together(findings) for path, findings in todo.items()}
        before = {path: _mend(Path(path), findings) for path, findings in chosen.items()}
        after = check()
        for path, findings in chosen.items():
            if _helped(findings, [one for one in left if one.path == path], [one for one in after if one.path == path]):
                mended += findings
            else:
                _write(Path(path), before[path])
                hopeless |= set(findings)
        left = check() if hopeless else after
    return mended, left


def _together(findings: list[Finding]) -> list[Finding]:
    """Return the findings that can be mended at once: one that writes the whole file goes alone."""
    whole = [finding for finding in findings if any(edit.start == (1, 1) != edit.end for edit in finding.edits)]
    return whole[:1] or findings


def _helped(mended: Sequence[Finding], before: Sequence[Finding], after: Sequence[Finding]) -> bool:
    codes = {finding.code for finding in mended}
    fewer = sum(finding.code in codes for finding in after) < sum(finding.code in codes for finding in before)
    return fewer and {finding.code for finding in after} & UNREADABLE <= {finding.code for finding in before}


def _mend(path: Path, findings: Sequence[Finding]) -> bytes:
    """Apply the edits of one file and return its bytes of before."""
    before = path.read_bytes()
    _write(path, apply(before.decode(), [edit for finding in findings for edit in finding.edits]).encode())
    return before


def _write(path: Path, content: bytes) -> None:
    if path.resolve().is_relative_to(settings.home().resolve()):
        raise InputError(f"{path}: is of a version of a Git repository in the cache; clone it and mend it there.")
    with replacing(path) as temporary:
        temporary.write_bytes(content)
