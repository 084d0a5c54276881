"""From a plain function to a page, and to a form that asks before it changes something.

A page's function takes a :class:`View` and the path and query parameters by name, reads, and returns what :meth:`View.html`
makes of a template. It runs in a thread. An action has two functions: one says what would happen, the other does it.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any, get_type_hints
from urllib.parse import parse_qsl, quote, unquote, urlencode

import msgspec
from anyio import to_thread
from markupsafe import Markup
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from jobmon.core.exceptions import JobmonError, NotAllowedError
from jobmon.server.web import dialect, errors
from jobmon.server.web import identity as rules
from jobmon.server.web.identity import Access, Identity
from jobmon.server.web.request_watch import ROUTE
from jobmon.server.web.store.ownership import owner_read
from jobmon.server.web.ui import browser, rendering
from jobmon.server.web.ui.browser import CSRF, SAID, UI
from jobmon.server.web.wire import identity_of, require_access

if TYPE_CHECKING:
    from jobmon.server.web.state import ServerState
    from jobmon.server.web.ui.computed import Computed

FORM_BYTES = 1_000_000

SECURITY_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "font-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""Of every page: nothing from elsewhere, no script but our files."""


@dataclass(frozen=True)
class Answer:
    """What a page's function returns.

    Attributes:
        body: text, by default HTML; or its pieces, which are sent one after the other, for what may be large.
        status: HTTP status.
        media_type: of the body.
        headers: more of them.
    """

    body: str | Iterable[str]
    status: int = 200
    media_type: str = "text/html"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class View:
    """Who looks at which page.

    Attributes:
        state: database and configuration of this server.
        identity: who looks.
        request: what was asked for.
        csrf: value that forms of this browser must show.
        is_signed_in: they can sign out.
    """

    state: ServerState
    identity: Identity
    request: Request
    csrf: str

    @property
    def user(self) -> str:
        """Name of who looks; empty: nobody knows."""
        return self.identity.user

    @property
    def path(self) -> str:
        """Path of the page below the root of the pages, such as ``/workflow/12``."""
        return str(self.request.scope["path"])[len(UI) :]

    @property
    def query(self) -> list[tuple[str, str]]:
        """The query's parameters, in their order."""
        return list(self.request.query_params.multi_items())

    @property
    def is_fragment(self) -> bool:
        """Whether a part of a page is asked for by a page that is shown already."""
        return self.request.headers.get("hx-request") == "true"

    @property
    def computed(self) -> Computed:
        """Figures that take long."""
        return self.state.computed

    def url(self, path: str, **query: Any) -> str:
        """Address of a page, such as ``url("/workflow/12", tab="dag")``; what is ``None`` or empty is left out."""
        said = [(name, value) for name, value in query.items() if value not in (None, "", [])]
        text = urlencode(said, doseq=True)
        return f"{self.request.scope.get('root_path', '')}{UI}{quote(path)}{'?' + text if text else ''}"

    def static(self, name: str) -> str:
        """Address of a file under ``static``, which browsers keep until it changes."""
        return self.url(f"/static/{name}", v=rendering.static_version())

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads."""
        with self.state.database.read() as connection:
            yield connection

    def now(self, connection: Connection) -> datetime:
        """Time of the database."""
        return dialect.utcnow(connection)

    def may_change(self, workflow_id: int) -> str:
        """Why who looks may not change a workflow; empty: they may."""
        return why_not(self, "workflow_id", workflow_id)

    def html(self, template: str, *, status: int = 200, **values: Any) -> Answer:
        """A page made from a template; ``view`` is in it too."""
        return Answer(rendering.render(template, view=self, **values), status)

    def json(self, value: Any) -> Answer:
        """Values for a plot."""
        return Answer(msgspec.json.encode(value).decode(), media_type="application/json")

    def said(self) -> str:
        """What an action that led here has to say, once."""
        return unquote(browser.cookies_of(self.request.scope).get(SAID, ""))


@dataclass(frozen=True)
class Field:
    """A field of a form.

    Attributes:
        name, label: of the field.
        kind: ``number``, ``text``, ``checkbox``, ``select`` or ``hidden``.
        value: what is in it first.
        choices: value and words of each choice of a ``select``.
        hint: one sentence.
        low, high: limits of a number.
    """

    name: str
    label: str
    kind: str = "text"
    value: str = ""
    choices: Sequence[tuple[str, str]] = ()
    hint: str = ""
    low: int | None = None
    high: int | None = None


@dataclass(frozen=True)
class Confirmation:
    """What is asked before something is changed.

    Attributes:
        title: what would be done.
        sentences: what that means.
        button: words on the button that does it.
        back: path of the page to go back to.
        fields: what has to be said.
        command: what does the same in a shell.
        refusal: why it cannot be done; empty: it can.
        is_dangerous: work may be lost by it.
    """

    title: str
    sentences: Sequence[str]
    button: str
    back: str
    fields: Sequence[Field] = ()
    command: str = ""
    refusal: str = ""
    is_dangerous: bool = False


@dataclass(frozen=True)
class Done:
    """What an action has done: a sentence, and the path of the page to go to."""

    sentence: str
    path: str


Form = Mapping[str, str]


@dataclass(frozen=True)
class PageRoute:
    """A page or an action, as data: what the tests walk over."""

    path: str
    access: Access
    function: Callable[..., Answer]
    act: Callable[..., Done] | None = None
    is_link_in_menu: str = ""


class PageRouter:
    """Collects pages and actions."""

    def __init__(self) -> None:
        self.routes: list[PageRoute] = []

    def page(self, path: str, *, access: Access = Access.READ) -> Callable[[Callable[..., Answer]], Any]:
        """Register the decorated function as the page of a path below ``/ui``."""

        def register(function: Callable[..., Answer]) -> Callable[..., Answer]:
            self.routes.append(PageRoute(path, access, function))
            return function

        return register

    def action(
        self, path: str, ask: Callable[..., Confirmation], *, access: Access = Access.OWNER
    ) -> Callable[[Callable[..., Done]], Any]:
        """Register the decorated function as what a form does, which is shown at the same path.

        Args:
            path: names the workflow or the task whose owner may do it, as ``{workflow_id}`` or ``{task_id}``.
            ask: says what would happen; takes what the page's function takes.
            access: what it asks of who uses it.
        """

        def register(act: Callable[..., Done]) -> Callable[..., Done]:
            self.routes.append(PageRoute(path, access, partial(_show, ask), act))
            return act

        return register

    def build(self, state: ServerState) -> list[Route]:
        """The routes over this server's state."""
        return [
            Route(UI + route.path, _endpoint(route, state), methods=["GET", "POST"] if route.act else ["GET"])
            for route in self.routes
        ]


