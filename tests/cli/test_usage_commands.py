"""``jobmon workflow resources``: what was used, and the YAML file that asks for it next time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from command_line import Run

from jobmon.client import status_commands
from jobmon.client.task_template import TaskTemplate
from jobmon.client.tool import Tool
from jobmon.client.workflow import Workflow
from jobmon.core.exceptions import UsageError
from jobmon.core.requester import Requester
from jobmon.core.resources import memory_to_bytes, memory_to_gib

MIB = 2**20


def template_of(workflow: Workflow) -> TaskTemplate:
    (array,) = workflow.arrays.values()
    return array.task_template_version.task_template


def test_usage_in_python(workflow: Workflow) -> None:
    """All keys of a template's statistics, narrowed down and with intervals."""
    template = template_of(workflow)
    found = template.resource_usage()
    assert found is not None
    assert list(found) == [
        "num_tasks",
        *(f"{name}_mem" for name in ("min", "max", "mean", "median")),
        *(f"{name}_runtime" for name in ("min", "max", "mean", "median")),
        "ci_mem",
        "ci_runtime",
    ]
    assert found["num_tasks"] == 2
    assert MIB < int(found["max_mem"].removesuffix("B")) < 1000 * MIB
    assert 0 < found["min_runtime"] <= found["median_runtime"] <= found["max_runtime"] < 60
    assert found["ci_mem"] == found["ci_runtime"] == [None, None]
    narrow = template.resource_usage([workflow.workflow_id], {"command": "true"})
    assert narrow is not None
    assert narrow["num_tasks"] == 1
    assert template.resource_usage(node_args={"command": ["nothing like it"]}) is None
    wide = template.resource_usage(ci="95%")
    assert wide is not None
    low, high = wide["ci_runtime"]
    assert low <= wide["mean_runtime"] <= high
    assert template.resource_usage(ci=0.95) == wide
    version = template.active_task_template_version.id
    assert status_commands.task_template_resources(version, workflow.workflow_id, ci=95) == wide
    with pytest.raises(UsageError, match="no node arg colour; it has command"):
        template.resource_usage(node_args={"colour": 1})
    with pytest.raises(UsageError, match="confidence level 'high'"):
        template.resource_usage(ci="high")


def test_usage_on_the_command_line(run: Run, workflow: Workflow) -> None:
    version = template_of(workflow).active_task_template_version.id
    table = run("workflow", "resources", "usage", "-t", version, "-w", workflow.workflow_id, "--ci", "95")
    assert table.exit_code == 0
    assert "Tasks: 2." in table.output
    for word in ("min", "median", "ci low"):
        assert word in table.output
    words = ("workflow", "resources", "usage", "-t", version, "-a", '{"command": "true"}', "-o", "json")
    assert json.loads(run(*words).output)["num_tasks"] == 1
    nothing = run("workflow", "resources", "usage", "-t", version, "-a", '{"command": "no"}')
    assert (nothing.exit_code, nothing.stdout) == (0, "")
    assert "No attempt" in nothing.stderr
    assert run("workflow", "resources", "usage", "-t", version, "-a", "[1]").exit_code == 2
    assert run("workflow", "resources", "usage", "-t", version, "-a", "{").exit_code == 2
    unknown = run("workflow", "resources", "usage", "-t", 999)
    assert (unknown.exit_code, unknown.output) == (1, "Error: There is no task template version 999.\n")


def test_usage_of_a_workflow(run: Run, workflow: Workflow) -> None:
    """Of each of its templates, or of one by its name; the same figures as by the id of the version."""
    version = template_of(workflow).active_task_template_version.id
    usage = ("workflow", "resources", "usage")
    table = run(*usage, "-w", workflow.workflow_id)
    assert table.exit_code == 0
    assert "MEDIAN_MEM" in table.stdout
    assert f"| step       | {version}         | 2       |" in table.stdout
    (row,) = json.loads(run(*usage, "-w", workflow.workflow_id, "--ci", "95", "-o", "json").stdout)
    one = json.loads(run(*usage, "-t", version, "--ci", "95", "-o", "json").stdout)
    assert (row["MAX_MEM"], row["MEAN_RUNTIME"]) == (one["max_mem"], one["mean_runtime"])
    assert [row["CI_LOW_RUNTIME"], row["CI_HIGH_RUNTIME"]] == one["ci_runtime"]
    named = (*usage, "-w", workflow.workflow_id, "--template", "step", "-a", '{"command": "true"}')
    assert f"step,{version},1," in run(*named, "-o", "csv").stdout
    unended = run(*usage, "-w", workflow.workflow_id, "--template", "step", "-a", '{"command": "no"}')
    assert f"| step       | {version}         | 0       |" in unended.stdout


