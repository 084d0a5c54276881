"""How a failure is told: which attempt of what, where, why, its last lines, what was done about it, what to type next.

Every message about a failed attempt is made here. Values in, text out.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from jobmon.core.error_text import LINE_CHARACTERS, fold, telling_line
from jobmon.core.states import (
    BLAMELESS,
    WORKFLOW_BEING_RUN,
    Cause,
    TaskInstanceStatus,
    TaskStatus,
    WorkflowStatus,
)
from jobmon.core.words import CAUSE_WORDS, changed_resources, counted, thousands

if TYPE_CHECKING:
    from jobmon.serializers.failures import ErrorClusterRow, SharedTrait
    from jobmon.serializers.monitor import AttemptRow, TaskErrorRow

SHOWN_LINES = 5
"""Last lines shown of the text of a failure."""


def describe_failure(row: TaskErrorRow, num_lines: int = SHOWN_LINES, *, with_resume: bool = True) -> str:
    """A failed attempt in some lines; the first one names it.

    Args:
        row: the attempt and its error.
        num_lines: last lines to show of its text.
        with_resume: say how to go on with a workflow that has ended; whoever says it elsewhere leaves it out.
    """
    return "\n".join(
        [
            failure_headline(row),
            *(f"    {line}" for line in last_lines(row, num_lines)),
            f"  {what_followed(row)}",
            *(f"  {line}" for line in where_to_look(row, with_resume=with_resume)),
        ]
    )


def failure_headline(row: TaskErrorRow) -> str:
    """Which attempt of what failed, where and why: ``fit_1 (task 12), attempt 2 of 3, …: its command failed``."""
    places = [f"{row.task_name} (task {row.task_id})"]
    if number := attempt_words(row):
        places.append(number)
    if row.cluster_name:
        job = f" job {row.distributor_id}" if row.distributor_id else ""
        places.append(f"{row.cluster_name}{job}")
    if row.nodename:
        places.append(f"node {row.nodename}")
    return f"{', '.join(places)}: {cause_words(row)}"


def attempt_words(row: TaskErrorRow) -> str:
    """Which of how many attempts: ``attempt 2 of 3``."""
    if not row.attempt_number:
        return "an earlier attempt" if row.max_attempts else ""
    text = f"attempt {row.attempt_number} of {row.max_attempts}"
    if row.num_infrastructure_losses:
        times = "1 loss" if row.num_infrastructure_losses == 1 else f"{row.num_infrastructure_losses} losses"
        text += f" ({times} not counted)"
    return text


def cause_words(row: TaskErrorRow) -> str:
    """Why the attempt did not succeed, in words."""
    if row.instance_status == TaskInstanceStatus.ERROR_FATAL.value:
        return CAUSE_WORDS[Cause.ORDERED]
    return CAUSE_WORDS.get(row.cause, "it failed")


def last_lines(row: TaskErrorRow, count: int = SHOWN_LINES) -> list[str]:
    """The last lines of what was noted about the attempt, else of its stderr; the first one noted is kept."""
    noted = [line for line in (row.description or "").strip().splitlines() if line.strip()]
    if not noted:
        return (row.stderr_log or "").strip().splitlines()[-count:]
    if len(noted) == 1 and row.instance_status != TaskInstanceStatus.ERROR_FATAL.value:
        told = (row.stderr_log or "").strip().splitlines()
        return [*noted, *told[len(told) - count + 1 :]] if count > 1 and len(told) >= count else noted + told
    return noted if len(noted) <= count else [noted[0], *noted[len(noted) - count + 1 :]]


def what_followed(row: TaskErrorRow) -> str:
    """What was done about a failed attempt, as far as is known."""
    return f"{_not_counted(row)}{_next_step(row)}"


def _not_counted(row: TaskErrorRow) -> str:
    return "not counted against its attempts; " if _is_blameless(row) else ""


def _is_blameless(row: TaskErrorRow) -> bool:
    return row.cause in BLAMELESS if row.is_blameless is None else row.is_blameless


def _next_step(row: TaskErrorRow) -> str:
    following = f"as attempt {row.attempt_number + 1}" if row.attempt_number else "later"
    before, after = row.requested_resources, row.next_resources
    asked = " and ".join(changed_resources(before, after)) if before and after else ""
    if row.next_task_instance_id is not None:
        return f"asked for {asked} and ran again {following}" if asked else f"ran again {following}"
    if row.task_status == TaskStatus.DONE.value:
        return "the task counts as done: it was set by hand"
    if row.task_status == TaskStatus.ERROR_FATAL.value:
        return _given_up(row)
    if row.workflow_status and WorkflowStatus(row.workflow_status) not in WORKFLOW_BEING_RUN:
        return "will run again when the workflow is resumed"
    if row.task_status == TaskStatus.ADJUSTING_RESOURCES.value and not asked:
        return f"will ask for more and run again {following}"
    return f"asks for {asked} and will run again {following}" if asked else f"will run again {following}"


def _given_up(row: TaskErrorRow) -> str:
    if _is_blameless(row):
        return f"gave up after {row.num_infrastructure_losses} losses"
    if row.attempt_number and row.attempt_number - row.num_infrastructure_losses < row.max_attempts:
        return "gave up, as the retry policy of its template says"
    if row.attempt_number == 1:
        return "gave up after the only attempt it had"
    return f"gave up after {row.attempt_number} attempts" if row.attempt_number else "gave up"


def where_to_look(row: TaskErrorRow, *, with_resume: bool = True) -> list[str]:
    """The log file of the attempt, and what to type next."""
    lines = [f"stderr: {row.stderr}"] if row.stderr and row.stderr != os.devnull else []
    lines.append(f"look closer: jobmon task status -t {row.task_id}")
    is_over = row.workflow_status and WorkflowStatus(row.workflow_status) not in WORKFLOW_BEING_RUN
    if with_resume and is_over and row.task_status != TaskStatus.DONE.value:
        lines.append(f"go on: jobmon workflow resume -w {row.workflow_id}")
    return lines


def failure_of(row: AttemptRow) -> TaskErrorRow | None:
    """The failure of an attempt; ``None`` where it has not failed."""
    if row.task_instance_id is None or not (row.cause or row.error):
        return None
    from jobmon.serializers.monitor import TaskErrorRow

    return TaskErrorRow(
        task_id=row.task_id,
        task_name=row.task_name,
        task_instance_id=row.task_instance_id,
        task_instance_error_log_id=0,
        error_time="",
        description=row.error,
        stderr_log=row.stderr_log,
        stdout=row.stdout,
        stderr=row.stderr,
        workflow_id=row.workflow_id,
        workflow_status=row.workflow_status,
        task_status=row.task_status,
        instance_status=row.instance_status,
        cause=row.cause,
        attempt_number=row.attempt_number,
        max_attempts=row.max_attempts,
        num_infrastructure_losses=row.num_infrastructure_losses,
        cluster_name=row.cluster_name,
        distributor_id=row.distributor_id,
        nodename=row.nodename,
        requested_resources=row.requested_resources,
        next_task_instance_id=row.next_task_instance_id,
        next_resources=row.next_resources,
        is_blameless=row.is_blameless,
    )


def failures_alike(rows: Iterable[TaskErrorRow]) -> list[list[TaskErrorRow]]:
    """Failures by what they say, apart from numbers, paths and the like; most frequent first."""
    found: dict[tuple[str, str, str], list[TaskErrorRow]] = {}
    for row in rows:
        noted, text = row.description or "", (row.stderr_log or "").strip()
        if not text or "\n" in noted.strip():
            text = noted
        line, where = telling_line(noted, text, row.cause)
        found.setdefault((row.cause, where, fold(line[:LINE_CHARACTERS])), []).append(row)
    return sorted(found.values(), key=len, reverse=True)


def failure_stories(rows: Sequence[AttemptRow]) -> list[str]:
    """The failed attempts of tasks, each in a line or two: which one, why, what followed."""
    failures = [failure for row in rows if (failure := failure_of(row)) is not None]
    return [f"{failure_headline(row)}\n    {what_followed(row)}" for row in failures]


# -- failures that are alike ----------------------------------------------------------------------------
def cluster_headline(row: ErrorClusterRow) -> str:
    """How many tasks failed with what: ``37 tasks: KeyError: <n> (in load)``."""
    return f"{counted(row.num_tasks, 'task')}: {row.pattern}" + (f" (in {row.where})" if row.where else "")


def describe_cluster(row: ErrorClusterRow) -> str:
    """Failures that are alike in some lines: how many, what they share, an example, what to type next."""
    lines = [cluster_headline(row)]
    templates = ", ".join(f"{name} ({thousands(count)})" for name, count in row.templates.items())
    attempts = f"{thousands(row.num_attempts)} attempts; " if row.num_attempts != row.num_tasks else ""
    lines.append(f"  {attempts}of {templates}" + (f", on {_nodes(row)}" if row.nodes else ""))
    lines += [f"  {describe_trait(trait)}" for trait in row.shared]
    lines.append(f"  for example {row.example_task_name} (task {row.example_task_id}):")
    lines += [f"      {line}" for line in row.example.splitlines()[-SHOWN_LINES:]]
    if row.example_stderr and row.example_stderr != os.devnull:
        lines.append(f"  stderr: {row.example_stderr}")
    lines.append(f"  look closer: jobmon task status -t {row.example_task_id}")
    return "\n".join(lines)


def _nodes(row: ErrorClusterRow) -> str:
    if len(row.nodes) == 1:
        return f"node {next(iter(row.nodes))}"
    name, count = next(iter(row.nodes.items()))
    return f"{len(row.nodes)}{'+' if len(row.nodes) >= 10 else ''} nodes, most on {name} ({thousands(count)})"


def describe_trait(trait: SharedTrait) -> str:
    """What failures share, in a sentence: ``all 37 have location_id 102; none of the 4 000 that are done have it``."""
    failed = _of(trait.num_failed, trait.num_failed_in_all)
    if trait.kind == "node":
        rest = 100 * trait.num_others / trait.num_others_in_all
        share = "none" if not trait.num_others else f"{rest:.0f} %" if rest >= 1 else "less than 1 %"
        return f"{failed} were on node {trait.value}, which ran {share} of those that succeeded"
    which = "that are done" if trait.are_others_done else "others"
    others = f"none of the {thousands(trait.num_others_in_all)}"
    if trait.num_others:
        others = f"{thousands(trait.num_others)} of the {thousands(trait.num_others_in_all)}"
    verb = "has" if trait.num_others == 1 else "have"
    return f"{failed} have {trait.name} {trait.value}; {others} {which} {verb} it"


def _of(count: int, total: int) -> str:
    return f"all {thousands(total)}" if count == total else f"{thousands(count)} of {thousands(total)}"
