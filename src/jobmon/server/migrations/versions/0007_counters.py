"""Counters of tasks by status for each array, and pages of its tasks; PostgreSQL checks fewer references.

PostgreSQL looks each reference up by a statement of its own, several for each row: that was a third of the time of a bind, and
of events. In the tables that are written most it no longer does; their rows refer to what the server has found or made in the
same transaction. Other databases check within the insert, and go on.

Servers of the version before do not keep them; of what they change beside newer ones the next resume counts again.

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op

from jobmon.server.web.models.base import BigId

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

# As the states were when this was written: a migration does not follow later ones.
STATUSES = {
    "registered": "G",
    "queued": "Q",
    "instantiating": "I",
    "launched": "O",
    "running": "R",
    "done": "D",
    "error_recoverable": "E",
    "adjusting_resources": "A",
    "error_fatal": "F",
}

UNCHECKED_ON_POSTGRESQL = (
    ("edge", "dag_id", "dag"),
    ("edge", "node_id", "node"),
    ("node_arg", "arg_id", "arg"),
    ("node_arg", "node_id", "node"),
    ("task", "status", "task_status"),
    ("task_arg", "arg_id", "arg"),
    ("task_arg", "task_id", "task"),
    ("task_history", "task_id", "task"),
    ("task_history", "workflow_run_id", "workflow_run"),
    ("task_instance", "status", "task_instance_status"),
)


def upgrade() -> None:
    op.create_table(
        "array_progress",
        sa.Column("array_id", BigId, autoincrement=False, nullable=False),
        sa.Column("workflow_id", BigId, nullable=False),
        *(sa.Column(name, BigId, nullable=False) for name in STATUSES),
        sa.Column("num_retries", BigId, nullable=False),
        sa.ForeignKeyConstraint(["array_id"], ["array.id"], name=op.f("fk_array_progress_array_id")),
        sa.ForeignKeyConstraint(["workflow_id"], ["workflow.id"], name=op.f("fk_array_progress_workflow_id")),
        sa.PrimaryKeyConstraint("array_id", name=op.f("pk_array_progress")),
    )
    op.create_index(op.f("ix_array_progress_workflow_id"), "array_progress", ["workflow_id"])
    op.execute(sa.delete(sa.table("array_progress")))  # where an upgrade was cut off here
    op.execute(_count_what_is_there())
    op.create_index("ix_task_array_id_id", "task", ["array_id", "id"])
    _drop_index_that_is_replaced()
    if op.get_context().dialect.name == "postgresql":
        for table, column, _ in UNCHECKED_ON_POSTGRESQL:
            op.drop_constraint(op.f(f"fk_{table}_{column}"), table, type_="foreignkey")


def downgrade() -> None:
    if op.get_context().dialect.name == "postgresql":
        for table, column, to in UNCHECKED_ON_POSTGRESQL:
            op.create_foreign_key(op.f(f"fk_{table}_{column}"), table, to, [column], ["id"])
    op.create_index("ix_task_array_id", "task", ["array_id"])
    op.drop_index("ix_task_array_id_id", "task")
    op.drop_table("array_progress")


def _drop_index_that_is_replaced() -> None:
    if op.get_context().dialect.name not in ("mysql", "mariadb"):
        op.drop_index("ix_task_array_id", "task")
    elif "ix_task_array_id" in {index["name"] for index in sa.inspect(op.get_bind()).get_indexes("task")}:
        # Dropped by its own words: otherwise it would only be named after its reference, which the new one serves.
        op.execute("DROP INDEX ix_task_array_id ON task")


def _count_what_is_there() -> sa.Insert:
    array = sa.table("array", sa.column("id"), sa.column("workflow_id"))
    task = sa.table("task", sa.column("array_id"), sa.column("status"), sa.column("num_attempts"))
    progress = sa.table(
        "array_progress",
        *(sa.column(name) for name in ("array_id", "workflow_id", *STATUSES, "num_retries")),
    )

    def number(condition: sa.ColumnElement[bool], value: sa.ColumnElement[int] | int = 1) -> sa.Cast[int]:
        return sa.cast(sa.func.coalesce(sa.func.sum(sa.case((condition, value), else_=0)), 0), sa.BigInteger)

    counted = (
        sa.select(
            array.c.id,
            array.c.workflow_id,
            *(number(task.c.status == letter) for letter in STATUSES.values()),
            number(task.c.num_attempts > 1, task.c.num_attempts - 1),
        )
        .select_from(array.outerjoin(task, task.c.array_id == array.c.id))
        .group_by(array.c.id, array.c.workflow_id)
    )
    return progress.insert().from_select(list(progress.c), counted)
