"""The controller: runs one workflow, from any host: a script, a thread, a notebook, a process of its own.

Theory of operation
-------------------
The controller has a thread with an asyncio loop. Three things happen there. The *turn* (:mod:`jobmon.swarm.turns`)
collects what the clusters reported and what became ready, and tells and asks the server in one request (``sync``); only
after the answer is a downstream task launched, so nothing runs before its upstreams' success is recorded. The
*heartbeat* keeps the run alive. The *feed* long-polls for what others change: an order to stop or to start nothing
more, a limit, a task set by hand (both in :mod:`jobmon.swarm.beside`). A turn is taken at once while slots stand empty,
and a little later while the cluster is busy, so that many small tasks share a request.

All decisions are in :mod:`jobmon.swarm.state`; what is lost here with the process is rebuilt from the server.
"""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from jobmon.core.cluster import Cluster
from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import JobmonError, WorkflowRunStateError
from jobmon.core.local_server import LocalServerFiles
from jobmon.core.requester import Requester, current_user
from jobmon.core.states import TaskStatus, WorkflowRunEvent, WorkflowRunStatus
from jobmon.distributor.attempts import ClusterAttempts
from jobmon.distributor.local import LocalAttempts
from jobmon.serializers.swarm import LiveInstance, TaskResourcesRow, WorkflowMetadataResponse
from jobmon.swarm.batch_clusters import batch_attempts
from jobmon.swarm.beside import Beside
from jobmon.swarm.channel import Channel
from jobmon.swarm.gateway import Gateway
from jobmon.swarm.outcome import Progress, RunOptions, RunOutcome
from jobmon.swarm.resources import ResourceRequests, TaskHooks
from jobmon.swarm.situation import Situation
from jobmon.swarm.state import SwarmState
from jobmon.swarm.turns import Turns

__all__ = ["Controller", "Progress", "RunOptions", "RunOutcome", "TaskHooks", "log_directory"]


class _Prepared(NamedTuple):
    """What a run needs before its loop begins."""

    metadata: WorkflowMetadataResponse
    state: SwarmState
    resources: dict[int, TaskResourcesRow]


