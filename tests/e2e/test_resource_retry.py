"""What asked for too little is run again with more: on one machine, with real processes."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from databases import ON_EVERY_DATABASE
from processes import Place

pytestmark = pytest.mark.e2e

PROLOGUE = """
import json, sys, time
from jobmon.client.api import Tool
from jobmon.core.exceptions import JobmonError

FILL = "import time; x = b'x' * ({mib} << 20); time.sleep({seconds})"

def needs(mib, seconds=4.0):
    return f'{sys.executable} -S -c "{FILL.format(mib=mib, seconds=seconds)}"'

def say(word, value):
    print(word, json.dumps(value), flush=True)

tool = Tool(name="retry")
template = tool.get_task_template(
    template_name="step", command_template=": {which}; {command}", node_args=["which"], op_args=["command"],
    default_cluster_name="multiprocess",
)
wf = tool.create_workflow(name="retry", workflow_args="retry", default_cluster_name="multiprocess")

def add(name, command, **more):
    task = template.create_task(name=name, which=name, command=command, **more)
    wf.add_task(task)
    return task

def run(**more):
    try:
        say("RESULT", wf.run(**more).final_status)
    except (JobmonError, ValueError) as error:
        say("ERROR", {"type": type(error).__name__, "message": str(error)})
"""
RESUME = """
import json
from jobmon.client.commands.resume import resume_workflow
try:
    print("RESULT", json.dumps(resume_workflow({workflow_id}, increase_resource={increase}).final_status))
except ValueError as error:
    print("ERROR", json.dumps(str(error)))
"""


def resume(place: Place, increase: bool) -> str:
    """Resume by id; how it ended, or the error."""
    ((workflow_id,),) = place.sql("SELECT max(id) FROM workflow")
    script = place.start_python(RESUME.format(workflow_id=workflow_id, increase=increase))
    script.end()
    word = script.said("RESULT") or script.said("ERROR")
    assert word, script.text
    return str(word)


def run_script(place: Place, text: str) -> str:
    script = place.start_python(PROLOGUE + text)
    script.end()
    assert script.said("RESULT") or script.said("ERROR"), script.text
    return script.text


def requests(place: Place, name: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Status of each attempt of a task, the type of what it asked for, and that."""
    rows = place.sql(
        "SELECT i.status, r.type, r.requested_resources FROM task_instance i JOIN task t ON t.id = i.task_id "
        "JOIN task_resources r ON r.id = i.task_resources_id WHERE t.name = ? ORDER BY i.id",
        name,
    )
    return [(status, kind, json.loads(text)) for status, kind, text in rows]


@ON_EVERY_DATABASE
def test_what_lacked_memory_or_time_succeeds_with_more(place: Place) -> None:
    """300 MB with 200 MB asked, two seconds with one asked; the request is shared with tasks that need less."""
    text = run_script(
        place,
        """
memory = {"compute_resources": {"memory": "200M"}, "resource_scales": {"memory": 0.5}}
add("large", needs(300), **memory)
add("small", "true", **memory)
add("slow", "sleep 2", compute_resources={"runtime": "1s"}, resource_scales={"runtime": 4.0})
run()
""",
    )
    assert '"D"' in text
    (_, original, _), (_, adjusted, _) = found = requests(place, "large")
    assert found == [("Z", original, {"memory": 0.1953125}), ("D", "A", {"memory": 1})]
    assert (original in "OV", adjusted) == (True, "A")
    assert requests(place, "small") == [("D", original, {"memory": 0.1953125})]
    assert [(s, r["runtime"]) for s, _, r in requests(place, "slow")] == [("Z", 1), ("D", 5)]
    assert "had asked for 200 MiB" in place.errors("large")
    assert "run time it asked for (runtime=1)" in place.errors("slow")
    # the row is the same one, as it was; both attempts are history
    assert (
        place.scalar(
            "SELECT COUNT(DISTINCT task_resources_id) FROM task_instance WHERE task_resources_id IN "
            "(SELECT id FROM task_resources WHERE requested_resources = '{\"memory\":0.1953125}')"
        )
        == 1
    )
    history = place.sql(
        "SELECT h.event FROM task_history h JOIN task t ON t.id = h.task_id WHERE t.name = 'large' ORDER BY h.id"
    )
    events = [event for (event,) in history]
    assert events.index("adjust") < events.index("finish")
    peak = place.scalar("SELECT MAX(maxrss) FROM task_instance WHERE status = 'D'")
    assert peak > 300 * 2**20


