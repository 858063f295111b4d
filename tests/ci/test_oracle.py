"""The official validator: where its environment cannot be made, or the process ends, that is said."""

import pytest

from cellzoo.ci.oracle import Oracle, environment, prepare
from cellzoo.errors import WorldError


def test_the_environment_is_the_one_that_is_named_else_in_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("CELLZOO_HOME", str(tmp_path))
    assert environment() == tmp_path / "oracle-7.1.2"
    monkeypatch.setenv("CELLZOO_ORACLE", str(tmp_path / "mine"))
    assert environment() == tmp_path / "mine"


def test_an_environment_that_cannot_be_made_is_an_error_of_the_world(monkeypatch, tmp_path):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(WorldError, match=r"cannot be installed: (.|\n)*Set CELLZOO_ORACLE"):
        prepare(tmp_path / "here")


def test_an_environment_without_python_is_an_error_of_the_world(tmp_path):
    (tmp_path / "installed").touch()
    with pytest.raises(WorldError, match="the official validator cannot be started"):
        Oracle(tmp_path)


def test_a_process_that_ends_is_an_error_of_the_world(tmp_path):
    (tmp_path / "installed").touch()
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python"
    python.write_text("#!/bin/sh\nexit 7\n")
    python.chmod(0o755)
    with (
        Oracle(tmp_path) as oracle,
        pytest.raises(WorldError, match="the official validator (ended with code 7|does not)"),
    ):
        oracle.validate(tmp_path / "x.h5ad")
