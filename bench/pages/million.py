"""One workflow of a million tasks, made by the database itself: twenty templates one after the other, half of it done.

A thousandth of what ended failed, a hundredth of the tasks runs. Run times, memory and nodes vary; there is a history and a
text for every failure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import (
    Column,
    Connection,
    Integer,
    MetaData,
    String,
    Table,
    case,
    cast,
    func,
    insert,
    literal,
    select,
    text,
)

from jobmon.core.constants import TaskResourcesType
from jobmon.core.states import (
    Cause,
    TaskInstanceEvent,
    TaskInstanceStatus,
    TaskStatus,
    WorkflowRunStatus,
    WorkflowStatus,
)
from jobmon.serializers.define import TaskResourcesItem, TaskTemplateVersionRequest
from jobmon.server.web import dialect
from jobmon.server.web.database import Database
from jobmon.server.web.models import (
    Array,
    Base,
    Dag,
    Edge,
    IdBlock,
    Node,
    NodeArg,
    Task,
    TaskHistory,
    TaskInstance,
    TaskInstanceErrorLog,
    Workflow,
    WorkflowRun,
)
from jobmon.server.web.store import define
from jobmon.server.web.store.progress import progress_recount
from jobmon.testing.factory import NOWHERE

NUM_TEMPLATES = 20
FAILS_EVERY = 1000
USER = "ada"


@dataclass(frozen=True)
class Large:
    """The workflow: ids of it, of its arrays, and of a task that failed."""

    workflow_id: int
    array_ids: list[int]
    failed_task_id: int
    num_tasks: int


def build(database: Database, num_tasks: int = 1_000_000) -> Large:
    """Fill a new database; tasks, attempts and nodes have the same ids, from 1 on."""
    width = num_tasks // NUM_TEMPLATES
    with database.engine.connect() as connection:
        _trust(connection)
        with connection.begin():
            now = dialect.utcnow(connection)
            large = _fill_all(connection, width, now)
            progress_recount(connection, large.workflow_id)
        _learn(connection)
    return large


def _trust(connection: Connection) -> None:
    name = connection.dialect.name
    if name == "sqlite":
        connection.connection.driver_connection.execute("PRAGMA foreign_keys=OFF")  # type: ignore[union-attr]
        return
    trust = "SET session_replication_role = replica"
    connection.exec_driver_sql(
        trust if name == "postgresql" else "SET foreign_key_checks = 0, unique_checks = 0"
    )
    connection.commit()


def _learn(connection: Connection) -> None:
    if connection.dialect.name == "mysql":
        connection.exec_driver_sql(f"ANALYZE TABLE {', '.join(f'`{n}`' for n in Base.metadata.tables)}")
        return
    connection.execution_options(isolation_level="AUTOCOMMIT")
    connection.exec_driver_sql("VACUUM ANALYZE" if connection.dialect.name == "postgresql" else "ANALYZE")


def _later(connection: Connection, then: datetime, seconds: Any) -> Any:
    """A time so many seconds later, computed by the database."""
    at = literal(then, Base.metadata.tables["task"].c.status_date.type)
    match connection.dialect.name:
        case "sqlite":
            moved = func.strftime(
                "%Y-%m-%d %H:%M:%f", then.isoformat(" "), literal("+") + cast(seconds, String) + " seconds"
            )
            return moved + "000"
        case "postgresql":
            return at + seconds * text("interval '1 second'")
        case _:
            return func.timestampadd(text("SECOND"), seconds, at)


def _numbers(connection: Connection, size: int) -> Table:
    numbers = Table("some_numbers", MetaData(), Column("n", Integer, primary_key=True, autoincrement=False))
    numbers.create(connection)
    connection.execute(numbers.insert(), {"n": 0})
    made = 1
    while made < size:
        more = select(numbers.c.n + made).where(numbers.c.n < size - made)
        connection.execute(numbers.insert().from_select(["n"], more))
        made *= 2
    return numbers


def _fill(
    connection: Connection, model: Any, numbers: Table, values: Mapping[str, Any], where: Any = None
) -> None:
    columns = [value if hasattr(value, "label") else literal(value) for value in values.values()]
    rows = select(*columns).select_from(numbers).order_by(numbers.c.n)
    connection.execute(
        insert(model.__table__).from_select(list(values), rows if where is None else rows.where(where))
    )


def _insert(connection: Connection, model: Any, **values: Any) -> int:
    key = connection.execute(insert(model.__table__).values(**values)).inserted_primary_key
    assert key is not None
    return int(key[0])


def _text(number: Any) -> Any:
    return cast(number, String(20))


def _fill_all(connection: Connection, width: int, now: datetime) -> Large:
    began = now - timedelta(days=1)
    numbers = _numbers(connection, width)
    n = numbers.c.n
    tool = define.tool_get_or_create(connection, "million")
    version = define.tool_version_get_or_create(connection, tool.id, "version of the million")
    queue_id = define.cluster_read(connection, "multiprocess").queues[0].id
    item = TaskResourcesItem(
        queue_id, TaskResourcesType.VALIDATED, {"cores": 2, "memory": 4.0, "runtime": 900}
    )
    (resources_id,) = define.task_resources_get_or_create(connection, [item])
    dag_id = _insert(connection, Dag, hash="graph of a million", created_date=began)
    workflow_id = _insert(
        connection,
        Workflow,
        tool_version_id=version.id,
        dag_id=dag_id,
        workflow_args_hash="args",
        task_hash="tasks",
        name="a million tasks",
        workflow_args="a million tasks, 2026",
        max_concurrently_running=10_000,
        owner=USER,
        created_date=began,
        status=WorkflowStatus.RUNNING.value,
        status_date=began,
    )
    run_id = _insert(
        connection,
        WorkflowRun,
        workflow_id=workflow_id,
        user=USER,
        jobmon_version="4",
        jobmon_server_version="4",
        status=WorkflowRunStatus.RUNNING.value,
        created_date=began,
        status_date=began,
        heartbeat_date=now + timedelta(days=4000),
        run_key="the run",
        controller=msgspec.json.encode(NOWHERE).decode(),
        last_cursor=2,
        is_draining=False,
    )
    array_ids = []
    for layer in range(NUM_TEMPLATES):
        template = define.task_template_get_or_create(connection, version.id, f"step_{layer:02}")
        message = TaskTemplateVersionRequest(
            template.id, f"step {layer} {{location}}", "h", ["location"], [], []
        )
        made = define.task_template_version_get_or_create(connection, message)
        array_id = _insert(
            connection,
            Array,
            name=template.name,
            task_template_version_id=made.id,
            workflow_id=workflow_id,
            max_concurrently_running=10_000,
            created_date=began,
            retry_policy="{}",
        )
        array_ids.append(array_id)
        first = layer * width
        row_id = n + first + 1
        _fill(
            connection,
            Node,
            numbers,
            {"id": row_id, "task_template_version_id": made.id, "node_args_hash": literal("n") + _text(n)},
        )
        _fill(
            connection,
            NodeArg,
            numbers,
            {"node_id": row_id, "arg_id": made.node_args["location"], "val": _text(n)},
        )
        up = literal("[]") if layer == 0 else literal("[") + _text(row_id - width) + "]"
        down = literal("[]") if layer == NUM_TEMPLATES - 1 else literal("[") + _text(row_id + width) + "]"
        edge = {"dag_id": dag_id, "node_id": row_id, "upstream_node_ids": up, "downstream_node_ids": down}
        _fill(connection, Edge, numbers, edge)
        _tasks(connection, numbers, layer, width, (workflow_id, run_id, array_id, resources_id), began)
    total = width * NUM_TEMPLATES
    for table in ("node", "task", "task_instance"):
        connection.execute(insert(IdBlock).values(name=table, next_id=total + 1))
    numbers.drop(connection)
    return Large(workflow_id, array_ids, FAILS_EVERY, total)


def _tasks(
    connection: Connection,
    numbers: Table,
    layer: int,
    width: int,
    ids: tuple[int, int, int, int],
    began: datetime,
) -> None:
    workflow_id, run_id, array_id, resources_id = ids
    n, row_id = numbers.c.n, numbers.c.n + layer * width + 1
    half = NUM_TEMPLATES // 2
    failed = ((row_id % FAILS_EVERY) == 0) if layer < half else (n < 0)
    runs = (n < width // 5) if layer == half else (n < 0)
    tried = (n < width // 5) if layer == half else ((n >= 0) if layer < half else (n < 0))
    done = tried & ~runs & ~failed
    ended_at = _later(connection, began, layer * 8000 + n * 7000 // width + n % 60)
    task_status = case(
        (failed, TaskStatus.ERROR_FATAL.value),
        (done, TaskStatus.DONE.value),
        (runs, TaskStatus.RUNNING.value),
        else_=TaskStatus.REGISTERED.value,
    )
    instance_status = case(
        (failed, TaskInstanceStatus.ERROR.value),
        (done, TaskInstanceStatus.DONE.value),
        else_=TaskInstanceStatus.RUNNING.value,
    )
    task = {
        "id": row_id,
        "workflow_id": workflow_id,
        "node_id": row_id,
        "task_args_hash": "h",
        "array_id": array_id,
        "name": literal(f"step_{layer:02}_") + _text(n),
        "command": literal(f"step {layer} ") + _text(n),
        "task_resources_id": resources_id,
        "num_attempts": case((tried, 1), else_=0),
        "max_attempts": 3,
        "num_infrastructure_losses": 0,
        "resource_scales": "{}",
        "fallback_queues": "[]",
        "status": task_status,
        "status_date": case((tried, ended_at), else_=_later(connection, began, n * 0)),
    }
    _fill(connection, Task, numbers, task)
    if layer > half:
        return
    attempt = {
        "id": row_id,
        "workflow_run_id": run_id,
        "array_id": array_id,
        "task_id": row_id,
        "task_resources_id": resources_id,
        "array_batch_num": 1,
        "array_step_id": n,
        "nodename": literal("node") + _text(n % 100),
        "wallclock": case((runs, None), else_=30.0 + (n * 37) % 600),
        "maxrss": case((runs, None), else_=(1 << 28) + ((n * 7919) % 4000) * (1 << 20)),
        "cause": case((failed, Cause.CODE.value), else_=None),
        "status": instance_status,
        "submitted_date": _later(connection, began, layer * 8000 + n * 6000 // width),
        "status_date": ended_at,
        "stderr_log": case((failed, literal("ValueError: no rows for location ") + _text(n)), else_=None),
    }
    _fill(connection, TaskInstance, numbers, attempt, tried)
    line = {
        "workflow_run_id": run_id,
        "cursor": 1,
        "task_id": row_id,
        "task_instance_id": row_id,
        "event": TaskInstanceEvent.FINISH.value,
        "instance_to": instance_status,
        "task_to": task_status,
        "occurred_at": ended_at,
        "actor": "controller",
    }
    _fill(connection, TaskHistory, numbers, line, tried)
    words = literal("exit code 1: ValueError: no rows for location ") + _text(n)
    error = {"task_instance_id": row_id, "error_time": ended_at, "description": words}
    _fill(connection, TaskInstanceErrorLog, numbers, error, failed)
