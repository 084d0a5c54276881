"""How a command ended: what is known of it, what that means for its attempt, and the words for it.

Standard library only, and of that only what costs nothing to import: the wrapper of every remote task loads this file.

A cluster ends jobs by signals that do not say why. What is certain here is said here: the kernel's own count of
processes killed for want of memory, or a run time that is over. Of everything else the attempt is reported as in triage, and the
controller asks the cluster.
"""

from __future__ import annotations

import posix

TYPE_CHECKING = False  # importing typing would cost a third of the start
if TYPE_CHECKING:
    from collections.abc import Sequence

# Values of core.states.TaskInstanceEvent and core.states.Cause, which take too long to import.
START, HEARTBEAT, FINISH, FAIL, RESOURCE, TRIAGE, ABORT = (
    "start",
    "heartbeat",
    "finish",
    "fail",
    "resource",
    "triage",
    "abort",
)
CAUSE_CODE, CAUSE_RESOURCE, CAUSE_LAUNCH, CAUSE_ORDERED = ("code", "resource", "launch", "ordered")

TAIL_CHARACTERS = 10_000
ERROR_LINES = 20
NAME_BYTES = 255
SMALL_BYTES = 16_384
SIGKILL, SIGTERM = 9, 15
EARLY_SECONDS = 5.0
"""A job began a little before its wrapper, so that its time is over a little earlier."""


class End:
    """What is known of the end of a command.

    Attributes:
        exit_code: its exit code; negative: the signal that ended it.
        seconds: from the start of the job; of the attempt, where it shares its job.
        is_ordered: the server said that the attempt may not go on.
        is_terminated: the cluster sent SIGTERM while it ran.
        is_oom_killed: the kernel killed a process of the job for want of memory; ``None``: it does not say.
        peak: bytes of memory used at once; 0: not known.
        is_overdue: it was ended for the sake of the attempts that share its job.
    """

    __slots__ = (
        "exit_code",
        "is_oom_killed",
        "is_ordered",
        "is_overdue",
        "is_terminated",
        "peak",
        "seconds",
    )

    def __init__(
        self,
        exit_code: int,
        seconds: float,
        is_ordered: bool = False,
        is_terminated: bool = False,
        is_oom_killed: bool | None = None,
        peak: int = 0,
        is_overdue: bool = False,
    ) -> None:
        self.exit_code, self.seconds = exit_code, seconds
        self.is_ordered, self.is_terminated = is_ordered, is_terminated
        self.is_oom_killed, self.peak, self.is_overdue = is_oom_killed, peak, is_overdue

    @property
    def is_killed(self) -> bool:
        """Whether it, or what its shell waited for, was ended by SIGKILL."""
        return self.exit_code in (-SIGKILL, 128 + SIGKILL)


def verdict(end: End, runtime: int, memory: int) -> tuple[str, str, str]:
    """What an end means for the attempt: event, cause, and a sentence.

    Cause and sentence are empty where there is nothing to explain; the sentence also where the command failed by itself.

    Args:
        end: what is known of it.
        runtime: seconds granted; 0: not known.
        memory: bytes asked for; 0: not known.
    """
    if end.is_ordered:
        return ABORT, CAUSE_ORDERED, "Ended by order."
    if end.exit_code == 0 and not end.is_terminated and not end.is_overdue:
        return FINISH, "", ""
    if end.exit_code and (end.is_oom_killed or is_at_limit(end, memory)):
        asked = f"It asked for {describe_bytes(memory)}, peak" if memory else "Its peak was"
        used = f" {asked} {describe_bytes(end.peak)}." if end.peak else ""
        how = describe_exit(end.exit_code)
        return RESOURCE, CAUSE_RESOURCE, f"{how} The node killed it for want of memory.{used}"
    if end.is_overdue and not end.is_terminated:
        words = (
            f"The command ran into its time limit of {describe_seconds(runtime)} (runtime={runtime}): it was ended after "
            f"{describe_seconds(end.seconds)}, for the time left belongs to the tasks that share its job."
        )
        return RESOURCE, CAUSE_RESOURCE, words
    if end.is_terminated:
        after = f"after {describe_seconds(end.seconds)}"
        if runtime and end.seconds >= runtime - EARLY_SECONDS:
            limit = f"its time limit of {describe_seconds(runtime)} (runtime={runtime})"
            return RESOURCE, CAUSE_RESOURCE, f"The command ran into {limit}: the cluster ended it {after}."
        return TRIAGE, "", f"The cluster sent SIGTERM {after}: cancelled or preempted."
    if end.is_killed:
        return TRIAGE, "", f"{describe_exit(end.exit_code)} Nothing on the node says who killed it."
    return FAIL, CAUSE_CODE, ""


