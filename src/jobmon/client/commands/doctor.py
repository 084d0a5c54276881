"""Whether this installation, its configuration and its server can do their work, and what to do where they cannot.

Each check is a function that yields findings; none changes anything or starts a server, and none takes longer than
:data:`LIMIT_SECONDS`.
"""

from __future__ import annotations

import os
import platform
import shutil
import stat
import sys
import sysconfig
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, distributions, version
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from jobmon.core import __version__
from jobmon.core.access_token import read_token_file
from jobmon.core.cluster import Cluster
from jobmon.core.cluster_type import ClusterType
from jobmon.core.configuration import JobmonConfig
from jobmon.core.configuration_keys import KEYS
from jobmon.core.exceptions import (
    ConfigError,
    InvalidRequest,
    JobmonError,
    NotAllowedError,
    NotFoundError,
)
from jobmon.core.local_server import NETWORK_FILESYSTEMS, LocalServerFiles, filesystem_type, running_server
from jobmon.core.requester import Requester
from jobmon.serializers.diagnosis import DiagnosisResponse
from jobmon.serializers.monitor import HealthResponse

T = TypeVar("T")

OK, WARN, FAIL = "ok", "warn", "fail"
LIMIT_SECONDS = 5.0
CLOCK_SECONDS = 5.0
SLOW_SECONDS = 1.0
LITTLE_ROOM = 2**30
NO_ROOM = 100 * 2**20
LOCAL_CLUSTERS = ("multiprocess", "sequential")
LIBRARIES = ("click", "httpx", "msgspec", "PyYAML", "rich")
SERVER_MODULES = ("alembic", "fastapi", "sqlalchemy", "uvicorn")
EARLIER = frozenset({"jobmon-client", "jobmon-core", "jobmon-server"})


class Finding(Struct):
    """The outcome of one check.

    Attributes:
        check: what was looked at.
        state: ``ok``, ``warn`` or ``fail``.
        text: what was found.
        remedy: the command or setting that mends it; empty where nothing need be done.
    """

    check: str
    state: str
    text: str
    remedy: str = ""


def diagnose() -> list[Finding]:
    """Every check, in the order in which one would look."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        findings = [*check_versions(), *check_scripts()]
        try:
            config = JobmonConfig()
        except JobmonError as error:
            remedy = "Mend that file, or name another one in JOBMON__CONFIG_FILE."
            return [*findings, Finding("configuration", FAIL, str(error), remedy)]
        findings += check_configuration(config, [str(each.message) for each in caught])
        for check in (check_directories, check_server):
            try:
                findings += check(config)
            except JobmonError as error:  # a value it needs cannot be used
                findings.append(Finding(check.__name__.removeprefix("check_"), FAIL, str(error)))
        return findings


# -- this installation --------------------------------------------------------------------------------
def check_versions() -> Iterator[Finding]:
    """Python, Jobmon and the libraries it stands on."""
    yield Finding(
        "jobmon", OK, f"Jobmon {__version__}, Python {platform.python_version()} ({sys.executable})"
    )
    found, missing = [], []
    for name in LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        text = f"Packages are missing: {', '.join(missing)}."
        yield Finding("packages", FAIL, text, f"{sys.executable} -m pip install --upgrade jobmon")
    else:
        yield Finding("packages", OK, ", ".join(found))


def check_scripts() -> Iterator[Finding]:
    """Whether ``jobmon`` is this Jobmon's: other projects install a command of that name as well."""
    others = []
    for each in distributions():
        name = (each.metadata["Name"] or "").replace("_", "-").lower()
        scripts = {point.name for point in each.entry_points if point.group == "console_scripts"}
        if name in EARLIER or (name != "jobmon" and "jobmon" in scripts):
            others.append(name)
    if others:
        names = ", ".join(sorted(set(others)))
        yield Finding(
            "command",
            FAIL,
            f"The packages {names} are installed here as well; they overwrite the command 'jobmon' or its modules.",
            f"{sys.executable} -m pip uninstall {' '.join(sorted(set(others)))} && "
            f"{sys.executable} -m pip install --force-reinstall --no-deps jobmon",
        )
        return
    ours = Path(sysconfig.get_path("scripts")) / "jobmon"
    first = shutil.which("jobmon")
    if first is None:
        text = f"'jobmon' is not on PATH; it is {ours}."
        yield Finding("command", WARN, text, f'export PATH="{ours.parent}:$PATH"')
    elif Path(first).resolve() != ours.resolve():
        text = f"'jobmon' on PATH is {first}, not that of this Python, {ours}."
        yield Finding("command", WARN, text, f'export PATH="{ours.parent}:$PATH"')
    else:
        yield Finding("command", OK, first)


