"""Creating and upgrading the database."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    MetaData,
    Table,
    delete,
    func,
    insert,
    inspect,
    make_url,
    select,
)
from sqlalchemy.exc import ArgumentError, DBAPIError

from jobmon.core.configuration import JobmonConfig
from jobmon.core.constants import ArgType, TaskResourcesType
from jobmon.core.exceptions import ConfigError
from jobmon.core.states import (
    DESCRIPTIONS,
    WORKFLOW_RUN_ALIVE,
    TaskInstanceStatus,
    TaskStatus,
    WorkflowRunStatus,
    WorkflowStatus,
    label,
)
from jobmon.server.web import dialect
from jobmon.server.web.database import make_engine
from jobmon.server.web.models import (
    ArgTypeRow,
    Base,
    Cluster,
    ClusterType,
    Queue,
    TaskInstanceStatusRow,
    TaskResourcesTypeRow,
    TaskStatusRow,
    WorkflowRun,
    WorkflowRunStatusRow,
    WorkflowStatusRow,
)
from jobmon.server.web.schema_dialect import (
    SchemaLocked,
    Tell,
    commits_definitions,
    create_database_if_missing,
    describe_sizes,
    is_made,
    prepare_empty_schema,
    schema_transaction,
)

if TYPE_CHECKING:
    from alembic.config import Config

VERSION_TABLE = "alembic_version"
"""The table with the revision of the schema."""

DEFAULT_CLUSTERS: Mapping[str, Mapping[str, Any]] = {
    "dummy": {},
    "sequential": {},
    "multiprocess": {"cores": [1, 20]},
}
"""Clusters every database starts with: name (and type) to the parameters of their one queue ``null.q``.

They are the local ones: their commands run in the process of the controller.
"""

_STATUS_TABLES = {
    WorkflowStatus: WorkflowStatusRow,
    WorkflowRunStatus: WorkflowRunStatusRow,
    TaskStatus: TaskStatusRow,
    TaskInstanceStatus: TaskInstanceStatusRow,
}


class SchemaError(ConfigError):
    """The database's schema is not the one this version of Jobmon works with."""


def _be_silent(_sentence: str) -> None:
    """Tell nobody."""


def init_db(uri: str = "", config: JobmonConfig | None = None, tell: Tell = _be_silent) -> None:
    """Create database and tables, or upgrade them, and load the rows that come with Jobmon. May be called again.

    Args:
        uri: SQLAlchemy URI; by default ``db.sqlalchemy_database_uri``.
        config: configuration to read the default from.
        tell: told what is done, where that takes long.

    Raises:
        ConfigError: no database is named.
        SchemaError: the database was made by a newer Jobmon, or cannot be made or reached.
    """
    config = config or JobmonConfig()
    url, connect_args = database_address(uri, config)
    try:
        if create_database_if_missing(url, connect_args):
            tell(f"Created the database {url.database}.")
    except DBAPIError as error:
        raise _unusable(url, error) from error
    engine = make_engine(url.render_as_string(hide_password=False), connect_args)
    try:
        upgrade(engine, tell=tell)
    finally:
        engine.dispose()


def database_address(uri: str, config: JobmonConfig) -> tuple[URL, dict[str, Any]]:
    """The database of a command, and arguments of its driver.

    Args:
        uri: SQLAlchemy URI; empty: that of the configuration, which also has the arguments of its driver.
        config: the configuration.

    Raises:
        ConfigError: there is none, or it is not a URI of a database SQLAlchemy knows.
    """
    configured = str(config.get("db", "sqlalchemy_database_uri"))
    if not uri and not configured:
        raise ConfigError("Which database? Give a URI or set db.sqlalchemy_database_uri.")
    try:
        url = make_url(uri or configured)
        url.get_dialect().import_dbapi()
        same_kind = bool(configured) and make_url(configured).get_backend_name() == url.get_backend_name()
    except (ArgumentError, ImportError) as error:
        raise ConfigError(f"db.sqlalchemy_database_uri cannot be used: {error}") from error
    return url, dict(config.get("db", "sqlalchemy_connect_args")) if same_kind else {}


