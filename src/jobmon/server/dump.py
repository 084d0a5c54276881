"""Copies of a database in one file, taken while the server works, and databases made from them.

The databases' own programs do it: ``mariadb-dump``, ``pg_dump`` and so on; SQLite's backup is part of Python. A copy is what one
transaction sees. Passwords reach the programs by a file that nobody else may read.
"""

from __future__ import annotations

import gzip
import os
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any

from sqlalchemy import URL, inspect

from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import JobmonError, UsageError
from jobmon.server.web.database import make_engine
from jobmon.server.web.db_admin import (
    SchemaError,
    current_revision,
    database_address,
    newest_revision,
    reading,
    remove_tables,
    require_schema,
)
from jobmon.server.web.schema_dialect import Tell, create_database_if_missing

TELL_SECONDS = 5.0
BLOCK = 1 << 20
_GZIP, _SQLITE, _POSTGRESQL = b"\x1f\x8b", b"SQLite format 3\0", b"PGDMP"
_END_OF_MARIADB_DUMP = b"-- Dump completed"
_KINDS = {"sqlite": "SQLite", "postgresql": "PostgreSQL", "mysql": "MariaDB or MySQL"}


class DumpError(JobmonError):
    """A database could not be copied, or not be made from a copy."""


def dump(path: Path, uri: str = "", config: JobmonConfig | None = None, tell: Tell = print) -> None:
    """Write a copy of a database to a file, which only its owner may read; it is there when it is complete.

    Args:
        path: the file, which must not exist. For SQLite it is a database; for PostgreSQL what ``pg_restore`` reads; for MariaDB
            and MySQL statements, compressed by gzip.
        uri: SQLAlchemy URI of the database; by default ``db.sqlalchemy_database_uri``.
        config: the configuration.
        tell: told of progress.

    Raises:
        SchemaError: there is no database of Jobmon.
        DumpError: the program is missing or failed.
    """
    url, connect_args = database_address(uri, config or JobmonConfig())
    if path.exists():
        raise UsageError(f"{path} exists; name another file, or move it away.")
    _require_tables(url, connect_args)
    unfinished = path.with_name(f"{path.name}.unfinished")
    descriptor = os.open(unfinished, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            _DUMP[_kind(url)](url, connect_args, unfinished, file, tell)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def restore(path: Path, uri: str = "", config: JobmonConfig | None = None, tell: Tell = print) -> None:
    """Make the tables of an empty database from a file that :func:`dump` wrote; the database may be missing.

    Args:
        path: the file.
        uri: SQLAlchemy URI of the database; by default ``db.sqlalchemy_database_uri``.
        config: the configuration.
        tell: told of progress.

    Raises:
        UsageError: the database has tables, or the file is a copy of another kind of database, or none.
        DumpError: the program is missing or failed; the database is as empty as before.
        SchemaError: all is there, but the copy was made by a newer Jobmon.
    """
    url, connect_args = database_address(uri, config or JobmonConfig())
    _require_kind(path, _kind(url))
    create_database_if_missing(url, connect_args)
    engine = make_engine(url.render_as_string(hide_password=False), connect_args)
    try:
        with reading(engine) as connection:
            is_empty = not inspect(connection).get_table_names()
        if not is_empty:
            raise UsageError(
                f"{url.render_as_string()} has tables; a copy is restored into an empty database only. Name another "
                "one, or remove the tables with 'jobmon-server db terminate'."
            )
        engine.dispose()
        try:
            _RESTORE[_kind(url)](url, connect_args, path, tell)
        except BaseException:
            remove_tables(engine, all_of_them=True)
            raise
        current = current_revision(engine)
        if current is not None and current < newest_revision():
            tell(
                f"The copy is of schema {current}: run 'jobmon-server db upgrade' before you start a server."
            )
        else:
            require_schema(engine)
    finally:
        engine.dispose()


def _kind(url: URL) -> str:
    backend = url.get_backend_name()
    return "mysql" if backend == "mariadb" else backend


def _require_tables(url: URL, connect_args: Mapping[str, Any]) -> None:
    if _kind(url) == "sqlite" and not Path(str(url.database)).exists():
        raise SchemaError(f"There is no database {url.database}.")
    engine = make_engine(url.render_as_string(hide_password=False), dict(connect_args))
    try:
        if current_revision(engine) is None:
            raise SchemaError(f"{url.render_as_string()} is no database of Jobmon: it has no schema.")
    finally:
        engine.dispose()


def _require_kind(path: Path, wanted: str) -> None:
    try:
        with path.open("rb") as file:
            head = file.read(len(_SQLITE))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error
    found = {_SQLITE[:2]: "sqlite", _POSTGRESQL[:2]: "postgresql", _GZIP: "mysql"}.get(head[:2])
    if found is None:
        raise UsageError(f"{path} is no copy that 'jobmon-server db dump' wrote.")
    if found != wanted:
        raise UsageError(
            f"{path} is a copy of a {_KINDS[found]} database; it cannot be restored into one of {_KINDS[wanted]}."
        )


# -- SQLite ------------------------------------------------------------------------------------------------------------


def _dump_sqlite(url: URL, _arguments: Any, path: Path, _file: IO[bytes], tell: Tell) -> None:
    with closing(sqlite3.connect(f"file:{url.database}?mode=ro", uri=True)) as source:
        _copy_sqlite(source, path, tell)
    with closing(sqlite3.connect(path)) as copy:
        copy.execute("PRAGMA journal_mode=DELETE")  # one file, that can be moved


def _restore_sqlite(url: URL, _arguments: Any, path: Path, tell: Tell) -> None:
    with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as source:
        try:
            problem = source.execute("PRAGMA quick_check(1)").fetchone()[0]
        except sqlite3.DatabaseError as error:
            problem = str(error)
        if problem != "ok":
            raise DumpError(f"{path} is damaged: {problem}.")
        _copy_sqlite(source, Path(str(url.database)), tell)


def _copy_sqlite(source: sqlite3.Connection, path: Path, tell: Tell) -> None:
    progress = _Progress(tell)
    (page_size,) = source.execute("PRAGMA page_size").fetchone()
    with closing(sqlite3.connect(path)) as target:
        # All pages in one step: a step that ends lets writers in, and a backup begins anew after each of them.
        source.backup(target, progress=lambda _status, _left, total: progress.reached(total * page_size))


# -- MariaDB and MySQL -------------------------------------------------------------------------------------------------


def _dump_mysql(url: URL, connect_args: Mapping[str, Any], _path: Path, file: IO[bytes], tell: Tell) -> None:
    program = _program("mariadb-dump", "mysqldump")
    options = ["--single-transaction", "--quick", "--skip-lock-tables", "--no-tablespaces", "--hex-blob"]
    options.append("--default-character-set=utf8mb4")
    with _mysql_options(url, connect_args) as option_file, _errors() as errors:
        command = [program, f"--defaults-extra-file={option_file}", *options, str(url.database)]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors)
        assert process.stdout is not None
        with _ending(process), gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1) as compressed:
            _pump(process.stdout, compressed.write, tell)
        _require_success(process, program, errors)


