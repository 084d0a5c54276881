"""``kill -9`` of the local server: a run rides through, a new server takes over the same database."""

from __future__ import annotations

import pytest

from databases import ON_EVERY_DATABASE
from processes import Place, wait_until

pytestmark = pytest.mark.e2e


def test_while_a_task_runs(place: Place) -> None:
    script = place.start_flow([place.task("a", gate="go"), place.task("b", upstream=["a"])])
    place.wait_started("a")
    old = place.kill_server()
    place.open("go")
    assert script.result()["status"] == "D"
    assert place.server().pid != old
    assert place.num_starts("a", "b") == [1, 1]
    assert place.runs() == "D"


@ON_EVERY_DATABASE
def test_again_and_again_with_20_short_tasks_in_flight(place: Place) -> None:
    place.configure(multiprocess__parallelism=20)
    names = [f"t{i}" for i in range(120)]
    script = place.start_flow([place.task(name, then="sleep 0.05") for name in names])
    for enough in (1, 30, 60):
        wait_until(
            lambda enough=enough: sum(map(bool, map(place.starts, names))) >= enough, f"{enough} starts"
        )
        wait_until(place.has_server, "a server")
        place.kill_server()
    result = script.result()
    assert (result["status"], result["done"]) == ("D", 120)
    assert place.num_starts(*names) == [1] * 120
    assert place.scalar("SELECT count(*) FROM task_instance") == 120


@ON_EVERY_DATABASE
def test_while_a_script_registers_tasks(place: Place) -> None:
    place.start_server()
    tasks = [{"name": f"t{i}", "command": "true"} for i in range(20_000)]
    script = place.start_flow(tasks, workflow={"default_cluster_name": "dummy"}, run=None)
    wait_until(lambda: place.scalar("SELECT count(*) FROM task"), "some tasks to be bound", 60)
    place.kill_server()
    assert script.end(60) == 0, script.text
    assert place.scalar("SELECT count(*) FROM task") == 20_000


def test_a_stop_in_good_order_while_a_task_runs(place: Place) -> None:
    script = place.start_flow([place.task("a", gate="go"), place.task("b", upstream=["a"])])
    place.wait_started("a")
    place.jobmon("server", "stop")
    place.open("go")
    assert script.result()["status"] == "D"
    assert place.num_starts("a", "b") == [1, 1]


def test_together_with_the_script(place: Place) -> None:
    tasks = [place.task("a"), place.task("b", gate="go", upstream=["a"])]
    script = place.start_flow(tasks)
    place.wait_started("b")
    place.kill_server()
    script.kill()
    script.end()
    place.assert_no_task_runs()
    place.open("go")
    assert place.run_flow(tasks, run={"resume": True})["status"] == "D"
    assert place.num_starts("a", "b") == [1, 2]
