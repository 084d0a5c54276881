"""The layer of the web service that lets requests in: an id for each, who sends it, and whether there is room for it.

Rules
-----
1. Whoever cannot be let in learns nothing but why: not which routes there are.
2. A local server's own tokens come first; then, as ``auth.mode`` says, bearer tokens and the browsers' sessions. A bearer token
   that is not good is refused, whatever else is shown.
3. Who is let in is in the scope (:data:`~jobmon.server.web.wire.IDENTITY`). Outside mode none a name that the sender
   gives itself is not looked at.
4. What a role may do, and to whose workflows, is asked of each route by :mod:`jobmon.server.web.wire`.
"""

from __future__ import annotations

import hmac
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jobmon.core.wire_version import OWN_RANGE, UPGRADE_REQUIRED, WIRE_HEADERS, misunderstanding, spoken_range
from jobmon.server.web import errors
from jobmon.server.web.auth.limits import BUSY_SECONDS, RequestLimits, limited, too_large
from jobmon.server.web.auth.sessions import is_foreign_page, session_identity
from jobmon.server.web.auth.settings import AuthMode
from jobmon.server.web.identity import Identity, UserRole, claimed
from jobmon.server.web.ui.browser import UI, Browsers, is_open_page, is_page
from jobmon.server.web.wire import IDENTITY

if TYPE_CHECKING:
    from jobmon.server.web.auth.verifier import TokenVerifier

PUBLIC_PATHS = ("/health", "/ready")
"""What everybody may ask, with a route prefix and without."""
SIGN_IN_PATHS = "/api/auth/oidc/"
"""Where browsers sign in; open, for who comes there is not known yet."""
WORKERS_ONLY = "jobmon_workers_only"
"""Key of the scope of requests that come by an address which is open to reports of attempts only."""
_WIRE_HEADERS = [(name.lower().encode(), value.encode()) for name, value in WIRE_HEADERS.items()]
_REQUEST_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_USER_CHARACTERS = 150
_HOW_TO_GET_IN = (
    "Set http.token_file to a file (mode 0600) with your token; who runs the server makes one with "
    "'jobmon-server token create --user NAME'."
)


@dataclass(frozen=True)
class Refusal:
    """What is said to who is not let in.

    Attributes:
        status: HTTP status.
        message, hint: why, and what to do.
        headers: of the answer.
        error: name of the exception.
    """

    status: int
    message: str
    hint: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    error: str = "NotAllowedError"


@dataclass(frozen=True)
class Doors:
    """Which tokens and paths the gate knows.

    Attributes:
        prefixes: route prefixes.
        mode: how the server knows who asks.
        token: bearer token of a local server's owner; empty: none.
        worker_token: another one, which is good for reports of attempts only; empty: none.
    """

    prefixes: Sequence[str]
    mode: AuthMode = AuthMode.NONE
    token: str = field(default="", repr=False)
    worker_token: str = field(default="", repr=False)


