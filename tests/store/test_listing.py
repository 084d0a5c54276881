"""The list of workflows: which are found, in which order, and what is read of them."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from jobmon.core.states import TaskStatus, WorkflowRunEvent, WorkflowStatus
from jobmon.server.web.database import Database
from jobmon.server.web.store import listing
from jobmon.server.web.store.listing import Choice, Found, WorkflowFilter
from listing_scene import listed

W = WorkflowFilter
ALL = WorkflowFilter()
FILTERS = {
    "": (W(), "fit b%_c, plot, Fit A"),
    "owner": (W(users=Choice(("ada",))), "plot, Fit A"),
    "not an owner": (W(users=Choice((), ("ada",))), "fit b%_c"),
    "owners with a star": (W(users=Choice(("a*", "bo*"))), "fit b%_c, plot, Fit A"),
    "a percent sign is a percent sign": (W(users=Choice(("a%",))), ""),
    "name, whatever its case": (W(names=Choice(("FIT",))), "fit b%_c, Fit A"),
    "name with special characters": (W(names=Choice(("%_",))), "fit b%_c"),
    "not a name": (W(names=Choice((), ("fit", "zzz"))), "plot"),
    "args": (W(args=Choice(("year=2",))), "fit b%_c"),
    "not args": (W(args=Choice((), ("year=2",))), "plot, Fit A"),
    "tool": (W(tools=Choice(("life",))), "plot, Fit A"),
    "tool with a star": (W(tools=Choice(("*ath",))), "fit b%_c"),
    "not a tool": (W(tools=Choice((), ("life",))), "fit b%_c"),
    "status": (W(statuses=Choice((WorkflowStatus.FAILED.value,))), "plot"),
    "not a status": (
        W(statuses=Choice((), (WorkflowStatus.FAILED.value, WorkflowStatus.RUNNING.value))),
        "Fit A",
    ),
    "attribute": (W(attributes=Choice(("place",))), "fit b%_c, Fit A"),
    "no such attribute": (W(attributes=Choice((), ("place",))), "plot"),
    "value": (W(values=Choice(("arl",))), "Fit A"),
    "value of an attribute": (W(attributes=Choice(("place",)), values=Choice(("s",))), "fit b%_c"),
    "not a value": (W(values=Choice((), ("arl",))), "fit b%_c, plot"),
    "from": (W(submitted_from=date(2026, 3, 2)), "fit b%_c, plot"),
    "to": (W(submitted_to=date(2026, 3, 1)), "Fit A"),
    "on a day": (W(submitted_from=date(2026, 3, 2), submitted_to=date(2026, 3, 2)), "plot"),
    "several": (W(users=Choice(("ada",)), names=Choice(("fit",))), "Fit A"),
}


def naive(*parts: int) -> datetime:
    """A moment as the database has it."""
    return datetime(*parts, tzinfo=UTC).replace(tzinfo=None)  # type: ignore[misc, arg-type]


@pytest.fixture
def filled(database: Database) -> Database:
    """Three workflows: of two users and two tools, one fails, one runs."""
    listed(
        database,
        "Fit A",
        args="year=1, sex=2",
        attributes={"place": "Carlow", "note": "s"},
        submitted=naive(2026, 3, 1, 23, 59, 59),
    )
    listed(database, "plot", run=WorkflowRunEvent.FAIL, submitted=naive(2026, 3, 2))
    listed(
        database,
        "fit b%_c",
        user="bob",
        tool="Death",
        args="year=2",
        attributes={"place": "Oslo"},
        run=WorkflowRunEvent.START,
        submitted=naive(2026, 3, 3, 12),
    )
    return database


def names(database: Database, found: Found) -> str:
    with database.read() as connection:
        return ", ".join(row.name for row in listing.workflows_read_rows(connection, found.ids))


def find(database: Database, wanted: WorkflowFilter = ALL, **how: object) -> Found:
    with database.read() as connection:
        return listing.workflows_find(connection, wanted, **how)  # type: ignore[arg-type]


def test_filters(filled: Database) -> None:
    """Each finds what it should, newest first, on every database alike."""
    for what, (wanted, expected) in FILTERS.items():
        found = find(filled, wanted)
        assert names(filled, found) == expected, what
        assert found.total == len(found.ids)
        assert not found.is_more
        assert found.older is None


def test_ids(filled: Database) -> None:
    """Of some workflows, or all but some."""
    newest, middle, oldest = find(filled).ids
    assert find(filled, W(ids=Choice((str(oldest), str(newest), "999999")))).ids == [newest, oldest]
    assert find(filled, W(ids=Choice((), (str(middle),)))).ids == [newest, oldest]


def test_a_tool_by_id(filled: Database) -> None:
    """And none for a tool that does not exist."""
    with filled.read() as connection:
        rows = listing.workflows_read_rows(connection, find(filled).ids)
    assert names(filled, find(filled, W(tool_id=rows[0].tool_id))) == "fit b%_c"
    assert find(filled, W(tool_id=999_999)).ids == []


def test_tools_with_more_versions_than_fit_into_a_list(
    filled: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Are found all the same."""
    monkeypatch.setattr(listing, "MOST_VERSIONS", 1)
    assert names(filled, find(filled, W(tools=Choice(("life",))))) == "plot, Fit A"


