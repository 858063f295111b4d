"""Archives: what is not safe is refused before anything in it is read, and nothing is left behind."""

import gzip
import io
import struct
import tarfile
import zipfile

import numpy as np
import pytest

from cellzoo.converters.formats import files
from cellzoo.converters.readers import read_source
from cellzoo.converters.rows import to_csr
from cellzoo.errors import InputError, IntegrityError

TABLE = b",g0,g1\nc1,1,2\nc2,0,3\n"


@pytest.fixture
def read(make_card, tmp_path, monkeypatch):
    """Read a table that is a member of an archive; afterwards nothing is left in the cache."""
    monkeypatch.setenv("CELLZOO_HOME", str(tmp_path / "home"))

    def read(name, content, member="a/x.csv", cells=2):
        (tmp_path / name).write_bytes(content)
        return read_source(make_card(cells, {"file": name, "member": member}, "table"), {name: tmp_path / name})

    yield read
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.parent != tmp_path]


def tarred(*members, mode="w"):
    """Return a tar of (name, content) or of tarfile.TarInfo."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
                continue
            info = tarfile.TarInfo(member[0])
            info.size = len(member[1])
            archive.addfile(info, io.BytesIO(member[1]))
    return stream.getvalue()


def zipped(*members, method=zipfile.ZIP_DEFLATED):
    """Return a zip of (name or ZipInfo, content)."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return stream.getvalue()


def special(kind, name="a/x.csv", target="../../etc/passwd"):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def zip_link():
    info = zipfile.ZipInfo("a/x.csv")
    info.create_system, info.external_attr = 3, 0o120777 << 16
    return info


GOOD = ("a/x.csv", TABLE)
READ = {
    "zip": ("x.zip", zipped(GOOD), "a/x.csv"),
    "zip, gzip within": ("x.zip", zipped(("a/x.csv.gz", gzip.compress(TABLE))), "a/x.csv.gz"),
    "tar": ("x.tar", tarred(("./a/x.csv", TABLE)), "a/x.csv"),
    "tar.gz": ("x.tar.gz", tarred(GOOD, mode="w:gz"), "a/x.csv"),
    "tar.bz2": ("x.tar.bz2", tarred(GOOD, mode="w:bz2"), "a/x.csv"),
    "tar.xz": ("x.tar.xz", tarred(GOOD, mode="w:xz"), "a/x.csv"),
    "by a *": ("x.tar", tarred(GOOD, ("b/y.tsv", b"")), "*/*.csv"),
}


@pytest.mark.parametrize(("name", "content", "member"), READ.values(), ids=READ.keys())
def test_a_member_is_read(read, name, content, member):
    assert to_csr(read(name, content, member).X).toarray().tolist() == [[1, 2], [0, 3]]


LINK = "is a link or a device, not a file. Nothing was read."
OUT = "points out of the archive's folder. Nothing was read."
UNSAFE = {
    "a name with ..": ("x.tar", tarred(GOOD, ("a/../../x", b"")), f"x.tar: 'a/../../x' {OUT}"),
    "an absolute name": ("x.tar", tarred(GOOD, ("/etc/x", b"")), f"x.tar: '/etc/x' {OUT}"),
    "a name of Windows": ("x.tar", tarred(GOOD, ("C:x", b"")), f"x.tar: 'C:x' {OUT}"),
    "a backslash": ("x.tar", tarred(GOOD, ("..\\x", b"")), f"x.tar: '..\\\\x' {OUT}"),
    "a folder with ..": ("x.tar", tarred(GOOD, special(tarfile.DIRTYPE, "../x")), f"x.tar: '../x' {OUT}"),
    "a symbolic link": ("x.tar", tarred(special(tarfile.SYMTYPE)), f"x.tar: 'a/x.csv' {LINK}"),
    "a hard link": ("x.tar", tarred(special(tarfile.LNKTYPE)), f"x.tar: 'a/x.csv' {LINK}"),
    "a device": ("x.tar", tarred(GOOD, special(tarfile.CHRTYPE, "zero")), f"x.tar: 'zero' {LINK}"),
    "a pipe": ("x.tar.gz", tarred(GOOD, special(tarfile.FIFOTYPE, "p"), mode="w:gz"), f"x.tar.gz: 'p' {LINK}"),
    "a zip with ..": ("x.zip", zipped(GOOD, ("../x", b"")), f"x.zip: '../x' {OUT}"),
    "a zip with an absolute name": ("x.zip", zipped(GOOD, ("/x", b"")), f"x.zip: '/x' {OUT}"),
    "a zip with a link": ("x.zip", zipped((zip_link(), b"/etc/passwd")), f"x.zip: 'a/x.csv' {LINK}"),
    "a name twice": ("x.tar", tarred(GOOD, ("./a/x.csv", b"")), "x.tar: holds './a/x.csv' twice. Nothing was read."),
}


