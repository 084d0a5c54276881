"""Setting the status of tasks by hand: of one, of those of a template, of a whole workflow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from shlex import quote

from sqlalchemy import Connection, select

from jobmon.core.exceptions import NotFoundError, UsageError
from jobmon.core.states import SETTABLE_BY_HAND, TaskStatus, WorkflowStatus
from jobmon.core.words import counted, thousands
from jobmon.serializers.monitor import UpdateTasksRequest
from jobmon.server.web.models import Task
from jobmon.server.web.routes import task as task_routes
from jobmon.server.web.store.downstream import MAX_TASKS, require_few
from jobmon.server.web.ui.orders import (
    WorkflowFacts,
    array_facts,
    context_of,
    is_ticked,
    look,
    task_ids_of,
    workflow_facts,
)
from jobmon.server.web.ui.page_router import Confirmation, Done, Field, Form, PageRouter, View

pages = PageRouter()

ALL, FAILED = "all", "failed"
_WHICH = Field("which", "Which tasks", "select", ALL, ((ALL, "all of them"), (FAILED, "those that failed")))


@dataclass(frozen=True)
class TaskFacts:
    """One task."""

    id: int
    name: str
    status: TaskStatus
    workflow_id: int


def task_facts(connection: Connection, task_id: int) -> TaskFacts:
    """Read a task.

    Raises:
        NotFoundError: there is none of this id.
    """
    row = connection.execute(
        select(Task.name, Task.status, Task.workflow_id).where(Task.id == task_id)
    ).first()
    if row is None:
        raise NotFoundError(f"There is no task {task_id}.")
    return TaskFacts(task_id, row[0], TaskStatus(row[1]), row[2])


def _fields(chosen: TaskStatus, *more: Field) -> Sequence[Field]:
    """What is asked: which status, and how far it reaches."""
    statuses = (
        (TaskStatus.REGISTERED.value, "registered: run again"),
        (TaskStatus.DONE.value, "done: count as done without running"),
    )
    return (
        *more,
        Field("status", "New status", "select", chosen.value, statuses),
        Field(
            "downstream",
            "With all tasks that wait for them, directly or not",
            "checkbox",
            "yes" if chosen is TaskStatus.REGISTERED else "",
            hint="What ran with an earlier result should run again.",
        ),
        Field(
            "force",
            "Even though tasks that wait for them have started in a run that goes on",
            "checkbox",
            hint="Only asked of workflows that are being run.",
        ),
    )


# -- one task -------------------------------------------------------------------------------------------
def _ask_task(view: View, task_id: int) -> Confirmation:
    facts = look(view, task_facts, task_id)
    is_done = facts.status is TaskStatus.DONE
    return Confirmation(
        title=f"Set the status of task {task_id} '{facts.name}'?",
        sentences=(
            (
                f"It is {facts.status.name}, a task of workflow {facts.workflow_id}. "
                "What it runs now, if anything, is ended."
            ),
            "A task that is to run again does so in the run that goes on, or in the next one.",
        ),
        button="Set the status",
        back=f"/task/{task_id}",
        fields=_fields(
            TaskStatus.REGISTERED if is_done or facts.status is TaskStatus.ERROR_FATAL else TaskStatus.DONE
        ),
        command=f"jobmon task update {task_id} -s G",
    )


@pages.action("/task/{task_id}/status", _ask_task)
def task_status(view: View, form: Form, task_id: int) -> Done:
    """Set the status of one task."""
    facts = look(view, task_facts, task_id)
    sentence = _set(view, form, facts.workflow_id, [task_id])
    return Done(sentence, f"/task/{task_id}")


# -- many -----------------------------------------------------------------------------------------------
def _too_many(count: int, workflow_id: int) -> str:
    if count <= MAX_TASKS:
        return ""
    return (
        f"These are {thousands(count)} tasks; at most {thousands(MAX_TASKS)} can be set at once. Choose fewer "
        "(jobmon task update --help), or make the whole workflow run again: "
        f"jobmon workflow reset {workflow_id} (-p keeps what is done)."
    )


def _refusal(workflow: WorkflowFacts, total: int, failed: int) -> str:
    """Nothing can be set where even those that failed are too many, or there are no tasks."""
    if not total:
        return f"There are no tasks of this kind in workflow {workflow.id}."
    return _too_many(min(total, failed or total), workflow.id)


def _sentences(total: int, failed: int) -> Sequence[str]:
    few = f" Only those that failed can be chosen: at most {thousands(MAX_TASKS)} can be set at once."
    return (
        f"{counted(total, 'task')}, {thousands(failed)} of them failed. What they run now, if anything, is ended."
        + (few if total > MAX_TASKS >= failed > 0 else ""),
    )


def _ask_template(view: View, workflow_id: int, array_id: int) -> Confirmation:
    facts = look(view, array_facts, workflow_id, array_id)
    total, failed = _counts_of_array(view, workflow_id, array_id)
    return Confirmation(
        title=f"Set the status of the tasks of template '{facts.name}'?",
        sentences=(f"In {facts.workflow.title}.", *_sentences(total, failed)),
        button="Set the status",
        back=facts.path,
        fields=_fields(TaskStatus.REGISTERED, _which(total, failed)),
        command=f"jobmon task update -w {workflow_id} --template {quote(facts.name)} -s G",
        refusal=_refusal(facts.workflow, total, failed),
        is_dangerous=True,
    )


@pages.action("/workflow/{workflow_id}/template/{array_id}/tasks", _ask_template)
def template_tasks(view: View, form: Form, workflow_id: int, array_id: int) -> Done:
    """Set the status of the tasks of a template."""
    facts = look(view, array_facts, workflow_id, array_id)
    task_ids = _chosen(view, form, workflow_id, array_id)
    return Done(_set(view, form, workflow_id, task_ids), facts.path)


def _ask_workflow(view: View, workflow_id: int) -> Confirmation:
    facts = look(view, workflow_facts, workflow_id)
    total, failed = facts.progress.total, facts.count(TaskStatus.ERROR_FATAL)
    return Confirmation(
        title=f"Set the status of the tasks of {facts.title}?",
        sentences=_sentences(total, failed),
        button="Set the status",
        back=facts.path,
        fields=_fields(TaskStatus.REGISTERED, _which(total, failed)),
        command=f"jobmon workflow reset {workflow_id}",
        refusal=_refusal(facts, total, failed),
        is_dangerous=True,
    )


@pages.action("/workflow/{workflow_id}/tasks", _ask_workflow)
def workflow_tasks(view: View, form: Form, workflow_id: int) -> Done:
    """Set the status of the tasks of a workflow."""
    facts = look(view, workflow_facts, workflow_id)
    return Done(_set(view, form, workflow_id, _chosen(view, form, workflow_id, None)), facts.path)


def _which(total: int, failed: int) -> Field:
    chosen = FAILED if failed or total > MAX_TASKS else ALL
    return Field(_WHICH.name, _WHICH.label, _WHICH.kind, chosen, _WHICH.choices)


def _counts_of_array(view: View, workflow_id: int, array_id: int) -> tuple[int, int]:
    """Tasks of an array, and those that failed."""
    from jobmon.server.web.store.progress import workflows_progress

    with view.read() as connection:
        progress = workflows_progress(connection, [workflow_id])[workflow_id].get(array_id)
    if progress is None:
        return 0, 0
    return progress.total, progress.by_status.get(TaskStatus.ERROR_FATAL.value, 0)


def _chosen(view: View, form: Form, workflow_id: int, array_id: int | None) -> list[int]:
    """Ids of the tasks that are meant.

    Raises:
        UsageError: there are none, or too many.
    """
    which = form.get("which", ALL)
    if which not in (ALL, FAILED):
        raise UsageError(f"Choose which tasks: all or failed, not '{which[:40]}'.")
    with view.read() as connection:
        statuses = (TaskStatus.ERROR_FATAL,) if which == FAILED else ()
        task_ids = task_ids_of(connection, workflow_id, array_id, statuses)
    if not task_ids:
        raise UsageError("No task is chosen by that; nothing was changed.")
    require_few(len(task_ids), workflow_id)
    return task_ids


def _set(view: View, form: Form, workflow_id: int, task_ids: list[int]) -> str:
    """Set them as the command line does; what happened, in words."""
    wanted = SETTABLE_BY_HAND.get(form.get("status", ""))
    if wanted is None:
        raise UsageError(
            f"Tasks can be set to D (done) or G (registered), not to '{form.get('status', '')[:40]}'."
        )
    with_downstream = is_ticked(form, "downstream")
    message = UpdateTasksRequest(
        task_ids,
        wanted.value,
        is_recursive=with_downstream,
        is_forced=is_ticked(form, "force"),
        is_only=wanted is TaskStatus.REGISTERED and not with_downstream,
    )
    answer = task_routes.task_statuses_update(context_of(view), workflow_id, message)
    more = answer.num_tasks - len(task_ids)
    behind = (
        f" (with {counted(more, 'task')} waiting for {'it' if len(task_ids) == 1 else 'them'})"
        if more
        else ""
    )
    were = "was" if answer.num_changed == 1 else "were"
    return (
        f"{thousands(answer.num_changed)} of {counted(answer.num_tasks, 'task')}{behind} {were} set to {wanted.name}; "
        f"workflow {workflow_id} is {WorkflowStatus(answer.workflow_status).name}."
    )
