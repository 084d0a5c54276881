"""What Slurm's word about the end of a job means for the attempt, in a sentence for a scientist. Pure.

Slurm's accounting tells exit codes of 128 and more less 128 (137 as 9); its controller, which remembers a job for some
minutes only, tells them as they were. A job whose memory was watched without control groups and ended is FAILED by
signal 9 like one that somebody killed: what it used, or its log, tells which it was.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Mapping

from jobmon.core.batch_cluster import RemoteEnd, RemoteUsage
from jobmon.core.exceptions import ReturnCodes
from jobmon.core.resources import bytes_to_gib, describe_memory
from jobmon.core.states import Cause, TaskInstanceEvent
from jobmon.core.words import describe_duration
from jobmon.plugins.slurm.connection import AccountedJob, EndedJob, RecentJob
from jobmon.plugins.slurm.listing import ENDED_STATES
from jobmon.plugins.slurm.script import ENVIRONMENT_EXIT_CODE

LAUNCH_SIGNAL = 53
"""Signal in Slurm's exit code of a job whose script was not started at all."""
SIGNAL_CODES = 128
"""Exit codes of shells for a command ended by signal N are this and N."""
OVER_MEMORY = re.compile(r"exceeded (?:job|step) memory limit|oom[-_ ]kill|out of memory", re.IGNORECASE)
"""What Slurm writes to the log of a job it ends for want of memory."""

_E = TaskInstanceEvent
_UNCLEAR_CODES = (6, 8, 9, 11, 15, ReturnCodes.WORKER_NODE_ENV_FAILURE - SIGNAL_CODES, 71)
"""Codes in the accounting that are likely to have been 128 more."""


def end_of(job: EndedJob, log: str = "") -> RemoteEnd | None:
    """How a job ended; ``None`` for one that has not, or that Slurm is about to start anew.

    Args:
        job: Slurm's word.
        log: the end of Slurm's own log of the job, where it was read.
    """
    if job.state not in ENDED_STATES:
        return None
    return _VERDICTS[job.state](job, log)


def needs_log(job: EndedJob) -> bool:
    """Whether only the log of the job, or the controller's memory of it, tells how it ended."""
    if job.state != "FAILED":
        return False
    if job.exit_code == ENVIRONMENT_EXIT_CODE and not job.signal:
        return True  # it says what was missing
    is_unclear = not isinstance(job, RecentJob) and not job.signal and job.exit_code in (0, *_UNCLEAR_CODES)
    return is_unclear or (job.signal == signal.SIGKILL and not _filled_memory(job))


def unrecorded_end() -> RemoteEnd:
    """The end of an element that Slurm has no record of, though it has some of others of its array."""
    words = (
        "Slurm has no record that the job ever started, though it knows others of its array: it was cancelled while it "
        "waited (scancel)."
    )
    return RemoteEnd(_E.FAIL, Cause.CANCELLED, words)


def usage_of(job: AccountedJob) -> RemoteUsage | None:
    """What a job used; ``None`` for one that has not ended."""
    if job.state not in ENDED_STATES:
        return None
    return RemoteUsage(wallclock=job.wallclock, maxrss=job.maxrss, cpu=job.cpu, energy=job.energy)


def _end(
    job: EndedJob,
    event: TaskInstanceEvent,
    cause: Cause | None,
    description: str,
    exit_code: int | None = None,
    blames_node: bool = False,
) -> RemoteEnd:
    """A verdict with what is known of the job."""
    used = usage_of(job) if isinstance(job, AccountedJob) else None
    return RemoteEnd(
        event=event,
        cause=cause,
        description=description,
        exit_code=exit_code,
        nodename=job.nodes,
        wallclock=job.wallclock,
        maxrss=used.maxrss if used else None,
        cpu=used.cpu if used else None,
        blames_node=blames_node and bool(job.nodes),
    )


# -- one function for each word of Slurm -------------------------------------------------------------
def _completed(job: EndedJob, log: str) -> RemoteEnd:
    return _end(job, _E.FINISH, None, "Slurm saw the job succeed.", exit_code=0)


