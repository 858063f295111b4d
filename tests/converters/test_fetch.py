"""Fetch: pinned bytes from the cache, a mirror, a package or a URL; other bytes never, half of them never."""

import hashlib
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from cellzoo import settings
from cellzoo.converters import fetch as module
from cellzoo.converters.fetch import fetch, fetch_unpinned, keep, sha256_of
from cellzoo.errors import InputError, IntegrityError, WorldError
from cellzoo.registry.parts import Bytes, File, PackagedSource

CONTENT = bytes(range(256)) * 40  # 10,240 bytes that say where they are
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def slept(monkeypatch):
    """Take no time between tries; the list says how long it would have been."""
    slept: list[float] = []
    monkeypatch.setattr(module, "time", SimpleNamespace(sleep=slept.append))
    return slept


@pytest.fixture
def web():
    """Serve replies in turn, the last one for ever; `ranges` records what each request asked for."""
    web = SimpleNamespace(replies=[], ranges=[])

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked = self.headers.get("Range")
            web.ranges.append(asked)
            reply = web.replies.pop(0) if len(web.replies) > 1 else web.replies[0]
            body, status = reply.get("body", CONTENT), reply.get("status", 200)
            if asked and reply.get("resumes"):
                body, status = body[int(asked.removeprefix("bytes=").removesuffix("-")) :], 206
            self.send_response(status)
            if reply.get("length", True):
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: reply.get("cut", len(body))])

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        web.url = f"http://127.0.0.1:{server.server_port}/counts.bin"
        yield web
        server.shutdown()
        thread.join()


@pytest.fixture
def file(web):
    """Return a file that the web serves."""
    return File(name="counts.bin", sha256=DIGEST, bytes=len(CONTENT), url=web.url)


def cached():
    """Return what lies in the cache, lock files aside."""
    return {path for path in settings.home().rglob("*") if path.is_file() and path.suffix != ".lock"}


def partial(content):
    part = settings.home() / "partial" / DIGEST
    part.parent.mkdir(parents=True)
    part.write_bytes(content)
    return part


REPLIES = {
    "at once": [{}],
    "of unknown length": [{"length": False}],
    "after the server was busy": [{"status": 503, "body": b""}, {}],
    "after too many requests": [{"status": 429, "body": b""}, {}],
    "after two cuts, anew": [{"cut": 4000}, {"cut": 9000}, {}],
    "after two cuts, resumed": [{"cut": 4000}, {"cut": 3000, "resumes": True}, {"resumes": True}],
    "after a cut of unknown length": [{"cut": 4000, "length": False}, {"resumes": True}],
}


@pytest.mark.parametrize("replies", REPLIES.values(), ids=REPLIES.keys())
def test_a_file_is_downloaded(web, file, replies):
    web.replies = list(replies)
    path = fetch(file)
    assert path.read_bytes() == CONTENT
    assert cached() == {path}, "nothing but the file"
    assert len(web.ranges) == len(replies)
    assert all(asked for asked, reply in zip(web.ranges, replies, strict=True) if reply.get("resumes"))


def test_tries_wait_longer_each_time(web, file, slept):
    web.replies = [{"status": 503, "body": b""}] * 2 + [{}]
    fetch(file)
    assert slept == [0.5, 1.0]


@pytest.mark.parametrize("resumes", [True, False], ids=["server resumes", "server starts anew"])
def test_a_partial_file_is_resumed_where_the_server_can(web, file, resumes):
    part = partial(CONTENT[:6000])
    web.replies = [{"resumes": resumes}]
    assert fetch(file).read_bytes() == CONTENT
    assert web.ranges == ["bytes=6000-"]
    assert not part.exists()


def test_a_partial_file_with_other_bytes_is_refused_once_and_then_forgotten(web, file):
    partial(b"x" * 6000)
    web.replies = [{"resumes": True}]
    with pytest.raises(IntegrityError):
        fetch(file)
    assert cached() == set()
    assert fetch(file).read_bytes() == CONTENT


