"""What slurmrestd answers about jobs in the accounting, as JSON of any version of its interface. Pure.

The accounting over v0.0.38 (Slurm 22.05) has lost the code of every job that failed with one: it tells a success with
code 0. Such codes count as not known, and are taken from the controller while it remembers them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from msgspec import Struct

from jobmon.plugins.slurm.accounting import UNTOLD_NAME
from jobmon.plugins.slurm.amounts import expand
from jobmon.plugins.slurm.connection import AccountedJob, RecentJob
from jobmon.plugins.slurm.rest_messages import Answer, exit_halves, memory_asked, number_of, told, word_of

SHELL_CODES = 128
"""The accounting tells exit codes of this and more less this, by whatever way it is asked."""


class AccountedRow(Struct):
    """A job as the accounting tells of it."""

    job_id: Any = None
    name: str | None = None
    partition: str | None = None
    user: str | None = None
    array: dict[str, Any] | None = None
    state: dict[str, Any] | None = None
    exit_code: Any = None
    time: dict[str, Any] | None = None
    nodes: str | None = None
    required: dict[str, Any] | None = None
    allocation_nodes: Any = None
    kill_request_user: str | None = None
    restart_cnt: Any = None
    steps: list[dict[str, Any]] | None = None

    @property
    def array_id(self) -> str:
        """Id of its array, or of itself where it is none."""
        return str(number_of((self.array or {}).get("job_id")) or number_of(self.job_id) or "")

    @property
    def index(self) -> int | None:
        """Its index in the array."""
        array = self.array or {}
        return number_of(array.get("task_id")) if number_of(array.get("job_id")) else None

    @property
    def state_word(self) -> str:
        """Slurm's word for its state."""
        return word_of((self.state or {}).get("current"))

    def waiting(self) -> tuple[int, ...]:
        """Elements of an array that have no row of their own.

        Raises:
            ValueError: they cannot be read.
        """
        return waiting_elements((self.array or {}).get("task"))


class AccountedAnswer(Answer):
    """Jobs of the accounting."""

    jobs: list[AccountedRow] | None = None


def accounted_jobs(rows: Iterable[AccountedRow]) -> list[AccountedJob]:
    """The last run of each element whose story is told in whole; of codes that were lost, nothing is said.

    Raises:
        ValueError: a row is not one that is understood.
    """
    runs: dict[tuple[str, int | None], list[tuple[tuple[int, int], AccountedRow]]] = {}
    for position, row in enumerate(rows):
        submitted = _seconds(row.time, "submission") or 0
        for element in (row.index,) if row.index is not None else row.waiting() or (None,):
            runs.setdefault((row.array_id, element), []).append(((submitted, position), row))
    found = []
    for (job_id, index), its_runs in runs.items():
        its_runs.sort(key=lambda run: run[0])
        started = [row for _, row in its_runs if row.state_word != "PENDING"] or [row for _, row in its_runs]
        if all(_is_whole(row) for row in started):
            restarts = max(len(started) - 1, number_of(started[-1].restart_cnt) or 0)
            found.append(_accounted(job_id, index, started[-1], restarts))
    return found


def waiting_elements(text: Any) -> tuple[int, ...]:
    """Elements of an array that have no row of their own: a mask such as ``0x288``, or a list such as ``3,7-9%2``.

    Raises:
        ValueError: it is neither.
    """
    if not isinstance(text, str) or not text:
        return ()
    if re.fullmatch(r"0[xX][0-9a-fA-F]+", text):
        mask = int(text, 16)
        return tuple(bit for bit in range(mask.bit_length()) if mask >> bit & 1)
    return expand(text.partition("%")[0].strip("[]"))


def _is_whole(row: AccountedRow) -> bool:
    return bool(row.partition) and row.name != UNTOLD_NAME


def _accounted(job_id: str, index: int | None, row: AccountedRow, restarts: int) -> AccountedJob:
    state = row.state_word
    code, signal = accounted_halves(state, row.exit_code)
    minutes = number_of((row.time or {}).get("limit"))
    required = row.required or {}
    per_node = required.get("memory_per_node", required.get("memory"))
    steps = row.steps or []
    return AccountedJob(
        job_id=job_id,
        index=index,
        name=row.name or "",
        state=state,
        exit_code=code,
        signal=signal,
        nodes="" if row.nodes == "None assigned" else told(row.nodes),
        wallclock=_seconds(row.time, "elapsed"),
        time_limit=None if minutes is None else minutes * 60.0,
        memory_asked=memory_asked(per_node, required.get("memory_per_cpu"), required.get("CPUs")),
        reason=told((row.state or {}).get("reason")),
        cancelled_by=row.kill_request_user or "" if state == "CANCELLED" else "",
        restarts=restarts,
        maxrss=max((amount for step in steps for amount in _memory_of_step(step)), default=None),
        cpu=_cpu_seconds([step.get("time") for step in steps]) or _cpu_seconds([row.time]),
        energy=sum(_energy_of_step(step) for step in steps) or None,
    )


def accounted_halves(state: str, value: Any) -> tuple[int | None, int | None]:
    """Exit code and signal as the accounting tells them; nothing where it has lost them."""
    code, signal = exit_halves(value)
    if not code and not signal:
        return (None, None) if state == "FAILED" else (0, 0)
    return (code - SHELL_CODES if code and code >= SHELL_CODES else code), signal


def with_codes(jobs: Iterable[AccountedJob], recent: Iterable[RecentJob]) -> list[AccountedJob]:
    """The jobs, with those codes that the accounting has lost, as the controller remembers them."""
    known = {(job.job_id, job.index): job for job in recent if job.state == "FAILED"}
    found = []
    for job in jobs:
        same = known.get((job.job_id, job.index))
        if job.exit_code is None and same is not None and same.exit_code is not None:
            code = same.exit_code
            less = code - SHELL_CODES if code >= SHELL_CODES else code
            job = replace(job, exit_code=less, signal=same.signal, reason=same.reason or job.reason)
        found.append(job)
    return found


def has_lost_code(job: AccountedJob) -> bool:
    """Whether the job has ended with a code or a signal that the accounting does not tell."""
    return job.state == "FAILED" and job.exit_code is None


def _seconds(times: Mapping[str, Any] | None, name: str) -> int | None:
    return number_of((times or {}).get(name))


def _cpu_seconds(times: Iterable[Mapping[str, Any] | None]) -> float | None:
    totals = [(time or {}).get("total") or {} for time in times]
    return sum(
        (number_of(total.get("seconds")) or 0) + (number_of(total.get("microseconds")) or 0) / 1_000_000
        for total in totals
    )


def _memory_of_step(step: Mapping[str, Any]) -> Iterable[int]:
    """Most memory in bytes of the tasks of a step."""
    most = ((step.get("tres") or {}).get("requested") or {}).get("max") or ()
    return (amount for tres in most if tres.get("type") == "mem" and (amount := number_of(tres.get("count"))))


def _energy_of_step(step: Mapping[str, Any]) -> int:
    return number_of(((step.get("statistics") or {}).get("energy") or {}).get("consumed")) or 0
