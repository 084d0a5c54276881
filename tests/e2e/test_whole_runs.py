"""Workflows from beginning to end, with a real server and real commands."""

from __future__ import annotations

import json
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from databases import ON_EVERY_DATABASE
from processes import Place

pytestmark = pytest.mark.e2e

COMPAT_SCRIPT = """
from jobmon.client.api import Tool

tool = Tool(name="compat")
tmpl = tool.get_task_template(
    template_name="step", command_template="echo {a} {b} {c}", node_args=["a"], task_args=["b"], op_args=["c"],
    default_cluster_name="multiprocess", default_compute_resources={"queue": "null.q"},
)
wf = tool.create_workflow(
    name="wf", workflow_args="compat", default_cluster_name="multiprocess",
    default_compute_resources_set={"multiprocess": {"queue": "null.q"}},
)
tasks = tmpl.create_tasks(a=[1, 2], b="data", c="op")
wf.add_tasks(tasks)
t = tmpl.create_task(a=3, b="data", c="op", upstream_tasks=tasks)
wf.add_task(t)
wf.bind()
print("ID", wf.workflow_id)
status = wf.run(resume=True)
assert status == "D"
print("STATUS", '"' + status + '"')
"""


def test_the_typical_script(bare_place: Place) -> None:
    script = bare_place.start_python(COMPAT_SCRIPT)
    assert script.end() == 0, script.text
    assert script.said("STATUS") == "D"
    assert script.said("ID") == 1


@ON_EVERY_DATABASE
def test_the_same_script_again_says_that_the_workflow_is_complete(place: Place) -> None:
    assert place.run_flow([place.task("a")])["status"] == "D"
    error = place.start_flow([place.task("a")]).error()
    assert error["type"] == "WorkflowAlreadyComplete"
    assert "workflow_args" in error["message"]
    assert place.num_starts("a") == [1]


@ON_EVERY_DATABASE
def test_diamond_runs_in_order(place: Place) -> None:
    tasks = [
        place.task("top"),
        place.task("left", then="test -e ended.top", upstream=["top"]),
        place.task("right", then="test -e ended.top", upstream=["top"]),
        place.task("bottom", then="test -e ended.left && test -e ended.right", upstream=["left", "right"]),
    ]
    result = place.run_flow(tasks)
    assert (result["status"], result["done"], result["new"], result["before"]) == ("D", 4, 4, 0)
    assert place.num_starts("top", "left", "right", "bottom") == [1, 1, 1, 1]


def test_chain_of_50(place: Place) -> None:
    names = [f"t{i}" for i in range(50)]
    tasks = [{"name": names[0], "command": "true"}]
    tasks += [{"name": down, "command": "true", "upstream": [up]} for up, down in pairwise(names)]
    assert place.run_flow(tasks)["status"] == "D"
    ends = place.sql("SELECT task_id FROM task_history WHERE task_to = 'D' ORDER BY id")
    assert ends == sorted(ends)


@ON_EVERY_DATABASE
@pytest.mark.timeout(180)
def test_all_to_all_on_dummy(place: Place) -> None:
    first = [{"name": f"a{i}", "command": "", "template": "first"} for i in range(100)]
    ups = [task["name"] for task in first]
    second = [{"name": f"b{i}", "command": "", "template": "second", "upstream": ups} for i in range(100)]
    result = place.run_flow(first + second, workflow={"default_cluster_name": "dummy"})
    assert (result["status"], result["done"]) == ("D", 200)


def test_2000_tasks(place: Place) -> None:
    result = place.run_flow([{"name": f"t{i}", "command": "true"} for i in range(2000)])
    assert (result["status"], result["done"]) == ("D", 2000)
    assert place.scalar("SELECT count(*) FROM task_instance") == 2000


def test_sequential_cluster_runs_one_at_a_time(place: Place) -> None:
    tasks = [place.task(f"t{i}", then=overlap_probe()) for i in range(4)]
    assert place.run_flow(tasks, workflow={"default_cluster_name": "sequential"})["status"] == "D"
    assert most_at_once(place) == 1


# -- attempts -------------------------------------------------------------------------------------------
def test_retries_until_it_succeeds(place: Place) -> None:
    task = place.task("a", then='test "$(wc -l < started.a)" -ge 3', max_attempts=3)
    assert place.run_flow([task, place.task("b", upstream=["a"])])["status"] == "D"
    assert place.num_starts("a", "b") == [3, 1]
    assert place.attempts("a") == "EED"


