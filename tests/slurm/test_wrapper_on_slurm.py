"""The wrapper in real jobs: what Slurm does to them, and what the wrapper tells of it in the moment it has."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import lab
import pytest

from jobmon.core.configuration import JobmonConfig
from jobmon.distributor.batch_file import wrapper_words
from wrapping import INSTANCE, Event, Server, Site

MEBIBYTE = 1 << 20
EATS_MEMORY = "python3 -c 'x = bytearray(300 << 20); x[::4096] = bytes([1]) * len(x[::4096])'"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A shared directory that names a server which is up."""
    server = Server()
    site = Site(tmp_path, server)
    yield site
    site.close()
    server.stop()


def submit(site: Site, name: str, *commands: str, **header: object) -> str:
    """Submit a batch as a job array with 64 MiB for each step; its id."""
    words = shlex.join(wrapper_words(site.write(*commands, **header), JobmonConfig()))
    identity = '--step "$((SLURM_ARRAY_TASK_ID - 1))" --distributor-id "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"'
    log = f"{site.root}/%x-%A_%a.log"
    options = (f"--job-name={name}", f"--array=1-{len(commands)}", "--mem=64M", "--time=1", f"--output={log}")
    return lab.submit(f"exec {words} {identity}", *options)


def end_of(site: Site, step: int) -> Event | None:
    """The last event of a step, once there is more than its start."""
    found = [event for event in site.server.events if event["task_instance_id"] == INSTANCE + step]
    return found[-1] if len(found) > 1 else None


def wait_for_end(site: Site, step: int, timeout_seconds: float = lab.WAIT_SECONDS) -> Event:
    event = lab.wait_for(lambda: end_of(site, step), f"the end of step {step}", timeout_seconds)
    assert event is not None
    return event


def test_ends_that_slurm_has_no_part_in(site: Site, job_prefix: str) -> None:
    """Each step is its attempt, knows its id and its node, and leaves its exit code to Slurm's accounting."""
    job = submit(site, job_prefix, "true", "exit 3", "kill -SEGV $$")
    assert [wait_for_end(site, step)["event"] for step in range(3)] == ["finish", "fail", "fail"]
    starts = {event["distributor_id"]: event for event in site.server.events if event["event"] == "start"}
    assert set(starts) == {f"{job}_1", f"{job}_2", f"{job}_3"}
    assert {event["nodename"] for event in starts.values()} <= set(lab.NODES)


def test_want_of_memory_is_known_on_the_node(site: Site, job_prefix: str) -> None:
    """Whether the command died of it or failed because a part of it did; pages of files are no memory it needs."""
    reads = "dd if=/dev/zero of=big bs=1M count=150 2>&1 && cat big > /dev/null"
    submit(site, job_prefix, EATS_MEMORY, f"{EATS_MEMORY} || exit 1", reads, memory=64 * MEBIBYTE)
    for step, words in (
        (0, "The node killed it for want of memory."),
        (1, "The command exited with code 1."),
    ):
        end = wait_for_end(site, step)
        assert (end["event"], end["cause"]) == ("resource", "resource")
        assert words in end["description"]
        assert "It asked for 64 MiB, peak " in end["description"]
        assert end["maxrss"] > 60 * MEBIBYTE
    end = wait_for_end(site, 2)
    assert end["event"] == "finish"
    assert end["maxrss"] < 60 * MEBIBYTE


def test_a_cancelled_job_has_told_of_it(site: Site, job_prefix: str) -> None:
    """Also where the command does not obey, and where the server is away: within the seconds that Slurm leaves."""
    stubborn = "trap '' TERM; touch ready; sleep 600 & wait; sleep 600"
    job = submit(site, job_prefix, stubborn, runtime=3600)
    lab.wait_for((site.work / "ready").exists, "the command")
    site.server.stop()
    lab.run("scancel", job)
    lab.wait_for(lambda: [event.event for event in site.spooled()] == ["triage"], "the word in the spool")
    (event,) = site.spooled()
    assert "The cluster sent SIGTERM after" in event.description
    assert event.exit_code == -9


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_time_limit_is_told_from_other_ends(site: Site, job_prefix: str) -> None:
    """Slurm sends the same signal; the wrapper knows how much time it had."""
    submit(site, job_prefix, "exec sleep 600", runtime=60)
    end = wait_for_end(site, 0, 200)
    assert (end["event"], end["cause"]) == ("resource", "resource")
    assert "The command ran into its time limit of 1 min (runtime=60)" in end["description"]
