"""What a wrapper reads, the batch file and the server's address, and how it speaks to the server.

Standard library only, and of that only what costs little: the module written in C under ``socket`` loads in a
tenth of the time. Nothing here waits longer than it is told to, or when a signal asks for attention.
"""

from __future__ import annotations

import errno
import itertools
import posix
import select
import time

TYPE_CHECKING = False  # importing typing would cost a third of the start
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping
    from typing import TypeVar

    A = TypeVar("A")
    T = TypeVar("T")
    Target = tuple[int, int, int, tuple[object, ...]]
else:
    try:
        import _socket as socket
    except ImportError:
        import socket

FORMAT = b"2"
PLACE_BYTES = 8
FIRST_READ_BYTES = 65_536
LONGEST_ANSWER_BYTES = 1 << 20
CONNECT_SECONDS = 5.0
WIRE_LINES = ("X-Jobmon-Wire: 1", "X-Jobmon-Wire-Oldest: 1")
"""Which messages are spoken, as ``jobmon.core.wire_version`` has it."""
LIVE, NOT_LIVE, GONE, AWAY = "live", "not live", "gone", "away"
"""What the server says to an event. ``GONE``: it knows of no such attempt, or of none that could have such an event.
``AWAY``: nobody took it: not reached, not let in, busy, or not a Jobmon server."""


class Unreadable(Exception):
    """A file is not what it should be."""


class Interrupted(OSError):
    """A signal came that matters more than the answer."""


# -- the batch file ----------------------------------------------------------------------------------
class Element:
    """An attempt as it stands in a batch file: itself, its task, and what the shell is given."""

    __slots__ = ("command", "name", "task_id", "task_instance_id")

    def __init__(self, block: bytes) -> None:
        task_instance_id, task_id, self.name, self.command = block.split(b"\0")
        self.task_instance_id, self.task_id = int(task_instance_id), int(task_id)


class Batch:
    """What a batch file says of one step (``jobmon.distributor.batch_file`` writes it and tells the meanings).

    Args:
        path: the file.
        step: the step, from 0.

    Attributes:
        elements: its attempts, in the order in which they run.

    Raises:
        Unreadable: it cannot be read, is incomplete, or has no such step.
    """

    def __init__(self, path: bytes, step: int) -> None:
        shown = path.decode("utf-8", "replace")
        self.values: dict[bytes, bytes] = {}
        self.shell: list[bytes] = []
        self.environment: dict[bytes, bytes] = {}
        try:
            descriptor = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
        except OSError as error:
            raise Unreadable(f"The batch file {shown} cannot be read: {error.strerror}.") from error
        try:
            self.elements = self._read(descriptor, step)
        except (OSError, ValueError) as error:
            raise Unreadable(f"The batch file {shown} is damaged or of another Jobmon: {error}.") from error
        finally:
            posix.close(descriptor)
        if not self.elements:
            raise Unreadable(f"The batch file {shown} has no step {step}.")

    def _read(self, descriptor: int, step: int) -> list[Element]:
        data = posix.pread(descriptor, FIRST_READ_BYTES, 0)
        first, _, _ = data.partition(b"\n")
        mark, number, *sizes = first.split(b" ")
        if (mark, number) != (b"jobmon-batch", FORMAT):
            raise ValueError("it does not begin as such a file does")
        head_bytes, num_attempts, self.num_steps = (int(size) for size in sizes)
        head_at = len(first) + 1
        places_at = head_at + head_bytes
        firsts_at = places_at + PLACE_BYTES * (num_attempts + 1)
        if not 0 <= step < self.num_steps:
            return []

        def part(start: int, stop: int) -> bytes:
            found = (
                data[start:stop]
                if stop <= len(data)
                else posix.pread(descriptor, max(0, stop - start), start)
            )
            if len(found) != stop - start:
                raise ValueError("it is cut off")
            return found

        def numbers(table_at: int, start: int, stop: int) -> list[int]:
            raw = part(table_at + PLACE_BYTES * start, table_at + PLACE_BYTES * stop)
            places = range(0, len(raw), PLACE_BYTES)
            return [int.from_bytes(raw[place : place + PLACE_BYTES], "big") for place in places]

        self._take_head(part(head_at, places_at))
        begin, end = numbers(firsts_at, step, step + 2)
        places = numbers(places_at, begin, end + 1)
        return [Element(part(*bounds)) for bounds in itertools.pairwise(places)]

    def _take_head(self, head: bytes) -> None:
        for record in head.split(b"\0")[:-1]:
            key, _, value = record.partition(b"=")
            if key == b"shell":
                self.shell.append(value)
            elif key == b"environment":
                name, _, text = value.partition(b"=")
                self.environment[name] = text
            else:
                self.values[key] = value

    def text(self, key: bytes) -> str:
        """A value of the header as text."""
        return self.values.get(key, b"").decode("utf-8", "replace")

    def number(self, key: bytes) -> float:
        """A value of the header as a number; 0 where there is none."""
        return float(self.values.get(key) or 0)


