"""Every attempt of a workflow: read from the server page by page, written as CSV or Parquet."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from jobmon.core.exceptions import UsageError
from jobmon.core.requester import Requester
from jobmon.core.states import TaskInstanceStatus, TaskStatus
from jobmon.serializers.trace import TraceResponse

COLUMNS = tuple(name for name in TraceResponse.__struct_fields__ if name != "next_after")
"""Columns of the table; units: memory_gib GiB; maxrss and io bytes; energy joules; runtime, wallclock and cpu seconds; times
ISO, UTC."""

PAGE = 2000
_INTEGERS = frozenset(
    {"task_instance_id", "task_id", "workflow_run_id", "attempt", "exit_code", "maxrss", "io", "energy"}
)
_FLOATS = frozenset({"requested_cores", "requested_memory_gib", "requested_runtime", "wallclock", "cpu"})
_TIMES = frozenset({"queued", "started", "ended"})

Tell = Callable[[int], None]
"""Is given the number of attempts read so far."""


def trace_pages(requester: Requester, workflow_id: int, page_size: int = PAGE) -> Iterator[TraceResponse]:
    """All attempts of a workflow; at least one page, which is empty when there are none.

    Raises:
        NotFoundError: there is no such workflow.
    """
    after: int | None = None
    while True:
        params = {"limit": page_size} if after is None else {"limit": page_size, "after": after}
        page = requester.send(
            "GET", f"/monitor/workflow/{workflow_id}/trace", None, TraceResponse, params=params
        )
        yield page
        after = page.next_after
        if after is None:
            return


def columns_of(page: TraceResponse) -> dict[str, list[Any]]:
    """The columns of a page by name, with names of states instead of letters."""
    count = len(page.task_instance_id)
    columns = {name: getattr(page, name) or [None] * count for name in COLUMNS}  # an older server has not all
    columns["status"] = [TaskInstanceStatus(letter).name for letter in page.status]
    columns["task_status"] = [TaskStatus(letter).name for letter in page.task_status]
    return columns


def write_csv(pages: Iterable[TraceResponse], path: Path) -> int:
    """Write the table as CSV (RFC 4180, a header line first); the number of rows."""
    import csv

    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for page in pages:
            columns = columns_of(page)
            writer.writerows(zip(*(columns[name] for name in COLUMNS), strict=True))
            count += len(page.task_instance_id)
    return count


def require_parquet() -> None:
    """Refuse Parquet where pyarrow is not installed.

    Raises:
        UsageError: it is not.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise UsageError(
            "Writing Parquet takes pyarrow, which is not installed: pip install 'jobmon[parquet]'. "
            "A file that ends in .csv needs nothing."
        )


def write_parquet(pages: Iterable[TraceResponse], path: Path) -> int:
    """Write the table as Parquet, one row group per page; the number of rows.

    Raises:
        UsageError: pyarrow is not installed.
    """
    require_parquet()
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, _arrow_type(pa, name)) for name in COLUMNS])
    count = 0
    with pq.ParquetWriter(path, schema) as writer:
        for page in pages:
            columns = columns_of(page)
            arrays = [_arrow_array(pa, name, columns[name], schema.field(name).type) for name in COLUMNS]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            count += len(page.task_instance_id)
    return count


def _arrow_type(pa: Any, name: str) -> Any:
    if name in _INTEGERS:
        return pa.int64()
    if name in _FLOATS:
        return pa.float64()
    return pa.timestamp("ms", tz="UTC") if name in _TIMES else pa.string()


def _arrow_array(pa: Any, name: str, values: list[Any], kind: Any) -> Any:
    if name in _TIMES:
        from datetime import UTC, datetime

        values = [datetime.fromisoformat(text).replace(tzinfo=UTC) if text else None for text in values]
    return pa.array(values, type=kind)
