"""When what ran: attempts and tasks of a run, counted by intervals of time in the database. Reads only.

Whatever the number of attempts, what comes back is bounded: by the intervals, and by the rows that can be drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import BigInteger, Connection, Select, case, cast, func, literal, select

from jobmon.core.states import (
    TASK_INSTANCE_LIVE,
    TASK_TERMINAL,
    WORKFLOW_RUN_TERMINAL,
    TaskInstanceStatus,
    TaskStatus,
)
from jobmon.server.web.dialect import epoch_seconds
from jobmon.server.web.models import Array, Task, TaskInstance, WorkflowRun

CURVE_INTERVALS: Final = 150
TIMELINE_INTERVALS: Final = 120
MAX_BARS: Final = 1000
"""Attempts that are drawn one by one; of more, only their numbers by interval are read."""
MAX_ROWS: Final = 40
"""Templates or nodes of a timeline: those with the most attempts."""
_BEFORE = frozenset({TaskInstanceStatus.QUEUED, TaskInstanceStatus.INSTANTIATED, TaskInstanceStatus.LAUNCHED})
_STARTED: Final = tuple(status.value for status in TaskInstanceStatus if status not in _BEFORE)


@dataclass(frozen=True, slots=True)
class Window:
    """The time of a run, in intervals of whole seconds.

    Attributes:
        start: when it began (naive UTC).
        step_seconds: length of an interval.
        count: number of intervals.
    """

    start: datetime
    step_seconds: int
    count: int

    @property
    def end(self) -> datetime:
        """End of the last interval."""
        return self.start + timedelta(seconds=self.step_seconds * self.count)

    @property
    def start_epoch(self) -> int:
        """Seconds since 1970 at the start."""
        return int(self.start.replace(tzinfo=UTC).timestamp())

    def moments(self) -> list[int]:
        """End of each interval, in seconds since 1970."""
        return [self.start_epoch + self.step_seconds * (i + 1) for i in range(self.count)]

    def place(self, number: int) -> int:
        """An interval's number, or that of the nearest there is."""
        return max(0, min(self.count - 1, number))


@dataclass(frozen=True, slots=True)
class RunTime:
    """When a run began and ended.

    Attributes:
        id: the run.
        begin: when it was created.
        end: when it ended, or now.
        is_over: it has ended.
    """

    id: int
    begin: datetime
    end: datetime
    is_over: bool


