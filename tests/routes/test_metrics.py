"""Figures for Prometheus: what is counted, by which labels, and that watching never stands in the way."""

from __future__ import annotations

import json
import os
import re
import tempfile
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import yaml
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from jobmon.core.configuration import JobmonConfig
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.requester import Requester
from jobmon.core.states import TaskInstanceEvent, TaskStatus, WorkflowStatus
from jobmon.serializers.swarm import SyncRequest, SyncResponse
from jobmon.server.web import dialect, metrics_directory
from jobmon.server.web.database import Database
from jobmon.server.web.metrics_states import DatabaseFigures
from jobmon.server.web.models import Lease
from jobmon.server.web.store import census
from jobmon.testing.factory import attempts_make, run_make, workflow_make

PREFIX = "/api/v3"
EVENT = "/worker/task_instance/{task_instance_id}/event"
DEPLOY = Path(__file__).resolve().parents[2] / "deploy"

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def figures(client: TestClient) -> Series:
    """All series of ``/metrics``: name and labels to value."""
    response = client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def value(series: Series, name: str, **labels: str) -> float | None:
    return series.get((name, frozenset(labels.items())))


@pytest.fixture
def attempts(app: FastAPI) -> list[int]:
    """Five attempts that were launched."""
    database: Database = app.state.jobmon.database
    with database.write() as connection:
        now = dialect.utcnow(connection)
        workflow = workflow_make(connection, [[]] * 5, now=now, user=Requester.__module__)
        run_id = run_make(connection, workflow.workflow_id, now=now, user=Requester.__module__)
        return attempts_make(connection, workflow, run_id, range(5), batch_num=1, now=now)


def tell(client: TestClient, attempt: int, event: TaskInstanceEvent) -> int:
    body = msgspec.json.encode(InstanceEvent(attempt, event, distributor_id="1", next_report_increment=60))
    return client.post(f"{PREFIX}/worker/task_instance/{attempt}/event", content=body).status_code


@pytest.mark.sqlite
def test_requests_are_counted_by_the_template_of_their_route(client: TestClient) -> None:
    """However many workflows there are, and whatever nonsense is asked for."""
    for number in range(3):
        client.get(f"{PREFIX}/monitor/workflow/{number + 1}/owner")
        client.get(f"/nothing/{number}")
        client.request("BREW", f"/coffee/{number}")
    seen = figures(client)
    name = "jobmon_request_seconds_count"
    assert value(seen, name, route="/monitor/workflow/{workflow_id}/owner", method="GET", status="404") == 3
    assert value(seen, name, route="(other)", method="GET", status="404") == 3
    assert value(seen, name, route="(other)", method="OTHER", status="404") == 3
    routes = {dict(labels).get("route") for _, labels in seen}
    assert not [route for route in routes if route and re.search(r"\d", route)]


@pytest.mark.sqlite
def test_who_is_refused_is_counted(config: JobmonConfig) -> None:
    """Without saying which routes there are."""
    from jobmon.server.web.api import get_app

    with TestClient(get_app(config, token="sesame"), raise_server_exceptions=False) as client:
        client.get(f"{PREFIX}/monitor/workflow/7/owner")
        assert client.get("/metrics").status_code == 401
        client.headers["Authorization"] = "Bearer sesame"
        counted = "jobmon_request_seconds_count"
        assert value(figures(client), counted, route="(other)", method="GET", status="401") == 2


def test_events_are_counted_by_what_became_of_them(client: TestClient, attempts: list[int]) -> None:
    """Of wrappers, on the short way, which has its place among the requests all the same."""
    first, second = attempts[:2]
    for event in (TaskInstanceEvent.LAUNCH, TaskInstanceEvent.START, TaskInstanceEvent.HEARTBEAT):
        assert tell(client, first, event) == 200
    tell(client, first, TaskInstanceEvent.FINISH)
    tell(client, first, TaskInstanceEvent.HEARTBEAT)
    tell(client, second, TaskInstanceEvent.FINISH)
    tell(client, 10**9, TaskInstanceEvent.START)
    seen = figures(client)
    told = {
        dict(labels)["outcome"]: number
        for (name, labels), number in seen.items()
        if name == "jobmon_events_total" and ("source", "worker") in labels
    }
    assert sum(told.values()) == 7
    assert told["changed"] >= 3
    assert told["unknown"] == 1
    assert told["late"] == 1
    assert value(seen, "jobmon_request_seconds_count", route=EVENT, method="POST", status="200") >= 5
    assert value(seen, "jobmon_group_commit_events_sum") == 7
    assert value(seen, "jobmon_group_commit_seconds_count") == value(seen, "jobmon_group_commit_events_count")


