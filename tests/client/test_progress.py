"""What is shown while a workflow runs and when it has ended."""

from __future__ import annotations

import io
from typing import Any

import pytest

from jobmon.client.progress import (
    BarDisplay,
    BindDisplay,
    LineDisplay,
    SilentDisplay,
    choose_display,
    describe_eta,
    last_words,
    say,
)
from jobmon.client.result import WorkflowRunResult, errors_by_task
from jobmon.serializers.monitor import EtaRow, TaskErrorRow
from jobmon.swarm.controller import Progress, RunOutcome


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def progress(done: int, failed: int = 0, total: int = 100) -> Progress:
    return Progress(total, done, 2, failed, total - done - failed, 5.0, "R")


def result(status: str, done: int, failed: list[int] | None = None, before: int = 0) -> WorkflowRunResult:
    failed = failed or []
    statuses = dict.fromkeys(failed, "F")
    return WorkflowRunResult.of_outcome(
        12, 3, RunOutcome(status, 62.3, done + len(failed), done, len(failed), before, statuses, [], failed)
    )


def error(task_id: int, number: int = 1, **kwargs: Any) -> Any:
    values = {
        "task_id": task_id,
        "task_name": f"fit_{task_id}",
        "task_instance_id": task_id * 10 + number,
        "task_instance_error_log_id": task_id * 10 + number,
        "error_time": "2026-01-01T00:00:00",
        "description": f"it broke {number}",
        "stderr_log": "",
        "stdout": f"/logs/{task_id}.o{number}",
        "stderr": f"/logs/{task_id}.e{number}",
    }
    return TaskErrorRow(**(values | kwargs))


def test_the_display_fits_the_stream() -> None:
    assert isinstance(choose_display(True, io.StringIO()), LineDisplay)
    assert isinstance(choose_display(True, Terminal()), BarDisplay)
    assert isinstance(choose_display(False, Terminal()), SilentDisplay)


def test_lines_are_few() -> None:
    stream, clock = io.StringIO(), Clock()
    display = LineDisplay(stream, clock)
    display.start("workflow 1: 100 tasks")
    for done in range(101):
        clock.now += 0.5
        display.update(progress(done))
    display.stop()
    lines = stream.getvalue().splitlines()
    assert lines[0] == "workflow 1: 100 tasks"
    assert lines[1] == "  10 of 100 done, 2 running, 5 s"
    assert len(lines) == 10


def test_a_slow_run_says_something_every_ten_seconds_if_there_is_news() -> None:
    stream, clock = io.StringIO(), Clock()
    display = LineDisplay(stream, clock)
    display.start("x")
    for done in (0, 0, 1, 1, 2):
        clock.now += 10
        display.update(progress(done, failed=int(done > 1)))
    assert stream.getvalue().splitlines()[1:] == [
        "  1 of 100 done, 2 running, 5 s",
        "  2 of 100 done, 2 running, 1 failed, 5 s",
    ]


def test_the_bar_moves_and_makes_room_for_questions() -> None:
    stream = Terminal()
    display = choose_display(True, stream)
    display.start("workflow 1 [x]: 100 tasks")
    display.update(progress(40, failed=1))
    display.pause()
    display.proceed()
    display.update(progress(99, failed=1))
    display.stop()
    assert "workflow 1 [x]: 100 tasks" in stream.getvalue()


def test_registration_is_mentioned_when_it_takes_long() -> None:
    stream, clock = io.StringIO(), Clock()
    display = BindDisplay(40, True, stream, clock)
    display.advance("nodes", 10)
    assert stream.getvalue() == ""
    clock.now = 3
    display.advance("nodes", 10)
    display.advance("tasks", 10)
    clock.now = 20
    display.advance("tasks", 10)
    assert stream.getvalue().splitlines() == ["  registering nodes: 50%", "  registering tasks: 100%"]


def test_a_closed_stream_ends_no_run() -> None:
    stream = io.StringIO()
    stream.close()
    say(stream, "anything")


