"""Memory and run time as people write them; how requests grow."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobmon.core.cluster_protocol import ClusterQueue
from jobmon.core.exceptions import InvalidMemoryFormat, InvalidMemoryUnit
from jobmon.core.resources import (
    BYTES_OF_UNIT,
    ScaleSequence,
    adjust_resources,
    canonical_resources,
    describe_memory,
    memory_to_bytes,
    memory_to_gib,
    memory_to_whole_gib,
    parse_memory,
    runtime_to_seconds,
    scale_resources,
    scale_value,
    scales_from_json,
    scales_to_json,
)


class Queue(ClusterQueue):
    """A queue with an upper limit of memory."""

    def validate_resources(self, strict: bool = False, **kwargs: Any) -> tuple[bool, str]:
        fits = kwargs.get("memory", 0) <= self.parameters["memory"]
        return fits, "" if fits else "too much"

    def coerce_resources(self, **kwargs: Any) -> dict[str, Any]:
        return {**kwargs, "memory": min(kwargs.get("memory", 0), self.parameters["memory"])}


SMALL, LARGE = Queue(1, "small.q", {"memory": 8}), Queue(2, "large.q", {"memory": 64})


@pytest.mark.parametrize(
    ("value", "gib"),
    [
        (1, 1),
        (1.25, 1.25),
        (2.0, 2),
        ("1.2", 1.2),
        ("3", 3),
        ("8G", 8),
        ("8 gb", 8),
        ("8GiB", 8),
        ("500M", 0.48828125),
        ("200M", 0.1953125),
        ("1025M", 1.0009765625),
        ("1B", 2**-30),
        ("2T", 2048),
        (0, 0),
    ],
)
def test_memory_is_exact_gib(value: Any, gib: float) -> None:
    """A whole amount is an integer, so that equal requests are written alike."""
    found = memory_to_gib(value)
    assert found == gib
    assert isinstance(found, int) == (gib == int(gib))


UNITS = st.sampled_from("BKMGT")


@given(
    st.integers(0, 2**20), UNITS, st.sampled_from(["", "b", "iB"]), st.sampled_from(["", " "]), st.booleans()
)
def test_every_notation_of_memory_is_exact(amount: int, unit: str, tail: str, gap: str, lower: bool) -> None:
    """Binary units, in any case, with or without the B; back in bytes nothing is lost."""
    text = f"{amount}{gap}{unit}{'' if unit == 'B' else tail}"
    gib = memory_to_gib(text.lower() if lower else text)
    assert Fraction(gib) == Fraction(amount * BYTES_OF_UNIT[unit], 2**30)
    assert memory_to_bytes(gib) == amount * BYTES_OF_UNIT[unit]
    assert memory_to_gib(gib) == memory_to_gib(str(gib)) == gib
    assert 0 <= memory_to_whole_gib(text) - gib < 1


@pytest.mark.parametrize(
    ("gib", "text"),
    [(0.1953125, "200 MiB"), (2, "2 GiB"), (1.5, "1.5 GiB"), (2048, "2 TiB"), (1.0009765625, "1.001 GiB"), (0, "0 B"),
     (2**-20, "1 KiB"), (2**-29, "2 B"), (1010 / 1024, "1010 MiB")],
)  # fmt: skip
def test_memory_for_people(gib: float, text: str) -> None:
    """In the unit that fits."""
    assert describe_memory(gib) == text


@pytest.mark.parametrize("text", ["-1", "1.5G", "G", "", "8 8", True, None, -1, float("nan"), float("inf")])
def test_what_is_no_memory_is_refused(text: Any) -> None:
    """With what was written."""
    with pytest.raises(InvalidMemoryFormat):
        memory_to_gib(text)


@pytest.mark.parametrize("text", ["8X", "8GG", "8BB", "8Gx"])
def test_unknown_units_are_refused(text: str) -> None:
    """With those there are."""
    with pytest.raises(InvalidMemoryUnit, match="use B, K, M, G or T"):
        parse_memory(text)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (60, 60),
        (0.5, 1),
        ("90", 90),
        ("01:02:03", 3723),
        ("100:00:00", 360000),
        ("2h", 7200),
        ("1h30m", 5400),
        ("1 hour 5 minutes", 3900),
        ("1.5h", 5400),
        ("90 s", 90),
    ],
)
def test_run_time_is_whole_seconds(value: Any, seconds: int) -> None:
    """In any of the ways of writing it."""
    assert runtime_to_seconds(value) == seconds


@given(st.integers(0, 999), st.integers(0, 59), st.integers(0, 59), st.sampled_from(["", " "]))
def test_every_notation_of_run_time(hours: int, minutes: int, seconds: int, gap: str) -> None:
    """All of them mean the same."""
    total = 3600 * hours + 60 * minutes + seconds
    texts = [
        f"{hours:02d}:{minutes:02d}:{seconds:02d}",
        f"{hours}h{minutes}m{seconds}s",
        f"{hours}{gap}hours {minutes}{gap}minutes {seconds}{gap}Seconds",
        f"{hours * 60 + minutes}{gap}min {seconds}sec",
        str(total),
        f"{total}{gap}s",
    ]
    assert {runtime_to_seconds(each) for each in (*texts, total, float(total))} == {total}


@pytest.mark.parametrize("value", ["soon", "1x", "1:60:00", "h", "", -1, None, True, "1h and some"])
def test_what_is_no_run_time_is_refused(value: Any) -> None:
    """With the ways there are."""
    with pytest.raises(ValueError, match="HH:MM:SS"):
        runtime_to_seconds(value)


def test_other_resources_stay_as_they_are() -> None:
    """Also an absent value."""
    given_ = {"memory": "1G", "runtime": None, "queue": "x", "cores": 2}
    assert canonical_resources(given_) == {"memory": 1, "runtime": None, "queue": "x", "cores": 2}


def test_a_number_adds_that_fraction() -> None:
    """Rounded up, but not by what floating point adds."""
    assert scale_value("memory", 10, 0.1) == 11
    assert scale_value("memory", 3, 0.5) == 5


@given(st.integers(1, 10**6), st.floats(0, 10))
def test_what_grows_never_shrinks(value: int, scale: float) -> None:
    """Whatever the fraction."""
    assert scale_value("memory", value, scale) >= value


def test_a_callable_is_given_the_value() -> None:
    """And must give a number."""
    assert scale_value("memory", 3, lambda value: value + 1) == 4
    with pytest.raises(ValueError, match="'memory' gave 'x' for 3"):
        scale_value("memory", 3, lambda value: "x")
    with pytest.raises(ValueError, match="gave -1 for 3"):
        scale_value("memory", 3, lambda value: -1)


def test_an_iterator_gives_its_values_one_by_one_and_then_stays() -> None:
    """With a warning."""
    scale = iter([5, 7])
    assert [scale_value("memory", 3, scale), scale_value("memory", 5, scale)] == [5, 7]
    with pytest.warns(UserWarning, match="no more values; it stays at 7"):
        assert scale_value("memory", 7, scale) == 7


def test_only_numbers_with_a_scale_grow() -> None:
    """The rest of a request stays."""
    grown = scale_resources(
        {"memory": "2G", "runtime": 10, "queue": "q", "cores": 1}, {"memory": 0.5, "queue": 1.0}
    )
    assert grown == {"memory": 3, "runtime": 10, "queue": "q", "cores": 1}


def test_what_grew_is_canonical_again() -> None:
    """A fraction of a GiB grows to whole ones; what a function gives is brought into the units."""
    assert scale_resources({"memory": "200M"}, {"memory": 0.5}) == {"memory": 1}
    assert scale_resources({"memory": "200M"}, {"memory": lambda value: value * 2}) == {"memory": 0.390625}
    grown = scale_resources(
        {"memory": 1, "runtime": 10}, {"memory": iter([2.0]), "runtime": lambda v: v * 1.25}
    )
    assert json.dumps(grown) == '{"memory": 2, "runtime": 13}'


def test_the_first_queue_that_takes_it_is_used() -> None:
    """Then the fallbacks; beyond all of them, the limits of the last."""
    assert adjust_resources({"memory": 4}, {"memory": 1.0}, [SMALL, LARGE]) == ({"memory": 8}, SMALL)
    assert adjust_resources({"memory": 5}, {"memory": 1.0}, [SMALL, LARGE]) == ({"memory": 10}, LARGE)
    assert adjust_resources({"memory": 60}, {"memory": 1.0}, [SMALL, LARGE]) == ({"memory": 64}, LARGE)
    assert adjust_resources({"memory": 60}, {"memory": 1.0}, [SMALL]) == ({"memory": 8}, SMALL)


def test_a_sequence_can_be_gone_through_by_each_task() -> None:
    """The iterator behind it is read once, as far as somebody got; it may be endless."""

    def numbers() -> Any:
        yield from range(10**9)

    sequence = ScaleSequence(numbers())
    assert sequence.first(3) == [0, 1, 2]
    assert sequence.first(2) == [0, 1]
    one, other = iter(sequence), iter(sequence)
    assert [next(one), next(one), next(other)] == [0, 1, 0]


def test_scales_survive_the_database() -> None:
    """But for callables, which only the script has."""
    scales = {"memory": 0.5, "runtime": ScaleSequence(iter([1, 2, 3]))}
    text = scales_to_json(scales, 3)
    assert json.loads(text) == {"memory": 0.5, "runtime": [1, 2]}
    restored = scales_from_json(text)
    assert restored["memory"] == 0.5
    assert list(restored["runtime"]) == [1, 2]  # type: ignore[arg-type]
    assert list(scales_from_json(text, {"runtime": 1})["runtime"]) == [2]  # type: ignore[arg-type]
    assert list(scales_from_json(text, {"runtime": 9})["runtime"]) == [1, 2]  # type: ignore[arg-type]
    assert scales_from_json("") == {}
    with pytest.raises(ValueError, match="known to the script"):
        scales_from_json(scales_to_json({"memory": len}, 3))
