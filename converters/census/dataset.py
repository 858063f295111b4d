"""One data set of a Census: the cells of it that a query chose, in the streamlined form."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import scipy.sparse as sp

from cellzoo import __version__
from cellzoo.converters.celldata import CellData
from cellzoo.converters.census.layout import DATA, DATASETS, JOINID, MEASUREMENT, PRESENCE, STATISTICS, WORDS
from cellzoo.converters.census.soma import open_soma, tables, told
from cellzoo.converters.fetch import Progress
from cellzoo.converters.rows import Rows, canonical
from cellzoo.converters.selection import Data
from cellzoo.converters.streamline import genes_of, onto_space
from cellzoo.errors import InputError
from cellzoo.registry.fields import ORGANISM_KEY
from cellzoo.registry.genes import GeneMapping, GeneSpace, map_genes
from cellzoo.registry.index import Record

if TYPE_CHECKING:
    from cellzoo.converters.census.query import Query
    from cellzoo.converters.census.source import Census


@dataclass(frozen=True)
class CensusRecord(Record):
    """What is known of a data set of a Census from the table of its cells, before anything of its counts is read."""

    dataset: str
    """Its id in the Census."""
    organism: str
    """Name of its experiment."""
    nnz: int
    """Non-zero counts of the cells that were chosen."""


class SomaRows:
    """Counts (cells, genes) of a SOMASparseNDArray, read by ranges of the cells that were chosen."""

    dtype: np.dtype[Any] = np.dtype(np.float32)

    def __init__(self, uri: str, config: Mapping[str, str], joinids: np.ndarray, genes: int) -> None:
        self.uri, self.config, self.joinids = uri, config, joinids
        self.shape = (len(joinids), genes)

    @cached_property
    def _array(self) -> Any:
        return open_soma(self.uri, self.config)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the open array behind: another process opens its own."""
        return {name: value for name, value in vars(self).items() if name != "_array"}

    def read(self, start: int, stop: int) -> sp.csr_matrix:
        """Return those cells."""
        wanted = self.joinids[start:stop]
        if not len(wanted):
            return sp.csr_matrix((0, self.shape[1]), dtype=self.dtype)
        first, last = int(wanted[0]), int(wanted[-1])
        together = last - first + 1 == len(wanted)
        with told(self.uri):
            table = (
                self._array.read((slice(first, last) if together else pa.array(wanted), slice(None))).tables().concat()
            )
        cells, genes, values = (table[name].to_numpy() for name in ("soma_dim_0", "soma_dim_1", "soma_data"))
        return canonical(
            sp.csr_matrix((values, (np.searchsorted(wanted, cells), genes)), shape=(len(wanted), self.shape[1]))
        )


