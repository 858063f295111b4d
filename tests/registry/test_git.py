"""Registries in Git: real repositories, a bare remote over file://, a server that asks for a password."""

import base64
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer, SimpleHTTPRequestHandler

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from cellzoo import settings
from cellzoo.ci.check import Question, check_registry
from cellzoo.cli import main
from cellzoo.errors import CellzooError, InputError, IntegrityError, NotFoundError, WorldError
from cellzoo.registry import tree
from cellzoo.registry.catalogue import PACKAGED, open_registry
from cellzoo.registry.git import at, changed_files, checkout, resolve
from cellzoo.registry.history import history
from cellzoo.registry.source import parse, without_credentials

CARD = "schema_version: 1\nid: one\ntitle: First\nstatus: imported\ncells: {cell_type: {column: x, map: one.tsv}}\n"
MAP = "source\tterm\tlabel\nB\tCL:0000236\tB cell\n"


@pytest.fixture
def work(git, tmp_path):
    """A working tree whose cards are pushed to a bare remote beside it, at the tag v1."""
    git(tmp_path, "init", "-q", "--bare", "zoo.git")
    git(tmp_path, "clone", "-q", "zoo.git", "work")
    datasets = tmp_path / "work" / "cards" / "datasets"
    datasets.mkdir(parents=True)
    (datasets / "one.yaml").write_text(CARD)
    (datasets / "one.tsv").write_text(MAP)
    (tmp_path / "work" / "README.md").write_text("A zoo.\n")
    save(git, tmp_path / "work", "First card")
    git(tmp_path / "work", "tag", "v1")
    git(tmp_path / "work", "push", "-q", "origin", "main", "v1")
    return tmp_path / "work"


@pytest.fixture
def url(work):
    return f"file://{work.parent / 'zoo.git'}"


def save(git, work, message):
    """Commit everything and return the commit."""
    git(work, "add", "-A")
    git(work, "commit", "-q", "-m", message)
    return git(work, "rev-parse", "HEAD")


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


SOURCES = {
    "https://host/org/zoo.git@v2026.11": ("https://host/org/zoo.git", "v2026.11"),
    "https://host/org/zoo@cards/new": ("https://host/org/zoo", "cards/new"),
    "https://host/org/zoo.git": ("https://host/org/zoo.git", None),
    "https://host/@me/zoo": ("https://host/@me/zoo", None),
    "https://host/@me/zoo@v1": ("https://host/@me/zoo", "v1"),
    "https://me:secret@host/org/zoo.git@v1": ("https://me:secret@host/org/zoo.git", "v1"),
    "https://host/zoo.git@scope/zoo@1.0": ("https://host/zoo.git", "scope/zoo@1.0"),
    "git@host:org/zoo.git": ("git@host:org/zoo.git", None),
    "git@host:org/zoo.git@release/1.0": ("git@host:org/zoo.git", "release/1.0"),
    "git@host:zoo@main": ("git@host:zoo", "main"),
    "ssh://git@host:22/org/zoo.git@main": ("ssh://git@host:22/org/zoo.git", "main"),
    "file:///srv/zoo.git@v1": ("file:///srv/zoo.git", "v1"),
    "HTTPS://host/zoo.git@v1": ("https://host/zoo.git", "v1"),
}


@pytest.mark.parametrize(("where", "expected"), SOURCES.items(), ids=SOURCES)
def test_url_and_ref_are_told_apart(where, expected):
    source = parse(where)
    assert source is not None and (source.url, source.ref) == expected


@given(st.from_regex(r"[a-z][a-z0-9]{0,5}([./-][a-z0-9]{1,5}){0,2}(@[0-9.]{1,3})?", fullmatch=True))
def test_any_ref_comes_back_from_any_kind_of_url(ref):
    for url in ("https://host/org/zoo.git", "git@host:org/zoo.git", "ssh://git@host/~me/zoo.git", "file:///a/zoo.git"):
        source = parse(f"{url}@{ref}")
        assert source is not None and (source.url, source.ref) == (url, ref)


