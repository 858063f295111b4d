"""Compiled loops of the store: encode, pack, unpack and gather rows; `twins` says the same in NumPy.

Each is compiled once for each combination of types it meets and kept on disk (``cache=True``); all release the GIL.
"""

# ruff: noqa: PLR0912, PLR0913, PLR0917 (a kernel takes arrays, no objects, and calls nothing for a row)

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cellzoo.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable

    def njit(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Stand in for numba's untyped decorator."""

    def prefetch(array: np.ndarray, place: Any) -> None:
        """Stand in for what only a compiled loop can call."""

else:
    try:
        from numba import njit

        from cellzoo.converters.store.prefetch import prefetch
    except ImportError as error:
        raise MissingExtraError("The store", "store") from error

FAR = 2.0**100
"""Scaled values from here on are not for `_log1p`."""
LINE = 64
"""Bytes that a processor fetches at once."""
LONG_GAP = 255
"""A byte that says: this far, and the next byte goes on."""
OK, NOT_FINITE, NO_FEATURE, NO_ESCAPE, TORN = range(5)
"""What a kernel reports: well; NaN or infinity; a feature that is not there; a lost escape; bytes too many or few."""


@njit(cache=True, nogil=True)
def encode(
    indptr: np.ndarray,
    values: np.ndarray,
    sentinel: int,
    codes: np.ndarray,
    escaped_at: np.ndarray,
    escaped: np.ndarray,
    totals: np.ndarray,
) -> tuple[int, int]:
    """Write values as small integers, those that do not fit as ``sentinel`` with place and value aside, and row totals.

    A ``sentinel`` of 0 writes every value as it is. Returns what was found and the number of escapes, or for
    `NOT_FINITE` the place of the value.
    """
    aside = 0
    for row in range(len(indptr) - 1):
        total = 0.0
        for p in range(indptr[row], indptr[row + 1]):
            value = values[p]
            if not np.isfinite(value):
                return NOT_FINITE, p
            total += value
            if sentinel == 0:
                codes[p] = value
            elif 0 <= value < sentinel and value == np.floor(value):
                codes[p] = int(value)
            else:
                codes[p] = sentinel
                escaped_at[aside] = p
                escaped[aside] = value
                aside += 1
        totals[row] = total
    return OK, aside


@njit(cache=True, nogil=True)
def _largest(numbers: np.ndarray) -> Any:
    """Return the largest of some numbers that are not negative; compiled to vector code, unlike a comparison each."""
    largest = numbers.dtype.type(0)
    for k in range(len(numbers)):
        largest = max(largest, numbers[k])
    return largest


@njit(cache=True, nogil=True)
def pack(indptr: np.ndarray, ids: np.ndarray, gaps: np.ndarray) -> int:
    """Write the ids of each row, which increase, as the gaps between them (bytes; 255 goes on); return the bytes.

    ``gaps`` has room for one byte a value and one for each 255 features of each row.
    """
    g = 0
    for row in range(len(indptr) - 1):
        before = -1
        for p in range(indptr[row], indptr[row + 1]):
            gap = int(ids[p]) - before - 1
            before = int(ids[p])
            while gap >= LONG_GAP:
                gaps[g] = LONG_GAP
                gap -= LONG_GAP
                g += 1
            gaps[g] = gap
            g += 1
    return g


@njit(cache=True, nogil=True)
def _ids(gaps: np.ndarray, n: int, ids: np.ndarray) -> tuple[int, int]:
    """Write n ids from the gaps between them where ``ids`` has room, and return the bytes of gaps and the last id.

    A row without long gaps, as most are, is passed over without a look at each; -1 bytes where there are too few.
    """
    key = -1
    if _largest(gaps[:n]) < LONG_GAP:
        for k in range(len(ids)):
            key += gaps[k] + 1
            ids[k] = key
        return n, key
    g = k = 0
    while k < n:
        if g == len(gaps):
            return -1, key
        key += gaps[g]
        if gaps[g] < LONG_GAP:
            key += 1
            if len(ids):
                ids[k] = key
            k += 1
        g += 1
    return g, key


@njit(cache=True, nogil=True)
def unpack(
    ends: np.ndarray,
    wanted: np.ndarray,
    gaps: np.ndarray,
    packed: np.ndarray,
    features: int,
    ids: np.ndarray,
    codes: np.ndarray,
) -> int:
    """Write some rows of a group, ``wanted`` in increasing order, one after the other; return what was found.

    Row i has the values from ``ends[i] - ends[0]`` on of ``packed``.
    """
    g = o = w = 0
    for row in range(len(ends) - 1):
        first, n = ends[row] - ends[0], ends[row + 1] - ends[row]
        if g + n > len(gaps) or first + n > len(packed):
            return TORN
        asked = w < len(wanted) and wanted[w] == row
        room = n if asked else 0
        used, last = _ids(gaps[g:], n, ids[o : o + room])
        if used < 0:
            return TORN
        if room and last >= features:
            return NO_FEATURE
        for k in range(room):
            codes[o + k] = packed[first + k]
        g += used
        o += room
        w += asked
    return OK if g == len(gaps) and ends[-1] - ends[0] == len(packed) else TORN


@njit(cache=True, nogil=True)
def _first(places: np.ndarray, place: int) -> int:
    """Return the first of increasing places that is not before one; numba's own search takes seconds to compile."""
    low, high = 0, len(places)
    while low < high:
        middle = (low + high) // 2
        if places[middle] < place:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True, nogil=True)