@pytest.mark.parametrize(
    ("eta", "text"),
    [
        (
            EtaRow(45.9, 120.0, 7800.0, 6600.0, 9600.0, "from the mean"),
            "45 % done, 120 tasks a minute, about 2 h 10 min left (1 h 50 min – 2 h 40 min), from the mean",
        ),
        (
            EtaRow(0.0, None, None, None, None, "not known yet: no task has finished"),
            "0 % done, not known yet: no task has finished",
        ),
        (EtaRow(99.9, 0.5, 4.0, 4.0, 4.1, "x"), "99 % done, 30 tasks an hour, about 4 s left, x"),
        (EtaRow(1.0, 900.0, 0.0, 0.0, 0.0, "x"), "1 % done, 15 tasks a second, about 1 s left, x"),
        (EtaRow(1.0, 1.0, None, None, None, "x"), "1 % done, 1 task a minute, x"),
        (EtaRow(1.0, 1 / 120, None, None, None, "x"), "1 % done, 12 tasks a day, x"),
    ],
)
def test_estimates_in_words(eta: EtaRow, text: str) -> None:
    assert describe_eta(eta) == text


def test_the_last_words_of_a_success_are_short() -> None:
    words = last_words(result("D", 142, before=40), "fits", [])
    assert words.splitlines() == [
        "workflow 12 'fits': DONE, 142 of 142 tasks done (40 of them before), in 1 min 02 s",
        "  look closer:  jobmon workflow status -w 12",
    ]


def test_the_last_words_of_a_failure_say_what_and_why_and_what_next() -> None:
    errors = [error(task_id, number) for number in (2, 1) for task_id in range(1, 8)]
    ended = result("E", 3, failed=list(range(1, 8)))
    ended.task_final_statuses |= {8: "G", 9: "D"}
    words = last_words(ended, "fits", errors)
    assert "ERROR, 3 of 10 tasks done, 7 failed, 1 not run, in 1 min 02 s" in words
    assert "  7 failed, for example fit_1 (task 1): it failed\n" in words
    assert "more" not in words
    assert "it broke 2" in words
    assert "it broke 1" not in words
    assert "stderr: /logs/1.e2" in words
    assert "jobmon workflow status -w 12" in words
    assert "jobmon workflow errors 12" in words
    assert "jobmon task status -t 1" in words
    assert "jobmon workflow resume -w 12" in words


def test_one_example_of_each_kind_of_failure() -> None:
    """The most frequent kinds; a traceback says where."""
    trace = 'Traceback (most recent call last):\n  File "/a.py", line {n}, in {f}\n    x\nKeyError: {n}'
    texts = (
        ["no disk"] * 2
        + [trace.format(n=n, f="load") for n in range(5)]
        + ["odd", trace.format(n=9, f="main")]
    )
    errors = [
        error(task_id, description="The command exited with code 1.", stderr_log=text)
        for task_id, text in enumerate(texts, 1)
    ]
    words = last_words(result("E", 0, failed=list(range(1, 13))), "", errors)
    told = [line for line in words.splitlines() if "(task " in line]
    assert told == [
        "  5 failed, for example fit_3 (task 3): it failed",
        "  2 failed, for example fit_1 (task 1): it failed",
        "  failed: fit_8 (task 8): it failed",
    ]
    assert "  … and 4 more" in words


def test_long_errors_are_shown_by_their_end() -> None:
    text = "\n".join(f"line {number}" for number in range(50))
    words = last_words(result("E", 0, failed=[1]), "", [error(1, description="", stderr_log=text)])
    assert "line 49" in words
    assert "line 40" not in words


def test_errors_belong_to_the_latest_attempt() -> None:
    found = errors_by_task([error(1, 2), error(1, 1), error(2, 1)])
    assert found[1]["task_instance_id"] == 12
    assert [entry["description"] for entry in found[1]["error_log"]] == ["it broke 2"]
    assert set(found) == {1, 2}


def test_a_result_is_a_letter_with_more_to_it() -> None:
    outcome = result("E", 3, failed=[9], before=1)
    assert outcome == "E"
    assert outcome.final_status == "E"
    assert f"{outcome}" == "E"
    assert (outcome.done_count, outcome.failed_count, outcome.num_newly_completed) == (3, 1, 2)
    assert outcome.failed_task_ids == {9}
    assert (outcome.workflow_id, outcome.workflow_run_id) == (12, 3)
