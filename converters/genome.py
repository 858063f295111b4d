"""A genome by path or by URL: fetched if need be, compiled by `cellzoo.registry.gtf`."""

from __future__ import annotations

import http.client
import tempfile
import urllib.parse
from pathlib import Path

from cellzoo import settings
from cellzoo.converters.fetch import Progress, stream
from cellzoo.errors import InputError, WorldError
from cellzoo.registry.genetable import Genome
from cellzoo.registry.gtf import add_gtf

HTTPS_TOO = ("ftp.ensembl.org", "ftp.ensemblgenomes.org", "ftp.ebi.ac.uk")
"""Hosts whose ftp:// addresses answer to https:// as well."""


def add_genome(
    source: str | Path,
    organism: str | None = None,
    release: str | None = None,
    sha256: str | None = None,
    progress: Progress | None = None,
) -> Genome:
    """Add the gene table of an Ensembl or GENCODE GTF, given by path or URL, and return where it comes from.

    `cellzoo.registry.gtf.add_gtf` says how it is named. With ``sha256`` the file is looked for in ``CELLZOO_MIRROR``
    before the URL; without, the sha256 of what was fetched is in the record. The GTF itself is not kept. Raises
    `WorldError` where a URL cannot be had, `IntegrityError` for other bytes, `InputError` for anything but a GTF.
    """
    scheme, host, path = urllib.parse.urlsplit(str(source))[:3]
    if scheme not in {"http", "https", "ftp"} or isinstance(source, Path):
        return add_gtf(Path(source), organism, release, sha256)
    url = str(source)
    if scheme == "ftp":
        if host not in HTTPS_TOO:
            raise InputError(
                f"{url}: ftp is not spoken here. Give an http or https address, or fetch the file yourself."
            )
        url = f"https{url.removeprefix('ftp')}"
    mirror = settings.mirror()
    if mirror and sha256 and (mirror / sha256.lower()).is_file():
        return add_gtf(mirror / sha256.lower(), organism, release, sha256, url)
    if settings.offline():
        raise WorldError(f"{url}: CELLZOO_OFFLINE is set. Give the path of a file.")
    with tempfile.TemporaryDirectory(prefix="cellzoo-") as folder:
        file = Path(folder, "genome.gtf")
        _download(url, Path(path).name, file, progress)
        return add_gtf(file, organism, release, sha256, url)


def _download(url: str, name: str, to: Path, progress: Progress | None) -> None:
    """Write what a URL sends to a file, all of it."""
    try:
        stream(name, None, url, to, progress)
    except http.client.IncompleteRead as error:
        have = to.stat().st_size
        total = have + (error.expected or 0)
        raise WorldError(f"{url}: only {have} of {total} bytes came. Try again.") from error
    except (OSError, http.client.HTTPException) as error:
        raise WorldError(f"{url}: {getattr(error, 'reason', None) or error}") from error
