"""A store, read: any rows of its matrices at the speed of memory, one column of cells without the others."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellzoo.converters.celldata import CellData, Raw
from cellzoo.converters.fetch import Progress
from cellzoo.converters.rows import Rows
from cellzoo.converters.store import blobs
from cellzoo.converters.store.cells import Obs, Obsm
from cellzoo.converters.store.columns import INDEX, Strip, joined
from cellzoo.converters.store.layout import DATASETS, MANIFEST, check_sizes, digest, present, read_lines, read_state
from cellzoo.converters.store.matrix import Buffers, Matrix, Pool, StoreRows
from cellzoo.errors import Finding, GenesError, IntegrityError, NotFoundError


@dataclass(frozen=True)
class Stretch:
    """A data set as rows of a store."""

    id: str
    """Its id."""
    digest: str
    """What its card said about the data when it was written."""
    start: int
    """Its first row."""
    stop: int
    """The row after its last."""
    matrices: tuple[str, ...]
    """The matrices it has."""
    record: Mapping[str, Any] = field(repr=False, compare=False)
    """What the manifest says of it."""

    def __len__(self) -> int:
        return self.stop - self.start


class Store:
    """Cells on disk. Opening reads the manifest alone; a store may be read by many threads and processes at once."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._manifest = read_state(self.path)
        self._files: dict[str, dict[str, Any]] = self._manifest["files"]
        check_sizes(self.path, self._files)
        self.version: int = self._manifest["version"]
        self.matrices: tuple[str, ...] = tuple(self._manifest["matrices"])
        self._matrices: dict[str, Matrix] = {}
        self._strips = [Strip(self.path, record, self._files) for record in self._manifest["columns"]]

    def __reduce__(self) -> tuple[type[Store], tuple[Path]]:
        return Store, (self.path,)

    def __repr__(self) -> str:
        return f"Store({self.path}: {self.shape[0]} cells x {self.shape[1]} features of {len(self.datasets)} data sets)"

    @property
    def shape(self) -> tuple[int, int]:
        """Return the number of cells and of features of X."""
        features = self._manifest["spaces"].get("", {"features": 0})["features"]
        return int(self._manifest["cells"]), int(features)

    @cached_property
    def digest(self) -> str:
        """Return the sha256 of the manifest, which names the sha256 of everything else."""
        return hashlib.sha256((self.path / MANIFEST).read_bytes()).hexdigest()

    @property
    def bytes(self) -> int:
        """Return how much the files of the store take."""
        return sum(record["bytes"] for record in self._files.values())

    @cached_property
    def datasets(self) -> Mapping[str, Stretch]:
        """Return id -> data set, in the order of rows."""
        return {
            record["id"]: Stretch(
                record["id"], record["digest"], record["start"], record["stop"], tuple(record["matrices"]), record
            )
            for record in read_lines(self.path, DATASETS, self._files.get(DATASETS, {"bytes": 0})["bytes"])
        }

    @cached_property
    def obs(self) -> Obs:
        """Return the columns of cells, read one by one."""
        return Obs(self)

    @cached_property
    def obsm(self) -> Obsm:
        """Return the arrays along the cells, read one by one."""
        return Obsm(self)

    def obs_column(self, name: str, rows: np.ndarray | slice | None = None) -> pd.Series:
        """Return a column of cells, of some rows in the order given or of all, of the type it came in."""
        if name not in self.obs:
            raise NotFoundError(f"{self.path}: has no column {name!r} of cells; there are {', '.join(self.obs)}.")
        return self._column(self.obs._places[name], rows).rename(name)

    def obs_names(self, rows: np.ndarray | slice | None = None) -> np.ndarray:
        """Return the names of cells; where there are several data sets the id of its own stands behind each."""
        places = [stretch.record["obs"][INDEX] for stretch in self.datasets.values()]
        names = self._column(places, rows)
        if len(self.datasets) < 2:
            return names.to_numpy(dtype=object)
        owners = self.dataset_of(np.arange(self.shape[0])[slice(None) if rows is None else rows])
        ids = list(self.datasets)
        return np.array([f"{name}-{ids[k]}" for name, k in zip(names, owners.tolist(), strict=True)], dtype=object)

    def dataset_of(self, rows: np.ndarray) -> np.ndarray:
        """Return of which data set (its place in `datasets`) each row is."""
        stops = np.array([stretch.stop for stretch in self.datasets.values()])
        return np.searchsorted(stops, rows, side="right")

    def codes(self, name: str) -> tuple[np.ndarray, pd.Index]:
        """Return a column of cells as codes, int32 (-1: missing), and what each code stands for."""
        column = self.obs_column(name)
        if isinstance(column.dtype, pd.CategoricalDtype):
            return column.cat.codes.to_numpy().astype(np.int32), column.cat.categories
        codes, uniques = pd.factorize(column)
        return codes.astype(np.int32), pd.Index(uniques)

    def _pieces(self, places: Sequence[list[int] | None]) -> list[Any]:
        """Return the values of a column of each data set, None where it has none."""
        stretches = self.datasets.values()
        return [
            None if place is None else self._strips[place[0]].read(slice(place[1], place[1] + len(stretch)))
            for place, stretch in zip(places, stretches, strict=True)
        ]

    def _column(self, places: Sequence[list[int] | None], rows: np.ndarray | slice | None) -> pd.Series:
        chosen: Any = slice(None) if rows is None else rows
        stretches = self.datasets.values()
        first = places[0]
        plain = first is not None and all(
            place == [first[0], stretch.start] for place, stretch in zip(places, stretches, strict=True)
        )
        if plain and first is not None:  # one strip of all rows
            return pd.Series(self._strips[first[0]].read(chosen))
        column = joined(self._pieces(places), [len(stretch) for stretch in stretches])
        return column.iloc[chosen].reset_index(drop=True) if rows is not None else column

    def _named(self, layer: str) -> str:
        for name in (layer, f"layers/{layer}", f"{layer}/X"):
            if name in self.matrices:
                return name
        raise NotFoundError(f"{self.path}: has no matrix {layer!r}; there are {', '.join(self.matrices)}.")

    def matrix(self, layer: str = "X") -> Matrix:
        """Return a matrix: X, the name of a layer, raw, or of a modality (protein)."""
        name = self._named(layer)
        if name not in self._matrices:
            record = self._manifest["matrices"][name]
            features = self._manifest["spaces"][record["space"]]["features"]
            self._matrices[name] = Matrix(self.path, record, features, self._files)
        return self._matrices[name]

    def rows(self, layer: str = "X") -> Rows:
        """Return a matrix to be read by ranges of cells."""
        return StoreRows(self.matrix(layer), 0, self.shape[0])

    def feature_names(self, layer: str = "X") -> list[str]:
        """Return the names of the features of a matrix."""
        return self._space_names(self._manifest["matrices"][self._named(layer)]["space"])

    def _space_names(self, space: str) -> list[str]:
        record = self._manifest["spaces"][space]
        names = read_lines(self.path, record["file"], self._files[record["file"]]["bytes"])
        if len(names) != record["features"]:
            raise IntegrityError(
                f"{self.path / record['file']}: has {len(names)} names, expected {record['features']}."
            )
        return names

    def feature_type(self, layer: str = "X") -> str:
        """Return what the features of a matrix are: gene, protein, peak."""
        return str(self._manifest["spaces"][self._manifest["matrices"][self._named(layer)]["space"]]["type"])

    @cached_property
    def var(self) -> pd.DataFrame:
        """Return the features of X with what all data sets say alike of them; ``measured`` is what all measured."""
        return self._common_var("")

    def features(self, layer: str = "X") -> pd.DataFrame:
        """Return the features of a matrix with what all data sets say alike of them."""
        space = self._manifest["matrices"][self._named(layer)]["space"]
        return self.var if space == "" else self._common_var(space)

    def _common_var(self, space: str) -> pd.DataFrame:
        """Return the features of a space with the columns that all data sets have alike, as their files' names tell."""
        index = pd.Index(self._space_names(space) if space in self._manifest["spaces"] else [], dtype=object)
        encoded = [var for stretch in self.datasets.values() if (var := _var(self._rest(stretch), space))]
        if not encoded:
            return pd.DataFrame(index=index)
        columns = [dict(one["columns"]) for one in encoded]
        alike = all(one["index"] == encoded[0]["index"] for one in encoded)
        shared = [
            name
            for name in columns[0]
            if all(name in one and (not alike or one[name] == columns[0][name]) for one in columns)
        ]
        measured = all("measured" in one for one in columns)
        wanted = {*shared, "measured"} if measured else set(shared)
        read = encoded if measured or not alike else encoded[:1]
        frames = [self._frame(one, wanted) for one in read]
        frame = frames[0] if alike else _agreed(frames, {*shared} - {"measured"})
        frame = frame.reindex(index)
        if measured:
            frame["measured"] = np.logical_and.reduce([one["measured"].reindex(index).eq(True) for one in frames])
        return frame

    def _frame(self, encoded: dict[str, Any], wanted: set[str]) -> pd.DataFrame:
        columns = [[name, column] for name, column in encoded["columns"] if name in wanted]
        frame: pd.DataFrame = blobs.decode(encoded | {"columns": columns}, self.path)
        return frame[~frame.index.duplicated()]

    def _rest(self, stretch: Stretch) -> dict[str, Any]:
        """Return what is kept of a data set by itself, with its arrays still on disk."""
        return dict(json.loads(blobs.read(self.path, stretch.record["rest"])))

    def gather(  # noqa: PLR0913
        self,
        rows: np.ndarray,
        *,
        layer: str = "X",
        normalize: float | None = None,
        log1p: bool = False,
        genes: Sequence[str] | np.ndarray | None = None,
        out: Buffers | None = None,
        pool: Pool | None = None,
    ) -> sp.csr_matrix:
        """Return any rows, in the order given, as canonical CSR (len(rows), features) of float32.

        ``normalize`` brings each cell's total over all features to that sum, ``log1p`` takes log(1 + x); both are done
        while the values are read. ``genes`` are names or columns, and their order is kept. ``out`` is memory to use
        again: what it returned before is overwritten. ``pool`` are threads that share the rows. Raw values that float32
        does not hold come as float64.
        """
        columns = None if genes is None else self.columns(genes, layer)
        return self.matrix(layer).gather(rows, normalize=normalize, log1p=log1p, columns=columns, out=out, pool=pool)

    def columns(self, genes: Sequence[str] | np.ndarray, layer: str = "X") -> np.ndarray:
        """Return the columns of features by name; GenesError lists those that are not there."""
        asked = np.asarray(genes)
        if asked.dtype.kind in "iu" or not asked.size:
            return asked.astype(np.int64)
        lookup = self._lookup(layer)
        if missing := [str(name) for name in asked if str(name) not in lookup]:
            raise GenesError(f"{self.path}: {len(missing)} features are not there: {', '.join(missing[:5])}.")
        return np.array([lookup[str(name)] for name in asked])

    def _lookup(self, layer: str) -> dict[str, int]:
        name = self._named(layer)
        known: dict[str, dict[str, int]] = self.__dict__.setdefault("_lookups", {})
        if name not in known:
            known[name] = {feature: column for column, feature in enumerate(self.feature_names(name))}
        return known[name]

    def celldata(self, dataset: str | None = None) -> CellData:
        """Return the whole store, or one data set as it was written; matrices stay on disk.

        Of several data sets the whole has what is of all: no uns, and no array in obsm that has several shapes.
        """
        if dataset is not None:
            if dataset not in self.datasets:
                raise NotFoundError(f"{self.path}: has no data set {dataset!r}; there are {', '.join(self.datasets)}.")
            return self._one(self.datasets[dataset])
        if len(self.datasets) == 1:
            return self._one(next(iter(self.datasets.values())))
        modalities = {}
        index = pd.Index(self.obs_names())
        for space in self._manifest["spaces"]:
            if space and space.rpartition("/")[2] != "raw":
                part = CellData(pd.DataFrame(index=index), self._common_var(space))
                modalities[space] = self._filled(part, f"{space}/")
        differing = self.obsm.differing()
        obsm = {name: self.obsm[name] for name in self.obsm if name not in differing}
        return self._filled(CellData(self.obs.frame(), self.var, obsm=obsm, modalities=modalities), "")

    def _filled(self, part: CellData, before: str) -> CellData:
        """Add the matrices of a space to its axes."""
        mine = [name for name in self.matrices if name.startswith(before)]
        layers = {name: self.rows(name) for name in mine if name.startswith(f"{before}layers/")}
        raw = f"{before}raw/X"
        return part.with_(
            X=self.rows(f"{before}X") if f"{before}X" in mine else None,
            layers={name.removeprefix(f"{before}layers/"): rows for name, rows in layers.items()},
            raw=Raw(self.rows(raw), self.features(raw)) if raw in mine else None,
        )

    def _one(self, stretch: Stretch) -> CellData:
        """Return one data set as it was written."""
        rest = blobs.decode(self._rest(stretch), self.path)
        obs = {
            name: pd.Series(self._strips[place[0]].read(slice(place[1], place[1] + len(stretch))))
            for name, place in stretch.record["obs"].items()
        }
        index = pd.Index(obs.pop(INDEX).to_numpy(dtype=object), name=stretch.record["index"])
        obsm = {
            name: self._strips[place[0]].read(slice(place[1], place[1] + len(stretch)))
            for name, place in stretch.record["obsm"].items()
        }
        frame = pd.DataFrame({name: column.set_axis(index) for name, column in obs.items()}, index=index)
        rest[""] |= {"obs": frame, "obsm": obsm | rest[""]["obsm"]}
        parts = {space: self._part(stretch, space, kept) for space, kept in rest.items()}
        return parts.pop("").with_(modalities=parts)

    def _part(self, stretch: Stretch, space: str, kept: dict[str, Any]) -> CellData:
        before = f"{space}/" if space else ""

        def rows(name: str, features: int) -> Rows:
            """Return the columns that the data set has, in its order."""
            matrix = self.matrix(name)
            blob = stretch.record["features"][self._manifest["matrices"][name]["space"]]
            columns = None if blob is None else blobs.load_npy(self.path, blob)
            if columns is None and features < matrix.shape[1]:
                columns = np.arange(features)
            return StoreRows(matrix, stretch.start, stretch.stop, columns)

        layers = [name for name in stretch.matrices if name.startswith(f"{before}layers/")]
        raw = kept.get("raw")
        return CellData(
            obs=kept["obs"],
            var=kept["var"],
            X=rows(f"{before}X", len(kept["var"])) if f"{before}X" in stretch.matrices else None,
            layers={name.removeprefix(f"{before}layers/"): rows(name, len(kept["var"])) for name in layers},
            raw=None if raw is None else Raw(rows(f"{before}raw/X", len(raw["var"])), raw["var"], raw["varm"]),
            **{name: kept[name] for name in ("obsm", "varm", "obsp", "varp", "uns")},
        )

    def verify(self, progress: Progress | None = None) -> list[Finding]:
        """Return a finding for each file whose bytes are not those of the manifest; an empty list is a whole store."""
        findings = []
        for k, (name, record) in enumerate(self._files.items()):
            if digest(self.path / name, record["bytes"]) != record["sha256"]:
                message = (
                    f"its bytes were altered: expected sha256 {record['sha256'][:16]}… of {record['bytes']} bytes."
                )
                findings.append(
                    Finding(str(self.path / name), 0, 0, "STO001", message, "Copy or build the store anew.")
                )
            if progress:
                progress(str(self.path), k + 1, len(self._files))
        for name in sorted(present(self.path) - set(self._files)):
            message = "no manifest names this file: a build was interrupted."
            remedy = "Run the same `cellzoo store build` again."
            findings.append(Finding(str(self.path / name), 0, 0, "STO002", message, remedy, severity="warning"))
        return findings


def _agreed(frames: list[pd.DataFrame], names: set[str]) -> pd.DataFrame:
    """Return tables of features as one, without the named columns that differ for a feature of two tables."""
    differing: set[str] = set()
    whole = frames[0]
    for frame in frames[1:]:
        both = frame.index.intersection(whole.index)
        for name in names - differing:
            pair = [part[name].reindex(both).astype(object) for part in (whole, frame)]
            one, other = (part.where(part.notna(), None).to_numpy() for part in pair)
            if not (one == other).all():
                differing.add(name)
        if len(frame) > len(both):
            whole = pd.concat([whole, frame[~frame.index.isin(whole.index)]])
    return whole.drop(columns=list(differing))


def _var(rest: dict[str, Any], space: str) -> Any:
    """Return the features of a space as a data set keeps them, None where it has none."""
    if space.rpartition("/")[2] != "raw":
        return rest.get(space, {}).get("var")
    return rest.get(space.rpartition("/")[0], {}).get("raw", {}).get("var")
