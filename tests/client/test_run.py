"""Ctrl-C while a workflow runs."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest

from jobmon.client.progress import SilentDisplay
from jobmon.client.run import QUESTION, confirm_exit, wait_for


class Script:
    """A controller whose ``join`` does what a list says: raise, say that it has ended, or that it has not."""

    def __init__(self, *joins: bool | type[BaseException]) -> None:
        self.joins = list(joins)
        self.calls: list[str] = []

    def join(self, timeout_seconds: float | None) -> bool:
        if timeout_seconds is not None:
            return True
        step = self.joins.pop(0)
        if isinstance(step, bool):
            return step
        raise step

    def request_stop(self) -> None:
        self.calls.append("stop")

    def abort(self) -> None:
        self.calls.append("abort")


def wait(script: Any, answer: Any = lambda: True) -> None:
    wait_for(script, SilentDisplay(), answer)


def test_a_run_that_ends_is_left_alone() -> None:
    script = Script(False, True)
    wait(script)
    assert script.calls == []


def test_the_first_ctrl_c_stops_in_good_order() -> None:
    script = Script(KeyboardInterrupt, True)
    with pytest.raises(KeyboardInterrupt):
        wait(script)
    assert script.calls == ["stop"]


def test_no_means_go_on() -> None:
    script = Script(KeyboardInterrupt, False, True)
    wait(script, lambda: False)
    assert script.calls == []


def test_the_second_ctrl_c_is_immediate() -> None:
    script = Script(KeyboardInterrupt, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        wait(script)
    assert script.calls == ["stop", "abort"]


def test_ctrl_c_at_the_question_is_a_second_one() -> None:
    def interrupted() -> bool:
        raise KeyboardInterrupt

    script = Script(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt) as stopped:
        wait(script, interrupted)
    assert stopped.value.__suppress_context__  # one traceback, not two
    assert script.calls == ["abort"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("typed", "means"), [("y\n", True), ("what?\nN\n", False), ("", True)])
def test_the_question(monkeypatch: pytest.MonkeyPatch, typed: str, means: bool) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert confirm_exit() is means
    assert QUESTION in sys.stderr.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("stdin", [None, io.StringIO("n\n")])
def test_without_a_terminal_nobody_is_asked(monkeypatch: pytest.MonkeyPatch, stdin: Any) -> None:
    monkeypatch.setattr(sys, "stdin", stdin)
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert confirm_exit()
    assert sys.stderr.getvalue() == ""  # type: ignore[attr-defined]
