"""A plan: what a run would do, before anything runs. Decided from values that were read; printed for people."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import msgspec
from msgspec import Struct

from jobmon.client.plan_graph import Chains, PlanGraph, find_chains, simulate
from jobmon.core.constants import MaxConcurrentlyRunning
from jobmon.core.resources import describe_memory
from jobmon.serializers.plan import PlanReason

UNLIMITED = MaxConcurrentlyRunning.MAXCONCURRENTLYRUNNING
SHOWN_CHAIN = 12
"""Tasks of a chain that are named: those at its beginning and at its end."""

REASON_WORDS: Mapping[PlanReason, str] = {
    PlanReason.DONE: "done",
    PlanReason.NEW: "new",
    PlanReason.FAILED: "failed before",
    PlanReason.INTERRUPTED: "ended by order",
    PlanReason.LOST: "lost before its end",
    PlanReason.RUNNING: "running now",
    PlanReason.RESET: "reset by hand",
    PlanReason.CHANGED: "changed",
    PlanReason.UPSTREAM_CHANGED: "upstream changed",
    PlanReason.UNCHANGED: "unchanged",
}
"""What people and programs see; what is ``done`` would be skipped."""


class TemplatePlan(Struct):
    """What would be run of one template.

    Attributes:
        template: its name.
        num_tasks: its tasks in the workflow.
        num_to_run: those of them that would run.
        counts: tasks by reason.
        limit: most of them at once; null for no limit.
        seconds_per_task: how long one is thought to take; null where nothing is known.
        seconds_from: ``measured`` (mean of earlier runs), ``requested`` or ``unknown``.
    """

    template: str
    num_tasks: int
    num_to_run: int
    counts: dict[str, int]
    limit: int | None = None
    seconds_per_task: float | None = None
    seconds_from: str = "unknown"


class QueuePlan(Struct):
    """What would be asked of one queue.

    Attributes:
        cluster: the cluster.
        queue: its queue.
        num_tasks: tasks that would run there.
        core_hours: cores times the run time asked for; a task that names no cores has one.
        memory_gib_hours: memory times the run time asked for.
        largest_memory_gib: most memory one task asks for.
        largest_cores: most cores one task asks for.
        num_unknown: tasks whose request names no run time; they are missing in the hours.
    """

    cluster: str
    queue: str
    num_tasks: int = 0
    core_hours: float = 0.0
    memory_gib_hours: float = 0.0
    largest_memory_gib: float = 0.0
    largest_cores: float = 0.0
    num_unknown: int = 0


class Chain(Struct):
    """Tasks of which each waits for the one before.

    Attributes:
        num_tasks: how many.
        seconds: how long they take one after the other; null where nothing is known of any.
        tasks: names of the first ones, and behind a gap (an empty name) of the last ones.
    """

    num_tasks: int
    seconds: float | None
    tasks: list[str]


class ChangedTask(Struct):
    """A task that is in the script and in the registered workflow, with other task args; ``changes`` in words."""

    name: str
    changes: list[str]


class TemplateDifference(Struct):
    """The tasks of a template in the script against those in the registered workflow.

    Attributes:
        template: its name.
        num_new: tasks that are only in the script.
        num_gone: tasks that are only in the database.
        num_changed: tasks that are in both, with other task args.
        new: names of a few that are new.
        gone: names of a few that are gone.
        changed: a few that are changed.
    """

    template: str
    num_new: int = 0
    num_gone: int = 0
    num_changed: int = 0
    new: list[str] = []
    gone: list[str] = []
    changed: list[ChangedTask] = []


class Plan(Struct, kw_only=True):
    """What a run of a workflow would do; printed, it is a text for people.

    Attributes:
        workflow_id: the workflow in the database; null for one that is not registered.
        name: its name.
        workflow_args: what identifies it.
        num_tasks: its tasks.
        num_to_run: those that a run would run.
        counts: tasks by reason; those that are ``done`` are skipped.
        templates: the same by template.
        queues: what is asked of whom.
        longest_chain: the chain of the most tasks.
        critical_path: the chain that takes the most time.
        width: most tasks that could run at once if all took equally long.
        limit: most tasks at once: the workflow's limit or the slots of this machine; null for none.
        wall_seconds: how long the run would take under the limits; null where nothing is known of any run time.
        is_wall_minimum: whether it would take longer: of some tasks the run time is not known.
        at_once: most tasks at once in that estimate.
        memory_at_once_gib: most memory asked for at once in it.
        num_never: tasks that could never start, for a limit is 0.
        differences: by template, when the workflow_args belong to a registered workflow of other tasks.
        problems: why ``run()`` would refuse.
        notes: what else to know.
    """

    workflow_id: int | None
    name: str
    workflow_args: str
    num_tasks: int
    num_to_run: int
    counts: dict[str, int]
    templates: list[TemplatePlan]
    queues: list[QueuePlan]
    longest_chain: Chain
    critical_path: Chain
    width: int
    limit: int | None
    wall_seconds: float | None
    is_wall_minimum: bool
    at_once: int
    memory_at_once_gib: float
    num_never: int = 0
    differences: list[TemplateDifference] = []
    problems: list[str] = []
    notes: list[str] = []

    @property
    def core_hours(self) -> float:
        """Core hours asked for in total, as far as they are known."""
        return sum(queue.core_hours for queue in self.queues)

    @property
    def memory_gib_hours(self) -> float:
        """GiB hours of memory asked for in total, as far as they are known."""
        return sum(queue.memory_gib_hours for queue in self.queues)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain dictionaries and lists."""
        totals = {"core_hours": self.core_hours, "memory_gib_hours": self.memory_gib_hours}
        return {**msgspec.to_builtins(self), **totals}

    def __str__(self) -> str:
        from jobmon.client.plan_text import plan_text

        return plan_text(self)

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


