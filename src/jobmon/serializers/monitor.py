"""Messages for people who look: the command line, notebooks, the GUI."""

from __future__ import annotations

from msgspec import Struct


class HealthResponse(Struct):
    """The server answers.

    Attributes:
        status: ``ok``.
        version: version of the server.
        database: kind of database.
    """

    status: str
    version: str
    database: str = ""
