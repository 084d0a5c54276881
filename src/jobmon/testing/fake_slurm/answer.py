"""A command that was called, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

VERSION = "22.05.8"


@dataclass(frozen=True)
class Call:
    """A command that was called.

    Attributes:
        command: its name.
        arguments: its words.
        directory: where it was called.
        environment: of the caller.
        user, uid: who called it.
        read_stdin: reads what the caller pipes into it, to the end.
    """

    command: str
    arguments: tuple[str, ...]
    directory: Path
    environment: Mapping[str, str]
    user: str
    uid: int
    read_stdin: Callable[[], str]


@dataclass(frozen=True)
class Answer:
    """What a command prints, and its exit code."""

    text: str = ""
    code: int = 0
    error: str = ""


class Refused(Exception):
    """A command says no.

    Args:
        error: what it says on stderr.
        code: its exit code.
        text: what it says on stdout.
    """

    def __init__(self, error: str = "", code: int = 1, text: str = "") -> None:
        super().__init__(error or text)
        self.answer = Answer(text and text + "\n", code, error and error + "\n")
