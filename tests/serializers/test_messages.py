"""Messages on the wire: they survive the journey, and one version more or less on the other side."""

from __future__ import annotations

import inspect
import typing
from types import ModuleType
from typing import Any

import msgspec
import pytest

from jobmon.core.instance_event import InstanceEvent
from jobmon.serializers import define, explain, failures, local, monitor, plan, swarm, trace, usage, worker

MODULES: list[ModuleType] = [define, explain, failures, local, monitor, plan, swarm, trace, usage, worker]
MESSAGES = sorted(
    {
        kind
        for module in MODULES
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if issubclass(kind, msgspec.Struct) and kind is not msgspec.Struct
    },
    key=lambda kind: kind.__name__,
)


def example(kind: Any) -> Any:
    """A value of a type."""
    if kind is Any:
        return "anything"
    if inspect.isclass(kind) and issubclass(kind, msgspec.Struct):
        hints = typing.get_type_hints(kind)
        return kind(**{name: example(hints[name]) for name in kind.__struct_fields__})
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is list:
        return [example(args[0])]
    if origin is dict:
        return {example(args[0]): example(args[1])}
    if origin is tuple:
        return tuple(example(arg) for arg in args if arg is not ...)
    if args:  # a union
        return example(next(arg for arg in args if arg is not type(None)))
    if hasattr(kind, "__members__"):
        return next(iter(kind))
    return {int: 7, float: 1.5, str: "ä\n\"'$", bool: True}.get(kind)


@pytest.mark.parametrize("kind", MESSAGES)
def test_a_message_survives_the_journey(kind: type[msgspec.Struct]) -> None:
    """As JSON, there and back."""
    message = example(kind)
    assert msgspec.json.decode(msgspec.json.encode(message), type=kind) == message


@pytest.mark.parametrize("kind", MESSAGES)
def test_what_a_newer_sender_adds_is_ignored(kind: type[msgspec.Struct]) -> None:
    """Client and server of neighbouring versions understand each other."""
    raw = msgspec.to_builtins(example(kind))
    assert msgspec.convert({**raw, "of_tomorrow": 1}, kind, str_keys=True) == example(kind)


@pytest.mark.parametrize("kind", MESSAGES)
def test_every_message_is_explained(kind: type[msgspec.Struct]) -> None:
    """It is the reference of the wire."""
    assert (kind.__doc__ or "").strip().endswith(".")


def test_an_event_is_short() -> None:
    """What is not said takes no room: there are many of them."""
    text = msgspec.json.encode(InstanceEvent(5, next(iter(typing.get_type_hints(InstanceEvent)["event"]))))
    assert text == b'{"task_instance_id":5,"event":"instantiate"}'
