"""Versions of Jobmon, of the server it talks to, and of what it is built on."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from jobmon.core import __version__
from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import JobmonError
from jobmon.core.local_server import LocalServerFiles, running_server
from jobmon.core.requester import Requester
from jobmon.serializers.monitor import HealthResponse

LIBRARIES = ("msgspec", "httpx", "click", "fastapi", "SQLAlchemy")


def component_versions() -> dict[str, str]:
    """Versions by name; a local server that does not run is not started for this."""
    versions = {"jobmon": __version__, "server": _server_version(), "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def _server_version() -> str:
    config = JobmonConfig()
    try:
        if not str(config.get("http", "service_url")):
            record = running_server(LocalServerFiles.from_config(config))
            return "not running" if record is None else record.version
        requester = Requester.from_defaults(config)
        return requester.send("GET", "/health", None, HealthResponse, tenacious=False).version
    except JobmonError as error:
        return f"cannot be reached ({error})"