def test_a_path_is_git_only_with_a_ref(tmp_path):
    (tmp_path / "zoo@home").mkdir()
    assert parse(str(tmp_path)) is parse(str(tmp_path / "zoo@home")) is parse("cards") is None
    assert parse(str(tmp_path / "absent@v1")) is None
    for where, ref in [(tmp_path, "v1"), (tmp_path / "zoo@home", "cards/new")]:
        source = parse(f"{where}@{ref}")
        assert source is not None and source.local and (source.url, source.ref) == (str(where.resolve()), ref)


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("ext::sh -c touch% /tmp/x://y@v1", "is not allowed for a registry; use one of https, http, ssh, git, file"),
        ("ftp://host/zoo.git", "ftp://: is not allowed"),
        ("https://host/zoo.git@", "'' is no name of a branch, tag or commit"),
        ("https://host/zoo.git@--upload-pack=x", "'--upload-pack=x' is no name"),
        ("https://host/zoo.git@a b", "'a b' is no name"),
        ("https://host/zoo.git@v1:datasets", "'v1:datasets' is no name"),
    ],
)
def test_what_could_run_something_or_means_nothing_is_refused(where, words):
    with pytest.raises(InputError) as caught:
        parse(where)
    assert words in str(caught.value)


def test_credentials_are_left_out_of_what_is_shown():
    assert (
        without_credentials("https://me:pa@ss@host/zoo.git and ssh://git@host/x")
        == "https://host/zoo.git and ssh://host/x"
    )
    source = parse("https://me:secret@host/zoo.git@v1")
    assert source is not None and "secret" not in repr(source) + source.shown


@pytest.mark.parametrize("place", ["", "cards", "registry/cards"])
def test_the_cards_are_found_and_nothing_beside_them_is_taken(git, work, url, place):
    git(work, "rm", "-rq", "cards")
    (work / place / "datasets").mkdir(parents=True)
    (work / place / "datasets" / "two.yaml").write_text("id: two\n")
    (work / place / "models" / "org").mkdir(parents=True)
    (work / place / "models" / "org" / "m.yaml").write_text("id: org/m\n")
    (work / "models").mkdir(exist_ok=True)
    (work / "models" / "code.py").write_text("")
    commit = save(git, work, "Moved")
    git(work, "push", "-q")
    made = checkout(f"{url}@main")
    code = {"models/code.py"} if place == "" else set()
    assert files(made.folder) == {"datasets/two.yaml", "models/org/m.yaml"} | code
    assert (made.commit, made.ref, made.url, made.said) == (commit, "main", url, ())
    assert made.folder.name == commit and made.folder.is_relative_to(settings.home() / "registries")


@pytest.mark.parametrize("ref", ["v1", "main", "commit", "short", None])
def test_every_kind_of_ref_gives_the_bytes_of_its_commit(git, work, url, ref):
    commit = git(work, "rev-parse", "HEAD")
    name = {"commit": commit, "short": commit[:8]}.get(str(ref), ref)
    made = checkout(f"{url}@{name}" if name else url)
    assert made.commit == commit
    assert (made.folder / "datasets" / "one.yaml").read_text() == CARD
    assert resolve(f"{url}@v1") == (made.folder, commit, [])


def test_bytes_are_those_of_the_commit_whatever_attributes_and_filters_say(git, work, url):
    (work / ".gitattributes").write_text("*.yaml text eol=crlf export-subst ident filter=evil\n*.tsv export-ignore\n")
    (work / "cards" / "datasets" / "one.yaml").write_bytes(b"id: one\nnote: $Id$ $Format:%H$\n")
    git(work, "config", "--global", "filter.evil.smudge", f"touch {work.parent / 'ran'}; cat")
    git(work, "config", "--global", "core.hooksPath", str(work.parent / "hooks"))
    (work.parent / "hooks").mkdir()
    save(git, work, "Attributes")
    git(work, "push", "-q")
    for hook in ("post-checkout", "reference-transaction", "post-index-change"):
        (work.parent / "hooks" / hook).write_text(f"#!/bin/sh\ntouch {work.parent / 'ran'}\n")
        (work.parent / "hooks" / hook).chmod(0o755)
    made = checkout(f"{url}@main")
    assert (made.folder / "datasets" / "one.yaml").read_bytes() == b"id: one\nnote: $Id$ $Format:%H$\n"
    assert (made.folder / "datasets" / "one.tsv").is_file()
    assert not (work.parent / "ran").exists()


