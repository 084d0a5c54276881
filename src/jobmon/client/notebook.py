"""Workflows and runs as notebooks show them: HTML without scripts, links or style sheets; everything escaped."""

from __future__ import annotations

import contextvars
import html
import importlib
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jobmon.core.states import TASK_USER_LABEL, USER_LABELS, TaskStatus, WorkflowRunStatus, label

if TYPE_CHECKING:
    from jobmon.client.result import WorkflowRunResult
    from jobmon.client.workflow import Workflow
    from jobmon.swarm.controller import Progress

REDRAW_SECONDS = 0.5


# -- tables -------------------------------------------------------------------------------------------
def _table(heading: str, rows: Sequence[tuple[str, object]], commands: Sequence[str] = ()) -> str:
    lines = [f"<b>{html.escape(heading)}</b>", "<table>"]
    lines += [
        f'<tr><th style="text-align:left">{html.escape(name)}</th>'
        f'<td style="text-align:left">{html.escape(str(value))}</td></tr>'
        for name, value in rows
    ]
    lines.append("</table>")
    if commands:
        lines.append("<pre>" + "\n".join(html.escape(command) for command in commands) + "</pre>")
    return f"<div>{''.join(lines)}</div>"


def _counts(statuses: Sequence[str]) -> list[tuple[str, object]]:
    """How many tasks users see in which state, those there are."""
    found = Counter(TASK_USER_LABEL[TaskStatus(letter)] for letter in statuses)
    return [(name, found[name]) for name in USER_LABELS if found[name]]


def workflow_html(workflow: Workflow) -> str:
    """A workflow: what it is, how many tasks of which template, how far it was when that was last heard of."""
    name = f" '{workflow.name}'" if workflow.name else ""
    number = f" {workflow.workflow_id}" if workflow.is_bound else ""
    templates = ", ".join(f"{template}: {len(array.tasks)}" for template, array in workflow.arrays.items())
    rows: list[tuple[str, object]] = [("args", workflow.workflow_args), ("tasks", len(workflow.tasks))]
    if templates:
        rows.append(("of templates", templates))
    known = [task._final_status or task._initial_status for task in workflow.tasks.values()]
    if workflow._last_result is not None:
        rows.append(("last run", label(WorkflowRunStatus(str(workflow._last_result)))))
    if workflow.is_bound:
        rows += _counts([str(letter) for letter in known if letter])
        return _table(f"Workflow{number}{name}", rows, _look_closer(workflow.workflow_id))
    rows.append(("registered", "no; run() or bind() registers it"))
    return _table(f"Workflow{name}", rows)


def result_html(result: WorkflowRunResult) -> str:
    """What became of a run."""
    status = label(WorkflowRunStatus(str(result)))
    rows: list[tuple[str, object]] = [
        ("status", f"{result} ({status})"),
        ("tasks", result.total_tasks),
        ("done", f"{result.done_count} ({result.num_previously_complete} of them before)"),
        ("failed", result.failed_count),
        ("seconds", f"{result.elapsed_time:.1f}"),
    ]
    if result.is_detached:
        rows.append(("log", result.log))
        commands = [f"jobmon workflow {verb} {result.workflow_id}" for verb in ("attach", "wait", "stop")]
    else:
        rows += [
            (name, number)
            for name, number in _counts(list(result.task_final_statuses.values()))
            if name not in ("DONE", "FATAL")
        ]
        commands = _look_closer(result.workflow_id)
        if result.failed_count:
            commands.append(f"jobmon workflow errors {result.workflow_id}")
        if status != label(WorkflowRunStatus.DONE):
            commands.append(f"jobmon workflow resume {result.workflow_id}")
    return _table(f"Run {result.workflow_run_id} of workflow {result.workflow_id}", rows, commands)


def _look_closer(workflow_id: int) -> list[str]:
    return [f"jobmon workflow status -w {workflow_id}"]


# -- a live bar ---------------------------------------------------------------------------------------
def is_notebook() -> bool:
    """Whether this process is the kernel of a notebook; nothing is imported to find out."""
    ipython = sys.modules.get("IPython")
    shell: Any = ipython.get_ipython() if ipython is not None and "ipykernel" in sys.modules else None
    return shell is not None and getattr(shell, "kernel", None) is not None


def _ipython_display() -> Any:
    return importlib.import_module("IPython.display")


class NotebookDisplay:
    """A progress bar in the output of a cell, drawn again at most twice a second."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._headline = ""
        self._drawn_at = 0.0
        self._latest: Progress | None = None
        self._context = contextvars.copy_context()

    def start(self, headline: str) -> None:
        """Draw the empty bar."""
        self._headline = headline
        # The kernel finds the cell that output belongs to in the context; the controller's thread has another one.
        self._context = contextvars.copy_context()
        ipython = _ipython_display()
        self._handle = ipython.display(ipython.HTML(bar_html(headline, None)), display_id=True)

    def update(self, progress: Progress) -> None:
        """Move the bar, unless that was done a moment ago."""
        self._latest = progress
        if time.monotonic() - self._drawn_at >= REDRAW_SECONDS:
            self._draw()

    def _draw(self) -> None:
        self._drawn_at = time.monotonic()
        if self._handle is not None:
            drawn = _ipython_display().HTML(bar_html(self._headline, self._latest))
            self._context.copy().run(self._handle.update, drawn)

    def pause(self) -> None:
        """Nothing: the bar disturbs nobody."""

    def proceed(self) -> None:
        """Nothing."""

    def stop(self) -> None:
        """Draw the last state."""
        if self._latest is not None:
            self._draw()


def bar_html(headline: str, progress: Progress | None) -> str:
    """A bar and the counts below it."""
    from jobmon.client.progress import counts
    from jobmon.core.words import describe_duration

    if progress is None:
        return f"<div>{html.escape(headline)}</div>"
    words = f"{counts(progress)}, {describe_duration(progress.elapsed_seconds)}"
    return (
        f"<div>{html.escape(headline)}<br>"
        f'<progress value="{progress.done}" max="{max(1, progress.total)}" style="width:30em"></progress><br>'
        f"{html.escape(words)}{f'<br>{html.escape(progress.notice)}' if progress.notice else ''}</div>"
    )
