"""From `imported` to `verified`: data are fetched, pinned, read, streamlined and judged, and their card says so."""

from __future__ import annotations

import io
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ruamel.yaml import YAML

from cellzoo import __version__, settings
from cellzoo.converters.fetch import Progress, fetch, fetch_unpinned, keep
from cellzoo.converters.write import replacing
from cellzoo.converters.zoo import Dataset
from cellzoo.errors import CardError, Finding, InputError, IntegrityError, WorldError
from cellzoo.registry.cards import LabelMap, parse_card
from cellzoo.registry.catalogue import FOLDERS, Registry
from cellzoo.registry.document import Document, read_yaml
from cellzoo.registry.fields import FIELD_ROOTS, HUMAN, TISSUE_TYPES, UNKNOWN, allowed, id_column
from cellzoo.registry.genes import gene_space
from cellzoo.registry.parts import Bytes, File
from cellzoo.registry.schema import DatasetCard, Verified
from cellzoo.registry.upgrade import upgrade

if TYPE_CHECKING:
    import pandas as pd

NEVER_UNKNOWN = ("organism", "tissue", "assay")
"""Fields in which CELLxGENE takes no unknown."""
ANY_BYTES = Bytes(sha256="0" * 64, bytes=1)
"""Stands for the bytes that are still to be fetched, so that what else is wrong is found before."""


@dataclass(frozen=True)
class Outcome:
    """What verifying a data set found."""

    id: str
    """Id of the data set."""
    seen: Verified
    """Cells, genes and gene space that were read now."""
    pinned: dict[str, Bytes]
    """File name -> bytes that were not pinned before."""
    written: bool
    """Whether the card was changed."""

    def __str__(self) -> str:
        seen = f"{self.id}: {self.seen.cells} cells, {self.seen.genes} genes of {self.seen.gene_space}"
        return seen + (", verified" if self.written else ", as the card says; nothing was changed (see --renew)")


@dataclass(frozen=True)
class _Pinned(Dataset):
    """A data set by the card that it will have."""

    told: DatasetCard

    @cached_property
    def card(self) -> DatasetCard:
        return self.told


def verify(path: Path, folder: Path | None = None, renew: bool = False, progress: Progress | None = None) -> Outcome:
    """Fetch, pin, read, streamline and judge the data set of a card, write that into the card, return what was seen.

    Files are those that the card pins; what is not pinned comes from its URL, or from ``folder`` by its name. A card
    that was verified keeps its ``verified`` block unless ``renew``. Nothing is written unless all is good: `CardError`
    lists every finding with its place, `InputError` and `IntegrityError` say what the bytes are instead, `WorldError`
    what could not be had.
    """
    document = read_yaml(path)
    upgrade(document.data)
    before = parse_card(document)
    registry = _registry(path)
    if before.status == "broken":
        remedy = "Mend it and set status: imported, then verify."
        raise CardError([document.finding("VER001", ["status"], f"is broken: {before.status_reason}", remedy)])
    _card_with(document, dict.fromkeys((file.name for file in before.files if not file.pins), ANY_BYTES), 1)
    pinned = _fetched(document, before, folder, progress)
    card = _card_with(document, pinned)
    dataset = _Pinned(card.id, registry, card)
    data = dataset.open(progress=progress)
    if findings := judge(data.obs, card, document, registry.maps(card.id)):
        raise CardError(findings)
    seen = Verified(
        date=datetime.now(UTC).date().isoformat(),
        cellzoo=__version__,
        cells=data.n_obs,
        genes=int(data.var["measured"].sum()),
        gene_space=gene_space(dataset.organism).name,
    )
    _card_with(document, pinned, data.n_obs, seen)
    written = before.status != "verified" or before.verified is None or renew or bool(pinned)
    if before.verified and before.status == "verified" and not renew:
        _compare(document, before.verified, seen)
    if written:
        with replacing(path) as part:
            part.write_text(rewritten(path, pinned, seen), encoding="utf-8")
    return Outcome(card.id, seen, pinned, written)


def _registry(path: Path) -> Registry:
    """Return the registry that a card lies in; `InputError` where it must not be changed."""
    path = path.absolute()
    if path.parent.name not in FOLDERS:
        raise InputError(f"{path}: a card lies in a folder {' or '.join(FOLDERS)} of a registry; move it there.")
    if settings.home().absolute() in path.parents:
        raise InputError(f"{path}: is a copy of a Git repository in the cache; verify in a clone of it.")
    return Registry((path.parent.parent,))


def _card_with(
    document: Document,
    pinned: Mapping[str, Bytes],
    cells: int | None = None,
    seen: Verified | None = None,
) -> DatasetCard:
    """Return the card with pins and, given cells, as a verified one; raise what keeps it from that, at its places."""
    said = deepcopy(document.data)
    for file in said["files"]:
        if pin := pinned.get(file["name"]):
            file |= {"sha256": pin.sha256, "bytes": pin.bytes}
    if cells is not None:
        said.pop("status_reason", None)
        said = {"cells_expected": cells} | said | {"status": "verified"}
    if seen:
        said["verified"] = seen.model_dump()
    return parse_card(Document(document.path, said, document.places))


