"""Cards handed in as a pull request: one commit on a branch of its own, made beside all other work in the tree.

The commit is put together in an index of its own on top of the remote's base branch, and pushed as a new branch: the
user's index, HEAD, branches and files are never written.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from cellzoo import settings
from cellzoo.ci.check import Question, check_registry
from cellzoo.errors import CardError, Finding, InputError, NotFoundError, WorldError
from cellzoo.registry.catalogue import open_registry
from cellzoo.registry.changes import used_maps
from cellzoo.registry.git import FETCH, GitError, cards_of, changed_files, execute, merge_base, opened, run
from cellzoo.registry.ontology import nearest_of
from cellzoo.registry.source import check_ref, without_credentials
from cellzoo.registry.tree import ROOMS

if TYPE_CHECKING:
    from git import Repo

VERBS = {"A": "Add", "M": "Change", "D": "Remove"}
FORK = (
    "If you may not write there, hand in through a fork: make one (gh repo fork --remote --remote-name fork, or on the "
    "site and then git remote add fork URL), then run: cellzoo submit --remote fork"
)


@dataclass(frozen=True)
class Wanted:
    """How cards are to be handed in."""

    message: str | None = None
    """Message of the commit; its first line is the title of the pull request."""
    branch: str | None = None
    """Name of the new branch."""
    remote: str = "origin"
    """Remote to push to."""
    base: str = "main"
    """Branch of the remote to build on."""


@dataclass(frozen=True)
class Submission:
    """What was handed in, and where."""

    branch: str
    """The new branch of the remote."""
    commit: str
    """40-hex commit it is at."""
    files: tuple[tuple[str, str], ...]
    """What happened to each file (``A`` added, ``M`` changed, ``D`` removed) and its path in the repository."""
    warnings: list[Finding]
    """What the check found that does not stop a card."""
    said: tuple[str, ...]
    """What was done, in order."""
    pull_request: str | None = None
    """Address of the pull request, where gh opened one."""
    open_at: str | None = None
    """Address at which one can be opened, where it is known."""


def submit(paths: Iterable[Path] = (), wanted: Wanted | None = None, dry_run: bool = False) -> Submission:
    """Check cards, commit them on a new branch of the remote, and return what was done; nothing is ever forced.

    Takes the cards and label maps given, with the maps the cards use; without any, all that differ from the base.
    Raises `CardError` with the errors in them, `InputError` for what cannot be handed in as it stands, `WorldError`
    where the remote cannot be reached or refuses; then nothing was pushed.
    """
    wanted = wanted or Wanted()
    paths = [Path(path) for path in paths]
    top, cards = cards_of(paths[0].absolute().parent if paths else Path.cwd())
    with opened(top) as repo:
        _identity(repo)
        heads = _heads(repo, wanted)
        base = heads[wanted.base]
        taken = _taken(cards, paths, changed_files(top, base))
        warnings = _checked(cards, taken)
        commit, files = _commit(repo, base, [path.relative_to(top).as_posix() for path in taken], wanted.message)
        branch = _branch(repo, wanted, commit, files, heads)
        url = without_credentials(run(repo, "remote", "get-url", "--push", wanted.remote))
        what = f"commit {commit[:10]} on {wanted.base} {base[:10]} as branch {branch} to {wanted.remote} ({url})"
        if dry_run:
            return Submission(branch, commit, files, warnings, (f"would push {what}",))
        words = _push(repo, wanted.remote, commit, branch)
        said = [f"pushed {what}"]
        open_at = _open_at(url, wanted.base, branch) or _offered(words)
        pull_request = _pull_request(repo, url, wanted.base, branch, commit, said)
        if pull_request is None:
            said.append(f"open the pull request {f'at {open_at}' if open_at else f'from branch {branch} yourself'}")
        return Submission(branch, commit, files, warnings, tuple(said), pull_request, open_at)


def _identity(repo: Repo) -> None:
    try:
        for name in ("GIT_AUTHOR_IDENT", "GIT_COMMITTER_IDENT"):
            run(repo, "-c", "user.useConfigOnly=true", "var", name)
    except GitError as error:
        remedy = 'git config --global user.name "Your Name"; git config --global user.email you@example.org'
        raise InputError(f"a commit needs your name and e-mail address, and Git knows none. Run: {remedy}") from error


def _heads(repo: Repo, wanted: Wanted) -> dict[str, str]:
    """Return branch -> commit of the remote; the commit of the base branch is fetched where it is not here."""
    remotes = run(repo, "remote").split()
    if wanted.remote not in remotes:
        has = f"it has {', '.join(remotes)}" if remotes else "it has none; git remote add origin URL adds one"
        raise NotFoundError(f"{repo.working_dir}: has no remote {wanted.remote!r}; {has}.")
    if settings.offline():
        raise WorldError("CELLZOO_OFFLINE is set; cards are handed in over the network. Nothing was pushed.")
    try:
        lines = run(repo, "ls-remote", "--heads", wanted.remote).splitlines()
        heads = {ref.removeprefix("refs/heads/"): commit for commit, _, ref in (line.partition("\t") for line in lines)}
        if wanted.base not in heads:
            message = f"{wanted.remote} has no branch {wanted.base!r}{nearest_of(wanted.base, heads)}."
            raise NotFoundError(f"{message} Name the branch to build on with --base.")
        run(repo, *FETCH, wanted.remote, f"refs/heads/{wanted.base}")
    except GitError as error:
        raise WorldError(f"{wanted.remote}: cannot be read: {error} Nothing was pushed.") from error
    return heads


def _taken(cards: Path, given: list[Path], changed: list[Path]) -> list[Path]:
    """Return the card files and label maps to hand in, those that were deleted among them."""
    taken = set()
    for path in (path.absolute().parent.resolve() / path.name for path in given):
        if path.is_dir():
            taken |= {one for one in changed if one.is_relative_to(path) and _is_card_file(cards, one)}
        elif not _is_card_file(cards, path):
            raise InputError(f"{path}: is no card or label map (.yaml, .tsv) of {cards}.")
        elif not path.exists() and path not in changed:
            raise NotFoundError(f"{path}: there is no such file.")
        else:
            taken.add(path)
    if not given:
        taken = {path for path in changed if _is_card_file(cards, path)}
    for card in [path for path in taken if path.suffix == ".yaml" and path.is_file()]:
        taken |= {card.parent / name for name in used_maps(card) if (card.parent / name).is_file()}
    if links := sorted(path for path in taken if path.is_symlink()):
        raise InputError(f"{links[0]}: is a link; cards and label maps are plain files.")
    return sorted(taken.intersection(changed))


def _is_card_file(cards: Path, path: Path) -> bool:
    return path.suffix in {".yaml", ".tsv"} and any(path.is_relative_to(cards / room) for room in ROOMS)


def _checked(cards: Path, taken: list[Path]) -> list[Finding]:
    """Return the warnings in the cards, and in those that use one of the label maps; `CardError` with the errors."""
    gone = {path.name for path in taken if path.suffix == ".tsv" and not path.exists()}
    using = [path for path in (cards / "datasets").glob("*.yaml") if gone and gone.intersection(used_maps(path))]
    looked_at = tuple(sorted({*using, *(path for path in taken if path.is_file())}))
    findings = check_registry(open_registry(cards), Question(looked_at)) if looked_at else []
    if errors := [finding for finding in findings if finding.severity == "error"]:
        problem = CardError(errors)
        problem.add_note("Nothing was pushed.")
        raise problem
    return findings


def _commit(repo: Repo, base: str, names: list[str], message: str | None) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Return a commit on top of ``base`` with the files as they are on disk, and what it does to each."""
    top = Path(str(repo.working_tree_dir))
    here = [name for name in names if (top / name).is_file()]
    gone = [name for name in names if not (top / name).is_file()]
    with tempfile.TemporaryDirectory() as folder:
        env = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        run(repo, "read-tree", base, env=env)
        blobs = run(repo, "hash-object", "-w", "--", *here).split() if here else []
        for name, blob in zip(here, blobs, strict=True):
            run(repo, "update-index", "--add", "--cacheinfo", f"100644,{blob},{name}", env=env)
        run(repo, "update-index", "--force-remove", "--", *gone, env=env)
        tree = run(repo, "write-tree", env=env).strip()
    words = run(repo, "diff-tree", "-r", "-z", "--name-status", "--no-renames", base, tree).split("\0")
    files = tuple(zip(words[:-1:2], words[1::2], strict=True))
    if not files:
        raise InputError("there is nothing to hand in: no card or label map differs from the remote's branch.")
    fork = merge_base(repo, base)
    moved = run(repo, "diff", "--name-only", "-z", "--no-renames", "--no-ext-diff", fork, base, "--", *names).split(
        "\0"
    )
    if both := sorted({name for _, name in files}.intersection(moved)):
        message = f"{', '.join(both)}: changed on the remote's branch too since yours left it."
        raise InputError(
            f"{message} Bring yours up to date (git pull --rebase), then hand in again. Nothing was pushed."
        )
    return run(repo, "commit-tree", tree, "-p", base, "-m", message or _message(files)).strip(), files