def step_of(path: bytes, task_instance_id: int) -> int:
    """The step that runs an attempt.

    Raises:
        Unreadable: the batch file cannot be read, or has no such attempt.
    """
    batch = Batch(path, 0)
    for step in range(batch.num_steps):
        if any(each.task_instance_id == task_instance_id for each in Batch(path, step).elements):
            return step
    raise Unreadable(
        f"The batch file {path.decode('utf-8', 'replace')} has no task instance {task_instance_id}."
    )


# -- the server --------------------------------------------------------------------------------------
class Address:
    """Where the server is, and what opens it.

    Args:
        url: its address with the route prefix; empty: it cannot be reached from here.
        token: bearer token.
        user: name it is told.

    Raises:
        ValueError: the address is none.
    """

    def __init__(self, url: str, token: str, user: str) -> None:
        self.url, self.token, self.user = url, token, user
        scheme, _, rest = url.partition("://")
        self.is_secure = scheme == "https"
        if url and (scheme not in ("http", "https") or not rest):
            raise ValueError(f"'{url}' is no address of a server")
        self.authority, _, path = rest.partition("/")
        self.path = f"/{path}".rstrip("/")
        host, _, port = self.authority.rpartition("@")[2].rpartition(":")
        if not host or host.startswith("[") != host.endswith("]"):  # no port, or only the colons of IPv6
            host, port = self.authority.rpartition("@")[2], ""
        self.host = host.strip("[]")
        self.port = int(port or (443 if self.is_secure else 80))


def read_address(path: bytes, user: str) -> Address:
    """The server's address as it is now: it may have moved since this job began.

    Raises:
        OSError, ValueError: the file cannot be read, or holds something else.
    """
    with open(path, "rb") as file:
        url, token, name = file.read().decode().split("\n")[:3]
    return Address(url, token, name or user)


def understand(status: int, body: bytes) -> tuple[str, str]:
    """What an answer means, and where nobody took the event, why not."""
    if status == 200:
        text = b"".join(body.split())
        if b'"is_live":true' in text:
            return LIVE, ""
        return (NOT_LIVE, "") if b'"is_live":false' in text else (AWAY, "it gave an answer that is none")
    if status in (404, 409) and b'"request_id"' in body:  # so that no other service speaks for the server
        return GONE, body.decode("utf-8", "replace")
    return AWAY, f"it answered with HTTP status {status}"