def is_at_limit(end: End, memory: int) -> bool:
    """Whether a killed command had used all the memory it asked for, on a node that does not count such kills."""
    return end.is_killed and end.is_oom_killed is None and 0 < memory <= end.peak


# -- words -------------------------------------------------------------------------------------------
def describe_end(exit_code: int, stderr_log: str, stdout_log: str = "", logs: Sequence[str] = ()) -> str:
    """How a command failed by itself, in words, with the last lines it wrote.

    Args:
        exit_code: its exit code; negative: the signal that ended it.
        stderr_log: the end of what it wrote to stderr.
        stdout_log: the same of stdout.
        logs: paths of its log files, to see whether there is room for them.
    """
    text = describe_exit(exit_code)
    if exit_code == -SIGKILL:
        text += " Nobody here sent it; did the machine run out of memory?"
    elif exit_code == 127:
        text = "The command exited with code 127: the shell did not find it. Is it installed and on PATH?"
    elif exit_code == 126:
        text = "The command exited with code 126: it was found but may not be executed."
    return with_last_lines(text + full_disks(*logs), stderr_log, stdout_log)


def describe_exit(exit_code: int) -> str:
    """An exit code (negative: a signal) as a sentence."""
    if exit_code >= 0:
        return f"The command exited with code {exit_code}."
    import signal  # takes as long as all the rest, and is rarely needed

    number = -exit_code
    name = signal.Signals(number).name if number in set(signal.Signals) else str(number)
    return f"The command was ended by signal {number} ({name})."


def with_last_lines(text: str, stderr_log: str, stdout_log: str = "") -> str:
    """A sentence, then the last lines a command wrote to stderr; to stdout where stderr says nothing."""
    log = stderr_log if stderr_log.strip() else stdout_log
    return "\n".join([text, *log.rstrip().splitlines()[-ERROR_LINES:]])


def full_disks(*paths: str) -> str:
    """A sentence on the file systems of log files that have no room left; empty when all have."""
    full = []
    for directory in sorted({path.rpartition("/")[0] or path[:1] for path in paths if path}):
        try:
            if posix.statvfs(directory).f_bavail == 0:
                full.append(directory)
        except OSError:
            continue  # it cannot be asked: then it is not the one to blame
    return f" The disk is full where its logs are: {', '.join(full)}." if full else ""


def describe_bytes(amount: float) -> str:
    """Memory for people: ``200 MiB``, ``2 GiB``, ``1.5 TiB``."""
    if amount < 1024:
        return f"{amount:.0f} B"
    for unit in ("KiB", "MiB", "GiB"):
        amount /= 1024
        if amount < 1024:
            return f"{amount:.4g} {unit}"
    return f"{amount / 1024:.4g} TiB"


