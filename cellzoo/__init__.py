"""cellzoo: a data zoo and a model zoo for single-cell genomics."""

from __future__ import annotations

from importlib.metadata import version

__version__ = version("cellzoo")
