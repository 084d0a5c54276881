"""The four state machines of Jobmon: the one home of every state, label, event and transition.

Rules
-----
1. Everything that affects a state or a transition lives in this file; nothing else spells a status
   letter. Lookup rows in the database, labels on the command line, guarded updates and the diagram in
   the documentation are derived from the tables below.
2. A table maps ``state -> event -> next state``. ``STALE`` as next state marks an event that may
   arrive late or twice: it is answered politely and changes nothing. An event that is absent is
   illegal: it raises :class:`~jobmon.core.exceptions.InvalidStateTransition` and nothing happens.
3. This file decides, it does nothing: no clock, no database, no logging.

Theory of operation
-------------------
There are four machines. A **task instance** is one attempt to run a task; its events come from the
process that ran the command, from the controller, or from whoever found it lost. Each change of a task
instance implies an event of its **task** (``TASK_EVENT_OF_INSTANCE_STATE``), unless that task is already
terminal: then the attempt is void, whatever it says. When an attempt has failed, the task passes through
``ERROR_RECOVERABLE``, and :func:`after_failure` decides at once whether it is retried, adjusted or given up.
A **workflow run** is one controller's execution of a **workflow**; each change of the run implies an event of the
workflow (``WORKFLOW_EVENT_OF_RUN_STATE``).

Beyond the transitions of the existing Jobmon, the tables hold what its users had to do without: an attempt
that is ordered to end before it started goes straight to ``ERROR_FATAL``; a word from an attempt in triage is
believed; an attempt that succeeds after it was ordered to end has succeeded, though its start was not believed any
more; ``INSTANTIATED`` and ``LAUNCHED`` runs are alive, may be stopped and obey an order to hand over; and the task of an
attempt ended by order returns to ``REGISTERED`` instead of staying "running" for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, StrEnum
from typing import Final, NamedTuple, TypeVar


class WorkflowStatus(StrEnum):
    """States of a workflow; the value is the id stored in the database."""

    REGISTERING = "G"
    QUEUED = "Q"
    INSTANTIATING = "I"
    LAUNCHED = "O"
    RUNNING = "R"
    DONE = "D"
    FAILED = "F"
    HALTED = "H"
    ABORTED = "A"


class WorkflowRunStatus(StrEnum):
    """States of a workflow run; the value is the id stored in the database."""

    REGISTERED = "G"
    LINKING = "L"
    BOUND = "B"
    ABORTED = "A"
    INSTANTIATED = "I"
    LAUNCHED = "O"
    RUNNING = "R"
    DONE = "D"
    STOPPED = "S"
    ERROR = "E"
    COLD_RESUME = "C"
    HOT_RESUME = "H"
    TERMINATED = "T"


class TaskStatus(StrEnum):
    """States of a task; the value is the id stored in the database."""

    REGISTERED = "G"
    REGISTERING = "G"
    QUEUED = "Q"
    INSTANTIATING = "I"
    LAUNCHED = "O"
    RUNNING = "R"
    DONE = "D"
    ERROR_RECOVERABLE = "E"
    ADJUSTING_RESOURCES = "A"
    ERROR_FATAL = "F"


class TaskInstanceStatus(StrEnum):
    """States of a task instance (one attempt); the value is the id stored in the database."""

    QUEUED = "Q"
    INSTANTIATED = "I"
    LAUNCHED = "O"
    RUNNING = "R"
    TRIAGING = "T"
    NO_HEARTBEAT = "X"
    KILL_SELF = "K"
    DONE = "D"
    ERROR = "E"
    ERROR_FATAL = "F"
    RESOURCE_ERROR = "Z"
    UNKNOWN_ERROR = "U"
    NO_DISTRIBUTOR_ID = "W"
    SUBMITTED_TO_BATCH_DISTRIBUTOR = "B"  # written by older generations only


class WorkflowEvent(StrEnum):
    """What can happen to a workflow."""

    QUEUE = "queue"
    INSTANTIATE = "instantiate"
    LAUNCH = "launch"
    START = "start"
    FINISH = "finish"
    FAIL = "fail"
    HALT = "halt"
    ABORT = "abort"
    REGISTER = "register"
    REOPEN = "reopen"


class WorkflowRunEvent(StrEnum):
    """What can happen to a workflow run."""

    LINK = "link"
    BIND = "bind"
    INSTANTIATE = "instantiate"
    LAUNCH = "launch"
    START = "start"
    FINISH = "finish"
    FAIL = "fail"
    STOP = "stop"
    ABORT = "abort"
    COLD_RESUME = "cold_resume"
    HOT_RESUME = "hot_resume"
    TERMINATE = "terminate"


class TaskEvent(StrEnum):
    """What can happen to a task."""

    QUEUE = "queue"
    INSTANTIATE = "instantiate"
    LAUNCH = "launch"
    START = "start"
    FINISH = "finish"
    FAIL = "fail"
    RETRY = "retry"
    ADJUST = "adjust"
    REQUEUE = "requeue"
    EXHAUST = "exhaust"
    RELEASE = "release"
    COMPLETE = "complete"
    REOPEN = "reopen"


class TaskInstanceEvent(StrEnum):
    """What can happen to a task instance.

    ``REFUSE``: the cluster would not take it. ``MISS``: it was launched and no sign of life came.
    ``LOSE``: its fate is unknown. ``KILL``: it was ordered to end. ``ABORT``: it ended by order.
    """

    INSTANTIATE = "instantiate"
    LAUNCH = "launch"
    START = "start"
    HEARTBEAT = "heartbeat"
    FINISH = "finish"
    FAIL = "fail"
    RESOURCE = "resource"
    REFUSE = "refuse"
    TRIAGE = "triage"
    MISS = "miss"
    LOSE = "lose"
    KILL = "kill"
    ABORT = "abort"


class Cause(StrEnum):
    """Why an attempt did not succeed; decides what it costs the task.

    ``INFRASTRUCTURE`` (its node, its controller or the server died) and ``PREEMPTED`` are no fault of the
    task and are charged to a budget of their own. ``CANCELLED``: ended on the cluster by a person or its operators;
    ``ORDERED``: ended by an order to Jobmon. See :data:`RETRY_POLICIES`.
    """

    CODE = "code"
    RESOURCE = "resource"
    LAUNCH = "launch"
    INFRASTRUCTURE = "infrastructure"
    PREEMPTED = "preempted"
    CANCELLED = "cancelled"
    ORDERED = "ordered"


class _Stale(Enum):
    STALE = "stale"


STALE: Final = _Stale.STALE
"""Marks an event that may come late or twice in a state: ignore it."""

_W, _R, _T, _I = WorkflowStatus, WorkflowRunStatus, TaskStatus, TaskInstanceStatus
_WE, _RE, _TE, _IE = WorkflowEvent, WorkflowRunEvent, TaskEvent, TaskInstanceEvent

WorkflowTable = Mapping[WorkflowStatus, Mapping[WorkflowEvent, WorkflowStatus | _Stale]]
WorkflowRunTable = Mapping[WorkflowRunStatus, Mapping[WorkflowRunEvent, WorkflowRunStatus | _Stale]]
TaskTable = Mapping[TaskStatus, Mapping[TaskEvent, TaskStatus | _Stale]]
TaskInstanceTable = Mapping[TaskInstanceStatus, Mapping[TaskInstanceEvent, TaskInstanceStatus | _Stale]]

WORKFLOW: Final[WorkflowTable] = {
    _W.REGISTERING: {_WE.REGISTER: STALE, _WE.QUEUE: _W.QUEUED, _WE.ABORT: _W.ABORTED, _WE.FINISH: _W.DONE},
    _W.QUEUED: {
        _WE.INSTANTIATE: _W.INSTANTIATING,
        _WE.FAIL: _W.FAILED,
        _WE.HALT: _W.HALTED,
        _WE.ABORT: _W.ABORTED,
    },
    _W.INSTANTIATING: {_WE.LAUNCH: _W.LAUNCHED, _WE.FAIL: _W.FAILED, _WE.HALT: _W.HALTED},
    _W.LAUNCHED: {_WE.START: _W.RUNNING, _WE.FAIL: _W.FAILED, _WE.HALT: _W.HALTED},
    _W.RUNNING: {_WE.FINISH: _W.DONE, _WE.FAIL: _W.FAILED, _WE.HALT: _W.HALTED, _WE.START: STALE},
    _W.DONE: {_WE.REOPEN: _W.HALTED, _WE.FINISH: STALE},
    _W.FAILED: {_WE.REGISTER: _W.REGISTERING, _WE.FINISH: _W.DONE, _WE.FAIL: STALE},
    _W.HALTED: {_WE.REGISTER: _W.REGISTERING, _WE.FINISH: _W.DONE, _WE.HALT: STALE, _WE.REOPEN: STALE},
    _W.ABORTED: {_WE.REGISTER: _W.REGISTERING, _WE.FINISH: _W.DONE, _WE.ABORT: STALE},
}

_RUN_WAY: Final = (_RE.LINK, _RE.BIND, _RE.INSTANTIATE, _RE.LAUNCH, _RE.START)
"""The way up of a run; on each step, those that led there may be told again."""


def _told_again(count: int) -> Mapping[WorkflowRunEvent, WorkflowRunStatus | _Stale]:
    return dict.fromkeys(_RUN_WAY[:count], STALE)


_RUN_ENDED: Final[Mapping[WorkflowRunEvent, WorkflowRunStatus | _Stale]] = dict.fromkeys(
    WorkflowRunEvent, STALE
)

_RUN_OBEYS: Final[Mapping[WorkflowRunEvent, WorkflowRunStatus | _Stale]] = {
    _RE.FAIL: _R.ERROR,
    _RE.STOP: _R.STOPPED,
    _RE.COLD_RESUME: _R.COLD_RESUME,
    _RE.HOT_RESUME: _R.HOT_RESUME,
}

# An order may cross the controller's own word about the end: whatever it says then, the run is over; and if the last
# task was done, so is the workflow.
_RUN_ORDERED: Final[Mapping[WorkflowRunEvent, WorkflowRunStatus | _Stale]] = {
    **_told_again(5),
    _RE.TERMINATE: _R.TERMINATED,
    _RE.FAIL: _R.TERMINATED,
    _RE.STOP: _R.TERMINATED,
    _RE.FINISH: _R.DONE,
    _RE.COLD_RESUME: STALE,
    _RE.HOT_RESUME: STALE,
}

WORKFLOW_RUN: Final[WorkflowRunTable] = {
    _R.REGISTERED: {_RE.LINK: _R.LINKING, _RE.ABORT: _R.ABORTED},
    _R.LINKING: {**_told_again(1), _RE.BIND: _R.BOUND, _RE.ABORT: _R.ABORTED},
    _R.BOUND: {**_told_again(2), **_RUN_OBEYS, _RE.INSTANTIATE: _R.INSTANTIATED},
    _R.INSTANTIATED: {**_told_again(3), **_RUN_OBEYS, _RE.LAUNCH: _R.LAUNCHED},
    _R.LAUNCHED: {**_told_again(4), **_RUN_OBEYS, _RE.START: _R.RUNNING},
    _R.RUNNING: {**_told_again(5), **_RUN_OBEYS, _RE.FINISH: _R.DONE},
    _R.COLD_RESUME: _RUN_ORDERED,
    _R.HOT_RESUME: {**_RUN_ORDERED, _RE.COLD_RESUME: _R.COLD_RESUME},
    _R.ABORTED: _RUN_ENDED,
    _R.DONE: _RUN_ENDED,
    _R.STOPPED: _RUN_ENDED,
    _R.ERROR: _RUN_ENDED,
    _R.TERMINATED: _RUN_ENDED,
}

TASK: Final[TaskTable] = {
    _T.REGISTERED: {_TE.QUEUE: _T.QUEUED, _TE.RELEASE: STALE, _TE.REOPEN: STALE, _TE.COMPLETE: _T.DONE},
    _T.QUEUED: {_TE.INSTANTIATE: _T.INSTANTIATING, _TE.RELEASE: _T.REGISTERED, _TE.COMPLETE: _T.DONE},
    _T.INSTANTIATING: {
        _TE.LAUNCH: _T.LAUNCHED,
        _TE.START: _T.RUNNING,
        _TE.FINISH: _T.DONE,
        _TE.FAIL: _T.ERROR_RECOVERABLE,
        _TE.RELEASE: _T.REGISTERED,
        _TE.COMPLETE: _T.DONE,
    },
    _T.LAUNCHED: {
        _TE.START: _T.RUNNING,
        _TE.FINISH: _T.DONE,
        _TE.FAIL: _T.ERROR_RECOVERABLE,
        _TE.RELEASE: _T.REGISTERED,
        _TE.COMPLETE: _T.DONE,
    },
    _T.RUNNING: {
        _TE.FINISH: _T.DONE,
        _TE.FAIL: _T.ERROR_RECOVERABLE,
        _TE.RELEASE: _T.REGISTERED,
        _TE.COMPLETE: _T.DONE,
        _TE.START: STALE,
    },
    _T.ERROR_RECOVERABLE: {
        _TE.ADJUST: _T.ADJUSTING_RESOURCES,
        _TE.REQUEUE: _T.QUEUED,
        _TE.EXHAUST: _T.ERROR_FATAL,
        _TE.RETRY: _T.REGISTERED,
        _TE.RELEASE: _T.REGISTERED,
        _TE.COMPLETE: _T.DONE,
    },
    _T.ADJUSTING_RESOURCES: {_TE.QUEUE: _T.QUEUED, _TE.RELEASE: _T.REGISTERED, _TE.COMPLETE: _T.DONE},
    _T.DONE: {_TE.REOPEN: _T.REGISTERED, _TE.COMPLETE: STALE, _TE.RELEASE: STALE},
    _T.ERROR_FATAL: {_TE.RELEASE: _T.REGISTERED, _TE.REOPEN: _T.REGISTERED, _TE.COMPLETE: _T.DONE},
}

_INSTANCE_ENDED: Final[Mapping[TaskInstanceEvent, TaskInstanceStatus | _Stale]] = dict.fromkeys(_IE, STALE)

_INSTANCE_LIVE: Final[Mapping[TaskInstanceEvent, TaskInstanceStatus | _Stale]] = {
    _IE.KILL: _I.KILL_SELF,
    _IE.ABORT: _I.ERROR_FATAL,
}

TASK_INSTANCE: Final[TaskInstanceTable] = {
    _I.QUEUED: {**_INSTANCE_LIVE, _IE.INSTANTIATE: _I.INSTANTIATED},
    _I.INSTANTIATED: {
        **_INSTANCE_LIVE,
        _IE.INSTANTIATE: STALE,
        _IE.LAUNCH: _I.LAUNCHED,
        _IE.REFUSE: _I.NO_DISTRIBUTOR_ID,
        _IE.START: _I.RUNNING,
    },
    _I.LAUNCHED: {
        **_INSTANCE_LIVE,
        _IE.INSTANTIATE: STALE,
        _IE.LAUNCH: STALE,
        _IE.HEARTBEAT: STALE,
        _IE.START: _I.RUNNING,
        _IE.FINISH: _I.DONE,
        _IE.FAIL: _I.ERROR,
        _IE.LOSE: _I.UNKNOWN_ERROR,
        _IE.MISS: _I.NO_HEARTBEAT,
        _IE.RESOURCE: _I.RESOURCE_ERROR,
    },
    _I.RUNNING: {
        **_INSTANCE_LIVE,
        _IE.INSTANTIATE: STALE,
        _IE.LAUNCH: STALE,
        _IE.START: STALE,
        _IE.HEARTBEAT: STALE,
        _IE.MISS: STALE,
        _IE.FINISH: _I.DONE,
        _IE.FAIL: _I.ERROR,
        _IE.RESOURCE: _I.RESOURCE_ERROR,
        _IE.LOSE: _I.UNKNOWN_ERROR,
        _IE.TRIAGE: _I.TRIAGING,
    },
    _I.TRIAGING: {
        **_INSTANCE_LIVE,
        _IE.LAUNCH: STALE,
        _IE.TRIAGE: STALE,
        _IE.START: _I.RUNNING,
        _IE.HEARTBEAT: _I.RUNNING,
        _IE.FINISH: _I.DONE,
        _IE.FAIL: _I.ERROR,
        _IE.RESOURCE: _I.RESOURCE_ERROR,
        _IE.LOSE: _I.UNKNOWN_ERROR,
    },
    _I.NO_HEARTBEAT: {
        **_INSTANCE_ENDED,
        _IE.LOSE: _I.ERROR,
        _IE.ABORT: _I.ERROR_FATAL,
    },
    _I.KILL_SELF: {
        **_INSTANCE_ENDED,
        _IE.ABORT: _I.ERROR_FATAL,
        _IE.FINISH: _I.DONE,
    },
    _I.DONE: _INSTANCE_ENDED,
    _I.ERROR: _INSTANCE_ENDED,
    _I.ERROR_FATAL: _INSTANCE_ENDED,
    _I.RESOURCE_ERROR: _INSTANCE_ENDED,
    _I.UNKNOWN_ERROR: _INSTANCE_ENDED,
    _I.NO_DISTRIBUTOR_ID: _INSTANCE_ENDED,
    _I.SUBMITTED_TO_BATCH_DISTRIBUTOR: {**_INSTANCE_ENDED, **_INSTANCE_LIVE},
}

# ---------------------------------------------------------------------------------------------------
# Couplings

TASK_EVENT_OF_INSTANCE_STATE: Final[Mapping[TaskInstanceStatus, TaskEvent]] = {
    _I.INSTANTIATED: _TE.INSTANTIATE,
    _I.LAUNCHED: _TE.LAUNCH,
    _I.RUNNING: _TE.START,
    _I.DONE: _TE.FINISH,
    _I.ERROR: _TE.FAIL,
    _I.RESOURCE_ERROR: _TE.FAIL,
    _I.UNKNOWN_ERROR: _TE.FAIL,
    _I.NO_DISTRIBUTOR_ID: _TE.FAIL,
    _I.ERROR_FATAL: _TE.RELEASE,
}
"""What entering a state of the attempt means for its task; states left out mean nothing to it."""

WORKFLOW_EVENT_OF_RUN_STATE: Final[Mapping[WorkflowRunStatus, WorkflowEvent]] = {
    _R.LINKING: _WE.REGISTER,
    _R.BOUND: _WE.QUEUE,
    _R.ABORTED: _WE.ABORT,
    _R.INSTANTIATED: _WE.INSTANTIATE,
    _R.LAUNCHED: _WE.LAUNCH,
    _R.RUNNING: _WE.START,
    _R.DONE: _WE.FINISH,
    _R.TERMINATED: _WE.HALT,
    _R.STOPPED: _WE.FAIL,
    _R.ERROR: _WE.FAIL,
}
"""What entering a state of the run means for its workflow; states left out mean nothing to it."""

# ---------------------------------------------------------------------------------------------------
# Reading the tables

S = TypeVar("S", bound=StrEnum)
E = TypeVar("E", bound=StrEnum)


def sources(table: Mapping[S, Mapping[E, S | _Stale]], event: E) -> tuple[S, ...]:
    """States from which ``event`` leads somewhere: the guard of an ``UPDATE … WHERE status IN (…)``."""
    return tuple(state for state, row in table.items() if not isinstance(row.get(event, STALE), _Stale))


def target(table: Mapping[S, Mapping[E, S | _Stale]], state: S, event: E) -> S | _Stale | None:
    """Next state, ``STALE`` for an event to ignore, ``None`` for an illegal one."""
    return table[state].get(event)


# ---------------------------------------------------------------------------------------------------
# Sets of states, each derived from the tables where it can be

WORKFLOW_RUN_TERMINAL: Final = frozenset(state for state, row in WORKFLOW_RUN.items() if row is _RUN_ENDED)
WORKFLOW_RUN_ALIVE: Final = frozenset(set(WorkflowRunStatus) - WORKFLOW_RUN_TERMINAL)
"""At most one run of a workflow is in one of these."""
WORKFLOW_RUN_ORDERABLE: Final = frozenset(
    state for state, row in WORKFLOW_RUN.items() if row.get(_RE.COLD_RESUME) is _R.COLD_RESUME
)

WORKFLOW_BEING_RUN: Final = frozenset(sources(WORKFLOW, _WE.HALT))
"""States of a workflow whose run is alive, or was when its controller died."""

TASK_TERMINAL: Final = frozenset({_T.DONE, _T.ERROR_FATAL})
TASK_ACTIVE: Final = frozenset({_T.QUEUED, _T.INSTANTIATING, _T.LAUNCHED, _T.RUNNING})

TASK_INSTANCE_TERMINAL: Final = frozenset(
    state for state, row in TASK_INSTANCE.items() if row is _INSTANCE_ENDED
)
TASK_INSTANCE_LIVE: Final = frozenset(set(TaskInstanceStatus) - TASK_INSTANCE_TERMINAL)
"""At most one instance of a task is in one of these."""
TASK_INSTANCE_MAY_RUN: Final = frozenset({_I.LAUNCHED, _I.RUNNING, _I.TRIAGING})
"""States in which a process of the attempt may exist on the cluster."""
TASK_INSTANCE_STARTED: Final = frozenset({_I.RUNNING, _I.TRIAGING})
"""States of an attempt whose command was started and has told no end."""
TASK_INSTANCE_NOT_STARTED: Final = frozenset({_I.QUEUED, _I.INSTANTIATED})

# ---------------------------------------------------------------------------------------------------
# What follows a failure


class Budget(NamedTuple):
    """What a task has used of its attempts.

    ``num_attempts`` counts every instance; ``num_infrastructure_losses`` those of them that ended through no fault
    of the task.
    """

    num_attempts: int
    max_attempts: int
    num_infrastructure_losses: int
    max_infrastructure_losses: int


class Charge(StrEnum):
    """Which budget of a task pays for an attempt that failed."""

    ATTEMPTS = "attempts"
    INFRASTRUCTURE = "infrastructure"


class RetryAction(StrEnum):
    """What a task does after an attempt that failed, as long as its budget allows; ``ADJUST``: ask for more."""

    RETRY = "retry"
    ADJUST = "adjust"
    GIVE_UP = "give_up"


class RetryPolicy(NamedTuple):
    """What a failure of one cause means for the task."""

    charge: Charge
    action: RetryAction


RetryPolicies = Mapping[Cause, RetryPolicy]

RETRY_POLICIES: Final[RetryPolicies] = {
    Cause.CODE: RetryPolicy(Charge.ATTEMPTS, RetryAction.RETRY),
    Cause.RESOURCE: RetryPolicy(Charge.ATTEMPTS, RetryAction.ADJUST),
    Cause.LAUNCH: RetryPolicy(Charge.ATTEMPTS, RetryAction.RETRY),
    Cause.INFRASTRUCTURE: RetryPolicy(Charge.INFRASTRUCTURE, RetryAction.RETRY),
    Cause.PREEMPTED: RetryPolicy(Charge.INFRASTRUCTURE, RetryAction.RETRY),
    Cause.CANCELLED: RetryPolicy(Charge.ATTEMPTS, RetryAction.RETRY),
    Cause.ORDERED: RetryPolicy(Charge.ATTEMPTS, RetryAction.RETRY),
}
"""What follows a failure, unless the task's template says something else."""

