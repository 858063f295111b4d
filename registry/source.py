"""Where a registry in Git lies, and which version of it: ``URL[@ref]`` or ``PATH@ref``."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from cellzoo.errors import InputError

SCHEMES = ("https", "http", "ssh", "git", "file")
"""How a registry may be reached; anything else Git knows (``ext::``) can run programs."""
_SCP = re.compile(r"[\w.+-]+@[\w.-]+:(?!//)")  # git@host:org/zoo.git


@dataclass(frozen=True)
class Source:
    """Where a registry lies and which version of it is wanted."""

    url: str = field(repr=False)
    """URL as Git reads it, credentials included, or the path of a local repository."""
    ref: str | None
    """Branch, tag or commit; none for the default branch."""
    local: bool = False
    """Whether ``url`` is a path."""

    @property
    def shown(self) -> str:
        """Return the URL without credentials: for messages, and for the name in the cache."""
        return without_credentials(self.url)


def parse(where: str) -> Source | None:
    """Return what ``URL[@ref]`` or ``PATH@ref`` names; none for a plain path.

    The ref begins after the first ``@`` of the path that does not begin a folder's name (``.git@`` goes before any
    other), so it may itself hold ``/`` and ``@``; write ``%40`` for such a sign in the path of a URL.

    >>> parse("git@host:org/zoo.git@cards/new"), parse("https://host/@me/zoo"), parse("cards")
    (Source(ref='cards/new', local=False), Source(ref=None, local=False), None)
    """
    scheme, mark, rest = where.partition("://")
    if mark:
        if scheme.lower() not in SCHEMES:
            raise InputError(f"{scheme}://: is not allowed for a registry; use one of {', '.join(SCHEMES)}.")
        host, slash, path = rest.partition("/")
        path, ref = _split(path)
        return Source(f"{scheme.lower()}://{host}{slash}{path}", check_ref(ref, where))
    if found := _SCP.match(where):
        path, ref = _split(where[found.end() :])
        return Source(found[0] + path, check_ref(ref, where))
    for at in [at for at, sign in enumerate(where) if sign == "@"][::-1]:
        if not Path(where).expanduser().exists() and Path(where[:at]).expanduser().is_dir():
            return Source(str(Path(where[:at]).expanduser().resolve()), check_ref(where[at + 1 :], where), local=True)
    return None


def _split(path: str) -> tuple[str, str | None]:
    head, mark, tail = path.partition(".git@")
    if mark:
        return head + ".git", tail
    found = re.search("(?<=[^/])@", path)
    return (path[: found.start()], path[found.end() :]) if found else (path, None)


def check_ref(ref: str | None, where: str) -> str | None:
    """Return the ref; `InputError` for what Git could take for an option or for no name at all."""
    if ref is not None and (not ref or ref.startswith("-") or not ref.isprintable() or re.search(r"[\s:?*\[\\]", ref)):
        message = f"{without_credentials(where)}: {ref!r} is no name of a branch, tag or commit."
        raise InputError(f"{message} Write it after an @, for example zoo.git@v2026.11.")
    return ref


def without_credentials(text: str) -> str:
    """Return a text with the user and password of each URL left out.

    >>> without_credentials("https://me:secret@host/zoo.git")
    'https://host/zoo.git'
    """
    return re.sub(r"(?<=://)[^/\s'\"]*@(?=[^/@\s])", "", text)