# -- configuration ------------------------------------------------------------------------------------
def check_configuration(config: JobmonConfig, complaints: Iterable[str]) -> Iterator[Finding]:
    """The file, unknown keys, keys without effect, values of the wrong type, and who may read passwords."""
    name = "configuration"
    before = [
        *(Finding(name, WARN, each, "jobmon config show lists the keys there are.") for each in complaints),
        *_wrong_types(config),
    ]
    idle = config.idle_settings()
    if idle:
        names = ", ".join(f"{key.section}.{key.name}" for key in idle)
        text = f"Set, but without effect in this version: {names}."
        before.append(Finding(name, WARN, text, "Nothing need be done if you can do without them."))
    place = config.filepath or "no file; defaults and environment"
    yield from before or [Finding(name, OK, place)]
    if config.filepath:
        holds_secrets = any(
            key.secret
            and config.get(key.section, key.name)
            and config.origin(key.section, key.name) == "file"
            for key in KEYS
        )
        if holds_secrets:
            yield from _private(name, Path(config.filepath).expanduser(), "holds secrets")
    if any(key.secret and config.origin(key.section, key.name) == ".env" for key in KEYS):
        yield from _private(name, Path(".env").absolute(), "holds secrets")
    token_file = str(config.get("http", "token_file"))
    if token_file:
        path = Path(token_file).expanduser()
        if not os.access(path, os.R_OK):
            text = f"http.token_file {path} cannot be read."
            yield Finding(name, FAIL, text, "Ask who runs the server for a token, or unset http.token_file.")
        elif str(config.get("http", "service_url")):
            try:
                read_token_file(token_file, "http.token_file")
            except ConfigError as error:
                yield Finding(name, FAIL, str(error), f"chmod 600 {path}, and one line in it: the token.")
        else:
            yield from _private(name, path, "is a token")


def _wrong_types(config: JobmonConfig) -> Iterator[Finding]:
    for key in KEYS:
        try:
            if isinstance(key.default, bool):
                config.get_boolean(key.section, key.name)
            elif isinstance(key.default, int | float):
                config.get_float(key.section, key.name)
        except JobmonError as error:
            place = config.place(key.section, key.name)
            remedy = f"Mend it ({place}); its default is {key.default}."
            yield Finding("configuration", FAIL, str(error), remedy)


def _private(check: str, path: Path, why: str) -> Iterator[Finding]:
    """A warning when others may read a file."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return
    if mode & 0o077:
        text = f"{path} {why}, but others may read it (mode {mode:o})."
        yield Finding(check, WARN, text, f"chmod 600 {path}")


# -- directories --------------------------------------------------------------------------------------
def check_directories(config: JobmonConfig) -> Iterator[Finding]:
    """The directory of the local server (where it is used) and that of the tasks' logs."""
    files = LocalServerFiles.from_config(config)
    is_used = not str(config.get("http", "service_url"))
    log_directory = str(config.get("task", "log_directory"))
    if is_used:
        yield from _directory("directory", files.directory, "embedded.directory")
        kind = filesystem_type(_existing(files.directory))
        if kind in NETWORK_FILESYSTEMS:
            allowed = config.get_boolean("embedded", "allow_network_filesystem")
            text = f"{files.directory} is on a network filesystem ({kind}): the local database is slow and unsafe there."
            remedy = "Set embedded.directory to a directory on a local disk, or http.service_url to a server."
            yield Finding("directory", WARN if allowed else FAIL, text, remedy)
        if files.database.exists():
            yield from _private("directory", files.database, "is your database")
    if log_directory or not is_used:
        path = Path(log_directory).expanduser() if log_directory else files.task_logs
        yield from _directory("logs", path, "task.log_directory")


