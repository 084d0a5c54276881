"""What the pages ask of the database, and how many rows it may read for each; see :mod:`hot_statements`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from hot_statements import FEW, WORKFLOW, Question
from million import Million
from sqlalchemy import Connection

from jobmon.core.states import TaskStatus
from jobmon.server.web.store import (
    explain,
    listing,
    neighbourhood,
    overview,
    running,
    task_page,
    template_attempts,
    template_head,
    template_page,
    timeline,
    trends,
    workflow_figures,
    workflow_page,
)
from jobmon.server.web.store.progress import workflows_progress


def _page(m: Million, c: Connection, wanted: template_page.TaskFilter) -> Any:
    head = template_head.template_read_head(c, m.large.workflow_id, m.large.array_id)
    return template_page.tasks_read_page(c, head, wanted, None, 100)


def _run(m: Million, c: Connection, now: datetime) -> timeline.RunTime:
    run = timeline.run_read_time(c, m.small.workflow_id, None, now)
    assert run is not None
    return run


QUESTIONS = [
    Question(
        "listing.workflows_find", FEW, lambda m, c, now: listing.workflows_find(c, listing.WorkflowFilter())
    ),
    Question(
        "listing.workflows_read_rows",
        FEW,
        lambda m, c, now: listing.workflows_read_rows(c, [made.workflow_id for made in m.made.values()]),
    ),
    Question("trends.tools_find", FEW, lambda m, c, now: trends.tools_find(c, "", offset=0, limit=50)),
    Question("running.live_attempts_count", 2 * WORKFLOW, lambda m, c, now: running.live_attempts_count(c)),
    Question(
        "timeline.workflow_read_curve",
        WORKFLOW,
        lambda m, c, now: timeline.workflow_read_curve(c, m.small.workflow_id, _run(m, c, now), now),
    ),
    Question(
        "timeline.run_read_timeline",
        WORKFLOW,
        lambda m, c, now: timeline.run_read_timeline(c, _run(m, c, now), now, by_node=True),
    ),
    Question(
        "workflow_page.workflow_read_head",
        FEW,
        lambda m, c, now: workflow_page.workflow_read_head(c, m.large.workflow_id),
    ),
    Question(
        "workflow_page.workflow_read_stamp",
        FEW,
        lambda m, c, now: workflow_page.workflow_read_stamp(c, m.large.workflow_id),
    ),
    Question(
        "overview.run_read_longest_running",
        WORKFLOW,
        lambda m, c, now: overview.run_read_longest_running(c, m.large.run_id, 10, now),
    ),
    Question(
        "workflow_figures.workflow_read_template_figures",
        WORKFLOW,
        lambda m, c, now: workflow_figures.workflow_read_template_figures(c, m.small.workflow_id),
    ),
    Question(
        "workflow_figures.workflow_read_plan",
        FEW,
        lambda m, c, now: workflow_figures.workflow_read_plan(
            c, m.large.workflow_id, workflows_progress(c, [m.large.workflow_id])[m.large.workflow_id]
        ),
    ),
    Question(
        "template_head.template_read_head",
        FEW,
        lambda m, c, now: template_head.template_read_head(c, m.large.workflow_id, m.large.array_id),
    ),
    Question(
        "template_page.tasks_read_page",
        FEW,
        lambda m, c, now: _page(m, c, template_page.TaskFilter()),
    ),
    Question(
        "template_page.tasks_read_page: that run",
        WORKFLOW,
        lambda m, c, now: _page(
            m, c, template_page.TaskFilter(statuses=frozenset({TaskStatus.RUNNING.value}))
        ),
    ),
    Question(
        "template_attempts.array_read_usage_sample",
        WORKFLOW,
        lambda m, c, now: template_attempts.array_read_usage_sample(
            c,
            m.large.array_id,
            workflows_progress(c, [m.large.workflow_id])[m.large.workflow_id][m.large.array_id],
        ),
    ),
    Question(
        "task_page.task_read_attempts",
        FEW,
        lambda m, c, now: task_page.task_read_attempts(c, m.large.running()[0]),
    ),
    Question(
        "task_page.task_read_stamp",
        FEW,
        lambda m, c, now: task_page.task_read_stamp(c, m.large.running()[0]),
    ),
    Question(
        "neighbourhood.task_read_neighbourhood",
        FEW,
        lambda m, c, now: neighbourhood.task_read_neighbourhood(
            c, explain.task_read_row(c, m.large.running()[0]), 2, 2, 15
        ),
    ),
]
