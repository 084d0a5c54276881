"""``jobmon-server token``: bearer tokens of people and services."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import click

from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import ConfigError, UsageError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from jobmon.server.web.database import Database

MOST_DAYS = 36_500


@click.group()
def token() -> None:
    """Make, list and revoke the bearer tokens by which users are known (auth.mode token and oidc)."""


@token.command()
@click.option("--user", required=True, help="As whom it acts: the name under which their workflows run.")
@click.option(
    "--role",
    type=click.Choice(["user", "admin", "observer"]),
    default="user",
    show_default=True,
    help="What it may do.",
)
@click.option("--label", default="", help="What it is for, to know it again in the list.")
@click.option(
    "--days", type=click.FloatRange(min=0, min_open=True), help="Days it is good for (auth.token_days)."
)
@click.option(
    "--output", type=click.Path(dir_okay=False), help="New file (mode 0600) to write it to; not shown then."
)
def create(user: str, role: str, label: str, days: float | None, output: str | None) -> None:
    """Make a token. It is shown once, or written to a file: the database keeps its hash only."""
    from jobmon.core.access_token import new_token, token_hash
    from jobmon.server.web import dialect
    from jobmon.server.web.identity import UserRole
    from jobmon.server.web.store.tokens import token_create

    lifetime = _lifetime(days if days is not None else JobmonConfig().get_float("auth", "token_days"))
    with _database() as database, _new_file(output) as descriptor:
        made = new_token()

        def work(connection: Connection) -> tuple[int, datetime]:
            now = dialect.utcnow(connection)
            kept = token_create(
                connection,
                token_hash(made),
                user=user,
                role=UserRole(role),
                label=label,
                now=now,
                expires_at=now + lifetime,
            )
            return kept, now + lifetime

        if descriptor is not None:
            os.write(descriptor, f"{made}\n".encode())
        token_id, until = database.retrying_write(work)
    click.echo(f"Token {token_id} of user {user} ({role}), good until {_shown(until)} UTC.", err=True)
    if output is None:
        click.echo(
            "It is not shown again. Keep it in a file that only its user can read (http.token_file):",
            err=True,
        )
        click.echo(made)
    else:
        click.echo(f"Written to {output}; give it to its user, who names it in http.token_file.", err=True)


@token.command("list")
@click.option("--user", default="", help="Only those of this user.")
@click.option(
    "--all",
    "is_all",
    is_flag=True,
    help="Also those that are not good any more, and those of tasks' wrappers.",
)
def list_tokens(user: str, is_all: bool) -> None:
    """List the tokens that are good; never what they are, which nobody knows."""
    from tabulate import tabulate

    from jobmon.server.web import dialect
    from jobmon.server.web.store.tokens import tokens_list

    with _database() as database, database.read() as connection:
        now = dialect.utcnow(connection)
        rows = tokens_list(connection, now, user=user, is_all=is_all)
    if not rows:
        click.echo("There are none.")
        return
    table = [
        [
            row.id,
            row.user,
            row.role,
            row.state(now),
            _shown(row.created_at),
            _shown(row.expires_at),
            row.label,
        ]
        for row in rows
    ]
    headers = ["ID", "USER", "ROLE", "STATE", "CREATED (UTC)", "EXPIRES (UTC)", "LABEL"]
    click.echo(tabulate(table, headers, disable_numparse=True))


@token.command()
@click.argument("ids", nargs=-1, type=int, metavar="[ID]...")
@click.option("--user", default="", help="All tokens of this user, those of the tasks' wrappers too.")
def revoke(ids: tuple[int, ...], user: str) -> None:
    """Revoke tokens, by their ids or all of a user's. Every server refuses them within 5 seconds."""
    from jobmon.server.web import dialect
    from jobmon.server.web.store.tokens import tokens_revoke, user_revoke_tokens

    if bool(ids) == bool(user):
        raise UsageError("Name either ids of tokens or a user (--user).")
    with _database() as database:
        num_revoked = database.retrying_write(
            lambda connection: (
                tokens_revoke(connection, ids, dialect.utcnow(connection))
                if ids
                else user_revoke_tokens(connection, user, dialect.utcnow(connection))
            )
        )
    click.echo(f"Revoked: {num_revoked}.")


@contextmanager
def _database() -> Iterator[Database]:
    """The configured database."""
    from jobmon.server.web.database import Database
    from jobmon.server.web.db_admin import require_schema

    database = Database.from_config(JobmonConfig())
    try:
        require_schema(database.engine)
        yield database
    finally:
        database.dispose()


@contextmanager
def _new_file(path: str | None) -> Iterator[int | None]:
    """A file that was not there, readable by its owner only; removed again when the command fails.

    Raises:
        ConfigError: it cannot be made.
    """
    if path is None:
        yield None
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise ConfigError(
            f"The file {path} cannot be made: {error.strerror}. Name one that is not there yet."
        ) from error
    try:
        yield descriptor
    except BaseException:
        os.unlink(path)
        raise
    finally:
        os.close(descriptor)


def _lifetime(days: float) -> timedelta:
    if not 0 < days <= MOST_DAYS:
        raise UsageError(f"A token is good for more than 0 and at most {MOST_DAYS} days, not for {days:g}.")
    return timedelta(days=days)


def _shown(time: datetime | None) -> str:
    return "never" if time is None else time.isoformat(" ", "minutes")
