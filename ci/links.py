"""Links that lead nowhere: each URL of a card is asked for once, its bytes are not fetched."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from cellzoo import __version__, settings
from cellzoo.ci.sources import Read
from cellzoo.errors import Finding, InputError
from cellzoo.registry.collection import CollectionCard
from cellzoo.registry.schema import DatasetCard, Location

TIMEOUT = 30.0
"""Seconds to wait for a server."""
WORKERS = 8
GONE = {404, 410}
"""Replies after which a link is known to be dead; anything else may be better tomorrow."""


def check_links(looked: Sequence[Read]) -> Iterator[Finding]:
    """Yield the links of cards that lead nowhere, or to another number of bytes than the card pins."""
    if settings.offline():
        raise InputError("--links needs the network: unset CELLZOO_OFFLINE.")
    links = [(read, *link) for read in looked for link in _links(read)]
    with ThreadPoolExecutor(WORKERS) as pool:
        replies = dict(zip(urls := sorted({url for _, _, url, _ in links}), pool.map(ask, urls), strict=True))
    for read, place, url, size in links:
        status, length = replies[url]
        if read.document is None:
            continue
        if not isinstance(status, int) or status >= 400:
            gone = status in GONE
            remedy = "Find where it went." if gone else "Try again later; then find where it went."
            message = f"{url}: {'answers ' if isinstance(status, int) else ''}{status}."
            yield read.document.finding("LINK001", place, message, remedy, "error" if gone else "warning")
        elif size and length not in {None, size}:
            message = f"{url}: has {length} bytes, the card pins {size}."
            yield read.document.finding("LINK002", place, message, "The file was changed: look at it anew.")


def _links(read: Read) -> Iterator[tuple[Location, str, int | None]]:
    if isinstance(read.card, DatasetCard) and read.card.status != "broken":
        for at, file in enumerate(read.card.files):
            if file.url and file.access == "open" and file.url.startswith("http"):
                yield ("files", at, "url"), file.url, file.bytes
    elif isinstance(read.card, CollectionCard) and read.card.homepage.startswith("http"):
        yield ("homepage",), read.card.homepage, None


def ask(url: str) -> tuple[int | str, int | None]:
    """Return the status of a URL, or why there is none, and its length where the server says it."""
    status: tuple[int | str, int | None] = "", None
    for method in ("HEAD", "GET"):  # some servers refuse HEAD, or do not know the length
        headers = {"User-Agent": f"cellzoo/{__version__}", "Accept-Encoding": "identity"}
        request = urllib.request.Request(url, headers=headers, method=method)  # noqa: S310 (http only, by the schema)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as reply:  # noqa: S310
                length = reply.headers.get("Content-Length", "")
                encoded = reply.headers.get("Content-Encoding", "identity") != "identity"
                return reply.status, int(length) if length.isdecimal() and not encoded else None
        except urllib.error.HTTPError as error:
            status = error.code, None
            error.close()
        except (OSError, http.client.HTTPException, ValueError) as error:
            return f"cannot be reached: {getattr(error, 'reason', None) or error}", None
    return status
