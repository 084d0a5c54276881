"""What failures that are alike have in common, and the other tasks of their templates have not. Reads only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Connection, and_, bindparam, case, func, or_, select

from jobmon.core.states import TaskInstanceStatus, TaskStatus
from jobmon.serializers.failures import SharedTrait
from jobmon.server.web.analysis.error_clusters import (
    MANY,
    MIN_FAILURES,
    ErrorCluster,
    most_telling_first,
    shared_trait,
)
from jobmon.server.web.models import Arg, NodeArg, Task, TaskInstance, WorkflowRun
from jobmon.server.web.store.define import chunks

SAMPLED_TASKS = 1000
"""Values that failures may share are looked for among so many of their tasks, and then counted among all."""

_IDS: BindParameter[Any] = bindparam("ids", expanding=True)


def runs_of(workflow_id: int) -> Any:
    """Ids of the runs of a workflow, as a part of a statement."""
    return select(WorkflowRun.id).where(WorkflowRun.workflow_id == workflow_id)


Value = tuple[int, int, str]
"""An array, an argument and its value."""


@dataclass(frozen=True)
class Sharing:
    """Compares failures with the other tasks of their templates; reads a workflow once for all clusters."""

    connection: Connection
    workflow_id: int
    arrays: Mapping[int, str]

    def of(self, clusters: Sequence[ErrorCluster]) -> list[list[SharedTrait]]:
        """What the failures of each cluster share, most telling first."""
        counted = [self._count_values(cluster) for cluster in clusters]
        wanted = {value for counts in counted for value in counts}
        totals = self._totals() if wanted else {}
        having = self._having(wanted) if wanted else {}
        arg_names = self._arg_names({arg_id for _, arg_id, _ in wanted})
        nodes = self._done_by_node(clusters)
        traits = []
        for cluster, counts in zip(clusters, counted, strict=True):
            found = [
                self._value_trait(cluster, value, count, totals, having, arg_names)
                for value, count in counts.items()
            ]
            found += [self._node_trait(cluster, array_id, nodes) for array_id in cluster.nodes]
            traits.append(most_telling_first(trait for trait in found if trait is not None))
        return traits

    def _count_values(self, cluster: ErrorCluster) -> dict[Value, int]:
        """Values of node args that most tasks of a cluster have, and how many have each."""
        counts: dict[Value, int] = {}
        for array_id, task_ids in cluster.tasks.items():
            ids = sorted(task_ids)
            if len(ids) < MIN_FAILURES:
                continue
            sample = ids[:: -(-len(ids) // SAMPLED_TASKS)]
            likely = {
                pair: count
                for pair, count in self._count(sample).items()
                if count >= MANY * len(sample) * (1 if len(sample) == len(ids) else 0.9)
            }
            if len(sample) < len(ids) and likely:
                likely = self._count(ids, sorted(likely))
            counts |= {(array_id, arg_id, value): count for (arg_id, value), count in likely.items()}
        return counts

    def _count(
        self, task_ids: Sequence[int], among: Sequence[tuple[int, str]] = ()
    ) -> Counter[tuple[int, str]]:
        """How many tasks have each value, or each of some values."""
        statement = (
            select(NodeArg.arg_id, NodeArg.val, func.count())
            .join(Task, Task.node_id == NodeArg.node_id)
            .where(Task.id.in_(_IDS))
            .group_by(NodeArg.arg_id, NodeArg.val)
        )
        if among:
            statement = statement.where(
                or_(*(and_(NodeArg.arg_id == arg_id, NodeArg.val == value) for arg_id, value in among))
            )
        counts: Counter[tuple[int, str]] = Counter()
        for part in chunks(task_ids):
            for arg_id, value, count in self.connection.execute(statement, {"ids": part}):
                counts[(arg_id, value)] += count
        return counts

    def _totals(self) -> dict[int, tuple[int, int]]:
        """Tasks of each array: done, all."""
        rows = self.connection.execute(
            select(Task.array_id, _num_done(), func.count())
            .where(Task.workflow_id == self.workflow_id)
            .group_by(Task.array_id)
        )
        return {row[0]: (int(row[1]), row[2]) for row in rows}

    def _having(self, values: set[Value]) -> dict[Value, tuple[int, int]]:
        """Tasks that have a value: done, all."""
        is_wanted = or_(
            *(
                and_(Task.array_id == array_id, NodeArg.arg_id == arg_id, NodeArg.val == value)
                for array_id, arg_id, value in sorted(values)
            )
        )
        rows = self.connection.execute(
            select(Task.array_id, NodeArg.arg_id, NodeArg.val, _num_done(), func.count())
            .select_from(Task)
            .join(NodeArg, NodeArg.node_id == Task.node_id)
            .where(Task.workflow_id == self.workflow_id, is_wanted)
            .group_by(Task.array_id, NodeArg.arg_id, NodeArg.val)
        )
        return {(row[0], row[1], row[2]): (int(row[3]), row[4]) for row in rows}

    def _arg_names(self, arg_ids: set[int]) -> dict[int, str]:
        rows = self.connection.execute(select(Arg.id, Arg.name).where(Arg.id.in_(arg_ids)))
        return {row[0]: row[1] for row in rows}

    def _done_by_node(self, clusters: Sequence[ErrorCluster]) -> dict[int, Counter[str]]:
        """Attempts that succeeded, by array and host; of the arrays where failures keep to one host."""
        array_ids = {
            array_id
            for cluster in clusters
            for array_id, nodes in cluster.nodes.items()
            if nodes.total() >= MIN_FAILURES and nodes.most_common(1)[0][1] >= MANY * nodes.total()
        }
        found: dict[int, Counter[str]] = {array_id: Counter() for array_id in array_ids}
        if array_ids:
            rows = self.connection.execute(
                select(TaskInstance.array_id, TaskInstance.nodename, func.count())
                .where(
                    TaskInstance.workflow_run_id.in_(runs_of(self.workflow_id)),
                    TaskInstance.status == TaskInstanceStatus.DONE.value,
                    TaskInstance.array_id.in_(array_ids),
                )
                .group_by(TaskInstance.array_id, TaskInstance.nodename)
            )
            for array_id, node, count in rows:
                found[array_id][node or ""] += count
        return found

    def _value_trait(
        self,
        cluster: ErrorCluster,
        value: Value,
        count: int,
        totals: Mapping[int, tuple[int, int]],
        having: Mapping[Value, tuple[int, int]],
        arg_names: Mapping[int, str],
    ) -> SharedTrait | None:
        array_id, arg_id, text = value
        num_failed = len(cluster.tasks[array_id])
        (done, everything), (done_in_all, all_in_all) = having[value], totals[array_id]
        trait = partial(
            SharedTrait, "node_arg", arg_names[arg_id], text, self.arrays[array_id], count, num_failed
        )
        return shared_trait(trait, (count, num_failed), (done, done_in_all), (everything, all_in_all))

    def _node_trait(
        self, cluster: ErrorCluster, array_id: int, done: Mapping[int, Counter[str]]
    ) -> SharedTrait | None:
        if array_id not in done:
            return None
        node, count = cluster.nodes[array_id].most_common(1)[0]
        num_failed = cluster.nodes[array_id].total()
        trait = partial(SharedTrait, "node", "", node, self.arrays[array_id], count, num_failed)
        others = done[array_id]
        return shared_trait(trait, (count, num_failed), (others[node], others.total()), (count, num_failed))


def _num_done() -> ColumnElement[int]:
    return func.sum(case((Task.status == TaskStatus.DONE.value, 1), else_=0))
