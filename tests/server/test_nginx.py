"""A real nginx with the configuration of ``deploy/nginx`` before real servers of two roles, below a path."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from databases import Backend, bare_database, parameters, require
from jobmon.core.requester import Requester
from jobmon.server.web.db_admin import init_db
from jobmon.testing.history import assert_history
from processes import Script, free_port, wait_until
from server_place import RealServer, Servers, get, servers_in

pytestmark = [pytest.mark.e2e, pytest.mark.postgresql]

CONFIGURATION = Path(__file__).parents[2] / "deploy" / "nginx" / "jobmon.conf"
SETTINGS = {
    "server__trusted_proxies": "127.0.0.1",
    "server__root_path": "/jobmon",
    "logging__format": "json",
    "logging__access": "all",
}
MAIN = """
daemon off; pid {directory}/nginx.pid; error_log {directory}/error.log; worker_processes 1; {user}
events {{ worker_connections 512; }}
http {{
    access_log off; client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi; uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
    include {directory}/jobmon.conf;
}}
"""


def nginx_program() -> str:
    """The program; the test is skipped where there is none, and with CI=true that is a failure."""
    found = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if found is None:
        reason = "there is no nginx here (Debian: apt-get install nginx-light)"
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must have nginx: {reason}", pytrace=False)
        pytest.skip(reason)
    return found


def configuration(port: int, state: list[RealServer], query: list[RealServer]) -> str:
    """The shipped file with this test's addresses."""
    text = CONFIGURATION.read_text().replace("listen 80;", f"listen 127.0.0.1:{port};")
    for role, servers in (("state", state), ("query", query)):
        lines = "\n".join(
            f"    server 127.0.0.1:{each.port} max_fails=1 fail_timeout=2s;" for each in servers
        )
        text, count = re.subn(rf"(upstream jobmon_{role} {{\n)(    server .*\n)+", rf"\1{lines}\n", text)
        assert count == 1
    return text


@dataclass
class Site:
    """Two servers that keep the state, one that answers questions, and nginx before them."""

    address: str
    servers: Servers
    state: list[RealServer]
    query: RealServer
    uri: str

    def replace(self, number: int) -> None:
        """Kill a server that keeps the state, and start another one at its address."""
        old = self.state[number]
        old.kill()
        self.state[number] = self.servers.launch(self.uri, "--role", "state", port=old.port, **SETTINGS)
        self.state[number].wait_serving()


@pytest.fixture(scope="module", params=parameters((Backend.POSTGRESQL,)))
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    require(request.param)
    program, directory = nginx_program(), tmp_path_factory.mktemp("nginx")
    with bare_database(request.param, directory) as uri, servers_in(directory) as servers:
        init_db(uri)
        state = [servers.launch(uri, "--role", "state", **SETTINGS) for _ in range(2)]
        query = servers.launch(uri, "--role", "query", **SETTINGS)
        for server in (*state, query):
            server.wait_serving()
        port = free_port()
        (directory / "jobmon.conf").write_text(configuration(port, state, [query]))
        user = "user root;" if os.getuid() == 0 else ""
        (directory / "nginx.conf").write_text(MAIN.format(directory=directory, user=user))
        process = subprocess.Popen(
            [program, "-p", str(directory), "-c", str(directory / "nginx.conf")], stderr=subprocess.PIPE
        )
        try:
            address = f"http://127.0.0.1:{port}/jobmon"
            wait_until(lambda: answers(port), "nginx that listens")
            yield Site(address, servers, state, query, uri)
        finally:
            process.terminate()
            process.communicate(timeout=20)
    assert "[emerg]" not in (directory / "error.log").read_text()


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def clients(server: RealServer) -> set[str]:
    """Where the requests came from that the server logged."""
    found = set()
    for line in server.text.splitlines():
        if line.startswith("{") and "client" in (entry := json.loads(line)):
            found.add(entry["client"])
    return found


def start_flow(site: Site, tasks: list[dict[str, object]], name: str) -> Script:
    return site.servers.start_flow([site.address + "/api/v3"], tasks, name)


def test_everything_is_below_the_path(site: Site) -> None:
    """Routes, the pages of the OpenAPI document and what they refer to; but not what is for operators."""
    assert get(site.address + "/health").json()["status"] == "ok"
    assert get(site.address + "/api/v3/health").json()["status"] == "ok"
    document = get(site.address + "/api/openapi.json").json()
    assert document["servers"] == [{"url": "/jobmon"}]
    assert "/jobmon/api/openapi.json" in get(site.address + "/api/docs").text
    assert get(site.address).headers["Location"].endswith("/jobmon/")
    for path in ("/metrics", "/ready", "/api/v3/metrics"):
        assert get(site.address + path).status_code == 404


def test_questions_go_to_the_query_server(site: Site) -> None:
    """Those of people; neither role would answer the other's requests."""
    requester = Requester(site.address + "/api/v3")
    assert requester.send_request("/monitor/workflow_status", {"limit": 1}, "get")[0] == 200
    assert requester.send_request("/monitor/task_workflows", {"task_ids": [1]}, "post")[0] == 200
    assert requester.send_request("/define/tool", {"name": "through nginx"}, "post")[0] == 200
    requester.close()


def test_answers_are_compressed_and_large_requests_refused(site: Site) -> None:
    answer = get(site.address + "/api/openapi.json")
    assert answer.headers["Content-Encoding"] == "gzip"
    with socket.create_connection(("127.0.0.1", int(site.address.split(":")[2].split("/")[0])), 10) as caller:
        caller.sendall(
            b"POST /jobmon/api/v3/define/tool HTTP/1.1\r\nHost: x\r\nContent-Length: 300000000\r\n\r\n"
        )
        assert caller.recv(100).startswith(b"HTTP/1.1 413 ")


def test_only_the_proxy_is_believed(site: Site, servers: Servers, database_uri: str) -> None:
    """Who sends X-Forwarded-For to nginx is not; who sends it to a server that trusts nobody is not either."""
    forged = {"X-Forwarded-For": "203.0.113.9"}
    assert get(site.address + "/api/v3/time", headers=forged).status_code == 200
    assert "203.0.113.9" not in {*clients(site.state[0]), *clients(site.state[1]), *clients(site.query)}
    assert get(site.query.address + "/time", headers=forged).status_code == 200
    wait_until(lambda: "203.0.113.9" in clients(site.query), "the line of the request")
    alone = servers.start(database_uri, logging__format="json", logging__access="all")
    assert get(alone.address + "/time", headers=forged).status_code == 200
    wait_until(lambda: clients(alone), "the line of the request")
    assert clients(alone) == {"127.0.0.1"}


def test_a_server_is_killed_under_a_workflow(site: Site) -> None:
    """Its successor comes, and the other one is killed: the workflow ends as if nothing had happened."""
    work = site.servers.directory
    tasks: list[dict[str, object]] = [
        {"name": f"t{number}", "command": f"echo >> {work}/done.{number}; sleep 0.1"} for number in range(100)
    ]
    script = start_flow(site, tasks, "below a path")
    wait_until((work / "done.5").exists, "tasks that are done", 60)
    site.replace(0)
    site.replace(1)
    result = script.result(90)
    assert (result["status"], result["done"]) == ("D", 100), script.text
    assert [(work / f"done.{number}").read_text() for number in range(100)] == ["\n"] * 100
    assert_history(site.uri)
