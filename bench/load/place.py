"""Where a load is put: a new database of each kind, and ``jobmon-server start`` over it."""

from __future__ import annotations

import http.client
import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

import psutil
from sqlalchemy import NullPool, create_engine, make_url

from bench.place import CHECKOUT, MeasurementError, NotHereError

START_SECONDS = 60
_numbers = itertools.count(1)


class Kind(StrEnum):
    """A kind of database."""

    SQLITE = "sqlite"
    MARIADB = "mariadb"
    POSTGRESQL = "postgresql"


LABELS = {Kind.SQLITE: "SQLite", Kind.MARIADB: "MariaDB", Kind.POSTGRESQL: "PostgreSQL"}
ADMIN_URLS = {
    Kind.MARIADB: ("JOBMON_TEST_MARIADB_URL", "mysql+pymysql://root@127.0.0.1:33306/"),
    Kind.POSTGRESQL: ("JOBMON_TEST_POSTGRESQL_URL", "postgresql+psycopg://postgres@127.0.0.1:35432/postgres"),
}
"""The variable that names who may create databases there, and who does where ``scripts/databases-up`` started them."""


@contextmanager
def database(kind: Kind) -> Iterator[str]:
    """The URI of a new database without tables, gone afterwards.

    Raises:
        NotHereError: there is no such server.
    """
    name = f"load_{os.getpid()}_{next(_numbers)}"
    if kind is Kind.SQLITE:
        with TemporaryDirectory(prefix="jobmon-load-") as directory:
            yield f"sqlite:///{directory}/{name}.sqlite"
        return
    admin = make_url(admin_url(kind))
    _require_answer(admin.host or "127.0.0.1", admin.port or 0, kind)
    charset = " CHARACTER SET utf8mb4" if kind is Kind.MARIADB else ""
    _administer(kind, f"CREATE DATABASE {name}{charset}")
    try:
        yield admin.set(database=name).render_as_string(hide_password=False)
    finally:
        _administer(kind, f"DROP DATABASE {name}{' WITH (FORCE)' if kind is Kind.POSTGRESQL else ''}")


def admin_url(kind: Kind) -> str:
    """URI of who may create databases."""
    variable, usual = ADMIN_URLS[kind]
    return os.environ.get(variable, "") or usual


def _require_answer(host: str, port: int, kind: Kind) -> None:
    try:
        socket.create_connection((host, port), 2).close()
    except OSError as error:
        raise NotHereError(f"no {LABELS[kind]} answers at {host}:{port}: make databases") from error


def _administer(kind: Kind, statement: str) -> None:
    engine = create_engine(admin_url(kind), poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)


class Servers:
    """So many ``jobmon-server start`` over one database, which gets its tables first.

    Args:
        uri: the database.
        directory: for their home and their logs.
        count: servers, each at a port of its own.
        workers: processes of each.
        settings: environment of the servers, in addition.
    """

    def __init__(
        self,
        uri: str,
        directory: Path,
        count: int = 1,
        workers: int = 1,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._directory = directory
        kept = {name: value for name, value in os.environ.items() if not name.startswith("JOBMON_")}
        self.environment = {
            **kept,
            "HOME": str(directory),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(CHECKOUT), kept.get("PYTHONPATH")])),
            "JOBMON__EMBEDDED__DIRECTORY": str(directory / "jobmon"),
            "JOBMON__DB__SQLALCHEMY_DATABASE_URI": uri,
            "JOBMON__AUTH__ENABLED": "false",
            **(settings or {}),
        }
        self._ports = [free_port() for _ in range(count)]
        self._workers = workers
        self._processes: list[subprocess.Popen[bytes] | None] = [None] * count

    @property
    def urls(self) -> list[str]:
        """Their addresses, without route prefix."""
        return [f"http://127.0.0.1:{port}" for port in self._ports]

    def __enter__(self) -> Servers:
        self._command("db", "init")
        try:
            for number in range(len(self._ports)):
                self.start(number)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, number: int = 0) -> None:
        """Start one of them and wait until it answers.

        Raises:
            MeasurementError: it does not; the message ends with the last of what it said.
        """
        log = self._directory / f"server{number}.log"
        words = ["start", "--port", str(self._ports[number])]
        if self._workers > 1:
            words += ["--workers", str(self._workers)]
        with log.open("ab") as output:
            process = subprocess.Popen(
                self._words(*words),
                env=self.environment,
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._processes[number] = process
        deadline = time.monotonic() + START_SECONDS
        while not answers(self._ports[number]):
            if process.poll() is not None or time.monotonic() > deadline:
                raise MeasurementError(
                    f"jobmon-server did not start: {log.read_text(errors='replace')[-2000:]}"
                )
            time.sleep(0.05)

    def kill(self, number: int = 0) -> None:
        """End one of them, with all its processes, by SIGKILL."""
        process = self._processes[number]
        if process is not None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            self._processes[number] = None

    def stop(self) -> None:
        """End them all, as an operator does."""
        running = [process for process in self._processes if process is not None]
        for process in running:
            process.terminate()
        for process in running:
            try:
                process.wait(START_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self._processes = [None] * len(self._ports)

    def serving(self) -> list[psutil.Process]:
        """The processes that answer requests; who only watches over others is none of them."""
        found = []
        for process in self._processes:
            if process is not None:
                own = psutil.Process(process.pid)
                found += own.children() or [own]
        return found

    def _words(self, *words: str) -> Sequence[str]:
        return [str(Path(sys.executable).with_name("jobmon-server")), *words]

    def _command(self, *words: str) -> None:
        done = subprocess.run(
            self._words(*words), env=self.environment, capture_output=True, text=True, timeout=300
        )
        if done.returncode:
            raise MeasurementError(f"jobmon-server {' '.join(words)}: {done.stderr[-2000:]}")


def answers(port: int) -> bool:
    """Whether a server at this port of this machine answers that it lives."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def free_port() -> int:
    """A port nobody listens at now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