RETRY_POLICY_WORDS: Final[Mapping[str, RetryPolicy]] = {
    "retry": RetryPolicy(Charge.ATTEMPTS, RetryAction.RETRY),
    "give_up": RetryPolicy(Charge.ATTEMPTS, RetryAction.GIVE_UP),
    "retry_blameless": RetryPolicy(Charge.INFRASTRUCTURE, RetryAction.RETRY),
}
"""What a template may say of a cause, by the word it uses."""

RETRY_POLICY_CAUSES: Final = tuple(cause for cause in Cause if cause is not Cause.ORDERED)
"""Causes a template may say something of: an attempt that was ended by order fails nothing."""

BLAMELESS: Final = frozenset(
    cause for cause, policy in RETRY_POLICIES.items() if policy.charge is Charge.INFRASTRUCTURE
)


def retry_policies(words: Mapping[str, str]) -> RetryPolicies:
    """The policies of a template: those of :data:`RETRY_POLICIES`, but for the causes it names.

    Args:
        words: word of :data:`RETRY_POLICY_WORDS` by cause; what a newer Jobmon wrote and this one does not know is left out.
    """
    if not words:
        return RETRY_POLICIES
    known: dict[str, Cause] = {cause.value: cause for cause in RETRY_POLICY_CAUSES}
    own: dict[Cause, RetryPolicy] = {
        known[cause]: RETRY_POLICY_WORDS[word]
        for cause, word in words.items()
        if cause in known and word in RETRY_POLICY_WORDS
    }
    return {**RETRY_POLICIES, **own}


