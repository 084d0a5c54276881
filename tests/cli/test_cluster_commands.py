"""``jobmon cluster``, and clusters that scripts meet for the first time."""

from __future__ import annotations

import csv
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import Run
from site_cluster import Site, installed

from jobmon.client.tool import Tool
from jobmon.client.workflow import Workflow
from jobmon.core.cluster import Cluster
from jobmon.core.cluster_type import plugin_module
from jobmon.core.exceptions import UnknownClusterError, UnknownQueueError
from jobmon.core.requester import Requester


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, requester: Requester) -> Iterator[Site]:
    """A cluster that answers."""
    with installed(tmp_path, monkeypatch) as found:
        yield found


def test_sync_registers_what_the_cluster_says(run: Run, site: Site) -> None:
    """A table of queues and limits, facts below it; the same is shown later."""
    told = run("cluster", "sync", "hpc")
    assert told.exit_code == 0, told.output
    assert "| short          | 4       | 512 MiB  | 1 min     |         | up      |" in told.stdout
    assert "| long (default) | 8       |          |           |         | down    |" in told.stdout
    assert told.stdout.endswith('\nasked: {"host": "here", "port": 1}\n')
    assert run("cluster", "show", "hpc").stdout == told.stdout.split("\n\n")[0] + "\n"
    assert "| hpc          | hpc          | short, long |" in run("cluster", "list").stdout


def test_show_for_programs(run: Run, site: Site) -> None:
    """Numbers instead of words."""
    run("cluster", "sync", "hpc")
    short, long = json.loads(run("cluster", "show", "hpc", "-o", "json").stdout)
    assert (short["MEMORY_GIB"], short["RUNTIME_SECONDS"], short["DEFAULT_RUNTIME_SECONDS"]) == (0.5, 60, 30)
    assert (long["QUEUE"], long["IS_DEFAULT"], long["MEMORY_GIB"]) == ("long", True, None)
    rows = list(csv.DictReader(io.StringIO(run("cluster", "sync", "hpc", "-o", "csv").stdout)))
    assert [row["QUEUE"] for row in rows] == ["short", "long"]
    listed = json.loads(run("cluster", "list", "-o", "json").stdout)
    assert {"CLUSTER": "hpc", "TYPE": "hpc", "QUEUES": "short, long"} in listed


def test_parameters_given_earlier_stay(run: Run, site: Site) -> None:
    """Until others are given, or they are taken away."""

    def asked(*words: str) -> Any:
        told = run("cluster", "sync", "stage", *words)
        assert told.exit_code == 0, told.output
        return json.loads(told.stdout.splitlines()[-1].removeprefix("asked: "))

    assert asked("--type", "hpc", "-p", "host=there", "-p", "port=7") == {"host": "there", "port": 7}
    assert asked() == {"host": "there", "port": 7}
    assert asked("--parameter", "port=8") == {"host": "there", "port": 8}
    shown = run("cluster", "show", "stage").stdout
    assert shown.endswith("\n\nhost: there\nport: 8\n")
    assert asked("-p", "host=") == {"host": "here", "port": 8}


def test_secrets_are_not_shown(run: Run, site: Site, requester: Requester) -> None:
    """A password in a parameter is masked."""
    run("cluster", "sync", "hpc", "-p", "host=http://me:secret@there")
    shown = run("cluster", "show", "hpc").stdout
    assert "http://me:" in shown
    assert "secret" not in shown


def test_queues_that_are_gone_are_marked(run: Run, site: Site) -> None:
    """They stay for the workflows that used them."""
    run("cluster", "sync", "hpc")
    site.has({"long": {}})
    assert "| gone    |" in run("cluster", "sync", "hpc").stdout
    assert "| hpc          | hpc          | long     |" in run("cluster", "list").stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["sync", "hpc", "-p", "host"], "'host' is no parameter; write it key=value"),
        (
            ["sync", "hpc", "-p", "hots=1"],
            "The plugin hpc does not take these connection parameters: unknown: hots",
        ),
        (["sync", "hpc", "--type", "none"], "No plugin drives clusters of type 'none'. Installed types:"),
        (["sync", "multiprocess"], "do not describe their queues"),
        (["sync", "dummy", "--type", "hpc"], "comes with Jobmon"),
        (["show", "lab"], "There is no cluster named 'lab'. Clusters of this server:"),
        (["show", "lab"], "To register one: jobmon cluster sync lab"),
    ],
)
def test_what_is_wrong_is_said(run: Run, site: Site, words: list[str], told: str) -> None:
    """One line on stderr, exit code 1."""
    result = run("cluster", *words)
    assert result.exit_code == 1
    assert told in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_cluster_that_does_not_answer_changes_nothing(run: Run, site: Site) -> None:
    """Its words, and what is registered stays as it was."""
    before = run("cluster", "sync", "hpc").stdout.split("\n\n")[0]
    site.is_away()
    result = run("cluster", "sync", "hpc")
    assert result.exit_code == 1
    assert "was not found on PATH" in result.stderr
    assert "Nothing was changed. Do this where the cluster can be reached" in result.stderr
    assert run("cluster", "show", "hpc").stdout.rstrip("\n") == before


