"""Who sits at a browser, and what keeps pages of other sites from pressing our buttons.

Rules
-----
1. Cookies open pages below ``/ui`` only: for the routes of the API they are nothing (but for the sessions of ``auth.mode`` oidc).
2. On a local server a link that is good once (:mod:`jobmon.core.ui_link`) begins a session, which lives as long as the
   server. In mode token somebody types their token once, and the cookie holds it: revoked, it is worth nothing. In mode
   none nobody signs in; a name may be given, so that one's own workflows come first.
3. A change is taken from a page of this server only: the browser says so (``Sec-Fetch-Site``, ``Origin``), and the form shows
   the random value of a cookie that other sites can neither read nor have sent with a form (``SameSite=Lax``).
"""

from __future__ import annotations

import getpass
import hmac
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

from jobmon.core.ui_link import is_ticket
from jobmon.server.web.auth.sessions import is_foreign_page, session_identity
from jobmon.server.web.auth.settings import AuthMode
from jobmon.server.web.identity import Identity, claimed

if TYPE_CHECKING:
    from jobmon.server.web.auth.verifier import TokenVerifier

UI = "/ui"
OPEN_PATHS = (f"{UI}/static/", f"{UI}/enter", f"{UI}/sign-in")
"""What is shown to who has not signed in."""
SIGN_IN_PATH = f"{UI}/sign-in"
SESSION, TOKEN, NAME, CSRF, SAID = "session", "token", "name", "csrf", "said"
"""Names of our cookies, each behind ``jobmon_<port>_``: browsers do not tell ports of one host apart."""
COOKIE_SECONDS = 30 * 86400
_USER_CHARACTERS = 150
_MAX_SESSIONS = 1000


def is_page(path: str) -> bool:
    """Whether a path is one of the pages."""
    return path == UI or path.startswith(UI + "/")


def is_open_page(path: str) -> bool:
    """Whether a page is shown to everybody."""
    return path.startswith(OPEN_PATHS)


def cookies_of(scope: Scope) -> dict[str, str]:
    """Our cookies of a request, by short name."""
    prefix = cookie_prefix(scope)
    found: dict[str, str] = {}
    for name, value in Headers(scope=scope).items():
        if name != "cookie":
            continue
        jar: SimpleCookie = SimpleCookie()
        try:
            jar.load(value)
        except CookieError:
            continue
        found.update({key[len(prefix) :]: each.value for key, each in jar.items() if key.startswith(prefix)})
    return found


def cookie_prefix(scope: Scope) -> str:
    """What the names of our cookies begin with at this address."""
    host = Headers(scope=scope).get("host", "")
    port = host.rpartition(":")[2]
    return f"jobmon_{port}_" if port.isdigit() else "jobmon_"


def set_cookie(scope: Scope, name: str, value: str, seconds: int | None = COOKIE_SECONDS) -> str:
    """A ``Set-Cookie`` header that no script can read; seconds 0: forget it, ``None``: until the browser ends."""
    path = f"{scope.get('root_path', '')}{UI}"
    age = "" if seconds is None else f"; Max-Age={seconds}"
    secure = "; Secure" if scope.get("scheme") == "https" else ""
    return f"{cookie_prefix(scope)}{name}={value}; Path={path}; HttpOnly; SameSite=Lax{age}{secure}"


@dataclass
class Browsers:
    """Lets browsers in.

    Attributes:
        mode: how the server knows who asks.
        token: bearer token of a local server's owner; empty: it is none.
        verifier: knows the tokens of the database.
    """

    mode: AuthMode
    token: str = field(default="", repr=False)
    verifier: TokenVerifier | None = None
    _sessions: dict[str, float] = field(default_factory=dict, repr=False)
    _used: dict[str, float] = field(default_factory=dict, repr=False)

    @property
    def is_local(self) -> bool:
        """Whether this is the local server of one user."""
        return bool(self.token)

    async def identity(self, scope: Scope) -> Identity | None:
        """Who sits there; ``None``: nobody who has signed in."""
        cookies = cookies_of(scope)
        if self.is_local:
            return claimed(getpass.getuser()) if cookies.get(SESSION, "") in self._sessions else None
        if self.mode is AuthMode.NONE:
            return claimed(cookies.get(NAME, "")[:_USER_CHARACTERS])
        if self.mode is AuthMode.OIDC and (found := session_identity(scope.get("session", {}))):
            return found
        shown = cookies.get(TOKEN, "")
        return await self.verifier.identity(shown) if shown and self.verifier is not None else None

    def begin_session(self, ticket: str, now: float | None = None) -> str:
        """The session that a link begins; empty: it is not good, or was used before."""
        now = time.time() if now is None else now
        self._used = {each: until for each, until in self._used.items() if until > now}
        if not self.token or ticket in self._used or not is_ticket(ticket, self.token, now):
            return ""
        self._used[ticket] = float(ticket.partition(".")[0]) + 1
        session = secrets.token_urlsafe(24)
        self._sessions[session] = now
        while len(self._sessions) > _MAX_SESSIONS:
            self._sessions.pop(next(iter(self._sessions)))
        return session

    def end_session(self, scope: Scope) -> None:
        """Forget who sits there."""
        self._sessions.pop(cookies_of(scope).get(SESSION, ""), None)


def is_pressed_elsewhere(scope: Scope, form: Mapping[str, str]) -> bool:
    """Whether a change is asked for by a page that is not ours."""
    headers = Headers(scope=scope)
    origin = headers.get("origin", "")
    if is_foreign_page(scope["method"], headers) or (
        origin and urlsplit(origin).netloc != headers.get("host", "")
    ):
        return True
    cookie = cookies_of(scope).get(CSRF, "")
    return not cookie or not hmac.compare_digest(cookie.encode(), form.get(CSRF, "").encode())
