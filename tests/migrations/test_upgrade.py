"""A database of an earlier schema with a run in it: upgraded where it stands, nothing lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from schema_steps import migrate

from jobmon.core.states import WorkflowRunStatus
from jobmon.server.web import dialect
from jobmon.server.web.database import Database
from jobmon.server.web.db_admin import newest_revision
from jobmon.testing.factory import attempts_make, run_make, workflow_make
from processes import Place, new_place


@pytest.fixture
def old(database_uri: str) -> str:
    """Schema 0001 with a workflow that is being run."""
    database = Database(database_uri)
    with database.write() as connection:
        now = dialect.utcnow(connection)
        made = workflow_make(connection, [[], [0]], now=now, name="old", user="ada")
        run = run_make(connection, made.workflow_id, now=now, user="ada", status=WorkflowRunStatus.RUNNING)
        attempts_make(connection, made, run, [0], batch_num=1, now=now)
    migrate(database.engine, "downgrade", "0001")
    database.dispose()
    return database_uri


@pytest.fixture
def old_place(tmp_path: Path, old: str) -> Iterator[Place]:
    yield from new_place(tmp_path / "place", Path(old.removeprefix("sqlite:///")))


@pytest.mark.e2e
@pytest.mark.sqlite
def test_the_local_server_upgrades_its_database_at_its_start(old_place: Place) -> None:
    """A user who installs a newer Jobmon types what they always type."""
    assert old_place.sql("SELECT version_num FROM alembic_version") == [("0001",)]
    assert "old" in old_place.jobmon("workflow", "status", "-u", "ada")
    assert old_place.sql("SELECT version_num FROM alembic_version") == [(newest_revision(),)]
    assert old_place.run_flow([old_place.task("a")])["status"] == "D"
