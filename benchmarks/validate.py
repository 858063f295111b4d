"""Validation of a file of 100,000 cells: this package and the official validator, each in a warm process of its own.

The file is made here: 20,000 human genes, about 500 counts a cell, counts in raw and normalized values in X, compressed
as the files of CELLxGENE are. CELLZOO_ORACLE names an environment that has cellxgene-schema; without it one is made.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellzoo.ci.oracle import Oracle
from cellzoo.converters.celldata import CellData, Raw
from cellzoo.converters.h5ad import write_h5ad
from cellzoo.registry.genetable import default_table

CELLS, GENES, COUNTS = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000, 20_000, 500
HUMAN = "NCBITaxon:9606"
NATIVE = """
import json, sys, time
from pathlib import Path
from cellzoo.converters.validate.check import validate
for line in sys.stdin:
    start = time.perf_counter()
    found = validate(Path(line.strip()))
    seconds = time.perf_counter() - start
    print(json.dumps([not any(one.severity == "error" for one in found), seconds]), flush=True)
"""


class Made:
    """Counts that are drawn when they are read, the same each time."""

    def __init__(self, cells: int, normalized: bool) -> None:
        self.shape, self.dtype = (cells, GENES), np.dtype(np.float32)
        self.normalized = normalized
        odds = np.random.default_rng(0).lognormal(0, 2, GENES)
        self.cumulative = np.cumsum(odds / odds.sum())

    def read(self, start: int, stop: int) -> sp.csr_matrix:
        """Return those cells."""
        rows = [self.cell(number) for number in range(start, stop)]
        ends = np.concatenate([[0], np.cumsum([len(genes) for genes, _ in rows])])
        genes, values = (np.concatenate(parts) for parts in zip(*rows, strict=True))
        return sp.csr_matrix((values, genes, ends), shape=(stop - start, GENES))

    def cell(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the genes of one cell and their counts, or their normalized values."""
        drawn = np.searchsorted(self.cumulative, np.random.default_rng(number).random(COUNTS * 2))
        genes, counts = np.unique(np.minimum(drawn, GENES - 1), return_counts=True)
        values = np.log1p(counts / counts.sum() * 1e4) if self.normalized else counts
        return genes.astype(np.int32), values.astype(np.float32)


def make(path: Path, cells: int) -> Path:
    """Write a valid file and return its path."""
    table = default_table(HUMAN)
    genes = [gene for gene, _, _ in table.genes[:GENES]] if table else []
    texts = {
        **{"assay_ontology_term_id": "EFO:0009899", "development_stage_ontology_term_id": "HsapDv:0000258"},
        **{"disease_ontology_term_id": "PATO:0000461", "self_reported_ethnicity_ontology_term_id": "unknown"},
        **{"sex_ontology_term_id": "PATO:0000383", "tissue_ontology_term_id": "UBERON:0002048"},
        **{"suspension_type": "cell", "tissue_type": "tissue"},
    }
    random = np.random.default_rng(0)
    obs = pd.DataFrame(index=[f"AAACCTGAGAAACCAT-{number}" for number in range(cells)])
    for name, text in texts.items():
        obs[name] = pd.Categorical([text] * cells)
    types = np.array(["CL:0000084", "CL:0000236", "CL:0000576", "unknown"], object)
    obs["cell_type_ontology_term_id"] = pd.Categorical(types[random.integers(4, size=cells)])
    obs["donor_id"] = pd.Categorical([f"D{number}" for number in random.integers(40, size=cells)])
    obs["is_primary_data"] = True
    data = CellData(
        obs=obs,
        var=pd.DataFrame({"feature_is_filtered": np.zeros(len(genes), bool)}, index=genes),
        X=Made(cells, True),
        raw=Raw(Made(cells, False), pd.DataFrame(index=genes)),
        obsm={"X_umap": random.normal(size=(cells, 2)).astype(np.float32)},
        uns={"title": "Made", "organism_ontology_term_id": HUMAN},
    )
    return write_h5ad(data, path)


def timed(ask: Callable[[Path], Any], path: Path) -> tuple[Any, float]:
    """Return an answer and the seconds it took."""
    start = time.perf_counter()
    return ask(path), time.perf_counter() - start


def peak_bytes(pid: int) -> int:
    """Return the most memory a process has taken since it started its program (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has taken (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Print seconds, memory and their ratios."""
    with tempfile.TemporaryDirectory() as folder:
        small, large = (make(Path(folder, f"{cells}.h5ad"), cells) for cells in (1_000, CELLS))
        print(f"{CELLS:,} cells x {GENES:,} genes, {large.stat().st_size / 1e6:.0f} MB")
        with subprocess.Popen(
            [sys.executable, "-c", NATIVE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as native:
            if native.stdin is None or native.stdout is None:
                raise SystemExit("no pipes")
            for path in (small, large):
                before = cpu_seconds(native.pid)
                native.stdin.write(f"{path}\n")
                native.stdin.flush()
                ok, seconds = json.loads(native.stdout.readline())
            cpu, peak = cpu_seconds(native.pid) - before, peak_bytes(native.pid)
            native.stdin.close()
        with Oracle() as oracle:
            oracle.validate(small)
            before = cpu_seconds(oracle.pid)
            verdict, official = timed(oracle.validate, large)
            busy, most = cpu_seconds(oracle.pid) - before, peak_bytes(oracle.pid)
        print(f"{'':24}{'valid':>8}{'seconds':>10}{'CPU s':>10}{'peak MB':>10}")
        for name, row in {
            "cellxgene-schema 7.1.2": (verdict.ok, official, busy, most / 1e6),
            "cellzoo": (ok, seconds, cpu, peak / 1e6),
            "ratio": ("", official / seconds, busy / cpu, most / peak),
        }.items():
            print(f"{name:24}{row[0]!s:>8}" + "".join(f"{number:10.1f}" for number in row[1:]))


if __name__ == "__main__":
    main()
