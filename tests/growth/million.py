"""A database of a million tasks: ten workflows of 100 000, attempts and history, made by the database itself; and two small ones.

All are of one tool version; the large ones have one graph, as when a model is run again and again. Of those that run a tenth
of the tasks runs and two fifths are done; of those that failed a thousandth of the tasks failed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Integer,
    MetaData,
    String,
    Table,
    case,
    cast,
    insert,
    literal,
    select,
    true,
)

from jobmon.core.constants import TaskResourcesType
from jobmon.core.states import TaskInstanceStatus, TaskStatus, WorkflowRunStatus, WorkflowStatus
from jobmon.serializers.define import NodeGroup, TaskResourcesItem, TaskTemplateVersionRequest
from jobmon.server.web import dialect
from jobmon.server.web.database import Database
from jobmon.server.web.models import (
    Array,
    Base,
    Batch,
    Dag,
    Edge,
    IdBlock,
    Node,
    NodeArg,
    Task,
    TaskArg,
    TaskHistory,
    TaskInstance,
    TaskInstanceErrorLog,
    Workflow,
    WorkflowRun,
)
from jobmon.server.web.store import define
from jobmon.server.web.store.progress import progress_recount
from jobmon.testing.factory import NOWHERE

NUM_TASKS = 100_000
SMALL = 10_000
WIDTH = 1_000
"""Each task waits for the one of the same place in the layer before it."""
FAILS_EVERY = 1_000
WORKFLOWS: tuple[tuple[str, WorkflowStatus], ...] = (
    ("old", WorkflowStatus.FAILED),
    *((f"done {number}", WorkflowStatus.DONE) for number in range(8)),
    ("failed", WorkflowStatus.FAILED),
    ("small", WorkflowStatus.RUNNING),
    ("large", WorkflowStatus.RUNNING),
)
RUNS = {
    WorkflowStatus.FAILED: WorkflowRunStatus.ERROR,
    WorkflowStatus.DONE: WorkflowRunStatus.DONE,
    WorkflowStatus.RUNNING: WorkflowRunStatus.RUNNING,
}
BIG = frozenset(
    {
        "task",
        "task_instance",
        "task_history",
        "task_arg",
        "node",
        "node_arg",
        "edge",
    }
)


@dataclass(frozen=True)
class MadeRun:
    """A workflow and its run; its tasks and their attempts have the same ids, from the first one on."""

    workflow_id: int
    run_id: int
    array_id: int
    dag_id: int
    first_task_id: int
    num_tasks: int
    first_node_id: int = 1

    def running(self, count: int = 100) -> list[int]:
        """Ids of tasks that run."""
        first = self.first_task_id + self.num_tasks * 2 // 5
        return list(range(first, first + count))

    def waiting(self, count: int = 100) -> list[int]:
        """Ids of tasks that have not begun."""
        first = self.first_task_id + self.num_tasks * 3 // 5
        return list(range(first, first + count))


@dataclass
class Million:
    """A database and what is in it.

    Attributes:
        database: the database.
        ids: ids of definitions, by name.
        large: a workflow of 100 000 tasks that runs.
        small: one of 10 000 that runs.
        failed: one of 10 000 that failed.
        old: one of 100 000 that failed.
    """

    database: Database
    ids: dict[str, int] = field(default_factory=dict)
    made: dict[str, MadeRun] = field(default_factory=dict)

    @property
    def large(self) -> MadeRun:
        return self.made["large"]

    @property
    def small(self) -> MadeRun:
        return self.made["small"]

    @property
    def failed(self) -> MadeRun:
        return self.made["failed"]

    @property
    def old(self) -> MadeRun:
        return self.made["old"]


def build(database: Database) -> Million:
    """Fill a database that has the tables and the rows that come with Jobmon."""
    million = Million(database)
    with database.engine.connect() as connection:
        _trust(connection)
        with connection.begin():
            now = dialect.utcnow(connection) - timedelta(days=1)
            _define(connection, million)
            numbers = _numbers(connection)
            large_dag = _graph(connection, million, numbers, now, NUM_TASKS)
            small_dag = _graph(connection, million, numbers, now, SMALL)
            first = 1
            for position, (name, status) in enumerate(WORKFLOWS):
                is_small = name in ("small", "failed")
                size, dag_id = (SMALL, small_dag) if is_small else (NUM_TASKS, large_dag)
                at = now - timedelta(days=30 * (len(WORKFLOWS) - position))
                million.made[name] = _workflow(
                    connection, million, numbers, name, status, at, first, size, dag_id
                )
                first += size
                progress_recount(connection, million.made[name].workflow_id)
            for table, next_id in (("node", NUM_TASKS + 1), ("task", first), ("task_instance", first)):
                connection.execute(insert(IdBlock).values(name=table, next_id=next_id))
            numbers.drop(connection)
        _learn(connection)
    return million


def _trust(connection: Connection) -> None:
    """Every row here refers to one that is there: the database need not look."""
    name = connection.dialect.name
    if name == "sqlite":
        connection.connection.driver_connection.execute("PRAGMA foreign_keys=OFF")  # type: ignore[union-attr]
        return
    connection.exec_driver_sql(
        "SET session_replication_role = replica"
        if name == "postgresql"
        else "SET foreign_key_checks = 0, unique_checks = 0"
    )
    connection.commit()


def _learn(connection: Connection) -> None:
    """Have the database count what it holds, as it does by itself in time."""
    if connection.dialect.name == "mysql":
        names = ", ".join(f"`{name}`" for name in Base.metadata.tables)
        connection.exec_driver_sql(f"ANALYZE TABLE {names}")
        return
    connection.execution_options(isolation_level="AUTOCOMMIT")
    if connection.dialect.name == "postgresql":
        name = connection.engine.url.database
        connection.exec_driver_sql(
            f'ALTER DATABASE "{name}" SET random_page_cost = 1.1'
        )  # as docs/operations say
        connection.exec_driver_sql("VACUUM ANALYZE")


def _define(connection: Connection, million: Million) -> None:
    tool = define.tool_get_or_create(connection, "million")
    version = define.tool_version_get_or_create(connection, tool.id, "version of the million")
    template = define.task_template_get_or_create(connection, version.id, "fit")
    message = TaskTemplateVersionRequest(template.id, "fit {n} {data}", "h", ["n"], ["data"], [])
    made = define.task_template_version_get_or_create(connection, message)
    queue_id = define.cluster_read(connection, "dummy").queues[0].id
    item = TaskResourcesItem(queue_id, TaskResourcesType.VALIDATED, {"cores": 1})
    (resources_id,) = define.task_resources_get_or_create(connection, [item])
    million.ids |= {
        "tool_version": version.id,
        "template_version": made.id,
        "node_arg": made.node_args["n"],
        "task_arg": made.task_args["data"],
        "resources": resources_id,
    }


def _numbers(connection: Connection) -> Table:
    """A table of the numbers below ``NUM_TASKS``, by doubling."""
    numbers = Table("some_numbers", MetaData(), Column("n", Integer, primary_key=True, autoincrement=False))
    numbers.create(connection)
    connection.execute(numbers.insert(), {"n": 0})
    size = 1
    while size < NUM_TASKS:
        more = select(numbers.c.n + size).where(numbers.c.n < NUM_TASKS - size)
        connection.execute(numbers.insert().from_select(["n"], more))
        size *= 2
    return numbers


def _fill(
    connection: Connection,
    model: Any,
    numbers: Table,
    values: dict[str, Any],
    where: ColumnElement[bool] | None = None,
) -> None:
    """One row for each number of which ``where`` is true: values may be computed from it."""
    columns = [value if hasattr(value, "label") else literal(value) for value in values.values()]
    rows = (
        select(*columns).select_from(numbers).where(true() if where is None else where).order_by(numbers.c.n)
    )
    connection.execute(insert(model.__table__).from_select(list(values), rows))


def _text(number: Any) -> Any:
    return cast(number, String(20))


def _graph(connection: Connection, million: Million, numbers: Table, now: datetime, size: int) -> int:
    """A graph of so many nodes; those of the small one are some of the large one's, which is made first."""
    n, node_id = numbers.c.n, numbers.c.n + 1
    dag_id = _insert(connection, Dag, hash=f"graph of {size}", created_date=now)
    if size == NUM_TASKS:
        version_id = million.ids["template_version"]
        hashes = literal("node ") + _text(n)
        node = {"id": node_id, "task_template_version_id": version_id, "node_args_hash": hashes}
        _fill(connection, Node, numbers, node)
        _fill(
            connection,
            NodeArg,
            numbers,
            {"node_id": node_id, "arg_id": million.ids["node_arg"], "val": _text(n)},
        )
    up = case((n < WIDTH, "[]"), else_=literal("[") + _text(node_id - WIDTH) + literal("]"))
    down = case((n >= size - WIDTH, "[]"), else_=literal("[") + _text(node_id + WIDTH) + literal("]"))
    edge = {"dag_id": dag_id, "node_id": node_id, "upstream_node_ids": up, "downstream_node_ids": down}
    _fill(connection, Edge, numbers, edge, n < size)
    return dag_id


