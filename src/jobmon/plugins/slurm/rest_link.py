"""The way to slurmrestd: addresses, versions of the interface, tokens, and what is repeated when. No words of jobs here."""

from __future__ import annotations

import ipaddress
import os
import pwd
import shlex
import ssl
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import httpx

from jobmon.core.exceptions import ClusterUnreachable, ConfigError
from jobmon.plugins.slurm import token as tokens
from jobmon.plugins.slurm.errors import tidy
from jobmon.plugins.slurm.rest_messages import Answer, RestError, read, words_of
from jobmon.plugins.slurm.rest_submission import FIRST_VERSION

NEWEST_VERSION = 43
"""Last part of the newest version whose messages are known here."""
DEFAULT_TIMEOUT_SECONDS = 20.0

NOT_KNOWN = frozenset({2017, 9002, 9003})
"""Slurm's numbers: invalid job id, no such entry, nothing found."""
UNREADABLE_REQUEST = 9001
"""Slurm's number for a request that it cannot parse."""
_PERHAPS_TOKEN = frozenset({-1, 1007, 5005})
"""Slurm's numbers for a bad token, and for much else: unspecified, authentication error, zero bytes were received."""
_SOCKET = "unix:"
_LIMITS = httpx.Limits(max_keepalive_connections=0)
"""Requests are few: no connection is kept open between them, and so none has to be closed."""

A = TypeVar("A", bound=Answer)


class _TokenAuth(httpx.Auth):
    """Puts user and token into a request; the token is in no variable that a traceback might show."""

    def __init__(self, user: str, token: str) -> None:
        self._user, self.token = user, token

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response]:
        request.headers["X-SLURM-USER-NAME"] = self._user
        request.headers["X-SLURM-USER-TOKEN"] = self.token
        yield request


class RestLink:
    """Speaks with one slurmrestd. May be used from several threads.

    Args:
        url, slurm_rest_host: where it listens.
        user: login name to act for.
        token_file, token_command, slurmtool_token_host: where tokens come from, at most one of them.
        api_version: version of the interface; empty: the newest both know.
        command_timeout: seconds an answer, or a command for a token, may take.
        ca_file: certificates of authorities.
        parameters: others that are none of this one's business.

    Raises:
        ConfigError: a parameter is missing or cannot be meant.
    """

    def __init__(
        self,
        url: str = "",
        user: str = "",
        token_file: str = "",
        token_command: str | Sequence[str] | None = None,
        api_version: str = "",
        command_timeout: float = DEFAULT_TIMEOUT_SECONDS,
        ca_file: str = "",
        slurm_rest_host: str = "",
        slurmtool_token_host: str = "",
        **parameters: Any,
    ) -> None:
        self.user = user or _login_name()
        self._timeout_seconds = float(command_timeout)
        self._where = url or slurm_rest_host
        self._socket = socket_of(self._where)
        self._client = _client(self._where, self._timeout_seconds, ca_file)
        self._keeper = _keeper(
            token_file, token_command, slurmtool_token_host, self.user, self._timeout_seconds
        )
        self._version = version_of(api_version) if api_version else None

    @property
    def version(self) -> int:
        """Last part of the newest version of the interface that both sides know, such as 38; asked for once.

        Raises:
            ClusterUnreachable: it cannot be asked, or knows none.
        """
        if self._version is None:
            versions = range(NEWEST_VERSION, FIRST_VERSION - 1, -1)
            self._version = next((each for each in versions if self._has_version(each)), None)
        if self._version is None:
            raise ClusterUnreachable(
                f"slurmrestd ({self._where}) knows none of the versions v0.0.{FIRST_VERSION} to "
                f"v0.0.{NEWEST_VERSION} of its interface; is this the address of slurmrestd (url)?"
            )
        return self._version

    def path(self, what: str, part: str = "slurm") -> str:
        """Path of something: of the controller, or of the accounting (``slurmdb``)."""
        return f"/{part}/v0.0.{self.version}/{what}"

    def question(self, path: str, kind: type[A], query: Mapping[str, str] | None = None) -> tuple[int, A]:
        """An answer without errors; one that says that there is no such thing is empty.

        Raises:
            ClusterUnreachable: there was another error.
        """
        status, answer = self.exchange("GET", path, kind, query)
        if status == httpx.codes.NOT_FOUND or answer.numbers & NOT_KNOWN:
            return status, kind()  # the whole of the accounting is not found where there is none
        if status != httpx.codes.OK or answer.numbers:
            raise ClusterUnreachable(f"slurmrestd ({self._where}) said: {tidy(words_of(answer.errors))}")
        return status, answer

    def exchange(
        self,
        method: str,
        path: str,
        kind: type[A],
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        may_repeat: bool = True,
    ) -> tuple[int, A]:
        """Send a request, once more with another token where the first was perhaps not accepted.

        Args:
            method, path, kind, query, body: of the request and its answer.
            may_repeat: it may be sent again though it is not known whether it was carried out.

        Raises:
            ClusterUnreachable: no answer, or no token is accepted.
        """
        status, answer = 0, kind()
        for is_last in (False, True):
            auth = _TokenAuth(self.user, self._keeper.current()) if self._keeper else None
            status, answer = self._send(method, path, kind, query, body, auth)
            is_refused = status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN)
            perhaps = answer.numbers & _PERHAPS_TOKEN and UNREADABLE_REQUEST not in answer.numbers
            if not is_refused and not (perhaps and status != httpx.codes.BAD_REQUEST):
                return status, answer
            if auth is None or self._keeper is None:
                break
            self._keeper.reject(auth.token)
            if is_last or not (is_refused or may_repeat):
                break
        raise ClusterUnreachable(
            f"slurmrestd ({self._where}) did not accept the token for {self.user}, or cannot reach Slurm: "
            f"{tidy(words_of(answer.errors))}"
        )

    def _send(
        self,
        method: str,
        path: str,
        kind: type[A],
        query: Mapping[str, str] | None,
        body: Mapping[str, Any] | None,
        auth: httpx.Auth | None,
    ) -> tuple[int, A]:
        if self._socket and not Path(self._socket).is_socket():
            raise ClusterUnreachable(f"slurmrestd could not be reached: there is no socket {self._socket}.")
        try:
            answer = self._client.request(method, path, params=query, json=body, auth=auth)
        except httpx.TimeoutException as error:
            raise ClusterUnreachable(
                f"slurmrestd ({self._where}) did not answer within {self._timeout_seconds:g} s (command_timeout)."
            ) from error
        except httpx.HTTPError as error:
            raise ClusterUnreachable(f"slurmrestd ({self._where}) could not be reached: {error}.") from error
        try:
            return answer.status_code, read(answer.content, kind)
        except ValueError as error:
            if answer.status_code < httpx.codes.BAD_REQUEST:
                raise ClusterUnreachable(
                    f"slurmrestd ({self._where}) answered with something that cannot be read: {error}"
                ) from None
            return answer.status_code, kind(errors=[RestError(error=answer.text[:200])])

    def _has_version(self, version: int) -> bool:
        status, _ = self.exchange("GET", f"/slurm/v0.0.{version}/ping", Answer)
        return status != httpx.codes.NOT_FOUND


