"""Drives the one-host Slurm of ``scripts/slurm-up`` in tests: looks at it, breaks it, and makes it whole again.

Tests break it by the context managers; what is broken all the same is mended after each test (``conftest.py``). Nothing
here touches a job that is not the test's own: others may use the same cluster.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

T = TypeVar("T")

SCRIPTS = Path(__file__).parents[2] / "scripts"
LAB_DIRECTORY = Path(os.environ.get("SLURM_LAB_DIR", "/var/lib/slurm-lab"))
LOGS = LAB_DIRECTORY / "log"
SAVED_JOBS = LAB_DIRECTORY / "ctld" / "job_state"
REST_SOCKET = LAB_DIRECTORY / "run" / "slurmrestd.sock"
REST_ADDRESS = "http://127.0.0.1:6820"
NODES = ("n1", "n2", "n3", "n4")
DAEMONS = ("slurmctld", "slurmdbd", "slurmrestd", "mariadbd", *NODES)

COMMAND_SECONDS = 30.0
START_SECONDS = 90.0
WAIT_SECONDS = 30.0
POLL_SECONDS = 0.2
PATH_WIDTH = 1000  # columns of squeue -O for a path or a name


@dataclass(frozen=True)
class Listed:
    """A row of squeue.

    Attributes:
        job_id: as squeue writes it; ``13_[3-9%3]`` is the part of an array that has not started.
        array_job_id: number of the array, or of the job that is none.
        reason: squeue's word for why it waits.
        nodename: where it runs.
    """

    job_id: str
    array_job_id: str
    state: str
    reason: str
    nodename: str
    name: str


def run(
    *words: str,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    timeout_seconds: float = COMMAND_SECONDS,
) -> str:
    """Output of a command of Slurm, which must succeed; it never waits for ever, as Slurm's commands like to."""
    done = subprocess.run(
        words,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout_seconds,
        env={**os.environ, "LC_ALL": "C", **(env or {})},
    )
    assert done.returncode == 0, (
        f"{' '.join(words)} ended with {done.returncode}: {done.stderr or done.stdout}"
    )
    return done.stdout


def wait_for(question: Callable[[], T], what: str, timeout_seconds: float = WAIT_SECONDS) -> T:
    """The first true answer; fails the test when there is none in time."""
    deadline = time.monotonic() + timeout_seconds
    while not (answer := question()):
        assert time.monotonic() < deadline, f"waited {timeout_seconds:.0f} s in vain: {what}"
        time.sleep(POLL_SECONDS)
    return answer


# ------------------------------------------------------------------ is it there?
def is_up() -> bool:
    """Whether every daemon of the cluster runs and every node takes jobs."""
    return succeeds(str(SCRIPTS / "slurm-up"), "--check")


def succeeds(*words: str) -> bool:
    """Whether a command ends with 0 in time."""
    try:
        return subprocess.run(words, capture_output=True, timeout=COMMAND_SECONDS).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def why_not_here() -> str:
    """Why tests cannot use the cluster; empty: they can."""
    if os.geteuid() != 0:
        return "only root can start and stop the daemons of the Slurm the tests use"
    if shutil.which("scontrol") is None:
        return "Slurm is not installed; `make slurm` installs and starts it (Debian, as root)"
    if not is_up():
        return f"the one-host Slurm is not up; `make slurm` starts it, its logs are in {LOGS}"
    return ""


def require_lab() -> None:
    """Skip the test where there is no such cluster; with CI=true that is a failure, unless SLURM=no says not to have it."""
    reason = why_not_here()
    if not reason:
        return
    if os.environ.get("CI") == "true" and os.environ.get("SLURM") != "no":
        pytest.fail(f"CI must have a real Slurm: {reason}", pytrace=False)
    pytest.skip(reason)


def heal() -> None:
    """Bring back whatever is missing: daemons, nodes, the configuration."""
    if not is_up():
        run(str(SCRIPTS / "slurm-up"), "--quiet", timeout_seconds=START_SECONDS)


# ----------------------------------------------------------------------- its jobs
def submit(script: str, *options: str) -> str:
    """Id of a job that runs these lines of sh."""
    return run("sbatch", "--parsable", *options, stdin=f"#!/bin/sh\n{script}\n").strip()


def squeue_of(name: str) -> list[Listed]:
    """What squeue lists of the jobs of that name: those that have not ended."""
    rows = run("squeue", "-h", f"--name={name}", "-o", "%i|%F|%T|%r|%N|%j").splitlines()
    return [Listed(*row.split("|", 5)) for row in rows]


