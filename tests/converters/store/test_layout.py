"""The folder of a store: what may stand in it, what is cut off, and what is said of one that is damaged or foreign."""

import json
import os

import numpy as np
import pytest

from cellzoo.converters.store import layout
from cellzoo.converters.store.layout import Files, named, read_state, write_state
from cellzoo.errors import InputError, IntegrityError


@pytest.mark.parametrize("name", ["X", "layers/spliced", "../../etc/passwd", "cell type (µ)", "", "a" * 300, "nul\0"])
def test_any_name_becomes_a_path_inside_the_store(name):
    path = named("matrices", 3, name)
    assert layout.OURS.fullmatch(f"{path}/ids.u16")
    assert path.count("/") == 1
    assert len(path) < 60


def test_what_is_appended_stands_behind_what_was_there(tmp_path):
    files = Files(tmp_path, {})
    files.append("matrices/0-X/ids.u16", np.array([1, 2], "<u2"))
    files.append("matrices/0-X/ids.u16", np.array([3], "<u2"))
    files.sync()
    assert np.fromfile(tmp_path / "matrices/0-X/ids.u16", "<u2").tolist() == [1, 2, 3]
    assert files.lengths == {"matrices/0-X/ids.u16": 6}


def test_a_write_that_the_system_does_in_parts_is_whole(tmp_path, monkeypatch):
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda handle, raw, at: write(handle, raw[:7], at))
    Files(tmp_path, {}).append("columns/0-a.bin", bytes(range(100)))
    assert (tmp_path / "columns/0-a.bin").read_bytes() == bytes(range(100))


def test_what_an_interrupted_writer_left_is_cut_off_and_nothing_else_is_touched(tmp_path):
    files = Files(tmp_path, {})
    files.append("columns/0-a.bin", b"certain")
    certain = dict(files.lengths)
    files.append("columns/0-a.bin", b" and not")
    files.append("columns/1-b.bin", b"not at all")
    for foreign in ("README.md", "columns/notes.txt", "matrices/0-X/mine.tar.gz"):
        (tmp_path / foreign).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / foreign).write_text("somebody's")
    Files(tmp_path, certain).cut()
    assert (tmp_path / "columns/0-a.bin").read_bytes() == b"certain"
    there = sorted(file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*") if file.is_file())
    assert there == ["README.md", "columns/0-a.bin", "columns/notes.txt", "matrices/0-X/mine.tar.gz"]


def test_a_file_that_lost_bytes_is_not_gone_on_with(tmp_path):
    files = Files(tmp_path, {})
    files.append("columns/0-a.bin", b"certain")
    os.truncate(tmp_path / "columns/0-a.bin", 3)
    with pytest.raises(IntegrityError, match=r"has 3 bytes, expected 7"):
        files.cut()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "damaged"),
        ("[]", "damaged"),
        ('{"format": "zarr", "version": 1}', "its format is 'zarr'"),
        ('{"format": "cellzoo store", "version": 99}', r"a newer cellzoo wrote it \(version 99; this one reads 1\)"),
        ('{"format": "cellzoo store"}', "damaged"),
        (None, r"there is no manifest\.json"),
    ],
)
def test_a_folder_that_is_no_store_of_this_version_is_refused(tmp_path, content, said):
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(InputError, match=said):
        read_state(tmp_path)


def test_a_store_whose_build_was_interrupted_says_how_to_go_on(tmp_path):
    write_state(tmp_path, layout.JOURNAL, layout.empty_state("hot", "zstd"))
    with pytest.raises(InputError, match="Run the same `cellzoo store build` again"):
        read_state(tmp_path)


def test_a_manifest_cannot_name_a_file_outside_the_store(tmp_path):
    (tmp_path / "secret").write_text("x")
    with pytest.raises(IntegrityError, match="no store has"):
        layout.check_sizes(tmp_path / "store", {"../secret": {"bytes": 1, "sha256": ""}})


def test_a_manifest_is_replaced_in_one_step(tmp_path, monkeypatch):
    write_state(tmp_path, layout.MANIFEST, {"n": 1})
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left on device. Make room"):
        write_state(tmp_path, layout.MANIFEST, {"n": 2})
    assert json.loads((tmp_path / layout.MANIFEST).read_text()) == {"n": 1}
