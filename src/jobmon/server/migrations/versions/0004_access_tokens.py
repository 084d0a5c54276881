"""Bearer tokens; whose workflows are.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

from jobmon.server.web.models.base import BigId, Instant

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "access_token",
        sa.Column("id", BigId, nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("user", sa.String(length=150), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("label", sa.String(length=255), nullable=False),
        sa.Column("workflow_run_id", BigId, nullable=True),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("expires_at", Instant, nullable=True),
        sa.Column("revoked_at", Instant, nullable=True),
        sa.ForeignKeyConstraint(
            ["workflow_run_id"], ["workflow_run.id"], name=op.f("fk_access_token_workflow_run_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_access_token")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_access_token_token_hash")),
    )
    op.create_index(op.f("ix_access_token_user"), "access_token", ["user"])
    op.create_index(op.f("ix_access_token_workflow_run_id"), "access_token", ["workflow_run_id"])
    op.add_column("workflow", sa.Column("owner", sa.String(length=150), nullable=True))
    workflow = sa.table("workflow", sa.column("id"), sa.column("owner"))
    run = sa.table("workflow_run", sa.column("id"), sa.column("workflow_id"), sa.column("user"))
    latest = sa.select(sa.func.max(run.c.id)).where(run.c.workflow_id == workflow.c.id).correlate(workflow)
    user = sa.select(run.c.user).where(run.c.id == latest.scalar_subquery()).correlate(workflow)
    op.execute(sa.update(workflow).values(owner=user.scalar_subquery()))


def downgrade() -> None:
    op.drop_column("workflow", "owner")
    op.drop_table("access_token")
