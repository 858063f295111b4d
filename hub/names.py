"""Names of models, repos, revisions and releases: parsed, checked and formatted, nothing else."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields

from cellzoo.errors import InputError

SHAPE = "<organization>/<task>-<topology>-<topology version>_<organism>-<organ>_<training-data version>"

_REPO_PART = re.compile(r"(?!.*(?:--|\.\.))(?!.*\.git$)[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?")
_REVISION = re.compile(r"(?!.*(?:\.\.|//))[A-Za-z0-9](?:[A-Za-z0-9._/+-]*[A-Za-z0-9])?")
_PRERELEASE = r"(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_SEMVER = re.compile(
    r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)"
    rf"(?:-({_PRERELEASE}(?:\.{_PRERELEASE})*))?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
)
_WORD = (r"[a-z0-9]+", "lower-case letters and digits")
_FIELDS = {
    "organization": (_REPO_PART.pattern, "a Hub organization: at most 96 letters, digits, '.', '-' or '_'"),
    "task": _WORD,
    "topology": _WORD,
    "topology_version": (r"[0-9]+(?:\.[0-9]+)*", "numbers joined by '.', such as 0.1.1"),
    "organism": _WORD,
    "organ": (r"[a-z0-9]+(?:-[a-z0-9]+)*", "lower-case letters and digits, words joined by '-'"),
    "training_data": (r"[a-z0-9]+(?:[.-][a-z0-9]+)*", "lower-case letters and digits joined by '.' or '-'"),
}
_NAME = re.compile(
    r"(?P<organization>[^/]*)/(?P<task>[^_-]*)-(?P<topology>[^_-]*)-(?P<topology_version>[^_-]*)"
    r"_(?P<organism>[^_-]*)-(?P<organ>[^_]*)_(?P<training_data>[^_]*)"
)
_SFAIRA = re.compile(
    r"(?P<task>embedding|celltype)_(?P<organism>[^_-]*)-(?P<organ>[^_-]*)-(?P<topology>[^_-]*)"
    r"-(?P<topology_version>[^_-]*)-(?P<training_data>[^_-]*)_(?P<organization>[^_/]*)"
)


@dataclass(frozen=True, order=True)
class ModelName:
    """A model repo's name, taken apart: who published it, what it does, and what it learned from."""

    organization: str
    """Owner on the Hub, for example ``cellzoo``."""
    task: str
    """``celltype`` or ``embedding``."""
    topology: str
    """Name of the architecture, for example ``mlp``."""
    topology_version: str
    """Version of the architecture, for example ``0.1.1``."""
    organism: str
    """Short organism name, for example ``human``."""
    organ: str
    """Organ, for example ``blood``."""
    training_data: str
    """Short digest of the data lock (``zoo-3f9a2c1d``) or a Census date (``census-2025-11-08``)."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value, (pattern, expected) = getattr(self, field.name), _FIELDS[field.name]
            if not re.fullmatch(pattern, value):
                raise InputError(f"model name: {field.name} is {value!r}, expected {expected}")
        check_repo(str(self))

    def __str__(self) -> str:
        model = f"{self.task}-{self.topology}-{self.topology_version}_{self.organism}-{self.organ}"
        return f"{self.organization}/{model}_{self.training_data}"


def parse(text: str) -> ModelName:
    """Take a model name apart; a sfaira id is read as an alias.

    >>> parse("cellzoo/celltype-mlp-0.1.1_human-blood_zoo-3f9a2c1d").organ
    'blood'
    >>> str(parse("embedding_human-blood-ae-0.2-0.1_theislab"))
    'theislab/embedding-ae-0.2_human-blood_sfaira-0.1'
    """
    if match := _NAME.fullmatch(text):
        return ModelName(**match.groupdict())
    if match := _SFAIRA.fullmatch(text):
        parts = match.groupdict()
        return ModelName(**parts | {"training_data": f"sfaira-{parts['training_data']}"})
    raise InputError(f"{text!r} is no model name, expected {SHAPE}; see `cellzoo models` for those there are")


def check_repo(repo: str) -> str:
    """Return `repo` if the Hub accepts it as ``<organization>/<name>``."""
    parts = repo.split("/")
    if len(parts) != 2 or not all(_REPO_PART.fullmatch(part) for part in parts):
        raise InputError(
            f"{repo!r} is no repo id, expected <organization>/<name>, each at most 96 letters, digits, '.', '-' or '_',"
            " without '--' or '..', not beginning or ending in '.' or '-', not ending in '.git'"
        )
    return repo


def check_revision(revision: str) -> str:
    """Return `revision` if it can be a tag, a branch or a commit."""
    if not _REVISION.fullmatch(revision):
        raise InputError(f"{revision!r} is no revision, expected a tag such as v1.0.0, a branch or a commit")
    return revision


def is_commit(revision: str) -> bool:
    """Return whether `revision` is a full 40-hex commit id."""
    return re.fullmatch(r"[0-9a-f]{40}", revision) is not None


def release_tag(release: str) -> str:
    """Return the tag of a release.

    >>> release_tag("1.0.0")
    'v1.0.0'
    """
    if not _SEMVER.fullmatch(release):
        hint = "; leave out the 'v'" if _SEMVER.fullmatch(release.removeprefix("v")) else ""
        raise InputError(f"release {release!r} is no semantic version, expected MAJOR.MINOR.PATCH such as 1.0.0{hint}")
    return f"v{release}"


def check_tag(tag: str) -> str:
    """Return `tag` if it is a release's."""
    if not (tag.startswith("v") and _SEMVER.fullmatch(tag[1:])):
        raise InputError(f"tag {tag!r} is no release, expected v and a semantic version, such as v1.0.0")
    return tag


def release_order(tag: str) -> tuple[object, ...]:
    """Return a key that sorts release tags by semantic version, and any other tag before them.

    >>> sorted(["v1.10.0", "v1.9.0", "draft", "v1.10.0-rc.1"], key=release_order)
    ['draft', 'v1.9.0', 'v1.10.0-rc.1', 'v1.10.0']
    """
    match = _SEMVER.fullmatch(tag.removeprefix("v"))
    if not (match and tag.startswith("v")):
        return (0, tag)
    *core, pre = match.groups()
    parts = tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in pre.split(".")) if pre else ()
    return (1, *map(int, core), not pre, parts, tag)
