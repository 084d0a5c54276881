"""What wrappers on compute nodes left because the server was away, for their controller to pass on."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from jobmon.core.instance_event import InstanceEvent

logger = logging.getLogger("jobmon.distributor")

MOST_BYTES = 4_000_000
"""No word of a wrapper is longer; what is, is none."""

_NAME = re.compile(r"(\d{1,18})\.(\d{1,18})\.json")
_DECODER = msgspec.json.Decoder(InstanceEvent)


@dataclass(frozen=True)
class SpooledWord:
    """An event of an attempt and the file it was left in."""

    event: InstanceEvent
    path: Path


class Spool:
    """The directory in which a workflow's wrappers leave files ``<task instance id>.<number>.json``.

    Args:
        directory: it need not exist.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._told: set[str] = set()  # names of files that were complained of

    def take(self) -> list[SpooledWord]:
        """What has been left, in order for each attempt; stays there until :meth:`forget`.

        A file that cannot be read is left, and so are later ones of its attempt: none of them means anything without it.
        """
        words = []
        held_back = set()
        for task_instance_id, _, name in sorted(self._names()):
            if task_instance_id in held_back:
                continue
            path = self._directory / name
            event = self._read(path, task_instance_id)
            if event is None:
                held_back.add(task_instance_id)
            else:
                words.append(SpooledWord(event, path))
        return words

    def forget(self, words: Sequence[SpooledWord]) -> None:
        """Remove what the server has acknowledged."""
        for word in words:
            try:
                word.path.unlink(missing_ok=True)
            except OSError as error:
                self._complain(word.path, f"cannot be removed: {error.strerror}")

    def _names(self) -> list[tuple[int, int, str]]:
        try:
            names = os.listdir(self._directory)
        except FileNotFoundError:
            return []  # nothing was ever left
        except OSError as error:
            self._complain(self._directory, f"cannot be read: {error.strerror}")
            return []
        found = []
        for name in names:
            match = _NAME.fullmatch(name)
            if match is not None:
                found.append((int(match[1]), int(match[2]), name))
            elif not name.startswith("."):  # those are being written
                self._complain(self._directory / name, "is no word of a task")
        return found

    def _read(self, path: Path, task_instance_id: int) -> InstanceEvent | None:
        """The event in a file; ``None`` where it was just removed, is incomplete, or is another's."""
        try:
            with open(path, "rb") as file:
                event = _DECODER.decode(file.read(MOST_BYTES))
        except FileNotFoundError:
            return None  # its wrapper has reached the server after all
        except OSError as error:
            self._complain(path, f"cannot be read: {error.strerror}")
            return None
        except msgspec.MsgspecError as error:
            self._complain(path, f"is incomplete or damaged: {error}")
            return None
        if event.task_instance_id != task_instance_id:
            self._complain(path, f"is about task instance {event.task_instance_id}")
            return None
        return event

    def _complain(self, path: Path, what: str) -> None:
        if path.name not in self._told:
            self._told.add(path.name)
            logger.warning("the file %s %s; it is left as it is", path, what)
