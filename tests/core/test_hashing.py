"""Identity hashes: what differs has different hashes."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from jobmon.core.hashing import hash_args, hash_parts

TEXTS = st.text(st.characters(), max_size=6)  # lone surrogates too: file names may hold them


@given(st.lists(TEXTS, max_size=4), st.lists(TEXTS, max_size=4))
def test_different_parts_have_different_hashes(one: list[str], other: list[str]) -> None:
    """No two lists meet in one encoding."""
    assert (hash_parts(one) == hash_parts(other)) == (one == other)


def test_borders_between_parts_count() -> None:
    """What the concatenation of others would confuse."""
    assert hash_args({"a": "1", "b": "23"}) != hash_args({"a": "12", "b": "3"})
    assert hash_parts(["ab"]) != hash_parts(["a", "b"])
    assert hash_parts([]) != hash_parts([""])
    assert hash_parts(["1:a,"]) != hash_parts(["a"])


@given(st.dictionaries(TEXTS, TEXTS, max_size=4))
def test_the_order_of_args_does_not_count(args: dict[str, str]) -> None:
    """Named arguments are a set."""
    assert hash_args(args) == hash_args(dict(reversed(args.items())))


def test_hashes_are_256_bits_in_hexadecimal_digits() -> None:
    """And stay the same for good: databases hold them."""
    assert re.fullmatch("[0-9a-f]{64}", hash_parts(["a"]))
    assert hash_args({"x": "1"}) == "1fe9d3feaac1733e7b039ca863d35a64d8fb9c77e838b711b597f6522c0c053c"
