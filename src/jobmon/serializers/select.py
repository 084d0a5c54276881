"""Messages about tasks that are chosen by what they are, instead of by their ids."""

from __future__ import annotations

from msgspec import Struct

from jobmon.serializers.monitor import TaskRow


class SelectRequest(Struct):
    """Choose tasks of a workflow; every condition that is given must hold, an empty one holds for all.

    Attributes:
        templates: names of task templates, one of which it must be of.
        statuses: status letters, one of which it must be in.
        node_args: values by name of a node arg; it must have one of them.
        attributes: values by name of an attribute; it must have one of them, or any where none is given.
        task_ids: ids, one of which it must have.
        after_task_id: only tasks with greater ids (for the next page).
        limit: at most so many; null: as many as fit into a page.
        is_detailed: with name, status and retries.
    """

    templates: list[str] = []
    statuses: list[str] = []
    node_args: dict[str, list[str]] = {}
    attributes: dict[str, list[str]] = {}
    task_ids: list[int] = []
    after_task_id: int = 0
    limit: int | None = None
    is_detailed: bool = False


class SelectResponse(Struct):
    """Tasks in the order of their ids.

    Attributes:
        task_ids: their ids.
        tasks: the tasks themselves where they were asked for.
        next_after: where the next page begins; null: there is none.
    """

    task_ids: list[int]
    tasks: list[TaskRow]
    next_after: int | None = None


class SubtreeRequest(Struct):
    """Ask for tasks and all that wait for them, directly or not.

    Attributes:
        task_ids: tasks of one workflow.
        statuses: only tasks with these status letters; empty: all.
    """

    task_ids: list[int]
    statuses: list[str] = []


class SubtreeResponse(Struct):
    """Status letter by task id, and the workflow they belong to."""

    workflow_id: int
    statuses: dict[int, str]
