"""The server, through the unmodified client that everybody uses."""

import hashlib
import json
import re
import subprocess
import warnings
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import (
    BadRequestError,
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)


@pytest.fixture
def api(hub):
    return HfApi(endpoint=hub.url, token=hub.token)


@pytest.fixture
def http():
    from huggingface_hub.utils import get_session  # type: ignore[attr-defined]

    return get_session()


@pytest.fixture
def published(api, repo, make_release):
    api.create_repo(repo)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "It seems that you are about to commit a data file")
        return api.upload_folder(repo_id=repo, folder_path=make_release(1), commit_message="one").oid


def test_a_stock_client_publishes_and_reads(api, repo, published, hub, tmp_path):
    api.create_tag(repo, tag="v1.0.0", revision=published)
    assert api.list_repo_files(repo) == [
        "README.md",
        "config.json",
        "genes.parquet",
        "labels.json",
        "model.safetensors",
    ]
    path = Path(api.hf_hub_download(repo, "config.json", revision="v1.0.0", cache_dir=tmp_path / "c"))
    assert '"number": 1' in path.read_text()
    folder = api.snapshot_download(repo, revision="v1.0.0", local_dir=tmp_path / "snapshot")
    assert hashlib.sha256((tmp_path / "snapshot" / "model.safetensors").read_bytes()).hexdigest() == (
        hub.depot.files(repo, published)["model.safetensors"].sha256
    )
    assert folder == str(tmp_path / "snapshot")


def test_a_stock_client_never_tries_xet(api, repo, published, hub, monkeypatch):
    from cellzoo.hub import writing

    monkeypatch.setattr(writing, "LARGE", 100)
    api.create_commit(repo, [CommitOperationAdd("model.safetensors", b"x" * 1000)], commit_message="large")
    paths = [path for _, path, _ in hub.seen]
    assert not [path for path in paths if "xet" in path or "lfs" in path]
    assert len([path for path in paths if "/commit/" in path]) == 2


def test_model_info_says_what_the_card_says(api, repo, published):
    info = api.model_info(repo, files_metadata=True)
    assert (info.sha, info.author, info.library_name) == (published, "acme", "cellzoo")
    assert {"single-cell", "license:mit", "cellzoo"} <= set(info.tags)
    files = {file.rfilename: file for file in info.siblings}
    assert files["model.safetensors"].lfs.size == files["model.safetensors"].size > 16384
    expected = subprocess.run(["git", "hash-object", "--stdin"], input=b"[]", capture_output=True, check=True)
    assert files["labels.json"].blob_id == expected.stdout.decode().strip()


def test_models_are_listed_by_author_search_and_tag(api, repo, published):
    api.create_repo("alice/other")
    assert [model.id for model in api.list_models()] == ["alice/other", repo]
    assert [model.id for model in api.list_models(author="acme")] == [repo]
    assert [model.id for model in api.list_models(search="celltype")] == [repo]
    assert [model.id for model in api.list_models(filter="single-cell")] == [repo]
    assert [model.id for model in api.list_models(limit=1)] == ["alice/other"]


def test_a_damaged_repo_hides_no_other(api, repo, published, hub):
    api.create_repo("alice/other")
    path = hub.depot.root / "repos" / repo / "commits" / published
    path.write_text(path.read_text() + " ")
    assert [model.id for model in api.list_models()] == ["alice/other"]


def test_creating_twice_is_a_conflict_that_clients_can_ignore(api, repo):
    first = api.create_repo(repo)
    assert api.create_repo(repo, exist_ok=True) == first
    with pytest.raises(HfHubHTTPError, match="already created"):
        api.create_repo(repo)


def test_who_am_i(api, hub):
    assert api.whoami()["name"] == "alice"
    with pytest.raises(HfHubHTTPError, match="Invalid credentials|Invalid user token"):
        HfApi(endpoint=hub.url, token="wrong").whoami()


def test_only_members_publish(hub, api, repo, published):
    bob = HfApi(endpoint=hub.url, token="token-of-bob")
    for call in (
        lambda: bob.create_repo("acme/new"),
        lambda: bob.create_commit(repo, [CommitOperationAdd("labels.json", b"x")], commit_message="x"),
        lambda: bob.create_tag(repo, tag="v1.0.0"),
    ):
        with pytest.raises(HfHubHTTPError, match="may not publish for acme"):
            call()
    nobody = HfApi(endpoint=hub.url, token=False)
    with pytest.raises(HfHubHTTPError, match="401"):
        nobody.create_tag(repo, tag="v1.0.0")
    assert nobody.model_info(repo).sha == published
    assert hub.depot.head(repo) == published


