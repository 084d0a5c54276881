"""The client's end of HTTP: what is tried again, what is not, and what is said."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from jobmon.core import __version__, exceptions
from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import (
    ConfigError,
    InvalidRequest,
    InvalidResponse,
    NotFoundError,
    RetryBudgetExhausted,
)
from jobmon.core.requester import Address, Requester


class Answer(msgspec.Struct):
    value: int


@dataclass
class Reply:
    status_code: int = 200
    content: bytes = b'{"value":1}'
    headers: Mapping[str, str] = field(default_factory=dict, hash=False, repr=False)


class Scripted:
    """An HTTP client that answers what it is told to, one by one; the last again and again."""

    def __init__(self, *replies: Reply | Exception) -> None:
        self.replies = list(replies)
        self.requests: list[tuple[str, str, bytes | None, Mapping[str, str]]] = []
        self.params: Any = None
        self.is_closed = False

    def request(
        self,
        method: str,
        url: str,
        *,
        content: bytes | None = None,
        params: Any = None,
        headers: Any = None,
        timeout: float | None = None,
    ) -> Reply:
        self.requests.append((method, url, content, headers))
        self.params = params
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if isinstance(reply, Exception):
            raise reply
        return reply

    def close(self) -> None:
        self.is_closed = True


def make(*replies: Reply | Exception, attempts: int = 4, **more: Any) -> tuple[Requester, Scripted]:
    client = Scripted(*replies)
    return Requester("http://s/api/v3/", client=client, retries_attempts=attempts, **more), client


def error(status: int, name: str, message: str = "wrong", hint: str = "") -> Reply:
    body = {"error": name, "message": message, "hint": hint, "request_id": "r"}
    return Reply(status, json.dumps(body).encode())


def test_who_waits_is_told_for_what(caplog: pytest.LogCaptureFixture) -> None:
    """Once, and only when the second try was in vain too."""
    requester, _ = make(httpx.ConnectError("refused"), Reply())
    requester.send("GET", "/x", None, Answer)
    assert not caplog.records
    requester, _ = make(httpx.ConnectError("refused"), attempts=9)
    with pytest.raises(RetryBudgetExhausted):
        requester.send("GET", "/x", None, Answer)
    assert [each.getMessage() for each in caplog.records] == [
        "No answer from the Jobmon server at http://s/api/v3 (ConnectError: refused); trying again for up to 300 s."
    ]


def test_an_address_without_a_scheme_is_refused_at_once() -> None:
    config = JobmonConfig(dict_config={"http": {"service_url": "jobmon.example.org:80"}})
    with pytest.raises(ConfigError, match=r"http\.service_url is 'jobmon\.example\.org:80'"):
        Requester.from_defaults(config)


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between tries, not slept."""
    slept: list[float] = []
    monkeypatch.setattr("tenacity.nap.time.sleep", slept.append)
    return slept


@pytest.mark.parametrize(
    "failure",
    [
        Reply(500),
        Reply(502),
        Reply(503),
        Reply(423),
        Reply(429),
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
        httpx.RemoteProtocolError("cut off"),
    ],
    ids=str,
)
def test_what_may_have_failed_on_the_way_is_tried_again(failure: Reply | Exception) -> None:
    """The same request, with the same id: the server's log tells that it is one."""
    requester, client = make(failure, failure, Reply())
    assert requester.send("POST", "/x", Answer(5), Answer) == Answer(1)
    assert len(client.requests) == 3
    assert {content for _, _, content, _ in client.requests} == {b'{"value":5}'}
    assert len({headers["X-Request-ID"] for *_, headers in client.requests}) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422])
def test_the_callers_fault_raises_at_once(status: int) -> None:
    """Once is enough."""
    requester, client = make(error(status, "UsageError"))
    with pytest.raises(exceptions.UsageError, match="wrong"):
        requester.send("GET", "/x", None, Answer)
    assert len(client.requests) == 1


