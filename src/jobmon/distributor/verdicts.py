"""What the end of a job means for its attempts. Pure.

What the cluster says of a job is about the attempt that was running: it is its end. Where several share the job, those whose
turn had not come were lost, at no cost to their tasks; those that had told their end themselves are not here any more. A job
that ended well has run them all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from jobmon.core.batch_cluster import RemoteEnd
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import TASK_INSTANCE_STARTED, Cause, TaskInstanceEvent, TaskInstanceStatus


@dataclass(slots=True)
class Watched:
    """An attempt that lives on the cluster, as far as is known.

    Attributes:
        task_instance_id: the attempt.
        job_name: name of its batch.
        distributor_id: its id on the cluster; empty until it is submitted.
        status: its latest state in the database.
        reason: why it waits, as it was told last.
        silent_since: first look (monotonic) that did not list it.
        num_untold: answers since then that knew nothing of its end.
        is_ordered: it was ordered to end.
        is_cancelled: the cluster was told so.
        is_waiting: the latest look listed it, and it had not been started.
        turn: which of those that share its job it is, from 1; 0: it has the job for itself.
    """

    task_instance_id: int
    job_name: str
    distributor_id: str = ""
    status: TaskInstanceStatus = TaskInstanceStatus.INSTANTIATED
    reason: str = ""
    silent_since: float | None = None
    num_untold: int = 0
    is_ordered: bool = False
    is_cancelled: bool = False
    is_waiting: bool = False
    turn: int = 0


def events_of_end(attempt: Watched, end: RemoteEnd) -> list[InstanceEvent]:
    """What to tell the server of an attempt whose job has ended as the cluster tells."""
    if attempt.turn and end.event is not TaskInstanceEvent.FINISH:
        if attempt.status not in TASK_INSTANCE_STARTED:
            return [_not_begun(attempt, end)]
        if attempt.status is TaskInstanceStatus.RUNNING and _is_exit(end):
            return [_untold_by_wrapper(attempt, end)]
    return _own_events(attempt, end)


def _is_exit(end: RemoteEnd) -> bool:
    """Whether a job came to its own end; of those that share it any may have failed."""
    return end.cause is Cause.CODE and end.exit_code is not None and end.exit_code > 0


def _own_events(attempt: Watched, end: RemoteEnd) -> list[InstanceEvent]:
    """The end of its job is that of the attempt; a start that was never told comes first."""
    if _is_of_another_start(attempt, end):
        end = replace(
            end,
            event=TaskInstanceEvent.LOSE,
            cause=Cause.INFRASTRUCTURE,
            exit_code=None,
            description=f"{end.description} But it had been running, and told nothing of an end: the cluster lost it, as "
            "a crash of its controller may do.",
        )
    told = InstanceEvent(
        attempt.task_instance_id,
        end.event,
        cause=end.cause,
        description=end.description,
        nodename=end.nodename,
        distributor_id=attempt.distributor_id,
        exit_code=end.exit_code,
        wallclock=end.wallclock,
        maxrss=end.maxrss,
        cpu=end.cpu,
        blames_node=end.blames_node,
    )
    needs_start = end.event in (TaskInstanceEvent.FINISH, TaskInstanceEvent.FAIL)
    if not needs_start or attempt.status in TASK_INSTANCE_STARTED:
        return [told]
    start = InstanceEvent(
        attempt.task_instance_id,
        TaskInstanceEvent.START,
        nodename=end.nodename,
        distributor_id=attempt.distributor_id,
    )
    return [start, told]


def _is_of_another_start(attempt: Watched, end: RemoteEnd) -> bool:
    """Whether a cluster tells of a job that ended before it could do anything, though the attempt had told its start.

    A wrapper that ran tells its end by itself, and that it is cancelled. A controller that crashed forgets that jobs run,
    starts them once more, and calls what comes of that a failure with an exit code of its own, or cancels it.
    """
    is_brief = end.wallclock is not None and end.wallclock < 1
    is_failure = end.event is TaskInstanceEvent.FAIL and (_is_exit(end) or end.cause is Cause.CANCELLED)
    return attempt.status is TaskInstanceStatus.RUNNING and is_brief and is_failure


def ordered_end(task_instance_id: int) -> InstanceEvent:
    """The end of an attempt that was ordered to end and that is gone."""
    return InstanceEvent(
        task_instance_id,
        TaskInstanceEvent.ABORT,
        cause=Cause.ORDERED,
        description="The attempt was ended by order: its job was cancelled.",
    )


def _not_begun(attempt: Watched, end: RemoteEnd) -> InstanceEvent:
    lost = _lost(attempt, f"Its job ended before its turn: {end.description or 'nothing tells why.'}")
    lost.nodename, lost.blames_node = end.nodename, end.blames_node
    return lost


def _untold_by_wrapper(attempt: Watched, end: RemoteEnd) -> InstanceEvent:
    lost = _lost(
        attempt,
        f"It told nothing of its end, and its job, which it shared with other tasks, ended otherwise: {end.description}",
    )
    lost.nodename = end.nodename
    return lost


def forgotten(attempt: Watched) -> InstanceEvent:
    """The end of an attempt whose id the cluster has given to another job."""
    return _lost(
        attempt,
        f"The cluster lost job {attempt.distributor_id} and gave its id to another job, as it may do after a crash of its "
        "controller.",
    )


def untold(attempt: Watched, seconds: float) -> InstanceEvent:
    """The end of an attempt of which the cluster has known nothing for so long."""
    return _lost(
        attempt,
        f"Job {attempt.distributor_id} is neither in the queue of the cluster nor in its records, which were asked "
        f"{attempt.num_untold} times over {seconds:.0f} s. It told nothing of its end.",
    )


def _lost(attempt: Watched, description: str) -> InstanceEvent:
    return InstanceEvent(
        attempt.task_instance_id,
        TaskInstanceEvent.LOSE,
        cause=Cause.INFRASTRUCTURE,
        distributor_id=attempt.distributor_id,
        description=description,
    )
