"""The wrapper: runs one attempt on a compute node and tells the server what becomes of it.

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

Theory of operation
-------------------
One thread. Signals write to a pipe, on which everything that waits also waits: for the end of the command, for the next
sign of life, for the server. ``reporter`` tells, in the form of ``wire``; ``ends`` says what an end means.
"""

from __future__ import annotations

import errno
import posix  # os, which stands on it, would cost a millisecond
import sys
import time

TYPE_CHECKING = False  # importing typing would cost a third of the start
if TYPE_CHECKING:
    import resource
    import signal
    from typing import NoReturn

    from jobmon.worker_node.reporter import Value
else:
    try:
        import _signal as signal
    except ImportError:
        import signal

if TYPE_CHECKING or __package__:
    from jobmon.worker_node import ends, wire
    from jobmon.worker_node.reporter import Reporter, Signals, complain, has_ended, kill_group
else:  # the directory of this file is on the path, not the package
    import ends
    import wire
    from reporter import Reporter, Signals, complain, has_ended, kill_group

VERSION_DIFFERS, NOT_RUN = 198, 199
STEP_OPTION, ID_OPTION = "--step", "--distributor-id"
KEPT_OPEN_SECONDS = 4.0
"""A server closes connections on which nothing was said for five."""
TERMINATED_SECONDS = 1.0
"""How long the command is waited for after SIGTERM."""
TOGETHER_SECONDS = 0.1
"""Within which a signal sent to all processes of a job has reached them all."""
AGAIN_SECONDS = 1.0
BLOCK_BYTES = 512
NULL_DEVICE = b"/dev/null"
LOG_FLAGS = posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC
LONGEST_COMMAND_BYTES = 131_071  # MAX_ARG_STRLEN, linux/binfmts.h, without the NUL byte at the end
DEFAULT_SIGNALS = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
NODE_VARIABLES = (b"SLURMD_NODENAME",)
"""Where clusters tell the name by which they know this node."""


