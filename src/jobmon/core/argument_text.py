"""Values of arguments as text: a word of a command line for a value of a supported type, and back.

Rules
-----
1. What is read equals what was written, type included, for every value of a supported type.
2. The text of a value depends on the value and its type alone, never on a hash seed: it is part of the
   identity of a task.
3. Old command lines are read: ordinary values look the way they always did.

Theory of operation
-------------------
The *text* of a value is what a program finds in its ``argv``:

* ``None`` is ``None``; a bool, int or float is what Python prints (``True``, ``7``, ``1.5``, ``nan``, ``-0.0``).
* A text is itself. Where that would be misread (it is empty or ``None``, begins with ``"`` or holds control
  characters) it is written as a JSON string: ``""``, ``"None"``, ``"two\\nlines"``. A text that begins with
  ``"`` but is no JSON string is itself again when it is read.
* A list, tuple or set is ``[a,b,c]``. Its elements follow the same rules, and a text with a comma, or a space at
  one end, is a JSON string too: ``["a,b",c,None]``. Sets are sorted by the texts of their elements.
* A value of any other type is the text its serializer makes of it.

The *shell word* of a text is what a command says: quoted where the shell would stumble. Two cases always look
the same: ``""`` stays ``""``, which the shell makes an empty word and the reader an empty text, and lists are
in single quotes.

The types: ``str int float bool``, types with a serializer, each of them or ``None``, and ``list``, ``tuple`` or
``set`` of those, or ``None``.
"""

from __future__ import annotations

import json
import re
import shlex
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

NONE_TEXT = "None"
EMPTY_TEXT = '""'

Serializers = Mapping[Any, tuple[Callable[[Any], str], Callable[[str], Any]]]
"""Type: how a value becomes text, and how a text becomes a value."""

SUPPORTED = (
    "Supported are str, int, float, bool and types with a serializer; list[T], tuple[T] and set[T] of these; "
    "and Optional of all of them"
)

_CONTAINERS = (list, tuple, set)
_MISREAD = re.compile(r'\A"|\A(None)?\Z|[\x00-\x1f\x7f\ud800-\udfff]')
_MISREAD_ELEMENT = re.compile(r"\A\s|,|\s\Z")
_SPACES = re.compile(r"\s*")
_TRUTH = {"true": True, "1": True, "false": False, "0": False}
_decode_json = json.JSONDecoder().raw_decode


@dataclass(frozen=True, slots=True)
class ScalarType:
    """A type that is no collection.

    Attributes:
        name: what a user calls it.
        write: text of a value; TypeError when it is of another type.
        read: value of a text; ValueError when there is none.
    """

    name: str
    write: Callable[[Any], str]
    read: Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class ArgumentType:
    """A type values of which can be written on a command line; made by :func:`parse_type`.

    Attributes:
        scalar: the type, or that of the elements.
        is_optional: whether the value may be ``None``.
        container: ``list``, ``tuple``, ``set``, or ``None`` for a scalar.
        has_optional_elements: whether an element may be ``None``.
    """

    scalar: ScalarType
    is_optional: bool = False
    container: type | None = None
    has_optional_elements: bool = False

    def __str__(self) -> str:
        name = self.scalar.name
        if self.container is not None:
            name = f"{self.container.__name__}[{name}{' | None' if self.has_optional_elements else ''}]"
        return f"{name} | None" if self.is_optional else name

    def write(self, value: Any) -> str | list[str]:
        """Text of a value; the texts of its elements when it is a collection.

        Raises:
            TypeError: the value is of another type.
            ValueError: it is a text that no command line can carry.
        """
        if value is None and self.is_optional:
            return NONE_TEXT
        return self.write_elements(value) if self.container is not None else self._write(value)

    def write_elements(self, value: Any) -> list[str]:
        """Texts of the elements of a collection, as they are written between brackets.

        Raises:
            TypeError: the value or one of its elements is of another type.
            ValueError: one of them is a text that no command line can carry.
        """
        allowed = (list, tuple, set, frozenset) if self.container is set else (list, tuple)
        if not isinstance(value, allowed):
            raise TypeError(f"a value of type {self} is needed, not {value!r}")
        texts = [
            NONE_TEXT if each is None and self.has_optional_elements else self._write(each, is_element=True)
            for each in value
        ]
        return sorted(set(texts)) if self.container is set else texts

    def _write(self, value: Any, is_element: bool = False) -> str:
        text = self.scalar.write(value)
        if _MISREAD.search(text) or (is_element and _MISREAD_ELEMENT.search(text)):
            return _quote(text)
        return text

    def read(self, text: str) -> Any:
        """Value of a text.

        Raises:
            ValueError: the text is none of a value of this type.
        """
        if text == NONE_TEXT and self.is_optional:
            return None
        if self.container is None:
            return self.scalar.read(_unquote(text))
        if text.startswith("'") and text.endswith("'"):  # of a command line that no shell has read
            text = text[1:-1]
        if not (text.startswith("[") and text.endswith("]")):
            raise ValueError(f"{text!r} is no {self}: it must be in brackets, such as [a,b]")
        elements = [self._read_element(piece) for piece in _split(text[1:-1])]
        return self.container(elements)

    def _read_element(self, piece: str) -> Any:
        if piece.strip() == NONE_TEXT and self.has_optional_elements:
            return None
        if piece.lstrip().startswith('"'):
            piece = _unquote(piece.strip())
        return self.scalar.read(piece)


