"""Servers of each role with database users that may do no more than the role needs (``deploy/database-users``).

On MariaDB and PostgreSQL the users are made with the very statements that are there; SQLite has no users, but has roles.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fastapi import FastAPI
from sqlalchemy import NullPool, create_engine, make_url, select
from sqlalchemy.exc import DBAPIError
from starlette.testclient import TestClient
from test_every_route import CASES, PREFIX, ROUTES, USER, Scene, filled, make_scene

from databases import Backend, administrator
from jobmon.core.configuration import JobmonConfig
from jobmon.server.web.api import get_app
from jobmon.server.web.models import Workflow
from jobmon.server.web.roles import Role, only_reads, serves

STATEMENTS = Path(__file__).parents[2] / "deploy" / "database-users"
READING = [f"{route.method} {path}" for path, route in ROUTES if only_reads(route.method, path)]
WRITING = [f"{route.method} {path}" for path, route in ROUTES if not only_reads(route.method, path)]
ROUTE_OF = {f"{route.method} {path}": (path, route) for path, route in ROUTES}
_NOT_QUESTIONS = {"context", "message"}


@contextmanager
def users(uri: str, backend: Backend) -> Iterator[dict[Role, str]]:
    """The users of a database, as URIs by role; dropped afterwards."""
    if backend is Backend.SQLITE:
        yield dict.fromkeys(Role, uri)
        return
    url = make_url(uri)
    names = {role: f"jobmon_{role}_{os.getpid()}" for role in (Role.STATE, Role.QUERY)}
    script = (STATEMENTS / f"{backend}.sql").read_text()
    for role, name in names.items():
        script = script.replace(f"jobmon_{role}", name)
    script = re.sub(r"\bjobmon\.", f"{url.database}.", script)
    script = script.replace("DATABASE jobmon", f"DATABASE {url.database}")
    statements = [part for part in re.sub(r"--.*", "", script).split(";") if part.strip()]
    engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement.replace("%", "%%"))
        yield {
            role: url.set(username=name, password="change-me").render_as_string(hide_password=False)
            for role, name in names.items()
        }
    finally:
        with engine.connect() as connection:
            for name in names.values():
                if backend is Backend.POSTGRESQL:
                    connection.exec_driver_sql(f"DROP OWNED BY {name}")
        with administrator(backend) as connection:
            for name in names.values():
                connection.exec_driver_sql(f"DROP {'USER' if backend is Backend.MARIADB else 'ROLE'} {name}")


@pytest.fixture
def scene(app: FastAPI) -> Scene:
    """A workflow that runs, one that rests, one that waits."""
    return make_scene(app.state.jobmon.database)


@pytest.fixture
def user_uris(database_uri: str, backend: Backend) -> Iterator[dict[Role, str]]:
    """URIs of the users of this test's database."""
    with users(database_uri, backend) as uris:
        yield uris


@contextmanager
def server(config: JobmonConfig, role: Role, uri: str) -> Iterator[TestClient]:
    """A server of a role that knows nothing but this user."""
    own = JobmonConfig(dict_config={"db": {"sqlalchemy_database_uri": "sqlite://"}})
    own = config if role is not Role.QUERY else own
    key = "query_sqlalchemy_database_uri" if role is Role.QUERY else "sqlalchemy_database_uri"
    own.set("db", key, uri)
    own.set("reaper", "enabled", False)
    app = get_app(own, role=role)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def ids_of(scene: Scene) -> dict[str, object]:
    """What to fill into the paths and questions of routes."""
    workflow = scene.workflow
    return {
        "workflow_id": workflow.workflow_id,
        "task_id": workflow.task_ids[0],
        "workflow_run_id": scene.run_id,
        "tool_id": scene.tool_id,
        "tool_version_id": workflow.tool_version_id,
        "task_template_id": scene.template_id,
        "task_template_version_id": workflow.task_template_version_id,
        "cluster_name": "dummy",
        "name": "dummy",
    }