@pytest.mark.sqlite
def test_events_of_controllers_are_counted(client: TestClient, requester: Requester, app: FastAPI) -> None:
    """After the commit that holds them."""
    from jobmon.core.requester import current_user

    database: Database = app.state.jobmon.database
    with database.write() as connection:
        now = dialect.utcnow(connection)
        workflow = workflow_make(connection, [[]] * 2, now=now, user=current_user())
        run_id = run_make(connection, workflow.workflow_id, now=now, user=current_user())
        made = attempts_make(connection, workflow, run_id, range(2), batch_num=1, now=now)
    events = [InstanceEvent(each, TaskInstanceEvent.LAUNCH, distributor_id="1") for each in made]
    requester.send("POST", f"/swarm/workflow_run/{run_id}/sync", SyncRequest(events), SyncResponse)
    counted = "jobmon_events_total"
    changed = value(figures(client), counted, source="controller", outcome="changed") or 0
    unchanged = value(figures(client), counted, source="controller", outcome="unchanged") or 0
    assert changed + unchanged == 2


def test_states_are_counted_with_all_their_names(client: TestClient, attempts: list[int]) -> None:
    """Those without any are 0."""
    seen = figures(client)
    assert {value(seen, "jobmon_workflows", status=state.name) for state in WorkflowStatus} == {0, 1}
    assert sum(value(seen, "jobmon_tasks", status=state.name) or 0 for state in TaskStatus) == 5
    assert value(seen, "jobmon_workflow_runs", status="RUNNING") == 1
    assert sum(number for (name, _), number in seen.items() if name == "jobmon_attempts") == len(attempts)
    assert value(seen, "jobmon_database_up") == 1


def test_who_leads_is_told(client: TestClient, app: FastAPI) -> None:
    """With the term, and for how long."""
    from datetime import timedelta

    from sqlalchemy import insert

    database: Database = app.state.jobmon.database
    with database.write() as connection:
        now = dialect.utcnow(connection)
        until = now + timedelta(seconds=500)
        row = {
            "name": "of_this_test",
            "holder": "node-1:77",
            "term": 4,
            "acquired_at": now,
            "expires_at": until,
        }
        connection.execute(insert(Lease), row)
    seen = figures(client)
    assert value(seen, "jobmon_lease_term", lease="of_this_test", holder="node-1:77") == 4
    assert 0 < (value(seen, "jobmon_lease_remaining_seconds", lease="of_this_test") or 0) <= 500