def upgrade(engine: Engine, revision: str = "", tell: Tell = _be_silent) -> None:
    """Bring the schema to a revision, by default the newest, and load the lookup rows, unless all of that is so already.

    One process does so at a time; others wait for it. An upgrade that was cut off is completed.

    Raises:
        SchemaError: the database is newer than this Jobmon or than ``revision``, was made by something else, or is not
            what its revision says.
    """
    target = revision or newest_revision()
    if target not in revisions():
        raise SchemaError(f"There is no revision {target}; there are {', '.join(revisions())}.")
    current = require_known(engine, current_revision(engine))
    if current == target:
        return
    if current is not None and current > target:
        raise SchemaError(
            f"The database is at schema {current} already, which is newer than {target}. "
            "'jobmon-server db downgrade-check' says what a way back would lose."
        )
    try:
        with schema_transaction(engine, tell) as connection:
            _upgrade_within(connection, target, tell)
    except SchemaLocked as error:
        raise SchemaError(
            "Another process is changing the schema of this database and does not end; try again later."
        ) from error
    except DBAPIError as error:
        raise SchemaError(
            f"The upgrade of {engine.url.render_as_string()} was cut off: {error.orig}. "
            "Mend that and run 'jobmon-server db upgrade' again; it goes on where it ended."
        ) from error


def _upgrade_within(connection: Connection, target: str, tell: Tell) -> None:
    from alembic import command

    if _revision_of(connection) == target:  # the other process did it
        return
    if _revision_of(connection) is None:
        prepare_empty_schema(connection)
    config = alembic_config()
    done_before: list[str] = []
    config.attributes.update(connection=connection, tell=tell, done_before=done_before)
    command.upgrade(config, target)
    if target != newest_revision():
        return
    if commits_definitions(connection):
        _require_models(connection, done_before)
    load_lookup_rows(connection)
    describe_sizes(connection)


def _require_models(connection: Connection, done_before: Sequence[str]) -> None:
    """After an upgrade that may have been cut off before: whether the tables are what they should be."""
    differences = schema_differences(connection)
    if differences:
        found = f" (an earlier upgrade had made {', '.join(done_before)})" if done_before else ""
        raise SchemaError(
            f"After the upgrade the tables are not what they should be{found}: {'; '.join(differences)}. "
            "Restore the dump you made before, and upgrade that."
        )


def schema_differences(connection: Connection) -> list[str]:
    """How the tables of a database differ from the models, one line each; empty when they do not."""
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    ours = Base.metadata.tables

    def is_ours(thing: Any, name: str | None, kind: str, _reflected: bool, _other: Any) -> bool:
        return (kind != "table" or name in ours) and is_made(connection, thing)

    options = {"compare_type": True, "include_object": is_ours}
    return [
        str(each)
        for each in compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata)
    ]


def current_revision(engine: Engine) -> str | None:
    """Revision of the schema; ``None`` for a database without one.

    Raises:
        SchemaError: the file is not a database, or the database cannot be reached.
    """
    try:
        with reading(engine) as connection:
            return _revision_of(connection)
    except DBAPIError as error:
        raise _unusable(engine.url, error) from error


def reading(engine: Engine) -> Connection:
    """A connection that only reads: one that may write would wait, on SQLite, for whoever writes."""
    return engine.execution_options(jobmon_write=False).connect()