def _workflow(
    connection: Connection,
    million: Million,
    numbers: Table,
    name: str,
    status: WorkflowStatus,
    at: datetime,
    first: int,
    size: int,
    dag_id: int,
) -> MadeRun:
    workflow_id = _insert(
        connection,
        Workflow,
        tool_version_id=million.ids["tool_version"],
        dag_id=dag_id,
        workflow_args_hash=f"args of {name}",
        task_hash="tasks",
        name=name,
        workflow_args=name,
        max_concurrently_running=10_000,
        created_date=at,
        status=status.value,
        status_date=at,
    )
    run_id = _insert(
        connection,
        WorkflowRun,
        workflow_id=workflow_id,
        user="ada",
        jobmon_version="4",
        jobmon_server_version="4",
        status=RUNS[status].value,
        created_date=at,
        status_date=at,
        heartbeat_date=at + timedelta(days=4000),
        run_key=f"key of {name}",
        controller=msgspec.json.encode(NOWHERE).decode(),
        last_cursor=2,
        is_draining=False,
    )
    array_id = _insert(
        connection,
        Array,
        name="fit",
        task_template_version_id=million.ids["template_version"],
        workflow_id=workflow_id,
        max_concurrently_running=10_000,
        created_date=at,
        retry_policy="{}",
    )
    batch = {"array_id": array_id, "batch_num": 1, "workflow_run_id": run_id, "num_steps": size}
    _insert(connection, Batch, **batch, name=f"batch of {name}", created_date=at)
    made = MadeRun(workflow_id, run_id, array_id, dag_id, first, size)
    _tasks(connection, million, numbers, made, status, at)
    return made


