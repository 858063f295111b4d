"""Data sets chosen together: described without a download, combined, saved, loaded or stored on demand."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from cellzoo.converters.fetch import Progress
from cellzoo.errors import CardError, Finding, InputError, NotFoundError
from cellzoo.registry.catalogue import facets
from cellzoo.registry.cells import TERM_FIELDS
from cellzoo.registry.document import Document, read_yaml
from cellzoo.registry.genes import GeneSpace
from cellzoo.registry.index import Record

if TYPE_CHECKING:
    import anndata
    import pandas as pd

    from cellzoo.converters.celldata import CellData
    from cellzoo.converters.cellxgene import Report
    from cellzoo.converters.store import Store


class Data(ABC):
    """One data set, of a registry or of a Census; nothing is read before it is asked for."""

    id: str

    @property
    @abstractmethod
    def digest(self) -> str:
        """Return what changes when the data change."""

    @abstractmethod
    def open(self, space: GeneSpace | str | None = None, progress: Progress | None = None) -> CellData:
        """Return the data streamlined onto a gene space, the matrices to be read by ranges of cells."""

    def load(self, space: GeneSpace | str | None = None, progress: Progress | None = None) -> anndata.AnnData:
        """Return the streamlined genes in memory; further features of the cells come with ``open().to_mudata()``."""
        return self.open(space, progress).to_anndata()

    def write(
        self,
        folder: Path,
        schema: str = "",
        said: Mapping[str, str] | None = None,
        progress: Progress | None = None,
    ) -> tuple[Path, CellData, Report | None]:
        """Write streamlined data to ``<folder>/<id>.h5ad``; return the path, what was written and how it was converted.

        ``schema`` cellxgene or sfaira spells it that way, ``said`` gives fields that are unknown a value for
        cellxgene; data with further modalities become an h5mu.
        """
        from cellzoo.converters.h5ad import write_h5ad

        data, report = self.open(progress=progress), None
        if schema:
            from cellzoo.converters.cellxgene import converted

            data, report = converted(data, schema, said=said)
        path = folder / f"{self.id}.{'h5mu' if data.modalities else 'h5ad'}"
        return write_h5ad(data, path, progress), data, report


D_co = TypeVar("D_co", bound=Data, covariant=True)


class Source(Protocol[D_co]):
    """What data sets are chosen from: a registry, a Census."""

    @property
    def names(self) -> tuple[str, ...]:
        """Return what it is opened by."""

    def dataset(self, name: str) -> D_co:
        """Return a data set by its id."""


class Selection(Mapping[str, D_co]):
    """Data sets by id, in the order of their ids; lazy, and combined by ``&``, ``|`` and ``-``."""

    def __init__(self, source: Source[D_co], records: Sequence[Record]) -> None:
        self.source = source
        self.records = sorted(records, key=lambda record: record.id)
        """What the catalogue knows of each data set, without reading a card."""
        self._by_id = {record.id: record for record in self.records}

    def __getitem__(self, dataset: str) -> D_co:
        return self.source.dataset(self._by_id[dataset].id)

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_id)

    def __len__(self) -> int:
        return len(self._by_id)

    def __repr__(self) -> str:
        return f"Selection({len(self)} data sets: {', '.join(list(self)[:10])}{', …' if len(self) > 10 else ''})"

    def __and__(self, other: Selection[D_co]) -> Selection[D_co]:
        return self._with(other, [record for record in self.records if record.id in other])

    def __or__(self, other: Selection[D_co]) -> Selection[D_co]:
        return self._with(other, list((other._by_id | self._by_id).values()))

    def __sub__(self, other: Selection[D_co]) -> Selection[D_co]:
        return self._with(other, [record for record in self.records if record.id not in other])

    def _with(self, other: Selection[D_co], records: list[Record]) -> Selection[D_co]:
        if other.source.names != self.source.names:
            ours, theirs = (", ".join(source.names) for source in (self.source, other.source))
            raise InputError(f"selections of two sources ({ours}; {theirs}) are not combined.")
        return type(self)(self.source, records)

    def obs_summary(self) -> pd.DataFrame:
        """Return one row per data set from the cards alone: cells, study, status and the labels of each field."""
        import pandas as pd

        rows = []
        for record in self.records:
            row: dict[str, object] = {"id": record.id, "status": record.status, "cells": record.cells}
            row |= {"study": record.study, "year": record.year}
            row |= {name: ", ".join(sorted(record.labels.get(name, []))) for name in TERM_FIELDS}
            rows.append(row | {"title": record.title})
        frame = pd.DataFrame(rows)
        return frame.astype({"cells": "Int64"}).set_index("id") if rows else frame

    def facets(self, field: str) -> pd.DataFrame:
        """Return the terms of one field with the number of data sets and of known cells, the most frequent first."""
        import pandas as pd

        if field not in TERM_FIELDS:
            raise InputError(f"{field!r} is no field of terms; there are {', '.join(TERM_FIELDS)}.")
        labels = {
            term: label
            for one in self.records
            for term, label in zip(one.terms.get(field, ()), one.labels.get(field, ()), strict=False)
        }
        rows = [(term, labels.get(term, term), *counts) for term, counts in facets(self.records, field).items()]
        return pd.DataFrame(rows, columns=["term", "label", "datasets", "cells"]).set_index("term")

    def save(self, path: str | Path) -> Path:
        """Write the selection as a small YAML that ``selection`` of the same source reads: ids, digests and the source.

        What a registry chose `Zoo.selection` reads, what a Census chose `Census.selection`.
        """
        from ruamel.yaml import YAML

        from cellzoo.converters.write import replacing

        path = Path(path)
        digests = {name: self[name].digest for name in self if self._by_id[name].kind == "dataset"}
        with replacing(path) as part, part.open("w", encoding="utf-8") as stream:
            yaml = YAML()
            yaml.width = 200  # an id and its digest stay on one line
            yaml.dump(self._saved() | {"datasets": digests}, stream)
        return path

    def _saved(self) -> dict[str, Any]:
        """Return what says of which source the data sets are."""
        return {"registry": list(self.source.names)}

    def to_store(
        self, path: str | Path, space: GeneSpace | str | None = None, progress: Progress | None = None
    ) -> Store:
        """Stream every data set into a training store and return it; memory stays constant, a killed run resumes."""
        from cellzoo.converters.store import build

        refuse_organisms({label for record in self.records for label in record.labels.get("organism", ())}, "organism")
        items = [(data.id, data.digest, lambda data=data: data.open(space, progress)) for data in self.values()]
        return build(Path(path), items, progress)


def saved(path: str | Path, kind: str) -> tuple[Document, dict[str, str]]:
    """Return a saved selection, as it stands and as id -> digest; `CardError` where it is none of that kind."""
    document = read_yaml(Path(path))
    said = document.data.get("datasets")
    if not isinstance(said, dict):
        raise CardError([document.finding("SEL001", ["datasets"], "datasets: expected id: digest of each data set.")])
    if kind not in document.data:
        kinds = {
            "registry": "a registry: `open_registry().selection`",
            "census": "a Census: `open_census(…).selection`",
        }
        known = [text for name, text in kinds.items() if name in document.data]
        message = f"is no selection of a {kind}; expected the key {kind}."
        remedy = f"It is one of {known[0]} reads it." if known else ""
        raise CardError([document.finding("SEL004", [], message, remedy)])
    return document, said


def refuse_changed(document: Document, said: Mapping[str, str], digest: Callable[[str], str]) -> None:
    """Raise `CardError` with the data sets of a saved selection that are gone or are said to be others now."""
    findings: list[Finding] = []
    for name, then in said.items():
        try:
            now = digest(name)
        except (NotFoundError, CardError) as error:
            findings.append(document.finding("SEL002", ["datasets", name], f"{error}"))
            continue
        if now != then:
            message = f"{name}: the data are said to be others than when the selection was saved."
            findings.append(document.finding("SEL003", ["datasets", name], message, "Save the selection anew."))
    if findings:
        raise CardError(findings)


def refuse_organisms(organisms: set[str], option: str) -> None:
    """Raise InputError for data sets of several organisms, which no one gene space holds."""
    if len(organisms) > 1:
        of = ", ".join(sorted(organisms))
        raise InputError(f"a store has one gene space, these data sets are of {of}: choose by {option}.")
