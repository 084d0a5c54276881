"""Task ids of job arrays as Slurm writes them: ``1-9:2%4`` in, sets of numbers out, and back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise

_PART = re.compile(r"(\d+)(?:-(\d+)(?::(\d+))?)?")
_JOB_ID = re.compile(r"(\d+)(?:_(?:(\d+)|\[([^\]]*)\]))?")
_STEP_FROM = 10
TEXT_LENGTH = 63
"""Longest expression of task ids that is shown; the rest becomes ``...``."""
SHOWN_ID_LENGTH = 31
"""Longest job id that ``squeue`` and ``sacct`` show where no width is asked for."""


def parse_tasks(text: str) -> tuple[tuple[int, ...], int]:
    """Task ids, ascending, and how many may run at once (0: all).

    Raises:
        ValueError: this is no such expression.
    """
    ids, _, limit = text.partition("%")
    found: set[int] = set()
    for part in ids.split(","):
        match = _PART.fullmatch(part.strip())
        if match is None:
            raise ValueError(text)
        first, last, step = (int(group or 0) for group in match.groups())
        last = last if match[2] else first
        if last < first:
            raise ValueError(text)
        found.update(range(first, last + 1, step or 1))
    return tuple(sorted(found)), int(limit) if limit.isdigit() else 0


def tasks_text(tasks: Sequence[int], limit: int = 0, length: int = TEXT_LENGTH) -> str:
    """The expression of ascending task ids, cut as Slurm cuts it; ``length`` 0 shows all."""
    text = _with_step(tasks) or ",".join(_ranges(tasks))
    if length and len(text) > length:
        text = text[: text.rindex(",", 0, length - 3) + 1] + "..."
    return text + (f"%{limit}" if limit else "")


def _with_step(tasks: Sequence[int]) -> str:
    if len(tasks) < _STEP_FROM:
        return ""
    step = tasks[1] - tasks[0]
    is_even = step > 1 and all(after - before == step for before, after in pairwise(tasks))
    return f"{tasks[0]}-{tasks[-1]}:{step}" if is_even else ""


def _ranges(tasks: Sequence[int]) -> Iterable[str]:
    start = previous = None
    for task in (*tasks, None):
        if previous is not None and start is not None and (task is None or task != previous + 1):
            yield str(start) if start == previous else f"{start}-{previous}"
            start = None
        start = task if start is None else start
        previous = task


def parse_job_id(text: str) -> tuple[int, tuple[int, ...] | None]:
    """``13``, ``13_4`` or ``13_[1-3,7]`` as the job's number and the tasks meant (``None``: all of it).

    Raises:
        ValueError: this is no job id.
    """
    match = _JOB_ID.fullmatch(text.strip())
    if match is None:
        raise ValueError(text)
    tasks = match[2] or match[3]
    return int(match[1]), parse_tasks(tasks)[0] if tasks else None


def split_ids(text: str) -> list[str]:
    """Ids separated by commas, where those inside brackets do not separate."""
    return [part for part in re.split(r",(?![^\[]*\])", text) if part.strip()]
