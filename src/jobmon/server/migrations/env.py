"""Alembic's entry point: runs the revisions on the connection it is handed.

The configuration's attributes: ``connection``; ``tell``, told of every revision; ``done_before``, a list that gets what the
revisions were to do and found done. With ``output_buffer`` instead of a connection, statements are written there, not run.
"""

from __future__ import annotations

from typing import Any

from alembic import context
from alembic.runtime.migration import MigrationInfo

from jobmon.server.migrations.on_mysql import ImplOfMariaDB, ImplOfMySQL
from jobmon.server.web.models import Base


def run() -> None:
    """Run the revisions; batch mode because SQLite cannot alter tables in place."""
    attributes = context.config.attributes
    if context.is_offline_mode():
        context.configure(dialect_name="postgresql", output_buffer=attributes["output_buffer"])
        context.run_migrations()
        return
    connection = attributes["connection"]
    tell = attributes.get("tell", lambda _sentence: None)

    def on_version_apply(ctx: Any, step: MigrationInfo, heads: Any, run_args: Any) -> None:
        verb = "Applied" if step.is_upgrade else "Undid"
        title = getattr(step.up_revision, "doc", "")
        tell(f"{verb} {step.up_revision_id}: {title}")

    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=True,
        compare_type=True,
        on_version_apply=on_version_apply,
    )
    impl = context.get_context().impl
    if isinstance(impl, ImplOfMySQL | ImplOfMariaDB):
        impl.done_before = attributes.get("done_before")
    with context.begin_transaction():
        context.run_migrations()


run()
