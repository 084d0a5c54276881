"""``jobmon-server start``: the web service, in the foreground."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from jobmon.core.configuration import JobmonConfig
from jobmon.core.configuration_keys import KEYS
from jobmon.core.exceptions import ConfigError

_KEYS = {key.name: key for key in KEYS if key.section == "server"}


@click.command()
@click.option("--role", type=click.Choice(["all", "state", "query"]), help="What to serve (server.role).")
@click.option("--workers", type=click.IntRange(1, 256), help="Processes to serve with (server.workers).")
@click.option("--host", help="Address to listen at (server.host).")
@click.option("--port", type=click.IntRange(0, 65535), help="Port; 0: a free one (server.port).")
@click.option("--reuse-port", is_flag=True, default=None, help="Share the port (server.reuse_port).")
@click.option("--root-path", help="Path below which a proxy shows the server (server.root_path).")
def start(**options: Any) -> None:
    """Serve, in the foreground, over the configured database.

    Where an option is left out, the configuration key in brackets applies. SIGHUP replaces the processes one after the
    other; SIGTERM ends them when they have answered what they have begun with.
    """
    _take(options)
    config = JobmonConfig()
    _require_usable(config)
    sys.exit(_serve(config))


def _take(options: dict[str, Any]) -> None:
    """Have the options go before all other configuration, in the serving processes as well."""
    for name, value in options.items():
        if value is not None:
            os.environ[_KEYS[name].env] = str(value)


def _require_usable(config: JobmonConfig) -> None:
    """Refuse to start with a configuration that promises what this version cannot do.

    Raises:
        ConfigError: it would listen beyond this machine and know nobody who asks, or cannot have them sign in.
    """
    from jobmon.server.services.notify.channels import NotifySettings
    from jobmon.server.web.auth.settings import require_usable

    require_usable(config, str(config.get("server", "host")))
    NotifySettings.from_config(config)
    idle = [f"{key.section}.{key.name}" for key in config.idle_settings()]
    if idle:
        click.echo(f"Set, but without effect in this version: {', '.join(idle)}.", err=True)


def _serve(config: JobmonConfig) -> int:
    """Serve until told to end; the exit status.

    Raises:
        ConfigError: the configuration is not what it should be, or the address cannot be listened at.
    """
    import logging.config

    from jobmon.server.supervisor import Supervisor, listen, server_logging, worker_command
    from jobmon.server.web.metrics_directory import shared_figures
    from jobmon.server.web.roles import Role

    role, num_workers = Role.from_config(config), config.get_int("server", "workers")
    if num_workers < 1:
        raise ConfigError(f"server.workers is {num_workers}; a server has one process at least.")
    logging.config.dictConfig(server_logging(config))
    host, port = str(config.get("server", "host")), config.get_int("server", "port")
    try:
        listener = listen(host, port, reuse_port=config.get_boolean("server", "reuse_port"))
    except OSError as error:
        raise ConfigError(
            f"Cannot listen at {host}:{port} ({error.strerror or error}). Is another server running there? A second "
            "one may share the port if both are started with --reuse-port."
        ) from error
    logging.getLogger("jobmon.server").info(
        "listening at http://%s:%d, role %s, processes: %d",
        f"[{host}]" if ":" in host else host,
        listener.getsockname()[1],
        role,
        num_workers,
    )
    with shared_figures():
        return Supervisor(
            worker_command(), listener, num_workers, config.get_float("server", "shutdown_seconds")
        ).run()
