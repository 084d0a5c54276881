"""``jobmon-server db`` and ``jobmon_server``, on every database, as an operator types them."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import inspect, make_url, text

import databases
from databases import Backend, bare_database, drop_database
from jobmon.core.states import WorkflowRunStatus
from jobmon.server.cli import cli, legacy
from jobmon.server.web import dialect
from jobmon.server.web.database import Database, make_engine
from jobmon.server.web.db.migrate import init_db as init_db_of_earlier_versions
from jobmon.server.web.db_admin import init_db, newest_revision, revisions
from jobmon.testing.factory import run_make, workflow_make

pytestmark = pytest.mark.parametrize("backend", databases.parameters())
ROOT = Path(__file__).parents[2]


@pytest.fixture
def bare_uri(backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The configured database, without tables."""
    with bare_database(backend, tmp_path) as uri:
        monkeypatch.setenv("JOBMON__DB__SQLALCHEMY_DATABASE_URI", uri)
        yield uri


def run(*arguments: str, answer: str = "") -> Result:
    return CliRunner().invoke(cli, ["db", *arguments], input=answer)


def tables(uri: str) -> list[str]:
    engine = make_engine(uri)
    try:
        return inspect(engine).get_table_names()
    finally:
        engine.dispose()


def test_from_nothing_to_nothing(bare_uri: str, backend: Backend) -> None:
    """The database is made where it is missing; what is removed can be made again."""
    if backend is not Backend.SQLITE:
        drop_database(bare_uri)
    made = run("init")
    assert made.stdout == "The database is ready.\n", made.output
    assert ("Created the database" in made.stderr) == (backend is not Backend.SQLITE)
    assert run("init").stderr == ""
    assert run("current").stdout == f"{newest_revision()} (this Jobmon needs {newest_revision()})\n"
    refused = run("terminate", answer="n\n")
    assert (refused.exit_code, bool(tables(bare_uri))) == (1, True)
    assert run("terminate", answer="y\n").exit_code == 0
    assert tables(bare_uri) == []
    assert "has no tables of Jobmon" in run("terminate", "-y").stdout
    assert run("upgrade").exit_code == 0
    assert tables(bare_uri) != []


def test_terminate_says_what_is_going_on(bare_uri: str) -> None:
    init_db(bare_uri)
    database = Database(bare_uri)
    with database.write() as connection:
        now = dialect.utcnow(connection)
        made = workflow_make(connection, now=now)
        run_make(connection, made.workflow_id, now=now, status=WorkflowRunStatus.RUNNING)
    database.dispose()
    refused = run("terminate", answer="n\n")
    assert "1 workflow runs are going on. Go on? [y/N]" in refused.output
    assert run("terminate", "-y").exit_code == 0


def test_an_older_schema(bare_uri: str) -> None:
    """It is named, and what leads out of it; an upgrade may stop on the way."""
    assert tables(bare_uri) == []  # SQLite makes the file
    assert run("upgrade", "--revision", "0003").stdout == "The database is at schema 0003.\n"
    told = run("current")
    assert told.stdout.startswith("0003 ")
    assert "run 'jobmon-server db init'" in str(told.exception)
    wrong = run("upgrade", "--revision", "0099")
    assert "There is no revision 0099; there are 0001, 0002" in str(wrong.exception)
    assert run("upgrade").exit_code == 0
    back = run("upgrade", "--revision", "0003")
    assert "newer than 0003" in str(back.exception)


def test_downgrade_check(bare_uri: str) -> None:
    init_db(bare_uri)
    told = run("downgrade-check")
    assert told.exit_code == 0
    assert f"Servers of schema {revisions()[-2]} that are running may go on" in told.stdout
    assert "jobmon-server db restore" in told.stdout
    assert "  batch: 0 rows\n" in run("downgrade-check", "--revision", "0002").stdout
    assert "There is no schema 0099 to go back to" in str(
        run("downgrade-check", "--revision", "0099").exception
    )


def test_passwords_are_not_repeated(backend: Backend, tmp_path: Path) -> None:
    """Not where the server is out of reach, and not in any other message; and who types one is told of a better way."""
    if backend is Backend.SQLITE:
        return
    url = make_url(databases.admin_url(backend)).set(username="ada", password="s3cret", port=1, database="x")
    uri = url.render_as_string(hide_password=False)
    for command in (["init"], ["upgrade"], ["current"], ["terminate", "-y"], ["downgrade-check"]):
        told = run(*command, "--db-uri", uri)
        assert told.exit_code == 1
        assert "s3cret" not in told.output + str(told.exception)
        assert "better put the URI into JOBMON__DB__SQLALCHEMY_DATABASE_URI" in told.stderr
    told = run("dump", str(tmp_path / "copy"), "--db-uri", uri)
    assert "s3cret" not in told.output + str(told.exception)


def test_who_may_not_create_a_database_is_told(backend: Backend, bare_uri: str) -> None:
    if backend is Backend.SQLITE:
        return
    name = f"nobody_{make_url(bare_uri).database}"[-30:]
    host = "@'%'" if backend is Backend.MARIADB else ""
    word = "IDENTIFIED BY 'pw'" if backend is Backend.MARIADB else "PASSWORD 'pw'"
    with databases.administrator(backend) as connection:
        connection.execute(text(f"CREATE USER {name}{host} {word}"))
    try:
        url = make_url(bare_uri).set(username=name, password="pw", database="not_there")
        told = run("init", "--db-uri", url.render_as_string(hide_password=False))
        assert told.exit_code == 1
        assert "not_there cannot be used as a database" in str(told.exception)
        assert "may this user use it?" in str(told.exception)
    finally:
        with databases.administrator(backend) as connection:
            connection.execute(text(f"DROP USER {name}{host}"))


def test_names_of_earlier_versions(bare_uri: str) -> None:
    """The command, its options, and the function."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts["jobmon_server"] == "jobmon.server.cli.legacy:main"

    def old(*arguments: str, answer: str = "") -> Result:
        result = CliRunner().invoke(legacy.cli, arguments, input=answer)
        assert result.exit_code == 0, result.output
        return result

    init_db_of_earlier_versions(bare_uri)
    old("init_db", "--sqlalchemy_database_uri", bare_uri)
    assert "now jobmon-server db upgrade" in old("upgrade_db", "--revision", "head").stderr
    old("terminate_db", "--sqlalchemy_database_uri", bare_uri, answer="y\n")
    assert tables(bare_uri) == []
    assert "reaper" in old("workflow_reaper", "start", "--help").output
