"""The report on a workflow, and all of its attempts as a table."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

from jobmon.client.atomic_file import replaced_when_complete
from jobmon.client.commands.records import to_frame
from jobmon.client.report.trace import (
    COLUMNS,
    Tell,
    columns_of,
    require_parquet,
    trace_pages,
    write_csv,
    write_parquet,
)
from jobmon.core.exceptions import UsageError
from jobmon.core.requester import Requester
from jobmon.serializers.trace import TraceResponse, WorkflowFactsResponse

SUFFIXES = (".html", ".csv", ".parquet")
"""Endings of the files that can be written."""


def workflow_trace(workflow_id: int, requester: Requester | None = None) -> Any:
    """Every attempt of a workflow as a row: its task, where it ran, what it asked for and used, when and how it ended.

    Memory asked for is in GiB, memory used (``maxrss``) and ``io`` in bytes, run times in seconds, ``energy`` in joules,
    times are UTC; ``note`` says why an attempt asked for something else than the one before.

    Args:
        workflow_id: the workflow.
        requester: how to reach the server.

    Returns:
        A data frame where pandas is installed, else a list of dictionaries.

    Raises:
        NotFoundError: there is no such workflow.
    """
    requester = requester or Requester.from_defaults()
    records: list[dict[str, Any]] = []
    for page in trace_pages(requester, workflow_id):
        columns = columns_of(page)
        rows = zip(*(columns[name] for name in COLUMNS), strict=True)
        records += [dict(zip(COLUMNS, row, strict=True)) for row in rows]
    return to_frame(records, COLUMNS)


def write_report(
    workflow_id: int,
    path: str | os.PathLike[str],
    requester: Requester | None = None,
    tell: Tell | None = None,
) -> int:
    """Write a report (``.html``) or a table of all attempts (``.csv``, ``.parquet``); the number of attempts.

    The file appears complete or not at all.

    Args:
        workflow_id: the workflow.
        path: the file; its ending says what to write.
        requester: how to reach the server.
        tell: is called with the number of attempts read so far.

    Raises:
        UsageError: another ending, a directory that cannot be written to, or Parquet without pyarrow.
        NotFoundError: there is no such workflow.
    """
    requester = requester or Requester.from_defaults()
    suffix = os.path.splitext(os.fspath(path))[1]
    if suffix not in SUFFIXES:
        raise UsageError(
            f"The file {os.fspath(path)} must end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}."
        )
    if suffix == ".parquet":
        require_parquet()
    pages = _told(trace_pages(requester, workflow_id), tell or (lambda _: None))
    with replaced_when_complete(path) as partial:
        if suffix == ".csv":
            return write_csv(pages, partial)
        if suffix == ".parquet":
            return write_parquet(pages, partial)
        facts, page = _html(requester, workflow_id, pages)
        partial.write_text(page, encoding="utf-8")
        return facts


def _html(requester: Requester, workflow_id: int, pages: Iterator[TraceResponse]) -> tuple[int, str]:
    from jobmon.client.commands.failures import workflow_error_clusters
    from jobmon.client.report.figures import gather
    from jobmon.client.report.html import render

    path = f"/monitor/workflow/{workflow_id}/facts"
    facts = requester.send("GET", path, None, WorkflowFactsResponse)
    errors = workflow_error_clusters(workflow_id, all_attempts=True, requester=requester)
    figures = gather(facts, pages)
    return figures.num_attempts, render(facts, figures, errors)


def _told(pages: Iterator[TraceResponse], tell: Callable[[int], None]) -> Iterator[TraceResponse]:
    count = 0
    for page in pages:
        yield page
        count += len(page.task_instance_id)
        tell(count)
