"""The commands as small executables, and the socket behind which they are answered.

An executable says by whom, where and with which words it was called, and prints what it is answered. It has to start
fast: it imports nothing but modules in C.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socketserver
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from jobmon.testing.fake_slurm.answer import Answer, Call

_PROGRAM = """#!{python} -IS
import sys
import posix
from _socket import AF_UNIX, SHUT_WR, SOCK_STREAM, socket

link = socket(AF_UNIX, SOCK_STREAM)
try:
    link.connect({address!r})
except OSError:
    sys.stderr.write("slurm_load error: Unable to contact slurm controller (connect failure)\\n")
    sys.exit(1)
words = [b"{command}", *map(lambda word: word.encode("utf-8", "surrogateescape"), sys.argv[1:])]
variables = [name + b"=" + value for name, value in posix.environ.items()]
parts = [b"%d" % len(words), *words, posix.getcwd().encode("utf-8", "surrogateescape"), *variables]
request = b"\\0".join(parts)
link.sendall(b"%d\\n" % len(request) + request)
answer = b""
while True:
    got = link.recv(65536)
    if not got:
        break
    answer += got
    if answer == b"stdin\\n":
        answer = b""
        while True:
            text = posix.read(0, 65536)
            if not text:
                break
            link.sendall(text)
        link.shutdown(SHUT_WR)
if not answer:
    sys.stderr.write("slurm_load error: Unable to contact slurm controller (connect failure)\\n")
    sys.exit(1)
head, answer = answer.split(b"\\n", 1)
code, length = head.split()
for descriptor, text in ((1, answer[: int(length)]), (2, answer[int(length) :])):
    while text:
        text = text[posix.write(descriptor, text) :]
sys.exit(int(code))
"""


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    answer: Callable[[Call], Answer | None]


class _Handler(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        """Read a call, answer it; no answer at all closes the connection."""
        request = self.rfile.read(int(self.rfile.readline() or b"0")).decode(errors="surrogateescape")
        if not request:
            return
        parts = request.split("\0")
        count = int(parts[0])
        command, *arguments = parts[1 : 1 + count]
        directory, *variables = parts[1 + count :]
        user = pwd.getpwuid(os.getuid()).pw_name
        call = Call(
            command,
            tuple(arguments),
            Path(directory),
            dict(variable.split("=", 1) for variable in variables),
            user,
            os.getuid(),
            self._read_stdin,
        )
        try:
            answer = self.server.answer(call)
            if answer is not None:
                text, error = (part.encode(errors="surrogateescape") for part in (answer.text, answer.error))
                self.wfile.write(b"%d %d\n%b%b" % (answer.code, len(text), text, error))
        except OSError:
            pass  # whoever called waits no longer

    def _read_stdin(self) -> str:
        self.wfile.write(b"stdin\n")
        return self.rfile.read().decode(errors="surrogateescape")


class Commands:
    """Executables in a directory, and who answers them.

    Args:
        directory: for the executables; it is made.
        names: of the commands.
        answer: answers a call; ``None`` hangs up without a word.
    """

    def __init__(
        self, directory: Path, names: Sequence[str], answer: Callable[[Call], Answer | None]
    ) -> None:
        # A path of its own: addresses of sockets must be short, and nobody else may connect.
        self._home = Path(tempfile.mkdtemp(prefix="fake-slurm-"))
        address = self._home / "socket"
        self._server = _Server(str(address), _Handler)
        self._server.answer = answer
        directory.mkdir(parents=True, exist_ok=True)
        for name in names:
            path = directory / name
            path.write_text(_PROGRAM.format(python=sys.executable, address=str(address), command=name))
            path.chmod(0o755)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="fake-slurm", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Answer nobody any more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        shutil.rmtree(self._home, ignore_errors=True)
