"""Plans of mini-batches: what every plan promises, and what each kind adds to it."""

import json
import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellzoo.converters.store.sampling import Blocks, Grouped, Random, Sequential, Weighted, balanced, row_numbers
from cellzoo.errors import InputError

KINDS = ["sequential", "random", "blocks", "grouped", "grouped by 2", "weighted", "without replacement"]
ONCE = [kind for kind in KINDS if kind != "weighted"]
"""Plans that visit each row exactly once."""


def make(kind, rows, size=4, **more):
    """Make a plan over `rows`, numbers below 1000, that fall in three groups of different sizes."""
    groups = np.where(np.arange(1000) % 2, "T", np.where(np.arange(1000) % 4, "B", "NK"))
    weights = 1 + np.arange(1000) % 3
    plans = {
        "sequential": lambda: Sequential(rows, size, **more),
        "random": lambda: Random(rows, size, **more),
        "blocks": lambda: Blocks(rows, size, block=16, window=3, **more),
        "grouped": lambda: Grouped(groups, size, rows=rows, **more),
        "grouped by 2": lambda: Grouped(groups, size, rows=rows, per_batch=2, **more),
        "weighted": lambda: Weighted(weights, size, rows=rows, **more),
        "without replacement": lambda: Weighted(weights, size, rows=rows, replacement=False, **more),
    }
    return plans[kind]()


def flat(batches):
    return np.concatenate([*batches, np.zeros(0, np.int64)]).tolist()


kinds = st.sampled_from(KINDS)
once = st.sampled_from(ONCE)
some_rows = st.lists(st.integers(0, 999), min_size=1, max_size=120, unique=True).map(
    lambda rows: sorted({*rows, 0, 1, 2, 3})
)
seeds = st.integers(0, 2**32)
sizes = st.sampled_from([2, 4, 6, 50])


@given(once, some_rows, sizes, seeds)
def test_an_epoch_visits_each_row_exactly_once(kind, rows, size, seed):
    batches = list(make(kind, rows, size, seed=seed))
    assert sorted(flat(batches)) == rows
    assert all(0 < len(batch) <= size for batch in batches)


@given(kinds, some_rows, sizes, st.integers(1, 5), st.integers(1, 4))
def test_ranks_and_workers_share_an_epoch_without_overlap(kind, rows, size, world, workers):
    whole = [batch.tolist() for batch in make(kind, rows, size)]
    shared = {}
    for rank in range(world):
        plan = make(kind, rows, size).shard(rank, world)
        for worker in range(workers):
            for step, batch in plan.left(worker, workers):
                assert (step, rank) not in shared
                shared[step, rank] = batch.tolist()
    assert [shared[place] for place in sorted(shared)] == whole


@given(kinds, some_rows, sizes, st.integers(1, 5))
def test_dropped_ends_leave_every_rank_as_many_full_batches(kind, rows, size, world):
    whole = make(kind, rows, size, ends="drop")
    shards = [list(whole.shard(rank, world)) for rank in range(world)]
    assert {len(shard) for shard in shards} == {len(list(whole)) // world}
    assert all(len(batch) == size for shard in shards for batch in shard)
    seen = flat(batch for shard in shards for batch in shard)
    assert set(seen) <= set(rows)
    assert kind == "weighted" or len(set(seen)) == len(seen)


@given(kinds, some_rows, sizes, st.integers(1, 5))
def test_padded_ends_leave_every_rank_as_many_full_batches_and_miss_no_row(kind, rows, size, world):
    whole = make(kind, rows, size, ends="pad")
    shards = [list(whole.shard(rank, world)) for rank in range(world)]
    assert len({len(shard) for shard in shards}) == 1
    assert all(len(batch) == size for shard in shards for batch in shard)
    seen = set(flat(batch for shard in shards for batch in shard))
    assert seen == set(rows) if kind != "weighted" else seen <= set(rows)


@given(kinds, some_rows, seeds, st.integers(0, 50))
def test_a_plan_is_a_function_of_seed_and_epoch(kind, rows, seed, epoch):
    orders = []
    for plan in (make(kind, rows, seed=seed), make(kind, rows, seed=seed)):
        plan.set_epoch(epoch)
        orders.append([batch.tolist() for batch in plan])
    assert orders[0] == orders[1]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "sequential"])
def test_each_epoch_and_each_seed_has_an_order_of_its_own(kind):
    plan = make(kind, 400)
    first, second = flat(plan), flat(plan)
    assert plan.epoch == 2
    assert first != second
    assert flat(make(kind, 400, seed=1)) not in (first, second)
    plan.set_epoch(0)
    assert flat(plan) == first


@given(kinds, some_rows, st.integers(0, 3), st.data())
def test_a_plan_that_is_stopped_anywhere_goes_on_with_the_same_batches(kind, rows, epoch, data):
    plan = make(kind, rows).shard(1, 2)
    plan.set_epoch(epoch)
    stop = data.draw(st.integers(0, max(len(plan) - 1, 0)))
    left = iter(plan)
    for _ in range(stop if len(plan) else 0):
        next(left)
    state = json.loads(json.dumps(plan.state_dict()))
    expected = [batch.tolist() for batch in left]
    again = pickle.loads(pickle.dumps(make(kind, rows).shard(1, 2)))
    again.load_state_dict(state)
    assert [batch.tolist() for batch in again] == expected
    assert again.epoch == plan.epoch == epoch + 1


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (make("random", 99), r"rows was 100 \(.*\), is 99 "),
        (make("random", 100, seed=3), "seed was 0, is 3"),
        (make("random", 100, ends="drop"), "ends was keep, is drop"),
        (make("random", 100).shard(0, 2), "world was 1, is 2"),
        (make("blocks", 100), "block was None, is 16; kind was Random, is Blocks; window was None, is 3"),
    ],
    ids=["rows", "seed", "ends", "ranks", "kind"],
)
def test_a_state_of_another_plan_is_refused(other, said):
    with pytest.raises(InputError, match=said):
        other.load_state_dict(make("random", 100).state_dict())


