"""What is put into a database comes out of it, to the letter and the microsecond, or is refused: on each in the same way."""

from __future__ import annotations

from datetime import datetime

import pytest
from scene import Scene
from sqlalchemy import func, insert, select, update
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

import databases
from databases import Backend
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import TaskInstanceEvent
from jobmon.server.web import bulk, dialect
from jobmon.server.web.database import Database
from jobmon.server.web.models import Node, Task, TaskInstance, TaskInstanceErrorLog, Tool
from jobmon.server.web.store import define
from jobmon.server.web.store.attempts import attempts_apply_events

ALIKE = [
    "fit",
    "Fit",
    "FIT",
    "fit ",
    " fit",
    "fît",
    "fit\t",
    "fit\u200b",
    "ﬁt",
    "ß",
    "ss",
    "ı",
    "i",
    "é",
    "e\u0301",
]
STRANGE = r"""😀 "double" 'single' back\slash \n \u0041 100 % %s :name {"a": [1]} -- ; /* ᚠ"""
BEYOND_32_BITS = 5_000_000_000
MICROSECOND = datetime(2026, 3, 29, 2, 30, 0, 123456)  # noqa: DTZ001 - times of the database are naive
on_servers = pytest.mark.parametrize("backend", databases.parameters(databases.SERVERS))


def task_rows(scene: Scene, column: str) -> list[object]:
    return [row[0] for row in scene.rows(f"SELECT {column} FROM task ORDER BY id")]


def test_texts_that_look_alike_are_different(database: Database) -> None:
    """Case, accents, spaces at the end: unique names and comparisons go by the letter."""
    ids = [database.retrying_write(lambda c, n=name: define.tool_get_or_create(c, n)).id for name in ALIKE]  # type: ignore[misc]
    assert len(set(ids)) == len(ALIKE)
    with database.read() as connection:
        for name, tool_id in zip(ALIKE, ids, strict=True):
            assert connection.scalars(select(Tool.id).where(Tool.name == name)).all() == [tool_id]


def test_any_text_is_kept(bound: Scene) -> None:
    """Whether it comes in a statement of its own or with many others."""
    lines = [(STRANGE, bound.task_ids[0]), (STRANGE * 5000, bound.task_ids[1])]
    bound.write(lambda c: bulk.update_rows(c, Task.__table__, ["command"], lines))  # type: ignore[arg-type]
    bound.write(lambda c: c.execute(update(Task).where(Task.id == bound.task_ids[2]).values(command=STRANGE)))
    assert task_rows(bound, "command")[:3] == [STRANGE, STRANGE * 5000, STRANGE]


def test_rows_that_are_too_many_bytes_for_one_statement(bound: Scene) -> None:
    """They take several; none is lost. A statement of all of them would be refused."""
    lines = [(f"{n}" * 1_500_000, task_id) for n, task_id in enumerate(bound.task_ids, 1)]
    bound.write(lambda c: bulk.update_rows(c, Task.__table__, ["command"], lines))  # type: ignore[arg-type]
    assert task_rows(bound, "length(command)") == [1_500_000] * 4
    assert task_rows(bound, "substr(command, 1, 1)") == ["1", "2", "3", "4"]


def test_numbers_and_times_are_kept(bound: Scene) -> None:
    """Beyond 32 bits, beyond the point, to the microsecond, and nothing as nothing."""
    bound.start_run()
    attempt = bound.attempt(0)
    values = (BEYOND_32_BITS, 0.1, MICROSECOND, None, attempt)
    columns = ["maxrss", "wallclock", "report_by_date", "nodename"]
    bound.write(lambda c: bulk.update_rows(c, TaskInstance.__table__, columns, [values]))  # type: ignore[arg-type]
    read = select(
        TaskInstance.maxrss, TaskInstance.wallclock, TaskInstance.report_by_date, TaskInstance.nodename
    )
    assert bound.read(lambda c: tuple(c.execute(read).one())) == values[:-1]


@on_servers
@pytest.mark.parametrize(
    ("column", "value"),
    [("nodename", "n" * 151), ("distributor_id", "1" * 21), ("exit_code", BEYOND_32_BITS)],
)
def test_what_does_not_fit_is_refused_and_not_cut(bound: Scene, column: str, value: object) -> None:
    """In either way of writing it; SQLite knows no widths."""
    bound.start_run()
    attempt = bound.attempt(0)
    with pytest.raises(DataError):
        bound.write(
            lambda c: bulk.update_rows(c, TaskInstance.__table__, [column], [(value, attempt)])  # type: ignore[arg-type]
        )
    with pytest.raises(DataError):
        bound.write(lambda c: c.execute(update(TaskInstance).values({column: value})))


