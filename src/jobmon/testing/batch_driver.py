"""A batch cluster driven by a test, in place of a controller; see :mod:`jobmon.testing.batch_conformance`."""

from __future__ import annotations

import itertools
import os
import signal
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jobmon.core.batch_cluster import BatchJob, JobLook, RemoteEnd
from jobmon.core.cluster_protocol import ClusterDistributor
from jobmon.testing.conformance import processes_with, wait_until

MARK = "JOBMON_CONFORMANCE"
"""Environment variable that marks the processes of the steps of one test."""
FIRST_INSTANCE = 5000

_WRAPPER = """#!/bin/sh
# Stands in for the wrapper: finds out which step it is, and runs that step's command.
step= id=
for word; do
    case $previous in
        --step) step=$word ;;
        --distributor-id) id=$word ;;
        --task_instance_id) step=$((word - {first_instance})) ;;
        --batch_file) batch=$word ;;
    esac
    previous=$word
done
here=${{batch:-$1}}
: "${{step:={array_step}}}"
printf '%s\\0' "$@" > "$here/words.$step"
echo "$id" >> "$here/started.$step"
pwd -P > "$here/directory.$step"
cd "$(cat "$here/working_dir")" || exit 97
{mark}=$(cat "$here/mark")/$step
export {mark}
exec /bin/sh "$here/command.$step"
"""


@dataclass(frozen=True)
class BatchTraits:
    """What a batch cluster can do beyond the least; the tests of what it cannot are skipped.

    Attributes:
        tells_running: a look tells what waits from what runs.
        finds_batches: ``find_batch`` finds what was submitted.
        checks_names: ``cancel`` leaves jobs alone that bear another name than the one given.
        limits_running: ``BatchJob.max_running`` and ``throttle`` are obeyed.
        keeps_environment: jobs get the environment of who submits them.
        impossible: resources it refuses to take at all; empty: it takes everything.
        unknown_id: an id that no job has.
        array_step: shell expression for the step from 0, within a job array whose command bears no step.
        wait_seconds: longest time any change takes to be seen.
    """

    tells_running: bool = True
    finds_batches: bool = True
    checks_names: bool = True
    limits_running: bool = True
    keeps_environment: bool = True
    impossible: Mapping[str, Any] = field(default_factory=dict)
    unknown_id: str = "99999999_1"
    array_step: str = "0"
    wait_seconds: float = 60.0


