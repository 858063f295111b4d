"""One organism of a Census that is being written: counts block by block, the table of cells at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import scipy.sparse as sp

from cellzoo.converters.celldata import CellData
from cellzoo.converters.census.cells import cells_of, excluded
from cellzoo.converters.census.layout import (
    FULL_GENE,
    JOINID,
    LAYER_CONFIG,
    LAYERS,
    MEASUREMENT,
    OBS,
    OBS_CONFIG,
    PRESENCE,
    SIGNIFICANT,
    VAR,
    VAR_CONFIG,
    WORDS,
)
from cellzoo.converters.census.soma import library, to_arrow, write_frame
from cellzoo.converters.counts import Judge
from cellzoo.converters.fetch import Progress
from cellzoo.converters.rows import blocks
from cellzoo.errors import CellzooError, CountsError, GenesError
from cellzoo.registry.genetable import features, species

AT_ONCE = 2**22
"""Non-zero counts that are written together: each writing is a fragment, many of them make reading slow."""


class Experiment:
    """The cells, genes and counts of one organism while they are written."""

    def __init__(self, folder: Path, organism: str) -> None:
        self.folder, self.organism = folder, organism
        self.rna = folder / "ms" / MEASUREMENT
        self.genes: dict[str, int] = {}
        """Ensembl id -> its column."""
        self.cells = 0
        """Cells written."""
        self._obs: list[pd.DataFrame] = []
        self._var: list[pd.DataFrame] = []
        self._nnz = self._measured = np.zeros(0, dtype=np.int64)
        self._present: dict[int, np.ndarray] = {}

    def add(self, row: int, name: str, data: CellData, progress: Progress | None = None) -> Counter[str]:
        """Write the cells of a data set; return how many cells and genes were left out, by reason.

        ``row`` is the soma_joinid of the data set. Raises `InputError`, `CountsError` or `GenesError`; nothing of the
        data set is left then.
        """
        with self._taking_back():
            return self._add(row, name, data, progress)

    @contextmanager
    def _taking_back(self) -> Iterator[None]:
        """Put everything back as it was before where data cannot be used: TileDB adds files and never changes one."""
        before, there = {name: copy(value) for name, value in vars(self).items()}, self._files()
        try:
            yield
        except CellzooError:
            vars(self).update(before)
            for path in sorted(self._files() - there, reverse=True):  # what lies in a folder before the folder
                path.rmdir() if path.is_dir() else path.unlink()
            raise

    def _files(self) -> set[Path]:
        """Return everything that was written, the folder too."""
        return {self.folder, *self.folder.rglob("*")} if self.folder.exists() else set()

    def _add(self, row: int, name: str, data: CellData, progress: Progress | None) -> Counter[str]:
        rows, var = (data.raw.X, data.raw.var) if data.raw is not None else (data.X, data.var)
        if rows is None:
            raise CountsError(f"{name}: has no counts of genes.")
        obs = cells_of(name, data)
        reasons = excluded(obs)
        kept = (reasons == "").to_numpy()
        if not kept.any():
            return _numbers(reasons, 0)
        said = features(var.index.astype(str).tolist(), self.organism)
        taken = ((said["feature_biotype"] == "gene") & (said["feature_reference"] == species(self.organism))).to_numpy()
        if not taken.any():
            raise GenesError(f"{name}: no gene id of its {len(var)} is of {self.organism}, e.g. {list(var.index[:3])}.")
        columns = self._columns(said[taken])
        writer = _Layers(self, columns, np.flatnonzero(taken), said["feature_length"].to_numpy()[taken])
        judge = Judge()
        first, full = self.cells, obs["assay_ontology_term_id"].isin(FULL_GENE).to_numpy()
        for start, block in blocks(rows):
            judge.see(block.data)
            if problem := judge.problem() if block.nnz else None:
                raise CountsError(f"{name}: {problem}.")
            at = slice(start, start + block.shape[0])
            kept[at] &= writer.add(block, kept[at], full[at])
            if progress:
                progress(name, at.stop, len(obs))
        writer.flush()
        reasons[(reasons == "") & ~kept] = "no counts of genes"
        if self.cells > first:
            self._keep(row, obs[kept], writer)
        return _numbers(reasons, int((~taken).sum()))

    def finish(self, datasets: int) -> pd.DataFrame:
        """Write the tables of cells and genes and the presence of genes in data sets; return the cells."""
        obs = _stack(self._obs)
        obs.insert(0, JOINID, np.arange(len(obs)))
        write_frame(str(self.folder / "obs"), to_arrow(obs, OBS), OBS_CONFIG)
        var = pd.concat(self._var)
        var.insert(0, JOINID, np.arange(len(var)))
        var["nnz"], var["n_measured_obs"] = self._nnz, self._measured
        write_frame(str(self.rna / "var"), to_arrow(var, VAR), VAR_CONFIG)
        rows = np.concatenate([np.full(len(genes), row) for row, genes in self._present.items()])
        uri, shape = str(self.rna / PRESENCE), (datasets, len(var))
        with library().SparseNDArray.create(uri, type=pa.bool_(), shape=shape) as presence:
            presence.write(_coordinates(rows, np.concatenate(list(self._present.values())), np.ones(len(rows), bool)))
        self._collect()
        return obs

    def write(self, cells: np.ndarray, genes: np.ndarray, layers: dict[str, np.ndarray], to: int) -> None:
        """Write counts at these places into each layer, which then has ``to`` cells."""
        soma = library()
        if not self.cells:
            self._create()
        for layer, values in layers.items():
            with soma.open(self._uri(layer), "w") as array:
                array.resize((to, len(self.genes)))
            with soma.open(self._uri(layer), "w") as array:
                array.write(_coordinates(cells, genes, values))

    def _create(self) -> None:
        (self.rna / "X").mkdir(parents=True)
        for layer, config in LAYER_CONFIG.items():
            made = library().SparseNDArray.create
            made(self._uri(layer), type=pa.float32(), shape=(1, 1), platform_config=config).close()

    def _uri(self, layer: str) -> str:
        return str(self.rna / "X" / layer)

    def _columns(self, said: pd.DataFrame) -> np.ndarray:
        """Return the column of each gene; genes that are new get the next ones."""
        new = said[[gene not in self.genes for gene in said.index]]
        self.genes |= {gene: len(self.genes) + at for at, gene in enumerate(new.index)}
        if len(new):
            new = new[["feature_name", "feature_type", "feature_length"]]
            self._var.append(new.rename_axis("feature_id").reset_index())
        grown = np.zeros(len(self.genes), dtype=np.int64)
        grown[: len(self._nnz)] = self._nnz
        self._nnz, measured = grown, np.zeros(len(self.genes), dtype=np.int64)
        measured[: len(self._measured)] = self._measured
        self._measured = measured
        return np.array([self.genes[gene] for gene in said.index], dtype=np.int64)

    def _keep(self, row: int, obs: pd.DataFrame, writer: _Layers) -> None:
        present = np.flatnonzero(writer.nnz)
        self._nnz[writer.columns] += writer.nnz
        self._measured[writer.columns[present]] += len(obs)
        self._present[row] = writer.columns[present]
        statistics = {name: np.concatenate(parts) for name, parts in writer.statistics.items()}
        self._obs.append(obs.assign(**statistics, n_measured_vars=np.int64(len(present))))

    def _collect(self) -> None:
        soma = library()
        collect(self.rna / "X", soma.Collection, LAYERS)
        collect(self.rna, soma.Measurement, ("var", "X", PRESENCE))
        collect(self.folder / "ms", soma.Collection, (MEASUREMENT,))
        collect(self.folder, soma.Experiment, ("obs", "ms"))


def _numbers(reasons: pd.Series, genes: int) -> Counter[str]:
    """Return how many cells and genes were left out, by reason."""
    left = Counter({f"cells: {reason}": int(number) for reason, number in reasons.value_counts().items() if reason})
    return left + Counter({"genes: not of this organism in the release that CELLxGENE pins": genes})


class _Layers:
    """The counts of one data set on their way into the layers, with what they say about cells and genes."""

    def __init__(self, experiment: Experiment, columns: np.ndarray, taken: np.ndarray, lengths: np.ndarray) -> None:
        self.experiment, self.columns, self.taken = experiment, columns, taken
        self.lengths = lengths.astype(np.float32)
        self.nnz = np.zeros(len(columns), dtype=np.int64)
        self.statistics: dict[str, list[np.ndarray]] = {}
        self._waiting: list[sp.csr_matrix] = []
        self._full: list[np.ndarray] = []

    def add(self, block: sp.csr_matrix, kept: np.ndarray, full: np.ndarray) -> np.ndarray:
        """Take a block of cells; return which of them are written: those kept that have counts."""
        block = block[:, self.taken].astype(np.float32)
        written: np.ndarray = kept & (block.getnnz(axis=1) > 0)
        block = block[written]
        self.nnz += block.getnnz(axis=0)
        for name, values in statistics_of(block).items():
            self.statistics.setdefault(name, []).append(values)
        self._waiting.append(block)
        self._full.append(full[written])
        if sum(one.nnz for one in self._waiting) >= AT_ONCE:
            self.flush()
        return written

    def flush(self) -> None:
        """Write what waits."""
        counts = sp.vstack(self._waiting, format="csr") if self._waiting else sp.csr_matrix((0, len(self.columns)))
        if counts.nnz:
            first = self.experiment.cells
            cells = np.repeat(np.arange(first, first + counts.shape[0]), np.diff(counts.indptr))
            layers = {"raw": counts.data, "normalized": normalized(counts, np.concatenate(self._full), self.lengths)}
            self.experiment.write(cells, self.columns[counts.indices], layers, first + counts.shape[0])
            self.experiment.cells += counts.shape[0]
        self._waiting, self._full = [], []


def statistics_of(counts: sp.csr_matrix) -> dict[str, np.ndarray]:
    """Return sum, number, mean and variance of the non-zero counts of each cell; a variance of one count is 0."""
    values = counts.astype(np.float64)
    number = np.diff(counts.indptr).astype(np.int64)
    total = np.asarray(values.sum(axis=1)).ravel()
    squares = np.asarray(values.multiply(values).sum(axis=1)).ravel()
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(number > 0, total / number, 0.0)
        variance = np.where(number > 1, (squares - number * mean**2) / (number - 1), 0.0)
    return {"raw_sum": total, "nnz": number, "raw_mean_nnz": mean, "raw_variance_nnz": np.maximum(variance, 0.0)}


def normalized(counts: sp.csr_matrix, full: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return the values of CSR counts divided by the sum of their cell, float32 with a mantissa of 15 bits.

    In cells of full-length assays counts are divided by the length of their gene first. None becomes zero.
    """
    values = np.array(counts.data, dtype=np.float32)
    cells = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
    by_length = full[cells]
    values[by_length] /= lengths[counts.indices[by_length]]
    sums = np.bincount(cells, values.astype(np.float64), minlength=counts.shape[0])
    bits = (values / sums[cells]).astype(np.float32).view(np.int32)
    dropped = 23 - SIGNIFICANT
    bits = (bits + ((bits >> dropped) & 1) + (1 << (dropped - 1)) - 1) & ~((1 << dropped) - 1)  # half to even
    rounded: np.ndarray = bits.view(np.float32)
    rounded[rounded == 0] = np.finfo(np.float32).smallest_subnormal
    return rounded


def collect(folder: Path, kind: Any, names: tuple[str, ...] | list[str]) -> None:
    """Make a collection in a folder of what lies in it; addresses are relative, so that the folder can be moved."""
    soma = library()
    with kind.create(str(folder)) as made:
        for name in names:
            with soma.open(str(folder / name)) as member:
                made.set(name, member, use_relative_uri=True)


def _coordinates(rows: np.ndarray, columns: np.ndarray, values: np.ndarray) -> pa.Table:
    return pa.table(
        {
            "soma_dim_0": pa.array(rows.astype(np.int64, copy=False)),
            "soma_dim_1": pa.array(columns.astype(np.int64, copy=False)),
            "soma_data": pa.array(values),
        }
    )


def _stack(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """Return tables of cells as one; columns of words stay categories."""
    columns: dict[str, Any] = {}
    for name in parts[0]:
        column = [part[name] for part in parts]
        columns[str(name)] = pd.api.types.union_categoricals(column) if name in WORDS else np.concatenate(column)
    return pd.DataFrame(columns)
