"""Alarms: told once, counted after that, and none is lost by the counting."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta

from database_clock import DatabaseClock
from hypothesis import given
from hypothesis import strategies as st

from jobmon.server.services.alarms import (
    AlarmState,
    alarm_due,
    alarm_note,
    alarm_seen,
    alarm_told,
    alarms_are_due,
    alarms_claim_due,
    alarms_forget,
    alarms_read,
)
from jobmon.server.web.database import Database

FOLD = 3600.0
BEGIN = datetime(2026, 1, 1)  # noqa: DTZ001 - UTC, as the database keeps it


@given(st.lists(st.tuples(st.integers(0, 5000), st.sampled_from(["see", "look"])), max_size=60))
def test_what_is_told_adds_up_to_what_was_seen(steps: list[tuple[int, str]]) -> None:
    """Never two messages within the fold, the first at once, and every sight is in one of them in the end."""
    state: AlarmState | None = None
    now, num_seen, num_told, messages = BEGIN, 0, 0, []

    def look() -> None:
        nonlocal state, num_told
        if state is not None and alarm_due(state, now, FOLD):
            num_told += state.num_seen - state.num_told
            messages.append(now)
            state = alarm_told(state, now)

    for seconds, what in steps:
        now += timedelta(seconds=seconds)
        if what == "see":
            is_first = state is None
            state = alarm_seen(state, now, FOLD)
            num_seen += 1
            if is_first:
                assert alarm_due(state, now, FOLD)
        else:
            look()
    now += timedelta(seconds=FOLD)
    look()
    assert num_told == num_seen
    assert all(b - a >= timedelta(seconds=FOLD) for a, b in itertools.pairwise(messages))


def test_what_lasts_is_told_once(database: Database, clock: DatabaseClock) -> None:
    told = []
    for _ in range(20):
        with database.write() as connection:
            alarm_note(
                connection,
                "bad_node",
                "c n",
                "It fails.",
                now=clock.now,
                fold_seconds=FOLD,
                is_condition=True,
            )
            told += alarms_claim_due(connection, clock.now, FOLD)
        clock.pass_by(300)
    assert [(each.subject, each.num_more) for each in told] == [("c n", 0)]
    clock.pass_by(2 * FOLD)  # it was over, and is there again
    with database.write() as connection:
        alarm_note(connection, "bad_node", "c n", "x", now=clock.now, fold_seconds=FOLD, is_condition=True)
        assert len(alarms_claim_due(connection, clock.now, FOLD)) == 1


def test_the_same_is_told_once_and_then_how_often_it_was(database: Database, clock: DatabaseClock) -> None:
    def see(subject: str = "run 1") -> None:
        with database.write() as connection:
            alarm_note(connection, "lost_run", subject, "It is lost.", now=clock.now, fold_seconds=FOLD)

    def told() -> list[tuple[str, int]]:
        with database.write() as connection:
            is_due = alarms_are_due(connection, clock.now, FOLD)
            due = alarms_claim_due(connection, clock.now, FOLD)
        assert is_due == bool(due)
        return [(each.subject, each.num_more) for each in due]

    see()
    see("run 2")
    assert told() == [("run 1", 0), ("run 2", 0)]
    assert told() == []
    for _ in range(3):
        clock.pass_by(60)
        see()
    assert told() == []
    clock.pass_by(FOLD)
    assert told() == [("run 1", 3)]
    assert told() == []
    with database.read() as connection:
        assert [row[:3] for row in alarms_read(connection, 10)] == [
            ("lost_run", "run 1", 4),
            ("lost_run", "run 2", 1),
        ]
    clock.pass_by(91 * 86400)
    with database.write() as connection:
        alarms_forget(connection, clock.now)
        assert alarms_read(connection, 10) == []
