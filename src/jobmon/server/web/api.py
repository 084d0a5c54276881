"""The web service as an ASGI application: ``get_app``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.middleware.gzip import GZipMiddleware

from jobmon.core import __version__
from jobmon.core.configuration import JobmonConfig
from jobmon.serializers.monitor import HealthResponse
from jobmon.server.services.reaper import run_forever
from jobmon.server.web import db_admin, errors, wire
from jobmon.server.web.database import Database
from jobmon.server.web.event_intake import EventIntake
from jobmon.server.web.gate import RequestGate
from jobmon.server.web.routes import all_routers
from jobmon.server.web.state import ServerState
from jobmon.server.web.wire import RequestContext, WireRouter

__all__ = ["JobmonConfig", "get_app"]

logger = logging.getLogger("jobmon.server")

service = WireRouter("")


@service.route("GET", "/health", response=HealthResponse)
def health(context: RequestContext) -> HealthResponse:
    """Whether the server answers."""
    return HealthResponse("ok", __version__, context.state.database.engine.dialect.name)


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
