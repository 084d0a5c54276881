"""Copies of a database: taken under load, complete or not there at all, and as good as the database itself."""

from __future__ import annotations

import gzip
import os
import shutil
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from old_workflows import counts, ended_workflow
from sqlalchemy import make_url, text

import databases
from databases import Backend, bare_database
from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import UsageError
from jobmon.server import dump as dump_module
from jobmon.server.cli import cli
from jobmon.server.dump import DumpError, dump, restore
from jobmon.server.web.database import Database, make_engine
from jobmon.server.web.db_admin import SchemaError, init_db, require_schema
from jobmon.testing.history import check_history
from processes import wait_until
from server_place import servers_in

pytestmark = pytest.mark.parametrize("backend", databases.parameters())


@pytest.fixture
def empty_uri(backend: Backend, tmp_path: Path) -> Iterator[str]:
    """A database without tables."""
    with bare_database(backend, tmp_path) as uri:
        yield uri


def assert_nothing_refers_to_nothing(database: Database) -> None:
    """Every reference leads somewhere: databases check that, but not while a copy is put in."""
    with database.read() as connection:
        for child, parent in (("task", "workflow"), ("task_instance", "task"), ("edge", "node")):
            query = f"SELECT count(*) FROM {child} c LEFT JOIN {parent} p ON p.id = c.{parent}_id WHERE p.id IS NULL"
            assert connection.scalar(text(query)) == 0


def test_under_load(database: Database, empty_uri: str, tmp_path: Path) -> None:
    """A copy is what one transaction saw, however much is written meanwhile; ids go on after it."""
    path = tmp_path / "copy"
    is_over = threading.Event()
    made: list[int] = []

    def write(name: str) -> None:
        while not is_over.is_set():
            workflow = ended_workflow(database, f"{name} {len(made)}", days_ago=0, num_tasks=20)
            made.append(workflow.workflow_id)

    with ThreadPoolExecutor(2) as threads:
        writers = [threads.submit(write, f"writer {number}") for number in range(2)]
        try:
            wait_until(lambda: len(made) > 2, "some workflows")
            num_before = len(made)
            dump(path, database.engine.url.render_as_string(hide_password=False))
            num_after = len(made) + 2
        finally:
            is_over.set()
        for writer in writers:
            writer.result()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    restore(path, empty_uri)
    copy = Database(empty_uri)
    require_schema(copy.engine)
    assert check_history(copy.engine) == []
    assert_nothing_refers_to_nothing(copy)
    found = counts(copy)
    assert num_before <= found["workflow"] <= num_after
    assert found["task"] == found["task_instance"] == 20 * found["workflow"]
    ended_workflow(copy, "after", days_ago=0)
    assert check_history(copy.engine) == []
    copy.dispose()


@pytest.mark.e2e
def test_a_workflow_goes_on_from_a_copy(empty_uri: str, backend: Backend, tmp_path: Path) -> None:
    """Copied in the middle of a run; server and controller die; a server on the copy, and the script is started again."""
    path, gate, log = tmp_path / "copy", tmp_path / "gate", tmp_path / "log"
    tasks: list[dict[str, Any]] = [
        {"name": "a", "command": f"echo a >> {log}"},
        {
            "name": "b",
            "command": f"until [ -e {gate} ]; do sleep 0.05; done; echo b >> {log}",
            "upstream": ["a"],
        },
    ]
    with bare_database(backend, tmp_path) as uri, servers_in(tmp_path) as servers:
        init_db(uri)
        server = servers.start(uri)
        script = servers.start_flow([server.url], tasks, "copied")
        engine = make_engine(uri)

        def b_runs() -> bool:
            with engine.connect() as connection:
                return connection.scalar(text("SELECT status FROM task WHERE name = 'b'")) == "R"

        wait_until(b_runs, "the second task")
        engine.dispose()
        dump(path, uri)
        script.kill()
        script.process.wait(10)
        server.kill()
        restore(path, empty_uri)
        other = servers.start(empty_uri)
        gate.touch()
        again = servers.start_flow([other.url], tasks, "copied", run={"resume": True})
        assert again.result()["status"] == "D", again.text
        assert log.read_text().split().count("a") == 1


def test_only_into_an_empty_database(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "copy"
    uri = database.engine.url.render_as_string(hide_password=False)
    dump(path, uri)
    ended_workflow(database, "there", days_ago=0)
    with pytest.raises(UsageError, match=r"has tables; .* into an empty database only"):
        restore(path, uri)
    assert counts(database)["workflow"] == 1


def test_a_copy_that_is_cut_off(database: Database, empty_uri: str, tmp_path: Path) -> None:
    """Nothing is made of it, and the database is as empty as before."""
    path = tmp_path / "copy"
    ended_workflow(database, "there", days_ago=0, num_tasks=50)
    dump(path, database.engine.url.render_as_string(hide_password=False))
    half = tmp_path / "half"
    half.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DumpError):
        restore(half, empty_uri)
    restore(path, empty_uri)


