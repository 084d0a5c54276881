"""Finding, starting and stopping the local server of this user.

Rules
-----
1. The server holds an exclusive lock on ``serve.lock`` as long as it lives; the kernel lets go of it however the
   process ends. Who can take the lock knows that no server is alive, and that ``server.json`` is stale.
2. ``server.json`` (mode 0600) says where the server listens and with which token it is addressed. It is written when
   the server answers, never before, and replaced as a whole.
3. A server that is alive writes its record again when it was damaged or removed.
4. Whoever wants to start a server holds ``start.lock``; all others wait for it and then find the server running.

The server is a process of its own that outlives the script which started it. It ends itself after idling.
"""

from __future__ import annotations

import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import LocalServerError

NETWORK_FILESYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "lustre", "gpfs", "beegfs", "ceph", "afs", "glusterfs", "9p"}
)
RECORD_SECONDS = 5.0
"""How long a server that is alive is given to (re)write its record."""
_TASK_VARIABLE = re.compile(r"JOBMON_[A-Z]+(_[A-Z]+)*")
_REMEDY = (
    "Set JOBMON__EMBEDDED__DIRECTORY to a directory on a local disk, or http.service_url to a Jobmon server."
)


class ServerRecord(msgspec.Struct, frozen=True):
    """Where a local server listens.

    Attributes:
        url: address with scheme and port, without the route prefix.
        token: bearer token it wants to see.
        pid: its process id.
        hostname: the host it runs on.
        version: its Jobmon version.
        started_at: seconds since 1970.
    """

    url: str
    token: str
    pid: int
    hostname: str
    version: str
    started_at: float

    def __repr__(self) -> str:
        """Without the token, which must not reach a log."""
        return f"ServerRecord(url={self.url!r}, pid={self.pid}, hostname={self.hostname!r})"


class LocalServerFiles:
    """The paths inside the directory of a local server."""

    def __init__(self, directory: str | Path) -> None:
        self.directory = Path(directory).expanduser().absolute()
        self.record = self.directory / "server.json"
        self.serve_lock = self.directory / "serve.lock"
        self.start_lock = self.directory / "start.lock"
        self.log = self.directory / "server.log"
        self.database = self.directory / "jobmon.sqlite"
        self.task_logs = self.directory / "logs"

    @classmethod
    def from_config(cls, config: JobmonConfig) -> LocalServerFiles:
        """Files in ``embedded.directory``."""
        return cls(config.get("embedded", "directory"))

    def prepare(self, *, allow_network_filesystem: bool = False, mounts: str | None = None) -> None:
        """Create the directory (mode 0700) and make sure that it can be used.

        Raises:
            LocalServerError: it cannot be written, or is on a network filesystem, where SQLite is not safe.
        """
        try:
            self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            with open(self.start_lock, "ab"):
                os.chmod(self.start_lock, 0o600)
        except OSError as error:
            raise LocalServerError(
                f"Jobmon keeps its local database in {self.directory}, but cannot write there "
                f"({error.strerror}). {_REMEDY}"
            ) from error
        kind = filesystem_type(self.directory, mounts)
        if kind in NETWORK_FILESYSTEMS and not allow_network_filesystem:
            raise LocalServerError(
                f"{self.directory} is on a network filesystem ({kind}), where the local database is neither safe nor "
                f"fast. {_REMEDY} To use it all the same, from one host at a time, set "
                "JOBMON__EMBEDDED__ALLOW_NETWORK_FILESYSTEM=true."
            )


def filesystem_type(path: Path, mounts: str | None = None) -> str:
    """Type of the filesystem ``path`` is on, by the text of ``/proc/self/mounts``; empty when unknown."""
    if mounts is None:
        try:
            mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
    resolved, best, kind = str(path.resolve()) + "/", "", ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = fields[1].replace("\\040", " ").rstrip("/") + "/"
        if resolved.startswith(point) and len(point) >= len(best):
            best, kind = point, fields[2]
    return kind


@contextmanager
def exclusive_lock(path: Path, timeout_seconds: float, what: str) -> Iterator[None]:
    """Hold an exclusive lock on a file; wait for it at most ``timeout_seconds``."""
    with open(path, "ab") as file:
        deadline = time.monotonic() + timeout_seconds
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise LocalServerError(
                        f"{what} did not become free within {timeout_seconds:.0f} s."
                    ) from None
                time.sleep(0.02)
            except OSError as error:
                raise LocalServerError(f"{path} cannot be locked ({error.strerror}). {_REMEDY}") from error
        yield


