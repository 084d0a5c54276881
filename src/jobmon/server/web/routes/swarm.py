"""Routes of controllers: create a run, report and queue, listen, hand over."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import msgspec
from anyio import to_thread
from sqlalchemy import Connection

from jobmon.core.notify_target import OpenChannels
from jobmon.serializers.swarm import (
    BadNodesResponse,
    FeedResponse,
    ForgiveNodeRequest,
    HeartbeatRequest,
    InstanceEventsRequest,
    InstanceEventsResponse,
    LiveAttemptsResponse,
    ResetTasksRequest,
    ResetTasksResponse,
    ResumableResponse,
    RunEventsRequest,
    RunProgressResponse,
    RunStateResponse,
    RunWorkflowResponse,
    SetResumeRequest,
    SyncRequest,
    SyncResponse,
    TakeRunRequest,
    WorkerTokenRequest,
    WorkerTokenResponse,
    WorkflowRunRequest,
    WorkflowRunResponse,
)
from jobmon.server.services.notify.channels import NotifySettings
from jobmon.server.services.subscriptions import subscriptions_add, targets_of_request
from jobmon.server.web import dialect
from jobmon.server.web.identity import Access
from jobmon.server.web.state import CONTROLLER
from jobmon.server.web.store import (
    attempts,
    bad_nodes,
    feed,
    resume,
    run_progress,
    runs,
    sync,
    tokens,
)
from jobmon.server.web.wire import RequestContext, WireRouter

router = WireRouter("/swarm")

FEED_RECHECK_SECONDS = 2.0


@router.route(
    "POST",
    "/workflow/{workflow_id}/workflow_run",
    access=Access.OWNER,
    request=WorkflowRunRequest,
    response=WorkflowRunResponse,
)
def workflow_run_create(
    context: RequestContext, workflow_id: int, message: WorkflowRunRequest
) -> WorkflowRunResponse:
    """Create a run of a workflow, unless one is alive."""
    if context.identity.is_proven:
        message = msgspec.structs.replace(message, user=context.user)  # whatever the sender calls itself
    told = targets_of_request(message.notify, NotifySettings.from_config(context.state.config))

    def work(connection: Connection) -> WorkflowRunResponse:
        now = dialect.utcnow(connection)
        created = runs.run_create_if_none_alive(connection, workflow_id, message, now)
        if told:
            subscriptions_add(connection, created.workflow_run_id, told, now)
        return created

    return context.state.database.retrying_write(work)


@router.route("GET", "/notify", response=OpenChannels)
def notify_read(context: RequestContext) -> OpenChannels:
    """By which ways this server can tell its users of the end of a run."""
    return NotifySettings.from_config(context.state.config).open_to_users


@router.route(
    "POST",
    "/workflow_run/{workflow_run_id}/take",
    access=Access.OWNER,
    request=TakeRunRequest,
    response=WorkflowRunResponse,
)
def workflow_run_take(
    context: RequestContext, workflow_run_id: int, message: TakeRunRequest
) -> WorkflowRunResponse:
    """Take over a run that was created and that no controller works on yet."""

    def work(connection: Connection) -> WorkflowRunResponse:
        return runs.run_take_if_waiting(
            connection, workflow_run_id, message, now=dialect.utcnow(connection), actor=CONTROLLER
        )

    return context.state.database.retrying_write(work)


@router.route("GET", "/workflow_run/{workflow_run_id}", response=RunWorkflowResponse)
def workflow_run_read(context: RequestContext, workflow_run_id: int) -> RunWorkflowResponse:
    """The workflow a run is of, and its status."""
    with context.state.database.read() as connection:
        state = runs.run_state(connection, workflow_run_id)
        return RunWorkflowResponse(runs.run_workflow_id(connection, workflow_run_id), state.status)


@router.route(
    "POST",
    "/workflow_run/{workflow_run_id}/events",
    access=Access.OWNER,
    request=RunEventsRequest,
    response=RunStateResponse,
)
def workflow_run_events(
    context: RequestContext, workflow_run_id: int, message: RunEventsRequest
) -> RunStateResponse:
    """Apply events to a run and its workflow."""

    def work(connection: Connection) -> RunStateResponse:
        return runs.run_apply_events(
            connection,
            workflow_run_id,
            message.events,
            now=dialect.utcnow(connection),
            actor=CONTROLLER,
            max_infrastructure_losses=context.state.max_infrastructure_losses,
        )

    state = context.state.database.retrying_write(work)
    context.state.feed.notify([workflow_run_id])
    return state


@router.route(
    "POST",
    "/workflow_run/{workflow_run_id}/heartbeat",
    access=Access.OWNER,
    request=HeartbeatRequest,
    response=RunStateResponse,
)
def workflow_run_heartbeat(
    context: RequestContext, workflow_run_id: int, message: HeartbeatRequest
) -> RunStateResponse:
    """Note a controller's sign of life."""

    def work(connection: Connection) -> RunStateResponse:
        now = dialect.utcnow(connection)
        seconds = message.next_report_increment
        if message.covers_instances:
            attempts.attempts_extend_reports(connection, workflow_run_id, now, seconds)
        return runs.run_heartbeat_if_alive(connection, workflow_run_id, now, seconds)

    return context.state.database.retrying_write(work)


