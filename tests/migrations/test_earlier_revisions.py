"""From every earlier revision with rows in it to the newest and back: nothing is lost, and the tables are the models'."""

from __future__ import annotations

from pathlib import Path

import pytest
from schema_steps import EARLIER, bare_engine, columns_of, contents, definition, fill, migrate, models_made
from sqlalchemy import inspect, text

from databases import Backend
from jobmon.server.downgrade_check import check, obstacles
from jobmon.server.web.db_admin import (
    current_revision,
    newest_revision,
    require_schema,
    revisions,
    schema_differences,
    upgrade,
)
from jobmon.server.web.schema_dialect import UNCHECKED_ON_POSTGRESQL


@pytest.mark.parametrize("revision", EARLIER)
def test_rows_stay_what_they_were(backend: Backend, tmp_path: Path, revision: str) -> None:
    """Every value of every column, on the way up and on the way back."""
    with bare_engine(backend, tmp_path) as engine:
        migrate(engine, "upgrade", revision)
        fill(engine)
        columns = columns_of(engine)
        before = contents(engine, columns)
        assert all(before.values())
        upgrade(engine)
        require_schema(engine)
        assert contents(engine, columns) == before
        with engine.connect() as connection:
            assert schema_differences(connection) == []
        migrate(engine, "downgrade", revision)
        assert columns_of(engine) == columns
        assert contents(engine, columns) == before


def test_down_to_nothing_and_up_again(backend: Backend, tmp_path: Path) -> None:
    """Nothing is left below, and the way up leads to the same place; each step can be taken by itself."""
    with bare_engine(backend, tmp_path) as engine:
        upgrade(engine)
        before = definition(engine)
        for _ in revisions():
            above = definition(engine)
            migrate(engine, "downgrade", "-1")
            assert definition(engine) != above
        assert inspect(engine).get_table_names() == ["alembic_version"]
        for _ in revisions():
            migrate(engine, "upgrade", "+1")
        assert definition(engine) == before
        assert current_revision(engine) == newest_revision()


def test_migrations_and_models_make_the_same(backend: Backend, tmp_path: Path) -> None:
    """Names of constraints and primary keys too, which the comparison of Alembic leaves out."""
    with bare_engine(backend, tmp_path) as migrated, bare_engine(backend, tmp_path) as made:
        upgrade(migrated)
        models_made(made)
        inspectors = [inspect(migrated), inspect(made)]
        names = set(inspectors[1].get_table_names())
        assert set(inspectors[0].get_table_names()) == names | {"alembic_version"}
        for name in sorted(names):
            for get in ("get_pk_constraint", "get_unique_constraints", "get_foreign_keys", "get_indexes"):
                found = [getattr(each, get)(name) for each in inspectors]
                if get == "get_foreign_keys" and backend is Backend.POSTGRESQL:
                    found[1] = [
                        each
                        for each in found[1]
                        if (name, each["constrained_columns"][0]) not in UNCHECKED_ON_POSTGRESQL
                    ]
                both = [sorted(each, key=str) if isinstance(each, list) else each for each in found]
                assert both[0] == both[1], (name, get)
            nullable = [{c["name"]: c["nullable"] for c in each.get_columns(name)} for each in inspectors]
            assert nullable[0] == nullable[1], name


def test_an_upgrade_may_stop_on_the_way(backend: Backend, tmp_path: Path) -> None:
    with bare_engine(backend, tmp_path) as engine:
        upgrade(engine, EARLIER[1])
        assert current_revision(engine) == EARLIER[1]
        told: list[str] = []
        upgrade(engine, tell=told.append)
        assert [line.split(":")[0] for line in told] == [f"Applied {each}" for each in revisions()[2:]]
        require_schema(engine)


@pytest.mark.parametrize("revision", EARLIER)
def test_servers_of_the_version_before_may_go_on(revision: str) -> None:
    """Every revision only adds; one that must take something away says so here and in the release notes."""
    assert obstacles(revision, revisions()[revisions().index(revision) + 1]) == []


def test_what_a_way_back_would_lose_is_counted(backend: Backend, tmp_path: Path) -> None:
    """Tables and columns that came since, with the rows that have something in them."""
    with bare_engine(backend, tmp_path) as engine:
        upgrade(engine)
        fill(engine)
        before = contents(engine)
        report = check(engine, "0001")
        assert (report.current, report.target, report.obstacles) == (newest_revision(), "0001", [])
        assert report.lost["batch"] == 3
        assert report.lost["task_instance.energy"] == 2  # the third row has none
        assert report.lost["workflow_run.is_draining"] == 1
        assert contents(engine) == before
        assert current_revision(engine) == newest_revision()


@pytest.mark.mariadb
def test_texts_are_compared_character_by_character_everywhere(tmp_path: Path) -> None:
    """Whatever the database was created with: names differ by case, accents and blanks at the end."""
    with bare_engine(Backend.MARIADB, tmp_path) as engine:
        with engine.begin() as connection:
            connection.execute(text("ALTER DATABASE CHARACTER SET latin1 COLLATE latin1_swedish_ci"))
        upgrade(engine)
        names = ["fit", "Fit", "fit ", "fít", "🦀"]
        with engine.begin() as connection:
            for name in names:
                connection.execute(text("INSERT INTO tool (name) VALUES (:name)"), {"name": name})
            for name in names:
                found = connection.scalars(text("SELECT name FROM tool WHERE name = :name"), {"name": name})
                assert found.all() == [name]
