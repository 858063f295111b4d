"""Rows: whatever a matrix is made of, any range of its cells is what the whole has there."""

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from cellzoo.converters import rows as rows_module
from cellzoo.converters.rows import (
    BLOCK_BYTES,
    Mapped,
    Memory,
    Picked,
    Rows,
    Stacked,
    Stored,
    blocks,
    canonical,
    to_csr,
)
from cellzoo.errors import InputError

DENSE = np.random.default_rng(1).poisson(0.4, size=(40, 7)).astype(np.float32)
CSR = sp.csr_matrix(DENSE)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / "x.h5ad"
    adata = anndata.AnnData(CSR, layers={"dense": DENSE, "wide": CSR.astype(np.int64)})
    adata.obs_names, adata.var_names = [f"c{n}" for n in range(40)], [f"g{n}" for n in range(7)]
    adata.write_h5ad(path)
    with h5py.File(path, "a") as file:
        file["turned"] = DENSE.T
        file["compressed"] = DENSE
        file["half"] = DENSE.astype(np.float16)
        file.create_dataset("chunks", data=DENSE, chunks=(6, 2))
        file.create_dataset("turned chunks", data=DENSE.T, chunks=(2, 6))
    return path


KINDS: dict[str, Callable[[Path], Rows]] = {
    "in memory": lambda _: Memory(DENSE),
    "by column": lambda _: Memory(sp.csc_matrix(DENSE)),
    "CSR in a file": lambda path: Stored(path, "X"),
    "half floats in a file": lambda path: Stored(path, "half"),
    "integers in a file": lambda path: Stored(path, "layers/wide"),
    "dense in a file": lambda path: Stored(path, "layers/dense"),
    "features by cells in a file": lambda path: Stored(path, "turned", turned=True),
    "computed": lambda path: Mapped(Stored(path, "X"), 7, lambda block, _: block),
    "picked": lambda _: Picked(Memory(np.repeat(DENSE, 2, axis=0)), np.arange(0, 80, 2)),
    "picked far apart": lambda _: Picked(Memory(np.repeat(DENSE, 50, axis=0)), np.arange(0, 2000, 50)),
    "stacked": lambda path: Stacked([Memory(DENSE[:1]), Stored(path, "X"), Memory(DENSE[3:3])]),
}
SAME = {name: DENSE for name in KINDS} | {"stacked": np.vstack([DENSE[:1], DENSE])}


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25)
@given(st.integers(0, 41), st.integers(0, 41))
def test_a_range_of_cells_is_what_the_whole_has_there(path, kind, one, other):
    rows, start, stop = KINDS[kind](path), min(one, other), max(one, other)
    stop = min(stop, rows.shape[0])
    read = rows.read(min(start, stop), stop)
    assert isinstance(read, sp.csr_matrix)
    assert read.has_canonical_format and (read.data != 0).all()
    assert read.toarray().tolist() == SAME[kind][min(start, stop) : stop].tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_the_whole_comes_back_in_any_blocks(path, kind):
    rows = KINDS[kind](path)
    assert rows.shape == SAME[kind].shape
    assert to_csr(rows).toarray().tolist() == SAME[kind].tolist()
    for cells in (1, 7, 100):
        parts = list(blocks(rows, cells))
        assert [start for start, _ in parts] == list(range(0, rows.shape[0], cells))
        assert sp.vstack([part for _, part in parts]).toarray().tolist() == SAME[kind].tolist()


def test_a_block_takes_about_as_much_memory_as_it_may():
    matrix = sp.csr_matrix(np.ones((20_000, 3_000), dtype=np.float32))
    sizes = [block.nnz * 8 for _, block in blocks(Memory(matrix))][1:-1]
    assert sizes
    assert all(0.5 * BLOCK_BYTES < size <= BLOCK_BYTES for size in sizes)


def test_only_the_range_that_is_asked_for_is_read(tmp_path):
    with h5py.File(tmp_path / "huge.h5", "w") as file:  # 4 TB if it were all read; nothing is allocated
        file.create_dataset("X", shape=(10_000_000, 100_000), dtype="f4", chunks=(1, 100_000))
        file["X"][9_999_999, 5] = 3
    rows = Stored(tmp_path / "huge.h5", "X")
    assert rows.read(9_999_990, 10_000_000).tocoo().col.tolist() == [5]


