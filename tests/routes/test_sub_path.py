"""Below a path: whether the proxy takes it off or not."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from jobmon.core.exceptions import ConfigError
from jobmon.server.web.sub_path import SubPath, below


def tell(request: Request) -> JSONResponse:
    return JSONResponse([request.scope["path"], str(request.url_for("tell", word="w").path)])


APP = Starlette(routes=[Route("/", tell, name="root"), Route("/api/{word}", tell, name="tell")])


@pytest.mark.parametrize(
    ("asked", "seen"),
    [
        ("/jobmon/api/x", "/api/x"),
        ("/api/x", "/api/x"),
        ("/jobmon/", "/"),
        ("/jobmon", "/"),
        ("/", "/"),
    ],
)
def test_the_application_sees_its_own_path(asked: str, seen: str) -> None:
    """And makes links that begin with the proxy's."""
    client = TestClient(below(APP, "/jobmon/", "/api/v3"))
    assert client.get(asked).json() == [seen, "/jobmon/api/w"]


def test_a_path_that_only_begins_alike_is_another() -> None:
    assert TestClient(below(APP, "/job", "/api/v3")).get("/jobmon/api/x").status_code == 404


@pytest.mark.parametrize("path", ["jobmon", "/api", "/api/v3", "https://x"])
def test_paths_that_cannot_be_told_from_the_servers_own_are_refused(path: str) -> None:
    with pytest.raises(ConfigError, match=r"server\.root_path"):
        below(APP, path, "/api/v3")


def test_without_a_path_nothing_stands_between() -> None:
    assert below(APP, "", "/api/v3") is APP
    assert isinstance(below(APP, "/x", "/api/v3"), SubPath)
