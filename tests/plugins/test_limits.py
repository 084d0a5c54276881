"""Commands that ask for run time or memory are held to it."""

from __future__ import annotations

import shlex
import signal
import sys
from typing import Any

import pytest

from jobmon.core.states import Cause, TaskInstanceEvent
from jobmon.plugins.multiprocess.ends import describe_excess, limits_of
from jobmon.testing.conformance import LocalCluster

FINISH, FAIL = TaskInstanceEvent.FINISH, TaskInstanceEvent.FAIL
RESOURCE, ABORT = TaskInstanceEvent.RESOURCE, TaskInstanceEvent.ABORT
FILL = "import os, subprocess, sys, time; fill = lambda mib: b'x' * (mib << 20); "
DEAF = "trap '' TERM; echo > deaf; while :; do sleep 0.02; done"


def python(program: str) -> str:
    return shlex.join([sys.executable, "-S", "-c", FILL + program])


# -- what is asked for ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("resources", "limits"),
    [
        ({}, {}),
        ({"cores": 3, "stdout": "x"}, {}),
        ({"memory": None, "runtime": None}, {}),
        ({"memory": 0, "runtime": 0}, {}),
        ({"memory": 0.1953125}, {"memory": 200 * 2**20}),
        ({"memory": "200M", "runtime": "1h30m"}, {"memory": 200 * 2**20, "runtime": 5400}),
        ({"runtime": 5}, {"runtime": 5}),
    ],
)
def test_limits_of_a_request(resources: dict[str, Any], limits: dict[str, float]) -> None:
    """Nothing asked for, no limit."""
    assert limits_of(resources) == limits


@pytest.mark.parametrize(
    ("limit", "exit_code", "maxrss", "words"),
    [
        (
            "runtime",
            -15,
            0,
            "The command was ended after 5 s: that is the run time it asked for (runtime=5).",
        ),
        ("runtime", 0, 0, "The command was ended after 5 s"),
        ("memory", -9, 3 << 29, "The command was ended: it used 1.5 GiB of memory and had asked for 1 GiB."),
        ("memory", -9, 1 << 20, "ended: it needed more than the 1 GiB of memory it had asked for."),
        ("memory", 0, 3 << 29, ""),
        ("", 1, 3 << 29, "exited with code 1. That counts as a lack of memory: it used 1.5 GiB"),
        ("", -9, 3 << 29, "ended by signal 9 (SIGKILL). That counts as a lack of memory"),
        ("", 1, 1 << 30, ""),
        ("", 0, 3 << 29, ""),
    ],
)
def test_texts_of_excess(limit: str, exit_code: int, maxrss: int, words: str) -> None:
    """A success is never turned into a lack of memory; a failure above the request is."""
    told = {"limit": limit, "exit_code": exit_code, "maxrss": maxrss}
    text = describe_excess(told, {"memory": 1 << 30, "runtime": 5})
    assert words in text
    assert bool(words) == bool(text)


# -- run time ---------------------------------------------------------------------------------------------
def test_a_command_may_tidy_up_when_its_time_is_over(cluster: LocalCluster) -> None:
    """It is asked first; whatever it says then, it was not allowed to finish."""
    end = cluster.outcome("trap 'echo tidied >&2; exit 0' TERM; while :; do sleep 0.02; done", runtime=1)
    assert (end.event, end.cause, end.exit_code) == (RESOURCE, Cause.RESOURCE, 0)
    first, *_, last = end.description.splitlines()  # between them the shell may tell of its child
    assert first == "The command was ended after 1 s: that is the run time it asked for (runtime=1)."
    assert last == "tidied"


def test_a_deaf_command_is_ended_by_force(cluster: LocalCluster) -> None:
    """With the child that left its group."""
    (instance,) = cluster.run(f"setsid sh -c {shlex.quote(DEAF)} & {DEAF}", runtime=1)
    end = cluster.wait_end(instance)
    assert (end.event, end.exit_code) == (RESOURCE, -signal.SIGKILL)
    cluster.wait_gone(instance)
    assert end.wallclock is not None
    assert 1.4 < end.wallclock < 10


def test_time_is_up_while_a_command_ends_by_order(cluster: LocalCluster) -> None:
    """The order counts."""
    (instance,) = cluster.run(DEAF, runtime=1)
    cluster.wait_file("deaf")
    cluster.terminate(instance)
    assert cluster.wait_end(instance).event is ABORT


