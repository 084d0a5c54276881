"""What a controller asks of the server, as plain blocking calls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import quote

from jobmon.core import __version__
from jobmon.core.access_token import new_token, token_hash
from jobmon.core.exceptions import InvalidResourceScale
from jobmon.core.process_identity import this_process
from jobmon.core.requester import Requester
from jobmon.core.resources import scales_from_json
from jobmon.core.states import WorkflowRunEvent
from jobmon.distributor.node_access import WorkerToken
from jobmon.serializers.define import TaskResourcesItem, TaskResourcesRequest, TaskResourcesResponse
from jobmon.serializers.swarm import (
    BadNode,
    BadNodesResponse,
    FeedResponse,
    HeartbeatRequest,
    LiveAttemptsResponse,
    LiveInstance,
    ResetTasksRequest,
    ResetTasksResponse,
    RunEventsRequest,
    RunStateResponse,
    RunWorkflowResponse,
    SerializeSwarmTask,
    SyncRequest,
    SyncResponse,
    TakeRunRequest,
    WorkerTokenRequest,
    WorkerTokenResponse,
    WorkflowMetadataResponse,
    WorkflowRunRequest,
    WorkflowRunResponse,
)

PAGE_TASKS = 50_000


class Gateway:
    """The server, as one run sees it.

    Args:
        requester: sends the requests.
        workflow_id: the workflow.
    """

    def __init__(self, requester: Requester, workflow_id: int) -> None:
        self.requester, self.workflow_id = requester, workflow_id
        self.workflow_run_id = 0

    @property
    def _run(self) -> str:
        return f"/swarm/workflow_run/{self.workflow_run_id}"

    @property
    def _workflow(self) -> str:
        return f"/swarm/workflow/{self.workflow_id}"

    def create_run(
        self, run_key: str, user: str, next_report_increment: float, notify: Sequence[str] = ()
    ) -> WorkflowRunResponse:
        """Create the run of this controller."""
        message = WorkflowRunRequest(
            run_key, user, __version__, this_process(), next_report_increment, list(notify)
        )
        answer = self.requester.send("POST", f"{self._workflow}/workflow_run", message, WorkflowRunResponse)
        self.workflow_run_id = answer.workflow_run_id
        return answer

    def take_run(
        self, workflow_run_id: int, run_key: str, next_report_increment: float
    ) -> WorkflowRunResponse:
        """Take a run that was created for this controller."""
        message = TakeRunRequest(run_key, this_process(), next_report_increment)
        path = f"/swarm/workflow_run/{workflow_run_id}/take"
        answer = self.requester.send("POST", path, message, WorkflowRunResponse)
        self.workflow_run_id = answer.workflow_run_id
        return answer

    def make_worker_token(self) -> WorkerToken:
        """A token for the wrappers of this run's attempts. It is made here: the server learns what it must to know it."""
        token = new_token()
        message = WorkerTokenRequest(token_hash(token))
        answer = self.requester.send("POST", f"{self._run}/worker_token", message, WorkerTokenResponse)
        return WorkerToken(token, answer.lifetime_seconds)

    def reset_tasks(self, adopt: bool, increase_resources: bool = False) -> ResetTasksResponse:
        """Make the tasks ready for this run.

        Args:
            adopt: take over attempts that live.
            increase_resources: learn which tasks are to ask for more, since their latest attempt lacked resources.

        Raises:
            InvalidResourceScale: the resources of one of them grow by a function of the script; nothing was changed.
        """
        message = ResetTasksRequest(not adopt, increase_resources)
        answer = self.requester.send("POST", f"{self._run}/reset_tasks", message, ResetTasksResponse)
        if answer.unscalable is not None:
            try:
                scales_from_json(answer.unscalable.resource_scales)
            except InvalidResourceScale as error:
                raise InvalidResourceScale(
                    f"The resources of task {answer.unscalable.task_id}, which were not enough, cannot be increased. "
                    f"{error} Or resume it with the resources it had (--keep-resources)."
                ) from error
        return answer

    def metadata(self) -> WorkflowMetadataResponse:
        """The workflow without its tasks."""
        return self.requester.send("GET", f"{self._workflow}/metadata", None, WorkflowMetadataResponse)

    def tasks(self) -> Iterator[SerializeSwarmTask]:
        """All tasks, in pages."""
        after: int | None = 0
        while after is not None:
            params = {"after_task_id": after, "limit": PAGE_TASKS}
            page = self.requester.send(
                "GET",
                f"{self._workflow}/tasks",
                None,
                SerializeSwarmTask,
                params=params,
                timeout_seconds=120,
            )
            yield page
            after = page.next_task_id

    def live_attempts(self) -> list[LiveInstance]:
        """The attempts of the run that live: those it took over."""
        path = f"{self._run}/live_attempts"
        return self.requester.send("GET", path, None, LiveAttemptsResponse).attempts

    def bad_nodes(self, cluster_name: str) -> list[BadNode]:
        """Nodes of a cluster that failed lately."""
        path = f"/swarm/cluster/{quote(cluster_name, safe='')}/bad_nodes"
        return self.requester.send("GET", path, None, BadNodesResponse).nodes

    def run_events(self, events: Sequence[WorkflowRunEvent]) -> RunStateResponse:
        """Tell what happened to the run."""
        return self.requester.send(
            "POST", f"{self._run}/events", RunEventsRequest(list(events)), RunStateResponse
        )

    def heartbeat(self, next_report_increment: float) -> RunStateResponse:
        """Give a sign of life."""
        message = HeartbeatRequest(next_report_increment, covers_instances=True)
        return self.requester.send("POST", f"{self._run}/heartbeat", message, RunStateResponse)

    def sync(self, message: SyncRequest) -> SyncResponse:
        """Tell events, ask for batches."""
        return self.requester.send("POST", f"{self._run}/sync", message, SyncResponse, timeout_seconds=60)

    def feed(self, after: int, known_status: str, wait_seconds: float) -> FeedResponse:
        """Wait for what others change."""
        return self.requester.send(
            "GET",
            f"{self._run}/feed",
            None,
            FeedResponse,
            params={"after": after, "known_status": known_status, "wait_seconds": wait_seconds},
            timeout_seconds=wait_seconds + 15,
        )

    def task_resources(self, items: Sequence[TaskResourcesItem]) -> list[int]:
        """Ids of resources, stored if they are new."""
        message = TaskResourcesRequest(list(items))
        answer = self.requester.send("POST", "/define/task_resources", message, TaskResourcesResponse)
        return answer.task_resources_ids


def run_workflow_id(requester: Requester, workflow_run_id: int) -> int:
    """The workflow of a run.

    Raises:
        NotFoundError: there is no such run.
    """
    path = f"/swarm/workflow_run/{workflow_run_id}"
    return requester.send("GET", path, None, RunWorkflowResponse).workflow_id
