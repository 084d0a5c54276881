"""Every public call of Jobmon's Python interface, in one workflow on this machine.

Run it with ``python every_call.py``; it takes some seconds and says what it did. It is meant to be read and copied from:
each function below shows one part of the interface and asserts what comes out of it.

The workflow measures rain: stations are read, each year of each station is checked, and a report waits for all of it. One
reading is spoilt at first, so that there is an error to look at, something to mend, and a run to resume.
"""

from __future__ import annotations

import asyncio
import getpass
import json
import sys
import tempfile
import threading
import time
from pathlib import Path

import jobmon.client
import jobmon.core
import jobmon.server
from jobmon.client import status_commands
from jobmon.client.api import Tool, add_task_attributes, task_status, workflow_status, workflow_tasks
from jobmon.client.array import Array
from jobmon.client.commands.run import wait_workflow
from jobmon.client.dag import Dag
from jobmon.client.logging import (
    JobmonLoggerConfig,
    configure_client_logging,
    default_config,
    ensure_structlog_configured,
)
from jobmon.client.node import Node
from jobmon.client.swarm import OrchestratorResult, WorkflowRunConfig, resume_workflow_run, run_workflow
from jobmon.client.task import Task, validate_task_resource_scales
from jobmon.client.task_resources import TaskResources
from jobmon.client.task_template import TaskTemplate
from jobmon.client.tool import InvalidToolError, InvalidToolVersionError
from jobmon.client.tool_version import ToolVersion
from jobmon.client.units import MemUnit, TimeUnit
from jobmon.client.workflow import DistributorContext, Workflow
from jobmon.client.workflow_run import WorkflowRun, WorkflowRunFactory
from jobmon.core import constants, exceptions
from jobmon.core import logging as core_logging
from jobmon.core.cluster import Cluster
from jobmon.core.cluster_type import ClusterType
from jobmon.core.requester import Requester
from jobmon.core.task_generator import (
    TaskGenerator,
    create_task_name,
    get_optional_type_parameter,
    get_tasks_by_node_args,
    is_optional_type,
    make_cli_argument_string,
    task_generator,
)

YEARS = [2001, 2002]
STATIONS = ["oslo", "lima", "pune"]
RESOURCES = """
tool_resources: {multiprocess: {cores: 1, memory: 1G, runtime: 60}}
tool_scales: {multiprocess: {memory: 0.5, runtime: 0.5}}
workflow_resources: {multiprocess: {runtime: "00:02:00"}}
workflow_scales: {multiprocess: {runtime: 1.0}}
task_template_resources: {read: {multiprocess: {memory: 2G}}}
task_template_scales: {read: {multiprocess: {memory: 0.25}}}
"""


def say(text: str) -> None:
    """Tell the reader of the terminal."""
    print(text, flush=True)


def refused(error, call, *args, **kwargs) -> str:
    """What an error says that must come."""
    try:
        call(*args, **kwargs)
    except error as found:
        return str(found)
    raise AssertionError(f"{call} raised no {error}")


# -- tools ----------------------------------------------------------------------------------------------
def tools(directory: Path) -> Tool:
    """A tool, its versions, and the defaults of all of its workflows."""
    tool = Tool(name="every_call")
    assert Tool().name == f"unknown-{getpass.getuser()}"
    assert tool.id == Tool("every_call").id
    assert tool.requester.url.endswith("/api/v3")
    first = tool.active_tool_version.id
    newest = tool.get_new_tool_version()
    assert isinstance(tool.active_tool_version, ToolVersion)
    assert [version.id for version in tool.tool_versions][-2:] == [first, newest]
    tool.set_active_tool_version_id(first)
    tool.set_active_tool_version_id("latest")
    assert tool.active_tool_version.id == newest
    assert str(newest + 1000) in refused(ValueError, tool.set_active_tool_version_id, newest + 1000)
    assert issubclass(InvalidToolError, Exception)
    assert issubclass(InvalidToolVersionError, Exception)

    tool.set_default_clu("multiprocess")
    tool.set_default_cluster_name("multiprocess")
    tool.set_default_compute_resources_from_dict(cluster_name="multiprocess", compute_resources={"cores": 2})
    tool.update_default_compute_resources("multiprocess", memory="1G")
    assert tool.default_compute_resources_set == {"multiprocess": {"cores": 2, "memory": "1G"}}
    tool.set_default_resource_scales_from_dict("multiprocess", {"memory": 0.1})
    tool.update_default_resource_scales("multiprocess", memory=0.2)
    assert tool.default_resource_scales_set == {"multiprocess": {"memory": 0.2}}
    file = str(directory / "resources.yaml")
    Path(file).write_text(RESOURCES)
    tool.set_default_compute_resources_from_yaml("multiprocess", file)
    tool.set_default_resource_scales_from_yaml("multiprocess", file, ignore_missing_keys=True)
    assert tool.default_compute_resources_set["multiprocess"]["cores"] == 1
    refused(ValueError, tool.set_default_compute_resources_from_yaml, "multiprocess", file, True)
    tool.set_default_max_attempts(2)
    tool.set_default_max_attempts(0)  # says nothing
    assert (tool.default_cluster_name, tool.default_max_attempts) == ("multiprocess", 2)

    version = tool.active_tool_version
    version.update_default_compute_resources("multiprocess", runtime="2m")
    version.update_default_resource_scales("multiprocess", runtime=0.5)
    version.set_default_compute_resources_from_dict("dummy", {})
    version.set_default_resource_scales_from_dict("dummy", {})
    version.set_default_max_attempts(2)
    assert version.tool is tool
    assert (version.default_cluster_name, version.default_max_attempts) == ("multiprocess", 2)
    version.load_task_templates()
    assert version.task_templates == {}
    assert ToolVersion.get_tool_version(Tool("every_call_other")).tool.name == "every_call_other"
    return tool


