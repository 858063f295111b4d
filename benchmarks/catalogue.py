"""How long it takes to list and to search 2,000 cards, beside reading every card again.

The cards are copies of the packaged ones under other names. "cold" is a new process without an index, "new process" one
with it, "warm" a question to an open registry.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import yaml

from cellzoo.registry.catalogue import PACKAGED, open_registry

CARDS = 2_000
QUESTIONS: dict[str, dict[str, str]] = {
    "lung": {"tissue": "lung"},
    "T cell": {"cell_type": "T cell"},
    "T cells of blood, 10x": {"cell_type": "T cell", "tissue": "blood", "assay": "10x technology"},
    "words": {"text": "islet human 2016"},
}


def generate(folder: Path, number: int) -> None:
    datasets = folder / "datasets"
    datasets.mkdir(parents=True)
    cards = sorted((PACKAGED / "datasets").glob("*.yaml"))
    for path in (PACKAGED / "datasets").glob("*.tsv"):
        shutil.copy(path, datasets)
    for at in range(number):
        path = cards[at % len(cards)]
        text = path.read_text(encoding="utf-8").replace(f"id: {path.stem}\n", f"id: copy{at}-{path.stem[:50]}\n", 1)
        (datasets / f"copy{at}-{path.stem[:50]}.yaml").write_text(text, encoding="utf-8")


def shell(*args: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "cellzoo.cli", *args], check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "cards"
        generate(folder, CARDS)
        print(f"{CARDS} cards\n  cold, no index   {shell('datasets', '--json', '--registry', str(folder)):7.2f} s")
        print(f"  new process      {shell('datasets', '--json', '--registry', str(folder)):7.2f} s")
        registry = open_registry(folder)
        registry.records()
        start = time.perf_counter()
        for path in registry.paths.values():
            yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)
        reading = time.perf_counter() - start
        print(f"  every card parsed as YAML (libyaml) {reading:.2f} s; a warm question:")
        for title, wanted in QUESTIONS.items():
            registry.find(**wanted)
            times = []
            for _ in range(20):
                start = time.perf_counter()
                found = registry.find(**wanted)
                times.append(time.perf_counter() - start)
            took = median(times)
            print(f"    {title:24}{len(found):5} found in {took * 1e3:6.2f} ms ({reading / took:,.0f} times faster)")
        print("packaged cards")
        shell("datasets")
        print(f"  cellzoo datasets {median(shell('datasets') for _ in range(5)):7.2f} s")


if __name__ == "__main__":
    main()
