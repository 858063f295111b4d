"""Compiled loops of the store: encode, pack, unpack and gather rows; `twins` says the same in NumPy.

Each is compiled once for each combination of types it meets and kept on disk (``cache=True``); all release the GIL.
"""

# ruff: noqa: PLR0913, PLR0917 (a kernel takes arrays, no objects)

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cellzoo.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable

    def njit(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Stand in for numba's untyped decorator."""

else:
    try:
        from numba import njit
    except ImportError as error:
        raise MissingExtraError("The store", "store") from error

SMALL = 256
"""Values below this are looked up in a table of their cell when they are normalized."""
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
def _copy(numbers: np.ndarray, target: np.ndarray) -> Any:
    """Write numbers that are not negative in another type, and return the largest, or 0."""
    largest = numbers.dtype.type(0)
    for k in range(len(numbers)):
        target[k] = numbers[k]
        largest = max(largest, numbers[k])
    return largest


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
def _pick(indices: np.ndarray, codes: np.ndarray, column: np.ndarray, picked: np.ndarray, source: np.ndarray) -> int:
    """Keep the values of a row whose feature has a new column, and where they were; return how many."""
    kept = 0
    for k in range(len(indices)):
        new = column[indices[k]]
        indices[kept] = new
        picked[kept] = codes[k]
        source[kept] = k
        kept += new >= 0
    return kept


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
def _values(codes: np.ndarray, factor: float, log: bool, table: np.ndarray, data: np.ndarray) -> None:
    """Write the values of a row times ``factor``, with ``log`` as log(1 + x), by a table where one is given."""
    if log and len(table):
        for v in range(len(table)):
            table[v] = np.log1p(v * factor)
        for k in range(len(codes)):
            data[k] = table[int(codes[k])]
    elif log:
        for k in range(len(codes)):
            data[k] = np.log1p(codes[k] * factor)
    elif factor != 1:
        for k in range(len(codes)):
            data[k] = codes[k] * factor
    else:
        for k in range(len(codes)):
            data[k] = codes[k]


@njit(cache=True, nogil=True)
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
    column: np.ndarray,
    features: int,
    indptr: np.ndarray,
    indices: np.ndarray,
    data: np.ndarray,
) -> int:
    """Write rows as CSR, normalized to ``target`` (0: raw), with ``log`` as log(1 + x); return what was found.

    Row i has ``lengths[i]`` values from ``at[i]`` on in ``ids`` and ``codes``; its escapes count from ``places[i]``.
    ``column`` names the new column of each feature, -1 for none; empty keeps all.
    """
    table = np.empty(SMALL, data.dtype)
    some = len(column) > 0
    longest = lengths.max() if some and len(lengths) else 0
    picked, source = np.empty(longest, codes.dtype), np.empty(longest, np.int32)
    o = 0
    indptr[0] = 0
    for row in range(len(at)):
        first, n = at[row], lengths[row]
        row_ids, row_codes, row_indices = ids[first : first + n], codes[first : first + n], indices[o : o + n]
        if _copy(row_ids, row_indices) >= features:
            return NO_FEATURE
        if some:
            n = _pick(row_indices, row_codes, column, picked, source)
            row_indices, row_codes = row_indices[:n], picked[:n]
        row_data = data[o : o + n]
        factor = target / totals[row] if target > 0 and totals[row] != 0 else 1.0
        largest = _largest(row_codes)
        _values(row_codes, factor, log, table[: int(largest) + 1 if 0 < sentinel < SMALL else 0], row_data)
        if 0 < sentinel == largest:
            place = places[row]
            e = _first(escaped_at, place)
            for k in range(n):
                if row_codes[k] == sentinel:
                    here = place + (source[k] if some else k)
                    while e < len(escaped_at) and escaped_at[e] < here:
                        e += 1
                    if e == len(escaped_at) or escaped_at[e] != here:
                        return NO_ESCAPE
                    value = escaped[e] * factor
                    row_data[k] = np.log1p(value) if log else value
                    e += 1
        o += n
        indptr[row + 1] = o
    return OK


@njit(cache=True, nogil=True)
def dense(indptr: np.ndarray, indices: np.ndarray, data: np.ndarray, out: np.ndarray) -> None:
    """Write CSR as rows and columns; a row is cleared and filled while the cache of the processor has it."""
    for row in range(len(out)):
        values = out[row]
        values[:] = 0
        for p in range(indptr[row], indptr[row + 1]):
            values[indices[p]] = data[p]