# -- texts -----------------------------------------------------------------------------------------
def _quote(text: str) -> str:
    quoted = json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
    try:
        quoted.encode()
    except UnicodeEncodeError:  # half a character, as in names of files that are not UTF-8
        quoted = json.dumps(text)
        if json.loads(quoted) != text:
            raise ValueError(f"{text!r} is no valid Unicode") from None
    return quoted


def _unquote(text: str) -> str:
    if text.startswith('"'):
        try:
            value, end = _decode_json(text)
        except ValueError:
            return text
        if end == len(text):
            return str(value)
    return text


def _split(text: str) -> list[str]:
    """What stands between the commas that are not inside of JSON strings."""
    pieces: list[str] = []
    start = 0
    while start <= len(text) and text:
        end = _end_of_json(text, _skip_spaces(text, start))
        if end < 0 and (end := text.find(",", start)) < 0:
            end = len(text)
        pieces.append(text[start:end])
        start = end + 1
    return pieces


def _end_of_json(text: str, start: int) -> int:
    """Where the element ends that begins as a JSON string; -1 when it is none."""
    if not text.startswith('"', start):
        return -1
    try:
        _, end = _decode_json(text, start)
    except ValueError:
        return -1
    end = _skip_spaces(text, end)
    return end if end == len(text) or text[end] == "," else -1


def _skip_spaces(text: str, start: int) -> int:
    found = _SPACES.match(text, start)
    return found.end() if found else start


def shell_word(text: str | Sequence[str]) -> str:
    """A text, or the texts of the elements of a collection, as a word of a command for ``/bin/sh``."""
    if not isinstance(text, str):
        text = join_elements(text)
    return text if text == EMPTY_TEXT else shlex.quote(text)


def join_elements(texts: Sequence[str]) -> str:
    """The text of a collection from those of its elements."""
    return f"[{','.join(texts)}]"


# -- types -----------------------------------------------------------------------------------------
def parse_type(annotation: Any, serializers: Serializers) -> ArgumentType:
    """What an annotation stands for.

    Raises:
        TypeError: it is not supported; the message says what is.
    """
    whole = annotation
    is_optional = is_optional_type(annotation) and not _has(serializers, annotation)
    if is_optional:
        annotation = get_optional_type_parameter(annotation)
    scalar = _scalar(annotation, serializers)
    if scalar is not None:
        return ArgumentType(scalar, is_optional)
    container = typing.get_origin(annotation)
    if container not in _CONTAINERS:
        raise TypeError(_refusal(annotation))
    elements = typing.get_args(annotation)
    if container is tuple and len(elements) == 2 and elements[1] is Ellipsis:
        elements = elements[:1]
    if len(elements) != 1:
        raise TypeError(
            f"{type_name(whole)} has elements of several types. {SUPPORTED}; tuple[T] has any number"
        )
    element = elements[0]
    has_optional_elements = is_optional_type(element) and not _has(serializers, element)
    if has_optional_elements:
        element = get_optional_type_parameter(element)
    scalar = _scalar(element, serializers)
    if scalar is None:
        nested = element in _CONTAINERS or typing.get_origin(element) in _CONTAINERS
        what = f"{type_name(whole)} is a nested collection. {SUPPORTED}, but no collections of collections"
        raise TypeError(what if nested else _refusal(element))
    return ArgumentType(scalar, is_optional, container, has_optional_elements)


