"""How browsers get in, and who may press what: every page and every action, without, with wrong, and with others' credentials."""

from __future__ import annotations

import getpass
import re
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from fastapi import FastAPI
from page_visitor import Made, PageVisitor, make_workflows, text_of
from sqlalchemy import select
from starlette.testclient import TestClient

from jobmon.core.access_token import new_token, token_hash
from jobmon.core.configuration import JobmonConfig
from jobmon.core.ui_link import make_ticket
from jobmon.server.web import dialect, gate
from jobmon.server.web.api import get_app
from jobmon.server.web.auth import verifier
from jobmon.server.web.auth.settings import AuthMode
from jobmon.server.web.database import Database
from jobmon.server.web.identity import Access, Identity, UserRole
from jobmon.server.web.models import WorkflowRun
from jobmon.server.web.roles import Role
from jobmon.server.web.store.tokens import token_create, user_revoke_tokens
from jobmon.server.web.sub_path import below
from jobmon.server.web.ui import browser
from jobmon.server.web.ui.page_router import PageRoute
from jobmon.server.web.ui.pages import all_pages

TOKEN = "owner-token-of-the-local-server"
ROUTES = [route for router in all_pages() for route in router.routes]
ACTIONS = [route for route in ROUTES if route.act is not None]
MakeApp = Callable[..., FastAPI]


def filled(route: PageRoute, made: Made) -> str:
    """The path of a page, about things there are."""
    values = {
        "workflow_id": made.workflow.workflow_id,
        "array_id": made.workflow.array_id,
        "task_id": made.workflow.task_ids[0],
        "name": "dummy",
    }
    path = route.path
    for name, value in values.items():
        path = path.replace(f"{{{name}}}", str(value))
    return re.sub(r"{\w+}", "1", path)


@pytest.fixture
def make_app(config: JobmonConfig) -> Iterator[MakeApp]:
    """Make a server of some kind over the database."""
    made: list[FastAPI] = []

    def make(mode: str = "", **options: Any) -> FastAPI:
        if mode:
            config.set("auth", "mode", mode)
        app = get_app(config, **options)
        made.append(app)
        return app

    yield make
    for app in made:
        app.state.jobmon.database.dispose()


def visitor(app: Any, url: str = "http://testserver") -> PageVisitor:
    return PageVisitor(TestClient(app, base_url=url, follow_redirects=False, raise_server_exceptions=False))


def database_of(app: FastAPI) -> Database:
    database: Database = app.state.jobmon.database
    return database


def token_for(app: FastAPI, user: str, role: UserRole = UserRole.USER, seconds: float = 3600) -> str:
    made = new_token()
    with database_of(app).write() as connection:
        now = dialect.utcnow(connection)
        token_create(
            connection,
            token_hash(made),
            user=user,
            role=role,
            label="",
            now=now,
            expires_at=now + timedelta(seconds=seconds),
        )
    return made


def enter(person: PageVisitor, ticket: str, to: str = "/ui/help") -> Any:
    return person.get(f"/enter?to={quote(to)}&ticket={ticket}")


def cookies_of(answer: Any) -> list[str]:
    return [str(each) for each in answer.headers.get_list("set-cookie")]


def run_status(app: FastAPI, run_id: int) -> str:
    with database_of(app).read() as connection:
        return str(connection.scalar(select(WorkflowRun.status).where(WorkflowRun.id == run_id)))


# -- the local server -----------------------------------------------------------------------------------
@pytest.fixture
def local(make_app: MakeApp) -> FastAPI:
    return make_app(token=TOKEN)


def test_a_link_lets_in_once_and_its_session_stays(local: FastAPI) -> None:
    """The second who opens it is asked to fetch one of their own; who is in already may open it again."""
    ticket = make_ticket(TOKEN, time.time())
    first, second = visitor(local), visitor(local)
    answer = enter(first, ticket)
    assert (answer.status_code, answer.headers["location"]) == (303, "/ui/help")
    (session,) = [each for each in cookies_of(answer) if "session=" in each]
    assert "HttpOnly" in session
    assert "SameSite=Lax" in session
    assert "Path=/ui;" in session
    assert ticket not in session
    assert getpass.getuser() in first.get("/help").text
    assert enter(first, ticket).status_code == 303
    refused = enter(second, ticket)
    assert refused.status_code == 403
    assert "used before or is too old" in text_of(refused)
    assert "jobmon ui" in text_of(refused)
    assert second.get("/help").status_code == 303