def describe_seconds(seconds: float) -> str:
    """A length of time for people: ``12 s``, ``3 min 20 s``, ``2 h 05 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s" if whole % 60 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


# -- log files ---------------------------------------------------------------------------------------
def log_name(task_name: bytes, suffix: bytes) -> bytes:
    """Name of a log file, ``<task name><suffix>``, cut to what file systems take, never inside a character."""
    name = task_name.replace(b"/", b"_").replace(b"\0", b"_")
    room = NAME_BYTES - len(suffix)
    if len(name) > room:
        while name[room] & 0xC0 == 0x80:
            room -= 1
    return name[:room] + suffix


def tail(path: bytes) -> str:
    """The last characters of a log file; bytes that are not UTF-8, or that no database takes, are replaced."""
    try:
        size = posix.stat(path).st_size
        if not size:
            return ""
        with open(path, "rb") as file:
            file.seek(max(0, size - 4 * TAIL_CHARACTERS))
            data = file.read(4 * TAIL_CHARACTERS)
    except OSError:
        return ""
    start = 0
    if size > len(data):  # the cut may lie inside a character, which has at most three bytes more
        while start < 3 and data[start] & 0xC0 == 0x80:
            start += 1
    text = data[start:].decode("utf-8", "replace")[-TAIL_CHARACTERS:]
    return text.replace("\0", "\ufffd")


# -- memory ------------------------------------------------------------------------------------------
class JobMemory:
    """What the kernel counts for the control group of this job, if it has one of its own.

    Version 1 has the files of its memory controller in a tree of their own, version 2 all files in one tree.
    """

    def __init__(self) -> None:
        self.directory, self.is_first_version = _own_group()
        self.kills_before = self._kills()

    def begin(self) -> None:
        """Count from now on what is killed."""
        self.kills_before = self._kills()

    def is_oom_killed(self) -> bool | None:
        """Whether the kernel killed a process for want of memory since :meth:`begin`; ``None``: it does not say."""
        kills = self._kills()
        return None if kills is None or self.kills_before is None else kills > self.kills_before

    def peak(self) -> int:
        """Most bytes used at once; 0: not known.

        Pages of files count in it, though they are given up when memory is short; those still there are taken off.
        """
        name = b"/memory.max_usage_in_bytes" if self.is_first_version else b"/memory.peak"
        prefix = b"total_" if self.is_first_version else b""
        text = _read(self.directory + name) if self.directory else b""
        if not text.strip().isdigit():
            return 0
        counts = _counts(_read(self.directory + b"/memory.stat"))
        files = counts.get(prefix + b"inactive_file", 0) + counts.get(prefix + b"active_file", 0)
        return max(0, int(text) - files)

    def _kills(self) -> int | None:
        name = b"/memory.oom_control" if self.is_first_version else b"/memory.events"
        return _counts(_read(self.directory + name)).get(b"oom_kill") if self.directory else None


def _own_group() -> tuple[bytes, bool]:
    """Directory of the control group that counts the memory of this job, and whether it is of the first version.

    Empty where that holds anything but this process and the script that started it: a session, a machine.
    """
    directory, is_first = b"", False
    for line in _read(b"/proc/self/cgroup").splitlines():
        hierarchy, controllers, path = line.split(b":", 2)
        if b"memory" in controllers.split(b","):
            directory, is_first = b"/sys/fs/cgroup/memory" + path, True
        elif hierarchy == b"0" and not is_first:
            directory = b"/sys/fs/cgroup" + path
    processes = _read(directory + b"/cgroup.procs").split() if directory else []
    is_own = bool(processes) and {int(pid) for pid in processes} <= {posix.getpid(), posix.getppid()}
    return (directory if is_own else b""), is_first


def _counts(text: bytes) -> dict[bytes, int]:
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def _read(path: bytes) -> bytes:
    """What a small file holds; empty when it cannot be read."""
    try:
        return read_small(path)
    except OSError:
        return b""


def read_small(path: bytes) -> bytes:
    """What a small file holds, in half the time that a file object takes.

    Raises:
        OSError: it cannot be read.
    """
    descriptor = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        parts = []
        while part := posix.read(descriptor, SMALL_BYTES):
            parts.append(part)
        return b"".join(parts)
    finally:
        posix.close(descriptor)
