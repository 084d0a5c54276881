"""Answers that are lost after their commit, or late: every request may be sent twice without harm."""

from __future__ import annotations

from typing import Any

import pytest
from proxy import proxy_to

from processes import Place

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


def pipeline(place: Place) -> list[dict[str, Any]]:
    """60 tasks in three layers; every fifth of the first fails once, one of the second for good."""
    tasks = []
    for i in range(20):
        then = f'test -e ended.a{i} -o "$(wc -l < started.a{i})" -ge 2' if i % 5 == 0 else ""
        tasks.append(place.task(f"a{i}", then=then, template="first"))
    for i in range(20):
        then = "false" if i == 7 else ""
        ups = [f"a{i}", f"a{(i + 1) % 20}"]
        tasks.append(place.task(f"b{i}", then=then, template="second", upstream=ups, max_attempts=2))
    tasks += [place.task(f"c{i}", template="third", upstream=[f"b{i}"]) for i in range(20)]
    return tasks


def use_proxy(place: Place, url: str) -> None:
    token = place.root / "token"
    token.write_text(place.server().token)
    token.chmod(0o600)
    place.configure(http__service_url=url, http__token_file=token)


def check_pipeline(place: Place, result: dict[str, Any]) -> None:
    """Every attempt was run once, and recorded once, as it ended."""
    assert (result["status"], result["done"], result["failed"]) == ("E", 58, 1)
    expected = {f"{layer}{i}": "D" for layer in "abc" for i in range(20)}
    expected |= {f"a{i}": "ED" for i in range(0, 20, 5)} | {"b7": "EE", "c7": ""}
    assert {name: place.attempts(name) for name in expected} == expected
    assert {name: len(place.starts(name)) for name in expected} == {n: len(s) for n, s in expected.items()}
    num_errors = place.scalar("SELECT count(*) FROM task_instance_error_log")
    assert num_errors == 6  # one line for each attempt that failed
    for table in ("workflow", "workflow_run", "tool", "dag"):
        assert place.scalar(f"SELECT count(*) FROM {table}") == 1, table
    assert place.scalar("SELECT count(*) FROM task") == 60


@pytest.mark.parametrize(("cut", "seed"), [(0.05, 1), (0.05, 2), (0.3, 3)])
def test_cut_answers(place: Place, cut: float, seed: int) -> None:
    with proxy_to(place.start_server().url, cut=cut, seed=seed) as proxy:
        use_proxy(place, proxy.url)
        result = place.start_flow(pipeline(place)).result(60)
        assert proxy.num_lost > 0
    check_pipeline(place, result)


def test_late_answers(place: Place) -> None:
    with proxy_to(place.start_server().url, delay_seconds=0.05) as proxy:
        use_proxy(place, proxy.url)
        result = place.start_flow(pipeline(place)).result(60)
    check_pipeline(place, result)


def test_answers_later_than_anybody_waits(place: Place) -> None:
    """The request was carried out, its sender gave up and sent it again."""
    place.configure(http__request_timeout=2)
    with proxy_to(place.start_server().url, delay_seconds=2.5, delayed=0.1, seed=4) as proxy:
        use_proxy(place, proxy.url)
        result = place.start_flow(pipeline(place)).result(110)
    check_pipeline(place, result)


def test_a_resume_through_cut_answers(place: Place) -> None:
    tasks = [place.task("a"), place.task("b", gate="go", upstream=["a"]), place.task("c", upstream=["b"])]
    script = place.start_flow(tasks)
    place.wait_started("b")
    with proxy_to(place.server().url, cut=0.3, seed=5) as proxy:
        use_proxy(place, proxy.url)
        again = place.start_flow(tasks, run={"resume": True})
        assert script.result(60)["status"] == "T"
        place.wait_started("b", times=2)
        place.open("go")
        assert again.result(60)["status"] == "D"
    assert place.num_starts("a", "b", "c") == [1, 2, 1]