def test_an_order_while_a_command_ends_for_its_time(cluster: LocalCluster) -> None:
    """The order counts as well."""
    (instance,) = cluster.run("trap 'echo > asked' TERM; while :; do sleep 0.02; done", runtime=1)
    cluster.wait_file("asked")
    cluster.terminate(instance)
    assert cluster.wait_end(instance).event is ABORT


def test_enough_time_changes_nothing(cluster: LocalCluster) -> None:
    """Neither success nor failure."""
    assert cluster.outcome("true", runtime=100).event is FINISH
    assert cluster.outcome("exit 3", runtime=100, memory=1).event is FAIL


@pytest.mark.parametrize("limit", [{"runtime": 3}, {"memory": "100M"}, {}])
def test_what_descendants_used_counts_however_they_are_ended(
    cluster: LocalCluster, limit: dict[str, Any]
) -> None:
    """The command ends together with a child it never waited for."""
    program = "\nwhile time.process_time() < 0.3: pass\nopen('used', 'w').write(chr(10)); x = fill(150); time.sleep(600)"
    (instance,) = cluster.run(f"{python(program)}; true", **limit)
    if not limit:
        cluster.wait_file("used")
        cluster.terminate(instance)
    end = cluster.wait_end(instance)
    assert end.event is (RESOURCE if limit else ABORT)
    assert end.cpu is not None
    assert end.cpu > 0.25


# -- memory -----------------------------------------------------------------------------------------------
def test_too_much_memory_ends_a_command_at_once(cluster: LocalCluster) -> None:
    """And its peak is on record."""
    (instance,) = cluster.run(python("x = fill(150); time.sleep(600)"), memory="100M")
    end = cluster.wait_end(instance)
    assert (end.event, end.cause, end.exit_code) == (RESOURCE, Cause.RESOURCE, -signal.SIGKILL)
    assert "had asked for 100 MiB." in end.description
    assert end.maxrss is not None
    assert end.maxrss > 100 * 2**20
    cluster.wait_gone(instance)


def test_all_processes_of_a_command_count_together(cluster: LocalCluster) -> None:
    """A child and a daemon, neither of which is too large for itself."""
    child = python("x = fill(70); time.sleep(600)")
    (instance,) = cluster.run(f"(setsid {child} &) ; {child} & wait; sleep 600", memory="120M")
    assert cluster.wait_end(instance).event is RESOURCE
    cluster.wait_gone(instance)


def test_memory_that_is_shared_counts_once(cluster: LocalCluster) -> None:
    """Four workers of one array: five times as much, if one added up what each sees."""
    workers = (
        "x = fill(100)\n"
        "for _ in range(4):\n"
        "    if not os.fork(): time.sleep(0.7); os._exit(0)\n"
        "for _ in range(4): os.wait()"
    )
    assert cluster.outcome(python(workers), memory="180M").event is FINISH


def test_starting_programs_needs_no_memory(cluster: LocalCluster) -> None:
    """Until it becomes another program a child shows all of its parent's memory; looks must not be fooled."""
    program = (
        "x = fill(100); end = time.monotonic() + 1\nwhile time.monotonic() < end: subprocess.run(['true'])"
    )
    (instance,) = cluster.run(python(program).replace("-S ", ""), memory="160M")
    assert cluster.wait_end(instance).event is FINISH


def test_a_quick_failure_above_the_request_is_a_lack_of_memory(cluster: LocalCluster) -> None:
    """Whether it was seen in time or not; a quick success is a success."""
    end = cluster.outcome(python("x = fill(80); sys.exit('no more memory')"), memory="40M")
    assert (end.event, end.cause) == (RESOURCE, Cause.RESOURCE)


def test_its_neighbours_are_left_alone(cluster: LocalCluster) -> None:
    """One that asks for nothing may use what it wants, next to one that is ended."""
    free, small = cluster.run(python("x = fill(120); time.sleep(0.5)")) + cluster.run(
        python("x = fill(120); time.sleep(9)"), memory="60M"
    )
    assert cluster.wait_end(small).event is RESOURCE
    assert cluster.wait_end(free).event is FINISH
