"""Which rows make which mini-batch: plans that are a function of seed, epoch and step alone.

A plan puts the rows of an epoch in order and cuts them into batches, the same on every machine. Of W ranks, rank R
takes batches R, R + W, R + 2 W and so on, and the workers of a rank share its batches in the same way: shards never
overlap, and however many workers there are, the batches come out the same.
"""

from __future__ import annotations

import heapq
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from copy import copy
from functools import cached_property
from typing import Any, Literal, Self
from zlib import crc32

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from cellzoo.errors import InputError

RowNumbers = NDArray[np.int64]
Ends = Literal["keep", "drop", "pad"]
"""What becomes of a batch that is not full, and of batches that are too few for one each rank: ``keep`` hands them out
(one rank may have one batch more than another), ``drop`` leaves them out, ``pad`` repeats rows and batches."""

_PLACE = {"rank", "epoch", "step", "_made", "identity"}


class Plan(ABC):
    """Batches of rows, epoch after epoch; iterating goes through what is left of an epoch and begins the next."""

    def __init__(self, rows: ArrayLike, batch_size: int, *, seed: int = 0, ends: Ends = "keep") -> None:
        """Plan over `rows`: how many there are, a mask over all of them, or their numbers, each once."""
        self.rows = row_numbers(rows)
        self.batch_size, self.seed, self.ends = batch_size, seed, ends
        self.rank, self.world, self.epoch, self.step = 0, 1, 0, 0
        self._made: tuple[int, list[RowNumbers]] | None = None
        if batch_size < 1 or seed < 0:
            raise InputError(f"batch_size {batch_size}, seed {seed}: expected at least 1 and 0.")
        if ends not in {"keep", "drop", "pad"}:
            raise InputError(f"ends {ends!r}: expected keep, drop or pad.")

    @abstractmethod
    def arrange(self, rng: np.random.Generator) -> list[RowNumbers]:
        """Return the batches of an epoch, of all ranks together."""

    def shard(self, rank: int, world: int) -> Self:
        """Return the plan of one of `world` processes that share the batches."""
        if not 0 <= rank < world:
            raise InputError(f"rank {rank} of {world}: expected 0 to {world - 1}.")
        mine = copy(self)
        vars(mine).pop("identity", None)
        mine.rank, mine.world = rank, world
        return mine

    def set_epoch(self, epoch: int, step: int = 0) -> None:
        """Go to an epoch, which has an order of its own, and to a batch of this rank in it."""
        self.epoch, self.step = epoch, step

    def left(self, worker: int = 0, workers: int = 1) -> Iterator[tuple[int, RowNumbers]]:
        """Yield (step, rows) of each batch that is left of the epoch for one of the workers of this rank."""
        mine = self._batches()[self.rank :: self.world]
        for step in range(self.step + worker, len(mine), workers):
            yield step, mine[step]

    def __iter__(self) -> Iterator[RowNumbers]:
        for step, rows in self.left():
            self.step = step + 1
            yield rows
        self.set_epoch(self.epoch + 1)

    def __len__(self) -> int:
        return len(range(self.rank, len(self._batches()), self.world))

    def state_dict(self) -> dict[str, Any]:
        """Return where the plan stands, and which plan it is, as plain values."""
        return {"plan": self.identity, "epoch": self.epoch, "step": self.step}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where `state` was taken; InputError where that was another plan."""
        names = sorted({*self.identity, *state["plan"]})
        pairs = [(name, state["plan"].get(name), self.identity.get(name)) for name in names]
        if differ := [f"{name} was {then}, is {now}" for name, then, now in pairs if then != now]:
            raise InputError(f"the saved state is of another plan: {'; '.join(differ)}. Make the plan as it was.")
        self.set_epoch(int(state["epoch"]), int(state["step"]))

    @property
    def together(self) -> int:
        """Return how many batches are best read at once."""
        return 1

    @cached_property
    def identity(self) -> dict[str, str | int]:
        """Return what the batches depend on besides epoch and step, arrays as size and checksum."""
        told = {name: value for name, value in vars(self).items() if name not in _PLACE}
        return {"kind": type(self).__name__} | {name: _told(value) for name, value in told.items()}

    def _batches(self) -> list[RowNumbers]:
        if self._made is None or self._made[0] != self.epoch:
            made = self.arrange(np.random.default_rng([self.seed, self.epoch]))
            if self.ends == "drop":
                made = made[: len(made) // self.world * self.world]
            elif self.ends == "pad" and made:
                made += [made[at % len(made)] for at in range(-len(made) % self.world)]
            self._made = self.epoch, made
        return self._made[1]

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_made": None}


class Sequential(Plan):
    """The rows in the order they are given."""

    def arrange(self, rng: np.random.Generator) -> list[RowNumbers]:
        """Return the batches of an epoch, of all ranks together."""
        return cut(self.rows, self.batch_size, self.ends)


class Random(Plan):
    """The rows in random order, every order equally likely."""

    def arrange(self, rng: np.random.Generator) -> list[RowNumbers]:
        """Return the batches of an epoch, of all ranks together."""
        return cut(rng.permutation(self.rows), self.batch_size, self.ends)


class Blocks(Plan):
    """Blocks of neighbouring rows in random order, mixed within a window: for stores that memory does not hold.

    `block` is how many neighbouring rows stay together until they are mixed, `window` how many blocks are in memory.
    """

    def __init__(  # noqa: PLR0913
        self,
        rows: ArrayLike,
        batch_size: int,
        *,
        block: int = 256,
        window: int = 32,
        seed: int = 0,
        ends: Ends = "keep",
    ) -> None:
        super().__init__(rows, batch_size, seed=seed, ends=ends)
        if block < 1 or window < 1:
            raise InputError(f"block {block}, window {window}: expected at least 1 each.")
        self.block, self.window = block, window

    @property
    def together(self) -> int:
        """Return how many batches are best read at once: a window, so that no row group is unpacked twice."""
        return max(self.block * self.window // (self.batch_size * self.world), 1)

    def arrange(self, rng: np.random.Generator) -> list[RowNumbers]:
        """Return the batches of an epoch, of all ranks together."""
        rows = np.sort(self.rows)
        blocks = np.split(rows, np.flatnonzero(np.diff(rows // self.block)) + 1)
        order = [blocks[at] for at in rng.permutation(len(blocks))]
        windows = [np.concatenate(order[at : at + self.window]) for at in range(0, len(order), self.window)]
        return cut(np.concatenate([rng.permutation(window) for window in windows]), self.batch_size, self.ends)


class Grouped(Plan):
    """Batches of rows of one group, or of `per_batch` groups with an equal share each, in random order.

    `groups` says the group of every row of the store, for example a column of obs; rows without one are left out.
    Where a group has no rows left for a full share, its last share is short (or dropped, or padded from the group).
    """

    def __init__(  # noqa: PLR0913
        self,
        groups: ArrayLike,
        batch_size: int,
        *,
        per_batch: int = 1,
        rows: ArrayLike | None = None,
        seed: int = 0,
        ends: Ends = "keep",
    ) -> None:
        codes = _codes(groups)
        numbers = row_numbers(len(codes) if rows is None else rows, len(codes))
        numbers = numbers[codes[numbers] >= 0]
        super().__init__(numbers, batch_size, seed=seed, ends=ends)
        self.codes, self.per_batch = codes[numbers], per_batch
        known = len(np.unique(self.codes))
        if not 1 <= per_batch <= max(known, 1) or batch_size % per_batch:
            raise InputError(
                f"{per_batch} groups in a batch of {batch_size}: expected a divisor of {batch_size}, "
                f"at most the {known} groups there are."
            )

    def arrange(self, rng: np.random.Generator) -> list[RowNumbers]:
        """Return the batches of an epoch, of all ranks together."""
        shuffled = rng.permutation(len(self.rows))
        by_group = shuffled[np.argsort(self.codes[shuffled], kind="stable")]
        starts = np.flatnonzero(np.diff(self.codes[by_group])) + 1
        share = self.batch_size // self.per_batch
        shares = [cut(self.rows[members], share, self.ends) for members in np.split(by_group, starts)]
        # Always taking from the groups with most shares left is what fills the most batches with different groups.
        heap = [(-len(own), rng.random(), group) for group, own in enumerate(shares) if own]
        heapq.heapify(heap)
        batches = []
        while heap:
            taken = [heapq.heappop(heap) for _ in range(min(self.per_batch, len(heap)))]
            parts = [shares[group][left] for left, _, group in taken]
            if len(parts) < self.per_batch and self.ends == "pad":
                others = np.setdiff1d(np.arange(len(shares)), [group for *_, group in taken])
                parts += [shares[group][0] for group in rng.permutation(others)[: self.per_batch - len(parts)]]
            if len(parts) == self.per_batch or self.ends == "keep":
                batches.append(np.concatenate(parts))
            for left, _, group in taken:
                if left < -1:
                    heapq.heappush(heap, (left + 1, rng.random(), group))
        return [batches[at] for at in rng.permutation(len(batches))]


class Weighted(Plan):
    """Rows drawn with a chance in proportion to their weight; `balanced` weighs groups alike.

    `weights` has one for every row of the store; those of weight 0 are never drawn. With replacement each draw is
    independent; without, no row is drawn twice in an epoch (Efraimidis and Spirakis 2006,
    doi:10.1016/j.ipl.2005.11.003). An epoch has `length` draws, by default as many as there are rows to draw.
    """

    def __init__(  # noqa: PLR0913
        self,
        weights: ArrayLike,
        batch_size: int,
        *,
        replacement: bool = True,
        length: int | None = None,
        rows: ArrayLike | None = None,
        seed: int = 0,
        ends: Ends = "keep",
    ) -> None:
        chances = np.asarray(weights, dtype=np.float64)
        if not np.isfinite(chances).all() or (chances < 0).any():
            raise InputError("weights: expected finite numbers of at least 0.")
        numbers = row_numbers(len(chances) if rows is None else rows, len(chances))
        numbers = numbers[chances[numbers] > 0]
        super().__init__(numbers, batch_size, seed=seed, ends=ends)
        self.weights, self.replacement = chances[numbers], replacement
        self.length = len(numbers) if length is None else length
        most = len(numbers) if not replacement else None if len(numbers) else 0
        if self.length < 0 or (most is not None and self.length > most):
            raise InputError(f"length {self.length}: expected at most the {most} rows of weight above 0.")

    def arrange(self, rng: np.random.Generator) -> list[RowNumbers]:
        """Return the batches of an epoch, of all ranks together."""
        if self.replacement:
            ladder = np.cumsum(self.weights)
            drawn = np.searchsorted(ladder, rng.random(self.length) * ladder[-1:].sum(), side="right")
            drawn = np.minimum(drawn, len(ladder) - 1)  # a product may round up to the very end
        else:
            drawn = np.argsort(rng.standard_exponential(len(self.weights)) / self.weights)[: self.length]
        return cut(self.rows[drawn], self.batch_size, self.ends)


def balanced(groups: ArrayLike, rows: ArrayLike | None = None) -> NDArray[np.float64]:
    """Return weights under which each group is drawn as often as any other, 0 for rows without a group.

    >>> balanced(["B", "T", "T", None]).tolist()
    [1.0, 0.5, 0.5, 0.0]
    """
    codes = _codes(groups)
    inside = np.zeros(len(codes), dtype=bool)
    inside[row_numbers(len(codes) if rows is None else rows, len(codes))] = True
    inside &= codes >= 0
    sizes = np.bincount(codes[inside], minlength=1)
    weights = np.zeros(len(codes))
    weights[inside] = 1 / sizes[codes[inside]]
    return weights


def cut(rows: RowNumbers, size: int, ends: Ends = "keep") -> list[RowNumbers]:
    """Return rows in pieces of `size`; a last one that is shorter is kept, dropped, or padded from the beginning.

    >>> [piece.tolist() for piece in cut(np.arange(5), 2, "pad")]
    [[0, 1], [2, 3], [4, 0]]
    """
    if ends == "drop":
        rows = rows[: len(rows) // size * size]
    elif ends == "pad":
        rows = np.resize(rows, -(-len(rows) // size) * size)
    return [rows[at : at + size] for at in range(0, len(rows), size)]


def row_numbers(rows: ArrayLike, of: int | None = None) -> RowNumbers:
    """Return row numbers from how many there are, a mask, or numbers; InputError unless each is there and only once.

    >>> row_numbers([True, False, True]).tolist(), row_numbers(2).tolist()
    ([0, 2], [0, 1])
    """
    given = np.asarray(rows)
    if given.ndim == 0:
        given = np.arange(int(given))
    elif given.dtype == bool:
        if of not in {None, len(given)}:
            raise InputError(f"a mask of {len(given)} rows: expected one of {of}.")
        given = np.flatnonzero(given)
    if given.ndim != 1 or (len(given) and given.dtype.kind not in "iu"):
        raise InputError(f"rows of type {given.dtype}, {given.ndim}-dimensional: expected row numbers or a mask.")
    given = given.astype(np.int64)
    if len(given) and (given.min() < 0 or given.max() >= (of if of is not None else np.inf)):
        raise InputError(f"rows {given.min()} to {given.max()}: expected numbers from 0 to below {of or 'the end'}.")
    if len(np.unique(given)) < len(given):
        raise InputError("rows: some are given twice. Give each once; to see cells more often, use weights.")
    return given


def _codes(groups: ArrayLike) -> NDArray[np.int64]:
    """Return a number for each group, -1 for rows without one: a missing value, or a code below 0 as of a category."""
    values: Any = groups
    if isinstance(values, np.ndarray) and values.dtype.kind == "i":
        values = np.where(values < 0, np.nan, values)
    return np.asarray(pd.Categorical(values).codes, dtype=np.int64)


def _told(value: Any) -> str | int:
    if isinstance(value, np.ndarray):
        return f"{len(value)} ({crc32(np.ascontiguousarray(value).tobytes()):08x})"
    return value  # type: ignore[no-any-return]
