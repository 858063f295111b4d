"""Turning out of core: what comes out is what went in, whatever the order, in memory and in a file."""

import os

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from cellzoo.converters import transpose
from cellzoo.converters.rows import Memory, to_csr
from cellzoo.converters.transpose import Scratch, Spilled, Turn, gather, reordered, turned
from cellzoo.errors import WorldError


@pytest.fixture(params=[True, False], ids=["in memory", "in a file"])
def held(request, monkeypatch):
    """Hold matrices in memory, or nothing of them; return whether in memory."""
    monkeypatch.setattr(transpose, "IN_MEMORY", 10**6 if request.param else 7)
    monkeypatch.setattr(transpose, "BUCKET", 3)
    monkeypatch.setattr(transpose, "PIECE", 5)
    return request.param


def random(cells, features, seed=0):
    return sp.random(cells, features, density=0.3, format="csr", rng=np.random.default_rng(seed))


def same(rows, matrix):
    got = to_csr(rows)
    assert got.shape == matrix.shape
    assert got.has_canonical_format
    return (got != sp.csr_matrix(matrix)).nnz == 0


@given(
    entries=st.lists(st.tuples(st.integers(0, 10), st.integers(0, 4), st.integers(-5, 5)), max_size=60),
    size=st.integers(1, 9),
    limit=st.sampled_from([0, 5, 10**6]),
)
def test_a_turn_is_the_sum_of_what_it_was_given(entries, size, limit):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transpose, "IN_MEMORY", limit)
        patch.setattr(transpose, "BUCKET", 4)
        patch.setattr(transpose, "PIECE", 7)
        turn, expected = Turn(), np.zeros((11, 5))
        for start in range(0, len(entries), size):
            cells, features, values = zip(*entries[start : start + size], strict=True)
            turn.add(np.array(cells), np.array(features), np.array(values))
        for cell, feature, value in entries:
            expected[cell, feature] += value
        rows = turn.rows(11, 5)
        assert (to_csr(rows).toarray() == expected).all()
        assert isinstance(rows, Spilled) == (np.count_nonzero(expected) > limit)


def test_every_range_of_a_gathered_matrix_is_its_cells(held):
    matrix = random(20, 6)
    rows = gather((matrix[start : start + 4] for start in range(0, 20, 4)), 6)
    assert isinstance(rows, Memory if held else Spilled)
    for start in range(20):
        for stop in range(start, 21):
            assert (rows.read(start, stop) != matrix[start:stop]).nnz == 0


def test_a_csc_is_turned_to_the_last_value(held):
    matrix = random(20, 9)
    csc = matrix.tocsc()
    assert same(turned(csc.indptr, csc.indices, csc.data, 20), matrix)


def test_cells_are_put_in_another_order_and_left_out(held):
    matrix, order = random(6, 5), np.array([4, 0, 5, 2])
    place = np.full(6, -1)
    place[order] = np.arange(4)
    assert same(reordered(Memory(matrix), place), matrix[order])


def test_nan_negative_and_whole_numbers_survive(held):
    turn = Turn(np.float32)
    turn.add(np.array([2, 0, 1]), np.array([0, 1, 1]), np.array([np.nan, -1, 2**24]))
    for number in range(20):
        turn.add(np.array([number % 3]), 2, 0.5)
    rows = turn.rows(3, 3)
    assert rows.dtype == np.float32
    got = to_csr(rows).toarray()
    assert np.isnan(got[2, 0])
    assert (got[0, 1], got[1, 1]) == (-1, 2**24)


def test_a_matrix_without_values_has_its_shape(held):
    assert same(Turn().rows(4, 3), sp.csr_matrix((4, 3)))
    assert same(gather([], 3), sp.csr_matrix((0, 3)))


def test_a_scratch_file_has_no_name_and_is_closed_with_its_last_user(monkeypatch, tmp_path):
    monkeypatch.setenv("CELLZOO_HOME", str(tmp_path))
    file = Scratch()
    assert file.append(np.arange(3)) == 0
    assert file.append(np.arange(4.0)) == 24
    assert list((tmp_path / "partial").iterdir()) == []
    assert file.read(8, 2, np.int64).tolist() == [1, 2]
    handle = file.handle
    del file
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(handle)


def test_a_full_disk_is_said_with_what_to_do(monkeypatch, tmp_path):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setenv("CELLZOO_HOME", str(tmp_path))
    file = Scratch()
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(WorldError) as caught:
        file.append(np.arange(3))
    assert str(caught.value) == (
        f"{tmp_path / 'partial'}: No space left on device. A large matrix is put in order there; "
        "set CELLZOO_HOME to a folder on a larger disk."
    )
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CELLZOO_HOME", str(tmp_path / "file"))
    with pytest.raises(WorldError, match=r"file/partial: cannot be written: Not a directory. Set CELLZOO_HOME."):
        Scratch()