def test_a_damaged_place_of_a_file_is_said(path, tmp_path):
    shutil.copy(path, tmp_path / "x.h5ad")
    with h5py.File(tmp_path / "x.h5ad", "a") as file:
        file["X/indices"][-1] = 1_000_000
    rows = Stored(tmp_path / "x.h5ad", "X")
    assert rows.read(0, 10).toarray().tolist() == DENSE[:10].tolist(), "the rest is whole"
    with pytest.raises(InputError, match=r"X, cells 30 to 40: .*names feature 1000000 of 7. The file is damaged"):
        rows.read(30, 40)


def at(name, place, value):
    return lambda matrix: matrix[name].__setitem__(place, value)


def without(name):
    return lambda matrix: matrix.__delitem__(name)


def shortened(matrix):
    ends = matrix["indptr"][:-1]
    del matrix["indptr"]
    matrix["indptr"] = ends


DAMAGE = {
    "a pointer that decreases": (at("indptr", 35, 0), "its pointers do not follow each other"),
    "a pointer that is negative": (at("indptr", 31, -7), "its pointers do not follow each other"),
    "a pointer behind the values": (at("indptr", 40, 9999), "its pointers end at 9999, it has "),
    "too few pointers": (shortened, "has 10 pointers there, expected 11"),
    "a negative feature": (at("indices", -1, -3), "names feature -3 of 7"),
    "no pointers": (without("indptr"), "has no indptr"),
    "no features": (without("indices"), "has no indices"),
}


@pytest.mark.parametrize(("damage", "says"), DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_sparse_matrix_is_said_where_it_is_read(path, tmp_path, damage, says):
    shutil.copy(path, tmp_path / "x.h5ad")
    with h5py.File(tmp_path / "x.h5ad", "a") as file:
        damage(file["X"])
    with pytest.raises(InputError, match=rf"x.h5ad: X, cells 30 to 40: cannot be read: {says}.*The file is damaged\."):
        Stored(tmp_path / "x.h5ad", "X").read(30, 40)


def test_pointers_without_sign_are_compared_as_numbers(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        node = file.create_group("X")
        node.attrs["shape"] = (2, 3)
        node["data"], node["indices"], node["indptr"] = [1.0, 2.0], [0, 2], np.array([0, 2, 1], np.uint64)
    with pytest.raises(InputError, match="do not follow each other"):
        Stored(tmp_path / "x.h5", "X").read(0, 2)


def test_a_matrix_in_a_file_goes_to_another_process(path):
    rows = Stored(path, "X")
    rows.read(0, 5)
    assert pickle.loads(pickle.dumps(rows)).read(2, 4).toarray().tolist() == DENSE[2:4].tolist()  # noqa: S301


def test_canonical_leaves_what_it_was_given_as_it_was():
    twice = sp.csr_matrix((np.array([1.0, 2.0, 0.0]), np.array([1, 1, 0]), np.array([0, 2, 3])), shape=(2, 2))
    made = canonical(twice)
    assert (made.toarray().tolist(), made.nnz) == ([[0, 3], [0, 0]], 1)
    assert twice.data.tolist() == [1, 2, 0]


def test_the_function_is_told_where_its_block_starts():
    seen = []

    def look(block, start):
        seen.append(start)
        return block

    rows = Mapped(Memory(DENSE), 7, look)
    assert [start for start, _ in blocks(rows, 15)] == seen == [0, 15, 30]
    assert pd.Series(seen).is_monotonic_increasing


class Seen:
    """An array in a file that notes how many cells are read at a time."""

    def __init__(self, node, turned):
        self.node, self.turned, self.heights, self.chunks = node, turned, [], node.chunks

    def __getitem__(self, at):
        read = self.node[at]
        self.heights.append(read.shape[self.turned])
        return read


PIECES = [  # matrix, features by cells or not, first cell, cells that are read at a time
    ("layers/dense", False, 0, [15, 15, 10]),
    ("turned", True, 7, [8, 15, 10]),
    ("chunks", False, 0, [12, 12, 12, 4]),
    ("chunks", False, 7, [5, 12, 12, 4]),
    ("turned chunks", True, 7, [5, 12, 12, 4]),
]


@pytest.mark.parametrize(("key", "turned", "first", "heights"), PIECES)
def test_a_dense_matrix_is_read_in_pieces_of_whole_chunks(path, monkeypatch, key, turned, first, heights):
    monkeypatch.setattr(rows_module, "BLOCK_BYTES", 15 * 7 * 4)
    rows = Stored(path, key, turned)
    seen = rows.__dict__["_node"] = Seen(rows._node, turned)
    assert rows.read(first, 40).toarray().tolist() == DENSE[first:].tolist()
    assert seen.heights == heights