def test_a_program_that_fails(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: Backend
) -> None:
    """Its words are in the message, and no file is left."""
    if backend is Backend.SQLITE:
        monkeypatch.setattr(dump_module, "_copy_sqlite", lambda *_: 1 / 0)
        expected: type[BaseException] = ZeroDivisionError
    else:
        programs = tmp_path / "bin"
        programs.mkdir()
        for name in ("mariadb-dump", "pg_dump"):
            (programs / name).write_text("#!/bin/sh\necho half of it\necho 'no space left' >&2\nexit 3\n")
            (programs / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        expected = DumpError
    with pytest.raises(expected) as caught:
        dump(tmp_path / "copy", database.engine.url.render_as_string(hide_password=False))
    if expected is DumpError:
        assert "failed (3): no space left" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("copy")] == []


def test_a_program_that_is_missing(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: Backend
) -> None:
    if backend is Backend.SQLITE:  # needs none
        monkeypatch.setenv("PATH", "/nowhere")
        dump(tmp_path / "copy", str(database.engine.url))
        return
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(DumpError, match=r"is not installed on this machine; .* apt-get install"):
        dump(tmp_path / "copy", database.engine.url.render_as_string(hide_password=False))


def test_the_password_is_in_no_argument(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: Backend
) -> None:
    """It reaches the programs by a file that only its owner may read, and which is gone afterwards."""
    if backend is Backend.SQLITE:
        return
    password = "s3cret: \"x\\y'z"
    programs, record = tmp_path / "bin", tmp_path / "record"
    programs.mkdir()
    for name in ("mariadb-dump", "pg_dump"):
        (programs / name).write_text(
            f'#!/bin/sh\nprintf "%s\\n" "$@" > {record}.arguments\nenv > {record}.environment\n'
            'file=${PGPASSFILE:-$(printf "%s" "$1" | cut -d= -f2)}\n'
            f'cp "$file" {record}.file; stat -c %a "$file" > {record}.mode; printf "%s" "$file" > {record}.path\n'
        )
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setattr(dump_module, "_require_tables", lambda *_: None)
    url = make_url(databases.admin_url(backend)).set(username="ada", password=password, database="jobmon")
    dump(tmp_path / "copy", url.render_as_string(hide_password=False))
    assert "s3cret" not in (tmp_path / "record.arguments").read_text()
    assert "s3cret" not in (tmp_path / "record.environment").read_text()
    assert "s3cret" in (tmp_path / "record.file").read_text()
    assert (tmp_path / "record.mode").read_text() == "600\n"
    assert not Path((tmp_path / "record.path").read_text()).exists()


def test_of_another_kind_of_database(database: Database, empty_uri: str, tmp_path: Path) -> None:
    wrong = {"sqlite": b"\x1f\x8b", "mysql": b"PGDMP", "postgresql": b"SQLite format 3\0"}
    path = tmp_path / "copy"
    path.write_bytes(wrong[database.engine.dialect.name] + bytes(100))
    with pytest.raises(UsageError, match=r"is a copy of a .* database; it cannot be restored into one of"):
        restore(path, empty_uri)
    path.write_bytes(b"Dear Sir or Madam")
    with pytest.raises(UsageError, match="is no copy"):
        restore(path, empty_uri)


def test_of_nothing(empty_uri: str, tmp_path: Path) -> None:
    with pytest.raises(SchemaError):
        dump(tmp_path / "copy", empty_uri)
    assert not (tmp_path / "copy").exists()


def test_a_copy_of_an_older_schema(empty_uri: str, backend: Backend, tmp_path: Path) -> None:
    """It is restored, and the upgrade comes next."""
    from jobmon.server.web.db_admin import revisions, upgrade

    told: list[str] = []
    with bare_database(backend, tmp_path) as uri:
        engine = make_engine(uri)
        upgrade(engine, revisions()[-2])
        engine.dispose()
        dump(tmp_path / "copy", uri)
    restore(tmp_path / "copy", empty_uri, tell=told.append)
    assert "run 'jobmon-server db upgrade'" in told[-1]
    init_db(empty_uri)


def test_the_commands(
    database: Database, empty_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "JOBMON__DB__SQLALCHEMY_DATABASE_URI", database.engine.url.render_as_string(hide_password=False)
    )
    path = tmp_path / "copy"
    wrote = CliRunner().invoke(cli, ["db", "dump", str(path)], catch_exceptions=False)
    assert wrote.stdout.startswith(f"Wrote {path} (")
    monkeypatch.setenv("JOBMON__DB__SQLALCHEMY_DATABASE_URI", empty_uri)
    read = CliRunner().invoke(cli, ["db", "restore", str(path)], catch_exceptions=False)
    assert read.stdout == f"Restored {path}.\n"
    copy = make_engine(empty_uri)
    require_schema(copy)
    copy.dispose()


def test_a_damaged_copy_of_mariadb_is_seen_before_anything_is_made(
    empty_uri: str, tmp_path: Path, backend: Backend
) -> None:
    """One that was packed again after it was cut off: its last line is missing."""
    if backend is not Backend.MARIADB:
        return
    path = tmp_path / "copy"
    path.write_bytes(gzip.compress(b"CREATE TABLE task (id INT);\n"))
    with pytest.raises(DumpError, match="its end is missing"):
        restore(path, empty_uri, JobmonConfig())
