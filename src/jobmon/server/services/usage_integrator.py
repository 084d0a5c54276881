"""The usage integrator: asks batch clusters what attempts used that could not tell it themselves.

A wrapper that was killed reports nothing; the accounting of its cluster knows all the same, somewhat later. What it knows is
filled in; what the attempt told goes before it. A cluster that cannot be asked is asked again, and what it still does not know
when the attempt is old is given up.

New ends are found in the history, which is read once, from where the last look had come to: what it costs depends on what
has happened, not on the size of the database.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Connection, bindparam, func, select, update

from jobmon.core.batch_cluster import RemoteUsage
from jobmon.core.cluster_protocol import ClusterDistributor
from jobmon.core.cluster_type import ClusterType
from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import JobmonError
from jobmon.core.states import TASK_INSTANCE_TERMINAL
from jobmon.server.services.lease import Transactions
from jobmon.server.web import dialect
from jobmon.server.web.models import (
    Batch,
    Cluster,
    Queue,
    TaskHistory,
    TaskInstance,
    TaskResources,
)
from jobmon.server.web.models import ClusterType as ClusterTypeRow
from jobmon.server.web.store.remote import of_its_batch

logger = logging.getLogger("jobmon.server.usage_integrator")

MOST_IDS = 500
PAGE = 5000
SETTLE_SECONDS = 30.0
"""Accounting is not complete before: nobody is asked about an attempt that ended a moment ago."""
OVERLAP_SECONDS = 60.0
"""The latest history is read again: a transaction may become visible after a later one."""
LONGEST_PAUSE_SECONDS = 3600.0
MOST_ASKS_WITHOUT_MEMORY = 3
"""A cluster that knows of the rest, and so often not of the memory, does not measure it."""


@dataclass(frozen=True)
class Place:
    """A cluster, and how to drive it."""

    cluster_name: str
    type_name: str
    connection_parameters: str

    def distributor(self) -> ClusterDistributor:
        """The plugin, ready to be asked."""
        parameters = msgspec.json.decode(self.connection_parameters or "{}", type=dict[str, Any])
        plugin: ClusterDistributor = ClusterType(self.type_name).cluster_distributor_class(
            self.cluster_name, **parameters
        )
        plugin.start()
        return plugin


@dataclass
class Lacking:
    """An attempt of which the peak of memory is not known."""

    task_instance_id: int
    distributor_id: str
    ended_at: datetime
    ask_at: datetime
    num_asks: int = 0


@dataclass
class UsageResult:
    """What one look did.

    Attributes:
        filled: attempts of which more is known now.
        lacking: attempts that will be asked about again.
        retired: attempts that were given up.
        unreachable: clusters that could not be asked, and why.
    """

    filled: list[int] = field(default_factory=list)
    lacking: int = 0
    retired: int = 0
    unreachable: dict[str, str] = field(default_factory=dict)


class UsageIntegrator:
    """Fills in what attempts on batch clusters used.

    Args:
        database: where it is stored.
        retire_age_seconds: attempts that ended longer ago are given up.
        poll_interval_seconds: between two looks; also the first pause before an attempt is asked about again.
        distributor_of: gives the plugin of a cluster; by default the one that is installed for its type.
    """

    def __init__(
        self,
        database: Transactions,
        retire_age_seconds: float,
        poll_interval_seconds: float,
        distributor_of: Callable[[Place], ClusterDistributor] | None = None,
    ) -> None:
        self.poll_interval_seconds = poll_interval_seconds
        self._database, self._distributor_of = database, distributor_of or Place.distributor
        self._retire_age = timedelta(seconds=retire_age_seconds)
        self._plugins: dict[Place, ClusterDistributor] = {}
        self._lacking: dict[Place, dict[int, Lacking]] = defaultdict(dict)
        self._read_to: int | None = None  # id of the history up to which all ends were seen

    @classmethod
    def from_config(cls, config: JobmonConfig, database: Transactions) -> UsageIntegrator:
        """As the section ``usage_integrator`` says."""
        return cls(
            database,
            config.get_float("usage_integrator", "retire_age_hours") * 3600,
            config.get_float("usage_integrator", "poll_interval_seconds"),
        )

    def run_once(self, now: datetime | None = None) -> UsageResult:
        """Find new ends, ask the clusters, store what they know.

        Args:
            now: time of the database; by default what its clock says.
        """
        with self._database.read() as connection:
            now = now or dialect.utcnow(connection)
            self._find(connection, now)
        result = UsageResult()
        for place, attempts in self._lacking.items():
            old = [i for i, each in attempts.items() if each.ended_at < now - self._retire_age]
            for task_instance_id in old:
                del attempts[task_instance_id]
            result.retired += len(old)
            self._ask_cluster(place, attempts, now, result)
            result.lacking += len(attempts)
        return result

    def run_forever(self, stop: threading.Event) -> None:
        """Look again and again, until told to stop."""
        while not stop.is_set():
            try:
                result = self.run_once()
            except Exception:
                logger.exception("the look for missing usage failed")
            else:
                if result.filled or result.retired:
                    logger.info(
                        "filled in the usage of %d attempts, gave up %d, %d are asked about again",
                        len(result.filled),
                        result.retired,
                        result.lacking,
                    )
            stop.wait(self.poll_interval_seconds)

    def close(self) -> None:
        """Let go of the clusters."""
        for plugin in self._plugins.values():
            plugin.stop()
        self._plugins.clear()

    # -- finding ------------------------------------------------------------------------------------------
    def _find(self, connection: Connection, now: datetime) -> None:
        """Note attempts that have ended since the last look and of which the peak of memory is not known."""
        after = self._read_to
        if after is None:
            after = first_history_before(connection, now - self._retire_age)
        settled = now - timedelta(seconds=OVERLAP_SECONDS)
        shared: dict[tuple[int, int], frozenset[str]] = {}
        for row in _ends(connection, after):
            history_id, occurred_at, task_instance_id, distributor_id, ended_at, *batch_and_place = row
            array_id, batch_num, *place = batch_and_place
            if occurred_at <= settled:
                after = history_id
            if (array_id, batch_num) not in shared:
                shared[array_id, batch_num] = _shared_jobs(connection, array_id, batch_num)
            if distributor_id in shared[array_id, batch_num]:
                continue  # the cluster knows what all of them used together, which is true of none
            attempts = self._lacking[Place(*place)]
            if task_instance_id not in attempts:
                ask_at = ended_at + timedelta(seconds=SETTLE_SECONDS)
                attempts[task_instance_id] = Lacking(task_instance_id, distributor_id, ended_at, ask_at)
        self._read_to = after

    # -- asking -------------------------------------------------------------------------------------------
    def _ask_cluster(
        self, place: Place, attempts: dict[int, Lacking], now: datetime, result: UsageResult
    ) -> None:
        due = sorted(
            (each for each in attempts.values() if each.ask_at <= now),
            key=lambda each: each.task_instance_id,
        )
        for start in range(0, len(due), MOST_IDS):
            part = due[start : start + MOST_IDS]
            try:
                found = self._plugin(place).usage([each.distributor_id for each in part])
            except JobmonError as error:
                result.unreachable[place.cluster_name] = str(error)
                logger.warning("cluster %s cannot be asked what attempts used: %s", place.cluster_name, error)
                return
            except Exception as error:
                result.unreachable[place.cluster_name] = str(error)
                logger.exception("cluster %s cannot be asked what attempts used", place.cluster_name)
                return
            known = {
                each.task_instance_id: found[each.distributor_id]
                for each in part
                if each.distributor_id in found
            }
            result.filled += self._store(known)
            for each in part:
                self._note_asked(attempts, each, known.get(each.task_instance_id), now)

    def _plugin(self, place: Place) -> ClusterDistributor:
        if place not in self._plugins:
            self._plugins[place] = self._distributor_of(place)
        return self._plugins[place]

    def _note_asked(
        self, attempts: dict[int, Lacking], each: Lacking, usage: RemoteUsage | None, now: datetime
    ) -> None:
        """Ask again later, unless there is nothing more to be learnt."""
        each.num_asks += 1
        is_complete = usage is not None and usage.maxrss is not None
        is_unmeasured = usage is not None and each.num_asks >= MOST_ASKS_WITHOUT_MEMORY
        if is_complete or is_unmeasured:
            del attempts[each.task_instance_id]
            return
        pause = min(LONGEST_PAUSE_SECONDS, self.poll_interval_seconds * 2 ** min(each.num_asks - 1, 20))
        each.ask_at = now + timedelta(seconds=pause)

    def _store(self, known: Mapping[int, RemoteUsage]) -> list[int]:
        """Fill in what is not known yet; the attempts."""
        rows = [
            {
                "row_id": task_instance_id,
                "new_wallclock": usage.wallclock,
                "new_maxrss": usage.maxrss,
                "new_cpu": usage.cpu,
                "new_energy": usage.energy,
            }
            for task_instance_id, usage in known.items()
            if usage != RemoteUsage()
        ]
        if rows:
            self._database.retrying_write(lambda connection: connection.execute(_FILL, rows))
        return sorted(known.keys() - {i for i, usage in known.items() if usage == RemoteUsage()})


_FILL = (
    update(TaskInstance)
    .where(TaskInstance.id == bindparam("row_id"))
    .values(
        {
            name: func.coalesce(getattr(TaskInstance, name), bindparam(f"new_{name}"))
            for name in ("wallclock", "maxrss", "cpu", "energy")
        }
    )
)


def _ends(connection: Connection, after: int) -> Iterator[Sequence[Any]]:
    """Ends in the history after an id, of attempts on batch clusters of which the peak of memory is not known."""
    statement = (
        select(
            TaskHistory.id,
            TaskHistory.occurred_at,
            TaskInstance.id,
            TaskInstance.distributor_id,
            TaskInstance.status_date,
            TaskInstance.array_id,
            TaskInstance.array_batch_num,
            Cluster.name,
            ClusterTypeRow.name,
            Cluster.connection_parameters,
        )
        .join(TaskInstance, TaskInstance.id == TaskHistory.task_instance_id)
        .join(Batch, of_its_batch())
        .join(TaskResources, TaskResources.id == TaskInstance.task_resources_id)
        .join(Queue, Queue.id == TaskResources.queue_id)
        .join(Cluster, Cluster.id == Queue.cluster_id)
        .join(ClusterTypeRow, ClusterTypeRow.id == Cluster.cluster_type_id)
        .where(
            TaskHistory.id > bindparam("after"),
            TaskHistory.id <= bindparam("to"),
            TaskHistory.instance_to.in_(TASK_INSTANCE_TERMINAL),
            TaskInstance.maxrss.is_(None),
            TaskInstance.distributor_id.is_not(None),
        )
        .order_by(TaskHistory.id)
    )
    last = connection.scalar(select(func.max(TaskHistory.id))) or 0
    for start in range(after, last, PAGE):
        yield from connection.execute(statement, {"after": start, "to": start + PAGE})


def _shared_jobs(connection: Connection, array_id: int, batch_num: int) -> frozenset[str]:
    """Ids of the jobs of a batch that several attempts shared."""
    statement = (
        select(TaskInstance.distributor_id)
        .where(TaskInstance.array_id == array_id, TaskInstance.array_batch_num == batch_num)
        .group_by(TaskInstance.distributor_id)
        .having(func.count() > 1)
    )
    return frozenset(row[0] for row in connection.execute(statement) if row[0])


def first_history_before(connection: Connection, moment: datetime) -> int:
    """An id after which all lines of history are that were written since a moment; found by halving, for time goes on."""
    low, high = 0, connection.scalar(select(func.max(TaskHistory.id))) or 0
    while low < high:
        middle = (low + high + 1) // 2
        line = connection.execute(
            select(TaskHistory.id, TaskHistory.occurred_at)
            .where(TaskHistory.id >= middle)
            .order_by(TaskHistory.id)
            .limit(1)
        ).first()
        if line is None or line.occurred_at >= moment:
            high = middle - 1
        else:
            low = line.id
    return low
