"""``jobmon workflow watch`` at a real terminal, while a workflow runs."""

from __future__ import annotations

import sys
from typing import Any

import pexpect
import pyte
import pytest

from processes import Place, wait_until

pytestmark = pytest.mark.e2e

COMMAND = "from jobmon.client.cli import main; main()"


class Watch:
    """A terminal of 60 columns and 24 lines with ``jobmon workflow watch`` at it.

    Args:
        place: where the server is.
        environment: variables besides those of the place.
    """

    def __init__(self, place: Place, **environment: str) -> None:
        self.screen = pyte.Screen(60, 24)
        self.stream = pyte.ByteStream(self.screen)
        self.raw = b""
        words = ["-c", COMMAND, "workflow", "watch", "1", "--interval", "0.2"]
        variables = {**place.environment, "TERM": "xterm-256color", **environment}
        self.process = pexpect.spawn(sys.executable, words, env=variables, dimensions=(24, 60), timeout=20)

    def read(self) -> str:
        """What the screen shows now."""
        try:
            data = self.process.read_nonblocking(65536, timeout=0.1)
        except (pexpect.TIMEOUT, pexpect.EOF):
            data = b""
        self.raw += data
        self.stream.feed(data)
        return self.text

    @property
    def text(self) -> str:
        """What was read of it."""
        return "\n".join(self.screen.display)

    def wait_for(self, *words: str) -> str:
        def look() -> str:
            text = self.read()
            return text if all(word in text for word in words) else ""

        return wait_until(look, f"{words} on the screen")

    def end(self) -> Any:
        """Its exit code."""
        wait_until(lambda: (self.read(), not self.process.isalive())[1], "the end of the watch")
        self.process.close()
        return self.process.exitstatus


def test_a_run_is_watched_to_its_end(place: Place) -> None:
    """Leaving with Ctrl-C changes nothing for the run; the exit code says how it ended."""
    tasks = [place.task("a"), place.task("b", gate="go", upstream=["a"]), place.task("c", upstream=["b"])]
    script = place.start_flow(tasks)
    place.wait_task("b", "R")
    first = Watch(place)
    text = first.wait_for("RUNNING", "33 % done", "Longest running", "b (task ")
    assert "PENDING" in text
    first.process.sendintr()
    assert first.end() == 130
    assert "Interrupted." in first.text
    second = Watch(place, NO_COLOR="1")
    second.wait_for("RUNNING", "b (task ")
    assert script.process.poll() is None
    place.open("go")
    assert second.end() == 0
    assert ": DONE" in second.text
    assert "100.0%" in second.text
    assert b"\x1b[32m" in first.raw
    assert b"\x1b[32m" not in second.raw
    assert script.result()["status"] == "D"
    status = place.jobmon("workflow", "watch", "1")
    assert len(status.splitlines()) == 1
