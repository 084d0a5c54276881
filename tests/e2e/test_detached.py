"""Detached runs: the controller works in a process of its own; it is waited for, watched, drained and stopped by id."""

from __future__ import annotations

import json
import os
import pty
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from databases import ON_EVERY_DATABASE
from processes import FLOW, Place, Script, is_gone, wait_until

pytestmark = pytest.mark.e2e


def controller(place: Place) -> int:
    """Process id of the controller of the latest run."""
    text = place.scalar("SELECT controller FROM workflow_run ORDER BY id DESC LIMIT 1")
    return int(json.loads(text)["pid"])


def start_detached(place: Place, tasks: list[dict[str, Any]], **run: Any) -> Script:
    """A script that has handed over its run and has ended."""
    script = place.start_flow(tasks, run={"detach": True, **run})
    assert script.end() == 0, script.text
    return script


@ON_EVERY_DATABASE
def test_it_outlives_the_script_and_its_terminal(place: Place) -> None:
    """The script runs in a terminal that closes; what was said is how to go on."""
    place.configure(progress__enabled="true", task__log_directory=place.root / "logs")
    tasks = [place.task("a", gate="go"), place.task("b", upstream=["a"])]
    leader, follower = pty.openpty()
    spec = place.root / "spec.json"
    spec.write_text(json.dumps({"tasks": tasks, "run": {"detach": True}}))
    script = place.start([sys.executable, FLOW, spec], start_new_session=True, stdin=follower)
    os.close(follower)
    result = script.result()
    os.close(leader)
    assert result["status"] in "ILR"
    assert "jobmon workflow attach 1" in script.text
    place.wait_started("a")
    pid = controller(place)
    assert pid != script.pid
    os.kill(pid, signal.SIGHUP)
    os.kill(pid, signal.SIGINT)
    waiting = place.start_jobmon("workflow", "wait", 1)
    place.open("go")
    assert waiting.end() == 0, waiting.text
    assert "2 of 2 tasks done" in waiting.text
    assert place.runs() == "D"
    wait_until(lambda: is_gone(pid), "the end of the controller")
    log = place.root / "logs" / "workflow_1" / "controller.log"
    assert "run 1 ended D: 2 of 2 tasks done" in log.read_text()
    assert log.stat().st_mode & 0o077 == 0


def test_its_result_can_be_waited_for_in_the_script(place: Place) -> None:
    """With the errors of its tasks; a time-out leaves it alone."""
    script = place.start_python(
        "import json\n"
        "from jobmon.client.api import Tool\n"
        "tool = Tool('t')\n"
        "workflow = tool.create_workflow(default_cluster_name='multiprocess', default_max_attempts=1)\n"
        "template = tool.get_task_template('s', 'sleep 1.5; {c}', node_args=['c'])\n"
        "workflow.add_tasks(template.create_tasks(c=['true', 'exit 3']))\n"
        "result = workflow.run(detach=True)\n"
        "try:\n    result.wait(0.3)\nexcept RuntimeError as error:\n    print('TIMEOUT', json.dumps(str(error)))\n"
        "final = result.wait()\n"
        "print('FINAL', json.dumps([str(result), str(final), final.done_count, final.failed_count,"
        " final.num_newly_completed, len(workflow.task_errors), final.is_detached]))\n"
        "print('STATES', json.dumps(sorted(task.final_status for task in workflow.tasks.values())))\n"
    )
    assert script.end() == 0, script.text
    assert "goes on" in script.said("TIMEOUT")
    first, *rest = script.said("FINAL")
    assert first in "ILR"
    assert rest == ["E", 1, 1, 1, 1, False]
    assert script.said("STATES") == ["D", "F"]
    waiting = place.start_jobmon("workflow", "wait", 1)
    assert waiting.end() == 1
    assert "1 failed" in waiting.text


def test_functions_of_the_script_cannot_go_along(place: Place) -> None:
    """Refused with the name of a task, before there is a run."""
    script = place.start_python(
        "from jobmon.client.api import Tool\n"
        "tool = Tool('t')\n"
        "workflow = tool.create_workflow(default_cluster_name='multiprocess')\n"
        "template = tool.get_task_template('s', 'true {c}', node_args=['c'])\n"
        "workflow.add_task(template.create_task(name='needy', c=1, compute_resources_callable=lambda: {}))\n"
        "workflow.run(detach=True)\n"
    )
    assert script.end() == 1
    assert "cannot be detached" in script.text
    assert "needy" in script.text
    assert place.runs() == ""


@ON_EVERY_DATABASE
def test_drain_lets_running_tasks_finish_and_starts_none(place: Place) -> None:
    """Also of a run in a script; drained twice is the same; what is left can be resumed."""
    tasks = [place.task("a", gate="go"), place.task("b", upstream=["a"])]
    script = place.start_flow(tasks)
    place.wait_started("a")
    drain = place.start_jobmon("workflow", "stop", 1, "--drain")
    wait_until(lambda: place.scalar("SELECT is_draining FROM workflow_run"), "the order")
    assert "starts no more tasks" in place.jobmon("workflow", "stop", 1, "--drain", "--no-wait")
    assert place.scalar("SELECT count(*) FROM workflow_history WHERE event = 'drain'") == 1
    assert script.process.poll() is None
    place.open("go")
    assert drain.end() == 0, drain.text
    assert "1 of 2 tasks are done; its status is HALTED" in drain.text
    assert script.result()["status"] == "T"
    assert place.num_starts("a", "b") == [1, 0]
    place.jobmon("workflow", "run", 1)
    assert place.runs() == "TD"
    assert place.num_starts("a", "b") == [1, 1]


