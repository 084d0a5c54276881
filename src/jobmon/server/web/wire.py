"""From a plain function to a route: decode the message, call the function in a thread, encode the answer.

A route's function takes a :class:`RequestContext`, the decoded message if there is one, and the path and query parameters by
name; it returns a message. OpenAPI is made from the same message types.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, get_type_hints

import msgspec
from anyio import to_thread
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from jobmon.core.exceptions import NotAllowedError
from jobmon.server.web import identity as rules
from jobmon.server.web.identity import Access, Identity
from jobmon.server.web.request_watch import ROUTE
from jobmon.server.web.roles import refusal, serves
from jobmon.server.web.store.ownership import SUBJECTS, owner_read, require_may_change

if TYPE_CHECKING:
    from jobmon.server.web.state import ServerState


@dataclass(frozen=True, slots=True)
class RequestContext:
    """Who asks, and what the server has to answer with.

    Attributes:
        state: database, feed and configuration of this server.
        identity: who asks.
        request_id: finds the request in the log.
    """

    state: ServerState
    identity: Identity
    request_id: str

    @property
    def user(self) -> str:
        """Name of who asks."""
        return self.identity.user


@dataclass(frozen=True)
class WireRoute:
    """One route, as data: what OpenAPI, the tests and the registration are made from.

    ``access`` is what it asks of who uses it; ``None``: nobody said, and outside ``auth.mode`` none only administrators may.
    ``operation`` is what OpenAPI says of it: empty until :meth:`WireRouter.describe`, for nearly no server is asked.
    """

    method: str
    path: str
    access: Access | None
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
        self,
        method: str,
        path: str,
        *,
        access: Access | None = None,
        request: type | None = None,
        response: type,
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Register the decorated function; ``async`` ones run on the loop and must never block.

        Args:
            method, path: what the route answers to.
            access: what it asks of who uses it. A GET reads; every other route says it. One that asks for the owner of a
                workflow names the workflow, a run or a task in its path, and is checked before the function is called.
            request, response: messages; no request: there is no body.
        """
        if access is None and method == "GET":
            access = Access.READ

        def register(function: Callable[..., Any]) -> Callable[..., Any]:
            is_async = inspect.iscoroutinefunction(function)
            route = WireRoute(method, path, access, request, response, function, is_async)
            if access in rules.OWNED and (is_async or _subject(route) is None):
                raise TypeError(
                    f"{method} {path}: whose it is can be told of a plain function with such an id only"
                )
            self.routes.append(route)
            return function

        return register

    def build(self, state: ServerState) -> APIRouter:
        """The routes as a FastAPI router over this server's state; those its role does not serve refuse."""
        router = APIRouter(prefix=self.prefix, tags=[self.prefix.strip("/") or "service"])
        for route in self.routes:
            is_served = serves(state.role, route.method, self.prefix + route.path)
            router.add_api_route(
                route.path,
                _endpoint(route, state, self.prefix + route.path) if is_served else _refusing(state),
                methods=[route.method],
                name=route.function.__name__,
                summary=(route.function.__doc__ or "").strip().split("\n")[0],
                response_model=None,
                include_in_schema=is_served,
                openapi_extra=route.operation,
            )
        return router

    def describe(self) -> None:
        """Say in the OpenAPI document what the routes take and answer."""
        for route in self.routes:
            route.operation.update(_openapi(route))


_ESCAPE = re.compile(rb"\\(?:u0000|.)", re.DOTALL)
_NUL, _INSTEAD_OF_NUL = rb"\u0000", rb"\ufffd"


def storable(body: bytes) -> bytes:
    """A body (JSON) without NUL characters, which PostgreSQL cannot store: U+FFFD stands for each, on every database.

    What commands print may hold any; that is no reason to refuse what is told of them.
    """
    if _NUL not in body:
        return body
    return _ESCAPE.sub(lambda found: _INSTEAD_OF_NUL if found[0] == _NUL else found[0], body)


def _refusing(state: ServerState) -> Callable[[Request], Awaitable[Response]]:
    """Stands for a route that servers of another role have."""
    from jobmon.server.web.errors import error_response

    status, message, hint = refusal(state.role)

    async def endpoint(request: Request) -> Response:
        request_id = str(request.scope.get("jobmon_request_id", ""))
        return error_response(status, "InvalidUsage", message, request_id, hint)

    return endpoint


_DEFAULT_PARAMETERS = ("context", "message")


def _parameters(function: Callable[..., Any]) -> dict[str, tuple[Any, Any]]:
    """Path and query parameters: name to (type, default)."""
    hints = get_type_hints(function, localns={"RequestContext": RequestContext})
    return {
        name: (hints[name], parameter.default)
        for name, parameter in inspect.signature(function).parameters.items()
        if name not in _DEFAULT_PARAMETERS
    }


def _endpoint(
    route: WireRoute, state: ServerState, template: str
) -> Callable[[Request], Awaitable[Response]]:
    parameters = _parameters(route.function)
    decoder: msgspec.json.Decoder[Any] | None = (
        msgspec.json.Decoder(route.request_type) if route.request_type is not None else None
    )

    async def endpoint(request: Request) -> Response:
        request.scope[ROUTE] = template
        context = RequestContext(
            state, identity_of(request.scope), str(request.scope.get("jobmon_request_id", ""))
        )
        require_access(context.identity, route.access)
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
                arguments["message"] = decoder.decode(storable(body))
            result = await route.function(context, **arguments)
        else:
            answer = partial(_answer, route, context, arguments, decoder, body)
            result = await to_thread.run_sync(answer, limiter=state.limiter)
        content = result if isinstance(result, bytes) else msgspec.json.encode(result)
        return Response(content, media_type="application/json")

    return endpoint


IDENTITY = "jobmon_identity"
"""Key of the scope under which the gate puts who asks."""


def identity_of(scope: Scope) -> Identity:
    """Who sent a request.

    Raises:
        NotAllowedError: it came by another way than through the gate.
    """
    identity = scope.get(IDENTITY)
    if not isinstance(identity, Identity):
        raise NotAllowedError("Nobody knows who sent this request.")
    return identity


def require_access(identity: Identity, access: Access | None) -> None:
    """Refuse whose role may not use a route.

    Raises:
        NotAllowedError: the message says why.
    """
    refused = rules.refusal(identity, Access.ADMIN if access is None else access)
    if refused:
        raise NotAllowedError(refused)


def _subject(route: WireRoute) -> str | None:
    """The parameter of the path by which the workflow is found whose owner a route asks for."""
    return next((name for name in SUBJECTS if f"{{{name}}}" in route.path), None)


def _require_owner(route: WireRoute, context: RequestContext, arguments: dict[str, Any]) -> None:
    """Refuse who may not change the workflow that the path names."""
    if route.access is Access.OWNER_OR_TASK and not context.identity.is_proven:
        return
    state, subject = context.state, _subject(route)
    assert subject is not None

    def look(subject: str, number: int) -> rules.Owner:
        with state.database.read() as connection:
            return owner_read(connection, subject, number)

    require_may_change(context.identity, state.owners.owner(subject, arguments[subject], look))


def _answer(
    route: WireRoute,
    context: RequestContext,
    arguments: dict[str, Any],
    decoder: msgspec.json.Decoder[Any] | None,
    body: bytes,
) -> bytes:
    """Decode, work, encode: all of it in the thread, for large messages take their time."""
    if decoder is not None:
        arguments["message"] = decoder.decode(storable(body))
    if route.access in rules.OWNED:
        _require_owner(route, context, arguments)
    return msgspec.json.encode(route.function(context, **arguments))


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