@dataclass(frozen=True, slots=True)
class Request:
    """What tasks ask for; ``None`` where they do not say."""

    cluster: str
    queue: str
    cores: float | None = None
    memory_gib: float | None = None
    runtime_seconds: float | None = None

    @classmethod
    def of(cls, cluster: str, queue: str, resources: Mapping[str, Any]) -> Request:
        """The request in a row of resources in canonical units."""
        cores, memory, runtime = (_number(resources.get(name)) for name in ("cores", "memory", "runtime"))
        return cls(cluster, queue, cores, memory, runtime)


NO_REQUEST = Request("unknown", "unknown")


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


@dataclass(slots=True)
class PlanTemplate:
    """A template of the workflow: its name, its limit of tasks at once, its mean run time in earlier runs."""

    name: str
    limit: int = UNLIMITED
    measured_seconds: float | None = None


@dataclass(slots=True)
class PlanTasks:
    """All tasks of a workflow in columns, one entry a task.

    Attributes:
        templates: the templates.
        requests: the different requests.
        template_of: places in ``templates``.
        request_of: places in ``requests``.
        reasons: why, or why not, each would run.
    """

    templates: list[PlanTemplate]
    requests: list[Request]
    template_of: array[int] = field(default_factory=lambda: array("i"))
    request_of: array[int] = field(default_factory=lambda: array("i"))
    reasons: list[PlanReason] = field(default_factory=list)


@dataclass(frozen=True)
class Heading:
    """What a plan says of the workflow itself; ``slots``: commands its cluster runs at once on this machine."""

    workflow_id: int | None
    name: str
    workflow_args: str
    limit: int = UNLIMITED
    slots: int | None = None


def make_plan(
    heading: Heading,
    tasks: PlanTasks,
    upstreams: Iterable[Iterable[int]],
) -> tuple[Plan, Chains]:
    """The plan of a run, without names of tasks, and the chains whose tasks are to be named.

    Args:
        heading: the workflow.
        tasks: its tasks.
        upstreams: for every task the positions of the tasks it waits for; read once.
    """
    is_open = bytearray(reason is not PlanReason.DONE for reason in tasks.reasons)
    graph = PlanGraph(upstreams, is_open)
    seconds = _seconds(tasks)
    chains = find_chains(graph, [max(0.0, value) for value in seconds])
    is_known = any(value >= 0 for value, is_wanted in zip(seconds, is_open, strict=True) if is_wanted)
    is_minimum = any(value < 0 for value, is_wanted in zip(seconds, is_open, strict=True) if is_wanted)
    limit = min(heading.limit, UNLIMITED if heading.slots is None else heading.slots)
    schedule = simulate(
        graph,
        [max(0.0, value) for value in seconds],
        [tasks.requests[place].memory_gib or 0.0 for place in tasks.request_of],
        tasks.template_of,
        limit,
        [template.limit for template in tasks.templates],
    )
    templates = _template_plans(tasks)
    plan = Plan(
        workflow_id=heading.workflow_id,
        name=heading.name,
        workflow_args=heading.workflow_args,
        num_tasks=len(tasks.reasons),
        num_to_run=sum(is_open),
        counts=_sum_counts(template.counts for template in templates),
        templates=templates,
        queues=_queue_plans(tasks),
        longest_chain=_chain(chains.longest, seconds),
        critical_path=_chain(chains.slowest, seconds),
        width=chains.width,
        limit=None if limit >= UNLIMITED else limit,
        wall_seconds=schedule.seconds if is_known and not schedule.num_never else None,
        is_wall_minimum=is_minimum,
        at_once=schedule.at_once,
        memory_at_once_gib=schedule.memory_at_once,
        num_never=schedule.num_never,
    )
    plan.notes += _notes(plan, heading)
    return plan, chains


