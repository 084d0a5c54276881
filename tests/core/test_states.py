"""The tables of the four state machines, read as a specification."""

from __future__ import annotations

from enum import StrEnum

import pytest

from jobmon.core import states
from jobmon.core.states import (
    DESCRIPTIONS,
    STALE,
    TASK,
    TASK_ACTIVE,
    TASK_EVENT_OF_INSTANCE_STATE,
    TASK_INSTANCE,
    TASK_INSTANCE_LIVE,
    TASK_INSTANCE_MAY_RUN,
    TASK_INSTANCE_NOT_STARTED,
    TASK_INSTANCE_TERMINAL,
    TASK_INSTANCE_USER_LABEL,
    TASK_TERMINAL,
    TASK_USER_LABEL,
    USER_LABELS,
    WORKFLOW,
    WORKFLOW_EVENT_OF_RUN_STATE,
    WORKFLOW_RUN,
    WORKFLOW_RUN_ALIVE,
    WORKFLOW_RUN_ORDERABLE,
    WORKFLOW_RUN_TERMINAL,
    Budget,
    Cause,
    TaskEvent,
    TaskInstanceEvent,
    TaskInstanceStatus,
    TaskStatus,
    WorkflowEvent,
    WorkflowRunEvent,
    WorkflowRunStatus,
    WorkflowStatus,
    after_failure,
    sources,
    target,
)

MACHINES = {
    "workflow": (WORKFLOW, WorkflowStatus, WorkflowEvent),
    "run": (WORKFLOW_RUN, WorkflowRunStatus, WorkflowRunEvent),
    "task": (TASK, TaskStatus, TaskEvent),
    "instance": (TASK_INSTANCE, TaskInstanceStatus, TaskInstanceEvent),
}
LETTERS = {
    WorkflowStatus: "GQIORDFHA",
    WorkflowRunStatus: "GLBAIORDSECHT",
    TaskStatus: "GQIORDEAF",
    TaskInstanceStatus: "QIORTXKDEFZUWB",
}


@pytest.mark.parametrize("name", MACHINES)
def test_every_state_has_a_row_of_known_events_and_states(name: str) -> None:
    """The tables are total over states and closed."""
    table, statuses, events = MACHINES[name]
    assert set(table) == set(statuses)
    for row in table.values():
        assert set(row) <= set(events)
        assert all(after is STALE or after in set(statuses) for after in row.values())


@pytest.mark.parametrize("kind", LETTERS)
def test_the_letters_are_those_of_the_existing_databases(kind: type[StrEnum]) -> None:
    """Users' SQL knows them."""
    assert sorted(status.value for status in kind) == sorted(LETTERS[kind])
    assert all(DESCRIPTIONS[kind][letter] for letter in LETTERS[kind])


@pytest.mark.parametrize("name", MACHINES)
def test_every_state_is_reached_from_the_first(name: str) -> None:
    """But for the one that only older generations wrote."""
    table, statuses, _ = MACHINES[name]
    first = next(iter(statuses))
    reached, todo = {first}, [first]
    while todo:
        for after in table[todo.pop()].values():
            if after is not STALE and after not in reached:
                reached.add(after)
                todo.append(after)
    assert set(statuses) - reached <= {TaskInstanceStatus.SUBMITTED_TO_BATCH_DISTRIBUTOR}


@pytest.mark.parametrize("name", MACHINES)
def test_no_event_leads_to_where_it_was(name: str) -> None:
    """An event without effect is STALE, so that nothing is written for it."""
    table, _, _ = MACHINES[name]
    assert not [
        (state, event) for state, row in table.items() for event, after in row.items() if after is state
    ]


@pytest.mark.parametrize("name", MACHINES)
def test_sources_are_the_states_an_event_leaves(name: str) -> None:
    """``sources`` is the guard of bulk updates: STALE and illegal states are not in it."""
    table, statuses, events = MACHINES[name]
    for event in events:
        expected = {state for state in statuses if target(table, state, event) not in (None, STALE)}
        assert set(sources(table, event)) == expected


def test_peers_transitions_of_tasks_are_all_there() -> None:
    """Behaviour 3.4: G→Q · A→Q · Q→I · I→O,E,R · O→R,E · R→D,E · E→A,Q,F,G."""
    expected = {"G": "Q", "A": "Q", "Q": "I", "I": "OER", "O": "RE", "R": "DE", "E": "AQFG"}
    for letter, others in expected.items():
        assert set(others) <= {str(after) for after in TASK[TaskStatus(letter)].values()}


