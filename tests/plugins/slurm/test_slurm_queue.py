"""What a partition takes: names, values, limits, defaults, and the next queue when one is outgrown."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobmon.core.resources import adjust_resources
from jobmon.plugins.slurm.asked import RESOURCES
from jobmon.plugins.slurm.queue import SlurmQueue

LIMITS = {"cores": [1, 16], "memory": [0, 2], "runtime": [0, 600], "nodes": [1, 4], "gres": {"gpu": 2}}


def queue(name: str = "short", **parameters: Any) -> SlurmQueue:
    return SlurmQueue(1, name, {**LIMITS, **parameters})


def test_defaults_are_filled_in() -> None:
    """A task that asks for nothing gets one core, 1 GiB and ten minutes."""
    assert queue().coerce_resources() == {"cores": 1, "memory": 1, "runtime": 600}
    assert SlurmQueue(1, "any", {}).coerce_resources() == {"cores": 1, "memory": 1, "runtime": 600}


def test_defaults_are_those_of_the_partition_and_within_it() -> None:
    """The partition's own default of run time goes first; no default is beyond a limit."""
    small = queue("tiny", memory=[0, 0.25], runtime=[0, 60], default_runtime=90)
    assert small.coerce_resources() == {"cores": 1, "memory": 0.25, "runtime": 60}


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"memory": 5}, "memory=5 (5 GiB) cannot be had: queue short gives at most 2 GiB."),
        ({"runtime": 3600}, "runtime=3600 (1 h 00 min) cannot be had: queue short gives at most 10 min."),
        ({"cores": 17}, "cores=17 cannot be had: queue short gives at most 16."),
        ({"nodes": 5}, "nodes=5 cannot be had: queue short gives at most 4."),
        ({"gpus": 3}, "gpus=3 cannot be had: the nodes of queue short have at most 2."),
    ],
)
def test_what_is_too_much_is_invalid_if_strict_and_brought_within(asked: dict[str, Any], words: str) -> None:
    """Amounts beyond a limit."""
    assert queue().validate_resources(strict=True, **asked) == (False, words)
    assert queue().validate_resources(strict=False, **asked) == (True, "")
    coerced = queue().coerce_resources(**asked)
    assert queue().validate_resources(strict=True, **coerced) == (True, "")


def test_unknown_names_are_named_with_what_was_meant() -> None:
    """Names of other schedulers and slips of the finger; what is left in is what is known."""
    fits, words = queue().validate_resources(m_mem_free=5, coers=2, zzz=1, cores=2)
    assert not fits
    assert "'m_mem_free' (did you mean memory?) or 'coers' (did you mean cores?) or 'zzz' on Slurm" in words
    assert words.endswith(f"known are {', '.join(RESOURCES)}.")
    assert queue().coerce_resources(coers=2, cores=2)["cores"] == 2
    assert "coers" not in queue().coerce_resources(coers=2)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("cores", 0, "is not 1 or more"),
        ("cores", True, "is not a whole number"),
        ("cores", "many", "is not a whole number"),
        ("cores", 1.5, "is not a whole number"),
        ("cores", float("inf"), "is not a whole number"),
        ("nodes", -1, "is not 1 or more"),
        ("ntasks", 0, "is not 1 or more"),
        ("gpus", -1, "is not 0 or more"),
        ("memory", 0, "Slurm takes 0 for all of a node"),
        ("memory", "much", "is not a whole number and a unit"),
        ("memory", float("nan"), "neither a number of GiB"),
        ("runtime", 0, "Slurm takes 0 for no limit"),
        ("runtime", "soon", "neither a number of seconds"),
        ("project", "a\nb", "line break"),
        ("project", "", "is not a text"),
        ("project", 7, "is not a text"),
        ("working_dir", "/a\0b", "control character"),
        ("environment", "mine", "is not one of submit, clean"),
        ("modules", 3, "neither a text nor a list"),
        ("modules", ["a", 3], "is not a text"),
        ("sbatch_arguments", "'x", "no closing quotation"),
        ("sbatch_arguments", "job.sh", "does not begin with an option"),
    ],
)
def test_values_that_cannot_be_meant(name: str, value: object, words: str) -> None:
    """They are invalid whether strict or not, and nothing sensible can be made of them."""
    for strict in (True, False):
        fits, why = queue().validate_resources(strict=strict, **{name: value})
        assert not fits
        assert why.startswith(f"{name}={value!r} ")
        assert words in why
    with pytest.raises(ValueError, match=f"^{name}="):
        queue().coerce_resources(**{name: value})


