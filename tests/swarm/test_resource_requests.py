"""What the next attempts ask for, decided without a server."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from jobmon.core.cluster import Cluster, ClusterResponse, QueueResponse
from jobmon.core.constants import TaskResourcesType
from jobmon.core.exceptions import CallableReturnedInvalidObject
from jobmon.core.states import TaskStatus
from jobmon.distributor.attempts import Room
from jobmon.serializers.define import TaskResourcesItem
from jobmon.serializers.swarm import SerializeSwarmTask, TaskChanges, TaskResourcesRow
from jobmon.swarm.resources import ResourceRequests, TaskHooks
from jobmon.swarm.state import Batch, SwarmState

FIRST_ROW = 7


class Server:
    """Keeps rows as the server does, and answers for the cluster."""

    def __init__(self) -> None:
        self.sent: list[list[TaskResourcesItem]] = []

    def task_resources(self, items: list[TaskResourcesItem]) -> list[int]:
        self.sent.append(items)
        return [100 * len(self.sent) + i for i in range(len(items))]

    def send(self, *_: Any) -> Any:
        queues = [QueueResponse(1, "null.q", 1, {})]
        return ClusterResponse(1, "multiprocess", "multiprocess", {}, queues)


class Swarm:
    """Tasks 1, 2, … that all ask for one GiB."""

    def __init__(self, count: int, scales: str, **hooks: Mapping[int, Any]) -> None:
        ones, none = [1] * count, [""] * count
        ids = list(range(1, count + 1))
        page = SerializeSwarmTask(
            ids,
            "G" * count,
            ones,
            ids,
            [FIRST_ROW] * count,
            ones,
            [0] * count,
            [[]] * count,
            [scales] * count,
            none,
        )
        self.state = SwarmState([page], 10**6, {1: 10**6})
        self.server = Server()
        self.requests = ResourceRequests(self.server, TaskHooks(**hooks), self.cluster)  # type: ignore[arg-type]
        row = TaskResourcesRow(
            FIRST_ROW, TaskResourcesType.VALIDATED, 1, "null.q", "multiprocess", {"memory": 1}
        )
        self.requests.load({FIRST_ROW: row}, self.state)

    def cluster(self, name: str) -> Cluster:
        return Cluster.get_cluster(name, self.server)

    def settle(self) -> None:
        while self.requests.has_work(self.state):
            due = self.requests.take_due(self.state)
            for task_id, row_id in self.requests.decide(self.state, due).items():
                self.state.set_resources(task_id, row_id)

    def lack(self, *task_ids: int) -> None:
        """The next attempts lacked resources."""
        self.tell(
            TaskStatus.ADJUSTING_RESOURCES, [self.state.num_attempts[i - 1] + 1 for i in task_ids], *task_ids
        )

    def tell(self, status: TaskStatus, num_attempts: list[int], *task_ids: int) -> None:
        self.state.apply(TaskChanges(list(task_ids), status.value * len(task_ids), num_attempts))

    def take(self, slots: int) -> list[Batch]:
        return list(self.state.take_batches({"c": Room(slots, 10**6)}, lambda _: "c"))

    def asks(self, task_id: int) -> tuple[str, dict[str, Any]]:
        row = self.requests.rows[self.state.task_resources_ids[task_id - 1]]
        return row.type, row.requested_resources


def test_many_tasks_are_one_request_and_their_row_stays() -> None:
    """Equal ones become one row; tasks that lacked nothing keep the one they share."""
    swarm = Swarm(1000, '{"memory": 0.5}')
    swarm.lack(*range(1, 999))
    swarm.settle()
    assert [len(items) for items in swarm.server.sent] == [1]
    assert swarm.asks(1) == swarm.asks(998) == ("A", {"memory": 2})
    assert swarm.asks(999) == ("V", {"memory": 1})
    assert swarm.requests.rows[FIRST_ROW].requested_resources == {"memory": 1}
    batches = {batch.task_resources_id: len(batch.task_ids) for batch in swarm.take(10**6)}
    assert batches == {FIRST_ROW: 2, 100: 998}


def test_an_earlier_run_is_gone_on_with() -> None:
    """Tasks that lacked resources when it ended ask for more at once."""
    swarm = Swarm(3, '{"memory": [2, 4, 8]}')
    swarm.requests.increase([2])
    swarm.settle()
    assert [swarm.asks(i)[1]["memory"] for i in (1, 2, 3)] == [1, 2, 1]
    swarm.state.mark([2], TaskStatus.QUEUED)
    swarm.lack(2)
    swarm.settle()
    assert swarm.asks(2) == ("A", {"memory": 4})


def test_each_task_goes_through_the_values_by_itself() -> None:
    swarm = Swarm(2, "{}", resource_scales={i: {"memory": iter([3, 5])} for i in (1, 2)})
    for expected in ((3, 1), (5, 1), (5, 3)):
        lacking = 2 if expected == (5, 3) else 1
        swarm.state.mark([lacking], TaskStatus.QUEUED)
        swarm.lack(lacking)
        swarm.settle()
        assert tuple(swarm.asks(i)[1]["memory"] for i in (1, 2)) == expected


def counted(given: Any) -> tuple[Callable[[], Any], list[int]]:
    calls: list[int] = []

    def ask() -> Any:
        calls.append(1)
        return given

    return ask, calls


def test_a_callable_is_asked_when_the_task_becomes_ready_and_what_grew_stays_grown() -> None:
    """It is laid over the static request; after a lack of resources nobody is helped by the same answer."""
    ask, calls = counted({"memory": "512M", "runtime": "1h"})
    swarm = Swarm(1, '{"memory": 1.0}', compute_resources_callables={1: ask})
    swarm.settle()
    assert swarm.asks(1) == ("V", {"memory": 0.5, "runtime": 3600})
    for memory in (1, 2):
        swarm.state.mark([1], TaskStatus.QUEUED)
        swarm.lack(1)
        swarm.settle()
        assert swarm.asks(1) == ("A", {"memory": memory, "runtime": 3600})
    swarm.state.mark([1], TaskStatus.QUEUED)
    swarm.state.mark([1], TaskStatus.REGISTERED)  # a failure of its own
    swarm.settle()
    assert swarm.asks(1) == ("A", {"memory": 2, "runtime": 3600})
    assert len(calls) == 1


def test_a_callable_must_give_a_dictionary() -> None:
    ask, _ = counted(["4G"])
    swarm = Swarm(1, "{}", compute_resources_callables={1: ask})
    with pytest.raises(CallableReturnedInvalidObject, match=r"task 1 returned \['4G'\]") as caught:
        swarm.settle()
    assert caught.value.__notes__ == ["It came of the compute_resources_callable of task 1."]


def test_a_lack_counts_once_however_often_it_is_told() -> None:
    """Also after its batch was refused; a later one counts again, and so does the first after a reset by hand."""
    adjusting = TaskStatus.ADJUSTING_RESOURCES
    swarm = Swarm(1, '{"memory": 1.0}')
    for _ in range(3):
        swarm.tell(adjusting, [1], 1)
        swarm.settle()
    assert swarm.asks(1) == ("A", {"memory": 2})
    assert len(swarm.take(1)) == 1
    swarm.state.put_back([1])
    swarm.tell(adjusting, [1], 1)
    swarm.settle()
    assert swarm.asks(1) == ("A", {"memory": 2})
    swarm.tell(adjusting, [2], 1)
    swarm.settle()
    assert swarm.asks(1) == ("A", {"memory": 4})
    swarm.tell(TaskStatus.REGISTERED, [0], 1)
    swarm.tell(adjusting, [1], 1)
    swarm.settle()
    assert swarm.asks(1) == ("A", {"memory": 8})


def test_what_is_set_by_hand_meanwhile_needs_no_more() -> None:
    """Done, or to run again from its first attempt: no row is made for it."""
    for status, attempts in ((TaskStatus.DONE, 1), (TaskStatus.REGISTERED, 0)):
        swarm = Swarm(1, '{"memory": 1.0}')
        swarm.lack(1)
        swarm.tell(status, [attempts], 1)
        swarm.settle()
        assert swarm.server.sent == []
        assert swarm.asks(1) == ("V", {"memory": 1})
