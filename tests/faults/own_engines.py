"""Database servers of a test process alone, to be stopped, killed, filled and put under strain.

They run in a small file system in memory, where one can be mounted, and are no place for anything that matters.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import URL, Connection, NullPool, create_engine

from databases import Backend, require
from processes import free_port, is_gone, wait_until

SCRIPTS = Path(__file__).parents[2] / "scripts"
SCRIPT_NAMES = {Backend.MARIADB: "mariadb", Backend.POSTGRESQL: "postgres"}
DRIVERS = {Backend.MARIADB: "mysql+pymysql", Backend.POSTGRESQL: "postgresql+psycopg"}
ADMINISTRATORS = {Backend.MARIADB: "root", Backend.POSTGRESQL: "postgres"}
MAX_CONNECTIONS = 40
SIZE_BYTES = 320 * 2**20
START_SECONDS = 60
LOOK_SECONDS = 0.2
USER = "jobmon"
"""The user Jobmon's servers are: who owns its database and has no other right."""
_OPTIONS = {
    Backend.MARIADB: (
        f"--max-connections={MAX_CONNECTIONS} --innodb-buffer-pool-size=48M --innodb-log-file-size=16M "
        "--innodb-undo-tablespaces=0"
    ),
    Backend.POSTGRESQL: (
        f"-c max_connections={MAX_CONNECTIONS} -c shared_buffers=32MB -c max_wal_size=64MB -c min_wal_size=32MB"
    ),
}
_numbers = count()


def mount_memory(path: Path, size_bytes: int) -> str:
    """Mount a file system of this size; why that is not possible, or nothing."""
    options = ["-o", f"size={size_bytes}"]
    done = subprocess.run(
        ["mount", "-t", "tmpfs", *options, "tmpfs", path], capture_output=True, text=True, check=False
    )
    return done.stderr.strip() if done.returncode else ""


def unmount(path: Path) -> None:
    """Unmount a file system, once those who used it are gone: what was killed takes a moment."""
    wait_until(
        lambda: subprocess.run(["umount", path], capture_output=True, check=False).returncode == 0,
        f"the end of all use of {path}",
    )


@contextmanager
def filled(directory: Path) -> Iterator[None]:
    """Leave no room in the file system of a directory for the time of a ``with`` block."""
    ballast = directory / "ballast"
    try:
        with open(ballast, "wb", buffering=0) as file:
            piece = 2**20
            while piece >= 4096:
                try:
                    file.write(bytes(piece))
                except OSError:
                    piece //= 2
        yield
    finally:
        ballast.unlink()


class OwnEngine:
    """A MariaDB or PostgreSQL server of this process.

    Args:
        backend: which.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend, self.port = backend, free_port()
        self._name = SCRIPT_NAMES[backend]
        # Below the temporary directory of pytest nobody but its owner could read.
        self._lab = Path(tempfile.mkdtemp(prefix="jobmon-faults-"))
        self._lab.chmod(0o755)
        self.data = self._lab / self._name
        self.data.mkdir()
        self.why_not_small = mount_memory(self.data, SIZE_BYTES)

    # -- its life ---------------------------------------------------------------------------------------
    def start(self) -> None:
        """Start it, unless it runs, and wait until it answers."""
        self._script("databases-up", "--quiet", "--only", self._name)

    def stop(self) -> None:
        """Stop it in good order."""
        self._script("databases-down", "--only", self._name)

    def kill(self) -> None:
        """End it by SIGKILL, and all processes of its own."""
        pid = self.pid
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: is_gone(pid), "the end of a killed database server")

    @contextmanager
    def kept_running(self) -> Iterator[None]:
        """Start it whenever it has ended, for the time of a ``with`` block: one that lacked room may end itself any time."""
        is_over = threading.Event()

        def look_after() -> None:
            while not is_over.wait(LOOK_SECONDS):
                if is_gone(self.pid):
                    self.start()

        with ThreadPoolExecutor(1) as thread:
            looking = thread.submit(look_after)
            try:
                yield
            finally:
                is_over.set()
            looking.result()

    @property
    def pid(self) -> int:
        """Its process; 0: it never ran."""
        path = (
            self._lab / "run" / "mariadb.pid"
            if self.backend is Backend.MARIADB
            else self.data / "postmaster.pid"
        )
        words = path.read_text().split() if path.exists() else []
        return int(words[0]) if words else 0

    def remove(self) -> None:
        """Stop it and remove all it had."""
        self.stop()
        if not self.why_not_small:
            unmount(self.data)
        shutil.rmtree(self._lab)

    def _script(self, *words: str) -> None:
        variable = "MARIADB" if self.backend is Backend.MARIADB else "POSTGRES"
        environment = {
            **os.environ,
            "DATABASES_DIR": str(self._lab),
            f"{variable}_PORT": str(self.port),
            f"{variable}_OPTIONS": _OPTIONS[self.backend],
        }
        done = subprocess.run(
            [SCRIPTS / words[0], *words[1:]],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=START_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{words}: {done.stderr}"

    # -- its databases -----------------------------------------------------------------------------------
    @contextmanager
    def administrator(self, database: str = "") -> Iterator[Connection]:
        """A connection that may do anything; every statement is committed, unless told otherwise."""
        url = self._url(ADMINISTRATORS[self.backend], database)
        engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            yield connection

    def execute(self, *statements: str, database: str = "") -> None:
        """Execute statements as administrator."""
        with self.administrator(database) as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def scalar(self, statement: str, database: str = "") -> int:
        """A number only an administrator can ask for."""
        with self.administrator(database) as connection:
            return int(connection.exec_driver_sql(statement).one()[-1])

    @contextmanager
    def database(self) -> Iterator[str]:
        """URI of a new database without tables, as its user; it is dropped afterwards."""
        name = f"faults_{next(_numbers)}"
        if self.backend is Backend.MARIADB:
            user = f"{USER}@'127.0.0.1'"
            self.execute(
                f"CREATE DATABASE {name} CHARACTER SET utf8mb4",
                f"CREATE USER IF NOT EXISTS {user}",
                f"GRANT ALL ON {name}.* TO {user}",
            )
        else:
            if not self.scalar(f"SELECT count(*) FROM pg_roles WHERE rolname = '{USER}'"):
                self.execute(f"CREATE ROLE {USER} LOGIN")
            self.execute(f"CREATE DATABASE {name} OWNER {USER}")
        try:
            yield self._url(USER, name).render_as_string()
        finally:
            self.start()  # whatever a test left
            force = " WITH (FORCE)" if self.backend is Backend.POSTGRESQL else ""
            self.execute(f"DROP DATABASE {name}{force}")

    def _url(self, user: str, database: str) -> URL:
        if not database and self.backend is Backend.POSTGRESQL:
            database = "postgres"
        return URL.create(DRIVERS[self.backend], user, host="127.0.0.1", port=self.port, database=database)


class OwnEngines:
    """The database servers of a test process; each is started when it is first asked for."""

    def __init__(self) -> None:
        self._engines: dict[Backend, OwnEngine] = {}

    def engine(self, backend: Backend) -> OwnEngine:
        """The one of this kind, running; the test is skipped where there can be none."""
        require(backend)  # where the tests' usual servers are, the programs are
        if os.getuid():
            pytest.skip("only root can start database servers")
        if backend not in self._engines:
            self._engines[backend] = OwnEngine(backend)
        self._engines[backend].start()
        return self._engines[backend]

    def remove(self) -> None:
        """Remove them all."""
        for engine in self._engines.values():
            engine.remove()
