"""What the workflows may do: nobody's code runs with a token that can write, and what runs exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from cellzoo.cli import main

FOLDER = Path(__file__).parents[2] / ".github" / "workflows"
WORKFLOWS: dict[str, dict[str, Any]] = {
    path.stem: yaml.load(path.read_text(), yaml.BaseLoader) for path in sorted(FOLDER.glob("*.yml"))
}
JOBS = {f"{name}/{job}": spec for name, flow in WORKFLOWS.items() for job, spec in flow["jobs"].items()}
STEPS = {f"{name}/{at}": step for name, job in JOBS.items() for at, step in enumerate(job["steps"])}
MAY = {
    "cards/check": {"contents": "read"},
    "comment/comment": {"actions": "read", "pull-requests": "write"},
    "nightly/check": {"contents": "read", "issues": "write"},
    "release/build": {"contents": "read"},
    "release/publish": {"id-token": "write"},
}


def test_every_workflow_starts_from_no_permission_at_all():
    assert WORKFLOWS.keys() == {"cards", "comment", "nightly", "release"}
    assert all(flow["permissions"] == {} for flow in WORKFLOWS.values())
    assert not any("pull_request_target" in flow["on"] for flow in WORKFLOWS.values())


def test_every_job_has_only_the_permissions_it_needs_and_an_end():
    assert {name: job["permissions"] for name, job in JOBS.items()} == MAY
    assert all(0 < int(job["timeout-minutes"]) <= 60 for job in JOBS.values())


def test_what_a_pull_request_brings_is_data_in_a_folder_of_its_own():
    steps = JOBS["cards/check"]["steps"]
    checkouts = [step["with"] for step in steps if step.get("uses", "").startswith("actions/checkout")]
    [base, proposal] = checkouts
    assert base["ref"] == "${{ github.event.pull_request.base.sha }}" and base["path"] == "house"
    assert proposal["path"] == "proposal"
    for step in steps:
        for line in step.get("run", "").replace("\\\n", " ").splitlines():
            if "proposal" in line:
                assert re.search(r"cellzoo check --registry proposal/registry/cards ", line)
                assert line.count("proposal") == 1
        assert "proposal" not in step.get("working-directory", "")
    [install] = [step["run"] for step in steps if "pip install" in step.get("run", "")]
    assert shlex.split(install) == ["pip", "install", "--constraint", "house/constraints.txt", "./house"]


def test_jobs_that_can_write_check_out_nothing_of_a_pull_request():
    for name, job in JOBS.items():
        if "write" in job["permissions"].values():
            assert "pull_request" not in WORKFLOWS[name.partition("/")[0]]["on"]
    uses = [step.get("uses", "") for step in JOBS["comment/comment"]["steps"]]
    assert uses == [""]
    assert not re.search(r"python|pip|node|bash -c|eval|source ", JOBS["comment/comment"]["steps"][0]["run"])


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS.keys())
def test_a_step_takes_nothing_from_others_into_its_shell_and_keeps_no_credentials(step):
    """What a contributor chooses (a title, a branch) reaches a shell by the environment only, never by its text."""
    assert "${{" not in step.get("run", "")
    if step.get("uses", "").startswith("actions/checkout"):
        assert step["with"]["persist-credentials"] == "false"
    assert "secrets." not in str(step)


def test_the_options_that_workflows_use_exist():
    known = {option for one in main.commands["check"].params for option in one.opts if isinstance(one, click.Option)}
    lines = [line for step in STEPS.values() for line in step.get("run", "").replace("\\\n", " ").splitlines()]
    used = {
        option
        for line in lines
        if "cellzoo check" in line
        for option in re.findall(r"(?<=\s)--[a-z]+", line.partition("cellzoo check")[2])
    }
    assert used == {"--registry", "--changed", "--format", "--links", "--data"} <= known


def test_publishing_needs_no_token():
    publish = JOBS["release/publish"]
    assert publish["environment"] == "pypi" and publish["needs"] == "build"
    assert [step["uses"].partition("@")[0] for step in publish["steps"]] == [
        "actions/download-artifact",
        "pypa/gh-action-pypi-publish",
    ]