@pytest.mark.parametrize("ref", ["v1", "commit"])
def test_what_was_pinned_is_used_without_the_remote(git, work, url, ref, monkeypatch):
    name = git(work, "rev-parse", "HEAD") if ref == "commit" else ref
    first = checkout(f"{url}@{name}")
    shutil.rmtree(work.parent / "zoo.git")
    monkeypatch.setenv("CELLZOO_OFFLINE", "1")
    assert checkout(f"{url}@{name}") == first
    assert first.said == ()


def test_a_tag_that_is_moved_elsewhere_stays_what_it_was_here(git, work, url):
    first = checkout(f"{url}@v1")
    (work / "cards" / "datasets" / "one.yaml").write_text(CARD.replace("First", "Forged"))
    save(git, work, "Forged")
    git(work, "tag", "-f", "v1")
    git(work, "push", "-qf", "origin", "main", "v1")
    assert checkout(f"{url}@main").commit != first.commit
    assert checkout(f"{url}@v1") == first


def test_a_branch_is_fetched_anew_where_possible_and_said_to_be_old_where_not(git, work, url, monkeypatch):
    old = checkout(f"{url}@main")
    (work / "cards" / "datasets" / "two.yaml").write_text("id: two\n")
    commit = save(git, work, "Second card")
    git(work, "push", "-q")
    monkeypatch.setenv("CELLZOO_OFFLINE", "1")
    made = checkout(f"{url}@main")
    assert made.commit == old.commit
    assert made.said == (
        f"{url}: could not be refreshed: CELLZOO_OFFLINE is set. Using commit {old.commit[:10]}, fetched before.",
    )
    monkeypatch.delenv("CELLZOO_OFFLINE")
    assert (checkout(f"{url}@main").commit, checkout(url).commit) == (commit, commit)
    (work.parent / "zoo.git").rename(work.parent / "gone.git")
    [said] = checkout(f"{url}@main").said
    assert said.startswith(f"{url}: could not be refreshed: ") and said.endswith(f"{commit[:10]}, fetched before.")


def test_a_branch_that_was_forced_or_deleted_is_followed(git, work, url):
    git(work, "push", "-q", "origin", "main:new")
    checkout(f"{url}@new")
    git(work, "commit", "-q", "--amend", "-m", "Other")
    git(work, "push", "-qf", "origin", "main:new")
    assert checkout(f"{url}@new").commit == git(work, "rev-parse", "HEAD")
    git(work, "push", "-q", "origin", ":new", "main:new/deeper")
    with pytest.raises(NotFoundError, match="has no branch, tag or commit 'new'"):
        checkout(f"{url}@new")
    assert checkout(f"{url}@new/deeper").commit == git(work, "rev-parse", "HEAD")


def test_an_unknown_ref_names_those_that_are_near(work, url):
    with pytest.raises(NotFoundError) as caught:
        checkout(f"{url}@v1.0")
    assert str(caught.value) == f"{url}: has no branch, tag or commit 'v1.0'; nearest 'v1'. It has main, v1."


def test_what_is_no_card_repository_is_refused(git, work, url, tmp_path):
    git(work, "rm", "-rq", "cards")
    commit = save(git, work, "No cards")
    git(work, "push", "-q")
    with pytest.raises(NotFoundError, match=f"is not a registry at commit {commit[:10]}: it holds no folder datasets/"):
        checkout(f"{url}@main")
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFoundError, match="empty: is not a Git repository, or not one you may read"):
        checkout(f"file://{tmp_path / 'empty'}@v1")
    with pytest.raises(NotFoundError, match="absent: is not a Git repository"):
        checkout(f"file://{tmp_path / 'absent'}@v1")
    with pytest.raises(InputError, match="empty: is not in a Git repository"):
        checkout(f"{tmp_path / 'empty'}@v1")
    git(tmp_path, "init", "-q", "--bare", "new.git")
    with pytest.raises(NotFoundError, match="has no default branch, or is empty"):
        checkout(f"file://{tmp_path / 'new.git'}")


def test_what_was_never_fetched_cannot_be_had_offline(url, monkeypatch):
    monkeypatch.setenv("CELLZOO_OFFLINE", "1")
    with pytest.raises(WorldError, match="is not in the cache and could not be fetched: CELLZOO_OFFLINE is set"):
        checkout(f"{url}@v1")


