"""Cards handed in: what reaches a real bare remote, and that nothing else in the working tree is touched.

`gh` is a small program of the tests that records its arguments: the real one needs github.com.
"""

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from cellzoo.ci.submit import Wanted, _head, _offered, _open_at, submit
from cellzoo.cli import main
from cellzoo.errors import CardError, InputError, NotFoundError, WorldError

GOOD, OTHER = "baron2016-human", "onek1k-subset"


@pytest.fixture
def bin_(monkeypatch, tmp_path):
    """The only folder of programs: Git's, and none of gh."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("git", "sh", "cat", "touch"):
        (folder / name).symlink_to(shutil.which(name) or name)
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.fixture
def mine(git, tmp_path, copy, bin_):
    """A clone of a fork; the cards GOOD and OTHER are new in it and not committed."""
    git(tmp_path, "init", "-q", "--bare", "zoo.git")
    git(tmp_path, "init", "-q", "seed")
    shutil.copytree(copy, tmp_path / "seed" / "cards")
    new = [path for name in (GOOD, OTHER) for path in (tmp_path / "seed" / "cards" / "datasets").glob(f"{name}.*")]
    for path in new:
        path.unlink()
    git(tmp_path / "seed", "add", "-A")
    git(tmp_path / "seed", "commit", "-qm", "Cards")
    git(tmp_path / "seed", "push", "-q", str(tmp_path / "zoo.git"), "main")
    git(tmp_path, "clone", "-q", "--bare", "zoo.git", "fork.git")
    git(tmp_path, "clone", "-q", f"file://{tmp_path / 'fork.git'}", "mine")
    for path in new:
        shutil.copy(copy / "datasets" / path.name, tmp_path / "mine" / "cards" / "datasets")
    return tmp_path / "mine"


@pytest.fixture
def datasets(mine, monkeypatch):
    monkeypatch.chdir(mine)
    return mine / "cards" / "datasets"


@pytest.fixture
def fork(mine):
    return mine.parent / "fork.git"


def state(git, work):
    """Everything of a working tree that submit must not touch: HEAD, branches, index, files and their times."""
    files = {
        str(path): (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in work.rglob("*")
        if path.is_file() and (".git" not in path.parts or path.name in {"index", "HEAD", "config"})
    }
    commands = [
        ["symbolic-ref", "HEAD"],
        ["for-each-ref", "refs/heads", "refs/tags"],
        ["stash", "list"],
        ["diff", "--cached"],
    ]
    return files, [git(work, *command) for command in commands]


def heads(git, remote):
    return set(git(remote, "for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads").split())


def test_the_cards_given_go_with_their_maps_and_nothing_else_is_touched(git, mine, datasets, fork):
    (mine / "notes.txt").write_text("my own\n")
    tracked = datasets / "tenx-pbmc3k.yaml"
    tracked.write_text(tracked.read_text().replace("Counts as", "The counts as"))
    git(mine, "switch", "-qc", "half-done")
    git(mine, "add", str(tracked), str(datasets / f"{OTHER}.yaml"))
    tracked.write_text(tracked.read_text() + "# half done\n")
    before = state(git, mine)
    made = submit([datasets / f"{GOOD}.yaml"])
    assert state(git, mine) == before
    assert made.branch == f"cards/{GOOD}"
    assert made.files == (
        ("A", f"cards/datasets/{GOOD}.cell_type.tsv"),
        ("A", f"cards/datasets/{GOOD}.yaml"),
    )
    assert heads(git, fork) == {"main", made.branch}
    assert git(fork, "rev-parse", made.branch) == made.commit
    assert git(fork, "rev-parse", f"{made.branch}~1") == git(fork, "rev-parse", "main")
    assert git(fork, "diff", "--name-only", "main", made.branch).split() == [name for _, name in made.files]
    assert (
        git(fork, "show", f"{made.branch}:cards/datasets/{GOOD}.yaml")
        == (datasets / f"{GOOD}.yaml").read_text().strip()
    )
    assert git(fork, "log", "-1", "--format=%an <%ae>|%s", made.branch) == f"Curator <curator@example.org>|Add {GOOD}"


def test_without_paths_every_changed_card_and_map_goes(git, mine, datasets, fork):
    (mine / "notes.txt").write_text("my own\n")
    (mine / "cards" / "README.md").write_text("my own\n")
    gone = ["zheng2017-pbmc14k.yaml", "zheng2017-pbmc14k.cell_type.tsv"]
    for name in gone:
        (datasets / name).unlink()
    git(mine, "add", "-A", "cards/datasets")
    git(mine, "commit", "-qm", "Mine, on main")
    text = (datasets / "tenx-pbmc3k.cell_type.tsv").read_text()
    (datasets / "tenx-pbmc3k.cell_type.tsv").write_text(text.replace("CL:0000236\tB cell", "CL:0000542\tlymphocyte"))
    made = submit()
    names = {name: kind for kind, name in made.files}
    assert names == {
        f"cards/datasets/{name}": kind
        for kind, listed in {
            "A": [f"{one}.{end}" for one in (GOOD, OTHER) for end in ("yaml", "cell_type.tsv")],
            "M": ["tenx-pbmc3k.cell_type.tsv"],
            "D": gone,
        }.items()
        for name in listed
    }
    assert made.branch == f"cards/{GOOD}-and-2-more"
    assert git(fork, "log", "-1", "--format=%s", made.branch) == f"Change {GOOD}, {OTHER} and 1 more"


def test_a_branch_stands_on_the_newest_base_of_the_remote(git, mine, datasets, fork):
    git(mine.parent / "seed", "commit", "-q", "--allow-empty", "-m", "Newer")
    git(mine.parent / "seed", "push", "-q", str(fork), "main")
    made = submit([datasets / f"{GOOD}.yaml"])
    assert git(fork, "log", "-1", "--format=%s", f"{made.branch}~1") == "Newer"
    assert git(mine, "log", "-1", "--format=%s") == "Cards"


def test_what_others_changed_meanwhile_is_never_undone(git, mine, datasets, fork):
    seed = mine.parent / "seed"
    card = seed / "cards" / "datasets" / "tenx-pbmc3k.yaml"
    card.write_text(card.read_text().replace("year: 2016", "year: 2017"))
    git(seed, "commit", "-qam", "Theirs")
    git(seed, "push", "-q", str(fork), "main")
    made = submit()
    assert "year: 2017" in git(fork, "show", f"{made.branch}:cards/datasets/tenx-pbmc3k.yaml")
    text = (datasets / "tenx-pbmc3k.yaml").read_text()
    (datasets / "tenx-pbmc3k.yaml").write_text(text.replace("Counts as", "The counts as"))
    with pytest.raises(InputError) as caught:
        submit([datasets / "tenx-pbmc3k.yaml"])
    assert "cards/datasets/tenx-pbmc3k.yaml: changed on the remote's branch too since yours left it." in str(
        caught.value
    )
    assert heads(git, fork) == {"main", made.branch}


def test_a_label_map_that_only_others_changed_stays_theirs(git, mine, datasets, fork):
    seed = mine.parent / "seed"
    path = seed / "cards" / "datasets" / "tenx-pbmc3k.cell_type.tsv"
    path.write_text(path.read_text().replace("CL:0000236\tB cell", "CL:0000542\tlymphocyte"))
    git(seed, "commit", "-qam", "Theirs")
    git(seed, "push", "-q", str(fork), "main")
    card = datasets / "tenx-pbmc3k.yaml"
    card.write_text(card.read_text().replace("Counts as", "The counts as"))
    made = submit([card])
    assert made.files == (("M", "cards/datasets/tenx-pbmc3k.yaml"),)
    assert "lymphocyte" in git(fork, "show", f"{made.branch}:cards/datasets/tenx-pbmc3k.cell_type.tsv")


def test_a_card_with_errors_is_not_handed_in_and_its_neighbour_can_be(git, datasets, fork):
    bad = datasets / f"{OTHER}.yaml"
    bad.write_text(bad.read_text().replace("label: blood", "label: blod"))
    for paths in ([], [bad], [bad, datasets / f"{GOOD}.yaml"]):
        with pytest.raises(CardError) as caught:
            submit(paths)
        assert {(finding.path, finding.code) for finding in caught.value.findings} == {(str(bad), "TERM002")}
        assert heads(git, fork) == {"main"}
    assert submit([datasets / f"{GOOD}.yaml"]).branch == f"cards/{GOOD}"


def test_a_label_map_is_checked_with_the_cards_that_use_it(git, datasets, fork):
    path = datasets / "tenx-pbmc3k.cell_type.tsv"
    path.write_text(path.read_text().replace("B cell", "B-cell"))
    with pytest.raises(CardError, match="B-cell"):
        submit([path])
    path.unlink()
    with pytest.raises(CardError, match="there is no file tenx-pbmc3k.cell_type.tsv"):
        submit([path])
    assert heads(git, fork) == {"main"}


def test_a_branch_of_the_remote_is_never_written_over(git, datasets, fork):
    first = submit([datasets / f"{GOOD}.yaml"])
    with pytest.raises(InputError, match=f"origin has branch 'cards/{GOOD}' with these very files"):
        submit([datasets / f"{GOOD}.yaml"])
    card = datasets / f"{GOOD}.yaml"
    card.write_text(card.read_text().replace("title: ", "title: Again ", 1))
    assert submit([card]).branch == f"cards/{GOOD}-2"
    assert git(fork, "rev-parse", f"cards/{GOOD}") == first.commit
    for branch in ("main", f"cards/{GOOD}"):
        with pytest.raises(InputError, match=f"origin has a branch '{branch}'; it is never written over"):
            submit([datasets / f"{GOOD}.yaml"], Wanted(branch=branch))
    for branch in ("a..b", "--force", "x.lock"):
        with pytest.raises(InputError, match="is no name of a branch"):
            submit([datasets / f"{GOOD}.yaml"], Wanted(branch=branch))
    made = submit([datasets / f"{GOOD}.yaml"], Wanted(branch="islets", message="Human islets\n\nFour donors."))
    assert git(fork, "log", "-1", "--format=%B", "islets") == "Human islets\n\nFour donors."
    assert made.branch == "islets"


def test_a_dry_run_pushes_nothing_and_says_what_it_would(git, mine, datasets, fork):
    before = state(git, mine)
    made = submit([datasets / f"{GOOD}.yaml"], dry_run=True)
    base = git(fork, "rev-parse", "main")
    assert made.said == (
        f"would push commit {made.commit[:10]} on main {base[:10]} as branch cards/{GOOD} to origin (file://{fork})",
    )
    assert heads(git, fork) == {"main"} and state(git, mine) == before


REFUSED = {
    "no such file": (["absent.yaml"], {}, NotFoundError, "absent.yaml: there is no such file"),
    "no card": (["../../.git/config"], {}, InputError, "is no card or label map"),
    "unknown remote": ([], {"remote": "upstream"}, NotFoundError, "has no remote 'upstream'; it has origin."),
    "option for a remote": ([], {"remote": "--force"}, NotFoundError, "has no remote '--force'"),
    "unknown base": ([], {"base": "mian"}, NotFoundError, "origin has no branch 'mian'; nearest 'main'."),
    "nothing changed": (["tenx-pbmc3k.yaml"], {}, InputError, "there is nothing to hand in"),
    "link": (["link.yaml"], {}, InputError, "link.yaml: is a link"),
}


@pytest.mark.parametrize(("paths", "wanted", "kind", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_handed_in_is_refused_before_anything_is_pushed(git, datasets, fork, paths, wanted, kind, words):
    (datasets / "link.yaml").symlink_to(datasets / f"{GOOD}.yaml")
    if not paths:
        (datasets / "link.yaml").unlink()
    with pytest.raises(kind) as caught:
        submit([datasets / path for path in paths], Wanted(**wanted))
    assert words in str(caught.value)
    assert heads(git, fork) == {"main"}


def test_without_an_identity_it_says_how_to_set_one(git, datasets, fork):
    Path(os.environ["GIT_CONFIG_GLOBAL"]).write_text("")
    with pytest.raises(
        InputError, match="a commit needs your name and e-mail address, and Git knows none. Run: git config"
    ):
        submit([datasets / f"{GOOD}.yaml"])
    assert heads(git, fork) == {"main"}


def test_offline_or_without_the_remote_nothing_is_pushed(datasets, fork, monkeypatch):
    monkeypatch.setenv("CELLZOO_OFFLINE", "1")
    with pytest.raises(WorldError, match="CELLZOO_OFFLINE is set"):
        submit()
    monkeypatch.delenv("CELLZOO_OFFLINE")
    fork.rename(fork.with_name("gone.git"))
    with pytest.raises(WorldError, match=r"origin: cannot be read: .* Nothing was pushed"):
        submit()


def hook(remote, name, text):
    path = remote / "hooks" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_a_remote_that_refuses_is_answered_with_how_to_fork(git, datasets, fork):
    hook(fork, "update", 'echo "You may not write here." >&2; exit 1')
    result = CliRunner().invoke(main, ["submit", str(datasets / f"{GOOD}.yaml")])
    assert (result.exit_code, result.stdout) == (3, "")
    assert f"origin: refused the branch cards/{GOOD}: " in result.stderr and "You may not write here." in result.stderr
    assert "gh repo fork" in result.stderr and "cellzoo submit --remote fork" in result.stderr
    assert heads(git, fork) == {"main"}


def test_the_users_own_hook_before_a_push_is_heeded(git, mine, datasets, fork):
    hook(mine / ".git", "pre-push", "echo secret found >&2; exit 1")
    with pytest.raises(WorldError, match="secret found"):
        submit([datasets / f"{GOOD}.yaml"])
    assert heads(git, fork) == {"main"}


def test_to_another_remote_it_pushes_there(git, mine, datasets, fork):
    git(mine, "remote", "add", "upstream", str(mine.parent / "zoo.git"))
    made = submit([datasets / f"{GOOD}.yaml"], Wanted(remote="upstream"))
    assert heads(git, mine.parent / "zoo.git") == {"main", made.branch}
    assert heads(git, fork) == {"main"}


@pytest.fixture
def gh(bin_):
    """Put a program gh on the path that writes its arguments down and answers as it is told."""
    record = bin_ / "gh.json"

    def answer(out="https://github.com/org/zoo/pull/7", err="", code=0):
        text = (
            f"#!{sys.executable}\nimport json, os, sys\n"
            "said = [os.getcwd(), os.environ['GH_PROMPT_DISABLED'], *sys.argv[1:]]\n"
            f"open({str(record)!r}, 'w').write(json.dumps(said))\n"
            f"print({out!r}); print({err!r}, file=sys.stderr); sys.exit({code})\n"
        )
        (bin_ / "gh").write_text(text)
        (bin_ / "gh").chmod(0o755)
        return record

    return answer


def test_gh_opens_the_pull_request_where_it_is_installed(git, mine, datasets, fork, gh):
    record = gh()
    result = CliRunner().invoke(
        main, ["submit", str(datasets / f"{GOOD}.yaml"), "-m", "Islets; $(touch x)\n\nFour donors."]
    )
    assert (result.exit_code, result.stdout) == (0, "https://github.com/org/zoo/pull/7\n"), result.output
    assert json.loads(record.read_text()) == [
        str(mine), "1", "pr", "create", "--base", "main", "--head", f"cards/{GOOD}",
        "--title", "Islets; $(touch x)", "--body", "Four donors.",
    ]  # fmt: skip
    assert heads(git, fork) == {"main", f"cards/{GOOD}"}
    said = result.stderr.splitlines()
    assert said[:2] == [f"A cards/datasets/{GOOD}.cell_type.tsv", f"A cards/datasets/{GOOD}.yaml"]
    assert said[2].startswith("pushed commit ") and said[3] == "opened a pull request with gh"


def test_where_gh_fails_the_branch_stays_and_it_is_said(git, datasets, fork, gh):
    gh(out="", err="none of the git remotes point to a known GitHub host", code=1)
    made = submit([datasets / f"{GOOD}.yaml"])
    assert made.pull_request is None and heads(git, fork) == {"main", made.branch}
    assert made.said[1:] == (
        "gh did not open a pull request: none of the git remotes point to a known GitHub host",
        f"open the pull request from branch {made.branch} yourself",
    )


def test_without_gh_the_address_that_the_remote_offers_is_printed(datasets, fork):
    hook(
        fork, "post-receive", 'echo; echo "Create a pull request by visiting:"; echo "  https://forge.example/new?x=1"'
    )
    result = CliRunner().invoke(main, ["submit", str(datasets / f"{GOOD}.yaml")])
    assert (result.exit_code, result.stdout) == (0, "https://forge.example/new?x=1\n")
    assert "open the pull request at https://forge.example/new?x=1" in result.stderr


def test_without_gh_or_any_address_the_branch_is_printed(datasets):
    result = CliRunner().invoke(main, ["submit"])
    assert (result.exit_code, result.stdout) == (0, f"cards/{GOOD}-and-1-more\n")


PAGES = {
    "https://github.com/org/zoo.git": "https://github.com/org/zoo/compare/main...cards/a?expand=1",
    "git@github.com:org/zoo.git": "https://github.com/org/zoo/compare/main...cards/a?expand=1",
    "ssh://git@github.com:22/org/zoo": "https://github.com/org/zoo/compare/main...cards/a?expand=1",
    "git@gitlab.com:group/sub/zoo.git": "https://gitlab.com/group/sub/zoo/-/merge_requests/new?"
    "merge_request[source_branch]=cards%2Fa&merge_request[target_branch]=main",
    "https://codeberg.org/org/zoo.git": "https://codeberg.org/org/zoo/compare/main...cards/a",
    "https://forgejo.example:8443/org/zoo/": "https://forgejo.example:8443/org/zoo/compare/main...cards/a",
    "https://git.example/org/zoo.git": None,
    "file:///srv/github/zoo.git": None,
    "/srv/github.com/zoo.git": None,
}


@pytest.mark.parametrize(("url", "page"), PAGES.items(), ids=PAGES)
def test_the_page_to_open_is_that_of_the_forge(url, page):
    assert _open_at(url, "main", "cards/a") == page


def test_only_the_remote_itself_offers_an_address():
    assert _offered("To https://host/zoo.git\n * [new branch]") is None
    assert (
        _offered("remote: \nremote: Visit\nremote:   https://host/new \nTo https://host/zoo.git") == "https://host/new"
    )


def test_gh_is_told_whose_branch_it_is():
    assert _head("git@github.com:me/zoo.git", "cards/a") == "me:cards/a"
    assert _head("https://me:secret@github.com/me/zoo.git", "cards/a") == "me:cards/a"
    assert _head("file:///srv/zoo.git", "cards/a") == "cards/a"