def _revision_of(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").scalar()


def require_known(engine: Engine, current: str | None) -> str | None:
    """Refuse databases whose tables are not ours to change; the revision.

    Raises:
        SchemaError: they were made by a newer Jobmon or by something else.
    """
    if current is not None and current not in revisions():
        raise _newer(current)
    if current is None:
        with reading(engine) as connection:
            names = set(inspect(connection).get_table_names())
        # Where statements commit by themselves, what a first start that was cut off left has the table of the version.
        if VERSION_TABLE not in names and (taken := sorted(names & Base.metadata.tables.keys())):
            raise SchemaError(
                f"{engine.url.render_as_string()} has tables of other making ({', '.join(taken[:5])}). "
                "Name another database for Jobmon."
            )
    return current


def count_alive_runs(engine: Engine) -> int:
    """How many runs somebody would lose who removes the tables."""
    with reading(engine) as connection:
        if not inspect(connection).has_table(WorkflowRun.__tablename__):
            return 0
        runs = Base.metadata.tables[WorkflowRun.__tablename__]
        alive = runs.c.status.in_(sorted(WORKFLOW_RUN_ALIVE))
        return connection.scalar(select(func.count()).select_from(runs).where(alive)) or 0


def remove_tables(engine: Engine, *, all_of_them: bool = False) -> int:
    """Drop Jobmon's tables with everything in them, or whatever tables there are; how many there were.

    The database itself stays, and who may use it. Cut off, it can be done again.
    """
    with engine.begin() as connection:
        present = MetaData()
        present.reflect(connection)
        ours = {VERSION_TABLE, *Base.metadata.tables}
        tables = [table for table in present.tables.values() if all_of_them or table.name in ours]
        if VERSION_TABLE in present.tables:  # a schema that is not complete has no revision
            connection.execute(delete(present.tables[VERSION_TABLE]))
        present.drop_all(connection, [table for table in tables if table.name != VERSION_TABLE])
        present.drop_all(connection, [table for table in tables if table.name == VERSION_TABLE])
    return len(tables)


def revisions() -> list[str]:
    """All revisions this version of Jobmon knows, oldest first."""
    versions = Path(__file__).parents[1] / "migrations" / "versions"
    return sorted(path.stem.split("_")[0] for path in versions.glob("[0-9]*.py"))


def newest_revision() -> str:
    """The revision this version of Jobmon works with."""
    return revisions()[-1]


def require_schema(engine: Engine) -> None:
    """Refuse to work on a database whose schema is older or newer than this version of Jobmon.

    Raises:
        SchemaError: it is; the message names the command to type.
    """
    current = current_revision(engine)
    newest = newest_revision()
    if current == newest:
        return
    engine.dispose()  # whoever is refused has no use for connections
    if current is None or current < newest:
        raise SchemaError(
            f"The database is at schema {current or 'none'}, this Jobmon needs {newest}: run 'jobmon-server db init'."
        )
    raise _newer(current)


def _newer(current: str) -> SchemaError:
    if len(current) > len(newest_revision()):
        return SchemaError(
            f"The database was made by another program, or by a Jobmon before version 4 (schema {current}). "
            "Name another database: one cannot become the other."
        )
    return SchemaError(
        f"The database was made by a newer Jobmon (schema {current}; this one knows {newest_revision()}). "
        "Upgrade Jobmon, or use another database."
    )


def _unusable(url: URL, error: DBAPIError) -> SchemaError:
    where, why = url.render_as_string(), str(error.orig).strip()
    if url.get_backend_name() == "sqlite":
        advice = "Move it away, or name another one."
    else:
        advice = "Does its server run, and may this user use it? 'jobmon-server db init' creates a database that is missing."
    return SchemaError(f"{where} cannot be used as a database: {why}. {advice}")


def alembic_config() -> Config:
    """Where Alembic finds the revisions; ``migrations/env.py`` says what goes into its attributes."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "jobmon.server:migrations")
    config.set_main_option("path_separator", "os")
    return config


def load_lookup_rows(connection: Connection) -> None:
    """Write the rows that come with Jobmon: states, kinds of args and resources, the local clusters."""
    for kind, model in _STATUS_TABLES.items():
        rows = [
            {"id": status.value, "label": label(status), "description": DESCRIPTIONS[kind][status.value]}
            for status in kind
        ]
        dialect.upsert(connection, _table(model), rows, ["label", "description"])
    args = [{"id": kind.value, "name": kind.name} for kind in ArgType]
    dialect.upsert(connection, _table(ArgTypeRow), args, ["name"])
    types = [{"id": kind.value, "label": kind.name} for kind in TaskResourcesType]
    dialect.upsert(connection, _table(TaskResourcesTypeRow), types, ["label"])
    for name, parameters in DEFAULT_CLUSTERS.items():
        type_id = _get_or_insert(connection, ClusterType, {"name": name}, {"logfile_templates": "{}"})
        cluster_id = _get_or_insert(
            connection, Cluster, {"name": name}, {"cluster_type_id": type_id, "connection_parameters": "{}"}
        )
        _get_or_insert(
            connection,
            Queue,
            {"name": "null.q", "cluster_id": cluster_id},
            {"parameters": json.dumps(parameters)},
        )


def _table(model: Any) -> Table:
    table: Table = model.__table__
    return table


def _get_or_insert(
    connection: Connection, model: Any, key: Mapping[str, Any], values: Mapping[str, Any]
) -> int:
    table = _table(model)
    conditions: Sequence[Any] = [table.c[name] == value for name, value in key.items()]
    found: int | None = connection.scalar(select(table.c.id).where(*conditions))
    if found is not None:
        return found
    result = connection.execute(insert(table).values(**key, **values))
    assert result.inserted_primary_key is not None
    return int(result.inserted_primary_key[0])
