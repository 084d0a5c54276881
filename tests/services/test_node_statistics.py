"""Which nodes are suspected: never more often by chance than was said, and those that are bad."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobmon.server.services import node_statistics
from jobmon.server.services.node_statistics import (
    NodeLimits,
    Stratum,
    hypergeometric,
    suspects,
    tail_probability,
)

RUNS = st.lists(
    st.tuples(st.integers(1, 12), st.integers(0, 12), st.integers(1, 8)).map(
        lambda t: (t[0], min(t[1], t[0]), min(t[2], t[0]))
    ),
    min_size=1,
    max_size=4,
)


def chance(run: tuple[int, int, int], failed_here: int) -> float:
    """Probability of so many failures among the tasks of a node, by counting."""
    num_all, failed_all, num_here = run
    if failed_here > failed_all or num_here - failed_here > num_all - failed_all:
        return 0.0
    good = math.comb(failed_all, failed_here) * math.comb(num_all - failed_all, num_here - failed_here)
    return good / math.comb(num_all, num_here)


@given(RUNS)
def test_the_distribution_of_one_run_is_counted_rightly(runs: list[tuple[int, int, int]]) -> None:
    for run in runs:
        low, probabilities = hypergeometric(*run)
        assert math.isclose(sum(probabilities), 1, rel_tol=1e-9)
        for failed, probability in enumerate(probabilities, low):
            assert math.isclose(probability, chance(run, failed), rel_tol=1e-9)


@given(RUNS, st.floats(0.0005, 0.5))
@settings(max_examples=60)
def test_no_more_false_alarms_than_was_said(runs: list[tuple[int, int, int]], rate: float) -> None:
    """Over all that may happen on a node that is like the others, by enumeration: a small tail comes rarely enough."""
    alarmed = 0.0
    for failures in itertools.product(*(range(run[2] + 1) for run in runs)):
        probability = math.prod(chance(run, failed) for run, failed in zip(runs, failures, strict=True))
        if probability == 0:
            continue
        strata = [Stratum(*run, failed) for run, failed in zip(runs, failures, strict=True)]
        if tail_probability(strata) <= rate:
            alarmed += probability
    assert alarmed <= rate * (1 + 1e-9)


@given(st.integers(0, 2**32))
@settings(max_examples=25)
def test_where_all_nodes_are_alike_next_to_none_is_suspected(seed: int) -> None:
    """Whatever share of the work fails; at a rate of one in a million a look."""
    dice = random.Random(seed)
    share = dice.choice([0.05, 0.3, 0.7])
    outcomes = {}
    for run_id, node in itertools.product(range(5), range(20)):
        count = dice.randint(1, 30)
        outcomes[run_id, f"node{node}"] = (count, sum(dice.random() < share for _ in range(count)))
    assert suspects(outcomes, NodeLimits(5, 0.0, 1e-6)) == []


def test_a_node_on_which_much_fails_that_succeeds_elsewhere_is_suspected() -> None:
    outcomes = {(1, f"node{n}"): (20, 1) for n in range(10)}
    outcomes[1, "bad"] = (10, 8)
    (found,) = suspects(outcomes, NodeLimits())
    assert (found.nodename, found.num_tasks, found.num_failed) == ("bad", 10, 8)
    assert (found.num_others, found.failed_others) == (200, 10)
    assert "8 of 10 tasks failed on it" in found.words(60)


@pytest.mark.parametrize(
    ("outcomes", "why"),
    [
        ({(1, f"node{n}"): (10, 10) for n in range(9)}, "a script with a mistake fails everywhere"),
        ({(1, "only"): (50, 50), (2, "other"): (50, 0)}, "a run on one node has nothing to be compared with"),
        ({(1, f"n{n}"): (20, 0) for n in range(9)} | {(1, "bad"): (4, 4)}, "too few failures"),
        ({(1, f"n{n}"): (900, 0) for n in range(9)} | {(1, "bad"): (900, 90)}, "too small a share"),
    ],
)
def test_what_says_nothing_about_a_node(outcomes: dict[tuple[int, str], tuple[int, int]], why: str) -> None:
    assert suspects(outcomes, NodeLimits()) == [], why


def test_large_numbers_are_bounded_and_never_made_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the length of a distribution a bound stands for the exact tail, which is below it."""
    strata = [Stratum(4000, 400, 300, 90), Stratum(3000, 900, 200, 80)]
    exact = tail_probability(strata)
    monkeypatch.setattr(node_statistics, "MOST_TERMS", 10)
    bound = tail_probability(strata)
    assert exact <= bound < 1e-6
    assert tail_probability([Stratum(4000, 400, 300, 20)]) == 1.0
