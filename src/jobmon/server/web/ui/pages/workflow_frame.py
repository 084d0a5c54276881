"""What all pages of one workflow have in common: its head, the tabs, what can be done to it."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection

from jobmon.core.states import WORKFLOW_BEING_RUN, TaskStatus, WorkflowStatus
from jobmon.server.web.store.progress import Progress, together, workflows_progress
from jobmon.server.web.store.workflow_page import Head, workflow_read_head
from jobmon.server.web.ui.browser import UI
from jobmon.server.web.ui.page_router import Answer, View, redirect

if TYPE_CHECKING:
    from jobmon.server.web.state import ServerState

TABS: Final = (
    ("", "Overview"),
    ("/graph", "Graph"),
    ("/timeline", "Timeline"),
    ("/errors", "Errors"),
    ("/history", "History"),
    ("/plan", "Plan"),
)
"""End of the path, and name."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A workflow at one moment.

    Attributes:
        head: what it is.
        counts: its tasks by array.
        total: all of them.
        now: time of the database.
    """

    head: Head
    counts: dict[int, Progress]
    total: Progress
    now: datetime

    @property
    def is_being_run(self) -> bool:
        """Whether a run of it goes on or is about to."""
        return self.head.status in WORKFLOW_BEING_RUN

    @property
    def actions(self) -> list[tuple[str, str]]:
        """What can be done to it as it stands: end of the path, and words."""
        head = self.head
        pause = ("/unpause", "Unpause") if head.limit == 0 else ("/pause", "Pause")
        if self.is_being_run:
            drain = [] if head.run is not None and head.run.is_draining else [("/drain", "Drain")]
            return [
                ("/stop", "Stop"),
                *drain,
                pause,
                ("/limit", "Limit"),
                ("/resume", "Resume"),
                ("/tasks", "Set all tasks"),
            ]
        if head.status is WorkflowStatus.DONE:
            return [("/tasks", "Set all tasks")]
        return [("/resume", "Resume"), ("/limit", "Limit"), ("/tasks", "Set all tasks")]

    @property
    def progress_stamp(self) -> Hashable:
        """Changes when any task or run of it does."""
        run = self.head.run
        return (
            self.head.status,
            self.head.changed,
            run and (run.id, run.status, run.due),
            tuple(sorted(self.total.by_status.items())),
            self.total.retries,
        )

    @property
    def failure_stamp(self) -> Hashable:
        """Changes when an attempt fails."""
        return (self.num_failed, self.total.retries, self.head.status, self.head.run and self.head.run.id)

    @property
    def num_failed(self) -> int:
        """Tasks that were given up."""
        return self.total.by_status.get(TaskStatus.ERROR_FATAL.value, 0)

    @property
    def has_failures(self) -> bool:
        """Whether any attempt may have failed."""
        return bool(self.num_failed or self.total.retries)


def read_frame(connection: Connection, workflow_id: int, now: datetime) -> Frame:
    """What every page of a workflow needs.

    Raises:
        NotFoundError: there is no such workflow.
    """
    head = workflow_read_head(connection, workflow_id)
    counts = workflows_progress(connection, [workflow_id])[workflow_id]
    return Frame(head, counts, together(counts.values()), now)


def show(view: View, template: str, frame: Frame, **values: Any) -> Answer:
    """A page of a workflow."""
    return view.html(template, frame=frame, head=frame.head, tabs=TABS, base=view.url(""), **values)


def part(view: View, template: str, frame: Frame, path: str, **values: Any) -> Answer:
    """A part of a page that asks for it; a browser that opens its address is led to the page.

    Args:
        view: who looks.
        template: of the part.
        frame: the workflow.
        path: of the page.
        values: for the template.
    """
    if not view.is_fragment:
        return redirect(view, path)
    return view.html(template, frame=frame, head=frame.head, base=view.url(""), **values)


def base_of(state: ServerState) -> str:
    """What addresses of pages begin with, where there is no request."""
    return str(state.config.get("server", "root_path")).rstrip("/") + UI
