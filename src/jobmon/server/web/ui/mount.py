"""The pages as a part of the web service."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from jobmon.core.exceptions import NotFoundError
from jobmon.server.web.identity import claimed
from jobmon.server.web.request_watch import ROUTE
from jobmon.server.web.state import ServerState
from jobmon.server.web.ui import rendering
from jobmon.server.web.ui.browser import UI, Browsers
from jobmon.server.web.ui.live import LiveTopics
from jobmon.server.web.ui.page_router import SECURITY_HEADERS, View, error_page, respond
from jobmon.server.web.ui.pages import LIVE_SOURCES, all_pages
from jobmon.server.web.ui.sign_in import SignIn
from jobmon.server.web.wire import identity_of

_YEAR = 31_536_000


def add_pages(app: FastAPI, state: ServerState, browsers: Browsers) -> None:
    """Serve the pages below ``/ui``, and lead browsers there that open the root."""
    topics = LiveTopics(state, LIVE_SOURCES)
    state.live = topics

    async def live(request: Request) -> Response:
        request.scope[ROUTE] = f"{UI}/live/{{kind}}/{{key}}"
        identity_of(request.scope)
        kind, key = request.path_params["kind"], request.path_params["key"]
        if kind not in LIVE_SOURCES or len(key) > 2000:
            return Response("There is no such topic.", HTTPStatus.NOT_FOUND)
        return topics.respond(request, kind, key)

    async def states_css(_: Request) -> Response:
        headers = {**SECURITY_HEADERS, "Cache-Control": f"public, max-age={_YEAR}"}
        return Response(rendering.states_css(), media_type="text/css", headers=headers)

    routes: list[BaseRoute] = [
        Route(f"{UI}/live/{{kind}}/{{key:path}}", live),
        Route(f"{UI}/static/states.css", states_css),
        Mount(f"{UI}/static", _KeptFiles(directory=_static_directory())),
        *SignIn(state, browsers).routes(),
        *(route for pages in all_pages() for route in pages.build(state)),
        Route(UI, lambda request: RedirectResponse(f"{request.scope.get('root_path', '')}{UI}/", 307)),
        Route(f"{UI}/{{rest:path}}", _not_found(state)),
    ]
    app.router.routes[:0] = routes


def _static_directory() -> Path:
    return Path(str(files("jobmon.server.web.ui").joinpath("static")))


def _not_found(state: ServerState) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        view = View(state, identity_of(request.scope), request, "")
        path = request.scope["path"]
        return respond(view, error_page(view, NotFoundError(f"There is no page {path}.")))

    return endpoint


def refused_page(state: ServerState, request: Request, status: int, message: str, hint: str) -> Response:
    """What a browser is shown that is not let in: the way to sign in, or why not."""
    scope = request.scope
    if status == HTTPStatus.UNAUTHORIZED:
        asked = scope["path"] + (
            f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else ""
        )
        to = quote(asked) if scope["method"] == "GET" else ""
        return RedirectResponse(f"{scope.get('root_path', '')}{UI}/sign-in?to={to}", 303)
    view = View(state, claimed(""), request, "")
    return respond(
        view, view.html("error.html", status=status, code=status, message=message, hint=hint, request_id="")
    )


class _KeptFiles(StaticFiles):
    """Files whose addresses change with them, so that browsers may keep them for ever."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        """Say so."""
        response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        response.headers["Cache-Control"] = f"public, max-age={_YEAR}, immutable"
        response.headers.update(SECURITY_HEADERS)
        return response
