"""The names a control script needs; ``from jobmon.client.api import Tool`` is enough for most."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobmon.client.attributes import add_task_attributes
from jobmon.client.tool import Tool

if TYPE_CHECKING:
    from jobmon.client.status_commands import task_status, workflow_status, workflow_tasks

__all__ = ["Tool", "add_task_attributes", "task_status", "workflow_status", "workflow_tasks"]


def __getattr__(name: str) -> Any:
    """Import the commands that look at workflows when they are first used; they bring tables along."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module("jobmon.client.status_commands"), name)