def why_not(view: View, subject: str, number: int) -> str:
    """Why who looks may not change a workflow, named by its own id or that of a task; empty: they may."""
    refused = rules.refusal(view.identity, Access.OWNER)
    if refused:
        return refused

    def look(kind: str, row_id: int) -> rules.Owner:
        with view.read() as connection:
            return owner_read(connection, kind, row_id)

    owner = view.state.owners.owner(subject, number, look)
    return "" if rules.may_change(view.identity, owner) else rules.stranger(view.identity, owner)


def _show(ask: Callable[..., Confirmation], view: View, **arguments: Any) -> Answer:
    confirmation = ask(view, **arguments)
    refusal = confirmation.refusal
    for subject in ("workflow_id", "task_id"):
        if subject in arguments:
            refusal = why_not(view, subject, arguments[subject]) or refusal
    if not view.state.role.may_write:
        refusal = "This server only reads; use the address of the server that takes changes."
    return view.html("confirm.html", confirmation=confirmation, refusal=refusal)


# -- from a request to an answer -----------------------------------------------------------------------
def _endpoint(route: PageRoute, state: ServerState) -> Callable[[Request], Awaitable[Response]]:
    function = route.function.args[0] if isinstance(route.function, partial) else route.function
    parameters = _parameters(function)

    async def endpoint(request: Request) -> Response:
        request.scope[ROUTE] = UI + route.path
        state.touch()
        is_new = not (csrf := browser.cookies_of(request.scope).get(CSRF, ""))
        view = View(state, identity_of(request.scope), request, secrets.token_urlsafe(24) if is_new else csrf)
        said = view.said()
        try:
            require_access(view.identity, Access.READ)
            arguments = _arguments(parameters, request)
            if request.method == "POST":
                form = await form_of(request)
                answer = await to_thread.run_sync(
                    partial(_act, route, view, arguments, form), limiter=state.limiter
                )
            else:
                answer = await to_thread.run_sync(
                    partial(route.function, view, **arguments), limiter=state.limiter
                )
        except Exception as error:  # noqa: BLE001 - every error is a page
            answer = error_page(view, error)
        return respond(view, answer, is_new_csrf=is_new, forget_said=bool(said) and answer.status < 300)

    return endpoint


