"""How long a user waits for the first sign of life: cold start of the package, the CLI, the catalogue and the check.

Each command is a fresh process; the best of seven runs is shown beside the imports a user would otherwise begin with.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time

from cellzoo.registry.catalogue import PACKAGED

CARD = str(PACKAGED / "datasets" / "tenx-pbmc3k.yaml")
NO_INDEX = "cellzoo datasets, no index"

COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import cellzoo": [sys.executable, "-c", "import cellzoo"],
    "cellzoo --help": [sys.executable, "-m", "cellzoo.cli", "--help"],
    NO_INDEX: [sys.executable, "-m", "cellzoo.cli", "datasets"],
    "cellzoo datasets": [sys.executable, "-m", "cellzoo.cli", "datasets"],
    "cellzoo check CARD": [sys.executable, "-m", "cellzoo.cli", "check", CARD],
    "cellzoo check": [sys.executable, "-m", "cellzoo.cli", "check"],
    "import anndata": [sys.executable, "-c", "import anndata"],
    "import celltypist": [sys.executable, "-c", "import celltypist"],
}
RUNS = 7


def main() -> None:
    """Print the best time of each command."""
    for name, command in COMMANDS.items():
        times = []
        for _ in range(RUNS):
            with tempfile.TemporaryDirectory() as home:
                environment = {**os.environ, **({"CELLZOO_HOME": home} if name == NO_INDEX else {})}
                start = time.perf_counter()
                subprocess.run(command, check=True, capture_output=True, env=environment)
                times.append(time.perf_counter() - start)
        print(f"{name:26s} {min(times):6.2f} s")


if __name__ == "__main__":
    main()
