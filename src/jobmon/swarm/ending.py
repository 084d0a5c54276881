"""The end of a run: what still runs is ended or left alone, and the server told how it was."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import Protocol

from jobmon.core.exceptions import JobmonError, WorkflowTimeoutError
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import (
    WORKFLOW_RUN_TERMINAL,
    Cause,
    TaskInstanceEvent,
    TaskStatus,
    WorkflowRunEvent,
    WorkflowRunStatus,
)
from jobmon.distributor.attempts import ClusterAttempts
from jobmon.serializers.swarm import SyncRequest
from jobmon.swarm.channel import Channel
from jobmon.swarm.gateway import Gateway
from jobmon.swarm.outcome import RunOptions
from jobmon.swarm.situation import ORDERED, Situation
from jobmon.swarm.state import SwarmState

STILL_RUNNING_SHOWN = 10


class Pending(Protocol):
    """What the clusters reported and the server was not told yet."""

    reports: list[InstanceEvent]

    async def tell_reports(self, channel: Channel) -> None:
        """Tell it, or the first of it."""
        ...


class Ending:
    """Ends one run.

    Args:
        gateway: the server.
        options: limits and intervals.
        situation: what is known of the run.
        state: the tasks.
        clusters: the attempts on each cluster.
        pending: what has to be told.
    """

    def __init__(
        self,
        gateway: Gateway,
        options: RunOptions,
        situation: Situation,
        state: SwarmState,
        clusters: Mapping[str, ClusterAttempts],
        pending: Pending,
    ) -> None:
        self._gateway, self._options, self._situation = gateway, options, situation
        self._state, self._clusters, self._pending = state, clusters, pending

    def timeout(self) -> WorkflowTimeoutError:
        """The error of a run that did not end in time."""
        return WorkflowTimeoutError(
            f"timeout: workflow {self._gateway.workflow_id} did not end within "
            f"{self._options.seconds_until_timeout:g} seconds. {self._names_of_running()} Resume it with "
            "run(resume=True) and a larger seconds_until_timeout."
        )

    async def finish(self, channel: Channel) -> None:
        """End what still runs, tell the server how the run ended."""
        await self._end_attempts(channel)
        events = self._final_events()
        if events:
            answer = await channel.call(lambda: self._gateway.run_events(events))
            self._situation.obey(answer.status)
        if self._situation.failure is not None:
            raise self._situation.failure

    def _names_of_running(self) -> str:
        running = [i for s in (TaskStatus.RUNNING, TaskStatus.LAUNCHED) for i in self._state.tasks_in(s)]
        if not running:
            return "Nothing was running."
        shown = ", ".join(str(task_id) for task_id in running[:STILL_RUNNING_SHOWN])
        more = ", …" if len(running) > STILL_RUNNING_SHOWN else ""
        goes_on = [
            name for name, cluster in self._clusters.items() if cluster.outlives_controller and cluster.live
        ]
        if goes_on:
            what = (
                f"those on cluster {', '.join(goes_on)} go on, a hot resume adopts them and "
                f"'jobmon workflow stop {self._gateway.workflow_id}' cancels them"
            )
        else:
            what = "they were stopped"
        return f"{len(running)} tasks were still running: {what} (task ids {shown}{more})."

    def _final_events(self) -> list[WorkflowRunEvent]:
        situation = self._situation
        if situation.status in WORKFLOW_RUN_TERMINAL:
            return []
        if situation.status in ORDERED:
            return [WorkflowRunEvent.TERMINATE]
        if self._state.is_complete:
            return [WorkflowRunEvent.FINISH]
        if situation.failure is not None:
            return [WorkflowRunEvent.FAIL]
        if situation.is_stop_requested:
            return [WorkflowRunEvent.STOP]
        if situation.is_draining:  # it ends by order, as one that was stopped from elsewhere does
            return [WorkflowRunEvent.COLD_RESUME, WorkflowRunEvent.TERMINATE]
        return [WorkflowRunEvent.FAIL]

    async def _end_attempts(self, channel: Channel) -> None:
        """End every attempt and report the ends; a time-out or a hot hand-over leaves alone what goes on by itself."""
        is_left = (
            isinstance(self._situation.failure, WorkflowTimeoutError)
            or self._situation.status is WorkflowRunStatus.HOT_RESUME
        )
        left = [c for c in self._clusters.values() if is_left and c.outlives_controller]
        ended = [c for c in self._clusters.values() if c not in left]
        for cluster in left:
            cluster.leave_all()
        for cluster in ended:
            cluster.terminate_all()
        seconds = [cluster.end_seconds for cluster in self._clusters.values()]
        deadline = time.monotonic() + max(seconds, default=0.0)
        while time.monotonic() < deadline:
            if not any(c.live for c in ended) and not any(c.is_submitting for c in left):
                break
            if self._situation.is_aborted:
                for cluster in ended:
                    cluster.kill_all()
                break
            self._situation.wake.clear()
            if self._pending.reports:  # also what was submitted at the last moment
                await self._pending.tell_reports(channel)
            await self._situation.sleep_until(min(deadline, time.monotonic() + 0.5), wake_on_stop=False)
        self._pending.reports += _orders(i for c in ended if c.outlives_controller for i in c.live)
        while self._pending.reports:
            if self._situation.status is WorkflowRunStatus.HOT_RESUME:
                self._pending.reports = [_as_lost(event) for event in self._pending.reports]
            await self._pending.tell_reports(channel)

    async def give_up(self, channel: Channel, error: BaseException) -> None:
        """After an error of our own: end what runs and tell the server, as far as that still works."""
        for cluster in self._clusters.values():
            if cluster.outlives_controller:
                cluster.leave_all()
            cluster.close()
        await asyncio.sleep(0)  # the ends they reported from their threads come in
        events, self._pending.reports = self._pending.reports, []
        try:
            if events:
                told = await asyncio.wait_for(
                    channel.call(lambda: self._gateway.sync(SyncRequest(events))), 10
                )
                self._state.apply(told.tasks)
            if self._situation.status not in WORKFLOW_RUN_TERMINAL:
                is_ordered = self._situation.status in ORDERED
                final = WorkflowRunEvent.TERMINATE if is_ordered else WorkflowRunEvent.FAIL
                answer = await asyncio.wait_for(channel.call(lambda: self._gateway.run_events([final])), 10)
                self._situation.obey(answer.status)
        except (JobmonError, TimeoutError) as second:
            error.add_note(
                f"The server could not be told that workflow run {self._gateway.workflow_run_id} ended: {second}"
            )


def _orders(task_instance_ids: Iterable[int]) -> list[InstanceEvent]:
    """Have the server know of attempts that must end and that were not seen to: whoever cleans up finds them."""
    return [
        InstanceEvent(
            task_instance_id,
            TaskInstanceEvent.KILL,
            cause=Cause.ORDERED,
            description="Its run ended before the cluster confirmed that the job was cancelled.",
        )
        for task_instance_id in task_instance_ids
    ]


def _as_lost(event: InstanceEvent) -> InstanceEvent:
    """In a hot resume, attempts that end with their controller are not ended by order: their tasks run again."""
    if event.event is TaskInstanceEvent.ABORT:
        event.event, event.cause = TaskInstanceEvent.LOSE, Cause.INFRASTRUCTURE
        event.description = "It ran inside a controller that handed over."
    return event
