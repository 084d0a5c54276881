"""The pure state of a run: which tasks may run now."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobmon.core.states import TASK_ACTIVE, TaskStatus
from jobmon.distributor.attempts import Room
from jobmon.serializers.swarm import SerializeSwarmTask, TaskChanges
from jobmon.swarm.state import Batch, SwarmState

NO_LIMIT = 2**31 - 1
FIRST_ID = 100
G, Q, R, D, F, A = (
    TaskStatus.REGISTERED,
    TaskStatus.QUEUED,
    TaskStatus.RUNNING,
    TaskStatus.DONE,
    TaskStatus.ERROR_FATAL,
    TaskStatus.ADJUSTING_RESOURCES,
)


def make(
    upstream: Sequence[Sequence[int]],
    *,
    limit: int = NO_LIMIT,
    arrays: Sequence[int] | None = None,
    array_limits: Mapping[int, int] | None = None,
    statuses: Sequence[TaskStatus] | None = None,
    page: int = 10**9,
) -> SwarmState:
    """A state of tasks 100, 101, …; their nodes have other ids in another order."""
    count = len(upstream)
    nodes = [10_000 - position for position in range(count)]
    arrays = arrays or [1] * count
    letters = "".join(statuses or [G] * count)

    def pages() -> list[SerializeSwarmTask]:
        return [
            SerializeSwarmTask(
                [FIRST_ID + i for i in part],
                letters[part.start : part.stop],
                [arrays[i] for i in part],
                [nodes[i] for i in part],
                [7] * len(part),
                [3] * len(part),
                [0] * len(part),
                [[nodes[u] for u in upstream[i]] for i in part],
                [""] * len(part),
                [""] * len(part),
            )
            for part in (range(s, min(s + page, count)) for s in range(0, count, page))
        ]

    return SwarmState(pages(), limit, array_limits or dict.fromkeys(arrays, NO_LIMIT))


def batches(state: SwarmState, slots: int = NO_LIMIT, max_batch: int = 500) -> list[Batch]:
    """What is taken now for the one cluster there is."""
    return list(state.take_batches({"c": Room(slots, max_batch)}, lambda _: "c"))


def take(state: SwarmState, room: int = NO_LIMIT) -> list[int]:
    """Positions of the tasks that are taken now, in order."""
    return [task_id - FIRST_ID for batch in batches(state, room) for task_id in batch.task_ids]


def tell(state: SwarmState, position: int, status: TaskStatus, attempts: int = 1) -> None:
    state.apply(TaskChanges([FIRST_ID + position], status.value, [attempts]))


def test_a_chain_is_taken_one_by_one() -> None:
    """The next is ready when the last is done, not earlier."""
    state = make([[], [0], [1]])
    for position in range(3):
        assert take(state) == [position]
        assert take(state) == []
        tell(state, position, R)
        assert take(state) == []
        tell(state, position, D)
    assert state.is_complete
    assert state.is_stuck


def test_a_diamond_waits_for_both_sides() -> None:
    """The last task has two upstreams."""
    state = make([[], [0], [0], [1, 2]])
    assert take(state) == [0]
    tell(state, 0, D)
    assert take(state) == [1, 2]
    tell(state, 2, D)
    assert take(state) == []
    tell(state, 1, D)
    assert take(state) == [3]


def test_all_to_all_waits_for_all() -> None:
    """Every task of the second layer is ready with the last of the first, and not before."""
    state = make([[]] * 30 + [list(range(30))] * 30)
    assert take(state) == list(range(30))
    for position in range(29):
        tell(state, position, D)
    assert take(state) == []
    tell(state, 29, D)
    assert take(state) == list(range(30, 60))


def test_ready_tasks_come_in_the_order_of_their_ids() -> None:
    """First those that were ready first."""
    state = make([[], [], [], [0]], limit=2)
    assert take(state) == [0, 1]
    tell(state, 0, D)
    assert take(state) == [2]
    tell(state, 1, D)
    assert take(state) == [3]


def test_the_limit_of_the_workflow_counts_all_that_is_active() -> None:
    """Queued ones as well as running ones; a smaller limit takes nothing back; a larger one counts at once."""
    state = make([[]] * 6, limit=2)
    assert take(state) == [0, 1]
    assert take(state) == []
    state.max_concurrently_running = 0
    tell(state, 0, D)
    assert take(state) == []
    assert not state.is_stuck
    state.max_concurrently_running = 4
    assert take(state) == [2, 3, 4]


def test_each_array_has_its_limit() -> None:
    """Another array goes on meanwhile."""
    state = make([[]] * 6, arrays=[1, 1, 1, 2, 2, 2], array_limits={1: 1, 2: 2})
    assert take(state) == [0, 3, 4]
    tell(state, 0, D)
    assert take(state) == [1]


def test_batches_are_of_one_array_and_one_request() -> None:
    """And not larger than asked for."""
    state = make([[]] * 4, arrays=[1, 2, 1, 2])
    state.set_resources(FIRST_ID + 2, 8)
    assert batches(state, NO_LIMIT, 1) == [
        Batch(1, 7, [100]),
        Batch(2, 7, [101]),
        Batch(2, 7, [103]),
        Batch(1, 8, [102]),
    ]


def test_room_bounds_what_is_taken() -> None:
    """The rest stays ready."""
    state = make([[]] * 5)
    assert take(state, 2) == [0, 1]
    assert take(state, 0) == []
    assert take(state, 9) == [2, 3, 4]


def test_what_fails_for_good_holds_up_what_waits_for_it() -> None:
    """The rest runs; then the run is over."""
    state = make([[], [], [0]])
    take(state)
    tell(state, 0, F)
    assert not state.is_stuck
    tell(state, 1, D)
    assert state.is_stuck
    assert (state.counts.done, state.counts.failed, state.counts.pending) == (1, 1, 1)


def test_what_is_retried_is_ready_again() -> None:
    """Once; saying so twice changes nothing."""
    state = make([[]])
    take(state)
    tell(state, 0, G)
    tell(state, 0, G)
    assert take(state) == [0]
    assert take(state) == []


def test_what_adjusts_its_resources_goes_first() -> None:
    """Its failure may well say that the others fail too."""
    state = make([[]] * 3, limit=1)
    assert take(state) == [0]
    tell(state, 0, A)
    assert take(state) == [0]


def test_put_back_is_as_if_never_taken() -> None:
    """The server did not queue them."""
    state = make([[], [], [0]])
    assert take(state) == [0, 1]
    state.put_back([100])
    assert state.counts.active == 1
    assert take(state) == [0]


def test_put_back_leaves_alone_what_has_changed_meanwhile() -> None:
    """Somebody completed a task by hand while the server was asked to queue it."""
    state = make([[], [0]])
    assert take(state) == [0]
    tell(state, 0, D)
    state.put_back([FIRST_ID])
    assert state.num_done == 1
    assert take(state) == [1]


def test_tasks_done_before_are_not_run_again() -> None:
    """What waits for them is ready from the start."""
    state = make([[], [0], [1]], statuses=[D, D, G], page=2)
    assert state.num_previously_done == 2
    assert take(state) == [2]


def test_adopted_tasks_count_and_are_not_taken() -> None:
    """They run already, under the limits."""
    state = make([[], [], [0]], limit=2, statuses=[R, G, G])
    assert state.counts.running == 1
    assert take(state) == [1]
    tell(state, 0, D)
    assert take(state) == [2]


def test_a_task_reopened_holds_up_again() -> None:
    """By order of a user: what waits for it is not ready any more."""
    state = make([[], [0]], statuses=[D, G])
    tell(state, 0, G, 0)
    assert take(state) == [0]
    assert not state.has_ready
    tell(state, 0, D)
    assert take(state) == [1]


def test_strangers_are_ignored() -> None:
    """Tasks of other workflows."""
    state = make([[]])
    state.apply(TaskChanges([99, 101], "DD", [1, 1]))
    state.mark([99, 10**9], D)
    assert state.counts.done == 0
    assert state.position(99) is None


def test_watched_tasks_are_announced_when_they_are_ready() -> None:
    """Also when they are already; and again for the next attempt."""
    state = make([[], [0]])
    state.watch([100, 101])
    assert state.watched_ready == [100]
    state.watched_ready.clear()
    take(state)
    tell(state, 0, D)
    assert state.watched_ready == [101]


graphs = st.integers(1, 25).flatmap(
    lambda count: st.tuples(
        *(
            st.lists(st.integers(0, i - 1), unique=True, max_size=4) if i else st.just([])
            for i in range(count)
        )
    )
)


@given(
    upstream=graphs,
    limit=st.integers(1, 5),
    array_limit=st.integers(1, 3),
    seed=st.integers(0, 2**32),
    page=st.integers(1, 30),
)
def test_any_graph_runs_to_its_end(
    upstream: Sequence[Sequence[int]], limit: int, array_limit: int, seed: int, page: int
) -> None:
    """Never before its upstreams, never beyond a limit, whatever fails; and it ends."""
    chance = random.Random(seed)
    count = len(upstream)
    arrays = [chance.choice((1, 2)) for _ in range(count)]
    limits = {1: array_limit, 2: NO_LIMIT}
    state = make(upstream, limit=limit, arrays=arrays, array_limits=limits, page=page)
    status, attempts, active = [G] * count, [0] * count, set[int]()
    for _ in range(20 * count):
        for position in take(state, chance.randint(0, 4)):
            assert status[position] in (G, A)
            assert all(status[u] is D for u in upstream[position])
            status[position] = Q
            active.add(position)
        assert len(active) <= limit
        assert sum(arrays[position] == 1 for position in active) <= array_limit
        assert state.counts.active == len(active)
        if state.is_stuck:
            break
        for position in chance.sample(sorted(active), chance.randint(0, len(active))):
            after = chance.choice((TaskStatus.INSTANTIATING, R, D, D, G, A, F))
            attempts[position] += 1
            if after in (G, A) and attempts[position] > 5:
                after = F
            before, status[position] = status[position], after
            if after not in TASK_ACTIVE:
                active.discard(position)
            if chance.random() < 0.1 and after is G and before is Q:
                state.put_back([FIRST_ID + position])
            else:
                tell(state, position, after)
    assert state.is_stuck, "it does not end"
    assert state.counts.done == status.count(D)
    assert state.counts.failed == status.count(F)
    for position in range(count):  # what is left waits for a failure
        if status[position] is G:
            assert any(status[u] is not D for u in upstream[position])


@pytest.mark.parametrize("layers", [2, 8])
def test_memory_is_linear_in_tasks_and_edges(layers: int) -> None:
    """Some dozens of bytes a task, some bytes an edge."""
    width = 60
    upstream: list[list[int]] = [
        list(range((layer - 1) * width, layer * width)) if layer else []
        for layer in range(layers)
        for _ in range(width)
    ]
    edges = sum(map(len, upstream))
    page = make(upstream)  # import and caches out of the way
    del page
    tracemalloc.start()
    state = make(upstream)
    current, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert current < 400 * len(state) + 12 * edges + 20_000


def throttling(
    state: SwarmState, slots: int = NO_LIMIT, held: Mapping[int, int] | None = None
) -> list[Batch]:
    """What is taken now for one cluster that can hold back a part of a batch."""
    return list(state.take_batches({"c": Room(slots, NO_LIMIT, True)}, lambda _: "c", held))


def test_a_cluster_that_throttles_gets_all_that_is_ready_at_once() -> None:
    """One batch with the limit as the number that may run at once, and nothing more of that array until there is room."""
    state = make([[]] * 10, array_limits={1: 3})
    (batch,) = throttling(state)
    assert (len(batch.task_ids), batch.max_running) == (10, 3)
    state.apply(TaskChanges([FIRST_ID], G, [1]))
    assert throttling(state, held={1: 6}) == []  # three of the nine that are left may run


def test_what_a_cluster_holds_back_uses_no_room_of_the_workflow() -> None:
    """Another array gets what the throttled one leaves of the workflow's limit."""
    state = make([[]] * 10, limit=4, arrays=[1] * 8 + [2] * 2, array_limits={1: 3, 2: 5})
    first, second = throttling(state)
    assert (len(first.task_ids), first.max_running) == (8, 3)
    assert (len(second.task_ids), second.max_running) == (2, 1)


def test_a_limit_of_nothing_holds_back_everything() -> None:
    """A paused workflow hands nothing over, not even throttled."""
    assert throttling(make([[]] * 3, limit=0)) == []


def test_each_cluster_takes_what_it_has_room_for() -> None:
    """Tasks of a full cluster wait; those of the other go."""
    state = make([[]] * 4, arrays=[1, 1, 2, 2])
    for task_id in (FIRST_ID, FIRST_ID + 1):
        state.set_resources(task_id, 8)
    rooms = {"full": Room(0, 500), "free": Room(9, 500)}
    taken = list(state.take_batches(rooms, {7: "free", 8: "full"}.__getitem__))
    assert [batch.array_id for batch in taken] == [2]
