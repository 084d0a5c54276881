"""Old workflows can be deleted, and pages of a large workflow are found at once.

Every reference to what is deleted with workflows has an index.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

from jobmon.server.web.models.base import BigId, Instant

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# MariaDB and MySQL keep indexes of their own for references; these take the place of them.
INDEXED_REFERENCES = (
    ("batch", "workflow_run_id"),
    ("edge", "node_id"),
    ("task", "array_id"),
    ("task", "node_id"),
    ("task", "task_resources_id"),
    ("task_instance", "task_resources_id"),
)


def upgrade() -> None:
    op.create_table(
        "prune_candidate",
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("row_id", BigId, autoincrement=False, nullable=False),
        sa.Column("noted_at", Instant, nullable=False),
        sa.PrimaryKeyConstraint("kind", "row_id", name=op.f("pk_prune_candidate")),
    )
    for table, column in INDEXED_REFERENCES:
        op.create_index(op.f(f"ix_{table}_{column}"), table, [column])
    op.create_index("ix_task_workflow_id_id", "task", ["workflow_id", "id"])
    op.create_index(
        "ix_task_instance_workflow_run_id_status_id", "task_instance", ["workflow_run_id", "status", "id"]
    )
    op.drop_index("ix_task_instance_workflow_run_id_status", "task_instance")


def downgrade() -> None:
    op.create_index("ix_task_instance_workflow_run_id_status", "task_instance", ["workflow_run_id", "status"])
    op.drop_index("ix_task_instance_workflow_run_id_status_id", "task_instance")
    op.drop_index("ix_task_workflow_id_id", "task")
    for table, column in INDEXED_REFERENCES:
        op.drop_index(op.f(f"ix_{table}_{column}"), table)
    op.drop_table("prune_candidate")