def check_retry_policy(words: Mapping[str, str]) -> dict[str, str]:
    """A template's policy as it is stored.

    Raises:
        ValueError: it names a cause, or a word, that is none.
    """
    if not isinstance(words, Mapping):
        raise ValueError(
            f"A retry policy must be a dict of causes, such as {{'code': 'give_up'}}, not {words!r}."
        )
    causes = [cause.value for cause in RETRY_POLICY_CAUSES]
    for cause, word in words.items():
        if cause not in causes:
            raise ValueError(
                f"Retry policy: {cause!r} is no cause of a failure. Causes: {', '.join(causes)}."
            )
        if word not in RETRY_POLICY_WORDS:
            raise ValueError(
                f"Retry policy of cause '{cause}': {word!r} is not known; what may follow is one of: "
                f"{', '.join(RETRY_POLICY_WORDS)}."
            )
    return {str(cause): word for cause, word in words.items()}


def cause_of_failure(instance_status: TaskInstanceStatus, cause: Cause | None) -> Cause:
    """Why an attempt failed that ended in this state: what was told, or what the state itself says."""
    if instance_status is TaskInstanceStatus.RESOURCE_ERROR and cause not in BLAMELESS:
        return Cause.RESOURCE
    return cause or Cause.CODE


def policy_after(
    instance_status: TaskInstanceStatus, cause: Cause | None, policies: RetryPolicies = RETRY_POLICIES
) -> RetryPolicy:
    """The policy that applies to an attempt that failed."""
    return policies[cause_of_failure(instance_status, cause)]