def test_other_ways_to_grow(place: Place) -> None:
    """A function, values one by one (the last one stays), what a function asked for when the task became ready."""
    text = run_script(
        place,
        """
import warnings
warnings.simplefilter("always")
once = []
def ask():
    once.append(1)
    return {"memory": "60M"}
add("function", needs(150), compute_resources={"memory": "50M"},
    resource_scales={"memory": lambda gib: gib * 2}, max_attempts=4)
add("values", needs(150, 30), compute_resources={"memory": "50M"},
    resource_scales={"memory": iter([0.0625])}, max_attempts=3)
add("late", needs(150), compute_resources={"memory": 4}, compute_resources_callable=ask,
    resource_scales={"memory": lambda gib: gib * 2}, max_attempts=4)
run()
say("ASKED", len(once))
""",
    )
    assert "RESULT" in text
    assert "'memory' has no more values; it stays at 0.0625" in text
    mib = {
        name: [(s, k, r["memory"] * 1024) for s, k, r in requests(place, name)]
        for name in ("function", "values", "late")
    }
    assert [(s, m) for s, _, m in mib["function"]] == [("Z", 50), ("Z", 100), ("D", 200)]
    assert [(s, m) for s, _, m in mib["values"]] == [("Z", 50), ("Z", 64), ("Z", 64)]
    assert place.task_status("values") == "F"  # attempts for want of resources count
    assert mib["late"] == [("Z", "V", 60), ("Z", "A", 120), ("D", "A", 240)]
    assert "ASKED 1" in text


def test_growth_that_is_no_number_ends_the_run(place: Place) -> None:
    """run() returns the letter E; the error is told with its traceback, and what it came of."""
    text = run_script(
        place,
        """
add("bad", needs(150), compute_resources={"memory": "50M"}, resource_scales={"memory": lambda gib: "more"})
run()
""",
    )
    assert '"E"' in text
    assert "Traceback (most recent call last)" in text
    assert "'memory' gave 'more' for 0.048828125; it must give a number" in text
    assert "It came of the resource_scales of task 1." in text
    assert place.runs() == "E"


def test_what_outgrows_its_queue_goes_to_the_next(place: Place) -> None:
    """Queues with room for two and for eight cores."""
    place.start_server()
    with closing(sqlite3.connect(place.files.database)) as database, database:
        database.executemany(
            "INSERT INTO queue (name, cluster_id, parameters) "
            "SELECT ?, id, ? FROM cluster WHERE name = 'multiprocess'",
            [("small.q", '{"cores": [1, 2]}'), ("large.q", '{"cores": [1, 8]}')],
        )
    text = run_script(
        place,
        """
add("moving", needs(150), compute_resources={"queue": "small.q", "memory": "50M", "cores": 2},
    resource_scales={"memory": 0.5, "cores": 1.0}, fallback_queues=["large.q"])
run()
""",
    )
    assert '"D"' in text
    assert [r for *_, r in requests(place, "moving")] == [
        {"cores": 2, "memory": 0.048828125},
        {"cores": 4, "memory": 1},
    ]
    assert [
        row[0]
        for row in place.sql(
            "SELECT q.name FROM task_instance i JOIN task_resources r ON r.id = i.task_resources_id "
            "JOIN queue q ON q.id = r.queue_id ORDER BY i.id"
        )
    ] == ["small.q", "large.q"]


@ON_EVERY_DATABASE
def test_a_resume_by_id_asks_for_more(place: Place) -> None:
    """Unless it is told to keep what was asked for; values go on where they were."""
    run_script(
        place,
        """
add("number", needs(150), compute_resources={"memory": "50M"}, resource_scales={"memory": 0.5}, max_attempts=1)
add("values", needs(150), compute_resources={"memory": "40M"},
    resource_scales={"memory": iter([0.0625, 0.125, 0.5, 1])}, max_attempts=2)
add("broken", "test -e gate", compute_resources={"memory": "50M"}, max_attempts=1)
run()
""",
    )
    assert [place.task_status(name) for name in ("number", "values", "broken")] == ["F"] * 3
    assert resume(place, increase=False) == "E"
    assert [r["memory"] for *_, r in requests(place, "number")] == [0.048828125] * 2
    (place.work / "gate").touch()
    assert resume(place, increase=True) == "E"
    assert [(s, r["memory"]) for s, _, r in requests(place, "number")][2:] == [("D", 1)]
    assert [r["memory"] * 1024 for *_, r in requests(place, "values")] == [40] + [64] * 5  # never less again
    assert [(s, r["memory"]) for s, _, r in requests(place, "broken")][-1] == ("D", 0.048828125)


def test_a_resume_by_id_cannot_call_a_function_of_the_script(place: Place) -> None:
    """It says so before anything has changed; with the resources it had the workflow can be resumed."""
    run_script(
        place,
        """
add("grown", needs(150), compute_resources={"memory": "50M"}, resource_scales={"memory": lambda gib: 2 * gib},
    max_attempts=1)
run()
""",
    )
    before = place.sql("SELECT status, num_attempts, task_resources_id FROM task")
    text = resume(place, increase=True)
    assert text.startswith("The resources of task 1, which were not enough, cannot be increased.")
    assert "is the function <lambda>" in text
    assert "--keep-resources" in text
    assert place.sql("SELECT status, num_attempts, task_resources_id FROM task") == before
    assert resume(place, increase=False) == "E"
    assert [status for status, *_ in requests(place, "grown")] == ["Z", "Z"]
