"""What ``workflow.run()`` shows: a bar on a terminal, some lines in a file, and a last word at the end.

Everything goes to stderr. ``progress.enabled: false`` in the configuration switches it off.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from jobmon.client.failures import describe_failure, failures_alike
from jobmon.core.states import TaskStatus, WorkflowRunStatus, label
from jobmon.core.words import describe_duration, rough_duration, thousands

if TYPE_CHECKING:
    from jobmon.client.result import WorkflowRunResult
    from jobmon.serializers.monitor import EtaRow, TaskErrorRow
    from jobmon.swarm.controller import Progress

QUIET_SECONDS = 2.0
"""Registration that takes no longer is not mentioned, and lines in a file are at least so far apart."""

LINE_SECONDS = 10.0
"""In a file there is at most one line in this time, unless much has happened."""

LINE_FRACTION = 0.1
"""Much: this part of the tasks."""

NOTHING_WRONG = "All clusters answer again."
"""Said when a notice has become void."""

SHOWN_KINDS = 3
"""Kinds of failures told at the end, each by an example."""

SHOWN_ERROR_LINES = 5
"""Lines shown of the error of each."""


class RunDisplay(Protocol):
    """Shows a run while it goes on."""

    def start(self, headline: str) -> None:
        """The run begins."""
        ...

    def update(self, progress: Progress) -> None:
        """Something changed; called from the controller's thread."""
        ...

    def pause(self) -> None:
        """Leave the terminal to a question."""
        ...

    def proceed(self) -> None:
        """Take the terminal back."""
        ...

    def stop(self) -> None:
        """The run is over."""
        ...


class SilentDisplay:
    """Shows nothing."""

    def start(self, headline: str) -> None:
        """Nothing."""

    def update(self, progress: Progress) -> None:
        """Nothing."""

    def pause(self) -> None:
        """Nothing."""

    def proceed(self) -> None:
        """Nothing."""

    def stop(self) -> None:
        """Nothing."""


class LineDisplay:
    """Writes a line now and then.

    Args:
        stream: where to.
        clock: seconds, growing.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._clock = stream, clock
        self._last_at = 0.0
        self._last_ended: int | None = None
        self._last_notice = ""

    def start(self, headline: str) -> None:
        """Write the first line."""
        say(self._stream, headline)
        self._last_at = self._clock()

    def update(self, progress: Progress) -> None:
        """Write a line when enough time has passed or enough has happened since the last one."""
        if progress.notice != self._last_notice:
            self._last_notice = progress.notice
            say(self._stream, f"  {progress.notice or NOTHING_WRONG}")
        ended = progress.done + progress.failed
        if self._last_ended is None:
            self._last_ended = ended
        since = self._clock() - self._last_at
        has_moved = since >= QUIET_SECONDS and ended - self._last_ended >= progress.total * LINE_FRACTION
        is_due = since >= LINE_SECONDS
        if (has_moved or is_due) and self._last_ended < ended < progress.total:
            self._last_at, self._last_ended = self._clock(), ended
            say(self._stream, f"  {counts(progress)}, {describe_duration(progress.elapsed_seconds)}")

    def pause(self) -> None:
        """Nothing: lines disturb nobody."""

    def proceed(self) -> None:
        """Nothing."""

    def stop(self) -> None:
        """Nothing: the last word is the result."""


class BarDisplay:
    """Draws a progress bar on a terminal.

    Args:
        stream: the terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bar

        self._stream = stream
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(file=stream),
            transient=True,
        )
        self._task: Any = None
        self._last_notice = ""

    def start(self, headline: str) -> None:
        """Draw the bar below the first line."""
        say(self._stream, headline)
        self._task = self._bar.add_task("waiting", total=None)
        self._bar.start()

    def update(self, progress: Progress) -> None:
        """Move the bar."""
        if progress.notice != self._last_notice:
            self._last_notice = progress.notice
            text = f"  {progress.notice or NOTHING_WRONG}"
            self._bar.console.print(text, markup=False, highlight=False)
        words = f"{progress.running} running"
        if progress.failed:
            words += f", [red]{progress.failed} failed[/red]"
        self._bar.update(self._task, total=progress.total, completed=progress.done, description=words)

    def pause(self) -> None:
        """Take the bar away."""
        self._bar.stop()

    def proceed(self) -> None:
        """Draw the bar again."""
        self._bar.start()

    def stop(self) -> None:
        """Take the bar away."""
        self._bar.stop()


def choose_display(is_enabled: bool, stream: TextIO | None = None) -> RunDisplay:
    """The display that fits where stderr goes; in a notebook a bar in the output of the cell."""
    if is_enabled and stream is None:
        from jobmon.client.notebook import NotebookDisplay, is_notebook

        if is_notebook():
            return NotebookDisplay()
    stream = stream if stream is not None else sys.stderr
    if not is_enabled or stream is None:
        return SilentDisplay()
    return BarDisplay(stream) if stream.isatty() else LineDisplay(stream)


