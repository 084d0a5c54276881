"""The server in this process: requests go straight into the application, no port and no wait."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from fastapi import FastAPI

from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import ServerError
from jobmon.core.requester import Requester
from jobmon.server.web.api import get_app

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Starlette's about the HTTP client underneath
    from starlette.testclient import TestClient

CLOSE_SECONDS = 30


class AppClient:
    """The HTTP client of a requester over Starlette's test client.

    It knows which requests are under way: a controller's long poll may outlive its run, and the application must
    not end before it is answered.

    Args:
        client: the test client.
    """

    def __init__(self, client: TestClient) -> None:
        self.client = client
        self._changed = threading.Condition()
        self._num_running = 0
        self._is_closed = False

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
        """Send one request; ``timeout`` has no meaning here."""
        with self._changed:
            if self._is_closed:
                raise ServerError("The server in this process was closed.")
            self._num_running += 1
        try:
            return self.client.request(method, url, content=content, params=params, headers=headers)
        finally:
            with self._changed:
                self._num_running -= 1
                self._changed.notify_all()

    def close(self) -> None:
        """Nothing to close: the application ends with :func:`in_process_server`."""

    def end(self) -> None:
        """Take no more requests and wait for those under way."""
        with self._changed:
            self._is_closed = True
            if not self._changed.wait_for(lambda: self._num_running == 0, CLOSE_SECONDS):
                raise ServerError("A request to the server in this process is not answered.")


@contextmanager
def app_requester(app: FastAPI, prefix: str = "/api/v3") -> Iterator[Requester]:
    """A requester for an application, which runs as long as the context."""
    with TestClient(app, raise_server_exceptions=False) as client:
        own = AppClient(client)
        try:
            yield Requester(f"http://testserver{prefix}", client=own)
        finally:
            assert client.portal is not None
            client.portal.call(app.state.jobmon.close)  # answers the long polls
            own.end()


@contextmanager
def in_process_server(config: JobmonConfig) -> Iterator[Requester]:
    """A requester for a server over the configured database, which must have the newest schema."""
    with app_requester(get_app(config), str(config.get("http", "route_prefix"))) as requester:
        yield requester
