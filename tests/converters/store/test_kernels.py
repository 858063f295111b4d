"""The compiled loops of the store against their NumPy twins, and against bytes that were altered."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cellzoo.converters.store import kernels, twins
from cellzoo.converters.store.layout import frozen
from cellzoo.converters.store.matrix import TYPES, groups_of, sentinel

NO_ESCAPES = np.empty(0, np.int64), np.empty(0)


@st.composite
def matrices(draw, features=(1, 3, 64, 255, 256, 700)):
    """CSR with rows of any density, empty ones too, and values from 1 to beyond what any small type holds."""
    width, rows, seed = draw(st.sampled_from(features)), draw(st.integers(0, 6)), draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    there = rng.random((rows, width)) < rng.choice([0, 0.002, 0.02, 0.3, 1], size=(rows, 1))
    large = rng.choice([1, 2, 254, 255, 256, 65_534, 65_535, 65_536, 2**24 + 1, 2**32, 2**40], size=there.shape)
    return sp.csr_matrix(np.where(there, large, 0).astype(np.float64))


def encoded(matrix, values):
    codes, places, escaped = np.empty(matrix.nnz, TYPES[values]), np.empty(matrix.nnz, np.int64), np.empty(matrix.nnz)
    totals = np.empty(matrix.shape[0])
    fault, aside = kernels.encode(matrix.indptr, matrix.data, sentinel(values), codes, places, escaped, totals)
    assert fault == kernels.OK
    return codes, places[:aside], escaped[:aside], totals


def gathered(matrix, rows, values="u8", *, normalize=None, log1p=False, columns=None, ids="u16", spoil=None):
    """Encode a matrix, spoil it if asked, gather rows; return the fault and the result."""
    codes, places, escaped, totals = encoded(matrix, values)
    parts = {"ids": matrix.indices.astype(TYPES[ids]), "codes": codes, "places": places, "escaped": escaped}
    if spoil:
        spoil(parts)
    first, lengths = matrix.indptr[rows].astype(np.int64), np.diff(matrix.indptr)[rows].astype(np.int64)
    parts = {name: frozen(part) for name, part in parts.items()}
    room, width = int(lengths.sum()), matrix.shape[1]
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    indices, data = np.empty(room, np.int32), np.empty(room, np.float32 if normalize or log1p else np.float64)
    fault = kernels.gather(
        *(first, first, lengths, parts["ids"], parts["codes"], sentinel(values), parts["places"], parts["escaped"]),
        *(totals[rows], float(normalize or 0), log1p, width, indptr, indices, data),
    )
    if columns is not None and not fault:
        column = np.full(width, -1, np.int32)
        column[columns] = np.arange(len(columns))
        width = len(columns)
        kernels.choose(column, indptr, indices, data)
    used = indptr[-1]
    return fault, None if fault else sp.csr_matrix((data[:used], indices[:used], indptr), shape=(len(rows), width))


@given(matrices(), st.sampled_from(["u8", "u16", "f64"]))
def test_encoding_is_that_of_numpy_and_holds_every_value(matrix, values):
    codes, places, escaped, totals = encoded(matrix, values)
    for mine, twin in zip(
        (codes, places, escaped), twins.encode(matrix.data, sentinel(values), TYPES[values]), strict=True
    ):
        np.testing.assert_array_equal(mine, twin)
    held = codes.astype(np.float64)
    held[places] = escaped
    np.testing.assert_array_equal(held, matrix.data)
    np.testing.assert_array_equal(totals, matrix.toarray().sum(axis=1))


@pytest.mark.parametrize("value", [0.5, -1.0, -0.25, 254.5, 255, 1e300])
def test_what_is_no_small_integer_is_kept_aside(value):
    codes, places, escaped, _ = encoded(sp.csr_matrix([[1.0, value, 254.0]]), "u8")
    assert (codes.tolist(), places.tolist(), escaped.tolist()) == ([1, 255, 254], [1], [value])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("values", ["u8", "f32"])
def test_a_value_that_is_no_number_is_reported_with_its_place(value, values):
    data = np.array([1.0, 2.0, value])
    found = kernels.encode(
        np.array([0, 2, 3]),
        data,
        sentinel(values),
        np.empty(3, TYPES[values]),
        *(np.empty(3, np.int64), np.empty(3), np.empty(2)),
    )
    assert found == (kernels.NOT_FINITE, 2)


@given(matrices(), st.sampled_from(["u8", "u16"]), st.randoms(use_true_random=False))
def test_packing_is_that_of_numpy_and_unpacking_gives_any_rows_back(matrix, values, random):
    codes, *_ = encoded(matrix, values)
    ids, indptr = matrix.indices.astype(np.uint16), matrix.indptr.astype(np.int64)
    gaps = np.empty(matrix.nnz + matrix.shape[0] * (matrix.shape[1] // 255 + 1), np.uint8)
    gaps = frozen(gaps[: kernels.pack(indptr, ids, gaps)])
    np.testing.assert_array_equal(gaps, twins.pack(indptr, ids))
    wanted = np.sort(random.sample(range(matrix.shape[0]), random.randint(0, matrix.shape[0]))).astype(np.int64)
    asked = matrix[wanted]
    asked_codes = np.concatenate([codes[:0], *(codes[indptr[row] : indptr[row + 1]] for row in wanted)])
    back_ids, back = np.empty(asked.nnz, np.uint16), np.empty(asked.nnz, codes.dtype)
    ends = frozen(indptr + 10**10)  # as of a group far into a store
    assert kernels.unpack(ends, wanted, gaps, frozen(codes), matrix.shape[1], back_ids, back) == kernels.OK
    for mine, twin, want in zip(
        (back_ids, back), twins.unpack(ends, wanted, gaps, codes), (asked.indices, asked_codes), strict=True
    ):
        np.testing.assert_array_equal(mine, twin)
        np.testing.assert_array_equal(mine, want)


@given(
    matrices(features=(3, 64, 300)),
    st.sampled_from(["u8", "u16", "f64"]),
    st.sampled_from([(None, False), (1e4, False), (None, True), (1e4, True)]),
    st.sampled_from([None, "increasing", "any"]),
    st.randoms(use_true_random=False),
)
@settings(max_examples=200)
def test_gathering_is_that_of_numpy_for_any_rows_and_columns(matrix, values, change, pick, random):
    rows = np.array([random.randrange(matrix.shape[0]) for _ in range(5)] if matrix.shape[0] else [], np.int64)
    columns = None
    if pick:
        columns = np.array(random.sample(range(matrix.shape[1]), random.randrange(1, matrix.shape[1])), np.int64)
        columns = np.sort(columns) if pick == "increasing" else columns
    normalize, log1p = change
    fault, found = gathered(matrix, rows, values, normalize=normalize, log1p=log1p, columns=columns)
    assert fault == kernels.OK
    assert found.has_canonical_format or pick == "any"
    exact = 3e-7 if normalize or log1p else 0  # float32 has 6e-8
    np.testing.assert_allclose(found.toarray(), twins.gather(matrix, rows, normalize, log1p, columns), rtol=exact)


@given(st.floats(1e-6, 1e9))
@example(1e-300)
@example(1e-30)
@example(1e29)
@example(1e31)
@example(1e200)
def test_logarithms_are_exact_to_three_units_in_the_last_place_whatever_cells_are_scaled_to(target):
    matrix = sp.csr_matrix(np.vstack([np.arange(1, 255), np.arange(254, 0, -1), np.ones(254), [2] * 254]) * 1.0)
    fault, found = gathered(matrix, np.arange(4), normalize=target, log1p=True)
    expected = twins.gather(matrix, np.arange(4), target, log1p=True).astype(np.float32)
    assert fault == kernels.OK
    np.testing.assert_array_max_ulp(found.toarray(), expected, maxulp=3)


def test_a_cell_with_a_negative_total_has_the_logarithms_of_numpy():
    matrix = sp.csr_matrix([[1.0, 2.0, -13.0]])
    with np.errstate(invalid="ignore"):
        expected = np.log1p(np.array([[1.0, 2.0, -13.0]]) / -10 * 40)
    np.testing.assert_allclose(gathered(matrix, [0], normalize=40, log1p=True)[1].toarray(), expected, rtol=3e-7)


@given(matrices())
def test_a_dense_batch_is_that_of_scipy_in_memory_that_was_used(matrix):
    out = np.full(matrix.shape, 7.0)
    kernels.dense(matrix.indptr, matrix.indices, matrix.data, out)
    np.testing.assert_array_equal(out, matrix.toarray())


def test_ids_of_more_than_65536_features_are_gathered():
    matrix = sp.csr_matrix((np.array([1.0, 300.0]), np.array([5, 199_999]), np.array([0, 2])), shape=(1, 200_000))
    fault, found = gathered(matrix, np.array([0]), ids="u32")
    assert fault == kernels.OK
    assert found[0, 199_999] == 300


@pytest.mark.parametrize(
    ("part", "place", "value", "fault"),
    [
        ("ids", 1, 999, kernels.NO_FEATURE),
        ("ids", 0, 65_535, kernels.NO_FEATURE),
        ("codes", 0, 255, kernels.NO_ESCAPE),
        ("places", 0, 3, kernels.NO_ESCAPE),
        ("places", 0, -1, kernels.NO_ESCAPE),
        ("places", 1, 1, kernels.NO_ESCAPE),
        ("places", 1, 2, kernels.NO_ESCAPE),
    ],
)
def test_an_altered_row_is_reported_and_never_read_beyond(part, place, value, fault):
    def spoil(parts):
        parts[part][place] = value

    matrix = sp.csr_matrix([[1.0, 300.0, 2.0, 3.0, 400.0]])
    assert gathered(matrix, np.array([0]))[0] == kernels.OK
    assert gathered(matrix, np.array([0]), spoil=spoil)[0] == fault


@pytest.mark.parametrize(
    ("gaps", "fault"),
    [
        ([0, 0, 0], kernels.OK),
        ([0, 0], kernels.TORN),
        ([0, 0, 0, 0], kernels.TORN),
        ([0, 0, 255], kernels.TORN),
        ([0, 0, 255, 0], kernels.NO_FEATURE),
        ([0, 9, 0], kernels.NO_FEATURE),
    ],
)
def test_an_altered_group_is_reported_and_never_read_beyond(gaps, fault):
    found = kernels.unpack(
        *(
            frozen(np.array([0, 1, 3])),
            np.array([0, 1]),
            frozen(np.array(gaps, np.uint8)),
            frozen(np.ones(3, np.uint8)),
        ),
        *(4, np.empty(3, np.uint16), np.empty(3, np.uint8)),
    )
    assert found == fault


@given(st.lists(st.integers(0, 9), max_size=30), st.integers(1, 12), st.integers(1, 5))
def test_groups_follow_each_other_and_each_but_the_rest_is_full(lengths, values, rows):
    lengths = np.array(lengths, np.int64)
    groups = list(groups_of(lengths, values, rows))
    assert [start for start, _ in groups] == [0, *(stop for _, stop in groups)][: len(groups)]
    for start, stop in groups:
        assert lengths[start:stop].sum() >= values or stop - start == rows
        assert lengths[start : stop - 1].sum() < values
    rest = lengths[groups[-1][1] if groups else 0 :]
    assert rest.sum() < values
    assert len(rest) < rows or not len(rest)
