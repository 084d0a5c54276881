"""The Jobmon server: the one writer of the database.

``web`` answers requests, ``services`` look after what is lost, ``migrations`` carry the schema. The only package that imports
SQLAlchemy and FastAPI. Start reading at :mod:`jobmon.server.web.api`.
"""

from jobmon.core import __version__

__all__ = ["__version__"]
