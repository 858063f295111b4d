"""What the environment decides, read when it is asked for; tokens are read where they are used (`hub.remote`)."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """Return the cache folder: ``CELLZOO_HOME``, else ``$XDG_CACHE_HOME/cellzoo``, else ``~/.cache/cellzoo``."""
    if value := os.environ.get("CELLZOO_HOME"):
        return Path(value).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cellzoo"


def mirror() -> Path | None:
    """Return ``CELLZOO_MIRROR``: a folder of files named by their sha256, looked in before any URL."""
    value = os.environ.get("CELLZOO_MIRROR")
    return Path(value).expanduser() if value else None


def registry() -> str:
    """Return ``CELLZOO_REGISTRY``: folders or ``URL@ref`` of cards, separated by commas; "" for the packaged ones."""
    return os.environ.get("CELLZOO_REGISTRY", "")


def remote() -> str:
    """Return ``CELLZOO_REMOTE``: where models are published and fetched; huggingface.co where unset."""
    return os.environ.get("CELLZOO_REMOTE") or "https://huggingface.co"


def offline() -> bool:
    """Return whether ``CELLZOO_OFFLINE`` forbids network access."""
    return os.environ.get("CELLZOO_OFFLINE", "").lower() in {"1", "true", "yes", "on"}
