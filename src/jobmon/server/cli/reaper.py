"""``jobmon-server reaper``, ``monitor`` and ``notify``: the services beside the web service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import ConfigError, UsageError

if TYPE_CHECKING:
    from jobmon.server.services.host import ServiceHost
    from jobmon.server.services.lease import LeaseView
    from jobmon.server.web.database import Database

STOP_SECONDS = 10.0


@click.group()
def reaper() -> None:
    """End what nobody else will end, and tell of it."""


def _refuse_token(_context: click.Context, _parameter: click.Parameter, value: str | None) -> None:
    """A token on a command line can be read by everybody on the machine; it is not even repeated."""
    if value is not None:
        raise click.UsageError(
            "--slack-token is not taken: everybody on this machine could read it in the list of processes. Put the token "
            "into a file (chmod 600) and name that in slack.token_file, or set JOBMON__SLACK__TOKEN. That token should be "
            "replaced now."
        )


@reaper.command("start")
@click.option(
    "--poll-interval",
    "--poll_interval_minutes",
    "poll_interval",
    type=click.FloatRange(min=0, min_open=True),
    help="Minutes between two looks; default: reaper.poll_interval_minutes.",
)
@click.option("--once", is_flag=True, help="Look once, say what was done, and end.")
@click.option(
    "--slack-api-url", "--slack_api_url", default="", help="Slack's web API; default: slack.api_url."
)
@click.option(
    "--slack-channel",
    "--slack_channel_default",
    "slack_channel",
    default="",
    help="Slack channel for what is told; default: notify.default.",
)
@click.option("--service-url", "--service_url", default="", hidden=True)
@click.option(
    "--slack-token", "--slack_token", hidden=True, expose_value=False, is_eager=True, callback=_refuse_token
)
def reaper_start(
    poll_interval: float | None, once: bool, slack_api_url: str, slack_channel: str, service_url: str
) -> None:
    """Run the services in the foreground: reaper, monitor, notification and, where enabled, the usage integrator.

    A server runs them as well, unless reaper.enabled is false. However many processes run them, one at a time acts; when it
    dies another one takes over within lease.seconds.

    \b
    Examples:
      jobmon-server reaper start
      jobmon-server reaper start --poll-interval 1 --slack-channel '#jobmon'
    """
    config = JobmonConfig()
    _override(config, poll_interval, slack_api_url, slack_channel)
    if service_url:
        click.echo("--service-url has no effect: the reaper works on the database itself.", err=True)
    database = _database(config)
    try:
        _once(config, database) if once else _serve(config, database)
    finally:
        database.dispose()


def _override(
    config: JobmonConfig, poll_interval: float | None, slack_api_url: str, slack_channel: str
) -> None:
    if poll_interval is not None:
        config.set("reaper", "poll_interval_minutes", poll_interval)
    if slack_api_url:
        config.set("slack", "api_url", slack_api_url)
    if slack_channel:
        name = slack_channel if slack_channel[0] in "#@" else f"#{slack_channel}"
        config.set("notify", "default", name)


def _database(config: JobmonConfig) -> Database:
    from jobmon.server.services.notify.channels import NotifySettings
    from jobmon.server.web.database import Database
    from jobmon.server.web.db_admin import require_schema

    NotifySettings.from_config(config)  # a mistake in it is told before anything is done
    database = Database.from_config(config)
    require_schema(database.engine)
    return database


def _serve(config: JobmonConfig, database: Database) -> None:
    import signal
    import threading

    from jobmon.server.services.host import ServiceHost

    _log_to_stderr(config)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    host = ServiceHost(config, database)
    host.start(0.0)
    while not stop.wait(3600):
        pass
    host.stop(STOP_SECONDS)


def _once(config: JobmonConfig, database: Database) -> None:
    from jobmon.server.services.host import ServiceHost

    _log_to_stderr(config)
    host = ServiceHost(config, database)
    if host.keeper.look() is None:
        holder = _lease(database)
        raise UsageError(
            f"Another process has the lease: {holder.holder if holder else 'unknown'}. It does this work, nothing is left to do."
        )
    try:
        _look_once(host)
    finally:
        host.stop(STOP_SECONDS)


def _look_once(host: ServiceHost) -> None:
    from jobmon.server.services.reaper import describe

    words = describe(host.reaper.run_once())
    click.echo(f"Put right: {words or 'nothing'}.")
    num_told = host.deliveries.run_once()
    click.echo(f"Told: {num_told}.")
    click.echo(
        "A run counts as lost only after it was watched for reaper.grace_seconds, which one look cannot do."
    )


def _log_to_stderr(config: JobmonConfig) -> None:
    import logging.config

    from jobmon.core.log_format import settings_to_stderr
    from jobmon.core.logging import logging_settings

    logging.config.dictConfig(
        logging_settings(config, "server", settings_to_stderr(str(config.get("logging", "format"))))
    )


def _lease(database: Database) -> LeaseView | None:
    from jobmon.server.services.lease import lease_read

    with database.read() as connection:
        return lease_read(connection)


@reaper.command("status")
@click.option("--alarms", "num_alarms", default=20, show_default=True, help="How many of the latest alarms.")
def reaper_status(num_alarms: int) -> None:
    """Say which process does the work of the services, and what was told of last."""
    from jobmon.server.services.alarms import alarms_read

    database = _database(JobmonConfig())
    try:
        found = _lease(database)
        if found is None or not found.is_held:
            click.echo(
                "No process has the lease: nobody looks for lost runs. Start a server, or: jobmon-server reaper start"
            )
        else:
            click.echo(
                f"{found.holder} has the lease in term {found.term}, since {found.acquired_at:%Y-%m-%d %H:%M:%S} UTC, for "
                f"{found.seconds_left:.0f} s more."
            )
        with database.read() as connection:
            for kind, subject, count, seen_at, message in alarms_read(connection, num_alarms):
                click.echo(f"{seen_at:%Y-%m-%d %H:%M:%S}  {kind}  {subject}  ×{count}\n    {message}")
    finally:
        database.dispose()


@reaper.command("rules")
def reaper_rules() -> None:
    """Say what the reaper puts right, and how soon."""
    from jobmon.server.services.rules import RULES

    for rule in RULES:
        click.echo(f"{rule.name}\n  finds:  {rule.finds}\n  does:   {rule.does}\n  within: {rule.bound}")


@click.group()
def monitor() -> None:
    """Look for nodes of clusters that fail more often than others."""


@monitor.command("look")
def monitor_look() -> None:
    """Say which nodes are suspected now; nothing is stored, nobody is told."""
    from jobmon.server.services.monitor import Monitor

    config = JobmonConfig()
    database = _database(config)
    minutes = config.get_float("monitor", "window_minutes")
    try:
        result = Monitor.from_config(config, database).find_once()
    finally:
        database.dispose()
    click.echo(f"Looked at {result.num_outcomes} ends of tasks in the last {minutes:g} minutes.")
    for cluster_name, suspects in sorted(result.suspects.items()):
        for each in suspects:
            click.echo(
                f"{cluster_name} {each.nodename}: {each.words(minutes)} (by chance: {each.probability:.1g})"
            )
    if not result.suspects:
        click.echo("No node fails more often than the others.")


@click.group()
def notify() -> None:
    """Tell people: Slack, e-mail, webhooks."""


@notify.command("channels")
def notify_channels() -> None:
    """Say what is configured, and who is told of what."""
    from jobmon.core.notify_target import NotifyChannel
    from jobmon.server.services.notify.channels import NotifySettings, make_channel

    config = JobmonConfig()
    settings = NotifySettings.from_config(config)
    for channel in NotifyChannel:
        try:
            make_channel(config, channel)
            click.echo(f"{channel}: ready")
        except ConfigError as error:
            click.echo(f"{channel}: {error}")
    whom = ", ".join(each.shown() for each in settings.default)
    click.echo(f"Alarms go to: {whom or 'the log only (set notify.default)'}")
    for kind, targets in sorted(settings.by_kind.items()):
        click.echo(f"  {kind}: {', '.join(each.shown() for each in targets) or 'the log only'}")
    open_to = ", ".join(settings.open_to_users.channels)
    click.echo(f"Users may be told by: {open_to or 'nothing'}")


@notify.command("test")
@click.argument("target", metavar="CHANNEL")
def notify_test(target: str) -> None:
    """Tell somebody something now: #channel, @user, mail:name@example.org, https://… or the name of a kind of news.

    \b
    Examples:
      jobmon-server notify test '#jobmon'
      jobmon-server notify test mail:ada@example.org
      jobmon-server notify test bad_node            whoever is told of bad nodes
    """
    import uuid

    from jobmon.core.notify_target import parse_target
    from jobmon.server.services.notify.channels import TEST, NotifySettings, make_channel
    from jobmon.server.services.notify.notice import Notice

    config = JobmonConfig()
    is_kind = target.replace("_", "").isalnum()
    targets = NotifySettings.from_config(config).targets_of(target) if is_kind else [parse_target(target)]
    if not targets:
        raise ConfigError(f"Nobody is told of {target}: set notify.default or notify.channels.{target}.")
    for each in targets:
        data: dict[str, Any] = {"event": TEST, "message": "This is a test of Jobmon's notification."}
        delivery_id = f"test-{uuid.uuid4().hex[:12]}"
        notice = Notice(delivery_id, each, "Jobmon: a test", str(data["message"]), data)
        make_channel(config, each.channel).send(notice)
        click.echo(f"Told {each.shown()}.")
