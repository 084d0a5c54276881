"""A server that is restarted again and again under a workflow that runs."""

from __future__ import annotations

import pytest

from databases import Backend, bare_database, parameters, require
from jobmon.server.web.db_admin import init_db
from jobmon.testing.history import assert_history
from processes import wait_until
from server_place import Servers

pytestmark = pytest.mark.e2e

NUM_TASKS = 150
NUM_RESTARTS = 3
NUM_WORKERS = {Backend.SQLITE: 2, Backend.MARIADB: 1, Backend.POSTGRESQL: 1}


@pytest.mark.parametrize("backend", parameters())
def test_a_workflow_rides_through_restarts(servers: Servers, backend: Backend) -> None:
    """All processes of the server are replaced, three times: nothing fails, nothing is done twice."""
    require(backend)
    with bare_database(backend, servers.directory) as uri:
        init_db(uri)
        server = servers.start(uri, workers=NUM_WORKERS[backend])
        work = servers.directory
        tasks = [
            {"name": f"t{number}", "command": f"echo >> {work}/done.{number}; sleep 0.05"}
            for number in range(NUM_TASKS)
        ]
        names = [task["name"] for task in tasks]
        tasks.append(
            {
                "name": "last",
                "command": f"until [ -e {work}/gate ]; do sleep 0.05; done",
                "upstream": names[:5],
            }
        )
        script = servers.start_flow([server.url], tasks, "restarts")
        wait_until(lambda: script.said("BOUND") is not None, "a workflow that is registered", 60)
        for _ in range(NUM_RESTARTS):
            server.restart(NUM_WORKERS[backend])
        (work / "gate").touch()
        result = script.result(90)
        assert (result["status"], result["done"]) == ("D", NUM_TASKS + 1), script.text
        assert [(work / f"done.{number}").read_text() for number in range(NUM_TASKS)] == ["\n"] * NUM_TASKS
        assert server.end() == 0
        assert_history(uri)
