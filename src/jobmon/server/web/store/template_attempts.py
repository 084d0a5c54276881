"""What the attempts of one template of a workflow asked for and used. Reads only.

Of few attempts all are read, of many some, chosen by chance over their ids: a picture of a million does not need a million.
"""

from __future__ import annotations

import random
from array import array as numbers
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, select

from jobmon.core.states import TaskInstanceStatus
from jobmon.server.web.models import Task, TaskInstance
from jobmon.server.web.store.define import chunks
from jobmon.server.web.store.progress import Progress
from jobmon.server.web.store.template_page import nodes_read_args
from jobmon.server.web.store.usage import COUNTED, Request, requests_read

SAMPLED: Final = 10_000
"""Of so many attempts all are read."""
LOOKED_FOR: Final = 20_000
"""Ids that are looked for at once where there are more; those of other templates are among them."""
ENOUGH: Final = 3000
ROUNDS: Final = 3
PAGE: Final = 2000


@dataclass
class UsageSample:
    """Attempts that ended, column by column.

    Attributes:
        is_complete: all of them; false: some, chosen by chance.
        memory: bytes; 0: not measured.
        runtime: seconds; 0: not measured.
        status: letters, one for each.
        attempt: number of the attempt within its task, from 1.
        task_id: their tasks.
        request_id: what they asked for.
        requests: by id.
    """

    is_complete: bool = True
    memory: numbers[float] = field(default_factory=lambda: numbers("d"))
    runtime: numbers[float] = field(default_factory=lambda: numbers("d"))
    status: bytearray = field(default_factory=bytearray)
    attempt: numbers[int] = field(default_factory=lambda: numbers("H"))
    task_id: numbers[int] = field(default_factory=lambda: numbers("q"))
    request_id: numbers[int] = field(default_factory=lambda: numbers("q"))
    requests: dict[int, Request] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.memory)


_ROW: Final = (
    TaskInstance.id,
    TaskInstance.task_id,
    TaskInstance.status,
    TaskInstance.maxrss,
    TaskInstance.wallclock,
    TaskInstance.task_resources_id,
)
_ENDED: Final = frozenset(status.value for status in COUNTED)


def array_read_usage_sample(connection: Connection, array_id: int, progress: Progress) -> UsageSample:
    """What attempts of an array asked for and used.

    Args:
        connection: a transaction.
        array_id: the array.
        progress: its counters: they tell how many attempts there are about.
    """
    of_array = select(*_ROW).where(TaskInstance.array_id == array_id)
    rows: list[Any] = []
    is_complete = progress.total + progress.retries <= SAMPLED
    if is_complete:
        rows = list(connection.execute(of_array.limit(2 * SAMPLED)))
    else:
        for ids in _spread_ids(connection, array_id):
            for part in chunks(ids):
                rows += connection.execute(of_array.where(TaskInstance.id.in_(part)))
            if len(rows) >= ENOUGH:
                break
    rows = sorted((row for row in rows if row.status in _ENDED), key=lambda row: row.id)[:SAMPLED]
    attempt = attempts_read_numbers(connection, sorted({row.task_id for row in rows}))
    sample = UsageSample(is_complete, requests=requests_read(connection, {row[5] for row in rows}))
    for row in rows:
        sample.memory.append(row.maxrss or 0)
        sample.runtime.append(row.wallclock or 0.0)
        sample.status += row.status.encode()
        sample.attempt.append(min(attempt.get(row.id, 1), 65535))
        sample.task_id.append(row.task_id)
        sample.request_id.append(row.task_resources_id)
    return sample