def test_a_random_plan_is_a_fair_shuffle():
    places = np.array([np.concatenate(list(Random(10, 3, seed=seed))) for seed in range(2000)])
    seen = np.array([[(places[:, at] == row).sum() for row in range(10)] for at in range(10)])
    assert abs(seen - 200).max() < 5 * np.sqrt(200 * 0.9)  # five standard deviations, 100 numbers


def test_a_block_plan_reads_a_window_of_blocks_before_it_begins_the_next():
    rows = np.concatenate(list(Blocks(160, 7, block=10, window=4, seed=2)))
    windows = [sorted({*(rows[at : at + 40] // 10).tolist()}) for at in range(0, 160, 40)]
    assert [len(window) for window in windows] == [4, 4, 4, 4]
    assert sorted(sum(windows, [])) == list(range(16))
    assert len(set((rows[:10] // 10).tolist())) > 1  # mixed, not one block after the other


def test_a_grouped_batch_is_of_one_group_and_rows_without_a_group_are_left_out():
    groups = pd.Series(pd.Categorical(["B", None, "T", "T", "B", "T", "T", "T"], categories=["T", "B", "NK"]))
    batches = list(Grouped(groups, 2))
    assert sorted(flat(batches)) == [0, 2, 3, 4, 5, 6, 7]
    assert all(groups[batch].nunique() == 1 for batch in batches)
    assert sorted(len(batch) for batch in batches) == [1, 2, 2, 2]


def test_a_batch_of_several_groups_has_an_equal_share_of_each():
    groups = np.repeat(["a", "b", "c", "d"], [40, 20, 20, 20])
    batches = list(Grouped(groups, 10, per_batch=2, seed=4))
    assert len(batches) == 10
    for batch in batches:
        _, counts = np.unique(groups[batch], return_counts=True)
        assert counts.tolist() == [5, 5]


def test_weights_are_the_chances_of_being_drawn():
    weights = np.array([0.0, 1, 2, 5] * 25)
    drawn = np.concatenate(list(Weighted(weights, 100, length=80_000)))
    share = np.bincount(drawn % 4, minlength=4) / len(drawn)
    assert share == pytest.approx([0, 1 / 8, 2 / 8, 5 / 8], abs=0.01)


def test_without_replacement_heavy_rows_come_first():
    weights = np.where(np.arange(1000) < 500, 1.0, 9.0)
    drawn = np.concatenate(list(Weighted(weights, 100, replacement=False, length=200)))
    assert len(set(drawn.tolist())) == 200
    assert 0.85 < (drawn >= 500).mean() < 0.95


@given(st.lists(st.integers(1, 60), min_size=2, max_size=5), seeds)
def test_balanced_weights_draw_each_group_as_often(group_sizes, seed):
    groups = np.repeat(np.arange(len(group_sizes)), group_sizes)
    drawn = groups[np.concatenate(list(Weighted(balanced(groups), 512, length=20_000, seed=seed)))]
    assert np.bincount(drawn) / 20_000 == pytest.approx(1 / len(group_sizes), abs=0.03)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: Random(10, 0), "batch_size 0"),
        (lambda: Random(10, 1, ends="cut"), "ends 'cut'"),  # type: ignore[arg-type]
        (lambda: Random([1, 1], 1), "given twice"),
        (lambda: Random([-1], 1), "rows -1 to -1"),
        (lambda: Random([0.5], 1), "rows of type float64"),
        (lambda: Random(10, 1).shard(2, 2), "rank 2 of 2: expected 0 to 1"),
        (lambda: Blocks(10, 1, block=0), "block 0"),
        (lambda: Grouped(["a", "b"], 5, per_batch=2), "a divisor of 5"),
        (lambda: Grouped(["a", "b"], 6, per_batch=3), "at most the 2 groups"),
        (lambda: Weighted([1, np.nan], 1), "finite numbers"),
        (lambda: Weighted([1, -1], 1), "at least 0"),
        (lambda: Weighted([1, 0], 1, replacement=False, length=2), "at most the 1 rows of weight above 0"),
        (lambda: Weighted([0, 0], 1, length=2), "at most the 0 rows"),
        (lambda: Weighted([1, 1], 1, rows=[True]), "a mask of 1 rows: expected one of 2"),
        (lambda: Weighted([1, 1], 1, rows=[2]), "rows 2 to 2: expected numbers from 0 to below 2"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(call, said):
    with pytest.raises(InputError, match=said):
        call()


def test_no_rows_make_no_batches():
    for plan in (Random(0, 4), Blocks(0, 4), Grouped([], 4), Weighted([], 4), Random(0, 4, ends="pad")):
        assert list(plan) == []
    assert row_numbers([]).tolist() == []


def test_cells_without_a_label_are_of_no_group_whether_as_words_or_as_codes():
    words: Any = ["B", "T", "T", None, None]
    codes: Any = np.array([0, 1, 1, -1, -1], dtype=np.int32)
    for groups in (words, codes):
        assert balanced(groups).tolist() == [1, 0.5, 0.5, 0, 0]
        assert sorted(np.concatenate(list(Grouped(groups, 2, seed=1))).tolist()) == [0, 1, 2]