def _existing(path: Path) -> Path:
    """The directory, or the nearest one above it that exists."""
    return next(each for each in (path, *path.parents) if each.exists())


def _directory(check: str, path: Path, key: str) -> Iterator[Finding]:
    existing = _existing(path)
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        yield Finding(check, FAIL, f"{path} cannot be written.", f"jobmon config set {key} ANOTHER_DIRECTORY")
        return
    free = shutil.disk_usage(existing).free
    made = "" if existing == path else " (made when it is needed)"
    text = f"{path}{made}: {free / 2**30:.1f} GiB free"
    if free < LITTLE_ROOM:
        state = FAIL if free < NO_ROOM else WARN
        yield Finding(check, state, text, f"Make room, or jobmon config set {key} ANOTHER_DIRECTORY")
    else:
        yield Finding(check, OK, text)


# -- server and what is behind it ---------------------------------------------------------------------
def check_server(config: JobmonConfig) -> Iterator[Finding]:
    """The server, and through it the database, the clock and the clusters."""
    prefix = str(config.get("http", "route_prefix"))
    service_url = str(config.get("http", "service_url")).rstrip("/")
    if service_url:
        where = f"{service_url} ({config.place('http', 'service_url')})"
        remedy = (
            "Is the address right (jobmon config show --key http.service_url --origin)? Does the server run?"
        )
        requester = Requester.from_defaults(config)
    else:
        try:
            record = running_server(LocalServerFiles.from_config(config))
        except JobmonError as error:
            yield Finding("server", FAIL, str(error))
            return
        if record is None:
            yield from _no_server()
            return
        where = f"local, {record.url} (process {record.pid})"
        remedy = "jobmon server stop; it starts again by itself."
        requester = Requester(record.url + prefix, token=record.token)
    try:
        yield from _check_answers(requester, where, remedy)
    finally:
        requester.close()


def _no_server() -> Iterator[Finding]:
    missing = [name for name in SERVER_MODULES if find_spec(name) is None]
    if missing:
        text = f"No server is configured, and the local one lacks its libraries ({', '.join(missing)})."
        remedy = f"{sys.executable} -m pip install 'jobmon[server]', or set http.service_url."
        yield Finding("server", FAIL, text, remedy)
    else:
        yield Finding("server", OK, "local; not running, starts by itself when it is needed")
    for name in LOCAL_CLUSTERS:
        yield from _check_cluster(name, lambda name=name: _diagnose_local(name))  # type: ignore[misc]


def _check_answers(requester: Requester, where: str, remedy: str) -> Iterator[Finding]:
    def ask(path: str, kind: type[T]) -> T:
        return requester.send("GET", path, None, kind, tenacious=False, timeout_seconds=LIMIT_SECONDS)

    try:
        ask("/health", HealthResponse)  # the first request also opens the connection
        started = time.monotonic()
        health = ask("/health", HealthResponse)
    except JobmonError as error:
        yield Finding("server", FAIL, f"{where} does not answer: {error}", remedy)
        return
    seconds = time.monotonic() - started
    text = f"{where}, version {health.version}, answers in {seconds * 1000:.0f} ms"
    if seconds > SLOW_SECONDS:
        yield Finding("server", WARN, text, "The server or the way to it is slow: look at its load.")
    else:
        yield Finding("server", OK, text)
    yield from _check_skew(health.version)
    try:
        diagnosis = ask("/monitor/diagnosis", DiagnosisResponse)
    except NotAllowedError as error:
        yield Finding("token", FAIL, f"The server does not let you in: {error}")
        return
    except (NotFoundError, InvalidRequest):
        yield Finding("database", WARN, "This server cannot tell about its database.", "Upgrade the server.")
        return
    except JobmonError as error:
        yield Finding("database", FAIL, f"The server cannot use its database: {error}", "Look at its log.")
        return
    if diagnosis.user_role:
        yield Finding("token", OK, f"the server knows you as {diagnosis.user} (role {diagnosis.user_role})")
    yield from _check_database(diagnosis)
    yield from _check_clock(diagnosis)
    for name in diagnosis.clusters:
        yield from _check_cluster(name, lambda name=name: _diagnose(name, requester))  # type: ignore[misc]


