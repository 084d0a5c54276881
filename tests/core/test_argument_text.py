"""Values of arguments survive the command line: written, read by a shell, and read back."""

# ruff: noqa: UP045 (both spellings must work)

from __future__ import annotations

import math
import shlex
import subprocess
from typing import Any, Optional

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobmon.core.argument_text import (
    get_optional_type_parameter,
    is_optional_type,
    parse_type,
    shell_word,
)

Value = tuple[Any, Any]
"""A type and a value of it."""


class Place:
    """A type of a user, told apart by its text."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Place) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"Place({self.name!r})"


SERIALIZERS = {Place: (lambda place: place.name, Place)}

# What shells, lists and readers stumble over, and everything else.
AWKWARD = st.lists(
    st.sampled_from(["'", '"', ",", "[", "]", "\\", "\n", "\t", " ", "$HOME", "`", "{x}", "{", "-", "=", "None", "", "\0",
                     "ü", "😀", "\x85", "\u2028", "\x7f", "\udc80", "*", "!", "~", "#", ";", "a"]),
    max_size=6,
).map("".join)  # fmt: skip
TEXTS = st.one_of(AWKWARD, st.text(), st.sampled_from(["None", "", '""', "''", "[]", "[a]", "True", "nan"]))
SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    str: TEXTS,
    int: st.integers(),
    float: st.floats(),
    bool: st.booleans(),
    Place: TEXTS.map(Place),
}


@st.composite
def values(draw: st.DrawFn) -> Value:
    """Any supported type with any value of it."""
    scalar = draw(st.sampled_from(sorted(SCALARS, key=repr)))
    annotation, some = scalar, SCALARS[scalar]
    if container := draw(st.sampled_from([None, list, tuple, set])):
        if draw(st.booleans()):
            annotation, some = Optional[annotation], st.none() | some
        annotation = (
            container[annotation, ...]
            if container is tuple and draw(st.booleans())
            else container[annotation]
        )
        some = st.lists(some, max_size=5).map(container)
    if draw(st.booleans()):
        annotation, some = annotation | None, st.none() | some
    return annotation, draw(some)


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal in type as well, with one NaN like another and -0.0 unlike 0.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return repr(one) == repr(other)
    if isinstance(one, set):
        return len(one) == len(other) and all(any(same(a, b) for b in other) for a in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def distinct(value: Any) -> Any:
    """A set with one NaN at most, and one zero, as is true of what can be told apart in text."""
    if isinstance(value, set):
        return {each if each == each else math.nan for each in value}
    return value


@settings(max_examples=2000)
@given(values())
def test_what_is_written_is_read(pair: Value) -> None:
    annotation, value = pair
    kind = parse_type(annotation, SERIALIZERS)
    word = shell_word(kind.write(value))
    assert "\n" not in word
    (text,) = shlex.split(f"x={word}")
    assert same(kind.read(text.removeprefix("x=")), distinct(value))


@settings(max_examples=40)
@given(st.lists(values(), min_size=20, max_size=40))
def test_a_real_shell_hands_on_every_word(pairs: list[Value]) -> None:
    kinds = [parse_type(annotation, SERIALIZERS) for annotation, _ in pairs]
    words = [f"x={shell_word(kind.write(value))}" for kind, (_, value) in zip(kinds, pairs, strict=True)]
    command = f"printf '%s\\0' {' '.join(words)}"
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, check=True)
    texts = done.stdout.decode("utf-8").split("\0")[:-1]
    assert len(texts) == len(pairs)
    for kind, text, (_, value) in zip(kinds, texts, pairs, strict=True):
        assert same(kind.read(text.removeprefix("x=")), distinct(value))


@pytest.mark.parametrize(
    ("annotation", "value", "word"),
    [
        (int, 7, "7"),
        (float, 0.5, "0.5"),
        (float, 3, "3.0"),
        (bool, True, "True"),
        (str, "abc", "abc"),
        (str, "two words", "'two words'"),
        (str, "", '""'),
        (Optional[str], "", '""'),
        (Optional[str], None, "None"),
        (Optional[str], "None", "'\"None\"'"),
        (str, "a\nb", "'\"a\\nb\"'"),
        (list[str], ["a", "b", "c"], "'[a,b,c]'"),
        (list[int], [1, 2], "'[1,2]'"),
        (list[int], [], "'[]'"),
        (list[Optional[int]], [1, None], "'[1,None]'"),
        (tuple[str, ...], ("a,b", "it's"), "'[\"a,b\",it'\"'\"'s]'"),
        (set[int], {10, 9, 1}, "'[1,10,9]'"),
        (Optional[list[int]], None, "None"),
        (Place, Place("here"), "here"),
    ],
)  # fmt: skip
def test_words_of_a_command(annotation: Any, value: Any, word: str) -> None:
    """Ordinary values look as they always did; only what would be misread is a JSON string."""
    assert shell_word(parse_type(annotation, SERIALIZERS).write(value)) == word


def test_scalars_of_numpy_are_like_those_of_python() -> None:
    np = pytest.importorskip("numpy")
    pairs = [
        (int, np.int64(3), "3"),
        (float, np.float32(0.5), "0.5"),
        (bool, np.bool_(True), "True"),
        (str, np.str_("x"), "x"),
        (list[float], [np.float64(1.5), 2], ["1.5", "2.0"]),
    ]
    for annotation, value, text in pairs:
        assert parse_type(annotation, {}).write(value) == text


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        (str, "", ""),
        (str, "None", "None"),
        (str, '"not json', '"not json'),
        (str, '"a" and "b"', '"a" and "b"'),
        (str, "[a,b]", "[a,b]"),
        (bool, "true", True),
        (bool, "0", False),
        (float, "-inf", -math.inf),
        (list[str], "[]", []),
        (list[str], "[a,b c,]", ["a", "b c", ""]),
        (list[str], "'[a,b]'", ["a", "b"]),
        (list[str], '["a, b" , "c",d"e]', ["a, b", "c", 'd"e']),
        (list[str], '["a"b,c]', ['"a"b', "c"]),
        (list[int], "[1, 2]", [1, 2]),
        (list[Optional[str]], "[a, None]", ["a", None]),
        (list[str], "[a,None]", ["a", "None"]),
        (set[int], "[1,1]", {1}),
    ],
)
def test_old_and_handwritten_command_lines_are_read(annotation: Any, text: str, value: Any) -> None:
    assert same(parse_type(annotation, {}).read(text), value)


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (int, "x"), (int, ""), (int, "None"), (float, "1,5"), (bool, "maybe"), (list[int], "1,2"),
        (list[int], "[1,x]"), (list[int], "None"),
    ],
)  # fmt: skip
def test_what_is_no_value_of_the_type_is_refused(annotation: Any, text: str) -> None:
    with pytest.raises(ValueError):
        parse_type(annotation, {}).read(text)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (int, "1"), (int, 1.5), (int, None), (str, 1), (float, "1"), (bool, 1), (list[int], 1), (list[str], "ab"),
        (list[str], ["a", 1]), (list[int], [None]), (list[int], {1}), (Place, "here"),
    ],
)  # fmt: skip
def test_a_value_of_another_type_is_not_written(annotation: Any, value: Any) -> None:
    with pytest.raises(TypeError, match="is needed"):
        parse_type(annotation, SERIALIZERS).write(value)


def test_what_no_command_line_can_carry() -> None:
    """Two halves that would grow together."""
    with pytest.raises(ValueError, match="Unicode"):
        parse_type(str, {}).write("\ud83d\ude00")


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (list, r"write list\[str\]"),
        (dict[str, int], "is not supported"),
        (frozenset[int], "is not supported"),
        (list[list[int]], "nested"),
        (list[Optional[list[int]]], "nested"),
        (list[tuple], "nested"),
        (tuple[int, str], "several types"),
        (int | str, "is not supported"),
        (int | str | None, "union of several types"),
        (complex, r"serializers=\{complex: "),
        (list[bytes], r"serializers=\{bytes: "),
        (Any, "is not supported"),
    ],
)
def test_types_that_are_not_supported(annotation: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words) as caught:
        parse_type(annotation, {})
    assert "Supported are str, int" in str(caught.value)


def test_a_serializer_makes_any_type_a_scalar() -> None:
    """Collections and unions too."""
    pairs = {dict[str, int]: (repr, eval), int | str: (repr, eval)}
    kind = parse_type(list[dict[str, int] | None] | None, pairs)
    assert kind.read(shlex.split(shell_word(kind.write([{"a,": 1}, None])))[0]) == [{"a,": 1}, None]
    either = parse_type(int | str, pairs)
    assert [either.read(str(either.write(each))) for each in (1, "1")] == [1, "1"]


def test_optional_types() -> None:
    assert [is_optional_type(each) for each in (Optional[int], int | None, int, list[int | None], int | str)] == [
        True, True, False, False, False,
    ]  # fmt: skip
    assert get_optional_type_parameter(Optional[list[int]]) == list[int]
    with pytest.raises(TypeError, match="not Optional"):
        get_optional_type_parameter(int)
