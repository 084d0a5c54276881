"""A controller in a process of its own: ``python -m jobmon.swarm.host FD``, or ``--request FILE`` as a job of a cluster.

Rules
-----
1. The run exists before the process: who starts it creates the run, and the process takes it over.
2. What to do comes as JSON over stdin, secrets included; the command line holds the number of a file descriptor only.
3. The first word goes over that descriptor, whatever libraries print: an empty error means that the run goes on, else
   the error names the exception. Who hears no word knows that the process is gone.
4. The process is a daemon in a session of its own. Its output goes to ``controller.log`` beside the logs of the tasks.
   SIGTERM stops the run in good order, a second one at once.

A job of a batch cluster is handed the same request in a file, and answers in a file beside it
(:mod:`jobmon.swarm.job_host`).
"""

from __future__ import annotations

import logging
import logging.config
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import msgspec

from jobmon.core import exceptions
from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import (
    DistributorStartupTimeout,
    DistributorUnexpected,
    JobmonError,
    UsageError,
)
from jobmon.core.local_server import environment_of_daemons
from jobmon.core.logging import logging_settings
from jobmon.core.requester import Requester
from jobmon.swarm.controller import Controller, RunOptions, RunOutcome, log_directory

logger = logging.getLogger("jobmon.swarm.host")  # also as __main__

ALIVE, SHUTDOWN = "ALIVE", "SHUTDOWN"
LOG_NAME = "controller.log"
LOG_TAIL_BYTES = 2000
REQUEST_OPTION = "--request"

default_config = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"default": {"format": "%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"}},
    "handlers": {
        "default": {"class": "logging.StreamHandler", "formatter": "default", "stream": "ext://sys.stderr"}
    },
    "loggers": {"jobmon": {"handlers": ["default"], "level": "INFO", "propagate": False}},
}
"""Logging of a process that hosts a controller, where ``logging.distributor_logconfig_file`` says nothing else."""


class HostRequest(msgspec.Struct):
    """What a process is to host.

    Attributes:
        workflow_id, workflow_run_id: a run no controller works on yet.
        options: limits and intervals.
        url, token: the server; empty for the one the configuration names.
        log: where the output of a job goes.
        environment: variables that make up the configuration of who asks, for a job.
    """

    workflow_id: int
    workflow_run_id: int
    options: RunOptions
    url: str = ""
    token: str = ""
    log: str = ""
    environment: dict[str, str] = {}

    def __repr__(self) -> str:
        """Without the token, which must not reach a log."""
        return f"HostRequest(workflow_run_id={self.workflow_run_id})"


class HostAnswer(msgspec.Struct):
    """The first word of the process: the name of an exception and its message, both empty when all is well."""

    error: str = ""
    message: str = ""


# -- who starts it --------------------------------------------------------------------------------------
def requester_for(request: HostRequest, config: JobmonConfig) -> Requester:
    """The server a request names, or the one the configuration does."""
    if not request.url:
        return Requester.from_defaults(config)
    return Requester(
        request.url,
        config.get_float("http", "retries_timeout"),
        config.get_int("http", "retries_attempts"),
        config.get_float("http", "request_timeout"),
        token=request.token,
    )


def controller_log(config: JobmonConfig, workflow_id: int) -> Path:
    """Where a controller in a process of its own writes its log."""
    return log_directory(config, workflow_id) / LOG_NAME


def start_host(
    requester: Requester,
    workflow_id: int,
    workflow_run_id: int,
    options: RunOptions,
    config: JobmonConfig,
    timeout_seconds: float,
) -> Path:
    """Have a process of its own take over a run; returns when it works. The path of its log.

    Raises:
        DistributorStartupTimeout: it did not work within the time.
        DistributorUnexpected: it ended without a word.
        UsageError: its log cannot be written.
        JobmonError: it could not take the run; the error it met.
    """
    log = controller_log(config, workflow_id)
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError as error:
        raise UsageError(
            f"The log {log} of the controller cannot be written ({error.strerror}). Set task.log_directory "
            "(JOBMON__TASK__LOG_DIRECTORY) to a directory that can."
        ) from error
    address = requester.fixed_address
    request = HostRequest(workflow_id, workflow_run_id, options)
    if address is not None:
        request.url, request.token = address.url, address.token
    word = _start(request, output, config, timeout_seconds)
    if word is None:
        raise DistributorStartupTimeout(
            f"The controller of workflow run {workflow_run_id} did not work within {timeout_seconds:.0f} s; see {log}."
        )
    if not word:
        raise DistributorUnexpected(
            f"The controller of workflow run {workflow_run_id} ended right after its start; the end of {log}:\n"
            + tail_of(log)
        )
    answer = msgspec.json.decode(word, type=HostAnswer)
    if answer.error:
        raise error_of(answer)
    return log


def _start(request: HostRequest, output: int, config: JobmonConfig, timeout_seconds: float) -> bytes | None:
    """Start the process; its first word. One that says none in time is killed: ``None``."""
    receive, send = os.pipe()
    try:
        with subprocess.Popen(
            [sys.executable, "-P", "-m", "jobmon.swarm.host", str(send)],  # -P: no modules of where we are
            env=environment_of_daemons(config),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            pass_fds=(send,),
            start_new_session=True,
        ) as process:
            os.close(send)
            os.close(output)
            assert process.stdin is not None
            try:
                process.stdin.write(msgspec.json.encode(request))
                process.stdin.close()
            except BrokenPipeError:
                pass  # it is gone, and will be found so
            word = _read_word(receive, timeout_seconds)
            if word is None:
                os.killpg(process.pid, signal.SIGKILL)
            return word
    finally:
        os.close(receive)


