"""Why a task is not running, why it runs again, why it failed for good: decided from facts that were read.

Values in, values out. ``explain`` gives the reasons, the most important one first; each says what it means in words,
with the numbers behind it and the next command to type.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jobmon.core.exceptions import UsageError
from jobmon.core.resources import scale_resources, scales_from_json
from jobmon.core.states import (
    WORKFLOW_RUN_ALIVE,
    Cause,
    Charge,
    RetryAction,
    RetryPolicy,
    TaskInstanceStatus,
    TaskStatus,
    WorkflowRunStatus,
    policy_after,
)
from jobmon.core.words import CAUSE_WORDS, changed_resources, describe_duration
from jobmon.serializers.explain import AttemptSummary, Reason, Why
from jobmon.server.web.analysis.task_facts import TaskFacts

if TYPE_CHECKING:
    from datetime import datetime

_SUBMITTED = frozenset({TaskStatus.QUEUED, TaskStatus.INSTANTIATING, TaskStatus.LAUNCHED})
_BEING_ORDERED = frozenset({WorkflowRunStatus.COLD_RESUME, WorkflowRunStatus.HOT_RESUME})


def explain(facts: TaskFacts, now: datetime) -> list[Reason]:
    """Why a task is where it is, the most important reason first.

    Args:
        facts: what was read.
        now: time of the database, naive UTC.
    """
    status = facts.status
    if status is TaskStatus.DONE:
        return [_done(facts)]
    if status is TaskStatus.ERROR_FATAL:
        return [_failed_for_good(facts)]
    if status is TaskStatus.ERROR_RECOVERABLE:
        sentence = "Its last attempt failed; what follows is being decided this moment."
        return [Reason(Why.BEING_DECIDED, sentence), *_before(facts)]
    if status is TaskStatus.RUNNING:
        return [*_of_run(facts, now), _running(facts, now), *_before(facts)]
    if status in _SUBMITTED:
        return [*_of_run(facts, now), _submitted(facts, now), *_before(facts)]
    return [*_waiting(facts, now), *_before(facts)]


# -- over ---------------------------------------------------------------------------------------------
def _done(facts: TaskFacts) -> Reason:
    when = moment_words(facts.status_at)
    hand = facts.hand
    if hand is not None and hand.is_completion:
        sentence = (
            f"It was set to done by user {hand.user} at {moment_words(hand.at)}; it will not run again."
        )
        command = f"jobmon task update -t {facts.id} -s G  (to have it run after all)"
        return Reason(Why.SET_DONE_BY_HAND, sentence, command=command)
    last = facts.last_ended
    if last is None:
        return Reason(Why.DONE, f"It is done since {when}; it will not run again.")
    took = "" if last.duration_seconds is None else f" after {describe_duration(last.duration_seconds)}"
    numbers = {"workflow_run_id": float(last.workflow_run_id), "num_attempts": float(len(facts.attempts))}
    if last.duration_seconds is not None:
        numbers["duration_seconds"] = last.duration_seconds
    sentence = f"It was done at {when} in run {last.workflow_run_id}{took}; it will not run again."
    return Reason(Why.DONE, sentence, numbers)


def _failed_for_good(facts: TaskFacts) -> Reason:
    last = facts.last_ended
    numbers = {"counted": float(facts.counted), "max_attempts": float(facts.max_attempts)}
    mended = f"jobmon workflow resume -w {facts.workflow_id}  (when the cause is mended)"
    if last is None:
        sentence = "It failed for good, and nothing is known of its attempts."
        return Reason(Why.FAILED_FOR_GOOD, sentence, numbers, command=mended)
    cause = _cause_words(last)
    policy = _policy_after(facts, last)
    if policy.action is RetryAction.GIVE_UP:
        sentence = (
            f"It failed for good in attempt {facts.counted} of {facts.max_attempts}: {cause}, and the retry policy of template "
            f"'{facts.template_name}' is to give up then."
        )
        return Reason(Why.FAILED_FOR_GOOD, sentence + _last_words(last), numbers, command=mended)
    if policy.charge is Charge.INFRASTRUCTURE and facts.counted < facts.max_attempts:
        numbers["num_losses"] = float(facts.num_losses)
        sentence = (
            f"It was given up after {facts.num_losses} losses that were not its own fault, the last time because "
            f"{cause}. Look at the node{f' {last.nodename}' if last.nodename else ''} and the cluster."
        )
        return Reason(Why.LOST_TOO_OFTEN, sentence, numbers, command=mended)
    sentence = (
        f"It failed for good: all of its attempts are used up ({facts.counted} of {facts.max_attempts}). "
        f"The last time {cause}."
    )
    return Reason(Why.FAILED_FOR_GOOD, sentence + _last_words(last), numbers, command=mended)


def _policy_after(facts: TaskFacts, last: AttemptSummary) -> RetryPolicy:
    known = {cause.value: cause for cause in Cause}
    return policy_after(TaskInstanceStatus(last.status), known.get(last.cause), facts.policies)


def _last_words(last: AttemptSummary) -> str:
    return "".join(f"\n    {line}" for line in last.last_lines)


# -- under way ----------------------------------------------------------------------------------------
def _running(facts: TaskFacts, now: datetime) -> Reason:
    since = max(0.0, (now - facts.status_at).total_seconds())
    current = facts.current
    where = f" on {current.nodename}" if current is not None and current.nodename else ""
    run = "" if current is None else f" in run {current.workflow_run_id}"
    sentence = (
        f"It is running{where}{run} for {describe_duration(since)} now, attempt {facts.counted} of "
        f"{facts.max_attempts}."
    )
    return Reason(Why.RUNNING, sentence, {"running_seconds": since, "attempt": float(facts.counted)})


def _submitted(facts: TaskFacts, now: datetime) -> Reason:
    waited = max(0.0, (now - facts.status_at).total_seconds())
    numbers = {"waited_seconds": waited}
    if facts.is_local:
        return _waits_for_slot(facts, numbers)
    if facts.status is not TaskStatus.LAUNCHED:
        sentence = f"It is being handed to cluster {facts.cluster} for {describe_duration(waited)} now."
        return Reason(Why.HANDED_OVER, sentence, numbers)
    current = facts.current
    job = f" as job {current.distributor_id}" if current is not None and current.distributor_id else ""
    why = facts.queue_reason.rstrip(".") or "the cluster has told no reason yet"
    sentence = f"It waits in queue {facts.queue} of cluster {facts.cluster}{job} for {describe_duration(waited)} now; {why}."
    return Reason(Why.IN_QUEUE, sentence, numbers)


def _waits_for_slot(facts: TaskFacts, numbers: dict[str, float]) -> Reason:
    load = facts.load
    numbers["num_running"] = float(load.num_running)
    slots = ""
    if load.slots is not None:
        numbers["slots"] = float(load.slots)
        slots = f" of {load.slots}"
    sentence = (
        f"It waits for a free slot of cluster {facts.cluster}: {load.num_running}{slots} tasks of the workflow run "
        "at this moment; it starts when its turn has come."
    )
    return Reason(Why.WAITS_FOR_SLOT, sentence, numbers)


def _waits_for_room(facts: TaskFacts) -> Reason:
    sentence = f"It is ready: its controller hands it to cluster {facts.cluster} as soon as the cluster takes more jobs."
    return Reason(Why.WAITS_FOR_SLOT, sentence)


# -- waiting ------------------------------------------------------------------------------------------
def _waiting(facts: TaskFacts, now: datetime) -> list[Reason]:
    if not facts.is_registered:
        sentence = f"Workflow {facts.workflow_id} is not registered completely: its registration was cut off or goes on."
        return [Reason(Why.NOT_REGISTERED, sentence, command="run the script that defines it (again)")]
    reasons = [*_of_run(facts, now), *_of_upstream(facts)]
    if facts.status is TaskStatus.ADJUSTING_RESOURCES:
        reasons.append(_adjusting(facts))
    if reasons:
        return reasons
    return _of_limits(facts) or [_waits_for_slot(facts, {}) if facts.is_local else _waits_for_room(facts)]


def _of_run(facts: TaskFacts, now: datetime) -> list[Reason]:
    """What is wrong with the run, or that there is none."""
    run, workflow_id = facts.run, facts.workflow_id
    resume = f"jobmon workflow resume -w {workflow_id}  (or run(resume=True) in its script)"
    if run is None:
        sentence = f"Workflow {workflow_id} is registered and was never run."
        return [
            Reason(
                Why.NEVER_RUN, sentence, command=f"jobmon workflow resume -w {workflow_id}  (or its script)"
            )
        ]
    numbers = {"workflow_run_id": float(run.id)}
    since = moment_words(run.status_at)
    if run.status not in WORKFLOW_RUN_ALIVE:
        how = {
            WorkflowRunStatus.STOPPED: f"was stopped by user {run.user}",
            WorkflowRunStatus.TERMINATED: "was ended by order",
            WorkflowRunStatus.ABORTED: "was given up before it began",
            WorkflowRunStatus.ERROR: "ended with tasks that failed, or by an error",
        }.get(run.status, "is over")
        status = facts.workflow_status.name
        sentence = (
            f"No run of workflow {workflow_id} ({status}) is alive: run {run.id} {how} at {since}. Nothing starts "
            "until there is a new one."
        )
        return [Reason(Why.NO_RUN_ALIVE, sentence, numbers, command=resume)]
    if run.report_by < now:
        numbers["overdue_seconds"] = (now - run.report_by).total_seconds()
        sentence = (
            f"Run {run.id} of user {run.user} is {run.status.name} by its record, but its controller is "
            f"{describe_duration(numbers['overdue_seconds'])} late with its sign of life and may be dead."
        )
        return [Reason(Why.RUN_SILENT, sentence, numbers, command=resume)]
    if run.status in _BEING_ORDERED:
        sentence = f"Run {run.id} was ordered to end at {since} and starts no more tasks."
        return [Reason(Why.RUN_ENDING, sentence, numbers, command=resume)]
    if run.is_draining:
        sentence = f"Run {run.id} was ordered to end when what runs has ended; it starts no more tasks."
        return [Reason(Why.RUN_ENDING, sentence, numbers, command=resume)]
    if run.status is WorkflowRunStatus.RUNNING:
        return []
    return [Reason(Why.RUN_STARTING, f"Run {run.id} of user {run.user} is just starting.", numbers)]


def _of_upstream(facts: TaskFacts) -> list[Reason]:
    up = facts.upstream
    if not up.undone:
        return []
    numbers = {"total": float(up.total), "not_done": float(up.undone), "failed": float(up.failed)}
    shown = list(up.shown)
    which = f"{up.undone} of the {up.total} tasks it waits for" if up.total > 1 else "The task it waits for"
    verb = "are" if up.total > 1 and up.undone > 1 else "is"
    if up.failed:
        who = f"{up.failed} of the {up.total} tasks it waits for" if up.total > 1 else "The task it waits for"
        sentence = f"{who} failed for good, so it cannot start."
        return [Reason(Why.UPSTREAM_FAILED, sentence, numbers, shown, f"jobmon task explain {shown[0].id}")]
    reasons = [
        Reason(
            Why.UPSTREAM_NOT_DONE,
            f"{which} {verb} not done yet.",
            numbers,
            shown,
            f"jobmon task explain {shown[0].id}",
        )
    ]
    if up.blockers:
        first = up.blockers[0]
        sentence = (
            f"Further up, task {first.id} ({first.name}) failed for good; what waits for it cannot start."
        )
        reasons.insert(
            0,
            Reason(
                Why.BLOCKED_FURTHER_UP,
                sentence,
                {"failed": float(len(up.blockers))},
                list(up.blockers),
                f"jobmon task explain {first.id}",
            ),
        )
    elif not up.is_searched:
        reasons[0].sentence += " (What is far up was not looked at.)"
    return reasons


def _of_limits(facts: TaskFacts) -> list[Reason]:
    load, reasons = facts.load, []
    raise_it = f"jobmon workflow concurrency -w {facts.workflow_id} -m N"
    if load.workflow_active >= load.workflow_limit:
        numbers = {"limit": float(load.workflow_limit), "active": float(load.workflow_active)}
        sentence = (
            f"The workflow is paused: its limit of tasks at once is 0 ({load.workflow_active} are active)."
            if load.workflow_limit == 0
            else f"The workflow's limit of tasks at once is reached: {load.workflow_active} of {load.workflow_limit}."
        )
        reasons.append(Reason(Why.WORKFLOW_LIMIT, sentence, numbers, command=raise_it))
    if load.template_active >= load.template_limit:
        numbers = {"limit": float(load.template_limit), "active": float(load.template_active)}
        name = facts.template_name
        sentence = (
            f"Template '{name}' is paused: its limit of tasks at once is 0 ({load.template_active} are active)."
            if load.template_limit == 0
            else f"The limit of template '{name}' is reached: {load.template_active} of {load.template_limit} at once."
        )
        command = f"workflow.set_task_template_max_concurrency_limit('{name}', N)"
        reasons.append(Reason(Why.TEMPLATE_LIMIT, sentence, numbers, command=command))
    return reasons


def _adjusting(facts: TaskFacts) -> Reason:
    last = facts.last_ended
    asked = {} if last is None else last.requested_resources
    changes = changed_resources(asked, _next_resources(asked, facts.resource_scales))
    more = f": {', '.join(changes)}" if changes else " than before"
    return Reason(Why.ADJUSTING_RESOURCES, f"Its next attempt will ask for larger resources{more}.")


# -- what was before ----------------------------------------------------------------------------------
def _before(facts: TaskFacts) -> list[Reason]:
    """Why it ran, or will run, again; nothing for the first attempt."""
    hand, last = facts.hand, facts.last_ended
    if hand is not None and not hand.is_completion:
        when = moment_words(hand.at)
        if hand.with_upstream is not None:
            up = hand.with_upstream
            sentence = f"It runs again because user {hand.user} reset task {up.id} ({up.name}), for which it waits, at {when}."
            return [Reason(Why.UPSTREAM_RESET, sentence, tasks=[up])]
        return [Reason(Why.RESET_BY_HAND, f"It was reset by user {hand.user} at {when} and runs again.")]
    if last is None:
        return []
    if last.cause == Cause.ORDERED or last.status == TaskInstanceStatus.ERROR_FATAL:
        sentence = f"Its attempt in run {last.workflow_run_id} was ended by order, so it runs again."
        return [Reason(Why.ENDED_BY_ORDER, sentence)]
    is_failure = last.status != TaskInstanceStatus.DONE
    if is_failure and _policy_after(facts, last).charge is Charge.INFRASTRUCTURE:
        numbers = {"num_losses": float(facts.num_losses)}
        sentence = (
            f"It runs again because {_cause_words(last)}; this is not counted as an attempt of its own."
        )
        return [Reason(Why.LOST_BEFORE, sentence, numbers)]
    if not is_failure:
        return []
    return [_failed_before(facts, last)]


def _failed_before(facts: TaskFacts, last: AttemptSummary) -> Reason:
    current = facts.current
    number = facts.counted if current is not None and facts.num_attempts else facts.counted + 1
    numbers = {"attempt": float(number), "max_attempts": float(facts.max_attempts)}
    which = "This is" if current is not None else "Next is"
    sentence = f"It runs again because {_cause_words(last)} the last time. {which} attempt {number} of {facts.max_attempts}"
    if current is not None:
        changes = changed_resources(last.requested_resources, current.requested_resources)
        if changes:
            sentence += f", which asks for {', '.join(changes)}"
        if current.note:
            sentence += f" ({current.note.rstrip('.')})"
    sentence += "."
    return Reason(Why.FAILED_BEFORE, sentence, numbers, command=f"jobmon task status -t {facts.id}")


# -- words --------------------------------------------------------------------------------------------
def _cause_words(attempt: AttemptSummary) -> str:
    words = CAUSE_WORDS.get(attempt.cause, "it failed")
    if attempt.exit_code is not None and attempt.cause == Cause.CODE:
        code = attempt.exit_code
        words += f" with exit code {code}" if code >= 0 else f" by signal {-code}"
    return words


def _next_resources(resources: Mapping[str, Any], scales_text: str) -> Mapping[str, Any]:
    """What the next attempt asks for; what only the script knows (functions, iterators) is left as it is."""
    try:
        scales = scales_from_json(scales_text)
        numeric = {name: scale for name, scale in scales.items() if isinstance(scale, int | float)}
        return scale_resources(resources, numeric)
    except (ValueError, UsageError):
        return resources


def moment_words(moment: datetime) -> str:
    """A moment (naive UTC) for people anywhere."""
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
