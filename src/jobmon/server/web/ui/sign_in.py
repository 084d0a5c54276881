"""How browsers get in: by a link that is good once, a token that is typed, an identity provider, or a name that is said."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from jobmon.server.web.auth.settings import AuthMode
from jobmon.server.web.identity import UserRole, claimed
from jobmon.server.web.state import ServerState
from jobmon.server.web.ui import browser
from jobmon.server.web.ui.browser import CSRF, NAME, SESSION, SIGN_IN_PATH, TOKEN, UI, Browsers
from jobmon.server.web.ui.page_router import Form, View, form_of, redirect, respond


class SignIn:
    """The pages ``/ui/enter``, ``/ui/sign-in`` and ``/ui/sign-out``.

    Args:
        state: the server.
        browsers: lets browsers in.
    """

    def __init__(self, state: ServerState, browsers: Browsers) -> None:
        self.state, self.browsers = state, browsers

    def routes(self) -> Sequence[Route]:
        """Where they are."""
        return [
            Route(f"{UI}/enter", self.enter),
            Route(SIGN_IN_PATH, self.sign_in, methods=["GET", "POST"]),
            Route(f"{UI}/sign-out", self.sign_out, methods=["POST"]),
        ]

    def _view(self, request: Request) -> tuple[View, bool]:
        csrf = browser.cookies_of(request.scope).get(CSRF, "")
        return View(self.state, claimed(""), request, csrf or secrets.token_urlsafe(24)), not csrf

    async def enter(self, request: Request) -> Response:
        """Begin a session by a link that is good once."""
        view, is_new = self._view(request)
        to = _page_of(request.query_params.get("to", ""))
        session = self.browsers.begin_session(request.query_params.get("ticket", ""))
        if session:
            response = respond(view, redirect(view, to), is_new_csrf=is_new)
            response.headers.append("Set-Cookie", browser.set_cookie(request.scope, SESSION, session))
            return response
        if (
            await self.browsers.identity(request.scope) is not None
        ):  # let in before: an old link is a link still
            return respond(view, redirect(view, to))
        why = "This link was used before or is too old." if self.browsers.is_local else ""
        return self._form(view, to, why, is_new)

    async def sign_in(self, request: Request) -> Response:
        """Take a token, or a name where nobody signs in."""
        view, is_new = self._view(request)
        to = _page_of(request.query_params.get("to", ""))
        if request.method == "GET":
            return self._form(view, to, "", is_new)
        form = await form_of(request)
        if browser.is_pressed_elsewhere(request.scope, form):
            return self._form(view, to, "The page was too old; try again.", is_new)
        cookie, why = await _admit(self.browsers, request, form)
        if why:
            return self._form(view, to, why, is_new)
        response = respond(view, redirect(view, _page_of(form.get("to", ""))))
        response.headers.append("Set-Cookie", cookie)
        return response

    async def sign_out(self, request: Request) -> Response:
        """Forget who sits there."""
        view, is_new = self._view(request)
        response = respond(view, redirect(view, "/"), is_new_csrf=is_new)
        if browser.is_pressed_elsewhere(request.scope, await form_of(request)):
            return response
        self.browsers.end_session(request.scope)
        if "session" in request.scope:
            request.session.clear()
        for name in (SESSION, TOKEN, NAME):
            response.headers.append("Set-Cookie", browser.set_cookie(request.scope, name, "", 0))
        return response

    def _form(self, view: View, to: str, why: str, is_new: bool) -> Response:
        how = "link" if self.browsers.is_local else self.browsers.mode.value
        answer = view.html("sign_in.html", status=403 if why else 200, how=how, to=to, why=why)
        return respond(view, answer, is_new_csrf=is_new)


async def _admit(browsers: Browsers, request: Request, form: Form) -> tuple[str, str]:
    """The cookie of who signs in, and why they cannot."""
    if browsers.mode is AuthMode.NONE and not browsers.is_local:
        name = form.get("name", "").strip()
        if not name.isprintable() or len(name) > 150 or any(each in name for each in ';,"\\ '):
            return "", "A name is one word."
        return browser.set_cookie(request.scope, NAME, name), ""
    token = form.get("token", "").strip()
    if browsers.verifier is None or not token or any(each in token for each in ';,"\\ \r\n'):
        return "", "This is not a token."
    found = await browsers.verifier.identity(token)
    if found is None or found.role is UserRole.WORKER:
        return "", "The token is wrong, has expired or was revoked."
    return browser.set_cookie(request.scope, TOKEN, token), ""


def _page_of(to: str) -> str:
    """A path below the pages; anything else is their first one."""
    path = unquote(to)
    if path.startswith(UI + "/") and "//" not in path and "\\" not in path and path.isprintable():
        return path[len(UI) :].partition("?")[0]
    return "/"
