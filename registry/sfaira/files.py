"""What sfaira writes as a download URL, as files of a card.

sfaira's words: ``private,NAME`` (on request), ``manual,NAME,PAGE`` (by hand), ``rename,NAME,URL``, ``synNNN,NAME``
(Synapse, after registration), ``SCPnnn`` (Single Cell Portal, after registration), or a plain URL.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from cellzoo.registry.document import Location
from cellzoo.registry.sfaira.loader import Loader, Said, clean

SYNAPSE = "https://www.synapse.org/Synapse:"
PORTAL = "https://singlecell.broadinstitute.org/single_cell/study/"
HTTPS_TOO = ("ftp.ncbi.nlm.nih.gov", "ftp.ebi.ac.uk")
"""Hosts that serve the same paths over ftp and https."""

PAGE = re.compile(r"https?://www\.ncbi\.nlm\.nih\.gov/geo/query/acc\.cgi\?acc=(GSE\d+)")
"""GEO's page about a series, which holds no data itself."""

PAGES = re.compile(r".*#|https://(drive\.google\.com/open\?|beta\.fastgenomics\.org/)")
"""Addresses of pages for people, where a file is chosen by hand."""

FileDict = dict[str, str]


def file_of(said: str) -> FileDict | None:
    """Return name, url and access of what sfaira writes as one download; none where no file can be named.

    >>> file_of("syn123,counts.h5ad")
    {'name': 'counts.h5ad', 'url': 'https://www.synapse.org/Synapse:syn123', 'access': 'registration'}
    """
    if found := re.fullmatch(r"(private|manual|rename|syn\d+|SCP\d+)\s*(?:[,:]\s*(.*))?", said):
        how, rest = found[1], (found[2] or "").strip()
        first, _, second = (part.strip() for part in rest.partition(","))
        url = _url(second) or _url(first)
        name = _name(first) if first and not _url(first) else _name_of(url) if url else how if how[3:].isdigit() else ""
        if how.startswith(("syn", "SCP")):
            return {"name": name, "url": f"{SYNAPSE if how[0] == 's' else PORTAL}{how}", "access": "registration"}
        if not name or (how == "rename" and not url):
            return None
        access = {} if how == "rename" else {"access": how}
        return {"name": name, **({"url": url} if url else {}), **access}
    if not (url := _url(said)):
        return None
    if found := PAGE.match(url):
        return {"name": found[1], "url": url, "access": "manual"}
    return {"name": _name_of(url), "url": url, **({"access": "manual"} if PAGES.match(url) else {})}


def _url(text: str) -> str:
    """Return an address that a card takes, "" for any other text."""
    text = re.sub(rf"^ftp://(?={'|'.join(map(re.escape, HTTPS_TOO))})", "https://", text)
    text = quote(text, safe="/:?#[]@!$&'()*+,;=%~")
    if re.fullmatch(r"(?:https?|ftp)://[^\s/]+", text):
        text += "/"
    return text if re.fullmatch(r"(?:https?|ftp)://[^\s/]+/\S*", text) and len(text) <= 2000 else ""


def _name_of(url: str) -> str:
    try:
        parts = urlsplit(url)
        query = parse_qs(parts.query)
    except ValueError:
        return _name(url.rsplit("/", 1)[-1])
    if "file" in query:
        return _name(query["file"][0])
    if parts.netloc == "drive.google.com" and "id" in query:
        return _name(query["id"][0])
    if parts.path.rstrip("/").endswith("geo/download") and "acc" in query:
        return _name(f"{query['acc'][0]}_RAW.tar")  # GEO sends the archive of all files of a series
    return _name(unquote(parts.path.rstrip("/").rsplit("/", 1)[-1]) or parts.netloc)


def _name(text: str) -> str:
    """Return a text as the name of a file inside a folder."""
    name = re.sub(r"[\\:\x00-\x1f]", "_", text.rstrip("/").rsplit("/", 1)[-1]).strip().lstrip(".")
    return name[-200:].lstrip(". ") or "file"


def read_files(loader: Loader) -> tuple[list[FileDict], dict[str, list[str]], int]:
    """Return the files of a loader, sample -> names of its files, and how many of the files hold matrices."""
    files: list[FileDict] = []
    of_sample: dict[str, list[str]] = {}
    matrices = 0
    for key in ("download_url_data", "download_url_meta"):
        said = loader.said(key)
        for location, sample, one in _downloads(said):
            if (file := file_of(one)) is None:
                loader.warn("SFAIRA004", location, f"{key}: {one!r} names no file.", "Write a URL, or private,NAME.")
                continue
            name = _listed(files, file)
            if sample is not None and name not in of_sample.setdefault(sample, []):
                of_sample[sample].append(name)
        matrices = matrices or len(files)
    names = {file["name"] for file in files}
    for sample in loader.samples:
        if sample in names and not of_sample.get(sample):
            of_sample[sample] = [sample]
    return files, of_sample, matrices


def _downloads(said: Said) -> Iterator[tuple[Location, str | None, str]]:
    items: list[tuple[str | None, Any]] = [(None, said.every), *said.each.items()]
    for sample, value in items:
        for one in value if isinstance(value, list) else [value]:
            if one is not None:
                yield said.at(sample), sample, str(clean(one))


def _listed(files: list[FileDict], file: FileDict) -> str:
    """Add a file unless it is listed, and return its name, changed where another file has it."""
    stem, dot, suffix = file["name"].partition(".")
    number = 1
    while True:
        same = next((one for one in files if one["name"] == file["name"]), None)
        if same == file:
            return file["name"]
        if same is None:
            files.append(file)
            return file["name"]
        number += 1
        file = {**file, "name": f"{stem[:180]}-{number}{dot}{suffix}"}