class Controller:
    """Runs one workflow.

    Args:
        requester: the server.
        workflow_id: a workflow that is registered completely.
        options: limits and intervals.
        hooks: callables of the script, which the server cannot know.
        on_progress: called from the controller's thread, a few times a second.
        config: configuration; by default the one that applies to this process.
        is_host_alive: asked about once a second; when it says no, the run ends with DistributorNotAlive.
    """

    def __init__(
        self,
        requester: Requester,
        workflow_id: int,
        options: RunOptions,
        hooks: TaskHooks | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        config: JobmonConfig | None = None,
        is_host_alive: Callable[[], bool] | None = None,
    ) -> None:
        self.workflow_id = workflow_id
        self._config = config or JobmonConfig()
        self._options = options
        self._on_progress = on_progress
        self._gateway = Gateway(requester, workflow_id)
        self._resources = ResourceRequests(self._gateway, hooks or TaskHooks(), self._cluster)
        self._clusters: dict[str, Cluster] = {}
        self._attempts: dict[str, ClusterAttempts] = {}
        self._is_host_alive = is_host_alive
        self._run_key = uuid.uuid4().hex
        self._situation = Situation()
        self._next_batch_num = 0
        self._started_at = self._ended_at = 0.0
        self._state: SwarmState | None = None
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        self._error: tuple[BaseException, TracebackType | None] | None = None

    # -- for the host -----------------------------------------------------------------------------------
    @property
    def workflow_run_id(self) -> int:
        """Id of the run; 0 before ``start``."""
        return self._gateway.workflow_run_id

    def start(self, workflow_run_id: int | None = None) -> None:
        """Create the run, or take one that was created; then work in a thread of its own.

        Args:
            workflow_run_id: a run no controller works on yet; without it a run is created.

        Raises:
            WorkflowNotResumable: another run of the workflow is alive.
            WorkflowAlreadyComplete: every task is done.
            WorkflowRunStateError: the run cannot be taken: another controller did, or it is over.
            UnknownClusterError: a cluster has no plugin here.
        """
        self._started_at = time.monotonic()
        if workflow_run_id is None:
            begun = self._gateway.create_run(
                self._run_key, current_user(), self._next_report_seconds, self._options.notify
            )
        else:
            begun = self._gateway.take_run(workflow_run_id, self._run_key, self._next_report_seconds)
        self._situation.obey(begun.status)
        self._situation.cursor, self._next_batch_num = begun.cursor, begun.next_batch_num
        try:
            prepared = self._prepare()
        except BaseException as error:
            self._abandon(error)
            raise
        self._thread = threading.Thread(
            target=self._work, args=(prepared,), name=f"jobmon-run-{self.workflow_run_id}", daemon=True
        )
        self._thread.start()

    def _abandon(self, error: BaseException) -> None:
        """Have the server know that a run ends before it began."""
        is_created = self._situation.status is WorkflowRunStatus.LINKING
        event = WorkflowRunEvent.ABORT if is_created else WorkflowRunEvent.FAIL
        try:
            self._gateway.run_events([event])
        except JobmonError as second:
            error.add_note(
                f"The server could not be told that workflow run {self.workflow_run_id} ended: {second}"
            )

    def join(self, timeout_seconds: float | None = None) -> bool:
        """Wait for the end of the run; whether it has ended."""
        return self._ended.wait(timeout_seconds)

    def request_stop(self) -> None:
        """End the run in good order: what runs is ended, then the run is STOPPED."""
        self._situation.is_stop_requested = True
        self._situation.rouse()

    def abort(self) -> None:
        """End the run now: what runs is killed; the server learns as much as can be said in a moment."""
        self._situation.is_aborted = self._situation.is_stop_requested = True
        self._situation.rouse()

    @property
    def error(self) -> BaseException | None:
        """What ended the run, where an error did."""
        return None if self._error is None else self._error[0]

    def outcome(self) -> RunOutcome:
        """How the run ended.

        Raises:
            JobmonError: what ended it, where an error did.
        """
        if not self._ended.is_set():
            raise WorkflowRunStateError(f"Workflow run {self.workflow_run_id} has not ended.")
        if self._error is not None:
            error, traceback = self._error
            raise error.with_traceback(traceback)
        outcome = self.last_known()
        assert outcome is not None
        return outcome

    def last_known(self) -> RunOutcome | None:
        """What is known of the run and its tasks, whether it ended well or not; ``None`` before it began."""
        state = self._state
        if state is None:
            return None
        return RunOutcome(
            final_status=self._situation.status.value,
            elapsed_time=(self._ended_at or time.monotonic()) - self._started_at,
            total_tasks=len(state),
            done_count=state.num_done,
            failed_count=state.num_failed,
            num_previously_complete=state.num_previously_done,
            task_final_statuses={
                task_id: chr(byte) for task_id, byte in zip(state.task_ids, state.status, strict=True)
            },
            done_task_ids=state.tasks_in(TaskStatus.DONE),
            failed_task_ids=state.tasks_in(TaskStatus.ERROR_FATAL),
        )

    # -- getting ready ----------------------------------------------------------------------------------
    @property
    def _next_report_seconds(self) -> float:
        return self._options.heartbeat_interval * self._options.report_by_buffer

    def _cluster(self, name: str) -> Cluster:
        if name not in self._clusters:
            self._clusters[name] = Cluster.get_cluster(name, self._gateway.requester)
        return self._clusters[name]

    def _prepare(self) -> _Prepared:
        """Read the workflow, get its clusters ready, begin."""
        gateway = self._gateway
        reset = gateway.reset_tasks(self._options.adopt, self._options.increase_resources)
        self._resources.increase(reset.to_increase)
        metadata = gateway.metadata()
        limits = {each.id: each.max_concurrently_running for each in metadata.arrays}
        state = SwarmState(gateway.tasks(), metadata.max_concurrently_running, limits)
        self._state = state
        live = gateway.live_attempts() if self._options.adopt else []
        # what is adopted may be on a cluster that the tasks are not for any more
        names = {row.cluster_name for row in metadata.task_resources} | {each.cluster_name for each in live}
        for name in names:
            self._attempts[name] = self._attempts_on(self._cluster(name), metadata)
        self._adopt(live)
        for attempts in self._attempts.values():
            attempts.note_limits(metadata.max_concurrently_running, limits)
        answer = gateway.run_events(
            [
                WorkflowRunEvent.BIND,
                WorkflowRunEvent.INSTANTIATE,
                WorkflowRunEvent.LAUNCH,
                WorkflowRunEvent.START,
            ]
        )
        self._situation.obey(answer.status, answer.is_draining)
        return _Prepared(metadata, state, {row.id: row for row in metadata.task_resources})

    def _attempts_on(self, cluster: Cluster, workflow: WorkflowMetadataResponse) -> ClusterAttempts:
        plugin = cluster.get_distributor()
        if not plugin.capabilities.runs_commands:
            return batch_attempts(cluster, plugin, self._gateway, self._run_key, workflow, self._config)
        return LocalAttempts(
            plugin,
            self.workflow_id,
            self.workflow_run_id,
            self._run_key,
            log_directory(self._config, self.workflow_id),
            workflow.working_dir,
            self._config.get_float("worker_node", "command_interrupt_timeout"),
        )

    def _adopt(self, live: Sequence[LiveInstance]) -> None:
        """Take over what an earlier controller left on the clusters."""
        self._situation.task_ids.update({each.task_instance_id: each.task_id for each in live})
        for name, attempts in self._attempts.items():
            attempts.adopt([each for each in live if each.cluster_name == name])

    # -- the thread -------------------------------------------------------------------------------------
    def _work(self, prepared: _Prepared) -> None:
        try:
            with asyncio.Runner() as runner:
                runner.run(self._main(prepared))
        except BaseException as error:  # noqa: BLE001 - outermost: kept for the host, with its traceback
            self._error = (error, error.__traceback__)
        finally:
            self._ended_at = time.monotonic()
            self._ended.set()

    async def _main(self, prepared: _Prepared) -> None:
        situation = self._situation
        situation.attach()
        self._resources.load(prepared.resources, prepared.state)
        turns = Turns(
            self._gateway,
            self._options,
            situation,
            prepared.state,
            self._resources,
            self._attempts,
            {each.id: each.name for each in prepared.metadata.arrays},
            self._next_batch_num,
            self._started_at,
        )
        beside = Beside(
            self._gateway,
            self._options,
            situation,
            prepared.state,
            self._attempts,
            self._started_at,
            self._on_progress,
            self._is_host_alive,
        )
        sync = Channel("jobmon-sync")
        tasks, channels = beside.begin()
        try:
            await turns.take(sync)
        finally:
            for task in tasks:
                task.cancel()
            for attempts in self._attempts.values():
                attempts.close()
            for channel in (sync, *channels):
                channel.close()
            beside.publish()


def log_directory(config: JobmonConfig, workflow_id: int) -> Path:
    """Where the logs of a workflow go when its tasks do not say."""
    configured = str(config.get("task", "log_directory"))
    base = Path(configured).expanduser() if configured else LocalServerFiles.from_config(config).task_logs
    return base / f"workflow_{workflow_id}"
