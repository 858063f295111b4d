"""What of a Census answers a question: how many cells of which data sets, counted before any count is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa

from cellzoo.converters.census.dataset import CensusDataset, CensusRecord
from cellzoo.converters.census.filters import both, one_of
from cellzoo.converters.census.soma import tables
from cellzoo.converters.selection import Selection
from cellzoo.registry.fields import CELL_TERMS, DELIMITER, id_column

if TYPE_CHECKING:
    from cellzoo.converters.census.source import Census

PRIMARY = "is_primary_data"
H5AD_BYTES = 3.1
"""Bytes of a non-zero count in a gzip h5ad: measured on packaged data."""
OBS_BYTES, GENE_BYTES = 200, 85
"""About what a cell takes in memory, a quarter of it in a file, and what a gene takes in a file."""


@dataclass(frozen=True)
class Estimate:
    """How much a selection is, from the table of cells alone."""

    cells: int
    """Number of cells."""
    genes: int
    """Number of genes of the largest organism."""
    nnz: int
    """Number of non-zero counts."""
    memory_bytes: int
    """Bytes of the counts and of the table of cells in memory."""
    h5ad_bytes: int
    """About the bytes as h5ad, one for each data set."""


class CensusSelection(Selection["CensusDataset"]):
    """The data sets of a Census that a query chose, each with the cells that match."""

    source: Query

    @property
    def said(self) -> str:
        """Return what the user should know of the query: which cells were left out."""
        if not self.source.primary:
            return "cells that several data sets share are there several times"
        said = f"primary cells only: {self.source.copies:,} matching cells are copies of cells published elsewhere"
        return f"{said} (primary=False, --all-cells)" if self.source.copies else said

    def _saved(self) -> dict[str, Any]:
        query = self.source
        said = {"census": query.census.uri, "version": query.census.version, "primary": query.primary}
        return said | {"copies": query.copies, "filters": dict(query.filters)}

    def estimate(self) -> Estimate:
        """Return cells, genes, non-zero counts and bytes, before any count is read."""
        records = [cast(CensusRecord, record) for record in self.records]
        cells, nnz = sum(one.cells or 0 for one in records), sum(one.nnz for one in records)
        genes = [len(self.source.census.genes(one.organism)) for one in records]
        index = 4 if nnz < 2**31 else 8
        memory = nnz * (4 + index) + (cells + 1) * index + cells * OBS_BYTES
        files = nnz * H5AD_BYTES + cells * OBS_BYTES / 4 + sum(genes) * GENE_BYTES
        return Estimate(cells, max(genes, default=0), nnz, memory, int(files))


@dataclass(frozen=True)
class Query:
    """What was asked of a Census: the source of a selection."""

    census: Census
    """The Census."""
    filters: dict[str, str]
    """Name of each experiment -> value filter of its cells."""
    primary: bool
    """Whether only primary cells were asked for."""
    copies: int
    """Cells that match and were left out, because they are not primary."""
    records: dict[str, CensusRecord] = field(compare=False, repr=False)
    """The data sets with cells that match, by id."""

    @property
    def names(self) -> tuple[str, ...]:
        """Return the Census and the filters: selections of different cells are not combined."""
        return (self.census.uri, *(f"{organism}: {where or 'all cells'}" for organism, where in self.filters.items()))

    def dataset(self, name: str) -> CensusDataset:
        """Return a data set by its id; nothing is read."""
        return CensusDataset(name, self)

    def filter_of(self, name: str) -> str:
        """Return the value filter that gives the chosen cells of a data set."""
        record = self.records[name]
        return both(one_of("dataset_id", [record.dataset]), self.filters[record.organism])


@dataclass
class Tally:
    """What one data set has of the cells that match."""

    cells: int = 0
    """Cells that were chosen."""
    nnz: int = 0
    """Their non-zero counts."""
    copies: int = 0
    """Cells that match and were left out, because they are not primary."""
    terms: dict[str, set[str]] = field(default_factory=lambda: {name: set() for name in CELL_TERMS})
    """Field -> term ids that they have."""


def tally(frame: Any, where: str, primary: bool) -> dict[str, Tally]:
    """Return dataset_id -> what it has of the matching cells: one pass over the table of cells, in bounded memory."""
    found: dict[str, Tally] = {}
    for part in tables(frame, ["dataset_id", PRIMARY, "nnz", *map(id_column, CELL_TERMS)], where):
        counted = part.group_by(["dataset_id", PRIMARY]).aggregate([("nnz", "sum"), ("nnz", "count")])
        for dataset, is_primary, nnz, cells in _rows(counted, ("dataset_id", PRIMARY, "nnz_sum", "nnz_count")):
            one = found.setdefault(dataset, Tally())
            if primary and not is_primary:
                one.copies += cells
            else:
                one.cells, one.nnz = one.cells + cells, one.nnz + nnz
        kept = part.filter(part[PRIMARY]) if primary else part
        for name in CELL_TERMS:
            columns = ["dataset_id", id_column(name)]
            for dataset, words in _rows(kept.group_by(columns).aggregate([]), columns):
                found[dataset].terms[name].update(words.split(DELIMITER))
    return found


def _rows(table: pa.Table, columns: Iterable[str]) -> Iterator[Sequence[Any]]:
    return zip(*(table[name].to_pylist() for name in columns), strict=True)
