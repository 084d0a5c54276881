"""Compute nodes reach the local server of who runs the workflow: by which address, and with which token."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import UsageError
from jobmon.core.requester import Requester
from jobmon.distributor.node_access import LOOPBACK, NodeAddress, controller_address, node_address, way_to
from jobmon.server.web.api import get_app
from jobmon.testing.in_process import AppClient
from processes import Place, Script

pytestmark = pytest.mark.e2e

NOWHERE = "no.such.node.invalid"


@pytest.fixture
def here(place: Place, monkeypatch: pytest.MonkeyPatch) -> JobmonConfig:
    """The configuration of a place whose server runs."""
    place.start_server()
    monkeypatch.setenv("JOBMON__EMBEDDED__DIRECTORY", str(place.directory))
    return JobmonConfig()


@pytest.fixture
def requester(here: JobmonConfig) -> Iterator[Requester]:
    requester = Requester.from_defaults(here)
    yield requester
    requester.close()


def ask(url: str, token: str, method: str, path: str, body: object = None) -> int:
    headers = {"Authorization": f"Bearer {token}", "X-Jobmon-User": "tester"}
    return httpx.request(method, url + path, headers=headers, json=body, trust_env=False).status_code


def test_nodes_that_are_this_machine(here: JobmonConfig, requester: Requester) -> None:
    """Or that nobody knows of: loopback, without another listener; the token is not the owner's."""
    for nodes in ([], ["localhost"], [NOWHERE, "127.0.0.1"], [socket.gethostname()], ["127.0.0.9"]):
        address = node_address(here, requester, nodes)
        assert address == NodeAddress(requester.url, address.token)
        assert address.token not in ("", requester.known_address.token)
        assert address.is_current(requester)
        assert address.token not in repr(address)


def test_an_address_that_is_named(here: JobmonConfig, requester: Requester, place: Place) -> None:
    """Is listened at as well, once; what comes by it are reports."""
    here.set("embedded", "node_interface", "127.0.0.2")
    first = node_address(here, requester, ["198.51.100.7"])
    assert first == node_address(here, requester, [])
    assert first.url.startswith("http://127.0.0.2:")
    owner = requester.known_address.token
    for url, token, status in (
        (first.url, first.token, 403),
        (first.url, owner, 403),
        (requester.url, first.token, 403),
        (requester.url, owner, 200),
    ):
        assert ask(url, token, "GET", "/define/cluster/multiprocess") == status
    assert place.files.log.read_text().count("listens for compute nodes") == 1
    assert "listens for compute nodes at http://127.0.0.2" in place.files.log.read_text()
    assert first.token not in place.files.log.read_text()


@pytest.mark.parametrize(
    ("interface", "nodes", "reason"),
    [
        ("none", [], "is 'none'"),
        ("192.0.2.77", [], "is not an address of"),
        ("0.0.0.0", [], "not one address"),
        ("auto", [NOWHERE, NOWHERE], "no way to the nodes"),
    ],
)
def test_where_they_cannot_reach_it(
    here: JobmonConfig, requester: Requester, interface: str, nodes: list[str], reason: str
) -> None:
    """It is told why, and what happens instead; nothing fails."""
    here.set("embedded", "node_interface", interface)
    address = node_address(here, requester, nodes)
    assert (address.url, address.token) == ("", "")
    assert reason in address.reason
    assert "through the shared directory" in address.reason
    assert address.is_current(requester)


def test_a_server_that_was_started_anew(here: JobmonConfig, requester: Requester, place: Place) -> None:
    """Has another address and other tokens: who asks again learns them; nobody is asked whether that is so."""
    before = node_address(here, requester, [])
    place.kill_server()
    assert before.is_current(requester)  # nothing is known yet
    after = node_address(here, requester, [])
    assert not before.is_current(requester)
    assert after.is_current(requester)
    assert before.token != after.token
    assert ask(after.url, before.token, "POST", "/worker/task_instance/1/event") == 401


def test_a_server_of_ones_own(here: JobmonConfig, place: Place) -> None:
    """One that is a local server elsewhere gives a token for reports; one that cannot, shares its own."""
    record = place.server()
    given = Requester(record.url + "/api/v3", token=record.token)
    address = node_address(here, given, ["localhost"])
    assert address.url == record.url + "/api/v3"
    assert address.token not in ("", record.token)
    given.close()
    elsewhere = node_address(here, given, ["198.51.100.7"])
    assert elsewhere.url == ""
    assert "for this machine only" in elsewhere.reason
    assert node_address(here, Requester("http://jobmon.example/api/v3"), ["198.51.100.7"]) == NodeAddress(
        "http://jobmon.example/api/v3"
    )


