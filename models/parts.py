"""What training data are made of: data sets read from their cards, or of a store, where the counts stay on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import scipy.sparse as sp

from cellzoo.converters.zoo import Dataset
from cellzoo.errors import InputError
from cellzoo.registry.fields import id_column
from cellzoo.registry.genes import GeneSpace

if TYPE_CHECKING:
    from cellzoo.converters.store import Store

TERMS = id_column("cell_type")
PIECE = 2**14
"""Cells whose counts are looked at together."""


class StoredCounts:
    """Counts of some cells and genes of a store, which are read when rows are asked for."""

    def __init__(self, store: Store, cells: np.ndarray, genes: np.ndarray | None = None) -> None:
        self._store, self._cells, self._genes = store, cells, genes
        self.shape = (len(cells), store.shape[1] if genes is None else len(genes))

    def __getitem__(self, rows: np.ndarray | slice) -> sp.csr_matrix:
        """Return rows as CSR float32."""
        return self._store.gather(self._cells[rows], genes=self._genes)

    def of_genes(self, genes: np.ndarray) -> StoredCounts:
        """Return the counts of some of the genes, still unread."""
        return StoredCounts(self._store, self._cells, genes if self._genes is None else self._genes[genes])

    def of_cells(self, at: np.ndarray) -> StoredCounts:
        """Return the counts of some of the cells, still unread."""
        return StoredCounts(self._store, self._cells[at], self._genes)

    @classmethod
    def joined(cls, parts: Sequence[StoredCounts]) -> StoredCounts:
        """Return the counts of cells of one store, one part after the other."""
        return cls(parts[0]._store, np.concatenate([part._cells for part in parts]), parts[0]._genes)


Counts: TypeAlias = sp.csr_matrix | StoredCounts


def of_cells(counts: Counts, at: np.ndarray) -> Counts:
    """Return the counts of some cells; those of a store are not read."""
    return counts.of_cells(at) if isinstance(counts, StoredCounts) else counts[at]


def of_genes(counts: Counts, at: np.ndarray) -> Counts:
    """Return the counts of some genes; those of a store are not read."""
    return counts.of_genes(at) if isinstance(counts, StoredCounts) else counts[:, at]


def joined(parts: Sequence[Counts]) -> Counts:
    """Return counts of the same kind, one after the other; those of a store are not read."""
    stored = [part for part in parts if isinstance(part, StoredCounts)]
    return StoredCounts.joined(stored) if stored else sp.vstack(parts, format="csr", dtype=np.float32)


@dataclass(frozen=True)
class Part:
    """The cells of one data set, all of them."""

    id: str
    """Its id."""
    study: str
    """Its study."""
    digest: str
    """What its card says of the data, or the sha256 of the file it came from."""
    cells: np.ndarray
    """Names of the cells."""
    terms: np.ndarray
    """Their cell type term ids."""
    empty: np.ndarray
    """Which cells have no counts."""
    measured: np.ndarray
    """Which genes of the space it measured."""
    counts: Counts
    """Raw counts (cells, genes)."""


def pieces(rows: np.ndarray) -> Iterator[np.ndarray]:
    """Yield row numbers, so many at a time that their counts are no burden."""
    for start in range(0, len(rows), PIECE):
        yield rows[start : start + PIECE]


def of_cards(datasets: Sequence[Dataset], space: GeneSpace, report: Callable[[str], None]) -> Iterator[Part]:
    """Yield data sets of a registry, read one after the other."""
    for dataset in datasets:
        report(f"loading {dataset.id}")
        adata = dataset.load(space)
        yield Part(
            dataset.id,
            dataset.card.study.id,
            dataset.digest,
            cells=adata.obs_names.to_numpy(dtype=str),
            terms=adata.obs[TERMS].to_numpy(dtype=str),
            empty=adata.X.getnnz(axis=1) == 0,
            measured=adata.var["measured"].to_numpy(dtype=bool),
            counts=adata.X,
        )


def of_store(path: Path, space: GeneSpace, organism: str) -> list[Part]:
    """Return the data sets of a store; InputError unless they are streamlined, of the organism and the gene space."""
    from cellzoo.converters.store import Store

    store = Store(path)
    if store.feature_names() != list(space.ids):
        raise InputError(
            f"{store.path}: its {store.shape[1]} features are not the genes of {space.name}. Build the store on that "
            "space (`cellzoo store build --genes`), or name its own in the recipe (genes: …)."
        )
    lengths = np.diff(store.matrix().indptr)
    found = []
    for stretch in store.datasets.values():
        where = f"{store.path}: {stretch.id}"
        data = store.celldata(stretch.id)
        if missing := [name for name in (TERMS, id_column("organism")) if name not in data.obs]:
            raise InputError(f"{where}: obs has no column {', '.join(missing)}; streamlined data have them.")
        if strange := sorted(set(data.obs[id_column("organism")].astype(str)) - {organism}):
            raise InputError(f"{where} has cells of {', '.join(strange)}, the recipe is of {organism}.")
        studies = set(data.obs["study"].astype(str)) if "study" in data.obs else set()
        part = Part(
            stretch.id,
            studies.pop() if len(studies) == 1 else stretch.id,
            stretch.digest,
            cells=data.obs.index.to_numpy(dtype=str),
            terms=data.obs[TERMS].to_numpy(dtype=str),
            empty=lengths[stretch.start : stretch.stop] == 0,
            measured=data.var["measured"].to_numpy(dtype=bool)
            if "measured" in data.var
            else np.ones(len(space), dtype=bool),
            counts=StoredCounts(store, np.arange(stretch.start, stretch.stop)),
        )
        found.append(part)
    return found
