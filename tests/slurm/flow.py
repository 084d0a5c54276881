"""Workflows of the tests on the real Slurm: each a control script in a process of its own, with a server of its own."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import lab

from jobmon.core.states import TaskStatus
from processes import Place, Script

SMALL: Mapping[str, Any] = {"queue": "short", "cores": 1, "memory": "64M", "runtime": "5m"}
"""What tasks ask for that do not say."""
QUICK: Mapping[str, Any] = {
    "distributor__poll_interval": 1,
    "distributor__steady_poll_interval": 2,
    "heartbeat__task_instance_interval": 3,
    "worker_node__report_wait_seconds": 2,
    "worker_node__start_wait_seconds": 2,
}
"""Settings that have everybody notice soon that something is wrong."""
LOGGED_COMMANDS = ("sbatch", "squeue", "sacct", "scancel", "scontrol")
SHIM = """\
#!/bin/sh
echo {name} >> {log}
exec {program} "$@"
"""


class SlurmPlace(Place):
    """A directory of its own for a local server, scripts, tasks and logs; tasks run on the real Slurm.

    The home directory, the database and the directory shared with the nodes are below it, and so are the working
    directories of its jobs, by which they are told from others'.

    Args:
        root: an empty directory.
        prefix: what the names of its workflows and templates begin with.
        settings: configuration as environment variables, without the prefix.
    """

    def __init__(self, root: Path, prefix: str, **settings: object) -> None:
        self.shared = root / "shared"
        configured = {
            "distributor__shared_directory": self.shared,
            "distributor__poll_interval": 2,
            "distributor__steady_poll_interval": 5,
        }
        super().__init__(root, **configured | settings)
        self.prefix = prefix
        self.bin = root / "bin"
        self.bin.mkdir()
        self.environment["PATH"] = f"{self.bin}{os.pathsep}{self.environment['PATH']}"
        self._log = root / "commands"
        for name in LOGGED_COMMANDS:
            program = shutil.which(name)
            assert program is not None, f"{name} is not installed"
            self.shim(name, SHIM.format(name=name, log=self._log, program=program))

    def shim(self, name: str, script: str) -> None:
        """Put a program in front of all others of its name."""
        path = self.bin / name
        path.write_text(script)
        path.chmod(0o755)

    def num_commands(self, name: str) -> int:
        """How often a command of Slurm was called from here."""
        return self._log.read_text().split().count(name) if self._log.exists() else 0

    # -- workflows ------------------------------------------------------------------------------------
    def start_flow(self, tasks: Sequence[Mapping[str, Any]], **spec: Any) -> Script:
        """Start a script that runs these tasks on Slurm; see ``tests/flow.py`` for what may be said of them.

        ``asked`` is what all tasks ask for that do not say.
        """
        asked = {**SMALL, **spec.pop("asked", {})}
        workflow = {
            "name": self.prefix,
            "default_cluster_name": "slurm",
            "default_compute_resources_set": {"slurm": asked},
            **spec.pop("workflow", {}),
        }
        named = [{"template": f"{self.prefix}-step", **task} for task in tasks]
        return super().start_flow(named, workflow=workflow, **spec)

    def gated(self, names: str, **more: Any) -> list[dict[str, Any]]:
        """A task for each letter; all wait for the gate ``go``."""
        return [self.task(name, gate="go", **more) for name in names]

    def wait_running(self, names: str) -> None:
        """Wait until the tasks with these letters run and the server knows it."""
        self.wait_started(*names)
        for name in names:
            self.wait_task(name, TaskStatus.RUNNING)

    def num_ends(self, names: str) -> list[int]:
        """How often the commands of the tasks with these letters came to their end."""
        paths = [self.work / f"ended.{name}" for name in names]
        return [len(path.read_text().splitlines()) if path.exists() else 0 for path in paths]

    def all_attempts(self, names: str) -> list[str]:
        """Status letters of the attempts of each of the tasks with these letters."""
        return [self.attempts(name) for name in names]

    def of_attempts(self, name: str, column: str) -> list[Any]:
        """A column of the attempts of a task, oldest first."""
        rows = self.sql(
            f"SELECT i.{column} FROM task_instance i JOIN task t ON t.id = i.task_id WHERE t.name = ? ORDER BY i.id",
            name,
        )
        return [row[0] for row in rows]

    def task_id(self, name: str) -> int:
        """Id of a task."""
        return int(self.scalar("SELECT id FROM task WHERE name = ?", name))

    def conditions(self) -> str:
        """What the controller of the latest run has to say of the cluster, as JSON; empty: nothing."""
        return str(self.scalar("SELECT cluster_conditions FROM workflow_run ORDER BY id DESC") or "")

    def explain(self, name: str) -> str:
        """What ``jobmon task explain`` says of a task."""
        return self.jobmon("task", "explain", self.task_id(name))

    def asked(self, name: str) -> list[tuple[str, str, str, dict[str, Any]]]:
        """Of each attempt of a task: its status, the type of what it asked for, its queue, and that."""
        rows = self.sql(
            "SELECT i.status, r.type, q.name, r.requested_resources FROM task_instance i "
            "JOIN task t ON t.id = i.task_id JOIN task_resources r ON r.id = i.task_resources_id "
            "JOIN queue q ON q.id = r.queue_id WHERE t.name = ? ORDER BY i.id",
            name,
        )
        return [(status, kind, queue, json.loads(text)) for status, kind, queue, text in rows]

    # -- the cluster ----------------------------------------------------------------------------------
    def jobs(self) -> list[lab.Listed]:
        """The jobs of this place that Slurm lists, a row each, or for the part of an array that waits."""
        ids = lab.jobs_of_test(self.prefix, self.root)
        if not ids:
            return []
        rows = lab.run("squeue", "-h", "-j", ",".join(ids), "-o", "%i|%F|%T|%r|%N|%j").splitlines()
        return [lab.Listed(*row.split("|", 5)) for row in rows]

    def wait_job(self) -> lab.Listed:
        """The first job of this place, as soon as Slurm lists one."""
        return lab.wait_for(self.jobs, "a job in the queue")[0]

    def is_held(self) -> bool:
        """Whether elements that wait are held back; where root holds his own, Slurm says that an operator does."""
        return any(job.reason in ("JobHeldUser", "JobHeldAdmin") for job in self.jobs())

    # -- the end --------------------------------------------------------------------------------------
    def check(self) -> None:
        """What must be true after every test: the history is legal, and nothing is left, here or in the queue."""
        lab.wait_for(lambda: not self.jobs(), "the end of all jobs")
        super().check()

    def close(self) -> None:
        """End everything; jobs are cancelled that a failed test left."""
        for script in self.scripts:
            if script.process.poll() is None:
                script.kill()
                script.process.wait(10)
        lab.cancel_all_of_test(self.prefix, self.root)
        super().close()


P = TypeVar("P", bound=SlurmPlace)


def new_slurm_place(root: Path, prefix: str, database: Path, **settings: object) -> Iterator[SlurmPlace]:
    """A place that is checked and closed after the test; the body of a fixture. See :func:`checked`."""
    yield from checked(SlurmPlace(root, prefix, **settings), database)


def checked(place: P, database: Path) -> Iterator[P]:
    """A place that is checked and closed after the test; the body of a fixture.

    Args:
        place: the place.
        database: an empty database to begin with.
    """
    place.directory.mkdir(mode=0o700)
    shutil.copy(database, place.files.database)
    try:
        yield place
        place.check()
    finally:
        place.close()