@ON_EVERY_DATABASE
def test_max_attempts_and_the_rest_goes_on(place: Place) -> None:
    tasks = [
        place.task("bad", then="(echo it broke >&2; exit 7)", max_attempts=2),
        place.task("after", upstream=["bad"]),
        place.task("beside"),
    ]
    result = place.run_flow(tasks)
    assert (result["status"], result["done"], result["failed"]) == ("E", 1, 1)
    assert place.num_starts("bad", "after", "beside") == [2, 0, 1]
    assert [place.task_status(name) for name in ("bad", "after", "beside")] == ["F", "G", "D"]
    assert "it broke" in result["errors"]["bad"][0]
    assert "code 7" in result["errors"]["bad"][0]
    assert place.runs() == "E"


@ON_EVERY_DATABASE
def test_fail_fast_ends_the_run_and_what_runs(place: Place) -> None:
    tasks = [
        place.task("long", gate="never"),
        place.task("bad", then="until [ -e started.long ]; do sleep 0.01; done; false", max_attempts=1),
    ]
    result = place.run_flow(tasks, run={"fail_fast": True})
    assert (result["status"], result["failed"]) == ("E", 1)
    place.assert_no_task_runs()
    assert place.task_status("long") == "G"


@ON_EVERY_DATABASE
def test_timeout_says_what_was_running_and_ends_it(place: Place) -> None:
    error = place.start_flow([place.task("long", gate="never")], run={"seconds_until_timeout": 1}).error()
    assert error["type"] == "WorkflowTimeoutError"
    assert "timeout" in error["message"]
    assert "1 tasks were still running" in error["message"]
    assert str(place.scalar("SELECT id FROM task WHERE name = 'long'")) in error["message"]
    place.assert_no_task_runs()
    assert place.runs() == "E"
    place.open("never")
    assert place.run_flow([place.task("long", gate="never")], run={"resume": True})["status"] == "D"


# -- limits ---------------------------------------------------------------------------------------------
def overlap_probe() -> str:
    """Notes how many tasks run while this one does."""
    return "(echo + ; sleep 0.05; echo - ) >> log.overlap"


def most_at_once(place: Place) -> int:
    now = most = 0
    for line in (place.work / "log.overlap").read_text().split():
        now += 1 if line == "+" else -1
        most = max(most, now)
    return most


def test_limit_of_the_workflow(place: Place) -> None:
    tasks = [place.task(f"t{i}", then=overlap_probe()) for i in range(12)]
    assert place.run_flow(tasks, workflow={"max_concurrently_running": 2})["status"] == "D"
    assert most_at_once(place) == 2


def test_limit_of_a_template(place: Place) -> None:
    tasks = [place.task(f"t{i}", then=overlap_probe(), template="narrow") for i in range(8)]
    tasks += [place.task(f"w{i}", template="wide") for i in range(8)]
    assert place.run_flow(tasks, template_limits={"narrow": 1})["status"] == "D"
    assert most_at_once(place) == 1


@ON_EVERY_DATABASE
def test_limit_0_pauses_until_it_is_raised(place: Place) -> None:
    script = place.start_flow([place.task("a"), place.task("b")], workflow={"max_concurrently_running": 0})
    workflow_id = script.wait_for("BOUND")
    place.wait_run("R")
    assert place.num_starts("a", "b") == [0, 0]
    assert "2" in place.jobmon("workflow", "concurrency", "-w", workflow_id, "-m", 2)
    assert script.result()["status"] == "D"


def test_a_limit_lowered_to_0_while_it_runs_holds_the_rest_back(place: Place) -> None:
    tasks = [place.task("a", gate="go"), place.task("b", upstream=["a"])]
    script = place.start_flow(tasks)
    place.wait_started("a")
    workflow_id = script.said("BOUND")
    place.jobmon("workflow", "concurrency", "-w", workflow_id, "-m", 0)
    place.open("go")
    place.wait_task("a", "D")
    assert script.process.poll() is None
    assert place.num_starts("b") == [0]
    place.jobmon("workflow", "concurrency", "-w", workflow_id, "-m", 5)
    assert script.result()["status"] == "D"


# -- hosts ----------------------------------------------------------------------------------------------
HOSTED = """
import asyncio, json, threading
from jobmon.client.api import Tool

tool = Tool(name="hosted")
step = tool.get_task_template(template_name="step", command_template="echo {a}", node_args=["a"])

def run(args):
    workflow = tool.create_workflow(workflow_args=args, default_cluster_name="multiprocess")
    workflow.add_tasks(step.create_tasks(a=["x", "y"]))
    return workflow.run()

async def main():
    other = asyncio.create_task(asyncio.sleep(0))
    status = run("loop")
    await other
    return status

results = [asyncio.run(main())]
thread = threading.Thread(target=lambda: results.append(run("thread")))
thread.start()
thread.join()
both = [threading.Thread(target=lambda i=i: results.append(run(f"both{i}"))) for i in range(2)]
for thread in both: thread.start()
for thread in both: thread.join()
print("RESULTS", json.dumps(results))
"""


