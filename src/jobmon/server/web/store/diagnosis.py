"""What the database is, for those who look after it. Reads only."""

from __future__ import annotations

from sqlalchemy import Connection, select, text

from jobmon.core import __version__
from jobmon.serializers.diagnosis import DiagnosisResponse
from jobmon.server.web import dialect
from jobmon.server.web.db_admin import newest_revision
from jobmon.server.web.models import Cluster, ClusterType


def diagnosis_read(connection: Connection) -> DiagnosisResponse:
    """Kind, revision and clock of the database, and the clusters it knows."""
    rows = connection.execute(
        select(Cluster.name, ClusterType.name)
        .join(ClusterType, ClusterType.id == Cluster.cluster_type_id)
        .order_by(Cluster.name)
    )
    return DiagnosisResponse(
        version=__version__,
        database=_kind(connection),
        schema_revision=str(connection.scalar(text("SELECT version_num FROM alembic_version"))),
        newest_revision=newest_revision(),
        time=dialect.utcnow(connection).isoformat(timespec="milliseconds"),
        clusters={row[0]: row[1] for row in rows},
    )


def _kind(connection: Connection) -> str:
    version = ".".join(str(part) for part in connection.dialect.server_version_info or ())
    return f"{connection.dialect.name} {version}".strip()
