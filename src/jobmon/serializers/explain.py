"""Why a task is not running, why it runs again, why it failed: facts and decisions in one message."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from msgspec import Struct

from jobmon.serializers.monitor import NeighbourRow


class Why(StrEnum):
    """Kinds of reasons; the value is what programs see."""

    DONE = "done"
    SET_DONE_BY_HAND = "set_done_by_hand"
    FAILED_FOR_GOOD = "failed_for_good"
    LOST_TOO_OFTEN = "lost_too_often"
    RUNNING = "running"
    BEING_DECIDED = "being_decided"
    HANDED_OVER = "handed_over"
    IN_QUEUE = "in_queue"
    WAITS_FOR_SLOT = "waits_for_slot"
    ADJUSTING_RESOURCES = "adjusting_resources"
    NOT_REGISTERED = "not_registered"
    NEVER_RUN = "never_run"
    NO_RUN_ALIVE = "no_run_alive"
    RUN_STARTING = "run_starting"
    RUN_ENDING = "run_ending"
    RUN_SILENT = "run_silent"
    UPSTREAM_NOT_DONE = "upstream_not_done"
    UPSTREAM_FAILED = "upstream_failed"
    BLOCKED_FURTHER_UP = "blocked_further_up"
    WORKFLOW_LIMIT = "workflow_limit"
    TEMPLATE_LIMIT = "template_limit"
    FAILED_BEFORE = "failed_before"
    LOST_BEFORE = "lost_before"
    ENDED_BY_ORDER = "ended_by_order"
    RESET_BY_HAND = "reset_by_hand"
    UPSTREAM_RESET = "upstream_reset"


class Reason(Struct):
    """One reason.

    Attributes:
        why: its kind (:class:`Why`).
        sentence: the reason in words.
        numbers: what the sentence counts, by name.
        tasks: tasks it speaks of, the failed ones first, at most ten.
        command: what to type next; empty when nothing is to be done.
    """

    why: Why
    sentence: str
    numbers: dict[str, float] = {}
    tasks: list[NeighbourRow] = []
    command: str = ""


class AttemptSummary(Struct):
    """An attempt in one line.

    Attributes:
        task_instance_id: the attempt.
        workflow_run_id: the run that made it.
        status: status letter of the attempt.
        nodename: host it ran on.
        cause: why it did not succeed.
        cluster, queue, requested_resources: what was asked of whom.
        duration_seconds: time its command ran; null as long as that is not known.
        distributor_id: id the cluster gave the job.
        exit_code: exit code; negative: the signal that ended the command.
        last_lines: end of what went wrong.
        note: why it asked for something else than the attempt before.
    """

    task_instance_id: int
    workflow_run_id: int
    status: str
    nodename: str = ""
    cause: str = ""
    cluster: str = ""
    queue: str = ""
    requested_resources: dict[str, Any] = {}
    duration_seconds: float | None = None
    distributor_id: str = ""
    exit_code: int | None = None
    last_lines: list[str] = []
    note: str = ""


class Past(StrEnum):
    """A task against the same one in an earlier workflow of its tool."""

    FIRST = "first"  # the tool has no earlier workflow
    NEW = "new"
    UNCHANGED = "unchanged"
    CHANGED = "changed"


class Difference(Struct):
    """What differs from the past.

    Attributes:
        kind: ``task arg``, ``op arg``, ``command`` or ``resources``.
        name: the arg; for op args the names of all that the template has.
        before, after: the values.
    """

    kind: str
    name: str
    before: str
    after: str


class PastComparison(Struct):
    """A task against the latest earlier workflow of its tool that has the same node.

    Attributes:
        past: how they compare.
        workflow_id, task_id: the earlier ones; null where there are none.
        task_status: status letter of the earlier task.
        differences: what differs.
    """

    past: Past
    workflow_id: int | None = None
    task_id: int | None = None
    task_status: str = ""
    differences: list[Difference] = []


class ExplainResponse(Struct):
    """Why a task is where it is.

    Attributes:
        task_id, name, status, command: the task.
        num_attempts, max_attempts: attempts since the last reset that count, and their limit.
        workflow_id, workflow_name, workflow_status: its workflow.
        template_name: its task template.
        reasons: why, the most important one first.
        attempts: its attempts, oldest first; the last fifty.
        past: the same task in an earlier workflow.
        queue_reason: why the queue of a batch cluster has not started it; empty where that is not known.
        conditions: what is the matter with the clusters its workflow runs on, in sentences.
    """

    task_id: int
    name: str
    status: str
    command: str
    num_attempts: int
    max_attempts: int
    workflow_id: int
    workflow_name: str
    workflow_status: str
    template_name: str
    reasons: list[Reason]
    attempts: list[AttemptSummary]
    past: PastComparison
    queue_reason: str = ""
    conditions: list[str] = []
