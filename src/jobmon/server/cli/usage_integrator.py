"""``jobmon-server usage-integrator``: what killed attempts used."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from jobmon.core.configuration import JobmonConfig

if TYPE_CHECKING:
    from jobmon.server.services.usage_integrator import UsageResult


@click.group("usage-integrator")
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

    from jobmon.core.log_format import settings_to_stderr
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
        logging.config.dictConfig(
            logging_settings(config, "server", settings_to_stderr(str(config.get("logging", "format"))))
        )
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        integrator.run_forever(stop)
    finally:
        integrator.close()
        database.dispose()


def _tell_usage(result: UsageResult) -> None:
    click.echo(
        f"Filled in: {len(result.filled)} attempts. Not known yet: {result.lacking}. Given up: {result.retired}."
    )
    for name, reason in result.unreachable.items():
        click.echo(f"Cluster {name} could not be asked: {reason}", err=True)
    if result.unreachable:
        sys.exit(1)