def respond(view: View, answer: Answer, *, is_new_csrf: bool = False, forget_said: bool = False) -> Response:
    """An answer as an HTTP response, with what every page has."""
    scope = view.request.scope
    kind = Response if isinstance(answer.body, str) else StreamingResponse
    response = kind(
        answer.body, answer.status, {**SECURITY_HEADERS, "Cache-Control": "no-store", **answer.headers}
    )
    response.headers["Content-Type"] = (
        f"{answer.media_type}; charset=utf-8" if answer.media_type.startswith("text/") else answer.media_type
    )
    if is_new_csrf:
        response.headers.append("Set-Cookie", browser.set_cookie(scope, CSRF, view.csrf))
    if forget_said:
        response.headers.append("Set-Cookie", browser.set_cookie(scope, SAID, "", 0))
    return response


def redirect(view: View, path: str, *, said: str = "") -> Answer:
    """Send the browser to another page, where ``said`` is shown once."""
    headers = {"Location": view.url(path)}
    if said:
        headers["Set-Cookie"] = browser.set_cookie(view.request.scope, SAID, quote(said[:1000]), None)
    return Answer("", 303, headers=headers)


def error_page(view: View, error: Exception) -> Answer:
    """What a page says that cannot be shown."""
    request_id = str(view.request.scope.get("jobmon_request_id", ""))
    shape = errors.response_to(error, request_id)
    body = msgspec.json.decode(bytes(shape.body))
    if isinstance(error, msgspec.ValidationError):
        body["message"], body["hint"] = f"The address is not understood: {error}.", ""
    return view.html(
        "error.html",
        status=shape.status_code,
        code=shape.status_code,
        message=body["message"],
        hint=body.get("hint", ""),
        request_id=request_id,
    )


def _act(route: PageRoute, view: View, arguments: Mapping[str, Any], form: Form) -> Answer:
    assert route.act is not None
    if browser.is_pressed_elsewhere(view.request.scope, form):
        raise NotAllowedError(
            "This form was not sent by a page of this server, or the page was older than its cookie. "
            "Open the page again and repeat."
        )
    require_access(view.identity, route.access)
    if not view.state.role.may_write:
        raise NotAllowedError("This server only reads; use the address of the server that takes changes.")
    for subject in ("workflow_id", "task_id"):
        if subject in arguments and route.access in rules.OWNED:
            refused = why_not(view, subject, arguments[subject])
            if refused:
                raise NotAllowedError(refused)
    done = route.act(view, form, **arguments)
    return redirect(view, done.path, said=done.sentence)


async def form_of(request: Request) -> Form:
    """Fields of a form that was sent, by name."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > FORM_BYTES:
            raise NotAllowedError("The form is too large.")
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))


def _parameters(function: Callable[..., Any]) -> dict[str, tuple[Any, Any]]:
    hints = get_type_hints(function, localns={"View": View})
    return {
        name: (hints[name], parameter.default)
        for name, parameter in signature(function).parameters.items()
        if name != "view"
    }


def _arguments(parameters: Mapping[str, tuple[Any, Any]], request: Request) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    for name, (kind, default) in parameters.items():
        if name in request.path_params:
            arguments[name] = msgspec.convert(request.path_params[name], kind, strict=False)
            continue
        values = request.query_params.getlist(name)
        if getattr(kind, "__origin__", None) is list:
            arguments[name] = msgspec.convert([value for value in values if value], kind, strict=False)
        elif values and values[-1] != "":
            arguments[name] = msgspec.convert(values[-1], kind, strict=False)
        elif default is Parameter.empty:
            raise msgspec.ValidationError(f"`{name}` is missing")
    return arguments


__all__ = [
    "Answer",
    "Confirmation",
    "Done",
    "Field",
    "Form",
    "JobmonError",
    "Markup",
    "PageRoute",
    "PageRouter",
    "View",
    "error_page",
    "form_of",
    "redirect",
    "respond",
    "why_not",
]