# -- task templates ---------------------------------------------------------------------------------------
def templates(tool: Tool, directory: Path) -> dict[str, TaskTemplate]:
    """Commands with args, and the defaults of their tasks."""
    file = str(directory / "resources.yaml")
    read = tool.get_task_template(
        template_name="read",
        command_template="{interpreter} -c 'test ! -e {folder}/spoilt_{station} && touch {folder}/{station}'",
        node_args=["station"],
        task_args=["folder"],
        op_args=["interpreter"],
        yaml_file=file,
    )
    check = tool.get_task_template(
        template_name="check",
        command_template="echo {station} {year} >> {folder}/checked",
        node_args=["station", "year"],
        task_args=["folder"],
        default_cluster_name="multiprocess",
        default_compute_resources={"cores": 1},
        default_resource_scales={"memory": 0.3},
        max_attempts=2,
    )
    report = tool.get_task_template(
        "report", "{python} {script} report {folder}", ["folder"], [], ["python", "script"]
    )
    assert set(tool.active_task_templates) == {"read", "check", "report"}
    assert tool.active_tool_version.get_task_template("check") is check
    assert read.template_name == "read"
    assert (read.is_bound, read.tool_version) == (True, tool.active_tool_version)
    assert TaskTemplate.get_task_template(tool.active_tool_version, "read").id == read.id
    unbound = TaskTemplate("unbound")
    refused(AttributeError, getattr, unbound, "id")
    refused(RuntimeError, unbound.create_task)
    unbound.bind(tool.active_tool_version)
    assert unbound == TaskTemplate("unbound")
    refused(AttributeError, getattr, unbound, "active_task_template_version")
    refused(ValueError, tool.get_task_template, "wrong", "echo {a}", ["a", "b"])
    refused(ValueError, tool.get_task_template, "bare", "true", default_compute_resources={"cores": 1})

    version = check.active_task_template_version
    assert version.template_args == {"station", "year", "folder"}
    assert (version.node_args, version.task_args, version.op_args) == ({"station", "year"}, {"folder"}, set())
    assert set(version.id_name_map) == version.template_args
    assert len(version.arg_mapping_hash) == 64
    refused(AttributeError, setattr, version, "command_template", "other")
    other = check.get_task_template_version("echo {station} {year} {folder}", ["station", "year"], ["folder"])
    assert [each.id for each in check.task_template_versions] == [version.id, other.id]
    check.set_active_task_template_version_id(other.id)
    check.set_active_task_template_version_id("latest")
    check.set_active_task_template_version(version)
    check.load_task_template_versions()
    assert check.active_task_template_version is version

    check.default_cluster_name = "multiprocess"
    check.set_default_max_attempts(1)
    check.update_default_compute_resources("multiprocess", cores=1)
    check.update_default_resource_scales("multiprocess", memory=0.4)
    check.set_default_compute_resources_from_dict("multiprocess", {"cores": 1, "runtime": "1h"})
    check.set_default_resource_scales_from_dict("multiprocess", {"memory": 0.4})
    read.set_default_compute_resources_from_yaml(yaml_file=file, default_cluster_name="multiprocess")
    read.set_default_resource_scales_from_yaml(yaml_file=file, default_cluster_name="multiprocess")
    assert read.default_compute_resources_set == {"multiprocess": {"memory": "2G"}}
    assert read.default_resource_scales_set == {"multiprocess": {"memory": 0.25}}
    assert (check.default_max_attempts, read.default_max_attempts) == (1, None)
    tool.set_default_compute_resources_from_yaml("multiprocess", file, True, ignore_missing_keys=True)
    tool.set_default_resource_scales_from_yaml("multiprocess", file, True, ignore_missing_keys=True)
    return {"read": read, "check": check, "report": report}


