"""Remotes: a folder and a real server over HTTP, through one interface."""

import subprocess
import sys
from collections.abc import Callable

import pytest

from cellzoo.errors import InputError, IntegrityError, NotFoundError, WorldError
from cellzoo.hub.cache import Cache, FileInfo, Listing
from cellzoo.hub.depot import HeadMovedError
from cellzoo.hub.remote import FolderRemote, HubRemote, open_remote
from cellzoo.models.files import refuse_code


@pytest.fixture(params=["folder", "hub"])
def remote(request, tmp_path):
    """Both kinds of remote, each over a depot."""
    if request.param == "folder":
        return FolderRemote(tmp_path / "remote")
    return HubRemote(request.getfixturevalue("hub").url)


@pytest.fixture
def depot(remote, request):
    return remote.depot if isinstance(remote, FolderRemote) else request.getfixturevalue("hub").depot


@pytest.fixture
def flip():
    """Change the last bit of a file."""

    def flip(path):
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)

    return flip


@pytest.fixture
def cached(tmp_path):
    """Names of all files in the cache."""
    return lambda: sorted(path.name for path in (tmp_path / "home" / "models").rglob("*") if path.is_file())


def test_a_push_is_one_commit_and_a_tag(remote, depot, repo, make_release):
    folder = make_release(1)
    commit = remote.push(repo, folder, "first release", "v1.0.0")
    before = depot.read(repo, commit).parent
    assert before is None or depot.files(repo, before) == {}  # a server begins with an empty commit
    assert remote.tags(repo) == {"v1.0.0": commit}
    assert depot.head(repo) == commit
    pulled = remote.pull(repo, "v1.0.0")
    assert pulled.commit == commit
    assert {path.name: path.read_bytes() for path in pulled.folder.iterdir()} == {
        path.name: path.read_bytes() for path in folder.iterdir()
    }


def test_a_release_replaces_the_one_before(remote, depot, repo, make_release):
    first = remote.push(repo, make_release(1), "one", "v1.0.0")
    folder = make_release(2)
    (folder / "labels.json").unlink()
    second = remote.push(repo, folder, "two", "v1.1.0")
    assert depot.read(repo, second).parent == first
    assert "labels.json" not in remote.listing(repo, "v1.1.0").files
    assert (remote.pull(repo, "v1.0.0").folder / "labels.json").exists()
    assert not (remote.pull(repo, "main").folder / "labels.json").exists()


def test_a_release_never_moves(remote, depot, repo, make_release, request):
    first = remote.push(repo, make_release(1), "one", "v1.0.0")
    blobs = sorted((depot.root / "blobs").rglob("*"))
    with pytest.raises(InputError, match=f"v1.0.0 is already released, as commit {first}; releases are immutable"):
        remote.push(repo, make_release(2), "two", "v1.0.0")
    assert sorted((depot.root / "blobs").rglob("*")) == blobs  # refused before anything was sent
    assert depot.head(repo) == first


def test_pushing_the_same_again_under_another_tag_is_the_same_commit(remote, repo, make_release):
    folder = make_release(1)
    assert remote.push(repo, folder, "one", "v1.0.0") == remote.push(repo, folder, "one", "v1.0.1")


@pytest.mark.parametrize("tag", ["1.0.0", "latest", "v1"])
def test_a_tag_is_a_release(remote, depot, repo, make_release, tag):
    with pytest.raises(InputError, match="expected v and a semantic version"):
        remote.push(repo, make_release(1), "one", tag)
    assert not (depot.root / "blobs").exists()


def test_a_concurrent_commit_is_said_and_changes_nothing(hub, repo, make_release, monkeypatch):
    from huggingface_hub import HfApi

    remote = HubRemote(hub.url)
    remote.push(repo, make_release(1), "one", "v1.0.0")
    original = HfApi.create_commit

    def late(self, *args, **kwargs):
        hub.depot.commit(repo, {"labels.json": None}, "somebody else's")
        return original(self, *args, **kwargs)

    monkeypatch.setattr(HfApi, "create_commit", late)
    with pytest.raises(HeadMovedError, match="someone else committed"):
        remote.push(repo, make_release(2), "two", "v2.0.0")
    assert hub.depot.read(repo, hub.depot.head(repo)).message == "somebody else's"
    assert list(remote.tags(repo)) == ["v1.0.0"]