def test_peers_transitions_of_runs_are_all_there() -> None:
    """Behaviour 3.4: G→L · L→B,A · B→I,E,C,H · I→O,E · O→R,E · R→D,S,C,H,E · C→T · H→T."""
    expected = {"G": "L", "L": "BA", "B": "IECH", "I": "OE", "O": "RE", "R": "DSCHE", "C": "T", "H": "T"}
    for letter, others in expected.items():
        row = WORKFLOW_RUN[WorkflowRunStatus(letter)]
        assert set(others) <= {str(after) for after in row.values()}


def test_peers_transitions_of_workflows_are_all_there() -> None:
    """Behaviour 3.4: G→Q,A · A→G · F→G · H→G · Q→I,F,H · I→O,F · O→R,F · R→H,D,F."""
    expected = {"G": "QA", "A": "G", "F": "G", "H": "G", "Q": "IFH", "I": "OF", "O": "RF", "R": "HDF"}
    for letter, others in expected.items():
        row = WORKFLOW[WorkflowStatus(letter)]
        assert set(others) <= {str(after) for after in row.values()}


def test_a_run_is_alive_until_it_is_terminal() -> None:
    """Also while it is instantiated or launched."""
    assert set("GLBIORCH") == {status.value for status in WORKFLOW_RUN_ALIVE}
    assert set("ADSET") == {status.value for status in WORKFLOW_RUN_TERMINAL}
    assert {"B", "I", "O", "R"} <= {status.value for status in WORKFLOW_RUN_ORDERABLE}


@pytest.mark.parametrize("state", sorted(WORKFLOW_RUN_TERMINAL))
def test_a_run_that_ended_stays(state: WorkflowRunStatus) -> None:
    """Whatever is said of it afterwards is late."""
    assert all(target(WORKFLOW_RUN, state, event) is STALE for event in WorkflowRunEvent)


@pytest.mark.parametrize("state", sorted(TASK_INSTANCE_TERMINAL))
def test_an_attempt_that_ended_stays(state: TaskInstanceStatus) -> None:
    """Whatever is said of it afterwards is late."""
    assert all(target(TASK_INSTANCE, state, event) is STALE for event in TaskInstanceEvent)


@pytest.mark.parametrize("state", sorted(TASK_INSTANCE_LIVE))
def test_a_live_attempt_can_be_ended_by_order(state: TaskInstanceStatus) -> None:
    """No attempt can be stuck: its end by order is always legal."""
    assert target(TASK_INSTANCE, state, TaskInstanceEvent.ABORT) is TaskInstanceStatus.ERROR_FATAL


def test_states_of_attempts_are_divided() -> None:
    """Live or terminal; those that may run and those that did not start are live."""
    assert set(TaskInstanceStatus) == TASK_INSTANCE_LIVE | TASK_INSTANCE_TERMINAL
    assert not TASK_INSTANCE_LIVE & TASK_INSTANCE_TERMINAL
    assert TASK_INSTANCE_MAY_RUN | TASK_INSTANCE_NOT_STARTED < TASK_INSTANCE_LIVE
    assert not TASK_ACTIVE & TASK_TERMINAL


def test_a_late_success_counts() -> None:
    """An attempt in triage, or one that was ordered to end, that says it succeeded is believed."""
    for state in (TaskInstanceStatus.TRIAGING, TaskInstanceStatus.KILL_SELF):
        assert target(TASK_INSTANCE, state, TaskInstanceEvent.FINISH) is TaskInstanceStatus.DONE


def test_renewed_heartbeat_ends_triage() -> None:
    """The attempt was alive all the time."""
    assert target(TASK_INSTANCE, TaskInstanceStatus.TRIAGING, TaskInstanceEvent.HEARTBEAT) is (
        TaskInstanceStatus.RUNNING
    )


