"""Faults of servers, of the network and of clients, under load: nothing that was acknowledged is lost or doubled."""

from __future__ import annotations

from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
from bench.load import Shape
from fault_list import FAULTS
from fault_marks import Fault, under
from proxy import proxy_to
from strains_http import Ways
from under_load import OK, Load, at_work, check_done, scene

from databases import Backend, bare_database
from jobmon.server.web.db_admin import init_db
from server_place import PREFIX, RealServer, Servers, get

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(240)]

WRONG_CLOCK = Path(__file__).with_name("wrong_clock")
FAST_SECONDS = 600
MANY = 8
"""Requests a server works on at once."""


@pytest.fixture
def uri(backend: Backend, tmp_path: Path) -> Iterator[str]:
    """A database with tables."""
    with bare_database(backend, tmp_path) as uri:
        init_db(uri)
        yield uri


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ways]:
    """The ways of the load's requests; every refusal must have said when to try again."""
    ways = Ways(monkeypatch)
    yield ways
    assert ways.without_advice == 0


def test_each_fault_has_its_test() -> None:
    """In a file beside this one."""
    here = Path(__file__)
    tests = here.read_text() + here.with_name("test_database_faults.py").read_text()
    assert [fault.test for fault in FAULTS if f'@under("{fault.name}")\ndef {fault.test}(' not in tests] == []


@under("server killed")
def test_server_killed(fault: Fault, uri: str, servers: Servers, ways: Ways) -> None:
    with scene(servers, uri) as at_work:
        for part in (0.1, 0.4):
            at_work.load.wait_ended(part)
            at_work.kill_server()
        at_work.check(fault.statuses, must_see=True)


@under("replies dropped")
def test_replies_dropped(fault: Fault, uri: str, servers: Servers, ways: Ways) -> None:
    """Those of the control script by a proxy, which also sends some of its requests twice."""
    ways.drop_replies(1 / 6)
    server = servers.start(uri)
    with (
        proxy_to(server.address, cut=1 / 6) as proxy,
        at_work(servers, uri, [server], flow_url=proxy.url + PREFIX) as scene,
    ):
        scene.check(fault.statuses, must_see=True)
        assert ways.count > 50
        assert proxy.num_lost > 0


@under("requests duplicated")
def test_requests_duplicated(fault: Fault, uri: str, servers: Servers, ways: Ways) -> None:
    running = [servers.launch(uri) for _ in range(2)]
    for server in running:
        server.wait_serving()
    ways.send_twice(running)
    with at_work(servers, uri, running) as scene:
        scene.check(fault.statuses)
    assert set(ways.twins) == {OK}
    assert ways.count > 500


@under("uploads broken off")
def test_uploads_broken_off(fault: Fault, uri: str, servers: Servers, ways: Ways) -> None:
    ways.break_off_uploads(1 / 5)
    with scene(servers, uri) as at_work:
        at_work.check(fault.statuses)
        assert ways.count > 100
        assert "Traceback" not in at_work.text


@under("clocks differ")
def test_clocks_differ(fault: Fault, uri: str, servers: Servers, ways: Ways) -> None:
    usual = servers.environment
    running: list[RealServer] = []
    for seconds in (FAST_SECONDS, -FAST_SECONDS):
        servers.environment = {**usual, "WRONG_CLOCK_SECONDS": str(seconds), "PYTHONPATH": str(WRONG_CLOCK)}
        running.append(servers.launch(uri))
    servers.environment = usual
    for server in running:
        server.wait_serving()
    fast, slow = (parsedate_to_datetime(get(f"{server.url}/health").headers["date"]) for server in running)
    assert (fast - slow).total_seconds() > FAST_SECONDS
    with at_work(servers, uri, running) as scene:
        scene.check(fault.statuses)


@under("ten times too many clients")
def test_ten_times_too_many_clients(fault: Fault, uri: str, servers: Servers, ways: Ways) -> None:
    """Afterwards clients as many as the server takes meet no refusal."""
    server = servers.start(uri, server__max_concurrent_requests=MANY)
    crowd = Shape(workflows=4, lanes=40, links=3, seconds=0.5)
    with at_work(servers, uri, [server], shape=crowd, num_connections=10 * MANY) as scene:
        scene.check(fault.statuses, must_see=True)
    load = Load([server.address], Shape(workflows=1, lanes=10, links=3, seconds=0.2), MANY // 2)
    outcome = load.outcome()
    check_done(uri, load, outcome)
    assert set(outcome.statuses) == {OK}


@under("a user who asks too often")
def test_a_user_who_asks_too_often(fault: Fault, uri: str, servers: Servers, ways: Ways) -> None:
    server = servers.start(uri, server__requests_per_second=4)
    alone = Shape(workflows=1, lanes=12, links=3, seconds=0.2)
    with at_work(servers, uri, [server], shape=alone, flow_url="") as scene:
        scene.check(fault.statuses, must_see=True)
