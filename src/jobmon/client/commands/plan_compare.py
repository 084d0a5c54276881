"""The tasks of a script against those of the workflow that is registered under the same workflow_args."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jobmon.client.plan import ChangedTask, TemplateDifference
from jobmon.core.hashing import hash_parts
from jobmon.core.requester import Requester
from jobmon.serializers.plan import PlanReason, PlanTasksResponse, TaskArgsResponse, TaskArgsRow
from jobmon.serializers.swarm import WorkflowMetadataResponse

if TYPE_CHECKING:
    from jobmon.client.task import Task

EXAMPLES = 5
"""Tasks of a template that are named as new, gone or changed."""


@dataclass
class Registered:
    """The tasks of a registered workflow, told apart by their nodes.

    Attributes:
        workflow_id: the workflow.
        places: place of each node (template version and node args, hashed) in the columns.
        task_ids, version_ids, reasons, args_hashes: one entry a task.
    """

    workflow_id: int
    places: dict[bytes, int] = field(default_factory=dict)
    task_ids: array[int] = field(default_factory=lambda: array("q"))
    version_ids: array[int] = field(default_factory=lambda: array("q"))
    reasons: list[PlanReason] = field(default_factory=list)
    args_hashes: list[bytes] = field(default_factory=list)

    def place_of(self, task: Task) -> int | None:
        """Place of the task with the same node; ``None`` for a new one."""
        return self.places.get(bytes.fromhex(task.node.node_hash))

    def has_changed(self, task: Task, place: int) -> bool:
        """Whether the task args differ."""
        return self.args_hashes[place] != _digest(task.task_args_hash)


def _digest(text: str) -> bytes:
    return text.encode()[:32]  # half of the hash tells two apart as well


def read_registered(requester: Requester, workflow_id: int) -> Registered:
    """All tasks of a registered workflow, read in pages; values of args are not read."""
    found = Registered(workflow_id)
    by_letter = {reason.value: reason for reason in PlanReason}
    after: int | None = 0
    while after is not None:
        page = requester.send(
            "GET",
            f"/monitor/workflow/{workflow_id}/plan_tasks",
            None,
            PlanTasksResponse,
            params={"after_task_id": after, "identity": "true"},
            timeout_seconds=120,
        )
        for version_id, args_hash in zip(page.task_template_version_ids, page.node_args_hashes, strict=True):
            found.places[bytes.fromhex(hash_parts([str(version_id), args_hash]))] = len(found.places)
        found.task_ids.extend(page.task_ids)
        found.version_ids.extend(page.task_template_version_ids)
        found.reasons += map(by_letter.__getitem__, page.reasons)
        found.args_hashes += map(_digest, page.task_args_hashes)
        after = page.next_task_id
    return found


def compare_tasks(tasks: Sequence[Task], registered: Registered | None, *, is_same: bool) -> list[PlanReason]:
    """Why each task would run.

    Args:
        tasks: those of the script.
        registered: the workflow of the same workflow_args; ``None`` for none.
        is_same: whether it is the same workflow, so that its tasks count as what they are; otherwise they are
            compared with those of the script.
    """
    if registered is None:
        return [PlanReason.NEW] * len(tasks)
    reasons = []
    for task in tasks:
        place = registered.place_of(task)
        if place is None:
            reasons.append(PlanReason.NEW)
        elif is_same:
            reasons.append(registered.reasons[place])
        else:
            is_changed = registered.has_changed(task, place)
            reasons.append(PlanReason.CHANGED if is_changed else PlanReason.UNCHANGED)
    return reasons


@dataclass
class _Found:
    """Of one template version: the counts, and the first few of each kind."""

    difference: TemplateDifference
    gone: list[int] = field(default_factory=list)
    changed: list[tuple[Task, int]] = field(default_factory=list)


def describe_differences(
    requester: Requester, tasks: Sequence[Task], registered: Registered
) -> list[TemplateDifference]:
    """What differs, by template, with a few examples; of these alone the args are read."""
    path = f"/swarm/workflow/{registered.workflow_id}/metadata"
    metadata = requester.send("GET", path, None, WorkflowMetadataResponse)
    names = {each.task_template_version_id: each.task_template_name for each in metadata.arrays}
    found: dict[int, _Found] = {}

    def of(version_id: int) -> _Found:
        if version_id not in found:
            found[version_id] = _Found(TemplateDifference(names.get(version_id, f"version {version_id}")))
        return found[version_id]

    is_gone = bytearray(b"\1") * len(registered.task_ids)
    for task in tasks:
        version = task.node.task_template_version
        names.setdefault(version.id, version.task_template.template_name)
        place = registered.place_of(task)
        if place is None:
            entry = of(version.id)
            entry.difference.num_new += 1
            if len(entry.difference.new) < EXAMPLES:
                entry.difference.new.append(task.name)
            continue
        is_gone[place] = 0
        if registered.has_changed(task, place):
            entry = of(version.id)
            entry.difference.num_changed += 1
            if len(entry.changed) < EXAMPLES:
                entry.changed.append((task, registered.task_ids[place]))
    for place, is_wanted in enumerate(is_gone):
        if is_wanted:
            entry = of(registered.version_ids[place])
            entry.difference.num_gone += 1
            if len(entry.gone) < EXAMPLES:
                entry.gone.append(registered.task_ids[place])
    _fill_examples(requester, registered.workflow_id, list(found.values()))
    return [entry.difference for entry in found.values()]


def find_rewired(
    requester: Requester, tasks: Sequence[Task], registered: Registered
) -> dict[int, tuple[int, int]]:
    """Tasks that wait for others than in the registered workflow: for how many more, and for how many no longer.

    Args:
        requester: how to reach the server.
        tasks: those of the script, the same as in the registered workflow.
        registered: that workflow.
    """
    from jobmon.swarm.gateway import Gateway

    own = {id(task): place for task in tasks if (place := registered.place_of(task)) is not None}
    script_place = {own[id(task)]: place for place, task in enumerate(tasks) if id(task) in own}
    node_ids, edges = array("q"), []
    for page in Gateway(requester, registered.workflow_id).tasks():
        node_ids.extend(page.node_ids)
        edges += page.upstream_node_ids
    place_of_node = {node_id: place for place, node_id in enumerate(node_ids)}
    found: dict[int, tuple[int, int]] = {}
    for place, above in enumerate(edges):
        if place not in script_place:
            continue
        before = {place_of_node[node_id] for node_id in above}
        after = {own.get(id(up), -1) for up in tasks[script_place[place]]._upstreams}
        if before != after:
            found[script_place[place]] = (len(after - before), len(before - after))
    return found


def describe_rewired(
    tasks: Sequence[Task], rewired: Mapping[int, tuple[int, int]]
) -> list[TemplateDifference]:
    """The tasks that wait for others, by template, with a few examples."""
    found: dict[int, TemplateDifference] = {}
    for place, (more, less) in rewired.items():
        version = tasks[place].node.task_template_version
        name = version.task_template.template_name
        entry = found.setdefault(version.id, TemplateDifference(name))
        entry.num_changed += 1
        if len(entry.changed) < EXAMPLES:
            words = [f"waits for {more} tasks that it did not wait for"] if more else []
            words += [f"does not wait for {less} tasks any more"] if less else []
            entry.changed.append(ChangedTask(tasks[place].name, words))
    return list(found.values())


def _fill_examples(requester: Requester, workflow_id: int, found: Sequence[_Found]) -> None:
    wanted = [task_id for entry in found for task_id in entry.gone]
    wanted += [task_id for entry in found for _, task_id in entry.changed]
    if not wanted:
        return
    path = f"/monitor/workflow/{workflow_id}/task_args"
    params = {"task_id": wanted}
    rows = requester.send("GET", path, None, TaskArgsResponse, params=params).tasks
    by_id = {row.task_id: row for row in rows}
    for entry in found:
        entry.difference.gone = [by_id[task_id].name for task_id in entry.gone if task_id in by_id]
        entry.difference.changed = [
            ChangedTask(task.name, _changes(by_id[task_id], task))
            for task, task_id in entry.changed
            if task_id in by_id
        ]


def _changes(before: TaskArgsRow, task: Task) -> list[str]:
    after = task.task_args
    return [
        f"task arg {name} was {before.task_args.get(name, '')!r}, is {after.get(name, '')!r}"
        for name in sorted({*before.task_args, *after})
        if before.task_args.get(name) != after.get(name)
    ]
