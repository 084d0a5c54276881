"""What those ask who keep the server running: is it alive, is it ready, what time is it, what are its figures.

They are the same below the route prefix and without it.
"""

from __future__ import annotations

from datetime import UTC

import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from jobmon.core import __version__
from jobmon.serializers.monitor import (
    ApiVersionResponse,
    HealthResponse,
    RootResponse,
    TimeResponse,
)
from jobmon.server.web import dialect
from jobmon.server.web.identity import Access
from jobmon.server.web.metrics import CONTENT_TYPE
from jobmon.server.web.request_watch import ROUTE
from jobmon.server.web.state import ServerState
from jobmon.server.web.wire import RequestContext, WireRouter, identity_of, require_access

router = WireRouter("")
"""Those that answer with messages, 200 only; :func:`with_status` adds the others."""

METRICS_PATH, READY_PATH = "/metrics", "/ready"


@router.route("GET", "/", response=RootResponse)
async def root(context: RequestContext) -> RootResponse:
    """What this is, and where to look further."""
    return RootResponse("Jobmon", __version__, _prefix(context.state), "/api/docs")


@router.route("GET", "/health", access=Access.OPEN, response=HealthResponse)
async def health(context: RequestContext) -> HealthResponse:
    """Whether the process lives: it answers without the database, and on its loop, however busy its threads are."""
    return HealthResponse("ok", __version__, context.state.database.engine.dialect.name)


@router.route("GET", "/time", response=TimeResponse)
def time(context: RequestContext) -> TimeResponse:
    """The clock of the database, by which everything happens."""
    with context.state.database.read() as connection:
        now = dialect.utcnow(connection).replace(tzinfo=UTC)
        return TimeResponse(now.isoformat(timespec="microseconds"))


@router.route("GET", "/api_version", response=ApiVersionResponse)
async def api_version(context: RequestContext) -> ApiVersionResponse:
    """Version of the routes, and of the server."""
    prefix = _prefix(context.state)
    return ApiVersionResponse(prefix.rstrip("/").rpartition("/")[2], prefix, __version__)


def _prefix(state: ServerState) -> str:
    return str(state.config.get("http", "route_prefix"))


def with_status(state: ServerState) -> APIRouter:
    """``/ready``, whose status is part of its answer, and ``/metrics``, which is no JSON."""
    router = APIRouter(tags=["service"])

    async def ready(request: Request) -> Response:
        """Whether requests should be sent here: 200, or 503 with the reasons."""
        request.scope[ROUTE] = READY_PATH
        answer = await state.watching.readiness.look()
        status = 200 if answer.is_ready else 503
        return Response(msgspec.json.encode(answer), status, media_type="application/json")

    async def metrics(request: Request) -> Response:
        """Figures for Prometheus."""
        request.scope[ROUTE] = METRICS_PATH
        require_access(identity_of(request.scope), Access.READ)
        return Response(await state.watching.figures(state), media_type=CONTENT_TYPE)

    for path, endpoint, kind in (
        (READY_PATH, ready, JSONResponse),
        (METRICS_PATH, metrics, PlainTextResponse),
    ):
        router.add_api_route(
            path,
            endpoint,
            methods=["GET"],
            response_model=None,
            response_class=kind,
            responses={503: {"description": "Not now."}},
        )
    return router
