"""The client's end of HTTP: one request, one typed answer, retried while that is safe.

Every request of Jobmon may be sent twice without harm, so everything that may have failed on the way is tried again:
connection errors, time-outs, 5xx, 423 and 429, with exponential jitter, and never before the time that a busy server names
(``Retry-After``). Other 4xx are the caller's fault and raise at once.
"""

from __future__ import annotations

import builtins
import getpass
import logging
import time
import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

import msgspec

from jobmon.core import __version__, exceptions
from jobmon.core.access_token import read_token_file
from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import (
    ConfigError,
    InvalidRequest,
    InvalidResponse,
    JobmonError,
    RetryBudgetExhausted,
)
from jobmon.core.logging import get_jobmon_context
from jobmon.core.wire_version import OWN_RANGE, WIRE_HEADERS, misunderstanding, spoken_range

if TYPE_CHECKING:
    import tenacity

    from jobmon.core.tracing import Tracing

T = TypeVar("T")

logger = logging.getLogger(__name__)

RETRIED_STATUS = frozenset({423, 429})
LONGEST_WAIT_SECONDS = 60.0
"""A server that wants to be left alone for longer is asked again after so long."""


class Address(NamedTuple):
    """Where to send requests (with the route prefix) and the bearer token to show there."""

    url: str
    token: str = ""


