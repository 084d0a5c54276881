"""The journal of acknowledged changes: what a server said it has stored, to be compared with its database afterwards.

Rules
-----
1. A change is acknowledged when its sender holds an answer below 300. Only then is it written down here; what was sent
   and never answered may be in the database or not.
2. Every acknowledged change is in the database, whatever died since: its line of history, its row, what it said.
3. Nothing is there twice, however often it was sent.

Who sends requests of his own calls :meth:`Journal.note` with each request and its answer; a
:class:`~jobmon.core.requester.Requester` does it by a :class:`JournalingClient`::

    journal = Journal()
    requester = Requester(url, client=JournalingClient(httpx.Client(), journal))
    ...  # work, kill, start again
    journal.assert_kept(database_uri)

A journal with a path outlives its process, and several processes may write to one file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine

from jobmon.core.requester import HttpClient
from jobmon.testing.acknowledged import Change, changes_of
from jobmon.testing.history import reading
from jobmon.testing.journal_comparison import Comparison

SHOWN = 20


class Journal:
    """Acknowledged changes, in the order in which they were acknowledged.

    Args:
        path: a file to which each is appended as a line of JSON before ``note`` returns; what it holds is read first.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.changes: list[Change] = []
        self._file: int | None = None
        if path is not None:
            if path.exists():
                self.changes += read_journal(path)
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def note(self, method: str, path: str, content: bytes | None, status: int, answer: bytes) -> None:
        """Write down what a request changed, when its answer has come and says so.

        Args:
            method: HTTP method.
            path: path of the request, with or without address and query.
            content: its body.
            status: HTTP status of the answer.
            answer: body of the answer.
        """
        if not 200 <= status < 300:
            return
        for change in changes_of(method, path, content, answer):
            self.changes.append(change)
            if self._file is not None:
                os.write(self._file, msgspec.json.encode(change) + b"\n")

    def problems(self, source: Connection | Engine | str) -> list[str]:
        """What a database lost of it or has twice, in words; empty when all is well."""
        with reading(source) as connection:
            return Comparison(connection, self.changes).problems()

    def assert_kept(self, source: Connection | Engine | str) -> None:
        """Fail when a database lost something or has it twice.

        Raises:
            AssertionError: it did.
        """
        problems = self.problems(source)
        if problems:
            shown = "\n  ".join(problems[:SHOWN])
            more = f"\n  … and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
            raise AssertionError(
                f"Of {len(self.changes)} acknowledged changes {len(problems)} are not as they should be:\n  {shown}{more}"
            )


def read_journal(path: Path) -> list[Change]:
    """The changes a journal's file holds; a last line that was cut off by the death of its writer is left out."""
    lines = path.read_bytes().split(b"\n")[:-1]
    decoder = msgspec.json.Decoder(Change)
    return [decoder.decode(line) for line in lines]


class JournalingClient:
    """The HTTP client of a requester, which writes down what is acknowledged to it.

    Args:
        client: the client that sends.
        journal: where to write it down.
    """

    def __init__(self, client: HttpClient, journal: Journal) -> None:
        self._client, self._journal = client, journal

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
        response = self._client.request(
            method, url, content=content, params=params, headers=headers, timeout=timeout
        )
        self._journal.note(method, url, content, int(response.status_code), bytes(response.content))
        return response

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