@pytest.mark.sqlite
def test_what_services_did_is_counted(
    client: TestClient, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From counters that only grow; each growth is told once."""
    state, name = app.state.jobmon, "jobmon_service_actions_total"
    before = value(figures(client), name, action="rule_of_this_test") or 0
    counters = {"rule_of_this_test": 2}
    monkeypatch.setattr(state, "services", SimpleNamespace(counters=counters))
    assert value(figures(client), name, action="rule_of_this_test") == before + 2
    counters["rule_of_this_test"] = 5
    assert value(figures(client), name, action="rule_of_this_test") == before + 5


@pytest.mark.sqlite
def test_a_database_that_hangs_holds_up_no_scrape(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The figures there are come all the same; and one thread waits, however many ask."""
    go_on = threading.Event()

    def hang(connection: Any) -> census.Census:
        assert go_on.wait(60)
        return census.Census()

    monkeypatch.setattr("jobmon.server.web.metrics_states.WAIT_SECONDS", 0.05)
    monkeypatch.setattr("jobmon.server.web.metrics_states.census_read", hang)
    try:
        for _ in range(3):
            seen = figures(client)
            assert value(seen, "jobmon_requests_in_flight") == 1
            assert value(seen, "jobmon_workflows", status="DONE") is None
        counting = [thread for thread in threading.enumerate() if thread.name == "jobmon-census"]
        assert len(counting) == 1
    finally:
        go_on.set()
        counting[0].join(10)


async def _refreshed(reader: DatabaseFigures, times: int) -> None:
    for _ in range(times):
        await reader.refresh()


@pytest.mark.sqlite
def test_states_are_counted_rarely(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not again within the interval, nor while the last count cost more than its share of the time; never with 0."""
    import asyncio

    clock, counted = [1000.0], []

    def read(connection: Any) -> census.Census:
        counted.append(clock[0])
        clock[0] += 2.0
        return census.Census()

    monkeypatch.setattr("jobmon.server.web.metrics_states.census_read", read)
    reader = DatabaseFigures(database, 15, lambda: clock[0])
    asyncio.run(_refreshed(reader, 5))
    clock[0] += 16
    asyncio.run(_refreshed(reader, 5))
    assert counted == [1000.0]
    clock[0] += 60
    asyncio.run(_refreshed(reader, 5))
    assert len(counted) == 2
    never = DatabaseFigures(database, 0, lambda: clock[0])
    asyncio.run(_refreshed(never, 2))
    assert len(counted) == 2
    assert list(never.collect()) == []


@pytest.mark.sqlite
def test_a_database_that_fails_is_told_as_down(database_uri: str, caplog: pytest.LogCaptureFixture) -> None:
    """Once in the log, however often it is asked."""
    import asyncio

    broken = Database(database_uri.replace("jobmon.sqlite", "nowhere/jobmon.sqlite"))
    clock = [0.0]
    reader = DatabaseFigures(broken, 1, lambda: clock[0])
    for _ in range(3):
        asyncio.run(_refreshed(reader, 1))
        clock[0] += 100
    (up,) = list(reader.collect())
    assert up.samples[0].value == 0
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    broken.dispose()


# -- several processes ------------------------------------------------------------------------------------
@pytest.mark.sqlite
def test_a_directory_the_operator_names_is_emptied_and_kept(tmp_path: Path) -> None:
    """One of our own is removed."""
    named = tmp_path / "figures"
    named.mkdir()
    (named / "counter_1.db").write_bytes(b"old")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(metrics_directory.VARIABLE, str(named))
        with metrics_directory.shared_figures():
            assert metrics_directory.current() == str(named)
            assert list(named.glob("*.db")) == []
        assert named.is_dir()
        patch.delenv(metrics_directory.VARIABLE)
        with metrics_directory.shared_figures():
            own = Path(metrics_directory.current())
            assert own.stat().st_mode & 0o777 == 0o700
        assert not own.exists()
        assert metrics_directory.current() == ""


@pytest.mark.sqlite
def test_directories_of_killed_servers_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not those of living ones, nor what has just been made."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv(metrics_directory.VARIABLE, raising=False)
    abandoned, young = tmp_path / "jobmon-metrics-abandoned", tmp_path / "jobmon-metrics-young"
    for directory in (abandoned, young):
        directory.mkdir()
    with metrics_directory.shared_figures():
        alive = Path(metrics_directory.current())
        for directory in (abandoned, alive):
            os.utime(directory, (0, 0))
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv(metrics_directory.VARIABLE)
            with metrics_directory.shared_figures():
                assert {abandoned.exists(), young.exists(), alive.exists()} == {False, True}
                assert alive.exists()
    assert young.exists()


@pytest.mark.sqlite
def test_momentary_figures_of_the_dead_are_forgotten(tmp_path: Path) -> None:
    """What they counted stays."""
    alive, dead = os.getpid(), 2**22 + 1
    names = [
        f"{kind}_{pid}.db" for kind in ("gauge_livesum", "gauge_liveall", "counter") for pid in (alive, dead)
    ]
    for name in names:
        (tmp_path / name).touch()
    metrics_directory.forget_dead(str(tmp_path))
    kept = {path.name for path in tmp_path.iterdir()}
    assert kept == {name for name in names if not (name.startswith("gauge") and str(dead) in name)}


# -- dashboard and rules ----------------------------------------------------------------------------------
def known_names(client: TestClient) -> set[str]:
    """Names of the series there can be; those of histograms with their endings."""
    names = set()
    for line in client.get("/metrics").text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            names |= {name + end for end in ("_bucket", "_sum", "_count")} if kind == "histogram" else {name}
    return names


def assert_known(expressions: list[str], names: set[str]) -> None:
    assert expressions
    for expression in expressions:
        used = set(re.findall(r"\bjobmon_[a-z_]+\b", expression))
        assert used, expression
        assert used <= names, expression


@pytest.mark.sqlite
def test_the_dashboard_asks_for_what_there_is(client: TestClient) -> None:
    """Every expression of every panel."""
    dashboard = json.loads((DEPLOY / "grafana" / "jobmon.json").read_text())
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    assert all(panel["title"] and panel["description"] for panel in panels)
    expressions = [target["expr"] for panel in panels for target in panel["targets"]]
    expressions += [each["definition"] for each in dashboard["templating"]["list"] if each["type"] == "query"]
    assert_known(expressions, known_names(client))


@pytest.mark.sqlite
def test_the_alerts_ask_for_what_there_is(client: TestClient) -> None:
    """And each says what to do."""
    rules = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())
    alerts = [rule for group in rules["groups"] for rule in group["rules"]]
    assert_known([rule["expr"] for rule in alerts if "up{" not in rule["expr"]], known_names(client))
    assert all(rule["annotations"]["summary"] and rule["annotations"]["what_to_do"] for rule in alerts)
    scrape = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    assert scrape["scrape_configs"][0]["metrics_path"] == "/metrics"