def _restore_mysql(url: URL, connect_args: Mapping[str, Any], path: Path, tell: Tell) -> None:
    _require_complete(path)
    program = _program("mariadb", "mysql")
    with _mysql_options(url, connect_args) as option_file, _errors() as errors, gzip.open(path) as source:
        command = [
            program,
            f"--defaults-extra-file={option_file}",
            "--default-character-set=utf8mb4",
            str(url.database),
        ]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors)
        assert process.stdin is not None
        with _ending(process):
            _pump(source, process.stdin.write, tell)
        _require_success(process, program, errors)


def _require_complete(path: Path) -> None:
    """Read a compressed dump to its end before anything is made from it."""
    tail = b""
    try:
        with gzip.open(path) as source:
            while block := source.read(BLOCK):
                tail = (tail + block)[-200:]
    except (OSError, EOFError) as error:
        raise DumpError(f"{path} is damaged: {error}.") from error
    if _END_OF_MARIADB_DUMP not in tail:
        raise DumpError(f"{path} is not complete: its end is missing.")


@contextmanager
def _mysql_options(url: URL, connect_args: Mapping[str, Any]) -> Iterator[Path]:
    """An option file for the client programs: the address and the password of a database."""
    given = {**url.query, **connect_args}
    ssl = given.get("ssl") if isinstance(given.get("ssl"), Mapping) else {}
    assert isinstance(ssl, Mapping)
    options = {
        "user": url.username,
        "password": url.password,
        "host": url.host,
        "port": url.port,
        "socket": given.get("unix_socket"),
        "protocol": "socket" if given.get("unix_socket") else "tcp",
        **{f"ssl-{name}": given.get(f"ssl_{name}") or ssl.get(name) for name in ("ca", "cert", "key")},
    }
    lines = [f"{name}={_quoted(str(value))}" for name, value in options.items() if value is not None]
    with _private_file("[client]\n" + "\n".join(lines) + "\n") as path:
        yield path


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


