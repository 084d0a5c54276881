"""Names and numbers that scripts import; the states themselves live in :mod:`jobmon.core.states`."""

from __future__ import annotations

from enum import IntEnum, StrEnum

from jobmon.core.states import TaskInstanceStatus, TaskStatus, WorkflowRunStatus, WorkflowStatus

__all__ = [
    "ArgType",
    "Direction",
    "ExecludeTTVs",
    "MaxConcurrentlyRunning",
    "SpecialChars",
    "TaskInstanceStatus",
    "TaskResourcesType",
    "TaskStatus",
    "WorkflowRunStatus",
    "WorkflowStatus",
]


class ArgType(IntEnum):
    """Kinds of template arguments; the value is the id stored in the database."""

    NODE_ARG = 1
    TASK_ARG = 2
    OP_ARG = 3


class TaskResourcesType(StrEnum):
    """Where a row of task_resources comes from."""

    ORIGINAL = "O"
    VALIDATED = "V"
    ADJUSTED = "A"


class Direction(StrEnum):
    """Directions in a graph of tasks."""

    UP = "up"
    DOWN = "down"


class SpecialChars:
    """Characters a task name may not contain."""

    ILLEGAL_SPECIAL_CHARACTERS = r"/\\'\" "


class MaxConcurrentlyRunning:
    """Default limit of tasks running at once: none."""

    MAXCONCURRENTLYRUNNING = 2147483647


class ExecludeTTVs:
    """Task template versions left out of statistics (the name is spelt as scripts know it)."""

    EXECLUDE_TTVS = frozenset({1})


DEFAULT_MAX_ATTEMPTS = 3
"""Attempts a task has when nobody said otherwise."""

DEFAULT_RESOURCE_SCALES = {"memory": 0.5, "runtime": 0.5}
"""How much more is asked for after a resource error when nobody said otherwise."""

LOG_TAIL_CHARACTERS = 10_000
"""Characters of the end of stdout and stderr kept in the database."""

NAME_CHARACTERS = 255
"""Width of the columns of names: of tools, task templates, arrays and workflows."""

TASK_NAME_CHARACTERS = 255
"""Width of the column of task names."""

PLAN_VARIABLE = "JOBMON_PLAN"
"""Environment variable naming a file: the script writes its plan there and ends, instead of registering or running."""

DRY_RUN_VARIABLE = "JOBMON_DRY_RUN"
"""The same, of what would be submitted."""
