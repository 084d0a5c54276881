"""A run created and run step by step, as scripts do that do not call ``Workflow.run()``."""

from __future__ import annotations

import pytest

from jobmon.client.following import read_progress
from jobmon.client.swarm import WorkflowRunConfig, resume_workflow_run, run_workflow
from jobmon.client.tool import Tool
from jobmon.client.workflow import DistributorContext, Workflow
from jobmon.client.workflow_run import WorkflowRun, WorkflowRunFactory
from jobmon.core.exceptions import (
    DistributorNotAlive,
    DistributorStartupTimeout,
    InvalidStateTransition,
    NotAllowedError,
    WorkflowNotResumable,
    WorkflowRunStateError,
    WorkflowTestError,
)
from jobmon.core.process_identity import this_process
from jobmon.core.requester import Requester
from jobmon.serializers.swarm import TakeRunRequest, WorkflowRunResponse


@pytest.fixture
def workflow(app_requester: Requester) -> Workflow:
    """Four tasks of which the second fails, one behind the other two by two."""
    tool = Tool("steps", requester=app_requester)
    workflow = tool.create_workflow(default_cluster_name="multiprocess", default_max_attempts=1)
    template = tool.get_task_template("step", "{c}; : {n}", ["n"], ["c"])
    tasks = [template.create_task(n=n, c="exit 3" if n == 1 else "true") for n in range(2)]
    tasks += [template.create_task(n=n + 2, c="true", upstream_tasks=[tasks[n]]) for n in range(2)]
    workflow.add_tasks(tasks)
    workflow.bind()
    return workflow


@pytest.fixture
def factory(workflow: Workflow) -> WorkflowRunFactory:
    return WorkflowRunFactory(workflow.workflow_id, workflow.requester)


@pytest.fixture
def run(factory: WorkflowRunFactory) -> WorkflowRun:
    """A run that was created and that nobody works on."""
    return factory.create_workflow_run()


def alive() -> bool:
    return True


def statuses(workflow: Workflow) -> str:
    return "".join(task.final_status for task in workflow.tasks.values())


def test_the_whole_way(workflow: Workflow, run: WorkflowRun, factory: WorkflowRunFactory) -> None:
    """Created, bound, run under a distributor; then resumed the same way with one task left to mend."""
    assert run.status == "L"
    run._update_status("B")
    with DistributorContext("multiprocess", run.workflow_run_id, 180) as distributor:
        distributor.wait_for_startup_signal()
        assert distributor.alive()
        config = WorkflowRunConfig.from_defaults()
        result = run_workflow(workflow, run.workflow_run_id, distributor.alive, "B", config)
    assert not distributor.alive()
    assert (result.final_status, result.total_tasks, result.done_count, result.failed_count) == ("E", 4, 2, 1)
    assert result.num_previously_complete == 0
    assert sorted(result.task_final_statuses.values()) == ["D", "D", "F", "G"]
    assert len(result.done_task_ids) == 2

    factory.set_workflow_resume(resume_timeout=5)
    factory.wait_for_workflow_resume(resume_timeout=5)
    factory.reset_task_statuses()
    assert factory.force_cleanup_kill_self() == 0
    second = factory.create_workflow_run(heartbeat_report_by_buffer=5)
    result = resume_workflow_run(
        workflow.workflow_id, second.workflow_run_id, alive, requester=workflow.requester
    )
    assert (result.final_status, result.num_previously_complete, result.failed_count) == ("E", 2, 1)


def test_a_run_is_taken_once(workflow: Workflow, run: WorkflowRun) -> None:
    """By one controller, however often it asks; another one is refused, and so is another user."""
    path = f"/swarm/workflow_run/{run.workflow_run_id}/take"

    def take(key: str) -> WorkflowRunResponse:
        message = TakeRunRequest(key, this_process(), 90)
        return workflow.requester.send("POST", path, message, WorkflowRunResponse)

    assert take("mine") == take("mine")
    assert take("mine").status == "I"
    with pytest.raises(WorkflowRunStateError, match="before it begins"):
        take("another")
    with pytest.raises(WorkflowRunStateError):
        run_workflow(workflow, run.workflow_run_id, alive)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jobmon.core.requester._cached_user", "somebody")
        with pytest.raises(NotAllowedError):
            take("mine")
    run._update_status("E")


def test_another_run_is_not_created_meanwhile(run: WorkflowRun, factory: WorkflowRunFactory) -> None:
    with pytest.raises(WorkflowNotResumable):
        factory.create_workflow_run()
    with pytest.raises(InvalidStateTransition, match="DONE"):
        run._update_status("D")
    run._update_status("L")
    run._update_status("A")
    assert factory.create_workflow_run().workflow_run_id != run.workflow_run_id


@pytest.mark.parametrize("answer", [False, OSError("gone")])
def test_the_distributor_dies(workflow: Workflow, run: WorkflowRun, answer: object) -> None:
    """Then the run ends as failed; so it does when asking raises an error."""

    def is_alive() -> bool:
        if isinstance(answer, OSError):
            raise answer
        return False

    workflow.set_task_template_max_concurrency_limit("step", 0)  # nothing starts
    with pytest.raises(
        DistributorNotAlive, match=r"not alive any more; the run ends\.( \(OSError: gone\))?$"
    ):
        run_workflow(workflow, run.workflow_run_id, is_alive)
    assert read_progress(workflow.requester, workflow.workflow_id).run_status == "E"
    assert "was not running; its status is FAILED" in workflow.stop()
    assert "was not running" in workflow.stop(drain=True)


def test_the_context_has_to_be_opened() -> None:
    with pytest.raises(DistributorStartupTimeout):
        DistributorContext("multiprocess", 1, 5).wait_for_startup_signal()


def test_the_image_of_a_site(monkeypatch: pytest.MonkeyPatch) -> None:
    assert DistributorContext.derive_jobmon_command_from_env() is None
    monkeypatch.setenv("IMGPATH", "/images/jobmon.sif")
    assert DistributorContext.derive_jobmon_command_from_env() == (
        "singularity run --app jobmon_command /images/jobmon.sif"
    )


@pytest.fixture
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBMON__PROGRESS__ENABLED", "false")


@pytest.mark.usefixtures("_quiet")
def test_a_run_that_fails_on_purpose(workflow: Workflow, run: WorkflowRun) -> None:
    """After so many tasks, by either hook; what became of the tasks is known all the same."""
    config = WorkflowRunConfig(fail_after_n_executions=1)
    with pytest.raises(WorkflowTestError, match="on purpose"):
        run_workflow(workflow, run.workflow_run_id, alive, config=config)
    workflow._fail_after_n_executions = 1
    with pytest.raises(WorkflowTestError):
        workflow.run(resume=True)
    assert set(statuses(workflow)) & {"D", "F"}
    assert workflow.last_workflow_run_id == run.workflow_run_id + 1
    workflow._fail_after_n_executions = None
    assert workflow.run(resume=True) == "E"
    assert sorted(statuses(workflow)) == ["D", "D", "F", "G"]
    assert len(workflow.task_errors) == 1
    assert workflow._num_previously_completed + workflow._num_newly_completed == 2


@pytest.mark.usefixtures("_quiet")
def test_registration_is_silent_where_progress_is_switched_off(
    workflow: Workflow, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobmon.client.progress.QUIET_SECONDS", 0)
    workflow._is_current = False
    workflow.bind()
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("JOBMON__PROGRESS__ENABLED", "true")
    workflow._is_current = False
    workflow.bind()
    assert "registering" in capsys.readouterr().err
