"""The declarative base and the column types all tables share.

Times are naive UTC. Hashes are 64 hexadecimal digits today; the column leaves room for other recipes.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from sqlalchemy import BigInteger, DateTime, Integer, MetaData, String, Text
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import DeclarativeBase, mapped_column

BigId = BigInteger().with_variant(Integer, "sqlite")
Instant = DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
LongText = Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")

BigPrimaryKey = Annotated[int, mapped_column(BigId, primary_key=True)]
AllocatedKey = Annotated[int, mapped_column(BigId, primary_key=True, autoincrement=False)]
"""Primary key given out by ``dialect.allocate_ids``, so that bulk inserts know their ids."""
Hash = Annotated[str, mapped_column(String(150))]
Letter = Annotated[str, mapped_column(String(1))]
Timestamp = Annotated[datetime, mapped_column(Instant)]
Long = Annotated[str, mapped_column(LongText)]


class Base(DeclarativeBase):
    """Base of all tables; constraints are named, so that migrations can name them on every database."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
