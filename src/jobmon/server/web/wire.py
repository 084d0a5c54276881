"""From a plain function to a route: decode the message, call the function in a thread, encode the answer.

A route's function takes a :class:`RequestContext`, the decoded message if there is one, and the path and query parameters by
name; it returns a message. OpenAPI is made from the same message types.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, get_type_hints

import msgspec
from anyio import to_thread
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

if TYPE_CHECKING:
    from jobmon.server.web.state import ServerState


@dataclass(frozen=True, slots=True)
class RequestContext:
    """Who asks, and what the server has to answer with.

    Attributes:
        state: database, feed and configuration of this server.
        user: user name the client gave.
        request_id: finds the request in the log.
    """

    state: ServerState
    user: str
    request_id: str


@dataclass(frozen=True)
class WireRoute:
    """One route, as data: what OpenAPI, the tests and the registration are made from.

    ``operation`` is what OpenAPI says of it: empty until :meth:`WireRouter.describe`, for nearly no server is asked.
    """

    method: str
    path: str
    request_type: type | None
    response_type: type
    function: Callable[..., Any]
    is_async: bool
    operation: dict[str, Any] = field(default_factory=dict, compare=False)


class WireRouter:
    """Collects the routes of one group of callers.

    Args:
        prefix: first part of the path of all of them.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.routes: list[WireRoute] = []

    def route(
        self, method: str, path: str, *, request: type | None = None, response: type
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Register the decorated function; ``async`` ones run on the loop and must never block."""

        def register(function: Callable[..., Any]) -> Callable[..., Any]:
            is_async = inspect.iscoroutinefunction(function)
            self.routes.append(WireRoute(method, path, request, response, function, is_async))
            return function

        return register

    def build(self, state: ServerState) -> APIRouter:
        """The routes as a FastAPI router over this server's state."""
        router = APIRouter(prefix=self.prefix, tags=[self.prefix.strip("/") or "service"])
        for route in self.routes:
            router.add_api_route(
                route.path,
                _endpoint(route, state),
                methods=[route.method],
                name=route.function.__name__,
                summary=(route.function.__doc__ or "").strip().split("\n")[0],
                response_model=None,
                openapi_extra=route.operation,
            )
        return router

    def describe(self) -> None:
        """Say in the OpenAPI document what the routes take and answer."""
        for route in self.routes:
            route.operation.update(_openapi(route))


_DEFAULT_PARAMETERS = ("context", "message")


def _parameters(function: Callable[..., Any]) -> dict[str, tuple[Any, Any]]:
    """Path and query parameters: name to (type, default)."""
    hints = get_type_hints(function, localns={"RequestContext": RequestContext})
    return {
        name: (hints[name], parameter.default)
        for name, parameter in inspect.signature(function).parameters.items()
        if name not in _DEFAULT_PARAMETERS
    }


def _endpoint(route: WireRoute, state: ServerState) -> Callable[[Request], Awaitable[Response]]:
    parameters = _parameters(route.function)
    decoder: msgspec.json.Decoder[Any] | None = (
        msgspec.json.Decoder(route.request_type) if route.request_type is not None else None
    )

    async def endpoint(request: Request) -> Response:
        context = RequestContext(
            state,
            request.headers.get("x-jobmon-user", ""),
            str(request.scope.get("jobmon_request_id", "")),
        )
        arguments: dict[str, Any] = {}
        for name, (kind, default) in parameters.items():
            if name in request.path_params:
                arguments[name] = msgspec.convert(request.path_params[name], kind, strict=False)
                continue
            values = request.query_params.getlist(name)
            if not values and default is inspect.Parameter.empty:
                raise msgspec.ValidationError(f"the query parameter `{name}` is missing")
            if values:
                raw: Any = values if getattr(kind, "__origin__", None) is list else values[-1]
                arguments[name] = msgspec.convert(raw, kind, strict=False)
        body = await request.body() if decoder is not None else b""
        state.touch()
        if route.is_async:
            if decoder is not None:
                arguments["message"] = decoder.decode(body)
            result = await route.function(context, **arguments)
        else:
            answer = partial(_answer, route.function, context, arguments, decoder, body)
            result = await to_thread.run_sync(answer, limiter=state.limiter)
        content = result if isinstance(result, bytes) else msgspec.json.encode(result)
        return Response(content, media_type="application/json")

    return endpoint


def _answer(
    function: Callable[..., Any],
    context: RequestContext,
    arguments: dict[str, Any],
    decoder: msgspec.json.Decoder[Any] | None,
    body: bytes,
) -> bytes:
    """Decode, work, encode: all of it in the thread, for large messages take their time."""
    if decoder is not None:
        arguments["message"] = decoder.decode(body)
    return msgspec.json.encode(function(context, **arguments))


def _openapi(route: WireRoute) -> dict[str, Any]:
    """The operation's parameters, body and answers, with all schemas inlined under ``$defs``."""
    in_path = {part[1:-1] for part in route.path.split("/") if part.startswith("{")}
    parameters = []
    for name, (kind, default) in _parameters(route.function).items():
        required = default is inspect.Parameter.empty
        parameters.append(
            {
                "name": name,
                "in": "path" if name in in_path else "query",
                "required": name in in_path or required,
                "schema": msgspec.json.schema(kind),
            }
        )
    extra: dict[str, Any] = {
        "parameters": parameters,
        "responses": {
            "200": {"description": "Answer.", "content": _content(route.response_type)},
            "4XX": {"description": "The request is at fault.", "content": _content(_error_type())},
        },
    }
    if route.request_type is not None:
        extra["requestBody"] = {"required": True, "content": _content(route.request_type)}
    return extra


def _error_type() -> type:
    from jobmon.core.requester import ErrorBody

    return ErrorBody


def _content(kind: type) -> dict[str, Any]:
    (schema,), components = msgspec.json.schema_components([kind], ref_template="#/components/schemas/{name}")
    SCHEMAS.update(components)
    return {"application/json": {"schema": schema}}


SCHEMAS: dict[str, Any] = {}
"""Schemas of all messages, for the components of the OpenAPI document."""
