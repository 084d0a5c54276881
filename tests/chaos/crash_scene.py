"""Scenes for crashes: a server over each kind of database, a fake Slurm, and control scripts that may die at a fail point."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from fake_place import FakePlace
from sqlalchemy import Engine, create_engine

from databases import Backend, bare_database
from jobmon.server.web.db_admin import init_db
from jobmon.testing.fail_points import words_of
from jobmon.testing.fake_slurm import FakeSlurm, Settings
from jobmon.testing.history import assert_history
from jobmon.testing.journal import Journal
from processes import Script, wait_until
from server_place import RealServer, Servers

HERE = Path(__file__).resolve().parent
SERVER_SETTINGS = {"reaper__enabled": "false"}
"""The services have tests of their own, and would act amid others."""


class Database:
    """A database and the servers over it.

    Args:
        uri: where it is; it has the tables.
        servers: starts servers.
    """

    def __init__(self, uri: str, servers: Servers) -> None:
        self.uri, self.servers = uri, servers
        self.engine: Engine = create_engine(uri)
        self._server: RealServer | None = None

    @property
    def server(self) -> RealServer:
        """The server that all tests share."""
        if self._server is None:
            self._server = self.servers.start(self.uri, **SERVER_SETTINGS)
        return self._server

    def kill_server(self) -> None:
        """End it with all its processes, by SIGKILL."""
        self.server.kill()

    def start_server_again(self) -> None:
        """Start it where it was."""
        self._server = self.servers.start(self.uri, port=self.server.port, **SERVER_SETTINGS)

    def rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows; ``?`` stands for a value."""
        mark = "?" if self.engine.dialect.paramstyle == "qmark" else "%s"
        with self.engine.connect() as connection:
            found = connection.exec_driver_sql(statement.replace("?", mark), tuple(values))
            return [tuple(row) for row in found]

    def close(self) -> None:
        """Let go of it."""
        self.engine.dispose()


