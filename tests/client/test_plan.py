"""Plans of workflows in a script: what would run and why, what it asks for, what stands in the way."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import create_engine, text

from jobmon.client.plan import Plan
from jobmon.client.plan_text import plan_text
from jobmon.client.task_template import TaskTemplate
from jobmon.client.tool import Tool
from jobmon.client.workflow import Workflow
from jobmon.core.requester import Requester

TABLES = (
    "workflow",
    "array",
    "dag",
    "edge",
    "node",
    "node_arg",
    "task",
    "task_arg",
    "task_resources",
    "workflow_run",
)


@pytest.fixture
def templates(
    app_requester: Requester, monkeypatch: pytest.MonkeyPatch
) -> tuple[Tool, TaskTemplate, TaskTemplate]:
    """``fit`` asks for two core hours each and fails where a file is missing; ``sum`` asks for nothing."""
    monkeypatch.setenv("JOBMON__PROGRESS__ENABLED", "false")
    tool = Tool("planned", requester=app_requester)
    fit = tool.get_task_template(
        "fit",
        "test {n} != 1 || test -e {flag} # {year}",
        ["n"],
        ["year"],
        ["flag"],
        default_cluster_name="sequential",
        default_compute_resources={"queue": "null.q", "cores": 2, "memory": "512M", "runtime": "1h"},
    )
    total = tool.get_task_template("sum", "true {n}", ["n"], default_cluster_name="sequential")
    return tool, fit, total


def build(
    templates: tuple[Tool, TaskTemplate, TaskTemplate],
    flag: Path,
    year: int = 2019,
    count: int = 3,
    **more: Any,
) -> Workflow:
    """Fits side by side, their sum, and the sum of that."""
    tool, fit, total = templates
    workflow = tool.create_workflow(**{"workflow_args": "one", "name": "two levels", **more})
    fits = fit.create_tasks(n=list(range(count)), year=year, flag=flag, max_attempts=1)
    first = total.create_task(n=1, upstream_tasks=fits)
    workflow.add_tasks([*fits, first, total.create_task(n=2, upstream_tasks=[first])])
    return workflow


def contents(database_uri: str) -> dict[str, int]:
    """Rows of the tables a registration writes to."""
    engine = create_engine(database_uri)
    with engine.connect() as connection:
        counts = {name: int(connection.scalar(text(f"SELECT count(*) FROM {name}")) or 0) for name in TABLES}
    engine.dispose()
    return counts


def test_a_new_workflow(templates: Any, tmp_path: Path, database_uri: str) -> None:
    """Everything is new; nothing is registered; every number can be checked by hand."""
    workflow = build(templates, tmp_path / "ok")
    before = contents(database_uri)
    plan = workflow.plan()
    assert contents(database_uri) == before
    assert set(before.values()) == {0}
    assert not workflow.is_bound
    assert (plan.workflow_id, plan.num_tasks, plan.num_to_run, plan.counts) == (None, 5, 5, {"new": 5})
    fit, total = plan.templates
    assert (fit.template, fit.num_to_run, fit.seconds_per_task, fit.seconds_from) == (
        "fit",
        3,
        3600,
        "requested",
    )
    assert (total.seconds_per_task, total.seconds_from) == (None, "unknown")
    (queue,) = plan.queues
    assert (queue.cluster, queue.num_tasks, queue.num_unknown) == ("sequential", 5, 2)
    assert (plan.core_hours, plan.memory_gib_hours) == (6, 1.5)
    assert (queue.largest_memory_gib, queue.largest_cores) == (0.5, 2)
    assert (plan.longest_chain.num_tasks, plan.critical_path.seconds) == (3, 3600)
    assert plan.longest_chain.tasks[1:] == ["sum_n-1", "sum_n-2"]
    assert (plan.width, plan.limit, plan.at_once) == (3, 1, 1)  # the sequential cluster
    assert (plan.wall_seconds, plan.is_wall_minimum) == (3 * 3600, True)
    assert (plan.problems, plan.differences) == ([], [])
    assert msgspec.json.decode(msgspec.json.encode(plan), type=Plan) == plan
    assert plan.to_dict()["core_hours"] == 6
    words = str(plan)
    assert words.startswith("A new workflow 'two levels': a run would run 5 of 5 tasks (5 new).")
    assert "at least 3 h 00 min" in words
    assert "WITHOUT RUN TIME" in words
    assert max(len(line) for line in plan_text(plan, 70).splitlines() if line[0] in "|+-") <= 70
    (queue,) = (msgspec.structs.replace(each, num_unknown=0) for each in plan.queues)
    assert "WITHOUT RUN TIME" not in plan_text(msgspec.structs.replace(plan, queues=[queue]))
    assert plan._repr_html_().startswith("<pre>A new workflow &#x27;two")


def test_from_failure_to_done(templates: Any, tmp_path: Path, database_uri: str) -> None:
    """A run that failed, a reset by hand, and the end."""
    workflow = build(templates, tmp_path / "ok")
    assert workflow.run() == "E"
    again = build(templates, tmp_path / "ok")
    before = contents(database_uri)
    plan = again.plan()
    assert contents(database_uri) == before
    assert plan.workflow_id == workflow.workflow_id
    assert plan.counts == {"done": 2, "new": 2, "failed before": 1}
    fit = plan.templates[0]
    assert (fit.num_to_run, fit.seconds_from) == (1, "measured")
    assert plan.core_hours == 2  # of those that would run
    assert plan.longest_chain.tasks == ["fit_n-1", "sum_n-1", "sum_n-2"]
    assert "and skip 2 that are done" in str(plan)
    assert any("run(resume=True)" in note for note in plan.notes)
    assert workflow.plan().counts == plan.counts  # the one that is bound says the same
    (tmp_path / "ok").touch()
    assert again.run(resume=True) == "D"
    plan = again.plan()
    assert (plan.num_to_run, plan.counts, plan.width) == (0, {"done": 5}, 0)
    assert any("is complete" in note for note in plan.notes)
    assert "nothing to run" in str(plan)


def test_other_tasks_under_the_same_args(templates: Any, tmp_path: Path) -> None:
    """Which are new, gone and changed, and which arg differs; then a dependency more."""
    registered = build(templates, tmp_path / "ok")
    registered.bind()
    plan = build(templates, tmp_path / "ok", year=2020, count=4).plan()
    assert plan.counts == {"new": 1, "changed": 3, "upstream changed": 2}
    (problem,) = plan.problems
    assert "other tasks" in problem
    assert "other workflow_args" in problem
    (difference,) = plan.differences
    assert (difference.template, difference.num_new, difference.num_gone, difference.num_changed) == (
        "fit",
        1,
        0,
        3,
    )
    assert difference.new == ["fit_n-3"]
    assert difference.changed[0].changes == ["task arg year was '2019', is '2020'"]
    assert "changed: fit_n-0: task arg year was '2019', is '2020'" in str(plan)
    (difference,) = build(templates, tmp_path / "ok", count=1).plan().differences
    assert (difference.num_gone, difference.gone) == (2, ["fit_n-1", "fit_n-2"])
    other = build(templates, tmp_path / "ok")
    tasks = list(other.tasks.values())
    tasks[-1].add_upstream(tasks[0])
    plan = other.plan()
    assert "other dependencies" in plan.problems[0]
    assert plan.counts == {"changed": 1, "unchanged": 4}
    (difference,) = plan.differences
    assert [(task.name, task.changes) for task in difference.changed] == [
        ("sum_n-2", ["waits for 1 tasks that it did not wait for"])
    ]


def test_what_stands_in_the_way(templates: Any, tmp_path: Path) -> None:
    """What validate() would raise stands in the plan, and as much as can be said besides."""
    tool, fit, _ = templates
    plan = tool.create_workflow().plan()
    assert (len(plan.problems), plan.num_tasks) == (1, 0)
    assert "Problem: " in str(plan)
    circle = build(templates, tmp_path / "ok")
    tasks = list(circle.tasks.values())
    tasks[0].add_upstream(tasks[-1])
    plan = circle.plan()
    assert "circle" in plan.problems[0]
    assert plan.num_to_run == 5
    lost = build(templates, tmp_path / "ok", workflow_args="two")
    tasks = list(lost.tasks.values())
    tasks[-1].update_compute_resources(queue="nowhere.q")
    plan = lost.plan()
    assert "nowhere.q" in plan.problems[0]
    assert plan.queues[0].num_unknown == 5  # what is asked for is not known
    paused = build(templates, tmp_path / "ok", workflow_args="three", max_concurrently_running=0)
    plan = paused.plan()
    assert (plan.num_never, plan.wall_seconds, plan.problems) == (5, None, [])
    assert "could not start" in str(plan)
    limited = build(templates, tmp_path / "ok", workflow_args="four")
    limited.set_task_template_max_concurrency_limit("fit", 2)
    assert limited.plan().templates[0].limit == 2
    assert fit.template_name == "fit"


@pytest.mark.slow
def test_a_hundred_thousand_tasks(app_requester: Requester) -> None:
    """In time that grows with tasks and dependencies."""
    tool = Tool("many", requester=app_requester)
    template = tool.get_task_template("step", "{n}", ["n"], default_cluster_name="dummy")
    last = tool.get_task_template("last", "{n}", ["n"], default_cluster_name="dummy")
    workflow = tool.create_workflow()
    first = template.create_tasks(n=range(100_000))
    workflow.add_tasks(first)
    workflow.add_tasks(last.create_tasks(n=range(500), upstream_tasks=first[:500]))
    start = time.perf_counter()
    plan = workflow.plan()
    assert time.perf_counter() - start < 15
    assert (plan.num_to_run, plan.width, plan.longest_chain.num_tasks) == (100_500, 100_000, 2)