def _failed(job: EndedJob, log: str) -> RemoteEnd:
    if job.signal == LAUNCH_SIGNAL:
        return _not_launched(job)
    if job.signal:
        return _signalled(job, log)
    code = job.exit_code
    if not code:  # 0: the accounting tells that a moment before it knows the code
        return _end(
            job, _E.FAIL, Cause.CODE, f"Slurm says the job failed{_where(job)}, but not with which code."
        )
    if code == ENVIRONMENT_EXIT_CODE:
        return _not_prepared(job, log)
    words = f"The job exited with code {code}{_where(job)}."
    if isinstance(job, RecentJob):
        return _failed_with_code(job, words, code, log)
    if code in _UNCLEAR_CODES:
        words += f" It may have been {code + SIGNAL_CODES}: Slurm's accounting tells such codes less {SIGNAL_CODES}"
        words += f" ({_known_code(code + SIGNAL_CODES)})." if _known_code(code + SIGNAL_CODES) else "."
    return _memory_or_code(job, words, code, is_killed=code == signal.SIGKILL, log=log)


def _failed_with_code(job: EndedJob, words: str, code: int, log: str) -> RemoteEnd:
    """A code that is known exactly."""
    if known := _known_code(code):
        words += f" That is {known}."
    return _memory_or_code(job, words, code, is_killed=code == SIGNAL_CODES + signal.SIGKILL, log=log)


def _signalled(job: EndedJob, log: str) -> RemoteEnd:
    number = job.signal or 0
    words = f"The job was ended by signal {number}{_signal_name(number)}{_where(job)}."
    return _memory_or_code(job, words, -number, is_killed=number == signal.SIGKILL, log=log)


def _memory_or_code(job: EndedJob, words: str, exit_code: int, is_killed: bool, log: str) -> RemoteEnd:
    """A failure of the command, unless it was killed and there are signs of a lack of memory."""
    if is_killed and OVER_MEMORY.search(log):
        words += f" Slurm's log of it says that it used more memory than it had asked for{_memory(job)}."
        return _end(job, _E.RESOURCE, Cause.RESOURCE, words, exit_code)
    if is_killed and _filled_memory(job):
        words += f" It had used all of the memory it had asked for{_memory(job)}."
        return _end(job, _E.RESOURCE, Cause.RESOURCE, words, exit_code)
    if is_killed:
        words += " Nothing tells who killed it; if it may need more memory, ask for more (memory)."
    return _end(job, _E.FAIL, Cause.CODE, words, exit_code)


def _not_launched(job: EndedJob) -> RemoteEnd:
    words = (
        f"Slurm could not start the job{_on(job)}: the node could not write its log (standard_output, "
        "standard_error: does the directory exist there, and may you write to it?), or the node is at fault."
    )
    return _end(job, _E.LOSE, Cause.LAUNCH, words)


def _not_prepared(job: EndedJob, log: str) -> RemoteEnd:
    words = (
        f"The environment of the command could not be prepared{_on(job)} (modules, venv, conda); "
        "Slurm's log of the job says more."
    )
    return _end(job, _E.FAIL, Cause.LAUNCH, "\n".join(filter(None, (words, log.strip()))), job.exit_code)


def _out_of_memory(job: EndedJob, log: str) -> RemoteEnd:
    words = f"The job was killed{_on(job)} because it needed more memory than it had asked for{_memory(job)}."
    return _end(job, _E.RESOURCE, Cause.RESOURCE, words)


def _timeout(job: EndedJob, log: str) -> RemoteEnd:
    limit = f" of {describe_duration(job.time_limit)}" if job.time_limit else ""
    words = f"The job ran into its time limit{limit}{_after(job)}{_on(job)}; ask for more (runtime)."
    return _end(job, _E.RESOURCE, Cause.RESOURCE, words)


def _deadline(job: EndedJob, log: str) -> RemoteEnd:
    """More run time does not help against a deadline, and a further try would miss it as well."""
    words = f"The deadline of the job came before its end (--deadline){_where(job)}."
    return _end(job, _E.FAIL, Cause.LAUNCH, words)