@pytest.mark.parametrize(
    "ticket",
    [
        "",
        "x",
        "1.2.3",
        make_ticket(TOKEN, time.time() - 10**6),
        make_ticket("another token", time.time()),
        make_ticket(TOKEN, time.time())[:-1] + "g",
        f"{10**11}.x.{'0' * 40}",
        "9" * 5000,
    ],
    ids=["none", "word", "dots", "expired", "of another token", "forged", "long-lived", "long"],
)
def test_no_other_link_lets_in(local: FastAPI, ticket: str) -> None:
    person = visitor(local)
    answer = enter(person, ticket)
    assert answer.status_code == 403
    assert not [each for each in cookies_of(answer) if "session=" in each]
    assert person.get("/help").status_code == 303


@pytest.mark.parametrize(
    "to",
    ["https://evil.example/", "//evil.example", "/ui//evil.example", "/ui/\\evil", "/api/docs", "/ui/\nx"],
)
def test_a_link_leads_nowhere_else(local: FastAPI, to: str) -> None:
    answer = enter(visitor(local), make_ticket(TOKEN, time.time()), to)
    assert (answer.status_code, answer.headers["location"]) == (303, "/ui/")


def test_the_session_opens_pages_and_nothing_of_the_api(local: FastAPI) -> None:
    """A cookie is no bearer token; the bearer token opens both; signing out ends it for good."""
    person = visitor(local)
    enter(person, make_ticket(TOKEN, time.time()))
    kept = dict(person.client.cookies)
    assert person.client.get("/api/v3/time").status_code == 401
    session = person.client.cookies["jobmon_session"]
    cookie = {"Cookie": f"jobmon_session={session}"}
    assert person.client.get("/api/v3/time", headers=cookie).status_code == 401
    assert (
        visitor(local).client.get("/ui/help", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    )
    assert person.client.post("/ui/sign-out", data={"csrf": person.csrf}).status_code == 303
    again = visitor(local)
    for name, value in kept.items():
        again.client.cookies.set(name, value, path="/ui")
    assert again.get("/help").status_code == 303


def test_cookies_are_of_their_port_and_of_https(local: FastAPI) -> None:
    """Two servers on one host do not take each other's cookies."""
    person = visitor(local, "https://host.example:4433")
    answer = enter(person, make_ticket(TOKEN, time.time()))
    (session,) = [each for each in cookies_of(answer) if "session=" in each]
    assert session.startswith("jobmon_4433_session=")
    assert session.endswith("; Secure")


# -- tokens ---------------------------------------------------------------------------------------------
def test_a_token_is_typed_once_and_worth_nothing_when_it_is_revoked(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verifier, "TTL_SECONDS", 0.0)
    app = make_app("token")
    token = token_for(app, "ada")
    person = visitor(app)
    assert person.get("/help?x=1").headers["location"] == "/ui/sign-in?to=/ui/help%3Fx%3D1"
    answer = person.post("/sign-in?to=/ui/help", {"token": token})
    assert (answer.status_code, answer.headers["location"]) == (303, "/ui/help")
    assert token not in answer.text
    assert "ada" in person.get("/help").text
    with database_of(app).write() as connection:
        user_revoke_tokens(connection, "ada", dialect.utcnow(connection))
    assert person.get("/help").status_code == 303
    assert visitor(app).post("/sign-in", {"token": token}).status_code == 403


@pytest.mark.parametrize("kind", ["empty", "wrong", "expired", "cut", "worker"])
def test_no_other_token_signs_in(make_app: MakeApp, kind: str) -> None:
    app = make_app("token")
    token = {
        "empty": "",
        "wrong": new_token(),
        "expired": token_for(app, "ada", seconds=-1),
        "cut": "a;b",
        "worker": "jobmon_x",
    }[kind]
    answer = visitor(app).post("/sign-in", {"token": token})
    assert answer.status_code == 403
    assert not [each for each in cookies_of(answer) if "_token=" in each]


# -- names, and identity providers ----------------------------------------------------------------------
def test_where_nobody_signs_in_a_name_may_be_said(make_app: MakeApp) -> None:
    app = make_app()
    person = visitor(app)
    assert "Who are you?" in person.get("/help").text
    assert person.post("/sign-in", {"name": "two words"}).status_code == 403
    assert person.post("/sign-in", {"name": "ada"}).status_code == 303
    assert "Sign out" in person.get("/help").text


def test_sessions_of_an_identity_provider_open_the_pages(
    make_app: MakeApp, config: JobmonConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the cookie of the session says is who they are; without it they are led to sign in there."""
    config.set("session", "secret_key", "k" * 40)
    for name in ("conf_url", "client_id", "client_secret"):
        config.set("oidc", name, "https://id.example/" if name == "conf_url" else "x")
    app = make_app("oidc")
    made = make_workflows(database_of(app), user="ada")
    person = visitor(app)
    assert person.get("/help").status_code == 303
    assert "/api/auth/oidc/login" in person.get("/sign-in").text
    for module in (gate, browser):
        monkeypatch.setattr(module, "session_identity", lambda _: Identity("ada", UserRole.USER))
    assert "ada" in person.get("/help").text
    answer = person.post(f"/workflow/{made.workflow.workflow_id}/limit", {"limit": "3"})
    assert answer.status_code == 303


# -- pressed elsewhere ----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("fields", "headers"),
    [
        ({"csrf": ""}, {}),
        ({"csrf": "x" * 32}, {}),
        ({}, {"Origin": "https://evil.example"}),
        ({}, {"Origin": "null"}),
        ({}, {"Sec-Fetch-Site": "cross-site"}),
        ({}, {"Sec-Fetch-Site": "same-site"}),
    ],
)
def test_pages_of_other_sites_press_no_button(
    make_app: MakeApp, fields: dict[str, str], headers: dict[str, str]
) -> None:
    app = make_app()
    made = make_workflows(database_of(app))
    person = visitor(app)
    person.client.cookies.set("jobmon_name", "tester", path="/ui")
    path = f"/workflow/{made.workflow.workflow_id}/drain"
    answer = person.post(path, fields, **headers)
    assert answer.status_code == 403
    assert "was not sent by a page of this server" in text_of(answer)
    assert person.post(path).status_code == 303


# -- everybody, everywhere ------------------------------------------------------------------------------
def test_nothing_is_shown_or_done_without_credentials(make_app: MakeApp) -> None:
    """Every page leads to the sign-in, every action too; a wrong cookie or token is as good as none."""
    app = make_app("token")
    made = make_workflows(database_of(app))
    nobody, liar = visitor(app), visitor(app)
    liar.client.cookies.set("jobmon_token", new_token(), path="/ui")
    wrong = PageVisitor(nobody.client, {"Authorization": "Bearer jobmon_wrong"})
    for route in ROUTES:
        path = filled(route, made)
        for person in (nobody, liar):
            answer = person.get(path)
            assert (answer.status_code, answer.headers.get("location", "")[:11]) == (303, "/ui/sign-in"), path
        assert wrong.get(path).status_code in (303, 401), path
    for route in ACTIONS:
        for person in (nobody, liar, wrong):
            answer = person.client.post(
                f"/ui{filled(route, made)}", data={"csrf": "x"}, headers=person.headers
            )
            assert answer.status_code in (303, 401), route.path
            assert answer.headers.get("location", "/ui/sign-in").startswith("/ui/sign-in")
    assert run_status(app, made.run_id) == "R"


@pytest.mark.parametrize(
    ("role", "reason"),
    [
        (UserRole.USER, "belongs to user tester; user eve may not change it"),
        (UserRole.OBSERVER, "has the role observer, which may look at everything and change nothing"),
    ],
)
def test_others_are_told_why_they_may_not(make_app: MakeApp, role: UserRole, reason: str) -> None:
    """Asked and done: refused with the reason, and nothing has changed."""
    app = make_app("token")
    made = make_workflows(database_of(app))
    eve = visitor(app)
    eve.client.cookies.set("jobmon_token", token_for(app, "eve", role), path="/ui")
    for route in ACTIONS:
        if route.access is not Access.OWNER:
            continue
        path = filled(route, made)
        assert reason in eve.text(path)
        answer = eve.post(path, {"limit": "3", "status": "D"})
        assert answer.status_code == 403, path
        assert reason in text_of(answer)
    assert run_status(app, made.run_id) == "R"


def test_administrators_may(make_app: MakeApp) -> None:
    app = make_app("token")
    made = make_workflows(database_of(app))
    ruth = visitor(app)
    ruth.client.cookies.set("jobmon_token", token_for(app, "ruth", UserRole.ADMIN), path="/ui")
    assert "at most 3 tasks" in ruth.done(f"/workflow/{made.workflow.workflow_id}/limit", limit="3")


def test_a_server_that_only_reads_does_nothing(config: JobmonConfig, make_app: MakeApp) -> None:
    app = make_app()
    made = make_workflows(database_of(app))
    reader = visitor(make_app(role=Role.QUERY))
    reader.client.cookies.set("jobmon_name", "tester", path="/ui")
    for route in ACTIONS:
        path = filled(route, made)
        assert "only reads" in reader.text(path), path
        answer = reader.post(path, {"limit": "3", "status": "D"})
        assert answer.status_code == 403
        assert "only reads" in text_of(answer)
    assert run_status(app, made.run_id) == "R"


# -- the root, and below a path -------------------------------------------------------------------------
def test_the_root_leads_browsers_to_the_pages_and_programs_to_json(make_app: MakeApp, local: FastAPI) -> None:
    app = make_app()
    browser_says = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    for server in (app, local):
        answer = visitor(server).client.get("/", headers=browser_says)
        assert (answer.status_code, answer.headers["location"]) == (307, "/ui/")
    assert visitor(app).client.get("/").json()["docs"] == "/api/docs"
    assert visitor(local).client.get("/").status_code == 401


def test_below_a_path_every_address_has_it(config: JobmonConfig, make_app: MakeApp) -> None:
    config.set("server", "root_path", "/jobmon")
    app = make_app("token")
    made = make_workflows(database_of(app))
    served = below(app, "/jobmon", "/api/v3")
    client = TestClient(served, follow_redirects=False)
    root = client.get("/jobmon/", headers={"Accept": "text/html"})
    assert root.headers["location"] == "/jobmon/ui/"
    away = client.get("/jobmon/ui/help")
    assert away.headers["location"].startswith("/jobmon/ui/sign-in?to=")
    page = client.get(away.headers["location"])
    csrf = next(each.value for each in client.cookies.jar if each.name == "jobmon_csrf")
    answer = client.post(
        "/jobmon/ui/sign-in", data={"csrf": csrf, "token": token_for(app, "tester"), "to": "/ui/help"}
    )
    assert answer.headers["location"] == "/jobmon/ui/help"
    assert "Path=/jobmon/ui;" in cookies_of(answer)[-1]
    help_page = client.get("/jobmon/ui/help")
    assert help_page.status_code == 200
    links = [part.partition('"')[0] for part in help_page.text.split('href="')[1:]]
    assert [link for link in links if not link.startswith(("/jobmon/", "#"))] == []
    asked = f"/jobmon/ui/workflow/{made.workflow.workflow_id}/limit"
    assert client.get(asked).status_code == 200
    done = client.post(asked, data={"csrf": csrf, "limit": "3"})
    assert done.headers["location"] == f"/jobmon/ui/workflow/{made.workflow.workflow_id}"
    assert page.status_code == 200


def test_every_action_asks_for_its_owner_or_for_a_user() -> None:
    """One that changes a workflow names it in its path, where its owner is found."""
    for route in ACTIONS:
        assert route.access in (Access.OWNER, Access.USER), route.path
        if route.access is Access.OWNER:
            assert "{workflow_id}" in route.path or "{task_id}" in route.path
    assert len(ACTIONS) >= 11
    assert AuthMode.NONE in AuthMode
