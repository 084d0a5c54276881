"""Every route without credentials, with bad ones, and with somebody else's; and what a token's life means for it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from sqlalchemy import event, select
from sqlalchemy.exc import OperationalError
from starlette.testclient import TestClient
from test_every_route import CASES, PREFIX, ROUTES, Scene, assert_error, body_of, filled, make_scene, snapshot

from jobmon.core.access_token import new_token, token_hash
from jobmon.core.configuration import JobmonConfig
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import TaskInstanceEvent
from jobmon.serializers.swarm import WorkerTokenRequest, WorkflowRunRequest
from jobmon.server.web import dialect
from jobmon.server.web.api import get_app
from jobmon.server.web.auth import verifier as verifying
from jobmon.server.web.auth.verifier import TokenVerifier
from jobmon.server.web.database import Database
from jobmon.server.web.event_intake import EventIntake
from jobmon.server.web.failure_dialect import is_fault_of_values
from jobmon.server.web.group_commit import GroupCommit
from jobmon.server.web.identity import OWNED, Access, Identity, UserRole
from jobmon.server.web.models import AccessToken, Workflow, WorkflowRun
from jobmon.server.web.store.tokens import token_create, tokens_revoke, user_revoke_tokens
from jobmon.testing.factory import attempts_make, run_make, workflow_make

OWNER, STRANGER = "tester", "eve"
BESIDE = ["/", "/nothing", "/api/openapi.json", "/api/docs", "/metrics", "/time", f"{PREFIX}/time"]
"""Addresses that are no routes of messages."""
EVENT = "POST /worker/task_instance/{task_instance_id}/event"
NAMES = [f"{route.method} {path}" for path, route in ROUTES]
ACCESS = {f"{route.method} {path}": route.access for path, route in ROUTES}


@dataclass
class Guarded:
    """A server that wants to see tokens, over a database with workflows of the owner."""

    client: TestClient
    database: Database
    scene: Scene

    def token(
        self,
        user: str,
        role: UserRole = UserRole.USER,
        *,
        run_id: int | None = None,
        expires: timedelta | None = timedelta(days=1),
    ) -> str:
        made = new_token()
        with self.database.write() as connection:
            now = dialect.utcnow(connection)
            token_create(
                connection,
                token_hash(made),
                user=user,
                role=role,
                label="",
                now=now,
                expires_at=None if expires is None else now + expires,
                workflow_run_id=run_id,
            )
        return made

    def ask(self, name: str, token: str, user: str = "") -> Any:
        """What a route answers to a request that would be right if its owner sent it."""
        method, path = name.split(" ")
        value, content = 1, None
        if name in CASES:
            value, message = CASES[name](self.scene)  # type: ignore[assignment]
            content = None if message is None else msgspec.json.encode(message)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        headers |= {"X-Jobmon-User": user} if user else {}
        params = {"wait_seconds": 0} if path.endswith("/feed") else None
        return self.client.request(
            method, PREFIX + filled(path, value), content=content, headers=headers, params=params
        )


@pytest.fixture
def guarded(config: JobmonConfig) -> Iterator[Guarded]:
    config.set("auth", "mode", "token")
    app = get_app(config)
    database: Database = app.state.jobmon.database
    with TestClient(app, raise_server_exceptions=False) as client:
        yield Guarded(client, database, make_scene(database))


def contents(guarded: Guarded) -> dict[str, list[Any]]:
    return snapshot(guarded.database)


# -- nobody -----------------------------------------------------------------------------------------------
@pytest.mark.sqlite
@pytest.mark.parametrize("kind", ["none", "wrong", "another", "expired", "revoked", "long", "basic"])
def test_without_a_good_token_no_route_says_anything(guarded: Guarded, kind: str) -> None:
    """401 in the one shape on every route, whether there is one or not; and nothing happens."""
    shown = {
        "none": "",
        "wrong": "jobmon_" + "x" * 43,
        "another": "sésame",
        "long": "jobmon_" + "x" * 5000,
        "basic": "",
        "expired": guarded.token(OWNER, expires=timedelta(seconds=-1)),
        "revoked": guarded.token(OWNER),
    }[kind]
    with guarded.database.write() as connection:
        user_revoke_tokens(connection, OWNER, dialect.utcnow(connection))
    before = contents(guarded)
    header = "Basic dGVzdGVyOng=" if kind == "basic" else f"Bearer {shown}"
    headers = {"X-Jobmon-User": OWNER} | ({"Authorization": header.encode()} if kind != "none" else {})  # type: ignore[dict-item]
    requests = [(route.method, PREFIX + filled(path, 1), body_of(route)) for path, route in ROUTES]
    requests += [(method, path, None) for path in BESIDE for method in ("GET", "POST")]
    for method, path, content in requests:
        response = guarded.client.request(method, path, content=content, headers=headers)
        body = assert_error(response, 401)
        assert body.error == "NotAllowedError"
        assert response.headers["WWW-Authenticate"] == "Bearer"
        assert "x" * 43 not in response.text
    assert contents(guarded) == before


@pytest.mark.sqlite
def test_health_and_readiness_are_open(guarded: Guarded) -> None:
    """To who keeps the server running, with a prefix and without."""
    for path in ("/health", "/ready", f"{PREFIX}/health", f"{PREFIX}/ready"):
        assert guarded.client.get(path).status_code == 200


# -- somebody else ------------------------------------------------------------------------------------------
@pytest.mark.sqlite
def test_an_observer_looks_at_everything_and_changes_nothing(guarded: Guarded) -> None:
    token, before = guarded.token("olga", UserRole.OBSERVER), contents(guarded)
    for name in NAMES:
        response = guarded.ask(name, token, user=OWNER)
        if ACCESS[name] is Access.READ:
            assert response.status_code not in (401, 403), name
        else:
            words = (
                "Only administrators"
                if ACCESS[name] is Access.ADMIN
                else "look at everything and change nothing"
            )
            assert words in assert_error(response, 403).message, name
    assert contents(guarded) == before
    assert guarded.client.get("/metrics", headers={"Authorization": f"Bearer {token}"}).status_code == 200


def test_a_stranger_changes_nothing_of_others(guarded: Guarded) -> None:
    """Whatever name is said beside the token; what all share may be added to."""
    token, before = guarded.token(STRANGER), contents(guarded)
    for name in NAMES:
        response = guarded.ask(name, token, user=OWNER)
        if ACCESS[name] in OWNED or name == EVENT:
            assert response.status_code == 403, f"{name}: {response.text}"
        elif ACCESS[name] is Access.ADMIN:
            assert "Only administrators" in assert_error(response, 403).message
        else:
            assert response.status_code not in (401, 403), f"{name}: {response.text}"
    after = contents(guarded)
    theirs = {row["id"] for row in before["workflow"]}
    after["workflow"] = [row for row in after["workflow"] if row["id"] in theirs]
    shared = {
        "tool",
        "tool_version",
        "task_template",
        "task_template_version",
        "task_resources",
        "node",
        "dag",
    }
    shared |= {"arg", "template_arg_map", "node_arg", "edge", "id_block", "bad_node"}
    shared |= {"workflow_attribute", "workflow_attribute_type"}  # of the stranger's own workflow
    assert {t: after[t] for t in after if t not in shared} == {
        t: before[t] for t in before if t not in shared
    }
    assert [row for row in after["workflow_attribute"] if row["workflow_id"] in theirs] == before[
        "workflow_attribute"
    ]


@pytest.mark.sqlite
def test_a_stranger_adds_nothing_to_a_workflow_that_is_not_complete(guarded: Guarded) -> None:
    """New arrays, new tasks and the word that all are there are its owner's to say."""
    with guarded.database.write() as connection:
        now = dialect.utcnow(connection)
        made = workflow_make(connection, [[]], now=now, user=OWNER, name="cut off")
        table: Any = Workflow.__table__
        connection.execute(table.update().where(table.c.id == made.workflow_id).values(created_date=None))
    guarded.scene.resting = made
    name = "POST /define/workflow/{workflow_id}/bound"
    assert assert_error(guarded.ask(name, guarded.token(STRANGER)), 403).message.startswith("Workflow ")
    assert guarded.ask(name, guarded.token(OWNER)).status_code == 200


