"""What is read about a task to say why it is where it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jobmon.core.states import (
    RETRY_POLICIES,
    TASK_INSTANCE_LIVE,
    RetryPolicies,
    TaskInstanceStatus,
    TaskStatus,
    WorkflowRunStatus,
    WorkflowStatus,
)
from jobmon.serializers.explain import AttemptSummary
from jobmon.serializers.monitor import NeighbourRow

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True)
class RunFacts:
    """The latest run of the workflow.

    ``report_by`` is when its next sign of life is due (naive UTC); a run that drains starts nothing more.
    """

    id: int
    status: WorkflowRunStatus
    user: str
    status_at: datetime
    report_by: datetime
    is_draining: bool = False


@dataclass(frozen=True)
class UpstreamFacts:
    """What the task waits for.

    Attributes:
        total, undone, failed: numbers of tasks directly upstream.
        shown: some of them that are not done, the failed ones first.
        blockers: tasks further up that failed for good; empty when a direct one did.
        is_searched: whether all that is further up was looked at.
    """

    total: int = 0
    undone: int = 0
    failed: int = 0
    shown: Sequence[NeighbourRow] = ()
    blockers: Sequence[NeighbourRow] = ()
    is_searched: bool = True


@dataclass(frozen=True)
class LoadFacts:
    """What is active now, and the limits; ``slots`` is null where the cluster's record does not tell."""

    workflow_limit: int
    workflow_active: int
    template_limit: int
    template_active: int
    slots: int | None = None
    num_running: int = 0


@dataclass(frozen=True)
class HandFacts:
    """What somebody last did to the task by hand, when, and the upstream task that was reset with it."""

    user: str
    at: datetime
    is_completion: bool
    with_upstream: NeighbourRow | None = None


@dataclass(frozen=True)
class TaskFacts:
    """Everything the decision needs; moments are naive UTC.

    Attributes:
        hand: what was last done by hand, if that came after the last attempt.
        is_registered: whether the workflow is registered completely.
        cluster, queue, is_local: where it runs; a local cluster runs commands in the process of its controller.
        resource_scales: JSON text.
        queue_reason: why the queue of a batch cluster has not started it, as its controller told.
        policies: what follows a failure, by its cause.
    """

    id: int
    name: str
    status: TaskStatus
    status_at: datetime
    num_attempts: int
    max_attempts: int
    num_losses: int
    workflow_id: int
    workflow_status: WorkflowStatus
    template_name: str
    cluster: str
    queue: str
    is_local: bool
    load: LoadFacts
    is_registered: bool = True
    run: RunFacts | None = None
    upstream: UpstreamFacts = field(default_factory=UpstreamFacts)
    attempts: Sequence[AttemptSummary] = ()
    hand: HandFacts | None = None
    resource_scales: str = ""
    queue_reason: str = ""
    policies: RetryPolicies = field(default_factory=lambda: RETRY_POLICIES)

    @property
    def counted(self) -> int:
        """Attempts that count against the limit."""
        return self.num_attempts - self.num_losses

    @property
    def current(self) -> AttemptSummary | None:
        """The attempt that is live."""
        last = self.attempts[-1] if self.attempts else None
        return last if last is not None and TaskInstanceStatus(last.status) in TASK_INSTANCE_LIVE else None

    @property
    def last_ended(self) -> AttemptSummary | None:
        """The latest attempt that is over."""
        ended = [a for a in self.attempts if TaskInstanceStatus(a.status) not in TASK_INSTANCE_LIVE]
        return ended[-1] if ended else None
