"""What slurmrestd is told and what it answers about jobs in its queue, as JSON of any version of its interface. Pure.

v0.0.38 (Slurm 22.05) tells numbers as numbers and a state as a word; later versions tell
``{"set": true, "infinite": false, "number": 5}`` and ``["RUNNING"]``. The readers take both, whatever the version says.

What is known of v0.0.38: exit codes are raw wait statuses; lists of elements that have not started are cut after 64
characters, even within a number; answers with status 200 may hold errors, and errors without a number are none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from jobmon.core.resources import BYTES_OF_UNIT
from jobmon.plugins.slurm.amounts import exit_of, expand
from jobmon.plugins.slurm.connection import ListedJob, RecentJob
from jobmon.plugins.slurm.listing import ENDED_STATES, log_path

_MIB = BYTES_OF_UNIT["M"]
_CUT = "..."
_NOTHING = ("", "None", "N/A", "(null)")
_SENSELESS = 2**62
"""Slurm's signs for "no value" and "no end" are larger numbers than this, or 32 bits of ones."""
_SENSELESS_32 = frozenset({2**32 - 1, 2**32 - 2})

A = TypeVar("A", bound="Answer")


class RestError(Struct):
    """One error in an answer. Its number stands under another name in each part of slurmrestd."""

    error: str | None = None
    description: str | None = None
    error_number: int | None = None
    error_code: int | None = None
    errno: int | None = None

    @property
    def number(self) -> int:
        """Slurm's number of the error; 0: none, which is no error."""
        return self.error_number or self.error_code or self.errno or 0


class Answer(Struct):
    """What every answer has."""

    errors: list[RestError] | None = None

    @property
    def numbers(self) -> frozenset[int]:
        """Numbers of its errors."""
        return frozenset(error.number for error in self.errors or () if error.number)


class JobRow(Struct):
    """A job as the controller tells of it; for the elements of an array that have not started there is one row."""

    job_id: Any = None
    array_job_id: Any = None
    array_task_id: Any = None
    array_task_string: str | None = None
    name: str | None = None
    user_name: str | None = None
    qos: str | None = None
    job_state: Any = None
    state_reason: str | None = None
    nodes: str | None = None
    restart_cnt: Any = None
    exit_code: Any = None
    start_time: Any = None
    end_time: Any = None
    time_limit: Any = None
    memory_per_node: Any = None
    memory_per_cpu: Any = None
    minimum_cpus_per_node: Any = None
    standard_output: str | None = None
    standard_error: str | None = None

    @property
    def array(self) -> str:
        """Id of its array, or of itself where it is none."""
        return str(number_of(self.array_job_id) or number_of(self.job_id) or "")

    @property
    def index(self) -> int | None:
        """Its index in the array."""
        return number_of(self.array_task_id) if number_of(self.array_job_id) else None

    @property
    def state(self) -> str:
        """Slurm's word."""
        return word_of(self.job_state)


class JobsAnswer(Answer):
    """Jobs of the controller."""

    jobs: list[JobRow] | None = None


class SubmitAnswer(Answer):
    """The answer to a submission."""

    job_id: Any = None


def read(content: bytes, kind: type[A]) -> A:
    """An answer of a kind.

    Raises:
        ValueError: it is none; the message holds its beginning.
    """
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(f"{error}: {content[:200].decode(errors='replace')!r}") from None


def words_of(errors: Iterable[RestError] | None) -> str:
    """What errors say, each once, a line each."""
    said: list[str] = []
    for error in errors or ():
        for text in (error.error, error.description):
            if text and text not in said:
                said.append(text)
    return "\n".join(said)


# -- values in any version ---------------------------------------------------------------------------
def number_of(value: Any) -> int | None:
    """A number, plain or with ``set`` and ``infinite`` beside it; ``None``: not set, without end, or none at all."""
    if isinstance(value, Mapping):
        if not value.get("set", True) or value.get("infinite"):
            return None
        value = value.get("number")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if 0 <= value < _SENSELESS and value not in _SENSELESS_32 else None


def word_of(state: Any) -> str:
    """A state, told as a word or as a list of the state with its flags; cleaning up comes before what it was."""
    if isinstance(state, str):
        return state
    words = [word for word in state if isinstance(word, str)] if isinstance(state, Sequence) else []
    flags = [word for word in words if word not in ENDED_STATES and word not in ("PENDING", "RUNNING")]
    return next(iter(flags or words), "")


