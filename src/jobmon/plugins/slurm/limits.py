"""How many jobs a cluster takes: of one array, and of this user at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from jobmon.core.exceptions import ClusterUnreachable
from jobmon.plugins.slurm.connection import SlurmConnection, SubmitLimit

DEFAULT_ARRAY_LIMIT = 500
DEFAULT_ROOM = 10_000
LIMITS_SECONDS = 300.0
"""How long limits are believed."""
COUNT_SECONDS = 30.0
"""How long a count of the user's jobs is believed; what is submitted meanwhile is added to it."""
FULL_COUNT_SECONDS = 5.0
"""The same of a count that leaves no room."""
SEPARATOR = "|"
NO_ACCOUNTING = ("accounting_storage/none", "(null)")
"""Kinds of accounting that are none."""


ASSOCIATION_FIELDS = (
    "Cluster",
    "DefaultAccount",
    "Account",
    "MaxSubmitJobs",
    "GrpSubmitJobs",
    "DefaultQOS",
    "QOS",
)
QUALITY_FIELDS = ("Name", "MaxSubmitJobsPerUser", "GrpSubmitJobs")
"""What ``sacctmgr`` is asked of the accounts of a user, and of qualities of service."""


def read_submit_limit(
    associations: str, qualities: str, cluster: str = "", account: str = "", qos: str = ""
) -> SubmitLimit:
    """The narrowest limit on submitted jobs that applies, from what ``sacctmgr`` tells of a user.

    Args:
        associations: rows of :data:`ASSOCIATION_FIELDS`.
        qualities: rows of :data:`QUALITY_FIELDS`.
        cluster: name of the cluster, for an accounting may be that of several; empty: not known.
        account: the account that is asked for; empty: the user's default one.
        qos: the quality of service that is asked for; empty: the one of that account.
    """
    own, shared, named = [], [], {qos}
    for its_cluster, usual, its_account, of_user, of_all, default, allowed in _fields(
        associations, len(ASSOCIATION_FIELDS)
    ):
        wanted = account or usual
        if wanted not in ("", its_account) or (cluster and its_cluster and cluster != its_cluster):
            continue
        own += _limit(of_user)
        shared += _limit(of_all)
        if not qos:
            named.add(default or (allowed if "," not in allowed else ""))
    for name, of_user, of_all in _fields(qualities, len(QUALITY_FIELDS)):
        if name in named:
            own += _limit(of_user)
            shared += _limit(of_all)
    return SubmitLimit(min([*own, *shared], default=None), is_shared=bool(shared))


def _fields(text: str, count: int) -> Iterator[list[str]]:
    rows = (line.split(SEPARATOR) for line in text.splitlines())
    return (row for row in rows if len(row) == count)


def _limit(text: str) -> list[int]:
    return [int(text)] if text.isdecimal() else []


class Limits(NamedTuple):
    """What a cluster allows, and whether it keeps accounts.

    Attributes:
        of_array: most elements of one array; ``None``: not known.
        of_user: most jobs of the user at once; ``None``: no limit is known.
        has_accounting: ends of jobs are recorded.
    """

    of_array: int | None
    of_user: int | None
    has_accounting: bool


def limits_of(config: Mapping[str, str], most_submitted: int | None) -> Limits:
    """The limits that follow from the configuration and from what the accounting allows the user."""
    size, jobs = _limit(config.get("MaxArraySize", "")), _limit(config.get("MaxJobCount", ""))
    of_user = [limit - 1 for limit in jobs] + ([] if most_submitted is None else [most_submitted])
    return Limits(
        # indices end one below MaxArraySize; an array needs a place for each element and one more
        of_array=min([limit - 1 for limit in size + jobs], default=None),
        of_user=min(of_user, default=None),
        has_accounting=config.get("AccountingStorageType", "") not in NO_ACCOUNTING,
    )


class Capacity:
    """Limits and counts of a cluster, asked of it now and then.

    Args:
        connection: the way to it.
        most_steps: most elements of an array, where somebody has set it.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        connection: SlurmConnection,
        most_steps: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection, self._most_steps, self._clock = connection, most_steps, clock
        self._limits: tuple[float, Limits] | None = None
        self._count: tuple[float, int] | None = None

    def array_limit(self) -> int:
        """Most elements of one array; a cautious number while the cluster cannot be asked."""
        try:
            limits = self._asked_limits()
        except ClusterUnreachable:
            limits = Limits(DEFAULT_ARRAY_LIMIT, None, has_accounting=True)
        known = [limit for limit in (self._most_steps, limits.of_array, limits.of_user) if limit]
        return max(1, min(known, default=DEFAULT_ARRAY_LIMIT))

    def has_accounting(self) -> bool:
        """Whether the cluster records how jobs end; it does where that is not known.

        Raises:
            ClusterUnreachable: it cannot be asked.
        """
        return self._asked_limits().has_accounting

    def room(self) -> int:
        """How many more jobs the cluster takes from this user.

        Raises:
            ClusterUnreachable: it cannot be asked.
        """
        of_user = self._asked_limits().of_user
        if of_user is None:
            return DEFAULT_ROOM
        now = self._clock()
        if self._count is None or now - self._count[0] > self._believed_seconds(of_user):
            self._count = now, self._connection.count_jobs()
        return max(0, of_user - self._count[1])

    def _believed_seconds(self, of_user: int) -> float:
        is_full = self._count is not None and self._count[1] >= of_user
        return FULL_COUNT_SECONDS if is_full else COUNT_SECONDS

    def submitted(self, count: int) -> None:
        """Take note that so many more jobs are with the cluster now."""
        if self._count is not None:
            self._count = self._count[0], self._count[1] + count

    def forget_count(self) -> None:
        """Have the jobs counted anew: the cluster refused some."""
        self._count = None

    def _asked_limits(self) -> Limits:
        now = self._clock()
        if self._limits is None or now - self._limits[0] > LIMITS_SECONDS:
            self._limits = now, limits_of(self._connection.config(), self._most_submitted())
        return self._limits[1]

    def _most_submitted(self) -> int | None:
        """The accounting's limit; none while the accounting is away: Slurm goes on without it, and refuses by itself."""
        try:
            return self._connection.submit_limit().most
        except ClusterUnreachable:
            return None
