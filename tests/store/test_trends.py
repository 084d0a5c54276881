"""What tools were used for, and how their workflows did over time."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from jobmon.core.exceptions import NotFoundError
from jobmon.core.states import WorkflowRunEvent, WorkflowStatus
from jobmon.server.web import dialect
from jobmon.server.web.database import Database
from jobmon.server.web.store import trends
from listing_scene import finish_tasks, listed


@pytest.fixture
def used(database: Database) -> Database:
    """Tool ``life`` with five workflows of two users, and tool ``Death`` with one."""
    for name, user, seconds in (("one", "ada", 10.0), ("two", "ada", 20.0), ("three", "bob", 40.0)):
        finish_tasks(database, listed(database, name, user=user), user, seconds)
    listed(database, "four", run=WorkflowRunEvent.FAIL)
    listed(database, "five", run=WorkflowRunEvent.START)
    listed(database, "six", tool="Death 100%")
    return database


def tool_ids(database: Database) -> dict[str, int]:
    with database.read() as connection:
        found, _ = trends.tools_find(connection, "", offset=0, limit=100)
    return {name: tool_id for tool_id, name in found}


def test_tools_are_found_by_name(used: Database) -> None:
    """Whatever the case, page after page."""
    with used.read() as connection:
        found, total = trends.tools_find(connection, "", offset=0, limit=2)
        assert ([name for _, name in found], total) == (["Death 100%", "life"], 3)  # and that of the factory
        assert [name for _, name in trends.tools_find(connection, "LIF", offset=0, limit=9)[0]] == ["life"]
        assert [name for _, name in trends.tools_find(connection, "0%", offset=0, limit=9)[0]] == [
            "Death 100%"
        ]
        assert trends.tools_find(connection, "zzz", offset=0, limit=9) == ([], 0)


def test_what_tools_were_used_for(used: Database) -> None:
    """Failures are a share of what ended; who uses it most comes first."""
    ids = tool_ids(used)
    with used.read() as connection:
        found = trends.tools_read_activity(connection, list(ids.values()))
    assert found.keys() == {ids["life"], ids["Death 100%"]}
    life = found[ids["life"]]
    assert (life.num_workflows, life.num_ended, life.num_failed) == (5, 4, 1)
    assert life.users == [("ada", 4), ("bob", 1)]
    assert life.last_date is not None
    death = found[ids["Death 100%"]]
    assert (death.num_workflows, death.num_ended, death.num_failed) == (1, 0, 0)


def test_only_the_latest_count(used: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a tool with many workflows."""
    monkeypatch.setattr(trends, "LATEST", 2)
    ids = tool_ids(used)
    with used.read() as connection:
        life = trends.tools_read_activity(connection, [ids["life"]])[ids["life"]]
    assert (life.num_workflows, life.num_ended, life.num_failed) == (5, 1, 1)


def test_a_tool_over_time(used: Database) -> None:
    """Its workflows with how long they were run, and the mean run times of its templates, oldest first."""
    ids = tool_ids(used)
    with used.read() as connection:
        now = dialect.utcnow(connection)
        found = trends.tool_read_trends(connection, ids["life"], now + timedelta(hours=1))
    assert [each.name for each in found.workflows] == ["five", "four", "three", "two", "one"]
    assert found.workflows[0].status is WorkflowStatus.RUNNING
    assert found.workflows[0].run_seconds is not None
    assert found.workflows[0].run_seconds >= 3600
    assert found.workflows[-1].run_seconds is not None
    assert found.workflows[-1].run_seconds < 3600
    (template,) = found.templates
    assert template.name == "step"
    assert list(template.means.values()) == [10.0, 20.0, 40.0]
    assert list(template.means) == sorted(template.means)


def test_workflows_that_were_never_run(used: Database) -> None:
    """Have no time, and their tool no templates to compare."""
    with used.read() as connection:
        found = trends.tool_read_trends(connection, tool_ids(used)["Death 100%"], datetime(2026, 1, 1))  # noqa: DTZ001
    assert [each.run_seconds for each in found.workflows] == [None]
    assert found.templates == []


def test_an_unknown_tool(database: Database) -> None:
    """Is not found."""
    with database.read() as connection, pytest.raises(NotFoundError, match="no tool 77"):
        trends.tool_read(connection, 77)
