"""Getting a workflow ready to be resumed: order the run that is alive to hand over, clean up behind a dead one."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence

from jobmon.core.cluster import Cluster
from jobmon.core.cluster_protocol import ClusterDistributor, Leftover, attempt_mark
from jobmon.core.exceptions import WorkflowNotResumable
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.process_identity import is_alive
from jobmon.core.requester import Requester
from jobmon.core.states import Cause, TaskInstanceEvent, TaskInstanceStatus, WorkflowRunStatus
from jobmon.serializers.swarm import (
    InstanceEventsRequest,
    InstanceEventsResponse,
    LiveInstance,
    ResumableResponse,
    SetResumeRequest,
)

FIRST_WAIT_SECONDS = 0.05
LONGEST_WAIT_SECONDS = 2.0


def prepare_resume(
    requester: Requester,
    workflow_id: int,
    reset_running_jobs: bool = True,
    timeout_seconds: float = 300,
    force_cleanup: bool = False,
) -> None:
    """Wait until no run of the workflow is alive and nothing of it runs that may not.

    Args:
        requester: the server.
        workflow_id: the workflow.
        reset_running_jobs: cold: end what runs; false, hot: leave what a new controller can adopt.
        timeout_seconds: how long to wait.
        force_cleanup: count attempts that were ordered to end as ended when the time is over.

    Raises:
        WorkflowNotResumable: a run is still alive, or attempts are, when the time is over.
    """
    deadline = time.monotonic() + timeout_seconds
    wait = FIRST_WAIT_SECONDS
    dead: list[int] = []
    while True:
        answer = requester.send(
            "POST",
            f"/swarm/workflow/{workflow_id}/set_resume",
            SetResumeRequest(reset_running_jobs, dead),
            ResumableResponse,
        )
        if answer.is_resumable and not answer.pending:
            return
        if answer.alive_workflow_run_id is None:
            _end_leftovers(requester, workflow_id, answer.pending, reset_running_jobs)
            if _is_resumable(requester, workflow_id, reset_running_jobs):
                return
        elif answer.controller is not None and is_alive(answer.controller) is False:
            dead.append(answer.alive_workflow_run_id)
            continue
        if time.monotonic() > deadline:
            if force_cleanup and answer.alive_workflow_run_id is None:
                _report_ended(requester, workflow_id, answer.pending, TaskInstanceEvent.ABORT)
                return
            raise WorkflowNotResumable(_what_is_in_the_way(workflow_id, answer, timeout_seconds))
        time.sleep(min(wait, max(0.0, deadline - time.monotonic()) + 0.01))
        wait = min(LONGEST_WAIT_SECONDS, wait * 1.5)


def force_cleanup(requester: Requester, workflow_id: int) -> int:
    """Count attempts that were ordered to end as ended, whether they are or not; how many there were."""
    path = f"/swarm/workflow/{workflow_id}/is_resumable"
    answer = requester.send("GET", path, None, ResumableResponse, params={"cold": "true"})
    ordered = [each for each in answer.pending if each.status == TaskInstanceStatus.KILL_SELF]
    _report_ended(requester, workflow_id, ordered, TaskInstanceEvent.ABORT)
    return len(ordered)


def _is_resumable(requester: Requester, workflow_id: int, cold: bool) -> bool:
    answer = requester.send(
        "GET",
        f"/swarm/workflow/{workflow_id}/is_resumable",
        None,
        ResumableResponse,
        params={"cold": str(cold).lower()},
    )
    return answer.is_resumable


def _what_is_in_the_way(workflow_id: int, answer: ResumableResponse, timeout_seconds: float) -> str:
    if answer.alive_workflow_run_id is not None:
        host = answer.controller.hostname if answer.controller is not None else "an unknown host"
        pid = answer.controller.pid if answer.controller is not None else "?"
        status = WorkflowRunStatus(answer.alive_run_status).name
        return (
            f"Workflow {workflow_id} was not handed over within {timeout_seconds:.0f} s: run "
            f"{answer.alive_workflow_run_id} of user {answer.alive_run_user} (process {pid} on {host}) is {status}; it "
            f"counts as lost in {max(0.0, answer.lost_in_seconds):.0f} s. Try again then, or end that process."
        )
    ids = ", ".join(str(instance.task_instance_id) for instance in answer.pending[:10])
    return (
        f"Workflow {workflow_id} still has {len(answer.pending)} attempts on the cluster after "
        f"{timeout_seconds:.0f} s (task instances {ids}). Try again, with force_cleanup when they are surely gone."
    )


def _end_leftovers(
    requester: Requester, workflow_id: int, pending: Sequence[LiveInstance], cold: bool
) -> None:
    """End attempts that a dead controller left behind; those a new one can adopt stay, in a hot resume."""
    by_cluster: dict[str, list[LiveInstance]] = defaultdict(list)
    for instance in pending:
        by_cluster[instance.cluster_name].append(instance)
    for cluster_name, instances in by_cluster.items():
        plugin = Cluster.get_cluster(cluster_name, requester).get_distributor()
        lives_in_controller = plugin.capabilities.runs_commands
        doomed = [
            instance
            for instance in instances
            if cold or lives_in_controller or instance.status == TaskInstanceStatus.KILL_SELF
        ]
        ended = set(_kill(plugin, doomed))
        ordered = [i for i in doomed if cold or i.status == TaskInstanceStatus.KILL_SELF]
        lost = [i for i in doomed if i not in ordered]
        gone = [i for i in ordered if i.task_instance_id in ended]
        _report_ended(requester, workflow_id, gone, TaskInstanceEvent.ABORT)
        gone = [i for i in lost if i.task_instance_id in ended]
        _report_ended(requester, workflow_id, gone, TaskInstanceEvent.LOSE)


def _kill(plugin: ClusterDistributor, instances: Sequence[LiveInstance]) -> list[int]:
    return plugin.kill_leftovers(
        [
            Leftover(
                instance.task_instance_id,
                instance.distributor_id,
                instance.nodename,
                attempt_mark(instance.run_key, instance.task_instance_id),
            )
            for instance in instances
        ]
    )


def _report_ended(
    requester: Requester, workflow_id: int, instances: Sequence[LiveInstance], event: TaskInstanceEvent
) -> None:
    if not instances:
        return
    by_order = event is TaskInstanceEvent.ABORT
    text = "Ended by a resume." if by_order else "Its controller died."
    events = [
        InstanceEvent(
            instance.task_instance_id,
            event,
            cause=Cause.ORDERED if by_order else Cause.INFRASTRUCTURE,
            description=text,
        )
        for instance in instances
    ]
    requester.send(
        "POST",
        f"/swarm/workflow/{workflow_id}/task_instance_events",
        InstanceEventsRequest(events),
        InstanceEventsResponse,
    )
