"""cellzoo: a data zoo and a model zoo for single-cell genomics.

The public names are loaded when they are first used, so that ``import cellzoo`` is fast and needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cellzoo.converters.census.source import open_census
    from cellzoo.converters.zoo import open_registry
    from cellzoo.hub.release import annotate, from_pretrained
    from cellzoo.registry.genes import map_genes


__version__ = version("cellzoo")

_HOME = {
    "annotate": ("cellzoo.hub.release", "annotate"),
    "from_pretrained": ("cellzoo.hub.release", "from_pretrained"),
    "map_genes": ("cellzoo.registry.genes", "map_genes"),
    "open_census": ("cellzoo.converters.census.source", "open_census"),
    "open_registry": ("cellzoo.converters.zoo", "open_registry"),
}

__all__ = ["__version__", "annotate", "from_pretrained", "map_genes", "open_census", "open_registry"]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'cellzoo' has no attribute {name!r}")
    module, attribute = _HOME[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return __all__