def _write_escaped(
    codes: np.ndarray,
    sentinel: int,
    place: int,
    escaped_at: np.ndarray,
    escaped: np.ndarray,
    factor: float,
    log: bool,
    data: np.ndarray,
) -> int:
    """Write the escaped values of a row, whose escapes count from ``place``; return what was found."""
    start, stop = _first(escaped_at, place), _first(escaped_at, place + len(codes))
    if stop - start != (codes == sentinel).sum():
        return NO_ESCAPE
    before = -1
    for e in range(start, stop):
        here = escaped_at[e] - place
        if not before < here < len(codes) or codes[here] != sentinel:
            return NO_ESCAPE
        value = escaped[e] * factor
        data[here] = np.log1p(value) if log else value
        before = here
    return OK


ONE, LN2, UNIT = np.float32(1), np.float32(np.log(2)), np.float32(2.0**-23)
TWO_THIRDS, BITS_OF_ONE, EXPONENT = np.float32(2 / 3).view(np.int32), ONE.view(np.int32), np.int32(-(2**23))
"""Bits of float32: 2/3, 1, and where the exponent stands, of which one is 2**23."""
TERMS = tuple(
    map(np.float32, (0.13820237, -0.15122187, 0.14042309, -0.16472326, 0.20007919, -0.25004238, 0.33333266, -0.5))
)
"""(log(1 + f) - f) / f**2 as a polynomial, the highest power first, fitted for f within a third of zero: the largest
error is 4e-8 of the logarithm."""


@njit(inline="always")
def _log1p(x: Any) -> Any:
    """Return log(1 + x) of a float32 from 0 to `FAR`, to 3 units in the last place: arithmetic alone, so vector code.

    1 + x is 2**e * (1 + f) with f within a third of zero, where the logarithm is f plus a polynomial, the best of its
    degree. f is taken from x, not from 1 + x, and so keeps the digits of small values.
    """
    power = np.int32(np.int32(np.float32(ONE + x).view(np.int32) - TWO_THIRDS) & EXPONENT)
    scale = np.int32(BITS_OF_ONE - power).view(np.float32)
    f = x * scale + (scale - ONE)
    sum_ = TERMS[0]
    for term in TERMS[1:]:
        sum_ = sum_ * f + term
    return np.float32(power) * UNIT * LN2 + (sum_ * f * f + f)


@njit(cache=True, nogil=True, fastmath={"contract"})
def gather(
    at: np.ndarray,
    places: np.ndarray,
    lengths: np.ndarray,
    ids: np.ndarray,
    codes: np.ndarray,
    sentinel: int,
    escaped_at: np.ndarray,
    escaped: np.ndarray,
    totals: np.ndarray,
    target: float,
    log: bool,
    features: int,
    indptr: np.ndarray,
    indices: np.ndarray,
    data: np.ndarray,
) -> int:
    """Write rows as CSR, normalized to ``target`` (0: raw), with ``log`` as log(1 + x); return what was found.

    Row i has ``lengths[i]`` values from ``at[i]`` on in ``ids`` and ``codes``; its escapes count from ``places[i]``.
    It is written from ``indptr[i]`` on: several threads may write rows of one matrix.

    Most rows are written without a slice and without a call: numba counts the references to both, and each count waits
    until all that was written before has reached the cache. Numbers without a sign spare the look at negative places.
    """
    for row in range(len(at)):
        o: Any = np.uint64(indptr[row])
        if row + 1 < len(at):
            soon, later = np.uint64(at[row + 1]), np.uint64(at[row + 1] + lengths[row + 1])
            for k in range(soon, later, np.uint64(LINE // ids.itemsize)):
                prefetch(ids, k)
            for k in range(soon, later, np.uint64(LINE // codes.itemsize)):
                prefetch(codes, k)
        first, n = np.uint64(at[row]), np.uint64(lengths[row])
        last, largest = ids.dtype.type(0), codes.dtype.type(0)
        for k in range(n):
            last, largest = max(last, ids[first + k]), max(largest, codes[first + k])
        if n and last >= features:
            return NO_FEATURE
        factor = target / totals[row] if target > 0 and totals[row] != 0 else 1.0
        if factor == 1 and not log:  # two streams of writes go faster side by side
            for k in range(n):
                indices[o + k] = ids[first + k]
                data[o + k] = codes[first + k]
        elif log and sentinel > 0 and 0 < largest * factor < FAR:
            scale = np.float32(factor)
            for k in range(n):
                indices[o + k] = ids[first + k]
                data[o + k] = _log1p(np.float32(codes[first + k]) * scale)
        else:
            for k in range(n):
                indices[o + k] = ids[first + k]
                value = codes[first + k] * factor
                data[o + k] = np.log1p(value) if log else value
        if 0 < sentinel == largest:
            row_codes = codes[at[row] : at[row] + lengths[row]]
            row_data = data[int(o) : int(o) + lengths[row]]
            if _write_escaped(row_codes, sentinel, places[row], escaped_at, escaped, factor, log, row_data):
                return NO_ESCAPE
    return OK


@njit(cache=True, nogil=True)
def choose(column: np.ndarray, indptr: np.ndarray, indices: np.ndarray, data: np.ndarray) -> None:
    """Keep of CSR, in its own memory, the values whose feature has a new ``column``, which is -1 for none."""
    kept = start = 0
    for row in range(len(indptr) - 1):
        stop = indptr[row + 1]
        for p in range(start, stop):
            new = column[indices[p]]
            indices[kept] = new
            data[kept] = data[p]
            kept += new >= 0
        start, indptr[row + 1] = stop, kept


@njit(cache=True, nogil=True)
def dense(indptr: np.ndarray, indices: np.ndarray, data: np.ndarray, out: np.ndarray) -> None:
    """Write CSR as rows and columns; a row is cleared and filled while the cache of the processor has it."""
    for row in range(len(out)):
        values = out[row]
        values[:] = 0
        for p in range(indptr[row], indptr[row + 1]):
            values[indices[p]] = data[p]