def _link(work):
    (work / "cards" / "datasets" / "two.yaml").symlink_to("/etc/passwd")


def _linked_folder(work):
    (work / "cards" / "datasets").rename(work / "elsewhere")
    (work / "cards" / "datasets").symlink_to("../elsewhere")


def _large(work):
    (work / "cards" / "datasets" / "two.yaml").write_bytes(b"x" * 2000)


def _many(work):
    for number in range(20):
        (work / "cards" / "datasets" / f"{number}.yaml").write_text(str(number))


def _colon(work):
    (work / "cards" / "datasets" / "C:x.yaml").write_text("")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_link, "'datasets/two.yaml': is a link or a submodule; cards are plain files. Nothing"),
        (_linked_folder, "cards/datasets is a link or a submodule, expected a folder of cards"),
        (_large, "'datasets/two.yaml': has 2000 bytes; at most 1000 are taken"),
        (_many, "is one file too many; at most 20 are taken"),
        (_colon, "is no safe name of a file on every system"),
    ],
)
def test_a_tree_that_is_not_safe_to_write_out_is_refused_whole(git, work, url, monkeypatch, make, words):
    monkeypatch.setattr(tree, "MAX_BYTES", 1000)
    monkeypatch.setattr(tree, "MAX_ENTRIES", 20)
    make(work)
    commit = save(git, work, "Unsafe")
    git(work, "push", "-q")
    with pytest.raises(IntegrityError) as caught:
        checkout(f"{url}@main")
    assert words in str(caught.value)
    assert not [path for path in (settings.home() / "registries").rglob(".new-*")]
    assert not [path for path in (settings.home() / "registries").rglob(commit)]


def _tree_of(git, work, *entries):
    """Make a tree object of raw entries, which git mktree would refuse."""
    data = b"".join(f"{mode} {name}".encode() + b"\0" + bytes.fromhex(sha) for mode, name, sha in entries)
    command = ["git", "hash-object", "-t", "tree", "-w", "--literally", "--stdin"]
    return subprocess.run(command, cwd=work, input=data, capture_output=True, check=True).stdout.decode().strip()


@pytest.mark.parametrize("name", ["..", "../x", ".git", "a\nb"])
def test_no_path_of_a_forged_tree_leaves_its_folder(git, work, name):
    blob = git(work, "rev-parse", "HEAD:cards/datasets/one.yaml")
    inner = _tree_of(git, work, ("100644", name, blob))
    outer = _tree_of(git, work, ("40000", "datasets", inner))
    commit = git(work, "commit-tree", outer, "-m", "Forged")
    with pytest.raises(IntegrityError, match="is no safe name of a file|is not safe to write out"):
        at(work, commit)
    gitlink = _tree_of(git, work, ("160000", "sub", git(work, "rev-parse", "HEAD")))
    commit = git(work, "commit-tree", _tree_of(git, work, ("40000", "datasets", gitlink)), "-m", "Submodule")
    with pytest.raises(IntegrityError, match="is a link or a submodule"):
        at(work, commit)


class Guarded(BaseHTTPRequestHandler):
    """A server that wants a password, and writes down which it got."""

    seen: list[str] = []

    def do_GET(self):
        Guarded.seen.append(self.headers.get("Authorization", ""))
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="zoo"')
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def serve(monkeypatch):
    """Serve HTTP on the loopback and return the address."""
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    servers = []

    def start(handler):
        server = HTTPServer(("127.0.0.1", 0), handler)
        servers.append((server, threading.Thread(target=server.serve_forever, daemon=True)))
        servers[-1][1].start()
        return f"127.0.0.1:{server.server_port}"

    yield start
    for server, thread in servers:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_password_is_given_to_its_host_never_shown_never_kept_and_never_waited_for(git, serve, monkeypatch):
    monkeypatch.delenv("SSH_ASKPASS", raising=False)
    host, begun = serve(Guarded), time.monotonic()
    for where in (f"http://me:s3cret@{host}/zoo.git@v1", f"http://{host}/zoo.git@v1"):
        with pytest.raises(WorldError) as caught:
            checkout(where)
        error = caught.value
        shown = "".join(map(str, (error, repr(error), repr(error.__cause__), repr(error.__context__))))
        assert f"http://{host}/zoo.git: is not in the cache and could not be fetched" in shown
        assert "s3cret" not in shown and "me:" not in shown
    assert "terminal prompts disabled" in shown
    assert f"Basic {base64.b64encode(b'me:s3cret').decode()}" in Guarded.seen
    assert time.monotonic() - begun < 20
    kept = b"".join(path.read_bytes() for path in (settings.home() / "registries").rglob("*") if path.is_file())
    assert b"s3cret" not in kept


