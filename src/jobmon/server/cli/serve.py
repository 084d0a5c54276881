"""``jobmon-server start``: the web service, in the foreground."""

from __future__ import annotations

import click

from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import ConfigError


@click.command()
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
