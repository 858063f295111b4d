"""The depot: addresses, commits, releases, and what it refuses."""

import hashlib
import io
import json
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from cellzoo.errors import InputError, IntegrityError, NotFoundError
from cellzoo.hub.depot import Depot, HeadMovedError, check_path

REPO = "acme/celltype-mlp-0.1_human-blood_zoo-1"


@pytest.fixture
def depot(tmp_path):
    return Depot(tmp_path / "depot")


@pytest.fixture
def put(depot):
    return lambda data: depot.put_blob(io.BytesIO(data)).sha256


def test_a_blob_is_stored_under_its_sha256(depot, tmp_path):
    (tmp_path / "file").write_bytes(b"cells")
    blob = depot.put_blob(tmp_path / "file")
    assert (blob.sha256, blob.size) == (hashlib.sha256(b"cells").hexdigest(), 5)
    assert (depot.root / "blobs" / blob.sha256[:2] / blob.sha256[2:4] / blob.sha256).read_bytes() == b"cells"
    with depot.open_blob(blob.sha256) as stream:
        assert stream.read() == b"cells"


def test_an_interrupted_blob_leaves_nothing(depot):
    class Broken(io.BytesIO):
        def read(self, size=-1):
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="disk is gone"):
        depot.put_blob(Broken())
    assert list(depot.root.iterdir()) == []


def test_a_flipped_byte_is_found_when_it_is_read(depot, put):
    sha256 = put(b"cells")
    path = depot.root / "blobs" / sha256[:2] / sha256[2:4] / sha256
    path.write_bytes(b"cellz")
    with pytest.raises(IntegrityError, match=f"expected {sha256}"):
        depot.open_blob(sha256)
    put(b"cells")  # storing it again mends it
    depot.open_blob(sha256).close()


def test_a_flipped_byte_in_a_commit_is_found(depot, put):
    commit = depot.commit(REPO, {"config.json": put(b"{}")}, "one")
    path = depot.root / "repos" / REPO / "commits" / commit
    path.write_text(path.read_text().replace("one", "two"))
    with pytest.raises(IntegrityError, match=commit):
        depot.files(REPO, commit)


def test_a_commit_is_the_sha1_of_its_canonical_json(depot, put):
    first = depot.commit(REPO, {"config.json": put(b"{}")}, "one")
    raw = (depot.root / "repos" / REPO / "commits" / first).read_bytes()
    assert hashlib.sha1(raw).hexdigest() == first
    body = json.loads(raw)
    assert sorted(body) == ["date", "files", "message", "parent"]
    assert raw == json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
    assert body["files"] == {"config.json": {"sha256": hashlib.sha256(b"{}").hexdigest(), "size": 2}}


def test_commits_add_change_and_delete(depot, put):
    first = depot.commit(REPO, {"a": put(b"1"), "b/c": put(b"2")}, "one")
    second = depot.commit(REPO, {"a": None, "b/c": put(b"3"), "gone": None}, "two")
    assert depot.read(REPO, second).parent == first
    assert set(depot.files(REPO, first)) == {"a", "b/c"}
    assert depot.files(REPO, second) == {"b/c": depot.put_blob(io.BytesIO(b"3"))}
    assert depot.repos() == [REPO]


def test_the_same_tree_is_the_same_commit(depot, put):
    first = depot.commit(REPO, {"a": put(b"1")}, "one")
    assert depot.commit(REPO, {"a": put(b"1")}, "again", expect_head="0" * 40) == first  # a retry is no conflict


def test_a_moved_head_is_a_conflict(depot, put):
    first = depot.commit(REPO, {"a": put(b"1")}, "one")
    second = depot.commit(REPO, {"a": put(b"2")}, "two", expect_head=first[:7])
    with pytest.raises(HeadMovedError, match=f"head is {second}, expected {first}"):
        depot.commit(REPO, {"a": put(b"3")}, "three", expect_head=first, tag="v1.0.0")
    assert (depot.head(REPO), depot.tags(REPO)) == (second, {})


def test_of_concurrent_commits_one_wins(depot, put):
    base = depot.commit(REPO, {"a": put(b"base")}, "base")
    barrier, outcomes = threading.Barrier(8), []

    def commit(number):
        sha256 = put(f"{number}".encode())
        barrier.wait()
        try:
            outcomes.append(depot.commit(REPO, {"a": sha256}, "race", expect_head=base))
        except HeadMovedError:
            outcomes.append(None)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(commit, range(8)))
    winners = [outcome for outcome in outcomes if outcome]
    assert len(outcomes) == 8
    assert winners == [depot.head(REPO)]