def ask(client: TestClient, name: str, scene: Scene) -> Any:
    """Ask a route a question that it has an answer to."""
    path, route = ROUTE_OF[name]
    if name in CASES:
        value, message = CASES[name](scene)
        content = None if message is None else msgspec.json.encode(message)
        return client.request(route.method, PREFIX + filled(path, value), content=content, headers=USER)
    ids = ids_of(scene)
    questions = {
        parameter.name: ids.get(parameter.name, "1")
        for parameter in inspect.signature(route.function).parameters.values()
        if parameter.name not in _NOT_QUESTIONS and parameter.default is inspect.Parameter.empty
    }
    path = re.sub(r"\{(\w+)\}", lambda found: str(questions.pop(found[1])), path)
    return client.request(route.method, PREFIX + path, params=questions, headers=USER)


def test_a_query_server_answers_every_question(
    app: FastAPI, scene: Scene, config: JobmonConfig, user_uris: dict[Role, str]
) -> None:
    """With a user that may do nothing but SELECT, as a server of all roles does."""
    with TestClient(app) as everything, server(config, Role.QUERY, user_uris[Role.QUERY]) as questions:
        for name in READING:
            answer = ask(questions, name, scene)
            assert answer.status_code == 200, (name, answer.text)
            same = ask(everything, name, scene)
            assert answer.json().keys() == same.json().keys(), name
        for path in ("/", "/health", "/time", "/ready"):
            assert questions.get(path).status_code == 200, path


def test_a_query_server_changes_nothing(
    scene: Scene, config: JobmonConfig, user_uris: dict[Role, str]
) -> None:
    """Every route that would is refused, and it is said where to go."""
    with server(config, Role.QUERY, user_uris[Role.QUERY]) as questions:
        for name in WRITING:
            answer = ask(questions, name, scene)
            assert answer.status_code == 405, (name, answer.text)
            assert "role state or all" in answer.json()["hint"]
        paths = questions.get("/api/openapi.json").json()["paths"]
        assert not {f"{PREFIX}{ROUTE_OF[name][0]}" for name in WRITING} & {
            path for path, operations in paths.items() if set(operations) != {"get"}
        }


def test_a_state_server_changes_what_it_is_asked_to(
    app: FastAPI, config: JobmonConfig, user_uris: dict[Role, str]
) -> None:
    """With a user that may not create, alter or drop anything, and delete hardly anything."""
    with server(config, Role.STATE, user_uris[Role.STATE]) as state:
        for number, name in enumerate(WRITING):
            path, _ = ROUTE_OF[name]
            if number == 0 or path.startswith(("/swarm/", "/monitor/")):  # which may end what another needs
                scene = make_scene(app.state.jobmon.database, str(number))
            answer = ask(state, name, scene)
            assert answer.status_code == 200, (name, answer.text)


def test_a_state_server_answers_what_scripts_and_controllers_ask(
    scene: Scene, config: JobmonConfig, user_uris: dict[Role, str]
) -> None:
    """But not what people ask."""
    with server(config, Role.STATE, user_uris[Role.STATE]) as state:
        for name in READING:
            path, route = ROUTE_OF[name]
            answer = ask(state, name, scene)
            if serves(Role.STATE, route.method, path):
                assert answer.status_code == 200, (name, answer.text)
            else:
                assert path.startswith("/monitor/"), name
                assert answer.status_code == 404
                assert "role query" in answer.json()["hint"]


def test_the_users_may_do_no_more(scene: Scene, backend: Backend, user_uris: dict[Role, str]) -> None:
    """The one for questions cannot write, the one for changes cannot delete a workflow or change a table."""
    if backend is Backend.SQLITE:
        return  # it has no users
    for role, statements in {
        Role.QUERY: ["UPDATE workflow SET name = 'x'", "CREATE TABLE mine (id INT)"],
        Role.STATE: ["DELETE FROM workflow", "ALTER TABLE workflow ADD COLUMN mine INT", "DROP TABLE dag"],
    }.items():
        engine = create_engine(user_uris[role], poolclass=NullPool)
        for statement in statements:
            with engine.connect() as connection, pytest.raises(DBAPIError, match=r"denied|must be owner"):
                connection.exec_driver_sql(statement)
        with engine.connect() as connection:
            assert connection.scalar(select(Workflow.id).limit(1))
