"""Several processes behind one address: started, watched, replaced and ended by one that does nothing else.

Rules
-----
1. The address belongs to the supervisor; its workers inherit the listening socket. While one worker lives, nobody who
   connects is refused.
2. A worker that dies, or is silent for too long, is replaced at once; one that cannot start, after a growing pause. If the very
   first cannot start, nothing will: the supervisor ends with its exit status.
3. SIGHUP replaces the workers one after the other; a new one answers before an old one is told to end.
4. SIGTERM and SIGINT close the address and tell all workers to end. They answer what they have begun with. Who is not done
   in time is killed. A second SIGINT or SIGTERM kills at once.
5. A worker whose supervisor died ends as if told to: it sees the end of the pipe between them.
"""

from __future__ import annotations

import logging
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jobmon.core.configuration import JobmonConfig
from jobmon.core.log_format import settings_to_stderr
from jobmon.core.logging import logging_settings

logger = logging.getLogger("jobmon.server")

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
BEAT_SECONDS = 1.0
"""Between two signs of life of a worker."""
SILENT_SECONDS = 60.0
"""Without one a worker that serves counts as dead."""
START_SECONDS = 300.0
"""The same for one that starts: the machine may be busy, the database far away."""
LOOK_SECONDS = 0.5
KILL_AFTER_SECONDS = 2.0
"""What a worker has beyond the time for its requests, to close its connections."""
LONGEST_PAUSE_SECONDS = 30.0
BACKLOG = 2048
"""Connections that wait for a worker to take them."""
ENDED = 0
"""Exit status of a supervisor whose workers all ended by themselves when told to."""
CUT_OFF = 1


@dataclass(eq=False)
class Worker:
    """One process that serves.

    Attributes:
        process: the process.
        link: our end of the pair of sockets between us; it beats on it once it serves.
        last_beat: when it started, or gave its last sign of life (monotonic).
        is_ready: it serves.
        ends_at: when it is killed, after it was told to end; ``None``: it was not.
        replaces: the one that is told to end when this one is ready.
    """

    process: subprocess.Popen[bytes]
    link: socket.socket
    last_beat: float
    is_ready: bool = False
    ends_at: float | None = None
    replaces: Worker | None = None

    @property
    def is_staying(self) -> bool:
        """Whether it was not told to end."""
        return self.ends_at is None

    @property
    def patience_seconds(self) -> float:
        """How long it may be silent."""
        return SILENT_SECONDS if self.is_ready else START_SECONDS


