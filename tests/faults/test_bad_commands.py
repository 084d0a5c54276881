"""Commands that misbehave: the attempt is recorded as what it was, and nothing of it is left."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from processes import Place, is_gone, wait_until

pytestmark = pytest.mark.e2e


def fails(place: Place, then: str, **more: object) -> str:
    """Run one task that fails; its error."""
    result = place.run_flow([place.task("a", then=then, max_attempts=1, **more), place.task("b")])
    assert (result["status"], result["done"], result["failed"]) == ("E", 1, 1)
    assert place.task_status("b") == "D"
    return str(result["errors"]["a"][0])


def test_a_command_that_does_not_exist(place: Place) -> None:
    error = fails(place, "no-such-command --at-all")
    assert "code 127" in error
    assert "no-such-command" in error
    assert "PATH" in error


def test_a_command_that_may_not_be_executed(place: Place) -> None:
    (place.work / "plain").write_text("#!/bin/sh\n")
    assert "code 126" in fails(place, "./plain")


def test_a_shell_that_does_not_understand(place: Place) -> None:
    assert "exited with code 2" in fails(place, "if then fi (")


def test_a_working_directory_that_does_not_exist(place: Place) -> None:
    error = fails(place, "true", compute_resources={"working_dir": str(place.work / "nowhere")})
    assert "could not be started" in error
    assert "nowhere" in error


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGTERM, signal.SIGKILL])
def test_it_dies_of_a_signal(place: Place, number: signal.Signals) -> None:
    error = fails(place, f"kill -{int(number)} $$")
    assert f"signal {int(number)} ({number.name})" in error


def test_it_prints_5_megabytes_on_each_stream(place: Place) -> None:
    program = "import sys; [stream.write('0123456789abcde\\n' * 327680 + 'the end') for stream in (sys.stdout, sys.stderr)]"
    (place.work / "loud.py").write_text(program)
    assert place.run_flow([place.task("a", then=f"{sys.executable} loud.py")])["status"] == "D"
    rows = place.sql("SELECT stdout, stderr, stdout_log, stderr_log FROM task_instance")
    for path in map(Path, rows[0][:2]):
        assert path.stat().st_size == 5 * 2**20 + len("the end")
    for tail in rows[0][2:]:
        assert tail.endswith("abcde\nthe end")
        assert len(tail) == 10_000


def test_it_prints_what_is_not_utf8(place: Place) -> None:
    error = fails(place, "(printf 'caf\\351 \\377\\376 ok\\n\\000end' >&2; false)")
    assert "caf\ufffd" in error
    assert "ok" in error
    stored = place.scalar("SELECT stderr_log FROM task_instance WHERE status = 'E'")
    assert "caf\ufffd" in stored
    assert stored.endswith("end")


def test_it_prints_nothing_but_a_character_cut_in_two(place: Place) -> None:
    """The tail is cut at a character, not inside one."""
    program = "import sys; sys.stdout.buffer.write('é'.encode() * 50_000)"
    (place.work / "accents.py").write_text(program)
    assert place.run_flow([place.task("a", then=f"{sys.executable} accents.py")])["status"] == "D"
    assert place.scalar("SELECT stdout_log FROM task_instance") == "é" * 10_000


def test_children_that_outlive_it_are_ended(place: Place) -> None:
    wait = "until [ -e gate.never ]; do sleep 0.01; done"
    tasks = [
        place.task(
            "a",
            then=f"(sh -c 'echo $$ > child; {wait}' & setsid sh -c 'echo $$ > apart; {wait}' & "
            "until [ -s child ] && [ -s apart ]; do sleep 0.01; done)",
        ),
        place.task("b", upstream=["a"], then='! kill -0 "$(cat child)"'),
    ]
    assert place.run_flow(tasks)["status"] == "D"
    pids = [int((place.work / name).read_text()) for name in ("child", "apart")]
    wait_until(lambda: all(map(is_gone, pids)), "the end of the children", 5)


def test_it_ignores_sigterm_and_the_run_ends_all_the_same(place: Place) -> None:
    deaf = place.task("a", then="trap '' TERM; until [ -e gate.never ]; do sleep 0.01; done")
    error = place.start_flow([deaf], run={"seconds_until_timeout": 1.5}).error()
    assert error["type"] == "WorkflowTimeoutError"
    place.assert_no_task_runs()


def test_it_reads_from_stdin_and_finds_it_empty(place: Place) -> None:
    assert place.run_flow([place.task("a", then='test -z "$(cat)"')])["status"] == "D"


LONG = """
from jobmon.client.api import Tool

tool = Tool(name="long")
step = tool.get_task_template(
    template_name="step", command_template=": {a} " + "x" * 200_000, node_args=["a"]
)
workflow = tool.create_workflow(workflow_args="long", default_cluster_name="multiprocess", default_max_attempts=1)
workflow.add_tasks(step.create_tasks(a=[1]))
print("STATUS", '"' + workflow.run() + '"')
"""


def test_a_command_longer_than_the_system_takes(place: Place) -> None:
    """An argument of the shell may have 128 KiB on Linux; the reason is told."""
    script = place.start_python(LONG)
    script.end()
    assert script.said("STATUS") == "E", script.text
    assert "Argument list too long" in place.errors("step_a-1")