def _message(files: Iterable[tuple[str, str]]) -> str:
    """Return a commit message that names the cards."""
    files = list(files)
    done: dict[str, str] = {}
    for kind, name in files:
        done.setdefault(Path(name).stem if name.endswith(".yaml") else "", kind)
    ids = [name for name in done if name] or [Path(name).name for _, name in files]
    kinds = {done.get(name, "M") for name in ids}
    verb = VERBS[kinds.pop()] if len(kinds) == 1 else "Change"
    more = f" and {len(ids) - 2} more" if len(ids) > 2 else ""
    return f"{verb} {(', ' if more else ' and ').join(ids[:2])}{more}\n\n" + "\n".join(" ".join(one) for one in files)


def _tree(repo: Repo, commit: str) -> str:
    """Return what a commit holds, "" for one that was never fetched."""
    try:
        return run(repo, "rev-parse", "--verify", "--quiet", f"{commit}^{{tree}}")
    except GitError:
        return ""


def _branch(
    repo: Repo, wanted: Wanted, commit: str, files: tuple[tuple[str, str], ...], heads: Mapping[str, str]
) -> str:
    """Return the name of the new branch, which the remote must not have."""
    if wanted.branch is None:
        ids = [Path(name).stem for _, name in files if name.endswith(".yaml")] or [Path(files[0][1]).stem]
        name = "cards/" + re.sub("[^A-Za-z0-9_-]+", "-", ids[0]) + (f"-and-{len(ids) - 1}-more" if ids[1:] else "")
        same = [one for one, head in heads.items() if one.startswith(name) and _tree(repo, head) == _tree(repo, commit)]
        if same:
            raise InputError(f"{wanted.remote} has branch {same[0]!r} with these very files; nothing was pushed.")
        return next(one for one in chain([name], (f"{name}-{n}" for n in count(2))) if one not in heads)
    try:
        run(repo, "check-ref-format", "--branch", str(check_ref(wanted.branch, wanted.branch)))
    except GitError as error:
        raise InputError(f"{wanted.branch!r}: is no name of a branch.") from error
    if wanted.branch in heads:
        raise InputError(
            f"{wanted.remote} has a branch {wanted.branch!r}; it is never written over. Choose another name."
        )
    return wanted.branch