@pytest.mark.parametrize(("name", "content", "message"), UNSAFE.values(), ids=UNSAFE.keys())
def test_an_archive_that_is_not_safe_is_refused_whole(read, name, content, message):
    with pytest.raises(IntegrityError) as caught:
        read(name, content)
    assert str(caught.value) == message
    assert caught.value.__notes__ == ["while reading made-up"]


ZEROS = b"c1,0,0\n" * 400_000


def test_a_zip_bomb_is_refused_before_it_is_read(read, monkeypatch):
    monkeypatch.setattr(files, "FREE", 10**6)
    content = zipped(("a/x.csv", ZEROS))
    with pytest.raises(IntegrityError) as caught:
        read("x.zip", content)
    times = len(ZEROS) // len(content)
    assert times > 250
    unpack = f"its members unpack to {len(ZEROS)} bytes, {times} times its size (at most 250)"
    assert str(caught.value) == f"x.zip: {unpack}. Nothing was read."


BOMBS = {
    "gzip": ("x.csv.gz", lambda: gzip.compress(ZEROS), None, "x.csv.gz"),
    "tar.gz": ("x.tar.gz", lambda: tarred(("a/x.csv", ZEROS), mode="w:gz"), "a/x.csv", "x.tar.gz"),
    "gzip in a zip": (
        "x.zip",
        lambda: zipped(("a/x.csv.gz", gzip.compress(ZEROS))),
        "a/x.csv.gz",
        "x.zip: a/x.csv.gz",
    ),
}


@pytest.mark.parametrize(("name", "content", "member", "where"), BOMBS.values(), ids=BOMBS.keys())
def test_a_stream_that_unpacks_to_too_much_is_stopped(read, monkeypatch, name, content, member, where):
    monkeypatch.setattr(files, "FREE", 10**6)
    with pytest.raises(IntegrityError) as caught:
        read(name, content(), member)
    assert str(caught.value) == f"{where}: unpacks to more than 250 times its size: not read to the end."


def test_a_zip_that_understates_its_size_gives_no_more_than_it_says(read):
    content = zipped(GOOD, method=zipfile.ZIP_STORED).replace(
        struct.pack("<I", len(TABLE)) * 2, struct.pack("<II", len(TABLE), 9)
    )
    with pytest.raises(InputError, match=r"x.zip: a/x.csv: cannot be read as a table: "):
        read("x.zip", content)


def test_an_archive_with_too_many_members_is_refused(read, monkeypatch):
    monkeypatch.setattr(files, "MEMBERS", 3)
    many = [(f"{number}", b"") for number in range(4)]
    for name, content in {"x.zip": zipped(*many), "x.tar": tarred(*many)}.items():
        with pytest.raises(IntegrityError) as caught:
            read(name, content)
        assert str(caught.value) == f"{name}: holds more than 3 members. Nothing was read."


def encrypted():
    content = bytearray(zipped(GOOD))
    for magic, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(magic) + at] |= 1
    return bytes(content)


BROKEN = {
    "text": ("x.tar", b"no archive at all", "x.tar: cannot be read as a zip or tar file: "),
    "empty": ("x.zip", b"", "x.zip: cannot be read as a zip or tar file: "),
    "a truncated zip": ("x.zip", zipped(GOOD)[:-30], "x.zip: cannot be read as a zip or tar file: "),
    "a truncated tar": (
        "x.tar",
        tarred(("a/x.csv", TABLE * 99))[:900],
        "x.tar: ends within 'a/x.csv': the file may be",
    ),
    "a truncated tar.gz": (
        "x.tar.gz",
        tarred(GOOD, mode="w:gz")[:60],
        "x.tar.gz: cannot be unpacked: Compressed file ended",
    ),
    "another member": ("x.tar", tarred(("b.csv", TABLE)), "x.tar: holds no member 'a/x.csv'; found ['b.csv']."),
    "encrypted": ("x.zip", encrypted(), "x.zip: 'a/x.csv' is encrypted; pack it without a password."),
    "an archive in an archive": (
        "x.zip",
        zipped(("a/x.csv", zipped(("y", bytes(np.arange(256, dtype=np.uint8)) * 9)))),
        "x.zip: a/x.csv: cannot be read as a table: ",
    ),
}


@pytest.mark.parametrize(("name", "content", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_an_archive_that_cannot_be_read_says_why(read, name, content, message):
    with pytest.raises(InputError) as caught:
        read(name, content)
    assert str(caught.value).startswith(message)


def test_a_plain_file_with_the_name_of_a_gzip_is_said(read, make_card, tmp_path):
    (tmp_path / "x.csv.gz").write_bytes(TABLE)
    with pytest.raises(InputError) as caught:
        read_source(make_card(2, {"file": "x.csv.gz"}, "table"), {"x.csv.gz": tmp_path / "x.csv.gz"})
    assert str(caught.value) == "x.csv.gz: is named .gz but starts with b',g0,g1', as no gzip file does."