def test_inside_a_running_loop_and_in_threads(place: Place) -> None:
    script = place.start_python(HOSTED)
    assert script.end() == 0, script.text
    assert script.said("RESULTS") == ["D", "D", "D", "D"]


# -- what commands see ----------------------------------------------------------------------------------
def test_environment_of_a_task(place: Place) -> None:
    result = place.run_flow([place.task("a", then="env -0 > environment")])
    pairs = (place.work / "environment").read_text().split("\0")
    environment = dict(pair.split("=", 1) for pair in pairs if pair)
    row = place.sql("SELECT id, task_id, workflow_run_id FROM task_instance")[0]
    names = ("JOBMON_TASK_INSTANCE_ID", "JOBMON_TASK_ID", "JOBMON_WORKFLOW_RUN_ID")
    assert tuple(int(environment[name]) for name in names) == row
    assert int(environment["JOBMON_WORKFLOW_ID"]) == result["workflow_id"]
    assert environment["HOME"] == place.environment["HOME"]


ARGS = """
import json, sys
from jobmon.client.api import Tool

values = json.loads(open("values.json").read())
tool = Tool(name="args")
step = tool.get_task_template(
    template_name="step",
    # The template's author quotes: a value becomes part of a shell command as it is.
    command_template="{python} show.py {index} {value}",
    node_args=["index", "value"], op_args=["python"], default_cluster_name="multiprocess",
)
import shlex
workflow = tool.create_workflow(workflow_args="args")
workflow.add_tasks(
    step.create_task(name=f"v{i}", index=i, value=shlex.quote(value), python=sys.executable,
                     compute_resources={"working_dir": "."})
    for i, value in enumerate(values)
)
print("STATUS", json.dumps(workflow.run()))
"""


@ON_EVERY_DATABASE
def test_quoted_values_arrive_as_they_are(place: Place) -> None:
    values = [
        "",
        " ",
        "a b",
        "it's",
        'say "hi"',
        "$HOME",
        "`id`",
        "a;b|c&d",
        "naïve 日本語 🎈",
        "two\nlines",
        "{brace}",
        "*",
        "\\n",
    ]
    (place.work / "values.json").write_text(json.dumps(values))
    (place.work / "show.py").write_text(
        "import json, sys\njson.dump(sys.argv[2:], open(f'shown.{sys.argv[1]}', 'w'))\n"
    )
    script = place.start_python(ARGS)
    assert script.end() == 0, script.text
    assert script.said("STATUS") == "D"
    shown = [json.loads((place.work / f"shown.{i}").read_text()) for i in range(len(values))]
    assert shown == [[value] for value in values]


def test_unquoted_values_are_words_of_the_shell(place: Place) -> None:
    """What is not quoted is read by the shell: that is the template author's decision."""
    (place.work / "values.json").write_text(json.dumps(["a b"]))
    (place.work / "show.py").write_text(
        "import json, sys\njson.dump(sys.argv[2:], open(f'shown.{sys.argv[1]}', 'w'))\n"
    )
    script = place.start_python(ARGS.replace("shlex.quote(value)", "value"))
    assert script.end() == 0, script.text
    assert json.loads((place.work / "shown.0").read_text()) == ["a", "b"]


@ON_EVERY_DATABASE
def test_logs_and_resources_of_an_attempt_are_recorded(place: Place) -> None:
    burn = f"{sys.executable} -c 'sum(range(2000000)); b = bytearray(50_000_000); print(len(b))'"
    place.run_flow([place.task("a", then=f"{burn} && echo trouble >&2")])
    columns = "stdout, stderr, stdout_log, stderr_log, wallclock, maxrss, cpu, exit_code"
    out, err, out_tail, err_tail, wallclock, maxrss, cpu, code = place.sql(
        f"SELECT {columns} FROM task_instance"
    )[0]
    assert Path(out).read_text() == out_tail == "50000000\n"
    assert Path(err).read_text() == err_tail == "trouble\n"
    assert 0 < float(cpu) <= float(wallclock) * 4
    assert int(maxrss) > 50_000_000
    assert code == 0
