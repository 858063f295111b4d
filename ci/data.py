"""Dataset cards against the bytes they point at, as far as those are on this machine: cache, mirror, packages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cellzoo.ci.sources import Read, Sources
from cellzoo.errors import CellzooError, Finding, IntegrityError, WorldError
from cellzoo.registry.cells import TERM_FIELDS
from cellzoo.registry.parts import File
from cellzoo.registry.schema import DatasetCard

if TYPE_CHECKING:
    import pandas as pd


def check_data(read: Read, sources: Sources) -> Iterator[Finding]:
    """Yield what the files of a card say otherwise than the card and its label maps; nothing is downloaded.

    A card of which a file is not on this machine is only checked for the digests of the others; a broken card is not
    read.
    """
    card, document = read.card, read.document
    if not isinstance(card, DatasetCard) or document is None:
        return
    files: dict[str, Path] = {}
    for at, file in enumerate(card.files):
        try:
            if (path := here(file)) is not None:
                files[file.name] = path
        except IntegrityError as error:
            yield document.finding("FILE001", ["files", at, "sha256"], f"{error}", "Fetch it again.")
    if card.status == "broken" or len(files) < len(card.files) or not card.files:
        return
    try:
        labels, cells = _labels(card, files)
    except CellzooError as error:
        yield document.finding("DATA001", ["read"], f"cannot be read as the card says: {error}")
        return
    if card.cells_expected not in {None, cells}:
        message = f"there are {cells} cells, the card expects {card.cells_expected}."
        yield document.finding("DATA003", ["cells_expected"], message)
    for (name, column, label_map), found in labels.items():
        if found is None:
            message = f"cells.{name}: there is no column {column!r} of cells."
            yield document.finding("DATA001", ["cells", name, "column"], message)
        elif label_map:
            yield from _rows(read.path.parent / label_map, column, found, labels, sources)


def here(file: File) -> Path | None:
    """Return the verified bytes of a file if they are on this machine, else none; IntegrityError for other bytes."""
    from cellzoo.converters.fetch import fetch, sha256_of

    if not file.pins:
        return None
    pins = tuple(pin.model_copy(update={"url": None}) for pin in file.equivalents)
    try:
        path = fetch(file.model_copy(update={"url": None, "equivalents": pins}))
    except WorldError:
        return None
    if (digest := sha256_of(path)) not in {pin.sha256 for pin in file.pins}:
        raise IntegrityError(f"{file.name}: {path} has sha256 {digest}, the card pins {file.sha256}.")
    return path


Labels = dict[tuple[str, str, str | None], set[str] | None]
"""Field, column and label map -> the labels of the cells, none where there is no such column."""


def _labels(card: DatasetCard, files: Mapping[str, Path]) -> tuple[Labels, int]:
    from cellzoo.converters.readers import read_source

    found: Labels = {}
    cells = 0
    for part in [card.of_sample(sample) for sample in card.samples] or [card]:
        source = read_source(part.readable().model_copy(update={"cells_expected": None}), files)
        cells += source.n_obs
        for name in TERM_FIELDS:
            field = getattr(part.cells, name)
            if field is None or field.column is None:
                continue
            key = name, field.column, field.map
            if field.column not in source.obs:
                found[key] = None
            elif (known := found.setdefault(key, set())) is not None:
                known |= _labels_of(source.obs[field.column])
    return found, cells


def _labels_of(column: pd.Series[Any]) -> set[str]:
    """Return the labels of a column; `NO_LABEL` where some cells have none, as label maps have a row for them."""
    from cellzoo.converters.terms import NO_LABEL

    texts = column.astype(object).where(column.notna(), "").astype(str)
    return {text if text.strip() else NO_LABEL for text in texts.unique()}


def _rows(path: Path, column: str, found: set[str], labels: Labels, sources: Sources) -> Iterator[Finding]:
    label_map, _ = sources.map(path)
    if label_map is None:
        return
    for label in sorted(found - label_map.terms.keys()):
        message = f"label {label!r} of column {column!r} has no row."
        yield Finding(str(path), 0, 0, "MAP003", message, "Add it, with term unknown if unsure.")
    everywhere = set().union(*(one or set() for (_, _, name), one in labels.items() if name == path.name))
    for label in sorted(label_map.terms.keys() - everywhere):
        message = f"no cell has the label {label!r} in column {column!r}."
        yield Finding(str(path), label_map.lines[label], 1, "DATA002", message, "Correct or remove the row.", "warning")
