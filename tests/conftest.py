"""What tests share: the mirror of real data, a clean cache, no network but the loopback."""

import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from cellzoo.registry.catalogue import PACKAGED

settings.register_profile("cellzoo", deadline=None, derandomize=True)
settings.load_profile("cellzoo")

BLOOD = {"onek1k-subset", "pbmc68k-reduced", "tenx-pbmc3k", "zheng2017-pbmc14k", "zheng2017-sorted-pbmc"}
ISLETS = {"baron2016-human", "segerstolpe2016-human"}
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


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The folder of a registry with a copy of seven packaged cards, five of blood and two of islets."""
    (tmp_path / "cards" / "datasets").mkdir(parents=True)
    for name in BLOOD | ISLETS:
        for path in (PACKAGED / "datasets").glob(f"{name}.*"):
            shutil.copy(path, tmp_path / "cards" / "datasets")
    return tmp_path / "cards"


@pytest.fixture
def git(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Run Git in a folder, under an identity of the tests and with no setting of the machine."""
    config = tmp_path_factory.mktemp("git") / "config"
    config.write_text("[user]\n name = Curator\n email = curator@example.org\n[init]\n defaultBranch = main\n")
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for name in ("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"):
        monkeypatch.setenv(name, "2026-11-01T12:00:00+00:00")

    def run(folder: Path, *command: str) -> str:
        done = subprocess.run(["git", *command], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"git {' '.join(command)}: {done.stderr}"
        return done.stdout.strip()

    return run
