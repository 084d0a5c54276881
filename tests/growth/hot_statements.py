"""What is asked of the million: each function of the store that reads or writes the large tables, as servers call it.

``FEW``: it is about a task, a node, a page or what is new, however large the workflow is. ``WORKFLOW``: it is about all tasks of
one workflow of 10 000, and may read each of them a few times; never those of others.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from million import Million, group_of_nodes
from sqlalchemy import Connection

from jobmon.core.instance_event import InstanceEvent
from jobmon.core.process_identity import this_process
from jobmon.core.states import TaskInstanceEvent, TaskStatus, WorkflowRunEvent
from jobmon.serializers.define import EdgesRequest, TaskGroup, WorkflowMatchRequest
from jobmon.serializers.monitor import TaskStatusRequest, UpdateTasksRequest
from jobmon.serializers.select import SelectRequest, SubtreeRequest
from jobmon.serializers.swarm import BatchRequest, LimitRequest, QueueReason, SyncRequest, WorkflowRunRequest
from jobmon.server.web.models import Node, TaskResources
from jobmon.server.web.store import (
    attempts,
    attributes,
    bad_nodes,
    batches,
    bind,
    candidates,
    downstream,
    eta,
    explain,
    failures,
    feed,
    graph,
    monitor,
    orders,
    outside,
    overview,
    past,
    plan,
    prune,
    remote,
    resume,
    run_progress,
    runs,
    select,
    stories,
    swarm_read,
    sync,
    trace,
    usage,
)
from jobmon.server.web.store.define import table_of
from jobmon.server.web.store.progress import progress_recount, workflows_progress
from jobmon.server.web.store.prune import ENDED
from jobmon.server.web.store.template_graph import workflow_template_graph

FEW = 10_000
WORKFLOW = 200_000
LOSSES = 10

Work = Callable[[Million, Connection, datetime], Any]


class Question(NamedTuple):
    """Something a server asks of the database.

    Attributes:
        name: module and function of the store.
        bound: how many rows it may read.
        work: does it.
    """

    name: str
    bound: int
    work: Work


def finished(m: Million) -> list[InstanceEvent]:
    return [InstanceEvent(each, TaskInstanceEvent.FINISH, exit_code=0) for each in m.large.running()]


def batch_of(m: Million) -> BatchRequest:
    return BatchRequest(m.large.array_id, 2, m.ids["resources"], m.large.waiting(), name="a batch")


def group_of_tasks(m: Million, count: int = 100) -> TaskGroup:
    nodes, names = list(range(1, count + 1)), [f"fit_{n}" for n in range(count)]
    commands = [f"fit data {n}" for n in range(count)]
    return TaskGroup(
        m.large.array_id, m.ids["resources"], 3, "{}", "[]", nodes, ["h"] * count, names, commands
    )


def run_request() -> WorkflowRunRequest:
    return WorkflowRunRequest("another key", "ada", "4", this_process(), 90)


QUESTIONS = [
    # -- defining ------------------------------------------------------------------------------------------------------
    Question(
        "bind.workflow_match",
        FEW,
        lambda m, c, now: bind.workflow_match(c, WorkflowMatchRequest(m.ids["tool_version"], "args of old")),
    ),
    Question(
        "bind.tasks_get_or_create",
        FEW,
        lambda m, c, now: bind.tasks_get_or_create(
            c, m.large.workflow_id, [group_of_tasks(m)], now=now, user="ada"
        ),
    ),
    Question(
        "bind.workflow_mark_bound",
        FEW,
        lambda m, c, now: bind.workflow_mark_bound(c, m.large.workflow_id, now=now, user="ada"),
    ),
    Question(
        "graph.nodes_get_or_create",
        FEW,
        lambda m, c, now: graph.nodes_get_or_create(c, [group_of_nodes(m, 99_950, 100)]),
    ),
    Question("graph.dag_get_or_create", FEW, lambda m, c, now: graph.dag_get_or_create(c, "graph of 100000")),
    Question(
        "graph.edges_add_if_incomplete",
        FEW,
        lambda m, c, now: graph.edges_add_if_incomplete(
            c, graph.dag_get_or_create(c, "another").id, EdgesRequest([1], [[]], [[]], is_last=False), now
        ),
    ),
    Question(
        "attributes.tasks_set_attributes",
        FEW,
        lambda m, c, now: attributes.tasks_set_attributes(c, {t: {"age": "5"} for t in m.large.waiting()}),
    ),
    # -- running -------------------------------------------------------------------------------------------------------
    Question(
        "attempts.attempts_apply_events",
        FEW,
        lambda m, c, now: attempts.attempts_apply_events(
            c, finished(m), now=now, actor="controller", max_infrastructure_losses=LOSSES
        ),
    ),
    Question(
        "attempts.attempts_extend_reports",
        WORKFLOW,
        lambda m, c, now: attempts.attempts_extend_reports(c, m.small.run_id, now, 90),
    ),
    Question(
        "attempts.attempts_load", FEW, lambda m, c, now: attempts.attempts_load(c, m.large.running(), LOSSES)
    ),
    Question(
        "bad_nodes.bad_nodes_note",
        FEW,
        lambda m, c, now: bad_nodes.bad_nodes_note(c, finished(m), now=now, seconds=60),
    ),
    Question(
        "batches.batch_queue_if_ready",
        FEW,
        lambda m, c, now: batches.batch_queue_if_ready(
            c, m.large.run_id, m.large.workflow_id, batch_of(m), cursor=3, now=now, actor="controller"
        ),
    ),
    Question("feed.run_feed", FEW, lambda m, c, now: feed.run_feed(c, m.large.run_id, 2, "controller")),
    Question(
        "feed.run_changes_after",
        FEW,
        lambda m, c, now: feed.run_changes_after(c, m.large.run_id, 2, "R", "controller"),
    ),
    Question(
        "feed.runs_changed_by_others",
        FEW,
        lambda m, c, now: feed.runs_changed_by_others(c, {m.large.run_id: 2}, "controller"),
    ),
    Question("feed.runs_positions", FEW, lambda m, c, now: feed.runs_positions(c, [m.large.run_id])),
    Question(
        "sync.run_sync",
        FEW,
        lambda m, c, now: sync.run_sync(
            c,
            m.large.run_id,
            SyncRequest(finished(m), [batch_of(m)]),
            now=now,
            actor="controller",
            max_infrastructure_losses=LOSSES,
        ),
    ),
    Question("remote.attempts_live", WORKFLOW, lambda m, c, now: remote.attempts_live(c, m.small.run_id)),
    Question(
        "remote.queue_reasons_store",
        FEW,
        lambda m, c, now: remote.queue_reasons_store(
            c, m.large.run_id, [QueueReason(m.large.running(), "busy")]
        ),
    ),
    Question(
        "remote.workflow_read_conditions",
        FEW,
        lambda m, c, now: remote.workflow_read_conditions(c, m.large.workflow_id),
    ),
    Question(
        "runs.run_heartbeat_if_alive",
        FEW,
        lambda m, c, now: runs.run_heartbeat_if_alive(c, m.large.run_id, now, 90),
    ),
    Question("runs.run_state", FEW, lambda m, c, now: runs.run_state(c, m.large.run_id)),
    Question(
        "runs.run_order_drain_if_alive",
        FEW,
        lambda m, c, now: runs.run_order_drain_if_alive(c, m.large.workflow_id, now=now, actor="user:ada"),
    ),
    Question(
        "runs.run_end_attempts",
        WORKFLOW,
        lambda m, c, now: runs.run_end_attempts(
            c, m.small.run_id, now=now, actor="server", losses=LOSSES, kill=False, kill_remote=False
        ),
    ),
    Question(
        "runs.run_create_if_none_alive",
        FEW,
        lambda m, c, now: runs.run_create_if_none_alive(c, m.old.workflow_id, run_request(), now),
    ),
    Question(
        "runs.run_apply_event",
        WORKFLOW,
        lambda m, c, now: runs.run_apply_event(
            c, m.small.run_id, WorkflowRunEvent.STOP, now=now, actor="controller"
        ),
    ),
    Question(
        "swarm_read.tasks_read_page",
        2 * FEW,
        lambda m, c, now: swarm_read.tasks_read_page(c, m.large.workflow_id, 0, 2_000),
    ),
    Question(
        "swarm_read.tasks_read_page (in the middle)",
        2 * FEW,
        lambda m, c, now: swarm_read.tasks_read_page(
            c, m.large.workflow_id, m.large.first_task_id + 50_000, 2_000
        ),
    ),
    Question(
        "swarm_read.workflow_metadata_read",
        WORKFLOW,
        lambda m, c, now: swarm_read.workflow_metadata_read(c, m.small.workflow_id),
    ),
    Question(
        "swarm_read.workflow_set_limit",
        FEW,
        lambda m, c, now: swarm_read.workflow_set_limit(
            c, m.large.workflow_id, LimitRequest(5), now=now, actor="user:ada"
        ),
    ),
    Question(
        "outside.workflow_finish_if_done",
        WORKFLOW,
        lambda m, c, now: outside.workflow_finish_if_done(c, m.small.run_id, now=now, actor="server"),
    ),
    # -- resuming ------------------------------------------------------------------------------------------------------
    Question(
        "resume.workflow_resumable",
        WORKFLOW,
        lambda m, c, now: resume.workflow_resumable(c, m.failed.workflow_id, now=now, cold=True),
    ),
    Question(
        "resume.live_attempts", WORKFLOW, lambda m, c, now: resume.live_attempts(c, m.small.workflow_id)
    ),
    Question(
        "resume.run_live_attempts", WORKFLOW, lambda m, c, now: resume.run_live_attempts(c, m.small.run_id)
    ),
    Question(
        "resume.tasks_reset_if_undone",
        WORKFLOW,
        lambda m, c, now: resume.tasks_reset_if_undone(c, m.failed.workflow_id, now=now, actor="user:ada"),
    ),
    Question(
        "orders.tasks_update_by_hand",
        WORKFLOW,
        lambda m, c, now: orders.tasks_update_by_hand(
            c,
            m.failed.workflow_id,
            UpdateTasksRequest([m.failed.first_task_id], TaskStatus.DONE.value),
            user="ada",
            now=now,
            max_infrastructure_losses=LOSSES,
        ),
    ),
    Question(
        "orders.workflow_reset_if_quiet",
        WORKFLOW,
        lambda m, c, now: orders.workflow_reset_if_quiet(
            c, m.failed.workflow_id, is_partial=True, user="ada", now=now
        ),
    ),
    # -- looking -------------------------------------------------------------------------------------------------------
    Question(
        "downstream.tasks_directly_downstream",
        FEW,
        lambda m, c, now: downstream.tasks_directly_downstream(c, m.large.workflow_id, m.large.waiting()),
    ),
    Question(
        "downstream.tasks_with_downstream",
        WORKFLOW,
        lambda m, c, now: downstream.tasks_with_downstream(
            c, m.small.workflow_id, [m.small.first_task_id + 7]
        ),
    ),
    Question(
        "progress.workflows_progress",
        FEW,
        lambda m, c, now: workflows_progress(c, [m.small.workflow_id]),
    ),
    Question(
        "progress.progress_recount",
        WORKFLOW,
        lambda m, c, now: progress_recount(c, m.small.workflow_id),
    ),
    Question(
        "template_graph.workflow_template_graph",
        WORKFLOW,
        lambda m, c, now: workflow_template_graph(c, m.small.workflow_id),
    ),
    Question(
        "eta.workflow_read_run_times",
        WORKFLOW,
        lambda m, c, now: eta.workflow_read_run_times(c, m.small.workflow_id, [m.small.array_id], now),
    ),
    Question(
        "eta.workflow_read_eta",
        WORKFLOW,
        lambda m, c, now: eta.workflow_read_eta(
            c, m.small.workflow_id, workflows_progress(c, [m.small.workflow_id])[m.small.workflow_id], now
        ),
    ),
    Question(
        "explain.task_read_facts",
        WORKFLOW,
        lambda m, c, now: explain.task_read_facts(c, explain.task_read_row(c, m.large.waiting()[0])),
    ),
    Question(
        "failures.workflow_read_latest_failures",
        WORKFLOW,
        lambda m, c, now: failures.workflow_read_latest_failures(c, m.failed.workflow_id, 10),
    ),
    Question(
        "failures.workflow_read_error_clusters",
        WORKFLOW,
        lambda m, c, now: failures.workflow_read_error_clusters(c, m.failed.workflow_id, 10, is_recent=False),
    ),
    Question(
        "monitor.task_read_dependencies",
        FEW,
        lambda m, c, now: monitor.task_read_dependencies(c, m.large.waiting()[0]),
    ),
    Question(
        "monitor.tasks_read_status",
        FEW,
        lambda m, c, now: monitor.tasks_read_status(c, TaskStatusRequest(m.large.waiting())),
    ),
    Question(
        "monitor.workflow_read_errors",
        WORKFLOW,
        lambda m, c, now: monitor.workflow_read_errors(c, m.failed.workflow_id, None, 10),
    ),
    Question(
        "monitor.workflow_read_logs",
        WORKFLOW,
        lambda m, c, now: monitor.workflow_read_logs(c, m.small.workflow_id, "", "", 10),
    ),
    Question(
        "monitor.workflow_read_tasks",
        WORKFLOW,
        lambda m, c, now: monitor.workflow_read_tasks(c, m.small.workflow_id, ["R"], 100),
    ),
    Question(
        "monitor.workflows_read_status",
        WORKFLOW,
        lambda m, c, now: monitor.workflows_read_status(c, [m.small.workflow_id], [], 10, now),
    ),
    Question(
        "overview.workflow_read_overview",
        WORKFLOW,
        lambda m, c, now: overview.workflow_read_overview(
            c, m.small.workflow_id, num_failures=5, num_running=5, now=now
        ),
    ),
    Question(
        "past.task_read_past",
        FEW,
        lambda m, c, now: past.task_read_past(c, explain.task_read_row(c, m.large.waiting()[0])),
    ),
    Question("past.task_args_read", FEW, lambda m, c, now: past.task_args_read(c, m.large.waiting())),
    Question(
        "plan.tasks_read_args",
        FEW,
        lambda m, c, now: plan.tasks_read_args(c, m.large.workflow_id, m.large.waiting()),
    ),
    Question(
        "plan.tasks_read_plan_page",
        2 * FEW,
        lambda m, c, now: plan.tasks_read_plan_page(
            c, m.large.workflow_id, m.large.first_task_id + 50_000, 1_000, with_identity=True
        ),
    ),
    Question(
        "plan.templates_read_runtimes",
        WORKFLOW,
        lambda m, c, now: plan.templates_read_runtimes(c, [m.ids["template_version"]]),
    ),
    Question(
        "run_progress.workflow_run_progress",
        WORKFLOW,
        lambda m, c, now: run_progress.workflow_run_progress(c, m.small.workflow_id, now),
    ),
    Question(
        "select.tasks_select",
        WORKFLOW,
        lambda m, c, now: select.tasks_select(
            c, m.small.workflow_id, SelectRequest(templates=["fit"], statuses=["R"], limit=100)
        ),
    ),
    Question(
        "select.tasks_select (by arg)",
        WORKFLOW,
        lambda m, c, now: select.tasks_select(c, m.large.workflow_id, SelectRequest(node_args={"n": ["77"]})),
    ),
    Question(
        "select.tasks_read_subtree",
        WORKFLOW,
        lambda m, c, now: select.tasks_read_subtree(c, SubtreeRequest([m.small.first_task_id + 7])),
    ),
    Question(
        "stories.tasks_read_stories",
        FEW,
        lambda m, c, now: stories.tasks_read_stories(c, m.large.waiting(10)),
    ),
    Question(
        "trace.workflow_read_facts",
        2 * WORKFLOW,
        lambda m, c, now: trace.workflow_read_facts(c, m.small.workflow_id, now),
    ),
    Question(
        "trace.workflow_read_trace",
        WORKFLOW,
        lambda m, c, now: trace.workflow_read_trace(
            c, m.large.workflow_id, m.large.first_task_id + 30_000, 1_000
        ),
    ),
    Question(
        "usage.task_read_usage", FEW, lambda m, c, now: usage.task_read_usage(c, m.large.first_task_id + 7)
    ),
    Question(
        "usage.template_version_read_usage",
        WORKFLOW,
        lambda m, c, now: usage.template_version_read_usage(
            c, m.ids["template_version"], [m.small.workflow_id], {}, None
        ),
    ),
    Question(
        "usage.workflow_read_usage",
        WORKFLOW,
        lambda m, c, now: usage.workflow_read_usage(c, m.small.workflow_id),
    ),
    # -- tidying up ----------------------------------------------------------------------------------------------------
    Question(
        "prune.workflows_to_prune",
        FEW,
        lambda m, c, now: prune.workflows_to_prune(c, now, ENDED, after_id=0, limit=100),
    ),
    Question(
        "prune.workflow_set_aside",
        FEW,
        lambda m, c, now: prune.workflow_set_aside(c, m.old.workflow_id, now, ENDED),
    ),
    Question(
        "prune.workflow_count_rows",
        2 * WORKFLOW,
        lambda m, c, now: prune.workflow_count_rows(c, m.failed.workflow_id),
    ),
    Question(
        "prune.tasks_delete", 10 * FEW, lambda m, c, now: prune.tasks_delete(c, m.old.workflow_id, 500, now)
    ),
    Question(
        "prune.edges_delete", 2 * FEW, lambda m, c, now: prune.edges_delete(c, m.large.dag_id, 500, now)
    ),
    Question("prune.nodes_delete", FEW, lambda m, c, now: prune.nodes_delete(c, list(range(1, 500)))),
    Question(
        "prune.task_resources_delete",
        FEW,
        lambda m, c, now: prune.task_resources_delete(c, [m.ids["resources"]]),
    ),
    Question(
        "candidates.candidates_note",
        FEW,
        lambda m, c, now: candidates.candidates_note(c, table_of(Node), range(1, 500), now),
    ),
    Question(
        "candidates.candidates_read",
        FEW,
        lambda m, c, now: candidates.candidates_read(
            c, table_of(TaskResources), now + timedelta(1), after_id=0, limit=100
        ),
    ),
]
