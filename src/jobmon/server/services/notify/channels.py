"""Which ways to tell somebody are configured, and which addresses users may give."""

from __future__ import annotations

import logging
import socket
from dataclasses import dataclass, field

from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import ConfigError, UsageError
from jobmon.core.notify_target import NotifyChannel, NotifyTarget, OpenChannels, parse_targets
from jobmon.server.services.notify.notice import Channel
from jobmon.server.services.notify.secret_file import read_secret

logger = logging.getLogger("jobmon.server.notify")

TEST = "test"
"""The kind of news of ``jobmon-server notify test``."""


@dataclass(frozen=True)
class NotifySettings:
    """What is configured.

    Attributes:
        default: who is told of alarms.
        by_kind: who is told of single kinds instead.
        has_slack, has_mail: whether these are configured.
        webhook_hosts, mail_domains: where users may have something sent.
        fold_seconds, timeout_seconds: see the keys of the section ``notify``.
        max_tries: how often something is tried.
    """

    default: list[NotifyTarget] = field(default_factory=list)
    by_kind: dict[str, list[NotifyTarget]] = field(default_factory=dict)
    has_slack: bool = False
    has_mail: bool = False
    webhook_hosts: tuple[str, ...] = ()
    mail_domains: tuple[str, ...] = ()
    fold_seconds: float = 3600.0
    timeout_seconds: float = 10.0
    max_tries: int = 8

    @classmethod
    def from_config(cls, config: JobmonConfig) -> NotifySettings:
        """As the sections ``notify``, ``slack`` and ``reaper`` say.

        Raises:
            ConfigError: an address is none.
        """
        default = str(config.get("notify", "default")) or str(config.get("reaper", "slack_channel_default"))
        channels = dict(config.get("notify", "channels"))
        return cls(
            _targets("notify.default", default),
            {kind: _targets(f"notify.channels.{kind}", given) for kind, given in channels.items()},
            bool(_slack_token_source(config)),
            bool(config.get("notify", "mail_host")),
            _words(config.get("notify", "webhook_hosts")),
            _words(config.get("notify", "mail_domains")),
            config.get_float("notify", "fold_minutes") * 60,
            config.get_float("notify", "timeout_seconds"),
            config.get_int("notify", "max_tries"),
        )

    def targets_of(self, kind: str) -> list[NotifyTarget]:
        """Who is told of a kind of news."""
        return self.by_kind.get(kind, self.default)

    @property
    def open_to_users(self) -> OpenChannels:
        """What users may have the end of their workflow told by."""
        found = []
        if self.has_slack:
            found.append(NotifyChannel.SLACK)
        if self.has_mail:
            found.append(NotifyChannel.MAIL)
        if self.webhook_hosts:
            found.append(NotifyChannel.WEBHOOK)
        return OpenChannels(found, list(self.webhook_hosts), list(self.mail_domains))


def _targets(key: str, given: object) -> list[NotifyTarget]:
    try:
        return parse_targets(given if isinstance(given, list) else str(given or ""))
    except UsageError as error:
        raise ConfigError(f"{key}: {error}") from None


def _words(given: object) -> tuple[str, ...]:
    words = given if isinstance(given, list) else str(given or "").split(",")
    return tuple(str(word).strip().lower() for word in words if str(word).strip())


def _slack_token_source(config: JobmonConfig) -> str:
    """Name of the key that gives the token; empty where none does."""
    for section, key in (("slack", "token_file"), ("slack", "token"), ("reaper", "slack_token")):
        if str(config.get(section, key)):
            return f"{section}.{key}"
    return ""


def make_channel(config: JobmonConfig, channel: NotifyChannel) -> Channel:
    """A channel as configured.

    Raises:
        ConfigError: it is not, or cannot be used.
    """
    timeout_seconds = config.get_float("notify", "timeout_seconds")
    if channel is NotifyChannel.SLACK:
        return _make_slack(config, timeout_seconds)
    if channel is NotifyChannel.MAIL:
        return _make_mail(config, timeout_seconds)
    from jobmon.server.services.notify.webhook import WebhookChannel

    path = str(config.get("notify", "webhook_secret_file"))
    return WebhookChannel(read_secret(path, "notify.webhook_secret_file") if path else "", timeout_seconds)


def _make_slack(config: JobmonConfig, timeout_seconds: float) -> Channel:
    from jobmon.server.services.notify.slack import API_URL, SlackChannel

    source = _slack_token_source(config)
    if not source:
        raise ConfigError(
            "Slack is not configured: set slack.token_file to a file (mode 0600) with a bot's token."
        )
    section, _, key = source.partition(".")
    value = str(config.get(section, key))
    token = read_secret(value, source) if key == "token_file" else value
    url = str(config.get("slack", "api_url"))
    old = str(config.get("reaper", "slack_api_url"))
    return SlackChannel(token, old if old and url == API_URL else url, timeout_seconds)


def _make_mail(config: JobmonConfig, timeout_seconds: float) -> Channel:
    from jobmon.server.services.notify.mail import MailChannel

    host = str(config.get("notify", "mail_host"))
    if not host:
        raise ConfigError("E-mail is not configured: set notify.mail_host to an SMTP server.")
    user, path = str(config.get("notify", "mail_user")), str(config.get("notify", "mail_password_file"))
    if user and not path:
        raise ConfigError(
            "notify.mail_user is set: name a file with its password in notify.mail_password_file."
        )
    password = read_secret(path, "notify.mail_password_file") if user else ""
    sender = str(config.get("notify", "mail_from")) or f"jobmon@{socket.getfqdn()}"
    return MailChannel(
        host,
        config.get_int("notify", "mail_port"),
        str(config.get("notify", "mail_security")),
        sender,
        user,
        password,
        timeout_seconds,
    )
