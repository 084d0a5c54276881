"""What the server tells about itself to ``jobmon doctor``."""

from __future__ import annotations

from msgspec import Struct


class DiagnosisResponse(Struct):
    """The server's own state; no secrets, no addresses.

    Attributes:
        version: version of the server.
        database: kind and version of the database.
        schema_revision: revision of its tables.
        newest_revision: revision this server works with.
        time: the database's clock, ISO text, UTC.
        clusters: names of the clusters, with the names of the plugins that drive them.
        user: who asked, as the server knows them.
        user_role: their role; empty where nobody signs in.
    """

    version: str
    database: str
    schema_revision: str
    newest_revision: str
    time: str
    clusters: dict[str, str]
    user: str = ""
    user_role: str = ""
