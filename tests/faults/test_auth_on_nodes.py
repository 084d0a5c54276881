"""A server that knows its users by tokens, and a batch cluster: what wrappers show, and what that is good for."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from fake_place import FakePlace, new_fake_place

from jobmon.core.access_token import new_token, token_hash
from jobmon.server.web import dialect
from jobmon.server.web.database import Database
from jobmon.server.web.identity import UserRole
from jobmon.server.web.store.tokens import token_create
from processes import wait_until
from server_place import RealServer, Servers, servers_in

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@dataclass
class Institute:
    """A server, a fake Slurm, and a directory for the files of tokens."""

    place: FakePlace
    server: RealServer
    servers: Servers

    def give_token(self, user: str, role: UserRole) -> str:
        """Make a token, and have what is started from now on use it."""
        made, file = new_token(), self.place.root / f"{user}.token"
        database = Database(self.place.uri)
        with database.write() as connection:
            now = dialect.utcnow(connection)
            token_create(
                connection, token_hash(made), user=user, role=role, label="", now=now, expires_at=None
            )
        database.dispose()
        file.write_text(made + "\n")
        file.chmod(0o600)
        self.place.configure(http__token_file=file)
        return made

    def nodes_file(self) -> tuple[str, str]:
        """Address and token, as the wrappers find them."""
        (path,) = self.place.shared.glob("workflow_*/server")
        assert path.stat().st_mode & 0o077 == 0
        url, token, *_ = path.read_text().split("\n")
        return url, token


@pytest.fixture
def institute(tmp_path: Path, database_template: Path) -> Iterator[Institute]:
    for place in new_fake_place(tmp_path / "place", database_template):
        directory = tmp_path / "servers"
        directory.mkdir()
        with servers_in(directory) as servers:
            server = servers.start(place.uri, auth__mode="token", reaper__enabled="false")
            place.configure(http__service_url=server.address)
            yield Institute(place, server, servers)


def tell(url: str, token: str, task_instance_id: int) -> int:
    event = {"task_instance_id": task_instance_id, "event": "heartbeat", "next_report_increment": 90}
    headers = {"Authorization": f"Bearer {token}"}
    path = f"{url}/worker/task_instance/{task_instance_id}/event"
    return httpx.post(path, json=event, headers=headers, trust_env=False).status_code


def command_lines(place: FakePlace) -> list[str]:
    """Those of all processes of a place."""
    found = []
    for pid in place.processes():
        try:
            found.append(Path(f"/proc/{pid}/cmdline").read_text())
        except OSError:
            continue  # it ended meanwhile
    return found


def test_wrappers_show_a_token_of_their_own(institute: Institute) -> None:
    """Which opens reports of their workflow and nothing else; it outlives its controller, and is in no command line."""
    place = institute.place
    refused = institute.give_token("ada", UserRole.USER)
    first = place.start_flow(place.gated(["a"]))
    assert "An administrator of this server can register it" in first.error()["message"]
    institute.give_token("root", UserRole.ADMIN)
    place.jobmon("cluster", "sync", "slurm")
    mine = institute.give_token("ada", UserRole.USER)
    script = place.start_flow(place.gated(["a", "b"]))
    place.wait_running(["a", "b"])
    url, theirs = institute.nodes_file()
    assert theirs.startswith("jobmon_")
    assert theirs not in (mine, refused)
    headers = {"Authorization": f"Bearer {theirs}"}
    assert httpx.get(f"{url}/monitor/workflow_status", headers=headers, trust_env=False).status_code == 403
    assert tell(url, theirs, 1) == 200
    assert tell(url, mine, 1) == 200
    assert tell(url, "jobmon_wrong", 1) == 401
    lines = command_lines(place)
    assert lines
    assert not [line for line in lines if mine in line or theirs in line]
    assert mine not in script.text + institute.server.text
    assert theirs not in script.text + institute.server.text
    script.kill()  # nobody looks after the attempts: their wrappers tell of them all the same
    script.process.wait(10)
    place.open("go")
    wait_until(lambda: place.task_status("a") + place.task_status("b") == "DD", "the words of the wrappers")
    assert not list(place.shared.glob("workflow_*/spool/**/*.json"))


def test_a_token_that_is_revoked_loses_no_result(institute: Institute) -> None:
    """What wrappers cannot tell any more they leave in the spool; the owner's next controller tells it."""
    place = institute.place
    institute.give_token("root", UserRole.ADMIN)
    place.jobmon("cluster", "sync", "slurm")
    institute.give_token("ada", UserRole.USER)
    script = place.start_flow(place.gated(["a"]))
    place.wait_running(["a"])
    script.kill()
    script.process.wait(10)
    url, theirs = institute.nodes_file()
    place.configure(db__sqlalchemy_database_uri=place.uri)
    words = "from jobmon.server.cli import main; main()"
    revoked = place.start([sys.executable, "-c", words, "token", "revoke", "--user", "ada"])
    assert revoked.end() == 0, revoked.text
    wait_until(lambda: tell(url, theirs, 1) == 401, "a token that is refused")
    place.open("go")
    wait_until(lambda: list(place.shared.glob("workflow_*/spool/**/*.json")), "a word in the spool")
    institute.give_token("ada", UserRole.USER)
    again = place.start_flow(place.gated(["a"]), run={"resume": True, "reset_running_jobs": False})
    assert again.result()["status"] == "D"
    assert place.num_starts("a") == [1]
