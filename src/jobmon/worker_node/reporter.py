"""What a wrapper tells of its attempt, and the signals that come in between.

Standard library only, as all that :mod:`jobmon.worker_node.wrapper` loads.
"""

from __future__ import annotations

import posix
import select
import time

TYPE_CHECKING = False  # importing typing would cost a third of the start
if TYPE_CHECKING:
    import signal
    from collections.abc import Mapping

    Value = str | int | float | None
else:
    try:
        import _signal as signal
    except ImportError:
        import signal

if TYPE_CHECKING or __package__:
    from jobmon.worker_node import ends, wire
else:  # the directory of this file is on the path, not the package
    import ends
    import wire

REQUEST_SECONDS = 10.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 10.0
LEAST_SECONDS = 1.0
HURRIED_SECONDS = 2.0
"""How long the server is tried after SIGTERM."""
BETWEEN_SECONDS = 5.0
"""How long it is tried between two attempts of a job, whose time belongs to those that follow."""
REST_SECONDS = 30.0
"""For how long it is not tried again between two attempts when it was away."""
PASSED_ON = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGXCPU,
)


class Signals:
    """Signals as something to wait for.

    Attributes:
        wake: descriptor that becomes readable when one comes.
        is_terminated: SIGTERM came.
        group: process group that the others are passed on to; 0: none.
    """

    def __init__(self) -> None:
        self.wake, written = posix.pipe()
        for descriptor in (self.wake, written):
            posix.set_blocking(descriptor, False)
        self.is_terminated = False
        self.group = 0
        signal.set_wakeup_fd(written, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._terminate)
        for number in PASSED_ON:
            signal.signal(number, self._pass_on)
        self._poll = select.poll()
        self._poll.register(self.wake, select.POLLIN)

    def _terminate(self, *_: object) -> None:
        self.is_terminated = True

    def _pass_on(self, number: int, _: object) -> None:
        if self.group:
            kill_group(self.group, number)

    def wait(self, seconds: float) -> None:
        """Wait for the next signal, at most so long."""
        if self._poll.poll(max(0.0, seconds) * 1000):
            self.drain()

    def drain(self) -> None:
        """Be ready to wait for the next one."""
        try:
            while posix.read(self.wake, 4096):
                pass
        except BlockingIOError:
            pass


class Word:
    """An event the server has not acknowledged, and the file in the spool that holds it, if any."""

    __slots__ = ("body", "spooled", "task_instance_id")

    def __init__(self, task_instance_id: int, body: bytes) -> None:
        self.task_instance_id, self.body, self.spooled = task_instance_id, body, b""


