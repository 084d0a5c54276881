"""A place whose scripts work with ``jobmon-server start`` over a database server, and not with a local server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import NullPool, create_engine

import databases
from databases import Backend, Databases
from jobmon.core.local_server import ServerRecord
from processes import Place, is_gone, new_place, wait_until
from server_place import RealServer, Servers


class ServedPlace(Place):
    """Scripts, tasks and logs in a directory; the rest is in a database of a server.

    Args:
        root: an empty directory.
        uri: the database, which is empty.
        settings: configuration, as for :class:`Place`.
    """

    def __init__(self, root: Path, uri: str, **settings: object) -> None:
        super().__init__(root, **settings)
        self._uri = uri
        self._engine = create_engine(uri, poolclass=NullPool)
        self._logs = root / "server"
        self._logs.mkdir()
        self._servers = Servers(self._logs)
        self._server: RealServer = self._servers.start(uri)
        self.configure(http__service_url=self._server.address)

    @property
    def uri(self) -> str:
        return self._uri

    def has_database(self) -> bool:
        return True

    def has_server(self) -> bool:
        return True

    def server(self) -> ServerRecord:
        """Where it listens, and its one worker."""
        (pid,) = self._server.workers()
        return ServerRecord(self._server.address, "", pid, "", "", 0.0)

    def start_server(self) -> ServerRecord:
        """It runs already."""
        return self.server()

    def kill_server(self) -> int:
        """Kill it with -9, and start it again, as whoever watches over services does; its process id."""
        pid, port = self._server.process.pid, self._server.port
        self._server.kill()
        wait_until(lambda: is_gone(pid), "the end of the killed server")
        self._server = self._servers.launch(self._uri, port=port)
        self._server.wait_serving()
        return pid

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        names = [f"value{number}" for number in range(len(values))]
        for name in names:
            statement = statement.replace("?", f":{name}", 1)
        with closing(self._engine.connect()) as connection:
            rows = databases.sql(connection, statement, **dict(zip(names, values, strict=True)))
            return [tuple(row) for row in rows]

    def close(self) -> None:
        try:
            super().close()
        finally:
            self._servers.close()
            self._engine.dispose()


def new_place_on(root: Path, backend: Backend, own: Databases, template: Path) -> Iterator[Place]:
    """A place over an empty database of this kind; the body of a fixture.

    Args:
        root: an empty directory.
        backend: the kind of database; with SQLite it has a local server.
        own: the databases of this process.
        template: an empty SQLite database.
    """
    if backend is Backend.SQLITE:
        yield from new_place(root, template)
        return
    place = ServedPlace(root, own.empty(backend))
    try:
        yield place
        place.check()
    finally:
        place.close()
