"""Logging of the client; nothing is configured unless a script asks for it."""

from __future__ import annotations

import logging
import logging.config
from typing import Any

from jobmon.core.logging import logging_settings

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

    ``logging.client`` of the configuration changes formatters, handlers and loggers one by one.

    Raises:
        ConfigError: the file cannot be read.
    """
    from jobmon.core.configuration import JobmonConfig

    logging.config.dictConfig(logging_settings(JobmonConfig(), "client", default_config))


def ensure_structlog_configured() -> None:
    """Nothing: Jobmon logs with the standard library. Accepted for scripts."""


class JobmonLoggerConfig:
    """Logging as scripts of older generations switched it on."""

    @classmethod
    def set_default_config(cls) -> None:
        """The same as :func:`configure_client_logging`."""
        configure_client_logging()

    @classmethod
    def attach_default_handler(cls, logger_name: str, log_level: int = logging.INFO) -> None:
        """Have a logger write to stderr the way Jobmon does; done twice it is done once.

        Args:
            logger_name: the logger.
            log_level: what it writes from.
        """
        target = logging.getLogger(logger_name)
        target.setLevel(log_level)
        if not any(handler.get_name() == cls._HANDLER for handler in target.handlers):
            handler = logging.StreamHandler()
            handler.set_name(cls._HANDLER)
            handler.setFormatter(logging.Formatter(default_config["formatters"]["default"]["format"]))
            target.addHandler(handler)

    _HANDLER = "jobmon_default"
