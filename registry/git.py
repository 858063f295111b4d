"""Registries in Git: one version of the cards as a folder, and what a branch changed.

A repository is fetched into the cache and its cards are written out (`cellzoo.registry.tree`). What was pinned (a
commit, a tag) is used from then on without asking anybody; a branch is fetched anew each time, where that is possible.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from filelock import FileLock

from cellzoo import settings
from cellzoo.errors import CellzooError, InputError, NotFoundError, WorldError
from cellzoo.registry.ontology import nearest_of
from cellzoo.registry.source import SCHEMES, Source, check_ref, parse, without_credentials
from cellzoo.registry.tree import DOORS, NO_CARDS, written

if TYPE_CHECKING:
    from git import Repo

_COMMIT = re.compile(r"[0-9a-f]{40}")
_QUIET = ("-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "core.fsmonitor=false")
_NO_HOOKS = ("-c", f"core.hooksPath={os.devnull}")
FETCH = ("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules")


class GitError(WorldError):
    """Git said no; the message holds its words, without credentials."""


@dataclass(frozen=True)
class Checkout:
    """One version of a registry as a folder."""

    folder: Path
    """The cards: ``datasets/`` and its like."""
    commit: str
    """40-hex commit they are of."""
    url: str
    """Where they came from, without credentials."""
    ref: str | None
    """What was asked for."""
    said: tuple[str, ...] = ()
    """What the user should know, for example that a branch could not be refreshed."""


def resolve(where: str) -> tuple[Path, str | None, list[str]]:
    """Return the folder that ``where`` names, its commit (none for a plain folder) and what the user should know."""
    if parse(where) is None:
        return Path(where).expanduser(), None, []
    made = checkout(where)
    return made.folder, made.commit, list(made.said)


def checkout(where: str) -> Checkout:
    """Return the cards at ``URL[@ref]`` or ``PATH@ref`` as a folder in the cache.

    Raises `NotFoundError` where there is no such repository, ref, or no cards in it, `IntegrityError` for a tree that
    is not safe to write out, `WorldError` where the repository is not in the cache and cannot be reached.
    """
    source = parse(where)
    if source is None:
        raise InputError(f"{where}: names no Git repository; expected URL@ref, or the path of a repository and @ref.")
    if source.local:
        folder = at(Path(source.url), str(source.ref))
        return Checkout(folder, folder.name, source.url, source.ref)
    with _locked(_store(source.shown)) as store:
        if source.ref and _COMMIT.fullmatch(source.ref) and (store / source.ref).is_dir():
            return Checkout(store / source.ref, source.ref, source.shown, source.ref)
        said: tuple[str, ...] = ()
        with opened(_bare(store)) as repo:
            pin = f"refs/cellzoo/pins/{source.ref}"
            commit = _commit(repo, pin) if source.ref else None
            if commit is None:
                said = _refresh(repo, source)
                commit = _find(repo, source)
            folder = written(repo, commit, store, source.shown)
            if _commit(repo, f"refs/tags/{source.ref}") == commit:
                run(repo, "update-ref", pin, commit)
        if said:
            said = (f"{said[0]} Using commit {commit[:10]}, fetched before.",)
        return Checkout(folder, commit, source.shown, source.ref, said)


def at(where: Path, ref: str) -> Path:
    """Return the cards of another version of the repository around ``where`` as a folder in the cache.

    ``ref`` is anything Git takes for a commit (``v1``, ``origin/main``, ``HEAD~2``); the folder is named by the commit.
    """
    where, _ = around(where)
    with opened(where) as repo:
        commit = _needed(repo, ref)
        cached = where.name == "repo.git"
        with _locked(where.parent if cached else _store(str(Path(repo.common_dir).resolve()))) as store:
            if not cached:
                (store / "repository").write_text(str(where), encoding="utf-8")
            return written(repo, commit, store, str(where))


def cards_of(where: Path) -> tuple[Path, Path]:
    """Return the working tree around ``where`` and the folder of cards in it."""
    with opened(where) as repo:
        if repo.working_tree_dir is None:
            raise InputError(f"{where}: is a repository without a working tree; clone it and work there.")
        top = Path(repo.working_tree_dir).resolve()
    for place, room in DOORS:
        if (top / place / room).is_dir():
            return top, top / place
    raise NotFoundError(f"{top}: is not a registry: {NO_CARDS}")


def changed_files(where: Path, base: str) -> list[Path]:
    """Return every path that differs from the commit where HEAD left ``base``, sorted: for ``check --changed``.

    Committed, staged, unstaged and untracked work all count; of a renamed file both names, of a deleted one its old.
    """
    with opened(where) as repo:
        if repo.working_tree_dir is None:
            raise InputError(f"{where}: is a repository without a working tree; clone it and work there.")
        top = Path(repo.working_tree_dir).resolve()
        fork = merge_base(repo, base)
        tracked = run(repo, "diff", "--name-only", "-z", "--no-renames", "--no-ext-diff", fork, "--")
        others = run(repo, "ls-files", "--others", "--exclude-standard", "-z")
    return sorted({top / name for name in (tracked + others).split("\0") if name})


def merge_base(repo: Repo, base: str) -> str:
    """Return the commit where HEAD left ``base``."""
    commit = _needed(repo, base)
    _needed(repo, "HEAD")
    try:
        return run(repo, "merge-base", commit, "HEAD").split()[0]
    except (GitError, IndexError) as error:
        remedy = "In a shallow clone fetch the rest first: git fetch --unshallow (in CI: fetch-depth: 0)."
        raise InputError(f"{base} and HEAD have no commit in common. {remedy}") from error


@contextmanager
def opened(where: Path) -> Iterator[Repo]:
    """Give the repository around a folder; GitPython is imported here, and closed after use."""
    git = _gitpython()
    try:
        repo = git.Repo(where, search_parent_directories=True, expand_vars=False)
    except (git.exc.InvalidGitRepositoryError, git.exc.NoSuchPathError) as error:
        raise InputError(f"{where}: is not in a Git repository.") from error
    try:
        repo.git.update_environment(**_environment(Path(repo.git_dir)))
        yield repo
    finally:
        repo.close()


def _gitpython() -> ModuleType:
    try:
        import git
    except ImportError as error:  # which is how GitPython says that there is no git
        raise WorldError("the program git is needed for this and was not found; install it.") from error
    return git


def run(repo: Repo, *command: str, env: Mapping[str, str] | None = None) -> str:
    """Return what a Git command prints; no hook runs, nothing is asked, `GitError` holds what Git said."""
    return execute(repo, [*_NO_HOOKS, *command], env)[0]


def execute(repo: Repo, command: list[str], env: Mapping[str, str] | None = None) -> tuple[str, str]:
    """Return what a Git command prints on stdout and on stderr; hooks run where the command has any."""
    status, out, err = repo.git.execute(
        ["git", *_QUIET, *command], with_extended_output=True, with_exceptions=False, env=env
    )
    if status:
        words = " ".join(str(err).replace("fatal: ", "").replace("error: ", "").split())
        raise GitError(without_credentials(words or f"{' '.join(command)}: ended with status {status}"))
    return str(out), str(err)


def _environment(git_dir: Path) -> dict[str, str]:
    """Return settings under which Git never asks, never hangs, and works on this repository and no other."""
    own = {"GIT_DIR": str(git_dir.resolve())} if "GIT_DIR" in os.environ else {}  # a hook's, where one calls cellzoo
    return {
        **own,
        "GIT_TERMINAL_PROMPT": "0",
        "SSH_ASKPASS": os.environ.get("SSH_ASKPASS", "false"),
        "SSH_ASKPASS_REQUIRE": "force",
        "GIT_HTTP_LOW_SPEED_LIMIT": "1000",
        "GIT_HTTP_LOW_SPEED_TIME": "30",
        "GIT_ALLOW_PROTOCOL": ":".join(SCHEMES),
        "GIT_NO_LAZYFETCH": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_LITERAL_PATHSPECS": "1",
    }


def _store(name: str) -> Path:
    """Return the folder of one repository in the cache."""
    return settings.home() / "registries" / hashlib.sha256(name.encode()).hexdigest()[:16]


@contextmanager
def _locked(store: Path) -> Iterator[Path]:
    """Give a folder of the cache while no other process writes to it."""
    try:
        store.mkdir(parents=True, exist_ok=True)
        with FileLock(store.with_suffix(".lock")):
            yield store
    except CellzooError:  # some of which are an OSError as well
        raise
    except OSError as error:
        raise WorldError(f"{store}: cannot be written: {error.strerror or error}.") from error


def _bare(store: Path) -> Path:
    """Return the bare repository of a store, made where there is none."""
    folder = store / "repo.git"
    if not (folder / "HEAD").is_file():
        folder.mkdir(exist_ok=True)
        _gitpython().Git(folder).execute(["git", "init", "--bare", "--quiet", "--template=", str(folder)])
    return folder


def _refresh(repo: Repo, source: Source) -> tuple[str, ...]:
    """Fetch branches and tags; return what to say where that failed and an older state is there to use."""
    refs = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]
    refs += [] if source.ref else ["+HEAD:refs/cellzoo/head"]
    problem = "CELLZOO_OFFLINE is set."
    if not settings.offline():
        try:
            run(repo, *FETCH, "--prune", "--", source.url, *refs)
            return ()
        except GitError as error:
            problem = str(error)
    if run(repo, "for-each-ref", "--count=1", "refs/heads", "refs/tags"):
        return (f"{source.shown}: could not be refreshed: {problem}",)
    if "find remote ref HEAD" in problem:
        raise NotFoundError(f"{source.shown}: has no default branch, or is empty; name one after an @.")
    if re.search("does not appear to be a git repo|not a git repo|not found|does not exist", problem):
        raise NotFoundError(f"{source.shown}: is not a Git repository, or not one you may read. Git says: {problem}")
    advice = "Check the address and that git can reach it without being asked for a password: git ls-remote URL."
    raise WorldError(f"{source.shown}: is not in the cache and could not be fetched: {problem} {advice}")


def _find(repo: Repo, source: Source) -> str:
    """Return the commit that is asked for among what was fetched: a tag goes before a branch of the same name."""
    ref = source.ref
    if ref is None:
        names = ["refs/cellzoo/head"]
    else:
        names = [f"refs/tags/{ref}", f"refs/heads/{ref}", *([ref] if re.fullmatch("[0-9a-f]{7,40}", ref) else [])]
    for name in names:
        if commit := _commit(repo, name):
            return commit
    raise _unknown(repo, source.shown, ref or "HEAD")


def _commit(repo: Repo, ref: str) -> str | None:
    with suppress(GitError):
        return run(repo, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}").strip()
    return None


def _needed(repo: Repo, ref: str) -> str:
    if (commit := _commit(repo, str(check_ref(ref, ref)))) is None:
        raise _unknown(repo, str(repo.working_dir), ref)
    return commit


def _unknown(repo: Repo, where: str, ref: str) -> NotFoundError:
    form = "--format=%(refname:lstrip=2)"
    names = run(repo, "for-each-ref", "--sort=-creatordate", form, "refs/tags", "refs/heads", "refs/remotes").split()
    has = f"It has {', '.join(names[:8])}{' and others' if len(names) > 8 else ''}." if names else "It has none."
    return NotFoundError(f"{where}: has no branch, tag or commit {ref!r}{nearest_of(ref, names)}. {has}")


def around(where: Path) -> tuple[Path, str | None]:
    """Return the repository to ask about a folder, and the commit it is of where it lies in the cache."""
    for folder in (where.resolve(), *where.resolve().parents):
        if _COMMIT.fullmatch(folder.name):
            if (folder.parent / "repo.git").is_dir():
                return folder.parent / "repo.git", folder.name
            if (known := folder.parent / "repository").is_file():
                return Path(known.read_text(encoding="utf-8")), folder.name
    return where.resolve(), None
