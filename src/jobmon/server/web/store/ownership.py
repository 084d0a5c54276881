"""Whose workflows are: who registered one, and where that is not known, who ran it first.

That never changes, so it is looked up once and remembered. What follows from it says :mod:`jobmon.server.web.identity`.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, select, update

from jobmon.core.exceptions import NotAllowedError, NotFoundError
from jobmon.server.web import identity as rules
from jobmon.server.web.identity import Identity, Owner
from jobmon.server.web.models import Task, Workflow, WorkflowRun

MAX_REMEMBERED = 20_000

_COLUMNS = (Workflow.id, Workflow.owner)
_READ: dict[str, tuple[str, Any]] = {
    "workflow_id": ("workflow", lambda number: select(*_COLUMNS).where(Workflow.id == number)),
    "workflow_run_id": (
        "workflow run",
        lambda number: (
            select(*_COLUMNS)
            .join(WorkflowRun, WorkflowRun.workflow_id == Workflow.id)
            .where(WorkflowRun.id == number)
        ),
    ),
    "task_id": (
        "task",
        lambda number: select(*_COLUMNS).join(Task, Task.workflow_id == Workflow.id).where(Task.id == number),
    ),
}
SUBJECTS = tuple(_READ)
"""By which parameter of a path a workflow is found."""


def owner_read(connection: Connection, subject: str, number: int) -> Owner:
    """Whose the workflow is that an id belongs to.

    Args:
        connection: a transaction.
        subject: what the id is of (:data:`SUBJECTS`).
        number: the id.

    Raises:
        NotFoundError: there is no such thing.
    """
    words, statement = _READ[subject]
    row = connection.execute(statement(number)).first()
    if row is None:
        raise NotFoundError(f"There is no {words} {number}.")
    return Owner(row[0], row[1] or "")


def require_owner(connection: Connection, workflow_id: int, user: str) -> None:
    """Refuse anybody but the owner; a workflow that nobody is known of belongs to nobody yet.

    Raises:
        NotFoundError: there is no such workflow.
        NotAllowedError: it belongs to somebody else.
    """
    owner = owner_read(connection, "workflow_id", workflow_id)
    who = rules.claimed(user)
    if not rules.may_change(who, owner):
        raise NotAllowedError(rules.stranger(who, owner))


def workflow_own_if_nobodys(connection: Connection, workflow_id: int, user: str) -> None:
    """Make a workflow somebody's of which nobody is known."""
    connection.execute(
        update(Workflow)
        .where(Workflow.id == workflow_id, Workflow.owner.is_(None))
        .values(owner=user[:OWNER_CHARACTERS] or None)
    )


OWNER_CHARACTERS = 150


class Owners:
    """Remembers whose workflows are; to be used from any thread.

    Args:
        max_remembered: how many ids are remembered; those used longest ago are forgotten first.
    """

    def __init__(self, max_remembered: int = MAX_REMEMBERED) -> None:
        self._most = max_remembered
        self._known: OrderedDict[tuple[str, int], Owner] = OrderedDict()
        self._lock = threading.Lock()

    def owner(self, subject: str, number: int, look: Callable[[str, int], Owner]) -> Owner:
        """Whose the workflow is that an id belongs to.

        Args:
            subject, number: see :func:`owner_read`.
            look: asks the database.
        """
        key = (subject, number)
        with self._lock:
            known = self._known.get(key)
            if known is not None:
                self._known.move_to_end(key)
                return known
        found = look(subject, number)
        if found.user:  # otherwise somebody may come to own it
            with self._lock:
                self._known[key] = found
                while len(self._known) > self._most:
                    self._known.popitem(last=False)
        return found


def require_may_change(identity: Identity, owner: Owner) -> None:
    """Refuse who may not change a workflow.

    Raises:
        NotAllowedError: it belongs to somebody else, and they are no administrator.
    """
    if not rules.may_change(identity, owner):
        raise NotAllowedError(rules.stranger(identity, owner))