@dataclass(frozen=True, repr=False)
class CensusDataset(Data):
    """The cells of one data set of a Census that a query chose; nothing is read before it is asked for."""

    id: str
    """Its id in the Census, with the organism behind it where several organisms have it."""
    query: Query
    """What chose the cells."""

    def __repr__(self) -> str:
        return f"CensusDataset({self.id}: {self.cells} cells of {self.census.version})"

    @property
    def census(self) -> Census:
        """Return the Census it is in."""
        return self.query.census

    @property
    def record(self) -> CensusRecord:
        """Return what is known of it without reading counts."""
        return self.query.records[self.id]

    @property
    def cells(self) -> int:
        """Return the number of cells that were chosen."""
        return self.record.cells or 0

    @property
    def digest(self) -> str:
        """Return what changes with the release, the filter and the cells."""
        said = [self.census.version, self.record.organism, self.id, self.query.filter_of(self.id), self.cells]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()

    def open(self, space: GeneSpace | str | None = None, progress: Progress | None = None) -> CellData:
        """Return the cells streamlined, counts to be read by ranges of cells.

        Genes are those of the Census where no gene space is given. ``var["measured"]`` says which the data set counted
        at all; a Census keeps no more than that.
        """
        obs = self._obs()
        if len(obs) != self.cells:
            raise InputError(f"{self.id}: {len(obs)} cells match now, {self.cells} when they were counted.")
        var = self.census.genes(self.record.organism)
        uri = self.census.uri_of(DATA, self.record.organism, "ms", MEASUREMENT, "X", "raw")
        counts: Rows = SomaRows(uri, self.census.config, obs[JOINID].to_numpy(), len(var))
        obs = obs.drop(columns=JOINID)
        report: dict[str, Any] = {"cells": len(obs), "columns_left_out": [], "layers_left_out": ["normalized"]}
        names = {"gene_space": f"{self.record.organism}-census_{self.census.version}"}
        measured = self._measured(len(var))
        if space is None:
            sha256 = hashlib.sha256("\n".join(var.index).encode()).hexdigest()
            var = pd.DataFrame({"feature_name": var["feature_name"], "measured": measured})
        else:
            mapping = map_genes(var.index.tolist(), self.census.organisms[self.record.organism], space)
            counts = onto_space(counts, mapping)
            var, sha256 = _var_of(mapping, measured), mapping.space.sha256
            names = {"gene_space": mapping.space.name}
            report |= {"genes": mapping.summary(), "columns_left_out": [name for name in STATISTICS if name in obs]}
            obs = obs.drop(columns=report["columns_left_out"])
        return CellData(obs=obs, var=var, X=counts, uns=self._uns() | {"cellzoo": self._house(names, sha256, report)})

    def _obs(self) -> pd.DataFrame:
        """Return every column of the cells, by increasing soma_joinid, which names them."""
        where = self.query.filter_of(self.id)
        with open_soma(self.census.uri_of(DATA, self.record.organism, "obs"), self.census.config) as frame:
            parts = [part.to_pandas() for part in tables(frame, frame.schema.names, where)]
        obs: pd.DataFrame = pd.concat(parts).sort_values(JOINID)
        obs.index = pd.Index(obs[JOINID].astype(str).to_numpy(dtype=object), name="cell")
        for name in set(WORDS) & set(obs):  # plain text in a Census of before 2024
            obs[name] = obs[name].astype("category").cat.remove_unused_categories()
        obs["study"] = pd.Categorical([self.record.study] * len(obs))
        return obs

    def _measured(self, genes: int) -> np.ndarray:
        """Return which genes have a count in any cell of the data set, chosen or not."""
        row = int(self.census.table[JOINID][self.record.dataset])
        uri = self.census.uri_of(DATA, self.record.organism, "ms", MEASUREMENT, PRESENCE)
        with open_soma(uri, self.census.config) as presence, told(uri):
            table = presence.read((slice(row, row), slice(None))).tables().concat()
        measured = np.zeros(genes, dtype=bool)
        measured[table["soma_dim_1"].to_numpy()] = table["soma_data"].to_numpy(zero_copy_only=False)
        return measured

    def _uns(self) -> dict[str, Any]:
        said = self.census.table.loc[self.record.dataset]
        kept = {
            name: str(said[name]) for name in DATASETS if name in said and name.startswith(("citation", "collection"))
        }
        return {"title": self.record.title, ORGANISM_KEY: self.census.organisms[self.record.organism], **kept}

    def _house(self, names: dict[str, str], sha256: str, report: dict[str, Any]) -> dict[str, str]:
        return {
            "dataset_id": self.record.dataset,
            "study": self.record.study,
            **names,
            "gene_space_sha256": sha256,
            "census": self.census.uri,
            "census_version": self.census.version,
            "census_filter": self.query.filter_of(self.id),
            "cellzoo_version": __version__,
            "report": json.dumps(report),
        }


def _var_of(mapping: GeneMapping, counted: np.ndarray) -> pd.DataFrame:
    """Return the genes of a space, and which of them the data set counted."""
    measured = np.zeros(len(mapping.space), dtype=bool)
    measured[mapping.position[counted & (mapping.position >= 0)]] = True
    return genes_of(mapping.space, measured)
