"""What a run would do, before anything runs: of a workflow in a script, of a registered one, of a script as a file."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import msgspec

from jobmon.client.bind import Requests, check_workflow
from jobmon.client.commands.plan_compare import (
    Registered,
    compare_tasks,
    describe_differences,
    describe_rewired,
    find_rewired,
    read_registered,
)
from jobmon.client.commands.script import answer_of_script, end_with_answer
from jobmon.client.plan import (
    NO_REQUEST,
    Heading,
    Plan,
    PlanTasks,
    PlanTemplate,
    Request,
    TemplateDifference,
    make_plan,
    shown_positions,
)
from jobmon.client.plan_graph import Chains, PlanGraph
from jobmon.core.cluster import Cluster
from jobmon.core.constants import PLAN_VARIABLE
from jobmon.core.exceptions import (
    ClusterError,
    CyclicGraphError,
    EmptyWorkflowError,
    NodeDependencyNotExistError,
    ServerError,
    UsageError,
)
from jobmon.core.requester import Requester
from jobmon.core.states import WorkflowStatus
from jobmon.serializers.define import WorkflowMatchRequest, WorkflowMatchResponse
from jobmon.serializers.plan import (
    PlanReason,
    PlanTasksResponse,
    TaskArgsResponse,
    TemplateRuntimesResponse,
)

if TYPE_CHECKING:
    from jobmon.client.task import Task
    from jobmon.client.workflow import Workflow

_GetCluster = Callable[[str], Cluster]
_Names = Callable[[Sequence[int]], list[str]]
_GRAPH_ERRORS = (EmptyWorkflowError, NodeDependencyNotExistError, CyclicGraphError)


# -- of a workflow in this process --------------------------------------------------------------------
class Outlook(NamedTuple):
    """A workflow beside what is registered of it.

    Attributes:
        requests: what its tasks ask for, as far as that is sound.
        problems: what would keep ``run()`` from running, or be changed by it.
        columns: its tasks and why each would run.
        upstreams: positions of the tasks each waits for; none where the graph cannot be followed.
        match: the registered workflow of the same workflow_args.
        differences: what differs from that one, by template; ``differs`` where anything does.
    """

    requests: Requests
    problems: list[str]
    columns: PlanTasks
    upstreams: list[list[int]]
    match: WorkflowMatchResponse
    differences: list[TemplateDifference]
    differs: bool


def look_ahead(workflow: Workflow) -> Outlook:
    """Which tasks a run would run now, and why; nothing is registered.

    Args:
        workflow: registered or not.
    """
    requests, problems, is_graph_sound = _check(workflow)
    tasks = list(workflow.tasks.values())
    columns = _columns_of(workflow, tasks, requests)
    upstreams = list(_upstreams_of(tasks)) if is_graph_sound else [[] for _ in tasks]
    message = WorkflowMatchRequest(workflow.tool_version.id, workflow.workflow_args_hash)
    match = workflow.requester.send("POST", "/define/workflow_match", message, WorkflowMatchResponse)
    registered: Registered | None = None
    differs = False
    if match.workflow_id is not None and tasks:
        registered = read_registered(workflow.requester, match.workflow_id)
        differs = is_graph_sound and not _is_same(workflow, match)
    columns.reasons = compare_tasks(tasks, registered, is_same=not differs)
    differences: list[TemplateDifference] = []
    if differs and registered is not None:
        differences = _differences(workflow, match, registered, columns)
        _mark_behind_changes(columns, upstreams)
        problems.append(_other_tasks(workflow, match))
    return Outlook(requests, problems, columns, upstreams, match, differences, differs)


def plan_workflow(workflow: Workflow) -> Plan:
    """What ``workflow.run()`` would do now; nothing is registered.

    Args:
        workflow: registered or not.
    """
    outlook = look_ahead(workflow)
    columns, tasks = outlook.columns, list(workflow.tasks.values())
    heading = Heading(
        outlook.match.workflow_id,
        workflow.name,
        workflow.workflow_args,
        workflow.max_concurrently_running,
        _slots({request.cluster for request in columns.requests}, workflow.get_cluster_by_name),
    )
    plan, chains = make_plan(heading, columns, outlook.upstreams)
    _name_chains(plan, chains, lambda places: [tasks[place].name for place in places])
    plan.problems += outlook.problems
    plan.differences = outlook.differences
    plan.notes += _of_state(outlook.match.workflow_id, outlook.match.status, plan)
    return plan


def _check(workflow: Workflow) -> tuple[Requests, list[str], bool]:
    """What its tasks ask for as far as that is sound, what is wrong, and whether its graph can be followed."""
    problems: list[str] = []
    for is_strict in (True, False):
        try:
            _, requests = check_workflow(workflow, is_strict, is_strict)
            return requests, problems, True
        except ServerError:
            raise
        except _GRAPH_ERRORS as error:
            return {}, [str(error)], False
        except (UsageError, ValueError, RuntimeError) as error:
            if str(error) not in problems:
                problems.append(str(error))
    return {}, problems, True


def _columns_of(workflow: Workflow, tasks: Sequence[Task], requests: Requests) -> PlanTasks:
    named = workflow.arrays
    measured = _measured(workflow.requester, [array.task_template_version.id for array in named.values()])
    columns = PlanTasks(
        [
            PlanTemplate(name, each.max_concurrently_running, measured.get(each.task_template_version.id))
            for name, each in named.items()
        ],
        [NO_REQUEST],
    )
    template_places = {id(each): place for place, each in enumerate(named.values())}
    request_places: dict[tuple[int, int], int] = {}
    for key, request in requests.items():
        resources = request.resources
        request_places[key] = len(columns.requests)
        columns.requests.append(
            Request.of(request.cluster_name, resources.queue.queue_name, resources.requested_resources)
        )
    for task in tasks:
        columns.template_of.append(template_places[id(task.array)])
        columns.request_of.append(request_places.get((id(task._array), id(task._settings)), 0))
    return columns


def _upstreams_of(tasks: Sequence[Task]) -> Iterator[list[int]]:
    places = {id(task): place for place, task in enumerate(tasks)}
    shared: dict[int, list[int]] = {}
    for task in tasks:
        key = id(task._upstreams)
        if key not in shared or not isinstance(task._upstreams, tuple):
            found = [places[id(up)] for up in task._upstreams]
            if not isinstance(task._upstreams, tuple) or len(found) < 2:
                yield found
                continue
            shared[key] = found
        yield shared[key]


def _is_same(workflow: Workflow, match: WorkflowMatchResponse) -> bool:
    from jobmon.client.dag import Dag

    if match.task_hash != workflow.task_hash:
        return False
    dag = Dag.of_tasks(workflow.tasks.values(), workflow.requester)
    return match.dag_hash == dag.dag_hash


def _differences(
    workflow: Workflow, match: WorkflowMatchResponse, registered: Registered, columns: PlanTasks
) -> list[TemplateDifference]:
    """What differs from the registered workflow; tasks that wait for others count as changed from then on."""
    tasks = list(workflow.tasks.values())
    if match.task_hash != workflow.task_hash:
        return describe_differences(workflow.requester, tasks, registered)
    rewired = find_rewired(workflow.requester, tasks, registered)
    for place in rewired:
        columns.reasons[place] = PlanReason.CHANGED
    return describe_rewired(tasks, rewired)


def _mark_behind_changes(columns: PlanTasks, upstreams: Sequence[Sequence[int]]) -> None:
    """Tasks that are as they were, but wait for one that is not, are changed too."""
    own = (PlanReason.NEW, PlanReason.CHANGED)
    graph = PlanGraph(upstreams, bytearray(b"\1") * len(columns.reasons))
    behind = graph.spread(place for place, reason in enumerate(columns.reasons) if reason in own)
    for place, reason in enumerate(columns.reasons):
        if behind[place] and reason is PlanReason.UNCHANGED:
            columns.reasons[place] = PlanReason.UPSTREAM_CHANGED


def _other_tasks(workflow: Workflow, match: WorkflowMatchResponse) -> str:
    what = "dependencies" if match.task_hash == workflow.task_hash else "tasks"
    return (
        f"Workflow {match.workflow_id} has the same workflow_args ('{workflow.workflow_args}') but other {what}: "
        "run() would refuse. Use other workflow_args, then it is a new workflow and every task runs; or define "
        "the tasks as they were, to go on with that one."
    )


def _of_state(workflow_id: int | None, status: str, plan: Plan) -> list[str]:
    """What the state of a registered workflow means for a run."""
    if workflow_id is None or plan.differences:
        return []
    if status == WorkflowStatus.DONE:
        return [f"Workflow {workflow_id} is complete: run() would refuse it."]
    if status == WorkflowStatus.REGISTERING:
        return []
    return [
        f"It was run before. To go on with it: run(resume=True), or jobmon workflow resume -w {workflow_id}"
    ]


# -- of a registered workflow -------------------------------------------------------------------------
def plan_registered(workflow_id: int, requester: Requester | None = None) -> Plan:
    """What a run of a registered workflow would do now.

    Args:
        workflow_id: the workflow.
        requester: how to reach the server.

    Raises:
        NotFoundError: there is no such workflow.
    """
    from jobmon.swarm.gateway import Gateway

    requester = requester or Requester.from_defaults()
    gateway = Gateway(requester, workflow_id)
    metadata = gateway.metadata()
    measured = _measured(requester, [each.task_template_version_id for each in metadata.arrays])
    columns = PlanTasks(
        [
            PlanTemplate(
                each.task_template_name,
                each.max_concurrently_running,
                measured.get(each.task_template_version_id),
            )
            for each in metadata.arrays
        ],
        [
            Request.of(row.cluster_name, row.queue_name, row.requested_resources)
            for row in metadata.task_resources
        ],
    )
    template_places = {each.id: place for place, each in enumerate(metadata.arrays)}
    request_places = {row.id: place for place, row in enumerate(metadata.task_resources)}
    task_ids, node_ids, counts, edges = array("q"), array("q"), array("i"), array("q")
    for page in gateway.tasks():
        task_ids.extend(page.task_ids)
        node_ids.extend(page.node_ids)
        columns.template_of.extend([template_places[each] for each in page.array_ids])
        columns.request_of.extend([request_places[each] for each in page.task_resources_ids])
        for above in page.upstream_node_ids:
            counts.append(len(above))
            edges.extend(above)
    reasons = _read_reasons(requester, workflow_id)
    columns.reasons = [reasons.get(task_id, PlanReason.NEW) for task_id in task_ids]
    heading = Heading(
        workflow_id,
        metadata.name,
        "",
        metadata.max_concurrently_running,
        _slots(
            {request.cluster for request in columns.requests},
            lambda name: Cluster.get_cluster(name, requester),
        ),
    )
    plan, chains = make_plan(heading, columns, _upstreams_of_nodes(node_ids, counts, edges))
    _name_chains(plan, chains, lambda places: _names(requester, workflow_id, [task_ids[p] for p in places]))
    if not metadata.is_bound:
        plan.problems.append(
            f"Workflow {workflow_id} is not registered completely; run the script that defines it again."
        )
    plan.notes += _of_state(workflow_id, metadata.status, plan)
    return plan


def _upstreams_of_nodes(node_ids: array[int], counts: array[int], edges: array[int]) -> Iterator[list[int]]:
    places = {node_id: place for place, node_id in enumerate(node_ids)}
    start = 0
    for count in counts:
        yield [places[node_id] for node_id in edges[start : start + count]]
        start += count


def _read_reasons(requester: Requester, workflow_id: int) -> dict[int, PlanReason]:
    found: dict[int, PlanReason] = {}
    by_letter = {reason.value: reason for reason in PlanReason}
    after: int | None = 0
    while after is not None:
        path = f"/monitor/workflow/{workflow_id}/plan_tasks"
        page = requester.send(
            "GET", path, None, PlanTasksResponse, params={"after_task_id": after}, timeout_seconds=120
        )
        found.update(zip(page.task_ids, map(by_letter.__getitem__, page.reasons), strict=True))
        after = page.next_task_id
    return found


# -- of a script --------------------------------------------------------------------------------------
def plan_script(script: str | Path, arguments: Sequence[str] = ()) -> Plan:
    """What the first ``run()`` (or ``bind()``) of a script would do.

    The script is started in a process of its own and ends there: what stands before that call is carried out, what
    stands behind it is not. What it prints goes to stderr.

    Args:
        script: a Python file, or something else that can be executed.
        arguments: its arguments.

    Raises:
        UsageError: there is no such file, it failed, or it never came to ``run()``; the message says which.
    """
    answer = answer_of_script(script, arguments, PLAN_VARIABLE, "jobmon workflow plan")
    return msgspec.json.decode(answer, type=Plan)


def end_with_plan(workflow: Workflow, path: str) -> NoReturn:
    """Write the plan of a workflow to a file, unless an earlier one stands there, and end the script.

    Raises:
        AnswerWritten: always.
    """

    def answer() -> bytes:
        plan = plan_workflow(workflow)
        plan.notes.append("This is the first run() of the script; what stands behind it was not carried out.")
        return msgspec.json.encode(plan)

    end_with_answer(path, answer)


# -- reading ------------------------------------------------------------------------------------------
def _measured(requester: Requester, version_ids: Iterable[int]) -> dict[int, float]:
    """Mean run times in seconds by template version."""
    params: Mapping[str, list[int]] = {"task_template_version_id": list(version_ids)}
    answer = requester.send(
        "GET", "/monitor/template_runtimes", None, TemplateRuntimesResponse, params=params
    )
    return {row.task_template_version_id: row.mean_seconds for row in answer.runtimes}


def _slots(clusters: Iterable[str], get_cluster: _GetCluster) -> int | None:
    """Commands that run at once where the controller runs them itself; ``None`` elsewhere."""
    found = []
    for name in clusters:
        if name == NO_REQUEST.cluster:
            continue
        try:
            plugin = get_cluster(name).get_distributor()
            if plugin.capabilities.runs_commands:
                found.append(plugin.slots)
        except ClusterError:
            continue  # a cluster that cannot be reached from here sets no limit here
    return max(found, default=None)


def _name_chains(plan: Plan, chains: Chains, names: _Names) -> None:
    """Fill in the names of the tasks of the chains that are shown."""
    for chain, positions in ((plan.longest_chain, chains.longest), (plan.critical_path, chains.slowest)):
        shown = shown_positions(positions)
        found = iter(names([position for position in shown if position >= 0]))
        chain.tasks = [next(found) if position >= 0 else "" for position in shown]


def _names(requester: Requester, workflow_id: int, task_ids: Sequence[int]) -> list[str]:
    path = f"/monitor/workflow/{workflow_id}/task_args"
    params = {"task_id": list(task_ids)}
    rows = requester.send("GET", path, None, TaskArgsResponse, params=params).tasks
    names = {row.task_id: row.name for row in rows}
    return [names.get(task_id, str(task_id)) for task_id in task_ids]