def after_failure(
    instance_status: TaskInstanceStatus,
    cause: Cause | None,
    budget: Budget,
    policies: RetryPolicies = RETRY_POLICIES,
) -> TaskEvent:
    """What happens to a task in ``ERROR_RECOVERABLE``; ``budget`` already includes the failed attempt.

    The limit of attempts applies to those that were the task's own; what is charged to infrastructure has a budget
    of its own, so that nothing loops for ever.
    """
    policy = policy_after(instance_status, cause, policies)
    if policy.action is RetryAction.GIVE_UP:
        return TaskEvent.EXHAUST
    if policy.charge is Charge.INFRASTRUCTURE:
        exhausted = budget.num_infrastructure_losses > budget.max_infrastructure_losses
    else:
        exhausted = budget.num_attempts - budget.num_infrastructure_losses >= budget.max_attempts
    if exhausted:
        return TaskEvent.EXHAUST
    adjusts = policy.action is RetryAction.ADJUST and instance_status is TaskInstanceStatus.RESOURCE_ERROR
    return TaskEvent.ADJUST if adjusts else TaskEvent.RETRY


# ---------------------------------------------------------------------------------------------------
# Words for people

DESCRIPTIONS: Final[Mapping[type[StrEnum], Mapping[str, str]]] = {
    WorkflowStatus: {
        "G": "Being registered: tasks are being sent to the database.",
        "Q": "Registered completely; a run is about to begin.",
        "I": "A controller is getting ready.",
        "O": "A controller has started.",
        "R": "Tasks are being run.",
        "D": "Every task is done.",
        "F": "A run ended before every task was done.",
        "H": "Halted by order; can be resumed.",
        "A": "Registration was given up; can be resumed.",
    },
    WorkflowRunStatus: {
        "G": "Created.",
        "L": "Its tasks are being registered.",
        "B": "All of its tasks are registered.",
        "A": "Given up before its tasks were registered.",
        "I": "Its controller is getting ready.",
        "O": "Its controller has started.",
        "R": "Running.",
        "D": "Every task is done.",
        "S": "Stopped by the user.",
        "E": "Ended with tasks that failed, or by an error.",
        "C": "Ordered to end and to kill what it runs.",
        "H": "Ordered to end and to leave running what can be adopted.",
        "T": "Ended by order.",
    },
    TaskStatus: {
        "G": "Waiting for its upstream tasks or for room.",
        "Q": "An attempt was created.",
        "I": "The attempt is being handed to the cluster.",
        "O": "The cluster has accepted the attempt.",
        "R": "Its command is running.",
        "D": "Its command succeeded.",
        "E": "An attempt failed; what follows is being decided.",
        "A": "Waiting for larger resources.",
        "F": "Failed for good in this run.",
    },
    TaskInstanceStatus: {
        "Q": "Created.",
        "I": "Being handed to the cluster.",
        "O": "Accepted by the cluster.",
        "R": "Its command is running.",
        "T": "No sign of life in time; the cluster is being asked.",
        "X": "Accepted, but never gave a sign of life.",
        "K": "Ordered to end.",
        "D": "Its command succeeded.",
        "E": "Its command failed.",
        "F": "Ended by order.",
        "Z": "Killed by the cluster for want of resources.",
        "U": "Lost: its end was not seen.",
        "W": "The cluster did not accept it.",
        "B": "Submitted by an older Jobmon.",
    },
}