@pytest.mark.sqlite
def test_an_administrator_may_do_everything(guarded: Guarded) -> None:
    """To everybody's workflows, whatever name is said beside the token."""
    token = guarded.token("root", UserRole.ADMIN)
    for number, name in enumerate(sorted(CASES)):
        guarded.scene = make_scene(guarded.database, f" {number}")  # what the one before changed is another's
        response = guarded.ask(name, token, user=STRANGER)
        assert response.status_code == 200, f"{name}: {response.text}"


@pytest.mark.sqlite
def test_the_owner_may_do_everything_but_what_is_the_administrators(guarded: Guarded) -> None:
    """With a token of their own."""
    token = guarded.token(OWNER, expires=None)
    for name in sorted(CASES):
        response = guarded.ask(name, token, user=STRANGER)
        assert response.status_code != 401
        assert (response.status_code == 403) == (ACCESS[name] is Access.ADMIN), f"{name}: {response.text}"


@pytest.mark.sqlite
def test_a_run_is_of_who_showed_the_token(guarded: Guarded) -> None:
    """Whoever the message says; and a workflow stays its owner's though an administrator runs it."""
    name = "POST /swarm/workflow/{workflow_id}/workflow_run"
    _, message = CASES[name](guarded.scene)
    assert isinstance(message, WorkflowRunRequest)
    assert message.user == OWNER
    assert guarded.ask(name, guarded.token("root", UserRole.ADMIN)).status_code == 200
    with guarded.database.read() as connection:
        assert connection.scalar(select(WorkflowRun.user).order_by(WorkflowRun.id.desc()).limit(1)) == "root"
    reset = "PUT /define/workflow/{workflow_id}/attributes"
    guarded.scene.workflow = guarded.scene.resting
    assert guarded.ask(reset, guarded.token(OWNER)).status_code == 200