SORTED = {
    "id": "Fit A, plot, fit b%_c",
    "name": "Fit A, fit b%_c, plot",
    "owner": "plot, Fit A, fit b%_c",
    "tool": "fit b%_c, plot, Fit A",
    "submitted": "Fit A, plot, fit b%_c",
    "status": "Fit A, fit b%_c, plot",
}
TURNED = {
    "id": "fit b%_c, plot, Fit A",
    "name": "plot, fit b%_c, Fit A",
    "owner": "fit b%_c, plot, Fit A",
    "tool": "plot, Fit A, fit b%_c",
    "submitted": "fit b%_c, plot, Fit A",
    "status": "plot, fit b%_c, Fit A",
}


def test_sorting(filled: Database) -> None:
    """By any column and both ways, whatever the case of letters; among equals the newest first."""
    for sort in listing.SORTS:
        assert names(filled, find(filled, sort=sort, is_descending=False)) == SORTED[sort], sort
        assert names(filled, find(filled, sort=sort)) == TURNED[sort], sort


def test_pages(filled: Database) -> None:
    """Follow each other until nothing is left."""
    everything = find(filled).ids
    first = find(filled, limit=2)
    assert (first.ids, first.total, first.is_more) == (everything[:2], 3, True)
    second = find(filled, offset=2, limit=2)
    assert (second.ids, second.total, second.is_more) == (everything[2:], 3, False)
    assert find(filled, offset=4, limit=2).ids == []


def test_a_search_stops_after_a_span_and_goes_on_from_there(
    filled: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many workflows there are, a request looks at a bounded number of ids."""
    everything = find(filled).ids
    monkeypatch.setattr(listing, "SPAN", 2)
    first = find(filled)
    assert first.ids == [each for each in everything if each > everything[0] - 2]
    seen = list(first.ids)
    older = first.older
    while older is not None:
        found = find(filled, before=older)
        seen += found.ids
        older = found.older
    assert seen == everything
    assert find(filled, W(ids=Choice((str(everything[-1]),)))).ids == [everything[-1]]


def test_no_more_are_counted_than_that(filled: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies beyond is reached by its ids."""
    everything = find(filled).ids
    monkeypatch.setattr(listing, "COUNTED", 2)
    found = find(filled, limit=2)
    assert (found.ids, found.total, found.is_more, found.older) == (everything[:2], 3, False, everything[1])
    assert find(filled, before=found.older).ids == everything[2:]
    assert find(filled, sort="name", is_descending=False, limit=2).older is None


def test_what_is_read_of_workflows(filled: Database) -> None:
    """In the order of the ids; unknown ones are left out."""
    newest, middle, oldest = find(filled).ids
    with filled.read() as connection:
        rows = listing.workflows_read_rows(connection, [oldest, 999_999, newest])
        changing = listing.workflows_read_changing(connection, [middle, 999_999])
        assert listing.workflows_read_rows(connection, []) == []
    assert [row.workflow_id for row in rows] == [oldest, newest]
    assert (rows[0].name, rows[0].owner, rows[0].tool, rows[0].num_runs) == ("Fit A", "ada", "life", 0)
    assert rows[0].attributes == {"place": "Carlow", "note": "s"}
    assert rows[0].by_status == {TaskStatus.REGISTERED.value: 2}
    assert (rows[1].status, rows[1].num_runs, rows[1].args) == (WorkflowStatus.RUNNING, 1, "year=2")
    assert changing.keys() == {middle}
    assert changing[middle].status is WorkflowStatus.FAILED
    assert changing[middle].by_status == {TaskStatus.REGISTERED.value: 2}


def test_an_empty_database(database: Database) -> None:
    """Has no workflows."""
    assert find(database) == Found([], 0, False, None)