@pytest.mark.parametrize("instance_state", TASK_EVENT_OF_INSTANCE_STATE)
def test_what_an_attempt_means_to_its_task_is_legal_wherever_it_can_be(
    instance_state: TaskInstanceStatus,
) -> None:
    """Couplings to a fixed point: no joint state is reached in which the task has no answer to its only attempt."""
    # The store creates attempts together with their hand-over: none rests in QUEUED.
    seen, todo = set(), [(TaskInstanceStatus.INSTANTIATED, TaskStatus.INSTANTIATING)]
    while todo:
        instance, task = todo.pop()
        for event in TaskInstanceEvent:
            after = target(TASK_INSTANCE, instance, event)
            if not isinstance(after, TaskInstanceStatus):
                continue
            task_event = TASK_EVENT_OF_INSTANCE_STATE.get(after)
            task_after = task if task_event is None else target(TASK, task, task_event)
            if task_after is STALE:
                task_after = task
            if after is instance_state:
                assert isinstance(task_after, TaskStatus), (
                    f"{instance}+{task} -{event}-> {after}: {task_event}"
                )
            if isinstance(task_after, TaskStatus) and (after, task_after) not in seen:
                seen.add((after, task_after))
                todo.append((after, task_after))


def test_a_run_can_always_tell_its_workflow() -> None:
    """The same for runs, one after the other, over all joint states."""
    seen, todo = set(), [(WorkflowRunStatus.REGISTERED, WorkflowStatus.REGISTERING)]
    while todo:
        run, workflow = todo.pop()
        for event in WorkflowRunEvent:
            after = target(WORKFLOW_RUN, run, event)
            if not isinstance(after, WorkflowRunStatus):
                continue
            if event is WorkflowRunEvent.FINISH and workflow is not WorkflowStatus.RUNNING:
                continue  # a controller that was ordered to hand over before it started has finished nothing
            if run is WorkflowRunStatus.REGISTERED and event is not WorkflowRunEvent.LINK:
                continue  # a run is linked in the transaction that creates it
            workflow_event = WORKFLOW_EVENT_OF_RUN_STATE.get(after)
            workflow_after = (
                workflow if workflow_event is None else target(WORKFLOW, workflow, workflow_event)
            )
            if workflow_after is STALE:
                workflow_after = workflow
            assert isinstance(workflow_after, WorkflowStatus), f"{run}+{workflow} -{event}-> {after}"
            nexts = {(after, workflow_after)}
            if after in WORKFLOW_RUN_TERMINAL and workflow_after is not WorkflowStatus.DONE:
                nexts.add((WorkflowRunStatus.REGISTERED, workflow_after))
            todo.extend(nexts - seen)
            seen |= nexts
    assert {workflow for _, workflow in seen} == set(WorkflowStatus)


@pytest.mark.parametrize("cause", list(Cause))
@pytest.mark.parametrize(
    "ended",
    [TaskInstanceStatus.ERROR, TaskInstanceStatus.RESOURCE_ERROR, TaskInstanceStatus.UNKNOWN_ERROR],
)
def test_after_a_failure_a_task_never_loops_for_ever(cause: Cause, ended: TaskInstanceStatus) -> None:
    """Whatever the cause, the budgets end it; and the decision is legal."""
    attempts = losses = 0
    for _ in range(100):
        attempts += 1
        losses += cause in states.BLAMELESS
        event = after_failure(ended, cause, Budget(attempts, 3, losses, 5))
        assert isinstance(target(TASK, TaskStatus.ERROR_RECOVERABLE, event), TaskStatus)
        if event is TaskEvent.EXHAUST:
            break
    assert event is TaskEvent.EXHAUST
    assert attempts == (6 if cause in states.BLAMELESS else 3)


def test_losses_do_not_eat_attempts() -> None:
    """Three losses and two failures of three allowed: there is one attempt left."""
    assert after_failure(TaskInstanceStatus.ERROR, Cause.CODE, Budget(5, 3, 3, 10)) is TaskEvent.RETRY
    assert after_failure(TaskInstanceStatus.ERROR, Cause.CODE, Budget(6, 3, 3, 10)) is TaskEvent.EXHAUST


def test_a_resource_error_asks_for_more() -> None:
    """Unless the attempts are used up, or the loss was nobody's fault."""
    ended = TaskInstanceStatus.RESOURCE_ERROR
    assert after_failure(ended, Cause.RESOURCE, Budget(1, 3, 0, 10)) is TaskEvent.ADJUST
    assert after_failure(ended, Cause.RESOURCE, Budget(3, 3, 0, 10)) is TaskEvent.EXHAUST
    assert after_failure(ended, Cause.PREEMPTED, Budget(1, 3, 1, 10)) is TaskEvent.RETRY


