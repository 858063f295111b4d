"""`cellzoo check --links`: links that lead nowhere are found, by asking a real server."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cellzoo.ci.check import Question, check_registry
from cellzoo.errors import InputError
from cellzoo.registry.catalogue import Registry


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers with the status and length that the path names: /200/1000/x; ``get`` refuses HEAD."""

    asked: list[str] = []

    def do_GET(self) -> None:
        _, status, length, name = self.path.split("/")
        Handler.asked.append(f"{self.command} {name}")
        self.send_response(405 if name == "get" and self.command == "HEAD" else int(status))
        self.send_header("Content-Length", length)
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def seen(root: Path, url: str) -> list[str]:
    (root / "collections/census.yaml").unlink(missing_ok=True)
    (root / "models/acme/mlp.yaml").unlink(missing_ok=True)
    path = root / "datasets/blood.yaml"
    path.write_text(path.read_text().replace("https://example.org/blood.h5ad", url))
    found = check_registry(Registry((root,)), Question(links=True))
    return [f"{one.severity} {one.code} {one.line}:{one.column}" for one in found]


REPLIES = {
    "/200/1000/x": [],
    "/200/1000/get": [],
    "/404/0/x": ["error LINK001 11:5"],
    "/410/0/x": ["error LINK001 11:5"],
    "/500/0/x": ["warning LINK001 11:5"],
    "/403/0/x": ["warning LINK001 11:5"],
    "/200/999/x": ["error LINK002 11:5"],
}


@pytest.mark.parametrize(("path", "expected"), REPLIES.items())
def test_a_link_is_what_its_server_says(root, server, path, expected):
    assert seen(root, server + path) == expected


def test_a_server_that_is_not_there_is_a_warning(root):
    assert seen(root, "http://127.0.0.1:9/x/y") == ["warning LINK001 11:5"]


def test_the_bytes_are_not_fetched_and_closed_data_not_asked_for(root, server, change):
    Handler.asked.clear()
    change("datasets/blood.yaml", "    bytes: 1000", "    bytes: 1000\n    access: registration")
    assert seen(root, f"{server}/404/0/closed") == []
    assert Handler.asked == []


def test_without_a_network_links_are_not_asked_for(root, monkeypatch):
    monkeypatch.setenv("CELLZOO_OFFLINE", "1")
    with pytest.raises(InputError, match="unset CELLZOO_OFFLINE"):
        check_registry(Registry((root,)), Question(links=True))
