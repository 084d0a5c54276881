"""The outermost layer of the web service: who is let in, and an id for each request."""

from __future__ import annotations

import hmac
import re
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jobmon.server.web import errors

_PUBLIC = frozenset({"/health"})
WORKERS_ONLY = "jobmon_workers_only"
"""Key of the scope of requests that come by an address which is open to reports of attempts only."""
_REQUEST_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class RequestGate:
    """Outermost layer: gives each request an id and lets through only who shows the token.

    Args:
        app: the application.
        token: bearer token; empty: everybody may ask.
        prefix: route prefix; its ``/health`` is open to all.
        worker_token: bearer token that is good for reports of attempts only; empty: none.
    """

    def __init__(self, app: ASGIApp, token: str, prefix: str, worker_token: str = "") -> None:
        self.app, self.token, self.worker_token = app, token, worker_token
        self.public = {*_PUBLIC, *(prefix + path for path in _PUBLIC)}
        self.worker_paths = f"{prefix}/worker/"

    def refusal(self, path: str, shown: str, workers_only: bool = False) -> tuple[int, str] | None:
        """HTTP status and reason of what is refused; ``None``: it may pass.

        Args:
            path: where the request goes.
            shown: the bearer token it shows.
            workers_only: it came by an address that is open to reports of attempts only.
        """
        if path in self.public:
            return None
        is_report = path.startswith(self.worker_paths)
        if workers_only and not is_report:
            return 403, "This address takes reports of attempts only."
        if not self.token or _is_same(shown, self.token):
            return None
        if self.worker_token and _is_same(shown, self.worker_token):
            return None if is_report else (403, "This bearer token is good for reports of attempts only.")
        return 401, "The bearer token is missing or wrong."

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        scope["jobmon_request_id"] = request_id

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        shown = headers.get("authorization", "").removeprefix("Bearer ")
        refused = self.refusal(scope["path"], shown, bool(scope.get(WORKERS_ONLY)))
        if refused is not None:
            response = errors.error_response(refused[0], "NotAllowedError", refused[1], request_id)
            await response(scope, receive, send_with_id)
            return
        await self.app(scope, receive, send_with_id)


def _is_same(shown: str, token: str) -> bool:
    """Whether two tokens are the same, in a time that tells nothing of them."""
    return hmac.compare_digest(shown.encode(), token.encode())
