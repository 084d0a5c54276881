"""The local server when its files are damaged, old, strange or read-only; and when nobody uses it."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from processes import Place, Script, is_gone, wait_until

pytestmark = pytest.mark.e2e


def run_one(place: Place, args: str) -> None:
    assert place.run_flow([place.task(args)], workflow={"workflow_args": args})["status"] == "D"


def assert_clear(script: Script, *words: str) -> None:
    """It failed with one message that holds these words and no traceback."""
    assert script.end() != 0
    for word in words:
        assert word in script.text, script.text
    assert "Traceback" not in script.text, script.text


# -- the record -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("content", [b"", b"\xff\x00garbage", b'{"url": 5}'])
def test_a_damaged_record_without_a_server(bare_place: Place, content: bytes) -> None:
    bare_place.directory.mkdir()
    bare_place.files.record.write_bytes(content)
    run_one(bare_place, "w")


def test_a_stale_record(place: Place) -> None:
    run_one(place, "w1")
    old = place.kill_server()
    assert place.files.record.exists()
    run_one(place, "w2")
    assert place.server().pid != old


def test_a_stale_record_whose_process_id_is_another_process_now(place: Place) -> None:
    run_one(place, "w1")
    place.kill_server()
    record = json.loads(place.files.record.read_bytes())
    record["pid"] = os.getpid()
    place.files.record.write_text(json.dumps(record))
    assert "stopped" in place.jobmon("server", "status")
    assert "No local server runs" in place.jobmon("server", "stop")
    run_one(place, "w2")


@pytest.mark.parametrize("damage", ["garbage", "removed"])
def test_a_damaged_record_while_a_server_runs(place: Place, damage: str) -> None:
    """It is mended, or there is a message whose advice helps."""
    run_one(place, "w1")
    pid = place.server().pid
    try:
        place.files.record.write_text("garbage") if damage == "garbage" else place.files.record.unlink()
        script = place.start_flow([place.task("b")], workflow={"workflow_args": "w2"})
        code = script.end()
        if code == 0:
            assert script.result()["status"] == "D"
        else:
            assert "jobmon server stop" in script.text
            place.jobmon("server", "stop")
            assert is_gone(pid)
            run_one(place, "w3")
    finally:
        if not is_gone(pid) and not place.files.record.exists():
            os.kill(pid, 15)


# -- the database -----------------------------------------------------------------------------------------
def test_a_database_from_a_newer_version(place: Place) -> None:
    run_one(place, "w1")
    place.jobmon("server", "stop")
    with closing(sqlite3.connect(place.files.database)) as database:
        (revision,) = database.execute("SELECT version_num FROM alembic_version").fetchone()
        database.execute("UPDATE alembic_version SET version_num = '9999'")
        database.commit()
    error = place.start_flow([place.task("b")], workflow={"workflow_args": "w2"}).error()
    assert "newer Jobmon" in error["message"]
    assert "Upgrade" in error["message"]
    assert_clear(place.start_jobmon("workflow", "status"), "newer Jobmon", "9999")
    with closing(sqlite3.connect(place.files.database)) as database:
        database.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        database.commit()
    run_one(place, "w3")


def test_a_file_that_is_no_database(bare_place: Place) -> None:
    bare_place.directory.mkdir()
    bare_place.files.database.write_text("This is a letter, not a database. " * 100)
    error = bare_place.start_flow([bare_place.task("a")]).error()
    assert str(bare_place.files.database) in error["message"]
    assert "cannot be used as a database" in error["message"]
    bare_place.files.database.unlink()
    run_one(bare_place, "w")


# -- the directory ----------------------------------------------------------------------------------------
@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A directory that cannot be written, not even by root."""
    path = tmp_path / "read-only"
    path.mkdir(mode=0o500)
    if os.geteuid() != 0:
        yield path
        return
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", path], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"a read-only file system cannot be mounted here: {done.stderr.strip()}")
    yield path
    subprocess.run(["umount", path], check=True)


def test_a_read_only_directory(read_only: Path, place: Place) -> None:
    place.configure(embedded__directory=read_only / "jobmon")
    error = place.start_flow([place.task("a")]).error()
    assert error["type"] == "LocalServerError"
    for word in (str(read_only), "cannot write", "JOBMON__EMBEDDED__DIRECTORY", "http.service_url"):
        assert word in error["message"]
    assert_clear(place.start_jobmon("workflow", "status"), str(read_only), "JOBMON__EMBEDDED__DIRECTORY")


def test_a_directory_that_is_a_file(bare_place: Place) -> None:
    bare_place.directory.write_text("")
    error = bare_place.start_flow([bare_place.task("a")]).error()
    assert error["type"] == "LocalServerError"
    assert str(bare_place.directory) in error["message"]
    bare_place.directory.unlink()


def test_files_of_the_server_are_private(bare_place: Place) -> None:
    run_one(bare_place, "w")
    assert bare_place.directory.stat().st_mode & 0o777 == 0o700
    for path in (
        bare_place.files.record,
        bare_place.files.database,
        bare_place.files.log,
        bare_place.files.serve_lock,
    ):
        assert path.stat().st_mode & 0o077 == 0, path


# -- idling -----------------------------------------------------------------------------------------------
def test_it_ends_when_nobody_uses_it(place: Place) -> None:
    place.configure(embedded__idle_shutdown_seconds=1)
    run_one(place, "w1")
    wait_until(lambda: not place.files.record.exists(), "the end of the idle server")
    wait_until(lambda: not place.processes(), "the end of its process")
    run_one(place, "w2")


def test_it_does_not_end_while_a_run_is_alive(place: Place) -> None:
    place.configure(embedded__idle_shutdown_seconds=1.5)
    script = place.start_flow([place.task("a", then="sleep 4")])
    place.wait_started("a")
    pid = place.server().pid
    assert script.result()["status"] == "D"
    assert place.files.log.read_text().count("listens at") == 1
    wait_until(lambda: is_gone(pid), "the end of the idle server")


def test_it_comes_back_for_a_script_that_was_silent_for_long(place: Place) -> None:
    """The script registered its workflow, slept longer than the server stays, then runs."""
    place.configure(embedded__idle_shutdown_seconds=0.5)
    script = place.start_flow([place.task("a")], pause=str(place.work / "gate.go"))
    script.wait_for("BOUND")
    wait_until(lambda: not place.files.record.exists(), "the end of the idle server")
    place.open("go")
    assert script.result()["status"] == "D"