@router.route(
    "POST",
    "/workflow_run/{workflow_run_id}/sync",
    access=Access.OWNER,
    request=SyncRequest,
    response=SyncResponse,
)
def workflow_run_sync(context: RequestContext, workflow_run_id: int, message: SyncRequest) -> SyncResponse:
    """Take events of attempts, then create new batches, in one transaction."""
    noted: list[attempts.Applied] = []

    def work(connection: Connection) -> SyncResponse:
        noted.clear()  # of a try that was rolled back
        return sync.run_sync(
            connection,
            workflow_run_id,
            message,
            now=dialect.utcnow(connection),
            actor=CONTROLLER,
            max_infrastructure_losses=context.state.max_infrastructure_losses,
            bad_node_seconds=context.state.bad_node_seconds,
            note=noted.append,
        )

    answer = context.state.database.retrying_write(work)
    for applied in noted:
        context.state.watching.metrics.count_events("controller", len(message.events), applied)
    return answer


@router.route(
    "POST",
    "/workflow_run/{workflow_run_id}/worker_token",
    access=Access.OWNER,
    request=WorkerTokenRequest,
    response=WorkerTokenResponse,
)
def workflow_run_worker_token(
    context: RequestContext, workflow_run_id: int, message: WorkerTokenRequest
) -> WorkerTokenResponse:
    """Have a token be good for reports of attempts of a run's workflow, and for nothing else."""
    lifetime = timedelta(days=context.state.config.get_float("auth", "worker_token_days"))

    def work(connection: Connection) -> WorkerTokenResponse:
        now = dialect.utcnow(connection)
        tokens.worker_token_create_if_new(
            connection,
            message.token_hash,
            workflow_run_id,
            user=context.user,
            now=now,
            expires_at=now + lifetime,
        )
        return WorkerTokenResponse(lifetime.total_seconds())

    return context.state.database.retrying_write(work)


@router.route("GET", "/workflow_run/{workflow_run_id}/live_attempts", response=LiveAttemptsResponse)
def workflow_run_live_attempts(context: RequestContext, workflow_run_id: int) -> LiveAttemptsResponse:
    """The attempts of a run that live, adopted ones among them."""
    with context.state.database.read() as connection:
        return LiveAttemptsResponse(resume.run_live_attempts(connection, workflow_run_id))


@router.route("GET", "/cluster/{cluster_name}/bad_nodes", response=BadNodesResponse)
def cluster_bad_nodes(context: RequestContext, cluster_name: str) -> BadNodesResponse:
    """Nodes of a cluster that failed lately, in anybody's workflow."""
    with context.state.database.read() as connection:
        return bad_nodes.bad_nodes_read(connection, cluster_name, dialect.utcnow(connection))


@router.route(
    "POST",
    "/cluster/{cluster_name}/forgive_node",
    access=Access.USER,
    request=ForgiveNodeRequest,
    response=BadNodesResponse,
)
def cluster_forgive_node(
    context: RequestContext, cluster_name: str, message: ForgiveNodeRequest
) -> BadNodesResponse:
    """Forget that a node failed; those that are left."""

    def work(connection: Connection) -> BadNodesResponse:
        bad_nodes.bad_node_forgive(connection, cluster_name, message.nodename)
        return bad_nodes.bad_nodes_read(connection, cluster_name, dialect.utcnow(connection))

    return context.state.database.retrying_write(work)


@router.route("GET", "/workflow_run/{workflow_run_id}/feed", response=FeedResponse)
async def workflow_run_feed(
    context: RequestContext,
    workflow_run_id: int,
    after: int = 0,
    wait_seconds: float = 0,
    known_status: str = "",
) -> FeedResponse:
    """What others than its controller changed of a run after a cursor; waits until there is something."""
    state = context.state
    deadline = time.monotonic() + min(wait_seconds, 60)
    event = state.feed.listen(workflow_run_id)

    def look() -> FeedResponse | feed.RunPosition:
        with state.database.read() as connection:
            return feed.run_changes_after(connection, workflow_run_id, after, known_status, CONTROLLER)

    def look_at_all() -> FeedResponse:
        with state.database.read() as connection:
            return feed.run_feed(connection, workflow_run_id, after, CONTROLLER)

    try:
        while True:
            event.clear()
            found = await to_thread.run_sync(look, limiter=state.limiter)
            remaining = deadline - time.monotonic()
            if isinstance(found, FeedResponse):
                return found
            if remaining <= 0 or state.is_closing:
                return await to_thread.run_sync(look_at_all, limiter=state.limiter)
            await state.feed.wait(workflow_run_id, event, min(remaining, FEED_RECHECK_SECONDS), found)
            state.touch()
    except asyncio.CancelledError:
        raise
    finally:
        state.feed.forget(workflow_run_id, event)


