"""One attempt of a job: its command is run, and the server told what becomes of it.

Standard library only, as all that :mod:`jobmon.worker_node.wrapper` loads; the rules are told there.
"""

from __future__ import annotations

import errno
import posix  # os, which stands on it, would cost a millisecond
import time

TYPE_CHECKING = False  # importing typing would cost a third of the start
if TYPE_CHECKING:
    import resource
    import signal

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

NOT_RUN = 199
NEVER = float("inf")
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
        batch: what all attempts of the job have in common.
        element: the attempt.
        distributor_id: id the cluster gave the job.
        signals: those of this process.
        reporter: tells the server.
        memory: what the kernel counts of the job.
        turn: which attempt of the job it is, from 1; 0: it has the job for itself.
        latest: when its command is ended for the sake of those that follow (monotonic).

    Attributes:
        is_refused: the server said that it may not go on; nothing was run.
        is_in_doubt: how it ended only the cluster can tell, by the end of the whole job.
    """

    def __init__(
        self,
        batch: wire.Batch,
        element: wire.Element,
        distributor_id: str,
        signals: Signals,
        reporter: Reporter,
        memory: ends.JobMemory,
        turn: int = 0,
        latest: float = NEVER,
    ) -> None:
        self.batch, self.element, self.distributor_id = batch, element, distributor_id
        self.signals, self.reporter, self.memory = signals, reporter, memory
        self.turn, self.latest = turn, latest
        self.began = time.monotonic()
        self.logs = {stream: self._log_path(stream) for stream in ("stdout", "stderr")}
        self.files: list[int] = []
        self.is_ordered = self.was_asked = self.is_overdue = False
        self.is_refused = self.is_in_doubt = False
        self.kill_at = 0.0  # when the command is ended by force; 0: it is not

    def _log_path(self, stream: str) -> bytes:
        directory = self.batch.values.get(stream.encode(), b"")
        turn = f".{self.turn}" if self.turn else ""  # tasks of one name may share a job
        suffix = f".{stream[3]}{self.distributor_id}{turn}".encode()  # the letters o and e
        if not directory:
            return b""
        base = self.batch.values.get(b"working_dir", b"")
        if base and not directory.startswith(b"/"):  # a relative one is meant from where commands run
            directory = base + b"/" + directory
        return directory + b"/" + ends.log_name(self.element.name, suffix)

    def run(self, code: int = 0, problem: str = "") -> int:
        """Run it and tell of it; the exit code.

        Args:
            code, problem: exit code and a sentence where it is known that nothing can be run here.
        """
        self._tell_start()
        wait_seconds = self.batch.number(b"start_wait_seconds")
        is_first = self.turn < 2
        answer = self.reporter.deliver(wait_seconds) if is_first else self.reporter.deliver_between()
        if answer in (wire.NOT_LIVE, wire.GONE):
            self._note_refused(answer)
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
            self._add(ends.FAIL, cause=ends.CAUSE_LAUNCH, description=problem)
        return code

    def _note_refused(self, answer: str) -> None:
        self.is_refused = True
        complain(
            f"Nothing was run: task instance {self.element.task_instance_id} may not go on. "
            f"{self.reporter.problem}".strip()
        )
        if self.turn and answer is wire.NOT_LIVE:  # the job goes on, so that its end says nothing of this one
            text = "Ended by order before it began."
            self._add(ends.ABORT, cause=ends.CAUSE_ORDERED, description=text)

    def _add(self, event: str, **values: Value) -> None:
        self.reporter.add(self.element.task_instance_id, event, **values)

    def _seconds(self) -> float:
        return time.monotonic() - self.began

    def _tell_start(self) -> None:
        self._add(
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
            self.files = [open_log(path) for path in self.logs.values()]
        except OSError as error:
            return NOT_RUN, f"A log file cannot be written on node {nodename()}: {describe(error)}."
        self.memory.begin()
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
            ("TASK_INSTANCE_ID", self.element.task_instance_id),
            ("TASK_ID", self.element.task_id),
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
        argv = [*shell, self.element.command]
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
            due = [beat_at, self.latest] if not self.kill_at else [self.kill_at]
            if now < close_at:
                due.append(close_at)
            self.signals.wait(min(due) - now)

    def _end_if_asked(self, pid: int, now: float) -> None:
        """Ask the command to end when the cluster asks or its time is over, and end it when its time for that is over."""
        is_overdue = now >= self.latest and not self.kill_at
        if is_overdue or (self.signals.is_terminated and not self.was_asked):
            self.is_overdue = self.is_overdue or is_overdue
            self.was_asked = self.was_asked or self.signals.is_terminated
            kill_group(pid, signal.SIGTERM)
            kill_group(pid, signal.SIGCONT)  # what is stopped cannot end
            deadline = now + TERMINATED_SECONDS
            self.kill_at = min(self.kill_at or deadline, deadline)
        if self.kill_at and now >= self.kill_at:
            kill_group(pid, signal.SIGKILL)
            self.kill_at = now + AGAIN_SECONDS

    def _beat(self, pid: int) -> None:
        answer = self.reporter.beat(
            self.element.task_instance_id, next_report_increment=self.batch.number(b"report_seconds")
        )
        self.reporter.close()
        if answer is wire.NOT_LIVE:
            self.is_ordered = True
            kill_group(pid, signal.SIGINT)
            self.kill_at = time.monotonic() + self.batch.number(b"interrupt_seconds")

    # -- after ----------------------------------------------------------------------------------------
    def _note_end(self, exit_code: int, wallclock: float, usage: resource.struct_rusage) -> None:
        peak = usage.ru_maxrss * 1024
        if not self.turn:  # else the peak of the job may be that of an attempt before
            peak = max(peak, self.memory.peak())
        is_terminated = self.was_asked or (self.signals.is_terminated and exit_code != 0)
        self._add_end(
            ends.End(
                exit_code,
                self._seconds(),
                self.is_ordered,
                is_terminated,
                self.memory.is_oom_killed(),
                peak,
                self.is_overdue,
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
        if self.batch.number(b"job_seconds") and not end.is_overdue:
            runtime = (
                0  # the job was granted more than this attempt: only the cluster knows why it sent SIGTERM
            )
        event, cause, description = ends.verdict(end, runtime, memory)
        self.is_in_doubt = event == ends.TRIAGE
        stdout_log, stderr_log = (str(values.get(f"{stream}_log", "")) for stream in ("stdout", "stderr"))
        if event == ends.RESOURCE:
            description = ends.with_last_lines(description, stderr_log)
        elif event == ends.FAIL:
            logs = tuple(self._log_names().values())
            description = ends.describe_end(end.exit_code, stderr_log, stdout_log, logs)
        self._add(event, cause=cause, description=description, **values)


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