def test_a_failed_tag_names_the_commit_and_a_second_push_mends_it(hub, repo, make_release, monkeypatch):
    remote, folder = HubRemote(hub.url), make_release(1)

    def refuse(*_):
        raise InputError("down")

    with monkeypatch.context() as patch:
        patch.setattr(hub.depot, "tag", refuse)
        with pytest.raises(WorldError, match="is up but not tagged v1.0.0") as caught:
            remote.push(repo, folder, "one", "v1.0.0")
    commit = hub.depot.head(repo)
    assert commit in str(caught.value)
    assert remote.push(repo, folder, "one", "v1.0.0") == commit
    assert remote.tags(repo) == {"v1.0.0": commit}


def test_large_files_are_streamed_and_never_by_xet(hub, repo, make_release, monkeypatch, caplog):
    from cellzoo.hub import writing

    monkeypatch.setattr(writing, "LARGE", 100)
    HubRemote(hub.url).push(repo, make_release(1), "one", "v1.0.0")
    assert caplog.records == []
    paths = [f"{method} {path}" for method, path, _ in hub.seen]
    assert [path for path in paths if path.startswith("PUT /lfs/")]
    assert not [path for path in paths if "xet" in path]
    assert "model.safetensors" in hub.depot.files(repo, hub.depot.head(repo))
    assert [authorization for method, _, authorization in hub.seen if method == "PUT"] == [None]


def test_a_failed_upload_is_said_and_changes_nothing(hub, repo, make_release, monkeypatch):
    from cellzoo.hub import writing

    def refuse(*_):
        raise InputError("the disk is full")

    monkeypatch.setattr(writing, "LARGE", 100)
    monkeypatch.setattr(hub.depot, "put_blob", refuse)
    with pytest.raises(WorldError, match=f"{hub.url}: {repo}: status 400: .*the disk is full"):
        HubRemote(hub.url).push(repo, make_release(1), "one", "v1.0.0")
    assert hub.depot.tags(repo) == {}


def test_a_byte_flipped_in_the_depot_is_found(remote, depot, repo, make_release, flip, cached):
    commit = remote.push(repo, make_release(1), "one", "v1.0.0")
    sha256 = depot.files(repo, commit)["model.safetensors"].sha256
    flip(depot.root / "blobs" / sha256[:2] / sha256[2:4] / sha256)
    with pytest.raises(IntegrityError, match=f"expected {sha256}"):
        remote.pull(repo, "v1.0.0")
    assert cached() == []


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_byte_flipped_on_the_way_is_found(
    remote, depot, repo, make_release, tmp_path, monkeypatch, name, flip, cached
):
    commit = remote.push(repo, make_release(1), "one", "v1.0.0")
    victim, original = depot.files(repo, commit)[name].sha256, depot.open_blob
    remote.listing(repo, commit)  # the server knows its git ids by now

    def tampered(sha256):
        stream = original(sha256)
        if sha256 != victim:
            return stream
        with stream:
            (tmp_path / "tampered").write_bytes(stream.read())
        flip(tmp_path / "tampered")
        return (tmp_path / "tampered").open("rb")

    monkeypatch.setattr(depot, "open_blob", tampered)
    with pytest.raises(IntegrityError, match=rf"{name}: got \d+ bytes with .* expected \d+ bytes with"):
        remote.pull(repo, "v1.0.0")
    assert cached() == []


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_byte_flipped_in_the_cache_is_found_and_removed(remote, repo, make_release, name, flip):
    remote.push(repo, make_release(1), "one", "v1.0.0")
    pulled = remote.pull(repo, "v1.0.0")
    good = (pulled.folder / name).read_bytes()
    flip(pulled.folder / name)
    for revision in ("v1.0.0", pulled.commit):
        with pytest.raises(IntegrityError, match=rf"{name} in the cache .* got .* expected .* was removed"):
            remote.pull(repo, revision)
        assert not (pulled.folder / name).exists()
        assert (remote.pull(repo, revision).folder / name).read_bytes() == good
        flip(pulled.folder / name)