# -- the workflow -----------------------------------------------------------------------------------------
def define(tool: Tool, made: dict[str, TaskTemplate], directory: Path) -> Workflow:
    """Tasks, arrays, dependencies, resources, attributes, limits."""
    workflow = tool.create_workflow(
        workflow_args=f"rain {directory.name}",
        name="rain",
        description="what fell where",
        workflow_attributes={"season": "all"},
        max_concurrently_running=4,
        chunk_size=500,
        default_cluster_name="multiprocess",
        default_compute_resources_set={"multiprocess": {"cores": 1, "runtime": 60}},
        default_resource_scales_set={"runtime": 0.5},
        default_max_attempts=2,
    )
    workflow_settings(workflow, str(directory / "resources.yaml"))
    reads = [read_task(made["read"], station, directory) for station in STATIONS]
    checks = check_tasks(made["check"], reads, directory)
    report = made["report"].create_task(
        name="report",
        folder=directory,
        python=sys.executable,
        script=__file__,
        task_attributes=["draft"],
        compute_resources_callable=lambda: {"cores": 1},
    )
    report.add_upstreams(checks[:-1])
    report.add_upstream(checks[-1])
    assert workflow.add_task(reads[0]) is reads[0]
    refused(ValueError, workflow.add_task, reads[0])
    twin = made["read"].create_task(station="oslo", folder="elsewhere", interpreter="sh")
    refused(exceptions.DuplicateNodeArgsError, workflow.add_task, twin)
    workflow.add_tasks([*reads[1:], *checks, report])
    lookups(workflow, reads, checks, report)
    return workflow


def workflow_settings(workflow: Workflow, file: str) -> None:
    workflow.set_default_cluster_name("multiprocess")
    workflow.set_default_max_attempts(2)
    workflow.set_default_compute_resources_from_dict(cluster_name="multiprocess", dictionary={"cores": 1})
    workflow.set_default_resource_scales_from_dict(cluster_name="multiprocess", dictionary={"memory": 0.5})
    workflow.set_default_compute_resources_from_yaml("multiprocess", file)
    workflow.set_default_resource_scales_from_yaml("multiprocess", file)
    workflow.update_default_compute_resources("multiprocess", cores=1)
    assert workflow.default_compute_resources_set["multiprocess"] == {"runtime": "00:02:00", "cores": 1}
    assert workflow.default_resource_scales_set["multiprocess"] == {"runtime": 1.0}
    assert (workflow.default_cluster_name, workflow.default_max_attempts) == ("multiprocess", 2)
    workflow.add_attributes({"season": "winter", "sponsor": "none"})
    for what in ("workflow_id", "dag_id"):
        refused(AttributeError, getattr, workflow, what)
    assert not workflow.is_bound
    refused(exceptions.EmptyWorkflowError, workflow.bind)


def read_task(template: TaskTemplate, station: str, directory: Path) -> Task:
    """A task of its own, with everything that can be said about one."""
    task = template.create_task(
        name=f"read_{station}",
        upstream_tasks=[],
        task_attributes={"station": station},
        max_attempts=1,
        compute_resources={"memory": "1G"},
        resource_scales={"memory": lambda gib: gib * 2, "cores": iter([2, 3])},
        cluster_name="multiprocess",
        fallback_queues=["null.q"],
        station=station,
        folder=directory,
        interpreter="sh",
    )
    refused(ValueError, template.create_task, station=station)
    task.add_attribute("kind", "gauge")
    task.update_compute_resources(runtime="1m")
    task.update_resource_scales(runtime=0.1)
    task.set_compute_resources_from_yaml("multiprocess", str(directory / "resources.yaml"))
    assert task.name == f"read_{station}"
    assert task.command == f"sh -c 'test ! -e {directory}/spoilt_{station} && touch {directory}/{station}'"
    assert task.task_attributes == {"station": station, "kind": "gauge"}
    assert task.cluster_name == "multiprocess"
    assert task.requested_resources == {"cores": 1, "memory": "2G", "runtime": "1m"}
    assert (task.compute_resources, task.queue_name) == (task.requested_resources, "null.q")
    assert task.original_task_resources.requested_resources["runtime"] == 60
    assert task.fallback_queues == ["null.q"]
    assert set(task.resource_scales) == {"memory", "cores", "runtime"}
    assert task.max_attempts == 1
    for what in ("task_id", "initial_status", "final_status", "array", "workflow"):
        refused(AttributeError, getattr, task, what)
    assert Task.is_valid_job_name("a_name")
    refused(ValueError, Task.is_valid_job_name, "a name")
    validate_task_resource_scales({"memory": 0.5})
    refused(ValueError, validate_task_resource_scales, {"memory": "much"})
    return task