def test_a_registry_on_a_web_server_is_fetched_over_http(git, work, serve):
    git(work.parent / "zoo.git", "update-server-info")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    made = checkout(f"http://{serve(partial(Quiet, directory=str(work.parent)))}/zoo.git@v1")
    assert files(made.folder) == {"datasets/one.yaml", "datasets/one.tsv"}


def test_many_processes_that_open_the_same_registry_write_it_once(url):
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(checkout, [f"{url}@main"] * 4 + [f"{url}@v1"] * 4))
    assert len({one.folder for one in made}) == 1
    assert [path.name for path in made[0].folder.parent.iterdir() if path.name.startswith(".")] == []


def test_a_hook_that_calls_cellzoo_does_not_lead_it_into_another_repository(git, work, url, monkeypatch):
    git(work.parent, "init", "-q", "other")
    monkeypatch.setenv("GIT_DIR", str(work.parent / "other" / ".git"))
    assert checkout(f"{url}@v1").commit
    assert changed_files(work, "v1") == []
    monkeypatch.delenv("GIT_DIR")
    assert git(work.parent / "other", "for-each-ref") == ""
    assert git(work.parent / "other", "config", "core.bare") == "false"


def test_without_the_program_git_that_is_what_is_said(url, tmp_path):
    code = (
        "import sys; from cellzoo.registry.git import checkout\n"
        f"try: checkout({f'{url}@v1'!r})\nexcept OSError as error: sys.exit(str(error))"
    )
    env = {**os.environ, "PATH": str(tmp_path), "GIT_PYTHON_REFRESH": "raise"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=False)
    assert "the program git is needed for this and was not found; install it." in done.stderr


def test_another_version_is_opened_from_a_working_tree_and_from_the_cache(git, work, url):
    (work / "cards" / "datasets" / "two.yaml").write_text("id: two\n")
    commit = save(git, work, "Second card")
    git(work, "push", "-q")
    assert files(at(work / "cards", "HEAD~1")) == {"datasets/one.yaml", "datasets/one.tsv"}
    assert at(work, "main").name == commit
    assert checkout(f"{work}@v1").folder == at(work, "v1")
    cached = checkout(f"{url}@main").folder
    assert files(at(cached, "v1")) == {"datasets/one.yaml", "datasets/one.tsv"}
    assert at(at(work, "v1"), "main").name == commit
    with pytest.raises(NotFoundError, match="has no branch, tag or commit 'mian'; nearest 'main'"):
        at(work, "mian")


def test_every_kind_of_work_since_the_branch_was_left_counts_as_changed(git, work):
    datasets = work / "cards" / "datasets"
    for name in ("kept", "staged", "edited", "renamed", "deleted"):
        (datasets / f"{name}.yaml").write_text(f"id: {name}\n{name * 30}\n")
    save(git, work, "More")
    git(work, "push", "-q")
    git(work, "switch", "-qc", "mine")
    (datasets / "committed.yaml").write_text("id: committed\n")
    save(git, work, "Mine")
    git(work, "switch", "-q", "main")
    (datasets / "theirs.yaml").write_text("id: theirs\n")
    save(git, work, "Theirs")
    git(work, "switch", "-q", "mine")
    git(work, "mv", "cards/datasets/renamed.yaml", "cards/datasets/new name é.yaml")
    (datasets / "deleted.yaml").unlink()
    (datasets / "staged.yaml").write_text("id: other\n")
    git(work, "add", "cards/datasets/staged.yaml")
    (datasets / "edited.yaml").write_text("id: other\n")
    (datasets / "untracked.yaml").write_text("id: untracked\n")
    (work / ".gitignore").write_text("*.log\n")
    (datasets / "x.log").write_text("")
    names = ["committed", "deleted", "edited", "new name é", "renamed", "staged", "untracked"]
    expected = sorted([work / ".gitignore", *(datasets / f"{name}.yaml" for name in names)])
    before = git(work, "status", "--porcelain")
    assert changed_files(datasets, "main") == changed_files(work, "origin/main") == expected
    assert git(work, "status", "--porcelain") == before


