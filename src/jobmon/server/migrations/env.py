"""Alembic's entry point: runs the revisions on the connection it is handed."""

from __future__ import annotations

from alembic import context

from jobmon.server.web.models import Base


def run() -> None:
    """Run the revisions; batch mode because SQLite cannot alter tables in place."""
    connection = context.config.attributes["connection"]
    context.configure(
        connection=connection, target_metadata=Base.metadata, render_as_batch=True, compare_type=True
    )
    with context.begin_transaction():
        context.run_migrations()


run()
