"""Real servers for tests: ``jobmon-server start`` at a free port of loopback, over a database that exists."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from jobmon.core.requester import Requester
from processes import FLOW, Script, children_of, is_gone, wait_until

PREFIX = "/api/v3"
START_SECONDS = 60.0
SPREAD_FLOW = Path(__file__).parent / "server" / "spread_flow.py"
_MAIN = "from jobmon.server.cli import main; main()"


class RealServer:
    """A server that runs.

    Args:
        process: its supervisor.
        log: what it writes.
    """

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process, self.log = process, log
        self.address = ""
        self._was_told = False

    @property
    def text(self) -> str:
        """What it has written."""
        return self.log.read_text(errors="replace")

    @property
    def url(self) -> str:
        """Where it listens, with the route prefix."""
        return self.address + PREFIX

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def requester(self) -> Requester:
        """Typed requests to it."""
        return Requester(self.url)

    def wait_serving(self, num_workers: int = 1) -> None:
        """Wait until it has said where it listens, and that its workers serve."""

        def look() -> bool:
            assert self.process.poll() is None, f"the server ended ({self.process.returncode}):\n{self.text}"
            found = re.search(r"listening at (http://\S+),", self.text)
            self.address = found[1] if found else ""
            return bool(found) and self.text.count(" serves") >= num_workers

        wait_until(look, "a server that serves", START_SECONDS)

    def workers(self) -> list[int]:
        """Process ids of its workers."""
        return [pid for pid in children_of(self.process.pid) if not is_gone(pid)]

    def wait_replaced(self, old: Sequence[int], num_workers: int) -> None:
        """Wait until all old workers are gone and so many new ones serve."""

        def look() -> bool:
            workers = self.workers()
            return not set(workers) & set(old) and len(workers) == num_workers

        wait_until(look, "new workers", START_SECONDS)
        wait_until(
            lambda: all(f"worker {pid} serves" in self.text for pid in self.workers()), "workers that serve"
        )

    def restart(self, num_workers: int = 1) -> None:
        """Have all workers replaced, as an operator does."""
        old = self.workers()
        self.process.send_signal(signal.SIGHUP)
        self.wait_replaced(old, num_workers)

    def tell_to_end(self) -> None:
        """Have it end in good order; a second signal would kill it."""
        if not self._was_told and self.process.poll() is None:
            self._was_told = True
            self.process.send_signal(signal.SIGTERM)

    def end(self, timeout_seconds: float = 40) -> int:
        """End it in good order; the exit status."""
        self.tell_to_end()
        return self.process.wait(timeout_seconds)

    def kill(self) -> None:
        """End whatever is left of it, by process id."""
        workers = self.workers()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        for pid in workers:
            if not is_gone(pid):
                os.kill(pid, signal.SIGKILL)


class Servers:
    """Starts servers, and ends them all.

    Args:
        directory: for their logs.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.running: list[RealServer] = []
        self.program = [sys.executable, "-c", _MAIN]
        self.scripts: list[Script] = []
        clean = {name: value for name, value in os.environ.items() if not name.startswith("JOBMON")}
        self.environment = {
            **clean,
            "HOME": str(directory),
            "JOBMON__EMBEDDED__DIRECTORY": str(directory / "embedded"),
            "JOBMON__PROGRESS__ENABLED": "false",
            "PYTHONUNBUFFERED": "1",
        }

    def launch(self, uri: str, *options: object, port: int = 0, **settings: object) -> RealServer:
        """Start a server over a database and do not wait for it."""
        log = self.directory / f"server.{len(self.running)}.log"
        own = {f"JOBMON__{name.upper()}": str(value) for name, value in settings.items()}
        with open(log, "wb") as file:
            process = subprocess.Popen(
                [*self.program, "start", "--port", str(port), *map(str, options)],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**self.environment, "JOBMON__DB__SQLALCHEMY_DATABASE_URI": uri, **own},
            )
        self.running.append(RealServer(process, log))
        return self.running[-1]

    def start(self, uri: str, *options: object, workers: int = 1, **settings: Any) -> RealServer:
        """Start a server over a database and wait until it serves."""
        server = self.launch(uri, "--workers", workers, *options, **settings)
        server.wait_serving(workers)
        return server

    def start_flow(
        self, urls: Sequence[str], tasks: Sequence[dict[str, Any]], name: str, **spec: Any
    ) -> Script:
        """Start a control script (see ``flow.py``) whose requests are spread over servers at random."""
        number = len(self.scripts)
        path, output = self.directory / f"flow.{number}.json", self.directory / f"output.{number}"
        workflow = {"name": name, "workflow_args": name, **spec.pop("workflow", {})}
        path.write_text(json.dumps({"tasks": list(tasks), "workflow": workflow, **spec}))
        environment = {
            **self.environment,
            "JOBMON__HTTP__SERVICE_URL": urls[0].removesuffix(PREFIX),
            "JOBMON_TEST_SERVERS": " ".join(urls),
        }
        with open(output, "wb") as file:
            process = subprocess.Popen(
                [sys.executable, str(SPREAD_FLOW), str(FLOW), str(path)],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                env=environment,
            )
        self.scripts.append(Script(process, output))
        return self.scripts[-1]

    def close(self) -> None:
        """End everything."""
        for script in self.scripts:
            if script.process.poll() is None:
                script.kill()
                script.process.wait(10)
        for server in self.running:
            server.kill()


@contextmanager
def servers_in(directory: Path) -> Iterator[Servers]:
    """Servers that end with the ``with`` block."""
    servers = Servers(directory)
    try:
        yield servers
    finally:
        servers.close()


def get(url: str, **options: Any) -> httpx.Response:
    """One GET request, as curl would send it."""
    return httpx.get(url, trust_env=False, timeout=20, **options)
