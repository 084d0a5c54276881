"""Slack, by its web API; needs ``jobmon[slack]``."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from jobmon.core.exceptions import ConfigError
from jobmon.server.services.notify.notice import DeliveryError, Notice

if TYPE_CHECKING:
    from slack_sdk import WebClient

MESSAGE_CHARACTERS = 3500
_TRANSIENT = frozenset(
    {"ratelimited", "rate_limited", "internal_error", "fatal_error", "service_unavailable", "request_timeout"}
)
_WORD = re.compile(r"[a-z0-9_]{1,60}")
API_URL = "https://slack.com/api/"


class SlackChannel:
    """Posts messages as a bot.

    Args:
        token: of the bot; it needs the scope ``chat:write``.
        api_url: Slack's web API.
        timeout_seconds: for one request.

    Raises:
        ConfigError: ``jobmon[slack]`` is not installed.
    """

    def __init__(self, token: str, api_url: str, timeout_seconds: float) -> None:
        try:
            from slack_sdk import WebClient
        except ImportError:
            raise ConfigError(
                "Slack is configured, but its library is missing. Type: pip install 'jobmon[slack]'"
            ) from None
        quiet = logging.getLogger("jobmon.server.notify.slack_sdk")  # its debug lines hold requests
        quiet.setLevel(logging.CRITICAL)
        self._client: WebClient = WebClient(
            token=token,
            base_url=base_url(api_url),
            timeout=max(1, int(timeout_seconds)),
            retry_handlers=[],
            logger=quiet,
        )

    def send(self, notice: Notice) -> None:
        """Post one message."""
        from slack_sdk.errors import SlackApiError

        text = f"*{escape(notice.subject)}*\n{escape(notice.text)}"
        try:
            self._client.chat_postMessage(
                channel=notice.target.address,
                text=text[:MESSAGE_CHARACTERS],
                unfurl_links=False,
                unfurl_media=False,
                metadata={
                    "event_type": "jobmon_notice",
                    "event_payload": {"delivery_id": notice.delivery_id},
                },
            )
        except SlackApiError as error:
            raise _delivery_error(error.response) from None
        except Exception as error:  # noqa: BLE001 - it may hold the request, and so the token: only its kind is told
            raise DeliveryError(f"Slack did not answer as it should ({type(error).__name__}).") from None


def _delivery_error(response: Any) -> DeliveryError:
    """What an answer of Slack's that is none means; of its text only what looks like a code is told."""
    status = int(getattr(response, "status_code", 0) or 0)
    try:
        code = str(response.get("error", ""))
    except Exception:  # noqa: BLE001 - the answer may be anything
        code = ""
    code = code if _WORD.fullmatch(code) else ""
    is_transient = code in _TRANSIENT or status == 429 or status >= 500 or not code
    try:
        wait = float((response.headers or {}).get("Retry-After", 0))
    except (TypeError, ValueError, AttributeError):
        wait = 0.0
    words = f"Slack refused the message: {code or f'HTTP {status}'}."
    return DeliveryError(words, is_final=not is_transient, retry_after_seconds=min(max(wait, 0.0), 3600.0))


def base_url(url: str) -> str:
    """Slack's API from what older configurations named: the address of its method ``chat.postMessage``."""
    whole = url.strip().removesuffix("/").removesuffix("chat.postMessage").removesuffix("/")
    if not whole:
        return API_URL
    if urlsplit(whole).scheme not in ("http", "https"):
        raise ConfigError("slack.api_url must begin with https:// (or http://).")
    return f"{whole}/"


def escape(text: str) -> str:
    """Text in which nothing is a link, a channel or a person to Slack."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
