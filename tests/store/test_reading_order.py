"""MariaDB reads what a batch names, whatever it believes of the sizes of the tables."""

from __future__ import annotations

from typing import Any

import pytest
from scene import Scene
from sqlalchemy import event

import databases
from databases import Backend
from jobmon.server.web.store.attempts import attempts_load


@pytest.mark.parametrize("backend", databases.parameters([Backend.MARIADB]))
def test_attempts_are_found_by_their_ids(bound: Scene) -> None:
    """A table of one array looks cheaper to begin with, and all attempts of the array would be read and locked."""
    bound.start_run()
    bound.is_out_of_order = True  # several are created at once, though they wait for each other
    attempts = [bound.attempt(number) for number in range(3)]
    seen: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        seen.append((statement, parameters))

    event.listen(bound.database.engine, "before_cursor_execute", note)
    try:
        loaded = bound.write(lambda c: attempts_load(c, attempts, 10))
    finally:
        event.remove(bound.database.engine, "before_cursor_execute", note)
    assert sorted(loaded) == attempts
    ((statement, parameters),) = [each for each in seen if "json_arrayagg" in each[0]]
    with bound.database.write() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN {statement}", parameters).mappings().all()
    assert [row["table"] for row in plan] == ["task_instance", "task", "array"]
