"""Which nodes of a cluster fail how often, against the others: figures for its page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection, func, select

from jobmon.core.states import TaskInstanceStatus
from jobmon.server.services.monitor import ENDS, FAILURES, NOT_THE_NODE, PAGE, Outcome, Window
from jobmon.server.services.node_statistics import NodeLimits, Stratum, suspects, tail_probability
from jobmon.server.services.usage_integrator import first_history_before
from jobmon.server.web import dialect
from jobmon.server.web.models import TaskHistory

MOST_LINES = 100_000
"""Lines of history that are read, the latest; beyond them the window is shorter than asked for."""
MOST_NODES = 200
"""Nodes that are shown, those with the most failures."""
MOST_COMPARED = 50
"""Nodes for which the probability is worked out."""

Outcomes = Mapping[tuple[int, str], tuple[int, int]]
"""Tasks and those of them that failed, by run and node."""


@dataclass(frozen=True)
class NodeRow:
    """A node, and the other nodes' share of the same runs.

    Attributes:
        nodename: the node.
        num_tasks, num_failed: tasks that ended there in the window.
        num_others, failed_others: tasks of the same runs on other nodes.
        probability: of as many failures if it were like the others; ``None``: not worked out.
        is_suspected: it fails more often than chance explains.
    """

    nodename: str
    num_tasks: int
    num_failed: int
    num_others: int
    failed_others: int
    probability: float | None
    is_suspected: bool


@dataclass(frozen=True)
class NodeFigures:
    """Nodes of a cluster, those with the most failures first.

    Attributes:
        rows: at most :data:`MOST_NODES` of them.
        num_nodes, num_tasks, num_failed: all there were.
        is_cut: not all of the window was read.
    """

    rows: Sequence[NodeRow]
    num_nodes: int
    num_tasks: int
    num_failed: int
    is_cut: bool = False


def node_figures(outcomes: Outcomes, limits: NodeLimits, *, is_cut: bool = False) -> NodeFigures:
    """Compare the nodes. Pure.

    Args:
        outcomes: tasks and failed tasks by run and node.
        limits: when a node is suspected.
        is_cut: not all of the window was read.
    """
    all_of_run: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    by_node: dict[str, dict[int, tuple[int, int]]] = defaultdict(dict)
    for (run_id, nodename), (count, failed) in outcomes.items():
        all_of_run[run_id][0] += count
        all_of_run[run_id][1] += failed
        by_node[nodename][run_id] = (count, failed)
    bad = {each.nodename for each in suspects(outcomes, limits)}
    strata = {
        nodename: [
            Stratum(all_of_run[run][0], all_of_run[run][1], *pair) for run, pair in sorted(runs.items())
        ]
        for nodename, runs in by_node.items()
    }
    ordered = sorted(
        strata,
        key=lambda name: (name not in bad, -sum(s.failed_here for s in strata[name]), name),
    )
    rows = [
        _row(name, strata[name], is_compared=at < MOST_COMPARED, is_suspected=name in bad)
        for at, name in enumerate(ordered[:MOST_NODES])
    ]
    total = sum(each[0] for each in all_of_run.values())
    failed = sum(each[1] for each in all_of_run.values())
    return NodeFigures(rows, len(by_node), total, failed, is_cut)


def _row(nodename: str, strata: Sequence[Stratum], *, is_compared: bool, is_suspected: bool) -> NodeRow:
    count, failed = sum(s.num_here for s in strata), sum(s.failed_here for s in strata)
    others = sum(s.num_all for s in strata) - count
    failed_others = sum(s.failed_all for s in strata) - failed
    probability = tail_probability(strata) if is_compared and failed else None
    return NodeRow(nodename, count, failed, others, failed_others, probability, is_suspected)


def outcomes_read(connection: Connection, cluster_id: int, window_seconds: float) -> tuple[Outcomes, bool]:
    """How tasks of a cluster ended lately, of each task and node the latest; and whether not all of the window was read."""
    now = dialect.utcnow(connection)
    last = connection.scalar(select(func.max(TaskHistory.id))) or 0
    after = first_history_before(connection, now - timedelta(seconds=window_seconds))
    is_cut = last - after > MOST_LINES
    window = Window(window_seconds)
    for start in range(max(after, last - MOST_LINES), last, PAGE):
        for row in connection.execute(ENDS, {"after": start, "to": min(start + PAGE, last)}):
            _, occurred_at, status, cause, nodename, task_id, run_id, of_cluster = row
            if of_cluster != cluster_id or cause in NOT_THE_NODE or status is None or nodename is None:
                continue
            outcome = Outcome(occurred_at, TaskInstanceStatus(status) in FAILURES)
            window.add(cluster_id, run_id, nodename, task_id, outcome)
    return window.by_cluster().get(cluster_id, {}), is_cut
