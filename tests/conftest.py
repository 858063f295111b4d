"""What tests share: the mirror of real data, a clean cache, no network but the loopback."""

import os
import socket
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("cellzoo", deadline=None, derandomize=True)
settings.load_profile("cellzoo")

MIRROR = Path(__file__).parents[1].parent / "shared" / "data" / "mirror"


@pytest.fixture(scope="session")
def mirror() -> Path:
    """The folder of real files named by their sha256; a test that needs it fails where it is missing."""
    folder = Path(os.environ.get("CELLZOO_MIRROR") or MIRROR)
    if not folder.is_dir():
        pytest.fail(f"{folder}: the mirror of test data is missing; set CELLZOO_MIRROR to it")
    return folder


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Each test has a cache of its own and no setting of the machine it runs on."""
    for name in [name for name in os.environ if name.startswith(("CELLZOO_", "HF_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CELLZOO_HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")


@pytest.fixture(autouse=True)
def no_internet(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Only the loopback can be reached, so that no test depends on a server elsewhere."""
    if request.node.get_closest_marker("network"):
        return
    real = socket.getaddrinfo

    def local_only(host, *args, **kwargs):
        if host not in {"127.0.0.1", "localhost", "::1", None}:
            raise socket.gaierror(socket.EAI_NONAME, f"{host}: no network in tests")
        return real(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", local_only)
