"""The table of the page of guarantees, from the fail points."""

from __future__ import annotations

from collections.abc import Mapping

from slurm_tables import table

from jobmon.testing.fail_points import POINTS, Process, usual_database

DATABASES: Mapping[str, str] = {"sqlite": "SQLite", "mariadb": "MariaDB", "postgresql": "PostgreSQL"}


def fail_points_table() -> list[str]:
    """Every fail point: what dies, with what under way, where that is tried, and what follows."""
    order = list(Process)
    rows = (
        (
            f"`{point.name}`",
            f"`{point.cluster}`",
            DATABASES[usual_database(point)],
            point.meaning,
            point.outcome,
        )
        for point in sorted(POINTS.values(), key=lambda point: order.index(point.process))
    )
    return table(("Killed at", "Cluster", "Database", "By then", "What follows"), rows)


TABLES = {"fail-points": fail_points_table}
"""Tables by the name a page asks for them with: ``<!-- table: NAME -->``."""