def exit_halves(value: Any) -> tuple[int | None, int | None]:
    """Exit code and signal of a raw wait status, or of an object with ``return_code`` and ``signal``."""
    if not isinstance(value, Mapping) or "return_code" not in value:
        status = number_of(value)
        return (None, None) if status is None else exit_of(str(status))
    signal = value.get("signal")
    number = number_of(signal.get("id", signal.get("signal_id"))) if isinstance(signal, Mapping) else None
    code = number_of(value["return_code"])
    if number and (code is None or code == number):  # a signal is told as the code, too
        code = 0
    return code, number or 0


def told(text: str | None) -> str:
    """A word, or nothing where Slurm says that there is none."""
    return "" if text is None or text in _NOTHING else text


# -- jobs of the controller --------------------------------------------------------------------------
def listed_jobs(rows: Iterable[JobRow]) -> list[ListedJob]:
    """Rows of the queue; those of jobs that have ended are left out.

    Raises:
        ValueError: a row is not one that is understood.
    """
    found = []
    for row in rows:
        _check(row)
        state = row.state
        if state not in ENDED_STATES:
            found.append(
                ListedJob(
                    job_id=row.array,
                    indices=waiting_indices(row) if row.index is None else (row.index,),
                    name=row.name or "",
                    state=state,
                    reason=told(row.state_reason),
                    nodes=told(row.nodes),
                    restarts=number_of(row.restart_cnt) or 0,
                )
            )
    return found


def waiting_indices(row: JobRow) -> tuple[int, ...]:
    """Elements of a row of those that have not started, as far as the row names them (see :func:`is_cut`).

    Raises:
        ValueError: it is no list of elements.
    """
    text = row.array_task_string or ""
    if is_cut(row):
        text = text.partition(_CUT)[0].rpartition(",")[0]  # the last number may have lost its end
    text = text.partition("%")[0].strip("[]")
    return expand(text) if text else ()


def is_cut(row: JobRow) -> bool:
    """Whether the list of elements in a row was cut short."""
    return row.index is None and _CUT in (row.array_task_string or "")


def completed_row(row: JobRow, rows: Iterable[JobRow], elements: Iterable[int]) -> JobRow:
    """A row that was cut short, with all its elements.

    Args:
        row: the row.
        rows: all rows of its array.
        elements: elements of the array which, by another source, may belong to it.
    """
    named = waiting_indices(row)
    own = {other.index for other in rows if other.array == row.array}
    last = max(named, default=0)
    rest = sorted({index for index in elements if index > last and index not in own})
    return msgspec.structs.replace(row, array_task_string=",".join(map(str, (*named, *rest))))


def recent_jobs(rows: Iterable[JobRow]) -> list[RecentJob]:
    """What the controller remembers of jobs in any state, an element each.

    Raises:
        ValueError: a row is not one that is understood.
    """
    found = []
    for row in rows:
        _check(row)
        code, signal = exit_halves(row.exit_code)
        minutes, state = number_of(row.time_limit), row.state
        has_ended = state in ENDED_STATES
        job = RecentJob(
            job_id=row.array,
            index=row.index,
            name=row.name or "",
            state=state,
            exit_code=code,
            signal=signal,
            nodes=told(row.nodes),
            wallclock=_seconds_run(row) if has_ended else None,
            time_limit=None if minutes is None else minutes * 60.0,
            memory_asked=memory_asked(row.memory_per_node, row.memory_per_cpu, row.minimum_cpus_per_node),
            reason=told(row.state_reason),
            restarts=number_of(row.restart_cnt) or 0,
        )
        pattern = row.standard_error or row.standard_output or ""
        for index in (job.index,) if job.index is not None else waiting_indices(row) or (None,):
            log = log_path(pattern, job.job_id, index, job.name)
            found.append(replace(job, index=index, log=log))
    return found


def _check(row: JobRow) -> None:
    if not row.array or not row.state:
        raise ValueError("a job has no id or no state")


def _seconds_run(row: JobRow) -> float | None:
    start, end = number_of(row.start_time), number_of(row.end_time)
    return float(end - start) if start and end and end >= start else None


def memory_asked(per_node: Any, per_cpu: Any, cpus: Any) -> int | None:
    """Bytes asked for on a node, of MiB."""
    if mib := number_of(per_node):
        return mib * _MIB
    each = number_of(per_cpu)
    return each * (number_of(cpus) or 1) * _MIB if each else None
