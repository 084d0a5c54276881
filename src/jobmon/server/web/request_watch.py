"""Sees every request come and go: its figures, its line in the log, its trace, and the facts what it logs carries.

A request has a line at INFO when it changed something, took long or failed by the server's fault; otherwise at DEBUG. Events
of single attempts, signs of life and turns of controllers are the traffic of machines: they have one at DEBUG too, for the
database keeps what they said and the figures count them. ``logging.access`` says otherwise: ``all`` or ``none``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jobmon.core.exceptions import ConfigError
from jobmon.core.log_format import FACTS, Fact, bind_facts
from jobmon.core.logging import PREFIX

if TYPE_CHECKING:
    from jobmon.server.web.state import ServerState

logger = logging.getLogger("jobmon.access")

ROUTE = "jobmon_route"
"""Key of the scope under which the template of the route is put by who answers."""
OTHER_ROUTE = "(other)"
"""The route of requests that no route of Jobmon's answered."""
REQUEST_ID = "jobmon_request_id"
GONE = 499
"""Status of requests whose sender went away before there was an answer."""
ACCESS = ("changes", "all", "none")
METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
Observe = Callable[[float], None]
_CONTEXT_HEADER = b"x-server-structlog-context"
_USER_HEADER = b"x-jobmon-user"
_MOST_VALUES, _MOST_CHARACTERS = 20, 200
_ROUTINE = frozenset(
    {
        "/worker/task_instance/{task_instance_id}/event",
        "/swarm/workflow_run/{workflow_run_id}/heartbeat",
        "/swarm/workflow_run/{workflow_run_id}/sync",
    }
)
_LOOKING = frozenset({"GET", "HEAD", "OPTIONS"})
_LONG_POLLS = frozenset({"/swarm/workflow_run/{workflow_run_id}/feed"})


def route_of(scope: Scope) -> str:
    """Template of the route that answered a request; ``(other)`` where none of Jobmon's did."""
    route = scope.get(ROUTE) or getattr(scope.get("route"), "path", None)
    return route if isinstance(route, str) else OTHER_ROUTE


def request_facts(scope: Scope) -> dict[str, Fact]:
    """What is known of a request: its id, route, user, the ids in its path, and what its sender bound."""
    facts: dict[str, Fact] = {
        "request_id": str(scope.get(REQUEST_ID, "")),
        "method": scope["method"],
        "route": route_of(scope),
        "user": _user(scope),
    }
    facts.update((name, _number(value)) for name, value in _ids(scope).items())
    context = _context(_header(scope, _CONTEXT_HEADER))
    for name in ("workflow_id", "workflow_run_id"):
        if name in context:
            facts.setdefault(name, _number(context.pop(name)))
    if context:
        facts["context"] = context
    return facts


def _ids(scope: Scope) -> dict[str, Any]:
    parameters: Mapping[str, Any] = scope.get("path_params") or {}
    return {name: value for name, value in parameters.items() if name.endswith("_id")}


def _number(value: object) -> Fact:
    text = str(value)[:_MOST_CHARACTERS]
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else text


def _user(scope: Scope) -> str:
    """Who asks, as the gate knows it; otherwise who they say they are."""
    known = getattr(scope.get("jobmon_identity"), "user", None)
    return (
        known if isinstance(known, str) else _header(scope, _USER_HEADER).decode("latin-1")[:_MOST_CHARACTERS]
    )


def _header(scope: Scope, name: bytes) -> bytes:
    return next((bytes(value) for key, value in scope["headers"] if key == name), b"")


def _context(header: bytes) -> dict[str, str]:
    """What the sender bound to its requests; whatever cannot be read is left out."""
    if not header:
        return {}
    try:
        values = msgspec.json.decode(header, type=dict[str, str])
    except msgspec.MsgspecError:
        return {}
    return {
        name.removeprefix(PREFIX)[:_MOST_CHARACTERS]: value[:_MOST_CHARACTERS]
        for name, value in list(values.items())[:_MOST_VALUES]
    }


def access_level(access: str, method: str, route: str, status: int, is_slow: bool) -> int:
    """Level of a request's line.

    Args:
        access: value of ``logging.access``.
        method, route, status: of the request and its answer.
        is_slow: it took longer than ``logging.slow_request_seconds``.
    """
    if access == "all":
        return logging.INFO
    if status >= 500 or (is_slow and route not in _LONG_POLLS):
        return logging.WARNING if status >= 500 else logging.INFO
    if access == "none" or method in _LOOKING or route in _ROUTINE:
        return logging.DEBUG
    return logging.INFO


class RequestWatch:
    """The outermost layer of the web service.

    Args:
        app: the application.
        state: figures, configuration and tracing of this server.

    Raises:
        ConfigError: ``logging.access`` has none of its values.
    """

    def __init__(self, app: ASGIApp, state: ServerState) -> None:
        self.app = app
        self.metrics, self.tracing = state.watching.metrics, state.watching.tracing
        self._known: dict[tuple[str, str, int], tuple[Observe, int]] = {}
        self.access = str(state.config.get("logging", "access"))
        if self.access not in ACCESS:
            raise ConfigError(f"logging.access is '{self.access}'; it may be {', '.join(ACCESS)}.")
        self.slow_seconds = state.config.get_float("logging", "slow_request_seconds")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request. Thousands come by here every second: what is done for all of them is little."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        bind_facts(partial(request_facts, scope))
        metrics = self.metrics
        metrics.in_flight += 1
        began = time.perf_counter()
        try:
            if self.tracing is None:
                await self.app(scope, receive, watched)
            else:
                with self.tracing.request_span(scope) as end:
                    try:
                        await self.app(scope, receive, watched)
                    finally:
                        end(route_of(scope), status or GONE, request_facts(scope))
        except BaseException:
            status = status or 500
            raise
        finally:
            seconds = time.perf_counter() - began
            metrics.in_flight -= 1
            key = (scope.get(ROUTE) or route_of(scope), scope["method"], status or GONE)
            observe, level = self._known.get(key) or self._know(*key)
            observe(seconds)
            if 0 < self.slow_seconds <= seconds:
                level = access_level(self.access, key[1], key[0], key[2], is_slow=True)
            if logger.isEnabledFor(level):
                self._tell(level, scope, key[0], key[2], seconds)

    def _know(self, route: str, method: str, status: int) -> tuple[Observe, int]:
        """How a kind of request is counted, and the level of its line where it is not slow; kept for the next one."""
        level = access_level(self.access, method, route, status, is_slow=False)
        known = self.metrics.request_observer(route, method, status), level
        if method in METHODS:  # others are the sender's invention
            self._known[route, method, status] = known
        return known

    def _tell(self, level: int, scope: Scope, route: str, status: int, seconds: float) -> None:
        facts: dict[str, Fact] = {"status": status, "duration_seconds": round(seconds, 6)}
        client = scope.get("client")
        if client:
            facts["client"] = str(client[0])
        what = route
        if route == OTHER_ROUTE:
            what = facts["path"] = str(scope["path"])[:_MOST_CHARACTERS]
        logger.log(level, "%s %s %d in %.3f s", scope["method"], what, status, seconds, extra={FACTS: facts})
