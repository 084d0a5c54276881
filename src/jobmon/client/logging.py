"""Logging of the client; nothing is configured unless a script asks for it."""

from __future__ import annotations

import logging
import logging.config
from typing import Any

default_config: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"default": {"format": "%(asctime)s [%(name)s] %(levelname)s: %(message)s"}},
    "handlers": {
        "default": {"class": "logging.StreamHandler", "formatter": "default", "stream": "ext://sys.stderr"}
    },
    "loggers": {"jobmon": {"handlers": ["default"], "level": "INFO", "propagate": False}},
}
"""Logs of Jobmon from INFO upwards on stderr; logs of others are left alone."""


def configure_client_logging() -> None:
    """Show the logs of Jobmon, as ``logging.client_logconfig_file`` or the default says.

    Raises:
        ValueError: the file cannot be read.
    """
    from jobmon.client.yaml_file import read_yaml
    from jobmon.core.configuration import JobmonConfig

    config = JobmonConfig()
    path = str(config.get("logging", "client_logconfig_file"))
    settings: dict[str, Any] = dict(default_config)
    if path:
        settings = {"version": 1, "disable_existing_loggers": False, **read_yaml(path)}
    for section, values in dict(config.get("logging", "client")).items():
        settings[section] = {**settings.get(section, {}), **values}
    logging.config.dictConfig(settings)
