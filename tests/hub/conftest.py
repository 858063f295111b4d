"""A release, a folder remote, and a server on a free port of this machine."""

import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import numpy as np
import pytest

from cellzoo.hub.depot import Depot

REPO = "acme/celltype-mlp-0.1_human-blood_zoo-1"
TOKEN = "token-of-alice"


@pytest.fixture(autouse=True)
def clean_world(monkeypatch, tmp_path):
    """No token, cache or telemetry of the machine that the tests run on."""
    from huggingface_hub import constants

    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "CELLZOO_TOKENS", "CELLZOO_OFFLINE", "CELLZOO_REMOTE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CELLZOO_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf-cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)


@pytest.fixture
def repo():
    return REPO


@pytest.fixture
def make_release(tmp_path):
    """Write a release whose weights say which it is."""
    from safetensors.numpy import save_file

    def make(number=1, **files):
        folder = tmp_path / f"release-{number}"
        folder.mkdir()
        save_file({"weight": np.full((64, 64), number, dtype=np.float32)}, folder / "model.safetensors")
        (folder / "config.json").write_text(f'{{"task": "celltype", "number": {number}}}')
        (folder / "genes.parquet").write_bytes(b"PAR1 not really")
        (folder / "labels.json").write_text("[]")
        (folder / "README.md").write_text(
            "---\nlicense: mit\ntags: [single-cell]\nlibrary_name: cellzoo\n---\n# Model\n"
        )
        for name, content in files.items():
            (folder / name).write_bytes(content)
        return folder

    return make


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Run the server in a thread; `seen` records (method, path, authorization) of each request."""
    import uvicorn

    from cellzoo.hub.server import User, create_app

    depot, seen = Depot(tmp_path / "served"), []
    app = create_app(depot, {TOKEN: User("alice", ("acme",)), "token-of-bob": User("bob")})

    async def recording(scope, receive, send):
        headers = {key.decode(): value.decode() for key, value in scope["headers"]}
        seen.append((scope["method"], scope["raw_path"].decode(), headers.get("authorization")))
        await app(scope, receive, send)

    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(recording, log_level="critical", lifespan="off", ws="none", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    monkeypatch.setenv("CELLZOO_TOKENS", f"{url}={TOKEN}")
    yield SimpleNamespace(url=url, depot=depot, token=TOKEN, seen=seen)
    server.should_exit = True
    thread.join(5)
    listener.close()


@pytest.fixture
def eavesdropper():
    """Run servers that note the Authorization header of each request, and send it on to `location` if there is one."""
    servers = []

    def start(location=None):
        heard = []

        class Handler(BaseHTTPRequestHandler):
            def answer(self):
                heard.append(self.headers.get("Authorization"))
                self.send_response(302 if location else 404)
                if location:
                    self.send_header("Location", location + self.path)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_HEAD = do_POST = answer

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        servers.append(server)
        return SimpleNamespace(url=f"http://127.0.0.1:{server.server_port}", heard=heard)

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
