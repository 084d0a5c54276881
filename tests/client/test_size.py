"""What a workflow of many tasks costs: memory, requests, imports. Counts, not times."""

from __future__ import annotations

import gc
import subprocess
import sys
import tracemalloc

import pytest
from recording import RecordingRequester

from jobmon.client.dag import Dag
from jobmon.client.task import Task
from jobmon.client.tool import Tool

NUM_TASKS = 5_000


def array(tool: Tool) -> list[Task]:
    template = tool.get_task_template("fit", "fit {a} {b} {c}", ["a"], ["b"], ["c"])
    return template.create_tasks(a=range(NUM_TASKS), b="data", c="python")


def chain(tool: Tool) -> list[Task]:
    template = tool.get_task_template("fit", "fit {a} {b} {c}", ["a"], ["b"], ["c"])
    tasks: list[Task] = []
    for number in range(NUM_TASKS):
        asked = {"memory": "2G", "runtime": "1h"}
        upstreams = tasks[-1:]
        task = template.create_task(
            a=number, b="data", c="python", compute_resources=asked, upstream_tasks=upstreams
        )
        tasks.append(task)
    return tasks


@pytest.mark.parametrize("make", [array, chain])
def test_a_task_takes_less_than_a_kilobyte(tool: Tool, requester: RecordingRequester, make: object) -> None:
    requester.keep = False
    workflow = tool.create_workflow(default_cluster_name="dummy")
    gc.collect()
    tracemalloc.start()
    try:
        workflow.add_tasks(make(tool))  # type: ignore[operator]
        workflow.bind()
        gc.collect()
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken / NUM_TASKS < 1000


def test_all_to_all_takes_no_memory_per_edge(tool: Tool) -> None:
    first = tool.get_task_template("one", "one {a}", ["a"])
    second = tool.get_task_template("two", "two {a}", ["a"])
    upstreams = first.create_tasks(a=range(1000))
    tracemalloc.start()
    try:
        downstreams = second.create_tasks(a=range(1000), upstream_tasks=upstreams)
        Dag.of_tasks([*upstreams, *downstreams], tool.requester).validate()
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < 1_500_000  # a million edges


def test_the_number_of_requests_does_not_grow_with_the_tasks(
    tool: Tool, requester: RecordingRequester
) -> None:
    workflow = tool.create_workflow(default_cluster_name="dummy")
    workflow.add_tasks(chain(tool))
    before = sum(requester.sent.values())
    workflow.bind()
    assert sum(requester.sent.values()) - before <= 10


def test_the_api_imports_nothing_heavy() -> None:
    code = (
        "import sys, jobmon.client.api\n"
        "heavy = {'httpx', 'yaml', 'rich', 'tabulate', 'asyncio', 'sqlalchemy', 'fastapi', 'psutil', 'tenacity', 'click'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_api_is_what_scripts_import() -> None:
    from jobmon.client import api

    assert api.__all__ == ["Tool", "add_task_attributes", "task_status", "workflow_status", "workflow_tasks"]
    with pytest.raises(AttributeError, match="nothing"):
        _ = api.nothing
