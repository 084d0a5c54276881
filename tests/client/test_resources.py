"""Notations of memory and run time, and how requests grow."""

from __future__ import annotations

import itertools
import json
import warnings
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobmon.client.defaults import own_scales
from jobmon.client.task_resources import TaskResources
from jobmon.client.units import MemUnit, TimeUnit
from jobmon.core.cluster_protocol import ClusterQueue
from jobmon.core.exceptions import InvalidMemoryFormat, InvalidMemoryUnit
from jobmon.core.resources import (
    BYTES_OF_UNIT,
    ScaleSequence,
    canonical_resources,
    memory_to_gib,
    runtime_to_seconds,
    scale_resources,
    scale_value,
    scales_from_json,
    scales_to_json,
)


@pytest.mark.parametrize(
    ("text", "gib"),
    [(8, 8), (1.5, 2), (0, 0), ("8", 8), ("1.5", 2), ("8G", 8), ("8 GiB", 8), ("8gb", 8), ("1T", 1024), ("1024M", 1),
     ("1025m", 2), ("1500", 1500), ("1K", 1), ("17179869184B", 16)],
)  # fmt: skip
def test_scripts_get_whole_gib_and_never_less_than_asked(text: Any, gib: int) -> None:
    assert TaskResources.convert_memory_to_gib(text) == gib


@pytest.mark.parametrize("value", ["", "G", "1.5G", "-3G", "G8", -1, None, True, float("nan"), [8], "8 G B"])
def test_memory_nobody_understands(value: Any) -> None:
    with pytest.raises((InvalidMemoryFormat, InvalidMemoryUnit)):
        memory_to_gib(value)


@pytest.mark.parametrize("value", ["8X", "8GG", "8bb", "8 horses"])
def test_units_of_memory_that_do_not_exist(value: str) -> None:
    with pytest.raises(InvalidMemoryUnit, match="no unit"):
        memory_to_gib(value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(90, 90), (0.5, 1), ("90", 90), ("01:30:00", 5400), ("100:00:01", 360001), ("2h", 7200), ("2 Hours", 7200),
     ("90 min", 5400), ("1h30m", 5400), ("1h 30m 5s", 5405), ("1.5h", 5400), ("5 seconds", 5), ("1 minute", 60)],
)  # fmt: skip
def test_run_time_is_whole_seconds(text: Any, seconds: int) -> None:
    assert runtime_to_seconds(text) == seconds


@pytest.mark.parametrize(
    "value", ["", "soon", "5 days", "1:30", "00:61:00", "2h!", -1, None, False, float("inf")]
)
def test_run_time_nobody_understands(value: Any) -> None:
    with pytest.raises(ValueError, match="Run time"):
        runtime_to_seconds(value)


def test_only_memory_and_run_time_have_notations() -> None:
    asked = {"memory": "2G", "runtime": "1h", "cores": 2, "queue": "long.q", "project": "1G"}
    assert canonical_resources(asked) == {**asked, "memory": 2, "runtime": 3600}


# -- growth -----------------------------------------------------------------------------------------
def test_resources_grow_by_fraction_function_or_list() -> None:
    assert scale_value("memory", 10, 0.1) == 11
    assert scale_value("memory", 5, 0.5) == 8
    assert scale_value("memory", 5, lambda value: value + 3) == 8
    values = iter([7, 9])
    assert [scale_value("memory", 5, values) for _ in range(2)] == [7, 9]
    with pytest.warns(UserWarning, match="'memory' has no more values"):
        assert scale_value("memory", 9, values) == 9


@pytest.mark.parametrize("scale", [lambda value: "much", lambda value: None, iter(["much"])])
def test_growth_must_be_a_number(scale: Any) -> None:
    with pytest.raises(ValueError, match="must give a number"):
        scale_value("memory", 5, scale)


@given(st.integers(1, 10_000), st.floats(0, 10))
def test_a_positive_fraction_never_shrinks(value: int, fraction: float) -> None:
    assert value <= scale_value("memory", value, fraction) <= value * (1 + fraction) + 1


def test_what_has_no_scale_or_is_no_number_stays() -> None:
    asked = {"memory": "2G", "runtime": 100, "queue": "long.q", "cores": 3}
    grown = scale_resources(asked, {"memory": 0.5, "queue": 0.5, "gpus": 1})
    assert grown == {"memory": 3, "runtime": 100, "queue": "long.q", "cores": 3}


def test_a_sequence_is_read_by_many_and_only_as_far_as_needed() -> None:
    sequence = ScaleSequence(itertools.count(4))
    one, other = iter(sequence), iter(sequence)
    assert [next(one), next(one), next(other)] == [4, 5, 4]
    assert sequence.first(3) == [4, 5, 6]
    assert list(ScaleSequence(iter([1]))) == [1]


