"""Real processes for tests: control scripts, the local server, the command line, and what they leave behind.

Nothing here sleeps for luck: tasks wait for files (*gates*), tests wait for conditions, and every wait is bounded.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

from jobmon.core import local_server
from jobmon.core.cluster_protocol import attempt_mark
from jobmon.plugins.multiprocess.processes import processes_of
from jobmon.testing.history import assert_history

T = TypeVar("T")

FLOW = Path(__file__).with_name("flow.py")
WAIT_SECONDS = 20.0
POLL_SECONDS = 0.01
DIRECTORY_VARIABLE = "JOBMON__EMBEDDED__DIRECTORY"


def wait_until(condition: Callable[[], T], what: str, timeout_seconds: float = WAIT_SECONDS) -> T:
    """The first true value of a condition; fails the test when there is none in time."""
    deadline = time.monotonic() + timeout_seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_seconds:.0f} s in vain: {what}")
        time.sleep(POLL_SECONDS)
    return value


def free_port() -> int:
    """A port of loopback nobody listens at now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def is_gone(pid: int) -> bool:
    """Whether no such process runs (a zombie does not run)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def children_of(pid: int) -> list[int]:
    """Direct children of a process, of all of its threads."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        found += map(int, path.read_text().split())
    return found


class Script:
    """A control script that runs: what it printed, and how it ends."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path) -> None:
        self.process, self.output = process, output

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def text(self) -> str:
        """Everything it printed so far, on both streams."""
        return self.output.read_text(errors="replace")

    def said(self, word: str) -> Any:
        """The JSON value behind a word it printed; ``None`` if it has not yet."""
        for line in self.text.splitlines():
            if line.startswith(word + " "):
                return json.loads(line[len(word) + 1 :])
        return None

    def wait_for(self, word: str, timeout_seconds: float = WAIT_SECONDS) -> Any:
        def look() -> Any:
            if (value := self.said(word)) is None and self.process.poll() is not None:
                value = self.said(word)
                assert value is not None, f"it ended ({self.process.returncode}) without {word}:\n{self.text}"
            return value

        return wait_until(look, f"{word} of the script; it printed:\n{self.text}", timeout_seconds)

    @property
    def launcher(self) -> int:
        """Process id of its launcher of commands."""

        def look() -> int:
            for pid in children_of(self.pid):
                if b"launcher.py" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return pid
            return 0

        return wait_until(look, "a launcher of the script")

    def kill(self, number: int = signal.SIGKILL) -> None:
        self.process.send_signal(number)

    def end(self, timeout_seconds: float = 40) -> int:
        """Wait for its end; the exit code."""
        try:
            return self.process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the script does not end; it printed:\n{self.text}") from None

    def result(self, timeout_seconds: float = 40) -> dict[str, Any]:
        """Wait for its end; what ``run()`` returned."""
        self.end(timeout_seconds)
        result = self.said("RESULT")
        assert result is not None, f"the script has no result:\n{self.text}"
        return dict(result)

    def error(self, timeout_seconds: float = 40) -> dict[str, str]:
        """Wait for its end; what ``run()`` raised."""
        self.end(timeout_seconds)
        error = self.said("ERROR")
        assert error is not None, f"the script raised nothing:\n{self.text}"
        return dict(error)


class Place:
    """A directory of its own for a local server, scripts, tasks and logs.

    Args:
        root: an empty directory.
        settings: configuration as environment variables, without the prefix: ``{"MULTIPROCESS__PARALLELISM": 2}``.
    """

    def __init__(self, root: Path, **settings: object) -> None:
        self.root = root
        self.directory = root / "jobmon"
        self.work = root / "work"
        self.work.mkdir(parents=True)
        self.files = local_server.LocalServerFiles(self.directory)
        self.scripts: list[Script] = []
        clean = {name: value for name, value in os.environ.items() if not name.startswith("JOBMON")}
        self.environment = {**clean, "HOME": str(root), "PYTHONUNBUFFERED": "1"}
        self.configure(
            embedded__directory=self.directory,
            progress__enabled="false",
            multiprocess__parallelism=4,
            worker_node__command_interrupt_timeout=1,
            **settings,
        )

    def configure(self, **settings: object) -> None:
        """Set configuration of what is started from now on: ``multiprocess__parallelism=2``."""
        for name, value in settings.items():
            self.environment[f"JOBMON__{name.upper()}"] = str(value)

    # -- scripts and commands -----------------------------------------------------------------------
    def start(self, argv: Sequence[str | Path], **options: Any) -> Script:
        """Start a process; its output goes to a file."""
        output = self.root / f"output.{len(self.scripts)}"
        with open(output, "wb") as file:
            process = subprocess.Popen(
                [str(word) for word in argv],
                **{"stdin": subprocess.DEVNULL, **options},
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd=self.work,
                env=self.environment,
            )
        script = Script(process, output)
        self.scripts.append(script)
        return script

    def start_flow(self, tasks: Sequence[Mapping[str, Any]], **spec: Any) -> Script:
        """Start a script that runs these tasks; see ``flow.py`` for what may be said of them."""
        path = self.root / f"flow.{len(self.scripts)}.json"
        path.write_text(json.dumps({"tasks": list(tasks), **spec}))
        return self.start([sys.executable, FLOW, path])

    def run_flow(self, tasks: Sequence[Mapping[str, Any]], **spec: Any) -> dict[str, Any]:
        """Run these tasks to the end; the result of ``run()``."""
        return self.start_flow(tasks, **spec).result()

    def start_python(self, text: str) -> Script:
        """Start a Python program."""
        path = self.root / f"script.{len(self.scripts)}.py"
        path.write_text(text)
        return self.start([sys.executable, path])

    def jobmon(self, *words: object, timeout_seconds: float = 60) -> str:
        """What a command of the command line printed; it must succeed."""
        script = self.start_jobmon(*words)
        assert script.end(timeout_seconds) == 0, script.text
        return script.text

    def start_jobmon(self, *words: object) -> Script:
        """Start a command of the command line."""
        return self.start(
            [sys.executable, "-c", "from jobmon.client.cli import main; main()", *map(str, words)]
        )

    # -- tasks ----------------------------------------------------------------------------------------
    def task(
        self, name: str, gate: str = "", then: str = "", upstream: Sequence[str] = (), **more: Any
    ) -> dict[str, Any]:
        """A task that notes each start in a file, waits for its gate, does something, and notes its end."""
        words = [f"echo $$ >> started.{name}"]
        if gate:
            words.append(f"until [ -e gate.{gate} ]; do sleep 0.01; done")
        if then:
            words.append(then)
        words.append(f"echo >> ended.{name}")
        command = f"cd {shlex.quote(str(self.work))} && " + " && ".join(words)
        return {"name": name, "command": command, "upstream": list(upstream), **more}

    def open(self, gate: str) -> None:
        """Let the tasks behind a gate go on."""
        (self.work / f"gate.{gate}").touch()

    def starts(self, name: str) -> list[int]:
        """Process ids of the shells of a task, one for each time it was started."""
        path = self.work / f"started.{name}"
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def wait_started(self, *names: str, times: int = 1) -> None:
        """Wait until tasks have been started that often."""
        for name in names:
            wait_until(lambda name=name: len(self.starts(name)) >= times, f"start {times} of task {name}")

    def num_starts(self, *names: str) -> list[int]:
        """How often each task was started."""
        return [len(self.starts(name)) for name in names]

    # -- the server and its database ----------------------------------------------------------------
    @property
    def uri(self) -> str:
        return f"sqlite:///{self.files.database}"

    def has_database(self) -> bool:
        """Whether there is one yet."""
        return self.files.database.exists()

    def has_server(self) -> bool:
        """Whether one has said where it listens."""
        return self.files.record.exists()

    def server(self) -> local_server.ServerRecord:
        """The record of the server that runs."""
        record = local_server.running_server(self.files)
        assert record is not None, "no server runs"
        return record

    def start_server(self) -> local_server.ServerRecord:
        """Start the server as a user would."""
        self.jobmon("server", "start")
        return self.server()

    def kill_server(self) -> int:
        """Kill the server with -9 and wait until it is gone; its process id."""
        pid = self.server().pid
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: is_gone(pid), "the end of the killed server")
        return pid

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Rows of the database."""
        with closing(sqlite3.connect(f"file:{self.files.database}?mode=ro", uri=True, timeout=10)) as db:
            return db.execute(statement, values).fetchall()

    def scalar(self, statement: str, *values: Any) -> Any:
        """One value of the database."""
        rows = self.sql(statement, *values)
        return rows[0][0] if rows else None

    def attempts(self, name: str) -> str:
        """Status letters of the attempts of a task, oldest first."""
        rows = self.sql(
            "SELECT i.status FROM task_instance i JOIN task t ON t.id = i.task_id WHERE t.name = ? ORDER BY i.id",
            name,
        )
        return "".join(row[0] for row in rows)

    def task_status(self, name: str) -> str:
        """Status letter of a task."""
        return str(self.scalar("SELECT status FROM task WHERE name = ?", name))

    def errors(self, name: str) -> str:
        """Texts of the error log of a task."""
        rows = self.sql(
            "SELECT e.description FROM task_instance_error_log e JOIN task_instance i ON i.id = e.task_instance_id "
            "JOIN task t ON t.id = i.task_id WHERE t.name = ? ORDER BY e.id",
            name,
        )
        return "\n".join(row[0] for row in rows)

    def runs(self) -> str:
        """Status letters of the workflow runs, oldest first."""
        return "".join(row[0] for row in self.sql("SELECT status FROM workflow_run ORDER BY id"))

    def wait_run(self, letter: str) -> None:
        """Wait until the latest run has this status."""
        wait_until(lambda: self.has_database() and self.runs().endswith(letter), f"a run that is {letter}")

    def wait_task(self, name: str, letter: str) -> None:
        """Wait until a task has this status."""
        wait_until(lambda: self.task_status(name) == letter, f"status {letter} of task {name}")

    # -- what is left ---------------------------------------------------------------------------------
    def marked(self) -> list[int]:
        """Processes that bear the mark of an attempt of this place."""
        if not self.has_database():
            return []
        try:
            rows = self.sql(
                "SELECT r.run_key, i.id FROM task_instance i JOIN workflow_run r ON r.id = i.workflow_run_id"
            )
        except sqlite3.Error:  # tests put files there that are no databases
            return []
        return processes_of([attempt_mark(run_key, instance) for run_key, instance in rows])

    def processes(self) -> list[int]:
        """All processes of this place: scripts, servers, launchers, tasks and their descendants."""
        wanted = f"{DIRECTORY_VARIABLE}={self.directory}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and not is_gone(int(entry.name)):
                try:
                    if wanted in (entry / "environ").read_bytes().split(b"\0"):
                        found.append(int(entry.name))
                except OSError:
                    continue  # it ended meanwhile
        return found

    def assert_no_task_runs(self) -> None:
        """No process of an attempt is left; those that were just killed may take a moment to go."""
        wait_until(lambda: not self.marked(), "the end of all processes of attempts", 5)

    def close(self) -> None:
        """End everything, by process id; fail when a task outlived its script or anything its server."""
        for script in self.scripts:
            if script.process.poll() is None:
                script.kill()
                script.process.wait(10)
        try:
            wait_until(lambda: not self.marked(), "the end of all tasks after their scripts", 10)
            local_server.stop(self.files)
            wait_until(lambda: not self.processes(), "the end of all processes of the test", 10)
        finally:
            for pid in self.processes():
                os.kill(pid, signal.SIGKILL)

    def check(self) -> None:
        """What must be true after every test: the history is legal, and no process of an attempt is left."""
        self.assert_no_task_runs()
        if self.has_database():
            assert_history(self.uri)


def new_place(root: Path, database: Path | None = None) -> Iterator[Place]:
    """A place that is checked and closed after the test; the body of a fixture.

    Args:
        root: an empty directory.
        database: an empty database to begin with; by default the first server makes one.
    """
    place = Place(root)
    if database is not None:
        place.directory.mkdir(mode=0o700)
        shutil.copy(database, place.files.database)
    try:
        yield place
        place.check()
    finally:
        place.close()