def test_the_servers_error_comes_as_the_class_it_named() -> None:
    """With message and hint."""
    requester, _ = make(error(404, "NotFoundError", "There is no workflow 5.", "Look again."))
    with pytest.raises(NotFoundError, match=r"There is no workflow 5\. Look again\."):
        requester.send("GET", "/x", None, Answer)


@pytest.mark.parametrize(
    "name", ["NoSuchError", "annotations", "ReturnCodes", "InvalidStateTransition", "__name__"]
)
def test_names_that_are_no_errors_of_ours_become_invalid_requests(name: str) -> None:
    """A newer server may know more of them; nothing else can be named."""
    requester, _ = make(error(409, name, "from afar"))
    with pytest.raises(InvalidRequest, match="from afar"):
        requester.send("GET", "/x", None, Answer)


def test_an_error_that_is_no_json_is_shown() -> None:
    """A proxy between may have said it."""
    requester, _ = make(Reply(413, b"<html>too large</html>"))
    with pytest.raises(InvalidRequest, match="/x: HTTP 413: <html>too large"):
        requester.send("GET", "/x", None, Answer)


def test_the_end_of_the_budget_says_what_was_tried() -> None:
    """The words scripts know, the last reason, and what to look at."""
    requester, client = make(httpx.ConnectError("refused"), attempts=3)
    with pytest.raises(RetryBudgetExhausted, match="Exceeded HTTP request retry budget") as caught:
        requester.send("GET", "/monitor/x", None, Answer)
    assert len(client.requests) == 3
    for words in ("/monitor/x", "ConnectError: refused", "http.service_url"):
        assert words in str(caught.value)
    assert isinstance(caught.value, RuntimeError)


def test_the_budget_of_time_ends_it_too() -> None:
    """Whatever the number of tries."""
    requester, client = make(Reply(503), attempts=10**6, retries_timeout=0)
    with pytest.raises(RetryBudgetExhausted, match="HTTP 503"):
        requester.send("GET", "/x", None, Answer)
    assert len(client.requests) < 10


def test_pauses_grow_and_stay_bounded(pauses: list[float]) -> None:
    """So that many clients do not come all at once."""
    requester, _ = make(Reply(503), attempts=12)
    with pytest.raises(RetryBudgetExhausted):
        requester.send("GET", "/x", None, Answer)
    assert len(pauses) == 10  # the second try comes at once
    assert max(pauses) <= 31
    assert sum(pauses[-3:]) > sum(pauses[:3])


def test_without_tenacity_once_is_enough() -> None:
    """For what is not worth waiting for."""
    requester, client = make(Reply(503))
    with pytest.raises(exceptions.JobmonError):
        requester.send("GET", "/x", None, Answer, tenacious=False)
    assert len(client.requests) == 1


def test_errors_of_the_program_are_not_tried_again() -> None:
    """Only what comes from the way."""
    requester, client = make(ZeroDivisionError("ours"))
    with pytest.raises(ZeroDivisionError):
        requester.send("GET", "/x", None, Answer)
    assert len(client.requests) == 1


@pytest.mark.parametrize("content", [b"", b"<html>", b'{"value": "text"}', b"{}"])
def test_an_answer_that_is_not_understood_is_an_error(content: bytes) -> None:
    """Never a wrong value."""
    requester, _ = make(Reply(200, content))
    with pytest.raises(InvalidResponse, match="same version"):
        requester.send("GET", "/x", None, Answer)


def test_every_request_says_who_asks() -> None:
    """User, version and token."""
    requester, client = make(Reply(), token="secret")
    requester.send("get", "/x", None, Answer, params={"a": 1})
    method, url, content, headers = client.requests[0]
    assert (method, url, content) == ("GET", "http://s/api/v3/x", None)
    assert client.params == {"a": 1, "client_jobmon_version": __version__}
    assert headers["Authorization"] == "Bearer secret"
    assert headers["X-Jobmon-User"]
    assert headers["X-Jobmon-Version"]


