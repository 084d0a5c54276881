"""One task: its attempts, what they wrote, and what stands around it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from jobmon.core.exceptions import NotFoundError
from jobmon.core.states import TASK_TERMINAL, TaskStatus, WorkflowStatus
from jobmon.core.words import CAUSE_WORDS
from jobmon.serializers.explain import Past, PastComparison, Reason
from jobmon.server.web import dialect
from jobmon.server.web.analysis.explain import explain
from jobmon.server.web.state import ServerState
from jobmon.server.web.store.explain import task_read_facts, task_read_row
from jobmon.server.web.store.neighbourhood import (
    LIST_CHARACTERS,
    task_read_neighbourhood,
    upstream_read_size,
)
from jobmon.server.web.store.past import task_args_read, task_read_past
from jobmon.server.web.store.remote import workflow_read_conditions
from jobmon.server.web.store.task_page import (
    Attempts,
    attempt_read_texts,
    task_read_attempts,
    task_read_attributes,
    task_read_stamp,
)
from jobmon.server.web.store.template_page import nodes_read_args
from jobmon.server.web.ui import rendering
from jobmon.server.web.ui.browser import UI
from jobmon.server.web.ui.drawing.neighbourhood import neighbourhood_drawing
from jobmon.server.web.ui.error_samples import plain
from jobmon.server.web.ui.live import LiveSource, Parts
from jobmon.server.web.ui.log_text import clean_log
from jobmon.server.web.ui.page_router import Answer, PageRouter, View

pages = PageRouter()
PER_LEVEL = 15
MOST_STEPS = 4
COMMAND_CHARACTERS = 20_000
FRESH_SECONDS = 5
"""So often the reasons of a task that waits are looked at again."""


@dataclass(frozen=True)
class Why:
    """Why a task is where it is.

    Attributes:
        reasons: the most important one first.
        past: the same task in an earlier workflow.
        conditions: what is the matter with the clusters.
    """

    reasons: list[Reason]
    past: PastComparison
    conditions: list[str]


@pages.page("/task/{task_id}")
def task(view: View, task_id: int) -> Answer:
    """One task."""
    with view.read() as connection:
        row = task_read_row(connection, task_id)
        attempts = task_read_attempts(connection, task_id)
        last = attempts.shown[-1] if attempts.shown else None
        texts = None if last is None else plain(attempt_read_texts(connection, task_id, last.id))
        around = task_read_neighbourhood(connection, row, 1, 1, PER_LEVEL)
        node_args = nodes_read_args(connection, [row.node_id]).get(row.node_id, {})
        task_args = task_args_read(connection, [task_id]).get(task_id, {})
        attributes = task_read_attributes(connection, task_id)
        is_cheap = (
            TaskStatus(row.status) in TASK_TERMINAL
            and upstream_read_size(connection, row.dag_id, row.node_id) <= LIST_CHARACTERS
        )
        why = _why(connection, row) if is_cheap else None
    return view.html(
        "task.html",
        **_shown_values(row, attempts, _base_of(view)),
        command_text=clean_log(row.command)[:COMMAND_CHARACTERS],
        is_command_cut=len(row.command) > COMMAND_CHARACTERS,
        last=last,
        texts=texts,
        around=around,
        upstream=around.of_level(-1),
        downstream=around.of_level(1),
        drawing=neighbourhood_drawing(around, lambda each: view.url(f"/task/{each}")),
        args=[("node arg", node_args), ("task arg", task_args), ("attribute", attributes)],
        why=why,
        found=None if why is not None else _waiting_why(view, row),
        why_path=view.url(f"/task/{task_id}/why"),
        past_kinds=Past,
    )


@pages.page("/task/{task_id}/why")
def task_why(view: View, task_id: int) -> Answer:
    """Why a task is where it is: the part of its page that may take a moment."""
    with view.read() as connection:
        row = task_read_row(connection, task_id)
    found = _waiting_why(view, row)
    return view.html(
        "_task_why.html" if view.is_fragment else "task_why.html",
        why=None,
        found=found,
        task=row,
        why_path=view.url(f"/task/{task_id}/why"),
        past_kinds=Past,
    )


def _waiting_why(view: View, row: Any) -> Any:
    """Reasons of a task that waits, or of one with very many upstream tasks: found beside the requests."""
    state, task_id = view.state, row.id

    def work() -> Why:
        with state.database.read() as connection:
            return _why(connection, task_read_row(connection, task_id))

    with view.read() as connection:
        stamp = int(view.now(connection).timestamp() // FRESH_SECONDS)
    return view.computed.get(("why", task_id, row.status, row.status_date), stamp, work)


def _why(connection: Connection, row: Any) -> Why:
    facts = task_read_facts(connection, row)
    return Why(
        explain(facts, dialect.utcnow(connection)),
        task_read_past(connection, row),
        workflow_read_conditions(connection, row.workflow_id),
    )


@pages.page("/task/{task_id}/attempt/{task_instance_id}")
def attempt(view: View, task_id: int, task_instance_id: int) -> Answer:
    """What one attempt wrote, and its history."""
    with view.read() as connection:
        row = task_read_row(connection, task_id)
        attempts = task_read_attempts(connection, task_id)
        texts = plain(attempt_read_texts(connection, task_id, task_instance_id))
    shown = next((each for each in attempts.shown if each.id == task_instance_id), None)
    if shown is None:
        raise NotFoundError(
            f"Attempt {task_instance_id} of task {task_id} is older than those that are shown."
        )
    return view.html(
        "_task_attempt.html" if view.is_fragment else "task_attempt.html",
        task=row,
        attempt=shown,
        texts=texts,
        history=[change for change in attempts.history if change.task_instance_id == task_instance_id],
        cause_words=CAUSE_WORDS,
    )


@pages.page("/task/{task_id}/graph")
def graph(view: View, task_id: int, up: int = 2, down: int = 2) -> Answer:
    """What stands around a task, some steps up and down."""
    up, down = (max(0, min(MOST_STEPS, steps)) for steps in (up, down))
    with view.read() as connection:
        row = task_read_row(connection, task_id)
        around = task_read_neighbourhood(connection, row, up, down, PER_LEVEL)
    levels = sorted({each.level for each in around.tasks} - {0}, key=lambda level: (level > 0, abs(level)))
    return view.html(
        "task_graph.html",
        task=row,
        task_status=TaskStatus(row.status),
        around=around,
        levels=levels,
        up=up,
        down=down,
        most=MOST_STEPS,
        drawing=neighbourhood_drawing(
            around, lambda each: view.url(f"/task/{each}/graph", up=str(up), down=str(down))
        ),
    )


# -- live ------------------------------------------------------------------------------------------------
def _base_of(view: View) -> str:
    return f"{view.request.scope.get('root_path', '')}{UI}"


def _shown_values(row: Any, attempts: Attempts, base: str) -> dict[str, Any]:
    """What the parts that change by themselves show."""
    return {
        "task": row,
        "task_status": TaskStatus(row.status),
        "workflow_status": WorkflowStatus(row.workflow_status),
        "num_counted": row.num_attempts - row.num_infrastructure_losses,
        "attempts": attempts,
        "base": base,
        "cause_words": CAUSE_WORDS,
    }


def _task_id(key: str) -> int:
    if not key.isdigit():
        raise NotFoundError(f"'{key}' is no task.")
    return int(key)


def _stamp(state: ServerState, key: str) -> Any:
    with state.database.read() as connection:
        return task_read_stamp(connection, _task_id(key))


def _draw(state: ServerState, key: str) -> Parts:
    with state.database.read() as connection:
        row = task_read_row(connection, _task_id(key))
        attempts = task_read_attempts(connection, row.id)
    root_path = str(state.config.get("server", "root_path")).rstrip("/")
    values = _shown_values(row, attempts, f"{root_path}{UI}")
    return {
        "status": rendering.render("_task_status.html", **values),
        "attempts": rendering.render("_task_attempts.html", **values),
    }


LIVE: Mapping[str, LiveSource] = {"task": LiveSource(_stamp, _draw)}