@pytest.mark.parametrize(
    "name", ["weights.pkl", "pytorch_model.bin", "model.PT", "old/model.h5", "modeling.py", "x.pkl.gz"]
)
def test_a_pickle_beside_the_safetensors_is_refused_by_name(remote, depot, repo, make_release, tmp_path, name, cached):
    commit = remote.push(repo, make_release(1), "one", None)
    (tmp_path / "evil").write_bytes(b"evil")
    depot.commit(repo, {name: depot.put_blob(tmp_path / "evil").sha256}, "evil", tag="v1.0.0")
    with pytest.raises(IntegrityError, match=f"{name} could run code"):
        remote.pull(repo, "v1.0.0")
    assert cached() == []
    assert remote.pull(repo, commit).commit == commit


def test_only_release_files_are_fetched(remote, depot, repo, make_release, tmp_path):
    remote.push(repo, make_release(1), "one", None)
    (tmp_path / "other").write_bytes(b"other")
    other = depot.put_blob(tmp_path / "other").sha256
    depot.commit(repo, {"notes.txt": other, "sub/model.safetensors": other}, "more")
    pulled = remote.pull(repo, "main")
    assert sorted(path.name for path in pulled.folder.rglob("*")) == [
        *("README.md", "config.json", "genes.parquet", "labels.json", "model.safetensors")
    ]


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("weights.pkl", IntegrityError, "weights.pkl could run code"),
        ("notes.txt", InputError, "notes.txt: expected only regular files"),
        (".hidden", InputError, ".hidden: expected only"),
    ],
)
def test_only_release_files_are_pushed(remote, depot, repo, make_release, name, error, message):
    with pytest.raises(error, match=message):
        remote.push(repo, make_release(1, **{name: b"x"}), "one", "v1.0.0")
    assert depot.repos() == []


def test_a_link_out_of_the_folder_is_not_pushed(remote, repo, make_release, tmp_path):
    folder = make_release(1)
    (tmp_path / "secret").write_text("secret")
    (folder / "metrics.json").symlink_to(tmp_path / "secret")
    with pytest.raises(InputError, match=r"metrics\.json: expected only regular files"):
        remote.push(repo, folder, "one", "v1.0.0")


def test_a_release_needs_weights_and_a_config(remote, depot, repo, make_release):
    folder = make_release(1)
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"no model\.safetensors"):
        remote.push(repo, folder, "one", "v1.0.0")
    depot.commit(repo, {}, "nothing")
    with pytest.raises(NotFoundError, match=r"no model\.safetensors and no config\.json; this is no release"):
        remote.pull(repo, "main")


def test_what_is_missing_is_named(remote, repo, make_release):
    with pytest.raises(NotFoundError, match=f"no (repo|model) {repo}"):
        remote.pull(repo, "v1.0.0")
    remote.push(repo, make_release(1), "one", "v1.0.0")
    with pytest.raises(NotFoundError, match=r"no revision 'v2.0.0'; it has main, v1\.0\.0"):
        remote.pull(repo, "v2.0.0")


@pytest.mark.parametrize("repo", ["../evil", "a/b/c", "a", "/etc/passwd", "a/.."])
def test_a_repo_stays_in_its_folder(remote, make_release, repo):
    calls: list[Callable[[], object]] = [
        lambda: remote.pull(repo, "main"),
        lambda: remote.pull(repo, "0" * 40),
        lambda: remote.tags(repo),
        lambda: remote.push(repo, make_release(1), "one", None),
    ]
    for call in calls:
        with pytest.raises(InputError, match="no repo id"):
            call()