def test_an_end_is_believed_though_no_start_was_told() -> None:
    """The cluster tells of jobs whose wrapper reached nobody, or that were cancelled in its queue."""
    launched = TaskInstanceStatus.LAUNCHED
    assert target(TASK_INSTANCE, launched, TaskInstanceEvent.FINISH) is TaskInstanceStatus.DONE
    assert target(TASK_INSTANCE, launched, TaskInstanceEvent.FAIL) is TaskInstanceStatus.ERROR


def test_every_cause_has_a_policy() -> None:
    """Which budget pays; those charged to the infrastructure are blameless."""
    assert set(states.RETRY_POLICIES) == set(Cause)
    assert frozenset({Cause.INFRASTRUCTURE, Cause.PREEMPTED}) == states.BLAMELESS
    assert Cause.ORDERED not in states.RETRY_POLICY_CAUSES


@pytest.mark.parametrize("cause", states.RETRY_POLICY_CAUSES)
@pytest.mark.parametrize("word", states.RETRY_POLICY_WORDS)
@pytest.mark.parametrize("ended", [TaskInstanceStatus.ERROR, TaskInstanceStatus.RESOURCE_ERROR])
def test_a_policy_holds_for_its_cause_and_never_loops(
    cause: Cause, word: str, ended: TaskInstanceStatus
) -> None:
    """Whatever a template says of a cause, a budget ends it; other causes are treated as usual."""
    policies = states.retry_policies({cause.value: word})
    assert {c for c in Cause if policies[c] != states.RETRY_POLICIES[c]} <= {cause}
    attempts = losses = 0
    event = TaskEvent.RETRY
    while event is not TaskEvent.EXHAUST:
        attempts += 1
        charge = states.policy_after(ended, cause, policies).charge
        losses += charge is states.Charge.INFRASTRUCTURE
        event = after_failure(ended, cause, Budget(attempts, 3, losses, 5), policies)
        assert isinstance(target(TASK, TaskStatus.ERROR_RECOVERABLE, event), TaskStatus)
    if ended is TaskInstanceStatus.ERROR:
        assert attempts == {"retry": 3, "give_up": 1, "retry_blameless": 6}[word]


def test_a_policy_is_checked() -> None:
    """The message names what there is."""
    assert states.check_retry_policy({"code": "give_up"}) == {"code": "give_up"}
    assert states.check_retry_policy({Cause.CODE: "give_up"}) == {"code": "give_up"}
    with pytest.raises(ValueError, match=r"'kode' is no cause of a failure. Causes: code, resource, launch"):
        states.check_retry_policy({"kode": "retry"})
    with pytest.raises(ValueError, match=r"cause 'code': 'never' is not known.*: retry, give_up, retry_bl"):
        states.check_retry_policy({"code": "never"})
    with pytest.raises(ValueError, match="'ordered' is no cause"):
        states.check_retry_policy({"ordered": "retry"})
    with pytest.raises(ValueError, match="must be a dict of causes"):
        states.check_retry_policy("retry")  # type: ignore[arg-type]


def test_every_state_has_a_label_users_know() -> None:
    """PENDING, SCHEDULED, RUNNING, DONE, FATAL; each state in exactly one group."""
    assert USER_LABELS == ("PENDING", "SCHEDULED", "RUNNING", "DONE", "FATAL")
    assert set(TASK_USER_LABEL) == set(TaskStatus)
    assert set(TASK_INSTANCE_USER_LABEL) == set(TaskInstanceStatus)
    assert {*TASK_USER_LABEL.values(), *TASK_INSTANCE_USER_LABEL.values()} == set(USER_LABELS)


def test_labels_of_the_database_are_names_of_states() -> None:
    """``LAUNCHED`` is not called ``QUEUED``."""
    assert states.label(TaskInstanceStatus.LAUNCHED) == "LAUNCHED"
    assert states.label(WorkflowStatus.DONE) == "DONE"


def test_both_names_of_a_registered_task_mean_it() -> None:
    """Scripts use either."""
    assert TaskStatus["REGISTERED"] is TaskStatus["REGISTERING"] is TaskStatus("G")