def _seconds(tasks: PlanTasks) -> array[float]:
    """Run time of every task: the measured mean of its template, else what it asks for; -1 where nothing is known."""
    found = array("d")
    for template, request in zip(tasks.template_of, tasks.request_of, strict=True):
        seconds = tasks.templates[template].measured_seconds
        if seconds is None:
            seconds = tasks.requests[request].runtime_seconds
        found.append(-1.0 if seconds is None else seconds)
    return found


def _chain(positions: Sequence[int], seconds: Sequence[float]) -> Chain:
    known = [seconds[position] for position in positions if seconds[position] >= 0]
    return Chain(len(positions), sum(known) if known else None, [])


def shown_positions(positions: Sequence[int]) -> list[int]:
    """The tasks of a chain that are named; -1 stands for those between."""
    if len(positions) <= SHOWN_CHAIN:
        return list(positions)
    half = SHOWN_CHAIN // 2
    return [*positions[:half], -1, *positions[-half:]]


def _template_plans(tasks: PlanTasks) -> list[TemplatePlan]:
    counts: list[dict[PlanReason, int]] = [{} for _ in tasks.templates]
    requested: list[list[float]] = [[] for _ in tasks.templates]
    for place, reason, request in zip(tasks.template_of, tasks.reasons, tasks.request_of, strict=True):
        counts[place][reason] = counts[place].get(reason, 0) + 1
        runtime = tasks.requests[request].runtime_seconds
        if reason is not PlanReason.DONE and runtime is not None:
            requested[place].append(runtime)
    plans = []
    for template, of_reason, runtimes in zip(tasks.templates, counts, requested, strict=True):
        total = sum(of_reason.values())
        plan = TemplatePlan(
            template.name,
            total,
            total - of_reason.get(PlanReason.DONE, 0),
            {word: of_reason[reason] for reason, word in REASON_WORDS.items() if reason in of_reason},
            None if template.limit >= UNLIMITED else template.limit,
        )
        if template.measured_seconds is not None:
            plan.seconds_per_task, plan.seconds_from = template.measured_seconds, "measured"
        elif runtimes:
            plan.seconds_per_task, plan.seconds_from = sum(runtimes) / len(runtimes), "requested"
        plans.append(plan)
    return plans


def _sum_counts(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for each in counts:
        for word, count in each.items():
            total[word] = total.get(word, 0) + count
    return {word: total[word] for word in REASON_WORDS.values() if word in total}


def _queue_plans(tasks: PlanTasks) -> list[QueuePlan]:
    counts: dict[int, int] = {}
    for place, reason in zip(tasks.request_of, tasks.reasons, strict=True):
        if reason is not PlanReason.DONE:
            counts[place] = counts.get(place, 0) + 1
    plans: dict[tuple[str, str], QueuePlan] = {}
    for place, count in counts.items():
        request = tasks.requests[place]
        key = (request.cluster, request.queue)
        plan = plans.setdefault(key, QueuePlan(*key))
        plan.num_tasks += count
        cores, memory = request.cores or 1.0, request.memory_gib or 0.0
        plan.largest_memory_gib = max(plan.largest_memory_gib, memory)
        plan.largest_cores = max(plan.largest_cores, cores)
        if request.runtime_seconds is None:
            plan.num_unknown += count
        else:
            hours = count * request.runtime_seconds / 3600
            plan.core_hours += hours * cores
            plan.memory_gib_hours += hours * memory
    return [plans[key] for key in sorted(plans)]


def _notes(plan: Plan, heading: Heading) -> list[str]:
    notes = []
    if plan.num_tasks and not plan.num_to_run:
        notes.append("Every task is done: there is nothing to run.")
    if plan.num_never:
        notes.append(f"{plan.num_never} tasks could not start: a limit of tasks at once is 0 (a pause).")
    if heading.slots is not None and heading.slots < heading.limit and heading.slots < plan.width:
        notes.append(
            f"This machine runs {heading.slots} tasks at once; up to {plan.width} could run side by side "
            "(multiprocess.parallelism)."
        )
    if running := plan.counts.get(REASON_WORDS[PlanReason.RUNNING]):
        notes.append(
            f"A run of it is alive: {running} tasks are under way and would be taken over or ended first."
        )
    if plan.memory_at_once_gib:
        notes.append(f"At most {describe_memory(plan.memory_at_once_gib)} of memory is asked for at once.")
    return notes