def label(status: StrEnum) -> str:
    """Stored label of a status: ``REGISTERED`` for ``TaskStatus.REGISTERED``."""
    return status.name


_TASK_LABELS: Final[Mapping[str, tuple[TaskStatus, ...]]] = {
    "PENDING": (_T.ADJUSTING_RESOURCES, _T.REGISTERED, _T.QUEUED, _T.INSTANTIATING, _T.ERROR_RECOVERABLE),
    "SCHEDULED": (_T.LAUNCHED,),
    "RUNNING": (_T.RUNNING,),
    "DONE": (_T.DONE,),
    "FATAL": (_T.ERROR_FATAL,),
}

_INSTANCE_LABELS: Final[Mapping[str, tuple[TaskInstanceStatus, ...]]] = {
    "PENDING": (_I.QUEUED, _I.SUBMITTED_TO_BATCH_DISTRIBUTOR, _I.INSTANTIATED),
    "SCHEDULED": (_I.LAUNCHED,),
    "RUNNING": (_I.RUNNING, _I.TRIAGING),
    "FATAL": (
        _I.ERROR,
        _I.RESOURCE_ERROR,
        _I.NO_DISTRIBUTOR_ID,
        _I.UNKNOWN_ERROR,
        _I.KILL_SELF,
        _I.ERROR_FATAL,
        _I.NO_HEARTBEAT,
    ),
    "DONE": (_I.DONE,),
}