def test_a_private_hub_hides_everything_from_strangers(hub, repo, published):
    from starlette.testclient import TestClient

    from cellzoo.hub.server import User, create_app

    client = TestClient(create_app(hub.depot, {"t": User("alice")}, public=False))
    for path in (f"/api/models/{repo}", f"/{repo}/resolve/main/config.json", f"/api/models/{repo}/refs"):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["X-Error-Code"]) == (401, "RepoNotFound")
        assert client.get(path, headers={"Authorization": "Bearer t"}).status_code == 200
    assert client.get("/api/models").status_code == 401


def test_what_is_missing_is_said_the_way_clients_read_it(api, repo, published, tmp_path):
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("acme/nothing")
    with pytest.raises(RevisionNotFoundError):
        api.model_info(repo, revision="v9.9.9")
    with pytest.raises(RemoteEntryNotFoundError):
        api.hf_hub_download(repo, "nothing.json", cache_dir=tmp_path / "c")
    assert api.file_exists(repo, "config.json")
    assert not api.file_exists(repo, "nothing.json")


def test_a_release_never_moves(api, repo, published, hub):
    api.create_tag(repo, tag="v1.0.0", revision=published)
    second = api.create_commit(repo, [CommitOperationAdd("labels.json", b"[1]")], commit_message="two").oid
    with pytest.raises(HfHubHTTPError, match=f"already released, as commit {published}"):
        api.create_tag(repo, tag="v1.0.0", revision=second)
    with pytest.raises(HfHubHTTPError, match="releases are immutable"):
        api.delete_tag(repo, tag="v1.0.0")
    with pytest.raises(BadRequestError, match="expected v and a semantic version"):
        api.create_tag(repo, tag="latest", revision=second)
    refs = api.list_repo_refs(repo)
    assert [(ref.name, ref.target_commit) for ref in refs.tags] == [("v1.0.0", published)]
    assert [(ref.name, ref.target_commit) for ref in refs.branches] == [("main", second)]
    assert [commit.title for commit in api.list_repo_commits(repo)] == ["two", "one", "initial commit"]


def test_commits_add_delete_and_guard_the_head(api, repo, published, hub):
    operations = [
        CommitOperationAdd("notes/a.txt", b"a"),
        CommitOperationAdd("notes/b.txt", b"b"),
        CommitOperationDelete("labels.json"),
    ]
    second = api.create_commit(repo, operations, commit_message="two", parent_commit=published).oid
    assert {"notes/a.txt", "notes/b.txt"} <= set(hub.depot.files(repo, second)).difference({"labels.json"})
    with pytest.raises(HfHubHTTPError, match="412"):
        api.create_commit(repo, [CommitOperationAdd("c", b"c")], commit_message="late", parent_commit=published)
    with pytest.raises(HfHubHTTPError, match="doesn't exist"):
        api.create_commit(repo, [CommitOperationDelete("labels.json")], commit_message="again")
    third = api.create_commit(repo, [CommitOperationDelete("notes/")], commit_message="three").oid
    assert not [path for path in hub.depot.files(repo, third) if path.startswith("notes/")]


def test_an_unchanged_upload_is_no_commit(api, repo, published):
    assert api.create_commit(repo, [CommitOperationAdd("labels.json", b"[]")], commit_message="same").oid == published


def test_pull_requests_and_branches_are_refused(api, repo, published):
    with pytest.raises(HfHubHTTPError, match="pull requests are not offered"):
        api.create_commit(repo, [CommitOperationAdd("a", b"a")], commit_message="pr", create_pr=True)
    with pytest.raises(RevisionNotFoundError):
        api.create_commit(repo, [CommitOperationAdd("a", b"a")], commit_message="x", revision="feature/x")
    with pytest.raises(HfHubHTTPError, match="not offered here"):
        api.create_branch(repo, branch="feature/x")


def test_a_card_that_cannot_be_read_is_refused(api, repo, published):
    for text in ("---\n[\n---\n", "---\n- list\n---\n", "---\na: &a [1]\nb: *a\n---\n"):
        with pytest.raises(ValueError, match="Invalid metadata in README.md"):
            api.create_commit(repo, [CommitOperationAdd("README.md", text.encode())], commit_message="card")


