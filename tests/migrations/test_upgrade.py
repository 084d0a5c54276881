"""A database of an earlier schema with a run in it: upgraded where it stands, nothing lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import text

from jobmon.core.states import WorkflowRunStatus
from jobmon.server.web import dialect
from jobmon.server.web.database import Database, make_engine
from jobmon.server.web.db_admin import current_revision, init_db, newest_revision
from jobmon.testing.factory import attempts_make, run_make, workflow_make
from processes import Place, new_place


def downgrade(uri: str, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", "jobmon.server:migrations")
    config.set_main_option("path_separator", "os")
    engine = make_engine(uri)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, revision)
    engine.dispose()


@pytest.fixture
def old(database_uri: str) -> str:
    """Schema 0001 with a workflow that is being run."""
    database = Database(database_uri)
    with database.write() as connection:
        now = dialect.utcnow(connection)
        made = workflow_make(connection, [[], [0]], now=now, name="old", user="ada")
        run = run_make(connection, made.workflow_id, now=now, user="ada", status=WorkflowRunStatus.RUNNING)
        attempts_make(connection, made, run, [0], batch_num=1, now=now)
    database.dispose()
    downgrade(database_uri, "0001")
    return database_uri


def test_rows_are_kept(old: str) -> None:
    """Those of before were not ordered to drain; constraints still hold."""
    engine = make_engine(old)
    with engine.connect() as connection:
        before = connection.execute(
            text("SELECT id, workflow_id, user, status, run_key FROM workflow_run")
        ).all()
        columns = connection.execute(text("SELECT * FROM workflow_run")).keys()
    assert len(before) == 1
    assert "is_draining" not in columns
    init_db(old)
    assert current_revision(engine) == newest_revision()
    with engine.connect() as connection:
        query = "SELECT id, workflow_id, user, status, run_key FROM workflow_run"
        assert connection.execute(text(query)).all() == before
        assert connection.execute(text("SELECT is_draining FROM workflow_run")).scalars().all() == [0]
        assert connection.execute(text("SELECT count(*) FROM task_instance")).scalar() == 1
        assert connection.execute(text("PRAGMA foreign_key_check")).all() == []
    engine.dispose()


@pytest.fixture
def old_place(tmp_path: Path, old: str) -> Iterator[Place]:
    yield from new_place(tmp_path / "place", Path(old.removeprefix("sqlite:///")))


@pytest.mark.e2e
def test_the_local_server_upgrades_its_database_at_its_start(old_place: Place) -> None:
    """A user who installs a newer Jobmon types what they always type."""
    assert old_place.sql("SELECT version_num FROM alembic_version") == [("0001",)]
    assert "old" in old_place.jobmon("workflow", "status", "-u", "ada")
    assert old_place.sql("SELECT version_num FROM alembic_version") == [(newest_revision(),)]
    assert old_place.run_flow([old_place.task("a")])["status"] == "D"
