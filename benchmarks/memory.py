"""How much memory a million cells take: into a store, an epoch of random mini-batches, a slice out of it.

Each step is a process of its own. Its peak is shown three ways, beyond a Python that does nothing: what the process
holds itself (RssAnon, sampled every 10 ms: what has to fit into memory), the pages of files it has mapped at once
(RssFile: page cache that the kernel takes back when it needs room), and both together as the kernel counted it (VmHWM).
Run: python benchmarks/memory.py [--cells 1000000] [--encoding packed|hot] [--folder DIR]
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

GENES, MOLECULES, SIZE, LIMIT = 20_000, 1_600, 512, 2000


def status(field: str) -> float:
    """Return a field of the process's status in MB."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    return 0.0


def generate(folder: Path, cells: int, encoding: str) -> int:
    """Only compute the cells: what the generator itself takes."""
    from synthetic import synthetic  # type: ignore[import-not-found]

    from cellzoo.converters.rows import blocks

    return sum(block.shape[0] for _, block in blocks(synthetic(cells, GENES, MOLECULES).X))


def ingest(folder: Path, cells: int, encoding: str) -> int:
    """Compute them into a store."""
    from synthetic import synthetic

    from cellzoo.converters.store import build

    build(folder / "store", [("synthetic", "0" * 64, lambda: synthetic(cells, GENES, MOLECULES))], encoding=encoding)
    return cells


def epoch(folder: Path, cells: int, encoding: str) -> int:
    """Read all of them once in random mini-batches: true random from a hot store, mixed blocks from a packed one."""
    from cellzoo.converters.store import Store
    from cellzoo.converters.store.batches import Batches
    from cellzoo.converters.store.sampling import Blocks, Random

    plan = Random(cells, SIZE) if encoding == "hot" else Blocks(cells, SIZE)
    return sum(len(batch.rows) for batch in Batches(Store(folder / "store"), plan, obs=["cell_type"]))


def export(folder: Path, cells: int, encoding: str) -> int:
    """Write every tenth cell as h5ad."""
    import numpy as np

    from cellzoo.converters.h5ad import write_h5ad
    from cellzoo.converters.store import Store
    from cellzoo.converters.store.handout import select

    part = np.arange(0, cells, 10)
    write_h5ad(select(Store(folder / "store"), rows=part), folder / "slice.h5ad")
    return len(part)


def export_zarr(folder: Path, cells: int, encoding: str) -> int:
    """Write a tenth of them, one after the other, as Zarr."""
    import numpy as np

    from cellzoo.converters.store import Store
    from cellzoo.converters.store.handout import select, write_zarr

    part = np.arange(cells // 2, cells // 2 + cells // 10)
    write_zarr(select(Store(folder / "store"), rows=part), folder / "slice.zarr")
    return len(part)


def parquet(folder: Path, cells: int, encoding: str) -> int:
    """Write a tenth of them as a Hugging Face data set."""
    import numpy as np

    from cellzoo.converters.store import Store
    from cellzoo.converters.store.handout import select
    from cellzoo.converters.store.huggingface import write_dataset

    part = np.arange(cells // 2, cells // 2 + cells // 10)
    write_dataset(select(Store(folder / "store"), rows=part), folder / "slice.parquet")
    return len(part)


STEPS: dict[str, Callable[[Path, int, str], int]] = {
    "generate": generate,
    "ingest": ingest,
    "epoch": epoch,
    "export": export,
    "zarr": export_zarr,
    "parquet": parquet,
}


def measure(step: str, folder: Path, cells: int, encoding: str) -> dict[str, float]:
    """Run a step in this process and return cells, seconds and peaks in MB."""
    empty, peaks = {name: status(name) for name in ("RssAnon", "RssFile", "VmHWM")}, {"RssAnon": 0.0, "RssFile": 0.0}
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            for name, peak in list(peaks.items()):
                peaks[name] = max(peak, status(name))

    watching = threading.Thread(target=watch)
    watching.start()
    wall, cpu = time.perf_counter(), time.process_time()
    handled = STEPS[step](folder, cells, encoding)
    took = {"cells": handled, "wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    done.set()
    watching.join()
    peaks["VmHWM"] = status("VmHWM")
    return took | {name: peaks[name] - empty[name] for name in peaks}


def main() -> None:
    """Print the peaks of each step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=1_000_000)
    parser.add_argument("--encoding", choices=["hot", "packed"], default="packed")
    parser.add_argument("--folder", type=Path, help="where to put the files, by default a temporary folder")
    parser.add_argument("--step", choices=list(STEPS), help="run one step in this process and print JSON")
    options = parser.parse_args()
    if options.step:
        json.dump(measure(options.step, options.folder, options.cells, options.encoding), sys.stdout)
        return
    folder = Path(tempfile.mkdtemp(dir=options.folder, prefix="cellzoo-memory-"))
    print(f"{options.cells:,} cells x {GENES:,} genes, {options.encoding} store; MB beyond a Python that does nothing")
    print(f"{'step':10s}{'cells':>11s}{'seconds':>9s}{'CPU':>8s}", end="")
    print(f"{'own (RssAnon)':>15s}{'mapped (RssFile)':>18s}{'both (VmHWM)':>14s}")
    try:
        for step in STEPS:
            command = [sys.executable, __file__, "--step", step, "--folder", str(folder)]
            command += ["--cells", str(options.cells), "--encoding", options.encoding]
            found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
            own, mapped, both = (found[name] for name in ("RssAnon", "RssFile", "VmHWM"))
            verdict = "" if own < LIMIT else f"  above {LIMIT} MB"
            print(
                f"{step:10s}{found['cells']:11,.0f}{found['wall']:9.1f}{found['cpu']:8.1f}"
                f"{own:15,.0f}{mapped:18,.0f}{both:14,.0f}{verdict}",
                flush=True,
            )
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