def check_tasks(template: TaskTemplate, reads: list[Task], directory: Path) -> list[Task]:
    """An array: one task for every combination of node args."""
    checks = template.create_tasks(
        max_attempts=2,
        upstream_tasks=reads,
        max_concurrently_running=3,
        compute_resources={"cores": 1},
        compute_resources_callable=None,
        resource_scales={"memory": 0.5},
        cluster_name="multiprocess",
        name="checks",
        station=STATIONS,
        year=YEARS,
        folder=directory,
    )
    assert len(checks) == len(STATIONS) * len(YEARS)
    assert template.create_tasks(station=[], year=YEARS, folder=directory) == []
    assert checks[0].upstream_tasks == set(reads)
    assert reads[0].downstream_tasks == set(checks)
    assert Array.expand_dict(a=[1, 2], b=[3]) == [{"a": 1, "b": 3}, {"a": 2, "b": 3}]
    array = checks[0].array
    assert (array.name, array.is_bound, len(array.tasks)) == ("checks", False, 6)
    assert array.get_tasks_by_node_args(station=["oslo", "lima"], year=2001) == [checks[0], checks[2]]
    assert (array.cluster_name, array.max_attempts) == ("multiprocess", 2)
    assert array.compute_resources["cores"] == 1
    assert array.resource_scales["memory"] == 0.5
    refused(AttributeError, getattr, array, "array_id")
    refused(ValueError, array.add_task, checks[0])
    array.validate()
    return checks


def lookups(workflow: Workflow, reads: list[Task], checks: list[Task], report: Task) -> None:
    assert set(workflow.arrays) == {"read", "check", "report"}
    assert workflow.arrays["read"].tasks == reads  # inferred from tasks made one by one
    assert workflow.arrays["check"].workflow is workflow
    assert list(workflow.tasks.values())[-1] is report
    assert workflow.get_tasks_by_node_args("check", station="pune", year=[2001, 2002]) == checks[4:]
    refused(ValueError, workflow.get_tasks_by_node_args, "none")
    assert report.workflow is workflow
    assert reads[0].array is workflow.arrays["read"]
    assert checks[0] in sorted(checks)
    assert report.task_attributes == {"draft": None}
    assert report.upstream_tasks == set(checks)


def mistakes(tool: Tool, template: TaskTemplate) -> None:
    """Workflows that cannot be run are refused before anything is registered."""

    def task(year: int) -> Task:
        node = Node(template.active_task_template_version, {"station": "oslo", "year": year})
        return Task(node, {"folder": "x"}, {}, name=f"check_{year}", upstream_tasks=[])

    workflow = tool.create_workflow()
    first, second, third = (task(year) for year in (1, 2, 3))
    first.add_downstream(second)
    first.add_downstreams([third])
    workflow.add_tasks([first, second])
    refused(exceptions.NodeDependencyNotExistError, workflow.bind)
    workflow.add_task(third)
    first.add_upstream(third)
    assert "circle" in refused(exceptions.CyclicGraphError, workflow.bind)
    dag = Dag()
    dag.add_node(first.node)
    refused(exceptions.DuplicateNodeArgsError, dag.add_node, first.node)

    workflow = tool.create_workflow()
    workflow.add_task(
        template.create_task(station="oslo", year=4, folder="x", compute_resources={"cores": 10_000})
    )
    refused(ValueError, workflow.validate, strict=True, raise_on_error=True)
    workflow = tool.create_workflow()
    workflow.add_tasks([task(5), template.create_task(station="x", year=1, folder="x", cluster_name="dummy")])
    refused(RuntimeError, workflow.validate)


