"""What becomes of a run and its workflow when something happens to the run."""

from __future__ import annotations

from dataclasses import dataclass

from jobmon.core import states
from jobmon.core.exceptions import InvalidStateTransition
from jobmon.core.states import (
    WORKFLOW,
    WORKFLOW_EVENT_OF_RUN_STATE,
    WORKFLOW_RUN,
    WorkflowRunEvent,
    WorkflowRunStatus,
    WorkflowStatus,
)


@dataclass(slots=True, frozen=True)
class RunStep:
    """One line of history: an event of a run and the states before and after."""

    event: WorkflowRunEvent
    run_from: WorkflowRunStatus
    run_to: WorkflowRunStatus
    workflow_from: WorkflowStatus
    workflow_to: WorkflowStatus


def decide(
    workflow_run_id: int, run: WorkflowRunStatus, workflow: WorkflowStatus, event: WorkflowRunEvent
) -> RunStep | None:
    """The step an event leads to; ``None`` for one that came late or twice.

    Raises:
        InvalidStateTransition: the tables allow it for neither run nor workflow.
    """
    run_to = states.target(WORKFLOW_RUN, run, event)
    if run_to is None:
        raise InvalidStateTransition("Workflow run", workflow_run_id, run.name, event.value)
    if not isinstance(run_to, WorkflowRunStatus):
        return None
    workflow_event = WORKFLOW_EVENT_OF_RUN_STATE.get(run_to)
    if workflow_event is None:
        return RunStep(event, run, run_to, workflow, workflow)
    workflow_to = states.target(WORKFLOW, workflow, workflow_event)
    if workflow_to is None:
        raise InvalidStateTransition(
            "Workflow", f"of run {workflow_run_id}", workflow.name, workflow_event.value
        )
    if not isinstance(workflow_to, WorkflowStatus):
        workflow_to = workflow
    return RunStep(event, run, run_to, workflow, workflow_to)
