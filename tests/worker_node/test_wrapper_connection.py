"""The wrapper's side of HTTP, against a socket that sends exactly what a test wants."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator, Sequence

import pytest

from jobmon.worker_node import wire

LIVE_BODY = b'{"status":"R","is_live":true}'
HEAD = b"HTTP/1.1 200 OK\r\n"
WITH_LENGTH = HEAD + b"content-length: %d\r\n\r\n" % len(LIVE_BODY) + LIVE_BODY
CHUNKED = (
    HEAD
    + b"Transfer-Encoding: chunked\r\n\r\n5;x=y\r\n"
    + LIVE_BODY[:5]
    + b"\r\n%x\r\n" % len(LIVE_BODY[5:])
    + LIVE_BODY[5:]
    + b"\r\n0\r\n\r\n"
)


class Peer:
    """Takes connections one after the other and sends each the next of some answers, byte by byte or as a whole."""

    def __init__(self, answers: Sequence[bytes], is_slow: bool, keeps_open: bool) -> None:
        self.answers, self.is_slow, self.keeps_open = list(answers), is_slow, keeps_open
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.num_connections = 0
        self.heard: list[bytes] = []
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    @property
    def address(self) -> wire.Address:
        return wire.Address(f"http://127.0.0.1:{self.listening.getsockname()[1]}/api", "t", "u")

    def serve(self) -> None:
        while self.answers:
            try:
                connection, _ = self.listening.accept()
            except OSError:
                return
            self.num_connections += 1
            with connection:
                while self.answers:
                    if not (heard := connection.recv(65536)):
                        break
                    self.heard.append(heard)
                    answer = self.answers.pop(0)
                    for start in range(len(answer)) if self.is_slow else [0]:
                        connection.sendall(answer[start : start + 1] if self.is_slow else answer)
                    if not self.keeps_open:
                        break

    def close(self) -> None:
        self.answers.clear()
        self.listening.close()
        self.thread.join(10)


@pytest.fixture
def connection() -> Iterator[wire.Connection]:
    """One that no signal interrupts."""
    read, write = os.pipe()
    made = wire.Connection(read, lambda: False)
    yield made
    made.close()
    os.close(read)
    os.close(write)


@pytest.mark.parametrize("is_slow", [False, True])
@pytest.mark.parametrize(
    "answer",
    [
        WITH_LENGTH,
        CHUNKED,
        HEAD + b"\r\n" + LIVE_BODY,
        b"HTTP/1.1 100 Continue\r\n\r\n" + WITH_LENGTH,
        HEAD + b"Connection: close\r\nContent-Length: 29\r\n\r\n" + LIVE_BODY,
    ],
)
def test_every_form_of_answer_is_read(connection: wire.Connection, answer: bytes, is_slow: bool) -> None:
    """With a length, in chunks, up to the end of the connection, after a word in between; in any pieces."""
    peer = Peer([answer, answer], is_slow, keeps_open=False)
    try:
        for _ in range(2):
            assert connection.say(peer.address, "/event", b"{}", 10) == (wire.LIVE, "")
        assert peer.heard[0].startswith(b"POST /api/event HTTP/1.1\r\nHost: 127.0.0.1:")
        assert peer.num_connections == 2
    finally:
        peer.close()


@pytest.mark.parametrize("answer", [WITH_LENGTH, CHUNKED])
def test_a_connection_is_used_again(connection: wire.Connection, answer: bytes) -> None:
    """As long as the server keeps it open."""
    peer = Peer([answer] * 3, False, keeps_open=True)
    try:
        for _ in range(3):
            assert connection.say(peer.address, "/event", b"{}", 10) == (wire.LIVE, "")
        assert peer.num_connections == 1
    finally:
        peer.close()


@pytest.mark.parametrize("whole", [WITH_LENGTH, CHUNKED])
def test_an_answer_cut_off_anywhere_is_none(connection: wire.Connection, whole: bytes) -> None:
    """It breaks off after each of its bytes: nobody took the event, and nothing is raised."""
    answers = [whole[:length] for length in range(len(whole) - (0 if whole is WITH_LENGTH else 4))]
    peer = Peer(answers, False, keeps_open=False)
    try:
        for _ in answers:
            answer, reason = connection.say(peer.address, "/event", b"{}", 10)
            assert (answer, bool(reason)) == (wire.AWAY, True)
    finally:
        peer.close()


@pytest.mark.parametrize(
    "answer", [b"nonsense\r\n\r\n", b"\r\n\r\n", HEAD + b"content-length: x\r\n\r\n", b"SSH-2.0-x\r\n"]
)
def test_what_is_no_http_is_no_word(connection: wire.Connection, answer: bytes) -> None:
    """Another program listens there."""
    peer = Peer([answer], False, keeps_open=False)
    try:
        assert connection.say(peer.address, "/event", b"{}", 10)[0] == wire.AWAY
    finally:
        peer.close()


def test_a_name_nobody_knows(connection: wire.Connection) -> None:
    """The reason is told; a name of another alphabet is looked up like any other."""
    for name in ("no-such-host.invalid", "kein-schönes-gerät.invalid"):
        answer, reason = connection.say(wire.Address(f"http://{name}", "", ""), "/event", b"{}", 10)
        assert (answer, bool(reason)) == (wire.AWAY, True)
