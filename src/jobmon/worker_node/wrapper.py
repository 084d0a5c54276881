"""The wrapper: runs the attempts of a job on a compute node and tells the server what becomes of them.

Rules
-----
1. Standard library only, and of that only what costs little: it runs once for every remote task. It is imported by
   ``python -I -S -c``, not run as a script: a script is compiled each time.
2. The server is told of the start before the command runs. Says it that the attempt may not go on, nothing is run; can
   it not be reached, the word goes to the spool (a directory the controller reads) and the command runs all the same.
3. What was not acknowledged is told again, in order: never an end without its start. Every word may arrive twice.
4. The command leads a session and process group of its own, which ends when it ends. It writes straight to its log files.
5. SIGTERM of the cluster (time limit, preemption, cancellation) leaves a second or two: the command is ended, the
   word about it is in the spool before the server is tried. Other signals people send to jobs are passed on.
6. A server that does not answer never ends a command; its explicit word does.
7. The exit code is the command's (128 + the signal that ended it), so that the cluster's own accounting shows it; 198:
   the node has another Jobmon; 199: the command was not run.
8. Several attempts of one job are run one after the other. Each has the time it asked for, and more only from what none of
   those that follow has asked for; none begins for which that much is not left. What the cluster sends ends the attempt that
   runs, and the job: of those that have not begun nothing is told. So does an end of which only the cluster can tell
   more. The exit code is 0 only if every attempt ended with 0, else the last other one.

Theory of operation
-------------------
One thread. Signals write to a pipe, on which everything that waits also waits: for the end of the command, for the next
sign of life, for the server. ``attempt`` runs a command; ``reporter`` tells, in the form of ``wire``; ``ends`` says what an
end means.
"""

from __future__ import annotations

import posix  # os, which stands on it, would cost a millisecond
import sys
import time

TYPE_CHECKING = False  # importing typing would cost a third of the start
if TYPE_CHECKING:
    from typing import NoReturn

if TYPE_CHECKING or __package__:
    from jobmon.worker_node import ends, wire
    from jobmon.worker_node.attempt import NEVER, NOT_RUN, Attempt, describe, nodename
    from jobmon.worker_node.reporter import Reporter, Signals, complain
else:  # the directory of this file is on the path, not the package
    import ends
    import wire
    from attempt import NEVER, NOT_RUN, Attempt, describe, nodename
    from reporter import Reporter, Signals, complain

VERSION_DIFFERS = 198
STEP_OPTION, ID_OPTION = "--step", "--distributor-id"
STARTED_FIELD = 19
"""Of /proc/PID/stat, counted behind the name of the program: when the process was started, in ticks since the boot (proc(5))."""
SPARE_SECONDS = 5.0
"""What of a shared job's time is left for its end."""
CHANGE_SECONDS = 1.5
"""What the end of one attempt by force and the beginning of the next take at most, unless the server is away."""