def test_a_central_server(here: JobmonConfig, database_uri: str) -> None:
    """Knows one kind of token."""
    from starlette.testclient import TestClient

    here.set("db", "sqlalchemy_database_uri", database_uri)
    with TestClient(get_app(here, token="mine")) as client:
        requester = Requester("http://testserver/api/v3", client=AppClient(client), token="mine")
        address = node_address(here, requester, ["198.51.100.7"])
    assert (address.url, address.token) == ("http://testserver/api/v3", "mine")


def test_where_controllers_on_nodes_find_it(here: JobmonConfig, requester: Requester) -> None:
    """As here where the nodes are this machine; by the address that is named for it; else it is refused."""
    assert controller_address(here, requester, ["localhost"]) is None
    with pytest.raises(UsageError, match=r"http\.service_url.*embedded\.node_interface"):
        controller_address(here, requester, ["198.51.100.7"])
    here.set("embedded", "node_interface", "127.0.0.2")
    nodes = node_address(here, requester, ["198.51.100.7"])
    address = controller_address(here, requester, ["198.51.100.7"])
    assert address == (nodes.url, requester.known_address.token)
    assert ask(address.url, address.token, "GET", "/define/cluster/multiprocess") == 200
    assert ask(address.url, nodes.token, "GET", "/define/cluster/multiprocess") == 403
    with pytest.raises(UsageError, match="for this machine only"):
        controller_address(here, Requester("http://localhost:1/api/v3"), ["198.51.100.7"])


NODE = """
import json, sys, urllib.error, urllib.request
for line in sys.stdin:
    url, token, body = json.loads(line)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=10) as response:
            print(response.status, response.read().decode(), flush=True)
    except urllib.error.HTTPError as error:
        print(error.code, flush=True)
    except OSError as error:
        print("unreachable", error, flush=True)
"""


@pytest.fixture
def node() -> Iterator[tuple[str, str, str]]:
    """A network namespace behind a pair of virtual interfaces: its name, its address, and ours on the way to it."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces take root and the command ip")
    name, number = f"jobmon{os.getpid()}", os.getpid() % 16000
    ours, theirs = (f"10.231.{number // 64}.{number % 64 * 4 + last}" for last in (1, 2))
    outer, inner = f"jo{os.getpid()}", f"ji{os.getpid()}"
    try:
        for words in (
            f"ip netns add {name}",
            f"ip link add {outer} type veth peer name {inner} netns {name}",
            f"ip addr add {ours}/30 dev {outer}",
            f"ip link set {outer} up",
            f"ip -n {name} addr add {theirs}/30 dev {inner}",
            f"ip -n {name} link set {inner} up",
            f"ip -n {name} link set lo up",
        ):
            done = subprocess.run(words.split(), capture_output=True, text=True)
            if done.returncode:
                pytest.skip(f"network namespaces cannot be made here: {words}: {done.stderr.strip()}")
        yield name, theirs, ours
    finally:
        for words in (f"ip link del {outer}", f"ip netns del {name}"):
            subprocess.run(words.split(), capture_output=True)


@pytest.mark.slow
def test_from_another_machine(
    here: JobmonConfig, requester: Requester, place: Place, node: tuple[str, str, str]
) -> None:
    """By the route to it: a report arrives; what is the owner's does not, with whatever token; loopback is out of reach."""
    name, theirs, ours = node
    script: Script = place.start_flow([place.task("a", gate="go")])
    place.wait_started("a")
    place.wait_task("a", "R")
    assert way_to([theirs]) == way_to(["localhost", theirs]) == ours
    assert way_to([ours]) == LOOPBACK
    address = node_address(here, requester, [theirs])
    assert address.url.startswith(f"http://{ours}:")
    owner = requester.known_address.token
    event = {"task_instance_id": 1, "event": "heartbeat", "next_report_increment": 90}
    questions = [
        (f"{address.url}/worker/task_instance/1/event", address.token, event),
        (f"{address.url}/worker/task_instance/1/event", "wrong", event),
        (f"{address.url}/define/cluster/multiprocess", address.token, None),
        (f"{address.url}/define/cluster/multiprocess", owner, None),
        (f"{address.url}/local/node_access", owner, {"host": ours, "is_for_controllers": True}),
        (f"{requester.url}/define/cluster/multiprocess", owner, None),
    ]
    done = subprocess.run(
        ["ip", "netns", "exec", name, sys.executable, "-c", NODE],
        input="".join(json.dumps(question) + "\n" for question in questions),
        capture_output=True,
        text=True,
        timeout=60,
    )
    first, *others = done.stdout.splitlines()
    assert first.startswith("200 "), done.stdout + done.stderr
    assert json.loads(first[4:])["is_live"] is True
    assert [answer.split()[0] for answer in others] == ["401", "403", "403", "403", "unreachable"]
    place.open("go")
    assert script.result()["status"] == "D"