def _node_failed(job: EndedJob, log: str) -> RemoteEnd:
    words = f"The node{f' {job.nodes}' if job.nodes else ''} the job ran on failed{_after(job)}."
    return _end(job, _E.LOSE, Cause.INFRASTRUCTURE, words, blames_node=True)


def _boot_failed(job: EndedJob, log: str) -> RemoteEnd:
    words = f"The node{f' {job.nodes}' if job.nodes else ''} the job was to run on did not start."
    return _end(job, _E.LOSE, Cause.INFRASTRUCTURE, words, blames_node=True)


def _preempted(job: EndedJob, log: str) -> RemoteEnd:
    words = f"Slurm ended the job{_where(job)} to make room for another that takes precedence."
    return _end(job, _E.LOSE, Cause.PREEMPTED, words)


def _cancelled(job: EndedJob, log: str) -> RemoteEnd:
    who = f"by {job.cancelled_by}" if job.cancelled_by else "by a person or the operators of the cluster"
    when = _where(job) if job.wallclock or job.nodes else " before it started"
    return _end(job, _E.FAIL, Cause.CANCELLED, f"The job was cancelled {who} (scancel){when}.")


def _revoked(job: EndedJob, log: str) -> RemoteEnd:
    words = "Slurm revoked the job: another cluster of the federation took it."
    return _end(job, _E.LOSE, Cause.INFRASTRUCTURE, words)


_VERDICTS: Mapping[str, Callable[[EndedJob, str], RemoteEnd]] = {
    "COMPLETED": _completed,
    "FAILED": _failed,
    "OUT_OF_MEMORY": _out_of_memory,
    "TIMEOUT": _timeout,
    "DEADLINE": _deadline,
    "NODE_FAIL": _node_failed,
    "BOOT_FAIL": _boot_failed,
    "PREEMPTED": _preempted,
    "CANCELLED": _cancelled,
    "REVOKED": _revoked,
}


# -- parts of the sentences --------------------------------------------------------------------------
def _where(job: EndedJob) -> str:
    return f"{_after(job)}{_on(job)}"


def _after(job: EndedJob) -> str:
    return f" after {describe_duration(job.wallclock)}" if job.wallclock else ""


def _on(job: EndedJob) -> str:
    return f" on {job.nodes}" if job.nodes else ""


def _memory(job: EndedJob) -> str:
    """What was asked and what was used; a peak far below is only what Slurm saw when it last looked."""
    parts = []
    if job.memory_asked:
        parts.append(f"asked {_size(job.memory_asked)}")
    if isinstance(job, AccountedJob) and job.maxrss:
        seen = "peak" if _filled_memory(job) else "highest seen by Slurm's samples"
        parts.append(f"{seen} {_size(job.maxrss)}")
    return f" ({', '.join(parts)})" if parts else ""


def _size(amount: int) -> str:
    return describe_memory(bytes_to_gib(amount))


def _filled_memory(job: EndedJob) -> bool:
    return bool(
        isinstance(job, AccountedJob) and job.maxrss and job.memory_asked and job.maxrss >= job.memory_asked
    )


def _signal_name(number: int) -> str:
    return f" ({signal.Signals(number).name})" if number in set(signal.Signals) else ""


def _known_code(code: int) -> str:
    """What an exit code is known to mean; empty: nothing."""
    if code == ReturnCodes.WORKER_NODE_ENV_FAILURE:
        return "the sign of a wrapper that has another version than the one that submitted it"
    if code == ReturnCodes.WORKER_NODE_CLI_FAILURE:
        return "the sign of a wrapper that could not do its work"
    if code == 127:
        return "the sign of a command that was not found"
    if code > SIGNAL_CODES and code - SIGNAL_CODES in set(signal.Signals):
        number = code - SIGNAL_CODES
        return f"the sign of a command ended by signal {number}{_signal_name(number)}"
    return ""