def _check_skew(server_version: str) -> Iterator[Finding]:
    here, there = __version__.split("."), server_version.split(".")
    if here == there:
        return
    text = f"The server has version {server_version}, this client {__version__}."
    if here[:1] != there[:1]:
        yield Finding("server", FAIL, text, f"{sys.executable} -m pip install 'jobmon=={server_version}'")
    elif here[:2] != there[:2]:
        yield Finding("server", WARN, text, "They understand each other; upgrade the older one soon.")


def _check_database(diagnosis: DiagnosisResponse) -> Iterator[Finding]:
    text = f"{diagnosis.database}, schema {diagnosis.schema_revision}"
    if diagnosis.schema_revision == diagnosis.newest_revision:
        yield Finding("database", OK, text)
    else:
        text += f", but its server works with {diagnosis.newest_revision}"
        yield Finding("database", FAIL, text, "On the server: jobmon-server db upgrade")


def _check_clock(diagnosis: DiagnosisResponse) -> Iterator[Finding]:
    there = datetime.fromisoformat(diagnosis.time).replace(tzinfo=UTC)
    skew = (datetime.now(UTC) - there).total_seconds()
    if abs(skew) > CLOCK_SECONDS:
        way = "ahead of" if skew > 0 else "behind"
        text = (
            f"This machine's clock is {abs(skew):.0f} s {way} the database's; times of tasks will look odd."
        )
        yield Finding("clock", WARN, text, "Let a time service (chrony, systemd-timesyncd) set both clocks.")
    else:
        yield Finding("clock", OK, f"{abs(skew):.1f} s from the database's")


# -- clusters -----------------------------------------------------------------------------------------
Checks = Iterable[tuple[str, bool, str]]


def _diagnose(cluster_name: str, requester: Requester) -> Checks:
    return Cluster.get_cluster(cluster_name, requester).get_distributor().diagnose()


def _diagnose_local(cluster_type: str) -> Checks:
    return ClusterType(cluster_type).cluster_distributor_class(cluster_type).diagnose()


def _check_cluster(name: str, diagnose_cluster: Callable[[], Checks]) -> Iterator[Finding]:
    """What a plugin says of itself; it may be anybody's code, so it gets a thread and a limit of time."""
    answers: list[Checks | Exception] = []

    def ask() -> None:
        try:
            answers.append(list(diagnose_cluster()))
        except Exception as error:  # noqa: BLE001 - the outermost frame of a thread that runs a site's code
            answers.append(error)

    thread = threading.Thread(target=ask, daemon=True, name=f"jobmon-doctor-{name}")
    thread.start()
    thread.join(LIMIT_SECONDS)
    check, remedy = f"cluster {name}", "Tasks for this cluster cannot be run from here."
    if not answers:
        yield Finding(check, FAIL, f"It did not answer within {LIMIT_SECONDS:.0f} s.", remedy)
        return
    (answer,) = answers
    if isinstance(answer, Exception):
        yield Finding(check, FAIL, f"{type(answer).__name__}: {answer}", remedy)
        return
    wrong = [f"{what}: {text}" for what, is_well, text in answer if not is_well]
    well = "; ".join(f"{what}: {text.rstrip('.')}" for what, is_well, text in answer if is_well)
    for text in wrong:
        yield Finding(check, FAIL, text, remedy)
    if not wrong:
        yield Finding(check, OK, well or "its plugin is installed")