# -- pure ---------------------------------------------------------------------------------------------
def version_of(text: str) -> int:
    """The last part of a version such as ``v0.0.40``.

    Raises:
        ConfigError: it is none that is known here.
    """
    last = text.removeprefix("v").removeprefix("0.0.")
    if not last.isdecimal() or not FIRST_VERSION <= int(last) <= NEWEST_VERSION:
        raise ConfigError(
            f"api_version={text!r} in the connection parameters of a Slurm cluster: known are v0.0.{FIRST_VERSION} "
            f"to v0.0.{NEWEST_VERSION}."
        )
    return int(last)


def socket_of(url: str) -> str:
    """Path of the socket of ``unix:///path``; empty for another address."""
    return "/" + url.removeprefix(_SOCKET).lstrip("/") if url.startswith(_SOCKET) else ""


def is_near(host: str) -> bool:
    """Whether a host is this machine, by its name or address; nothing between here and there is wanted then."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _login_name() -> str:
    """Of whom this process belongs to, whatever the environment says."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


# -- from parameters ----------------------------------------------------------------------------------
def _client(where: str, timeout_seconds: float, ca_file: str) -> httpx.Client:
    if path := socket_of(where):
        return httpx.Client(
            base_url="http://localhost",
            transport=httpx.HTTPTransport(uds=path, limits=_LIMITS),
            timeout=timeout_seconds,
            trust_env=False,
        )
    try:
        url = httpx.URL(where)
    except httpx.InvalidURL as error:
        raise ConfigError(
            f"url={where!r} in the connection parameters of a Slurm cluster: {error}."
        ) from error
    if url.scheme not in ("http", "https") or not url.host:
        raise ConfigError(
            f"url={where!r} in the connection parameters of a Slurm cluster is not where slurmrestd listens: give "
            "http://host:port, https://host:port or unix:///path."
        )
    return httpx.Client(
        base_url=url,
        limits=_LIMITS,
        timeout=timeout_seconds,
        trust_env=not is_near(url.host),
        verify=ssl.create_default_context(cafile=os.path.expanduser(ca_file)) if ca_file else True,
    )


def _keeper(
    token_file: str,
    token_command: str | Sequence[str] | None,
    token_service: str,
    user: str,
    timeout_seconds: float,
) -> tokens.TokenKeeper | None:
    """Where tokens come from; ``None``: none is needed."""
    given = [
        name
        for name, value in (
            ("token_file", token_file),
            ("token_command", token_command),
            ("slurmtool_token_host", token_service),
        )
        if value
    ]
    if len(given) > 1:
        raise ConfigError(
            f"The connection parameters of a Slurm cluster name {' and '.join(given)}: one is enough."
        )
    if token_file:
        return tokens.TokenKeeper(tokens.from_file(Path(token_file).expanduser()))
    if token_service:
        return tokens.TokenKeeper(tokens.from_service(token_service, user, timeout_seconds))
    if token_command is None:
        command = tokens.from_command(tokens.DEFAULT_COMMAND, timeout_seconds)
        return tokens.TokenKeeper(tokens.from_environment_or(command))
    words = tuple(shlex.split(token_command) if isinstance(token_command, str) else token_command)
    return tokens.TokenKeeper(tokens.from_command(words, timeout_seconds)) if words else None
