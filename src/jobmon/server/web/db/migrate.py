"""Where ``init_db`` was in earlier versions; it is in :mod:`jobmon.server.web.db_admin`."""

from __future__ import annotations

from jobmon.server.web.db_admin import init_db

__all__ = ["init_db"]
