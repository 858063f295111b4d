"""Compiled loops of the store: encode, pack, unpack and gather rows; `twins` says the same in NumPy.

Each is compiled once for each combination of types it meets and kept on disk (``cache=True``); all release the GIL.
"""

# ruff: noqa: PLR0913, PLR0917 (a kernel takes arrays, no objects)

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    def njit(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Stand in for numba's untyped decorator."""

else:
    from numba import njit

SMALL = 256
"""Values below this are looked up in a table of their cell when they are normalized."""
LONG_GAP = 255
"""A byte that says: this far, and the next byte goes on."""
OK, NOT_FINITE, NO_FEATURE, NO_ESCAPE, TORN = range(5)
"""What a kernel reports: well; NaN or infinity; a feature that is not there; a lost escape; bytes too many or few."""

_LOWEST = np.zeros(64, np.uint8)
"""Place of the lowest bit of a word, by the top six bits of its product with a de Bruijn number."""
for _bit in range(64):
    _LOWEST[((1 << _bit) * 0x03F79D71B4CB0A89 & (1 << 64) - 1) >> 58] = _bit


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
def _in_order(bits: np.ndarray, keys: np.ndarray) -> None:
    """Write the numbers whose bits are set, increasing, and clear the bits."""
    k = 0
    for word in range(len(bits)):
        rest = bits[word]
        if rest:
            bits[word] = np.uint64(0)
            base = word << 6
            while rest:
                low = rest & (~rest + np.uint64(1))
                keys[k] = base + _LOWEST[(low * np.uint64(0x03F79D71B4CB0A89)) >> np.uint64(58)]
                k += 1
                rest ^= low


@njit(cache=True, nogil=True)
def pack(
    indptr: np.ndarray,
    ids: np.ndarray,
    codes: np.ndarray,
    rank: np.ndarray,
    gaps: np.ndarray,
    packed: np.ndarray,
) -> int:
    """Write each row in the order of ``rank`` as gaps between ranks (bytes; 255 goes on) and values; return the bytes.

    ``gaps`` has room for one byte a value and one for each 255 features of each row.
    """
    bits = np.zeros((len(rank) + 63) >> 6, np.uint64)
    slot = np.empty(len(rank), codes.dtype)
    keys = np.empty(len(rank), np.int32)
    g = 0
    for row in range(len(indptr) - 1):
        first, last = indptr[row], indptr[row + 1]
        for p in range(first, last):
            key = rank[ids[p]]
            bits[key >> 6] |= np.uint64(1) << np.uint64(key & 63)
            slot[key] = codes[p]
        _in_order(bits, keys)
        before = -1
        for k in range(last - first):
            key = keys[k]
            gap = key - before - 1
            before = key
            while gap >= LONG_GAP:
                gaps[g] = LONG_GAP
                gap -= LONG_GAP
                g += 1
            gaps[g] = gap
            g += 1
            packed[first + k] = slot[key]
    return g


@njit(cache=True, nogil=True)
def unpack(
    lengths: np.ndarray,
    wanted: np.ndarray,
    gaps: np.ndarray,
    packed: np.ndarray,
    order: np.ndarray,
    ids: np.ndarray,
    codes: np.ndarray,
) -> int:
    """Write the rows of a group to where ``wanted`` says (-1: not at all), ids increasing; return what was found."""
    bits = np.zeros((len(order) + 63) >> 6, np.uint64)
    slot = np.empty(len(order), codes.dtype)
    g = first = 0
    for row in range(len(lengths)):
        last = first + lengths[row]
        at = wanted[row]
        key = -1
        for p in range(first, last):
            key += 1
            while g < len(gaps) and gaps[g] == LONG_GAP:
                key += LONG_GAP
                g += 1
            if g >= len(gaps) or p >= len(packed):
                return TORN
            key += gaps[g]
            g += 1
            if key >= len(order):
                return NO_FEATURE
            if at >= 0:
                feature = order[key]
                bits[feature >> 6] |= np.uint64(1) << np.uint64(feature & 63)
                slot[feature] = packed[p]
        if at >= 0:
            end = at + lengths[row]
            _in_order(bits, ids[at:end])
            for q in range(at, end):
                codes[q] = slot[ids[q]]
        first = last
    return OK if g == len(gaps) and first == len(packed) else TORN


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
def _largest(numbers: np.ndarray) -> Any:
    """Return the largest of some numbers that are not negative; compiled to vector code, unlike a comparison each."""
    largest = numbers.dtype.type(0)
    for k in range(len(numbers)):
        largest = max(largest, numbers[k])
    return largest


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
        if n and _largest(row_ids) >= features:
            return NO_FEATURE
        for k in range(n):
            row_indices[k] = row_ids[k]
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
