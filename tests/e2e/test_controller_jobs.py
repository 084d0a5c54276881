"""A run whose controller is a job of a batch cluster: begun, waited for in the queue, started anew, stopped."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from processes import Place, Script, is_gone, wait_until

pytestmark = pytest.mark.e2e

SITE = Path(__file__).with_name("yard")
START = (
    "import sys; from jobmon.plugins.yard import start; from pathlib import Path; start(Path(sys.argv[1]), 1)"
)


@pytest.fixture
def yard(place: Place) -> Path:
    """The directory of the batch cluster of this place."""
    directory = place.root / "yard"
    directory.mkdir()
    place.environment |= {"PYTHONPATH": str(SITE), "YARD": str(directory)}
    place.configure(
        distributor__shared_directory=place.root / "shared",
        heartbeat__workflow_run_interval=0.5,
        heartbeat__report_by_buffer=2,
    )
    return directory


def register(place: Place, *tasks: dict[str, Any]) -> None:
    """A workflow that is not run yet; its tasks run inside the controller."""
    assert place.start_flow(tasks, run=None).end() == 0


def begin(place: Place, *words: object) -> str:
    return place.jobmon("workflow", "run", 1, "--detach", "--on", "yard", *words)


def start_anew(place: Place) -> None:
    """Do what a cluster does whose node failed."""
    words = ["-c", START, place.root / "yard"]
    assert place.start([sys.executable, *words]).end() == 0


def controller(place: Place) -> int:
    """Process id of the controller of the latest run."""
    text = place.scalar("SELECT controller FROM workflow_run ORDER BY id DESC LIMIT 1")
    return int(json.loads(text)["pid"])


def shared(place: Place) -> Path:
    """What the workflow keeps in the shared directory."""
    (found,) = (place.root / "shared").glob("workflow_1*")
    return found


def log(place: Place) -> str:
    return (shared(place) / "logs" / "controller.log").read_text()


def test_a_job_hosts_the_run(place: Place, yard: Path) -> None:
    """It goes on by itself, in the job that is named; what it asked for fits the queue; no secret is on its command line."""
    register(place, place.task("a", gate="go"))
    said = begin(place, "--memory", "2G", "--project", "p")
    assert "goes on by itself, in job 1 of cluster yard (queue main, at most 10 min)" in said
    assert "controller.log" in said
    place.wait_started("a")
    job = json.loads((yard / "1.json").read_text())
    assert job["name"].startswith("jobmon-controller-1.")
    assert job["resources"]["requeue"] is True
    assert {k: job["resources"][k] for k in ("queue", "memory", "runtime", "project")} == {
        "queue": "main",
        "memory": 2,
        "runtime": 600,
        "project": "p",
    }
    pid = controller(place)
    assert pid == int((yard / "1.pid").read_text())
    request = shared(place) / "controller" / "run_1.json"
    assert request.stat().st_mode & 0o077 == 0
    assert place.server().token.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
    waiting = place.start_jobmon("workflow", "wait", 1)
    place.open("go")
    assert waiting.end() == 0, waiting.text
    assert place.runs() == "D"
    assert "run 1 of workflow 1 goes on" in log(place)
    wait_until(lambda: is_gone(pid), "the end of the job")
    assert not request.exists()


def test_from_the_script(place: Place, yard: Path) -> None:
    """``run(detach=True, on=…)``; its result can be waited for. What does not go together is refused before."""
    script = place.start_python(
        "import json\n"
        "from jobmon.client.api import Tool\n"
        "tool = Tool('t')\n"
        "workflow = tool.create_workflow(default_cluster_name='multiprocess')\n"
        "workflow.add_task(tool.get_task_template('s', 'true {c}', node_args=['c']).create_task(c=1))\n"
        "for run in ({'on': 'yard'}, {'on_resources': {'memory': 1}},\n"
        "            {'detach': True, 'on': 'yard', 'on_resources': {'cores': 2}},\n"
        "            {'detach': True, 'on': 'multiprocess'},\n"
        "            {'detach': True, 'on': 'yard', 'on_resources': {'memory': 5}}):\n"
        "    try:\n        workflow.run(**run)\n"
        "    except Exception as error:\n        print(type(error).__name__, error)\n"
        "result = workflow.run(detach=True, on='yard', on_resources={'memory': 2})\n"
        "print('RESULT', json.dumps([str(result.wait(20)), result.place, result.log]))\n"
    )
    status, where, path = said(script)
    assert (status, where) == ("D", "job 1 of cluster yard (queue main, at most 10 min)")
    assert Path(path).exists()
    assert script.text.count("UsageError") == 5, script.text
    for words in (
        "detach=True as well",
        "name its cluster",
        "cores is not one of",
        "takes no jobs",
        "too much here",
    ):
        assert words in script.text
    assert place.runs() == "D"


def said(script: Script) -> list[Any]:
    assert script.end() == 0, script.text
    return list(script.said("RESULT"))


def test_it_waits_in_the_queue(place: Place, yard: Path) -> None:
    """With the reason; meanwhile nobody else runs the workflow; it begins when the job starts."""
    (yard / "closed").touch()
    register(place, place.task("a"))
    script = place.start_python(WAITING)
    waits_for, text = said(script)
    assert (
        "begins when job 1 of cluster yard (queue main, at most 10 min) starts, which waits for: Closed"
        in text
    )
    assert waits_for == "Closed: nothing starts in this yard."
    assert place.runs() == "L"
    second = place.start_jobmon("workflow", "run", 1)
    assert second.end() == 1
    assert "is being run" in second.text
    waiting = place.start_jobmon("workflow", "wait", 1)
    start_anew(place)
    assert waiting.end() == 0, waiting.text
    assert place.runs() == "D"


WAITING = (
    "import json\n"
    "from jobmon.client.commands.run import run_workflow_by_id\n"
    "from jobmon.client.detached import how_to_follow\n"
    "from jobmon.swarm.job import JobOptions\n"
    "result = run_workflow_by_id(1, detach=True, startup_timeout=0.5, job=JobOptions('yard'))\n"
    "print('RESULT', json.dumps([result.waits_for, how_to_follow(result)]))\n"
)


@pytest.mark.parametrize("how", ["stop", "drain", "resume"])
def test_a_run_that_did_not_begin_is_withdrawn(place: Place, yard: Path, how: str) -> None:
    """With its job; should that start all the same, it finds its run ended and leaves the workflow alone."""
    (yard / "closed").touch()
    register(place, place.task("a"))
    said(place.start_python(WAITING))
    if how == "resume":
        place.jobmon("workflow", "resume", 1)
        assert place.runs() == "AD"
    else:
        place.jobmon("workflow", "stop", 1, *(["--drain"] if how == "drain" else []))
        assert place.runs() == "A"
    (yard / "1.cancelled").rename(yard / "1.json")
    start_anew(place)
    wait_until(lambda: is_gone(int((yard / "1.pid").read_text())), "the end of the job")
    assert "nothing to do" in log(place)
    assert len(place.runs()) == (2 if how == "resume" else 1)


@pytest.mark.parametrize("what", ["dead", "out of sight", "alive"])
def test_started_anew_it_takes_its_run_over(place: Place, yard: Path, what: str) -> None:
    """What was done stays done, the rest is done by a new run.

    The first controller is seen to be dead, or cannot be looked up (its node is another one) and counts as lost in time,
    or it lives (its node is cut off from the cluster) and hands over.
    """
    register(place, place.task("a"), place.task("b", gate="go", upstream=["a"]))
    begin(place)
    place.wait_started("b")
    if what != "alive":
        os.kill(controller(place), signal.SIGKILL)
    if what == "out of sight":
        move_elsewhere(place)
    start_anew(place)
    place.wait_started("b", times=2)
    place.open("go")
    place.jobmon("workflow", "wait", 1)
    assert place.runs() == "TD"
    assert place.num_starts("a", "b") == [1, 2]
    assert "takes its run over" in log(place)
    start_anew(place)  # once more, for nothing
    wait_until(lambda: is_gone(int((yard / "1.pid").read_text())), "the end of the job")
    assert place.runs() == "TD"


def move_elsewhere(place: Place) -> None:
    """Have the controller be one of another machine."""
    here, there = json.dumps(socket.gethostname()), json.dumps("elsewhere")
    with closing(sqlite3.connect(place.files.database, timeout=10)) as database, database:
        database.execute("UPDATE workflow_run SET controller = replace(controller, ?, ?)", (here, there))
    answer = shared(place) / "controller" / "run_1.json.answer"
    answer.write_text(answer.read_text().replace(here, there))


def test_the_cluster_ends_the_job(place: Place, yard: Path) -> None:
    """SIGTERM: the run is handed over at once; when the job is started anew, it goes on."""
    register(place, place.task("a", gate="go"))
    begin(place)
    place.wait_started("a")
    pid = controller(place)
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: is_gone(pid), "the end of the job")
    assert place.runs() == "T"
    place.open("go")
    start_anew(place)
    place.wait_run("D")
    assert place.runs() == "TD"


@pytest.mark.parametrize("how", ["stop", "resume"])
def test_what_was_ended_on_purpose_is_not_taken_over(place: Place, yard: Path, how: str) -> None:
    """Not after a stop, and not when somebody else has resumed the workflow."""
    register(place, place.task("a", gate="go"))
    begin(place)
    place.wait_started("a")
    pid = controller(place)
    if how == "stop":
        assert "was stopped" in place.jobmon("workflow", "stop", 1)
    else:
        os.kill(pid, signal.SIGKILL)
        place.open("go")
        place.jobmon("workflow", "resume", 1)
    before = place.runs()
    wait_until(lambda: is_gone(pid), "the end of the job")
    start_anew(place)
    wait_until(lambda: is_gone(int((yard / "1.pid").read_text())), "the end of the job")
    assert place.runs() == before == ("T" if how == "stop" else "TD")


def test_the_answer_to_the_submission_is_lost(place: Place, yard: Path) -> None:
    """It is looked for by its name."""
    (yard / "loses").touch()
    register(place, place.task("a"))
    assert "in job 1 of cluster yard" in begin(place)
    place.jobmon("workflow", "wait", 1)
    assert len(list(yard.glob("*.json"))) == 1


def test_a_job_that_ends_without_a_word(place: Place, yard: Path) -> None:
    """Is told, and no run is left that nobody works on."""
    (yard / "closed").touch()
    (yard / "1.pid").write_text(str(2**22 - 1))
    register(place, place.task("a"))
    script = place.start_jobmon("workflow", "run", 1, "--detach", "--on", "yard")
    assert script.end() == 1
    assert "ended right after its start" in script.text
    assert place.runs() == "A"


def test_nodes_that_cannot_reach_the_local_server(place: Place, yard: Path) -> None:
    """Nothing is submitted; the message says what to set."""
    (yard / "nodes").write_text("198.51.100.7")
    register(place, place.task("a"))
    script = place.start_jobmon("workflow", "run", 1, "--detach", "--on", "yard")
    assert script.end() == 1
    for words in ("http.service_url", "embedded.node_interface"):
        assert words in script.text
    assert place.runs() == ""
    assert not list(yard.glob("*.json"))


def test_nodes_reach_the_local_server_where_it_was_opened_for_controllers(place: Place, yard: Path) -> None:
    """By another address of this machine; the job is told the address and the token in its file alone."""
    (yard / "nodes").write_text("198.51.100.7")
    place.configure(embedded__node_interface="127.0.0.2")
    register(place, place.task("a", gate="go"))
    begin(place)
    place.wait_started("a")
    request = json.loads((shared(place) / "controller" / "run_1.json").read_text())
    assert request["url"].startswith("http://127.0.0.2:")
    place.open("go")
    place.jobmon("workflow", "wait", 1)
    assert place.runs() == "D"


def test_options_that_do_not_go_together(place: Place, yard: Path) -> None:
    for words in (["--on", "yard"], ["--queue", "main"]):
        script = place.start_jobmon("workflow", "run", 1, *words)
        assert script.end() == 2
        assert "goes with" in script.text or "go with" in script.text