class Job:
    """Runs the attempts of a job, one after the other.

    Args:
        batch: what is to be run.
        distributor_id: id the cluster gave the job.
        signals: those of this process.
    """

    def __init__(self, batch: wire.Batch, distributor_id: str, signals: Signals) -> None:
        self.batch, self.distributor_id, self.signals = batch, distributor_id, signals
        self.reporter = Reporter(batch, signals)
        self.memory = ends.JobMemory()
        self.is_shared = len(batch.elements) > 1
        self.ends_at = NEVER
        if self.is_shared:
            left = batch.number(b"job_seconds") - process_seconds()
            self.ends_at = time.monotonic() + left - SPARE_SECONDS

    def run(self, version: str) -> int:
        """Run them and tell of them; the exit code for the cluster.

        Args:
            version: of the Jobmon on this node; empty: the directory of the controller's own.
        """
        code, problem = self._prepare(version)
        run = self._run_all if self.is_shared else self._attempt(0).run
        code = run(code, problem)
        wait_seconds = min(
            self.batch.number(b"report_wait_seconds"), max(0.0, self.ends_at - time.monotonic())
        )
        if self.reporter.deliver(wait_seconds) is wire.AWAY:
            complain(f"The server was not told of the end: {self.reporter.problem}.")
            self.reporter.spool()
        return code

    def _run_all(self, code: int, problem: str) -> int:
        worst, num_left = 0, len(self.batch.elements)
        while num_left and self._has_time() and not self.signals.is_terminated:
            attempt = self._attempt(len(self.batch.elements) - num_left)
            worst = attempt.run(code, problem) or worst
            num_left -= 1
            if attempt.is_in_doubt:
                break
            if num_left:
                self.reporter.deliver_between()
        if num_left:
            complain(f"{num_left} attempts of this job were not begun.")
        return worst or (NOT_RUN if num_left else 0)

    def _has_time(self) -> bool:
        return time.monotonic() + self.batch.number(b"runtime") <= self.ends_at

    def _attempt(self, number: int) -> Attempt:
        """The attempt whose turn it is; more than it asked for it has only of what nobody after it did."""
        runtime, now = self.batch.number(b"runtime"), time.monotonic()
        num_later = len(self.batch.elements) - 1 - number
        return Attempt(
            self.batch,
            self.batch.elements[number],
            self.distributor_id,
            self.signals,
            self.reporter,
            self.memory,
            number + 1 if self.is_shared else 0,
            max(now + runtime, self.ends_at - num_later * (runtime + CHANGE_SECONDS)),
        )

    def _prepare(self, version: str) -> tuple[int, str]:
        """Get ready to run commands: exit code and a sentence where that fails."""
        wanted = self.batch.text(b"version")
        if version and version != wanted:
            return VERSION_DIFFERS, (
                f"The node {nodename()} has Jobmon {version}, the workflow runs with {wanted}. Install the same "
                "version on both, or set distributor.worker_node_entry_point to one that is."
            )
        try:
            directory = self.batch.values.get(b"working_dir", b"")
            if directory:
                posix.chdir(directory)
        except OSError as error:
            return NOT_RUN, f"The working directory cannot be used on node {nodename()}: {describe(error)}."
        return 0, ""


def process_seconds() -> float:
    """For how long this process has run, which was the script of the job before; 0: not known."""
    try:
        ticks = ends.read_small(b"/proc/self/stat").rpartition(b")")[2].split()[STARTED_FIELD]
        uptime = ends.read_small(b"/proc/uptime").split()[0]
        return max(0.0, float(uptime) - int(ticks) / posix.sysconf("SC_CLK_TCK"))
    except (OSError, ValueError, IndexError):
        return 0.0


def installed_version(wanted: str) -> str:
    """Version of the Jobmon that this file is of; empty: not installed, but the directory the controller runs from.

    Args:
        wanted: the one it most likely is.
    """
    site = __file__.rsplit("/", 3)[0]
    prefix, suffix = "jobmon-", ".dist-info"
    try:
        posix.stat(f"{site}/{prefix}{wanted.replace('-', '_')}{suffix}")
        return wanted
    except OSError:
        pass  # another, or none
    names = [each for each in posix.listdir(site) if each.startswith(prefix) and each.endswith(suffix)]
    return names[0].removeprefix(prefix).removesuffix(suffix) if names else ""


def run_step(
    batch_file: bytes, step: int, distributor_id: str, version: str | None = None, wanted: str | None = None
) -> int:
    """Run one step of a batch; the exit code.

    Args:
        batch_file: path of the batch file.
        step: the step, from 0.
        distributor_id: id the cluster gave the job.
        version: of the Jobmon on this node; ``None``: look.
        wanted: the one it should be; ``None``: that of the batch file.
    """
    signals = Signals()
    try:
        batch = wire.Batch(batch_file, step)
    except wire.Unreadable as error:
        complain(str(error))
        return NOT_RUN
    if wanted is not None:
        batch.values[b"version"] = wanted.encode()
    if version is None:
        version = installed_version(batch.text(b"version"))
    return Job(batch, distributor_id, signals).run(version)


def main() -> NoReturn:
    """Run the step that the command line names: a directory of modules, the batch file, ``--step N --distributor-id ID``."""
    code = NOT_RUN
    try:
        batch_file, *options = sys.argv[2:]
        named = dict(zip(options[::2], options[1::2], strict=True))
        code = run_step(
            batch_file.encode(sys.getfilesystemencoding(), "surrogateescape"),
            int(named[STEP_OPTION]),
            named[ID_OPTION],
        )
    except BaseException:  # noqa: BLE001 - whatever it is, it must be seen, and the code must say so
        sys.excepthook(*sys.exc_info())
    posix._exit(code)  # nothing is left to be done; an orderly end of Python takes a millisecond