# -- first use ----------------------------------------------------------------------------------------
class Counting:
    """A requester that counts what it sends."""

    def __init__(self, requester: Requester) -> None:
        self._requester = requester
        self.sent: list[str] = []

    def send(self, method: str, path: str, *args: Any, **kwargs: Any) -> Any:
        """Send a request."""
        self.sent.append(f"{method} {path}")
        return self._requester.send(method, path, *args, **kwargs)


def test_a_cluster_is_registered_at_its_first_use(
    site: Site, requester: Requester, caplog: pytest.LogCaptureFixture
) -> None:
    """Where a plugin has its name and the cluster answers; with one line in the log, and only once."""
    sender = Counting(requester)
    with caplog.at_level(logging.INFO, "jobmon"):
        cluster = Cluster.get_cluster("hpc", sender)
    assert cluster.queue_names == ["short", "long"]
    assert sender.sent == ["GET /define/cluster/hpc", "POST /define/cluster"]
    assert [record.getMessage() for record in caplog.records if record.name == "jobmon.core.cluster"] == [
        "Cluster 'hpc' was new to the server and is registered now; its queues: short, long."
    ]
    again = Counting(requester)
    assert Cluster.get_cluster("hpc", again).id == cluster.id
    assert again.sent == ["GET /define/cluster/hpc"]


def test_a_cluster_that_cannot_be_asked_is_unknown(site: Site, requester: Requester) -> None:
    """The message says why, and what to do."""
    site.is_away()
    with pytest.raises(
        UnknownClusterError, match=r"no cluster named 'hpc'.*not found on PATH.*jobmon cluster sync hpc"
    ):
        Cluster.get_cluster("hpc", requester)


def test_a_plugin_that_breaks_leaves_the_cluster_unknown(
    site: Site, requester: Requester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plugins are anybody's code."""
    distributor = plugin_module("hpc").get_cluster_distributor_class()
    monkeypatch.setattr(distributor, "discover", lambda self: 1 / 0)
    with pytest.raises(UnknownClusterError, match="ZeroDivisionError: division by zero"):
        Cluster.get_cluster("hpc", requester)


def test_a_name_without_a_plugin_is_unknown(requester: Requester) -> None:
    """The message lists the clusters there are, and says how to register one."""
    with pytest.raises(
        UnknownClusterError, match=r"dummy, multiprocess, sequential.*jobmon cluster sync nope --type"
    ):
        Cluster.get_cluster("nope", requester)


def test_the_queue_of_tasks_that_name_none(site: Site, requester: Requester) -> None:
    """The one the cluster prefers."""
    assert Cluster.get_cluster("hpc", requester).get_queue().queue_name == "long"


def test_queues_without_a_preferred_one(run: Run, site: Site, requester: Requester) -> None:
    """A name is needed, unless all others are gone."""
    site.has({"a": {}, "b": {}})
    run("cluster", "sync", "hpc")
    with pytest.raises(UnknownQueueError, match=r"several queues; name one\. Queues: a, b\."):
        Cluster.get_cluster("hpc", requester).get_queue()
    site.has({"b": {}})
    run("cluster", "sync", "hpc")
    cluster = Cluster.get_cluster("hpc", requester)
    assert cluster.get_queue().queue_name == "b"
    assert cluster.get_queue("a").parameters == {"is_gone": True}


# -- checked before anything is submitted --------------------------------------------------------------
def workflow_asking(requester: Requester, **resources: Any) -> Workflow:
    """A workflow whose one task asks for this on ``hpc``."""
    tool = Tool("limits", requester=requester)
    template = tool.get_task_template("fit", "fit {n}", node_args=["n"], default_cluster_name="hpc")
    workflow = tool.create_workflow(name="limits")
    workflow.add_task(template.create_task(name="first", n=1, compute_resources=resources))
    return workflow


def test_validate_refuses_what_the_cluster_never_gives(site: Site, requester: Requester) -> None:
    """Before anything is registered."""
    workflow = workflow_asking(requester, queue="short", memory=2)
    with pytest.raises(ValueError, match=r"do not fit queue 'short' of hpc: memory=2 is outside"):
        workflow.validate(raise_on_error=True)
    workflow_asking(requester, queue="short", memory=0.5).validate(raise_on_error=True)
