"""``jobmon-server db``: the life of the database."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Engine

    from jobmon.server.downgrade_check import DowngradeReport

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


class Age(click.ParamType[float]):
    """A length of time such as ``180d``; in seconds."""

    name = "age"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds of a number with one of the letters s, m, h, d and w."""
        if isinstance(value, int | float):
            return float(value)
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw])", value.strip().lower())
        if match is None:
            self.fail(
                f"{value!r} is no length of time: write a number and s, m, h, d or w, such as 180d.",
                param,
                ctx,
            )
        return float(match[1]) * _SECONDS[match[2]]


@click.group()
def db() -> None:
    """Create, upgrade, copy and tidy up the database."""


def _tell(sentence: str) -> None:
    """Progress goes to stderr, results to stdout."""
    click.echo(sentence, err=True)


def _warn_of_password(_context: click.Context, _parameter: click.Parameter, uri: str) -> str:
    if re.match(r"[^:/]+://[^@/]*:[^@/]+@", uri):
        _tell(
            "A password on the command line can be read by everybody on this machine; better put the URI into "
            "JOBMON__DB__SQLALCHEMY_DATABASE_URI or into a configuration file that only you may read."
        )
    return uri


_URI = click.option(
    "--db-uri",
    default="",
    callback=_warn_of_password,
    help="SQLAlchemy URI; by default db.sqlalchemy_database_uri of the configuration.",
)
_YES = click.option("-y", "--yes", is_flag=True, help="Do not ask.")


def _engine(db_uri: str) -> Engine:
    from jobmon.core.configuration import JobmonConfig
    from jobmon.server.web.database import make_engine
    from jobmon.server.web.db_admin import database_address

    url, connect_args = database_address(db_uri, JobmonConfig())
    if url.get_backend_name() == "sqlite" and not Path(str(url.database)).exists():
        raise click.ClickException(f"There is no database {url.database}; 'jobmon-server db init' makes it.")
    return make_engine(url.render_as_string(hide_password=False), connect_args)


@db.command()
@_URI
def init(db_uri: str) -> None:
    """Create the database, its tables and the rows that come with Jobmon; an older database is upgraded."""
    from jobmon.server.web.db_admin import init_db

    init_db(db_uri, tell=_tell)
    click.echo("The database is ready.")


@db.command()
@_URI
@click.option("--revision", default="head", show_default=True, help="Stop at this revision of the schema.")
def upgrade(db_uri: str, revision: str) -> None:
    """Bring the tables to the schema of this version of Jobmon. Make a copy before: 'db dump'."""
    from jobmon.server.web import db_admin

    engine = _engine(db_uri)
    try:
        db_admin.upgrade(engine, "" if revision == "head" else revision, tell=_tell)
    finally:
        engine.dispose()
    click.echo(
        "The database is up to date." if revision == "head" else f"The database is at schema {revision}."
    )


@db.command()
@_URI
def current(db_uri: str) -> None:
    """Say which schema the database has, and which one this version of Jobmon needs."""
    from jobmon.server.web.db_admin import current_revision, newest_revision, require_schema

    engine = _engine(db_uri)
    try:
        click.echo(f"{current_revision(engine) or 'none'} (this Jobmon needs {newest_revision()})")
        require_schema(engine)
    finally:
        engine.dispose()


@db.command("downgrade-check")
@_URI
@click.option("--revision", default="", help="Schema to go back to; by default the one before.")
def downgrade_check(db_uri: str, revision: str) -> None:
    """Say what a way back to an earlier version means; changes nothing.

    The exit status is 0 when servers of that version that are running may go on.
    """
    from jobmon.server.downgrade_check import check

    engine = _engine(db_uri)
    try:
        report = check(engine, revision)
    finally:
        engine.dispose()
    _show_report(report)
    sys.exit(1 if report.obstacles else 0)


