"""What differs between databases when a schema is made: the database itself, its collation, who may change it.

The other half of :mod:`jobmon.server.web.dialect`, for the commands of operators.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, Connection, Engine, ForeignKeyConstraint, NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError

from jobmon.server.web import dialect

Tell = Callable[[str], None]
"""Is told, in a sentence, what a long piece of work is at."""

POLL_SECONDS = 0.1
LOCK_WAIT_SECONDS = 3600.0
"""How long an upgrade waits for another one of the same database."""

_UNKNOWN_DATABASE = 1049
_DATABASE_EXISTS = 1007
_MYSQL = ("mysql", "mariadb")


UNCHECKED_ON_POSTGRESQL = frozenset(
    {
        ("edge", "dag_id"),
        ("edge", "node_id"),
        ("node_arg", "arg_id"),
        ("node_arg", "node_id"),
        ("task", "status"),
        ("task_arg", "arg_id"),
        ("task_arg", "task_id"),
        ("task_history", "task_id"),
        ("task_history", "workflow_run_id"),
        ("task_instance", "status"),
    }
)
"""Tables and columns of references that are not there."""


def is_made(connection: Connection, part: Any) -> bool:
    """Whether a part of the models is there on this kind of database: PostgreSQL does not check the references of the tables
    that are written most, for it looks each up by a statement of its own."""
    if connection.dialect.name != "postgresql" or not isinstance(part, ForeignKeyConstraint):
        return True
    return (part.table.name, part.column_keys[0]) not in UNCHECKED_ON_POSTGRESQL


class SchemaLocked(Exception):
    """Somebody else changes the schema, for longer than we wait."""


@contextmanager
def schema_transaction(
    engine: Engine, tell: Tell, wait_seconds: float = LOCK_WAIT_SECONDS
) -> Iterator[Connection]:
    """A transaction that alone may change the schema of a database; waits for another one that does.

    The right to do so ends with the connection, however that ends. On SQLite it is the right to write at all. MariaDB and MySQL
    commit at every statement that defines something: there the transaction is none, only the lock is.

    Raises:
        SchemaLocked: the other one took longer than ``wait_seconds``.
    """
    deadline = time.monotonic() + wait_seconds
    has_told = False
    while True:
        with engine.connect() as connection, _short_patience(connection):
            transaction = _begin(connection)
            if transaction is not None:
                with transaction:
                    try:
                        yield connection
                    finally:
                        _release(connection)
                return
        if time.monotonic() > deadline:
            raise SchemaLocked
        if not has_told:
            tell("Another process changes the schema of this database; waiting for it.")
            has_told = True
        time.sleep(POLL_SECONDS)


@contextmanager
def _short_patience(connection: Connection) -> Iterator[None]:
    """SQLite would wait by itself for whoever writes, and we could not say so."""
    if not dialect.is_sqlite(connection):
        yield
        return
    driver: Any = connection.connection  # asking through SQLAlchemy would begin a transaction
    (before,) = driver.execute("PRAGMA busy_timeout").fetchone()
    driver.execute(f"PRAGMA busy_timeout={int(POLL_SECONDS * 1000)}")
    try:
        yield
    finally:
        driver.execute(f"PRAGMA busy_timeout={before}")


def _begin(connection: Connection) -> Any:
    try:
        transaction = connection.begin()
        if _lock(connection):
            return transaction
        transaction.rollback()
    except DBAPIError as error:
        if not dialect.is_retryable(error):
            raise
    return None


def _lock(connection: Connection) -> bool:
    name = connection.dialect.name
    if name == "postgresql":
        return bool(connection.scalar(text("SELECT pg_try_advisory_xact_lock(hashtext('jobmon schema'))")))
    if name in _MYSQL:
        return bool(connection.scalar(text(f"SELECT GET_LOCK({_MYSQL_LOCK_NAME}, 0)")) == 1)
    return True


_MYSQL_LOCK_NAME = "concat('jobmon ', md5(database()))"


def _release(connection: Connection) -> None:
    if connection.dialect.name in _MYSQL and not connection.invalidated:
        try:
            connection.execute(text(f"SELECT RELEASE_LOCK({_MYSQL_LOCK_NAME})"))
        except DBAPIError:
            pass  # the connection broke: the lock went with it


def commits_definitions(connection: Connection) -> bool:
    """Whether statements that define tables commit by themselves, so that an upgrade can be cut off in the middle."""
    return connection.dialect.name in _MYSQL


def prepare_empty_schema(connection: Connection) -> None:
    """Have texts of tables that are made from now on compared character by character, as elsewhere."""
    if connection.dialect.name in _MYSQL:
        is_mariadb = bool(getattr(connection.dialect, "is_mariadb", False))
        collation = "utf8mb4_nopad_bin" if is_mariadb else "utf8mb4_0900_bin"
        connection.execute(text(f"ALTER DATABASE CHARACTER SET utf8mb4 COLLATE {collation}"))


_SIZES_OF_A_BUSY_SITE = (
    ("array", "uq", "100000 5 1"),
    ("edge", "ix_edge_node_id", "10000000 2"),
    ("edge", "pk", "10000000 20000 1"),
    ("node", "uq", "10000000 5000 1"),
    ("node_arg", "pk", "30000000 3 1"),
    ("task", "ix_task_array_id_id", "50000000 10000 1"),
    ("task", "ix_task_node_id", "50000000 5"),
    ("task", "ix_task_task_resources_id", "50000000 1000"),
    ("task", "ix_task_workflow_id_id", "50000000 50000 1"),
    ("task", "uq", "50000000 50000 1"),
    ("task_arg", "pk", "100000000 2 1"),
    ("task_attribute", "pk", "10000000 2 1"),
    ("task_history", "ix_task_history_task_id", "300000000 6"),
    ("task_history", "ix_task_history_workflow_run_id_cursor", "300000000 100000 100"),
    ("task_instance", "ix_task_instance_task_id", "60000000 2"),
    ("task_instance", "ix_task_instance_task_resources_id", "60000000 1000"),
    ("task_instance", "ix_task_instance_workflow_run_id_status_id", "60000000 50000 5000 1"),
    ("task_instance", "uq", "60000000 12000 500 1"),
    ("task_instance_error_log", "ix_task_instance_error_log_task_instance_id", "1000000 2"),
)
"""For SQLite: rows of a table, and how many have the same in the first column of an index, in the first two, and so on."""


def describe_sizes(connection: Connection) -> None:
    """Tell SQLite's planner how large tables may become; the other databases find out by themselves.

    Without that it takes a workflow to have ten tasks, and reads all 100 000 of them where it was asked about a few by their
    ids. ``ANALYZE`` replaces what is written here by what is.
    """
    if not dialect.is_sqlite(connection):
        return
    connection.exec_driver_sql("ANALYZE cluster_type")  # makes the table of what is known
    connection.exec_driver_sql("DELETE FROM sqlite_stat1")
    rows = [
        {
            "tbl": table,
            "idx": f"sqlite_autoindex_{table}_1" if index in ("pk", "uq") else index,
            "stat": sizes,
        }
        for table, index, sizes in _SIZES_OF_A_BUSY_SITE
    ]
    connection.execute(text("INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES (:tbl, :idx, :stat)"), rows)


def create_database_if_missing(url: URL, connect_args: dict[str, Any]) -> bool:
    """Create the database a URI names, where its server has none of that name; whether it did.

    Raises:
        DBAPIError: the server cannot be reached, or the user may not create it.
    """
    backend = url.get_backend_name()
    if backend == "sqlite" or not url.database:
        return False
    try:
        _connect(url, connect_args, [])
    except DBAPIError as error:
        if backend in _MYSQL:
            return _create_on_mysql(url, connect_args, error)
        return _create_on_postgresql(url, connect_args, error)
    return False


def _create_on_mysql(url: URL, connect_args: dict[str, Any], error: DBAPIError) -> bool:
    args = getattr(error.orig, "args", ())
    if not args or args[0] != _UNKNOWN_DATABASE:
        raise error
    name = str(url.database).replace("`", "``")
    server = url.set(database="")
    try:
        _connect(server, connect_args, [f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4"])
    except DBAPIError as refused:
        if getattr(refused.orig, "args", ())[:1] != (_DATABASE_EXISTS,):  # another process was first
            raise
        return False
    return True


def _create_on_postgresql(url: URL, connect_args: dict[str, Any], error: DBAPIError) -> bool:
    server = url.set(database="postgres")
    engine = create_engine(server, connect_args=connect_args, poolclass=NullPool)
    query = text("SELECT 1 FROM pg_database WHERE datname = :name")
    try:
        with engine.connect() as connection:
            is_there = connection.scalar(query, {"name": url.database})
    except DBAPIError:
        raise error from None
    if is_there:
        raise error
    name = str(url.database).replace('"', '""')
    try:
        _connect(server, connect_args, [f"CREATE DATABASE \"{name}\" ENCODING 'UTF8' TEMPLATE template0"])
    except DBAPIError:
        with engine.connect() as connection:  # another process may have been first
            if not connection.scalar(query, {"name": url.database}):
                raise
        return False
    return True


def _connect(url: URL, connect_args: dict[str, Any], statements: list[str]) -> None:
    engine = create_engine(url, connect_args=connect_args, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
