"""A connection to a cluster that remembers what it is told to, and a clock that stands still."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jobmon.plugins.slurm.connection import (
    AccountedJob,
    Facts,
    ListedJob,
    RecentJob,
    Submission,
    SubmitLimit,
)


class Cluster:
    """Says what it is told to; an exception in place of an answer is raised."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {
            "listing": [],
            "accounting": [],
            "recent": [],
            "find": None,
            "submit": "7",
            "count_jobs": 0,
            "submit_limit": SubmitLimit(),
            "config": {"MaxArraySize": "1001", "MaxJobCount": "5000"},
            "nodes": [],
            "partitions": [],
        }
        self.asked: list[tuple[Any, ...]] = []

    def _answer(self, name: str, *arguments: Any) -> Any:
        self.asked.append((name, *arguments))
        answer = self.answers.get(name)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def submit(self, submission: Submission) -> str:
        return str(self._answer("submit", submission))

    def find(self, name: str) -> str | None:
        found: str | None = self._answer("find", name)
        return found

    def listing(self, job_ids: Sequence[str]) -> list[ListedJob]:
        return list(self._answer("listing", *job_ids))

    def accounting(self, ids: Sequence[str]) -> list[AccountedJob]:
        arrays = {each for each in ids if "_" not in each}
        jobs = self._answer("accounting", *ids)
        return [job for job in jobs if job.job_id in arrays or f"{job.job_id}_{job.index}" in ids]

    def recent(self, job_ids: Sequence[str]) -> list[RecentJob]:
        return list(self._answer("recent", *job_ids))

    def cancel(self, ids: Sequence[str]) -> None:
        self._answer("cancel", *ids)

    def throttle(self, job_id: str, max_running: int) -> None:
        self._answer("throttle", job_id, max_running)

    def hold(self, job_id: str) -> None:
        self._answer("hold", job_id)

    def release(self, job_id: str) -> None:
        self._answer("release", job_id)

    def count_jobs(self) -> int:
        return int(self._answer("count_jobs"))

    def submit_limit(self) -> SubmitLimit:
        limit: SubmitLimit = self._answer("submit_limit")
        return limit

    def partitions(self) -> list[Facts]:
        return list(self._answer("partitions"))

    def nodes(self) -> list[Facts]:
        return list(self._answer("nodes"))

    def config(self) -> Facts:
        return dict(self._answer("config"))


class Clock:
    """Seconds that pass when they are told to."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def accounted(index: int = 1, state: str = "COMPLETED", **values: Any) -> AccountedJob:
    """An element of array 7 as the accounting tells of it."""
    return AccountedJob("7", index, state=state, **{"exit_code": 0, "signal": 0, **values})


def recent(index: int = 1, state: str = "COMPLETED", **values: Any) -> RecentJob:
    """The same as the controller tells of it."""
    return RecentJob("7", index, state=state, **{"exit_code": 0, "signal": 0, **values})
