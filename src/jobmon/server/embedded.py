"""The local server as a daemon: ``python -m jobmon.server.embedded``.

The command returns when the server answers (exit 0) or cannot start (exit 1, the reason on stderr). The server takes
the lock of its directory, brings the database up to date, listens on a free loopback port, and only then writes
the record by which it is found. It ends itself after idling. See :mod:`jobmon.core.local_server` for the rules, and
:mod:`jobmon.server.node_listeners` for how compute nodes reach it.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from jobmon.core import __version__
from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import JobmonError, LocalServerError
from jobmon.core.local_server import LocalServerFiles, ServerRecord, read_record
from jobmon.core.log_format import log_to_stderr

if TYPE_CHECKING:
    from jobmon.server.node_listeners import NodeListeners
    from jobmon.server.web.state import ServerState

logger = logging.getLogger("jobmon.server")

LOCK_SECONDS = 10.0
LOG_BYTES = 10_000_000
RECORD_LOOK_SECONDS = 1.0
LISTENERS_LOOK_SECONDS = 60.0
"""Between two looks whether the addresses for compute nodes are still needed; they are closed after two that say no."""


def main() -> int:
    """Start the daemon; exit code of the starting command."""
    receive, send = os.pipe()
    if os.fork() == 0:
        os.close(receive)
        _daemon(send)
    os.close(send)
    with os.fdopen(receive, "rb") as pipe:
        answer = pipe.read().decode("utf-8", "replace").strip()
    if answer == "ok":
        return 0
    print(answer or "the server process ended without a word", file=sys.stderr)
    return 1


def _daemon(send: int) -> None:
    """Serve, in the child; never returns."""
    code = 1
    ready = os.fdopen(send, "wb")
    try:
        config = JobmonConfig()
        files = LocalServerFiles.from_config(config)
        _redirect_output(files)
        told = config.origin("logging", "access") != "default"
        log_to_stderr(str(config.get("logging", "format")), tells_requests=told)
        with _hold(files):
            serve(config, files, ready)
        code = 0
    except (JobmonError, OSError, ImportError) as error:
        logger.error("the local server cannot go on: %s", error, exc_info=True)
        _tell(ready, str(error))
    except Exception as error:
        logger.exception("the local server failed")
        _tell(ready, f"{type(error).__name__}: {error}")
    finally:
        logging.shutdown()
        os._exit(code)


def _tell(ready: BinaryIO, word: str) -> None:
    """Answer the starting command, once."""
    if not ready.closed:
        try:
            ready.write(word.replace("\n", " ").encode())
            ready.close()
        except OSError:
            pass  # nobody waits any more


def _redirect_output(files: LocalServerFiles) -> None:
    if files.log.exists() and files.log.stat().st_size > LOG_BYTES:
        files.log.replace(files.log.with_suffix(".log.1"))
    log = os.open(files.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    os.close(null)


class _hold:  # noqa: N801 - reads as a verb: with _hold(files)
    """Hold the lock of the directory for the life of the server."""

    def __init__(self, files: LocalServerFiles) -> None:
        self.files = files

    def __enter__(self) -> None:
        self.file = open(self.files.serve_lock, "ab")
        os.chmod(self.files.serve_lock, 0o600)
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise LocalServerError(
                        f"Another server holds {self.files.serve_lock}; stop it with 'jobmon server stop'."
                    ) from None
                time.sleep(0.02)

    def __exit__(self, *_: object) -> None:
        self.file.close()


def serve(config: JobmonConfig, files: LocalServerFiles, ready: BinaryIO) -> None:
    """Serve until told to end or idle for too long."""
    import uvicorn

    from jobmon.server.garbage_collection import collect_rarely
    from jobmon.server.node_listeners import NodeListeners, listen, node_access_router, uvicorn_config
    from jobmon.server.web.api import get_app
    from jobmon.server.web.db_admin import init_db
    from jobmon.server.web.roles import Role

    os.umask(0o077)
    files.record.unlink(missing_ok=True)  # of a server that died
    config.set("db", "sqlalchemy_database_uri", f"sqlite:///{files.database}")
    init_db(config=config)
    token, worker_token = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    app = get_app(config, token=token, worker_token=worker_token, role=Role.ALL)
    state: ServerState = app.state.jobmon
    listener = listen(socket.AF_INET, ("127.0.0.1", 0))
    prefix = str(config.get("http", "route_prefix"))
    listeners = NodeListeners(app, listener.getsockname(), prefix, worker_token)
    app.include_router(node_access_router(listeners).build(state), prefix=prefix)

    class Server(uvicorn.Server):
        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            state.close()
            super().handle_exit(sig, frame)

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            await listeners.close()
            await super().shutdown(sockets)

    server = Server(uvicorn_config(app))
    collect_rarely()
    record = ServerRecord(
        f"http://127.0.0.1:{listener.getsockname()[1]}",
        token,
        os.getpid(),
        socket.gethostname(),
        __version__,
        time.time(),
    )
    for number in (
        signal.SIGTERM,
        signal.SIGINT,
    ):  # uvicorn raises them again at its end; ours comes after that
        signal.signal(number, lambda *_: None)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_serve(server, listener, listeners, state, files, record, ready))
    finally:
        files.record.unlink(missing_ok=True)
        logger.info("the local server ends")


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes the event loop: uvloop, which needs half the time for a request, where there is one."""
    try:
        import uvloop
    except ImportError:
        return None  # the standard one
    return uvloop.new_event_loop


