"""The official validator of CELLxGENE: in an environment of its own, one process that stays warm.

Its dependencies are old and heavy, so it is never installed beside cellzoo; it takes half a minute to start and half a
second for a small file after that.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cellzoo import settings
from cellzoo.errors import WorldError
from cellzoo.registry.ontology import Ontology, load

PACKAGE = "cellxgene-schema==7.1.2"
WORKER = Path(__file__).with_name("oracle_worker.py")


@dataclass(frozen=True)
class Verdict:
    """What the official validator says of a file."""

    ok: bool
    """Whether the file is valid and, where labels were asked for, they were written."""
    errors: tuple[str, ...]
    """Its errors, word for word."""
    warnings: tuple[str, ...]
    """Its warnings, word for word."""


def environment() -> Path:
    """Return the folder of the environment: ``CELLZOO_ORACLE``, else one in the cache."""
    given = os.environ.get("CELLZOO_ORACLE")
    return Path(given).expanduser() if given else settings.home() / f"oracle-{PACKAGE.partition('==')[2]}"


def prepare(folder: Path | None = None) -> Path:
    """Return the Python of an environment with the official validator, made where there is none; WorldError if not."""
    folder = folder or environment()
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    done = folder / "installed"
    if done.is_file() or any(folder.glob("lib/python*/site-packages/cellxgene_schema/validate.py")):
        return python
    for command in ([sys.executable, "-m", "venv", str(folder)], [str(python), "-m", "pip", "install", "-q", PACKAGE]):
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            raise WorldError(
                f"{folder}: the official validator cannot be installed: {(result.stderr or result.stdout).strip()}. "
                f"Set CELLZOO_ORACLE to an environment that has {PACKAGE}."
            )
    done.write_text(f"{PACKAGE}\n", encoding="utf-8")
    return python


class Oracle:
    """The warm process; use it in a ``with``, or close it."""

    def __init__(self, folder: Path | None = None) -> None:
        folder = folder or environment()
        python = prepare(folder)
        taxa = folder / f"taxa-{load('NCBITaxon').version}.json"
        try:
            if not taxa.is_file():
                taxa.write_text(json.dumps(_taxa(load("NCBITaxon"))), encoding="utf-8")
            self._process = subprocess.Popen(
                [str(python), "-W", "ignore", str(WORKER), str(taxa)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                encoding="utf-8",
                env={name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
            )
        except OSError as error:
            raise WorldError(f"{folder}: the official validator cannot be started: {error}.") from error

    @property
    def pid(self) -> int:
        """Return the number of the process."""
        return self._process.pid

    def validate(
        self, path: Path, add_labels: Path | None = None, *, pre_analysis: bool = False, ignore_labels: bool = False
    ) -> Verdict:
        """Return what it says of a file; with a path to write to, it also adds its labels to a valid one."""
        asked = {
            "path": str(path),
            "add_labels": None if add_labels is None else str(add_labels),
            "pre_analysis": pre_analysis,
            "ignore_labels": ignore_labels,
        }
        stdin, stdout = self._process.stdin, self._process.stdout
        try:
            if stdin is None or stdout is None:
                raise OSError("it has no pipes")
            stdin.write(json.dumps(asked) + "\n")
            stdin.flush()
            line = stdout.readline()
        except (OSError, ValueError) as error:
            raise WorldError(f"the official validator does not answer: {error}.") from error
        if not line:
            code = self._process.wait()
            raise WorldError(f"the official validator ended with code {code} on {path}.")
        answer: dict[str, Any] = json.loads(line)
        return Verdict(answer["ok"], tuple(answer["errors"]), tuple(answer["warnings"]))

    def close(self) -> None:
        """End the process."""
        with suppress(OSError):  # it may have ended on its own
            if self._process.stdin:
                self._process.stdin.close()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _taxa(ontology: Ontology) -> dict[str, dict[str, Any]]:
    """Return the taxa in the form of the ontology guide: each with all above it and how far that is."""
    return {
        taxon: {
            "label": ontology.label(taxon),
            "deprecated": ontology.is_obsolete(taxon),
            "ancestors": _distances(ontology, taxon),
        }
        for taxon in ontology.ids
    }


def _distances(ontology: Ontology, taxon: str) -> dict[str, int]:
    found: dict[str, int] = {}
    ahead = deque([(taxon, 0)])
    while ahead:
        one, far = ahead.popleft()
        for parent in ontology.parents(one):
            if parent not in found:
                found[parent] = far + 1
                ahead.append((parent, far + 1))
    return found


if __name__ == "__main__":
    try:
        prepare(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
    except WorldError as error:
        sys.exit(str(error))