@pytest.mark.parametrize("is_bulk", [False, True])
def test_leaving_out_what_is_there_hides_no_other_fault(bound: Scene, is_bulk: bool) -> None:
    """A row of no parent, and one that lacks a value, are refused."""

    def put(**values: object) -> None:
        def work(connection):  # type: ignore[no-untyped-def]
            if is_bulk:
                table = Node.__table__
                bulk.insert_rows(connection, table, list(values), [tuple(values.values())], ignore=True)  # type: ignore[arg-type]
            else:
                dialect.insert_ignore(connection, Node.__table__, [values])  # type: ignore[arg-type]

        bound.write(work)

    version = bound.ids["template"].id
    before = bound.rows("SELECT count(*) FROM node")
    (known,) = bound.rows("SELECT node_args_hash FROM node ORDER BY id")[0]
    put(id=999, task_template_version_id=version, node_args_hash=known)
    put(id=bound.ids["nodes"][0], task_template_version_id=version, node_args_hash="other")
    assert bound.rows("SELECT count(*) FROM node") == before
    with pytest.raises(IntegrityError):
        put(id=999, task_template_version_id=4711, node_args_hash="new")
    with pytest.raises(SQLAlchemyError):
        put(id=999, task_template_version_id=version, node_args_hash=None)
    assert bound.rows("SELECT count(*) FROM node") == before


def test_thousands_of_ids_in_one_question(bound: Scene) -> None:
    """As many as the chunks of the store hold, and more."""
    ids = [*range(10_000_000, 10_020_000), *bound.task_ids]
    some = select(func.count()).select_from(Task).where(dialect.among(Task.id, "ids"))
    assert bound.read(lambda c: c.scalar(some, {"ids": ids})) == 4
    names = select(func.count()).select_from(Task).where(dialect.among(Task.name, "names"))
    assert bound.read(lambda c: c.scalar(names, {"names": ["fit_0", "FIT_1", "fit_2 ", *map(str, ids)]})) == 1


def test_nothing_but_reading_in_a_reading_transaction(backend: Backend, bound: Scene) -> None:
    """And what is read in one is of one moment, whatever others commit meanwhile."""
    count = select(func.count()).select_from(Tool)
    with bound.database.read() as connection:
        before = connection.scalar(count)
        bound.write(lambda c: define.tool_get_or_create(c, "another"))
        assert connection.scalar(count) == before
    assert bound.read(lambda c: c.scalar(count)) == before + 1  # type: ignore[operator]
    if backend is not Backend.SQLITE:
        with pytest.raises(SQLAlchemyError), bound.database.read() as connection:
            connection.execute(insert(Tool).values(name="written"))


def test_the_clock_of_the_database_is_in_utc_and_exact(database: Database) -> None:
    """On all of them; to the microsecond, so that what comes later is later."""
    with database.read() as connection:
        times = [dialect.utcnow(connection) for _ in range(20)]
    assert times == sorted(times)
    assert any(time.microsecond % 1000 for time in times)
    assert all(time.tzinfo is None for time in times)
    assert abs((times[0] - datetime.utcnow()).total_seconds()) < 600  # noqa: DTZ003 - naive UTC is what is compared


def test_what_an_attempt_says_is_kept_whatever_it_is(bound: Scene) -> None:
    """Output of commands can be anything; none of it fails the transaction it shares with others."""
    bound.start_run()
    attempt = bound.attempt(0, TaskInstanceEvent.LAUNCH, TaskInstanceEvent.START)
    event = InstanceEvent(attempt, TaskInstanceEvent.FAIL, description=STRANGE, stderr_log=STRANGE * 100)
    bound.write(
        lambda c: attempts_apply_events(
            c, [event], now=dialect.utcnow(c), actor="worker", max_infrastructure_losses=1
        )
    )
    assert bound.read(lambda c: c.scalar(select(TaskInstanceErrorLog.description))) == STRANGE
    assert bound.read(lambda c: c.scalar(select(TaskInstance.stderr_log))) == STRANGE * 100