class HttpClient(Protocol):
    """What is used of an HTTP client; ``httpx.Client`` and Starlette's ``TestClient`` both fit."""

    def request(
        self,
        method: str,
        url: str,
        *,
        content: bytes | None = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Send one request and return the response."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


class ErrorBody(msgspec.Struct):
    """The one shape of an error on the wire.

    Attributes:
        error: name of the exception class.
        message: what was wrong.
        hint: what to do about it.
        request_id: finds the request in the server's log.
    """

    error: str
    message: str
    hint: str = ""
    request_id: str = ""


class _Unanswered(Exception):
    """The request may have failed on the way; ``wait_seconds``: how long the server wants to be left alone."""

    def __init__(self, message: str, wait_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.wait_seconds = wait_seconds


def _error_from(status: int, content: bytes, path: str) -> JobmonError:
    """The server's error as the exception class of the same name."""
    try:
        body = msgspec.json.decode(content, type=ErrorBody)
    except msgspec.DecodeError:
        return InvalidRequest(f"{path}: HTTP {status}: {content[:500].decode('utf-8', 'replace')}")
    kind = getattr(exceptions, body.error, InvalidRequest)
    if not (isinstance(kind, type) and issubclass(kind, JobmonError)) or issubclass(
        kind, exceptions.InvalidStateTransition
    ):
        kind = InvalidRequest
    message = body.message if not body.hint else f"{body.message} {body.hint}"
    error: JobmonError = kind(message)
    return error


class Requester:
    """Sends requests to the Jobmon server.

    Args:
        service_url: address of the server with the route prefix.
        retries_timeout: seconds after which a request is given up.
        retries_attempts: how often a request is tried.
        request_timeout: seconds one try may take.
        use_otlp: kept for scripts; tracing is switched by configuration.
        client: the HTTP client; by default one of our own, opened at first use.
        locate: called to learn the address, at first use and after each failure to connect; it may start a server.
        token: bearer token.
        tracing: traces each try of a request by a client of our own.
    """

    def __init__(
        self,
        service_url: str,
        retries_timeout: float = 300,
        retries_attempts: int = 10,
        request_timeout: float = 20,
        use_otlp: bool = False,
        *,
        client: HttpClient | None = None,
        locate: Callable[[], Address] | None = None,
        token: str = "",
        tracing: Tracing | None = None,
    ) -> None:
        self._address: Address | None = Address(service_url.rstrip("/"), token) if service_url else None
        self.retries_timeout = retries_timeout
        self.retries_attempts = retries_attempts
        self.request_timeout = request_timeout
        self.use_otlp = use_otlp
        self._client = client
        self._locate = locate
        self._context: dict[str, str] = {}
        self._tracing = tracing

    @classmethod
    def from_defaults(cls, config: JobmonConfig | None = None) -> Requester:
        """The requester the configuration describes; without ``http.service_url`` it uses the local server."""
        from jobmon.core.tracing import requester_tracing

        config = config or JobmonConfig()
        prefix = str(config.get("http", "route_prefix"))
        tracing = requester_tracing(config)
        service_url = str(config.get("http", "service_url"))
        limits = {
            "retries_timeout": config.get_float("http", "retries_timeout"),
            "retries_attempts": config.get_int("http", "retries_attempts"),
            "request_timeout": config.get_float("http", "request_timeout"),
        }
        if service_url:
            if not service_url.startswith(("http://", "https://")):
                raise ConfigError(
                    f"http.service_url is '{service_url}'; the address of a server begins with http:// or https://. "
                    "Where it comes from: jobmon config show --key http.service_url --origin"
                )
            token = configured_token(config)
            return cls(service_url.rstrip("/") + prefix, token=token, tracing=tracing, **limits)  # type: ignore[arg-type]

        def locate() -> Address:
            from jobmon.core.local_server import find_or_start

            record = find_or_start(config)
            return Address(record.url + prefix, record.token)

        return cls("", locate=locate, tracing=tracing, **limits)  # type: ignore[arg-type]

    @property
    def url(self) -> str:
        """Address requests go to, with the route prefix; starts the local server where that is used."""
        return self._current_address().url

    @property
    def fixed_address(self) -> Address | None:
        """The address it was given; ``None`` for one that looks for the local server."""
        return None if self._locate is not None else self._address

    @property
    def known_address(self) -> Address | None:
        """Where requests go now; ``None`` while that has to be looked for (again)."""
        return self._address

    def add_server_structlog_context(self, **kwargs: str) -> None:
        """Have the server bind these values to what it logs for our requests."""
        self._context.update({k: str(v) for k, v in kwargs.items()})

    # -- typed requests ---------------------------------------------------------------------------
    def send(
        self,
        method: str,
        path: str,
        message: msgspec.Struct | None,
        response_type: type[T],
        *,
        params: Mapping[str, Any] | None = None,
        timeout_seconds: float | None = None,
        tenacious: bool = True,
    ) -> T:
        """Send one typed message and return the typed answer.

        Args:
            method: HTTP method.
            path: route below the prefix.
            message: body; ``None`` for none.
            response_type: type of the answer.
            params: query parameters.
            timeout_seconds: time for one try, when the default does not fit.
            tenacious: try again what may have failed on the way.

        Raises:
            JobmonError: the class the server named; InvalidRequest where it is unknown.
            RetryBudgetExhausted: no answer within the retry budget.
        """
        content = None if message is None else msgspec.json.encode(message)
        status, body = self._send(method, path, content, params, timeout_seconds, tenacious)
        if status >= 400:
            raise _error_from(status, body, path)
        try:
            return msgspec.json.decode(body, type=response_type)
        except msgspec.DecodeError as error:
            raise InvalidResponse(
                f"{path}: the server's answer was not understood ({error}). "
                "Do client and server have the same version?"
            ) from error

    def send_request(
        self,
        app_route: str,
        message: Mapping[str, Any],
        request_type: str,
        tenacious: bool = True,
    ) -> tuple[int, Any]:
        """Send a request by route and dictionary, as plugins do; the status and the decoded answer.

        Args:
            app_route: route below the prefix.
            message: body, or the query parameters of a GET.
            request_type: ``get``, ``post``, ``put`` or ``delete``.
            tenacious: try again what may have failed on the way.

        Raises:
            InvalidRequest: the server refused it (4xx); without ``tenacious`` the status is returned instead.
            RetryBudgetExhausted: (a RuntimeError) no answer within the retry budget.
        """
        is_get = request_type.lower() == "get"
        content = None if is_get else msgspec.json.encode(message)
        params = message if is_get else None
        status, body = self._send(request_type, app_route, content, params, None, tenacious)
        if status >= 400 and tenacious:
            error = _error_from(status, body, app_route)
            if isinstance(error, InvalidRequest):
                raise error
            raise InvalidRequest(str(error)) from error
        return status, msgspec.json.decode(body) if body else None

    async def send_request_async(
        self,
        session: Any,
        app_route: str,
        message: Mapping[str, Any],
        request_type: str,
        tenacious: bool = True,
    ) -> tuple[int, Any]:
        """What :meth:`send_request` does, without blocking the event loop.

        Args:
            session: accepted for scripts; the connections of this requester are used.
            app_route, message, request_type, tenacious: as of :meth:`send_request`.
        """
        import asyncio

        return await asyncio.to_thread(self.send_request, app_route, message, request_type, tenacious)

    def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    # -- below ------------------------------------------------------------------------------------
    def _current_address(self) -> Address:
        if self._address is None:
            if self._locate is None:
                raise exceptions.ConfigError("There is no address of a Jobmon server (http.service_url).")
            self._address = self._locate()
        return self._address

    def _send(
        self,
        method: str,
        path: str,
        content: bytes | None,
        params: Mapping[str, Any] | None,
        timeout_seconds: float | None,
        tenacious: bool,
    ) -> tuple[int, bytes]:
        request_id = uuid.uuid4().hex

        def attempt() -> tuple[int, bytes]:
            return self._try_once(method, path, content, params, timeout_seconds, request_id)

        try:
            return attempt()
        except _Unanswered as error:
            if not tenacious:
                raise RetryBudgetExhausted(f"{path}: {error}") from error
            if error.wait_seconds:
                time.sleep(min(error.wait_seconds, self.retries_timeout))
        return self._retry(attempt, path)

    def _retry(self, attempt: Callable[[], tuple[int, bytes]], path: str) -> tuple[int, bytes]:
        import tenacity

        initial = 1.0 if self._locate is None else 0.05  # a local server is started by the next try itself
        usual = tenacity.wait_exponential(multiplier=initial, max=30) + tenacity.wait_random(0, initial)
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_Unanswered),
            stop=tenacity.stop_after_attempt(max(1, self.retries_attempts - 1))
            | tenacity.stop_after_delay(self.retries_timeout),
            wait=lambda state: usual(state) + _wait_as_told(state),
            before_sleep=self._tell_of_waiting,
        )
        try:
            return retrying(attempt)
        except tenacity.RetryError as error:
            reason = error.last_attempt.exception()
            raise RetryBudgetExhausted(
                f"Exceeded HTTP request retry budget: no answer from the Jobmon server to {path} "
                f"({reason}). Is it running and is http.service_url right?"
            ) from reason

    def _tell_of_waiting(self, state: tenacity.RetryCallState) -> None:
        """Once, and not of the first hiccup: whoever waits wants to know for what."""
        if self._address is not None and self._locate is None and state.attempt_number == 2 and state.outcome:
            logger.warning(
                "No answer from the Jobmon server at %s (%s); trying again for up to %.0f s.",
                self._address.url,
                state.outcome.exception(),
                self.retries_timeout,
            )

    def _try_once(
        self,
        method: str,
        path: str,
        content: bytes | None,
        params: Mapping[str, Any] | None,
        timeout_seconds: float | None,
        request_id: str,
    ) -> tuple[int, bytes]:
        address = self._current_address()
        client = self._client
        if client is None:
            client = self._client = _default_client(self._tracing)
        headers = {
            "Content-Type": "application/json",
            "X-Jobmon-Version": __version__,
            "X-Request-ID": request_id,
            "X-Jobmon-User": current_user(),
            **WIRE_HEADERS,
        }
        if address.token:
            headers["Authorization"] = f"Bearer {address.token}"
        context = {**get_jobmon_context(), **self._context}
        if context:
            headers["X-Server-Structlog-Context"] = msgspec.json.encode(context).decode()
        try:
            response = client.request(
                method.upper(),
                address.url + path,
                content=content,
                params={**(params or {}), "client_jobmon_version": __version__},
                headers=headers,
                timeout=timeout_seconds or self.request_timeout,
            )
        except Exception as error:
            if not _is_transport_error(error):
                raise
            if self._locate is not None:
                self._address = None  # it may have been replaced: look again
            raise _Unanswered(f"{builtins.type(error).__name__}: {error}") from error
        _require_understanding(getattr(response, "headers", {}))
        status = int(response.status_code)
        if status >= 500 or status in RETRIED_STATUS:
            text = response.content[:500].decode("utf-8", "replace")
            raise _Unanswered(f"HTTP {status}: {text}", _seconds_to_wait(response.headers))
        if status == 401 and self._locate is not None and self._address is address:
            self._address = None
            raise _Unanswered("HTTP 401: the local server was replaced")
        return status, bytes(response.content)


