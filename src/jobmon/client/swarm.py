"""Running a run that was created step by step; ``Workflow.run()`` does all of it by itself.

::

    factory = WorkflowRunFactory(workflow.workflow_id)
    run = factory.create_workflow_run()
    with DistributorContext("multiprocess", run.workflow_run_id, 180) as distributor:
        result = run_workflow(workflow, run.workflow_run_id, distributor.alive)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobmon.core.configuration import JobmonConfig
from jobmon.core.requester import Requester
from jobmon.core.states import WorkflowRunStatus
from jobmon.swarm.outcome import RunOutcome as OrchestratorResult

if TYPE_CHECKING:
    from jobmon.client.workflow import Workflow
    from jobmon.swarm.controller import RunOptions, TaskHooks

__all__ = ["OrchestratorResult", "WorkflowRunConfig", "resume_workflow_run", "run_workflow"]

NEVER = 10**9


@dataclass
class WorkflowRunConfig:
    """How a run is to be run.

    Attributes:
        heartbeat_interval: seconds between two signs of life; ``None``: as configured.
        heartbeat_report_by_buffer: intervals without one after which the run counts as lost; ``None``: as configured.
        fail_fast: end at the first task that fails for good.
        wedged_workflow_sync_interval: seconds between two comparisons of all tasks with the server.
        fail_after_n_executions: raise WorkflowTestError when so many tasks have finished.
    """

    heartbeat_interval: float | None = None
    heartbeat_report_by_buffer: float | None = None
    fail_fast: bool = False
    wedged_workflow_sync_interval: float = 600
    fail_after_n_executions: int = NEVER

    @classmethod
    def from_defaults(cls) -> WorkflowRunConfig:
        """As the configuration says."""
        config = JobmonConfig()
        return cls(
            heartbeat_interval=config.get_float("heartbeat", "workflow_run_interval"),
            heartbeat_report_by_buffer=config.get_float("heartbeat", "report_by_buffer"),
        )


def run_workflow(
    workflow: Workflow,
    workflow_run_id: int,
    distributor_alive: Callable[[], bool],
    status: str = WorkflowRunStatus.BOUND.value,
    config: WorkflowRunConfig | None = None,
    timeout: float = 36000,
    requester: Requester | None = None,
) -> OrchestratorResult:
    """Run a bound workflow as the run that was created for it.

    Args:
        workflow: a bound workflow.
        workflow_run_id: a run of it that no controller works on yet.
        distributor_alive: asked about once a second; when it says no, the run ends.
        status: accepted for scripts; the server knows it.
        config: how to run it; by default as configured.
        timeout: seconds it may take.
        requester: how to reach the server; by default that of the workflow.

    Raises:
        WorkflowRunStateError: the run is worked on already, or over.
        DistributorNotAlive: ``distributor_alive`` said no.
        WorkflowTimeoutError: it took too long.
        WorkflowTestError: ``fail_after_n_executions`` was met.
    """
    from jobmon.client.run import hooks_of

    return _run(
        requester or workflow.requester,
        (workflow.workflow_id, workflow_run_id),
        distributor_alive,
        _options(config, timeout, adopt=False),
        hooks_of(workflow),
    )


def resume_workflow_run(
    workflow_id: int,
    workflow_run_id: int,
    distributor_alive: Callable[[], bool],
    status: str = WorkflowRunStatus.BOUND.value,
    config: WorkflowRunConfig | None = None,
    timeout: float = 36000,
    requester: Requester | None = None,
) -> OrchestratorResult:
    """Run what is not done of a workflow as the run that was created for it, without the script that defines it.

    Args:
        workflow_id: the workflow.
        workflow_run_id: a run of it that no controller works on yet.
        distributor_alive: asked about once a second; when it says no, the run ends.
        status: accepted for scripts; the server knows it.
        config: how to run it; by default as configured.
        timeout: seconds it may take.
        requester: how to reach the server; by default as configured.

    Raises:
        JobmonError: what :func:`run_workflow` raises.
    """
    return _run(
        requester or Requester.from_defaults(),
        (workflow_id, workflow_run_id),
        distributor_alive,
        _options(config, timeout, adopt=True),
        None,
    )


def _options(config: WorkflowRunConfig | None, timeout: float, adopt: bool) -> RunOptions:
    from jobmon.swarm.controller import RunOptions

    given, configured = config or WorkflowRunConfig(), WorkflowRunConfig.from_defaults()
    limit = given.fail_after_n_executions
    return RunOptions(
        fail_fast=given.fail_fast,
        seconds_until_timeout=timeout,
        heartbeat_interval=given.heartbeat_interval or configured.heartbeat_interval or 0,
        report_by_buffer=given.heartbeat_report_by_buffer or configured.heartbeat_report_by_buffer or 0,
        adopt=adopt,
        reconcile_seconds=given.wedged_workflow_sync_interval,
        fail_after_n_executions=limit if limit < NEVER else None,
    )


def _run(
    requester: Requester,
    ids: tuple[int, int],
    distributor_alive: Callable[[], bool],
    options: RunOptions,
    hooks: TaskHooks | None,
) -> OrchestratorResult:
    from jobmon.client.progress import SilentDisplay
    from jobmon.client.run import wait_for
    from jobmon.swarm.controller import Controller

    workflow_id, workflow_run_id = ids
    controller = Controller(requester, workflow_id, options, hooks, is_host_alive=distributor_alive)
    controller.start(workflow_run_id)
    wait_for(controller, SilentDisplay())
    return controller.outcome()