def window_of(begin: datetime, end: datetime, intervals: int) -> Window:
    """The time between two moments in at most so many intervals of whole seconds."""
    begin = begin.replace(microsecond=0)
    seconds = max(1, int((end - begin).total_seconds()) + 1)
    step = max(1, -(-seconds // intervals))
    return Window(begin, step, max(1, -(-seconds // step)))


def run_read_time(
    connection: Connection, workflow_id: int, workflow_run_id: int | None, now: datetime
) -> RunTime | None:
    """When a run of a workflow began and ended.

    Args:
        connection: a transaction.
        workflow_id: the workflow.
        workflow_run_id: one of its runs; null: the latest.
        now: time of the database.
    """
    statement = select(
        WorkflowRun.id, WorkflowRun.created_date, WorkflowRun.status, WorkflowRun.status_date
    ).where(WorkflowRun.workflow_id == workflow_id)
    if workflow_run_id is not None:
        statement = statement.where(WorkflowRun.id == workflow_run_id)
    row = connection.execute(statement.order_by(WorkflowRun.id.desc()).limit(1)).first()
    if row is None:
        return None
    is_over = row.status in WORKFLOW_RUN_TERMINAL
    return RunTime(row.id, row.created_date, row.status_date if is_over else now, is_over)


# -- progress -------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Curve:
    """Progress of a workflow during a run, at the end of each interval.

    Attributes:
        window: the intervals.
        done, failed: tasks that were done or given up by then, and still are.
        running: attempts whose command ran, on average over the interval.
    """

    window: Window
    done: Sequence[int]
    failed: Sequence[int]
    running: Sequence[float]


def workflow_read_curve(connection: Connection, workflow_id: int, run: RunTime, now: datetime) -> Curve:
    """Progress during a run; reads every task and attempt once, in the database."""
    window = window_of(run.begin, run.end, CURVE_INTERVALS)
    interval = (epoch_seconds(Task.status_date) - window.start_epoch) // window.step_seconds
    rows = connection.execute(
        select(interval.label("at_interval"), Task.status, func.count())
        .where(Task.workflow_id == workflow_id, Task.status.in_([s.value for s in TASK_TERMINAL]))
        .group_by("at_interval", Task.status)
    ).all()
    ended = {status: [0] * window.count for status in TASK_TERMINAL}
    for number, letter, count in rows:
        ended[TaskStatus(letter)][window.place(int(number))] += count
    return Curve(
        window,
        _summed(ended[TaskStatus.DONE]),
        _summed(ended[TaskStatus.ERROR_FATAL]),
        _running(connection, run.id, window, now),
    )


def _summed(values: Sequence[int]) -> list[int]:
    total, found = 0, []
    for value in values:
        total += value
        found.append(total)
    return found


def _ends(now: datetime) -> tuple[Any, Any]:
    """When attempts began and ended, in seconds since 1970, as parts of a statement."""
    seconds = epoch_seconds(TaskInstance.status_date)
    is_live = TaskInstance.status.in_(TASK_INSTANCE_LIVE)
    now_seconds = int(now.replace(tzinfo=UTC).timestamp())
    begin = case(
        (is_live, seconds),
        else_=seconds - cast(func.round(func.coalesce(TaskInstance.wallclock, 0)), BigInteger),
    )
    return begin, case((is_live, literal(now_seconds)), else_=seconds)


def _running(connection: Connection, run_id: int, window: Window, now: datetime) -> list[float]:
    begin, end = _ends(now)
    first = ((begin - window.start_epoch) // window.step_seconds).label("first_interval")
    last = ((end - window.start_epoch) // window.step_seconds).label("last_interval")
    rows = connection.execute(
        select(first, last, func.count(), func.sum(func.coalesce(TaskInstance.wallclock, 0)))
        .where(TaskInstance.workflow_run_id == run_id, TaskInstance.status.in_(_STARTED))
        .group_by("first_interval", "last_interval")
    )
    inside = [0.0] * window.count
    changes = [0.0] * (window.count + 1)
    for first_number, last_number, count, worked in rows:
        at, until = window.place(int(first_number)), window.place(int(last_number))
        if at == until:
            inside[at] += min(float(worked or 0) / window.step_seconds, count)
            continue
        inside[at] += count / 2
        inside[until] += count / 2
        changes[at + 1] += count
        changes[until] -= count
    level = 0.0
    for number in range(window.count):
        level += changes[number]
        inside[number] += level
    return inside


# -- timeline -------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Bar:
    """An attempt of a timeline; times are naive UTC."""

    row: str
    task_id: int
    task_name: str
    nodename: str
    status: TaskInstanceStatus
    begin: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Timeline:
    """Attempts of a run by template or by node.

    Attributes:
        window: the time, in intervals.
        rows: names of the rows, in their order.
        bars: the attempts, where there are few enough to be drawn one by one.
        cells: else, by row and status letter, how many attempts ran at once in each interval, on average.
        num_more_rows: rows that are left out.
    """

    window: Window
    rows: Sequence[str]
    bars: Sequence[Bar] = ()
    cells: Mapping[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)
    num_more_rows: int = 0


def run_read_timeline(connection: Connection, run: RunTime, now: datetime, *, by_node: bool) -> Timeline:
    """Attempts of a run that have started, by template or by node."""
    window = window_of(run.begin, run.end, TIMELINE_INTERVALS)
    few = select(TaskInstance.id).where(*_of_run(run.id)).limit(MAX_BARS + 1).subquery()
    num_attempts = connection.scalar(select(func.count()).select_from(few)) or 0
    if num_attempts <= MAX_BARS:
        return _with_bars(connection, run, window, by_node=by_node)
    return _with_cells(connection, run, window, now, by_node=by_node)


def _of_run(run_id: int) -> tuple[Any, Any]:
    return TaskInstance.workflow_run_id == run_id, TaskInstance.status.in_(_STARTED)


UNKNOWN_NODE: Final = "node unknown"


def _with_bars(connection: Connection, run: RunTime, window: Window, *, by_node: bool) -> Timeline:
    rows = connection.execute(
        select(
            Array.id,
            Array.name,
            Task.id.label("task_id"),
            Task.name.label("task_name"),
            TaskInstance.nodename,
            TaskInstance.status,
            TaskInstance.status_date,
            TaskInstance.wallclock,
        )
        .join(Task, Task.id == TaskInstance.task_id)
        .join(Array, Array.id == TaskInstance.array_id)
        .where(*_of_run(run.id))
        .order_by(Array.id, TaskInstance.id)
        .limit(MAX_BARS)
    ).all()
    bars = []
    for row in rows:
        status = TaskInstanceStatus(row.status)
        is_live = status in TASK_INSTANCE_LIVE
        end = run.end if is_live else row.status_date
        begin = row.status_date if is_live else end - timedelta(seconds=row.wallclock or 0.0)
        name = (row.nodename or UNKNOWN_NODE) if by_node else row.name
        bars.append(Bar(name, row.task_id, row.task_name, row.nodename or "", status, begin, max(begin, end)))
    counts: dict[str, int] = {}
    for bar in bars:
        counts[bar.row] = counts.get(bar.row, 0) + 1
    names = sorted(counts, key=lambda name: -counts[name]) if by_node else list(counts)
    shown = set(names[:MAX_ROWS])
    return Timeline(
        window,
        names[:MAX_ROWS],
        [bar for bar in bars if bar.row in shown],
        num_more_rows=max(0, len(names) - MAX_ROWS),
    )


def _with_cells(
    connection: Connection, run: RunTime, window: Window, now: datetime, *, by_node: bool
) -> Timeline:
    names, num_rows = _busiest(connection, run.id, by_node=by_node)
    row: Any = TaskInstance.nodename if by_node else TaskInstance.array_id
    begin, end = _ends(now)
    exactly = case(
        (TaskInstance.status.in_(TASK_INSTANCE_LIVE), begin),
        else_=end - func.coalesce(TaskInstance.wallclock, 0),
    )
    begun = _counts(connection, run.id, row, list(names), begin, exactly, window)
    ended = _counts(connection, run.id, row, list(names), end, end, window)
    cells: dict[str, dict[str, Sequence[float]]] = {name: {} for name in names.values()}
    for key, letter in sorted(begun, key=str):
        cells[names[key]][letter] = _at_once(window, begun[key, letter], ended.get((key, letter), {}))
    return Timeline(window, list(names.values()), cells=cells, num_more_rows=max(0, num_rows - len(names)))


Moments = dict[int, tuple[int, float]]
"""By interval: how many moments lie in it, and the sum of their seconds since the start of the window."""


def _at_once(window: Window, begun: Moments, ended: Moments) -> list[float]:
    """How many ran at once in each interval: what ran at its start, and what began or ended for its part of it."""
    level, found = 0, []
    for number in range(window.count):
        until = window.step_seconds * (number + 1)
        num_begun, begun_seconds = begun.get(number, (0, 0.0))
        num_ended, ended_seconds = ended.get(number, (0, 0.0))
        changed = (num_begun - num_ended) * until - begun_seconds + ended_seconds
        found.append(round(max(0.0, level + changed / window.step_seconds), 3))
        level += num_begun - num_ended
    return found


def _busiest(connection: Connection, run_id: int, *, by_node: bool) -> tuple[dict[Any, str], int]:
    """Name by key of the rows with the most attempts; templates in their own order. How many rows there are in all."""
    column: Any = TaskInstance.nodename if by_node else TaskInstance.array_id
    counted = connection.execute(
        select(column, func.count()).where(*_of_run(run_id), column.is_not(None)).group_by(column)
    ).all()
    keys = [row[0] for row in sorted(counted, key=lambda row: (-row[1], str(row[0])))[:MAX_ROWS]]
    if by_node:
        return {key: key for key in keys}, len(counted)
    rows = connection.execute(select(Array.id, Array.name).where(Array.id.in_(keys)).order_by(Array.id))
    return {row[0]: row[1] for row in rows}, len(counted)


def _counts(
    connection: Connection,
    run_id: int,
    row: Any,
    keys: Sequence[Any],
    moment: Any,
    exactly: Any,
    window: Window,
) -> dict[tuple[Any, str], Moments]:
    """Moments of attempts by row and status letter; whole seconds say in which interval one lies."""
    interval = ((moment - window.start_epoch) // window.step_seconds).label("at_interval")
    statement: Select[Any] = (
        select(
            row.label("row_key"),
            TaskInstance.status,
            interval,
            func.count(),
            func.sum(exactly - window.start_epoch),
        )
        .where(*_of_run(run_id), row.in_(keys))
        .group_by("row_key", TaskInstance.status, "at_interval")
    )
    found: dict[tuple[Any, str], Moments] = {}
    length = window.step_seconds * window.count
    for key, letter, number, count, seconds in connection.execute(statement):
        moments = found.setdefault((key, letter), {})
        place = window.place(int(number))
        before_count, before_seconds = moments.get(place, (0, 0.0))
        inside = float(seconds) if place == int(number) else count * (0.0 if number < 0 else length)
        moments[place] = (before_count + count, before_seconds + inside)
    return found