def _show_report(report: DowngradeReport) -> None:
    click.echo(f"The database is at schema {report.current}.")
    if report.obstacles:
        click.echo(f"Servers of schema {report.target} do not work with it, because of:")
        for statement in report.obstacles:
            click.echo(f"  {statement}")
    else:
        click.echo(
            f"Servers of schema {report.target} that are running may go on: nothing they know was taken away. "
            "Started anew, they refuse it."
        )
    click.echo(f"Without what came after {report.target} this would be lost:")
    for what, count in report.lost.items():
        click.echo(f"  {what}: {count} rows" + ("" if "." not in what else " with a value"))
    if not report.lost:
        click.echo("  nothing")
    click.echo("The way back is 'jobmon-server db restore' of a copy made before the upgrade.")


@db.command()
@_URI
@_YES
def terminate(db_uri: str, yes: bool) -> None:
    """Remove Jobmon's tables with everything in them. The database itself, and who may use it, stays."""
    from jobmon.server.web.db_admin import count_alive_runs, remove_tables

    engine = _engine(db_uri)
    try:
        where = engine.url.render_as_string()
        if not yes:
            alive = count_alive_runs(engine)
            running = f" {alive} workflow runs are going on." if alive else ""
            click.confirm(f"Everything in {where} will be lost.{running} Go on?", abort=True)
        count = remove_tables(engine)
    finally:
        engine.dispose()
    click.echo(f"Removed {count} tables of {where}." if count else f"{where} has no tables of Jobmon.")


@db.command()
@_URI
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def dump(db_uri: str, file: Path) -> None:
    """Write a copy of the database to FILE, while servers work on it."""
    from jobmon.server.dump import dump as write_dump

    write_dump(file, db_uri, tell=_tell)
    click.echo(f"Wrote {file} ({file.stat().st_size / 1e6:.1f} MB).")


@db.command()
@_URI
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def restore(db_uri: str, file: Path) -> None:
    """Make an empty or missing database from FILE, which 'db dump' wrote."""
    from jobmon.server.dump import restore as read_dump

    read_dump(file, db_uri, tell=_tell)
    click.echo(f"Restored {file}.")


@db.command()
@_URI
@click.option(
    "--older-than", type=Age(), required=True, help="How long ago a workflow ended at least: 180d, 12h …"
)
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
@click.option(
    "--keep-failed", is_flag=True, help="Delete workflows that are done; others may be resumed some day."
)
@click.option(
    "--shared-after",
    type=Age(),
    default="1h",
    show_default=True,
    help="How long graphs, nodes and resources have been unused at least. Less is safe while no server works.",
)
def prune(db_uri: str, older_than: float, dry_run: bool, keep_failed: bool, shared_after: float) -> None:
    """Delete workflows that ended long ago, with all of their tasks, attempts and history.

    It works in short transactions beside servers, may be stopped at any time and goes on from there. Graphs, nodes and
    resources that nothing uses any more are deleted by the next prune that comes at least --shared-after later.
    """
    from jobmon.core.configuration import JobmonConfig
    from jobmon.core.states import WorkflowStatus
    from jobmon.server.services.pruner import Pruner
    from jobmon.server.web.database import Database
    from jobmon.server.web.db_admin import database_address, require_schema
    from jobmon.server.web.store.prune import ENDED

    url, connect_args = database_address(db_uri, JobmonConfig())
    database = Database(url.render_as_string(hide_password=False), connect_args)
    statuses = frozenset({WorkflowStatus.DONE}) if keep_failed else ENDED
    pruner = Pruner(database, older_than, statuses, shared_after, tell=_tell)
    try:
        require_schema(database.engine)
        result = pruner.count() if dry_run else pruner.run_once()
    finally:
        database.dispose()
    verb = "Would delete" if dry_run else "Deleted"
    click.echo(f"{verb} {len(result.workflow_ids)} workflows.")
    _show_rows(result.freed)


def _show_rows(freed: Mapping[str, int]) -> None:
    for table, count in sorted(freed.items()):
        if count:
            click.echo(f"  {table}: {count} rows")
