"""``jobmon-server db``: the database."""

from __future__ import annotations

import click


@click.group()
def db() -> None:
    """Create and upgrade the database."""


_URI = click.option(
    "--db-uri", default="", help="SQLAlchemy URI; by default db.sqlalchemy_database_uri of the configuration."
)


@db.command()
@_URI
def init(db_uri: str) -> None:
    """Create the tables and the rows that come with Jobmon; an older database is upgraded."""
    from jobmon.server.web.db_admin import init_db

    init_db(db_uri)
    click.echo("The database is ready.")


@db.command()
@_URI
def upgrade(db_uri: str) -> None:
    """Bring the tables to the schema of this version of Jobmon."""
    from jobmon.server.web.db_admin import init_db

    init_db(db_uri)
    click.echo("The database is up to date.")
