"""The web service as an ASGI application: ``get_app``."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.middleware.gzip import GZipMiddleware

from jobmon.core import __version__
from jobmon.core.configuration import JobmonConfig
from jobmon.server.services.host import services_running
from jobmon.server.web import db_admin, errors, wire
from jobmon.server.web.auth.limits import RequestLimits
from jobmon.server.web.auth.sessions import Sessions
from jobmon.server.web.auth.settings import AuthMode, OidcSettings, auth_mode
from jobmon.server.web.auth.verifier import TokenVerifier
from jobmon.server.web.database import Database
from jobmon.server.web.event_intake import EventIntake
from jobmon.server.web.gate import Doors, RequestGate
from jobmon.server.web.request_watch import RequestWatch
from jobmon.server.web.roles import Role
from jobmon.server.web.routes import all_routers, probes
from jobmon.server.web.state import ServerState
from jobmon.server.web.ui.browser import Browsers
from jobmon.server.web.ui.mount import add_pages, refused_page

__all__ = ["JobmonConfig", "get_app"]

logger = logging.getLogger("jobmon.server")


def get_app(
    config: JobmonConfig | None = None,
    versions: Sequence[str] | None = None,
    *,
    token: str = "",
    worker_token: str = "",
    role: Role | None = None,
) -> FastAPI:
    """The web service over the database the configuration names.

    Args:
        config: configuration; by default the one that applies to this process.
        versions: route prefixes' versions to serve, such as ``["v3"]``; by default the configured prefix.
        token: bearer token of a local server's owner, which every request must show; empty: ``auth.mode`` says who is let in.
        worker_token: another one, which is good for reports of attempts only; empty: none.
        role: what to serve; by default what ``server.role`` says.

    Raises:
        ConfigError: no database is configured, or what ``auth.mode`` needs is missing.
        SchemaError: its schema is older or newer than this Jobmon.
    """
    config = config or JobmonConfig()
    role = role or Role.from_config(config)
    database = Database.from_config(config, only_reads=not role.may_write)
    db_admin.require_schema(database.engine)
    state = ServerState(config, database, role)
    state.is_local = bool(token)
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
    for each in ("", *prefixes):
        app.include_router(probes.router.build(state), prefix=each)
        app.include_router(probes.with_status(state), prefix=each)
    for each in prefixes:
        for router in all_routers():
            app.include_router(router.build(state), prefix=each)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    app.add_middleware(GZipMiddleware, minimum_size=100_000, compresslevel=1)
    if role.may_write:
        app.add_middleware(EventIntake, state=state, prefixes=prefixes)
    doors = Doors(prefixes, AuthMode.NONE if token else auth_mode(config), token, worker_token)
    verifier = None if doors.mode is AuthMode.NONE else TokenVerifier(database)
    browsers = Browsers(doors.mode, token, verifier)
    add_pages(app, state, browsers)
    _add_gate(app, state, doors, verifier, browsers)
    app.add_middleware(RequestWatch, state=state)
    return app


def _add_gate(
    app: FastAPI, state: ServerState, doors: Doors, verifier: TokenVerifier | None, browsers: Browsers
) -> None:
    """Have requests pass the gate, and browsers sign in where that is wanted."""
    app.add_middleware(
        RequestGate,
        doors=doors,
        verifier=verifier,
        limits=RequestLimits.from_config(state.config),
        browsers=browsers,
        refuse_page=partial(refused_page, state),
    )
    if doors.mode is AuthMode.OIDC:
        from jobmon.server.web.auth.oidc import sign_in_router

        settings = OidcSettings.from_config(state.config)
        app.include_router(sign_in_router(settings))
        app.add_middleware(Sessions, key=settings.session_key, seconds=settings.session_seconds)


def _openapi(app: FastAPI) -> dict[str, Any]:
    if not app.openapi_schema:
        for router in (probes.router, *all_routers()):
            router.describe()
        document = get_openapi(title=app.title, version=app.version, routes=app.routes)
        document.setdefault("components", {}).setdefault("schemas", {}).update(wire.SCHEMAS)
        app.openapi_schema = document
    return app.openapi_schema


def _lifespan(state: ServerState) -> Callable[[FastAPI], Any]:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        database = state.database if state.role.may_write else None
        async with state.watching.running(state), services_running(state.config, database) as services:
            state.services = services
            yield
            state.close()
        state.stop()

    return lifespan
