"""The workflows that are measured, and a run of them."""

from __future__ import annotations

from bench.costs import Costs, Meter
from jobmon.client.api import Tool
from jobmon.client.workflow import Workflow
from jobmon.core.requester import Requester


def independent(num_tasks: int, cluster: str, requester: Requester | None = None) -> Workflow:
    """Tasks that do nothing and wait for nothing; registering the tool has started the local server."""
    tool = Tool(name="bench", requester=requester)
    template = tool.get_task_template("nothing", "true {n}", node_args=["n"])
    workflow = tool.create_workflow(name=f"{num_tasks} tasks", default_cluster_name=cluster)
    workflow.add_tasks(template.create_tasks(n=list(range(num_tasks))))
    return workflow


def chain(num_tasks: int, cluster: str) -> Workflow:
    """Tasks that do nothing, each of which waits for the one before."""
    tool = Tool(name="bench")
    template = tool.get_task_template("link", "true {n}", node_args=["n"])
    tasks = [template.create_task(n=0)]
    for n in range(1, num_tasks):
        tasks.append(template.create_task(n=n, upstream_tasks=tasks[-1:]))
    workflow = tool.create_workflow(name=f"chain of {num_tasks}", default_cluster_name=cluster)
    workflow.add_tasks(tasks)
    return workflow


def run_to_the_end(workflow: Workflow, resume: bool = False) -> None:
    """Bind and run.

    Raises:
        RuntimeError: it did not end with all tasks done, so that there is nothing to measure.
    """
    status = workflow.run(resume=resume)
    if status != "D":
        raise RuntimeError(f"The workflow ended with status {status}.")


def independent_run(num_tasks: int, cluster: str) -> Costs:
    """Bind and run tasks that wait for nothing."""
    workflow = independent(num_tasks, cluster)
    with Meter() as meter:
        run_to_the_end(workflow)
    return meter.costs


def chain_run(num_tasks: int, cluster: str) -> Costs:
    """Bind and run a chain."""
    workflow = chain(num_tasks, cluster)
    with Meter() as meter:
        run_to_the_end(workflow)
    return meter.costs
