"""Getting a workflow ready to be resumed: order the run that is alive to hand over, clean up behind a dead one."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from jobmon.core.cluster import Cluster
from jobmon.core.cluster_protocol import ClusterDistributor, Leftover, attempt_mark
from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import ClusterUnreachable, WorkflowNotResumable
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.process_identity import is_alive
from jobmon.core.requester import Requester
from jobmon.core.states import Cause, TaskInstanceEvent, TaskInstanceStatus, WorkflowRunStatus
from jobmon.distributor.attempts import ENDS
from jobmon.distributor.leftovers import end_jobs
from jobmon.distributor.shared_directory import SharedDirectory
from jobmon.distributor.spool import Spool
from jobmon.serializers.swarm import (
    InstanceEventsRequest,
    InstanceEventsResponse,
    LiveInstance,
    ResumableResponse,
    SetResumeRequest,
    WorkflowMetadataResponse,
)

logger = logging.getLogger("jobmon.swarm")

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
        elif _never_began(requester, answer) or (
            answer.controller is not None and is_alive(answer.controller) is False
        ):
            dead.append(answer.alive_workflow_run_id)
            continue
        if time.monotonic() > deadline:
            if force_cleanup and answer.alive_workflow_run_id is None:
                _report_ended(requester, workflow_id, answer.pending, TaskInstanceEvent.ABORT)
                return
            raise WorkflowNotResumable(_what_is_in_the_way(workflow_id, answer, timeout_seconds))
        time.sleep(min(wait, max(0.0, deadline - time.monotonic()) + 0.01))
        wait = min(LONGEST_WAIT_SECONDS, wait * 1.5)


def _never_began(requester: Requester, answer: ResumableResponse) -> bool:
    """Whether a run waits for a job to host it, which is withdrawn."""
    from jobmon.swarm.job import withdraw

    return withdraw(requester, answer.controller)


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
        if plugin.capabilities.runs_commands:
            _end_commands(requester, workflow_id, plugin, instances, cold)
        else:
            _end_jobs(requester, workflow_id, plugin, instances, cold)


def _end_commands(
    requester: Requester,
    workflow_id: int,
    plugin: ClusterDistributor,
    instances: Sequence[LiveInstance],
    cold: bool,
) -> None:
    """Those of a cluster that lived inside the controller: none of them can be adopted."""
    ended = set(_kill(plugin, instances))
    ordered = [i for i in instances if cold or i.status == TaskInstanceStatus.KILL_SELF]
    lost = [i for i in instances if i not in ordered]
    gone = [i for i in ordered if i.task_instance_id in ended]
    _report_ended(requester, workflow_id, gone, TaskInstanceEvent.ABORT)
    gone = [i for i in lost if i.task_instance_id in ended]
    _report_ended(requester, workflow_id, gone, TaskInstanceEvent.LOSE)


def _end_jobs(
    requester: Requester,
    workflow_id: int,
    plugin: ClusterDistributor,
    instances: Sequence[LiveInstance],
    cold: bool,
) -> None:
    """Those of a batch cluster: what they told in the shared directory counts, what still runs is cancelled."""
    shared = _shared_directory(requester, workflow_id)
    spool = shared.spool_of(plugin.cluster_name)
    told = _tell_spooled(requester, workflow_id, spool, instances)
    doomed = [
        each
        for each in instances
        if each.task_instance_id not in told and (cold or each.status == TaskInstanceStatus.KILL_SELF)
    ]
    if not doomed:
        return
    settled = told | {each.task_instance_id for each in doomed}
    others = [each for each in instances if each.task_instance_id not in settled]
    try:
        ended = set(end_jobs(plugin, shared, doomed, others))
    except ClusterUnreachable as error:
        logger.warning("cluster %s cannot be asked about what is left there: %s", plugin.cluster_name, error)
        return
    _tell_spooled(requester, workflow_id, spool, doomed)  # some succeeded meanwhile
    gone = [each for each in doomed if each.task_instance_id in ended]
    _report_ended(requester, workflow_id, gone, TaskInstanceEvent.ABORT)


def _shared_directory(requester: Requester, workflow_id: int) -> SharedDirectory:
    path = f"/swarm/workflow/{workflow_id}/metadata"
    key = requester.send("GET", path, None, WorkflowMetadataResponse).key
    return SharedDirectory.from_config(JobmonConfig(), workflow_id, key)


def _tell_spooled(
    requester: Requester, workflow_id: int, spool: Path, instances: Sequence[LiveInstance]
) -> set[int]:
    """Tell the server what attempts left in the shared directory; those that told their end."""
    live = {each.task_instance_id for each in instances}
    words = [word for word in Spool(spool).take() if word.event.task_instance_id in live]
    if not words:
        return set()
    _tell(requester, workflow_id, [word.event for word in words])
    Spool(spool).forget(words)
    return {word.event.task_instance_id for word in words if word.event.event in ENDS}


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
    _tell(requester, workflow_id, events)


def _tell(requester: Requester, workflow_id: int, events: list[InstanceEvent]) -> None:
    path = f"/swarm/workflow/{workflow_id}/task_instance_events"
    requester.send("POST", path, InstanceEventsRequest(events), InstanceEventsResponse)
