"""``worker_node_entry_point worker_node_array`` and ``worker_node_job``: the wrapper for nodes with a Jobmon of their own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from jobmon.core import __version__
from jobmon.core.configuration import JobmonConfig
from jobmon.distributor.batch_file import wrapper_words
from wrapping import INSTANCE, Server, Site

pytestmark = pytest.mark.e2e

PROGRAM = str(Path(sys.executable).with_name("worker_node_entry_point"))


def test_the_configured_program_runs_a_step(site: Site, server: Server) -> None:
    """As the cluster's script calls it: the command's exit code, its events, its log."""
    batch_file = site.write("true", "echo hello; exit 3")
    config = JobmonConfig(dict_config={"distributor": {"worker_node_entry_point": PROGRAM}})
    wrapped = site.start_file(batch_file, step=1, words=wrapper_words(batch_file, config))
    assert wrapped.end() == 3
    assert (server.told, server.events[0]["task_instance_id"]) == (["start", "fail"], INSTANCE + 1)
    assert site.log(step=1) == b"hello\n"


@pytest.mark.parametrize(
    "kind", ["worker_node_array --array_id 1 --batch_number 2", "worker_node_job --task_instance_id 42"]
)
def test_a_plugins_own_command_line(site: Site, server: Server, kind: str) -> None:
    """As ``build_worker_node_command`` makes it: the plugin knows the id, and the attempt tells the step."""
    batch_file = site.write("exit 1", "exit 0", cluster_type="multiprocess", cluster_name="other")
    step = ("--step", "1") if "array" in kind else ()
    words = (
        *(PROGRAM, *kind.split(), "--cluster_name", "other"),
        *("--expected_jobmon_version", __version__, "--batch_file", str(batch_file), *step),
    )
    assert site.run_words(words, {"JOBMON_TASK_INSTANCE_ID": "1234"}) == (0, "")
    assert [event["task_instance_id"] for event in server.events] == [42, 42]
    assert server.events[0]["distributor_id"] == "1234"


def test_another_version_exits_with_198(site: Site, server: Server) -> None:
    """Whether the batch file or the command line tells of it; the server hears why."""
    batch_file = site.write("touch ran", version="1.2.3")
    words = (
        PROGRAM,
        "worker_node_array",
        "--batch_file",
        str(batch_file),
        "--step",
        "0",
        "--distributor-id",
        "9",
    )
    code, said = site.run_words(words)
    assert code == 198
    assert f"has Jobmon {__version__}, the workflow runs with 1.2.3." in said
    assert server.told == ["start", "fail"]
    code, said = site.run_words(
        (*words[:3], str(site.write("touch ran")), *words[4:], "--expected_jobmon_version", "1.2.3")
    )
    assert (code, server.told) == (198, ["start", "fail"] * 2)
    assert "1.2.3" in said
    assert list(site.work.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["worker_node_array"], "the following arguments are required: --batch_file"),
        (["worker_node_job", "--task_instance_id", "5", "--batch_file", "BATCH"], "has no task instance 5."),
        (["worker_node_array", "--batch_file", "/no/file"], "The batch file /no/file cannot be read"),
        (
            ["worker_node_array", "--batch_file", "BATCH", "--cluster_name", "x"],
            "No plugin drives clusters of type 'nope'",
        ),
        (
            ["worker_node_array", "--batch_file", "LOCAL"],
            "--step is missing, and the plugin 'multiprocess' does not know it.",
        ),
    ],
)
def test_a_command_line_that_says_too_little(site: Site, words: list[str], message: str) -> None:
    """One sentence, exit code 2, and no traceback."""
    named = {"BATCH": {"cluster_type": "nope"}, "LOCAL": {"cluster_type": "multiprocess"}}
    argv = [str(site.write("true", **named[word])) if word in named else word for word in words]
    code, said = site.run_words((PROGRAM, *argv))
    assert code == 2
    assert message in said
    assert "Traceback" not in said
