"""``python forked_server.py COUNT``: so many serving processes that are up again a moment after they were killed.

Each is :mod:`jobmon.server.serving` with a socket of its own, forked from this process, which has loaded the program before;
a dead one is replaced at once. What it says, line by line: ``ports PORT…``, then ``serves NUMBER PID`` for each that serves. It
ends with the end of its standard input.
"""

from __future__ import annotations

import importlib
import os
import select
import signal
import socket
import sys
from collections.abc import Sequence

from jobmon.server.serving import serve
from jobmon.server.supervisor import listen

LOADED = (
    "jobmon.server.services.host",
    "jobmon.server.web.api",
    "jobmon.server.web.sub_path",
    "psycopg",
    "pymysql",
    "sqlalchemy.dialects.mysql.pymysql",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "uvicorn.lifespan.on",
    "uvicorn.loops.auto",
    "uvicorn.protocols.http.auto",
    "uvloop",
)
"""What a serving process would load itself."""


class Child:
    """A serving process.

    Args:
        number: which, from 0.
        listener: where it listens; as long as it is dead, those who connect wait there.
        others: sockets of this process that are none of its business.
    """

    def __init__(self, number: int, listener: socket.socket, others: Sequence[socket.socket]) -> None:
        self.number, self.listener, self.is_ready = number, listener, False
        self.link, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(2, 1)
            for each in (*others, self.link):
                each.close()
            _serve(listener, theirs)
        theirs.close()

    def hear(self) -> None:
        """Take a sign of life, and tell of the first; the dead give none."""
        try:
            if not self.link.recv(4096):
                return
        except ConnectionError:
            return
        if not self.is_ready:
            self.is_ready = True
            print("serves", self.number, self.pid, flush=True)


def _serve(listener: socket.socket, link: socket.socket) -> None:
    code = 1
    try:
        serve(listener, link)
        code = 0
    except BaseException:  # noqa: BLE001 - it must be seen, and must not go on as its parent would
        sys.excepthook(*sys.exc_info())
    os._exit(code)


class Keeper:
    """Keeps so many processes serving.

    Args:
        count: how many.
    """

    def __init__(self, count: int) -> None:
        self.wakes, self.woken = socket.socketpair()
        for each in (self.wakes, self.woken):
            each.setblocking(False)
        signal.set_wakeup_fd(self.woken.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.listeners = [listen("127.0.0.1", 0) for _ in range(count)]
        self.children: dict[int, Child] = {}

    def keep(self) -> None:
        """Start what is missing, and wait for a word or a death; until the end of the input."""
        print("ports", *(each.getsockname()[1] for each in self.listeners), flush=True)
        while True:
            for number, listener in enumerate(self.listeners):
                if number not in self.children:
                    self.children[number] = Child(number, listener, self._sockets_but(listener))
            links = {child.link: child for child in self.children.values()}
            readable, _, _ = select.select([*links, self.wakes, sys.stdin], [], [])
            for link in links.keys() & set(readable):
                links[link].hear()
            if self.wakes in readable:
                self.wakes.recv(4096)
            self._bury()
            if sys.stdin in readable:
                return

    def _sockets_but(self, listener: socket.socket) -> list[socket.socket]:
        links = [child.link for child in self.children.values()]
        return [each for each in self.listeners if each is not listener] + links + [self.wakes, self.woken]

    def _bury(self) -> None:
        for number, child in list(self.children.items()):
            if os.waitpid(child.pid, os.WNOHANG)[0]:
                child.link.close()
                del self.children[number]

    def end(self) -> None:
        """End them all in good order."""
        for child in self.children.values():
            os.kill(child.pid, signal.SIGTERM)
        for child in self.children.values():
            os.waitpid(child.pid, 0)


def main() -> None:
    """Load the program, and serve."""
    for name in LOADED:
        importlib.import_module(name)
    keeper = Keeper(int(sys.argv[1]))
    keeper.keep()
    keeper.end()


if __name__ == "__main__":
    main()
