"""What is done to a database while a server is at work on it, for each kind of database."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from own_engines import USER, OwnEngine
from sqlalchemy import Connection, NullPool, create_engine, make_url, select, update
from sqlalchemy.exc import DBAPIError, OperationalError

from databases import Backend
from jobmon.core.states import TASK_INSTANCE_LIVE
from jobmon.server.web.models import Task, TaskInstance, WorkflowRun
from processes import wait_until

LOOK_SECONDS = 0.12
"""Between two looks at who waits: MariaDB would tell the same again to who asks sooner."""
ROWS_TO_WEIGH_MORE = 2000
"""MariaDB rolls back the transaction of a deadlock that changed fewer rows."""
_SESSIONS = {
    Backend.MARIADB: f"SELECT id FROM information_schema.processlist WHERE user = '{USER}'",
    Backend.POSTGRESQL: f"SELECT pid FROM pg_stat_activity WHERE usename = '{USER}'",
}
_OWN_SESSION = {Backend.MARIADB: "SELECT connection_id()", Backend.POSTGRESQL: "SELECT pg_backend_pid()"}
_END_SESSION = {Backend.MARIADB: "KILL {}", Backend.POSTGRESQL: "SELECT pg_terminate_backend({})"}
_NUM_BLOCKED_BY = {
    Backend.MARIADB: (
        "SELECT count(*) FROM information_schema.innodb_lock_waits w "
        "JOIN information_schema.innodb_trx t ON t.trx_id = w.blocking_trx_id WHERE t.trx_mysql_thread_id = {}"
    ),
    Backend.POSTGRESQL: "SELECT count(*) FROM pg_stat_activity WHERE {} = ANY(pg_blocking_pids(pid))",
}
_NUM_DEADLOCKS = {
    Backend.MARIADB: "SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'",
    Backend.POSTGRESQL: "SELECT sum(deadlocks) FROM pg_stat_database",
}
_LOCK_ATTEMPTS = {
    Backend.MARIADB: "LOCK TABLES task_instance WRITE",
    Backend.POSTGRESQL: "LOCK TABLE task_instance IN ACCESS EXCLUSIVE MODE",
}


@contextmanager
def all_connections_taken(engine: OwnEngine, uri: str) -> Iterator[None]:
    """Take every connection the database allows, and cut those of the server, for the time of a ``with`` block."""
    backend = engine.backend
    user = create_engine(uri, poolclass=NullPool)
    own: set[int] = set()
    with ExitStack() as taken, engine.administrator() as administrator:

        def take_all() -> bool:
            """Take what is free, cut what others have; whether they have nothing."""
            try:
                while True:
                    connection = taken.enter_context(user.connect())
                    own.add(int(connection.exec_driver_sql(_OWN_SESSION[backend]).scalar_one()))
            except OperationalError:
                pass
            others = set(administrator.exec_driver_sql(_SESSIONS[backend]).scalars()) - own
            for session in others:
                try:
                    administrator.exec_driver_sql(_END_SESSION[backend].format(session))
                except DBAPIError:
                    continue  # it has ended meanwhile
            return not others

        wait_until(take_all, "the last connection")
        yield


@contextmanager
def read_only(engine: OwnEngine) -> Iterator[None]:
    """Have the database take no changes for the time of a ``with`` block."""
    if engine.backend is Backend.MARIADB:
        on, off = ["SET GLOBAL read_only = 1"], ["SET GLOBAL read_only = 0"]
    else:
        reload = "SELECT pg_reload_conf()"
        on = ["ALTER SYSTEM SET default_transaction_read_only = on", reload]
        off = ["SET default_transaction_read_only = off", "ALTER SYSTEM RESET ALL", reload]
    engine.execute(*on)
    try:
        yield
    finally:
        engine.execute(*off)


def num_deadlocks(engine: OwnEngine) -> int:
    """Deadlocks the database has seen."""
    return engine.scalar(_NUM_DEADLOCKS[engine.backend])


def deadlock(engine: OwnEngine, uri: str) -> bool:
    """Deadlock with the server and win; ``False``: it did not come to that.

    The server locks a run, then its attempts and tasks. This takes a task, waits until the server wants it, and then
    takes the run.
    """
    name = make_url(uri).database or ""
    with engine.administrator(name) as watching, engine.administrator(name) as connection:
        connection = connection.execution_options(isolation_level="READ COMMITTED")
        found = _task_at_work(watching)
        if found is None:
            return False
        task_id, run_id = found
        with connection.begin():
            _weigh_more(engine, connection)
            connection.execute(update(Task).where(Task.id == task_id).values(name=Task.name))
            own = connection.exec_driver_sql(_OWN_SESSION[engine.backend]).scalar_one()
            blocked = _NUM_BLOCKED_BY[engine.backend].format(own)
            deadline = time.monotonic() + 2
            while not watching.exec_driver_sql(blocked).scalar_one():
                if time.monotonic() > deadline:
                    return False
                time.sleep(LOOK_SECONDS)
            connection.execute(select(WorkflowRun.id).where(WorkflowRun.id == run_id).with_for_update())
    return True


def make_scales(engine: OwnEngine, uri: str) -> None:
    """Prepare a database for :func:`deadlock`."""
    engine.execute("CREATE TABLE weight (id BIGINT)", database=make_url(uri).database or "")


def _weigh_more(engine: OwnEngine, connection: Connection) -> None:
    """Make sure that another one is rolled back."""
    if engine.backend is Backend.MARIADB:
        connection.exec_driver_sql(f"INSERT INTO weight SELECT seq FROM seq_1_to_{ROWS_TO_WEIGH_MORE}")
    else:  # who looks for a deadlock first, rolls itself back
        connection.exec_driver_sql("SET LOCAL deadlock_timeout = '60s'")


def _task_at_work(connection: Connection) -> tuple[int, int] | None:
    """A task with a live attempt, the newest, of which there is most to tell, and its run."""
    live = [status.value for status in TASK_INSTANCE_LIVE]
    row = connection.execute(
        select(TaskInstance.task_id, TaskInstance.workflow_run_id)
        .where(TaskInstance.status.in_(live))
        .order_by(TaskInstance.id.desc())
        .limit(1)
    ).first()
    return None if row is None else (row[0], row[1])


@contextmanager
def attempts_locked(engine: OwnEngine | None, uri: str) -> Iterator[None]:
    """Keep everybody from all attempts for the time of a ``with`` block; SQLite: from writing anything."""
    if engine is None:
        connection = sqlite3.connect(make_url(uri).database or "", isolation_level=None, timeout=15)
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("ROLLBACK")
        finally:
            connection.close()
        return
    own = create_engine(uri, poolclass=NullPool)
    with own.connect() as session, session.begin():
        session.exec_driver_sql(_LOCK_ATTEMPTS[engine.backend])
        yield