def _fetched(document: Document, card: DatasetCard, folder: Path | None, progress: Progress | None) -> dict[str, Bytes]:
    """Bring every file into the cache and return those that were not pinned; every file that cannot be had is said."""
    pinned, findings, world = {}, [], True
    for at, file in enumerate(card.files):
        try:
            if (pin := _fetch(file, folder, progress)) is not None:
                pinned[file.name] = pin
        except (InputError, WorldError) as error:
            world &= isinstance(error, WorldError)
            remedy = "" if file.pins else "Or put the file into a folder and give that by --files."
            message = f"files.{at}: {str(error).rstrip('.')}."
            findings.append(document.finding("VER002", ["files", at], message, remedy))
    if findings and world:
        raise WorldError("\n".join(map(str, findings)))
    if findings:
        raise CardError(findings)
    return pinned


def _fetch(file: File, folder: Path | None, progress: Progress | None) -> Bytes | None:
    given = folder / file.name if folder else None
    if given and given.is_file():
        pin = keep(given)[1]
        if file.pins and pin.sha256 not in {one.sha256 for one in file.pins}:
            raise IntegrityError(f"{given} has sha256 {pin.sha256}, the card pins {file.sha256}. It was not used.")
        return None if file.pins else pin
    if file.pins:
        fetch(file, progress)
        return None
    if file.access != "open" or not file.url:
        where = f" Ask at {file.url}." if file.url else ""
        raise WorldError(
            f"{file.name}: is not pinned, and access is {file.access if file.url else 'by no URL'}.{where}"
        )
    return fetch_unpinned(file.name, file.url, progress)[1]


def judge(obs: pd.DataFrame, card: DatasetCard, document: Document, maps: Mapping[str, LabelMap]) -> list[Finding]:
    """Return a finding for each term in the columns of streamlined cells that CELLxGENE does not allow in its field.

    It stands at the row of the label map that gave the term, else at the field of the card.
    """
    kinds = obs["tissue_type"].astype(str)
    findings = []
    for name in (name for name in FIELD_ROOTS if id_column(name) in obs):
        field = getattr(card.cells, name)
        for term, kind in sorted(set(zip(obs[id_column(name)].astype(str), kinds, strict=True))):
            if term == UNKNOWN and name not in NEVER_UNKNOWN:
                continue
            organism = str(card.cells.organism.term or HUMAN)
            if wrong := allowed(name, term, organism, kind if kind in TISSUE_TYPES else "tissue"):
                number = int(((obs[id_column(name)] == term) & (kinds == kind)).sum())
                message = f"{name} of {number} cells: {wrong}"
                where = maps.get(field.map or "") if field else None
                rows = [source for source, mapped in where.terms.items() if mapped == term] if where else []
                if where and rows:
                    findings.append(Finding(str(where.path), where.lines[rows[0]], 1, "VER003", message))
                else:
                    findings.append(document.finding("VER003", ["cells", name], message))
    return findings


def _compare(document: Document, before: Verified, seen: Verified) -> None:
    """Refuse a verified card whose data are now read otherwise."""
    differ = {
        name: (getattr(before, name), getattr(seen, name))
        for name in ("cells", "genes", "gene_space")
        if getattr(before, name) != getattr(seen, name)
    }
    if differ:
        said = "; ".join(f"{name} {old}, now {new}" for name, (old, new) in differ.items())
        message = f"verified said {said} (cellzoo {before.cellzoo} then, {seen.cellzoo} now)."
        raise CardError([document.finding("VER004", ["verified"], message, "If that is right, use --renew.")])


def rewritten(path: Path, pinned: Mapping[str, Bytes], seen: Verified) -> str:
    """Return the text of a card with pins and the ``verified`` block; comments, order and style of the rest stay."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    card = yaml.load(path.read_text(encoding="utf-8"))
    upgrade(card)
    for file in card["files"]:
        if pin := pinned.get(file["name"]):
            file["sha256"], file["bytes"] = pin.sha256, pin.bytes
    card["status"] = "verified"
    reason = card.ca.items.pop("status_reason", None)  # the comment after a line belongs to its key
    if reason and "status" not in card.ca.items:
        card.ca.items["status"] = reason
    card.pop("status_reason", None)
    block = type(card)(seen.model_dump() | {"date": date.fromisoformat(seen.date)})  # written without quotes
    block.fa.set_flow_style()
    if "verified" in card:
        card["verified"] = block
    else:
        card.insert(list(card).index("status") + 1, "verified", block)
    card.setdefault("cells_expected", seen.cells)
    stream = io.StringIO()
    yaml.dump(card, stream)
    return stream.getvalue()