class Attempt:
    """Runs one attempt to its end.

    Args:
        batch: what is to be run.
        distributor_id: id the cluster gave the job.
        signals: those of this process.
    """

    def __init__(self, batch: wire.Batch, distributor_id: str, signals: Signals) -> None:
        self.batch, self.distributor_id, self.signals = batch, distributor_id, signals
        self.began = time.monotonic()
        self.reporter = Reporter(batch, signals)
        self.memory = ends.JobMemory()
        self.logs = {stream: self._log_path(stream) for stream in ("stdout", "stderr")}
        self.files: list[int] = []
        self.is_ordered = self.was_asked = False
        self.kill_at = 0.0  # when the command is ended by force; 0: it is not

    def _log_path(self, stream: str) -> bytes:
        directory = self.batch.values.get(stream.encode(), b"")
        suffix = f".{stream[3]}{self.distributor_id}".encode()  # the letters o and e
        if not directory:
            return b""
        base = self.batch.values.get(b"working_dir", b"")
        if base and not directory.startswith(b"/"):  # a relative one is meant from where commands run
            directory = base + b"/" + directory
        return directory + b"/" + ends.log_name(self.batch.name, suffix)

    def run(self, version: str) -> int:
        """Run it and tell of it; the exit code for the cluster.

        Args:
            version: of the Jobmon on this node; empty: the directory of the controller's own.
        """
        code, problem = self._prepare(version)
        self._tell_start()
        answer = self.reporter.deliver(self.batch.number(b"start_wait_seconds"))
        if answer in (wire.NOT_LIVE, wire.GONE):
            complain(
                f"Nothing was run: task instance {self.batch.task_instance_id} may not go on. "
                f"{self.reporter.problem}".strip()
            )
            return NOT_RUN
        if answer is wire.AWAY:
            complain(f"The server was not told of the start: {self.reporter.problem}.")
            self.reporter.spool()
        if not problem and not self.signals.is_terminated:
            code, problem = self._run_command()
        elif not problem:
            code = 128 + ends.SIGTERM
            self._add_end(ends.End(-ends.SIGTERM, self._seconds(), is_terminated=True))
        if problem:
            complain(problem)
            self.reporter.add(ends.FAIL, cause=ends.CAUSE_LAUNCH, description=problem)
        return self._finish(code)

    def _seconds(self) -> float:
        return time.monotonic() - self.began

    # -- before ---------------------------------------------------------------------------------------
    def _prepare(self, version: str) -> tuple[int, str]:
        """Get ready to run the command: exit code and a sentence where that fails."""
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
        try:
            self.files = [open_log(path) for path in self.logs.values()]
        except OSError as error:
            return NOT_RUN, f"A log file cannot be written on node {nodename()}: {describe(error)}."
        return 0, ""

    def _tell_start(self) -> None:
        self.reporter.add(
            ends.START,
            nodename=nodename(),
            process_group_id=posix.getpid(),
            distributor_id=self.distributor_id,
            next_report_increment=self.batch.number(b"report_seconds"),
            **self._log_names(),
        )

    def _log_names(self) -> dict[str, str]:
        return {stream: path.decode("utf-8", "replace") for stream, path in self.logs.items()}

    # -- the command ----------------------------------------------------------------------------------
    def _run_command(self) -> tuple[int, str]:
        """Run the command to its end and note what is to be told; exit code, and a sentence where it did not start."""
        started = time.monotonic()
        try:
            pid = self._spawn()
        except (OSError, ValueError) as error:
            return NOT_RUN, f"The command could not be started on node {nodename()}: {describe(error)}."
        self.signals.group = self.reporter.child = pid
        self._attend(pid)
        self.signals.group = self.reporter.child = 0
        found = posix.waitid(posix.P_PID, pid, posix.WEXITED | posix.WNOWAIT)
        assert found is not None
        kill_group(pid, signal.SIGKILL)  # the zombie still holds the id: no other group can be meant
        _, _, usage = posix.wait4(pid, 0)
        exit_code = found.si_status if found.si_code == posix.CLD_EXITED else -found.si_status
        if exit_code in (-ends.SIGTERM, 128 + ends.SIGTERM) and not self.signals.is_terminated:
            self.signals.wait(TOGETHER_SECONDS)
        self._note_end(exit_code, time.monotonic() - started, usage)
        return (exit_code if exit_code >= 0 else 128 - exit_code), ""

    def _spawn(self) -> int:
        environment = {**posix.environ, **self.batch.environment}
        for name, value in (
            ("TASK_INSTANCE_ID", self.batch.task_instance_id),
            ("TASK_ID", self.batch.task_id),
            ("WORKFLOW_RUN_ID", self.batch.text(b"workflow_run_id")),
            ("WORKFLOW_ID", self.batch.text(b"workflow_id")),
        ):
            environment[f"JOBMON_{name}".encode()] = str(value).encode()
        shell = self.batch.shell
        actions = [
            (posix.POSIX_SPAWN_OPEN, 0, NULL_DEVICE, posix.O_RDONLY, 0),
            (posix.POSIX_SPAWN_DUP2, self.files[0], 1),
            (posix.POSIX_SPAWN_DUP2, self.files[1], 2),
        ]
        argv = [*shell, self.batch.command]
        try:
            return posix.posix_spawnp(
                shell[0],
                argv,
                environment,
                file_actions=actions,
                setsid=True,
                setsigmask=(),
                setsigdef=DEFAULT_SIGNALS,
            )
        except NotImplementedError:  # a Python made for a C library before 2.26
            return posix.posix_spawnp(
                shell[0],
                argv,
                environment,
                file_actions=actions,
                setpgroup=0,
                setsigmask=(),
                setsigdef=DEFAULT_SIGNALS,
            )
        finally:
            for descriptor in self.files:
                posix.close(descriptor)

    def _attend(self, pid: int) -> None:
        """Tell that the command runs, and pass on what it is told, until it has ended."""
        now = time.monotonic()
        every = self.batch.number(b"heartbeat_seconds")
        beat_at, close_at = now + every, now + KEPT_OPEN_SECONDS
        while not has_ended(pid):
            now = time.monotonic()
            self._end_if_asked(pid, now)
            if now >= close_at:
                self.reporter.close()
            if now >= beat_at and not self.kill_at:
                self._beat(pid)
                beat_at = time.monotonic() + every
                continue
            due = [beat_at] if not self.kill_at else [self.kill_at]
            if now < close_at:
                due.append(close_at)
            self.signals.wait(min(due) - now)

    def _end_if_asked(self, pid: int, now: float) -> None:
        """Ask the command to end when the cluster asks, and end it when its time for that is over."""
        if self.signals.is_terminated and not self.was_asked:
            self.was_asked = True
            kill_group(pid, signal.SIGTERM)
            kill_group(pid, signal.SIGCONT)  # what is stopped cannot end
            deadline = now + TERMINATED_SECONDS
            self.kill_at = min(self.kill_at or deadline, deadline)
        if self.kill_at and now >= self.kill_at:
            kill_group(pid, signal.SIGKILL)
            self.kill_at = now + AGAIN_SECONDS

    def _beat(self, pid: int) -> None:
        answer = self.reporter.beat(next_report_increment=self.batch.number(b"report_seconds"))
        self.reporter.close()
        if answer is wire.NOT_LIVE:
            self.is_ordered = True
            kill_group(pid, signal.SIGINT)
            self.kill_at = time.monotonic() + self.batch.number(b"interrupt_seconds")

    # -- after ----------------------------------------------------------------------------------------
    def _note_end(self, exit_code: int, wallclock: float, usage: resource.struct_rusage) -> None:
        peak = max(usage.ru_maxrss * 1024, self.memory.peak())
        is_terminated = self.was_asked or (self.signals.is_terminated and exit_code != 0)
        self._add_end(
            ends.End(
                exit_code, self._seconds(), self.is_ordered, is_terminated, self.memory.is_oom_killed(), peak
            ),
            exit_code=exit_code,
            wallclock=wallclock,
            maxrss=peak,
            cpu=usage.ru_utime + usage.ru_stime,
            io=(usage.ru_inblock + usage.ru_oublock) * BLOCK_BYTES,
            **{f"{stream}_log": ends.tail(path) if path else "" for stream, path in self.logs.items()},
        )

    def _add_end(self, end: ends.End, **values: Value) -> None:
        runtime, memory = (int(self.batch.number(key)) for key in (b"runtime", b"memory"))
        event, cause, description = ends.verdict(end, runtime, memory)
        stdout_log, stderr_log = (str(values.get(f"{stream}_log", "")) for stream in ("stdout", "stderr"))
        if event == ends.RESOURCE:
            description = ends.with_last_lines(description, stderr_log)
        elif event == ends.FAIL:
            logs = tuple(self._log_names().values())
            description = ends.describe_end(end.exit_code, stderr_log, stdout_log, logs)
        self.reporter.add(event, cause=cause, description=description, **values)

    def _finish(self, code: int) -> int:
        """Tell the end, or leave it in the spool; the exit code."""
        if self.reporter.deliver(self.batch.number(b"report_wait_seconds")) is wire.AWAY:
            complain(f"The server was not told of the end: {self.reporter.problem}.")
            self.reporter.spool()
        return code


def open_log(path: bytes) -> int:
    """Open a log file for writing, with its directory; no path: what is written is dropped."""
    try:
        return posix.open(path or NULL_DEVICE, LOG_FLAGS, 0o666)
    except FileNotFoundError:
        import os

        os.makedirs(os.path.dirname(path), exist_ok=True)
        return posix.open(path, LOG_FLAGS, 0o666)


def describe(error: Exception) -> str:
    """An error in words, with the file it is about."""
    if isinstance(error, OSError) and error.errno == errno.E2BIG:
        return f"{error.strerror}: a command may have {LONGEST_COMMAND_BYTES} bytes; put what is longer into a file"
    if isinstance(error, OSError) and error.strerror:
        name = error.filename
        shown = name.decode("utf-8", "replace") if isinstance(name, bytes) else name
        return f"{error.strerror}: {shown}" if shown else error.strerror
    return str(error)


def nodename() -> str:
    """Name of this node, as its cluster knows it where it says so."""
    for variable in NODE_VARIABLES:
        if name := posix.environ.get(variable):
            return name.decode("utf-8", "replace")
    return posix.uname().nodename


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
    return Attempt(batch, distributor_id, signals).run(version)


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
