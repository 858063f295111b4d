"""Mini-batches of a store for PyTorch: sparse or dense, raw or normalized, read ahead by threads."""

from __future__ import annotations

import sys
import threading
import warnings
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellzoo.converters.store.matrix import Buffers, Pool
from cellzoo.converters.store.sampling import Plan, RowNumbers
from cellzoo.errors import InputError, MissingExtraError

try:
    import torch
    from torch.utils.data import IterableDataset, get_worker_info
except ImportError as error:
    raise MissingExtraError("batches for PyTorch", "models") from error

if TYPE_CHECKING:
    from cellzoo.converters.store.store import Store

Form = Literal["csr", "torch_csr", "dense"]
Matrix: TypeAlias = Any  # a scipy CSR matrix or a tensor, as the form says
Numbered: TypeAlias = list[tuple[int, RowNumbers]]  # batches that are read at once: step and rows of each


@dataclass(frozen=True)
class Batch:
    """Some cells."""

    rows: RowNumbers
    """Which rows of the store they are."""
    matrices: dict[str, Matrix]
    """Name in the store -> values (cells, features), float32."""
    obs: dict[str, Any]
    """Column -> its codes (int64 tensor, -1 where missing) or its values, one for each cell."""
    state: dict[str, Any]
    """What `Batches.load_state_dict` needs to go on after this batch, in however many workers."""

    @property
    def x(self) -> Matrix:
        """Return the first of the matrices, X unless other layers were asked for."""
        return next(iter(self.matrices.values()))


