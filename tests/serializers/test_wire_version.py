"""Versions side by side: what is sent does not change unnoticed, and what older ones send is understood or refused.

``wire/N.json`` holds a sample of each message as version N of the wire has it. The file of the present version must be as
the code has it; the files of older versions that are still understood must decode. After a change that older code
understands (a new field with a default) this writes the file of the present version again; after any other change raise
``WIRE_VERSION`` first, and leave the older file as it is::

    PYTHONPATH=tests python tests/serializers/test_wire_version.py
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient
from test_messages import MESSAGES, example

from jobmon.core import requester as requester_module
from jobmon.core import wire_version
from jobmon.core.exceptions import WireVersionMismatch
from jobmon.core.requester import Requester
from jobmon.core.wire_version import (
    OLDEST_HEADER,
    OLDEST_WIRE_VERSION,
    OWN_RANGE,
    WIRE_HEADER,
    WIRE_VERSION,
    misunderstanding,
    spoken_range,
)
from jobmon.serializers.define import ClustersResponse
from jobmon.server.web.routes import all_routers
from jobmon.worker_node.wire import WIRE_LINES

SAMPLES = Path(__file__).with_name("wire")
KINDS = {kind.__name__: kind for kind in MESSAGES}
ON_THE_WIRE = {
    kind.__name__: kind
    for router in all_routers()
    for route in router.routes
    for kind in (route.request_type, route.response_type)
    if kind is not None and hasattr(kind, "__struct_fields__")
}


def samples() -> dict[str, Any]:
    """A sample of each message that is sent, as the code has it now."""
    return {
        name: msgspec.to_builtins(example(kind), str_keys=True)
        for name, kind in sorted((KINDS | ON_THE_WIRE).items())
    }


def stored(version: int) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode((SAMPLES / f"{version}.json").read_bytes())
    return found


# -- messages -----------------------------------------------------------------------------------------
def test_messages_are_as_they_were() -> None:
    """Whoever changes one sees it here, and decides whether older clients and servers understand it."""
    assert msgspec.json.decode(msgspec.json.encode(samples())) == stored(WIRE_VERSION), (
        "messages have changed: see the docstring of this module for what to do"
    )


@pytest.mark.parametrize("version", range(OLDEST_WIRE_VERSION, WIRE_VERSION + 1))
def test_what_older_versions_send_is_understood(version: int) -> None:
    """What they do not know has its default; what only they know is left aside."""
    for name, sample in stored(version).items():
        kind = (KINDS | ON_THE_WIRE).get(name)
        if kind is not None:
            msgspec.convert({**sample, "of_another_version": 1}, kind, strict=False)


def test_every_message_has_a_sample() -> None:
    assert set(ON_THE_WIRE) <= set(stored(WIRE_VERSION))


# -- ranges -------------------------------------------------------------------------------------------
_ranges = st.tuples(st.integers(1, 9), st.integers(0, 9)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@given(client=_ranges, server=_ranges)
def test_they_understand_each_other_if_they_have_a_version_in_common(
    client: tuple[int, int], server: tuple[int, int]
) -> None:
    """Otherwise the older one is to be upgraded."""
    common = set(range(client[0], client[1] + 1)) & set(range(server[0], server[1] + 1))
    said = misunderstanding(client, server)
    assert bool(common) == (said == "")
    if said:
        assert said.endswith(f"upgrade the {'client' if client[1] < server[0] else 'server'}.")


@given(st.dictionaries(st.sampled_from([WIRE_HEADER, OLDEST_HEADER]), st.text()))
def test_odd_headers_are_no_version(headers: dict[str, str]) -> None:
    """Whoever says nothing that can be read is not refused for it."""
    found = spoken_range(headers)
    assert found is None or re.fullmatch("[0-9]+", headers[WIRE_HEADER])


def test_the_wrapper_says_the_same() -> None:
    """It cannot import what the others do."""
    lines = (f"{WIRE_HEADER}: {WIRE_VERSION}", f"{OLDEST_HEADER}: {OLDEST_WIRE_VERSION}")
    assert lines == WIRE_LINES


# -- the two sides ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("spoken", "oldest", "side"), [(0, 0, "client"), (WIRE_VERSION + 2, WIRE_VERSION + 1, "server")]
)
def test_a_server_refuses_whom_it_does_not_understand(
    client: TestClient, spoken: int, oldest: int, side: str
) -> None:
    """Before anything is done, with 426, and says which of the two to upgrade."""
    headers = {WIRE_HEADER: str(spoken), OLDEST_HEADER: str(oldest), "X-Jobmon-User": "tester"}
    answer = client.post("/api/v3/define/tool", content=b'{"name": "new"}', headers=headers)
    assert answer.status_code == 426
    assert answer.json()["error"] == "WireVersionMismatch"
    assert answer.json()["message"].endswith(f"upgrade the {side}.")


def test_every_answer_says_what_the_server_speaks(client: TestClient) -> None:
    """Refusals too; whoever does not say what it speaks, such as a browser, is let in."""
    for path in ("/health", "/nothing"):
        assert spoken_range(client.get(path).headers) == OWN_RANGE


def test_a_newer_client_that_understands_older_servers_is_let_in(client: TestClient) -> None:
    headers = {WIRE_HEADER: str(WIRE_VERSION + 1), OLDEST_HEADER: str(WIRE_VERSION)}
    assert client.get("/health", headers=headers).status_code == 200


def test_the_client_is_told(requester: Requester, monkeypatch: pytest.MonkeyPatch) -> None:
    """It raises, and does not try again."""
    monkeypatch.setattr(requester_module, "WIRE_HEADERS", {WIRE_HEADER: "0", OLDEST_HEADER: "0"})
    with pytest.raises(WireVersionMismatch, match="upgrade the client"):
        requester.send("GET", "/define/clusters", None, ClustersResponse)


def test_a_client_refuses_the_answers_of_an_older_server(
    requester: Requester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that did not look at what the client understands."""
    monkeypatch.setattr(requester_module, "OWN_RANGE", (WIRE_VERSION + 1, WIRE_VERSION + 1))
    with pytest.raises(WireVersionMismatch, match="upgrade the server"):
        requester.send("GET", "/define/clusters", None, ClustersResponse)


if __name__ == "__main__":
    path = SAMPLES / f"{wire_version.WIRE_VERSION}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(samples()), indent=1) + b"\n")
    print(f"written: {path}")
