"""``jobmon-server token``: made, listed and revoked by who runs the server."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select

from jobmon.core.access_token import new_token, read_token_file, token_hash
from jobmon.core.exceptions import ConfigError, JobmonError
from jobmon.server.cli import cli
from jobmon.server.web import dialect
from jobmon.server.web.database import Database
from jobmon.server.web.identity import Identity, UserRole
from jobmon.server.web.models import AccessToken
from jobmon.server.web.store.tokens import token_identity

pytestmark = pytest.mark.sqlite
Run = Callable[..., Result]


@pytest.fixture
def run(database: Database, database_uri: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command over the database of this test."""
    monkeypatch.setenv("JOBMON__DB__SQLALCHEMY_DATABASE_URI", database_uri)

    def run(*words: object) -> Result:
        return CliRunner().invoke(cli, ["token", *map(str, words)])

    return run


def identity(database: Database, token: str) -> Identity | None:
    with database.read() as connection:
        return token_identity(connection, token_hash(token), dialect.utcnow(connection))


def test_a_token_is_shown_once(run: Run, database: Database) -> None:
    """On stdout, alone; the rest is for people. What is kept is its hash."""
    made = run("create", "--user", "ada", "--role", "admin", "--label", "laptop", "--days", 3)
    assert made.exit_code == 0
    token = made.stdout.strip()
    assert re.fullmatch(r"jobmon_[A-Za-z0-9_-]{43}", token)
    assert token not in made.stderr
    assert "user ada (admin), good until" in made.stderr
    assert identity(database, token) == Identity("ada", UserRole.ADMIN)
    listed = run("list", "--all").stdout
    assert token not in listed
    assert token_hash(token) not in listed
    assert re.search(r"1 +ada +admin +active .* laptop", listed)


def test_a_token_goes_into_a_file_of_its_own(run: Run, database: Database, tmp_path: Path) -> None:
    """Which is new, and which the client can use as it is."""
    file = tmp_path / "ada.token"
    made = run("create", "--user", "ada", "--output", file)
    assert (made.exit_code, made.stdout) == (0, "")
    assert file.stat().st_mode & 0o777 == 0o600
    assert identity(database, read_token_file(str(file), "x")) == Identity("ada")
    again = run("create", "--user", "eve", "--output", file)
    assert isinstance(again.exception, ConfigError)
    assert "Name one that is not there yet" in str(again.exception)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "elsewhere")
    assert isinstance(run("create", "--user", "eve", "--output", link).exception, ConfigError)
    assert "eve" not in run("list").stdout


@pytest.mark.parametrize(
    "words",
    [
        ("--user", ""),
        ("--user", " ada"),
        ("--user", "a\nb"),
        ("--user", "x" * 151),
        ("--user", "ada", "--days", 1e9),
        ("--user", "ada", "--days", 0),
        ("--user", "ada", "--days", -1),
        ("--user", "ada", "--role", "worker"),
        ("--user", "ada", "--role", "emperor"),
        (),
    ],
    ids=str,
)
def test_what_is_no_token_is_not_made(
    run: Run, database: Database, tmp_path: Path, words: tuple[object, ...]
) -> None:
    """Nor does a file stay."""
    made = run("create", *words, "--output", tmp_path / "file")
    assert made.exit_code != 0
    assert isinstance(made.exception, JobmonError | SystemExit)
    assert not (tmp_path / "file").exists()
    with database.read() as connection:
        assert connection.scalars(select(AccessToken.id)).all() == []


def test_tokens_are_revoked(run: Run, database: Database) -> None:
    """By their ids, or all of a user; what is not good any more is listed on demand."""
    tokens = [run("create", "--user", user).stdout.strip() for user in ("ada", "ada", "eve", "ada")]
    assert run("revoke", 1).stdout == "Revoked: 1.\n"
    assert run("revoke", 1).stdout == "Revoked: 0.\n"
    assert [identity(database, token) is None for token in tokens] == [True, False, False, False]
    assert run("revoke", "--user", "ada").stdout == "Revoked: 2.\n"
    assert [identity(database, token) is None for token in tokens] == [True, True, False, True]
    assert run("list", "--user", "ada").stdout == "There are none.\n"
    assert run("list", "--user", "ada", "--all").stdout.count(" revoked ") == 3
    assert run("list").stdout.count(" active ") == 1


@pytest.mark.parametrize(
    ("words", "message"), [((), "either ids"), ((1, "--user", "x"), "either ids"), ((7,), "no token 7")]
)
def test_what_cannot_be_revoked(run: Run, words: tuple[object, ...], message: str) -> None:
    revoked = run("revoke", *words)
    assert isinstance(revoked.exception, JobmonError)
    assert message in str(revoked.exception)


def test_a_server_that_knows_nobody_does_not_start_for_all(
    database_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says what to do; so does one that is told of a mode there is not."""
    monkeypatch.setenv("JOBMON__DB__SQLALCHEMY_DATABASE_URI", database_uri)
    monkeypatch.setenv("JOBMON__SERVER__HOST", "127.0.0.1")  # the command sets it
    started = CliRunner().invoke(cli, ["start", "--host", "0.0.0.0"])
    assert isinstance(started.exception, ConfigError)
    assert "jobmon-server token create --user NAME" in str(started.exception)
    monkeypatch.setenv("JOBMON__AUTH__MODE", "kerberos")
    assert "one of none, token, oidc" in str(CliRunner().invoke(cli, ["start"]).exception)


def test_files_that_hold_no_token(tmp_path: Path) -> None:
    """Or that others can read: the message says what to do."""
    file = tmp_path / "file"
    for content in (b"", b"\n", b"two words\n", b"two\nlines\n", "é".encode(), b"\xff\n"):
        file.write_bytes(content)
        file.chmod(0o600)
        with pytest.raises(ConfigError, match=r"http\.token_file"):
            read_token_file(str(file), "http.token_file")
    token = new_token()
    file.write_text(token)
    for mode in (0o640, 0o604, 0o620, 0o602):
        file.chmod(mode)
        with pytest.raises(ConfigError, match=f"chmod 600 {file}") as caught:
            read_token_file(str(file), "http.token_file")
        assert token not in str(caught.value)
    file.chmod(0o400)
    assert read_token_file(str(file), "http.token_file") == token
    with pytest.raises(ConfigError, match="cannot be read"):
        read_token_file(str(tmp_path), "http.token_file")
