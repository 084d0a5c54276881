"""Creating and upgrading the database."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, Table, insert, inspect, select
from sqlalchemy.exc import DBAPIError

from jobmon.core.configuration import JobmonConfig
from jobmon.core.constants import ArgType, TaskResourcesType
from jobmon.core.exceptions import ConfigError
from jobmon.core.states import (
    DESCRIPTIONS,
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
    Cluster,
    ClusterType,
    Queue,
    TaskInstanceStatusRow,
    TaskResourcesTypeRow,
    TaskStatusRow,
    WorkflowRunStatusRow,
    WorkflowStatusRow,
)

if TYPE_CHECKING:
    from alembic.config import Config

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


def init_db(uri: str = "", config: JobmonConfig | None = None) -> None:
    """Create the tables, or upgrade them, and load the rows that come with Jobmon. May be called again.

    Args:
        uri: SQLAlchemy URI; by default ``db.sqlalchemy_database_uri``.
        config: configuration to read the default from.

    Raises:
        SchemaError: the database was made by a newer Jobmon.
    """
    uri = uri or str((config or JobmonConfig()).get("db", "sqlalchemy_database_uri"))
    if not uri:
        raise ConfigError("Which database? Give a URI or set db.sqlalchemy_database_uri.")
    engine = make_engine(uri)
    try:
        upgrade(engine)
    finally:
        engine.dispose()


def upgrade(engine: Engine) -> None:
    """Bring the schema to the newest revision and load the lookup rows, unless all of that is so already."""
    current = current_revision(engine)
    if current == newest_revision():
        return
    from alembic import command
    from alembic.util import CommandError

    alembic_config = _alembic_config()
    with engine.begin() as connection:
        alembic_config.attributes["connection"] = connection
        try:
            command.upgrade(alembic_config, "head")
        except CommandError as error:
            raise _newer(current) from error
        load_lookup_rows(connection)


def current_revision(engine: Engine) -> str | None:
    """Revision of the schema; ``None`` for a database without one.

    Raises:
        SchemaError: the file is not a database, or the database cannot be reached.
    """
    try:
        with engine.connect() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None
            return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    except DBAPIError as error:
        raise SchemaError(
            f"{engine.url.render_as_string()} cannot be used as a database: {error.orig}. "
            "Move it away, or name another one."
        ) from error


def newest_revision() -> str:
    """The revision this version of Jobmon works with."""
    versions = Path(__file__).parents[1] / "migrations" / "versions"
    return sorted(path.stem for path in versions.glob("[0-9]*.py"))[-1].split("_")[0]


def require_schema(engine: Engine) -> None:
    """Refuse to work on a database whose schema is older or newer than this version of Jobmon.

    Raises:
        SchemaError: it is; the message names the command to type.
    """
    current = current_revision(engine)
    newest = newest_revision()
    if current == newest:
        return
    if current is None or current < newest:
        raise SchemaError(
            f"The database is at schema {current or 'none'}, this Jobmon needs {newest}: run 'jobmon-server db init'."
        )
    raise _newer(current)


def _newer(current: str | None) -> SchemaError:
    return SchemaError(
        f"The database was made by a newer Jobmon (schema {current}; this one knows {newest_revision()}). "
        "Upgrade Jobmon, or use another database."
    )


def _alembic_config() -> Config:
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