def is_optional_type(obj_type: Any) -> bool:
    """Whether a type is ``Optional[T]`` or ``T | None``."""
    return typing.get_origin(obj_type) in (typing.Union, types.UnionType) and types.NoneType in (
        typing.get_args(obj_type)
    )


def get_optional_type_parameter(obj_type: Any) -> Any:
    """``T`` of ``Optional[T]``.

    Raises:
        TypeError: the type is not optional, or it is a union of several types and ``None``.
    """
    if not is_optional_type(obj_type):
        raise TypeError(f"{type_name(obj_type)} is not Optional[T]")
    parameters = [each for each in typing.get_args(obj_type) if each is not types.NoneType]
    if len(parameters) != 1:
        raise TypeError(f"{type_name(obj_type)} is a union of several types. {SUPPORTED}")
    return parameters[0]


def type_name(annotation: Any) -> str:
    """A type as a user writes it."""
    return (
        annotation.__name__
        if isinstance(annotation, type) and not typing.get_args(annotation)
        else str(annotation).replace("typing.", "")
    )


def check_serializers(serializers: Serializers) -> None:
    """Check the shape of serializers.

    Raises:
        TypeError: they are no mapping of types to pairs of callables.
    """
    if not isinstance(serializers, Mapping):
        raise TypeError(f"serializers must map types to (serialize, deserialize), not be {serializers!r}")
    for kind, pair in serializers.items():
        if not isinstance(pair, tuple | list) or len(pair) != 2 or not all(map(callable, pair)):
            raise TypeError(
                f"the serializer of {type_name(kind)} must be a pair of functions (serialize, deserialize), "
                f"not {pair!r}"
            )


def _refusal(annotation: Any) -> str:
    name = type_name(annotation)
    if annotation in _CONTAINERS:
        return f"{name} does not say of what; write {name}[str], for example. {SUPPORTED}"
    return f"{name} is not supported. {SUPPORTED}; give serializers={{{name}: (to_text, from_text)}}"


def _has(serializers: Serializers, annotation: Any) -> bool:
    try:
        return annotation in serializers
    except TypeError:  # Annotated and Literal may hold what has no hash
        return False


def _scalar(annotation: Any, serializers: Serializers) -> ScalarType | None:
    if _has(serializers, annotation):
        write, read = serializers[annotation]
        return ScalarType(type_name(annotation), _Custom(annotation, write), read)
    return _SIMPLE.get(annotation) if isinstance(annotation, type) else None


@dataclass(frozen=True, slots=True)
class _Custom:
    """Writes values of a type with a serializer, and checks both value and text."""

    type: Any
    serialize: Callable[[Any], str]

    def __call__(self, value: Any) -> str:
        if (
            isinstance(self.type, type)
            and not typing.get_args(self.type)
            and not isinstance(value, self.type)
        ):
            raise _wrong(type_name(self.type), value)
        text = self.serialize(value)
        if not isinstance(text, str):
            raise TypeError(f"the serializer of {type_name(self.type)} must return a text, not {text!r}")
        return text


def _wrong(name: str, value: Any) -> TypeError:
    return TypeError(f"a value of type {name} is needed, not {value!r}")


def _plain(value: Any) -> Any:
    """The Python value of a NumPy scalar; any other value is itself."""
    return value.item() if type(value).__module__ == "numpy" and hasattr(value, "item") else value


def _write_str(value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong("str", value)
    return str.__str__(value)


def _write_int(value: Any) -> str:
    if not isinstance(value, Integral):
        raise _wrong("int", value)
    return str(int(value))


def _write_float(value: Any) -> str:
    if not isinstance(value, Real):
        raise _wrong("float", value)
    try:
        return repr(float(value))
    except OverflowError:
        raise _wrong("float", value) from None


def _write_bool(value: Any) -> str:
    value = _plain(value)
    if not isinstance(value, bool):
        raise _wrong("bool", value)
    return str(value)


def _read_bool(text: str) -> bool:
    try:
        return _TRUTH[text.strip().lower()]
    except KeyError:
        raise ValueError(f"{text!r} is neither True nor False") from None


_SIMPLE = {
    str: ScalarType("str", _write_str, str),
    int: ScalarType("int", _write_int, int),
    float: ScalarType("float", _write_float, float),
    bool: ScalarType("bool", _write_bool, _read_bool),
}
