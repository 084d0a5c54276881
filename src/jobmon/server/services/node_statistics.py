"""Which nodes fail more often than chance explains. Pure.

The question is not whether much fails on a node, but whether more of the *same* work fails there than elsewhere. A script with a
mistake fails everywhere; it says nothing about nodes. So tasks are compared within their workflow run only: given that of a
run's ``N`` tasks on a cluster ``F`` failed, and that a node had ``n`` of them, the number that failed there is hypergeometric
if the node is like the others. Over all runs that used the node these numbers are independent, and the probability of
as many failures as were seen, or more, is exact: it is the tail of their sum (the exact form of the Cochran-Mantel-Haenszel
test). A run that failed everywhere, or that ran on one node only, contributes nothing, as it should.

A node is suspected when that probability is at most ``false_alarm_rate`` divided by the number of nodes of its cluster
that were compared (Bonferroni), it has enough failures, and they are a large enough share. Where no node is worse than
others, a look therefore suspects any node of a cluster with a probability of at most ``false_alarm_rate``. Looks overlap: the
rate is that of one look, not of a day.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

MOST_CANDIDATES = 50
"""Nodes of a cluster of which the exact probability is computed in one look: those with the most failures."""
MOST_TERMS = 1000
"""Length of a distribution; beyond it Hoeffding's bound stands for the exact probability, and is never below it."""


class Stratum(NamedTuple):
    """Tasks of one run on one cluster, and those of them that one node had.

    Attributes:
        num_all, failed_all: all tasks of the run there, and those that failed.
        num_here, failed_here: the same on the node.
    """

    num_all: int
    failed_all: int
    num_here: int
    failed_here: int


@dataclass(frozen=True)
class NodeLimits:
    """When a node is suspected; see the keys of the section ``monitor``."""

    min_failures: int = 5
    min_failure_rate: float = 0.2
    false_alarm_rate: float = 0.001


@dataclass(frozen=True)
class Suspect:
    """A node that fails more often than others.

    Attributes:
        nodename: the node.
        num_tasks, num_failed: its tasks in the window.
        num_others, failed_others: tasks of the same runs on the other nodes.
        probability: of as many failures if it were like the others.
    """

    nodename: str
    num_tasks: int
    num_failed: int
    num_others: int
    failed_others: int
    probability: float

    def words(self, minutes: float) -> str:
        """A sentence for operators."""
        return (
            f"{self.num_failed} of {self.num_tasks} tasks failed on it in the last {minutes:g} minutes; of the same runs "
            f"{self.failed_others} of {self.num_others} failed on other nodes."
        )


def hypergeometric(num_all: int, failed_all: int, num_here: int) -> tuple[int, list[float]]:
    """Distribution of the failures among ``num_here`` drawn of ``num_all`` tasks, ``failed_all`` of which failed.

    Returns:
        The smallest possible number, and the probabilities from that on.
    """
    low = max(0, num_here - (num_all - failed_all))
    high = min(num_here, failed_all)
    whole = _log_choose(num_all, num_here)
    return low, [
        math.exp(_log_choose(failed_all, k) + _log_choose(num_all - failed_all, num_here - k) - whole)
        for k in range(low, high + 1)
    ]


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def tail_probability(strata: Sequence[Stratum]) -> float:
    """Probability of as many failures on a node as were seen, or more, if it is like the others."""
    seen = sum(stratum.failed_here for stratum in strata)
    lowest, distribution = 0, [1.0]
    for stratum in strata:
        low, probabilities = hypergeometric(stratum.num_all, stratum.failed_all, stratum.num_here)
        lowest += low
        if len(probabilities) == 1:
            continue  # nothing is left to chance
        if len(distribution) + len(probabilities) > MOST_TERMS:
            return _bound(strata, seen)
        distribution = _convolve(distribution, probabilities)
    return min(1.0, sum(distribution[max(0, seen - lowest) :])) if seen > lowest else 1.0


def _bound(strata: Sequence[Stratum], seen: int) -> float:
    """Hoeffding's bound of the tail, which holds for drawing without replacement too."""
    expected = sum(s.num_here * s.failed_all / s.num_all for s in strata)
    drawn = sum(s.num_here for s in strata)
    return math.exp(-2 * (seen - expected) ** 2 / drawn) if seen > expected else 1.0


def _convolve(first: Sequence[float], second: Sequence[float]) -> list[float]:
    result = [0.0] * (len(first) + len(second) - 1)
    for i, one in enumerate(first):
        for j, other in enumerate(second):
            result[i + j] += one * other
    return result


def suspects(
    outcomes: Mapping[tuple[int, str], tuple[int, int]], limits: NodeLimits, total_nodes: int | None = None
) -> list[Suspect]:
    """Nodes of one cluster that fail more often than the others, the most certain first.

    Args:
        outcomes: tasks and failed tasks by run and node.
        limits: when a node is suspected.
        total_nodes: how many nodes were compared; by default those that occur.
    """
    all_of_run: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    by_node: dict[str, dict[int, tuple[int, int]]] = defaultdict(dict)
    for (run_id, nodename), (count, failed) in outcomes.items():
        all_of_run[run_id][0] += count
        all_of_run[run_id][1] += failed
        by_node[nodename][run_id] = (count, failed)
    threshold = limits.false_alarm_rate / max(1, total_nodes or len(by_node))
    found = []
    for nodename in _candidates(by_node, limits):
        runs = by_node[nodename]
        strata = [
            Stratum(all_of_run[run_id][0], all_of_run[run_id][1], count, failed)
            for run_id, (count, failed) in sorted(runs.items())
        ]
        probability = tail_probability(strata)
        if probability <= threshold:
            count, failed = sum(s.num_here for s in strata), sum(s.failed_here for s in strata)
            others = sum(s.num_all for s in strata) - count
            failed_others = sum(s.failed_all for s in strata) - failed
            found.append(Suspect(nodename, count, failed, others, failed_others, probability))
    return sorted(found, key=lambda each: (each.probability, each.nodename))


def _candidates(by_node: Mapping[str, Mapping[int, tuple[int, int]]], limits: NodeLimits) -> Iterable[str]:
    """Nodes with enough failures, those with the most first."""
    totals = {
        nodename: (sum(count for count, _ in runs.values()), sum(failed for _, failed in runs.values()))
        for nodename, runs in by_node.items()
    }
    enough = [
        nodename
        for nodename, (count, failed) in totals.items()
        if failed >= limits.min_failures and failed >= limits.min_failure_rate * count
    ]
    return sorted(enough, key=lambda nodename: (-totals[nodename][1], nodename))[:MOST_CANDIDATES]
