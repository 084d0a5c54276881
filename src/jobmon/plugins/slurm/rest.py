"""Slurm over its REST API (slurmrestd), from version v0.0.38 of its interface on.

Connection parameters of a cluster with ``connection: rest``::

    url              where slurmrestd listens: http(s)://host:port, or unix:///path of its socket
    user             login name to act for; default: of the person who runs this
    token_file       file that holds a token and is kept up to date by somebody
    token_command    words of a command that prints one; default: scontrol token lifespan=1800; "": none is needed,
                     because slurmrestd knows who is at the other end of its socket
    api_version      such as v0.0.40; default: the newest that both sides know
    command_timeout  seconds an answer, or a command for a token, may take; default 20
    ca_file          certificates that vouch for an https server, other than the system's

    slurm_rest_host      the same as url
    slurmtool_token_host address of a service that answers GET with a token; {user} in it is replaced, without it
                         username=NAME is added

A token in the environment (``SLURM_JWT``) is used, as long as it is good, where neither a file, a command nor a service
is named.

What is asked is kept small, as an answer has some 4 kB for each element: arrays one by one, and elements in the
accounting. The whole of the queue is only looked at to find a batch of which it is not known whether it was submitted, and
to count the user's jobs where there is a limit on them: slurmrestd has no narrower question.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from urllib.parse import quote

import httpx

from jobmon.core.exceptions import ClusterError, ClusterUnreachable
from jobmon.plugins.slurm.amounts import compress, split_id
from jobmon.plugins.slurm.commands import CANCEL_IDS, FIND_SINCE, environment_of_submission
from jobmon.plugins.slurm.connection import (
    AccountedJob,
    Facts,
    ListedJob,
    RecentJob,
    Submission,
    SubmitLimit,
)
from jobmon.plugins.slurm.errors import Occupancy, is_ambiguous, refusal, tidy
from jobmon.plugins.slurm.rest_accounting import (
    AccountedAnswer,
    AccountedRow,
    accounted_jobs,
    has_lost_code,
    with_codes,
)
from jobmon.plugins.slurm.rest_facts import (
    AssociationsAnswer,
    NodesAnswer,
    PartitionsAnswer,
    QualitiesAnswer,
    VersionAnswer,
    node_facts,
    partition_facts,
    submit_limit_of,
    version_facts,
)
from jobmon.plugins.slurm.rest_link import NOT_KNOWN, UNREADABLE_REQUEST, RestLink
from jobmon.plugins.slurm.rest_messages import (
    Answer,
    JobRow,
    JobsAnswer,
    SubmitAnswer,
    completed_row,
    is_cut,
    listed_jobs,
    number_of,
    recent_jobs,
    words_of,
)
from jobmon.plugins.slurm.rest_submission import FIRST_VERSION, submission_body

PARALLEL_REQUESTS = 4
ACCOUNT_IDS = 400
"""Ids named in one question to the accounting: the address must stay short."""
SINGLE_ELEMENTS = 20
"""Up to so many elements of an array are looked up one by one, with more of them the whole array."""
UNKNOWN_STEPS = 100_000
"""Elements an array may have whose size is not known."""

_FINISHED = NOT_KNOWN | {2021, 2084}
"""Slurm's numbers for jobs that have ended."""
_REFUSALS = range(2000, 3000)
_RESOURCE_UNAVAILABLE = 11
_NO_ACCOUNTING = "accounting_storage/none"

_T = TypeVar("_T")