def test_a_drained_run_whose_last_task_is_done_is_done(place: Place) -> None:
    start_detached(place, [place.task("a", gate="go")])
    place.wait_started("a")
    drain = place.start_jobmon("workflow", "stop", 1, "--drain")
    wait_until(lambda: place.scalar("SELECT is_draining FROM workflow_run"), "the order")
    place.open("go")
    assert drain.end() == 0, drain.text
    assert "are done" in drain.text
    assert place.runs() == "D"


def test_stop_after_drain_kills(place: Place) -> None:
    start_detached(place, [place.task("a", gate="never"), place.task("b")])
    place.wait_started("a")
    place.jobmon("workflow", "stop", 1, "--drain", "--no-wait")
    assert "was stopped" in place.jobmon("workflow", "stop", 1)
    assert place.runs() == "T"
    assert "a" not in [p.name.partition(".")[2] for p in Path(place.work).glob("ended.*")]


def test_attach_shows_it_and_ctrl_c_leaves_it_alone(place: Place) -> None:
    start_detached(place, [place.task("a", gate="go")])
    place.wait_started("a")
    place.configure(progress__enabled="true")
    attached = place.start_jobmon("workflow", "attach", 1)
    wait_until(lambda: "0 of 1 tasks done" in attached.text, "the first line")
    attached.kill(signal.SIGINT)
    assert attached.end() == 130
    assert "goes on" in attached.text
    attached = place.start_jobmon("workflow", "attach", 1)
    place.open("go")
    assert attached.end() == 0, attached.text
    assert "DONE, 1 of 1" in attached.text


@ON_EVERY_DATABASE
def test_the_server_dies_and_the_run_rides_through(place: Place) -> None:
    """Kill -9 of the server: the controller starts another one."""
    start_detached(place, [place.task("a", gate="go"), place.task("b", upstream=["a"])])
    place.wait_started("a")
    place.kill_server()
    place.open("go")
    place.jobmon("workflow", "wait", 1)
    assert place.runs() == "D"
    assert place.num_starts("a", "b") == [1, 1]


def test_the_controller_dies(place: Place) -> None:
    """Kill -9 of it: who waits is told, and it can be run again."""
    tasks = [place.task("a"), place.task("b", gate="go", upstream=["a"])]
    start_detached(place, tasks)
    place.wait_started("b")
    waiting = place.start_jobmon("workflow", "wait", 1)
    time.sleep(0.3)  # either order is right; this one is the harder
    os.kill(controller(place), signal.SIGKILL)
    assert waiting.end() == 1
    assert "is gone" in waiting.text
    place.open("go")
    place.jobmon("workflow", "run", 1)
    assert place.task_status("b") == "D"
    assert place.num_starts("a", "b") == [1, 2]


def test_it_is_not_begun_twice(place: Place) -> None:
    """Neither by id nor by the script; a complete one is refused with its own error."""
    tasks = [place.task("a", gate="go")]
    start_detached(place, tasks)
    place.wait_started("a")
    second = place.start_jobmon("workflow", "run", 1, "--detach")
    assert second.end() == 1
    assert "is being run" in second.text
    assert place.start_flow(tasks, run={"detach": True}).error()["type"] == "WorkflowAlreadyExists"
    place.open("go")
    place.jobmon("workflow", "wait", 1)
    assert place.start_flow(tasks, run={"detach": True}).error()["type"] == "WorkflowAlreadyComplete"
    assert place.runs() == "D"


def test_a_signal_stops_it_in_good_order(place: Place) -> None:
    start_detached(place, [place.task("a", gate="never")])
    place.wait_started("a")
    os.kill(controller(place), signal.SIGTERM)
    waiting = place.start_jobmon("workflow", "wait", 1)
    assert waiting.end() == 1
    assert "STOPPED" in waiting.text
    assert place.runs() == "S"


def test_the_distributor_command_hosts_a_run(place: Place) -> None:
    """``python -m jobmon.distributor.cli``: a run that was created step by step."""
    place.start_flow([place.task("a")], run=None).end()
    made = place.start_python(
        "from jobmon.client.workflow_run import WorkflowRunFactory\n"
        "print('RUN', WorkflowRunFactory(1).create_workflow_run().workflow_run_id)\n"
    )
    assert made.wait_for("RUN") == 1
    words = [sys.executable, "-m", "jobmon.distributor.cli", "start", "--cluster_name", "multiprocess"]
    hosted = place.start([*words, "--workflow_run_id", "1"])
    assert hosted.end() == 0, hosted.text
    assert hosted.text.index("ALIVE") < hosted.text.index("SHUTDOWN")
    assert place.runs() == "D"
    again = place.start([*words, "--workflow_run_id", "1"])
    assert again.end() == 1
    assert "DONE" in again.text


def test_secrets_stay_out_of_sight(place: Place) -> None:
    """A server of one's own with a token: neither argv nor environment of the controller hold it."""
    record = place.start_server()
    token = place.root / "token"
    token.write_text(record.token)
    token.chmod(0o600)
    place.configure(http__service_url=record.url, http__token_file=token)
    start_detached(place, [place.task("a", gate="go")])
    place.wait_started("a")
    process = Path("/proc") / str(controller(place))
    for what in ("cmdline", "environ"):
        assert record.token.encode() not in (process / what).read_bytes()
    place.open("go")
    place.jobmon("workflow", "wait", 1)
    assert place.runs() == "D"


def test_a_log_that_cannot_be_written(place: Place) -> None:
    """Is named, and no run is left behind that nobody works on."""
    occupied = place.root / "occupied"
    occupied.write_text("a file")
    place.configure(task__log_directory=occupied)
    error = place.start_flow([place.task("a")], run={"detach": True}).error()
    assert error["type"] == "UsageError"
    assert "controller.log" in error["message"]
    assert place.runs() == "A"
