"""Sign-in of browsers by an identity provider (OpenID Connect, authorization code with PKCE).

The protocol is Authlib's: discovery, state, nonce, code verifier, and the check of the ID token's signature, issuer, audience
and times. Here: which user and role its claims mean, and the routes ``/api/auth/oidc/{login,auth,userinfo,logout}``.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import httpx
import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from jobmon.core.exceptions import ConfigError
from jobmon.server.web.auth.sessions import session_begin, session_identity, session_name
from jobmon.server.web.auth.settings import OidcSettings
from jobmon.server.web.errors import error_response
from jobmon.server.web.identity import Identity, UserRole

try:
    import authlib.deprecate  # noqa: F401 - it has its warnings shown, so that comes first

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the HTTP client underneath
        from authlib.common.errors import AuthlibBaseError
        from authlib.integrations.starlette_client import OAuth
        from joserfc.errors import JoseError
except ImportError as error:
    raise ConfigError(
        "auth.mode is oidc, but the packages for that are not installed: pip install 'jobmon[oidc]'"
    ) from error

logger = logging.getLogger("jobmon.server")

PREFIX = "/api/auth/oidc"
_REGISTERED = "jobmon"
_NO_GROUP = "app-"
"""Groups whose names begin like this belong to applications and say nothing of a person."""
_LEEWAY_SECONDS = 60
_UNREACHED: tuple[type[Exception], ...] = (httpx.HTTPError,)
if find_spec("httpx2") is not None:  # Authlib prefers it
    _UNREACHED += (import_module("httpx2").HTTPError,)
_NOT_REACHED: tuple[type[Exception], ...] = (*_UNREACHED, RuntimeError)
_NOT_BEGUN: tuple[type[Exception], ...] = (*_NOT_REACHED, AuthlibBaseError, ValueError)
_USER_CHARACTERS = 150


class SignInError(Exception):
    """The identity provider said nothing that lets somebody in."""


class UserInfo(msgspec.Struct):
    """Who has signed in.

    Attributes:
        user: name.
        name: the same, for people.
        role: what they may do.
    """

    user: str
    name: str
    role: str


def identity_of_claims(claims: Mapping[str, Any], settings: OidcSettings) -> Identity:
    """User and role of who has signed in.

    Raises:
        SignInError: the claims name no user, or an e-mail address that nobody has verified.
    """
    said = claims.get(settings.user_claim)
    if not isinstance(said, str) or not said:
        raise SignInError(f"it does not say who signed in (claim {settings.user_claim}, oidc.user_claim)")
    if settings.user_claim == "email" and claims.get("email_verified") is False:
        raise SignInError("the e-mail address of who signed in is not verified")
    user = said.partition("@")[0]
    if not user or len(user) > _USER_CHARACTERS or not user.isprintable() or user != user.strip():
        raise SignInError("the name of who signed in cannot be used")
    return Identity(user, role_of_groups(_groups(claims.get(settings.groups_claim)), settings))


def role_of_groups(groups: Sequence[str], settings: OidcSettings) -> UserRole:
    """The role of a member of these groups."""
    known = {group for group in groups if not group.startswith(_NO_GROUP)}
    if settings.admin_group in known:
        return UserRole.ADMIN
    return UserRole.OBSERVER if settings.observer_group in known else UserRole.USER


def _groups(said: object) -> list[str]:
    if isinstance(said, str):
        return [said]
    return [each for each in said if isinstance(each, str) and each] if isinstance(said, list) else []


def sign_in_router(settings: OidcSettings) -> APIRouter:
    """The routes of browsers that sign in."""
    oauth = OAuth()
    oauth.register(
        _REGISTERED,
        server_metadata_url=settings.conf_url,
        client_id=settings.client_id,
        client_secret=settings.client_secret or None,
        client_kwargs={"scope": settings.scope, "code_challenge_method": "S256", "timeout": 15},
    )
    provider = oauth.create_client(_REGISTERED)
    router = APIRouter(prefix=PREFIX, tags=["sign-in"])

    @router.get("/login", response_model=None)
    async def login(request: Request) -> Response:
        """Send the browser to the identity provider."""
        back = settings.redirect_uri or str(request.url_for("auth"))
        try:
            return _private(await provider.authorize_redirect(request, back))
        except _NOT_BEGUN as error:
            return _not_reached(request, settings, error)

    @router.get("/auth", response_model=None)
    async def auth(request: Request) -> Response:
        """Take the browser back, and begin its session."""
        try:
            answer = await provider.authorize_access_token(request, leeway=_LEEWAY_SECONDS)
            claims = answer.get("userinfo")
            if not claims:
                raise SignInError("it sent no ID token")
            identity = identity_of_claims(claims, settings)
        except _NOT_REACHED as error:
            return _not_reached(request, settings, error)
        except (AuthlibBaseError, JoseError, SignInError, ValueError, KeyError) as error:
            return _refused(request, settings, error)
        name = claims.get("name")
        session_begin(
            request.session, identity, name if isinstance(name, str) else "", settings.session_seconds
        )
        logger.info("user %s has signed in (role %s)", identity.user, identity.role)
        return _private(RedirectResponse(_landing_page(request, settings), status_code=302))

    @router.get("/userinfo", response_model=None)
    async def userinfo(request: Request) -> Response:
        """Who has signed in; 401: nobody."""
        identity = session_identity(request.session)
        if identity is None:
            return error_response(
                401, "NotAllowedError", "Nobody has signed in.", _request_id(request), PREFIX
            )
        info = UserInfo(identity.user, session_name(request.session), identity.role.value)
        return _private(Response(msgspec.json.encode(info), media_type="application/json"))

    @router.get("/logout", response_model=None)
    async def logout(request: Request) -> Response:
        """End the session of this browser."""
        request.session.clear()
        return _private(RedirectResponse(_landing_page(request, settings), status_code=302))

    return router


def _landing_page(request: Request, settings: OidcSettings) -> str:
    return settings.landing_page or f"{request.scope.get('root_path', '')}/"


def _private(response: Response) -> Response:
    """An answer nobody else may be shown."""
    response.headers["Cache-Control"] = "no-store"
    return response


def _request_id(request: Request) -> str:
    return str(request.scope.get("jobmon_request_id", ""))


def _not_reached(request: Request, settings: OidcSettings, error: Exception) -> Response:
    logger.error("the identity provider %s does not answer as one: %s", settings.conf_url, error)
    message = f"The identity provider {settings.name} cannot be reached or does not answer as one."
    hint = "Try again later; the server's log says more (oidc.conf_url)."
    return error_response(502, "ServerError", message, _request_id(request), hint)


def _refused(request: Request, settings: OidcSettings, error: Exception) -> Response:
    logger.warning("a sign-in by %s failed: %s: %s", settings.conf_url, type(error).__name__, error)
    reason = str(error) if isinstance(error, SignInError) else "its answer is none that this server waits for"
    message = f"The sign-in by {settings.name} failed: {reason}."
    return error_response(
        401, "NotAllowedError", message, _request_id(request), f"Begin again at {PREFIX}/login."
    )