def _tasks(
    connection: Connection,
    million: Million,
    numbers: Table,
    made: MadeRun,
    status: WorkflowStatus,
    at: datetime,
) -> None:
    n, task_id = numbers.c.n, numbers.c.n + made.first_task_id
    is_alive = status is WorkflowStatus.RUNNING
    everybody = n < made.num_tasks
    failed = everybody & (n % FAILS_EVERY == 0) if status is WorkflowStatus.FAILED else n < 0
    done = n < made.num_tasks * 2 // 5 if is_alive else everybody
    tried = n < made.num_tasks // 2 if is_alive else everybody
    task_status = case(
        (failed, TaskStatus.ERROR_FATAL.value),
        (done, TaskStatus.DONE.value),
        (tried, TaskStatus.RUNNING.value),
        else_=TaskStatus.REGISTERED.value,
    )
    instance_status = case(
        (failed, TaskInstanceStatus.ERROR.value),
        (done, TaskInstanceStatus.DONE.value),
        else_=TaskInstanceStatus.RUNNING.value,
    )
    resources_id = million.ids["resources"]
    task = {
        "id": task_id,
        "workflow_id": made.workflow_id,
        "node_id": n + 1,
        "task_args_hash": "h",
        "array_id": made.array_id,
        "name": literal("fit_") + _text(n),
        "command": literal("fit data ") + _text(n),
        "task_resources_id": resources_id,
        "num_attempts": case((tried, 1), else_=0),
        "max_attempts": 3,
        "num_infrastructure_losses": 0,
        "resource_scales": "{}",
        "fallback_queues": "[]",
        "status": task_status,
        "status_date": at,
    }
    _fill(connection, Task, numbers, task, everybody)
    if is_alive:
        args = {"task_id": task_id, "arg_id": million.ids["task_arg"], "val": "data"}
        _fill(connection, TaskArg, numbers, args, everybody)
    attempt = {
        "id": task_id,
        "workflow_run_id": made.run_id,
        "array_id": made.array_id,
        "task_id": task_id,
        "task_resources_id": resources_id,
        "array_batch_num": 1,
        "array_step_id": n,
        "nodename": literal("node") + _text(n % 100),
        "wallclock": 60.0,
        "maxrss": 1 << 30,
        "status": instance_status,
        "status_date": at,
    }
    _fill(connection, TaskInstance, numbers, attempt, tried)
    for cursor, event in ((1, "queue"), (2, "finish")):
        line = {
            "workflow_run_id": made.run_id,
            "cursor": cursor,
            "task_id": task_id,
            "task_instance_id": task_id,
            "event": event,
            "instance_to": instance_status,
            "task_to": task_status,
            "occurred_at": at,
            "actor": "controller",
        }
        _fill(connection, TaskHistory, numbers, line, tried)
    words = literal("no such country: ") + _text(n)
    error = {"task_instance_id": task_id, "error_time": at, "description": words}
    _fill(connection, TaskInstanceErrorLog, numbers, error, failed)


def _insert(connection: Connection, model: Any, **values: Any) -> int:
    key = connection.execute(insert(model.__table__).values(**values)).inserted_primary_key
    assert key is not None
    return int(key[0])


def group_of_nodes(million: Million, start: int, count: int) -> NodeGroup:
    """Nodes as a client asks for them; those from 100 000 on are new."""
    values = [str(n) for n in range(start, start + count)]
    arg_ids = [million.ids["node_arg"]]
    version_id = million.ids["template_version"]
    return NodeGroup(version_id, arg_ids, [f"node {n}" for n in values], [[value] for value in values])