@router.route(
    "POST",
    "/workflow/{workflow_id}/set_resume",
    access=Access.OWNER,
    request=SetResumeRequest,
    response=ResumableResponse,
)
def workflow_set_resume(
    context: RequestContext, workflow_id: int, message: SetResumeRequest
) -> ResumableResponse:
    """Order the alive run to hand over; end it where its controller is dead."""
    return _order_resume(context, workflow_id, message)


@router.route(
    "POST",
    "/workflow/{workflow_id}/stop",
    access=Access.OWNER,
    request=SetResumeRequest,
    response=ResumableResponse,
)
def workflow_stop(context: RequestContext, workflow_id: int, message: SetResumeRequest) -> ResumableResponse:
    """End the alive run and kill what it runs; the same order as a cold resume, without a successor."""
    return _order_resume(context, workflow_id, message)


@router.route("POST", "/workflow/{workflow_id}/drain", access=Access.OWNER, response=RunProgressResponse)
def workflow_drain(context: RequestContext, workflow_id: int) -> RunProgressResponse:
    """Order the alive run to start nothing more and to end when what runs has ended."""

    def work(connection: Connection) -> tuple[int | None, RunProgressResponse]:
        now = dialect.utcnow(connection)
        run_id = runs.run_order_drain_if_alive(connection, workflow_id, now=now, actor=f"user:{context.user}")
        return run_id, run_progress.workflow_run_progress(connection, workflow_id, now)

    run_id, answer = context.state.database.retrying_write(work)
    if run_id is not None:
        context.state.feed.notify([run_id])
    return answer


@router.route("GET", "/workflow/{workflow_id}/progress", response=RunProgressResponse)
def workflow_progress(context: RequestContext, workflow_id: int) -> RunProgressResponse:
    """Where a workflow and its latest run stand."""
    with context.state.database.read() as connection:
        return run_progress.workflow_run_progress(connection, workflow_id, dialect.utcnow(connection))


def _order_resume(context: RequestContext, workflow_id: int, message: SetResumeRequest) -> ResumableResponse:
    cold = message.reset_running_jobs

    def work(connection: Connection) -> ResumableResponse:
        now = dialect.utcnow(connection)
        resume.workflow_order_resume(
            connection,
            workflow_id,
            cold=cold,
            dead_workflow_run_ids=message.dead_workflow_run_ids,
            now=now,
            actor=f"user:{context.user}",
            losses=context.state.max_infrastructure_losses,
        )
        return resume.workflow_resumable(connection, workflow_id, now, cold)

    answer = context.state.database.retrying_write(work)
    if answer.alive_workflow_run_id is not None:
        context.state.feed.notify([answer.alive_workflow_run_id])
    return answer


@router.route("GET", "/workflow/{workflow_id}/is_resumable", response=ResumableResponse)
def workflow_is_resumable(context: RequestContext, workflow_id: int, cold: bool = True) -> ResumableResponse:
    """Whether a workflow can be resumed now, and what stands in the way."""
    with context.state.database.read() as connection:
        now = dialect.utcnow(connection)
        return resume.workflow_resumable(connection, workflow_id, now, cold)


@router.route(
    "POST",
    "/workflow/{workflow_id}/task_instance_events",
    access=Access.OWNER,
    request=InstanceEventsRequest,
    response=InstanceEventsResponse,
)
def workflow_task_instance_events(
    context: RequestContext, workflow_id: int, message: InstanceEventsRequest
) -> InstanceEventsResponse:
    """Take events of attempts whose controller is gone, from who cleans up behind it."""

    def work(connection: Connection) -> InstanceEventsResponse:
        now = dialect.utcnow(connection)
        live = {instance.task_instance_id for instance in resume.live_attempts(connection, workflow_id)}
        applied = attempts.attempts_apply_events(
            connection,
            [event for event in message.events if event.task_instance_id in live],
            now=now,
            actor=f"user:{context.user}",
            max_infrastructure_losses=context.state.max_infrastructure_losses,
        )
        seconds = context.state.bad_node_seconds
        bad_nodes.bad_nodes_note(connection, applied.blaming, now=now, seconds=seconds)
        return InstanceEventsResponse(applied.num_changed)

    return context.state.database.retrying_write(work)


@router.route(
    "POST",
    "/workflow_run/{workflow_run_id}/reset_tasks",
    access=Access.OWNER,
    request=ResetTasksRequest,
    response=ResetTasksResponse,
)
def workflow_run_reset_tasks(
    context: RequestContext, workflow_run_id: int, message: ResetTasksRequest
) -> ResetTasksResponse:
    """Make the tasks that are not done ready for this run; a hot one adopts what lives."""

    def work(connection: Connection) -> ResetTasksResponse:
        return resume.run_take_tasks(
            connection,
            workflow_run_id,
            adopt=not message.reset_running_jobs,
            increase_resources=message.increase_resources,
            max_infrastructure_losses=context.state.max_infrastructure_losses,
            now=dialect.utcnow(connection),
            actor=CONTROLLER,
        )

    return context.state.database.retrying_write(work)