class RequestGate:
    """Gives each request an id, finds out who sends it, and lets in whom there is room for.

    Args:
        app: the application.
        doors: tokens and paths.
        verifier: knows the tokens of the database.
        limits: how much may be asked for.
        browsers: lets browsers in, to the pages.
        refuse_page: what a browser is shown that is not let in (status, message, hint).
    """

    def __init__(
        self,
        app: ASGIApp,
        doors: Doors,
        verifier: TokenVerifier | None = None,
        limits: RequestLimits | None = None,
        browsers: Browsers | None = None,
        refuse_page: Callable[[Request, int, str, str], Response] | None = None,
    ) -> None:
        self.app, self.doors, self.verifier, self.limits = app, doors, verifier, limits or RequestLimits()
        self.browsers, self.refuse_page = browsers, refuse_page
        self._public = {*PUBLIC_PATHS, *(prefix + path for prefix in doors.prefixes for path in PUBLIC_PATHS)}
        self._worker_paths = tuple(f"{prefix}/worker/" for prefix in doors.prefixes)

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
                message["headers"].extend(_WIRE_HEADERS)
            await send(message)

        if self.browsers is not None and _is_opened_by_browser(scope, headers):
            await RedirectResponse(f"{scope.get('root_path', '')}{UI}/")(scope, receive, send_with_id)
            return
        try:
            refused = await self._refusal(scope, headers)
        except Exception as error:  # noqa: BLE001 - the database cannot be asked: that is an answer too
            await errors.response_to(error, request_id)(scope, receive, send_with_id)
            return
        if refused is not None and self.refuse_page is not None and is_page(scope["path"]):
            page = self.refuse_page(Request(scope), refused.status, refused.message, refused.hint)
            await page(scope, receive, send_with_id)
            return
        if refused is not None:
            response = errors.error_response(
                refused.status, refused.error, refused.message, request_id, refused.hint
            )
            response.headers.update(refused.headers)
            await response(scope, receive, send_with_id)
            return
        if self.limits.max_bytes > 0:
            receive = limited(receive, self.limits.max_bytes)
        if _is_waiting_for_news(scope):
            await self.app(scope, receive, send_with_id)
            return
        self.limits.num_running += 1
        try:
            await self.app(scope, receive, send_with_id)
        finally:
            self.limits.num_running -= 1

    async def _refusal(self, scope: Scope, headers: Headers) -> Refusal | None:
        """Why a request is not let in; ``None``: it is, and its scope says who sends it."""
        path: str = scope["path"]
        if path in self._public:
            scope[IDENTITY] = claimed("")
            return None
        if scope.get(WORKERS_ONLY) and not path.startswith(self._worker_paths):
            return Refusal(403, "This address takes reports of attempts only.")
        if self.limits.is_full and not _is_waiting_for_news(scope):
            return _busy()
        found = await self._identity(scope, headers)
        if isinstance(found, Refusal):
            return found
        is_report = path.startswith(self._worker_paths)
        if found.role is UserRole.WORKER and not is_report:
            return Refusal(403, "This bearer token is good for reports of attempts only.")
        scope[IDENTITY] = found
        client = spoken_range(headers)
        if client is not None and (why := misunderstanding(client=client, server=OWN_RANGE)):
            return Refusal(UPGRADE_REQUIRED, why, error="WireVersionMismatch")
        return self._too_much(found, headers, is_report)

    async def _identity(self, scope: Scope, headers: Headers) -> Identity | Refusal:
        """Who sends a request."""
        shown, mode = _bearer(headers), self.doors.mode
        if self.browsers is not None and is_page(scope["path"]) and not shown:
            found = await self.browsers.identity(scope)
            if found is None and is_open_page(scope["path"]):
                return Identity("", UserRole.OBSERVER)
            return found or Refusal(401, "Nobody has signed in.", headers=_CHALLENGE)
        said = claimed(headers.get("x-jobmon-user", "")[:_USER_CHARACTERS])
        if self.doors.token:
            if is_same(shown, self.doors.token):
                return said
            if self.doors.worker_token and is_same(shown, self.doors.worker_token):
                return Identity(said.user, UserRole.WORKER)
            return Refusal(401, "The bearer token is missing or wrong.", headers=_CHALLENGE)
        if mode is AuthMode.NONE:
            return said
        if shown:
            assert self.verifier is not None
            found = await self.verifier.identity(shown)
            return found or Refusal(
                401, "The bearer token is wrong, has expired or was revoked.", _HOW_TO_GET_IN, _CHALLENGE
            )
        if mode is not AuthMode.OIDC:
            return Refusal(401, "The bearer token is missing.", _HOW_TO_GET_IN, _CHALLENGE)
        if scope["path"].startswith(SIGN_IN_PATHS):
            return Identity("", UserRole.OBSERVER)
        signed_in = session_identity(scope.get("session", {}))
        if signed_in is None:
            hint = f"Sign in at {scope.get('root_path', '')}{SIGN_IN_PATHS}login, or show a bearer token. {_HOW_TO_GET_IN}"
            return Refusal(401, "Nobody has signed in.", hint, _CHALLENGE)
        if is_foreign_page(scope["method"], headers):
            return Refusal(403, "A page of another site asked for this.")
        return signed_in

    def _too_much(self, identity: Identity, headers: Headers, is_report: bool) -> Refusal | None:
        """What is said to who asks for too much."""
        limits = self.limits
        length = headers.get("content-length", "")
        if limits.max_bytes > 0 and length.isascii() and length.isdigit() and int(length) > limits.max_bytes:
            error = too_large(limits.max_bytes)
            return Refusal(error.status_code, str(error), error=type(error).__name__)
        seconds = 0 if is_report else limits.rate.seconds_to_wait(identity)
        if seconds:
            return Refusal(
                429,
                f"User {identity.user or '(unknown)'} asks more than {limits.rate.per_second:g} times a second.",
                f"Try again in {seconds} s (server.requests_per_second).",
                {"Retry-After": str(seconds)},
                "ServerBusy",
            )
        return None


_CHALLENGE = {"WWW-Authenticate": "Bearer"}


def _busy() -> Refusal:
    return Refusal(
        503,
        "The server works on as many requests as it takes at once (server.max_concurrent_requests).",
        f"Try again in {BUSY_SECONDS} s.",
        {"Retry-After": str(BUSY_SECONDS)},
        "ServerBusy",
    )


def _bearer(headers: Headers) -> str:
    """The bearer token a request shows; empty: none."""
    scheme, _, shown = headers.get("authorization", "").partition(" ")
    return shown.strip() if scheme.lower() == "bearer" else ""


def _is_waiting_for_news(scope: Scope) -> bool:
    """Whether a request waits for news, a controller's of its run or a browser's: it costs nothing while it does."""
    path: str = scope["path"]
    return scope["method"] == "GET" and (path.endswith("/feed") or path.startswith(f"{UI}/live/"))


def _is_opened_by_browser(scope: Scope, headers: Headers) -> bool:
    """Whether somebody opens the address of the server in a browser, and so wants its pages."""
    is_root = scope["path"] == "/" and scope["method"] in ("GET", "HEAD") and not scope.get(WORKERS_ONLY)
    return is_root and "text/html" in headers.get("accept", "")


def is_same(shown: str, token: str) -> bool:
    """Whether two tokens are the same, in a time that tells nothing of them."""
    return hmac.compare_digest(shown.encode(), token.encode())
