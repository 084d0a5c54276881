"""The migrations make what the models say, and what users are told they find."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, inspect, text

from jobmon.server.web.database import make_engine
from jobmon.server.web.db_admin import init_db, newest_revision, require_schema
from jobmon.server.web.models import Base

# What users query, by behaviour: names of tables and of the columns they rely on.
PUBLIC = {
    "tool": "id name",
    "tool_version": "id tool_id",
    "task_template": "id tool_version_id name",
    "task_template_version": "id task_template_id command_template arg_mapping_hash",
    "arg": "id name",
    "arg_type": "id name",
    "template_arg_map": "task_template_version_id arg_id arg_type_id",
    "node": "id task_template_version_id node_args_hash",
    "node_arg": "node_id arg_id val",
    "dag": "id hash created_date",
    "edge": "dag_id node_id upstream_node_ids downstream_node_ids",
    "workflow": "id tool_version_id dag_id workflow_args_hash task_hash description name workflow_args "
    "max_concurrently_running created_date status status_date",
    "workflow_attribute": "workflow_id value",
    "workflow_attribute_type": "id name",
    "workflow_run": "id workflow_id user jobmon_version jobmon_server_version status created_date status_date "
    "heartbeat_date",
    "array": "id name task_template_version_id workflow_id max_concurrently_running created_date",
    "task": "id workflow_id node_id task_args_hash array_id name command task_resources_id num_attempts max_attempts "
    "resource_scales fallback_queues status status_date",
    "task_arg": "task_id arg_id val",
    "task_attribute": "task_id value",
    "task_attribute_type": "id name",
    "task_resources": "id queue_id requested_resources",
    "task_resources_type": "id",
    "task_instance": "id workflow_run_id array_id task_id distributor_id task_resources_id array_batch_num "
    "array_step_id nodename process_group_id usage_str wallclock maxrss maxpss cpu io stdout stderr stdout_log "
    "stderr_log status submitted_date status_date report_by_date",
    "task_instance_error_log": "id task_instance_id error_time description",
    "workflow_status": "id label description",
    "workflow_run_status": "id label description",
    "task_status": "id label description",
    "task_instance_status": "id label description",
    "cluster_type": "id name logfile_templates",
    "cluster": "id name cluster_type_id connection_parameters",
    "queue": "id name cluster_id parameters",
}
WIDTHS = {
    ("task", "name"): 255,
    ("node_arg", "val"): 2048,
    ("task_arg", "val"): 2048,
    ("task_attribute", "value"): 255,
    ("task", "resource_scales"): 1000,
    ("task", "fallback_queues"): 1000,
    ("task_instance", "distributor_id"): 20,
    ("cluster", "connection_parameters"): 2500,
    ("queue", "parameters"): 2500,
}
NATURAL_KEYS = {
    "node": {"task_template_version_id", "node_args_hash"},
    "array": {"workflow_id", "task_template_version_id"},
    "tool": {"name"},
    "cluster": {"name"},
    "task": {"workflow_id", "node_id"},
}


@pytest.fixture
def engine(database_uri: str) -> Iterator[Engine]:
    """An engine on a migrated database."""
    engine = make_engine(database_uri)
    yield engine
    engine.dispose()


def alembic(engine: Engine, what: str, revision: str) -> None:
    """Run the migrations as the server does: on a connection it is handed."""
    config = Config()
    config.set_main_option("script_location", "jobmon.server:migrations")
    config.set_main_option("path_separator", "os")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        getattr(command, what)(config, revision)


def definition(engine: Engine) -> set[tuple[str, ...]]:
    """Every object of a SQLite database, as it is written down there."""
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT type, name, tbl_name, sql FROM sqlite_master"))
        return {tuple(map(str, row)) for row in rows if row.name != "alembic_version"}


def test_models_and_migrations_are_the_same(engine: Engine) -> None:
    with engine.connect() as connection, warnings.catch_warnings():
        warnings.simplefilter("error")
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, Base.metadata) == []


def test_primary_keys_and_names_of_constraints_too(engine: Engine, tmp_path: Path) -> None:
    """What the comparison of Alembic leaves out."""
    direct = create_engine(f"sqlite:///{tmp_path / 'direct.sqlite'}")
    Base.metadata.create_all(direct)
    migrated, made = inspect(engine), inspect(direct)
    names = set(made.get_table_names())
    assert set(migrated.get_table_names()) == names | {"alembic_version"}
    for name in names:
        assert migrated.get_pk_constraint(name) == made.get_pk_constraint(name)
        for get in ("get_unique_constraints", "get_foreign_keys", "get_indexes"):
            both = [sorted(getattr(each, get)(name), key=str) for each in (migrated, made)]
            assert both[0] == both[1], (name, get)
        nullable = [{c["name"]: c["nullable"] for c in each.get_columns(name)} for each in (migrated, made)]
        assert nullable[0] == nullable[1], name
    direct.dispose()


def test_every_constraint_has_a_name(engine: Engine) -> None:
    """Databases that cannot drop a nameless one are migrated too."""
    for table in Base.metadata.tables.values():
        assert [c for c in table.constraints if c.name is None] == []


def test_init_again_changes_nothing(database_uri: str, tmp_path: Path) -> None:
    path = tmp_path / "jobmon.sqlite"
    before = path.read_bytes()
    init_db(database_uri)
    init_db(database_uri)
    assert path.read_bytes() == before


def test_down_to_nothing_and_up_again(engine: Engine, database_uri: str) -> None:
    """Nothing is left below, and the way up leads to the same place."""
    before = definition(engine)
    alembic(engine, "downgrade", "base")
    assert {row for row in definition(engine) if row[0] == "table"} <= {("table", "sqlite_sequence")}
    init_db(database_uri)
    assert definition(engine) == before
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM cluster")).scalar() == 3


def test_every_step_can_be_undone_and_redone(engine: Engine) -> None:
    """One line of revisions, numbered in the order of their names."""
    config = Config()
    config.set_main_option("script_location", "jobmon.server:migrations")
    config.set_main_option("path_separator", "os")
    revisions = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    assert revisions == sorted(revisions, reverse=True)
    assert revisions[0] == newest_revision()
    for _ in revisions:
        before = definition(engine)
        alembic(engine, "downgrade", "-1")
        assert definition(engine) != before
    for _ in revisions:
        alembic(engine, "upgrade", "+1")
    with engine.connect() as connection:
        assert (
            connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == newest_revision()
        )


def test_a_database_whose_start_was_cut_off_is_completed(database_template: Path, tmp_path: Path) -> None:
    """Tables and rows come in one transaction: an empty file is all that can be left."""
    path = tmp_path / "new.sqlite"
    path.touch()
    init_db(f"sqlite:///{path}")
    first, second = make_engine(f"sqlite:///{path}"), make_engine(f"sqlite:///{database_template}")
    assert definition(first) == definition(second)
    first.dispose()
    second.dispose()


def test_a_copy_of_a_database_works(database_uri: str, tmp_path: Path) -> None:
    """One file is all of it when nobody has it open."""
    shutil.copy(tmp_path / "jobmon.sqlite", tmp_path / "copy.sqlite")
    copy = make_engine(f"sqlite:///{tmp_path / 'copy.sqlite'}")
    require_schema(copy)
    copy.dispose()


@pytest.mark.parametrize("table", sorted(PUBLIC))
def test_tables_and_columns_users_know(engine: Engine, table: str) -> None:
    columns = {column["name"] for column in inspect(engine).get_columns(table)}
    assert set(PUBLIC[table].split()) - columns == set()


def test_widths_users_know(engine: Engine) -> None:
    inspector = inspect(engine)
    for (table, name), width in WIDTHS.items():
        (column,) = [column for column in inspector.get_columns(table) if column["name"] == name]
        assert column["type"].length == width  # type: ignore[attr-defined]


@pytest.mark.parametrize("table", sorted(NATURAL_KEYS))
def test_natural_keys_are_unique(engine: Engine, table: str) -> None:
    unique = [set(each["column_names"]) for each in inspect(engine).get_unique_constraints(table)]
    assert NATURAL_KEYS[table] in unique


def test_foreign_keys_are_enforced(engine: Engine) -> None:
    with engine.connect() as connection:
        assert connection.execute(text("PRAGMA foreign_keys")).scalar() == 1
        assert connection.execute(text("PRAGMA foreign_key_check")).all() == []