def test_tree_and_paths_info(api, repo, published):
    commit = api.create_commit(repo, [CommitOperationAdd("a/b/c.txt", b"c")], commit_message="two").oid
    assert {item.path for item in api.list_repo_tree(repo)} == {
        *("README.md", "config.json", "genes.parquet", "labels.json", "model.safetensors", "a")
    }
    assert [item.path for item in api.list_repo_tree(repo, "a", recursive=True)] == ["a/b", "a/b/c.txt"]
    assert [item.path for item in api.list_repo_tree(repo, "a/b", revision=commit)] == ["a/b/c.txt"]
    assert [item.path for item in api.get_paths_info(repo, ["a/b/c.txt", "nothing"])] == ["a/b/c.txt"]


def test_a_range_of_a_file(http, hub, repo, published):
    url = f"{hub.url}/{repo}/resolve/main/labels.json"
    for wanted, status, body in [
        ("bytes=0-0", 206, b"["),
        ("bytes=1-", 206, b"]"),
        ("bytes=-1", 206, b"]"),
        ("bytes=0-99", 206, b"[]"),
        ("bytes=9-", 416, b""),
        ("nonsense", 200, b"[]"),
    ]:
        answer = http.get(url, headers={"Range": wanted})
        assert (answer.status_code, answer.content) == (status, body)
    head = http.head(url)
    assert head.headers["X-Repo-Commit"] == published
    assert head.headers["Content-Length"] == "2"
    assert re.fullmatch('"[0-9a-f]{40}"', head.headers["ETag"])


@pytest.mark.parametrize("path", ["../x", "/x", "a/../../x", ".git/config", "a\\b", "a\nb"])
def test_a_path_stays_in_its_repo(http, hub, repo, published, path):
    line = '{"key":"header","value":{"summary":"x"}}\n{"key":"file","value":{"path":%s,"content":"x"}}\n'
    answer = http.post(
        f"{hub.url}/api/models/{repo}/commit/main",
        content=(line % json.dumps(path)).encode(),
        headers={"Authorization": f"Bearer {hub.token}"},
    )
    assert (answer.status_code, hub.depot.head(repo)) == (400, published)
    assert "no path in a repo" in answer.json()["error"]


@pytest.mark.parametrize("path", ["..%2f..%2fsecret/x", "%2e%2e/%2e%2e", "acme/..%2f..%2fx", "acme/x%00"])
def test_a_repo_stays_in_the_depot(http, hub, path):
    for url in (f"{hub.url}/api/models/{path}", f"{hub.url}/{path}/resolve/main/config.json"):
        assert http.get(url).status_code in {401, 404}


def test_an_upload_address_is_for_these_bytes_only(http, hub, api, repo, published):
    data = b"weights"
    sha256 = hashlib.sha256(data).hexdigest()
    batch = http.post(
        f"{hub.url}/{repo}.git/info/lfs/objects/batch",
        json={"operation": "upload", "objects": [{"oid": sha256, "size": len(data)}]},
        headers={"Authorization": f"Bearer {hub.token}"},
    ).json()
    href = batch["objects"][0]["actions"]["upload"]["href"]
    assert http.put(href, content=b"wrong!!").status_code == 400
    assert http.put(href, content=data + b"more").status_code == 413
    assert http.put(href.replace("signature=", "signature=0"), content=data).status_code == 403
    assert http.put(href.replace(f"size={len(data)}", "size=99"), content=data).status_code == 403
    assert http.put(f"{hub.url}/lfs/{sha256}", content=data).status_code == 403
    assert not hub.depot.has_blob(sha256)
    assert http.put(href, content=data).status_code == 200
    assert hub.depot.has_blob(sha256)


def test_an_upload_address_does_not_last(hub, repo, published, http, monkeypatch):
    from cellzoo.hub import writing

    monkeypatch.setattr(writing, "UPLOAD_SECONDS", -1)
    batch = http.post(
        f"{hub.url}/{repo}.git/info/lfs/objects/batch",
        json={"operation": "upload", "objects": [{"oid": hashlib.sha256(b"x").hexdigest(), "size": 1}]},
        headers={"Authorization": f"Bearer {hub.token}"},
    ).json()
    assert http.put(batch["objects"][0]["actions"]["upload"]["href"], content=b"x").status_code == 403


def test_strangers_cannot_fill_the_disk(http, hub):
    answer = http.post(f"{hub.url}/api/validate-yaml", content=b"x" * (2 << 20))
    assert answer.status_code == 413


def test_damaged_bytes_are_not_served(http, hub, repo, published):
    sha256 = hub.depot.files(repo, published)["model.safetensors"].sha256
    path = hub.depot.root / "blobs" / sha256[:2] / sha256[2:4] / sha256
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    answer = http.get(f"{hub.url}/{repo}/resolve/main/model.safetensors")
    assert (answer.status_code, answer.headers["X-Error-Code"]) == (500, "IntegrityError")