@pytest.mark.sqlite
def test_a_workflow_of_which_nobody_is_known_is_whose_who_runs_it(guarded: Guarded) -> None:
    """Such as those of an older Jobmon that never ran; after that it is nobody else's."""
    table: Any = Workflow.__table__
    with guarded.database.write() as connection:
        connection.execute(table.update().values(owner=None))
    name, attributes = (
        "POST /swarm/workflow/{workflow_id}/workflow_run",
        "PUT /define/workflow/{workflow_id}/attributes",
    )
    guarded.scene.workflow = guarded.scene.resting
    first, second = guarded.token("first"), guarded.token("second")
    assert guarded.ask(attributes, second).status_code == 200
    assert guarded.ask(name, first).status_code == 200
    assert guarded.ask(attributes, second).status_code == 403
    assert guarded.ask(attributes, first).status_code == 200


# -- wrappers -----------------------------------------------------------------------------------------------
@pytest.fixture(params=["short", "long"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Events come by the short way; with ``long`` by the route it stands for."""
    if request.param == "long":
        monkeypatch.setattr(EventIntake, "_attempt_of", lambda self, scope: None)
    return str(request.param)


def tell(guarded: Guarded, attempt: int, token: str) -> Any:
    content = msgspec.json.encode(InstanceEvent(attempt, TaskInstanceEvent.START, nodename="n"))
    path = f"{PREFIX}/worker/task_instance/{attempt}/event"
    return guarded.client.post(path, content=content, headers={"Authorization": f"Bearer {token}"})


@pytest.mark.usefixtures("way")
def test_a_wrapper_speaks_for_attempts_of_its_workflow_only(guarded: Guarded) -> None:
    """As their owner and administrators do; strangers, observers and wrappers of other workflows change nothing."""
    other = make_scene(guarded.database, "2")
    token = guarded.token(OWNER, UserRole.WORKER, run_id=guarded.scene.run_id)
    before = contents(guarded)
    assert "another workflow" in assert_error(tell(guarded, other.attempt, token), 403).message
    assert_error(tell(guarded, guarded.scene.attempt, guarded.token(STRANGER)), 403)
    assert_error(tell(guarded, guarded.scene.attempt, guarded.token("olga", UserRole.OBSERVER)), 403)
    assert_error(tell(guarded, 10**9, token), 404)
    after = contents(guarded)
    del before["access_token"], after["access_token"]
    assert after == before
    for good in (token, guarded.token(OWNER), guarded.token("root", UserRole.ADMIN)):
        assert tell(guarded, guarded.scene.attempt, good).json() == {"status": "R", "is_live": True}


@pytest.mark.sqlite
def test_a_wrappers_token_opens_nothing_else(guarded: Guarded) -> None:
    """No other route, and nothing beside them."""
    token = guarded.token(OWNER, UserRole.WORKER, run_id=guarded.scene.run_id)
    before = contents(guarded)
    for name in NAMES:
        if name != EVENT:
            assert "reports of attempts only" in assert_error(guarded.ask(name, token), 403).message, name
    for path in BESIDE:
        assert_error(guarded.client.get(path, headers={"Authorization": f"Bearer {token}"}), 403)
    assert contents(guarded) == before


@pytest.mark.sqlite
def test_attempts_that_a_later_run_adopted_are_still_the_wrappers(guarded: Guarded) -> None:
    """The token is of the workflow's, not of the one run's attempts."""
    with guarded.database.read() as connection:
        waiting = guarded.scene.waiting_run_id
        its_workflow = connection.scalar(select(WorkflowRun.workflow_id).where(WorkflowRun.id == waiting))
    assert its_workflow != guarded.scene.workflow.workflow_id
    table: Any = WorkflowRun.__table__
    with guarded.database.write() as connection:  # an earlier run of the workflow that runs
        changed = table.update().where(table.c.id == waiting)
        connection.execute(changed.values(workflow_id=guarded.scene.workflow.workflow_id, status="T"))
    token = guarded.token(OWNER, UserRole.WORKER, run_id=waiting)
    assert tell(guarded, guarded.scene.attempt, token).status_code == 200


@pytest.mark.sqlite
def test_a_controller_gives_its_wrappers_a_token_the_server_never_saw(guarded: Guarded) -> None:
    """It says the hash; for something else the same hash cannot be used, and no other kind of text."""
    made, path = new_token(), f"{PREFIX}/swarm/workflow_run/{guarded.scene.run_id}/worker_token"
    headers = {"Authorization": f"Bearer {guarded.token(OWNER)}"}

    def send(where: str, text: str) -> Any:
        return guarded.client.post(
            where, content=msgspec.json.encode(WorkerTokenRequest(text)), headers=headers
        )

    assert send(path, token_hash(made)).json() == {"lifetime_seconds": 30 * 86_400}
    assert tell(guarded, guarded.scene.attempt, made).status_code == 200
    elsewhere = path.replace(str(guarded.scene.run_id), str(guarded.scene.waiting_run_id))
    assert "something else" in assert_error(send(elsewhere, token_hash(made)), 403).message
    for text in ("", "x", made, token_hash(made).upper()):
        assert_error(send(path, text), 400)


# -- a token's life -----------------------------------------------------------------------------------------
@pytest.mark.sqlite
def test_only_hashes_of_tokens_are_kept(guarded: Guarded) -> None:
    """Nowhere in the database is the token."""
    token = guarded.token(OWNER)
    assert token not in str(contents(guarded))
    with guarded.database.read() as connection:
        assert connection.scalar(select(AccessToken.token_hash)) == token_hash(token)


class Asked:
    """A verifier with a clock of its own, and the number of questions it asks the database."""

    def __init__(self, database: Database) -> None:
        self.now, self.num_questions = 0.0, 0
        self.verifier = TokenVerifier(database, lambda: self.now)
        look = self.verifier._look

        def counting(key: str) -> Identity | None:
            self.num_questions += 1
            return look(key)

        self.verifier._look = counting  # type: ignore[method-assign]

    def users(self, *tokens: str) -> list[str | None]:
        """As whom tokens are known that are shown at the same moment."""

        async def ask() -> list[Identity | None]:
            return await asyncio.gather(*map(self.verifier.identity, tokens))

        return [None if each is None else each.user for each in asyncio.run(ask())]


@pytest.mark.sqlite
def test_a_token_is_asked_for_once_in_a_while(guarded: Guarded) -> None:
    """However many requests show it; what cannot be one is not asked for at all."""
    asked, token = Asked(guarded.database), guarded.token(OWNER)
    assert asked.users(*[token] * 50) == [OWNER] * 50
    assert asked.users(token, "sesame", "jobmon_" + "x" * 300) == [OWNER, None, None]
    assert asked.num_questions == 1
    asked.now += verifying.TTL_SECONDS
    assert asked.users(token) == [OWNER]
    assert asked.num_questions == 2


def test_a_token_that_is_revoked_is_refused_within_seconds(guarded: Guarded) -> None:
    """No later than it was remembered; one that was unknown is known as soon."""
    asked, token = Asked(guarded.database), guarded.token(OWNER)
    assert asked.users(token) == [OWNER]
    with guarded.database.write() as connection:
        (token_id,) = connection.scalars(select(AccessToken.id))
        assert tokens_revoke(connection, [token_id, token_id], dialect.utcnow(connection)) == 1
        assert tokens_revoke(connection, [token_id], dialect.utcnow(connection)) == 0
    asked.now += verifying.TTL_SECONDS - 0.01
    assert asked.users(token) == [OWNER]
    asked.now += 0.02
    assert asked.users(token) == [None]
    assert verifying.TTL_SECONDS <= 10


@pytest.mark.sqlite
def test_what_is_remembered_of_tokens_is_bounded(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever tries many wrong ones fills no memory."""
    monkeypatch.setattr(verifying, "MAX_REMEMBERED", 3)
    asked = Asked(guarded.database)
    assert asked.users(*[new_token() for _ in range(20)]) == [None] * 20
    assert len(asked.verifier._known) == 3
    assert not asked.verifier._asked


@pytest.mark.sqlite
def test_a_database_that_cannot_be_asked_is_told_of(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the one shape, as something that passes; nothing is remembered of it."""
    token, name = guarded.token(OWNER), "GET /monitor/workflow_status"

    def fail(*_: object) -> None:
        raise OperationalError("SELECT", {}, ConnectionError("gone"), connection_invalidated=True)

    with monkeypatch.context() as patch:
        patch.setattr(verifying, "token_identity", fail)
        assert_error(guarded.ask(name, token), 503)
    assert guarded.ask(name, token).status_code == 200


@pytest.mark.sqlite
def test_a_controllers_requests_do_not_ask_whose_a_workflow_is_each_time(guarded: Guarded) -> None:
    """That never changes; neither do events of attempts."""
    heartbeat = "POST /swarm/workflow_run/{workflow_run_id}/heartbeat"
    owner = guarded.token(OWNER)
    worker = guarded.token(OWNER, UserRole.WORKER, run_id=guarded.scene.run_id)
    assert guarded.ask(heartbeat, owner).status_code == guarded.ask(EVENT, worker).status_code == 200
    statements: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    event.listen(guarded.database.engine, "before_cursor_execute", note)
    assert guarded.ask(heartbeat, owner).status_code == guarded.ask(EVENT, worker).status_code == 200
    event.remove(guarded.database.engine, "before_cursor_execute", note)
    assert statements
    assert not [each for each in statements if "owner" in each or "access_token" in each]


def test_times_of_tokens_are_the_databases(database: Database) -> None:
    """A token is good until the moment it expires, by the clock by which it was made."""
    from jobmon.server.web.store.tokens import token_identity

    now = datetime(2030, 1, 1)  # noqa: DTZ001 - as the database has them
    with database.write() as connection:
        kept = token_create(
            connection,
            token_hash("x"),
            user=OWNER,
            role=UserRole.OBSERVER,
            label="a" * 300,
            now=now,
            expires_at=now + timedelta(days=1),
        )
        assert kept
        later = now + timedelta(days=1)
        assert token_identity(connection, token_hash("x"), now) == Identity(OWNER, UserRole.OBSERVER)
        assert token_identity(connection, token_hash("x"), later - timedelta(seconds=1)) is not None
        assert token_identity(connection, token_hash("x"), later) is None


def test_a_value_that_fits_no_column_harms_nobody_else(guarded: Guarded) -> None:
    """Events that share its transaction are stored; its sender is told that it is at fault."""
    database = guarded.database
    with database.write() as connection:
        now = dialect.utcnow(connection)
        made = workflow_make(connection, [[]] * 6, now=now, name="many")
        run_id = run_make(connection, made.workflow_id, now=now)
        attempts = attempts_make(connection, made, run_id, range(6), batch_num=1, now=now)
    bad = {attempts[1]: {"process_group_id": 10**30}, attempts[4]: {"next_report_increment": 1e300}}
    events = [InstanceEvent(i, TaskInstanceEvent.START, **bad.get(i, {})) for i in attempts]  # type: ignore[arg-type]

    async def submit() -> list[Any]:
        intake = GroupCommit(database, lambda _: None, 3)
        return await asyncio.gather(*map(intake.submit, events), return_exceptions=True)

    answers = dict(zip(attempts, asyncio.run(submit()), strict=True))
    assert {i for i, answer in answers.items() if is_fault_of_values(answer)} == set(bad)
    assert [answers[i].status for i in attempts if i not in bad] == ["R"] * 4
