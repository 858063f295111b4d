"""The files of a release, by name: what there is, what is pinned, what is refused."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from cellzoo.errors import IntegrityError

WEIGHTS, CONFIG, GENES, LABELS = "model.safetensors", "config.json", "genes.parquet", "labels.json"
LOCK, METRICS, SMOKE, README = "data.lock.yaml", "metrics.json", "smoke.safetensors", "README.md"

REQUIRED = (WEIGHTS, CONFIG)
PINNED = (WEIGHTS, GENES, LABELS, LOCK, METRICS, SMOKE)
"""Every file that the config pins by sha256; an embedding has no labels."""
RELEASE_FILES = (*PINNED, CONFIG, README)
"""The only files that a release has; nothing else is ever sent or fetched."""

_DANGEROUS = re.compile(
    r"\.(?:pkl|pickle|dill|joblib|cloudpickle|pt|pth|bin|ckpt|np[yz]"  # may hold a pickle
    r"|h5|hdf5|keras|pb"  # may hold Python or graph code
    r"|py[cdow]?|ipynb|so|dll|dylib|sh|bat|exe|jar)(?:\.|$)",  # is code
    re.IGNORECASE,
)


def refuse_code(where: str, paths: Iterable[str]) -> None:
    """Refuse a release with files that could run code when they are loaded, naming them."""
    if found := sorted(path for path in paths if _DANGEROUS.search(PurePosixPath(path).name)):
        raise IntegrityError(
            f"{where}: {', '.join(found)} could run code when loaded; a release holds only {', '.join(RELEASE_FILES)}."
            " Ask its authors for a release without"
        )
