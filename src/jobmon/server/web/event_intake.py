"""The short way of the one request there are very many of: an event of one attempt, told by its wrapper.

It stands before the framework and answers as the route does that it stands for, by the same functions: the same message, the
same errors, the same group commit. Whatever is unusual about a request goes the long way, to that route.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
from starlette.types import ASGIApp, Receive, Scope, Send

from jobmon.core.instance_event import InstanceEvent
from jobmon.server.web import errors
from jobmon.server.web.identity import Access
from jobmon.server.web.request_watch import ROUTE
from jobmon.server.web.routes import worker
from jobmon.server.web.wire import RequestContext, identity_of, require_access, storable

if TYPE_CHECKING:
    from jobmon.server.web.state import ServerState

_TEMPLATE = worker.router.prefix + worker.EVENT_PATH
_BEFORE_ID, _AFTER_ID = _TEMPLATE.split("{task_instance_id}")
_MOST_DIGITS = 18
_JSON_HEADER = (b"content-type", b"application/json")


class EventIntake:
    """Answers events of attempts by itself, and lets everything else through.

    Args:
        app: the application.
        state: database, feed and configuration of this server.
        prefixes: route prefixes.
    """

    def __init__(self, app: ASGIApp, state: ServerState, prefixes: Sequence[str]) -> None:
        self.app, self.state = app, state
        self._starts = tuple(prefix + _BEFORE_ID for prefix in prefixes)
        self._decoder = msgspec.json.Decoder(InstanceEvent)
        self._encoder = msgspec.json.Encoder()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        task_instance_id = self._attempt_of(scope)
        if task_instance_id is None:
            await self.app(scope, receive, send)
            return
        request_id = str(scope.get("jobmon_request_id", ""))
        scope[ROUTE] = _TEMPLATE
        self.state.touch()
        try:
            body = await _body(receive)
            if body is None:
                return  # nobody waits for an answer
            context = RequestContext(self.state, identity_of(scope), request_id)
            require_access(context.identity, Access.WORKER)
            message = self._decoder.decode(storable(body))
            answer = await worker.task_instance_event(context, task_instance_id, message)
        except Exception as error:  # noqa: BLE001 - every error is an answer, as it is on the long way
            await errors.response_to(error, request_id)(scope, receive, send)
            return
        content = self._encoder.encode(answer)
        headers = [(b"content-length", b"%d" % len(content)), _JSON_HEADER]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    def _attempt_of(self, scope: Scope) -> int | None:
        """The attempt that a request brings an event of; ``None`` for every other request."""
        if scope["type"] != "http" or scope["method"] != "POST":
            return None
        path: str = scope["path"]
        if not path.endswith(_AFTER_ID) or not path.startswith(self._starts):
            return None
        start = next(start for start in self._starts if path.startswith(start))
        digits = path[len(start) : -len(_AFTER_ID)]
        is_usual = digits.isascii() and digits.isdigit() and len(digits) <= _MOST_DIGITS
        return int(digits) if is_usual else None


async def _body(receive: Receive) -> bytes | None:
    """The body of a request; ``None`` when its sender has gone."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)