# -- running ----------------------------------------------------------------------------------------------
def bind(workflow: Workflow) -> None:
    """Everything has an id afterwards."""
    workflow.set_task_template_max_concurrency_limit(task_template_name="read", limit=2)
    workflow.set_max_concurrently_running(task_template_name="check", max_concurrently_running=0)
    refused(KeyError, workflow.set_task_template_max_concurrency_limit, "none", 1)
    workflow.validate(strict=True, raise_on_error=True)
    workflow.bind()
    workflow.bind()
    assert workflow.is_bound
    assert min(workflow.workflow_id, workflow.dag_id) > 0
    assert len(workflow.workflow_args_hash) == len(workflow.task_hash) == 64
    for task in workflow.tasks.values():
        assert (task.initial_status, task.task_id > 0, task.node.node_id > 0) == ("G", True, True)
        assert task.node.bind() == task.node.node_id
    array = workflow.arrays["check"]
    assert array.bind() == array.array_id
    workflow.add_attributes({"bound": True})
    report = workflow.arrays["report"].tasks[0]
    report.add_attribute("bound", 1)
    assert workflow.get_cluster_by_name("multiprocess").cluster_name == "multiprocess"


def run_with_a_limit_that_changes(workflow: Workflow, directory: Path) -> None:
    """No check starts until its limit is raised, here by another thread while the workflow runs."""

    def raise_limit() -> None:
        while not (directory / "lima").exists():
            time.sleep(0.01)
        assert not (directory / "checked").exists()
        workflow.set_task_template_max_concurrency_limit("check", 2)

    (directory / "spoilt_oslo").touch()
    thread = threading.Thread(target=raise_limit)
    thread.start()
    result = workflow.run(
        fail_fast=False,
        seconds_until_timeout=60,
        resume=False,
        reset_running_jobs=True,
        distributor_startup_timeout=180,
        resume_timeout=60,
        configure_logging=False,
    )
    thread.join()
    assert (result, result.done_count, result.failed_count, result.total_tasks) == ("E", 2, 1, 10)
    assert (result.num_previously_complete, result.num_newly_completed) == (0, 2)
    assert result.workflow_run_id == workflow.last_workflow_run_id
    assert result.elapsed_time > 0
    (spoilt,) = result.failed_task_ids
    assert result.task_final_statuses[spoilt] == "F"
    assert len(result.done_task_ids) == 2


def errors(workflow: Workflow) -> None:
    """What went wrong, in three places."""
    (failed,) = [task for task in workflow.tasks.values() if task.final_status == "F"]
    assert failed.name == "read_oslo"
    found = failed.get_errors()
    assert set(found["error_log"][0]) >= {"task_instance_error_log_id", "error_time", "description"}
    assert set(workflow.get_errors(limit=10)) == {failed.task_id}
    assert set(workflow.task_errors) == {"read_oslo"}
    (attempt,) = json.loads(task_status([failed.task_id], status=["FATAL"], json=True))
    assert attempt["STATUS"] == "FATAL"


def set_by_hand(workflow: Workflow) -> None:
    """Choose tasks by what they are, look at them, set them by hand."""
    workflow_id, requester = workflow.workflow_id, workflow.requester
    chosen = status_commands.select_tasks(workflow_id, template="read", status="DONE", attributes=["kind"])
    assert len(chosen) == 2
    assert status_commands.validate_workflow(chosen, requester) == workflow_id
    status_commands.validate_username(workflow_id, getpass.getuser(), requester)
    refused(AssertionError, status_commands.validate_username, workflow_id, "somebody else", requester)
    assert list(status_commands._chunk_ids([1, 2, 3], 2)) == [[1, 2], [3]]
    tree = status_commands.get_sub_task_tree(chosen)
    assert len(tree) == 2 + 6 + 1
    neighbours = status_commands.get_task_dependencies(chosen[0])
    assert (len(neighbours["up"]), len(neighbours["down"])) == (0, 6)
    told = status_commands.update_task_status(chosen[:1], workflow_id, "G", downstream=False)
    assert "1 of 1 tasks" in told
    told = status_commands.update_task_status(
        chosen, workflow_id, new_status="D", force=False, recursive=False, requester=requester
    )
    assert "1 of 2 tasks" in told
    assert "at most 3 tasks" in status_commands.concurrency_limit(workflow_id, max_tasks=3)
    assert "of its tasks will run" in status_commands.workflow_reset(workflow_id, partial_reset=True)


