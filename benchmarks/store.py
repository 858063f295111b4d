"""The store beside what users have now: mini-batches, ingest, size, and normalization, on the same cells in one run.

Data: synthetic cells x 20,000 genes with about 2,400 non-zeros a cell, kept in --folder between runs. The unit is cells
a CPU-second (all threads of the process) and cells a second; a ratio is ours over theirs. Baselines that would take too
long see fewer batches or fewer cells, as their line says. annbatch needs Python 3.12 and runs in an environment of its
own, made in --folder. Run: python benchmarks/store.py [--cells 100000] [--folder DIR] [--only loaders,ingest,…]
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import anndata
import h5py
import numpy as np
from synthetic import synthetic  # type: ignore[import-not-found]

from cellzoo.converters.h5ad import open_h5ad, write_group, write_h5ad
from cellzoo.converters.rows import blocks
from cellzoo.converters.store import Store, build
from cellzoo.converters.store.batches import Batches
from cellzoo.converters.store.sampling import Blocks, Plan, Random, Sequential

GENES, MOLECULES, SIZE = 20_000, 5_700, 512
OURS, PACKED = "store hot, true random", "store packed, blocks 256 x 32"
REUSED = f"{OURS}, memory used again"
NORMALIZED, IN_ORDER = "read + normalize + log1p, true random", "read + normalize + log1p, in order"
BY_TWO = f"{IN_ORDER}, 2 threads"
SMALL = 20_000
"""Cells for what takes minutes with more: SOMA, gzip, scanpy."""
README, DEFAULT, TRUE_RANDOM = "32:256", "512:32", "1:512"
ANNBATCH = [README, DEFAULT, "256:32", "1024:8", TRUE_RANDOM]
"""Chunk size and chunks in memory: what the README of annbatch 0.3 says, what its `Loader` takes by default, others."""


class Time(NamedTuple):
    """How long some cells took."""

    cells: int
    """How many."""
    cpu: float
    """CPU seconds of all threads."""
    wall: float
    """Seconds."""


def timed(work: Callable[[], int]) -> Time:
    """Return how long `work` takes, which says how many cells it worked on."""
    cpu, wall = time.process_time(), time.perf_counter()
    cells = work()
    return Time(cells, time.process_time() - cpu, time.perf_counter() - wall)


def loop(batches: Iterable[Any], most: int, size: Callable[[Any], int]) -> Time:
    """Return how long the first batches of an epoch take, after two of another that pay for opening and compiling."""
    list(islice(batches, 2))
    return timed(lambda: sum(size(batch) for batch in islice(batches, most)))


def epoch(batches: Batches, most: int) -> Time:
    """Return how long the first batches of an epoch of ours take, its order included."""
    list(islice(batches, 2))
    batches.set_epoch(batches.plan.epoch + 1)
    return timed(lambda: sum(len(batch.rows) for batch in islice(batches, most)))


class Bench:
    """The files of a run, the times of every method, and what is claimed of them."""

    def __init__(self, folder: Path, cells: int) -> None:
        self.folder, self.cells, self.small = folder, cells, min(SMALL, cells)
        self.times: dict[str, tuple[Time, str]] = {}
        self.ratios: list[tuple[str, str, dict[str, float | None]]] = []
        self.lines: list[str] = []

    def add(self, name: str, took: Time, note: str = "") -> None:
        """Keep a time and show it at once."""
        self.times[name] = took, note
        rates = f"{took.cells / max(took.cpu, 1e-9):12,.0f} {took.cells / max(took.wall, 1e-9):12,.0f}"
        print(f"{name:44s}{rates}   {took.cells:9,d} {note}", flush=True)

    def claim(self, ours: str, theirs: str, *, cpu: float | None = None, wall: float | None = None) -> None:
        """Show the ratios of CPU and wall time at the end, with what was aimed at."""
        if ours in self.times and theirs in self.times:
            self.ratios.append((ours, theirs, {"cpu": cpu, "wall": wall}))

    def h5ad(self, cells: int) -> Path:
        """Return the cells as h5ad without compression, as most are while one works with them."""
        path = self.folder / f"cells-{cells}.h5ad"
        if not path.exists():
            data = synthetic(cells, GENES, MOLECULES)
            with h5py.File(path.with_suffix(".part"), "w") as file:
                write_group(data.with_(X=None), file)
                _write_plain(file.create_group("X"), data.X, cells)
            path.with_suffix(".part").rename(path)
        return path

    def store(self, encoding: str, cells: int) -> Store:
        """Return the cells as a store of ours, and keep the time where it had to be written."""
        path = self.folder / f"cells-{cells}.{encoding}.store"
        if not path.exists():
            source = self.h5ad(cells)

            def ingest() -> int:
                build(path, [("synthetic", "0" * 64, lambda: open_h5ad(source))], encoding=encoding)
                return cells

            self.add(f"ingest h5ad -> store, {encoding}", timed(ingest))
        return Store(path)

    def report(self) -> None:
        """Print ratios beside what was asked for."""
        print(f"\n{'ours / theirs':76s}{'CPU':>8s}{'wall':>8s}")
        for ours, theirs, targets in self.ratios:
            (mine, _), (other, _) = self.times[ours], self.times[theirs]
            ratios = {
                "cpu": (mine.cells / mine.cpu) / (other.cells / other.cpu),
                "wall": (mine.cells / mine.wall) / (other.cells / other.wall),
            }
            verdict = "; ".join(
                f"{name} {'at least' if ratios[name] >= target else 'BELOW'} {target}"
                for name, target in targets.items()
                if target
            )
            print(f"{ours + ' / ' + theirs:76s}{ratios['cpu']:8.1f}{ratios['wall']:8.1f}  {verdict}")
        print("\n".join(self.lines))


def loaders(bench: Bench) -> None:
    """Random mini-batches of 512 cells as CSR."""
    hot, packed = bench.store("hot", bench.cells), bench.store("packed", bench.cells)
    most = bench.cells // SIZE
    random, blocks = Random(bench.cells, SIZE), Blocks(bench.cells, SIZE)
    ways: list[tuple[str, Store, Plan, dict[str, Any], int]] = [
        (OURS, hot, random, {}, most),
        (REUSED, hot, random, {"reuse": True}, most),
        (f"{OURS}, 2 threads", hot, random, {"threads": 2}, most),
        (f"{REUSED}, 2 threads", hot, random, {"threads": 2, "reuse": True}, most),
        ("store hot, blocks 256 x 32", hot, blocks, {}, most),
        (PACKED, packed, blocks, {}, most),
        (f"{PACKED}, 2 threads", packed, blocks, {"threads": 2}, most),
        ("store packed, true random", packed, random, {}, 20),
    ]
    for name, store, plan, settings, some in ways:
        times = [epoch(Batches(store, plan, obs=["cell_type"], **settings), some) for _ in range(5)]
        bench.add(name, min(times, key=lambda took: took.cpu))
    annbatch(bench, most)
    scdataset(bench)
    annloader(bench)
    tiledb(bench)
    targets = {"annbatch as in its README": 15, "annbatch best": 8, "AnnLoader, backed h5ad": 50, "tiledbsoma_ml": 100}
    if "annbatch best" not in bench.times:
        targets["scDataset"] = 15
    for theirs in (*targets, "annbatch default", "scDataset"):
        bench.claim(OURS, theirs)
        bench.claim(REUSED, theirs, cpu=targets.get(theirs))
        bench.claim(f"{REUSED}, 2 threads", theirs, wall=targets.get(theirs))
    for theirs in ("annbatch as in its README", "annbatch default", "annbatch best"):
        bench.claim(f"{PACKED}, 2 threads", theirs)


def annbatch(bench: Bench, most: int) -> None:
    """Time annbatch in an environment of its own; without Python 3.12 only say so."""
    python = _python_of_annbatch(bench.folder)
    if python is None:
        print("annbatch: no Python >= 3.12 that it installs into; scDataset stands in for it", flush=True)
        return
    script, store = Path(__file__).with_name("annbatch_loader.py"), bench.folder / f"cells-{bench.cells}.annbatch"
    command = [str(python), str(script), str(bench.h5ad(bench.cells)), str(store), str(most), *ANNBATCH]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"annbatch: failed: {done.stderr.strip().splitlines()[-1]}", flush=True)
        return
    times = {name: Time(*took) for name, took in json.loads(done.stdout).items()}
    if "write" in times:
        bench.add("ingest h5ad -> annbatch", times.pop("write"))
    best = min((name for name in times if name != TRUE_RANDOM), key=lambda name: times[name].cpu / times[name].cells)
    for name, took in times.items():
        bench.add(
            f"annbatch {name.replace(':', ' x ')}", took, "true random, 10 batches" if name == TRUE_RANDOM else ""
        )
    bench.add("annbatch as in its README", times[README], README.replace(":", " x "))
    bench.add("annbatch default", times[DEFAULT], DEFAULT.replace(":", " x "))
    bench.add("annbatch best", times[best], best.replace(":", " x "))


def scdataset(bench: Bench) -> None:
    """Time scDataset with its default blocks on the backed h5ad."""
    from scdataset import BlockShuffling, scDataset

    cells = anndata.read_h5ad(bench.h5ad(bench.cells), backed="r")
    dataset = scDataset(
        cells,
        BlockShuffling(block_size=16),
        batch_size=SIZE,
        fetch_factor=16,
        fetch_transform=lambda part: part.to_memory(),
    )
    bench.add("scDataset", loop(dataset, 64, lambda batch: batch.shape[0]), "block 16, fetch 16, 64 batches")


def annloader(bench: Bench) -> None:
    """Time AnnLoader, true random on the backed h5ad."""
    from anndata.experimental import AnnLoader

    cells = anndata.read_h5ad(bench.h5ad(bench.cells), backed="r")
    loader = AnnLoader(cells, batch_size=SIZE, shuffle=True)
    bench.add("AnnLoader, backed h5ad", loop(loader, 10, lambda batch: batch.X.shape[0]), "10 batches")


def tiledb(bench: Bench) -> None:
    """Time tiledbsoma_ml with its default shuffling."""
    import tiledbsoma
    from tiledbsoma_ml import ExperimentDataset

    uri = soma(bench, bench.cells)
    with tiledbsoma.Experiment.open(uri) as experiment, experiment.axis_query("RNA") as query:
        reading: dict[str, Any] = {"layer_name": "data", "batch_size": SIZE, "seed": 0, "return_sparse_X": True}
        dataset = ExperimentDataset(query, **reading)  # type: ignore[arg-type]
        took = loop(dataset, bench.cells // SIZE, lambda batch: batch[0].shape[0])
    bench.add("tiledbsoma_ml", took)


def soma(bench: Bench, cells: int) -> str:
    """Return the SOMA of so many cells, and keep the time where it had to be written."""
    import tiledbsoma.io

    path = bench.folder / f"cells-{cells}.soma"
    if not path.exists():
        source = bench.h5ad(cells)

        def ingest() -> int:
            tiledbsoma.io.from_h5ad(str(path), str(source), "RNA")
            return cells

        bench.add("ingest h5ad -> tiledbsoma", timed(ingest), f"{cells:,} cells")
    return str(path)


def ingest(bench: Bench) -> None:
    """Into the store from h5ad, beside tiledbsoma; loops are compiled once for a machine, which is not timed."""
    with tempfile.TemporaryDirectory(dir=bench.folder) as scratch:
        few = synthetic(64, GENES, MOLECULES)
        for name in ("packed", "hot"):
            build(Path(scratch) / name, [("few", "0" * 64, lambda: few)], encoding=name)
    for cells, name in ((bench.small, "packed"), (bench.small, "hot")):
        shutil.rmtree(bench.folder / f"cells-{cells}.{name}.store", ignore_errors=True)
        bench.store(name, cells)
    shutil.rmtree(bench.folder / f"cells-{bench.small}.soma", ignore_errors=True)
    soma(bench, bench.small)
    for name in ("hot", "packed"):
        bench.claim(f"ingest h5ad -> store, {name}", "ingest h5ad -> tiledbsoma", cpu=25, wall=25)


def size(bench: Bench) -> None:
    """Bytes of a non-zero on disk."""
    stores = {name: bench.store(name, bench.small) for name in ("hot", "packed")}
    count = stores["hot"].matrix("X").nnz
    whole = _gzip(bench).stat().st_size
    bench.lines.append(f"\nbytes a non-zero, {bench.small:,} cells: gzip h5ad {whole / count:.2f}")
    for name, store in stores.items():
        own = sum(path.stat().st_size for path in store.path.rglob("*") if path.is_file())
        aim = " (target 0.50)" if name == "packed" else ""
        bench.lines.append(f"  store {name}: {own / count:.2f}, {own / whole:.2f} of gzip h5ad{aim}")


def normalization(bench: Bench) -> None:
    """Read, scale to 10,000 a cell and log1p in one pass, beside scanpy on cells in memory and in files.

    scanpy is warm: its own loops are compiled and it has run once.
    """
    store = bench.store("hot", bench.small)
    random, in_order = Random(bench.small, SIZE), Sequential(bench.small, SIZE)
    for name, plan, threads in ((NORMALIZED, random, 1), (IN_ORDER, in_order, 1), (BY_TWO, in_order, 2)):
        batches = Batches(store, plan, normalize=1e4, log1p=True, reuse=True, threads=threads)
        bench.add(name, min((epoch(batches, 1000) for _ in range(5)), key=lambda took: took.cpu), "memory used again")
    whole = anndata.read_h5ad(bench.h5ad(bench.small))
    _log_normalized(whole[:64].copy())
    runs = [timed(partial(_log_normalized, copy)) for copy in (whole.copy(), whole.copy(), whole.copy())]
    bench.add("scanpy, cells in memory", min(runs, key=lambda took: took.cpu))
    for name, path in (("h5ad", bench.h5ad(bench.small)), ("gzip h5ad", _gzip(bench))):
        runs = [timed(partial(_from_file, path)) for _ in range(3)]
        bench.add(f"scanpy, from {name}", min(runs, key=lambda took: took.cpu))
    for theirs, target in (
        ("scanpy, cells in memory", None),
        ("scanpy, from h5ad", 10),
        ("scanpy, from gzip h5ad", 10),
    ):
        bench.claim(NORMALIZED, theirs)
        bench.claim(IN_ORDER, theirs, cpu=target)
        bench.claim(BY_TWO, theirs, wall=target)


def _from_file(path: Path) -> int:
    return _log_normalized(anndata.read_h5ad(path))


def _log_normalized(cells: anndata.AnnData) -> int:
    import scanpy

    scanpy.pp.normalize_total(cells, target_sum=1e4)
    scanpy.pp.log1p(cells)
    return int(cells.n_obs)


def _gzip(bench: Bench) -> Path:
    path = bench.folder / f"cells-{bench.small}.gzip.h5ad"
    if not path.exists():
        write_h5ad(open_h5ad(bench.h5ad(bench.small)), path)
    return path


def _write_plain(node: h5py.Group, rows: Any, cells: int) -> None:
    node.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0"})
    node.attrs["shape"] = np.array(rows.shape, dtype=np.int64)
    kinds = {"data": np.float32, "indices": np.int32}
    parts = {
        name: node.create_dataset(name, (0,), dtype=kind, maxshape=(None,), chunks=(2**20,))
        for name, kind in kinds.items()
    }
    ends = [np.zeros(1, np.int64)]
    for _, block in blocks(rows):
        filled = int(ends[-1][-1])
        for name, part in parts.items():
            part.resize((filled + block.nnz,))
            part[filled:] = getattr(block, name)
        ends.append(filled + block.indptr[1:].astype(np.int64))
    node.create_dataset("indptr", data=np.concatenate(ends))


def _python_of_annbatch(folder: Path) -> Path | None:
    python = folder / "annbatch-env" / "bin" / "python"
    if python.exists():
        return python
    found = [sys.executable] if sys.version_info >= (3, 12) else []
    found += [path for name in ("python3.13", "python3.12") if (path := shutil.which(name))]
    found += map(str, sorted(Path.home().glob(".pyenv/versions/3.1[23].*/bin/python")))
    for base in found:
        shutil.rmtree(python.parents[1], ignore_errors=True)
        made = subprocess.run([base, "-m", "venv", python.parents[1]], capture_output=True, check=False)
        pip = [str(python), "-m", "pip", "install", "--quiet", "annbatch>=0.3", "zarrs"]
        if not made.returncode and not subprocess.run(pip, capture_output=True, check=False).returncode:
            return python
    shutil.rmtree(python.parents[1], ignore_errors=True)
    return None


PARTS: dict[str, Callable[[Bench], None]] = {
    "ingest": ingest,
    "loaders": loaders,
    "normalization": normalization,
    "size": size,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the times and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "cellzoo-bench")
    parser.add_argument("--only", default=",".join(PARTS), help=f"some of {', '.join(PARTS)}")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    options.folder.mkdir(parents=True, exist_ok=True)
    bench = Bench(options.folder, options.cells)
    bench.h5ad(bench.cells), bench.h5ad(bench.small)
    print(f"{'':44s}{'cells/CPU-s':>12s} {'cells/s':>12s}   {'cells':>9s}")
    for part in options.only.split(","):
        PARTS[part](bench)
    bench.report()


if __name__ == "__main__":
    main()