class BatchCluster:
    """Drives a batch cluster in place of a controller.

    Args:
        distributor: drives the cluster; not started yet.
        directory: shared with the compute nodes; it exists.
        resources: what each job asks for.
        traits: what the cluster can do.
    """

    def __init__(
        self,
        distributor: ClusterDistributor,
        directory: Path,
        resources: Mapping[str, Any],
        traits: BatchTraits,
    ) -> None:
        self.distributor, self.directory, self.traits = distributor, directory, traits
        self._resources = {"working_dir": str(directory), **resources}
        self._numbers = itertools.count(1)
        self._key = uuid.uuid4().hex[:8]
        self._script = directory / "bin" / "worker_node_entry_point"
        self._script.parent.mkdir()
        self._script.write_text(
            _WRAPPER.format(first_instance=FIRST_INSTANCE, array_step=traits.array_step, mark=MARK)
        )
        self._script.chmod(0o755)
        self._submitted: dict[str, tuple[BatchJob, int]] = {}
        self._marks: list[str] = []

    @property
    def script(self) -> Path:
        """The executable that stands in for the wrapper."""
        return self._script

    # -- batches --------------------------------------------------------------------------------------
    def job(
        self,
        *commands: str,
        name: str = "",
        words: Sequence[str] = (),
        directory: str = "",
        max_running: int = 0,
        **resources: Any,
    ) -> BatchJob:
        """A batch with a step for each shell command; ``words`` are added to those of the wrapper."""
        number = next(self._numbers)
        mark = f"{self._key}.{number}"
        place = self.directory / (directory or f"batch{number}")
        place.mkdir()
        (place / "mark").write_text(mark)
        (place / "working_dir").write_text(str({**self._resources, **resources}["working_dir"]))
        self._marks.append(mark)
        for step, command in enumerate(commands):
            (place / f"command.{step}").write_text(command + "\n")
        return BatchJob(
            name=name or f"conformance-{self._key}-{number}",
            array_id=number,
            batch_num=1,
            task_instance_ids=tuple(FIRST_INSTANCE + step for step in range(len(commands))),
            batch_file=place,
            wrapper=("/bin/sh", str(self._script), str(place), *words),
            requested_resources={**self._resources, **resources},
            log_directory=self.directory,
            max_running=max_running,
        )

    def submit(self, job: BatchJob) -> dict[int, str]:
        """Submit a batch; the id of each step."""
        ids = self.distributor.submit_batch(job)
        self.remember(job, ids)
        return ids

    def remember(self, job: BatchJob, ids: Mapping[int, str]) -> None:
        """The job of each step is to be gone at the end."""
        self._submitted |= {job_id: (job, step) for step, job_id in ids.items()}

    def run(self, *commands: str, **keywords: Any) -> tuple[BatchJob, list[str]]:
        """Submit a batch of commands; the ids of the steps in order."""
        job = self.job(*commands, **keywords)
        ids = self.submit(job)
        return job, [ids[step] for step in range(job.num_steps)]

    # -- what became of them ----------------------------------------------------------------------------
    def wait_running(self, *ids: str) -> dict[str, JobLook]:
        """Wait until all of these jobs run."""

        def running() -> dict[str, JobLook]:
            looks = self.distributor.look(ids)
            return (
                looks if all(job_id in looks and self._runs(job_id, looks[job_id]) for job_id in ids) else {}
            )

        return wait_until(running, f"jobs {ids} to run", self.traits.wait_seconds)

    def _runs(self, job_id: str, look: JobLook) -> bool:
        if self.traits.tells_running:
            return look.is_running
        job, step = self._submitted[job_id]
        return (job.batch_file / f"directory.{step}").exists()

    def wait_gone(self, *ids: str) -> None:
        """Wait until none of these jobs is listed any more."""
        wait_until(lambda: not self.distributor.look(ids), f"the end of jobs {ids}", self.traits.wait_seconds)

    def wait_ends(self, *ids: str) -> list[RemoteEnd]:
        """Wait until the cluster tells how each of these jobs ended."""

        def ends() -> dict[str, RemoteEnd]:
            found = self.distributor.ends(ids)
            return found if set(found) == set(ids) else {}

        found = wait_until(ends, f"word of the ends of {ids}", self.traits.wait_seconds)
        return [found[job_id] for job_id in ids]

    def wait_file(self, path: Path) -> str:
        """Wait until a step has written a line; the text without its end."""
        wait_until(
            lambda: path.exists() and path.read_text().endswith("\n"),
            f"the file {path}",
            self.traits.wait_seconds,
        )
        return path.read_text().rstrip("\n")

    def processes(self, job: BatchJob, *steps: int) -> list[int]:
        """Processes of steps of a batch, of all of them by default."""
        mark = (job.batch_file / "mark").read_text()
        return processes_with({f"{MARK}={mark}/{step}".encode() for step in steps or range(job.num_steps)})

    def wait_no_processes(self, job: BatchJob, *steps: int) -> None:
        """Wait until no process of these steps is left."""
        wait_until(
            lambda: not self.processes(job, *steps), f"the end of {job.name}", self.traits.wait_seconds
        )

    def clean_up(self) -> None:
        """End everything that was submitted."""
        try:
            if self._submitted:
                self.distributor.cancel({job_id: job.name for job_id, (job, _) in self._submitted.items()})
                self.wait_gone(*self._submitted)
            self.distributor.stop()
        finally:
            marks = {f"{MARK}={mark}/{step}".encode() for mark in self._marks for step in range(20)}
            for pid in processes_with(marks):
                os.kill(pid, signal.SIGKILL)
