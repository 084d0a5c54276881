"""What the words and colours mean."""

from __future__ import annotations

from jobmon.core.states import (
    DESCRIPTIONS,
    TaskInstanceStatus,
    TaskStatus,
    WorkflowRunStatus,
    WorkflowStatus,
)
from jobmon.server.web.ui.page_router import Answer, PageRouter, View

pages = PageRouter()

_KINDS = (
    ("Workflow", WorkflowStatus),
    ("Workflow run", WorkflowRunStatus),
    ("Task", TaskStatus),
    ("Attempt (task instance)", TaskInstanceStatus),
)


@pages.page("/help")
def help_page(view: View) -> Answer:
    """States, and where to read more."""
    kinds = [(name, [(status, DESCRIPTIONS[kind][status.value]) for status in kind]) for name, kind in _KINDS]
    return view.html("help.html", kinds=kinds)