class Recycler(Buffers):
    """Memory for batches that is used again once nobody holds what was in it: new memory costs more than the reading.

    Unlike other `Buffers` it overwrites nothing that somebody may still look at, and serves many threads. After
    `give_back` all of it is free all the same.
    """

    def __init__(self, most: int) -> None:
        self._most, self._blocks, self._lock = most, list[np.ndarray](), threading.Lock()
        self._free: set[int] = set()

    def give_back(self) -> None:
        """Let all blocks be overwritten, whoever holds them."""
        self._free = {id(block) for block in self._blocks}

    def room(self, values: int, dtype: np.dtype[Any]) -> tuple[np.ndarray, np.ndarray]:
        """Return memory for so many indices and values."""
        return self.take(values, np.dtype(np.int32)), self.take(values, dtype)

    def take(self, values: int, dtype: np.dtype[Any]) -> np.ndarray:
        """Return memory for so many values of a type, with whatever was in it."""
        with self._lock:
            here = range(len(self._blocks))
            idle = [
                k for k in here if id(self._blocks[k]) in self._free or sys.getrefcount(self._blocks[k]) == UNSHARED
            ]
            same = [k for k in idle if self._blocks[k].dtype == dtype]
            fitting = next((k for k in same if len(self._blocks[k]) >= values), None)
            if fitting is not None:
                self._free.discard(id(self._blocks[fitting]))
                return self._blocks[fitting][:values]
            if same:  # all too small
                self._free.discard(id(self._blocks.pop(same[0])))
            block = np.empty(values + values // 4, dtype)
            if len(self._blocks) < self._most:  # who keeps all batches keeps them without us
                self._blocks.append(block)
            return block[:values]


UNSHARED = 2
"""References to a block that only its list and the call that counts them hold."""


class Batches(IterableDataset[Batch]):
    """The batches of a plan, for ``DataLoader(batches, batch_size=None)`` or a plain loop.

    Without workers each loop goes through what is left of an epoch, and the next begins another. With workers, which
    share the batches and hand them out in the same order, call `set_epoch` before each epoch, as for a
    DistributedSampler.
    """

    def __init__(  # noqa: PLR0913
        self,
        store: Store,
        plan: Plan,
        *,
        form: Form = "csr",
        normalize: float | None = None,
        log1p: bool = False,
        genes: Sequence[str] | None = None,
        layers: Sequence[str] = ("X",),
        obs: Sequence[str] = (),
        values: Sequence[str] = (),
        rank: int | None = None,
        world: int | None = None,
        threads: int = 1,
        reuse: bool = False,
    ) -> None:
        """Read the `layers` of the store as scipy CSR, as CSR tensors or as dense tensors (`form`).

        X can be scaled to a total of `normalize` a cell and put through `log1p`; other layers come as they are.
        `genes` restricts X and its layers. `obs` columns come as codes into `categories`, `values` columns as they
        are. Of `world` processes this is number `rank`, by default as torch.distributed says.

        A packed store is read ahead by `threads`, unless there are none. The rows of a hot store are read when they are
        asked for, which takes hardly longer than to hand them over, by as many `threads` together; workers of a
        DataLoader read ahead. With `reuse` a batch is overwritten when the next is asked for, which saves a quarter of
        the time where nothing is read ahead.
        """
        super().__init__()
        if form not in {"csr", "torch_csr", "dense"}:
            raise InputError(f"form {form!r}: expected csr, torch_csr or dense.")
        if len(plan.rows) and plan.rows.max() >= store.shape[0]:
            raise InputError(f"the plan goes up to row {plan.rows.max()}, {store.path} has {store.shape[0]}.")
        if missing := [name for name in (*obs, *values) if name not in store.obs]:
            raise InputError(f"{store.path}: no obs column {', '.join(missing)}; it has {', '.join(store.obs)}.")
        rank, world = _shard(rank, world)
        self.store, self.plan = store, plan.shard(rank, world) if world > 1 else plan
        self.form, self.normalize, self.log1p, self.genes = form, normalize, log1p, genes
        self.layers = {name: store._named(name) for name in layers}
        self.obs, self.values = tuple(obs), tuple(values)
        if threads < 0:
            raise InputError(f"threads {threads}: expected at least 0.")
        packed = any(store.matrix(name).encoding == "packed" for name in self.layers.values())
        self.threads, self.ahead, self.reuse = threads, threads if packed else 0, reuse
        if reuse and self.ahead:
            raise InputError(f"reuse with {threads} threads: what they read ahead needs memory of its own; use 0.")
        self._memory = self._recycler()
        # In shared memory, so that set_epoch reaches the workers that are there already.
        self._place = torch.tensor([plan.epoch, plan.step], dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]

    def set_epoch(self, epoch: int, step: int = 0) -> None:
        """Go to an epoch, and to a batch in it."""
        self._place.numpy()[:] = epoch, step

    def state_dict(self) -> dict[str, Any]:
        """Return where a loop without workers stands; with workers `Batch.state` says it."""
        self._settle()
        return self.plan.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on after the batch that `state` came with."""
        self.plan.load_state_dict(state)
        self.set_epoch(self.plan.epoch, self.plan.step)

    @cached_property
    def categories(self) -> dict[str, pd.Index]:
        """Return for each `obs` column what its codes stand for."""
        return {name: categories for name, (_, categories) in self._codes.items()}

    def __len__(self) -> int:
        """Return how many batches an epoch has for this rank."""
        self._settle()
        return len(self.plan)

    def __iter__(self) -> Iterator[Batch]:
        info = get_worker_info()
        epoch, _ = self._settle()
        left = self.plan.left(info.id, info.num_workers) if info else self.plan.left()
        together = iter(lambda: list(islice(left, self.plan.together)), [])
        for batch in self._ahead(together, epoch) if self.ahead else self._at_once(together, epoch):
            if info is None:
                self.set_epoch(epoch, batch.state["step"])
            yield batch
        if info is None:
            self.set_epoch(epoch + 1)

    def _at_once(self, together: Iterator[Numbered], epoch: int) -> Iterator[Batch]:
        """Yield the batches in order, each read when it is asked for."""
        for some in together:
            yield from self._read(some, epoch)
            if self.reuse:
                self._memory.give_back()

    def _ahead(self, together: Iterator[Numbered], epoch: int) -> Iterator[Batch]:
        """Yield the batches in order while threads read those that follow, as many at once as the plan likes."""
        with ThreadPoolExecutor(self.ahead, thread_name_prefix="batches") as pool:
            ahead: deque[Future[list[Batch]]] = deque()

            def begin(most: int) -> None:
                ahead.extend(pool.submit(self._read, some, epoch) for some in islice(together, most))

            try:
                begin(self.ahead)
                while ahead:
                    batches = ahead.popleft().result()
                    begin(1)  # not before: each batch in memory is one more that the cache does not hold
                    yield from batches
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _settle(self) -> tuple[int, int]:
        epoch, step = self._place.tolist()
        self.plan.set_epoch(epoch, step)
        return epoch, step

    def _read(self, some: Numbered, epoch: int) -> list[Batch]:
        rows = np.concatenate([rows for _, rows in some])
        read = {name: self._gather(matrix, rows) for name, matrix in self.layers.items()}
        batches, start = [], 0
        for step, rows in some:
            stop = start + len(rows)
            parts = {name: _between(csr, start, stop) for name, csr in read.items()}
            obs: dict[str, Any] = {
                name: torch.from_numpy(codes[rows].astype(np.int64)) for name, (codes, _) in self._codes.items()
            }
            obs |= {name: column.iloc[rows].to_numpy() for name, column in self._values.items()}
            state = {"plan": self.plan.identity, "epoch": epoch, "step": step + 1}
            batches.append(Batch(rows, {name: self._formed(csr) for name, csr in parts.items()}, obs, state))
            start = stop
        return batches

    def _gather(self, name: str, rows: RowNumbers) -> sp.csr_matrix:
        scaled: dict[str, Any] = {"normalize": self.normalize, "log1p": self.log1p} if name == "X" else {}
        genes = self.genes if name == "X" or name.startswith("layers/") else None
        return self.store.gather(rows, layer=name, genes=genes, out=self._memory, pool=self._pool, **scaled)

    def _formed(self, csr: sp.csr_matrix) -> Matrix:
        if self.form == "csr":
            return csr
        if self.form == "dense":
            from cellzoo.converters.store import kernels

            memory = self._memory.take(csr.shape[0] * csr.shape[1], csr.dtype).reshape(csr.shape)
            kernels.dense(csr.indptr, csr.indices, csr.data, memory)
            return torch.from_numpy(memory)
        ends, places, found = (torch.from_numpy(part) for part in (csr.indptr, csr.indices, csr.data))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta", UserWarning)
            return torch.sparse_csr_tensor(ends, places, found, size=csr.shape, check_invariants=False)

    @cached_property
    def _codes(self) -> dict[str, tuple[np.ndarray, pd.Index]]:
        return {name: self.store.codes(name) for name in self.obs}

    @cached_property
    def _values(self) -> dict[str, pd.Series]:
        return {name: self.store.obs_column(name) for name in self.values}

    @cached_property
    def _pool(self) -> Pool | None:
        return Pool(self.threads) if self.threads > 1 and not self.ahead else None

    def _recycler(self) -> Recycler:
        return Recycler(2 * len(self.layers) * (self.ahead + 2))

    def __getstate__(self) -> dict[str, Any]:
        """Leave columns and memory behind: another process has its own."""
        return {name: value for name, value in vars(self).items() if name not in _OWN}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._memory = self._recycler()


_OWN = {"_codes", "_values", "_memory", "_pool", "categories"}


def _between(csr: sp.csr_matrix, start: int, stop: int) -> sp.csr_matrix:
    """Return neighbouring rows that share the memory of the whole."""
    if (start, stop) == (0, csr.shape[0]):
        return csr
    first, last = csr.indptr[start], csr.indptr[stop]
    part = sp.csr_matrix((stop - start, csr.shape[1]), dtype=csr.dtype)
    # Given to the constructor, scipy would copy them, as small parts of a large array.
    part.data, part.indices = csr.data[first:last], csr.indices[first:last]
    part.indptr = csr.indptr[start : stop + 1] - first
    part.has_canonical_format = True
    return part


def _shard(rank: int | None, world: int | None) -> tuple[int, int]:
    if (rank is None) != (world is None):
        raise InputError(f"rank {rank}, world {world}: expected both or neither.")
    if rank is not None and world is not None:
        return rank, world
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1