def resume(workflow: Workflow, directory: Path) -> None:
    """Mend the cause and go on with what is not done."""
    refused(exceptions.WorkflowAlreadyExists, workflow.run)
    (directory / "spoilt_oslo").unlink()
    result = workflow.run(resume=True)
    assert (result, result.num_previously_complete, result.num_newly_completed) == ("D", 2, 8)
    assert {task.final_status for task in workflow.tasks.values()} == {"D"}
    assert workflow.task_errors == {}
    assert len((directory / "checked").read_text().splitlines()) == 6
    assert (directory / "report").read_text() == "6 checks"
    refused(exceptions.WorkflowAlreadyComplete, workflow.run, resume=True)


def read_back(workflow: Workflow, check: TaskTemplate) -> None:
    """What it needed, where its output is, what it was called."""
    report = workflow.arrays["report"].tasks[0]
    usage = report.resource_usage()
    assert (usage["num_attempts"], usage["runtime"] > 0, usage["memory"] > 0) == (1, True, True)
    statistics = check.resource_usage(
        workflows=[workflow.workflow_id], node_args={"station": ["lima"]}, ci=0.95
    )
    assert statistics["num_tasks"] == 2
    version_id = check.active_task_template_version.id
    assert status_commands.task_template_resources(version_id, workflows=[workflow.workflow_id])
    text = status_commands.create_resource_yaml(
        workflow.workflow_id, None, "avg", "avg", "max", ["multiprocess"]
    )
    assert text.startswith("task_template_resources:")
    assert "sponsored" in json.dumps(attributes_of(report))
    (row,) = json.loads(workflow_status(workflow.workflow_id, json=True))
    assert (row["WF_NAME"], row["WF_STATUS"], row["DONE"]) == ("rain", "DONE", 10)
    assert len(workflow_status(user=getpass.getuser(), limit=1)) == 1
    assert len(json.loads(workflow_tasks(workflow.workflow_id, status=["DONE"], json=True, limit=4))) == 4
    assert len(workflow_tasks(workflow.workflow_id)) == 5
    (paths,) = status_commands.get_filepaths(workflow.workflow_id, array_name="report", job_name="report")
    assert Path(paths["OUTPUT_PATH"]).read_text() == "the report is written\n"


def attributes_of(task: Task) -> list[str]:
    names = ("sponsored", "draft", "bound")
    return [
        name
        for name in names
        if status_commands.select_tasks(task.workflow.workflow_id, attributes=[name], task_ids=task.task_id)
    ]


def write_report(folder: Path) -> None:
    """What the task ``report`` does; it runs in a process of its own."""
    lines = (folder / "checked").read_text().splitlines()
    (folder / "report").write_text(f"{len(lines)} checks")
    add_task_attributes({"sponsored": len(lines)})
    print("the report is written")


# -- resources and clusters -------------------------------------------------------------------------------
def resources() -> None:
    """What is asked of a queue, and how it grows."""
    cluster = Cluster.get_cluster("multiprocess")
    unbound = Cluster(cluster_name="multiprocess")
    assert not unbound.is_bound
    unbound.bind()
    assert (unbound.is_bound, unbound.id) == (True, cluster.id)
    assert isinstance(cluster.connection_parameters, dict)
    refused(ValueError, Cluster.get_cluster, "none")
    queue = cluster.get_queue("null.q")
    refused(ValueError, cluster.get_queue, "none.q")
    assert cluster.get_distributor().cluster_name == "multiprocess"
    assert cluster.get_worker_node() is not None
    assert ClusterType("multiprocess").cluster_queue_class is type(queue)

    asked = TaskResources({"memory": "1500M", "runtime": "01:30:00", "cores": 1}, queue)
    assert asked.validate_resources(strict=True)[0]
    granted = asked.coerce_resources()
    assert (granted.requested_resources["runtime"], granted.is_bound) == (5400, False)
    refused(AttributeError, getattr, granted, "id")
    granted.bind()
    asyncio.run(asked.bind_async(None))
    assert min(granted.id, asked.id) > 0
    grown = granted.adjust_resources({"runtime": 0.5, "memory": lambda value: value * 2}, [queue])
    assert grown.requested_resources["runtime"] == 8100
    assert granted == asked.coerce_resources()
    assert TaskResources.convert_memory_to_gib("8G") == 8
    assert TaskResources.convert_runtime_to_s("2h") == 7200
    assert TaskResources.scale_val("memory", 4, 0.5) == 6

    assert (MemUnit.convert("8G", to="M"), MemUnit.convert("12", "M")) == (8192, 12) or MemUnit.convert(
        "8G"
    ) > 8000
    refused(exceptions.InvalidMemoryFormat, MemUnit.convert, "much")
    refused(exceptions.InvalidMemoryUnit, MemUnit.convert, "8X")
    length = TimeUnit(sec=30, min=1, hour=2)
    assert (length.seconds, length.minutes, length.readable) == (7290, 121.5, "2h01m30s")
    assert length.hours == TimeUnit.sec_to_hour(7290)
    assert (TimeUnit.min_to_sec(2), TimeUnit.hour_to_sec(1), TimeUnit.hour_to_min(2)) == (120, 3600, 120)
    assert (TimeUnit.min_to_hour(30), TimeUnit.sec_to_min(90)) == (0.5, 1.5)


