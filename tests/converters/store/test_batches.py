"""Mini-batches of a store for PyTorch: the right cells in the right form, however many workers and ranks there are."""

import multiprocessing
import pickle
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch.utils.data import DataLoader

from cellzoo.converters.store.batches import Batches
from cellzoo.converters.store.sampling import Blocks, Grouped, Random, Sequential, Weighted, balanced
from cellzoo.errors import InputError, NotFoundError

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def dense(matrix):
    return matrix.toarray() if sp.issparse(matrix) else matrix.to_dense().numpy()


def log_normalized(counts):
    total = counts.sum(axis=1, keepdims=True)
    return np.log1p(1e4 * counts / np.maximum(total, 1))


@pytest.mark.parametrize("form", ["csr", "torch_csr", "dense"])
@pytest.mark.parametrize("scaled", [False, True], ids=["raw", "normalized"])
def test_a_batch_holds_its_cells_in_the_form_asked_for(store, cells, form, scaled):
    counts = cells.X.toarray()
    wanted: dict[str, Any] = {"normalize": 1e4, "log1p": True} if scaled else {}
    expected = log_normalized(counts) if scaled else counts
    batches = list(Batches(store, Random(store.shape[0], 16, seed=3), form=form, **wanted))
    assert sorted(np.concatenate([batch.rows for batch in batches]).tolist()) == list(range(store.shape[0]))
    for batch in batches:
        assert isinstance(batch.x, torch.Tensor) == (form != "csr")
        assert dense(batch.x).dtype == np.float32
        np.testing.assert_allclose(dense(batch.x), expected[batch.rows], rtol=1e-6)


def test_labels_come_as_codes_and_values_as_they_are(store, cells):
    batches = Batches(store, Sequential(store.shape[0], 16), obs=["cell_type"], values=["age", "donor"])
    for batch in batches:
        codes = batch.obs["cell_type"]
        assert codes.dtype == torch.int64
        said = [batches.categories["cell_type"][code] if code >= 0 else None for code in codes.tolist()]
        assert said == cells.obs["cell_type"].iloc[batch.rows].astype(object).replace({np.nan: None}).tolist()
        assert batch.obs["age"].tolist() == cells.obs["age"].iloc[batch.rows].tolist()
        assert list(batch.obs["donor"]) == list(cells.obs["donor"].iloc[batch.rows])


def test_layers_and_other_features_of_the_same_cells_come_along(store, cells, proteins):
    genes = list(cells.var_names[[7, 2, 5]])
    batches = Batches(store, Random(store.shape[0], 16), layers=["X", "spliced", "protein"], genes=genes, log1p=True)
    for batch in batches:
        rows = batch.rows
        np.testing.assert_allclose(dense(batch.x), np.log1p(cells[rows, genes].X.toarray()), rtol=1e-6)
        assert (dense(batch.matrices["spliced"]) == cells[rows, genes].layers["spliced"].toarray()).all()
        assert (dense(batch.matrices["protein"]) == proteins[rows]).all()


@pytest.mark.parametrize("threads", [0, 1, 3, 20])
def test_threads_change_nothing(store, cells, threads):
    genes = list(cells.var_names[[7, 2, 5]])
    for plan in (Blocks(store.shape[0], 16, block=8, window=6, seed=2), Random(store.shape[0], 16, seed=2)):
        for chosen in (None, genes):
            plan.set_epoch(0)
            batches = list(Batches(store, plan, threads=threads, genes=chosen, log1p=chosen is not None))
            plan.set_epoch(0)
            assert [batch.rows.tolist() for batch in batches] == [rows.tolist() for rows in plan]
            for batch in batches:
                expected = np.log1p(cells[batch.rows, genes].X.toarray()) if chosen else cells.X[batch.rows].toarray()
                np.testing.assert_allclose(dense(batch.x), expected, rtol=1e-6)


def test_memory_of_what_is_read_ahead_cannot_be_used_again_at_once(store):
    plan = Random(store.shape[0], 16)
    if store.matrix().encoding == "hot":
        assert len(list(Batches(store, plan, threads=2, reuse=True))) == len(plan)
    else:
        with pytest.raises(InputError, match="reuse with 2 threads: what they read ahead needs memory of its own"):
            Batches(store, plan, threads=2, reuse=True)


@pytest.mark.parametrize("form", ["csr", "torch_csr", "dense"])
def test_a_batch_is_overwritten_only_where_that_was_asked_for(store, cells, form):
    layers, genes = ["X", "spliced"], list(cells.var_names)
    for reuse in (False, True):
        batches = Batches(
            store, Sequential(store.shape[0], 16), form=form, layers=layers, genes=genes, threads=0, reuse=reuse
        )
        held = []
        for batch in batches:
            for name, counts in (("X", cells.X), ("spliced", cells.layers["spliced"])):
                assert (dense(batch.matrices[name]) == counts[batch.rows].toarray()).all()
            held.append(batch)
        kept = [bool((dense(batch.x) == cells.X[batch.rows].toarray()).all()) for batch in held]
        assert all(kept) != reuse


def test_memory_of_batches_in_use_is_left_alone_and_the_rest_is_used_again(store):
    batches = Batches(store, Sequential(store.shape[0], 16), threads=0)
    kept = list(batches)
    assert len({batch.x.data.__array_interface__["data"][0] for batch in kept}) == len(kept)
    del kept
    batches.set_epoch(0)
    places = {batch.x.data.__array_interface__["data"][0] for batch in batches}
    assert len(places) == 2


