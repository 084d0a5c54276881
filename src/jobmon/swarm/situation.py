"""What is known of a run that goes on, shared by its turns and by what goes on beside them."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from jobmon.core.exceptions import JobmonError
from jobmon.core.states import WORKFLOW_RUN_TERMINAL, WorkflowRunStatus
from jobmon.serializers.swarm import ClusterCondition

ORDERED = frozenset({WorkflowRunStatus.COLD_RESUME, WorkflowRunStatus.HOT_RESUME})
"""States of a run that was ordered to hand over."""

LONGEST_SLEEP_SECONDS = 60.0


@dataclass
class Situation:
    """A run as its controller knows it. Changed on the controller's loop; ``rouse`` may be called from any thread.

    Attributes:
        status: of the run.
        cursor: all events up to it are known.
        synced_cursor: cursor after the last turn.
        is_draining: it was ordered to start nothing more.
        is_stop_requested: its host wants it to end in good order.
        is_aborted: its host wants it to end now.
        failure: why it has to end, where neither an order nor its tasks are the reason.
        conditions: what is the matter with clusters, by their names.
        task_ids: task of each attempt that lives.
        peaks: most memory (bytes) that attempts of a task used which lacked resources, by task.
    """

    status: WorkflowRunStatus = WorkflowRunStatus.REGISTERED
    cursor: int = 0
    synced_cursor: int = 0
    is_draining: bool = False
    is_stop_requested: bool = False
    is_aborted: bool = False
    failure: JobmonError | None = None
    conditions: dict[str, ClusterCondition] = field(default_factory=dict)
    task_ids: dict[int, int] = field(default_factory=dict)
    peaks: dict[int, int] = field(default_factory=dict)
    _wake: asyncio.Event | None = field(default=None, repr=False)
    _loop: asyncio.AbstractEventLoop | None = field(default=None, repr=False)

    def attach(self) -> None:
        """Belong to the loop that runs now."""
        self._loop, self._wake = asyncio.get_running_loop(), asyncio.Event()

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The controller's loop while it can be used."""
        return None if self._loop is None or self._loop.is_closed() else self._loop

    @property
    def wake(self) -> asyncio.Event:
        """Set when something happened."""
        assert self._wake is not None
        return self._wake

    @property
    def must_end(self) -> bool:
        """Whether the run ends whatever its tasks do."""
        return (
            self.is_stop_requested
            or self.failure is not None
            or self.status in ORDERED
            or self.status in WORKFLOW_RUN_TERMINAL
        )

    def note_peak(self, task_instance_id: int, maxrss: int) -> None:
        """An attempt that lacked resources used so many bytes of memory."""
        task_id = self.task_ids.get(task_instance_id)
        if task_id is not None:
            self.peaks[task_id] = max(self.peaks.get(task_id, 0), maxrss)

    def rouse(self) -> None:
        """End a sleep, from any thread."""
        loop = self.loop
        if loop is not None and self._wake is not None:
            try:
                loop.call_soon_threadsafe(self._wake.set)
            except RuntimeError:
                pass  # the loop closed meanwhile: the run is over

    def obey(self, status: str, is_draining: bool = False) -> None:
        """Take the status letter and the order the server answered with; an order to drain stays."""
        self.status = WorkflowRunStatus(status)
        self.is_draining = self.is_draining or is_draining

    async def sleep_until(self, when: float, wake_on_stop: bool = True) -> None:
        """Wait for reports, a change of the run, or the time; what happened since ``wake`` was cleared counts."""
        if self.is_stop_requested and wake_on_stop:
            return
        try:
            await asyncio.wait_for(
                self.wake.wait(), max(0.0, min(when - time.monotonic(), LONGEST_SLEEP_SECONDS))
            )
        except TimeoutError:
            pass