# -- functions as tasks -----------------------------------------------------------------------------------
@task_generator(serializers={}, tool_name="every_call", naming_args=["who"], module_source_path=__file__)
def greet(who: str, times: int, to: str, loud: bool | None = None) -> None:
    """Write a greeting, in a task of its own."""
    text = f"hello {who}!" if loud else f"hello {who}"
    Path(to).write_text(" ".join([text] * times))


def function_tasks(tool: Tool, directory: Path) -> None:
    """Python functions as tasks; named values become the command line and come back as what they were."""
    workflow = tool.create_workflow(name="greetings", default_cluster_name="multiprocess")
    one = greet.create_task(who="ada's", times=2, to=str(directory / "one"), loud=True)
    workflow.add_task(one)
    assert get_tasks_by_node_args(workflow, greet, {"times": 2}) == [one]
    refused(ValueError, get_tasks_by_node_args, workflow, greet, {"times": 3})
    refused(TypeError, greet.create_task, who="x", times="often", to="y")
    assert workflow.run() == "D"
    assert (directory / "one").read_text() == "hello ada's! hello ada's!"
    greet.run([f"who={greet.serialize('eve', str)}", "times=1", f"to={directory}/two"])
    assert (directory / "two").read_text() == "hello eve"
    assert greet.deserialize("3", int) == 3
    assert greet.serialize_array([1, 2], list[int]) == ["1", "2"]
    greet.help()
    assert isinstance(greet, TaskGenerator)
    assert greet.task_function.__name__ == "greet"
    assert len(greet.create_tasks(who=["a", "b"], times=[1, 2], to=["x"])) == 4
    assert create_task_name({"a": 1}, prefix="p").startswith("p")
    assert is_optional_type(int | None)
    assert get_optional_type_parameter(int | None) is int
    assert make_cli_argument_string("a")


# -- runs step by step, logging, requests, constants ------------------------------------------------------
def runs(tool: Tool, template: TaskTemplate, directory: Path) -> None:
    """Most scripts need only ``Workflow.run``; this is what it is made of."""

    def bound(name: str) -> Workflow:
        workflow = tool.create_workflow(name=name)
        workflow.add_tasks(template.create_tasks(station=[name], year=[1, 2], folder=directory))
        workflow.bind()
        return workflow

    workflow = bound("by hand")
    factory = WorkflowRunFactory(workflow_id=workflow.workflow_id)
    factory.set_workflow_resume(reset_running_jobs=True, resume_timeout=10, force_cleanup=False)
    factory.wait_for_workflow_resume(resume_timeout=10)
    assert factory.force_cleanup_kill_self() == 0
    factory.reset_task_statuses(reset_if_running=True, force_cleanup=False)
    run = factory.create_workflow_run()
    assert isinstance(run, WorkflowRun)
    assert (run.bind(), run.status) == (run.workflow_run_id, "L")
    refused(exceptions.WorkflowNotResumable, factory.create_workflow_run)
    run._update_status("B")
    config = WorkflowRunConfig.from_defaults()
    config.fail_fast = True
    with DistributorContext("multiprocess", run.workflow_run_id, 180) as distributor:
        distributor.wait_for_startup_signal(timeout=10)
        assert distributor.alive()
        outcome = run_workflow(workflow, run.workflow_run_id, distributor.alive, config=config, timeout=60)
    assert isinstance(outcome, OrchestratorResult)
    assert (outcome.final_status, outcome.total_tasks, outcome.done_count) == ("D", 2, 2)
    assert (outcome.failed_count, outcome.num_previously_complete, outcome.failed_task_ids) == (0, 0, [])
    assert sorted(outcome.done_task_ids) == sorted(outcome.task_final_statuses)
    assert outcome.elapsed_time > 0
    assert DistributorContext.derive_jobmon_command_from_env() is None

    workflow = bound("by id")
    run_id = WorkflowRunFactory(workflow.workflow_id).create_workflow_run().workflow_run_id
    assert resume_workflow_run(workflow.workflow_id, run_id, lambda: True).final_status == "D"


