"""Whom to tell: the addresses of ``workflow.run(notify=…)`` and of ``notify.default``.

========================  ==================================================
``#forecasts``            a Slack channel
``@ada``                  a Slack user (her member id also does: ``@U012AB3CD``)
``mail:ada@example.org``  an e-mail address
``https://…``             a webhook: JSON is posted there
========================  ==================================================
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple
from urllib.parse import urlsplit

from msgspec import Struct

from jobmon.core.exceptions import UsageError

TARGET_CHARACTERS = 500
MOST_TARGETS = 20

_SLACK = re.compile(r"#[^\s#@,]{1,80}|@[A-Za-z0-9._-]{1,80}")
_MAIL = re.compile(r"[^\s@,;<>\"'()\[\]\\:]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,250}[A-Za-z0-9])?")
FORMS = "#channel, @user, mail:name@example.org or https://…"


class NotifyChannel(StrEnum):
    """Ways to tell somebody."""

    SLACK = "slack"
    MAIL = "mail"
    WEBHOOK = "webhook"


class NotifyTarget(NamedTuple):
    """An address and the way there; ``str()`` of it is what the user wrote."""

    channel: NotifyChannel
    address: str

    def __str__(self) -> str:
        """As a user writes it."""
        return f"mail:{self.address}" if self.channel is NotifyChannel.MAIL else self.address

    def shown(self) -> str:
        """For messages and logs: of an address of the web its host only, for the rest may be a secret."""
        if self.channel is NotifyChannel.WEBHOOK:
            return urlsplit(self.address).netloc.rpartition("@")[2]
        return str(self)


def parse_target(text: str) -> NotifyTarget:
    """An address as a user writes it.

    Raises:
        UsageError: it is none.
    """
    word = text.strip()
    if len(word) > TARGET_CHARACTERS:
        raise UsageError(f"An address to be told at has at most {TARGET_CHARACTERS} characters.")
    if _SLACK.fullmatch(word):
        return NotifyTarget(NotifyChannel.SLACK, word)
    scheme, _, rest = word.partition(":")
    if scheme.lower() in ("mail", "mailto") and _MAIL.fullmatch(rest.strip()):
        return NotifyTarget(NotifyChannel.MAIL, rest.strip())
    if scheme.lower() in ("http", "https") and _is_web_address(word):
        return NotifyTarget(NotifyChannel.WEBHOOK, word)
    shown = f"{scheme}:…" if rest.startswith("//") else repr(word)  # an address may hold a secret
    hint = f" Did you mean mail:{word}?" if _MAIL.fullmatch(word) else ""
    raise UsageError(f"notify: {shown} is nobody who can be told. It is written {FORMS}.{hint}")


def _is_web_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return bool(parts.hostname) and (parts.port or 1) > 0 and not any(c.isspace() for c in text)
    except ValueError:
        return False


def parse_targets(given: str | Iterable[str] | None) -> list[NotifyTarget]:
    """Addresses: one, several with commas, or a list; each once, in their order.

    Raises:
        UsageError: one of them is none, or there are too many.
    """
    words = given.split(",") if isinstance(given, str) else list(given or ())
    if not all(isinstance(word, str) for word in words):
        raise UsageError(f"notify takes texts: {FORMS}.")
    targets = list(dict.fromkeys(parse_target(word) for word in words if word.strip()))
    if len(targets) > MOST_TARGETS:
        raise UsageError(f"notify: {len(targets)} addresses, of which there may be {MOST_TARGETS}.")
    return targets


class OpenChannels(Struct):
    """What a server offers its users.

    Attributes:
        channels: ways that are configured.
        webhook_hosts: where webhooks may be: ``host``, ``host:port`` or ``*.domain``.
        mail_domains: domains mail may go to; empty: all.
    """

    channels: list[NotifyChannel] = []
    webhook_hosts: list[str] = []
    mail_domains: list[str] = []


def require_open(targets: Iterable[NotifyTarget], there: OpenChannels) -> None:
    """Refuse addresses that a server cannot or must not tell.

    Raises:
        UsageError: one of them; the message says what there is instead.
    """
    for target in targets:
        if target.channel not in there.channels:
            raise UsageError(
                f"notify: this Jobmon server cannot tell {target.shown()}: {target.channel} is not configured there "
                f"(configured: {', '.join(there.channels) or 'none'}). Its operators set that up in the section notify of its "
                "configuration."
            )
        is_webhook = target.channel is NotifyChannel.WEBHOOK
        if is_webhook and not host_is_allowed(target.address, there.webhook_hosts):
            raise UsageError(
                f"notify: this Jobmon server sends nothing to {target.shown()}, but to: "
                f"{', '.join(there.webhook_hosts)} (notify.webhook_hosts)."
            )
        domain = target.address.rpartition("@")[2].lower()
        is_mail = target.channel is NotifyChannel.MAIL
        if is_mail and there.mail_domains and domain not in there.mail_domains:
            raise UsageError(
                f"notify: this Jobmon server sends no mail to {domain}, but to: "
                f"{', '.join(there.mail_domains)} (notify.mail_domains)."
            )


def host_is_allowed(url: str, allowed: Iterable[str]) -> bool:
    """Whether an address of the web is of one of the hosts: ``host``, ``host:port`` or ``*.domain``."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    port = parts.port or (443 if parts.scheme.lower() == "https" else 80)
    for pattern in allowed:
        if pattern.startswith("*.") and host.endswith(pattern[1:]):
            return True
        if pattern in (host, f"{host}:{port}"):
            return True
    return False
