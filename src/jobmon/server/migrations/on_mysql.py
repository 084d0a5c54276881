"""What is different about revisions on MariaDB and MySQL.

Each statement that defines something commits by itself there, so that a revision can be cut off in the middle. Each of these statements happens completely or not at all. The revisions are written so that one that is run again after it
was cut off only has to leave out what is there (or, on the way down, what is gone). Whether the result is right is compared
with the models afterwards. Elsewhere a revision is one transaction, and nothing of this is needed.

References have an index there at any rate, which is named like them until a revision gives it a name of its own.

Defining the classes makes Alembic use them for their databases.
"""

from __future__ import annotations

from typing import Any

from alembic.ddl.mysql import MariaDBImpl, MySQLImpl
from sqlalchemy import Column, Connection, Index, Table, inspect


class _GoingOn(MySQLImpl):
    """Leaves out what is done; ``done_before`` gets the names of it. Without that list nothing is left out."""

    __dialect__ = "mysql"

    done_before: list[str] | None = None

    def create_table(self, table: Table, **arguments: Any) -> None:
        if not self._is_done(table.name, self._has_table(table.name)):
            super().create_table(table, **arguments)

    def drop_table(self, table: Table, **arguments: Any) -> None:
        if not self._is_done(table.name, not self._has_table(table.name)):
            super().drop_table(table, **arguments)

    def add_column(self, table_name: str, column: Column[Any], **arguments: Any) -> None:
        if not self._is_done(f"{table_name}.{column.name}", column.name in self._columns(table_name)):
            super().add_column(table_name, column, **arguments)

    def drop_column(self, table_name: str, column: Column[Any], **arguments: Any) -> None:
        if not self._is_done(f"{table_name}.{column.name}", column.name not in self._columns(table_name)):
            super().drop_column(table_name, column, **arguments)

    def create_index(self, index: Index, **arguments: Any) -> None:
        found = self._indexes(index)
        if self._is_done(str(index.name), index.name in found):
            return
        reference = self._reference(index, [column.name for column in index.columns])
        if reference in found:
            self._rename_index(index, reference, index.name)
        else:
            super().create_index(index, **arguments)

    def drop_index(self, index: Index, **arguments: Any) -> None:
        found = self._indexes(index)
        if self._is_done(str(index.name), index.name not in found):
            return
        reference = self._reference(index, found[index.name])
        if reference and reference not in found:
            self._rename_index(index, index.name, reference)
        else:
            super().drop_index(index, **arguments)

    def _reference(self, index: Index, columns: list[str | None]) -> str | None:
        """Name of the reference of just these columns."""
        keys = inspect(self._database).get_foreign_keys(_table_name(index))
        return next((key["name"] for key in keys if key["constrained_columns"] == columns), None)

    def _rename_index(self, index: Index, old: str | None, new: str | None) -> None:
        quote = self.dialect.identifier_preparer.quote
        names = f"{quote(str(old))} TO {quote(str(new))}"
        self.execute(f"ALTER TABLE {quote(_table_name(index))} RENAME INDEX {names}")

    def _is_done(self, what: str, is_done: bool) -> bool:
        if self.done_before is None or not is_done:
            return False
        self.done_before.append(what)
        return True

    @property
    def _database(self) -> Connection:
        assert self.connection is not None
        return self.connection

    def _has_table(self, name: str) -> bool:
        return inspect(self._database).has_table(name)

    def _columns(self, table_name: str) -> set[str]:
        return {column["name"] for column in inspect(self._database).get_columns(table_name)}

    def _indexes(self, index: Index) -> dict[str | None, list[str | None]]:
        """Names of the indexes of its table, with their columns."""
        return {
            each["name"]: each["column_names"]
            for each in inspect(self._database).get_indexes(_table_name(index))
        }


def _table_name(index: Index) -> str:
    assert index.table is not None
    return index.table.name


class ImplOfMySQL(_GoingOn):
    """For URIs that say ``mysql``."""

    __dialect__ = "mysql"


class ImplOfMariaDB(_GoingOn, MariaDBImpl):
    """For URIs that say ``mariadb``."""

    __dialect__ = "mariadb"