async def _serve(
    server: object,
    listener: socket.socket,
    listeners: NodeListeners,
    state: ServerState,
    files: LocalServerFiles,
    record: ServerRecord,
    ready: BinaryIO,
) -> None:
    import uvicorn

    assert isinstance(server, uvicorn.Server)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.005)
    if server.started:
        write_record(files, record)
        logger.info("the local server (%s) listens at %s", record.version, record.url)
        _tell(ready, "ok")
        beside = [
            asyncio.create_task(_end_when_idle(server, state)),
            asyncio.create_task(_keep_record(files, record)),
            asyncio.create_task(_close_unneeded(listeners, state)),
        ]
        await serving
        for task in beside:
            task.cancel()
    else:
        await serving


def write_record(files: LocalServerFiles, record: ServerRecord) -> None:
    """Replace the record as a whole; readable by its owner only."""
    temporary = Path(f"{files.record}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(record))
    os.replace(temporary, files.record)


async def _keep_record(files: LocalServerFiles, record: ServerRecord) -> None:
    """Write the record again when somebody damaged or removed it: without it the server cannot be found."""
    while True:
        await asyncio.sleep(RECORD_LOOK_SECONDS)
        if read_record(files) != record:
            try:
                write_record(files, record)
                logger.warning("the record %s was damaged or missing and was written again", files.record)
            except OSError as error:
                logger.error("the record %s cannot be written: %s", files.record, error)


async def _end_when_idle(server: object, state: ServerState) -> None:
    """End the server when nobody has used it for a while and it is not needed."""
    import uvicorn
    from anyio import to_thread

    assert isinstance(server, uvicorn.Server)
    limit = state.config.get_float("embedded", "idle_shutdown_seconds")
    if limit <= 0:
        return
    while True:
        await asyncio.sleep(min(5.0, limit / 4))
        if time.monotonic() - state.last_used < limit:
            continue
        if await to_thread.run_sync(is_needed, state):
            continue
        logger.info("unused for %.0f s", limit)
        state.close()
        server.should_exit = True
        return


async def _close_unneeded(listeners: NodeListeners, state: ServerState) -> None:
    """Close the addresses for compute nodes when nothing is run any more."""
    from anyio import to_thread

    num_unneeded = 0
    while True:
        await asyncio.sleep(LISTENERS_LOOK_SECONDS)
        if not listeners.addresses or await to_thread.run_sync(is_needed, state):
            num_unneeded = 0
            continue
        num_unneeded += 1
        if num_unneeded > 1:
            await listeners.close()


def is_needed(state: ServerState) -> bool:
    """Whether a run is alive, or an attempt on a batch cluster, which reports also when no controller lives."""
    from sqlalchemy import exists, select

    from jobmon.core.states import TASK_INSTANCE_LIVE, WORKFLOW_RUN_ALIVE
    from jobmon.server.web import dialect
    from jobmon.server.web.models import Batch, TaskInstance, WorkflowRun

    with state.database.read() as connection:
        now = dialect.utcnow(connection)
        a_run = exists().where(WorkflowRun.status.in_(WORKFLOW_RUN_ALIVE), WorkflowRun.heartbeat_date > now)
        an_attempt = exists().where(
            TaskInstance.status.in_(TASK_INSTANCE_LIVE),
            TaskInstance.report_by_date > now,
            Batch.array_id == TaskInstance.array_id,
            Batch.batch_num == TaskInstance.array_batch_num,
        )
        return bool(connection.scalar(select(a_run))) or bool(connection.scalar(select(an_attempt)))


if __name__ == "__main__":
    sys.exit(main())