def _spread_ids(connection: Connection, array_id: int) -> list[list[int]]:
    """Ids between the first and the last attempt of an array, chosen by chance (the same each time), in rounds."""
    order = (TaskInstance.array_batch_num, TaskInstance.array_step_id)
    of_array = select(TaskInstance.id).where(TaskInstance.array_id == array_id)
    ends = [
        connection.scalar(of_array.order_by(*order).limit(1)),
        connection.scalar(of_array.order_by(*(column.desc() for column in order)).limit(1)),
    ]
    known = sorted(end for end in ends if end is not None)
    if not known:
        return []
    ids = range(known[0], known[-1] + 1)
    chance = random.Random(array_id)  # noqa: S311 - no secret: the same each time
    chosen = chance.sample(ids, min(len(ids), ROUNDS * LOOKED_FOR))
    return [sorted(chosen[start : start + LOOKED_FOR]) for start in range(0, len(chosen), LOOKED_FOR)]


def attempts_read_numbers(connection: Connection, task_ids: Sequence[int]) -> dict[int, int]:
    """Number within its task, from 1, by attempt."""
    found: dict[int, int] = {}
    for part in chunks(task_ids):
        counts: Counter[int] = Counter()
        rows = connection.execute(
            select(TaskInstance.task_id, TaskInstance.id)
            .where(TaskInstance.task_id.in_(part))
            .order_by(TaskInstance.task_id, TaskInstance.id)
        )
        for task_id, attempt_id in rows:
            counts[task_id] += 1
            found[attempt_id] = counts[task_id]
    return found


# -- all of them, for a file -----------------------------------------------------------------------------
USAGE_COLUMNS: Final = (
    "task_id",
    "task_name",
    "node_args",
    "task_instance_id",
    "attempt",
    "status",
    "cluster",
    "queue",
    "node",
    "requested_cores",
    "requested_memory_gib",
    "memory_gib",
    "requested_runtime_seconds",
    "runtime_seconds",
    "exit_code",
)
Place = tuple[int, int]
"""Batch and step: where a page ended."""


def array_read_usage_page(
    connection: Connection, array_id: int, after: Place | None
) -> tuple[list[tuple[Any, ...]], Place | None]:
    """Some of the attempts of an array as rows of ``USAGE_COLUMNS``, and where to go on; ``None``: these were the last."""
    rows = _usage_rows(connection, array_id, after)
    numbers_of = attempts_read_numbers(connection, sorted({row.task_id for row in rows}))
    args = nodes_read_args(connection, [row.node_id for row in rows])
    requests = requests_read(connection, {row.task_resources_id for row in rows})
    found = []
    for row in rows:
        request = requests[row.task_resources_id]
        found.append(
            (
                row.task_id,
                row.name,
                msgspec.json.encode(args.get(row.node_id, {})).decode(),
                row.id,
                numbers_of.get(row.id, 1),
                TaskInstanceStatus(row.status).name,
                request.cluster,
                request.queue,
                row.nodename or "",
                request.number("cores"),
                request.number("memory"),
                None if row.maxrss is None else round(row.maxrss / (1 << 30), 4),
                request.number("runtime"),
                row.wallclock,
                row.exit_code,
            )
        )
    is_full = len(rows) == PAGE
    return found, (rows[-1].array_batch_num, rows[-1].array_step_id) if is_full else None


def _usage_rows(connection: Connection, array_id: int, after: Place | None) -> list[Any]:
    of_array = (
        select(
            *_ROW,
            TaskInstance.nodename,
            TaskInstance.exit_code,
            TaskInstance.array_batch_num,
            TaskInstance.array_step_id,
            Task.name,
            Task.node_id,
        )
        .join(Task, Task.id == TaskInstance.task_id)
        .where(TaskInstance.array_id == array_id)
        .order_by(TaskInstance.array_batch_num, TaskInstance.array_step_id)
    )
    if after is None:
        return list(connection.execute(of_array.limit(PAGE)))
    batch, step = after
    rest = of_array.where(TaskInstance.array_batch_num == batch, TaskInstance.array_step_id > step)
    rows = list(connection.execute(rest.limit(PAGE)))
    if len(rows) < PAGE:
        rows += connection.execute(
            of_array.where(TaskInstance.array_batch_num > batch).limit(PAGE - len(rows))
        )
    return rows
