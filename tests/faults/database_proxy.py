"""A proxy between the server and its database that cuts connections at the worst moment: after a commit, before its answer."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import make_url

_COMMIT = b"COMMIT"


class DatabaseProxy:
    """Passes on what is said over connections to a database.

    Args:
        target: where the database listens.
        seed: of the dice.

    Attributes:
        cut: part of the commits whose answer is swallowed, together with the connection; none at first.
        num_cut: how many were.
    """

    def __init__(self, target: tuple[str, int], seed: int = 1) -> None:
        self._target, self.cut = target, 0.0
        self._dice, self._lock = random.Random(seed), threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port = int(self._listener.getsockname()[1])
        self.num_cut = 0
        self._open: set[socket.socket] = set()

    def serve(self) -> None:
        """Take connections until it is closed."""
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                database = socket.create_connection(self._target)
            except OSError:
                client.close()
                continue
            for each in (client, database):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open |= {client, database}
            _Conversation(self, client, database).begin()

    def is_to_cut(self) -> bool:
        """Whether the answer to this commit is to be swallowed."""
        with self._lock:
            is_cut = self._dice.random() < self.cut
            self.num_cut += is_cut
            return is_cut

    def forget(self, *ended: socket.socket) -> None:
        """These are over."""
        with self._lock:
            self._open -= set(ended)
        for each in ended:
            _shut(each)

    def close(self) -> None:
        """Take no more connections, and end all there are."""
        _shut(self._listener)
        self.forget(*self._open)


class _Conversation:
    """One connection of the server, and the one to the database that it stands for."""

    def __init__(self, proxy: DatabaseProxy, client: socket.socket, database: socket.socket) -> None:
        self._proxy, self._client, self._database = proxy, client, database
        self._is_cut = False

    def begin(self) -> None:
        for work in (self._questions, self._answers):
            threading.Thread(target=self._until_end, args=(work,), daemon=True).start()

    def _until_end(self, work: Callable[[], None]) -> None:
        with suppress(OSError):
            work()
        self._proxy.forget(self._client, self._database)

    def _questions(self) -> None:
        while data := self._client.recv(65536):
            self._is_cut = self._is_cut or (_COMMIT in data and self._proxy.is_to_cut())
            self._database.sendall(data)

    def _answers(self) -> None:
        while data := self._database.recv(65536):
            if self._is_cut:
                return
            self._client.sendall(data)


def _shut(each: socket.socket) -> None:
    with suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()


@contextmanager
def proxy_to_database(uri: str) -> Iterator[tuple[DatabaseProxy, str]]:
    """A proxy for the time of a ``with`` block, and the URI of the database behind it."""
    url = make_url(uri)
    proxy = DatabaseProxy((url.host or "127.0.0.1", url.port or 0))
    thread = threading.Thread(target=proxy.serve, daemon=True)
    thread.start()
    try:
        through = url.set(host="127.0.0.1", port=proxy.port)
        yield proxy, through.render_as_string(hide_password=False)
    finally:
        proxy.close()
        thread.join()
