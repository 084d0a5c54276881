"""Resuming from a browser: the local server starts, as its owner, what they would type, and hears whether it works.

A server for many cannot: it is another user, on another machine. There the page says what to type.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import UsageError
from jobmon.core.local_server import LocalServerFiles, environment_of_daemons

START_SECONDS = 20.0
"""How long a browser waits for the run to begin; it begins all the same later."""
LOG_NAME = "resume.log"
TAIL_BYTES = 4000

_under_way: set[int] = set()
_lock = threading.Lock()


@dataclass(frozen=True)
class Resumed:
    """What became of a start.

    Attributes:
        words: what the command said; empty: it has said nothing yet.
        pid: its process, while it goes on.
        log: where it writes.
    """

    words: str
    pid: int | None
    log: Path


def resume_command(workflow_id: int, *, reset_running: bool, keep_resources: bool) -> list[str]:
    """The words after ``jobmon``."""
    words = ["workflow", "resume", str(workflow_id), "--detach"]
    return words + ["--reset-running"] * reset_running + ["--keep-resources"] * keep_resources


def resume_detached(
    config: JobmonConfig, workflow_id: int, words: list[str], working_dir: str, seconds: float = START_SECONDS
) -> Resumed:
    """Resume a workflow in a process of its own, which needs nobody once it has begun.

    Args:
        config: of this local server.
        workflow_id: the workflow.
        words: after ``jobmon``.
        working_dir: where the process works, if there is such a directory.
        seconds: to wait for its first word.

    Raises:
        UsageError: it could not begin; the message says why. Or somebody resumes it already.
    """
    with _lock:
        if workflow_id in _under_way:
            raise UsageError(f"Workflow {workflow_id} is being resumed already; look again in a moment.")
        _under_way.add(workflow_id)
    try:
        log = _log(config, workflow_id)
        process = _start(config, words, working_dir, log)
    except BaseException:
        _under_way.discard(workflow_id)
        raise
    try:
        code = process.wait(seconds)
    except subprocess.TimeoutExpired:
        threading.Thread(target=_await, args=(process, workflow_id), daemon=True).start()
        return Resumed("", process.pid, log)
    _under_way.discard(workflow_id)
    said = _tail(log)
    if code != 0:
        raise UsageError(f"Workflow {workflow_id} could not be resumed. {_last_words(said)} (log: {log})")
    return Resumed(_first_line(said), None, log)


def _await(process: subprocess.Popen[bytes], workflow_id: int) -> None:
    process.wait()
    _under_way.discard(workflow_id)


def _log(config: JobmonConfig, workflow_id: int) -> Path:
    """Beside the log of the controller, which is where the logs of the workflow's tasks are."""
    configured = str(config.get("task", "log_directory"))
    base = Path(configured).expanduser() if configured else LocalServerFiles.from_config(config).task_logs
    return base / f"workflow_{workflow_id}" / LOG_NAME


def _start(config: JobmonConfig, words: list[str], working_dir: str, log: Path) -> subprocess.Popen[bytes]:
    files = LocalServerFiles.from_config(config)
    environment = environment_of_daemons(config)
    environment["JOBMON__EMBEDDED__DIRECTORY"] = str(files.directory)
    environment["JOBMON__HTTP__SERVICE_URL"] = (
        ""  # the workflow is on this server, whatever others are configured
    )
    directory = working_dir if working_dir and os.path.isdir(working_dir) else str(Path.home())
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise UsageError(f"The log {log} cannot be written ({error.strerror}).") from error
    try:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "jobmon.client.cli", *words],
            env=environment,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    except OSError as error:
        raise UsageError(f"The process could not be started in {directory} ({error.strerror}).") from error
    finally:
        os.close(output)


def _tail(log: Path) -> str:
    try:
        return log.read_bytes()[-TAIL_BYTES:].decode("utf-8", "replace")
    except OSError:
        return ""


def _first_line(said: str) -> str:
    return next((line.strip() for line in said.splitlines() if line.strip()), "")


def _last_words(said: str) -> str:
    """The error a command ended with: from the line that begins with ``Error:`` to the end."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    begins = [at for at, line in enumerate(lines) if line.startswith("Error:")]
    found = lines[begins[-1] :] if begins else lines[-3:]
    return " ".join(found).removeprefix("Error:").strip() or "It said nothing."
