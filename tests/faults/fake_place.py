"""Whole workflows on a fake Slurm: control script, server and wrappers are real processes."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jobmon.testing.fake_slurm import FakeSlurm, Settings
from processes import Place, Script, wait_until

HASTY_FLOW = Path(__file__).with_name("hasty_flow.py")
HASTE: Mapping[str, float] = {
    "jobmon.distributor.submitting.BUSY_SECONDS": 0.5,
    "jobmon.distributor.batch.LONGEST_RETRY_SECONDS": 1,
    "jobmon.distributor.watch.UNTOLD_SECONDS": 6,
    "jobmon.plugins.slurm.distributor.SETTLING_SECONDS": 3,
    "jobmon.plugins.slurm.ends.ACCOUNTING_LAG_SECONDS": 2,
    "jobmon.plugins.slurm.ends.UNRECORDED_SECONDS": 5,
    "jobmon.plugins.slurm.limits.FULL_COUNT_SECONDS": 0.5,
}
"""What would take a test minutes to wait for."""
QUICK: Mapping[str, object] = {
    "distributor__poll_interval": 1,
    "distributor__steady_poll_interval": 1.5,
    "heartbeat__task_instance_interval": 3,
    "worker_node__report_wait_seconds": 2,
    "worker_node__start_wait_seconds": 2,
}
"""Settings that have everybody notice soon."""
ASKED: Mapping[str, Any] = {"queue": "short", "cores": 1, "memory": "64M", "runtime": "5m"}
KILLS_ITS_WRAPPER = "{ [ -e once ] || { touch once; sleep 1.5; kill -9 $PPID; sleep 600; }; }"
"""What a command does that dies without a word, not at once, the first time it runs."""


class FakePlace(Place):
    """A directory of its own for a local server, scripts, tasks and logs; tasks run on a fake Slurm.

    Args:
        root: an empty directory.
        slurm: the cluster, as ``slurm``.
        settings: configuration as environment variables, without the prefix.
    """

    def __init__(self, root: Path, slurm: FakeSlurm, **settings: object) -> None:
        self.slurm, self.shared = slurm, root / "shared"
        super().__init__(root, distributor__shared_directory=self.shared, **{**QUICK, **settings})
        self.environment["PATH"] = f"{slurm.bin}{os.pathsep}{self.environment['PATH']}"
        self.haste = dict(HASTE)

    def start_flow(self, tasks: Sequence[Mapping[str, Any]], **spec: Any) -> Script:
        """Start a script that runs these tasks on the fake; see ``tests/flow.py`` for what may be said of them."""
        workflow = {
            "default_cluster_name": "slurm",
            "default_compute_resources_set": {"slurm": dict(ASKED)},
            **spec.pop("workflow", {}),
        }
        path = self.root / f"flow.{len(self.scripts)}.json"
        path.write_text(json.dumps({"tasks": list(tasks), "workflow": workflow, **spec}))
        self.environment["HASTE"] = json.dumps(self.haste)
        return self.start([sys.executable, HASTY_FLOW, path])

    def gated(self, names: Sequence[str], **more: object) -> list[dict[str, Any]]:
        """A task for each name; all wait for the gate ``go``."""
        return [self.task(name, gate="go", **more) for name in names]

    def wait_running(self, names: Sequence[str]) -> None:
        """Wait until tasks run and the server knows it."""
        self.wait_started(*names)
        for name in names:
            self.wait_task(name, "R")

    def ends(self, names: Sequence[str]) -> list[int]:
        """How often the command of each task came to its end."""
        paths = [self.work / f"ended.{name}" for name in names]
        return [len(path.read_text().splitlines()) if path.exists() else 0 for path in paths]

    def job_of(self, name: str) -> str:
        """Id on the cluster of the latest attempt of a task."""
        return str(
            self.scalar(
                "SELECT i.distributor_id FROM task_instance i JOIN task t ON t.id = i.task_id WHERE t.name = ? "
                "ORDER BY i.id DESC",
                name,
            )
        )

    def condition(self) -> str:
        """What the controller of the latest run says of its clusters."""
        return str(self.scalar("SELECT cluster_conditions FROM workflow_run ORDER BY id DESC") or "")

    def wait_calls(self, command: str, more: int = 1) -> None:
        """Wait until a command of the cluster was called so many more times."""
        before = self.slurm.calls.count[command]
        wait_until(lambda: self.slurm.calls.count[command] >= before + more, f"{more} more {command}")

    def waits_or_runs(self) -> list[str]:
        """Ids of jobs that the cluster has and that have not ended."""
        return [job.shown_id for job in self.slurm.jobs() if job.is_active or job.state == "PENDING"]

    def check(self) -> None:
        """What must be true after every test: the history is legal, and nothing is left, here or on the cluster."""
        wait_until(lambda: not self.waits_or_runs(), "the end of all jobs")
        super().check()


def new_fake_place(
    root: Path, database: Path, settings: Settings | None = None, **configured: object
) -> Iterator[FakePlace]:
    """A place that is checked and closed after the test; the body of a fixture.

    Args:
        root: an empty directory.
        database: an empty database to begin with.
        settings: the configuration of the cluster.
        configured: configuration as environment variables, without the prefix.
    """
    root.mkdir()
    with FakeSlurm(root / "slurm", settings or Settings(kill_wait_seconds=0.3)) as slurm:
        place = FakePlace(root, slurm, **configured)
        place.directory.mkdir(mode=0o700)
        shutil.copy(database, place.files.database)
        try:
            yield place
            slurm.recover()
            place.check()
        finally:
            for script in place.scripts:
                if script.process.poll() is None:
                    script.kill()
                    script.process.wait(10)
            slurm.cluster.stop()
            place.close()
