"""Who is told of the end of a run: what the script says, what the configuration says, what the server can do."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import NamedTuple

from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import ConfigError, UsageError
from jobmon.core.notify_target import NotifyTarget, OpenChannels, parse_targets, require_open
from jobmon.core.requester import Requester

logger = logging.getLogger(__name__)


class WantedTargets(NamedTuple):
    """Whom to tell, and whether that is only what the configuration says."""

    targets: list[NotifyTarget]
    is_default: bool


def wanted_targets(notify: str | Iterable[str] | None, config: JobmonConfig) -> WantedTargets:
    """Whom to tell: what was asked for, else ``notify.on_end``.

    Raises:
        UsageError: an address is none.
    """
    if notify is not None:
        return WantedTargets(parse_targets(notify), False)
    configured = config.get("notify", "on_end")
    try:
        return WantedTargets(
            parse_targets(configured if isinstance(configured, list) else str(configured or "")), True
        )
    except UsageError as error:
        raise ConfigError(f"notify.on_end of the configuration: {error}") from None


def tellable_targets(requester: Requester, wanted: WantedTargets) -> tuple[str, ...]:
    """The same as texts, after the server was asked whether it can tell them.

    What only the configuration says is left out with a warning where this server cannot: it must not keep anybody from running.

    Raises:
        UsageError: it cannot tell somebody whom the script names.
    """
    if not wanted.targets:
        return ()
    there = requester.send("GET", "/swarm/notify", None, OpenChannels)
    told = []
    for target in wanted.targets:
        try:
            require_open([target], there)
        except UsageError as error:
            if not wanted.is_default:
                raise
            logger.warning("notify.on_end of the configuration: %s", error)
            continue
        told.append(str(target))
    return tuple(told)