class SlurmRest:
    """slurmrestd. May be used from several threads.

    Args:
        parameters: connection parameters of the cluster, see above.

    Raises:
        ConfigError: a parameter is missing or cannot be meant.
    """

    def __init__(self, **parameters: Any) -> None:
        self._link = RestLink(**parameters)
        self._user = self._link.user
        self._steps: dict[str, int] = {}

    # -- submission -----------------------------------------------------------------------------------
    def submit(self, submission: Submission) -> str:
        """Submit an array; see :meth:`SlurmConnection.submit`."""
        body = submission_body(submission, self._link.version, environment_of_submission(os.environ))
        status, answer = self._link.exchange(
            "POST", self._link.path("job/submit"), SubmitAnswer, body=body, may_repeat=False
        )
        job_id = number_of(answer.job_id)
        if status == httpx.codes.OK and job_id and not answer.numbers:
            self._steps[str(job_id)] = submission.num_steps
            return str(job_id)
        said = words_of(answer.errors)
        is_refused = status == httpx.codes.BAD_REQUEST or any(
            number in _REFUSALS or number == _RESOURCE_UNAVAILABLE for number in answer.numbers
        )
        if not is_refused:
            raise ClusterUnreachable(f"It is not known whether slurmrestd submitted the job: {tidy(said)}")
        raise refusal(said, submission.num_steps, self._occupancy(submission) if is_ambiguous(said) else None)

    def _occupancy(self, submission: Submission) -> Occupancy | None:
        """What is used of the limits that hold for a submission; ``None`` where that cannot be told now."""
        qos, account = (submission.settings.get(name) for name in ("qos", "account"))
        try:
            limit = submit_limit_of(self._associations(), self._qualities(), self._user, account, qos)
            return Occupancy(limit.most, self._count(qos), limit.is_shared)
        except ClusterUnreachable:
            return None

    def find(self, name: str) -> str | None:
        """Id of this user's array of that name; see :meth:`SlurmConnection.find`."""
        # the accounting first: it is asked for the name alone, but hears of a job only after a while
        try:
            if (found := self._find_accounted(name)) is not None:
                return found
            untold = None
        except ClusterUnreachable as error:  # also where it cannot cope with a name
            untold = error
        for job in self._jobs(self._link.path("jobs")):
            if job.name == name and job.user_name in (None, self._user):
                return job.array
        if untold is not None:
            raise untold
        return None

    def _find_accounted(self, name: str) -> str | None:
        query = {"job_name": name, "start_time": FIND_SINCE, "skip_steps": "true"}
        for row in self._accounted(query):
            is_array = row.index is not None or row.waiting()  # otherwise half of the story is missing
            if is_array and row.name == name and row.user in (None, self._user):
                return row.array_id
        return None

    # -- questions ------------------------------------------------------------------------------------
    def listing(self, job_ids: Sequence[str]) -> list[ListedJob]:
        """Rows of these arrays in the queue."""
        return _understood(listed_jobs, self._rows(job_ids))

    def recent(self, job_ids: Sequence[str]) -> list[RecentJob]:
        """What the controller remembers of these arrays."""
        return _understood(recent_jobs, self._rows(job_ids))

    def accounting(self, ids: Sequence[str]) -> list[AccountedJob]:
        """What the accounting knows of these arrays or elements, with exit codes it has lost from the controller."""
        rows: list[AccountedRow] = []
        for first in range(0, len(ids), ACCOUNT_IDS):
            rows += self._accounted({"step": ",".join(ids[first : first + ACCOUNT_IDS])})
        jobs = _understood(accounted_jobs, rows)
        lost: dict[str, list[AccountedJob]] = {}
        for job in jobs:
            if has_lost_code(job):
                lost.setdefault(job.job_id, []).append(job)
        if not lost:
            return jobs
        asked = [
            f"{job_id}_{job.index}" if job.index is not None and len(own) <= SINGLE_ELEMENTS else job_id
            for job_id, own in lost.items()
            for job in own
        ]
        return with_codes(jobs, _understood(recent_jobs, self._rows(asked)))

    def count_jobs(self) -> int:
        """Jobs and elements of this user that wait or run."""
        return self._count(None)

    def _count(self, qos: str | None) -> int:
        """The same of one quality of service; by the controller, as the accounting lists none of those that wait."""
        rows = [row for row in self._jobs(self._link.path("jobs")) if row.user_name == self._user]
        listed = _understood(listed_jobs, self._whole([row for row in rows if qos in (None, row.qos)]))
        return sum(max(1, len(row.indices)) for row in listed)

    def submit_limit(self) -> SubmitLimit:
        """What the accounting allows this user."""
        return submit_limit_of(self._associations(), self._qualities(), self._user)

    def partitions(self) -> list[Facts]:
        """Facts of the partitions."""
        _, answer = self._link.question(self._link.path("partitions"), PartitionsAnswer)
        return [partition_facts(partition) for partition in answer.partitions or ()]

    def nodes(self) -> list[Facts]:
        """Facts of the nodes."""
        _, answer = self._link.question(self._link.path("nodes"), NodesAnswer)
        return [node_facts(node) for node in answer.nodes or ()]

    def config(self) -> Facts:
        """Facts of the cluster: slurmrestd only tells its version, and whether there is an accounting."""
        _, answer = self._link.question(self._link.path("ping"), VersionAnswer)
        status, _ = self._link.exchange("GET", self._link.path("tres", "slurmdb"), Answer)
        has_accounting = status != httpx.codes.NOT_FOUND
        return version_facts(answer) | ({} if has_accounting else {"AccountingStorageType": _NO_ACCOUNTING})

    # -- orders ---------------------------------------------------------------------------------------
    def cancel(self, ids: Sequence[str]) -> None:
        """End arrays or elements, those of an array in one request."""
        self._each(self._cancel, cancel_targets(ids))

    def _cancel(self, target: str) -> None:
        status, answer = self._link.exchange("DELETE", self._link.path(f"job/{quote(target)}"), Answer)
        if status == httpx.codes.BAD_REQUEST and "[" in target and not answer.numbers & _FINISHED:
            job_id, indices = split_id(target)  # this version takes no lists
            self._each(self._cancel, [f"{job_id}_{index}" for index in indices])
            return
        _check_order(f"cancel {target}", status, answer)

    def throttle(self, job_id: str, max_running: int) -> None:
        """Let at most so many elements run at once."""
        self._update(job_id, {"array": str(max_running)})

    def hold(self, job_id: str) -> None:
        """Let no more elements start."""
        self._update(job_id, {"hold": True})

    def release(self, job_id: str) -> None:
        """Let them start again."""
        self._update(job_id, {"hold": False})

    def _update(self, job_id: str, changes: Mapping[str, Any]) -> None:
        status, answer = self._link.exchange(
            "POST", self._link.path(f"job/{quote(job_id)}"), Answer, body=changes
        )
        _check_order(f"change job {job_id}", status, answer)

    # -- pieces of questions --------------------------------------------------------------------------
    def _rows(self, ids: Sequence[str]) -> list[JobRow]:
        """Rows of these arrays or elements, with all elements that have not started."""
        wanted = list(dict.fromkeys(ids))
        arrays = {each.partition("_")[0] for each in wanted}
        answers = self._each(lambda each: self._jobs(self._link.path(f"job/{quote(each)}")), wanted)
        rows = [row for answer in answers for row in answer if row.array in arrays or not row.array]
        return self._whole(rows)

    def _whole(self, rows: list[JobRow]) -> list[JobRow]:
        """The rows, with those completed that were cut short."""
        return [self._completed(row, rows) if is_cut(row) else row for row in rows]

    def _completed(self, row: JobRow, rows: Sequence[JobRow]) -> JobRow:
        try:
            accounted = self._accounted({"step": row.array, "skip_steps": "true"})
            elements = [
                element
                for each in accounted
                if each.state_word == "PENDING"
                for element in _understood(AccountedRow.waiting, each)
            ]
        except ClusterUnreachable:
            elements = []
        known = elements or range(1, self._steps.get(row.array, UNKNOWN_STEPS) + 1)
        return completed_row(row, rows, known)

    def _jobs(self, path: str) -> list[JobRow]:
        _, answer = self._link.question(path, JobsAnswer)
        return answer.jobs or []

    def _accounted(self, query: Mapping[str, str]) -> list[AccountedRow]:
        _, answer = self._link.question(self._link.path("jobs", "slurmdb"), AccountedAnswer, query)
        return answer.jobs or []

    def _associations(self) -> list[dict[str, Any]]:
        query = {"user": self._user} if self._link.version > FIRST_VERSION else {}
        _, answer = self._link.question(self._link.path("associations", "slurmdb"), AssociationsAnswer, query)
        return answer.associations or []

    def _qualities(self) -> list[dict[str, Any]]:
        _, answer = self._link.question(self._link.path("qos", "slurmdb"), QualitiesAnswer)
        return answer.qos or answer.QOS or []

    def _each(self, ask: Callable[[str], _T], ids: Sequence[str]) -> list[_T]:
        """Ask for each, a few at a time."""
        if len(ids) <= 1:
            return [ask(each) for each in ids]
        with ThreadPoolExecutor(min(PARALLEL_REQUESTS, len(ids)), "jobmon-slurmrestd") as pool:
            return list(pool.map(ask, ids))


