"""Runs of a workflow, created and prepared step by step; ``Workflow.run()`` does all of it by itself."""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence

from jobmon.core import __version__
from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import DistributorStartupTimeout, InvalidStateTransition
from jobmon.core.process_identity import this_process
from jobmon.core.requester import Requester, current_user
from jobmon.core.states import WORKFLOW_RUN, WorkflowRunEvent, WorkflowRunStatus
from jobmon.serializers.monitor import ResetWorkflowRequest, ResetWorkflowResponse
from jobmon.serializers.swarm import (
    ResumableResponse,
    RunEventsRequest,
    RunStateResponse,
    RunWorkflowResponse,
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
        notify: whom the server is to tell of the end of the run.
    """

    def __init__(
        self,
        workflow_id: int,
        requester: Requester | None = None,
        workflow_run_heartbeat_interval: float | None = None,
        heartbeat_report_by_buffer: float | None = None,
        notify: Sequence[str] = (),
    ) -> None:
        config = JobmonConfig()
        self.workflow_id = workflow_id
        self.requester = requester or Requester.from_defaults(config)
        interval = workflow_run_heartbeat_interval or config.get_float("heartbeat", "workflow_run_interval")
        buffer = heartbeat_report_by_buffer or config.get_float("heartbeat", "report_by_buffer")
        self._next_report_seconds = interval * buffer
        self._notify = list(notify)
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
                self._run_key,
                current_user(),
                __version__,
                this_process(),
                self._next_report_seconds,
                self._notify,
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

    def _update_status(self, status: str) -> None:
        """Bring the run into a state by the event that leads there; nothing when it is there already.

        Raises:
            InvalidStateTransition: no event leads there from the state it is in.
        """
        wanted = WorkflowRunStatus(status)
        path = f"/swarm/workflow_run/{self.workflow_run_id}"
        # Others move a run on as well: the controller that took it, who stops it.
        self._status = WorkflowRunStatus(self.requester.send("GET", path, None, RunWorkflowResponse).status)
        if wanted is self._status:
            return
        events = [event for event, after in WORKFLOW_RUN[self._status].items() if after is wanted]
        if not events:
            raise InvalidStateTransition(
                "Workflow run", self.workflow_run_id, self._status.name, f"to {wanted.name}"
            )
        self.apply(events[0])


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

    def force_cleanup_kill_self(self) -> int:
        """Count attempts that were ordered to end as ended, whether they are or not; how many there were."""
        from jobmon.swarm.resume import force_cleanup

        return force_cleanup(self.requester, self.workflow_id)

    def reset_task_statuses(self, reset_if_running: bool = True, force_cleanup: bool = False) -> None:
        """Make every task that is not done ready to run again.

        Args:
            reset_if_running: also where attempts of them may be running, which is refused; false leaves all tasks to
                the next run then, which adopts what lives and resets the rest.
            force_cleanup: first count attempts that were ordered to end as ended.

        Raises:
            NotAllowedError: the workflow belongs to somebody else.
            WorkflowRunStateError: a run is alive, or attempts may be.
        """
        if force_cleanup:
            self.force_cleanup_kill_self()
        if not reset_if_running:
            path = f"/swarm/workflow/{self.workflow_id}/is_resumable"
            answer = self.requester.send("GET", path, None, ResumableResponse, params={"cold": "true"})
            if answer.pending:
                return
        path = f"/monitor/workflow/{self.workflow_id}/reset"
        self.requester.send("PUT", path, ResetWorkflowRequest(True), ResetWorkflowResponse)

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


class DistributorContext:
    """The distributor of a run, as scripts hold it while they run a workflow step by step.

    There is no distributor process here: the controller, which :func:`jobmon.client.swarm.run_workflow` starts, does its
    work. The context is alive while it is open, so that what scripts ask of it stays true.

    Args:
        cluster_name: accepted for scripts; the tasks say where they run.
        workflow_run_id: the run.
        timeout: accepted for scripts; nothing has to start.
    """

    def __init__(self, cluster_name: str, workflow_run_id: int, timeout: float = 180) -> None:
        self.cluster_name, self.workflow_run_id, self.timeout = cluster_name, workflow_run_id, timeout
        self._is_open = False

    def __enter__(self) -> DistributorContext:
        self._is_open = True
        return self

    def __exit__(self, *_: object) -> None:
        self._is_open = False

    def alive(self) -> bool:
        """Whether the context is open."""
        return self._is_open

    def wait_for_startup_signal(self, timeout: float = 180) -> None:
        """Return at once: there is nothing to wait for.

        Args:
            timeout: accepted for scripts.

        Raises:
            DistributorStartupTimeout: the context is not open.
        """
        if not self._is_open:
            raise DistributorStartupTimeout(
                "Open the context first: with DistributorContext(...) as distributor."
            )

    @staticmethod
    def derive_jobmon_command_from_env() -> str | None:
        """How jobs start Jobmon's wrapper in the container image that ``IMGPATH`` names; ``None`` without one."""
        image = os.environ.get("IMGPATH")
        return f"singularity run --app jobmon_command {image}" if image else None
