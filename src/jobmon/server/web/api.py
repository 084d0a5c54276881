"""The web service as an ASGI application: ``get_app``."""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jobmon.core import __version__
from jobmon.core.configuration import JobmonConfig
from jobmon.serializers.monitor import HealthResponse
from jobmon.server.services.reaper import run_forever
from jobmon.server.web import db_admin, errors, wire
from jobmon.server.web.database import Database
from jobmon.server.web.event_intake import EventIntake
from jobmon.server.web.routes import all_routers
from jobmon.server.web.state import ServerState
from jobmon.server.web.wire import RequestContext, WireRouter

__all__ = ["JobmonConfig", "get_app"]

logger = logging.getLogger("jobmon.server")

_PUBLIC = frozenset({"/health"})
WORKERS_ONLY = "jobmon_workers_only"
"""Key of the scope of requests that come by an address which is open to reports of attempts only."""
_REQUEST_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")

service = WireRouter("")


@service.route("GET", "/health", response=HealthResponse)
def health(context: RequestContext) -> HealthResponse:
    """Whether the server answers."""
    return HealthResponse("ok", __version__, context.state.database.engine.dialect.name)


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


def get_app(
    config: JobmonConfig | None = None,
    versions: Sequence[str] | None = None,
    *,
    token: str = "",
    worker_token: str = "",
) -> FastAPI:
    """The web service over the database the configuration names.

    Args:
        config: configuration; by default the one that applies to this process.
        versions: route prefixes' versions to serve, such as ``["v3"]``; by default the configured prefix.
        token: bearer token every request must show; empty: none.
        worker_token: another one, which is good for reports of attempts only; empty: none.

    Raises:
        ConfigError: no database is configured.
        SchemaError: its schema is older or newer than this Jobmon.
    """
    config = config or JobmonConfig()
    database = Database.from_config(config)
    db_admin.require_schema(database.engine)
    state = ServerState(config, database)
    prefix = str(config.get("http", "route_prefix"))
    prefixes = [f"/api/{version}" for version in versions] if versions else [prefix]
    app = FastAPI(
        title="Jobmon",
        version=__version__,
        docs_url="/api/docs",
        redoc_url="/api/redoc",
        openapi_url="/api/openapi.json",
        lifespan=_lifespan(state),
    )
    app.state.jobmon = state
    errors.install(app)
    app.include_router(service.build(state))
    for each in prefixes:
        app.include_router(service.build(state), prefix=each)
        for router in all_routers():
            app.include_router(router.build(state), prefix=each)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    app.add_middleware(GZipMiddleware, minimum_size=100_000, compresslevel=1)
    app.add_middleware(EventIntake, state=state, prefixes=prefixes)
    app.add_middleware(RequestGate, token=token, prefix=prefix, worker_token=worker_token)
    return app


def _openapi(app: FastAPI) -> dict[str, Any]:
    if not app.openapi_schema:
        for router in (service, *all_routers()):
            router.describe()
        document = get_openapi(title=app.title, version=app.version, routes=app.routes)
        document.setdefault("components", {}).setdefault("schemas", {}).update(wire.SCHEMAS)
        app.openapi_schema = document
    return app.openapi_schema


def _lifespan(state: ServerState) -> Callable[[FastAPI], Any]:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        reaper = asyncio.create_task(run_forever(state))
        yield
        state.close()
        reaper.cancel()
        state.database.dispose()

    return lifespan