@pytest.mark.parametrize("revision", ["../../x", "a b", "", "-x"])
def test_a_revision_stays_in_its_folder(remote, repo, make_release, revision, monkeypatch):
    remote.push(repo, make_release(1), "one", None)
    for offline in ("", "1"):
        monkeypatch.setenv("CELLZOO_OFFLINE", offline)
        with pytest.raises(InputError, match="no revision"):
            remote.pull(repo, revision)


def test_a_remote_that_lists_a_strange_commit_is_refused():
    with pytest.raises(IntegrityError, match="expected 40 hexadecimal digits"):
        Listing("../../x", {})


def test_a_commit_in_the_cache_needs_no_network(hub, repo, make_release, monkeypatch):
    remote = HubRemote(hub.url)
    commit = remote.push(repo, make_release(1), "one", "v1.0.0")
    folder = remote.pull(repo, "v1.0.0").folder
    hub.seen.clear()
    assert remote.pull(repo, commit).folder == folder
    monkeypatch.setenv("CELLZOO_OFFLINE", "1")
    assert remote.pull(repo, "v1.0.0").commit == commit
    assert hub.seen == []
    with pytest.raises(
        NotFoundError, match=r"v2\.0\.0 is not in the cache .* which has v1\.0\.0; unset CELLZOO_OFFLINE"
    ):
        remote.pull(repo, "v2.0.0")
    with pytest.raises(NotFoundError, match="not in the cache"):
        remote.pull(repo, "0" * 40)
    for call in (remote.tags, lambda repo: remote.listing(repo, "main")):
        with pytest.raises(WorldError, match="unset CELLZOO_OFFLINE"):
            call(repo)
    assert hub.seen == []


def test_an_interrupted_download_leaves_nothing(hub, repo, make_release, tmp_path, monkeypatch, cached):
    remote = HubRemote(hub.url)
    remote.push(repo, make_release(1), "one", "v1.0.0")
    from huggingface_hub import HfApi

    original = HfApi.hf_hub_download

    def interrupted(self, repo_id, filename, **kwargs):
        path = original(self, repo_id, filename, **kwargs)
        if filename == "genes.parquet":
            raise KeyboardInterrupt
        return path

    monkeypatch.setattr(HfApi, "hf_hub_download", interrupted)
    with pytest.raises(KeyboardInterrupt):
        remote.pull(repo, "v1.0.0")
    assert cached() == []
    monkeypatch.undo()
    monkeypatch.setenv("CELLZOO_HOME", str(tmp_path / "home"))
    assert remote.pull(repo, "v1.0.0").folder.is_dir()


def test_an_answer_cut_short_leaves_nothing(tmp_path, repo):
    def cut_short(name, into):
        (into / name).write_bytes(b"{")
        return into / name

    info = FileInfo(2, git_oid="9e26dfeeb6e641a33dae4961196235bdb965b21b")
    listing = Listing("0" * 40, {"config.json": info, "model.safetensors": info})
    with pytest.raises(IntegrityError, match=r"model\.safetensors: got 1 bytes"):
        Cache(tmp_path / "cache").pull(repo, "main", listing, cut_short)
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_a_file_without_digest_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(IntegrityError, match="expected 1 bytes with git sha1 None"):
        FileInfo(1).verify(tmp_path / "file", "file")


