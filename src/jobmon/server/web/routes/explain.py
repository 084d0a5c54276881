"""Routes of people who ask why: about one task, and about what a run would do."""

from __future__ import annotations

from jobmon.serializers.explain import ExplainResponse
from jobmon.serializers.plan import PlanTasksResponse, TaskArgsResponse, TemplateRuntimesResponse
from jobmon.server.web import dialect
from jobmon.server.web.analysis.explain import explain
from jobmon.server.web.store import explain as facts_store
from jobmon.server.web.store import plan
from jobmon.server.web.store.past import task_read_past
from jobmon.server.web.store.remote import workflow_read_conditions
from jobmon.server.web.wire import RequestContext, WireRouter

router = WireRouter("/monitor")


@router.route("GET", "/task/{task_id}/explain", response=ExplainResponse)
def task_explain(context: RequestContext, task_id: int) -> ExplainResponse:
    """Why a task is not running, runs again, or failed."""
    with context.state.database.read() as connection:
        row = facts_store.task_read_row(connection, task_id)
        facts = facts_store.task_read_facts(connection, row)
        past = task_read_past(connection, row)
        now = dialect.utcnow(connection)
        conditions = workflow_read_conditions(connection, row.workflow_id)
    return ExplainResponse(
        task_id=row.id,
        name=row.name,
        status=row.status,
        command=row.command,
        num_attempts=facts.counted,
        max_attempts=row.max_attempts,
        workflow_id=row.workflow_id,
        workflow_name=row.workflow_name or "",
        workflow_status=row.workflow_status,
        template_name=row.template_name,
        reasons=explain(facts, now),
        attempts=list(facts.attempts),
        past=past,
        queue_reason=facts.queue_reason,
        conditions=conditions,
    )


@router.route("GET", "/workflow/{workflow_id}/plan_tasks", response=PlanTasksResponse)
def workflow_plan_tasks(
    context: RequestContext,
    workflow_id: int,
    after_task_id: int = 0,
    limit: int = 50_000,
    identity: bool = False,
) -> PlanTasksResponse:
    """Why a run would run the tasks of a workflow, in pages; ``identity``: with the hashes that identify them."""
    with context.state.database.read() as connection:
        return plan.tasks_read_plan_page(
            connection, workflow_id, after_task_id, limit, with_identity=identity
        )


@router.route("GET", "/workflow/{workflow_id}/task_args", response=TaskArgsResponse)
def workflow_task_args(
    context: RequestContext,
    workflow_id: int,
    task_id: list[int] = [],  # noqa: B006 - the wire reads the default, nobody changes it
) -> TaskArgsResponse:
    """Names and args of a few tasks of a workflow."""
    with context.state.database.read() as connection:
        return TaskArgsResponse(plan.tasks_read_args(connection, workflow_id, task_id))


@router.route("GET", "/template_runtimes", response=TemplateRuntimesResponse)
def template_runtimes(
    context: RequestContext,
    task_template_version_id: list[int] = [],  # noqa: B006
) -> TemplateRuntimesResponse:
    """Mean run times of templates over their latest workflows."""
    with context.state.database.read() as connection:
        return TemplateRuntimesResponse(plan.templates_read_runtimes(connection, task_template_version_id))
