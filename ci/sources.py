"""The files of a registry, each read once, with everything that is wrong with reading them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cellzoo.errors import CardError, Finding
from cellzoo.registry.cards import KINDS, Card, LabelMap, kind_of, load_map, parse_any
from cellzoo.registry.catalogue import card_files
from cellzoo.registry.document import Document, read_yaml

MAX_MAP_BYTES = 5_000_000
"""Size of the largest label map that is read; the largest real one has some hundred rows."""


@dataclass(frozen=True)
class Read:
    """One card file as it was read."""

    path: Path
    """The file."""
    text: str
    """What stands in it, "" where it is no text."""
    document: Document | None
    """Its YAML, upgraded to today's schema; none where it is none."""
    card: Card | None
    """The card, none where the schema refuses it."""
    version: object
    """``schema_version`` as it is written."""
    findings: list[Finding]
    """What is wrong with it by itself."""


class Sources:
    """Card files and label maps of some registries, read when they are asked for."""

    def __init__(self, roots: Iterable[Path]) -> None:
        self.roots = tuple(roots)
        self._cards: dict[Path, Read] = {}
        self._maps: dict[Path, tuple[LabelMap | None, list[Finding]]] = {}
        self._bytes: dict[Path, bytes] = {}

    @cached_property
    def cards(self) -> list[Path]:
        """Return every card file of the registries, sorted by folder."""
        return [path for root in self.roots for path in card_files(root)]

    @cached_property
    def maps(self) -> list[Path]:
        """Return every label map of the registries."""
        return [path for root in self.roots for path in sorted(root.glob("datasets/*.tsv"))]

    def mention(self, words: Iterable[str], among: Iterable[Path] | None = None) -> list[Path]:
        """Return the card files in which one of the words stands, in any case and whatever it means there."""
        needles = [word.lower().encode() for word in words]
        paths = self.cards if among is None else among
        return [path for path in paths if any(needle in self.bytes(path).lower() for needle in needles)]

    def bytes(self, path: Path) -> bytes:
        """Return the bytes of a file, none where it cannot be read; at most those of the largest label map."""
        if path not in self._bytes:
            try:
                with path.open("rb") as stream:
                    self._bytes[path] = stream.read(MAX_MAP_BYTES)
            except OSError:
                self._bytes[path] = b""
        return self._bytes[path]

    def card(self, path: Path) -> Read:
        """Return one card file as it was read."""
        if path not in self._cards:
            self._cards[path] = self._card(path)
        return self._cards[path]

    def map(self, path: Path) -> tuple[LabelMap | None, list[Finding]]:
        """Return a label map, none where it cannot be read, and what is wrong with reading it."""
        if path not in self._maps:
            self._maps[path] = self._map(path)
        return self._maps[path]

    def _card(self, path: Path) -> Read:
        if path.is_symlink():
            return Read(path, "", None, None, None, [_link(path, "CARD001")])
        try:
            document = read_yaml(path)
        except CardError as error:
            return Read(path, "", None, None, None, error.findings)
        text, version = self.bytes(path).decode(), document.data.get("schema_version")
        try:
            return Read(path, text, document, parse_any(document), version, [])
        except CardError as error:
            broken = any(finding.code == "CARD003" for finding in error.findings)
            card = None if broken else KINDS[kind_of(document)].model_validate(document.data)
            return Read(path, text, document, card, version, error.findings)

    def _map(self, path: Path) -> tuple[LabelMap | None, list[Finding]]:
        if path.is_symlink():
            return None, [_link(path, "MAP001")]
        if path.is_file() and (size := path.stat().st_size) > MAX_MAP_BYTES:
            message = f"is {size} bytes; a label map has at most {MAX_MAP_BYTES}."
            return None, [Finding(str(path), 0, 0, "MAP001", message)]
        try:
            if self.bytes(path).decode().startswith("\ufeff"):
                return None, []  # TEXT001 says so, and mends it
            return load_map(path), []
        except UnicodeDecodeError as error:
            before = error.object[: error.start]
            at = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
            message = f"is not UTF-8 text: byte {error.object[error.start]:#x} at offset {error.start}."
            return None, [Finding(str(path), *at, "MAP001", message, "Save it as UTF-8.")]
        except CardError as error:
            return None, error.findings


def _link(path: Path, code: str) -> Finding:
    return Finding(
        str(path), 0, 0, code, "is a link; what a registry holds are plain files.", "Put the file itself here."
    )