def test_an_iterator_given_to_several_tasks_is_one_sequence() -> None:
    """Whoever is asked first does not take the values from the others."""
    scales = {"runtime": iter([5, 6])}
    first, second = own_scales(scales)["runtime"], own_scales(scales)["runtime"]
    assert first is second
    assert first.first(2) == second.first(2) == [5, 6]
    assert own_scales({"runtime": iter([5, 6])})["runtime"] is not first


def test_scales_in_the_database() -> None:
    text = scales_to_json({"memory": ScaleSequence(iter([4, 5, 6])), "runtime": 0.5}, max_attempts=3)
    assert json.loads(text) == {"memory": [4, 5], "runtime": 0.5}
    stored: dict[str, Any] = dict(scales_from_json(text))
    assert list(stored["memory"]) == [4, 5]
    assert stored["runtime"] == 0.5
    assert scales_from_json("") == {}
    with pytest.raises(ValueError, match=r"'memory' is the function.*script"):
        scales_from_json(scales_to_json({"memory": lambda value: value}, 3))


# -- queues -----------------------------------------------------------------------------------------
class Limited(ClusterQueue):
    """Takes so much memory."""

    def validate_resources(self, strict: bool = False, **kwargs: Any) -> tuple[bool, str]:
        fits = kwargs["memory"] <= self.parameters["memory"]
        return fits, "" if fits else "too much memory"

    def coerce_resources(self, **kwargs: Any) -> dict[str, Any]:
        return {**kwargs, "memory": min(kwargs["memory"], self.parameters["memory"])}


SMALL, MIDDLE, LARGE = (
    Limited(number, f"{memory}.q", {"memory": memory}) for number, memory in enumerate((4, 8, 16))
)


def test_grown_resources_go_to_the_first_queue_that_takes_them() -> None:
    asked = TaskResources({"memory": "4G"}, SMALL)
    grown = asked.adjust_resources({"memory": 0.5}, [MIDDLE, LARGE])
    assert (grown.queue, grown.requested_resources, grown.task_resources_type) == (MIDDLE, {"memory": 6}, "A")
    assert asked.requested_resources == {"memory": "4G"}  # shared with other tasks, so never changed


def test_what_no_queue_takes_is_cut_to_the_last_one() -> None:
    grown = TaskResources({"memory": 16}, LARGE).adjust_resources({"memory": 0.5}, [SMALL, MIDDLE])
    assert (grown.queue, grown.requested_resources) == (MIDDLE, {"memory": 8})
    assert TaskResources({"memory": 4}, SMALL).adjust_resources({"memory": 1}).requested_resources == {
        "memory": 4
    }


def test_task_resources_are_equal_by_what_they_ask_of_which_queue() -> None:
    one, same = (TaskResources(asked, SMALL) for asked in ({"a": 1, "b": 2}, {"b": 2, "a": 1}))
    assert one == same
    assert hash(one) == hash(same)
    assert one != TaskResources({"a": 1, "b": 2}, MIDDLE)
    assert not one.is_bound
    with pytest.raises(AttributeError, match="bind"):
        _ = one.id


# -- units ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "to", "amount"),
    [("1G", "M", 1024), ("500", "M", 500), ("1024k", "M", 1), ("2gib", "G", 2), ("1t", "g", 1024), ("8GB", "K", 8388608),
     ("1535M", "G", 1), ("1536M", "G", 2), ("0", "T", 0)],
)  # fmt: skip
def test_conversion_of_memory_is_exact(text: str, to: str, amount: int) -> None:
    assert MemUnit.convert(text, to) == amount


@given(st.integers(0, 10**15), st.sampled_from("BKMGT"), st.sampled_from("BKMGT"))
def test_conversion_of_memory_rounds_to_the_nearest(amount: int, unit: str, to: str) -> None:
    exact = Fraction(amount * BYTES_OF_UNIT[unit], BYTES_OF_UNIT[to])
    assert abs(MemUnit.convert(f"{amount}{unit}", to) - exact) <= Fraction(1, 2)
    assert MemUnit.convert(f"{amount}{unit}", unit) == amount


def test_conversion_of_memory_refuses_what_it_does_not_know() -> None:
    with pytest.raises(InvalidMemoryFormat):
        MemUnit.convert("1.5G")
    with pytest.raises(InvalidMemoryUnit):
        MemUnit.convert("1G", to="X")


def test_lengths_of_time() -> None:
    time = TimeUnit(min=90, sec=5)
    assert (time.seconds, time.minutes, time.hours) == (5405, 5405 / 60, 5405 / 3600)
    assert time.readable == "1h30m05s"
    assert TimeUnit(hour=0.5).seconds == TimeUnit.hour_to_sec(0.5) == 1800
    assert (TimeUnit.min_to_sec(2), TimeUnit.hour_to_min(2), TimeUnit.min_to_hour(90)) == (120, 120, 1.5)


def test_a_scale_of_a_sequence_warns_only_when_it_is_exhausted() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert scale_value("memory", 1, iter(ScaleSequence(iter([2])))) == 2
