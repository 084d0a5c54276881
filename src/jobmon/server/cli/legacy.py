"""The command ``jobmon_server`` of earlier versions: the same work under its old names."""

from __future__ import annotations

import sys

import click

from jobmon.core.exceptions import JobmonError


@click.group()
def cli() -> None:
    """Operate a Jobmon server, by the names of earlier versions; new scripts call jobmon-server."""


_URI = click.option(
    "--sqlalchemy_database_uri",
    "db_uri",
    default="",
    help="SQLAlchemy URI; by default db.sqlalchemy_database_uri of the configuration.",
)


def _run(*arguments: str) -> None:
    """Run a command of jobmon-server, as if it had been typed."""
    from jobmon.server.cli import cli as newer

    click.echo(f"jobmon_server is now jobmon-server {' '.join(arguments[:2])}.", err=True)
    newer.main([each for each in arguments if each], prog_name="jobmon-server", standalone_mode=False)


def _uri(db_uri: str) -> str:
    return f"--db-uri={db_uri}" if db_uri else ""


@cli.command("init_db")
@_URI
def init_db(db_uri: str) -> None:
    """Create the database and its tables."""
    _run("db", "init", _uri(db_uri))


@cli.command("upgrade_db")
@_URI
@click.option("--revision", default="head", show_default=True, help="Stop at this revision of the schema.")
def upgrade_db(db_uri: str, revision: str) -> None:
    """Bring the tables to the schema of this version of Jobmon."""
    _run("db", "upgrade", _uri(db_uri), f"--revision={revision}")


@cli.command("terminate_db")
@_URI
def terminate_db(db_uri: str) -> None:
    """Remove Jobmon's tables with everything in them; asks before."""
    _run("db", "terminate", _uri(db_uri))


@cli.group("workflow_reaper")
def workflow_reaper() -> None:
    """The service that ends what was lost."""


@workflow_reaper.command("start", context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@click.pass_context
def workflow_reaper_start(context: click.Context) -> None:
    """Start the reaper, in the foreground; it takes the options it always took, but for a token."""
    _run("reaper", "start", *context.args)


def main() -> None:
    """Run the command; errors are one line."""
    try:
        cli(standalone_mode=True)
    except JobmonError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