def is_serving(files: LocalServerFiles) -> bool:
    """Whether a server holds the lock of this directory, now."""
    try:
        with open(files.serve_lock, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def read_record(files: LocalServerFiles) -> ServerRecord | None:
    """The record of the server; ``None`` when there is none or it cannot be understood."""
    try:
        return msgspec.json.decode(files.record.read_bytes(), type=ServerRecord)
    except (OSError, msgspec.DecodeError):
        return None


def running_server(files: LocalServerFiles) -> ServerRecord | None:
    """The record of the server that is alive, ``None`` when none is.

    Raises:
        LocalServerError: the server of this (shared) directory is alive on another host, where loopback cannot
            reach it.
    """
    deadline = time.monotonic() + RECORD_SECONDS
    while (record := read_record(files)) is None:
        if not is_serving(files) or time.monotonic() > deadline:
            return None
        time.sleep(0.05)  # the server is about to write its record, or to write it again
    if not is_serving(files):
        return None
    if record.hostname != socket.gethostname():
        raise LocalServerError(
            f"The local server of {files.directory} runs on host {record.hostname} (process {record.pid}) and can be "
            f"used from there only. Stop it there with 'jobmon server stop', or: {_REMEDY}"
        )
    return record


def find_or_start(config: JobmonConfig | None = None) -> ServerRecord:
    """The local server of this user, started if need be.

    Raises:
        LocalServerError: it cannot be started; the message says why and where its log is.
    """
    config = config or JobmonConfig()
    files = LocalServerFiles.from_config(config)
    record = running_server(files)
    if record is not None:
        return record
    allow = config.get_boolean("embedded", "allow_network_filesystem")
    timeout = config.get_float("embedded", "startup_timeout_seconds")
    files.prepare(allow_network_filesystem=allow)
    with exclusive_lock(files.start_lock, timeout, "The start of the local server by another process"):
        record = running_server(files)
        if record is None:
            _start(files, timeout, config)
            record = running_server(files)
    if record is None:
        raise LocalServerError(f"The local server ended right after its start; see {files.log}.")
    return record


def environment_of_daemons(config: JobmonConfig) -> dict[str, str]:
    """Environment of a process that goes on by itself: the configuration that applies here, no marks of an attempt.

    What is started from inside a task does not belong to it, and need not end with it.
    """
    inherited = {k: v for k, v in os.environ.items() if not _TASK_VARIABLE.fullmatch(k)}
    environment = {**config.dotenv, **inherited}
    if config.filepath:
        environment["JOBMON__CONFIG_FILE"] = str(Path(config.filepath).expanduser().absolute())
    return environment


def _start(files: LocalServerFiles, timeout_seconds: float, config: JobmonConfig) -> None:
    """Start the server as a daemon; the command returns when the server answers."""
    environment = environment_of_daemons(config)
    environment["JOBMON__EMBEDDED__DIRECTORY"] = str(files.directory)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "jobmon.server.embedded"],
            env=environment,
            cwd=files.directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_seconds,
            start_new_session=True,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise LocalServerError(
            f"The local server did not answer within {timeout_seconds:.0f} s; see {files.log}."
        ) from None
    if done.returncode == 0:
        return
    reason = (done.stderr.strip() or done.stdout.strip()).splitlines()
    if any("No module named" in line for line in reason):
        raise LocalServerError(
            "The local server needs its libraries: pip install 'jobmon[server]'. "
            f"Or set http.service_url to the address of a Jobmon server. ({reason[-1]})"
        )
    raise LocalServerError(
        f"The local server did not start: {reason[-1] if reason else 'no reason given'} (log: {files.log})"
    )


def stop(files: LocalServerFiles, timeout_seconds: float = 10) -> ServerRecord | None:
    """End the server of this directory; its record, or ``None`` when none was alive."""
    record = running_server(files)
    if record is None:
        return None
    os.kill(record.pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout_seconds
    while is_serving(files):
        if time.monotonic() > deadline:
            raise LocalServerError(f"The local server (process {record.pid}) does not end; see {files.log}.")
        time.sleep(0.02)
    return record