def _read_word(descriptor: int, timeout_seconds: float) -> bytes | None:
    """All that comes until the other end is closed; ``None`` when that takes too long."""
    deadline = time.monotonic() + timeout_seconds
    word = b""
    while True:
        readable, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        if not readable:
            return None
        part = os.read(descriptor, 65536)
        if not part:
            return word
        word += part


def tail_of(log: Path) -> str:
    """The end of a log; empty when it cannot be read."""
    try:
        return log.read_bytes()[-LOG_TAIL_BYTES:].decode("utf-8", "replace")
    except OSError:
        return ""


def error_of(answer: HostAnswer) -> JobmonError:
    """The error a process told of."""
    kind = getattr(exceptions, answer.error, None)
    if not (isinstance(kind, type) and issubclass(kind, JobmonError)) or issubclass(
        kind, exceptions.InvalidStateTransition
    ):
        return DistributorUnexpected(f"{answer.error}: {answer.message}")
    error: JobmonError = kind(answer.message)
    return error


# -- the process ----------------------------------------------------------------------------------------
def main(arguments: Sequence[str] | None = None) -> int:
    """Read what to do and become a daemon, or host the run here as a job; an exit code."""
    descriptor, *more = arguments if arguments is not None else sys.argv[1:]
    if descriptor == REQUEST_OPTION:
        from jobmon.swarm.job_host import host_job

        return host_job(Path(more[0]))  # behind it: which step of which job this is
    content = sys.stdin.buffer.read()
    if os.fork() == 0:
        _daemon(int(descriptor), content)
    return 0


def _daemon(descriptor: int, content: bytes) -> None:
    """Host the controller, in the child; never returns."""
    code = 1
    try:
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.set_inheritable(descriptor, False)
        code = _host(descriptor, msgspec.json.decode(content, type=HostRequest))
    except Exception:
        logger.exception("the controller failed")
    finally:
        try:
            logging.shutdown()
            sys.stderr.flush()
        except OSError:
            pass  # no room for the log: what it says is lost, how the run ended is not
        finally:
            os._exit(code)


def _host(descriptor: int, request: HostRequest) -> int:
    config = JobmonConfig()
    logging.config.dictConfig(logging_settings(config, "distributor", default_config))
    requester = requester_for(request, config)
    controller = Controller(requester, request.workflow_id, request.options, config=config)
    obey_signals(controller, signal.SIGTERM)
    try:
        controller.start(request.workflow_run_id)
    except Exception as error:
        logger.error("workflow run %d cannot be taken", request.workflow_run_id, exc_info=True)
        _tell(descriptor, HostAnswer(type(error).__name__, str(error)))
        return 1
    _tell(descriptor, HostAnswer())
    outcome = attend(controller)
    return 0 if outcome is not None else 1


def _tell(descriptor: int, answer: HostAnswer) -> None:
    try:
        os.write(descriptor, msgspec.json.encode(answer))
    except OSError:
        pass  # nobody waits any more: the run goes on all the same
    os.close(descriptor)


def obey_signals(controller: Controller, *numbers: signal.Signals) -> None:
    """Have signals stop a controller: the first one in good order, the second one at once."""
    received: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if len(received) > 1:
            controller.abort()
        else:
            controller.request_stop()

    for number in numbers:
        signal.signal(number, stop)


def attend(controller: Controller) -> RunOutcome | None:
    """Wait for the end of a run; ``None`` when an error ended it."""
    logger.info("workflow run %d of workflow %d goes on", controller.workflow_run_id, controller.workflow_id)
    controller.join()
    if (error := controller.error) is not None:
        unexpected = None if isinstance(error, JobmonError) else error
        logger.error("workflow run %d ended: %s", controller.workflow_run_id, error, exc_info=unexpected)
        return None
    outcome = controller.outcome()
    logger.info(
        "workflow run %d ended %s: %d of %d tasks done, %d failed",
        controller.workflow_run_id,
        outcome.final_status,
        outcome.done_count,
        outcome.total_tasks,
        outcome.failed_count,
    )
    return outcome


def host_existing_run(cluster_name: str, workflow_run_id: int) -> int:
    """Host the controller of a run that was created, in this process; an exit code.

    Says ``ALIVE`` on stderr when it works and ``SHUTDOWN`` at its end. SIGTERM and SIGHUP stop it in good order, SIGINT
    is ignored: a Ctrl-C meant for the script that started it must not end it as well.

    Args:
        cluster_name: accepted for scripts; the tasks say which clusters they are for.
        workflow_run_id: the run.
    """
    from jobmon.swarm.gateway import run_workflow_id

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    config = JobmonConfig()
    logging.config.dictConfig(logging_settings(config, "distributor", default_config))
    requester = Requester.from_defaults(config)
    options = RunOptions(
        heartbeat_interval=config.get_float("heartbeat", "workflow_run_interval"),
        report_by_buffer=config.get_float("heartbeat", "report_by_buffer"),
    )
    try:
        controller = Controller(
            requester, run_workflow_id(requester, workflow_run_id), options, config=config
        )
        obey_signals(controller, signal.SIGTERM, signal.SIGHUP)
        controller.start(workflow_run_id)
        print(ALIVE, file=sys.stderr, flush=True)
        outcome = attend(controller)
    except JobmonError as error:
        print(f"Error: {error}", file=sys.stderr, flush=True)
        outcome = None
    print(SHUTDOWN, file=sys.stderr, flush=True)
    return 0 if outcome is not None else 1


if __name__ == "__main__":
    sys.exit(main())
