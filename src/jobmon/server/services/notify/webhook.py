"""Webhooks: a JSON object is posted, signed where there is a key.

The headers of a request::

    X-Jobmon-Delivery: run-12-3             the same for every try of the same news
    X-Jobmon-Timestamp: 1760000000          seconds since 1970
    X-Jobmon-Signature: sha256=<hex>        HMAC-SHA256 of "<timestamp>.<body>", with the key of notify.webhook_secret_file

Redirects are not followed, and no more of an answer is read than its status.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from urllib.parse import urlsplit

import httpx
import msgspec

from jobmon.core import __version__
from jobmon.server.services.notify.notice import DeliveryError, Notice


class WebhookChannel:
    """Posts to addresses of the web.

    Args:
        key: signs what is posted; empty: it is not signed.
        timeout_seconds: for one request.
    """

    def __init__(self, key: str, timeout_seconds: float) -> None:
        self._key, self.timeout_seconds = key.encode(), timeout_seconds

    def send(self, notice: Notice) -> None:
        """Post one message."""
        content = msgspec.json.encode(notice.data)
        moment = str(int(time.time()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"jobmon/{__version__}",
            "X-Jobmon-Delivery": notice.delivery_id,
            "X-Jobmon-Timestamp": moment,
        }
        if self._key:
            headers["X-Jobmon-Signature"] = signature(self._key, moment, content)
        host = urlsplit(notice.target.address).hostname or ""
        try:
            status, wait = asyncio.run(self._post(notice.target.address, content, headers))
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            raise DeliveryError(f"The webhook at {host} did not answer ({type(error).__name__}).") from None
        if not 200 <= status < 300:
            is_final = status in (400, 401, 403, 404, 405, 410, 413) or 300 <= status < 400
            raise DeliveryError(
                f"The webhook at {host} answered with HTTP {status}.",
                is_final=is_final,
                retry_after_seconds=wait,
            )

    async def _post(self, url: str, content: bytes, headers: dict[str, str]) -> tuple[int, float]:
        """Status and Retry-After of the answer; asynchronous, for one that comes drop by drop is cut off that way."""
        async with (
            asyncio.timeout(self.timeout_seconds),
            httpx.AsyncClient(
                timeout=self.timeout_seconds, follow_redirects=False, trust_env=False
            ) as client,
            client.stream("POST", url, content=content, headers=headers) as response,
        ):
            return response.status_code, _seconds(response.headers.get("retry-after", ""))


def signature(key: bytes, moment: str, content: bytes) -> str:
    """What stands in ``X-Jobmon-Signature``."""
    return "sha256=" + hmac.new(key, moment.encode() + b"." + content, hashlib.sha256).hexdigest()


def _seconds(text: str) -> float:
    try:
        return min(max(float(text), 0.0), 3600.0)
    except ValueError:
        return 0.0