def states_of(job_id: str) -> dict[str, str]:
    """State of each job and array element by its id, as the accounting tells it; it lags some seconds behind."""
    rows = run("sacct", "-n", "-P", "-X", "-j", job_id, "-o", "JobID,State").splitlines()
    return dict(row.split("|") for row in rows)


def wait_for_state(job_id: str, state: str, timeout_seconds: float = WAIT_SECONDS) -> None:
    """Wait until the accounting tells that state of a job that is no array."""
    wait_for(lambda: states_of(job_id).get(job_id) == state, f"job {job_id} is {state}", timeout_seconds)


def wait_until_running(name: str, count: int = 1) -> list[Listed]:
    """The jobs of that name, as soon as so many of them run."""

    def running() -> list[Listed]:
        return [job for job in squeue_of(name) if job.state == "RUNNING"]

    return wait_for(lambda: found if len(found := running()) >= count else [], f"{count} of {name} run")


def wait_until_idle(node: str) -> None:
    """Wait until nothing runs on a node: jobs of other tests that were killed may take their time to end."""

    def is_idle() -> bool:
        return set(run("sinfo", "-h", "-N", "-n", node, "-o", "%T").split()) == {"idle"}

    wait_for(is_idle, f"node {node} is idle", 90)


def jobs_of_test(prefix: str, directory: Path) -> list[str]:
    """Ids of the jobs left that the test made: named with its prefix, or working or writing below its directory."""
    fields = f"ArrayJobID:20,WorkDir:{PATH_WIDTH},StdOut:{PATH_WIDTH},Name:{PATH_WIDTH}"
    found = set()
    for row in run("squeue", "-h", "-O", fields).splitlines():
        job_id, workdir, stdout, name = (
            row[start:end].strip()
            for start, end in (
                (0, 20),
                (20, 20 + PATH_WIDTH),
                (20 + PATH_WIDTH, 20 + 2 * PATH_WIDTH),
                (20 + 2 * PATH_WIDTH, None),
            )
        )
        below = any(Path(path).is_relative_to(directory) for path in (workdir, stdout) if path)
        if below or name.startswith(prefix):
            found.add(job_id)
    return sorted(found)


def cancel_all_of_test(prefix: str, directory: Path) -> None:
    """Cancel what the test left in the queue and wait until it is gone."""
    if not (left := jobs_of_test(prefix, directory)):
        return
    run("scancel", *left)
    wait_for(lambda: not jobs_of_test(prefix, directory), f"the cancelled jobs {left} are gone", 60)


# -------------------------------------------------------------------- its daemons
def pid_of(daemon: str) -> int | None:
    """Process id of a daemon (a node's name means its slurmd); None: it does not run."""
    name = f"slurmd-{daemon}" if daemon in NODES else daemon
    try:
        pid = int((LAB_DIRECTORY / "run" / f"{name}.pid").read_text())
    except (OSError, ValueError):
        return None
    program = "slurmd" if daemon in NODES else daemon
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return None
    return pid if program.encode() in words else None


def start_daemon(daemon: str) -> None:
    """Start a daemon that does not run, and wait until it answers."""
    run(str(SCRIPTS / "slurm-up"), "--only", daemon, timeout_seconds=START_SECONDS)


def stop_daemon(daemon: str) -> None:
    """Stop a daemon in good order."""
    run(str(SCRIPTS / "slurm-down"), "--only", daemon, timeout_seconds=START_SECONDS)


def kill_daemon(daemon: str) -> None:
    """End a daemon with SIGKILL, as a crash would."""
    run(str(SCRIPTS / "slurm-down"), "--kill", daemon, timeout_seconds=START_SECONDS)


def kill_slurmctld() -> None:
    """Crash the controller; it forgets its last seconds."""
    kill_daemon("slurmctld")


def start_slurmctld() -> None:
    """Start the controller again."""
    start_daemon("slurmctld")


def stop_slurmdbd() -> None:
    """Stop the accounting."""
    stop_daemon("slurmdbd")


def start_slurmdbd() -> None:
    """Start the accounting again."""
    start_daemon("slurmdbd")


def kill_slurmd(node: str) -> None:
    """Crash a node's daemon: its jobs run on, and the controller gives them up some 26 s later."""
    kill_daemon(node)


def start_slurmd(node: str) -> None:
    """Start a node's daemon again."""
    start_daemon(node)


