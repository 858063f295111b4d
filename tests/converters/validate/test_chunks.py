"""Arrays that are read chunk by chunk: the same values as HDF5 reads, however they are stored."""

import zlib

import h5py
import numpy as np
import pytest

from cellzoo.converters.validate.chunks import Chunks

VALUES = np.random.default_rng(0).poisson(2, 2_500)


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<i4", "<i8", "<u2", "<f8"])
@pytest.mark.parametrize(
    ("options", "packed"),
    [
        pytest.param({"compression": "gzip"}, True, id="gzip"),
        pytest.param({"compression": "gzip", "shuffle": True}, True, id="shuffled"),
        pytest.param({"compression": "gzip", "fletcher32": True}, False, id="with a checksum"),
        pytest.param({"compression": "lzf"}, False, id="lzf"),
        pytest.param({"chunks": (999,)}, False, id="chunks that are not compressed"),
        pytest.param({}, False, id="in one piece"),
    ],
)
def test_values_are_those_that_hdf5_reads(tmp_path, dtype, options, packed):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        node = file.create_dataset("x", data=VALUES.astype(dtype), **({"chunks": (1000,)} if options else {}) | options)
        chunks = Chunks(node)
        assert chunks.packed == packed
        for start, stop in [(0, 2_500), (0, 1_000), (999, 1_001), (1_500, 2_500), (2_499, 2_500), (7, 7)]:
            read = chunks.read(start, stop)
            assert read.dtype == node.dtype.newbyteorder(read.dtype.byteorder)
            assert read.tolist() == node[start:stop].tolist()


def test_what_was_never_written_is_what_hdf5_fills_in(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        node = file.create_dataset("x", (3_000,), "f4", chunks=(1_000,), compression="gzip", fillvalue=3)
        node[1_000:2_000] = 1
        assert Chunks(node).read(500, 2_500).tolist() == [3] * 500 + [1] * 1_000 + [3] * 500


def test_a_chunk_that_was_stored_without_a_filter_is_read(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        node = file.create_dataset("x", (1_000,), "i4", chunks=(1_000,), compression="gzip", shuffle=True)
        node.id.write_direct_chunk((0,), zlib.compress(np.arange(1_000, dtype="i4").tobytes()), filter_mask=1)
    with h5py.File(tmp_path / "x.h5") as file:
        node = file["x"]
        assert Chunks(node).read(0, 1_000).tolist() == list(range(1_000))


@pytest.mark.parametrize("damage", [b"no deflate stream", zlib.compress(bytes(8_000))[:-6]], ids=["another", "cut"])
def test_a_damaged_chunk_is_an_error(tmp_path, damage):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        node = file.create_dataset("x", data=VALUES, chunks=(1_000,), compression="gzip")
        node.id.write_direct_chunk((1_000,), damage)
        assert len(Chunks(node).read(0, 1_000)) == 1_000
        with pytest.raises(OSError):
            Chunks(node).read(0, 2_000)


@pytest.mark.parametrize(
    ("change", "options", "same"),
    [
        pytest.param(0, {"compression": "gzip"}, True, id="equal"),
        pytest.param(1, {"compression": "gzip"}, False, id="another value at the end"),
        pytest.param(0, {"compression": "gzip", "shuffle": True}, False, id="stored in another way"),
        pytest.param(0, {}, False, id="not compressed"),
    ],
)
def test_arrays_are_compared_without_being_unpacked(tmp_path, change, options, same):
    other = VALUES.copy()
    other[-1] += change
    with h5py.File(tmp_path / "x.h5", "w") as file:
        one = Chunks(file.create_dataset("one", data=VALUES, chunks=(1_000,), compression="gzip"))
        assert one.same_bytes(Chunks(file.create_dataset("two", data=other, chunks=(1_000,), **options))) == same
