"""Browsers that have signed in: a signed cookie says who it is, and until when.

The cookie is signed, not encrypted: it holds a name, a role and a time, no secret. No script in a page can read it
(``HttpOnly``), pages of other sites cannot have it sent with changes (``SameSite=Lax``, and :func:`is_foreign_page`), and it
goes over HTTPS only once it was given over HTTPS. What it says holds until its time is over: who loses a role loses it then.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, MutableMapping
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from jobmon.server.web.identity import SIGN_IN_ROLES, Identity, UserRole

COOKIE = "jobmon_session"
_USER, _ROLE, _NAME, _UNTIL = "user", "role", "name", "until"
_LOOKING = frozenset({"GET", "HEAD", "OPTIONS"})


class Sessions:
    """Reads and writes the cookies.

    Args:
        app: the application.
        key: signs them.
        seconds: after which a browser forgets them.
    """

    def __init__(self, app: ASGIApp, key: str, seconds: float) -> None:
        from starlette.middleware.sessions import SessionMiddleware

        self._open, self._secure = (
            SessionMiddleware(app, key, COOKIE, max_age=int(seconds), https_only=https_only)
            for https_only in (False, True)
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        layer = self._secure if scope.get("scheme") == "https" else self._open
        await layer(scope, receive, send)


def session_begin(
    session: MutableMapping[str, Any], identity: Identity, name: str, seconds: float, now: float | None = None
) -> None:
    """Note that somebody has signed in.

    Args:
        session: the session of the request.
        identity: who.
        name: their name, for people.
        seconds: how long that holds.
        now: seconds of the clock (of all servers, not monotonic); ``None``: now.
    """
    session.clear()  # of whoever was signed in here before
    until = int((time.time() if now is None else now) + seconds)
    session.update({_USER: identity.user, _ROLE: identity.role.value, _NAME: name, _UNTIL: until})


def session_identity(session: Mapping[str, Any], now: float | None = None) -> Identity | None:
    """Who has signed in; ``None``: nobody, or too long ago."""
    user, role, until = session.get(_USER), session.get(_ROLE), session.get(_UNTIL)
    if not isinstance(user, str) or not user or role not in SIGN_IN_ROLES or not isinstance(until, int):
        return None
    return None if (time.time() if now is None else now) >= until else Identity(user, UserRole(role))


def session_name(session: Mapping[str, Any]) -> str:
    """Name, for people, of who has signed in."""
    return str(session.get(_NAME) or session.get(_USER) or "")


def is_foreign_page(method: str, headers: Headers) -> bool:
    """Whether a browser asks for a change because a page of another site wants it to."""
    site = headers.get("sec-fetch-site", "")
    return method not in _LOOKING and site not in ("", "same-origin", "none")