def test_the_hugging_face_token_goes_nowhere_else(eavesdropper, repo, make_release, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    server = eavesdropper()
    remote = HubRemote(server.url)
    for call in (lambda: remote.pull(repo, "v1.0.0"), lambda: remote.tags(repo)):
        with pytest.raises((NotFoundError, WorldError)):
            call()
    with pytest.raises(InputError, match="CELLZOO_TOKENS"):
        remote.push(repo, make_release(1), "one", "v1.0.0")
    assert len(server.heard) >= 2
    assert set(server.heard) == {None}


def test_a_token_goes_only_to_the_server_it_was_given_for(eavesdropper, repo, make_release, monkeypatch):
    other = eavesdropper()
    first = eavesdropper(location=other.url)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("CELLZOO_TOKENS", f"{first.url}=mine https://hub.institute.org=theirs")
    remote = HubRemote(first.url)
    for call in (
        lambda: remote.pull(repo, "v1.0.0"),
        lambda: remote.tags(repo),
        lambda: remote.push(repo, make_release(1), "one", "v1.0.0"),
    ):
        with pytest.raises((NotFoundError, WorldError)):
            call()
    assert set(first.heard) == {"Bearer mine"}
    assert set(other.heard) <= {None}


def test_which_token_for_which_server(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("CELLZOO_TOKENS", "https://hub.org=a=b http://hub.org:8000/=c")
    tokens = {
        "https://huggingface.co": "hf_secret",
        "https://HuggingFace.co/": "hf_secret",
        "http://huggingface.co": False,
        "https://huggingface.co.evil.org": False,
        "https://huggingface.co:444": False,
        "https://huggingface.co/mirror": False,
        "https://hub.org": "a=b",
        "https://hub.org/prefix": "a=b",
        "http://hub.org": False,
        "http://hub.org:8000": "c",
        "https://my-hub.org": False,
    }
    assert {url: HubRemote(url)._api("a/b").token for url in tokens} == tokens


def test_caches_of_two_servers_are_apart():
    roots = {HubRemote(url).cache.root for url in ("https://a.org", "http://a.org", "https://a.org/x", "https://a_org")}
    assert len(roots) == 4


def test_a_server_that_is_not_there_is_named(repo, make_release, monkeypatch):
    monkeypatch.setenv("CELLZOO_TOKENS", "http://127.0.0.1:9=x")
    remote = open_remote("http://127.0.0.1:9")
    for call in (
        lambda: remote.pull(repo, "v1.0.0"),
        lambda: remote.tags(repo),
        lambda: remote.push(repo, make_release(1), "one", "v1.0.0"),
    ):
        with pytest.raises(WorldError, match=r"http://127\.0\.0\.1:9: no usable answer .* check the address"):
            call()


def test_someone_without_rights_is_told_what_to_set(hub, repo, make_release, monkeypatch):
    monkeypatch.setenv("CELLZOO_TOKENS", f"{hub.url}=token-of-bob")
    with pytest.raises(WorldError, match="status 403: .*bob may not publish for acme; set CELLZOO_TOKENS"):
        HubRemote(hub.url).push(repo, make_release(1), "one", "v1.0.0")


@pytest.mark.parametrize("where", ["ftp://host/x", "s3://bucket", "https://", "https://user:secret@host"])
def test_a_strange_remote_is_refused(where):
    with pytest.raises(InputError, match="expected"):
        open_remote(where)


def test_a_folder_is_a_remote_by_path_and_by_url(tmp_path, repo, make_release):
    folder = tmp_path / "a folder"
    commit = open_remote(str(folder)).push(repo, make_release(1), "one", "v1.0.0")
    assert open_remote(folder.as_uri()).pull(repo, "v1.0.0").commit == commit


def test_a_folder_that_cannot_be_written_is_named(tmp_path, repo, make_release):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(WorldError, match="file"):
        open_remote(str(tmp_path / "file")).push(repo, make_release(1), "one", "v1.0.0")


@pytest.mark.parametrize("path", ["a.npy", "A.JOBLIB", "x/y.ckpt", "m.keras", "setup.py", "lib.so", "a.pickle.xz"])
def test_names_that_could_run_code(path):
    with pytest.raises(IntegrityError, match="could run code"):
        refuse_code("repo", ["model.safetensors", path])


def test_names_that_could_not():
    refuse_code(
        "repo", ["model.safetensors", "config.json", "data.lock.yaml", "notes.python.md", ".gitattributes", "pt"]
    )


def test_importing_the_hub_is_light():
    code = (
        "import sys, cellzoo.hub.names, cellzoo.hub.depot, cellzoo.hub.cache, cellzoo.hub.remote;"
        "print(sorted({'torch', 'huggingface_hub', 'starlette', 'numpy', 'httpx2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