def test_batches_that_are_read_at_once_hold_what_they_hold_alone(store, cells):
    plan = Blocks(store.shape[0], 16, block=8, window=12)
    assert plan.together == 6
    for batch in Batches(store, plan, obs=["cell_type"]):
        assert (dense(batch.x) == cells.X[batch.rows].toarray()).all()
        assert (batch.obs["cell_type"].numpy() == cells.obs["cell_type"].cat.codes.to_numpy()[batch.rows]).all()


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("persistent", [False, True])
def test_workers_hand_out_the_same_batches_in_the_same_order(store, workers, persistent):
    alone, shared = (Batches(store, Random(store.shape[0], 16, seed=5), form="dense") for _ in range(2))
    loader = DataLoader(shared, batch_size=None, num_workers=workers, persistent_workers=persistent)
    for epoch in (0, 1):
        shared.set_epoch(epoch)
        both = list(zip(alone, loader, strict=True))
        assert all((one.rows == other.rows).all() and (one.x == other.x).all() for one, other in both)
        assert [batch.state for batch, _ in both] == [batch.state for _, batch in both]


def test_without_workers_each_loop_is_an_epoch_of_its_own(store):
    batches = Batches(store, Random(store.shape[0], 16))
    first, second = ([batch.rows.tolist() for batch in DataLoader(batches, batch_size=None)] for _ in range(2))
    assert first != second
    batches.set_epoch(0)
    assert [batch.rows.tolist() for batch in batches] == first


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stop", [1, 4])
@pytest.mark.parametrize("kind", ["random", "blocks", "grouped", "weighted"])
def test_training_goes_on_after_the_batch_that_was_last_seen(store, workers, stop, kind):
    def make():
        groups = store.obs["donor"]
        plan = {
            "random": lambda: Random(store.shape[0], 16),
            "blocks": lambda: Blocks(store.shape[0], 16, block=8, window=4),
            "grouped": lambda: Grouped(groups, 16),
            "weighted": lambda: Weighted(balanced(groups), 16),
        }[kind]()
        plan.set_epoch(2)
        return Batches(store, plan)

    whole = [batch.rows.tolist() for batch in make()]
    for batch, _ in zip(DataLoader(make(), batch_size=None, num_workers=workers), range(stop), strict=False):
        state = batch.state
    again = make()
    again.load_state_dict(state)
    rest = [batch.rows.tolist() for batch in DataLoader(again, batch_size=None, num_workers=workers)]
    assert rest == whole[stop:]


def test_a_loop_that_is_left_goes_on_where_it_stopped(store):
    batches = Batches(store, Random(store.shape[0], 16))
    whole = [batch.rows.tolist() for batch in Batches(store, Random(store.shape[0], 16))]
    for batch, _ in zip(batches, range(2), strict=False):
        assert batches.state_dict() == batch.state
    # zip asks once more before it stops, so three batches were handed out
    assert [batch.rows.tolist() for batch in batches] == whole[3:]


def _rank(store, meeting, rank, said):
    torch.distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2)
    said.put((rank, [batch.rows.tolist() for batch in Batches(store, Random(store.shape[0], 16, ends="drop"))]))


def test_processes_of_torch_distributed_take_their_share(store, tmp_path):
    forks = multiprocessing.get_context("fork")
    said, meeting = forks.SimpleQueue(), f"file://{tmp_path / 'meeting'}"
    ranks = [forks.Process(target=_rank, args=(store, meeting, rank, said)) for rank in (0, 1)]
    for rank in ranks:
        rank.start()
    taken = dict(said.get() for _ in ranks)
    for rank in ranks:
        rank.join(30)
    plan = Random(store.shape[0], 16, ends="drop")
    assert taken == {rank: [rows.tolist() for rows in plan.shard(rank, 2)] for rank in (0, 1)}


def test_rank_and_world_can_be_given(store):
    parts = [Batches(store, Random(store.shape[0], 16), rank=rank, world=2) for rank in (0, 1)]
    assert [len(part) for part in parts] == [len(list(part)) for part in parts]
    rows = [row for part in parts for batch in part for row in batch.rows.tolist()]
    assert sorted(rows) == list(range(store.shape[0]))


def test_little_is_sent_to_a_worker(store):
    batches = Batches(store, Random(store.shape[0], 16), obs=["cell_type"], values=["age"])
    next(iter(batches))
    assert len(pickle.dumps(batches.store)) < 1000
    assert "_codes" not in batches.__getstate__()


@pytest.mark.parametrize("threads", [0, 2])
def test_an_error_in_a_thread_reaches_the_loop(store, monkeypatch, threads):
    monkeypatch.setattr(type(store), "gather", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        list(Batches(store, Random(store.shape[0], 16), threads=threads))


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"form": "sparse"}, "form 'sparse': expected csr, torch_csr or dense"),
        ({"obs": ["celltype"]}, "no obs column celltype; it has"),
        ({"layers": ["counts"]}, "has no matrix 'counts'; there are X"),
        ({"threads": -1}, "threads -1: expected at least 0"),
        ({"rank": 0}, "rank 0, world None: expected both or neither"),
        ({"plan": Random(1000, 4)}, "the plan goes up to row 999"),
    ],
)
def test_what_the_store_does_not_have_is_refused_at_once(store, wanted, said):
    with pytest.raises((InputError, NotFoundError), match=said):
        Batches(store, **{"plan": Random(store.shape[0], 16)} | wanted)