TASK_USER_LABEL: Final[Mapping[TaskStatus, str]] = {s: name for name, g in _TASK_LABELS.items() for s in g}
"""Label users see for a task: PENDING, SCHEDULED, RUNNING, DONE or FATAL."""
TASK_INSTANCE_USER_LABEL: Final[Mapping[TaskInstanceStatus, str]] = {
    s: name for name, g in _INSTANCE_LABELS.items() for s in g
}
"""Label users see for a task instance."""
TASK_STATUSES_OF_USER_LABEL: Final[Mapping[str, tuple[TaskStatus, ...]]] = _TASK_LABELS
USER_LABELS: Final = tuple(_TASK_LABELS)

COLOURS: Final[Mapping[str, tuple[str, str]]] = {
    "pending": ("#8b919c", "#7d8590"),
    "scheduled": ("#56b4e9", "#7cc8f2"),
    "running": ("#0072b2", "#3d9be0"),
    "done": ("#009e73", "#1fb88c"),
    "fatal": ("#d55e00", "#f0803c"),
    "halted": ("#b8860b", "#e6b422"),
}
"""Colours of states on light and on dark ground; of Okabe and Ito's palette (2008), which colour-blind people can tell apart."""

_WORKFLOW_COLOURS: Final[Mapping[str, tuple[WorkflowStatus, ...]]] = {
    "pending": (_W.REGISTERING, _W.QUEUED, _W.INSTANTIATING, _W.LAUNCHED),
    "running": (_W.RUNNING,),
    "done": (_W.DONE,),
    "fatal": (_W.FAILED,),
    "halted": (_W.HALTED, _W.ABORTED),
}
_RUN_COLOURS: Final[Mapping[str, tuple[WorkflowRunStatus, ...]]] = {
    "pending": (_R.REGISTERED, _R.LINKING, _R.BOUND, _R.INSTANTIATED, _R.LAUNCHED),
    "running": (_R.RUNNING,),
    "done": (_R.DONE,),
    "fatal": (_R.ERROR,),
    "halted": (_R.ABORTED, _R.STOPPED, _R.COLD_RESUME, _R.HOT_RESUME, _R.TERMINATED),
}
_COLOUR_OF: Final[Mapping[StrEnum, str]] = {s: name for name, g in _WORKFLOW_COLOURS.items() for s in g}
_RUN_COLOUR_OF: Final = {s: name for name, g in _RUN_COLOURS.items() for s in g}


def colour_name(status: StrEnum) -> str:
    """Name in :data:`COLOURS` of the colour of a status of any of the four machines."""
    if isinstance(status, TaskStatus):
        return TASK_USER_LABEL[status].lower()
    if isinstance(status, TaskInstanceStatus):
        return TASK_INSTANCE_USER_LABEL[status].lower()
    if isinstance(status, WorkflowRunStatus):
        return _RUN_COLOUR_OF[status]
    return _COLOUR_OF[status]


SETTABLE_BY_HAND: Final = {
    name: status
    for status in (TaskStatus.DONE, TaskStatus.REGISTERED)
    for name in (status.value, status.name)
}
"""The states a person may set a task to, by letter and by name."""