@contextmanager
def daemon_away(daemon: str, *, kill: bool = False) -> Iterator[None]:
    """A daemon is stopped (or killed) for a while."""
    if kill:
        kill_daemon(daemon)
    else:
        stop_daemon(daemon)
    try:
        yield
    finally:
        start_daemon(daemon)
        heal()


# ---------------------------------------------------------------------- its nodes
def state_of_node(node: str) -> str:
    """The node's state as sinfo writes it: ``idle``, ``mixed``, ``drained``, ``down*`` …"""
    return run("sinfo", "-h", "-N", "-p", "long", "-n", node, "-o", "%T").strip()


def node_down(node: str, reason: str = "test") -> None:
    """Declare a node down: its jobs end as NODE_FAIL at once. It returns by itself while its daemon lives."""
    run("scontrol", "update", f"nodename={node}", "state=down", f"reason={reason}")


def node_drain(node: str, reason: str = "test") -> None:
    """Give a node no new jobs."""
    run("scontrol", "update", f"nodename={node}", "state=drain", f"reason={reason}")


def node_resume(node: str) -> None:
    """Take a node back; no harm when it is back already, which Slurm calls an invalid state."""
    succeeds("scontrol", "update", f"nodename={node}", "state=resume")


@contextmanager
def node_drained(node: str, reason: str = "test") -> Iterator[None]:
    """A node gets no new jobs for a while."""
    node_drain(node, reason)
    try:
        yield
    finally:
        node_resume(node)


# -------------------------------------------------- its configuration and accounts
@contextmanager
def configured(*lines: str) -> Iterator[None]:
    """More lines of slurm.conf for a while (a repeated key: the last one wins); the controller is restarted for them."""
    up = str(SCRIPTS / "slurm-up")
    run(up, "--quiet", env={"SLURM_LAB_EXTRA": "\n".join(lines)}, timeout_seconds=START_SECONDS)
    try:
        yield
    finally:
        run(up, "--quiet", env={"SLURM_LAB_EXTRA": ""}, timeout_seconds=START_SECONDS)


@contextmanager
def quality_of_service(name: str, *settings: str) -> Iterator[None]:
    """A QOS that root may use for a while: ``quality_of_service("q", "MaxSubmitJobsPerUser=3")``."""
    run("sacctmgr", "-i", "add", "qos", name, *settings)
    try:
        run("sacctmgr", "-i", "modify", "user", "root", "set", f"qos+={name}")
        wait_for(lambda: may_submit(f"--qos={name}"), f"the controller knows the QOS {name}")
        yield
    finally:
        run("sacctmgr", "-i", "modify", "user", "root", "set", f"qos-={name}")
        run("sacctmgr", "-i", "delete", "qos", name)


@contextmanager
def account(name: str, *settings: str) -> Iterator[None]:
    """An account that root may use for a while, with limits of root in it: ``account("a", "MaxSubmitJobs=2")``."""
    run("sacctmgr", "-i", "add", "account", name)
    try:
        run("sacctmgr", "-i", "add", "user", "root", f"account={name}", *settings)
        wait_for(lambda: may_submit(f"--account={name}"), f"the controller knows the account {name}")
        yield
    finally:
        removal = ("sacctmgr", "-i", "delete", "user", "root", f"account={name}")
        # for some seconds the accounting takes jobs for running that have ended
        wait_for(lambda: succeeds(*removal), f"root leaves the account {name}")
        run("sacctmgr", "-i", "delete", "account", name)


def may_submit(*options: str) -> bool:
    """Whether sbatch would take a small job with these options; nothing is submitted."""
    return succeeds("sbatch", "--test-only", *options, "--wrap", "true")


# --------------------------------------------------------------------------- REST
def token(lifespan_seconds: int = 3600, user: str = "root") -> str:
    """A token for slurmrestd, to be sent as X-SLURM-USER-TOKEN beside X-SLURM-USER-NAME."""
    answer = run("scontrol", "token", f"lifespan={lifespan_seconds}", f"username={user}")
    return answer.strip().removeprefix("SLURM_JWT=")


def listening() -> Sequence[tuple[str, int]]:
    """Address and port of every TCP socket that the cluster's daemons listen on."""
    sockets = {
        link.readlink().name
        for daemon in DAEMONS
        if (pid := pid_of(daemon)) is not None
        for link in Path(f"/proc/{pid}/fd").iterdir()
        if link.is_symlink()
    }
    found = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for row in Path(table).read_text().splitlines()[1:]:
            fields = row.split()
            address, _, port = fields[1].partition(":")
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                found.append((address, int(port, 16)))
    return found
