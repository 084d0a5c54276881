"""Slurm by its commands: ``sbatch``, ``squeue``, ``sacct``, ``scancel``, ``scontrol``, ``sacctmgr``."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from jobmon.core.exceptions import ClusterError, ClusterUnreachable, SubmissionError
from jobmon.plugins.slurm import commands
from jobmon.plugins.slurm.accounting import read_accounting
from jobmon.plugins.slurm.connection import (
    AccountedJob,
    Facts,
    ListedJob,
    RecentJob,
    Submission,
    SubmitLimit,
)
from jobmon.plugins.slurm.discovery import read_config, read_lines
from jobmon.plugins.slurm.errors import Occupancy, is_ambiguous, is_away, refusal, tidy
from jobmon.plugins.slurm.limits import read_submit_limit
from jobmon.plugins.slurm.listing import read_listing, read_recent

DEFAULT_TIMEOUT_SECONDS = 20.0
ACCOUNT_IDS = 1_000
"""Ids named in one sacct."""

_UNKNOWN_JOB = "Invalid job id specified"
_FINISHED = (_UNKNOWN_JOB, "Job has already finished", "already completing", "No error")
_NO_ACCOUNTING = ("accounting storage is disabled", "not running a supported accounting_storage plugin")
_T = TypeVar("_T")


class Answer(NamedTuple):
    """What a command said."""

    exit_code: int
    output: str
    errors: str


class SlurmCommandLine:
    """Slurm's commands, each with a limited time.

    Args:
        bin: directory of the commands; empty: they are on PATH.
        command_timeout: seconds a command may take.
        parameters: others that are none of this one's business.
    """

    def __init__(
        self,
        bin: str = "",
        command_timeout: float = DEFAULT_TIMEOUT_SECONDS,
        **parameters: Any,
    ) -> None:
        self._directory = os.path.expanduser(bin)
        self._timeout_seconds = float(command_timeout)
        self._user = _login_name(os.getuid())
        self._cluster_name = ""

    # -- submission -----------------------------------------------------------------------------------
    def submit(self, submission: Submission) -> str:
        """Submit an array; see :meth:`SlurmConnection.submit`."""
        words = commands.submit(submission)
        try:
            answer = self._run(
                words, commands.environment_of_submission(os.environ), os.fsencode(submission.script)
            )
        except ValueError as error:  # a zero character in an option
            raise SubmissionError(f"The job cannot be told to sbatch: {error}.") from error
        job_id = answer.output.strip().split(";")[0]
        if answer.exit_code == 0:
            if not job_id.isdecimal():
                raise ClusterUnreachable(
                    f"sbatch answered with something that is no job id: {_cut(answer.output)}"
                )
            return job_id
        said = answer.errors or answer.output
        occupancy = self._occupancy(submission) if is_ambiguous(said) else None
        raise refusal(said, submission.num_steps, occupancy)

    def _occupancy(self, submission: Submission) -> Occupancy | None:
        """What is used of the limits; ``None`` where that cannot be told now."""
        settings = submission.settings
        try:
            limit = self._submit_limit(settings.get("account", ""), settings.get("qos", ""))
            return Occupancy(limit.most, self.count_jobs(), limit.is_shared)
        except ClusterUnreachable:
            return None

    def find(self, name: str) -> str | None:
        """Id of this user's array of that name; see :meth:`SlurmConnection.find`."""
        rows = self._read(commands.list_named(name, self._user), read_listing_of_all)
        for row in rows:
            if row.name == name:
                return row.job_id
        answer = self._query_accounting(commands.account_named(name, self._user))
        for line in answer.splitlines():
            job, _, its_name = line.partition("|")
            if its_name == name:
                return job.partition("_")[0]
        return None

    # -- questions ------------------------------------------------------------------------------------
    def listing(self, job_ids: Sequence[str]) -> list[ListedJob]:
        """Rows of these arrays in the queue."""
        if not job_ids:
            return []
        wanted = frozenset(job_ids)
        rows = self._read(commands.list_jobs(job_ids, self._user), read_listing)
        return [row for row in rows if row.job_id in wanted]

    def recent(self, job_ids: Sequence[str]) -> list[RecentJob]:
        """What the controller remembers of these arrays."""
        if not job_ids:
            return []
        wanted = frozenset(job_ids)
        jobs = self._read(commands.list_recent(job_ids, self._user), read_recent)
        return [job for job in jobs if job.job_id in wanted]

    def accounting(self, ids: Sequence[str]) -> list[AccountedJob]:
        """What the accounting knows of these arrays or elements."""
        found: list[AccountedJob] = []
        for first in range(0, len(ids), ACCOUNT_IDS):
            words = commands.account(ids[first : first + ACCOUNT_IDS])
            found += _understood(words, read_accounting, self._query_accounting(words))
        return [
            replace(job, cancelled_by=_login_name(int(job.cancelled_by)))
            if job.cancelled_by.isdecimal()
            else job
            for job in found
        ]

    def count_jobs(self) -> int:
        """Jobs and elements of this user that wait or run."""
        return len(self._query(commands.count_jobs(self._user)).splitlines())

    def submit_limit(self) -> SubmitLimit:
        """What the accounting allows this user."""
        return self._submit_limit()

    def _submit_limit(self, account: str = "", qos: str = "") -> SubmitLimit:
        associations = self._query_accounting(commands.associations(self._user))
        if not associations:
            return SubmitLimit()
        cluster = self._cluster_name or self.config().get("ClusterName", "")
        account = account or os.environ.get("SBATCH_ACCOUNT", "")
        qualities = self._query_accounting(commands.qualities())
        return read_submit_limit(
            associations, qualities, cluster, account, qos or os.environ.get("SBATCH_QOS", "")
        )

    def partitions(self) -> list[Facts]:
        """Facts of the partitions."""
        return read_lines(self._query(commands.show("partition")))

    def nodes(self) -> list[Facts]:
        """Facts of the nodes."""
        return read_lines(self._query(commands.show("node")))

    def config(self) -> Facts:
        """Facts of the cluster."""
        facts = read_config(self._query(commands.show("config")))
        self._cluster_name = facts.get("ClusterName", "")
        return facts

    # -- orders ---------------------------------------------------------------------------------------
    def cancel(self, ids: Sequence[str]) -> None:
        """End arrays or elements."""
        for words in commands.cancel(ids):
            self._order(words)

    def throttle(self, job_id: str, max_running: int) -> None:
        """Let at most so many elements run at once."""
        self._order(commands.throttle(job_id, max_running))

    def hold(self, job_id: str) -> None:
        """Let no more elements start."""
        self._order(commands.hold(job_id))

    def release(self, job_id: str) -> None:
        """Let them start again."""
        self._order(commands.release(job_id))

    # -- the commands themselves ----------------------------------------------------------------------
    def path_of(self, command: str) -> str | None:
        """Path of a command; ``None``: it is not there."""
        return shutil.which(command, path=self._directory or None)

    def _order(self, words: Sequence[str]) -> None:
        """Have something done to jobs; that they have ended is no error.

        Raises:
            ClusterError: Slurm will not do it.
            ClusterUnreachable: it is not known whether it was done.
        """
        answer = self._run(words, commands.environment_of_query(os.environ))
        if answer.exit_code == 0:
            return
        said = answer.errors or answer.output
        if is_away(said):
            raise ClusterUnreachable(f"Slurm could not be reached: {tidy(said)}")
        if not any(part in said for part in _FINISHED):
            raise ClusterError(f"{' '.join(words[:2])} did not do what it was asked: {tidy(said)}")

    def _query(self, words: Sequence[str]) -> str:
        """What a command printed; nothing when the jobs are not known (any more)."""
        answer = self._run(words, commands.environment_of_query(os.environ))
        if answer.exit_code != 0 and _UNKNOWN_JOB not in answer.errors:
            raise ClusterUnreachable(f"{words[0]} failed: {tidy(answer.errors or answer.output)}")
        return answer.output

    def _query_accounting(self, words: Sequence[str]) -> str:
        """The same; nothing where there is no accounting."""
        try:
            return self._query(words)
        except ClusterUnreachable as error:
            if any(part in str(error).lower() for part in _NO_ACCOUNTING):
                return ""
            raise

    def _read(self, words: Sequence[str], read: Callable[[str], _T]) -> _T:
        return _understood(words, read, self._query(words))

    def _run(self, words: Sequence[str], environment: Mapping[str, str], script: bytes = b"") -> Answer:
        """Run a command; with all it has started, it is ended when its time is over.

        Raises:
            ClusterUnreachable: it is not there, or took too long.
        """
        name = words[0]
        try:
            process = subprocess.Popen(
                [os.path.join(self._directory, name), *words[1:]],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            where = f"in {self._directory}" if self._directory else "on PATH"
            raise ClusterUnreachable(
                f"{name} could not be run ({error.strerror or error}): is Slurm installed on this machine, and {name} {where}?"
            ) from error
        with process:
            try:
                output, errors = process.communicate(script, timeout=self._timeout_seconds)
            except subprocess.TimeoutExpired as error:
                raise ClusterUnreachable(
                    f"{name} did not answer within {self._timeout_seconds:g} s (command_timeout)."
                ) from error
            finally:
                if process.returncode is None:
                    _kill_group(process)
        return Answer(process.returncode, output.decode(errors="replace"), errors.decode(errors="replace"))


def read_listing_of_all(text: str) -> list[ListedJob]:
    """Rows of the queue, also of jobs that have ended."""
    return read_listing(text, with_ended=True)


def _understood(words: Sequence[str], read: Callable[[str], _T], text: str) -> _T:
    try:
        return read(text)
    except ValueError as error:
        raise ClusterUnreachable(
            f"{words[0]} answered with something that cannot be read: {error}"
        ) from error


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _login_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _cut(text: str, characters: int = 200) -> str:
    return repr(text if len(text) <= characters else text[:characters] + "…")
