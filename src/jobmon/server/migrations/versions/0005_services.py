"""What the services beside the web service keep: leases, alarms and subscriptions.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

from jobmon.server.web.models.base import BigId, Instant

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "lease",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("holder", sa.String(length=255), nullable=False),
        sa.Column("term", BigId, nullable=False),
        sa.Column("acquired_at", Instant, nullable=False),
        sa.Column("expires_at", Instant, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_lease")),
    )
    op.create_table(
        "alarm",
        sa.Column("id", BigId, nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("num_seen", sa.Integer(), nullable=False),
        sa.Column("num_told", sa.Integer(), nullable=False),
        sa.Column("first_seen_at", Instant, nullable=False),
        sa.Column("last_seen_at", Instant, nullable=False),
        sa.Column("told_at", Instant, nullable=True),
        sa.Column("settled_at", Instant, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alarm")),
        sa.UniqueConstraint("kind", "subject", name=op.f("uq_alarm_kind_subject")),
    )
    op.create_index(op.f("ix_alarm_last_seen_at"), "alarm", ["last_seen_at"])
    op.create_index(op.f("ix_alarm_settled_at"), "alarm", ["settled_at"])
    op.create_table(
        "subscription",
        sa.Column("id", BigId, nullable=False),
        sa.Column("workflow_run_id", BigId, nullable=False),
        sa.Column("channel", sa.String(length=20), nullable=False),
        sa.Column("target", sa.String(length=500), nullable=False),
        sa.Column("num_tries", sa.Integer(), nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("next_try_at", Instant, nullable=False),
        sa.Column("told_at", Instant, nullable=True),
        sa.Column("settled_at", Instant, nullable=True),
        sa.Column("error", sa.String(length=500), nullable=True),
        sa.ForeignKeyConstraint(
            ["workflow_run_id"], ["workflow_run.id"], name=op.f("fk_subscription_workflow_run_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscription")),
        sa.UniqueConstraint(
            "workflow_run_id",
            "channel",
            "target",
            name=op.f("uq_subscription_workflow_run_id_channel_target"),
        ),
    )
    op.create_index(op.f("ix_subscription_settled_at"), "subscription", ["settled_at"])


def downgrade() -> None:
    op.drop_table("subscription")
    op.drop_table("alarm")
    op.drop_table("lease")