@pytest.mark.parametrize(
    ("base", "kind", "words"),
    [
        ("mian", NotFoundError, "has no branch, tag or commit 'mian'; nearest 'main'"),
        ("alone", InputError, "alone and HEAD have no commit in common. In a shallow clone fetch the rest first"),
        ("--output=x", InputError, "is no name of a branch"),
    ],
)
def test_a_base_that_cannot_be_compared_with_says_why(git, work, base, kind, words):
    git(work, "switch", "-q", "--orphan", "alone")
    git(work, "commit", "-q", "--allow-empty", "-m", "Alone")
    git(work, "switch", "-q", "main")
    with pytest.raises(kind) as caught:
        changed_files(work, base)
    assert words in str(caught.value)


def test_the_history_of_a_card_says_what_each_commit_did_to_it(git, work, url):
    card = work / "cards" / "datasets" / "one.yaml"
    card.write_text(CARD.replace("imported", "verified").replace("First", "Better"))
    save(git, work, "Verify one")
    card.with_name("one.tsv").write_text(MAP.replace("B cell", "lymphocyte") + "T\tCL:0000084\tT cell\n")
    save(git, work, "Map T cells\n\nAnd more.")
    (work / "README.md").write_text("Other\n")
    save(git, work, "Nothing of the card")
    card.write_text("# read once\n" + card.read_text())
    git(work, "-c", "user.name=Other", "commit", "-qam", "Comment")
    git(work, "push", "-q")
    told = [(one.author, one.subject, one.changes) for one in history(card)]
    assert told == [
        ("Other", "Comment", "spelling only"),
        ("Curator", "Map T cells", "one.tsv: +1 ~1 rows"),
        ("Curator", "Verify one", "title; status imported -> verified"),
        ("Curator", "First card", "added"),
    ]
    revision = history(card)[-1]
    assert (revision.commit, revision.date) == (git(work, "rev-parse", "v1"), "2026-11-01T12:00:00+00:00")
    cached = checkout(f"{url}@main").folder / "datasets" / "one.yaml"
    assert history(cached) == history(card)
    assert [one.subject for one in history(at(work, "v1") / "datasets" / "one.yaml")] == ["First card"]


def test_the_history_of_a_model_is_told_too(git, work):
    card = work / "cards" / "models" / "org" / "m.yaml"
    card.parent.mkdir(parents=True)
    card.write_text("id: org/m\nversions:\n- {version: 1.0.0, status: active}\n")
    save(git, work, "Model")
    card.write_text("id: org/m\nversions:\n- {version: 1.0.0, status: yanked, reason: wrong labels}\n")
    save(git, work, "Yank")
    assert [one.changes for one in history(card)] == ["1.0.0 yanked", "added"]


def test_a_card_outside_git_has_no_history_and_says_where_there_is_one(git, work, tmp_path):
    (tmp_path / "plain" / "datasets").mkdir(parents=True)
    untracked = work / "cards" / "datasets" / "two.yaml"
    for card in (tmp_path / "plain" / "datasets" / "one.yaml", untracked):
        card.write_text(CARD)
        with pytest.raises(NotFoundError) as caught:
            history(card)
        assert str(caught.value) == (
            f"{card}: is not kept in Git here, so its history is not known. Open the registry by its URL, for example "
            "--registry https://host/org/zoo.git@main."
        )


def test_show_history_prints_a_table_or_json(git, work):
    (work / "cards" / "datasets" / "tenx-pbmc3k.yaml").write_bytes(
        (PACKAGED / "datasets/tenx-pbmc3k.yaml").read_bytes()
    )
    save(git, work, "Blood")
    command = ["show", "tenx-pbmc3k", "--history", "--registry", str(work)]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    assert "Blood" in result.stdout and "added" in result.stdout
    [revision] = json.loads(CliRunner().invoke(main, [*command, "--json"]).stdout)
    assert (revision["subject"], revision["author"], revision["changes"]) == ("Blood", "Curator", "added")


