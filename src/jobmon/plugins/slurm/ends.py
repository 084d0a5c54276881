"""How jobs ended that are not listed any more: which of Slurm's memories is asked, and when it is believed.

Two remember: the accounting for ever, but some seconds late and without exact exit codes; the controller at once and
exactly, but for some minutes, and without figures. The accounting is asked first; the controller is asked about ends that
the accounting cannot tell clearly, or has not told in time. Neither remembers an element that was cancelled while it
waited if others of its array waited on: that it is missing from a story that is told otherwise is all there is.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from jobmon.core.batch_cluster import RemoteEnd
from jobmon.core.exceptions import ClusterUnreachable
from jobmon.plugins.slurm.connection import EndedJob, RecentJob, SlurmConnection
from jobmon.plugins.slurm.limits import Capacity
from jobmon.plugins.slurm.verdicts import end_of, needs_log, unrecorded_end

ACCOUNTING_LAG_SECONDS = 10.0
"""How long the accounting is given to tell of an end before the controller's own, scantier memory is believed."""
UNRECORDED_SECONDS = 60.0
"""After this long without any record, an element of a known array was cancelled before it started."""
FEW_IDS = 100
LOG_BYTES = 8_192
"""How much of the end of Slurm's own log of a job is read."""


@dataclass
class _Known:
    """What one round of questions brought.

    Attributes:
        jobs: records of those asked for, by id, ended or not.
        arrays: names of the arrays of which there is any record; one whose id was used again has two.
        ends: what the records mean.
    """

    jobs: dict[str, EndedJob] = field(default_factory=dict)
    arrays: dict[str, set[str]] = field(default_factory=dict)
    ends: dict[str, RemoteEnd] = field(default_factory=dict)

    def add_accounted(self, jobs: Iterable[EndedJob], wanted: frozenset[str]) -> None:
        for job in jobs:
            self.arrays.setdefault(job.job_id, set()).add(job.name)
            if (each := id_of(job)) in wanted:
                self.jobs[each] = job
                if (end := end_of(job)) is not None:
                    self.ends[each] = replace(end, name=job.name)

    def add_recent(self, jobs: Iterable[RecentJob], wanted: frozenset[str]) -> None:
        """The controller's word counts, with the figures that only the accounting has."""
        for job in jobs:
            self.arrays.setdefault(job.job_id, set()).add(job.name)
            if (each := id_of(job)) in wanted:
                self.jobs.setdefault(each, job)
                end = end_of(job, _end_of_log(job.log) if needs_log(job) else "")
                if end is not None:
                    self.ends[each] = _with_figures(replace(end, name=job.name), self.ends.get(each))


class Ends:
    """Finds out how jobs ended.

    Args:
        connection: the way to the cluster.
        capacity: knows whether there is any accounting.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        connection: SlurmConnection,
        capacity: Capacity,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection, self._capacity, self._clock = connection, capacity, clock
        self._untold_since: dict[str, float] = {}

    def note_listed(self, distributor_ids: Iterable[str]) -> None:
        """These have not ended."""
        for distributor_id in distributor_ids:
            self._untold_since.pop(distributor_id, None)

    def of(self, distributor_ids: Sequence[str]) -> dict[str, RemoteEnd]:
        """How these ended; those that cannot be told of (yet) are absent.

        Raises:
            ClusterUnreachable: nothing can be told because something did not answer.
        """
        wanted = frozenset(distributor_ids)
        now = self._clock()
        since = {each: self._untold_since.setdefault(each, now) for each in sorted(wanted)}
        known, away = _Known(), None
        try:
            self._ask_accounting(known, wanted, since)
        except ClusterUnreachable as error:
            away = error
        unclear = frozenset(each for each in known.ends if needs_log(known.jobs[each]))
        try:
            asked = unclear | self._overdue(wanted - known.ends.keys(), since, is_away=away is not None)
            if asked:
                known.add_recent(self._connection.recent(arrays_of(sorted(asked))), asked)
        except ClusterUnreachable as error:
            away = error
            known.ends = {each: end for each, end in known.ends.items() if each not in unclear}
        if away is None:
            known.ends |= self._unrecorded(known, since)
        self.note_listed(known.ends)
        if away is not None and not known.ends:
            raise away
        return known.ends

    def _ask_accounting(self, known: _Known, wanted: frozenset[str], since: Mapping[str, float]) -> None:
        known.add_accounted(self._connection.accounting(asked_of_accounting(sorted(wanted))), wanted)
        late = [
            each for each in wanted - known.jobs.keys() if self._is_late(since[each], ACCOUNTING_LAG_SECONDS)
        ]
        if late:  # one that was cancelled while it waited has no row of its own: it is in a row of its array
            known.add_accounted(self._connection.accounting(arrays_of(sorted(late))), wanted)

    def _overdue(self, untold: frozenset[str], since: Mapping[str, float], is_away: bool) -> frozenset[str]:
        """Those the accounting has had time enough to tell of; all of them where it tells nothing."""
        if is_away or (untold and not self._capacity.has_accounting()):
            return untold
        return frozenset(each for each in untold if self._is_late(since[each], ACCOUNTING_LAG_SECONDS))

    def _is_late(self, since: float, seconds: float) -> bool:
        return self._clock() - since >= seconds

    def _unrecorded(self, known: _Known, since: Mapping[str, float]) -> dict[str, RemoteEnd]:
        ends = {}
        for each in since.keys() - known.jobs.keys():
            names = known.arrays.get(each.partition("_")[0], set())
            if len(names) == 1 and self._is_late(since[each], UNRECORDED_SECONDS):
                ends[each] = replace(unrecorded_end(), name=next(iter(names)))
        return ends


def id_of(job: EndedJob) -> str:
    """The distributor id of a job."""
    return job.job_id if job.index is None else f"{job.job_id}_{job.index}"


def arrays_of(distributor_ids: Iterable[str]) -> list[str]:
    """Arrays that jobs are elements of, each once."""
    return list(dict.fromkeys(each.partition("_")[0] for each in distributor_ids))


def asked_of_accounting(distributor_ids: Collection[str]) -> list[str]:
    """Few elements by their own ids, many by their arrays: what keeps question and answer short."""
    arrays = arrays_of(distributor_ids)
    return list(distributor_ids) if len(distributor_ids) <= max(FEW_IDS, 2 * len(arrays)) else arrays


def _with_figures(end: RemoteEnd, accounted: RemoteEnd | None) -> RemoteEnd:
    if accounted is None:
        return end
    return replace(end, maxrss=accounted.maxrss, cpu=accounted.cpu, wallclock=accounted.wallclock)


def _end_of_log(path: str) -> str:
    """The last lines of Slurm's own log of a job; nothing where it cannot be read from here."""
    if not path:
        return ""
    try:
        with open(path, "rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - LOG_BYTES))
            return log.read().decode(errors="replace")
    except OSError:
        return ""
