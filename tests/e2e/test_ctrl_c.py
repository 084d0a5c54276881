"""Ctrl-C: the run is stopped, its tasks are gone; with a terminal there is a question first."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from databases import ON_EVERY_DATABASE
from processes import FLOW, Place, Script, wait_until

pytestmark = pytest.mark.e2e

IGNORES_TERM = "trap 'touch asked' TERM; until [ -e gate.never ]; do sleep 0.01; done"


@ON_EVERY_DATABASE
def test_one_stops_the_run(place: Place) -> None:
    script = place.start_flow([place.task("a", gate="never"), place.task("b", upstream=["a"])])
    place.wait_started("a")
    place.wait_task("a", "R")
    script.kill(signal.SIGINT)
    assert script.error()["type"] == "KeyboardInterrupt"
    assert script.process.returncode in (-signal.SIGINT, 130, 1)
    place.assert_no_task_runs()
    assert place.runs() == "S"
    assert place.attempts("a") == "F"
    place.open("never")
    result = place.run_flow(
        [place.task("a", gate="never"), place.task("b", upstream=["a"])], run={"resume": True}
    )
    assert result["status"] == "D"
    assert place.num_starts("a", "b") == [2, 1]


def test_a_second_one_does_not_wait_for_a_stubborn_task(place: Place) -> None:
    place.configure(worker_node__command_interrupt_timeout=600)
    script = place.start_flow([place.task("a", then=IGNORES_TERM)])
    place.wait_started("a")
    script.kill(signal.SIGINT)
    wait_until((place.work / "asked").exists, "the task to be asked to end")
    script.kill(signal.SIGINT)
    assert script.error(5)["type"] == "KeyboardInterrupt"
    place.assert_no_task_runs()
    assert place.runs() == "S"


class Terminal:
    """A terminal of our own with a script at it."""

    def __init__(self, place: Place, tasks: list[dict[str, object]]) -> None:
        spec = place.root / "terminal.json"
        spec.write_text(json.dumps({"tasks": tasks}))
        self.master, slave = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, FLOW, spec],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=place.work,
            env=place.environment,
            start_new_session=True,
        )
        os.close(slave)
        self.output = place.root / "terminal.output"
        self.output.touch()
        os.set_blocking(self.master, False)
        self.script = Script(process, self.output)
        place.scripts.append(self.script)

    def read(self) -> str:
        try:
            with open(self.output, "ab") as file:
                file.write(os.read(self.master, 65536))
        except (BlockingIOError, OSError):
            pass  # nothing new, or the other end is closed
        return self.script.text

    def wait_for(self, words: str, times: int = 1) -> None:
        wait_until(lambda: self.read().count(words) >= times, f"{words!r} on the terminal")

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())


@pytest.fixture
def terminal(place: Place) -> Iterator[Terminal]:
    terminal = Terminal(place, [place.task("a", gate="go"), place.task("b", gate="end", upstream=["a"])])
    yield terminal
    os.close(terminal.master)


def test_the_answer_n_goes_on(place: Place, terminal: Terminal) -> None:
    place.wait_started("a")
    os.kill(terminal.script.pid, signal.SIGINT)
    terminal.wait_for("(y/n)")
    terminal.type("n\n")
    place.open("go")
    place.open("end")
    terminal.wait_for("RESULT")
    assert terminal.script.result()["status"] == "D"
    assert place.num_starts("a", "b") == [1, 1]


def test_the_answer_y_stops(place: Place, terminal: Terminal) -> None:
    place.wait_started("a")
    os.kill(terminal.script.pid, signal.SIGINT)
    terminal.wait_for("(y/n)")
    terminal.type("what?\n")
    terminal.wait_for("(y/n)", 2)
    terminal.type("y\n")
    terminal.wait_for("KeyboardInterrupt")
    terminal.script.end()
    assert place.runs() == "S"
    place.assert_no_task_runs()


def test_a_task_ends_while_the_question_stands(place: Place, terminal: Terminal) -> None:
    place.wait_started("a")
    os.kill(terminal.script.pid, signal.SIGINT)
    terminal.wait_for("(y/n)")
    place.open("go")
    place.wait_started("b")
    terminal.type("n\n")
    place.open("end")
    terminal.wait_for("RESULT")
    assert terminal.script.result()["status"] == "D"