def test_check_changed_finds_exactly_the_bad_card_of_a_branch_of_a_fork(git, tmp_path, copy):
    """A bare remote, a fork of it, a branch with a good and a bad card."""
    git(tmp_path, "init", "-q", "--bare", "zoo.git")
    git(tmp_path, "init", "-q", "seed")
    shutil.copytree(copy, tmp_path / "seed" / "cards")
    datasets = tmp_path / "seed" / "cards" / "datasets"
    broken = datasets / "segerstolpe2016-human.yaml"
    broken.write_text(broken.read_text().replace("label: Homo sapiens", "label: homo"))  # an old sin of others
    moved = {name: (datasets / f"{name}.yaml") for name in ("baron2016-human", "onek1k-subset")}
    texts = {name: path.read_text() for name, path in moved.items()}
    for path in moved.values():
        path.unlink()
    save(git, tmp_path / "seed", "Cards")
    git(tmp_path / "seed", "push", "-q", str(tmp_path / "zoo.git"), "main")
    git(tmp_path, "clone", "-q", "--bare", "zoo.git", "fork.git")
    git(tmp_path, "clone", "-q", "fork.git", "mine")
    git(tmp_path / "mine", "remote", "add", "upstream", str(tmp_path / "zoo.git"))
    git(tmp_path / "mine", "fetch", "-q", "upstream")
    git(tmp_path / "mine", "switch", "-qc", "cards/islets")
    datasets = tmp_path / "mine" / "cards" / "datasets"
    (datasets / "baron2016-human.yaml").write_text(texts["baron2016-human"])
    bad = datasets / "onek1k-subset.yaml"
    bad.write_text(texts["onek1k-subset"].replace("label: blood", "label: blod"))
    save(git, tmp_path / "mine", "Two cards")
    registry = open_registry(tmp_path / "mine")
    changed = check_registry(registry, Question(base="upstream/main"))
    errors = {finding.path for finding in changed if finding.severity == "error"}
    assert errors == {str(bad)}
    everything = {finding.path for finding in check_registry(registry) if finding.severity == "error"}
    assert everything == {str(bad), str(datasets / broken.name)}


def test_a_public_and_a_private_registry_make_one_and_the_first_wins(git, work, tmp_path, url):
    packaged = {path.name: path for path in (PACKAGED / "datasets").iterdir()}
    for name in ("tenx-pbmc3k.yaml", "tenx-pbmc3k.cell_type.tsv", "onek1k-subset.yaml", "onek1k-subset.cell_type.tsv"):
        shutil.copy(packaged[name], work / "cards" / "datasets")
    (work / "cards" / "datasets" / "one.yaml").unlink()
    save(git, work, "Public cards")
    git(work, "push", "-q")
    private = tmp_path / "private" / "datasets"
    private.mkdir(parents=True)
    for name in ("baron2016-human.yaml", "baron2016-human.cell_type.tsv", "tenx-pbmc3k.cell_type.tsv"):
        shutil.copy(packaged[name], private)
    text = packaged["tenx-pbmc3k.yaml"].read_text()
    (private / "tenx-pbmc3k.yaml").write_text(text.replace("3k peripheral", "Our 3k peripheral"))
    zoo = open_registry([private.parent, f"{url}@main"])
    assert {card.id for card in zoo.cards()} == {"baron2016-human", "onek1k-subset", "tenx-pbmc3k"}
    assert zoo.card("tenx-pbmc3k").title.startswith("Our 3k")
    other = open_registry([f"{url}@main", private.parent])
    assert other.card("tenx-pbmc3k").title.startswith("3k")
    assert set(zoo.shadowed) == {"tenx-pbmc3k"}
    assert zoo.names[0] == str(private.parent) and zoo.names[1].startswith(f"{url}@"), (
        "a branch is pinned to its commit"
    )
    assert zoo.precedence().endswith("In several, the first is used: tenx-pbmc3k.")


def test_every_refusal_is_an_error_of_cellzoo(tmp_path):
    for where in ("nowhere", f"{tmp_path}", "git@", "@", "https://", "file://@v1", "git@host:"):
        with pytest.raises(CellzooError):
            checkout(where)