class Supervisor:
    """Runs workers until told to end.

    Args:
        command: what a worker is; it gets the numbers of two descriptors as further arguments: the listening socket,
            and its end of the link.
        listener: the address; it is closed at the end.
        num_workers: how many there should be.
        shutdown_seconds: what requests have to be answered when a worker is told to end.
    """

    def __init__(
        self, command: Sequence[str], listener: socket.socket, num_workers: int, shutdown_seconds: float
    ) -> None:
        self.command, self.listener, self.num_workers = command, listener, num_workers
        self.shutdown_seconds = shutdown_seconds
        self.workers: list[Worker] = []
        self.exit_status = ENDED
        self._selector = selectors.DefaultSelector()
        self._to_replace: list[Worker] = []
        self._is_ending = self._was_ready = self._is_asked_to_replace = False
        self._num_failures, self._start_after = 0, 0.0

    def run(self) -> int:
        """Serve until told to end; the exit status."""
        reading, writing = socket.socketpair()
        for end in (reading, writing):
            end.setblocking(False)
        old = {number: signal.signal(number, lambda *_: None) for number in SIGNALS}
        old_descriptor = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
        self._selector.register(reading, selectors.EVENT_READ)
        try:
            while self.workers or not self._is_ending:
                self._turn(time.monotonic())
                self._wait(reading)
        finally:
            for worker in self.workers:
                worker.process.kill()
                worker.process.wait()
            signal.set_wakeup_fd(old_descriptor)
            for number, handler in old.items():
                signal.signal(number, handler)
            for each in (self._selector, reading, writing, self.listener):
                each.close()
        return self.exit_status

    # -- one turn -------------------------------------------------------------------------------------
    def _turn(self, now: float) -> None:
        """Bury the dead, end the silent and the slow, start who is missing."""
        for worker in list(self.workers):
            if worker.process.poll() is not None:
                self._bury(worker, now)
            elif worker.ends_at is not None and now > worker.ends_at:
                logger.warning("worker %d was not done in time and is killed", worker.process.pid)
                self.exit_status = CUT_OFF
                worker.process.kill()
            elif worker.is_staying and now > worker.last_beat + worker.patience_seconds:
                logger.error("worker %d is silent and is killed", worker.process.pid)
                worker.last_beat = now  # it is told of once
                worker.process.kill()
        if not self._is_ending:
            self._replace_next(now)
            self._fill_up(now)

    def _fill_up(self, now: float) -> None:
        """The first one alone: what it cannot do, such as reach the database, the others cannot either."""
        staying = [worker for worker in self.workers if worker.is_staying and worker.replaces is None]
        wanted = self.num_workers if self._was_ready else 1
        if now >= self._start_after:
            for _ in range(wanted - len(staying)):
                self._start(now)

    def _replace_next(self, now: float) -> None:
        """One at a time; who is asked for it again meanwhile begins again afterwards."""
        if any(worker.replaces is not None for worker in self.workers):
            return
        if self._is_asked_to_replace and not self._to_replace:
            self._is_asked_to_replace = False
            self._to_replace = [worker for worker in self.workers if worker.is_staying]
        while self._to_replace:
            old = self._to_replace.pop(0)
            if old in self.workers and old.is_staying:
                self._start(now).replaces = old
                return

    def _start(self, now: float) -> Worker:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        descriptors = (self.listener.fileno(), theirs.fileno())
        process = subprocess.Popen(
            [*self.command, *map(str, descriptors)],
            pass_fds=descriptors,
            process_group=0,  # Ctrl-C is ours to hear of
            stdin=subprocess.DEVNULL,
        )
        theirs.close()
        worker = Worker(process, ours, now)
        self.workers.append(worker)
        self._selector.register(ours, selectors.EVENT_READ, worker)
        return worker

    def _bury(self, worker: Worker, now: float) -> None:
        self.workers.remove(worker)
        if worker.link in self._selector.get_map():
            self._selector.unregister(worker.link)
        worker.link.close()
        status = worker.process.returncode
        if not worker.is_staying:
            logger.info("worker %d has ended", worker.process.pid)
            return
        if not self._was_ready:
            self.exit_status = status if status > 0 else CUT_OFF
            self._end(now)
            return
        logger.error("worker %d died (%s)", worker.process.pid, _describe(status))
        for other in self.workers:
            if other.replaces is worker:
                other.replaces = None
        if worker.is_ready:
            return
        if worker.replaces is not None:
            logger.error("the new process cannot start: the old ones go on")
            self._to_replace.clear()
            return
        self._num_failures += 1
        self._start_after = now + min(2.0 ** (self._num_failures - 1), LONGEST_PAUSE_SECONDS)

    # -- what we hear ---------------------------------------------------------------------------------
    def _wait(self, signals: socket.socket) -> None:
        """Wait for a signal or a worker's word; for a moment only, for some things just take too long."""
        for key, _ in self._selector.select(LOOK_SECONDS):
            if key.data is not None:
                self._hear(key.data)
                continue
            for number in signals.recv(1024):
                self._take_signal(signal.Signals(number))

    def _hear(self, worker: Worker) -> None:
        try:
            said = worker.link.recv(4096)
        except BlockingIOError:
            return
        except ConnectionError:
            said = b""
        if not said:  # it ends, or will be found silent
            self._selector.unregister(worker.link)
            return
        worker.last_beat = time.monotonic()
        if worker.is_ready:
            return
        worker.is_ready = self._was_ready = True
        self._num_failures = 0
        logger.info("worker %d serves", worker.process.pid)
        if worker.replaces is not None:
            self._tell_to_end(worker.replaces, worker.last_beat)
            worker.replaces = None

    def _take_signal(self, number: signal.Signals) -> None:
        now = time.monotonic()
        if number == signal.SIGHUP and not self._is_ending:
            logger.info("replacing all workers")
            self._is_asked_to_replace = True
        elif number in (signal.SIGTERM, signal.SIGINT):
            if self._is_ending:
                for worker in self.workers:
                    worker.ends_at = now
                return
            logger.info("ending (%s)", number.name)
            self._end(now)

    def _end(self, now: float) -> None:
        self._is_ending = True
        self.listener.close()
        for worker in self.workers:
            self._tell_to_end(worker, now)

    def _tell_to_end(self, worker: Worker, now: float) -> None:
        if worker.is_staying:
            worker.ends_at = now + self.shutdown_seconds + KILL_AFTER_SECONDS
            worker.process.send_signal(signal.SIGTERM)


def _describe(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"exit status {status}"


def server_logging(config: JobmonConfig) -> dict[str, Any]:
    """How the processes of a server write their log: to stderr, as ``logging.*`` says.

    Raises:
        ConfigError: that cannot be done.
    """
    return logging_settings(config, "server", settings_to_stderr(str(config.get("logging", "format"))))


def worker_command() -> list[str]:
    """The command of a worker, without the descriptors."""
    return [sys.executable, "-m", "jobmon.server.serving"]


def listen(host: str, port: int, *, reuse_port: bool = False) -> socket.socket:
    """A listening TCP socket.

    Args:
        host: address or name of this machine.
        port: port; 0: a free one.
        reuse_port: whether other processes of this user that say the same may listen there too.

    Raises:
        OSError: the address is taken, is not of this machine, or must not be used.
    """
    family, _, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    # asyncio switches Nagle's algorithm off only where it sees that the protocol is TCP
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