# -- PostgreSQL --------------------------------------------------------------------------------------------------------


def _dump_postgresql(
    url: URL, connect_args: Mapping[str, Any], _path: Path, file: IO[bytes], tell: Tell
) -> None:
    program = _program("pg_dump")
    with _postgresql_environment(url, connect_args) as environment, _errors() as errors:
        command = [
            program,
            "--format=custom",
            "--compress=1",
            "--no-owner",
            "--no-privileges",
            "--no-password",
        ]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=environment
        )
        assert process.stdout is not None
        with _ending(process):
            _pump(process.stdout, file.write, tell)
        _require_success(process, program, errors)


def _restore_postgresql(url: URL, connect_args: Mapping[str, Any], path: Path, _tell: Tell) -> None:
    program = _program("pg_restore")
    with _postgresql_environment(url, connect_args) as environment, _errors() as errors:
        command = [
            program,
            "--no-owner",
            "--no-privileges",
            "--no-password",
            "--exit-on-error",
            "--single-transaction",
        ]
        command += [f"--dbname={environment['PGDATABASE']}", str(path)]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=errors, env=environment)
        with _ending(process):
            process.wait()
        _require_success(process, program, errors)


@contextmanager
def _postgresql_environment(url: URL, connect_args: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Environment of PostgreSQL's programs; the password is in a file it names."""
    given = {**url.query, **connect_args}
    values = {
        "PGHOST": url.host or given.get("host"),
        "PGPORT": url.port or given.get("port"),
        "PGUSER": url.username,
        "PGDATABASE": url.database,
        **{f"PG{name.upper()}": given.get(name) for name in ("sslmode", "sslrootcert", "sslcert", "sslkey")},
    }
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    environment |= {name: str(value) for name, value in values.items() if value is not None}
    password = (url.password or "").replace("\\", "\\\\").replace(":", "\\:")
    with _private_file(f"*:*:*:*:{password}\n") as path:
        yield environment | ({"PGPASSFILE": str(path)} if url.password else {})


# -- programs ----------------------------------------------------------------------------------------------------------


def _program(*names: str) -> str:
    for name in names:
        if found := shutil.which(name):
            return found
    package = "postgresql-client" if names[0].startswith("pg_") else "mariadb-client"
    raise DumpError(
        f"The program {' or '.join(names)} is not installed on this machine; it comes with the database (Debian: "
        f"apt-get install {package})."
    )


@contextmanager
def _private_file(text: str) -> Iterator[Path]:
    descriptor, name = tempfile.mkstemp(prefix="jobmon-")  # readable by its owner only
    path = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        yield path
    finally:
        path.unlink(missing_ok=True)


def _errors() -> IO[bytes]:
    return tempfile.TemporaryFile()


@contextmanager
def _ending(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Wait for the end of a program; when our own work fails, end it."""
    try:
        with process:
            try:
                yield
            except BaseException:
                process.kill()
                raise
    except BrokenPipeError:
        pass  # it ended before it had read everything, and says why


def _require_success(process: subprocess.Popen[bytes], program: str, errors: IO[bytes]) -> None:
    if process.returncode == 0:
        return
    errors.seek(0)
    said = errors.read().decode(errors="replace").strip()[-2000:]
    raise DumpError(f"{Path(program).name} failed ({process.returncode}): {said or 'it says nothing'}")


def _pump(source: Any, write: Callable[[bytes], object], tell: Tell) -> None:
    progress = _Progress(tell)
    num_bytes = 0
    while block := source.read(BLOCK):
        write(block)
        num_bytes += len(block)
        progress.reached(num_bytes)


class _Progress:
    """Tells every few seconds how far a copy is."""

    def __init__(self, tell: Tell) -> None:
        self.tell, self.told_at = tell, time.monotonic()

    def reached(self, num_bytes: int) -> None:
        if time.monotonic() - self.told_at > TELL_SECONDS:
            self.tell(f"{num_bytes / 1e6:.0f} MB so far.")
            self.told_at = time.monotonic()


_DUMP = {"sqlite": _dump_sqlite, "mysql": _dump_mysql, "postgresql": _dump_postgresql}
_RESTORE = {"sqlite": _restore_sqlite, "mysql": _restore_mysql, "postgresql": _restore_postgresql}
