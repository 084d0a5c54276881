"""A spool whose last record was cut off: the complete ones count, the cut one waits, and nobody takes it for another end."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select

from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import Cause, TaskInstanceEvent, TaskInstanceStatus
from jobmon.distributor.spool import Spool
from jobmon.server.web import dialect
from jobmon.server.web.database import Database
from jobmon.server.web.models import TaskInstance
from jobmon.server.web.store.attempts import attempts_apply_events
from jobmon.testing.factory import attempts_make, run_make, workflow_make
from jobmon.worker_node.reporter import encoded_event, write_spooled

END = {
    "exit_code": 137,
    "wallclock": 12.5,
    "maxrss": 123456789,
    "cause": Cause.CODE,
    "description": 'It said "no", twice: no\nno – {"event":"finish"}',
}


def leave(spool: Path, number: int, attempt: int, event: str, **values: str | float) -> Path:
    """Leave a word as a wrapper does."""
    path = write_spooled(bytes(spool), f"{attempt}.{number}.json", encoded_event(attempt, event, values))
    return Path(path.decode())


@pytest.mark.parametrize(
    "end", [TaskInstanceEvent.FINISH, TaskInstanceEvent.FAIL, TaskInstanceEvent.RESOURCE]
)
def test_cut_at_every_byte(database: Database, tmp_path: Path, end: TaskInstanceEvent) -> None:
    """Whatever is left of the end, the attempt has begun and has not ended; made whole, it ends as it did, once."""
    with database.write() as connection:
        now = dialect.utcnow(connection)
        workflow = workflow_make(connection, [(), ()], now=now)
        run_id = run_make(connection, workflow.workflow_id, now=now)
        cut, other = attempts_make(connection, workflow, run_id, range(2), batch_num=1, now=now)

    def apply(words: list[InstanceEvent]) -> list[str]:
        with database.write() as connection:
            attempts_apply_events(
                connection,
                words,
                now=dialect.utcnow(connection),
                actor="controller",
                max_infrastructure_losses=10,
            )
        with database.read() as connection:
            return list(connection.scalars(select(TaskInstance.status).order_by(TaskInstance.id)))

    spool_directory = tmp_path / "spool"
    spool_directory.mkdir()
    leave(spool_directory, 1, cut, TaskInstanceEvent.START, nodename="n1")
    last = leave(
        spool_directory, 2, cut, end, **(END if end != TaskInstanceEvent.FINISH else {"exit_code": 0})
    )
    leave(spool_directory, 3, other, TaskInstanceEvent.START, nodename="n2")
    leave(spool_directory, 4, other, TaskInstanceEvent.FINISH, exit_code=0)
    whole = last.read_bytes()
    taken = [
        [(cut, TaskInstanceEvent.START), (other, TaskInstanceEvent.START), (other, TaskInstanceEvent.FINISH)]
    ]
    for length in range(len(whole)):
        last.write_bytes(whole[:length])
        words = [word.event for word in Spool(spool_directory).take()]
        assert [[(word.task_instance_id, word.event) for word in words]] == taken, length
        assert last.read_bytes() == whole[:length]
    assert apply(words) == [TaskInstanceStatus.RUNNING, TaskInstanceStatus.DONE]
    last.write_bytes(whole)
    spool = Spool(spool_directory)
    found = spool.take()
    after = apply([word.event for word in found])
    assert after[0] not in (TaskInstanceStatus.RUNNING, TaskInstanceStatus.TRIAGING)
    assert (after[0] == TaskInstanceStatus.DONE) == (end == TaskInstanceEvent.FINISH)
    assert apply([word.event for word in found]) == after
    spool.forget(found)
    assert not list(spool_directory.iterdir())
