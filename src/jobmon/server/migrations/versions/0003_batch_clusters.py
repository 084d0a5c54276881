"""What is known of batch clusters: their batches, why attempts wait, nodes that failed, and policies of retries.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

from jobmon.server.web.models.base import BigId, Instant

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "batch",
        sa.Column("id", BigId, nullable=False),
        sa.Column("array_id", BigId, nullable=False),
        sa.Column("batch_num", sa.Integer(), nullable=False),
        sa.Column("workflow_run_id", BigId, nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("num_steps", sa.Integer(), nullable=False),
        sa.Column("created_date", Instant, nullable=False),
        sa.ForeignKeyConstraint(["array_id"], ["array.id"], name=op.f("fk_batch_array_id")),
        sa.ForeignKeyConstraint(
            ["workflow_run_id"], ["workflow_run.id"], name=op.f("fk_batch_workflow_run_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batch")),
        sa.UniqueConstraint("array_id", "batch_num", name=op.f("uq_batch_array_id_batch_num")),
        sa.UniqueConstraint("name", name=op.f("uq_batch_name")),
    )
    op.create_table(
        "bad_node",
        sa.Column("cluster_id", BigId, autoincrement=False, nullable=False),
        sa.Column("nodename", sa.String(length=150), nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=False),
        sa.Column("task_instance_id", BigId, nullable=True),
        sa.Column("seen_at", Instant, nullable=False),
        sa.Column("expires_at", Instant, nullable=False),
        sa.ForeignKeyConstraint(["cluster_id"], ["cluster.id"], name=op.f("fk_bad_node_cluster_id")),
        sa.PrimaryKeyConstraint("cluster_id", "nodename", name=op.f("pk_bad_node")),
    )
    op.add_column("task_instance", sa.Column("queue_reason", sa.String(length=500), nullable=True))
    op.add_column("task_instance", sa.Column("energy", BigId, nullable=True))
    op.add_column("task_history", sa.Column("note", sa.String(length=500), nullable=True))
    op.add_column(
        "array", sa.Column("retry_policy", sa.String(length=500), server_default="{}", nullable=False)
    )
    op.add_column("workflow_run", sa.Column("cluster_conditions", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("workflow_run", "cluster_conditions")
    op.drop_column("array", "retry_policy")
    op.drop_column("task_history", "note")
    op.drop_column("task_instance", "energy")
    op.drop_column("task_instance", "queue_reason")
    op.drop_table("bad_node")
    op.drop_table("batch")
