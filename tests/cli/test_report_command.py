"""``jobmon workflow report``: the page, and the tables of all attempts."""

from __future__ import annotations

import csv
import importlib.util
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from command_line import Run

from jobmon.client import status_commands
from jobmon.client.commands import report as commands
from jobmon.client.report import trace
from jobmon.client.tool import Tool
from jobmon.client.workflow import Workflow
from jobmon.core.exceptions import ServerError, UsageError
from jobmon.core.requester import Requester

EVIL = "<script>alert('x')</script> & \"quotes\""
VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """Reads a page: its text, its references, and whether its elements are closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.references, self.open, self.tags = "", [], [], set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.references += [value for name, value in attrs if name in ("src", "href", "action", "data")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag, f"{tag} closed at {self.getpos()}"

    def handle_data(self, data: str) -> None:
        self.text += data


def read_page(path: Path) -> Page:
    html = path.read_text()
    page = Page(html)
    assert page.open == []
    assert "script" not in page.tags
    assert all(reference.startswith("#") for reference in page.references if reference)
    assert not re.search(r"url\(|@import|https?:", re.sub(r"<pre>.*?</pre>", "", html, flags=re.DOTALL))
    return page


def test_the_page_of_a_workflow(run: Run, workflow: Workflow, tmp_path: Path) -> None:
    """Everything of interest stands in one file that refers to nothing outside of it."""
    path = tmp_path / "report.html"
    result = run("workflow", "report", workflow.workflow_id, "-o", path)
    assert (result.exit_code, result.stdout) == (
        0,
        f"Wrote {path}: 3 attempts of workflow {workflow.workflow_id}.\n",
    )
    page = read_page(path)
    for words in ("FAILED", "1 DONE", "1 FATAL", "1 PENDING", "steps", "sequential / null.q", "alas"):
        assert words in page.text, words
    for title in ("Summary", "Timeline", "Resources", "Retries", "Errors", "Configuration"):
        assert title in page.text
    assert "exit code 3" in page.text
    assert "task_template_resources:" in page.text
    assert "svg" in page.tags


def test_texts_of_users_do_no_harm(run: Run, requester: Requester, tmp_path: Path) -> None:
    """Markup in names, args, attributes, commands and errors is text."""
    tool = Tool(f"tool {EVIL}", requester=requester)
    template = tool.get_task_template(
        f"t {EVIL}", "echo '<b>&amp;' >&2; false # {x}", node_args=["x"], default_cluster_name="sequential"
    )
    workflow = tool.create_workflow(
        name=f"w {EVIL}", workflow_args=EVIL, description=EVIL, workflow_attributes={"a <i>": EVIL}
    )
    workflow.add_task(template.create_task(name="<u>task<u>", x="1", max_attempts=2))
    workflow.run()
    path = tmp_path / "report.html"
    assert run("workflow", "report", "-w", workflow.workflow_id, "-o", path).exit_code == 0
    page = read_page(path)
    for words in (f"w {EVIL}", f"tool {EVIL}", "<u>task<u>", "a <i>", "<b>&amp;"):
        assert words in page.text
    assert not {"u", "i"} & (page.tags - {"i"})


def test_a_workflow_that_never_ran(run: Run, requester: Requester, tmp_path: Path) -> None:
    tool = Tool("young", requester=requester)
    template = tool.get_task_template("step", "{x}", node_args=["x"], default_cluster_name="sequential")
    workflow = tool.create_workflow(name="young")
    workflow.add_task(template.create_task(x="true"))
    workflow.bind()
    for name in ("report.html", "trace.csv", "trace.parquet"):
        result = run("workflow", "report", workflow.workflow_id, "-o", tmp_path / name)
        assert "0 attempts" in result.stdout, result.output
    assert "has not been run yet" in read_page(tmp_path / "report.html").text
    assert (tmp_path / "trace.csv").read_text().count("\n") == 1


def test_tables_of_all_attempts(
    run: Run, workflow: Workflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CSV, Parquet and data frame hold the same rows, however small the pages."""
    pandas = pytest.importorskip("pandas")
    whole = status_commands.workflow_trace(workflow.workflow_id)
    pages = trace.trace_pages
    monkeypatch.setattr(commands, "trace_pages", lambda requester, which: pages(requester, which, 1))
    for name in ("trace.csv", "trace.parquet"):
        assert run("workflow", "report", workflow.workflow_id, "-o", tmp_path / name).exit_code == 0
    with (tmp_path / "trace.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(trace.COLUMNS) == list(whole.columns)
    assert [(row["task_name"], row["attempt"], row["status"], row["exit_code"]) for row in rows] == [
        ("one", "1", "DONE", "0"),
        ("two", "1", "ERROR", "3"),
        ("two", "2", "ERROR", "3"),
    ]
    assert json.loads(rows[0]["node_args"]) == {"command": "true"}
    assert rows[0]["template"] == "step"
    assert [row["ended"] for row in rows] == list(whole["ended"])
    assert all(row["queued"] <= row["started"] <= row["ended"] for row in rows)
    stored = pandas.read_parquet(tmp_path / "trace.parquet")
    assert list(stored.columns) == list(trace.COLUMNS)
    assert [list(stored[name]) for name in ("task_instance_id", "status", "attempt")] == [
        list(whole[name]) for name in ("task_instance_id", "status", "attempt")
    ]
    assert [moment.isoformat(timespec="milliseconds")[:23] for moment in stored["ended"]] == list(
        whole["ended"]
    )


REFUSED: list[tuple[tuple[object, ...], int, str]] = [
    ((1, "-o", "report.pdf"), 2, "must end in .html, .csv or .parquet"),
    ((1,), 2, "--output"),
    (("-o", "report.html"), 2, "Name one workflow"),
    ((999, "-o", "report.html"), 1, "There is no workflow 999."),
    ((999, "-o", "trace.csv"), 1, "There is no workflow 999."),
    ((1, "-o", "no/such/trace.csv"), 1, "a directory that exists"),
]


def test_what_is_refused(
    run: Run, workflow: Workflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no file is left behind."""
    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.chdir(place)
    for words, exit_code, said in REFUSED:
        result = run("workflow", "report", *words)
        assert (result.exit_code, said in result.output) == (exit_code, True), (words, result.output)
        assert list(place.iterdir()) == []


def test_parquet_takes_an_extra(
    workflow: Workflow, requester: Requester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "pyarrow" else find_spec(name, *rest)
    )
    with pytest.raises(UsageError, match=r"pip install 'jobmon\[parquet\]'"):
        commands.write_report(workflow.workflow_id, tmp_path / "trace.parquet", requester)
    assert not (tmp_path / "trace.parquet").exists()


def test_a_file_is_replaced_only_when_complete(
    workflow: Workflow, requester: Requester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server fails after the first page: the old file is still there, and nothing else."""

    def failing(asked: Requester, workflow_id: int):  # type: ignore[no-untyped-def]
        yield next(iter(trace.trace_pages(asked, workflow_id, 1)))
        raise ServerError("gone")

    monkeypatch.setattr(commands, "trace_pages", failing)
    directory = tmp_path / "out"
    directory.mkdir()
    path = directory / "trace.csv"
    path.write_text("old")
    told: list[int] = []
    with pytest.raises(ServerError, match="gone"):
        commands.write_report(workflow.workflow_id, path, requester, told.append)
    assert path.read_text() == "old"
    assert told == [1]
    assert list(directory.iterdir()) == [path]