def outcomes(tool: Tool, directory: Path) -> None:
    """How a run can end, besides well; and one that goes on without this process."""
    template = tool.get_task_template("shell", "{command}", ["command"])
    workflow = tool.create_workflow(name="fails at once")
    workflow.add_tasks(template.create_tasks(command=["exit 3", "sleep 60"], max_attempts=1))
    assert workflow.run(fail_fast=True) == "E"
    workflow = tool.create_workflow(name="takes too long")
    workflow.add_task(template.create_task(command="sleep 60"))
    assert "timeout" in refused(RuntimeError, workflow.run, seconds_until_timeout=0.5)

    workflow = tool.create_workflow(name="detached", workflow_args=f"detached {directory.name}")
    workflow.add_task(template.create_task(command=f"touch {directory}/detached"))
    workflow.run(detach=True)
    assert wait_workflow(workflow.workflow_id, timeout=30) == "D"
    assert (directory / "detached").exists()


def plumbing() -> None:
    """Logging, requests by hand, names and numbers."""
    assert default_config["version"] == 1
    configure_client_logging()
    ensure_structlog_configured()
    JobmonLoggerConfig.set_default_config()
    JobmonLoggerConfig.attach_default_handler("every_call", log_level=20)
    core_logging.set_jobmon_context(season="winter")
    with core_logging.bind_jobmon_context(station="oslo"):
        assert len(core_logging.get_jobmon_context()) == 2
    core_logging.unset_jobmon_context("season")
    core_logging.clear_jobmon_context()
    assert core_logging.get_jobmon_context() == {}

    requester = Requester.from_defaults()
    requester.add_server_structlog_context(season="winter")
    assert requester.send_request("/health", {}, "get", tenacious=True)[0] == 200
    assert asyncio.run(requester.send_request_async(None, "/health", {}, "get"))[0] == 200
    refused(exceptions.InvalidRequest, requester.send_request, "/monitor/workflow/0/tasks", {}, "get")

    assert jobmon.client.__version__ == jobmon.core.__version__ == jobmon.server.__version__
    assert [int(kind) for kind in constants.ArgType] == [1, 2, 3]
    assert [str(kind) for kind in constants.TaskResourcesType] == ["O", "V", "A"]
    assert (constants.WorkflowStatus.DONE, constants.WorkflowRunStatus.ERROR) == ("D", "E")
    assert (constants.TaskStatus.REGISTERING, constants.TaskInstanceStatus.KILL_SELF) == ("G", "K")
    assert (constants.Direction.UP, constants.Direction.DOWN) == ("up", "down")
    assert set("/\\'\" ") <= set(constants.SpecialChars.ILLEGAL_SPECIAL_CHARACTERS)
    assert {1} == constants.ExecludeTTVs.EXECLUDE_TTVS
    assert constants.MaxConcurrentlyRunning.MAXCONCURRENTLYRUNNING == 2147483647
    assert [int(code) for code in exceptions.ReturnCodes] == [0, 198, 199]
    change = exceptions.InvalidStateTransition("Task", 1, "D", "R")
    assert isinstance(change, exceptions.TransitionError)


def main() -> None:
    """All of it, one after the other."""
    directory = Path(tempfile.mkdtemp(prefix="rain_"))
    tool = tools(directory)
    made = templates(tool, directory)
    say("tool and templates are registered")
    workflow = define(tool, made, directory)
    mistakes(tool, made["check"])
    bind(workflow)
    say(f"workflow {workflow.workflow_id} is bound: {workflow!r}")
    run_with_a_limit_that_changes(workflow, directory)
    errors(workflow)
    set_by_hand(workflow)
    resume(workflow, directory)
    say("the workflow failed, was mended, and is done")
    read_back(workflow, made["check"])
    resources()
    function_tasks(tool, directory)
    runs(tool, made["check"], directory)
    outcomes(tool, directory)
    plumbing()
    say("every call was made")


if __name__ == "__main__":
    if sys.argv[1:2] == ["report"]:
        write_report(Path(sys.argv[2]))
    else:
        main()
