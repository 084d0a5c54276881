"""The command ``jobmon-server``: the database and the web service, for operators."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from jobmon.core import __version__
from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import ConfigError, JobmonError

if TYPE_CHECKING:
    from jobmon.server.services.usage_integrator import UsageResult


@click.group()
@click.version_option(__version__, prog_name="jobmon-server")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def cli(context: click.Context, debug: bool) -> None:
    """Operate a Jobmon server."""
    context.obj = debug


@cli.group()
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


@cli.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", default=3000, show_default=True, help="Port to listen at.")
def start(host: str, port: int) -> None:
    """Serve, in the foreground, over the configured database."""
    import uvicorn
    from uvicorn.config import LOGGING_CONFIG

    from jobmon.core.logging import logging_settings
    from jobmon.server.web.api import get_app

    config = JobmonConfig()
    if config.get_boolean("auth", "enabled"):
        raise ConfigError(
            "auth.enabled is true, but this version has no sign-in: who reaches the server may see and change "
            "everything. Put it behind a proxy that lets in the right people, and set auth.enabled to false "
            "(JOBMON__AUTH__ENABLED=false)."
        )
    idle = [f"{key.section}.{key.name}" for key in config.idle_settings()]
    if idle:
        click.echo(f"Set, but without effect in this version: {', '.join(idle)}.", err=True)
    log_config = logging_settings(config, "server", LOGGING_CONFIG)
    uvicorn.run(get_app(config), host=host, port=port, access_log=False, log_config=log_config)


@cli.group("usage-integrator")
def usage_integrator() -> None:
    """Ask batch clusters what attempts used that could not tell it themselves."""


@usage_integrator.command("start")
@click.option("--once", is_flag=True, help="Look once, say what was found, and end.")
def usage_integrator_start(once: bool) -> None:
    """Fill in memory, run time, CPU time and energy of attempts that were killed, in the foreground.

    The accounting of their cluster is asked, from this machine: its commands or its REST API must work here. How often, and
    for how long, is set by usage_integrator.poll_interval_seconds and usage_integrator.retire_age_hours.
    """
    import logging.config
    import signal
    import threading

    from jobmon.core.logging import logging_settings
    from jobmon.server.services.usage_integrator import UsageIntegrator
    from jobmon.server.web.database import Database
    from jobmon.server.web.db_admin import require_schema

    config = JobmonConfig()
    database = Database.from_config(config)
    require_schema(database.engine)
    integrator = UsageIntegrator.from_config(config, database)
    try:
        if once:
            _tell_usage(integrator.run_once())
            return
        logging.config.dictConfig(logging_settings(config, "server", _LOG_TO_STDERR))
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        integrator.run_forever(stop)
    finally:
        integrator.close()
        database.dispose()


_LOG_TO_STDERR = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"default": {"format": "%(asctime)s %(levelname)s %(message)s"}},
    "handlers": {"default": {"class": "logging.StreamHandler", "formatter": "default"}},
    "loggers": {"jobmon": {"handlers": ["default"], "level": "INFO", "propagate": False}},
}


def _tell_usage(result: UsageResult) -> None:
    click.echo(
        f"Filled in: {len(result.filled)} attempts. Not known yet: {result.lacking}. Given up: {result.retired}."
    )
    for name, reason in result.unreachable.items():
        click.echo(f"Cluster {name} could not be asked: {reason}", err=True)
    if result.unreachable:
        sys.exit(1)


def main() -> None:
    """Run the command; errors are one line, unless ``--debug`` asks for more."""
    try:
        cli(standalone_mode=True)
    except JobmonError as error:
        if "--debug" in sys.argv:
            raise
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
