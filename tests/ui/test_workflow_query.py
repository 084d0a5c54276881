"""Filters of the list of workflows in an address."""

from __future__ import annotations

from datetime import date
from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobmon.core.states import WorkflowStatus
from jobmon.server.web.store.listing import Choice, WorkflowFilter
from jobmon.server.web.ui.workflow_query import FILTERS, LAST_PAGE, Asked, asked_of, filter_of


def filtered(query: str, viewer: str = "ada") -> WorkflowFilter:
    found, problems = filter_of(asked_of(parse_qsl(query, keep_blank_values=True)), viewer)
    assert problems == []
    return found


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", WorkflowFilter(users=Choice(("ada",)))),
        ("user=*", WorkflowFilter()),
        ("user=", WorkflowFilter()),
        ("id=5", WorkflowFilter(ids=Choice(("5",)))),
        ("workflow_id=5,6", WorkflowFilter(ids=Choice(("5", "6")))),
        ("user=bob,eve", WorkflowFilter(users=Choice(("bob", "eve")))),
        ("user!=bob, eve", WorkflowFilter(users=Choice((), ("bob", "eve")))),
        ("user=*,!bob", WorkflowFilter(users=Choice((), ("bob",)))),
        ("user=*&tool=a,!b", WorkflowFilter(tools=Choice(("a",), ("b",)))),
        ("user=*&args=a,b", WorkflowFilter(args=Choice(("a,b",)))),
        ("user=*&args=!a,b", WorkflowFilter(args=Choice((), ("a,b",)))),
        ("user=*&args!=a,b", WorkflowFilter(args=Choice((), ("a,b",)))),
        ("user=*&tool_id=3", WorkflowFilter(tool_id=3)),
        (
            "user=*&from=2026-01-01&to=2026-01-31",
            WorkflowFilter(submitted_from=date(2026, 1, 1), submitted_to=date(2026, 1, 31)),
        ),
    ],
)
def test_what_addresses_mean(query: str, expected: WorkflowFilter) -> None:
    """Commas, exclamation marks, names of the older pages; without a user one's own, but by id everybody's."""
    assert filtered(query) == expected


def test_statuses() -> None:
    """By name, several times or with commas; by letter as in older addresses."""
    running, failed = WorkflowStatus.RUNNING.value, WorkflowStatus.FAILED.value
    for query in ("status=running&status=failed", "status=Running,FAILED", f"status={running},{failed}"):
        assert filtered(query).statuses == Choice((running, failed))
    assert filtered("status=!running").statuses == Choice((), (running,))


def test_nobody_known_sees_everybodys() -> None:
    """There are none of their own."""
    assert filtered("", viewer="") == WorkflowFilter()


@pytest.mark.parametrize(
    "query",
    ["id=x", "id=1,-2", f"id={'9' * 5000}", "id=٣", "status=lost", "from=yesterday", "tool_id=x",
     "from=2026-02-01&to=2026-01-01"],
)  # fmt: skip
def test_what_cannot_be_understood_is_said(query: str) -> None:
    """In a sentence for each."""
    _, problems = filter_of(asked_of(parse_qsl(query)), "ada")
    assert len(problems) == 1


@pytest.mark.parametrize(
    "query", ["page=0", "page=x", "page=-1", f"page={'9' * 5000}", "sort=x", "sort=", "before=x"]
)
def test_senseless_places_are_the_first_page(query: str) -> None:
    """In the usual order."""
    asked = asked_of(parse_qsl(query, keep_blank_values=True))
    assert (asked.sort, asked.page, asked.before) == ("-id", 1, None)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([*FILTERS, "user!", "tool!", "args!", "sort", "page", "before", "zzz"]),
            st.text(max_size=20) | st.sampled_from(["!a", "a,b", "*", "3", "-name", "running"]),
        ),
        max_size=8,
    )
)
def test_a_tidy_address_means_the_same(query: list[tuple[str, str]]) -> None:
    """It is reached at once, so that a browser is not sent on for ever, and no text breaks anything."""
    asked = asked_of(query)
    tidy = parse_qsl(urlencode(asked.query(page=asked.page, before=asked.before, sort=asked.sort)))
    again = asked_of(tidy)
    assert again.is_tidy
    assert filter_of(again, "ada") == filter_of(asked, "ada")
    assert (again.sort, again.page, again.before) == (asked.sort, asked.page, asked.before)
    assert 1 <= asked.page <= LAST_PAGE


def test_changed_filters_lead_to_the_first_page() -> None:
    """The next page keeps them, another order keeps where the search began."""
    asked = Asked({"tool": "a"}, "name", 3, 700)
    assert asked.query(page=4) == {"tool": "a", "sort": "name", "page": 4, "before": 700}
    assert asked.query(sort="-id") == {"tool": "a", "before": 700}
    assert asked.query(tool=None, name="x") == {"name": "x", "sort": "name"}