class CrashScenes:
    """Databases with a server each, and a cluster; made when first asked for.

    Args:
        root: an empty directory.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._stack = ExitStack()
        self._databases: dict[Backend, Database] = {}
        self._slurm: FakeSlurm | None = None
        self._servers = Servers(root)
        self._stack.callback(self._servers.close)

    def database(self, backend: Backend) -> Database:
        """The database of this kind."""
        if backend not in self._databases:
            uri = self._stack.enter_context(bare_database(backend, self.root))
            init_db(uri)
            self._databases[backend] = Database(uri, self._servers)
            self._stack.callback(self._databases[backend].close)
            self._stack.callback(self._servers.close)  # before its database goes
        return self._databases[backend]

    @property
    def slurm(self) -> FakeSlurm:
        """The cluster."""
        if self._slurm is None:
            settings = Settings(kill_wait_seconds=0.3)
            self._slurm = self._stack.enter_context(FakeSlurm(self.root / "slurm", settings))
        return self._slurm

    @contextmanager
    def scene(self, backend: Backend, root: Path, is_served: bool = True) -> Iterator[CrashScene]:
        """A place of one test, which is checked and closed at the end of the ``with`` block.

        Args:
            backend: kind of the database.
            root: an empty directory.
            is_served: use the server that all tests share; else the test names one.
        """
        scene = CrashScene(root, self.slurm, self.database(backend))
        if is_served:
            scene.use_server(scene.database.server.address)
        try:
            yield scene
            scene.check()
        finally:
            scene.close()

    def close(self) -> None:
        """End everything."""
        self._stack.close()


class CrashScene(FakePlace):
    """A directory for scripts, tasks and logs over a database that other tests use as well.

    Args:
        root: an empty directory.
        slurm: the cluster, as ``slurm``.
        database: the database.

    Attributes:
        once: is there when a process has died at a fail point.
        clock_offset: seconds by which the clocks of scripts are wrong that are started from now on.
    """

    def __init__(self, root: Path, slurm: FakeSlurm, database: Database) -> None:
        super().__init__(root, slurm)
        self.database = database
        self.journal_file = root / "journal"
        self.once = root / "killed"
        self.workflow_id = 0
        self.clock_offset = 0.0
        self.environment["JOURNAL"] = str(self.journal_file)

    def use_server(self, address: str) -> None:
        """Have scripts talk to this server."""
        self.configure(http__service_url=address)

    # -- what runs ------------------------------------------------------------------------------------------
    def commands(self, tasks: Mapping[str, Sequence[str]], then: str = "") -> list[dict[str, Any]]:
        """Tasks that note which attempt of them began and which came to its end.

        Args:
            tasks: their names, with those each waits for.
            then: what they do in between; ``NAME`` stands for the name.
        """
        start = f"cd {shlex.quote(str(self.work))} && echo $JOBMON_TASK_INSTANCE_ID >> started.NAME"
        words = [start, then, "echo $JOBMON_TASK_INSTANCE_ID >> ended.NAME"]
        command = " && ".join(filter(None, words))
        return [
            {"name": name, "command": command.replace("NAME", name), "upstream": list(upstream)}
            for name, upstream in tasks.items()
        ]

    def start_crashing(
        self,
        tasks: Sequence[Mapping[str, Any]],
        cluster: str,
        point: str = "",
        passage: int | None = None,
        **spec: Any,
    ) -> Script:
        """Start a script that runs these tasks; with a fail point it dies there, once."""
        number = len(self.scripts)
        path = self.root / f"flow.{number}.json"
        resources = {
            "slurm": {"queue": "short", "cores": 1, "memory": "64M", "runtime": "5m"},
            "multiprocess": {},
        }
        workflow = {
            "name": self.root.name,
            "workflow_args": str(self.root),
            "default_cluster_name": cluster,
            "default_compute_resources_set": {cluster: resources[cluster]},
        }
        path.write_text(json.dumps({"tasks": list(tasks), "workflow": workflow, **spec}))
        self.environment["HASTE"] = json.dumps(self.haste)
        script = str(HERE / "journalled_flow.py")
        if point:
            return self.start([*words_of(point, ["--", script], passage, self.once), str(path)])
        return self.start([sys.executable, HERE / "wrong_clock.py", str(self.clock_offset), script, path])

    def have_wrappers_die(self, point: str, passage: int | None = None) -> None:
        """Have the first wrapper that passes a fail point die there."""
        program = self.root / "entry_point"
        words = words_of(point, ["-m", "jobmon.worker_node.cli"], passage, self.once)
        program.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
        program.chmod(0o755)
        self.configure(distributor__worker_node_entry_point=program)

    def wait_killed(self, timeout_seconds: float = 40) -> None:
        """Wait until a process has died at its fail point."""
        wait_until(self.once.exists, "a process that dies at its fail point", timeout_seconds)

    def dies(self, script: Script) -> None:
        """Wait until a script has died at its fail point."""
        assert script.end() == -signal.SIGKILL, script.text
        assert self.once.exists()

    # -- what became of it -----------------------------------------------------------------------------------
    @property
    def uri(self) -> str:
        return self.database.uri

    def note_workflow(self, result: Mapping[str, Any]) -> None:
        """Remember which workflow this is about."""
        self.workflow_id = int(result["workflow_id"])

    def attempts_of_tasks(self) -> dict[str, list[tuple[int, str]]]:
        """Attempts of each task: id and status letter, oldest first."""
        found: dict[str, list[tuple[int, str]]] = {}
        rows = self.database.rows(
            "SELECT t.name, i.id, i.status FROM task t LEFT JOIN task_instance i ON i.task_id = t.id "
            "WHERE t.workflow_id = ? ORDER BY i.id",
            self.workflow_id,
        )
        for name, attempt, status in rows:
            found.setdefault(name, [])
            if attempt is not None:
                found[name].append((attempt, status))
        return found

    def letters(self) -> dict[str, str]:
        """Status letters of the attempts of each task."""
        return {
            name: "".join(status for _, status in attempts)
            for name, attempts in self.attempts_of_tasks().items()
        }

    def noted(self, word: str, name: str) -> list[int]:
        """Attempts of a task whose command noted this, in order."""
        path = self.work / f"{word}.{name}"
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def assert_promise(self) -> None:
        """Nothing acknowledged is lost or there twice, each attempt's command ran at most once, each task is done once."""
        with Journal(self.journal_file) as journal:
            assert journal.changes
            journal.assert_kept(self.uri)
        assert_history(self.uri)
        for name, attempts in self.attempts_of_tasks().items():
            ids = [attempt for attempt, _ in attempts]
            done = [attempt for attempt, status in attempts if status == "D"]
            started, ended = self.noted("started", name), self.noted("ended", name)
            assert len(done) == 1, (name, attempts)
            assert max(Counter(started).values()) == 1, (name, started)
            assert set(started) <= set(ids), (name, started, attempts)
            assert done[0] in ended, (name, ended, attempts)

    def marked(self) -> list[int]:
        """Processes of attempts of this place."""
        own = os.getpid()
        return [pid for pid in self.processes() if pid != own and _is_attempt(pid)]

    def check(self) -> None:
        """Nothing is left, here or on the cluster."""
        wait_until(lambda: not self.waits_or_runs(), "the end of all jobs")
        self.assert_no_task_runs()
        assert_history(self.uri)


def _is_attempt(pid: int) -> bool:
    try:
        return b"JOBMON_TASK_INSTANCE_ID=" in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False  # it ended meanwhile
