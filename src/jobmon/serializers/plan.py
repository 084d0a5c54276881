"""What a plan of a run is made from, in pages."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class PlanReason(StrEnum):
    """Why a run would, or would not, run a task; the value is its one character on the wire."""

    DONE = "d"
    NEW = "n"
    FAILED = "f"
    INTERRUPTED = "i"
    LOST = "l"
    RUNNING = "r"
    RESET = "s"
    CHANGED = "c"
    UPSTREAM_CHANGED = "u"
    UNCHANGED = "e"


class PlanTasksResponse(Struct):
    """One page of the tasks of a workflow, columnar.

    Attributes:
        task_ids: ids, ascending.
        reasons: one character a task (:class:`PlanReason`).
        task_template_version_ids, node_args_hashes, task_args_hashes: identities, one entry a task; empty unless
            asked for.
        next_task_id: pass as ``after_task_id`` for the next page; null at the end.
    """

    task_ids: list[int]
    reasons: str
    task_template_version_ids: list[int] = []
    node_args_hashes: list[str] = []
    task_args_hashes: list[str] = []
    next_task_id: int | None = None


class TaskArgsRow(Struct):
    """A task with the values of its args by name."""

    task_id: int
    name: str
    node_args: dict[str, str]
    task_args: dict[str, str]


class TaskArgsResponse(Struct):
    """Args of a few tasks."""

    tasks: list[TaskArgsRow]


class TemplateRuntime(Struct):
    """Mean run time of the attempts of a template that succeeded, over its latest workflows.

    Attributes:
        task_template_version_id: the template version.
        num_attempts: attempts measured.
        mean_seconds: their mean run time.
    """

    task_template_version_id: int
    num_attempts: int
    mean_seconds: float


class TemplateRuntimesResponse(Struct):
    """Run times of templates; those never measured are absent."""

    runtimes: list[TemplateRuntime]
