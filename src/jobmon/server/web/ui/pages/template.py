"""The tasks of one template in a workflow: a table of them, what they used, what went wrong."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from jobmon.core.constants import MaxConcurrentlyRunning
from jobmon.core.exceptions import NotFoundError, UsageError
from jobmon.core.states import TASK_STATUSES_OF_USER_LABEL, USER_LABELS, TaskStatus
from jobmon.server.web.state import ServerState
from jobmon.server.web.store import failures
from jobmon.server.web.store.template_attempts import (
    USAGE_COLUMNS,
    Place,
    array_read_usage_page,
    array_read_usage_sample,
)
from jobmon.server.web.store.template_head import TemplateHead, template_read_head
from jobmon.server.web.store.template_page import (
    Order,
    ShownTask,
    TaskFilter,
    tasks_read_page,
)
from jobmon.server.web.ui import rendering
from jobmon.server.web.ui.csv_rows import csv_answer
from jobmon.server.web.ui.drawing.bars import by_label
from jobmon.server.web.ui.error_samples import Sample, sample_of
from jobmon.server.web.ui.live import LiveSource, Parts
from jobmon.server.web.ui.log_text import clean_log
from jobmon.server.web.ui.page_router import Answer, PageRouter, View
from jobmon.server.web.ui.usage_figures import UsageChoice, usage_figures

pages = PageRouter()
PER_PAGE = 100
CSV_PAGE = 2000
SHOWN_CLUSTERS = 50
ARG = "arg."
"""Begins the names of query parameters that are values of node args."""


def _base(head: TemplateHead) -> str:
    return f"/workflow/{head.workflow_id}/template/{head.array_id}"


def _live_key(head: TemplateHead) -> str:
    return f"{head.workflow_id}/{head.array_id}"


def _head_values(head: TemplateHead) -> dict[str, Any]:
    """What every page of a template shows."""
    return {
        "head": head,
        "base": _base(head),
        "live": f"/live/template/{_live_key(head)}",
        "counts": by_label(head.progress.by_status),
        "is_unlimited": head.limit >= MaxConcurrentlyRunning.MAXCONCURRENTLYRUNNING,
    }


# -- the table of tasks ----------------------------------------------------------------------------------
@pages.page("/workflow/{workflow_id}/template/{array_id}")
def template(
    view: View,
    workflow_id: int,
    array_id: int,
    status: list[str] = [],  # noqa: B006 - never changed
    name: str = "",
    sort: str = "",
    after: int | None = None,
) -> Answer:
    """The tasks of a template, a page at a time."""
    wanted = task_filter(view.query, status, name, sort)
    with view.read() as connection:
        head = template_read_head(connection, workflow_id, array_id)
        found = tasks_read_page(connection, head, wanted, after, PER_PAGE)
    query = _query_of(wanted, status, sort)
    return view.html(
        "template.html",
        **_head_values(head),
        page=found,
        wanted=wanted,
        chosen=_chosen(status),
        query=query,
        after=after,
        statuses=list(TaskStatus),
        user_labels=USER_LABELS,
        labels=TASK_STATUSES_OF_USER_LABEL,
        num_wanted=_num_wanted(head, wanted),
        arg_prefix=ARG,
        command=_tasks_command(head, wanted, _chosen(status)),
    )


@pages.page("/workflow/{workflow_id}/template/{array_id}/tasks.csv")
def tasks_csv(
    view: View,
    workflow_id: int,
    array_id: int,
    status: list[str] = [],  # noqa: B006 - never changed
    name: str = "",
    sort: str = "",
) -> Answer:
    """The same tasks as a file, all of them."""
    wanted = task_filter(view.query, status, name, sort)
    with view.read() as connection:
        head = template_read_head(connection, workflow_id, array_id)
        tasks_read_page(
            connection, head, wanted, None, 1
        )  # what is refused is refused before the file begins
    columns = (
        *("task_id", "task_name", "status", "attempts", "max_attempts", "status_date"),
        *(f"arg_{arg}" for arg in head.node_args),
        *("last_task_instance_id", "last_status", "node", "runtime_seconds", "memory_gib"),
    )
    file_name = f"tasks_{workflow_id}_{_file_part(head.name)}.csv"
    return csv_answer(file_name, columns, _task_pages(view, head, wanted))


def _task_pages(view: View, head: TemplateHead, wanted: TaskFilter) -> Iterator[list[list[Any]]]:
    after: int | None = None
    while True:
        with view.read() as connection:
            found = tasks_read_page(connection, head, wanted, after, CSV_PAGE)
        yield [_task_cells(head, task) for task in found.tasks]
        after = found.next_after
        if after is None:
            return


def _task_cells(head: TemplateHead, task: ShownTask) -> list[Any]:
    last = task.attempt
    return [
        *(task.id, task.name, task.status.name, task.num_attempts, task.max_attempts),
        task.status_date.isoformat(timespec="seconds"),
        *(task.node_args.get(arg, "") for arg in head.node_args),
        *(
            ("", "", "", "", "")
            if last is None
            else (
                last.id,
                last.status.name,
                last.nodename,
                last.runtime,
                None if last.memory is None else round(last.memory / (1 << 30), 4),
            )
        ),
    ]


def task_filter(query: list[tuple[str, str]], status: list[str], name: str, sort: str) -> TaskFilter:
    """Which tasks the query of an address asks for.

    Raises:
        UsageError: a status or an order is not known.
    """
    if sort and sort not in list(Order):
        raise UsageError(f"Tasks can be sorted by {', '.join(Order)}, not by '{sort}'.")
    statuses = frozenset(each.value for text in _chosen(status) for each in _statuses(text))
    node_args = {key[len(ARG) :]: value for key, value in query if key.startswith(ARG) and value}
    return TaskFilter(statuses, name.strip(), node_args, Order(sort) if sort else _fitting_order(statuses))


def _fitting_order(statuses: frozenset[str]) -> Order:
    """In which order tasks in these states are found soonest."""
    if not statuses:
        return Order.ID
    return Order.LAST_ID if TaskStatus.REGISTERED in statuses else Order.NEWEST


def _chosen(status: list[str]) -> list[str]:
    return [part.strip().upper() for text in status for part in text.split(",") if part.strip()]


def _statuses(text: str) -> tuple[TaskStatus, ...]:
    """Statuses of a label that users know, of a letter, or of a name."""
    if text in TASK_STATUSES_OF_USER_LABEL:
        return tuple(TASK_STATUSES_OF_USER_LABEL[text])
    for status in TaskStatus:
        if text in (status.value, status.name):
            return (status,)
    raise UsageError(
        f"'{text}' is no status of tasks: {', '.join(USER_LABELS)}, or a letter of "
        f"{', '.join(status.value for status in TaskStatus)}."
    )


def _num_wanted(head: TemplateHead, wanted: TaskFilter) -> int | None:
    """How many tasks there are of what is wanted; ``None``: nobody counts those."""
    if wanted.name or wanted.node_args:
        return None
    by_status = head.progress.by_status
    return sum(n for status, n in by_status.items() if not wanted.statuses or status in wanted.statuses)


def _query_of(wanted: TaskFilter, status: list[str], sort: str) -> dict[str, Any]:
    args = {f"{ARG}{name}": value for name, value in wanted.node_args.items()}
    return {"status": _chosen(status), "name": wanted.name, "sort": sort, **args}


def _tasks_command(head: TemplateHead, wanted: TaskFilter, chosen: list[str]) -> str:
    words = ["jobmon", "workflow", "tasks", str(head.workflow_id), "--template", head.name]
    labels = [label for label in chosen if label in USER_LABELS]
    words += ["-s", *labels] if labels else []
    for name, value in wanted.node_args.items():
        words += ["--node-arg", f"{name}={value}"]
    return shlex.join([*words, "-l", str(PER_PAGE)])


def _file_part(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", name)[:60] or "template"


# -- resources -------------------------------------------------------------------------------------------
@pages.page("/workflow/{workflow_id}/template/{array_id}/usage")
def usage(
    view: View,
    workflow_id: int,
    array_id: int,
    attempt: str = "",
    outcome: str = "",
    place: str = "",
) -> Answer:
    """What the tasks of a template used, against what they asked for."""
    choice = UsageChoice(attempt, outcome, place)
    state = view.state
    with view.read() as connection:
        head = template_read_head(connection, workflow_id, array_id)

    def work() -> Any:
        with state.database.read() as connection:
            return array_read_usage_sample(connection, array_id, head.progress)

    stamp = msgspec.json.encode([head.progress.by_status, head.progress.retries])
    found = view.computed.get(("usage", array_id), stamp, work)
    figures = None if found.value is None else usage_figures(found.value, choice, head.name)
    query = {"attempt": attempt, "outcome": outcome, "place": place}
    values = {
        **_head_values(head),
        "found": found,
        "figures": figures,
        "choice": choice,
        "path": view.url(f"{_base(head)}/usage", **query),
        "command": shlex.join(
            ["jobmon", "workflow", "resources", "usage", "-w", str(workflow_id), "--template", head.name]
        ),
    }
    return view.html("_template_usage.html" if view.is_fragment else "template_usage.html", **values)


@pages.page("/workflow/{workflow_id}/template/{array_id}/usage.csv")
def usage_csv(view: View, workflow_id: int, array_id: int) -> Answer:
    """All attempts as a file."""
    with view.read() as connection:
        head = template_read_head(connection, workflow_id, array_id)

    def rows() -> Iterator[list[tuple[Any, ...]]]:
        after: Place | None = None
        while True:
            with view.read() as connection:
                found, after = array_read_usage_page(connection, array_id, after)
            yield found
            if after is None:
                return

    return csv_answer(f"usage_{workflow_id}_{_file_part(head.name)}.csv", USAGE_COLUMNS, rows())


# -- errors ----------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _ErrorChoice:
    """Which failure is looked at: its kind and which of its tasks, both counted from 1; 0: none."""

    kind: int
    sample: int
    is_everything: bool


@pages.page("/workflow/{workflow_id}/template/{array_id}/errors")
def errors(
    view: View, workflow_id: int, array_id: int, kind: int = 0, sample: int = 1, every: str = ""
) -> Answer:
    """What went wrong with the tasks of a template: failures that are alike together."""
    choice = _ErrorChoice(kind, max(1, sample), every == "yes")
    state = view.state
    with view.read() as connection:
        head = template_read_head(connection, workflow_id, array_id)

    def work() -> failures.ArrayErrors:
        with state.database.read() as connection:
            return failures.array_read_errors(
                connection, workflow_id, array_id, SHOWN_CLUSTERS, is_recent=not choice.is_everything
            )

    stamp = msgspec.json.encode([head.progress.by_status, head.progress.retries])
    found = view.computed.get(("errors", array_id, choice.is_everything), stamp, work)
    shown: Sample | None = None
    tasks: list[Any] = []
    if found.value is not None and choice.kind:
        shown, tasks = _sample(view, workflow_id, found.value, choice)
    query = {"kind": kind or None, "sample": sample if kind else None, "every": every}
    values = {
        **_head_values(head),
        "found": found,
        "errors": found.value,
        "choice": choice,
        "sample": shown,
        "tasks": tasks,
        "clean": clean_log,
        "path": view.url(f"{_base(head)}/errors", **query),
        "command": f"jobmon workflow errors {workflow_id}" + (" --all" if choice.is_everything else ""),
    }
    return view.html("_template_errors.html" if view.is_fragment else "template_errors.html", **values)


def _sample(
    view: View, workflow_id: int, found: failures.ArrayErrors, choice: _ErrorChoice
) -> tuple[Sample | None, list[Any]]:
    if not 1 <= choice.kind <= len(found.clusters):
        raise NotFoundError("There is no such kind of failure any more; the list of them may have changed.")
    _, task_ids = found.clusters[choice.kind - 1]
    with view.read() as connection:
        return sample_of(connection, workflow_id, task_ids, choice.sample)


# -- live ------------------------------------------------------------------------------------------------
def _ids_of(key: str) -> tuple[int, int]:
    workflow_id, _, array_id = key.partition("/")
    if not (workflow_id.isdigit() and array_id.isdigit()):
        raise NotFoundError(f"'{key}' names no template of a workflow.")
    return int(workflow_id), int(array_id)


def _stamp(state: ServerState, key: str) -> Any:
    with state.database.read() as connection:
        head = template_read_head(connection, *_ids_of(key))
    return msgspec.json.encode([head.progress.by_status, head.progress.retries, head.workflow_status])


def _draw(state: ServerState, key: str) -> Parts:
    with state.database.read() as connection:
        head = template_read_head(connection, *_ids_of(key))
    return {"progress": rendering.render("_template_progress.html", **_head_values(head))}


LIVE: Mapping[str, LiveSource] = {"template": LiveSource(_stamp, _draw)}
