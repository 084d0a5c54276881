"""A process that was to host a run and does not come up: who detaches is told, and no run is left behind."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from jobmon.client.following import follow, has_ended, read_progress, result_of
from jobmon.client.tool import Tool
from jobmon.client.workflow import Workflow
from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import (
    DistributorNotAlive,
    DistributorStartupTimeout,
    DistributorUnexpected,
    WorkflowRunStateError,
    WorkflowTimeoutError,
)
from jobmon.core.process_identity import ProcessIdentity, this_process
from jobmon.core.requester import Requester
from jobmon.core.states import WorkflowRunEvent
from jobmon.serializers.swarm import TakeRunRequest, WorkflowRunResponse
from jobmon.swarm.host import HostAnswer, HostRequest, RunOptions, error_of


@pytest.fixture
def workflow(app_requester: Requester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workflow:
    monkeypatch.setenv("JOBMON__TASK__LOG_DIRECTORY", str(tmp_path / "logs"))
    monkeypatch.setenv("JOBMON__PROGRESS__ENABLED", "false")
    tool = Tool("detached", requester=app_requester)
    workflow = tool.create_workflow(default_cluster_name="dummy")
    workflow.add_task(tool.get_task_template("s", "true {n}", ["n"]).create_task(n=1))
    return workflow


def interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Have a shell script take the place of Python."""
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o700)
    monkeypatch.setattr("jobmon.swarm.host.sys.executable", str(path))


def status(workflow: Workflow) -> str:
    return read_progress(workflow.requester, workflow.workflow_id).run_status


def test_it_ends_without_a_word(workflow: Workflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message shows the end of its log."""
    interpreter(tmp_path, monkeypatch, "echo no such module >&2; exit 1")
    with pytest.raises(DistributorUnexpected, match="no such module"):
        workflow.run(detach=True)
    assert status(workflow) == "A"


def test_it_hangs(workflow: Workflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is killed when its time is over."""
    interpreter(tmp_path, monkeypatch, f"echo $$ > {tmp_path}/pid; exec sleep 60")
    begun = time.monotonic()
    with pytest.raises(DistributorStartupTimeout, match=r"controller\.log"):
        workflow.run(detach=True, distributor_startup_timeout=0.7)
    assert time.monotonic() - begun < 20
    assert status(workflow) == "A"
    assert not os.path.exists(f"/proc/{(tmp_path / 'pid').read_text().strip()}")


def test_errors_of_the_process_keep_their_class() -> None:
    """Those of Jobmon; any other is named. The token is not shown."""
    assert isinstance(error_of(HostAnswer("WorkflowRunStateError", "x")), WorkflowRunStateError)
    for name in ("KeyError", "InvalidStateTransition", "JobmonConfig"):
        assert str(error_of(HostAnswer(name, "x"))) == f"{name}: x"
    assert "secret" not in repr(HostRequest(1, 2, RunOptions(), "http://x", "secret"))


def take(workflow: Workflow, run_id: int, controller: ProcessIdentity, seconds: float) -> None:
    message = TakeRunRequest(f"taker of {run_id}", controller, seconds)
    workflow.requester.send("POST", f"/swarm/workflow_run/{run_id}/take", message, WorkflowRunResponse)


def test_waiting(workflow: Workflow) -> None:
    """For a run that goes on, whose controller died here or fell silent elsewhere, that has ended, that never was."""
    from jobmon.client.workflow_run import WorkflowRunFactory

    workflow.bind()
    requester, workflow_id = workflow.requester, workflow.workflow_id
    with pytest.raises(WorkflowRunStateError, match=f"jobmon workflow run {workflow_id}"):
        follow(requester, workflow_id)
    shown: list[str] = []
    for controller, seconds in (
        (ProcessIdentity(this_process().hostname, this_process().domain, 2**22 - 1, 1), 90.0),
        (ProcessIdentity("elsewhere", "", 1, 1), -1000.0),
    ):
        run = WorkflowRunFactory(workflow_id, requester).create_workflow_run()
        shown.clear()
        with pytest.raises(WorkflowTimeoutError, match="0 of 1 tasks are done"):
            follow(requester, workflow_id, 0.2, lambda progress: shown.append(progress.status))
        assert set(shown) == {"L"}
        take(workflow, run.workflow_run_id, controller, seconds)
        with pytest.raises(DistributorNotAlive, match=f"process {controller.pid} on {controller.hostname}"):
            follow(requester, workflow_id)
        run.apply(WorkflowRunEvent.FAIL)
        ended = follow(requester, workflow_id, 0)
        assert has_ended(ended)
        result = result_of(requester, ended)
        assert (str(result), result.total_tasks, result.done_count) == ("E", 1, 0)
    assert result.wait() is result


def test_the_configuration_of_a_daemon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is started from inside a task does not bear its marks, and reads the same configuration."""
    from jobmon.core.local_server import environment_of_daemons

    path = tmp_path / "c.yaml"
    path.write_text("progress: {enabled: false}")
    monkeypatch.setenv("JOBMON_TASK_INSTANCE_ID", "5")
    monkeypatch.setenv("OTHER", "kept")
    environment = environment_of_daemons(JobmonConfig(str(path)))
    assert "JOBMON_TASK_INSTANCE_ID" not in environment
    assert environment["JOBMON__CONFIG_FILE"] == str(path)
    assert environment["OTHER"] == "kept"
