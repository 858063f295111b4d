"""Arrays in an HDF5 file, compressed ones unpacked by several threads: HDF5 itself lets one work at a time."""

from __future__ import annotations

import zlib
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

PACKED = ([h5py.h5z.FILTER_DEFLATE], [h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE])
"""What is unpacked here; HDF5 reads what is stored in another way."""


class Chunks:
    """A one-dimensional array of numbers in a file."""

    def __init__(self, node: h5py.Dataset) -> None:
        self.node = node
        self.dtype: np.dtype[Any] = node.dtype
        self.size = int(node.shape[0])
        """Number of values."""
        self.step = int(node.chunks[0]) if node.chunks else 1
        """Number of values that are stored together."""
        stored = node.id.get_create_plist()
        self.filters = [stored.get_filter(number)[0] for number in range(stored.get_nfilters())]
        self.packed = bool(node.chunks) and self.filters in PACKED and self.dtype.kind in "iuf"
        """Whether it is unpacked here."""

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Return values; OSError where the file is damaged there. Threads may read beside each other."""
        if self.packed:
            first = start - start % self.step
            chunks = [self._chunk(at) for at in range(first, stop, self.step)]
            found = [chunk for chunk in chunks if chunk is not None]
            if found and len(found) == len(chunks):
                return (found[0] if len(found) == 1 else np.concatenate(found))[start - first : stop - first]
        values: NDArray[Any] = self.node[start:stop]
        return values

    def same_bytes(self, other: Chunks) -> bool:
        """Return whether another array has the same values, stored in the same way; nothing is unpacked."""
        form, others = ((one.packed, one.dtype, one.size, one.step, one.filters) for one in (self, other))
        if form != others or not self.packed:
            return False
        for at in range(0, self.size, self.step):
            if (stored := self._stored(at)) is None or stored != other._stored(at):
                return False
        return True

    def _stored(self, at: int) -> bytes | None:
        """Return a chunk as it is in the file, None where it is missing or was left unpacked."""
        try:
            skipped, stored = self.node.id.read_direct_chunk((at,))
        except (OSError, RuntimeError):
            return None
        return None if skipped else stored

    def _chunk(self, at: int) -> NDArray[Any] | None:
        """Return the values of a chunk, None where HDF5 has to say what they are."""
        if (stored := self._stored(at)) is None:
            return None
        width = self.step * self.dtype.itemsize
        try:
            unpacked = zlib.decompress(stored, bufsize=width)
        except zlib.error:
            return None
        if len(unpacked) != width:
            return None
        if h5py.h5z.FILTER_SHUFFLE not in self.filters:
            return np.frombuffer(unpacked, self.dtype)
        planes = np.frombuffer(unpacked, np.uint8).reshape(self.dtype.itemsize, self.step)
        return np.ascontiguousarray(planes.T).view(self.dtype)[:, 0]