def _require_understanding(headers: Mapping[str, str]) -> None:
    """Refuse the answer of a server whose messages are not understood here.

    Raises:
        WireVersionMismatch: says which of the two to upgrade.
    """
    server = spoken_range(headers)
    if server is not None and (why := misunderstanding(client=OWN_RANGE, server=server)):
        raise exceptions.WireVersionMismatch(why)


def _seconds_to_wait(headers: Mapping[str, str]) -> float:
    """How long a server wants to be left alone; 0: it does not say, or names a date."""
    said = headers.get("Retry-After") or ""
    return min(float(said), LONGEST_WAIT_SECONDS) if said.isascii() and said.isdigit() else 0.0


def _wait_as_told(state: tenacity.RetryCallState) -> float:
    """What a busy server wants, on top of what is waited anyway: so its clients do not come back all at once."""
    error = state.outcome.exception() if state.outcome is not None else None
    return error.wait_seconds if isinstance(error, _Unanswered) else 0.0


def _is_transport_error(error: Exception) -> bool:
    import httpx

    return isinstance(error, httpx.TransportError | OSError)


def _default_client(tracing: Tracing | None) -> HttpClient:
    import httpx

    client = httpx.Client(
        trust_env=False, limits=httpx.Limits(max_keepalive_connections=8, keepalive_expiry=60)
    )
    return client if tracing is None else tracing.traced(client)


_cached_user: str | None = None


def current_user() -> str:
    """Name of the user this process runs as; ``unknown`` where the system has none for it."""
    global _cached_user
    if _cached_user is None:
        try:
            _cached_user = getpass.getuser()
        except (KeyError, OSError):  # a container without an entry in passwd
            _cached_user = "unknown"
    return _cached_user


def configured_token(config: JobmonConfig) -> str:
    """The bearer token for ``http.service_url``; empty: there is none.

    Raises:
        ConfigError: its file cannot be read, holds no token, or can be read by others.
    """
    token = str(config.get("http", "token")).strip()
    path = str(config.get("http", "token_file"))
    return token or (read_token_file(path, "http.token_file") if path else "")
