"""What a store says of its cells, column by column and array by array."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from cellzoo.converters.store.columns import INDEX
from cellzoo.errors import InputError

if TYPE_CHECKING:
    from cellzoo.converters.store.store import Store


class Obs(Mapping[str, pd.Series]):
    """The columns of cells, each read when it is asked for."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._places: dict[str, list[list[int] | None]] = {}
        records = [stretch.record["obs"] for stretch in store.datasets.values()]
        for record in records:
            for name in record:
                if name != INDEX and name not in self._places:
                    self._places[name] = [one.get(name) for one in records]

    def __getitem__(self, name: str) -> pd.Series:
        return self._store.obs_column(name)

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __repr__(self) -> str:
        return f"Obs({self._store.shape[0]} cells: {', '.join(self)})"

    def frame(self, columns: Sequence[str] | None = None, rows: np.ndarray | slice | None = None) -> pd.DataFrame:
        """Return some columns (by default all) of some rows (by default all) as a data frame."""
        names = list(self) if columns is None else list(columns)
        index = pd.Index(self._store.obs_names(rows))
        read = {name: self._store.obs_column(name, rows).set_axis(index) for name in names}
        return pd.DataFrame(read, index=index, columns=None if names else pd.Index([], dtype=object))


class Obsm(Mapping[str, np.ndarray]):
    """The arrays of numbers along the cells, each read when it is asked for; NaN where a data set lacks one."""

    def __init__(self, store: Store) -> None:
        self._store = store
        records = [stretch.record["obsm"] for stretch in store.datasets.values()]
        names = dict.fromkeys(name for record in records for name in record)
        self._places = {name: [record.get(name) for record in records] for name in names}

    def __getitem__(self, name: str) -> np.ndarray:
        shapes = self.shapes(name)
        if len(shapes) > 1:
            told = " and ".join(str(*shape) if len(shape) == 1 else str(shape) for shape in sorted(shapes))
            raise InputError(f"obsm[{name!r}] has {told} columns; read it data set by data set.")
        pieces = self._store._pieces(self._places[name])
        dtype = np.result_type(*(piece.dtype for piece in pieces if piece is not None))
        if any(piece is None for piece in pieces):
            dtype = np.result_type(dtype, np.float32)
        lengths = [len(stretch) for stretch in self._store.datasets.values()]
        shape = shapes.pop()
        full = [np.full((n, *shape), np.nan) if p is None else p for p, n in zip(pieces, lengths, strict=True)]
        return np.concatenate(full).astype(dtype, copy=False)

    def shapes(self, name: str) -> set[tuple[int, ...]]:
        """Return the shapes of an array beyond the cells: more than one where data sets differ."""
        strips = [self._store._strips[place[0]] for place in self._places[name] if place is not None]
        return {tuple(strip.type["shape"]) for strip in strips}

    def differing(self) -> list[str]:
        """Return the arrays that data sets have in several shapes, which no array of all cells holds."""
        return [name for name in self if len(self.shapes(name)) > 1]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)
