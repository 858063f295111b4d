"""What a drafted card says of its study: from the person, the file, a card of the same study, or a question."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from cellzoo.converters.contents import Contents
from cellzoo.errors import InputError
from cellzoo.registry.catalogue import Registry
from cellzoo.registry.fields import UNKNOWN


@dataclass(frozen=True)
class Said:
    """What a person says about a data set; what is None or "" is looked for in the file."""

    id: str = ""
    """Id of the card."""
    title: str = ""
    """One line that a biologist understands."""
    doi: str = ""
    """DOI of the study."""
    authors: str = ""
    """First author et al."""
    year: int | None = None
    """Year of the first publication."""
    license: str = ""
    """SPDX id of the terms of the data."""
    url: str = ""
    """Where the file can be downloaded."""
    primary: bool | None = None
    """Whether these cells are first published here."""
    donor: str = ""
    """Donor of all cells."""
    terms: dict[str, str] = field(default_factory=dict)
    """Field -> id or label of the term of all cells."""


@dataclass(frozen=True)
class Question:
    """What neither the file nor the person said."""

    about: str
    """Name of the field in `Said`, or a field in ontology terms."""
    text: str
    """What is to be decided, in a sentence."""
    needed: bool = False
    """Whether there is no card without it."""
    filled: bool = False
    """Whether something was filled in, which a person may let stand."""


class About:
    """The study and the terms of the data: from the person, the file, a card of the same study, or a question."""

    def __init__(self, contents: Contents, said: Said, registry: Registry) -> None:
        self.told: list[str] = []
        self.questions: list[Question] = []
        self._said, self._uns = said, contents.uns
        citation, cited = contents.uns.get("citation", ""), "from the citation in the file"
        doi = said.doi.removeprefix("https://doi.org/").removeprefix("doi:")
        doi = doi or self._tell("doi", _first(r"10\.\d{4,9}/[^\s\"<>]+", citation), cited)
        doi = doi or self._tell("doi", _first(r"^10\.\d{4,9}/\S+$", contents.uns.get("doi", "")), "from the file")
        self.url = said.url or self._tell("url", _first(r"https?://\S+\.h5ad", citation), cited)
        given = "CC-BY-4.0" if "CELLxGENE Discover" in citation else ""
        self.license = said.license or self._tell("license", given, "the terms of what CELLxGENE distributes")
        stem = contents.path.stem
        self.title = said.title or contents.uns.get("title", "") or re.sub(r"[_\-.]+", " ", stem).strip()
        authors, year = self._paper(doi, registry)
        first = re.match(r"\w+", authors)
        self.id = _slug(said.id or (f"{first[0]}{year}-{stem}" if first and year and authors != UNKNOWN else stem))
        if not self.id:
            wrong = said.id or contents.path.name
            raise InputError(f"{wrong!r} gives no id: ids are of a-z, 0-9 and -. Give one by --id.")
        if self.id in registry.paths:
            raise InputError(f"{self.id}: {registry} has a card of that id. Give another by --id.")
        self.study: dict[str, Any] = {"doi": doi} if doi else {"name": self.title}
        self.study |= {"authors": authors, "year": year}
        column = contents.obs.get("is_primary_data")
        stated = (
            [] if column is None or column.isna().any() else [str(one).lower() == "true" for one in column.unique()]
        )
        self.primary = said.primary if said.primary is not None else all(stated)
        self._ask(doi, bool(stated))
        self.license = self.license or UNKNOWN

    def _paper(self, doi: str, registry: Registry) -> tuple[str, int | None]:
        """Return authors and year."""
        kin = next((record for record in registry.records() if doi and record.study == doi), None)
        if kin and not (self._said.authors and self._said.year):
            self.told.append(f"authors and year as in {kin.id}, a card of the same study")
        year = self._said.year or (kin.year if kin else None)
        if year is None and (dated := re.search(r"[./]((?:19|20)\d\d)\.\d\d\.\d\d", doi)):
            year = int(dated[1])
            self.told.append(f"year {year}: as the DOI has it")
        return self._said.authors or (kin.authors if kin else UNKNOWN), year

    def _tell(self, name: str, value: str, why: str) -> str:
        if value:
            self.told.append(f"{name} {value}: {why}")
        return value

    def _ask(self, doi: str, primary: bool) -> None:
        open_ = {
            "doi": (not doi, "DOI of the study; without one its title is its name"),
            "authors": (self.study["authors"] == UNKNOWN, "authors as cited, for example Zheng et al."),
            "year": (self.study["year"] is None, "year of the first publication"),
            "title": (
                not (self._said.title or self._uns.get("title")),
                f"a title that a biologist understands; now {self.title!r}",
            ),
            "license": (not self.license, "SPDX id of the terms of the data, for example CC-BY-4.0"),
            "primary": (
                self._said.primary is None and not primary,
                "are the cells first published here (yes or no)? now taken as yes",
            ),
        }
        self.questions += [
            Question(name, text, needed=name == "year", filled=name in {"title", "primary"})
            for name, (is_open, text) in open_.items()
            if is_open
        ]


def _slug(text: str) -> str:
    """Return a text as an id: lower-case letters and digits, joined by ``-``."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:64].strip("-")


def _first(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found[0].rstrip(".,;)") if found else ""
