"""Pictures: a UMAP of an embedding coloured by the call."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cellzoo.converters.write import replacing
from cellzoo.errors import MissingExtraError
from cellzoo.registry.fields import UNKNOWN

SEED = 0
GREY = "#b8b8b8"
COLOURS = (  # Okabe and Ito, then Tableau: distinguishable for most readers
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442", "#000000"),
    *("#9467bd", "#8c564b", "#17becf", "#bcbd22", "#7f7f7f", "#e377c2", "#2ca02c", "#1f77b4"),
)


def umap(codes: np.ndarray) -> np.ndarray:
    """Return UMAP coordinates (cells, 2) of an embedding (cells, dimensions), the same in every run.

    With fewer than 16 cells a neighbourhood graph means nothing, so the first two principal components are returned.
    """
    if len(codes) < 16:
        centred = codes - codes.mean(axis=0)
        _, _, axes = np.linalg.svd(np.pad(centred, ((0, 2), (0, 2))), full_matrices=False)
        return np.asarray(np.pad(centred, ((0, 0), (0, 2))) @ axes[:2].T)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numba and the seed's single thread
            from umap import UMAP

            return np.asarray(UMAP(n_neighbors=15, min_dist=0.3, random_state=SEED, n_jobs=1).fit_transform(codes))
    except ImportError as error:
        raise MissingExtraError("a UMAP", "plot") from error


def draw(panels: Sequence[tuple[str, Any]], points: np.ndarray, path: Path) -> Path:
    """Draw points (cells, 2) once for each panel (title, group of each cell) and write a PNG.

    A group has the same colour in every panel, the largest group comes first in the legend, unknown is grey.
    """
    most = max(len(np.unique(np.asarray(values, dtype=str))) for _, values in panels)
    figure = _figure((5.4 * len(panels), 4.6 + 0.19 * most))
    size = float(np.clip(20_000 / max(len(points), 1), 1.0, 18.0))
    colour: dict[str, str] = {UNKNOWN: GREY}
    for number, (title, values) in enumerate(panels, start=1):
        groups = np.asarray(values, dtype=str)
        names, sizes = np.unique(groups, return_counts=True)
        axes = figure.add_subplot(1, len(panels), number)
        for index in np.argsort(-sizes, kind="stable"):
            name = str(names[index])
            colour.setdefault(name, COLOURS[(len(colour) - 1) % len(COLOURS)])
            where = points[groups == name].T
            axes.scatter(*where, s=size, color=colour[name], label=f"{name} ({sizes[index]})", linewidths=0)
        axes.set_title(title, fontsize=9)
        axes.set(xlabel="UMAP 1", ylabel="UMAP 2", xticks=[], yticks=[])
        axes.spines[["top", "right"]].set_visible(False)
        legend = axes.legend(loc="upper left", bbox_to_anchor=(0.0, -0.06), frameon=False, fontsize=8)
        for handle in legend.legend_handles:
            handle.set_sizes([28.0])
    return _saved(figure, path)


def draw_calls(labels: Any, calls: Any, path: Path) -> Path:
    """Draw which share of each label (rows) was called what (columns) and write a PNG."""
    table = pd.crosstab(pd.Series(np.asarray(labels, dtype=str)), pd.Series(np.asarray(calls, dtype=str)))
    columns = sorted(table, key=lambda name: (name == UNKNOWN, name not in table.index, name))
    table = table[columns].sort_index()
    share = table.to_numpy() / table.to_numpy().sum(axis=1, keepdims=True)
    figure = _figure((2.8 + 0.62 * table.shape[1], 2.4 + 0.36 * table.shape[0]))
    axes = figure.add_subplot()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(share):
        if value >= 0.005:
            ink = "white" if value > 0.6 else "black"
            axes.text(column, row, f"{value:.0%}", ha="center", va="center", fontsize=7, color=ink)
    axes.set_xticks(range(table.shape[1]), columns, rotation=40, ha="right", fontsize=8)
    axes.set_yticks(range(table.shape[0]), [f"{name} ({n})" for name, n in table.sum(axis=1).items()], fontsize=8)
    axes.set(xlabel="called", ylabel="labelled by the study")
    return _saved(figure, path)


def _figure(size: tuple[float, float]) -> Any:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("a picture", "plot") from error
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)  # no window, no global state
    return figure


def _saved(figure: Any, path: Path) -> Path:
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150, format="png")
    return path
