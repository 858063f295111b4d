"""Any number of data sets into a store: streamed, one commit after the other, so that a kill costs little."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import deepcopy
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout

from cellzoo.converters.celldata import CellData
from cellzoo.converters.fetch import Progress
from cellzoo.converters.rows import Rows
from cellzoo.converters.store import blobs
from cellzoo.converters.store.columns import INDEX, ColumnWriter
from cellzoo.converters.store.layout import (
    DATASETS,
    JOURNAL,
    LOCK,
    MANIFEST,
    Files,
    State,
    digest,
    empty_state,
    line,
    named,
    read_lines,
    read_state,
    write_state,
)
from cellzoo.converters.store.matrix import TYPES
from cellzoo.converters.store.matrixwriter import MatrixWriter
from cellzoo.converters.store.store import Store
from cellzoo.errors import CellzooError, GenesError, InputError, NotFoundError, WorldError

Encoding = Literal["hot", "packed"]
Codec = Literal["zstd", "lz4"]
Values = Literal["u8", "u16", "f32", "f64"]
COMMIT = 2**26
"""Bytes of a matrix that are read between two commits."""


def parts(data: CellData) -> dict[str, CellData]:
    """Return space -> data whose var are its features: "" for the data itself, the name of each further modality."""
    return {"": data} | data.modalities


def matrices(data: CellData) -> dict[str, tuple[str, Rows, pd.DataFrame]]:
    """Return name -> (space, values, features) of every matrix."""
    found: dict[str, tuple[str, Rows, pd.DataFrame]] = {}
    for space, part in parts(data).items():
        before = f"{space}/" if space else ""
        if part.X is not None:
            found[f"{before}X"] = space, part.X, part.var
        found |= {f"{before}layers/{name}": (space, rows, part.var) for name, rows in part.layers.items()}
        if part.raw is not None:
            found[f"{before}raw/X"] = f"{before}raw", part.raw.X, part.raw.var
    return found


class StoreWriter:
    """Appends data sets to a store; what was appended is certain once `append` returned, and read once `finish` did."""

    def __init__(
        self,
        path: str | Path,
        *,
        encoding: Encoding = "hot",
        codec: Codec = "zstd",
        values: Values | None = None,
        progress: Progress | None = None,
        commit: int = COMMIT,
    ) -> None:
        self.path = Path(path)
        self.values, self.commit = values, commit
        self.progress = progress or (lambda *_: None)
        if encoding not in {"hot", "packed"} or codec not in {"zstd", "lz4"} or values not in {None, *TYPES} - {"u32"}:
            raise InputError(
                f"a store is hot or packed (zstd, lz4), of u8, u16, f32 or f64; not {encoding} {codec} {values}."
            )
        self._lock = _locked(self.path)
        try:
            self._open(encoding, codec)
        except BaseException:
            self._lock.release()
            raise

    def _open(self, encoding: str, codec: str) -> None:
        """Take up what is there: the journal of an interrupted writer, or the manifest."""
        self._known: dict[str, dict[str, Any]] = {}
        self.partial: State | None = None
        if (self.path / MANIFEST).is_file():
            manifest = read_state(self.path)
            self._known = manifest.pop("files")
            self.state = manifest | {"lengths": {name: file["bytes"] for name, file in self._known.items()}}
        else:
            self.state = empty_state(encoding, codec)
            if not (self.path / JOURNAL).is_file():
                self._journal(None)  # from here on the folder is known as ours
        if (self.path / JOURNAL).is_file():
            journal = read_state(self.path, JOURNAL)
            self.state, self.partial = journal["state"], journal["partial"]
        length = self.state["lengths"].get(DATASETS, 0)
        self._digests: dict[str, str] = {
            record["id"]: record["digest"] for record in read_lines(self.path, DATASETS, length)
        }
        said = self.state["encoding"], self.state["codec"]
        if said != (encoding, codec):
            ours, asked = (kind if kind == "hot" else f"{kind} with {how}" for kind, how in (said, (encoding, codec)))
            raise InputError(f"{self.path}: is {ours}; it cannot go on as {asked}.")
        self._leftover = self.partial is not None
        Files(self.path, (self.partial or {"state": self.state})["state"]["lengths"]).cut()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def holds(self, dataset: str, digest: str) -> bool:
        """Return whether a data set is in the store; InputError where it is there with another digest."""
        known = self._digests.get(dataset)
        if known not in {None, digest}:
            raise InputError(
                f"{self.path}: holds {dataset} with digest {known[:12]}, now it has {digest[:12]}: "
                "the data set changed. A store never mixes the two; build a new one."
            )
        return known is not None

    def append(self, dataset: str, data: CellData, digest: str) -> None:
        """Write a data set behind the others, or what is left of it; one that is there already is skipped."""
        if self.holds(dataset, digest):
            return
        partial, self.partial = self.partial, None
        if partial and (partial["id"], partial["digest"]) == (dataset, digest):
            working, done = partial["state"], partial["done"]
        else:
            working, done = deepcopy(self.state), {}
            if self._leftover:
                Files(self.path, working["lengths"]).cut()
        self._leftover = True
        files = Files(self.path, working["lengths"])
        found = matrices(data)
        _check(dataset, data, found)
        cells, before = len(data.obs), working["cells"]
        maps: dict[str, str | None] = {}
        for name, (space, rows, var) in found.items():
            where = f"{dataset}: {name}"
            column = self._features(working, files, space, var, where)
            maps[space] = None if column is None else files.put(blobs.npy(column), "npy")
            writer = MatrixWriter(working, files, name, space, where)
            writer.prepare(rows, column, self.values if name == "X" else None)
            since = 0
            for stop, taken in writer.write(rows, column, done.get(name, 0)):
                since += taken
                self.progress(where, stop, cells)
                if since >= self.commit and stop < cells:
                    since, done = 0, done | {name: stop}
                    files.sync()
                    self._journal({"id": dataset, "digest": digest, "state": working, "done": done})
            done = done | {name: cells}
        for record in working["matrices"].values():
            MatrixWriter.pad(files, record, before + cells)
        said = {"id": dataset, "digest": digest, "start": before, "stop": before + cells, "matrices": list(found)}
        files.append(DATASETS, line(said | {"features": maps} | _cells(dataset, data, working, files)))
        working["cells"] = before + cells
        files.sync()
        self.state, self._leftover = working, False
        self._journal(None)
        self._digests[dataset] = digest

    def _journal(self, partial: State | None) -> None:
        head = {name: self.state[name] for name in ("format", "version")}
        write_state(self.path, JOURNAL, head | {"state": self.state, "partial": partial})

    def _features(self, working: State, files: Files, space: str, var: pd.DataFrame, where: str) -> np.ndarray | None:
        """Return the column of the store for each feature of a data set, None where they are the same."""
        names = [str(name) for name in var.index]
        if len(set(names)) != len(names):
            twice = var.index[var.index.duplicated()][0]
            raise GenesError(
                f"{where}: has the feature {twice!r} twice. Give each feature one name (var_names_make_unique)."
            )
        if space not in working["spaces"]:
            kind = "gene" if space in {"", "raw"} else space.removesuffix("/raw")
            file = named("features", len(working["spaces"]), space or "X") + ".jsonl"
            working["spaces"][space] = {"type": kind, "file": file, "features": 0}
            files.append(file, b"")
        record = working["spaces"][space]
        known = read_lines(self.path, record["file"], files.lengths.get(record["file"], 0))
        if known == names:
            return None
        lookup = {name: column for column, name in enumerate(known)}
        fresh = [name for name in names if name not in lookup]
        if space == "" and known and (fresh or len(names) != len(known)):
            lost = len(set(known) - set(names))
            raise GenesError(
                f"{where}: lacks {lost} features of the store"
                + (f" and has {len(fresh)} others ({', '.join(fresh[:3])})" if fresh else "")
                + ". All data sets of a store have the same: bring them onto one gene space first; a CELLxGENE file "
                "that cellzoo wrote has its own again after `cellzoo convert --to streamlined`."
            )
        lookup |= {name: len(known) + k for k, name in enumerate(fresh)}
        files.append(record["file"], b"".join(map(line, fresh)))
        record["features"] = len(known) + len(fresh)
        column = np.array([lookup[name] for name in names], np.int32)
        return None if np.array_equal(column, np.arange(record["features"])) else column

    def finish(self) -> Store:
        """Write the manifest and return the store."""
        self.partial = None
        files = Files(self.path, self.state["lengths"])
        files.cut()
        records = {}
        for name, length in sorted(files.lengths.items()):
            known = self._known.get(name)
            same = known is not None and known["bytes"] == length
            records[name] = known if same else {"bytes": length, "sha256": digest(self.path / name, length)}
        manifest = {name: value for name, value in self.state.items() if name != "lengths"} | {"files": records}
        write_state(self.path, MANIFEST, manifest)
        self._known = {name: record for name, record in records.items() if record}
        (self.path / JOURNAL).unlink(missing_ok=True)
        return Store(self.path)


def _check(dataset: str, data: CellData, found: dict[str, tuple[str, Rows, pd.DataFrame]]) -> None:
    """Refuse data whose axes do not fit each other, with all findings."""
    cells = len(data.obs)
    wrong = [
        f"{name} has {rows.shape[0]} cells and {rows.shape[1]} features, expected {cells} and {len(var)}"
        for name, (_, rows, var) in found.items()
        if rows.shape != (cells, len(var))
    ]
    wrong += [f"obsm[{name!r}] has {len(array)} cells" for name, array in data.obsm.items() if array.shape[0] != cells]
    if not cells:
        wrong.append("it has no cells")
    if wrong:
        raise InputError(f"{dataset}: {'; '.join(wrong)}.")


def _cells(dataset: str, data: CellData, working: State, files: Files) -> State:
    """Write columns and arrays of cells and what is kept for the data set alone; return where they are."""
    columns = ColumnWriter(working, files)
    names = data.obs.index.to_series().astype(object)
    obs = {INDEX: columns.append(f"obs/{INDEX}", names, f"{dataset}: names of cells")}
    for name in data.obs:
        obs[str(name)] = columns.append(f"obs/{name}", data.obs[name], f"{dataset}: obs[{name!r}]")
    dense = {name: array for name, array in data.obsm.items() if isinstance(array, np.ndarray)}
    obsm = {name: columns.append(f"obsm/{name}", array, f"{dataset}: obsm[{name!r}]") for name, array in dense.items()}
    rest = blobs.dumps(blobs.encode(_rest(data, set(dense)), files.put, dataset))
    return {"obs": obs, "index": data.obs.index.name, "obsm": obsm, "rest": files.put(rest, "json")}


def _rest(data: CellData, dense: set[str]) -> dict[str, Any]:
    """Return what is kept for each data set by itself."""
    rest: dict[str, Any] = {}
    for space, part in parts(data).items():
        kept = {"var": part.var, "varm": part.varm, "varp": part.varp, "uns": part.uns, "obsp": part.obsp}
        kept["obsm"] = {name: array for name, array in part.obsm.items() if space or name not in dense}
        if part.raw is not None:
            kept |= {"raw": {"var": part.raw.var, "varm": part.raw.varm}}
        if space:
            kept |= {"obs": part.obs}
        rest[space] = kept
    return rest


def _locked(path: Path) -> FileLock:
    """Return the lock of a folder that is empty or a store; InputError for any other, WorldError while it is taken."""
    if path.exists() and not path.is_dir():
        raise InputError(f"{path}: is a file; a store is a folder.")
    ours = {MANIFEST, JOURNAL, LOCK, f"{JOURNAL}.new"}
    there = {file.name for file in path.iterdir()} if path.is_dir() else set()
    if there - ours and not there & {MANIFEST, JOURNAL}:
        raise InputError(
            f"{path}: is a folder with other things in it ({sorted(there - ours)[0]}), no store. Choose another."
        )
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path / LOCK)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise WorldError(f"{path}: another process is writing to it. Wait until it is done.") from error
    except OSError as error:
        raise WorldError(f"{path}: cannot be written: {error.strerror or error}. Choose another path.") from error
    return lock


def build(
    path: str | Path,
    items: Iterable[tuple[str, str, Callable[[], CellData]]],
    progress: Progress | None = None,
    failed: Callable[[str, CellzooError], None] | None = None,
    **options: Any,
) -> Store:
    """Write data sets (id, digest, what opens it) into a store and return it; those it holds already are not opened.

    An interrupted build goes on where it was, to the same bytes. Options are those of `StoreWriter`. With ``failed`` a
    data set that cannot be used is told to it and left out; without, and where the disk fails, nothing more is written.
    """
    with StoreWriter(path, progress=progress, **options) as writer:
        for dataset, digest, opened in items:
            try:
                if not writer.holds(dataset, digest):
                    writer.append(dataset, opened(), digest)
            except (InputError, NotFoundError) as error:
                if failed is None:
                    raise
                failed(dataset, error)
        return writer.finish()
