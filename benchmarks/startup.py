"""How long a user waits for the first sign of life: cold start of the package, the CLI and the catalogue.

Each command is a fresh process; the best of seven runs is shown beside the imports a user would otherwise begin with.
"""

from __future__ import annotations

import subprocess
import sys
import time

COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import cellzoo": [sys.executable, "-c", "import cellzoo"],
    "cellzoo --help": [sys.executable, "-m", "cellzoo.cli", "--help"],
    "cellzoo datasets": [sys.executable, "-m", "cellzoo.cli", "datasets"],
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
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            times.append(time.perf_counter() - start)
        print(f"{name:20s} {min(times):6.2f} s")


if __name__ == "__main__":
    main()
