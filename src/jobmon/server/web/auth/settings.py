"""What the configuration says of who is let in."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from enum import StrEnum

from jobmon.core.access_token import read_token_file
from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import ConfigError

LEAST_KEY_CHARACTERS = 32


class AuthMode(StrEnum):
    """How the server knows who asks."""

    NONE = "none"
    TOKEN = "token"  # noqa: S105 - the name of a mode
    OIDC = "oidc"


def auth_mode(config: JobmonConfig) -> AuthMode:
    """The mode of ``auth.mode``, or what ``auth.enabled`` of older configurations means.

    Raises:
        ConfigError: there is no such mode.
    """
    name = str(config.get("auth", "mode"))
    if name:
        try:
            return AuthMode(name)
        except ValueError:
            raise ConfigError(f"auth.mode is '{name}'; it is one of {', '.join(AuthMode)}.") from None
    if not config.get_boolean("auth", "enabled"):
        return AuthMode.NONE
    return AuthMode.OIDC if str(config.get("oidc", "conf_url")) else AuthMode.TOKEN


def require_safe_address(config: JobmonConfig, host: str) -> None:
    """Refuse to listen beyond this machine where nobody signs in, unless that is wanted.

    Raises:
        ConfigError: what to do is in the message.
    """
    if (
        auth_mode(config) is not AuthMode.NONE
        or config.get_boolean("auth", "allow_open")
        or is_loopback(host)
    ):
        return
    raise ConfigError(
        f"This server would listen at {host or 'every address'} while auth.mode is none: whoever reaches it could act as "
        "anybody. Let users show tokens: set auth.mode to token (JOBMON__AUTH__MODE=token) and make some with "
        "'jobmon-server token create --user NAME'. Or keep it to this machine: --host 127.0.0.1. Or, where the network is "
        "trusted, set auth.allow_open to true (JOBMON__AUTH__ALLOW_OPEN=true)."
    )


def require_usable(config: JobmonConfig, host: str) -> None:
    """Refuse what cannot work, or should not, before a server listens at an address.

    Raises:
        ConfigError: what to do is in the message.
    """
    require_safe_address(config, host)
    if auth_mode(config) is AuthMode.OIDC:
        OidcSettings.from_config(config)
        from jobmon.server.web.auth import oidc  # noqa: F401 - says so where its packages are missing


def is_loopback(host: str) -> bool:
    """Whether an address to listen at can be reached from this machine only; a path is that of a socket in a file."""
    if host.startswith(("/", "unix:")) or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0]).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True)
class OidcSettings:
    """How browsers sign in.

    Attributes:
        name: of the identity provider, for people.
        conf_url: its discovery document.
        client_id, client_secret: what this server is there.
        scope: what is asked for.
        redirect_uri: where the provider sends the browser back; empty: found out from each request.
        landing_page: where a login ends.
        user_claim, groups_claim: claims that name the user and their groups.
        admin_group, observer_group: groups that have these roles; empty: nobody has.
        session_key: signs the session cookie.
        session_seconds: after which a browser signs in again.
    """

    name: str
    conf_url: str
    client_id: str
    client_secret: str = field(repr=False)
    scope: str
    redirect_uri: str
    landing_page: str
    user_claim: str
    groups_claim: str
    admin_group: str
    observer_group: str
    session_key: str = field(repr=False)
    session_seconds: float

    @classmethod
    def from_config(cls, config: JobmonConfig) -> OidcSettings:
        """The settings of the sections ``oidc`` and ``session``.

        Raises:
            ConfigError: one that is needed is missing or cannot be used.
        """
        conf_url = str(config.get("oidc", "conf_url"))
        client_id = str(config.get("oidc", "client_id"))
        user_claim = str(config.get("oidc", "user_claim"))
        needed = {"conf_url": conf_url, "client_id": client_id, "user_claim": user_claim}
        missing = [f"oidc.{name}" for name, value in needed.items() if not value]
        if missing:
            raise ConfigError(f"auth.mode is oidc, but {' and '.join(missing)} must be set for that.")
        scope = str(config.get("oidc", "scope"))
        if "openid" not in scope.split():
            raise ConfigError(f"oidc.scope is '{scope}'; the word openid must be among its words.")
        key = _secret(
            str(config.get("session", "secret_key")),
            str(config.get("session", "secret_key_file")),
            "session.secret_key_file",
        )
        if len(key) < LEAST_KEY_CHARACTERS:
            raise ConfigError(
                "auth.mode is oidc, and that needs a key of at least "
                f"{LEAST_KEY_CHARACTERS} characters which signs the browsers' cookies, the same for all processes. Make one: "
                "(umask 077; python3 -c 'import secrets; print(secrets.token_urlsafe(48))' > session.key) and set "
                "session.secret_key_file to that file."
            )
        return cls(
            name=str(config.get("oidc", "name")),
            conf_url=conf_url,
            client_id=client_id,
            client_secret=_secret(
                str(config.get("oidc", "client_secret")),
                str(config.get("oidc", "client_secret_file")),
                "oidc.client_secret_file",
            ),
            scope=scope,
            redirect_uri=str(config.get("oidc", "redirect_uri")),
            landing_page=str(config.get("oidc", "login_landing_page_uri")),
            user_claim=user_claim,
            groups_claim=str(config.get("oidc", "groups_claim")),
            admin_group=str(config.get("oidc", "admin_group")),
            observer_group=str(config.get("oidc", "observer_group")),
            session_key=key,
            session_seconds=config.get_float("session", "hours") * 3600,
        )


def _secret(said: str, path: str, file_key: str) -> str:
    """A secret of the environment, or that of its file; empty: neither is set."""
    return said or (read_token_file(path, file_key) if path else "")
