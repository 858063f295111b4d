"""Parts that every kind of card is made of: names, digests, files, the study."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

SCHEMA_VERSION = 2

FORMS: dict[str, str] = {}
"""Pattern -> what it spells, in words: what an error says was expected."""


def form(pattern: str, words: str, max_length: int | None = None) -> StringConstraints:
    """Return the constraint on a text, and remember in words what it asks for."""
    FORMS[pattern] = words
    return StringConstraints(pattern=pattern, max_length=max_length)


Identifier = Annotated[str, form(r"^[a-z0-9]+(-[a-z0-9]+)*$", "lower-case letters and digits, joined by '-'", 64)]
Sha256 = Annotated[str, form(r"^[0-9a-f]{64}$", "the 64 lower-case hex digits that sha256sum prints")]
Commit = Annotated[str, form(r"^[0-9a-f]{40}$", "the 40 lower-case hex digits of a commit")]
FileName = Annotated[str, form(r"^[^\s./\\:\x00-\x1f][^/\\:\x00-\x1f]*$", "the name of a file without its folder", 200)]
Url = Annotated[
    str, form(r"^(https?|ftp)://[^\s/]+/\S*$", "an address that starts with https://, http:// or ftp://", 2000)
]
TermId = Annotated[
    str,
    form(r"^([A-Za-z]+:[A-Za-z0-9]+|CVCL_[A-Z0-9]{4}|unknown|na)$", "a term id such as CL:0000084, or unknown or na"),
]
Doi = Annotated[str, form(r"^10\.\d{4,9}/\S+$", "a DOI such as 10.1038/ncomms14049, without its resolver")]
Day = Annotated[str, form(r"^\d{4}-\d{2}-\d{2}$", "a day as YYYY-MM-DD")]
Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
Count = Annotated[int, Field(gt=0, strict=True)]


class Strict(BaseModel):
    """A part of a card: unknown keys are errors, values are never changed after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Study(Strict):
    """The publication the data come from; data sets of one study share cells and are never split apart."""

    doi: Doi | None = None
    """DOI of the study, without a resolver; left out where there is no paper."""
    preprint: Doi | None = None
    """DOI of the preprint."""
    name: Text | None = None
    """Name of the study where there is no DOI."""
    authors: Text
    """First author et al., as cited."""
    year: Annotated[int, Field(ge=1990, le=2100, strict=True)]
    """Year of first publication, preprint included."""

    @model_validator(mode="after")
    def _identified(self) -> Self:
        if not (self.doi or self.name):
            raise ValueError("a study needs a doi, or a name where there is no paper")
        return self

    @property
    def id(self) -> str:
        """Return what identifies the study: its DOI, else its name."""
        return self.doi or self.name or ""


class PackagedSource(Strict):
    """A file that an installed Python distribution carries."""

    distribution: Text
    """Name on PyPI, for example ``scanpy``."""
    path: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._/+-]*$")]
    """Path inside the distribution."""


class Bytes(Strict):
    """Pinned bytes: their digest and size."""

    sha256: Sha256
    """sha256 of the file."""
    bytes: Count
    """Size of the file in bytes."""
    url: Url | None = None
    """Where these bytes can be downloaded."""


class File(Strict):
    """One file of a data set: what it is called, what it must hash to, where it can be had."""

    name: FileName
    """Name that the rest of the card refers to."""
    url: Url | None = None
    """Where the file can be downloaded, or the page to ask at where `access` is not open."""
    sha256: Sha256 | None = None
    """sha256 of the file; `cellzoo verify` pins it."""
    bytes: Count | None = None
    """Size of the file in bytes."""
    access: Literal["open", "registration", "manual", "private"] = "open"
    """open: the URL gives the bytes; registration: after a login; manual: by hand; private: on request."""
    package: PackagedSource | None = None
    """An installed distribution that carries the file."""
    equivalents: tuple[Bytes, ...] = ()
    """Other bytes with the same content, for example the same table packed by a newer library."""

    @property
    def pins(self) -> tuple[Bytes, ...]:
        """Return every accepted digest, the main one first; none where nothing is pinned."""
        main = (Bytes(sha256=self.sha256, bytes=self.bytes, url=self.url),) if self.sha256 and self.bytes else ()
        return (*main, *self.equivalents)

    @model_validator(mode="after")
    def _pinned_whole(self) -> Self:
        if (self.sha256 is None) != (self.bytes is None):
            raise ValueError("sha256 and bytes pin a file together: give both or neither")
        return self
