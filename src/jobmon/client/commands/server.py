"""The local server of this user: start it, end it, see whether it runs."""

from __future__ import annotations

from typing import Any

from jobmon.core import local_server
from jobmon.core.configuration import JobmonConfig
from jobmon.core.local_server import LocalServerFiles


def start_server() -> str:
    """Start the local server, unless it runs; a message that says where it listens.

    Raises:
        LocalServerError: it cannot be started.
    """
    config = JobmonConfig()
    files = LocalServerFiles.from_config(config)
    before = local_server.running_server(files)
    record = local_server.find_or_start(config)
    how = "runs already" if before is not None and before.pid == record.pid else "was started"
    return f"The local server {how} at {record.url} (process {record.pid}).{_unused(config)}"


def stop_server() -> str:
    """End the local server; a message that says whether it ran.

    Raises:
        LocalServerError: it does not end, or runs on another host.
    """
    files = LocalServerFiles.from_config(JobmonConfig())
    record = local_server.stop(files)
    if record is None:
        return f"No local server runs in {files.directory}."
    return f"The local server (process {record.pid}) was stopped."


def server_status() -> dict[str, Any]:
    """Whether the local server runs, where it listens and where its files are."""
    config = JobmonConfig()
    files = LocalServerFiles.from_config(config)
    record = local_server.running_server(files)
    return {
        "status": "stopped" if record is None else "running",
        "url": None if record is None else record.url,
        "process": None if record is None else record.pid,
        "version": None if record is None else record.version,
        "database": str(files.database),
        "logs": str(files.task_logs),
        "server log": str(files.log),
        "in use": str(config.get("http", "service_url")) or "this local server",
    }


def _unused(config: JobmonConfig) -> str:
    url = str(config.get("http", "service_url"))
    return f" It is not used: http.service_url is {url}." if url else ""
