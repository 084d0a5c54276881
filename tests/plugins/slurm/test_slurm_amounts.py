"""Times, sizes and ids as Slurm writes them."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobmon.plugins.slurm.amounts import bytes_of, compress, exit_of, expand, seconds_of, split_id

NUMBERS = st.lists(st.integers(0, 5_000), min_size=1, max_size=200)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("12", 12),
        ("00:05.134", 5.134),
        ("03:04", 184),
        ("1:02:03", 3723),
        ("2-01:02:03", 176523),
        ("1-00:00:00", 86400),
        ("3-04", 273600),
        ("UNLIMITED", None),
        ("INVALID", None),
        ("", None),
    ],
)
def test_seconds(text: str, seconds: float | None) -> None:
    """All forms Slurm has for a time; words are none."""
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("64M", 64 * 2**20),
        ("1.50G", 3 * 2**29),
        ("3400K", 3400 * 1024),
        ("512", 512 * 2**20),
        ("2Gn", 2 * 2**30),
        ("4000Mc", 4000 * 2**20),
        ("1P", 2**50),
        ("0", None),
        ("", None),
        ("?", None),
    ],
)
def test_sizes(text: str, size: int | None) -> None:
    """Sizes with Slurm's units, also those of older versions; nothing asked for is no size."""
    assert bytes_of(text) == size


@pytest.mark.parametrize(
    ("text", "exit_code"),
    [
        ("3:0", (3, 0)),
        ("0:9", (0, 9)),
        ("0:125", (0, 125)),
        ("768", (3, 0)),
        ("9", (0, 9)),
        ("35072", (137, 0)),
        ("253", (0, 125)),
        ("", (None, None)),
        ("x:1", (None, None)),
        ("1:", (None, None)),
    ],
)
def test_exit_codes(text: str, exit_code: tuple[int | None, int | None]) -> None:
    """Both halves of the accounting's form, and a raw wait status."""
    assert exit_of(text) == exit_code


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("2600", ("2600", ())),
        ("13_5", ("13", (5,))),
        ("13_[3-5%3]", ("13", (3, 4, 5))),
        ("13_[1-2,7,10-20:5%2]", ("13", (1, 2, 7, 10, 15, 20))),
        ("13_[4]", ("13", (4,))),
        ("13+1", ("13", ())),
    ],
)
def test_ids(text: str, parts: tuple[str, tuple[int, ...]]) -> None:
    """Jobs, elements, and the waiting rest of an array on one line."""
    assert split_id(text) == parts


@pytest.mark.parametrize(
    "text", ["", "abc", "13_[1,3,5,...]", "13_[1-", "13_", "13_[0-99999999999]", "13_[5-1:0]"]
)
def test_what_is_no_id(text: str) -> None:
    """A list that was cut short is not taken for a whole one, an endless one is not unfolded."""
    with pytest.raises(ValueError, match="is no "):
        split_id(text)


@given(NUMBERS)
def test_lists_of_numbers_survive(numbers: list[int]) -> None:
    """What is compressed for Slurm expands to the same numbers, in order."""
    assert list(expand(compress(numbers))) == sorted(set(numbers))


@given(NUMBERS)
def test_lists_of_numbers_are_short(numbers: list[int]) -> None:
    """No two parts of a compressed list could be one."""
    parts = [part.split("-") for part in compress(numbers).split(",")]
    assert all(int(left[-1]) + 1 < int(right[0]) for left, right in itertools.pairwise(parts))
