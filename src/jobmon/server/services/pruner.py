"""The pruner: deletes what is old, in short transactions, and leaves the database to others in between."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

from sqlalchemy import Connection, Table
from sqlalchemy.exc import IntegrityError

from jobmon.core.states import WorkflowStatus
from jobmon.server.web import dialect
from jobmon.server.web.database import Database, DatabaseBusy
from jobmon.server.web.models import Dag
from jobmon.server.web.schema_dialect import Tell
from jobmon.server.web.store import prune
from jobmon.server.web.store.candidates import candidates_read
from jobmon.server.web.store.define import table_of
from jobmon.server.web.store.prune import ENDED, Freed

T = TypeVar("T")

CHUNK_SIZE = 1000
"""Tasks, edges or nodes deleted in one transaction."""
SHARED_AFTER_SECONDS = 3600.0
"""How long what workflows share must have been on the list: longer than any client takes from looking up to storing."""
BUSY_SECONDS = 60.0
"""How long a busy database is waited for."""
TELL_SECONDS = 5.0


@dataclass
class PruneResult:
    """What was deleted, or would be: ids of workflows, and rows by table."""

    workflow_ids: list[int] = field(default_factory=list)
    freed: Freed = field(default_factory=Freed)


@dataclass
class Pruner:
    """Deletes workflows that ended long ago, and what only they used.

    Attributes:
        database: the database.
        older_than_seconds: how long ago they ended at least.
        statuses: states of workflows that may be deleted.
        shared_after_seconds: see :data:`SHARED_AFTER_SECONDS`.
        chunk_size: see :data:`CHUNK_SIZE`.
        tell: told of progress.
        pause: waits for so many seconds, in which others have the database: as many as were taken from them.
    """

    database: Database
    older_than_seconds: float
    statuses: frozenset[WorkflowStatus] = ENDED
    shared_after_seconds: float = SHARED_AFTER_SECONDS
    chunk_size: int = CHUNK_SIZE
    tell: Tell = print
    pause: Callable[[float], None] = time.sleep
    _told_at: float = field(default_factory=time.monotonic)

    def count(self) -> PruneResult:
        """What :meth:`run_once` would delete of workflows; changes nothing."""
        result = PruneResult()
        for workflow_id in self._workflows(self._ago(self.older_than_seconds)):
            with self.database.read() as connection:
                result.freed += prune.workflow_count_rows(connection, workflow_id)
            result.workflow_ids.append(workflow_id)
        return result

    def run_once(self) -> PruneResult:
        """Delete it. When it is cut off, the next one goes on from there."""
        result = PruneResult()
        before = self._ago(self.older_than_seconds)
        for workflow_id in self._workflows(before):
            self._delete_workflow(workflow_id, before, result)
        self._delete_graphs(result)
        for table, delete in prune.SHARED:
            self._delete_shared(table, delete, result)
        return result

    def _workflows(self, before: datetime) -> Iterator[int]:
        last_id = 0
        while True:
            with self.database.read() as connection:
                ids = prune.workflows_to_prune(
                    connection, before, self.statuses, after_id=last_id, limit=self.chunk_size
                )
            if not ids:
                return
            yield from ids
            last_id = ids[-1]

    def _delete_workflow(self, workflow_id: int, before: datetime, result: PruneResult) -> None:
        """Delete one, unless it was resumed meanwhile."""
        if not self._write(lambda c: prune.workflow_set_aside(c, workflow_id, before, self.statuses)):
            return

        def delete_tasks(connection: Connection) -> Freed:
            return prune.tasks_delete(connection, workflow_id, self.chunk_size, dialect.utcnow(connection))

        while (freed := self._write(delete_tasks))["task"]:
            result.freed += freed
            self._tell_now_and_then(f"Workflow {workflow_id}: {result.freed['task']} tasks deleted so far.")
        result.freed += self._write(lambda c: prune.workflow_delete(c, workflow_id, dialect.utcnow(c)))
        result.workflow_ids.append(workflow_id)

    def _delete_graphs(self, result: PruneResult) -> None:
        noted_before = self._ago(self.shared_after_seconds)
        last_id = 0

        def next_graph(connection: Connection) -> tuple[int, bool] | None:
            ids = candidates_read(connection, table_of(Dag), noted_before, after_id=last_id, limit=1)
            return (ids[0], prune.dag_set_aside(connection, ids[0])) if ids else None

        while (found := self._write(next_graph)) is not None:
            last_id, is_unused = found
            if is_unused:
                self._delete_graph(last_id, result)

    def _delete_graph(self, dag_id: int, result: PruneResult) -> None:
        def delete_edges(connection: Connection) -> Freed:
            return prune.edges_delete(connection, dag_id, self.chunk_size, dialect.utcnow(connection))

        while (freed := self._write(delete_edges))["edge"]:
            result.freed += freed
            self._tell_now_and_then(f"Graph {dag_id}: {result.freed['edge']} edges deleted so far.")
        result.freed += freed

    def _delete_shared(
        self, table: Table, delete: Callable[[Connection, list[int]], Freed], result: PruneResult
    ) -> None:
        noted_before = self._ago(self.shared_after_seconds)
        last_id = 0

        def next_rows(connection: Connection) -> tuple[int, Freed] | None:
            ids = candidates_read(connection, table, noted_before, after_id=last_id, limit=self.chunk_size)
            return (ids[-1], delete(connection, ids)) if ids else None

        try:
            while (found := self._write(next_rows)) is not None:
                last_id, freed = found
                result.freed += freed
                self._tell_now_and_then(f"{result.freed[table.name]} rows of {table.name} deleted so far.")
        except IntegrityError:
            self.tell(f"Rows of {table.name} came into use meanwhile; the next prune looks at the rest.")

    def _write(self, work: Callable[[Connection], T]) -> T:
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            begun = time.monotonic()
            try:
                answer = self.database.retrying_write(work)
            except DatabaseBusy:
                if time.monotonic() > deadline:
                    raise
                self.pause(1.0)
                continue
            self.pause(time.monotonic() - begun)
            return answer

    def _ago(self, seconds: float) -> datetime:
        with self.database.read() as connection:
            return dialect.utcnow(connection) - timedelta(seconds=seconds)

    def _tell_now_and_then(self, sentence: str) -> None:
        if time.monotonic() - self._told_at > TELL_SECONDS:
            self.tell(sentence)
            self._told_at = time.monotonic()