@pytest.mark.parametrize(
    ("words", "exit_code", "said"),
    [
        ((), 2, "-w ID --template NAME for one of them"),
        (("--template", "step"), 2, "Say whose"),
        (("-t", 1, "--template", "step"), 2, "not both"),
        (("-w", 1, "-a", '{"x": 1}'), 2, "--template NAME"),
        (("-w", 1, "--template", "stop"), 1, "no tasks of a template 'stop'; it has step."),
        (("-w", 99), 1, "There is no workflow 99"),
    ],
)
def test_whose_usage(
    run: Run, workflow: Workflow, words: tuple[object, ...], exit_code: int, said: str
) -> None:
    result = run("workflow", "resources", "usage", *words)
    assert (result.exit_code, said in result.output) == (exit_code, True), result.output


def test_the_file_is_read_again(run: Run, workflow: Workflow, requester: Requester, tmp_path: Path) -> None:
    """By every reader of such files; memory and run time mean what was measured."""
    path = tmp_path / "resources.yaml"
    words = ("workflow", "resources", "yaml", "-w", workflow.workflow_id, "--mem-strategy", "max")
    done = run(*words, "-f", path, "--stdout")
    assert done.exit_code == 0
    assert done.stdout == path.read_text()
    asked = yaml.safe_load(done.stdout)["task_template_resources"]["step"]["sequential"]
    assert asked["runtime"] >= 1
    assert isinstance(asked["runtime"], int)
    assert asked["queue"] == "null.q"
    assert memory_to_bytes(memory_to_gib(asked["memory"])) == int(asked["memory"].removesuffix("B"))

    tool = Tool("reader", requester=requester)
    template = tool.get_task_template("step", "{command}", node_args=["command"], yaml_file=str(path))
    assert template.default_compute_resources_set["sequential"] == asked
    tool.set_default_compute_resources_from_yaml(
        "sequential", str(path), set_task_templates=True, ignore_missing_keys=True
    )
    again = tool.create_workflow(name="again", default_cluster_name="sequential")
    again.add_task(template.create_task(name="once", command="true"))
    assert again.run() == "D"


def test_strategies_tasks_and_clusters(workflow: Workflow, requester: Requester) -> None:
    """Smallest, average and largest; for one task; for a cluster it never ran on, without a queue there."""
    ids = (workflow.workflow_id, None)
    low, mean, high = (
        yaml.safe_load(status_commands.create_resource_yaml(*ids, how, how, how, None, requester))[
            "task_template_resources"
        ]["step"]["sequential"]
        for how in ("min", "avg", "max")
    )
    for name in ("memory", "runtime"):
        values = [int(str(found[name]).removesuffix("B")) for found in (low, mean, high)]
        assert values == sorted(values)
    (task_id,) = (task.task_id for task in workflow.tasks.values() if task.name == "one")
    one = yaml.safe_load(
        status_commands.create_resource_yaml(None, task_id, "avg", "avg", "max", ["slurm", "sequential"])
    )["task_template_resources"]["step"]
    assert list(one) == ["slurm", "sequential"]
    assert "queue" not in one["slurm"]
    assert one["slurm"]["memory"] == one["sequential"]["memory"]


REFUSED: list[tuple[tuple[object, ...], int, str]] = [
    (("--stdout",), 2, "either a workflow"),
    (("-w", 1, "-t", 1, "--stdout"), 2, "either a workflow"),
    (("-w", 1), 2, "-f FILE, --stdout"),
    (("-w", 1, "--mem-strategy", "best", "--stdout"), 2, "best"),
    (("-w", 999, "--stdout"), 1, "There is no workflow 999"),
    (("-t", 999, "--stdout"), 1, "There is no task 999"),
    (("-w", 1, "-f", "/nowhere/at/all.yaml"), 1, "a directory that exists"),
]


def test_what_is_refused(run: Run, workflow: Workflow) -> None:
    for words, exit_code, said in REFUSED:
        result = run("workflow", "resources", "yaml", *words)
        assert (result.exit_code, said in result.output) == (exit_code, True), (words, result.output)


def test_nothing_has_ended_yet(run: Run, requester: Requester, tmp_path: Path) -> None:
    """A clear refusal, and the file of before stays as it is."""
    tool = Tool("young", requester=requester)
    template = tool.get_task_template("step", "{x}", node_args=["x"], default_cluster_name="sequential")
    workflow = tool.create_workflow(name="young")
    workflow.add_task(template.create_task(x="true"))
    workflow.bind()
    path = tmp_path / "old.yaml"
    path.write_text("old")
    result = run("workflow", "resources", "yaml", "-w", workflow.workflow_id, "-f", path)
    assert result.exit_code == 1
    assert f"No attempt of workflow {workflow.workflow_id} has ended yet" in result.output
    assert path.read_text() == "old"
    assert list(tmp_path.glob("*.part")) == []
    assert template.resource_usage() is None
