"""The command that runs something with a fail point."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jobmon.testing.fail_points import MODULE, POINTS, Trap, words_of

SCRIPT = """
import sys
from jobmon.core.requester import Requester
try:
    Requester("http://127.0.0.1:9", retries_timeout=0.1, retries_attempts=1).send("GET", "/", None, dict)
except Exception as error:
    print(type(error).__name__, sys.argv[1:], __name__)
"""


def run(words: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def script(tmp_path: Path) -> str:
    """A script that sends one request, in vain."""
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return str(path)


@pytest.mark.e2e
def test_the_process_dies_at_the_point_once(script: str, tmp_path: Path) -> None:
    """The second one finds the file of the first and runs to its end, as the script does by itself."""
    once = tmp_path / "once"
    words = [*words_of("controller.request.before", ["--", script], 1, once), "a", "-b"]
    assert run(words).returncode == -signal.SIGKILL
    assert once.read_text().startswith("controller.request.before:1 in process ")
    assert once.stat().st_mode & 0o777 == 0o600
    alone = run([sys.executable, script, "a", "-b"])
    assert alone.stdout.endswith("['a', '-b'] __main__\n")
    assert run(words).stdout == alone.stdout


@pytest.mark.e2e
def test_a_passage_that_never_comes_kills_nobody(script: str) -> None:
    assert run(words_of("controller.request.before", ["--", script], 2)).returncode == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing", "--", "x"], "There is no fail point 'nothing'. There are: server.request.before,"),
        (["server.commit.after:0", "--", "x"], "'0' of 'server.commit.after:0' is no number of a passage"),
        (["controller.sync.after", "--", "/not/there"], "There is no script '/not/there'"),
        (["controller.sync.after", "--"], "nothing to run"),
        (["controller.sync.after", "-m"], "nothing to run"),
    ],
)
def test_what_is_wrong_is_said(words: list[str], said: str) -> None:
    """With exit status 2."""
    done = run([sys.executable, "-m", MODULE, *words])
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr


def test_a_trap_counts_and_leaves_results_alone(tmp_path: Path) -> None:
    """Functions and blocks do what they do without it."""
    once = tmp_path / "once"
    once.touch()  # so that nobody dies
    trap = Trap(POINTS["server.commit.before"], 2, once)
    assert [trap._around(abs)(number) for number in (-1, -2, -3)] == [1, 2, 3]
    assert trap._count == 3
    assert all(":" in point.target and point.meaning for point in POINTS.values())
