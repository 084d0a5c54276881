"""Runs of a workflow, created and prepared step by step; ``Workflow.run()`` does all of it by itself."""

from __future__ import annotations

import uuid

from jobmon.core import __version__
from jobmon.core.configuration import JobmonConfig
from jobmon.core.process_identity import this_process
from jobmon.core.requester import Requester, current_user
from jobmon.core.states import WorkflowRunEvent, WorkflowRunStatus
from jobmon.serializers.swarm import (
    RunEventsRequest,
    RunStateResponse,
    WorkflowRunRequest,
    WorkflowRunResponse,
)


class WorkflowRun:
    """A run of a workflow.

    Args:
        workflow_id: the workflow.
        requester: how to reach the server.
        workflow_run_heartbeat_interval: seconds between two signs of life.
        heartbeat_report_by_buffer: intervals without a sign of life after which the run counts as lost.
    """

    def __init__(
        self,
        workflow_id: int,
        requester: Requester | None = None,
        workflow_run_heartbeat_interval: float | None = None,
        heartbeat_report_by_buffer: float | None = None,
    ) -> None:
        config = JobmonConfig()
        self.workflow_id = workflow_id
        self.requester = requester or Requester.from_defaults(config)
        interval = workflow_run_heartbeat_interval or config.get_float("heartbeat", "workflow_run_interval")
        buffer = heartbeat_report_by_buffer or config.get_float("heartbeat", "report_by_buffer")
        self._next_report_seconds = interval * buffer
        self._run_key = uuid.uuid4().hex
        self._workflow_run_id: int | None = None
        self._status = WorkflowRunStatus.REGISTERED

    @property
    def workflow_run_id(self) -> int:
        """Id in the database.

        Raises:
            AttributeError: it is not bound.
        """
        if self._workflow_run_id is None:
            raise AttributeError(f"The run of workflow {self.workflow_id} is not bound; call bind() first.")
        return self._workflow_run_id

    @property
    def status(self) -> str:
        """Status letter, as far as this object knows."""
        return self._status.value

    def bind(self) -> int:
        """Create the run on the server; its id. Bound twice it stays the same.

        Raises:
            WorkflowNotResumable: another run of the workflow is alive.
        """
        if self._workflow_run_id is None:
            message = WorkflowRunRequest(
                self._run_key, current_user(), __version__, this_process(), self._next_report_seconds
            )
            path = f"/swarm/workflow/{self.workflow_id}/workflow_run"
            response = self.requester.send("POST", path, message, WorkflowRunResponse)
            self._workflow_run_id = response.workflow_run_id
            self._status = WorkflowRunStatus(response.status)
        return self._workflow_run_id

    def apply(self, *events: WorkflowRunEvent) -> str:
        """Have events happen to the run; its status letter afterwards.

        Raises:
            TransitionError: one is not allowed in the run's state.
        """
        message = RunEventsRequest(list(events))
        path = f"/swarm/workflow_run/{self.workflow_run_id}/events"
        self._status = WorkflowRunStatus(self.requester.send("POST", path, message, RunStateResponse).status)
        return self.status


class WorkflowRunFactory:
    """Makes a workflow ready for a run and creates it.

    Args:
        workflow_id: the workflow.
        requester: how to reach the server.
    """

    def __init__(self, workflow_id: int, requester: Requester | None = None) -> None:
        self.workflow_id = workflow_id
        self.requester = requester or Requester.from_defaults()

    def set_workflow_resume(
        self, reset_running_jobs: bool = True, resume_timeout: float = 300, force_cleanup: bool = False
    ) -> None:
        """Order the run that is alive to hand over and wait until it has.

        Args:
            reset_running_jobs: kill what runs; false leaves what can be adopted.
            resume_timeout: seconds to wait.
            force_cleanup: then count attempts that were ordered to end as ended.

        Raises:
            WorkflowNotResumable: something is still alive after that time.
        """
        from jobmon.swarm.resume import prepare_resume

        prepare_resume(self.requester, self.workflow_id, reset_running_jobs, resume_timeout, force_cleanup)

    wait_for_workflow_resume = set_workflow_resume

    def create_workflow_run(
        self,
        workflow_run_heartbeat_interval: float | None = None,
        heartbeat_report_by_buffer: float | None = None,
    ) -> WorkflowRun:
        """A new run, bound.

        Raises:
            WorkflowNotResumable: another run is alive.
        """
        run = WorkflowRun(
            self.workflow_id, self.requester, workflow_run_heartbeat_interval, heartbeat_report_by_buffer
        )
        run.bind()
        return run