def test_a_partial_file_that_is_too_long_is_not_used(web, file):
    partial(CONTENT + b"more")
    web.replies = [{"resumes": True}]
    assert fetch(file).read_bytes() == CONTENT
    assert web.ranges == [None]


def test_progress_ends_at_the_whole(web, file):
    web.replies = [{}]
    seen = []
    fetch(file, lambda *now: seen.append(now))
    assert seen[-1] == ("counts.bin", len(CONTENT), len(CONTENT))


def test_a_cached_file_is_not_asked_for_again(web, file, monkeypatch):
    web.replies = [{}]
    path = fetch(file)
    monkeypatch.setenv("CELLZOO_OFFLINE", "1")
    assert fetch(file) == path
    assert len(web.ranges) == 1


def test_a_cached_file_of_another_size_is_fetched_again(web, file):
    web.replies = [{}]
    fetch(file).write_bytes(CONTENT[:100])
    assert fetch(file).read_bytes() == CONTENT


WRONG = {
    "other bytes": ({"body": CONTENT[::-1]}, IntegrityError, f"the card pins {DIGEST}. The file was not used."),
    "too short": (
        {"body": CONTENT[:5000]},
        IntegrityError,
        "now has 5000 bytes, the card pins 10240. The file was not used.",
    ),
    "too long": ({"body": CONTENT + b"x"}, IntegrityError, "sends more than the 10240 bytes that the card pins."),
    "too long, no length": ({"body": CONTENT * 2, "length": False}, IntegrityError, "sends more than the 10240 bytes"),
    "not found": ({"status": 404, "body": b""}, WorldError, "Not Found"),
    "forbidden": ({"status": 403, "body": b""}, WorldError, "Forbidden"),
    "always busy": ({"status": 503, "body": b""}, WorldError, "Service Unavailable"),
}


