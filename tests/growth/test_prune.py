"""Old workflows are deleted with all that belongs to them, beside servers that work."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from click.testing import CliRunner
from old_workflows import DAY, DEFINITIONS, counts, ended_workflow
from sqlalchemy import Connection, delete, event, select, text

import databases
from jobmon.core.exceptions import NotFoundError, WorkflowAlreadyComplete, WorkflowNotResumable
from jobmon.core.states import WorkflowStatus
from jobmon.serializers.define import NodeGroup
from jobmon.server.cli import cli
from jobmon.server.services.pruner import Pruner
from jobmon.server.web import dialect
from jobmon.server.web.database import Database, DatabaseBusy
from jobmon.server.web.models import Edge, Node, Task, Workflow, WorkflowRun
from jobmon.server.web.store.candidates import candidates_note, candidates_read
from jobmon.server.web.store.graph import nodes_get_or_create
from jobmon.server.web.store.prune import ENDED, nodes_delete
from jobmon.testing.factory import run_make, workflow_make

pytestmark = pytest.mark.parametrize("backend", databases.parameters())


def pruner(database: Database, days: float = 100, **settings: Any) -> Pruner:
    settings = {"shared_after_seconds": 0, "pause": lambda _seconds: None, "tell": lambda _: None, **settings}
    return Pruner(database, days * DAY, **settings)


def workflow_ids(database: Database) -> list[int]:
    with database.read() as connection:
        return list(connection.scalars(select(Workflow.id).order_by(Workflow.id)))


def test_everything_of_old_workflows_goes(database: Database) -> None:
    """Nothing is left of them but what scripts may hold on to."""
    for number in range(3):
        ended_workflow(database, f"old {number}", days_ago=200)
    assert {"task_history", "task_instance", "edge", "node_arg"} <= counts(database).keys()
    result = pruner(database, chunk_size=2).run_once()
    assert len(result.workflow_ids) == 3
    assert counts(database).keys() <= DEFINITIONS
    assert (result.freed["task"], result.freed["dag"], result.freed["task_resources"]) == (15, 3, 1)


def test_what_is_young_runs_or_failed_stays(database: Database) -> None:
    old = ended_workflow(database, "old", days_ago=101)
    young = ended_workflow(database, "young", days_ago=99)
    failed = ended_workflow(database, "failed", days_ago=200, status=WorkflowStatus.FAILED)
    resumed = ended_workflow(database, "resumed", days_ago=200, status=WorkflowStatus.FAILED)
    database.retrying_write(lambda c: run_make(c, resumed.workflow_id, now=dialect.utcnow(c), user="ada"))
    assert pruner(database, statuses=frozenset({WorkflowStatus.DONE})).run_once().workflow_ids == [
        old.workflow_id
    ]
    result = pruner(database, days=0).run_once()
    assert set(result.workflow_ids) == {young.workflow_id, failed.workflow_id}
    assert workflow_ids(database) == [resumed.workflow_id]


def test_what_others_use_stays(database: Database) -> None:
    """Two workflows of the same nodes: one goes, the other is whole."""
    ended_workflow(database, "twins", days_ago=200, num_tasks=4)
    with database.write() as connection:  # the same tool version, template, nodes and graph; other args
        now = dialect.utcnow(connection)
        row = connection.execute(select(Workflow.__table__)).mappings().one()
        connection.execute(
            Workflow.__table__.insert().values(
                **{
                    **row,
                    "id": row["id"] + 1,
                    "workflow_args_hash": "other",
                    "status": WorkflowStatus.REGISTERING.value,
                    "status_date": now,
                }
            )
        )
    result = pruner(database).run_once()
    assert len(result.workflow_ids) == 1
    assert result.freed["task"] == 4
    left = counts(database)
    assert (left["dag"], left["edge"], left["node"], left["node_arg"]) == (1, 4, 4, 4)
    assert "prune_candidate" not in left


class Stop(Exception):
    """The process ends here."""


def test_stopped_at_any_point_the_next_one_goes_on(database: Database) -> None:
    """A workflow that is half deleted is found by nobody: its script makes a new one."""
    made = ended_workflow(database, "old", days_ago=200, status=WorkflowStatus.FAILED)
    num_stops = 0
    seen_half = False

    def stop_after(count: int) -> Callable[[float], None]:
        left = iter(range(count))

        def stop(_seconds: float) -> None:
            if next(left, None) is None:
                raise Stop

        return stop

    while counts(database).keys() - DEFINITIONS:
        with suppress(Stop):
            pruner(database, chunk_size=2, pause=stop_after(num_stops % 6)).run_once()
        num_stops += 1
        if workflow_ids(database) == [made.workflow_id] and not seen_half:
            seen_half = True
            with pytest.raises(WorkflowNotResumable):
                database.retrying_write(lambda c: run_make(c, made.workflow_id, now=dialect.utcnow(c)))
        assert num_stops < 50
    assert seen_half
    again = database.retrying_write(lambda c: workflow_make(c, now=dialect.utcnow(c), name="old"))
    assert again.workflow_id != made.workflow_id or workflow_ids(database) == [again.workflow_id]


def test_transactions_are_short(database: Database) -> None:
    """None deletes more than some rows for each of the tasks of a chunk."""
    ended_workflow(database, "old", days_ago=200, num_tasks=60)
    per_transaction: list[int] = [0]

    def count(_connection: Connection, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("DELETE"):
            per_transaction[-1] += cursor.rowcount

    event.listen(database.engine, "after_cursor_execute", count)
    event.listen(database.engine, "begin", lambda _connection: per_transaction.append(0))
    pruner(database, chunk_size=10).run_once()
    assert sum(per_transaction) > 60 * 8
    assert max(per_transaction) <= 10 * 12


def test_what_a_client_is_about_to_use_stays(database: Database) -> None:
    """It looked the nodes up after the old workflow was deleted, and has stored nothing that refers to them yet."""
    ended_workflow(database, "old", days_ago=200, num_tasks=3)
    with database.read() as connection:
        before = set(connection.scalars(select(Node.id)))
    pruner(database, shared_after_seconds=3600).run_once()
    assert counts(database)["prune_candidate"] == 2  # graph and resources
    made = database.retrying_write(lambda c: workflow_make(c, [()] * 3, now=dialect.utcnow(c), name="old"))
    assert "prune_candidate" not in counts(database)
    pruner(database).run_once()
    with database.read() as connection:
        tasks = select(Task.node_id).where(Task.workflow_id == made.workflow_id)
        assert set(connection.scalars(tasks)) == before
        assert set(connection.scalars(select(Edge.node_id))) == before


def test_graphs_go_a_prune_later_and_nodes_another(database: Database) -> None:
    """Each waits until nobody can hold its id any more."""
    ended_workflow(database, "old", days_ago=200)

    def prune_an_hour_later() -> dict[str, int]:
        with database.write() as connection:
            shift = text("UPDATE prune_candidate SET noted_at = :then")
            connection.execute(shift, {"then": "2020-01-01 00:00:00"})
        return dict(pruner(database, shared_after_seconds=3600).run_once().freed)

    assert prune_an_hour_later()["workflow"] == 1
    freed = prune_an_hour_later()
    assert (freed["dag"], freed["edge"], freed["task_resources"], freed.get("node", 0)) == (1, 5, 1, 0)
    assert prune_an_hour_later()["node"] == 5
    assert counts(database).keys() <= DEFINITIONS


def test_beside_clients_that_define_the_same_again(database: Database) -> None:
    """Nothing they do fails, however the two fall together: what goes first is done, what comes next is new."""
    made: list[int] = []

    def define(name: str) -> None:
        for _ in range(4):
            deadline = time.monotonic() + 60
            while True:  # until the one before is deleted there is a workflow of these args that is done
                try:
                    workflow = ended_workflow(database, name, days_ago=200, num_tasks=3)
                    break
                except (WorkflowAlreadyComplete, DatabaseBusy):
                    assert time.monotonic() < deadline
                    time.sleep(0.005)
            made.append(workflow.workflow_id)

    with ThreadPoolExecutor(4) as threads:
        clients = [threads.submit(define, f"client {number}") for number in range(3)]
        while not all(client.done() for client in clients):
            pruner(database, chunk_size=2, shared_after_seconds=3600).run_once()
        for client in clients:
            client.result()
    assert len(set(made)) == 12
    pruner(database).run_once()
    assert counts(database).keys() <= DEFINITIONS


def test_ids_are_not_given_out_again(database: Database) -> None:
    """Who kept the link of a workflow that is gone must not see another one."""
    old = ended_workflow(database, "old", days_ago=200)
    pruner(database).run_once()
    new = ended_workflow(database, "new", days_ago=0)
    assert new.workflow_id > old.workflow_id
    with database.read() as connection:
        assert connection.scalar(select(WorkflowRun.id)) > 1


def test_who_looks_up_what_is_being_deleted_waits(database: Database) -> None:
    """And gets a row that is there: of the two who are after one node, the later one sees what the earlier one did."""
    ended_workflow(database, "old", days_ago=200, num_tasks=1)
    pruner(database, shared_after_seconds=3600).run_once()
    with database.read() as connection:
        (node_id,) = connection.scalars(select(Node.id))
        row = connection.execute(select(Node.task_template_version_id, Node.node_args_hash)).one()
    with database.write() as connection:  # as if the graph were gone already
        connection.execute(delete(Edge))
        candidates_note(connection, Node.__table__, [node_id], dialect.utcnow(connection))
    group = NodeGroup(row.task_template_version_id, [], [row.node_args_hash], [[]])
    is_asking = threading.Event()

    def look_up() -> int:
        with database.engine.connect() as connection:
            is_asking.set()
            with connection.begin():
                return nodes_get_or_create(connection, [group])[0][0]

    with ThreadPoolExecutor(1) as thread:
        with database.write() as connection:
            later = dialect.utcnow(connection)
            ids = candidates_read(connection, Node.__table__, later, after_id=0, limit=10)
            assert nodes_delete(connection, ids)["node"] == 1
            found = thread.submit(look_up)
            assert is_asking.wait(20)
        assert found.result(20) != node_id
    with database.read() as connection:
        assert list(connection.scalars(select(Node.id))) == [found.result()]


def test_resumed_in_the_last_moment(database: Database) -> None:
    """Between being chosen and being deleted."""
    made = ended_workflow(database, "old", days_ago=200, status=WorkflowStatus.FAILED)
    late = pruner(database)
    choose = late._workflows

    def choose_and_resume(before: Any) -> Any:
        for workflow_id in choose(before):
            database.retrying_write(lambda c: run_make(c, made.workflow_id, now=dialect.utcnow(c)))
            yield workflow_id

    late._workflows = choose_and_resume  # type: ignore[method-assign]
    assert late.run_once().workflow_ids == []
    assert counts(database)["task"] == 5


def test_the_command(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what it would do, and what it did."""
    ended_workflow(database, "old", days_ago=200)
    ended_workflow(database, "failed", days_ago=200, status=WorkflowStatus.FAILED)
    monkeypatch.setenv(
        "JOBMON__DB__SQLALCHEMY_DATABASE_URI", database.engine.url.render_as_string(hide_password=False)
    )

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(cli, ["db", "prune", *arguments], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    before = counts(database)
    told = run("--older-than", "180d", "--dry-run")
    assert told.startswith("Would delete 2 workflows.\n")
    assert "  task: 10 rows\n" in told
    assert counts(database) == before
    told = run("--older-than", "26w", "--keep-failed")
    assert told.startswith("Deleted 1 workflows.\n")
    assert "  task_instance: 5 rows\n" in told
    assert "Deleted 0 workflows" in run("--older-than", "201d")
    assert workflow_ids(database)
    assert {WorkflowStatus.HALTED, WorkflowStatus.ABORTED} <= ENDED


@pytest.mark.parametrize("age", ["180", "d", "-3d", "3 years"])
def test_ages_that_are_none(age: str, database: Database) -> None:
    result = CliRunner().invoke(cli, ["db", "prune", "--older-than", age])
    assert result.exit_code == 2
    assert "is no length of time" in result.output


def test_a_workflow_that_is_gone_is_not_found(database: Database) -> None:
    made = ended_workflow(database, "old", days_ago=200)
    pruner(database).run_once()
    with pytest.raises(NotFoundError):
        database.retrying_write(lambda c: run_make(c, made.workflow_id, now=dialect.utcnow(c)))
