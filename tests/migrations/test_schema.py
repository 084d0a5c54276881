"""The migrations make what the models say, and what users are told they find."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from schema_steps import definition
from sqlalchemy import Engine, UniqueConstraint, inspect, text

from jobmon.server.web.database import make_engine
from jobmon.server.web.db_admin import alembic_config, init_db, require_schema, revisions
from jobmon.server.web.models import Base
from jobmon.server.web.schema_dialect import is_made

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


def test_models_and_migrations_are_the_same(engine: Engine) -> None:
    with engine.connect() as connection, warnings.catch_warnings():
        warnings.simplefilter("error")
        # MariaDB describes defaults in its own words.
        is_described = connection.dialect.name != "mysql"
        options = {
            "compare_type": True,
            "compare_server_default": is_described,
            "include_object": lambda part, *_: is_made(connection, part),
        }
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, Base.metadata) == []


def test_every_constraint_has_a_name(engine: Engine) -> None:
    """Databases that cannot drop a nameless one are migrated too."""
    for table in Base.metadata.tables.values():
        assert [c for c in table.constraints if c.name is None] == []


@pytest.mark.sqlite
def test_init_again_changes_nothing(database_uri: str, tmp_path: Path) -> None:
    path = tmp_path / "jobmon.sqlite"
    before = path.read_bytes()
    init_db(database_uri)
    init_db(database_uri)
    assert path.read_bytes() == before


def test_one_line_of_revisions() -> None:
    """Numbered in the order of their names."""
    found = [script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions()]
    assert found[::-1] == revisions()


@pytest.mark.sqlite
def test_a_database_whose_start_was_cut_off_is_completed(database_template: Path, tmp_path: Path) -> None:
    """Tables and rows come in one transaction: an empty file is all that can be left."""
    path = tmp_path / "new.sqlite"
    path.touch()
    init_db(f"sqlite:///{path}")
    first, second = make_engine(f"sqlite:///{path}"), make_engine(f"sqlite:///{database_template}")
    assert definition(first) == definition(second)
    first.dispose()
    second.dispose()


@pytest.mark.sqlite
def test_a_copy_of_a_database_works(database_uri: str, tmp_path: Path) -> None:
    """One file is all of it when nobody has it open."""
    shutil.copy(tmp_path / "jobmon.sqlite", tmp_path / "copy.sqlite")
    copy = make_engine(f"sqlite:///{tmp_path / 'copy.sqlite'}")
    require_schema(copy)
    copy.dispose()


def test_tables_and_columns_users_know(engine: Engine) -> None:
    inspector = inspect(engine)
    for table, names in PUBLIC.items():
        columns = {column["name"] for column in inspector.get_columns(table)}
        assert set(names.split()) - columns == set(), table


def test_widths_users_know(engine: Engine) -> None:
    inspector = inspect(engine)
    for (table, name), width in WIDTHS.items():
        (column,) = [column for column in inspector.get_columns(table) if column["name"] == name]
        assert column["type"].length == width  # type: ignore[attr-defined]


def test_natural_keys_are_unique(engine: Engine) -> None:
    inspector = inspect(engine)
    for table, key in NATURAL_KEYS.items():
        assert key in [set(each["column_names"]) for each in inspector.get_unique_constraints(table)], table


DELETED_BY_PRUNE = {
    "workflow",
    "workflow_run",
    "array",
    "task",
    "task_instance",
    "dag",
    "node",
    "task_resources",
}


def test_references_to_what_is_deleted_have_an_index() -> None:
    """Or each row deleted would be looked for in all of the table that refers to it."""
    slow = set()
    for table in Base.metadata.tables.values():
        found = [list(index.columns) for index in table.indexes]
        found += [list(each.columns) for each in table.constraints if isinstance(each, UniqueConstraint)]
        first = {columns[0] for columns in (*found, list(table.primary_key.columns))}
        keys = [key for key in table.foreign_keys if key.column.table.name in DELETED_BY_PRUNE]
        slow |= {str(key.parent) for key in keys if key.parent not in first}
    assert slow == set()


@pytest.mark.sqlite
def test_foreign_keys_are_enforced(engine: Engine) -> None:
    with engine.connect() as connection:
        assert connection.execute(text("PRAGMA foreign_keys")).scalar() == 1
        assert connection.execute(text("PRAGMA foreign_key_check")).all() == []
