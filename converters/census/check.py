"""Whether a Census is one: the structure of census schema 2.4.0 and the arithmetic between its tables and counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from cellzoo.converters.census.cells import donors
from cellzoo.converters.census.dataset import SomaRows
from cellzoo.converters.census.experiment import statistics_of
from cellzoo.converters.census.layout import (
    ASSAYS,
    CENSUS_SCHEMA,
    DATA,
    DATASET_SCHEMA,
    FILLED,
    INFO,
    INFO_TABLES,
    JOINID,
    LAYERS,
    MEASUREMENT,
    OBS,
    PRESENCE,
    SAID,
    STATISTICS,
    TISSUE_TYPES,
    VAR,
    experiment_of,
)
from cellzoo.converters.census.soma import matches, open_soma, settings_of, tables, words_of
from cellzoo.converters.rows import blocks
from cellzoo.errors import Finding
from cellzoo.registry.fields import ORGANISMS, id_column


def check_census(where: str | Path, counts: bool = True, **config: str) -> list[Finding]:
    """Return what keeps a Census from census schema 2.4.0, sorted; nothing where it is one.

    ``counts`` also reads every count and holds the statistics of cells and genes against them, in constant memory.
    NotFoundError where there is nothing, WorldError where it cannot be reached.
    """
    return sorted(_Check(str(where), settings_of(str(where), config)).findings(counts))


class _Check:
    """One look at a Census."""

    def __init__(self, uri: str, config: Mapping[str, str]) -> None:
        self.uri, self.config = uri.rstrip("/"), config

    def findings(self, counts: bool) -> Iterator[Finding]:
        """Yield every finding; what cannot be looked at because something is missing is not."""
        with open_soma(self.uri, self.config) as root:
            yield from self._members("", root, "SOMACollection", (INFO, DATA))
            yield from self._metadata(dict(root.metadata))
            if root.soma_type != "SOMACollection" or {INFO, DATA} - set(root):
                return
        with open_soma(f"{self.uri}/{INFO}", self.config) as info:
            lost = list(self._members(INFO, info, "SOMACollection", tuple(INFO_TABLES)))
        yield from lost
        for name, columns in INFO_TABLES.items():
            if not any(finding.path.endswith(f"/{name}") for finding in lost):
                yield from self._columns(f"{INFO}/{name}", columns)
        with open_soma(f"{self.uri}/{DATA}", self.config) as data:
            organisms = sorted(data)
        strange = [name for name in organisms if name not in set(map(experiment_of, ORGANISMS))]
        if strange or not organisms:
            yield self._found(
                DATA, "CEN008", f"experiments {organisms}: expected organisms of CELLxGENE, e.g. homo_sapiens."
            )
        cells: dict[str, pd.DataFrame] = {}
        whole = True
        for name in organisms:
            if self._is_empty(f"{DATA}/{name}"):  # of an organism without cells CELLxGENE writes no counts
                continue
            found = list(self._experiment(f"{DATA}/{name}"))
            yield from found
            if not found:
                cells[name] = self._frame(
                    f"{DATA}/{name}/obs", ["dataset_id", "is_primary_data", "donor_id", *STATISTICS]
                )
                yield from self._numbers(f"{DATA}/{name}", cells[name], counts)
            whole = whole and not found
        if whole and not lost and cells:
            yield from self._info(cells, organisms)

    def _is_empty(self, at: str) -> bool:
        with open_soma(f"{self.uri}/{at}", self.config) as experiment:
            return (
                "obs" in set(experiment)
                and experiment["obs"].soma_type == "SOMADataFrame"
                and not experiment["obs"].count
            )

    def _experiment(self, at: str) -> Iterator[Finding]:
        """Yield what is wrong with the structure of one organism: members, columns, types, words, keys."""
        rna = f"{at}/ms/{MEASUREMENT}"
        for place, kind, members in (
            (at, "SOMAExperiment", ("obs", "ms")),
            (f"{at}/ms", "SOMACollection", (MEASUREMENT,)),
            (rna, "SOMAMeasurement", ("var", "X", PRESENCE)),
            (f"{rna}/X", "SOMACollection", LAYERS),
        ):
            with open_soma(f"{self.uri}/{place}", self.config) as opened:
                found = list(self._members(place, opened, kind, members))
            yield from found
            if found:
                return
        yield from self._columns(f"{at}/obs", OBS)
        yield from self._columns(f"{rna}/var", VAR)
        for column, allowed in ((id_column("assay"), ASSAYS), ("tissue_type", set(TISSUE_TYPES))):
            with open_soma(f"{self.uri}/{at}/obs", self.config) as obs:
                words = words_of(obs, column) if column in obs.schema.names else None
            if strange := sorted(set(words or ()) - allowed):
                yield self._found(f"{at}/obs", "CEN007", f"{column}: {', '.join(strange)} is not in a Census.")

    def _members(self, at: str, opened: Any, kind: str, names: tuple[str, ...]) -> Iterator[Finding]:
        if opened.soma_type != kind:
            yield self._found(at, "CEN001", f"is a {opened.soma_type}, expected a {kind}.")
            return
        for name in names:
            if name not in set(opened):
                yield self._found(
                    f"{at}/{name}", "CEN002", f"is missing; there is {', '.join(sorted(opened)) or 'nothing'}."
                )

    def _metadata(self, said: Mapping[str, Any]) -> Iterator[Finding]:
        try:
            datetime.fromisoformat(str(said.get("created_on", "")))
        except ValueError:
            yield self._found(
                "", "CEN003", f"created_on in the metadata is {said.get('created_on')!r}, expected a date."
            )
        if "git_commit_sha" not in said:
            yield self._found("", "CEN003", "git_commit_sha is missing in the metadata.")

    def _columns(self, at: str, expected: Mapping[str, pa.DataType]) -> Iterator[Finding]:
        """Yield what is wrong with the columns of a table, the words of its dictionaries and its keys."""
        with open_soma(f"{self.uri}/{at}", self.config) as frame:
            schema, rows = frame.schema, frame.count
            words: dict[str, list[str]] = {}
            for name in sorted(set(schema.names) ^ set(expected)):
                yield self._found(
                    at, "CEN004", f"{name}: {'is missing' if name in expected else 'no column of a Census'}."
                )
            for name, kind in expected.items():
                if name not in schema.names:
                    continue
                if not _same(schema.field(name).type, kind):
                    yield self._found(at, "CEN005", f"{name}: is {schema.field(name).type}, expected {_named(kind)}.")
                elif pa.types.is_dictionary(kind) and rows:
                    words[name] = words_of(frame, name) or []
            yield from self._words(at, frame, words)
            if not all(words.values()):
                return  # tiledbsoma may crash on rows whose words are lost
            joinids = np.concatenate([part[JOINID].to_numpy() for part in tables(frame, [JOINID])] or [np.zeros(0)])
        if not np.array_equal(np.sort(joinids), np.arange(len(joinids))):
            yield self._found(at, "CEN006", f"{JOINID} of {len(joinids)} rows: expected 0, 1, … without gaps.")

    def _words(self, at: str, frame: Any, words: Mapping[str, list[str]]) -> Iterator[Finding]:
        """Yield where a dictionary lost its words: filters would then match nothing."""
        for name in [name for name, kept in words.items() if not kept]:
            message = f"{name}: its dictionary is empty; every filter matches nothing. Write it anew."
            yield self._found(at, "CEN009", message)
        if not all(words.values()):
            return
        if words and (found := matches(frame, words)) != frame.count:
            message = f"all words of {', '.join(words)} are those of {found} of {frame.count} rows. Write it anew."
            yield self._found(at, "CEN009", message)

    def _numbers(self, at: str, obs: pd.DataFrame, counts: bool) -> Iterator[Finding]:
        """Yield where shapes, presence and statistics do not agree with the tables."""
        rna = f"{at}/ms/{MEASUREMENT}"
        var = self._frame(f"{rna}/var", ["feature_id", "nnz", "n_measured_obs"])
        if var["feature_id"].duplicated().any():
            yield self._found(f"{rna}/var", "CEN010", "feature_id: a gene is listed twice.")
        if not (obs["nnz"] > 0).all():
            yield self._found(f"{at}/obs", "CEN011", f"nnz: {int((obs['nnz'] <= 0).sum())} cells have no counts.")
        whole = True
        for name in LAYERS:
            with open_soma(f"{self.uri}/{rna}/X/{name}", self.config) as array:
                shape, kind = tuple(array.shape), array.schema.field("soma_data").type
            if shape != (len(obs), len(var)) or kind != pa.float32():
                whole = False
                message = f"{shape[0]} x {shape[1]} {kind}: expected {len(obs)} x {len(var)} float."
                yield self._found(f"{rna}/X/{name}", "CEN012", message)
        yield from self._presence(at, obs, var)
        if counts and whole:
            yield from self._counts(at, obs, var)

    def _presence(self, at: str, obs: pd.DataFrame, var: pd.DataFrame) -> Iterator[Finding]:
        place = f"{at}/ms/{MEASUREMENT}/{PRESENCE}"
        datasets = self._frame(f"{INFO}/datasets", ["dataset_id"])["dataset_id"].astype(str)
        with open_soma(f"{self.uri}/{place}", self.config) as array:
            shape, kind = tuple(array.shape), array.schema.field("soma_data").type
            table = array.read((slice(None), slice(None))).tables().concat()
        if shape[1] != len(var) or shape[0] > len(datasets) or kind != pa.bool_():
            yield self._found(place, "CEN013", f"{shape[0]} x {shape[1]} {kind}: expected data sets x {len(var)} bool.")
            return
        row = obs["dataset_id"].astype(str).map({name: at for at, name in enumerate(datasets)})
        if row.isna().any():
            yield self._found(
                f"{at}/obs", "CEN014", f"cells of {obs['dataset_id'][row.isna()].iloc[0]}, which is not listed."
            )
            return
        cells = np.bincount(row.astype(int), minlength=len(datasets))
        rows, genes = table["soma_dim_0"].to_numpy(), table["soma_dim_1"].to_numpy()
        measured = np.bincount(rows, minlength=len(datasets))[row.astype(int)]
        if not np.array_equal(measured, obs["n_measured_vars"]):
            yield self._found(f"{at}/obs", "CEN015", "n_measured_vars: is not what the presence matrix says.")
        if not np.array_equal(np.bincount(genes, cells[rows], len(var)).astype(int), var["n_measured_obs"]):
            yield self._found(
                f"{at}/ms/{MEASUREMENT}/var", "CEN015", "n_measured_obs: is not what the presence matrix says."
            )

    def _counts(self, at: str, obs: pd.DataFrame, var: pd.DataFrame) -> Iterator[Finding]:
        """Yield where the statistics of cells and genes are not those of the counts, or the layers do not agree."""
        rna = f"{at}/ms/{MEASUREMENT}"
        raw, other = (
            SomaRows(f"{self.uri}/{rna}/X/{name}", self.config, np.arange(len(obs)), len(var)) for name in LAYERS
        )
        wrong: set[str] = set()
        genes = np.zeros(len(var), dtype=np.int64)
        for start, block in blocks(raw):
            part = obs.iloc[start : start + block.shape[0]]
            genes += block.getnnz(axis=0)
            found = statistics_of(block)
            wrong |= {
                name for name, values in found.items() if not np.allclose(values, part[name], rtol=1e-3, atol=1e-5)
            }
            wrong |= {"raw"} if (block.data < 0).any() or (block.data != np.rint(block.data)).any() else set()
            beside = other.read(start, start + block.shape[0])
            if not np.array_equal(beside.indptr, block.indptr) or not np.array_equal(beside.indices, block.indices):
                wrong.add("normalized")
        for name in sorted(wrong & set(STATISTICS)):
            yield self._found(f"{at}/obs", "CEN015", f"{name}: is not what the counts say.")
        if not np.array_equal(genes, var["nnz"]):
            yield self._found(f"{rna}/var", "CEN015", "nnz: is not what the counts say.")
        if "raw" in wrong:
            yield self._found(f"{rna}/X/raw", "CEN016", "holds values that are no counts.")
        if "normalized" in wrong:
            yield self._found(f"{rna}/X/normalized", "CEN016", "has values elsewhere than the raw counts.")

    def _info(self, cells: Mapping[str, pd.DataFrame], names: list[str]) -> Iterator[Finding]:
        """Yield where the tables about the whole do not agree with the cells."""
        said = self._frame(f"{INFO}/summary", ["label", "value"]).set_index("label")["value"].astype(str).to_dict()
        every = sum(map(len, cells.values()))
        unique = sum(int(obs["is_primary_data"].sum()) for obs in cells.values())
        expected: dict[str, Callable[[str], bool]] = {
            SAID[0]: CENSUS_SCHEMA.__eq__,
            SAID[1]: lambda text: bool(datetime.fromisoformat(text)),
            SAID[2]: DATASET_SCHEMA.__eq__,
            SAID[3]: str(every).__eq__,
            SAID[4]: str(unique).__eq__,
        } | {f"number_donors_{name}": str(donors(obs)).__eq__ for name, obs in cells.items()}
        for name, holds in expected.items():
            if name not in said or not _holds(holds, said[name]):
                yield self._found(f"{INFO}/summary", "CEN017", f"{name}: is {said.get(name, 'missing')}.")
        datasets = self._frame(f"{INFO}/datasets", [*FILLED, "dataset_total_cell_count"])
        for name in FILLED:
            if (datasets[name] == "").any() or (name == "dataset_id" and datasets[name].duplicated().any()):
                yield self._found(f"{INFO}/datasets", "CEN018", f"{name}: is empty or not unique.")
        numbers = pd.concat([obs["dataset_id"].astype(str) for obs in cells.values()]).value_counts()
        listed = datasets.set_index("dataset_id")["dataset_total_cell_count"]
        for name in sorted(set(listed.index) | set(numbers.index)):
            if listed.get(name, 0) != numbers.get(name, 0):
                message = f"{name}: {listed.get(name, 0)} cells are listed, {numbers.get(name, 0)} are there."
                yield self._found(f"{INFO}/datasets", "CEN014", message)
        counted = self._frame(f"{INFO}/summary_cell_counts", ["category", "total_cell_count", "unique_cell_count"])
        sums = (
            counted[counted["category"].astype(str) == "all"][["total_cell_count", "unique_cell_count"]].sum().tolist()
        )
        if sums != [every, unique]:
            yield self._found(f"{INFO}/summary_cell_counts", "CEN017", f"all: {sums}, expected {[every, unique]}.")
        organisms = self._frame(f"{INFO}/organisms", ["organism"])["organism"].astype(str)
        if sorted(organisms) != names:
            yield self._found(f"{INFO}/organisms", "CEN008", f"{sorted(organisms)}: expected {names}.")

    def _frame(self, at: str, columns: list[str]) -> pd.DataFrame:
        with open_soma(f"{self.uri}/{at}", self.config) as frame:
            parts = [part.to_pandas() for part in tables(frame, [JOINID, *columns])]
        whole: pd.DataFrame = pd.concat(parts).sort_values(JOINID, ignore_index=True)
        return whole

    def _found(self, at: str, code: str, message: str) -> Finding:
        return Finding(f"{self.uri}/{at}".rstrip("/"), 0, 0, code, message)


def _holds(holds: Callable[[str], bool], text: str) -> bool:
    try:
        return holds(text)
    except ValueError:
        return False


def _same(found: pa.DataType, expected: pa.DataType) -> bool:
    """Return whether types are the same but for the width of indices and offsets."""
    if pa.types.is_dictionary(expected):
        return bool(pa.types.is_dictionary(found)) and _same(found.value_type, expected.value_type)
    if pa.types.is_large_string(expected):
        return bool(pa.types.is_large_string(found) or pa.types.is_string(found))
    return bool(found == expected)


def _named(kind: pa.DataType) -> str:
    return f"a dictionary of {kind.value_type}" if pa.types.is_dictionary(kind) else str(kind)
