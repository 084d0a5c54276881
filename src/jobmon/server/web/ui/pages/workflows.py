"""The list of workflows: which there are, how far they are, and who waits for them."""

from __future__ import annotations

import shlex
import time
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from jobmon.core.states import WORKFLOW_BEING_RUN, WorkflowStatus
from jobmon.serializers.monitor import EtaRow
from jobmon.server.web import dialect
from jobmon.server.web.store.eta import workflow_read_eta
from jobmon.server.web.store.listing import (
    COUNTED,
    ChangingWorkflow,
    Found,
    ListedWorkflow,
    workflows_find,
    workflows_read_changing,
    workflows_read_rows,
)
from jobmon.server.web.store.progress import workflows_progress
from jobmon.server.web.ui import rendering
from jobmon.server.web.ui.drawing.bars import by_label
from jobmon.server.web.ui.drawing.row_bars import row_bar
from jobmon.server.web.ui.live import LiveSource
from jobmon.server.web.ui.page_router import Answer, PageRouter, View
from jobmon.server.web.ui.workflow_query import (
    EVERYBODY,
    PAGE_SIZE,
    STATUS_WORDS,
    Asked,
    asked_of,
    filter_of,
)

if TYPE_CHECKING:
    from jobmon.server.web.state import ServerState

pages = PageRouter()

MOST_ETAS = 10
"""Workflows of a page whose remaining time is estimated, the newest of those that run."""
ETA_SECONDS = 30
"""Estimates are made again after so long, also where no task has changed."""
RECENT_SECONDS = 300.0
"""What is over for longer is not drawn again: the page shows it as it is."""
COLUMNS = (
    ("id", "Id"),
    ("name", "Name"),
    ("status", "Status"),
    ("", "Tasks"),
    ("", "Time left"),
    ("tool", "Tool"),
    ("owner", "Owner"),
    ("submitted", "Submitted"),
    ("", "Runs"),
)
"""What a column is sorted by, and its heading."""
_SETTLED = frozenset(WorkflowStatus) - WORKFLOW_BEING_RUN - {WorkflowStatus.REGISTERING}


@dataclass(frozen=True)
class Row:
    """A workflow as a row of the table."""

    workflow: ListedWorkflow
    eta: EtaRow | None = None

    @property
    def bar(self) -> Markup:
        """Its tasks, drawn."""
        return row_bar(self.workflow.by_status)

    @property
    def words(self) -> list[tuple[str, int]]:
        """Its tasks in numbers."""
        return task_words(self.workflow.by_status)


def task_words(by_status: Mapping[str, int]) -> list[tuple[str, int]]:
    """Labels of tasks with their numbers, those that there are."""
    return [(label.lower(), count) for label, count in by_label(by_status).items() if count]


@pages.page("/")
def workflows(view: View) -> Answer:
    """Workflows, newest first, or as the address asks for them."""
    asked = asked_of(view.query)
    if not asked.is_tidy and not view.is_fragment:
        return Answer("", 303, headers={"Location": view.url("/", **asked.query(page=asked.page))})
    wanted, problems = filter_of(asked, view.user)
    found, rows = Found([], 0, False, None), []
    if not problems:
        with view.read() as connection:
            found = workflows_find(
                connection,
                wanted,
                sort=asked.sort.removeprefix("-"),
                is_descending=asked.sort.startswith("-"),
                offset=PAGE_SIZE * (asked.page - 1),
                limit=PAGE_SIZE,
                before=asked.before,
            )
            rows = workflows_read_rows(connection, found.ids)
    etas = etas_of(view.state, {row.workflow_id: row for row in rows})
    return view.html(
        "workflows.html",
        asked=asked,
        is_mine=bool(view.user) and (asked.is_mine or asked.filters.get("user") == view.user),
        problems=problems,
        found=found,
        counted=COUNTED,
        columns=COLUMNS,
        first=PAGE_SIZE * (asked.page - 1) + 1,
        rows=[Row(row, etas.get(row.workflow_id)) for row in rows],
        chips=_chips(asked),
        chosen=_chosen_statuses(asked),
        status_words=STATUS_WORDS,
        everybody=EVERYBODY,
        topic=",".join(str(row.workflow_id) for row in rows),
        command=_command(asked, view.user, rows),
    )