def counting(*addresses: Address) -> tuple[Callable[[], Address], list[Address]]:
    asked: list[Address] = []

    def locate() -> Address:
        asked.append(addresses[min(len(asked), len(addresses) - 1)])
        return asked[-1]

    return locate, asked


@pytest.mark.parametrize("failure", [httpx.ConnectError("refused"), Reply(401)], ids=str)
def test_a_local_server_that_was_replaced_is_found_again(failure: Reply | Exception) -> None:
    """It listens elsewhere and has another token."""
    locate, asked = counting(Address("http://old", "a"), Address("http://new", "b"))
    client = Scripted(failure, Reply())
    requester = Requester("", client=client, locate=locate)
    requester.send("GET", "/x", None, Answer)
    requester.send("GET", "/x", None, Answer)
    assert [url for _, url, _, _ in client.requests] == ["http://old/x", "http://new/x", "http://new/x"]
    assert client.requests[1][3]["Authorization"] == "Bearer b"
    assert len(asked) == 2


def test_without_an_address_there_is_nobody_to_ask() -> None:
    """A mistake of configuration."""
    with pytest.raises(ConfigError, match=r"http\.service_url"):
        Requester("").send("GET", "/x", None, Answer)


def test_requests_by_dictionary_as_plugins_make_them() -> None:
    """A GET's message is its query."""
    requester, client = make(Reply(200, b'{"a": 1}'))
    assert requester.send_request("/x", {"q": 1}, "get") == (200, {"a": 1})
    assert (client.requests[0][2], client.params["q"]) == (None, 1)
    assert requester.send_request("/x", {"b": 2}, "post") == (200, {"a": 1})
    assert client.requests[1][2] == b'{"b":2}'
    assert asyncio.run(requester.send_request_async(None, "/x", {"c": 3}, "put")) == (200, {"a": 1})
    assert client.requests[2][0] == "PUT"


def test_a_plugin_hears_of_every_refusal_as_one_class() -> None:
    """Or gets the status, when it does not insist."""
    requester, _ = make(error(404, "NotFoundError", "There is no task 5."))
    with pytest.raises(InvalidRequest, match="There is no task 5"):
        requester.send_request("/x", {}, "get")
    status, body = requester.send_request("/x", {}, "get", tenacious=False)
    assert (status, body["error"]) == (404, "NotFoundError")


def test_closing_closes_the_connections() -> None:
    """The next request opens new ones."""
    requester, client = make(Reply())
    requester.close()
    requester.close()
    assert client.is_closed


def test_the_configuration_names_server_and_token(tmp_path: Path) -> None:
    """The token comes from the environment or a file; one that is missing or that others can read is an error."""
    token_file = tmp_path / "token"
    token_file.write_text("abc\n")
    token_file.chmod(0o600)
    settings = {"service_url": "http://host:1/", "token_file": str(tmp_path / "token"), "retries_attempts": 2}
    requester = Requester.from_defaults(JobmonConfig(dict_config={"http": settings}))
    assert requester.url == "http://host:1/api/v3"
    assert requester.retries_attempts == 2
    assert requester.fixed_address == Address("http://host:1/api/v3", "abc")
    both = Requester.from_defaults(JobmonConfig(dict_config={"http": {**settings, "token": "said"}}))
    assert both.fixed_address == Address("http://host:1/api/v3", "said")
    token_file.chmod(0o640)
    with pytest.raises(ConfigError, match=f"chmod 600 {token_file}"):
        Requester.from_defaults(JobmonConfig(dict_config={"http": settings}))
    settings["token_file"] = str(tmp_path / "missing")
    with pytest.raises(ConfigError, match="missing cannot be read"):
        Requester.from_defaults(JobmonConfig(dict_config={"http": settings}))
