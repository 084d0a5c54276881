"""Attributes: named texts attached to workflows and tasks, for people to find them by."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from jobmon.core.requester import Requester
from jobmon.serializers.define import AttributesRequest, AttributesResponse

ATTRIBUTE_CHARACTERS = 255
"""Width of the columns of names and values."""

Attributes = Mapping[str, Any] | Iterable[str]
"""Names with values, or names alone."""


def parse_attributes(attributes: Attributes | None) -> dict[str, str | None]:
    """Names with their values as text; a list gives names without values.

    Raises:
        ValueError: it is neither a dictionary nor a list, or a name or a value is too long.
    """
    if attributes is None:
        return {}
    if isinstance(attributes, Mapping):
        parsed = {str(name): None if value is None else str(value) for name, value in attributes.items()}
    elif isinstance(attributes, list | tuple | set | frozenset):
        parsed = {str(name): None for name in attributes}
    else:
        raise ValueError(
            f"Attributes must be a dictionary or a list of names, not {type(attributes).__name__} "
            f"{attributes!r}."
        )
    for name, value in parsed.items():
        if not name or len(name) > ATTRIBUTE_CHARACTERS or len(value or "") > ATTRIBUTE_CHARACTERS:
            raise ValueError(
                f"Attribute '{name[:80]}': the name must not be empty, and name and value must not be "
                "longer than "
                f"{ATTRIBUTE_CHARACTERS} characters."
            )
    return parsed


def add_task_attributes(
    attr_dict: Attributes, task_id: int | None = None, requester: Requester | None = None
) -> None:
    """Add attributes to a task, or change those it has; meant to be called from inside a running task.

    Args:
        attr_dict: names and values.
        task_id: the task; by default the one this process runs for (``JOBMON_TASK_ID``).
        requester: how to reach the server.

    Raises:
        ValueError: no task is known, or the attributes are not valid.
    """
    if task_id is None:
        text = os.environ.get("JOBMON_TASK_ID", "")
        if not text.isdigit():
            raise ValueError(
                "There is no task to add attributes to: the environment has no JOBMON_TASK_ID, so this "
                "process "
                "was not started by Jobmon. Pass task_id."
            )
        task_id = int(text)
    message = AttributesRequest(parse_attributes(attr_dict))
    requester = requester or Requester.from_defaults()
    requester.send("PUT", f"/define/task/{task_id}/attributes", message, AttributesResponse)
