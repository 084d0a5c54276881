"""The monitor: finds nodes of clusters that fail more often than the others, and says so.

Ends of attempts are read from the history, once, from where the last look had come to. Of each task and node only the latest
outcome counts: a task that fails three times there is one failure. What is remembered is bounded in time and number.
"""

from __future__ import annotations

import logging
from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, func, select

from jobmon.core.configuration import JobmonConfig
from jobmon.core.states import Cause, TaskInstanceStatus
from jobmon.server.services.alarms import alarm_note
from jobmon.server.services.lease import Transactions
from jobmon.server.services.node_statistics import NodeLimits, Suspect, suspects
from jobmon.server.services.usage_integrator import first_history_before
from jobmon.server.web import dialect
from jobmon.server.web.models import (
    BadNode,
    Cluster,
    Queue,
    TaskHistory,
    TaskInstance,
    TaskResources,
)

logger = logging.getLogger("jobmon.server.monitor")

BAD_NODE = "bad_node"
MOST_OUTCOMES = 100_000
"""Outcomes that are remembered; with more in the window the oldest are forgotten before their time."""
PAGE = 5000
OVERLAP_SECONDS = 60.0
"""The latest history is read again: a transaction may become visible after a later one."""
REASON_CHARACTERS = 500

SUCCESS = frozenset({TaskInstanceStatus.DONE})
FAILURES = frozenset(
    {TaskInstanceStatus.ERROR, TaskInstanceStatus.UNKNOWN_ERROR, TaskInstanceStatus.NO_HEARTBEAT}
)
NOT_THE_NODE = frozenset({Cause.RESOURCE, Cause.PREEMPTED, Cause.CANCELLED, Cause.ORDERED})
"""Causes that say nothing about a node."""


class Outcome(NamedTuple):
    """How a task ended on a node the last time."""

    occurred_at: datetime
    has_failed: bool


@dataclass
class MonitorResult:
    """What one look found: suspected nodes by cluster, and how many outcomes it looked at."""

    suspects: dict[str, list[Suspect]] = field(default_factory=dict)
    num_outcomes: int = 0


class Window:
    """The latest outcomes, by cluster, run, node and task.

    Args:
        seconds: how long one is remembered.
    """

    def __init__(self, seconds: float) -> None:
        self.length = timedelta(seconds=seconds)
        self._outcomes: OrderedDict[tuple[int, int, str, int], Outcome] = OrderedDict()

    def __len__(self) -> int:
        return len(self._outcomes)

    def add(self, cluster_id: int, run_id: int, nodename: str, task_id: int, outcome: Outcome) -> None:
        """Remember an outcome in place of an earlier one."""
        key = (cluster_id, run_id, nodename, task_id)
        self._outcomes[key] = outcome
        self._outcomes.move_to_end(key)
        if len(self._outcomes) > MOST_OUTCOMES:
            self._outcomes.popitem(last=False)

    def forget_before(self, moment: datetime) -> None:
        """Drop what is older; they stand in the order in which they were read."""
        while self._outcomes:
            key, outcome = next(iter(self._outcomes.items()))
            if outcome.occurred_at >= moment:
                return
            del self._outcomes[key]

    def by_cluster(self) -> dict[int, dict[tuple[int, str], tuple[int, int]]]:
        """Tasks and failed tasks by cluster, and there by run and node."""
        found: dict[int, dict[tuple[int, str], tuple[int, int]]] = defaultdict(dict)
        for (cluster_id, run_id, nodename, _), outcome in self._outcomes.items():
            count, failed = found[cluster_id].get((run_id, nodename), (0, 0))
            found[cluster_id][run_id, nodename] = (count + 1, failed + outcome.has_failed)
        return found