@pytest.mark.parametrize(("reply", "kind", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_is_not_the_file_is_refused_and_nothing_stays(web, file, reply, kind, message):
    web.replies = [reply]
    with pytest.raises(kind) as caught:
        fetch(file)
    assert message in str(caught.value)
    assert web.url in str(caught.value) or "sha256" in str(caught.value)
    assert cached() == set()
    assert len(web.ranges) == (3 if "busy" in message or "Unavailable" in message else 1)


def test_a_body_that_stays_short_is_refused_and_kept_only_to_be_resumed(web, file):
    web.replies = [{"cut": 1000, "resumes": True}]
    with pytest.raises(WorldError, match="7240 more expected"):
        fetch(file)
    assert cached() == {settings.home() / "partial" / DIGEST}
    web.replies = [{"resumes": True}]
    assert fetch(file).read_bytes() == CONTENT


def test_the_message_without_mirror_and_network_says_all_that_was_tried():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: refused
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/counts.bin"
        file = File(name="counts.bin", sha256=DIGEST, bytes=9, url=url)
        with pytest.raises(WorldError) as caught:
            fetch(file)
    assert str(caught.value) == (
        "counts.bin: could not be had. Tried:\n"
        "  mirror: CELLZOO_MIRROR is not set\n"
        f"  {url}: [Errno 111] Connection refused\n"
        f"Put a file with sha256 {DIGEST} into a folder, named by that digest, and set CELLZOO_MIRROR to it."
    )
    assert caught.value.exit_code == 3
    assert cached() == set()


def test_a_host_that_is_not_known_is_an_error_of_the_world():
    file = File(name="counts.bin", sha256=DIGEST, bytes=9, url="https://example.org/counts.bin")
    with pytest.raises(WorldError, match=r"https://example.org/counts.bin: .*no network in tests"):
        fetch(file)


def test_a_file_without_any_source_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("CELLZOO_MIRROR", str(tmp_path))
    with pytest.raises(WorldError) as caught:
        fetch(File(name="counts.bin", sha256=DIGEST, bytes=9))
    assert f"Tried:\n  mirror: {tmp_path} does not hold {DIGEST}\nPut a file" in str(caught.value)


def test_offline_asks_no_server(web, file, monkeypatch):
    monkeypatch.setenv("CELLZOO_OFFLINE", "1")
    with pytest.raises(WorldError, match=f"{web.url}: CELLZOO_OFFLINE is set"):
        fetch(file)
    assert web.ranges == []


def test_a_cache_that_cannot_be_written_is_an_error_of_the_world(web, file, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CELLZOO_HOME", str(tmp_path / "file" / "home"))
    web.replies = [{}]
    with pytest.raises(WorldError, match="Not a directory"):
        fetch(file)


def test_the_mirror_comes_before_the_url(web, file, tmp_path, monkeypatch):
    (tmp_path / DIGEST).write_bytes(CONTENT)
    monkeypatch.setenv("CELLZOO_MIRROR", str(tmp_path))
    assert fetch(file) == tmp_path / DIGEST
    assert (web.ranges, cached()) == ([], set())


def test_a_file_of_the_mirror_with_other_bytes_is_refused(web, file, tmp_path, monkeypatch):
    (tmp_path / DIGEST).write_bytes(b"other")
    monkeypatch.setenv("CELLZOO_MIRROR", str(tmp_path))
    with pytest.raises(IntegrityError) as caught:
        fetch(file)
    other = hashlib.sha256(b"other").hexdigest()
    assert str(caught.value) == (
        f"counts.bin: {tmp_path / DIGEST} has sha256 {other}, the card pins {DIGEST}. The file was not used."
    )
    assert web.ranges == []


def test_other_bytes_with_the_same_content_are_accepted_from_any_source(web, tmp_path, monkeypatch):
    repacked = Bytes(sha256=DIGEST, bytes=len(CONTENT), url=web.url)
    file = File(name="counts.bin", sha256="0" * 64, bytes=9, equivalents=(repacked,))
    web.replies = [{}]
    path = fetch(file)
    assert path.name == DIGEST
    assert fetch(file) == path, "from the cache"
    path.unlink()
    (tmp_path / DIGEST).write_bytes(CONTENT)
    monkeypatch.setenv("CELLZOO_MIRROR", str(tmp_path))
    assert fetch(file) == tmp_path / DIGEST


def test_every_file_of_the_verified_cards_is_in_the_mirror(packaged, mirror, monkeypatch):
    monkeypatch.setenv("CELLZOO_MIRROR", str(mirror))
    for card in packaged.cards():
        for file in card.files if card.status == "verified" else ():
            path = fetch(file)
            assert path.stat().st_size in {pin.bytes for pin in file.pins if pin.sha256 == sha256_of(path)}


def test_the_file_that_scanpy_carries_is_found_in_it(packaged):
    [file] = packaged.card("pbmc68k-reduced").files
    path = fetch(file)
    assert path.name == "10x_pbmc68k_reduced.h5ad"
    assert sha256_of(path) in {pin.sha256 for pin in file.pins}
    assert cached() == set(), "what is installed is not copied"


PACKAGES = {
    "not installed": ({"distribution": "no-such-thing", "path": "x"}, "no-such-thing is not installed (pip install"),
    "without the file": ({"distribution": "scanpy", "path": "x.h5ad"}, "scanpy does not carry x.h5ad"),
    "with other bytes": ({"distribution": "scanpy", "path": "scanpy/__init__.py"}, f"expected {DIGEST}"),
}


@pytest.mark.parametrize(("package", "message"), PACKAGES.values(), ids=PACKAGES.keys())
def test_a_package_that_cannot_help_is_told_and_the_url_is_next(web, package, message):
    file = File(name="counts.bin", sha256=DIGEST, bytes=len(CONTENT), package=package)
    with pytest.raises(WorldError) as caught:
        fetch(file)
    assert "\n  package: " in str(caught.value) and message in str(caught.value)
    web.replies = [{}]
    assert fetch(file.model_copy(update={"url": web.url})).read_bytes() == CONTENT


def test_a_package_is_found_by_its_distribution(tmp_path, monkeypatch):
    (tmp_path / "data.bin").write_bytes(CONTENT)
    found = SimpleNamespace(locate_file=lambda path: tmp_path / path)
    monkeypatch.setattr(module, "distribution", {"made-up": found}.__getitem__)
    package = PackagedSource(distribution="made-up", path="data.bin")
    assert fetch(File(name="x", sha256=DIGEST, bytes=1, package=package)) == tmp_path / "data.bin"


def test_sha256_of_reads_whole_files(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(CONTENT * 300)
    assert sha256_of(path) == hashlib.sha256(CONTENT * 300).hexdigest()


# what is not pinned yet


def test_unpinned_bytes_are_kept_under_the_digest_they_have(web):
    web.replies = [{}]
    path, pin = fetch_unpinned("counts.bin", web.url)
    assert path.read_bytes() == CONTENT
    assert pin == Bytes(sha256=DIGEST, bytes=len(CONTENT), url=web.url)
    assert cached() == {path}
    assert fetch(File(name="counts.bin", sha256=DIGEST, bytes=len(CONTENT))) == path


def test_half_of_an_unpinned_file_is_asked_for_again_from_the_start_and_never_kept(web):
    web.replies = [{"cut": 100}, {}]
    assert fetch_unpinned("counts.bin", web.url)[1].sha256 == DIGEST
    assert web.ranges == [None, None]
    web.replies = [{"cut": 100, "body": CONTENT[::-1]}]
    with pytest.raises(WorldError):
        fetch_unpinned("counts.bin", web.url)
    assert {path.name for path in cached()} == {DIGEST}


REFUSED_UNPINNED = {
    "nothing": ({"body": b""}, "", InputError, "is empty"),
    "not found": ({"status": 404}, "", WorldError, "Not Found"),
    "ftp": ({}, "ftp://host/counts.bin", WorldError, "only http and https are spoken here"),
}


@pytest.mark.parametrize(("reply", "url", "kind", "message"), REFUSED_UNPINNED.values(), ids=REFUSED_UNPINNED.keys())
def test_an_unpinned_file_that_cannot_be_had_is_said(web, reply, url, kind, message):
    web.replies = [reply]
    with pytest.raises(kind, match=message):
        fetch_unpinned("counts.bin", url or web.url)
    assert cached() == set()


def test_offline_no_unpinned_file_is_asked_for(web, monkeypatch):
    monkeypatch.setenv("CELLZOO_OFFLINE", "1")
    with pytest.raises(WorldError, match="CELLZOO_OFFLINE is set"):
        fetch_unpinned("counts.bin", web.url)
    assert web.ranges == []


def test_a_file_of_this_machine_is_copied_into_the_cache_and_found_by_its_digest(tmp_path):
    (tmp_path / "mine.bin").write_bytes(CONTENT)
    path, pin = keep(tmp_path / "mine.bin")
    (tmp_path / "mine.bin").write_bytes(b"changed")
    assert fetch(File(name="mine.bin", sha256=pin.sha256, bytes=pin.bytes)).read_bytes() == CONTENT
    assert cached() == {path}


def test_an_empty_file_of_this_machine_is_not_kept(tmp_path):
    (tmp_path / "mine.bin").touch()
    with pytest.raises(InputError, match=r"mine.bin: the file is empty\.$"):
        keep(tmp_path / "mine.bin")


def test_a_file_without_a_digest_is_not_fetched_for_use():
    with pytest.raises(InputError, match="x.h5ad: the card pins no sha256; only `cellzoo verify` fetches"):
        fetch(File(name="x.h5ad", url="https://example.org/x.h5ad"))


ELSEWHERE = {
    "registration": ("https://example.org/study", "access is registration; download it there by hand"),
    "manual": ("https://example.org/study", "access is manual; download it there by hand"),
    "open": ("ftp://example.org/x.h5ad", "ftp is not spoken here; download it by hand"),
}


@pytest.mark.parametrize(("access", "url", "said"), [(key, *row) for key, row in ELSEWHERE.items()])
def test_what_cannot_be_downloaded_by_a_program_is_said_not_tried(access, url, said):
    file = File(name="x.h5ad", url=url, access=access, sha256="0" * 64, bytes=1)
    with pytest.raises(WorldError) as caught:
        fetch(file)
    assert f"{url}: {said}" in str(caught.value)
