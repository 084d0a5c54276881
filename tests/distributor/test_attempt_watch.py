"""When a batch cluster is asked, and what follows from its answers: values in, values out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobmon.core.batch_cluster import JobLook, RemoteEnd
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import Cause, TaskInstanceEvent, TaskInstanceStatus
from jobmon.distributor.watch import (
    NEVER,
    SETTLE_SECONDS,
    UNTOLD_ANSWERS,
    UNTOLD_SECONDS,
    Watch,
    Watched,
)

RUNNING, WAITING = JobLook(True), JobLook(False)
POLL, STEADY = 10.0, 30.0


def watch_of(count: int, *, now: float = 0.0) -> Watch:
    """Attempts 1 … count, submitted as jobs 7_1 … 7_count."""
    watch = Watch(POLL, STEADY)
    watch.add((Watched(i, "batch") for i in range(1, count + 1)), now)
    for i in range(1, count + 1):
        watch.note_submitted(i, f"7_{i}", now)
    return watch


def look(watch: Watch, now: float, **listed: JobLook) -> None:
    """The cluster lists these jobs (``_1`` for 7_1) and no others."""
    watch.note_look({f"7{name}": each for name, each in listed.items()}, watch.distributor_ids(), now)


def ask(watch: Watch, now: float, ends: Mapping[str, RemoteEnd]) -> list[InstanceEvent]:
    """The events after the cluster was asked about the silent ones."""
    return watch.note_ends(ends, watch.silent(now), now)


def test_nothing_is_asked_while_nothing_is_on_the_cluster() -> None:
    """Neither before the first submission nor after the last end."""
    watch = Watch(POLL, STEADY)
    assert watch.look_at == NEVER
    watch = watch_of(1)
    assert watch.look_at < NEVER
    watch.note_state(1, TaskInstanceStatus.DONE)
    assert watch.look_at == NEVER


def test_in_steady_state_the_pauses_grow_to_the_longest() -> None:
    """However many attempts wait and run, one look every steady_seconds."""
    watch, now, pauses = watch_of(1000), 0.0, []
    listed = {f"7_{i}": (RUNNING if i % 2 else WAITING) for i in range(1, 1001)}
    for _ in range(10):
        pauses.append(watch.look_at - now)
        now = watch.look_at
        watch.note_look(listed, watch.distributor_ids(), now)
    assert pauses == sorted(pauses)
    assert pauses[0] <= 2.0
    assert pauses[-1] == STEADY


def test_a_steady_run_is_not_asked_often_for_new_submissions() -> None:
    """A batch now and then brings the next look no nearer than poll_seconds."""
    watch = watch_of(1)
    for now in (2.0, 6.0, 14.0, 30.0, 60.0):
        look(watch, now, _1=RUNNING)
    watch.add([Watched(9, "later")], 61.0)
    watch.note_submitted(9, "8_1", 61.0)
    assert watch.look_at == 60.0 + POLL


def test_one_that_is_not_listed_may_still_tell_by_itself() -> None:
    """Its own word is waited for; when it comes nothing is asked."""
    watch = watch_of(1)
    look(watch, 10.0)
    assert watch.silent(10.0 + SETTLE_SECONDS / 2) == []
    watch.note_state(1, TaskInstanceStatus.DONE)
    assert watch.silent(10.0 + SETTLE_SECONDS) == []


def test_listed_again_is_not_silent() -> None:
    """A restarted controller of the cluster may forget a job for a moment."""
    watch = watch_of(1)
    look(watch, 10.0)
    look(watch, 11.0, _1=WAITING)
    assert watch.silent(99.0) == []


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (TaskInstanceStatus.LAUNCHED, [TaskInstanceEvent.START, TaskInstanceEvent.FAIL]),
        (TaskInstanceStatus.RUNNING, [TaskInstanceEvent.FAIL]),
        (TaskInstanceStatus.TRIAGING, [TaskInstanceEvent.FAIL]),
    ],
)
def test_an_end_the_cluster_knows_is_told(
    status: TaskInstanceStatus, expected: list[TaskInstanceEvent]
) -> None:
    """A start that was never told comes first, for the tables know no failure before it."""
    watch = watch_of(1)
    watch.note_state(1, status)
    look(watch, 10.0)
    events = ask(watch, 20.0, {"7_1": RemoteEnd(TaskInstanceEvent.FAIL, Cause.CODE, "exit 3", 3)})
    assert [event.event for event in events] == expected
    assert (events[-1].exit_code, events[-1].cause) == (3, Cause.CODE)


def test_a_failure_that_is_not_the_commands() -> None:
    """A job the cluster started once more, and failed at once: the command that ran has not said so, and is not to blame."""
    code = RemoteEnd(TaskInstanceEvent.FAIL, Cause.CODE, "It exited with code 1.", exit_code=1, wallclock=0.0)
    for status, end, expected in (
        (TaskInstanceStatus.RUNNING, code, TaskInstanceEvent.LOSE),
        (TaskInstanceStatus.RUNNING, replace(code, wallclock=7.0), TaskInstanceEvent.FAIL),
        (TaskInstanceStatus.RUNNING, replace(code, exit_code=-9), TaskInstanceEvent.FAIL),
        (TaskInstanceStatus.RUNNING, replace(code, cause=Cause.CANCELLED), TaskInstanceEvent.LOSE),
        (TaskInstanceStatus.RUNNING, replace(code, cause=Cause.LAUNCH), TaskInstanceEvent.FAIL),
        (TaskInstanceStatus.TRIAGING, replace(code, cause=Cause.CANCELLED), TaskInstanceEvent.FAIL),
        (TaskInstanceStatus.LAUNCHED, code, TaskInstanceEvent.FAIL),
    ):
        watch = watch_of(1)
        watch.note_state(1, status)
        look(watch, 10.0)
        event = ask(watch, 10.0 + SETTLE_SECONDS, {"7_1": end})[-1]
        assert event.event is expected
    assert event.description == "It exited with code 1."


def test_an_id_that_is_used_again() -> None:
    """By a later attempt: the cluster has lost the earlier one, which is told, once; the later one is watched on."""
    watch = watch_of(2)
    watch.add([Watched(3, "later"), Watched(4, "later")], 5.0)
    watch.order_end([2])
    watch.note_submitted(3, "7_1", 5.0)
    watch.note_submitted(4, "7_2", 5.0)
    assert watch.look_at <= 5.0
    lost, ordered = watch.take_replaced()
    assert (lost.task_instance_id, lost.event, lost.cause) == (
        1,
        TaskInstanceEvent.LOSE,
        Cause.INFRASTRUCTURE,
    )
    assert "gave its id to another job" in lost.description
    assert (ordered.task_instance_id, ordered.event) == (2, TaskInstanceEvent.ABORT)
    assert watch.take_replaced() == []
    for each in (1, 2):
        watch.remove(each)
    assert watch.distributor_ids() == ["7_1", "7_2"]
    assert 0 < watch.look_at < NEVER


def test_a_cluster_that_knows_nothing_is_believed_after_several_answers_only() -> None:
    """Not after one, however late; not after many in a short time."""
    watch = watch_of(1)
    look(watch, 0.0)
    for _ in range(UNTOLD_ANSWERS + 5):
        assert ask(watch, UNTOLD_SECONDS / 2, {}) == []
    (lost,) = ask(watch, UNTOLD_SECONDS, {})
    assert (lost.event, lost.cause) == (TaskInstanceEvent.LOSE, Cause.INFRASTRUCTURE)
    watch = watch_of(1)
    look(watch, 0.0)
    assert ask(watch, 100 * UNTOLD_SECONDS, {}) == []


def test_no_answer_is_no_answer() -> None:
    """A cluster that is away makes nobody silent, and is asked again with growing pauses."""
    watch = watch_of(3)
    pauses = []
    for now in (10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0):
        watch.note_unreachable(now)
        pauses.append(watch.look_at - now)
    assert watch.silent(NEVER) == []
    assert pauses == sorted(pauses)
    assert pauses[-1] <= STEADY


def test_one_that_was_ordered_to_end_has_ended_when_it_is_gone() -> None:
    """Whatever the cluster says of how; a success that was first stays one."""
    for end, expected in (
        (None, TaskInstanceEvent.ABORT),
        (RemoteEnd(TaskInstanceEvent.FAIL, Cause.CODE), TaskInstanceEvent.ABORT),
        (RemoteEnd(TaskInstanceEvent.FINISH), TaskInstanceEvent.FINISH),
    ):
        watch = watch_of(1)
        watch.note_state(1, TaskInstanceStatus.RUNNING)
        watch.order_end([1, 99])
        assert [each.distributor_id for each in watch.to_cancel()] == ["7_1"]
        watch.note_cancelled(watch.to_cancel())
        assert watch.to_cancel() == []
        look(watch, 1.0)
        (event,) = ask(watch, 10.0, {"7_1": end} if end else {})
        assert event.event is expected


def test_reasons_are_told_when_they_change() -> None:
    """Once for all attempts of a reason; empty when it has gone."""
    watch = watch_of(2)
    held = JobLook(False, "AssocMaxJobs: the account has too many jobs.")
    ids = watch.distributor_ids()
    assert watch.note_look({"7_1": held, "7_2": held}, ids, 1.0).reasons == {held.reason: [1, 2]}
    assert watch.note_look({"7_1": held, "7_2": held}, ids, 2.0).reasons == {}
    assert watch.note_look({"7_1": RUNNING, "7_2": held}, ids, 3.0).reasons == {"": [1]}


def test_what_can_never_start_is_named_unless_it_has_to_end_anyway() -> None:
    """With the reason, to be cancelled and told."""
    watch = watch_of(2)
    watch.order_end([2])
    never = JobLook(False, "PartitionTimeLimit: too long.", can_never_start=True)
    told = watch.note_look({"7_1": never, "7_2": never}, watch.distributor_ids(), 1.0)
    assert told.impossible == {1: never.reason}


@given(
    st.lists(
        st.tuples(st.sampled_from(["listed", "gone", "away", "knows", "knows not"]), st.floats(0.1, 60)),
        max_size=40,
    )
)
def test_an_attempt_ends_once_at_most_and_never_while_it_is_listed(story: list[tuple[str, float]]) -> None:
    """Whatever the cluster says in which order."""
    watch, now, is_listed, ends = watch_of(1), 0.0, True, []
    for what, seconds in story:
        now += seconds
        if what in ("listed", "gone"):
            is_listed = what == "listed"
            look(watch, now, **({"_1": RUNNING} if is_listed else {}))
        elif what == "away":
            watch.note_unreachable(now)
        else:
            known = {"7_1": RemoteEnd(TaskInstanceEvent.LOSE, Cause.INFRASTRUCTURE)}
            events = ask(watch, now, known if what == "knows" else {})
            assert not (events and is_listed)
            ends += events
            for event in events:
                watch.remove(event.task_instance_id)
    assert len(ends) <= 1
