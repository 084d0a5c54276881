"""Numbers, lengths of time and resources as people read them."""

from __future__ import annotations

import pytest

from jobmon.core.states import Cause
from jobmon.core.words import (
    CAUSE_WORDS,
    changed_resources,
    counted,
    describe_duration,
    describe_resources,
    rough_duration,
)


def test_every_cause_has_words() -> None:
    assert set(CAUSE_WORDS) == set(Cause)


def test_numbers_of_things() -> None:
    assert [counted(number, "task") for number in (0, 1, 999, 1_234_567)] == [
        "0 tasks",
        "1 task",
        "999 tasks",
        "1 234 567 tasks",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.000_01, "0 s"),
        (0.0042, "0.0042 s"),
        (0.84, "0.84 s"),
        (9.96, "10 s"),
        (42.2, "42 s"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (3600, "1 h 00 min"),
        (7500, "2 h 05 min"),
        (90_000, "25 h 00 min"),
        (400_000, "4 d 15 h"),
    ],
)
def test_lengths_of_time(seconds: float, text: str) -> None:
    assert describe_duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "1 s"),
        (7.4, "7 s"),
        (43, "45 s"),
        (200, "3 min 20 s"),
        (595, "10 min"),
        (1250, "21 min"),
        (7800, "2 h 10 min"),
        (3 * 3600 + 40, "3 h"),
        (86000, "23 h 55 min"),
        (100_000, "1 d 4 h"),
        (86400 * 9, "9 days"),
    ],
)
def test_rough_lengths_of_time_in_words(seconds: float, text: str) -> None:
    assert rough_duration(seconds) == text


def test_resources_have_their_units() -> None:
    asked = {"cores": 2, "memory": 0.5, "runtime": 90, "queue": "all.q", "memory_is_hard": True}
    assert describe_resources(asked) == (
        "cores 2, memory 512 MiB, runtime 1 min 30 s, queue all.q, memory_is_hard True"
    )
    assert describe_resources({}) == ""


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        ({"memory": 1}, {"memory": 1}, []),
        ({"runtime": 60}, {"runtime": 90}, ["runtime 1 min 30 s instead of 1 min"]),
        ({"cores": 1}, {"cores": 1, "memory": 0.5}, ["memory 512 MiB instead of none"]),
        ({"queue": "a", "cores": 1}, {"cores": 2}, ["cores 2 instead of 1", "queue none instead of a"]),
        ({"runtime": 7500}, {"runtime": 7510}, ["runtime 7510 instead of 7500"]),
    ],
)
def test_what_changed_in_a_request(
    before: dict[str, object], after: dict[str, object], changes: list[str]
) -> None:
    """Also where the change is smaller than the words tell."""
    assert changed_resources(before, after) == changes
