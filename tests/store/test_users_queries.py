"""The SQL users have in their notebooks: it runs unchanged, but for names that are words of SQL on their database."""

from __future__ import annotations

import pytest

import databases
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import Cause, TaskInstanceEvent
from jobmon.server.web import dialect
from jobmon.server.web.database import Database
from jobmon.server.web.store.attempts import attempts_apply_events
from jobmon.testing.factory import attempts_make, run_make, workflow_make

QUERIES = {
    "counts by status": (
        """SELECT task.status, count(*) FROM task
           JOIN workflow ON workflow.id = task.workflow_id
           WHERE workflow.name = 'mine' GROUP BY task.status ORDER BY task.status""",
        [("D", 1), ("G", 2)],
    ),
    "counts by label": (
        """SELECT task_status.label, count(*) FROM task JOIN task_status ON task_status.id = task.status
           GROUP BY task_status.label ORDER BY 1""",
        [("DONE", 1), ("REGISTERED", 2)],
    ),
    "workflows of a user": (
        """SELECT DISTINCT workflow.id, workflow.name, workflow.status FROM workflow
           JOIN workflow_run ON workflow_run.workflow_id = workflow.id WHERE workflow_run.user = 'ada'""",
        [(1, "mine", "R")],
    ),
    "errors of a workflow": (
        """SELECT t.name, ti.id, ti.status, ti.nodename, tiel.description
           FROM task_instance_error_log tiel
           JOIN task_instance ti ON ti.id = tiel.task_instance_id
           JOIN task t ON t.id = ti.task_id
           JOIN workflow w ON w.id = t.workflow_id
           WHERE w.name = 'mine' ORDER BY tiel.error_time""",
        [("step_1", 2, "E", "n2", "it broke")],
    ),
    "resources of what ran": (
        """SELECT ti.maxrss, ti.wallclock, tr.requested_resources, q.name, c.name
           FROM task_instance ti
           JOIN task_resources tr ON tr.id = ti.task_resources_id
           JOIN queue q ON q.id = tr.queue_id JOIN cluster c ON c.id = q.cluster_id
           WHERE ti.status = 'D'""",
        [(4096, 2.5, '{"memory":1}', "null.q", "dummy")],
    ),
    "args of tasks": (
        """SELECT t.name, arg.name, na.val FROM task t JOIN node n ON n.id = t.node_id
           JOIN node_arg na ON na.node_id = n.id JOIN arg ON arg.id = na.arg_id
           JOIN task_template_version ttv ON ttv.id = n.task_template_version_id
           JOIN task_template tt ON tt.id = ttv.task_template_id
           WHERE tt.name = 'step' AND na.val = '2'""",
        [("step_2", "which", "2")],
    ),
    "tools and templates": (
        """SELECT tool.name, tt.name FROM tool JOIN tool_version tv ON tv.tool_id = tool.id
           JOIN task_template tt ON tt.tool_version_id = tv.id""",
        [("tool of tests", "step")],
    ),
    "attempts": (
        "SELECT name, num_attempts, max_attempts FROM task WHERE num_attempts > 0 ORDER BY id",
        None,
    ),
    "runs": ("SELECT id, status, heartbeat_date, created_date, jobmon_version FROM workflow_run", None),
    "arrays": ("SELECT a.name, a.max_concurrently_running FROM array a WHERE workflow_id = 1", None),
}


@pytest.mark.parametrize("name", QUERIES)
def test_the_query_of_the_existing_documentation_works(database: Database, name: str) -> None:
    """Tables and columns have the names they always had."""
    query, expected = QUERIES[name]
    with database.write() as connection:
        now = dialect.utcnow(connection)
        workflow = workflow_make(connection, [[], [], []], now=now, name="mine", user="ada")
        run_id = run_make(connection, workflow.workflow_id, now=now, user="ada")
        done, failed = attempts_make(connection, workflow, run_id, [0, 1], batch_num=1, now=now)
        events = [
            InstanceEvent(done, TaskInstanceEvent.START),
            InstanceEvent(done, TaskInstanceEvent.FINISH, maxrss=4096, wallclock=2.5),
            InstanceEvent(failed, TaskInstanceEvent.START, nodename="n2"),
            InstanceEvent(failed, TaskInstanceEvent.FAIL, cause=Cause.CODE, description="it broke"),
        ]
        attempts_apply_events(connection, events, now=now, actor="worker", max_infrastructure_losses=10)
    with database.read() as connection:
        rows = [tuple(row) for row in databases.sql(connection, query)]
    if expected is None:
        assert rows
    else:
        assert rows == expected