def _chips(asked: Asked) -> list[tuple[str, str, str]]:
    """Filters that are set: name, words and value."""
    words = {"tool_id": "tool with id", "from": "submitted from", "to": "submitted to", "args": "arguments"}
    return [
        (name, words.get(name, name), text)
        for name, text in asked.filters.items()
        if (name, text) != ("user", EVERYBODY)
    ]


def _chosen_statuses(asked: Asked) -> frozenset[str]:
    return frozenset(word.strip().lower() for word in asked.filters.get("status", "").split(","))


def _command(asked: Asked, viewer: str, rows: Sequence[ListedWorkflow]) -> str:
    """What shows the same in a shell: the latest of some users, or just the workflows that are shown."""
    users = viewer if asked.is_mine else asked.filters.get("user", "")
    is_by_user = users and not asked.filters.keys() - {"user"} and not set(users) & set("!*")
    if is_by_user and (asked.sort, asked.page, asked.before) == ("-id", 1, None):
        names = [shlex.quote(name.strip()) for name in users.split(",") if name.strip()]
        return " ".join(["jobmon workflow status", *(f"-u {name}" for name in names), f"-l {PAGE_SIZE}"])
    return " ".join(["jobmon workflow status", *(f"-w {row.workflow_id}" for row in rows)]) if rows else ""


# -- estimates --------------------------------------------------------------------------------------------
def etas_of(
    state: ServerState, shown: Mapping[int, ListedWorkflow | ChangingWorkflow]
) -> Mapping[int, EtaRow]:
    """When workflows that run may be done, of the newest of them, as far as it is known already."""
    running = sorted((i for i, row in shown.items() if row.status in WORKFLOW_BEING_RUN), reverse=True)
    chosen = tuple(running[:MOST_ETAS])
    if not chosen:
        return {}
    counts = tuple(tuple(sorted(shown[i].by_status.items())) for i in chosen)
    stamp = (counts, int(time.monotonic() // ETA_SECONDS))
    return state.computed.get(("etas", chosen), stamp, lambda: _estimate(state, chosen)).value or {}


def _estimate(state: ServerState, workflow_ids: Sequence[int]) -> Mapping[int, EtaRow]:
    with state.database.read() as connection:
        now = dialect.utcnow(connection)
        progress = workflows_progress(connection, workflow_ids)
        return {
            workflow_id: workflow_read_eta(connection, workflow_id, progress[workflow_id], now)
            for workflow_id in workflow_ids
            if progress[workflow_id]
        }


# -- what changes by itself -------------------------------------------------------------------------------
def _ids_of(topic: str) -> list[int]:
    ids = [int(item) for item in topic.split(",") if item.isascii() and item.isdigit() and len(item) < 19]
    return ids[:PAGE_SIZE]


def _look(state: ServerState, topic: str) -> tuple[dict[int, ChangingWorkflow], Mapping[int, EtaRow]]:
    ids = _ids_of(topic)
    with state.database.read() as connection:
        shown = workflows_read_changing(connection, ids)
    return shown, etas_of(state, shown)


def _stamp(state: ServerState, topic: str) -> Hashable:
    shown, etas = _look(state, topic)
    return (
        tuple((i, row.status, tuple(sorted(row.by_status.items()))) for i, row in shown.items()),
        tuple((i, eta.remaining_seconds) for i, eta in etas.items()),
    )


def _draw(state: ServerState, topic: str) -> Mapping[str, str]:
    """The cells that change, of rows that are being run or have just ended."""
    shown, etas = _look(state, topic)
    now = datetime.now(UTC).replace(tzinfo=None)
    macros: Any = rendering.environment().get_template("_workflows.html").module
    parts: dict[str, str] = {}
    for workflow_id, row in shown.items():
        if row.status in _SETTLED and now - row.changed > timedelta(seconds=RECENT_SECONDS):
            continue
        parts[f"s{workflow_id}"] = rendering.state(row.status)
        parts[f"p{workflow_id}"] = str(
            macros.tasks(row_bar(row.by_status), task_words(row.by_status))
        ).strip()
        parts[f"e{workflow_id}"] = str(macros.left(etas.get(workflow_id))).strip()
    return parts


LIVE: Mapping[str, LiveSource] = {"workflows": LiveSource(_stamp, _draw)}