class Reporter:
    """Tells the server of the attempts of a job.

    Args:
        batch: says where the server and the spool are.
        signals: what interrupts it.
    """

    def __init__(self, batch: wire.Batch, signals: Signals) -> None:
        self.batch, self.signals = batch, signals
        self.unsent: list[Word] = []
        self.problem = ""  # why nobody took the last word
        self.child = 0  # whose end matters more than a sign of life
        self.is_reachable = True  # as far as its file says
        self.is_hurried = False  # SIGTERM came, and what was to be told is in the spool
        self._connection = wire.Connection(signals.wake, self._is_interrupted)
        self._last_number = 0
        self._rests_until = 0.0
        self._spread = batch.elements[0].task_instance_id % 16 / 16  # so that not all ask at the same moment

    def add(self, task_instance_id: int, event: str, **values: Value) -> None:
        """Put an event of an attempt behind those that have not been told yet."""
        self.unsent.append(Word(task_instance_id, encoded_event(task_instance_id, event, values)))

    def deliver_between(self) -> str:
        """Tell all there is to tell while other attempts wait for their turn; the server's last word.

        What nobody took is in the spool then.
        """
        answer = wire.AWAY
        if time.monotonic() >= self._rests_until or self.signals.is_terminated:
            answer = self.deliver(BETWEEN_SECONDS)
        if answer is wire.AWAY:
            self.spool()
        return answer

    def deliver(self, wait_seconds: float) -> str:
        """Tell all there is to tell, trying for so long; the server's last word.

        After SIGTERM there may be a second left: what is to be told is in the spool before it is tried for a moment.
        """
        deadline = time.monotonic() + wait_seconds
        pause = FIRST_PAUSE_SECONDS * (1 + self._spread)
        while True:
            if self.signals.is_terminated:
                self.is_hurried = True
                self.spool()
                deadline = min(deadline, time.monotonic() + HURRIED_SECONDS)
            answer = self._tell_all(max(deadline - time.monotonic(), LEAST_SECONDS))
            if answer is not wire.AWAY:
                return answer
            self._rests_until = time.monotonic() + REST_SECONDS
            if not self.is_reachable:
                return answer
            if self.signals.is_terminated and not self.is_hurried:
                continue
            left = deadline - time.monotonic()
            if left <= 0:
                return answer
            self.signals.wait(min(pause, left))
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def beat(self, task_instance_id: int, **values: Value) -> str:
        """Tell all there is to tell, and that the command of an attempt still runs; the server's last word."""
        answer = self._tell_all(REQUEST_SECONDS)
        if self.unsent:
            return answer
        word = Word(task_instance_id, encoded_event(task_instance_id, ends.HEARTBEAT, values))
        return self._say(self._address(), word, REQUEST_SECONDS)

    def _tell_all(self, most_seconds: float) -> str:
        answer = wire.LIVE
        address = self._address() if self.unsent else None
        while self.unsent:
            word = self.unsent[0]
            answer = self._say(address, word, min(REQUEST_SECONDS, most_seconds))
            if answer is wire.AWAY:
                return answer
            del self.unsent[0]
            if word.spooled:
                remove(word.spooled)
        return answer

    def _address(self) -> wire.Address | None:
        try:
            address = wire.read_address(self.batch.values.get(b"server_file", b""), self.batch.text(b"user"))
        except (OSError, ValueError) as error:
            self.problem, self.is_reachable = str(error), True  # somebody may write it again
            return None
        self.is_reachable = bool(address.url)
        if not address.url:
            self.problem = "compute nodes cannot reach it"
            return None
        return address

    def _say(self, address: wire.Address | None, word: Word, timeout_seconds: float) -> str:
        if address is None:
            return wire.AWAY
        path = f"/worker/task_instance/{word.task_instance_id}/event"
        answer, self.problem = self._connection.say(address, path, word.body, timeout_seconds)
        return answer

    def _is_interrupted(self) -> bool:
        self.signals.drain()
        is_new = self.signals.is_terminated and not self.is_hurried
        return is_new or (self.child > 0 and has_ended(self.child))

    def spool(self) -> None:
        """Leave what was not told in the spool; it is kept, to be told nevertheless."""
        directory = self.batch.values.get(b"spool", b"")
        for word in self.unsent:
            if not word.spooled:
                self._last_number = max(self._last_number + 1, time.time_ns() // 1_000_000)
                name = f"{word.task_instance_id}.{self._last_number}.json"
                try:
                    word.spooled = write_spooled(directory, name, word.body)
                except OSError as error:
                    complain(f"A word for the server cannot be left in the spool: {error}")

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()


def kill_group(group: int, number: int) -> None:
    """Signal a process group, if there still is one."""
    try:
        posix.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        pass


def has_ended(pid: int) -> bool:
    """Whether a child has ended and waits to be collected."""
    return posix.waitid(posix.P_PID, pid, posix.WEXITED | posix.WNOHANG | posix.WNOWAIT) is not None


def remove(path: bytes) -> None:
    """Remove a file that another may have removed."""
    try:
        posix.unlink(path)
    except OSError:
        pass  # whoever reads the spool was faster, or tells it again: that is no harm


def complain(text: str) -> None:
    """Say something where people look who look at the cluster's own log."""
    posix.write(2, f"jobmon: {text}\n".encode("utf-8", "replace"))


def encoded_event(task_instance_id: int, event: str, values: Mapping[str, Value]) -> bytes:
    """An event of an attempt as JSON."""
    return encode({"task_instance_id": task_instance_id, "event": event, **values})


def encode(event: Mapping[str, Value]) -> bytes:
    """An event as JSON; what is ``None`` or empty is left out."""
    parts = []
    for name, value in event.items():
        if isinstance(value, str):
            if value:
                parts.append(f'"{name}":{quoted(value)}')
        elif value is not None:
            parts.append(f'"{name}":{value!r}')
    return ("{" + ",".join(parts) + "}").encode()


def quoted(text: str) -> str:
    """A text as JSON. The module that can do any is loaded for those that need it only: most are plain."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    try:
        from _json import encode_basestring_ascii
    except ImportError:
        from json.encoder import encode_basestring_ascii
    return str(encode_basestring_ascii(text))


def write_spooled(directory: bytes, name: str, body: bytes) -> bytes:
    """Leave a word in the spool, as a whole and on the disk; its path.

    Raises:
        OSError: it cannot be written.
    """
    path = directory + b"/" + name.encode()
    draft = directory + f"/.{name}.{posix.getpid()}.part".encode()
    descriptor = posix.open(draft, posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC | posix.O_CLOEXEC, 0o600)
    try:
        left = body
        while left:
            left = left[posix.write(descriptor, left) :]
        posix.fsync(descriptor)
    except OSError:
        posix.unlink(draft)
        raise
    finally:
        posix.close(descriptor)
    posix.rename(draft, path)
    return path