# -- pure ---------------------------------------------------------------------------------------------
def cancel_targets(ids: Iterable[str]) -> list[str]:
    """Arrays and elements in few words: ``123``, ``124_[1-5,7]``."""
    elements: dict[str, set[int]] = {}
    for each in ids:
        job_id, indices = split_id(each)
        elements.setdefault(job_id, set()).update(indices or (-1,))
    targets = []
    for job_id, wanted in elements.items():
        if -1 in wanted:
            targets.append(job_id)
            continue
        ordered = sorted(wanted)
        for first in range(0, len(ordered), CANCEL_IDS):
            ranges = compress(ordered[first : first + CANCEL_IDS])
            targets.append(f"{job_id}_{ranges}" if ranges.isdecimal() else f"{job_id}_[{ranges}]")
    return targets


def _check_order(what: str, status: int, answer: Answer) -> None:
    """Take the answer to an order; that jobs have ended is no error.

    Raises:
        ClusterError: Slurm will not do it.
        ClusterUnreachable: it is not known whether it was done.
    """
    numbers = answer.numbers
    if numbers <= _FINISHED and (numbers or status == httpx.codes.OK):
        return
    said = tidy(words_of(answer.errors))
    if numbers & set(_REFUSALS) or status == httpx.codes.BAD_REQUEST or UNREADABLE_REQUEST in numbers:
        raise ClusterError(f"slurmrestd did not {what}: {said}")
    raise ClusterUnreachable(f"It is not known whether slurmrestd did {what}: {said}")


def _understood(take: Callable[[Any], _T], answer: Any) -> _T:
    try:
        return take(answer)
    except ValueError as error:
        raise ClusterUnreachable(
            f"slurmrestd answered with something that cannot be read: {error}"
        ) from error