class Monitor:
    """Looks for nodes that fail more often than others.

    Args:
        database: what it reads and writes through.
        window_seconds: how far back it looks.
        limits: when a node is suspected.
        exclude_seconds: for how long jobs avoid a suspected node; 0: they do not.
        fold_seconds: within which the same alarm is counted, not told.
    """

    def __init__(
        self,
        database: Transactions,
        window_seconds: float,
        limits: NodeLimits,
        *,
        exclude_seconds: float = 0.0,
        fold_seconds: float = 3600.0,
    ) -> None:
        self.database, self.limits, self.fold_seconds = database, limits, fold_seconds
        self.exclude_seconds = exclude_seconds
        self._window = Window(window_seconds)
        self._read_to: int | None = None  # id of the history up to which all was seen
        self._excluded: dict[tuple[int, str], int] = {}  # failures for which a node was last excluded

    @classmethod
    def from_config(cls, config: JobmonConfig, database: Transactions) -> Monitor:
        """As the section ``monitor`` says."""
        limits = NodeLimits(
            config.get_int("monitor", "min_failures"),
            config.get_float("monitor", "min_failure_rate"),
            config.get_float("monitor", "false_alarm_rate"),
        )
        is_excluding = config.get_boolean("monitor", "exclude_nodes")
        return cls(
            database,
            config.get_float("monitor", "window_minutes") * 60,
            limits,
            exclude_seconds=config.get_float("task", "bad_node_seconds") if is_excluding else 0.0,
            fold_seconds=config.get_float("notify", "fold_minutes") * 60,
        )

    def run_once(self, now: datetime | None = None) -> MonitorResult:
        """Read what ended since the last look, and tell of nodes that fail more often than others.

        Args:
            now: time of the database; by default what its clock says.

        Raises:
            LeaseLost: another process does this by now.
        """
        result = self.find_once(now)
        with self.database.read() as connection:
            ids = {row[1]: row[0] for row in connection.execute(select(Cluster.id, Cluster.name))}
        for name, found in result.suspects.items():
            self._tell(ids[name], name, found, now)
        return result

    def find_once(self, now: datetime | None = None) -> MonitorResult:
        """The same, without telling anybody; only reads."""
        with self.database.read() as connection:
            moment = now or dialect.utcnow(connection)
            self._read(connection, moment)
            names = {row[0]: row[1] for row in connection.execute(select(Cluster.id, Cluster.name))}
        self._window.forget_before(moment - self._window.length)
        result = MonitorResult(num_outcomes=len(self._window))
        for cluster_id, outcomes in self._window.by_cluster().items():
            found = suspects(outcomes, self.limits)
            if found:
                result.suspects[names[cluster_id]] = found
        return result

    def _read(self, connection: Connection, now: datetime) -> None:
        after = self._read_to
        if after is None:
            after = first_history_before(connection, now - self._window.length)
        settled = now - timedelta(seconds=OVERLAP_SECONDS)
        last = connection.scalar(select(func.max(TaskHistory.id))) or 0
        reached = after
        for start in range(after, last, PAGE):
            for row in connection.execute(ENDS, {"after": start, "to": min(start + PAGE, last)}):
                history_id, occurred_at, status, cause, nodename, task_id, run_id, cluster_id = row
                if occurred_at <= settled:
                    reached = history_id
                if cause in NOT_THE_NODE or status is None or nodename is None:
                    continue
                outcome = Outcome(occurred_at, TaskInstanceStatus(status) in FAILURES)
                self._window.add(cluster_id, run_id, nodename, task_id, outcome)
        self._read_to = reached

    def _tell(
        self, cluster_id: int, cluster_name: str, found: Sequence[Suspect], given_now: datetime | None
    ) -> None:
        minutes = self._window.length.total_seconds() / 60
        # Without new failures a node is not excluded anew: its time passes, and who forgave it has the last word.
        news = [
            each
            for each in found
            if self.exclude_seconds > 0
            and each.num_failed > self._excluded.get((cluster_id, each.nodename), 0)
        ]

        def work(connection: Connection) -> None:
            now = given_now or dialect.utcnow(connection)
            self._exclude(connection, cluster_id, news, minutes, now)
            for suspect in found:
                message = f"Node {suspect.nodename} of cluster {cluster_name}: {suspect.words(minutes)}"
                if suspect in news:
                    message += (
                        f" Jobs avoid it until {now + timedelta(seconds=self.exclude_seconds):%H:%M} UTC."
                    )
                alarm_note(
                    connection,
                    BAD_NODE,
                    f"{cluster_name} {suspect.nodename}",
                    message,
                    now=now,
                    fold_seconds=self.fold_seconds,
                    is_condition=True,
                )

        self.database.retrying_write(work)
        self._excluded.update({(cluster_id, each.nodename): each.num_failed for each in news})

    def forget(self) -> None:
        """Begin anew: another process may have led meanwhile."""
        self._window = Window(self._window.length.total_seconds())
        self._read_to = None
        self._excluded.clear()

    def _exclude(
        self,
        connection: Connection,
        cluster_id: int,
        found: Sequence[Suspect],
        minutes: float,
        now: datetime,
    ) -> None:
        rows: list[dict[str, Any]] = [
            {
                "cluster_id": cluster_id,
                "nodename": suspect.nodename,
                "reason": suspect.words(minutes)[:REASON_CHARACTERS],
                "task_instance_id": None,
                "seen_at": now,
                "expires_at": now + timedelta(seconds=self.exclude_seconds),
            }
            for suspect in sorted(found, key=lambda each: each.nodename)
        ]
        columns = ("reason", "task_instance_id", "seen_at", "expires_at")
        dialect.upsert(connection, BadNode.__table__, rows, columns)  # type: ignore[arg-type]


ENDS = (
    select(
        TaskHistory.id,
        TaskHistory.occurred_at,
        TaskHistory.instance_to,
        TaskInstance.cause,
        TaskInstance.nodename,
        TaskHistory.task_id,
        TaskInstance.workflow_run_id,
        Queue.cluster_id,
    )
    .join(TaskInstance, TaskInstance.id == TaskHistory.task_instance_id)
    .join(TaskResources, TaskResources.id == TaskInstance.task_resources_id)
    .join(Queue, Queue.id == TaskResources.queue_id)
    .where(
        TaskHistory.id > bindparam("after"),
        TaskHistory.id <= bindparam("to"),
        TaskHistory.instance_to.in_(SUCCESS | FAILURES),
        TaskInstance.nodename.is_not(None),
        TaskInstance.nodename != "",
    )
    .order_by(TaskHistory.id)
)
