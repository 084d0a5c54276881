"""The faults that servers and their databases are put through: what is done, what clients may notice, where it is tried.

Pure data: the tests take their databases from it, and the documentation its table.
"""

from __future__ import annotations

from dataclasses import dataclass

ALL = ("sqlite", "mariadb", "postgresql")
SERVERS = ("mariadb", "postgresql")


@dataclass(frozen=True)
class Fault:
    """A named fault.

    Attributes:
        name: what it is called.
        how: what a test does, while the server is under load.
        noticed: what clients notice before they get their answers.
        statuses: of answers, beside success; 0: a connection that broke.
        databases: where it is tried.
        test: function that does.
    """

    name: str
    how: str
    noticed: str
    statuses: frozenset[int]
    databases: tuple[str, ...]
    test: str


def _fault(
    name: str, how: str, noticed: str, statuses: set[int], databases: tuple[str, ...], test: str
) -> Fault:
    return Fault(name, how, noticed, frozenset(statuses), databases, f"test_{test}")


FAULTS = (
    _fault(
        "server killed",
        "`kill -9` of all processes of the server, twice; a new one is started at the same address",
        "broken and refused connections",
        {0},
        ALL,
        "server_killed",
    ),
    _fault(
        "database stopped",
        "the database is stopped in good order for longer than the server tries again by itself, then started",
        "503 with Retry-After",
        {503},
        SERVERS,
        "database_stopped",
    ),
    _fault(
        "database restarted",
        "`kill -9` of the database, which is started again at once, twice",
        "nothing: the server tries again by itself; 503 where that takes too long",
        {503},
        SERVERS,
        "database_restarted",
    ),
    _fault(
        "database refuses connections",
        "all connections the database allows are taken by others, the server's are cut",
        "503 with Retry-After",
        {503},
        SERVERS,
        "database_refuses_connections",
    ),
    _fault(
        "database read-only",
        "the database takes no changes for some time, as a replica does",
        "503 with Retry-After",
        {503},
        SERVERS,
        "database_read_only",
    ),
    _fault(
        "database out of space",
        "the file system of the database is filled to the last byte, then room is made; a database that ended itself is started",
        "507, and 503 where the database ended itself, with Retry-After",
        {503, 507},
        ALL,
        "database_out_of_space",
    ),
    _fault(
        "deadlocks",
        "another session locks rows in the other order: three transactions of the server are rolled back by the database",
        "nothing; 503 where one is rolled back again and again",
        {503},
        SERVERS,
        "deadlocks",
    ),
    _fault(
        "database slow",
        "another session keeps a lock on all attempts for 2 s, twice: every statement that needs them takes as long",
        "late answers",
        set(),
        ALL,
        "database_slow",
    ),
    _fault(
        "commits unanswered",
        "every twentieth commit is carried out, and the connection cut before the database's answer comes through",
        "nothing: the server does it again, which changes nothing; 503 for what only reads",
        {503},
        SERVERS,
        "commits_unanswered",
    ),
    _fault(
        "replies dropped",
        "every sixth answer is lost on the way, before its first byte or in its middle",
        "broken connections",
        {0},
        ALL,
        "replies_dropped",
    ),
    _fault(
        "requests duplicated",
        "every request is sent twice at the same time, to two servers",
        "nothing",
        set(),
        ALL,
        "requests_duplicated",
    ),
    _fault(
        "uploads broken off",
        "every fifth request is broken off in its middle once, by a goodbye or by a reset, before it is sent in full",
        "nothing",
        set(),
        ALL,
        "uploads_broken_off",
    ),
    _fault(
        "clocks differ",
        "two servers whose clocks are 10 minutes fast and 10 minutes slow, clients whose clock is right",
        "nothing",
        set(),
        SERVERS,
        "clocks_differ",
    ),
    _fault(
        "ten times too many clients",
        "ten times as many requests at once as the server is configured to work on",
        "503 with Retry-After",
        {503},
        ALL,
        "ten_times_too_many_clients",
    ),
    _fault(
        "a user who asks too often",
        "a controller sends several times as many requests a second as its user may",
        "429 with Retry-After",
        {429},
        ALL,
        "a_user_who_asks_too_often",
    ),
)

BY_NAME = {fault.name: fault for fault in FAULTS}