@pytest.mark.parametrize(
    "word",
    ["--array=1-3", "--arr=1", "-a1", "-J", "--job-name", "--wrap=true", "-W", "--parsable", "--test-only"],
)
def test_options_that_jobmon_sets_itself_are_refused(word: str) -> None:
    """With them it would no longer know its jobs; sbatch understands beginnings of long options, too."""
    fits, why = queue().validate_resources(sbatch_arguments=["--nice=10", word])
    assert not fits
    assert f"holds {word}, which Jobmon sets itself" in why


def test_other_options_are_taken_apart() -> None:
    """A text is split as a shell would; lists stay."""
    asked = {"sbatch_arguments": "--nice=10 --comment 'a b' --wait-all-nodes=1", "modules": "gcc python/3.11"}
    assert queue().validate_resources(True, **asked) == (True, "")
    coerced = queue().coerce_resources(**asked)
    assert coerced["sbatch_arguments"] == ["--nice=10", "--comment", "a b", "--wait-all-nodes=1"]
    assert coerced["modules"] == ["gcc", "python/3.11"]
    assert queue().coerce_resources(**coerced) == coerced


def test_what_is_none_counts_as_not_given() -> None:
    """Scripts write None for "nothing special"."""
    assert queue().validate_resources(True, project=None, memory=None) == (True, "")
    assert queue().coerce_resources(project=None, memory=None) == queue().coerce_resources()


@pytest.mark.parametrize(
    ("parameters", "asked", "words"),
    [
        ({"accounts": ["a", "b"]}, {"project": "c"}, "project=c may not use queue short; these may: a, b."),
        ({"refused_accounts": ["c"]}, {"project": "c"}, "project=c may not use queue short."),
        ({"qos": ["normal"]}, {"qos": "high"}, "qos=high is not allowed in queue short; these are: normal."),
        ({"gres": {}}, {"gpus": 1}, "gpus=1 cannot be had: the nodes of queue short have no GPUs."),
        ({"is_gone": True}, {}, "The cluster has no queue short any more;"),
    ],
)
def test_what_no_amount_mends_is_always_invalid(
    parameters: dict[str, Any], asked: dict[str, Any], words: str
) -> None:
    """Accounts, qualities of service, queues that are gone."""
    for strict in (True, False):
        fits, why = queue(**parameters).validate_resources(strict=strict, **asked)
        assert not fits
        assert why.startswith(words)


def test_a_partition_that_is_down_takes_requests() -> None:
    """It was down when it was asked, and may be up again; jobs wait for it."""
    assert queue(is_up=False).validate_resources(True, cores=1) == (True, "")


def test_a_queue_that_is_outgrown_makes_room_for_the_next() -> None:
    """After a resource error: the first queue that takes the scaled request, else what the last one gives."""
    short, long = queue(), queue("long", memory=[0, 4], runtime=[0, 86400])
    asked = {"cores": 1, "memory": 2, "runtime": 300}
    grown, chosen = adjust_resources(asked, {"memory": 0.5}, [short, long])
    assert (grown["memory"], chosen.queue_name) == (3, "long")
    grown, chosen = adjust_resources({**asked, "memory": 1}, {"memory": 0.5}, [short, long])
    assert (grown["memory"], chosen.queue_name) == (2, "short")
    grown, chosen = adjust_resources({**asked, "memory": 4}, {"memory": 0.5}, [short, long])
    assert (grown["memory"], chosen.queue_name) == (4, "long")
    gone = queue("old", is_gone=True)
    _, chosen = adjust_resources(asked, {"memory": 0}, [gone, long])
    assert chosen.queue_name == "long"


amounts = st.integers(1, 10**6)


@given(
    limits=st.fixed_dictionaries(
        {},
        optional={
            "cores": amounts.map(lambda most: [1, most]),
            "memory": st.floats(0.001, 10**6).map(lambda most: [0, most]),
            "runtime": amounts.map(lambda most: [0, most]),
            "nodes": amounts.map(lambda most: [1, most]),
            "gres": st.integers(1, 16).map(lambda most: {"gpu": most}),
            "default_runtime": amounts,
        },
    ),
    asked=st.fixed_dictionaries(
        {},
        optional={
            "cores": amounts,
            "memory": st.floats(0.001, 10**6),
            "runtime": amounts,
            "nodes": amounts,
            "gpus": st.integers(0, 100),
            "typo": st.none(),
        },
    ),
)
def test_what_was_brought_within_fits(limits: dict[str, Any], asked: dict[str, Any]) -> None:
    """Whatever the limits: it is valid, is brought within only once, and what did fit is as it was."""
    partition = SlurmQueue(1, "any", limits)
    within = partition.coerce_resources(**asked)
    assert partition.validate_resources(strict=True, **within) == (True, "")
    assert partition.coerce_resources(**within) == within
    if partition.validate_resources(strict=True, **asked)[0]:
        assert {name: within[name] for name in asked} == asked