def _push(repo: Repo, remote: str, commit: str, branch: str) -> str:
    """Push a commit as a new branch and return what the remote said; the user's own hooks run."""
    try:
        return execute(
            repo, ["push", "--no-follow-tags", "--no-recurse-submodules", remote, f"{commit}:refs/heads/{branch}"]
        )[1]
    except GitError as error:
        raise WorldError(f"{remote}: refused the branch {branch}: {error} Nothing was pushed. {FORK}") from error


def _web(url: str) -> tuple[str, str]:
    """Return host and path of a remote's URL, both "" for a path."""
    url = without_credentials(url)
    found = re.match(r"(?P<scheme>\w+)://(?P<host>[^/]*)/(?P<path>.+)", url) or re.match(
        r"(?P<scheme>)[\w.+-]+@(?P<host>[\w.-]+):(?P<path>.+)", url
    )
    if not found or found["scheme"] == "file":
        return "", ""
    host = found["host"] if found["scheme"].startswith("http") else found["host"].partition(":")[0]
    return host, found["path"].removesuffix("/").removesuffix(".git")


def _open_at(url: str, base: str, branch: str) -> str | None:
    """Return the page of the forge that opens a pull request; none for a forge that is not known by its name."""
    host, path = _web(url)
    if "gitlab" in host:
        ask = (
            f"merge_request[source_branch]={quote(branch, safe='')}&merge_request[target_branch]={quote(base, safe='')}"
        )
        return f"https://{host}/{path}/-/merge_requests/new?{ask}"
    if any(name in host for name in ("github", "codeberg", "forgejo", "gitea")):
        return f"https://{host}/{path}/compare/{quote(base)}...{quote(branch)}" + (
            "?expand=1" if "github" in host else ""
        )
    return None


def _offered(words: str) -> str | None:
    """Return the address that the remote itself offered when it took the branch."""
    found = re.search(r"^remote:.*?(https?://\S+)", words, re.MULTILINE)
    return found[1] if found else None


def _head(url: str, branch: str) -> str:
    """Return the branch as gh names it: with the owner, so that it is found in a fork too."""
    host, path = _web(url)
    return f"{path.partition('/')[0]}:{branch}" if host else branch


def _pull_request(repo: Repo, url: str, base: str, branch: str, commit: str, said: list[str]) -> str | None:
    """Return the address of the pull request that gh opened; none where there is no gh, or where gh could not."""
    host = _web(url)[0]
    gh = shutil.which("gh")
    if gh is None or any(name in host for name in ("gitlab", "codeberg", "forgejo", "gitea")):
        return None
    title, _, body = str(repo.commit(commit).message).partition("\n")
    command = [
        gh,
        "pr",
        "create",
        "--base",
        base,
        "--head",
        _head(url, branch),
        "--title",
        title,
        "--body",
        body.strip(),
    ]
    try:
        done = subprocess.run(
            command,
            cwd=repo.working_dir,
            env={**os.environ, "GH_PROMPT_DISABLED": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        words = " ".join(str(getattr(error, "stderr", None) or error).split())
        said.append(f"gh did not open a pull request: {without_credentials(words)}")
        return None
    said.append("opened a pull request with gh")
    return done.stdout.strip().splitlines()[-1] if done.stdout.strip() else None
