"""What the words and colours mean, and how to get about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from importlib.resources import files
from typing import Any

from markupsafe import Markup

from jobmon.core.states import (
    COLOURS,
    DESCRIPTIONS,
    STALE,
    TASK,
    TASK_INSTANCE,
    TASK_STATUSES_OF_USER_LABEL,
    WORKFLOW,
    WORKFLOW_RUN,
    TaskInstanceStatus,
    TaskStatus,
    WorkflowRunStatus,
    WorkflowStatus,
    colour_name,
)
from jobmon.server.web.ui.page_router import Answer, PageRouter, View

pages = PageRouter()

_MACHINES: Sequence[tuple[str, str, str, type[StrEnum], Mapping[Any, Mapping[Any, Any]]]] = (
    ("workflow", "Workflow", "All tasks together, from registration to the end.", WorkflowStatus, WORKFLOW),
    (
        "task",
        "Task",
        "One command. It may take several attempts; what waits for it begins when it is done.",
        TaskStatus,
        TASK,
    ),
    (
        "task_instance",
        "Attempt (task instance)",
        "One execution of a task's command on a cluster.",
        TaskInstanceStatus,
        TASK_INSTANCE,
    ),
    (
        "workflow_run",
        "Workflow run",
        "One time that somebody runs a workflow. A resume is another run of the same workflow.",
        WorkflowRunStatus,
        WORKFLOW_RUN,
    ),
)
_COLOUR_WORDS: Mapping[str, str] = {
    "pending": "Not begun, or between two attempts.",
    "scheduled": "Handed to a cluster, which has not begun it.",
    "running": "Its command runs.",
    "done": "Succeeded.",
    "fatal": "Failed for good.",
    "halted": "Stopped by order; can be resumed. Of workflows and runs only.",
}


@dataclass(frozen=True)
class Machine:
    """A state machine as the page shows it.

    Attributes:
        key, title, means: of what it is.
        states: each with what it means.
        transitions: state, event and the state that follows.
        drawing: SVG; the tables say the same.
    """

    key: str
    title: str
    means: str
    states: Sequence[tuple[StrEnum, str]]
    transitions: Sequence[tuple[StrEnum, str, StrEnum]]
    drawing: Markup


@lru_cache(1)
def machines() -> Sequence[Machine]:
    """The four machines, from the tables in :mod:`jobmon.core.states`."""
    return [
        Machine(
            key,
            title,
            means,
            [(status, DESCRIPTIONS[kind][status.value]) for status in kind],
            [
                (before, str(event).replace("_", " "), after)
                for before, row in table.items()
                for event, after in row.items()
                if after is not STALE and after is not before
            ],
            Markup(_drawing(key)),  # a file of this package
        )
        for key, title, means, kind, table in _MACHINES
    ]


def _drawing(key: str) -> str:
    return files("jobmon.server.web.ui").joinpath(f"drawing/machines/{key}.svg").read_text(encoding="utf-8")


@pages.page("/help")
def help_page(view: View) -> Answer:
    """States, colours, keys, commands, and where to read more."""
    root = str(view.request.scope.get("root_path", ""))
    colours = [
        (name, _COLOUR_WORDS[name], list(TASK_STATUSES_OF_USER_LABEL.get(name.upper(), ())))
        for name in COLOURS
    ]
    workflows = {name: [each for each in WorkflowStatus if colour_name(each) == name] for name in COLOURS}
    return view.html("help.html", machines=machines(), colours=colours, workflows=workflows, root=root)
