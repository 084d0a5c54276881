"""Wrappers as a cluster starts them, and a small real server that answers as a test wants it to."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from jobmon.core import __version__
from jobmon.core.batch_cluster import WRAPPER_ID_OPTION, WRAPPER_STEP_OPTION
from jobmon.core.configuration import JobmonConfig
from jobmon.core.instance_event import InstanceEvent
from jobmon.distributor.batch_file import BatchElement, BatchHeader, wrapper_words, write_batch
from jobmon.distributor.shared_directory import SharedDirectory
from jobmon.distributor.spool import Spool
from processes import children_of, wait_until

Event = dict[str, Any]
Answer = tuple[int, bytes]
LIVE: Answer = (200, b'{"status":"R","is_live":true}')
NOT_LIVE: Answer = (200, b'{"status":"K", "is_live": false}')
DROPPED: Answer = (0, b"")
"""The event arrived, its answer does not."""

TOKEN = "s3cret-token"
INSTANCE = 41


class Server:
    """Takes events at one address, as long as it is up; ``answer`` decides what it says to each."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.requests: list[tuple[str, Mapping[str, str]]] = []
        self.answer: Callable[[Event], Answer] = lambda event: LIVE
        self.port = 0
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._server: ThreadingHTTPServer | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/v3"

    @property
    def told(self) -> list[str]:
        """Names of the events that came, in order."""
        return [event["event"] for event in self.events]

    @property
    def num_connections(self) -> int:
        return len(self._open)

    def start(self) -> None:
        """Listen, on the same port as before."""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                super().setup()
                with outer._lock:
                    outer._open.append(self.connection)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with outer._lock:
                    event = json.loads(body)
                    outer.requests.append((self.path, dict(self.headers)))
                    outer.events.append(event)
                status, answer = outer.answer(event)
                if not status:
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: Any) -> None:
                pass

        ThreadingHTTPServer.allow_reuse_address = True
        server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        server.daemon_threads = True
        self.port = server.server_port
        self._server = server
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Be away: nobody listens, and who was connected is so no more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        with self._lock:
            for each in self._open:
                try:
                    each.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # closed already
            self._open.clear()


class Site:
    """A shared directory with a batch file, and wrappers that run steps of it."""

    def __init__(self, root: Path, server: Server) -> None:
        self.root, self.server = root, server
        self.shared = SharedDirectory(root / "shared", 7)
        self.shared.prepare()
        self.shared.write_server(server.url, TOKEN, "somebody")
        self.work = root / "work"
        self.work.mkdir()
        self.processes: list[subprocess.Popen[bytes]] = []

    def write(self, *commands: str, name: str = "fit", sizes: Sequence[int] = (), **header: Any) -> Path:
        """A batch file of these commands; the attempts are 41, 42 …; ``sizes``: how many each step runs."""
        defaults: dict[str, Any] = {
            "version": __version__,
            "workflow_id": 7,
            "workflow_run_id": 8,
            "cluster_name": "slurm",
            "user": "somebody",
            "server_file": str(self.shared.server),
            "spool": str(self.shared.spool),
            "stdout": str(self.root / "logs"),
            "stderr": str(self.root / "logs"),
            "working_dir": str(self.work),
            "heartbeat_seconds": 90,
            "report_seconds": 270,
            "interrupt_seconds": 0.3,
            "start_wait_seconds": 0.5,
            "report_wait_seconds": 0.5,
        }
        path = self.shared.batches / "1"
        elements = [
            BatchElement(INSTANCE + number, 400 + number, name, command)
            for number, command in enumerate(commands)
        ]
        write_batch(path, BatchHeader(**{**defaults, **header}), elements, sizes)
        return path

    def start_file(
        self, batch_file: Path, step: int = 0, words: tuple[str, ...] = (), **options: Any
    ) -> Wrapped:
        """Start the wrapper of a step, as the script of a cluster does."""
        argv = [
            *(words or wrapper_words(batch_file, JobmonConfig())),
            *(WRAPPER_STEP_OPTION, str(step), WRAPPER_ID_OPTION, f"99_{step + 1}"),
        ]
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            **options,
        )
        self.processes.append(process)
        return Wrapped(self, process)

    def run_words(self, words: Sequence[str], variables: Mapping[str, str] | None = None) -> tuple[int, str]:
        """Run a command line to its end: exit code, and what it said on stderr."""
        environment = {**os.environ, **(variables or {})}
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=60)
        assert done.stdout == ""
        return done.returncode, done.stderr

    def start(self, command: str, **header: Any) -> Wrapped:
        """Start the wrapper of a batch of one command."""
        return self.start_file(self.write(command, **header))

    def run(self, command: str, **header: Any) -> int:
        """Run a command to its end; the exit code of the wrapper."""
        return self.start(command, **header).end()

    def start_all(self, *commands: str, **header: Any) -> Wrapped:
        """Start the wrapper of a job that runs all these commands, for which there is plenty of time."""
        sizes = (len(commands),)
        return self.start_file(
            self.write(*commands, sizes=sizes, **{"runtime": 20, "job_seconds": 600, **header})
        )

    def log(self, letter: str = "o", name: str = "fit", step: int = 0) -> bytes:
        """What a command wrote to its log file."""
        return (self.root / "logs" / f"{name}.{letter}99_{step + 1}").read_bytes()

    def spooled(self) -> list[InstanceEvent]:
        """What is in the spool, in order; once the wrappers have ended, there is nothing else in it."""
        words = Spool(self.shared.spool).take()
        if all(process.poll() is not None for process in self.processes):
            assert len(words) == len(list(self.shared.spool.iterdir()))
        return [word.event for word in words]

    def wait_for(self, name: str) -> None:
        """Wait until a command made a file in its working directory."""
        wait_until((self.work / name).exists, f"the file {name} of the command")

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                pids = children_of(process.pid)
                process.kill()
                for pid in pids:
                    subprocess.run(["kill", "-9", f"-{pid}"], check=False)
            process.wait()
            for pipe in (process.stdout, process.stderr):
                assert pipe is not None
                pipe.close()


class Wrapped:
    """A wrapper that runs."""

    def __init__(self, site: Site, process: subprocess.Popen[bytes]) -> None:
        self.site, self.process = site, process
        self.said = ""

    def command(self) -> int:
        """Process id of the command, once it runs."""
        return wait_until(lambda: children_of(self.process.pid), "the command")[0]

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self, timeout_seconds: float = 20) -> int:
        """Exit code; what it said itself is in ``said``."""
        stdout, stderr = self.process.communicate(timeout=timeout_seconds)
        assert stdout == b""
        self.said = stderr.decode()
        assert TOKEN not in self.said
        return self.process.returncode
