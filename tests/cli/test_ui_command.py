"""``jobmon ui``, and the link that a run prints."""

from __future__ import annotations

import io
import os
import stat
import time
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from command_line import Run

from jobmon.client import detached, pages
from jobmon.client.pages import is_private, page_link, workflow_page
from jobmon.client.result import WorkflowRunResult
from jobmon.client.workflow import Workflow
from jobmon.core.configuration import JobmonConfig
from jobmon.core.local_server import LocalServerFiles, running_server
from jobmon.core.local_server import stop as stop_server
from jobmon.core.requester import Requester
from jobmon.core.ui_link import is_ticket, page_address


@pytest.fixture
def local() -> Iterator[LocalServerFiles]:
    files = LocalServerFiles.from_config(JobmonConfig())
    yield files
    if files.directory.exists():
        stop_server(files)


@pytest.fixture
def central(monkeypatch: pytest.MonkeyPatch) -> str:
    url = "https://jobmon.example/team"
    monkeypatch.setenv("JOBMON__HTTP__SERVICE_URL", url)
    return url


@pytest.mark.e2e
def test_the_link_leads_into_the_local_server_once(
    run: Run, local: LocalServerFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is started if need be. A browser is told of the link by a file that nobody else can read."""
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda url: opened.append(url) or True)
    printed = run("ui", "--print-url", "-w", 12)
    assert printed.exit_code == 0, printed.output
    link = printed.stdout.strip()
    record = running_server(local)
    assert record is not None
    assert link.startswith(f"{record.url}/ui/enter?to=/ui/workflow/12&ticket=")
    assert record.token not in link
    answer = httpx.get(link, trust_env=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/ui/workflow/12")
    assert httpx.get(link, trust_env=False).status_code == 403

    said = run("ui")
    assert said.exit_code == 0, said.output
    assert f"Opened {record.url}/ui/ in a browser" in said.stdout
    (address,) = opened
    file = Path(urlsplit(address).path)
    assert address == (local.directory / "open.html").as_uri()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    ticket = file.read_text().partition("ticket=")[2].partition('"')[0]
    assert is_ticket(ticket, record.token, time.time())
    monkeypatch.setattr(webbrowser, "open", lambda _: False)
    assert "good once" in run("ui").stdout


@pytest.mark.parametrize(
    ("gui_url", "link"),
    [
        ("", "https://jobmon.example/team/ui/workflow/12"),
        ("https://gui.example/", "https://gui.example/ui/workflow/12"),
        ("https://gui.example/x/ui/", "https://gui.example/x/ui/workflow/12"),
    ],
)
def test_a_server_for_many_has_an_address(
    run: Run, central: str, monkeypatch: pytest.MonkeyPatch, gui_url: str, link: str
) -> None:
    """``http.gui_url`` where it is set; nothing is asked of the server."""
    monkeypatch.setenv("JOBMON__HTTP__GUI_URL", gui_url)
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda url: opened.append(url) or True)
    assert run("ui", "-w", 12, "--print-url").stdout == f"{link}\n"
    assert run("ui", "-w", 12).exit_code == 0
    assert opened == [link]


@pytest.mark.parametrize(
    ("address", "page"),
    [
        ("", ""),
        ("https://a", "https://a/ui/x"),
        ("https://a/ui", "https://a/ui/x"),
        (" https://a/b/ui/ ", "https://a/b/ui/x"),
    ],
)
def test_addresses_of_pages(address: str, page: str) -> None:
    assert page_address(address, "/ui/x") == page


# -- what a run prints ----------------------------------------------------------------------------------
@pytest.mark.parametrize(("mode", "is_closed"), [(0o600, True), (0o640, False), (0o604, False)])
def test_a_file_that_others_read_is_not_private(tmp_path: Path, mode: int, is_closed: bool) -> None:
    path = tmp_path / "log"
    path.touch()
    path.chmod(mode)
    with path.open("w") as file:
        assert is_private(file) is is_closed


def test_pipes_are_private_and_what_is_unknown_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    receive, send = os.pipe()
    with os.fdopen(receive), os.fdopen(send, "w") as pipe:
        assert is_private(pipe)
        monkeypatch.setattr("jobmon.client.notebook.is_notebook", lambda: True)
        assert not is_private(pipe)
    assert not is_private(io.StringIO())


@pytest.mark.e2e
def test_only_a_private_stream_gets_a_link_that_lets_in(local: LocalServerFiles, tmp_path: Path) -> None:
    requester = Requester.from_defaults()
    bare = workflow_page(requester, 3, io.StringIO())
    assert urlsplit(bare).path == "/ui/workflow/3"
    receive, send = os.pipe()
    with os.fdopen(receive), os.fdopen(send, "w") as pipe:
        link = urlsplit(workflow_page(requester, 3, pipe))
    assert parse_qs(link.query)["to"] == ["/ui/workflow/3"]
    assert "ticket=" not in page_link(requester, "/ui/", is_entrance=False)


def test_a_run_says_where_it_can_be_seen(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On stderr, a line before the first; nothing where progress is not shown."""
    capsys.readouterr()
    monkeypatch.setenv("JOBMON__PROGRESS__ENABLED", "true")
    workflow.run(resume=True)
    lines = capsys.readouterr()
    assert f"workflow {workflow.workflow_id}: see it at http" in lines.err.splitlines()[0]
    assert f"/ui/workflow/{workflow.workflow_id}" in lines.err
    assert lines.out == ""
    monkeypatch.setenv("JOBMON__PROGRESS__ENABLED", "false")
    workflow.run(resume=True)
    assert "see it" not in capsys.readouterr().err


def test_what_is_told_of_a_detached_run_has_the_link(workflow: Workflow, requester: Requester) -> None:
    result = WorkflowRunResult("R")
    result.workflow_id, result.workflow_run_id = workflow.workflow_id, 3
    assert "see it:" not in detached.how_to_follow(result)
    result._requester = requester
    assert f"see it:       {pages.workflow_page(requester, workflow.workflow_id)}" in detached.how_to_follow(
        result
    )