class Connection:
    """A connection to the server, kept open from one event to the next.

    Args:
        wake: descriptor that becomes readable when a signal comes.
        on_wake: called then; true: give up what is being said.
    """

    def __init__(self, wake: int, on_wake: Callable[[], bool]) -> None:
        self._wake, self.on_wake = wake, on_wake
        self._socket: socket.socket | None = None
        self._url = ""
        self._found: dict[tuple[str, int], list[Target]] = {}

    def close(self) -> None:
        """Close it; the next event opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def say(self, address: Address, path: str, body: bytes, timeout_seconds: float) -> tuple[str, str]:
        """Tell the server one event: what it says, and where nobody took it, why not."""
        lines = [
            f"POST {address.path}{path} HTTP/1.1",
            f"Host: {address.authority.rpartition('@')[2]}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            f"X-Jobmon-User: {address.user}",
            *WIRE_LINES,
        ]
        if address.token:
            lines.append(f"Authorization: Bearer {address.token}")
        request = ("\r\n".join(lines) + "\r\n\r\n").encode() + body
        deadline = time.monotonic() + timeout_seconds
        try:
            return understand(*self._exchange(address, request, deadline))
        except (OSError, ValueError, IndexError) as error:
            self.close()
            return AWAY, str(error) or type(error).__name__

    def _exchange(self, address: Address, request: bytes, deadline: float) -> tuple[int, bytes]:
        if self._url != address.url:
            self.close()
        if self._socket is not None:
            try:  # the server may have closed it meanwhile; every event may be told twice
                return self._ask(self._socket, request, deadline)
            except ConnectionError:
                self.close()
        self._socket, self._url = self._connect(address, deadline), address.url
        return self._ask(self._socket, request, deadline)

    def _connect(self, address: Address, deadline: float) -> socket.socket:
        problem: OSError = ConnectionError(f"{address.host} has no address")
        for family, kind, protocol, target in self._look_up(address.host, address.port):
            opened = _open_socket(address, family, kind, protocol)
            try:
                opened.setblocking(False)
                number = opened.connect_ex(target)
                if number == errno.EINPROGRESS:
                    self._wait(opened, select.POLLOUT, min(deadline, time.monotonic() + CONNECT_SECONDS))
                    number = opened.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if number:
                    raise ConnectionError(number, posix.strerror(number))
                return self._secured(opened, address, deadline) if address.is_secure else opened
            except OSError as error:
                opened.close()
                problem = error
                if isinstance(error, Interrupted):
                    break
        raise problem

    def _look_up(self, host: str, port: int) -> list[Target]:
        if (host, port) not in self._found:
            # a name as text would load the tables of all alphabets
            name = host.encode("ascii" if host.isascii() else "idna")
            found = socket.getaddrinfo(name, port, 0, socket.SOCK_STREAM)
            self._found[host, port] = [(each[0], each[1], each[2], each[4]) for each in found]
        return self._found[host, port]

    def _secured(self, opened: socket.socket, address: Address, deadline: float) -> socket.socket:
        import ssl  # takes longer than all the rest; only where it is asked for

        context = ssl.create_default_context()
        secured = context.wrap_socket(opened, server_hostname=address.host, do_handshake_on_connect=False)
        self._insist(secured, secured.do_handshake, False, select.POLLIN, deadline)
        return secured

    def _ask(self, opened: socket.socket, request: bytes, deadline: float) -> tuple[int, bytes]:
        left = request
        while left:
            sent = self._insist(opened, opened.send, left, select.POLLOUT, deadline)
            left = left[sent:]
        data = b""
        while True:
            head, found, rest = data.partition(b"\r\n\r\n")
            if found:
                status = int(head.split(None, 2)[1])
                if status >= 200:
                    return status, self._body(opened, _headers(head), rest, deadline)
                data = rest  # the server said it goes on
                continue
            data += self._receive(opened, deadline)

    def _body(
        self, opened: socket.socket, headers: Mapping[bytes, bytes], data: bytes, deadline: float
    ) -> bytes:
        if headers.get(b"connection", b"").lower() == b"close":
            self._url = ""  # so that the next event opens another
        if b"content-length" in headers:
            length = min(int(headers[b"content-length"]), LONGEST_ANSWER_BYTES)
            while len(data) < length:
                data += self._receive(opened, deadline)
            return data[:length]
        if headers.get(b"transfer-encoding", b"").lower() == b"chunked":
            body = b""
            while True:
                while b"\r\n" not in data:
                    data += self._receive(opened, deadline)
                size, _, data = data.partition(b"\r\n")
                length = int(size.partition(b";")[0], 16)
                while len(data) < length + 2:
                    data += self._receive(opened, deadline)
                body, data = body + data[:length], data[length + 2 :]
                if not length or len(body) > LONGEST_ANSWER_BYTES:
                    return body
        self._url = ""
        try:
            while len(data) < LONGEST_ANSWER_BYTES:
                data += self._receive(opened, deadline)
        except ConnectionError:
            pass  # its end is the end of the answer
        return data

    def _receive(self, opened: socket.socket, deadline: float) -> bytes:
        data = self._insist(opened, opened.recv, 65_536, select.POLLIN, deadline)
        if not data:
            raise ConnectionError("it closed the connection")
        return data

    def _insist(
        self, opened: socket.socket, call: Callable[[A], T], argument: A, event: int, deadline: float
    ) -> T:
        """Do it as soon as the connection is ready for it."""
        while True:
            try:
                return call(argument)
            except BlockingIOError:
                wanted = event
            except OSError as error:  # of ssl, which may have to read in order to write
                wanted = {2: select.POLLIN, 3: select.POLLOUT}.get(error.errno or 0, 0)
                if not wanted or type(error).__name__ not in ("SSLWantReadError", "SSLWantWriteError"):
                    raise
            self._wait(opened, wanted, deadline)

    def _wait(self, opened: socket.socket, event: int, deadline: float) -> None:
        poll = select.poll()
        poll.register(opened.fileno(), event)
        poll.register(self._wake, select.POLLIN)
        while True:
            seconds = deadline - time.monotonic()
            if seconds <= 0:
                raise TimeoutError("it did not answer in time")
            ready = {descriptor for descriptor, _ in poll.poll(seconds * 1000)}
            if self._wake in ready and self.on_wake():
                raise Interrupted("a signal came first")
            if opened.fileno() in ready:
                return


def _open_socket(address: Address, family: int, kind: int, protocol: int) -> socket.socket:
    if address.is_secure:
        from socket import socket as whole  # ssl wraps no other

        return whole(family, kind, protocol)
    return socket.socket(family, kind, protocol)


def _headers(head: bytes) -> dict[bytes, bytes]:
    """Headers of an answer; names in small letters."""
    pairs = (line.partition(b":") for line in head.split(b"\r\n")[1:])
    return {name.strip().lower(): value.strip() for name, _, value in pairs}