class BindDisplay:
    """Says how far registration is, once it has taken a while.

    Args:
        total: steps there are.
        is_enabled: say anything at all.
        stream: where to; stderr by default.
        clock: seconds, growing.
    """

    def __init__(
        self,
        total: int,
        is_enabled: bool = True,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total, self._is_enabled, self._clock = total, is_enabled, clock
        self._stream = stream if stream is not None else sys.stderr
        self._count = 0
        self._due_at = clock() + QUIET_SECONDS

    def advance(self, what: str, count: int) -> None:
        """So many more were registered."""
        self._count += count
        if self._is_enabled and self._stream is not None and self._clock() >= self._due_at:
            self._due_at = self._clock() + (QUIET_SECONDS if self._stream.isatty() else LINE_SECONDS)
            say(self._stream, f"  registering {what}: {self._count / self._total:.0%}")


# ---------------------------------------------------------------------------------------------------
# Words


def say(stream: TextIO, text: str) -> None:
    """Write a line; a stream that is closed or full is no reason to end a run."""
    try:
        print(text, file=stream, flush=True)
    except (OSError, ValueError):
        pass


def counts(progress: Progress) -> str:
    """How many tasks are in which state, in words."""
    words = [f"{progress.done} of {progress.total} done", f"{progress.running} running"]
    if progress.failed:
        words.append(f"{progress.failed} failed")
    return ", ".join(words)


def describe_eta(eta: EtaRow) -> str:
    """How far, how fast, how long yet, and where that comes from: ``45 % done, 120 tasks a minute, about …``."""
    return ", ".join([*eta_words(eta), eta.how])


def eta_words(eta: EtaRow) -> list[str]:
    """How far, how fast, how long yet; what is not known is left out."""
    words = [f"{math.floor(eta.percent_done)} % done"]
    if eta.rate_per_minute is not None:
        words.append(_rate(eta.rate_per_minute))
    if eta.remaining_seconds is not None and eta.low_seconds is not None and eta.high_seconds is not None:
        about = f"about {rough_duration(eta.remaining_seconds)} left"
        low, high = rough_duration(eta.low_seconds), rough_duration(eta.high_seconds)
        words.append(about if low == high else f"{about} ({low} – {high})")
    return words


def _rate(per_minute: float) -> str:
    if per_minute >= 600:
        return f"{per_minute / 60:.0f} tasks a second"
    if per_minute >= 1:
        return f"{per_minute:.0f} tasks a minute" if per_minute >= 1.5 else "1 task a minute"
    per_hour = per_minute * 60
    return f"{per_hour:.0f} tasks an hour" if per_hour >= 1.5 else f"{per_hour * 24:.0f} tasks a day"


def title(workflow_id: int, name: str) -> str:
    """How a workflow is spoken of."""
    return f"workflow {workflow_id} '{name}'" if name else f"workflow {workflow_id}"


def last_words(result: WorkflowRunResult, name: str, errors: list[TaskErrorRow]) -> str:
    """What to say at the end of a run: how it ended, what failed and why, and what to type next.

    Args:
        result: what became of the run.
        name: name of the workflow.
        errors: errors of its tasks, latest first.
    """
    status = label(WorkflowRunStatus(str(result)))
    not_run = sum(each == TaskStatus.REGISTERED.value for each in result.task_final_statuses.values())
    lines = [
        f"{title(result.workflow_id, name)}: {status}, {result.done_count} of {result.total_tasks} tasks done"
        + (f" ({result.num_previously_complete} of them before)" if result.num_previously_complete else "")
        + (f", {result.failed_count} failed" if result.failed_count else "")
        + (f", {not_run} not run" if not_run else "")
        + f", in {describe_duration(result.elapsed_time)}"
    ]
    if str(result) == WorkflowRunStatus.DONE.value:
        return "\n".join([*lines, f"  look closer:  jobmon workflow status -w {result.workflow_id}"])
    lines += _failures_by_kind(_latest_of_each(errors, result.failed_task_ids), result.failed_count)
    lines.append(f"  look closer:  jobmon workflow status -w {result.workflow_id}")
    if result.failed_count > 1:
        lines.append(f"                jobmon workflow errors {result.workflow_id}")
    if status == label(WorkflowRunStatus.TERMINATED):
        lines.append("  it was stopped, or taken over, from elsewhere")
    else:
        first = "mend what failed, then " if result.failed_count else ""
        lines.append(how_to_go_on(result.workflow_id, first))
    return "\n".join(lines)


def how_to_go_on(workflow_id: int, first: str = "") -> str:
    """What to do to resume a workflow, after what is to be done first."""
    return (
        f"  go on:        {first}call run(resume=True) in the same script, or type\n"
        f"                jobmon workflow resume -w {workflow_id}"
    )


def _failures_by_kind(rows: list[TaskErrorRow], num_failed: int) -> list[str]:
    """An example of each kind of failure, with the number of tasks that failed like it."""
    lines, num_shown = [], 0
    for alike in failures_alike(rows)[:SHOWN_KINDS]:
        headline, *rest = describe_failure(alike[0], SHOWN_ERROR_LINES, with_resume=False).splitlines()
        count = len(alike)
        lines.append(
            f"  {thousands(count)} failed, for example {headline}" if count > 1 else f"  failed: {headline}"
        )
        lines += [f"  {line}" for line in rest]
        num_shown += count
    if num_failed > num_shown > 0:
        lines.append(f"  … and {thousands(num_failed - num_shown)} more")
    return lines


def _latest_of_each(errors: list[TaskErrorRow], failed_task_ids: frozenset[int]) -> list[TaskErrorRow]:
    latest: dict[int, TaskErrorRow] = {}
    for row in errors:
        if row.task_id in failed_task_ids and (
            row.task_id not in latest
            or latest[row.task_id].task_instance_error_log_id < row.task_instance_error_log_id
        ):
            latest[row.task_id] = row
    return list(latest.values())