def test_without_expectation_concurrent_commits_all_land(depot, put):
    def commit(number):
        depot.commit(REPO, {f"file{number}": put(b"x")}, "race")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(commit, range(8)))
    assert len(depot.files(REPO, depot.head(REPO))) == 8


def test_a_tag_never_moves(depot, put):
    first = depot.commit(REPO, {"a": put(b"1")}, "one", tag="v1.0.0")
    assert depot.tag(REPO, "v1.0.0", first) == first  # again is no harm
    with pytest.raises(InputError, match=f"v1.0.0 is already released, as commit {first}"):
        depot.commit(REPO, {"a": put(b"2")}, "two", tag="v1.0.0")
    assert depot.head(REPO) == first
    second = depot.commit(REPO, {"a": put(b"2")}, "two")
    with pytest.raises(InputError, match="immutable"):
        depot.tag(REPO, "v1.0.0", second)
    depot.tag(REPO, "v0.9.0", "main")
    assert depot.tags(REPO) == {"v0.9.0": second, "v1.0.0": first}


@pytest.mark.parametrize("tag", ["1.0.0", "latest", "v1", "v../x", "v1.0.0\n"])
def test_a_tag_is_a_release(depot, put, tag):
    with pytest.raises(InputError, match="expected"):
        depot.commit(REPO, {"a": put(b"1")}, "one", tag=tag)
    assert depot.repos() == []


def test_a_revision_is_a_tag_a_branch_or_a_commit(depot, put):
    first = depot.commit(REPO, {"a": put(b"1")}, "one", tag="v1.0.0")
    second = depot.commit(REPO, {"a": put(b"2")}, "two")
    assert depot.resolve(REPO, "v1.0.0") == depot.resolve(REPO, first) == depot.resolve(REPO, first[:7]) == first
    assert depot.resolve(REPO, "main") == depot.resolve(REPO, "HEAD") == second
    for missing in ("v2.0.0", first[:6], "0" * 40, "refs/heads/main"):
        with pytest.raises(NotFoundError, match=r"no revision .* it has main, v1\.0\.0"):
            depot.resolve(REPO, missing)


def test_an_ambiguous_prefix_is_no_revision(depot, put):
    commit = depot.commit(REPO, {"a": put(b"1")}, "one")
    (depot.root / "repos" / REPO / "commits" / (commit[:20] + "0" * 20)).write_text("")
    with pytest.raises(NotFoundError):
        depot.resolve(REPO, commit[:8])


@pytest.mark.parametrize(
    "path",
    ["", "/a", "../a", "a/../b", "a//b", "a/", ".git/config", "a/.hidden", "a\\b", "C:a", "a\nb", "a\0b", "a ", " a"],
)
def test_a_path_stays_in_its_folder(depot, put, path):
    with pytest.raises(InputError, match="no path in a repo"):
        depot.commit(REPO, {path: put(b"1")}, "bad")
    with pytest.raises(InputError):
        check_path(path)
    assert depot.repos() == []


@pytest.mark.parametrize("repo", ["..", "../..", "acme/..", "acme", "acme/a/b", "acme/.git", "/acme/a"])
def test_a_repo_stays_in_the_depot(depot, repo):
    for call in (depot.head, depot.tags, lambda repo: depot.commit(repo, {}, "bad")):
        with pytest.raises(InputError, match="no repo id"):
            call(repo)


def test_a_commit_needs_stored_blobs(depot):
    with pytest.raises(InputError, match="never stored"):
        depot.commit(REPO, {"a": "0" * 64}, "one")
    with pytest.raises(InputError, match="no sha256"):
        depot.commit(REPO, {"a": "../../secret"}, "one")


def test_names_that_differ_in_case_are_one(depot, put):
    depot.commit(REPO, {"a": put(b"1")}, "one")
    with pytest.raises(InputError, match="differ only in case"):
        depot.commit(REPO.replace("acme", "ACME"), {"a": put(b"1")}, "one")


def test_the_git_name_of_a_blob_is_gits(depot, put):
    expected = subprocess.run(["git", "hash-object", "--stdin"], input=b"cells", capture_output=True, check=True)
    assert depot.git_oid(put(b"cells")) == expected.stdout.decode().strip()
