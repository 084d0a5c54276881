"""Figures of a workflow, gathered from all of its attempts in one pass: values in, values out.

Times are seconds since 1970 (UTC), NaN where something did not happen; memory is in GiB, run time in seconds.
"""

from __future__ import annotations

import math
from array import array as numbers
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum
from functools import lru_cache

from jobmon.core.resources import memory_to_bytes
from jobmon.core.states import TASK_INSTANCE_LIVE, Cause, TaskInstanceStatus
from jobmon.serializers.trace import TraceResponse, WorkflowFactsResponse

GIB = memory_to_bytes(1)
MAX_STORIES = 5000
"""Tasks whose attempts are remembered one by one."""
NAN = math.nan


class Outcome(IntEnum):
    """How attempts are shown."""

    LIVE = 0
    DONE = 1
    FAILED = 2
    RESOURCE = 3
    ORDERED = 4


_OUTCOME = {
    **dict.fromkeys(TaskInstanceStatus, Outcome.FAILED),
    **dict.fromkeys(TASK_INSTANCE_LIVE, Outcome.LIVE),
    TaskInstanceStatus.DONE: Outcome.DONE,
    TaskInstanceStatus.RESOURCE_ERROR: Outcome.RESOURCE,
    TaskInstanceStatus.ERROR_FATAL: Outcome.ORDERED,
}


@dataclass(frozen=True, slots=True)
class Chapter:
    """One attempt in the story of a task that needed several: what it asked for, what it used, how it ended."""

    attempt: int
    status: str
    cause: str
    exit_code: int | None
    requested_memory: float | None
    used_memory: float | None
    runtime: float | None
    node: str
    note: str = ""


@dataclass
class Story:
    """A task and its attempts."""

    task_id: int
    name: str
    template: str
    task_status: str
    chapters: list[Chapter] = field(default_factory=list)


@dataclass
class Use:
    """What was asked for and what was used of one resource.

    Attributes:
        requested: what was asked for, with the number of attempts that did.
        used: what attempts that succeeded used.
        peak: the most any attempt used.
        fullest: the largest share any attempt used of what it asked for.
    """

    requested: Counter[float] = field(default_factory=Counter)
    used: numbers[float] = field(default_factory=lambda: numbers("d"))
    peak: float = 0.0
    fullest: float = 0.0

    def add(self, requested: float | None, used: float | None, is_done: bool) -> None:
        """Take in an attempt."""
        if requested:
            self.requested[requested] += 1
        if used:
            self.peak = max(self.peak, used)
            if is_done:
                self.used.append(used)
            if requested:
                self.fullest = max(self.fullest, used / requested)

    @property
    def usual_request(self) -> float | None:
        """What most attempts asked for."""
        return self.requested.most_common(1)[0][0] if self.requested else None

    @property
    def median(self) -> float | None:
        """Median of what attempts that succeeded used."""
        if not self.used:
            return None
        ordered = sorted(self.used)
        middle = len(ordered) // 2
        return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


@dataclass
class TemplateFigures:
    """What is known of the attempts of one template.

    Attributes:
        name: the template.
        queued, started, ended, outcome: one entry per attempt; ``started`` and ``ended`` NaN where it did not happen.
        names, attempts: name of the task and number of the attempt, of each attempt.
        memory, runtime, cores: requested and used; of cores the average number that was busy.
        causes: attempts that did not succeed, by cause.
        waiting: seconds from the creation of an attempt to its start.
        placed: attempts by cluster and queue.
    """

    name: str
    queued: numbers[float] = field(default_factory=lambda: numbers("d"))
    started: numbers[float] = field(default_factory=lambda: numbers("d"))
    ended: numbers[float] = field(default_factory=lambda: numbers("d"))
    outcome: numbers[int] = field(default_factory=lambda: numbers("b"))
    names: list[str] = field(default_factory=list)
    attempts: numbers[int] = field(default_factory=lambda: numbers("l"))
    memory: Use = field(default_factory=Use)
    runtime: Use = field(default_factory=Use)
    cores: Use = field(default_factory=Use)
    causes: Counter[str] = field(default_factory=Counter)
    placed: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def count(self) -> int:
        """Number of attempts."""
        return len(self.queued)

    def number_of(self, *outcomes: Outcome) -> int:
        """Number of attempts with one of these outcomes."""
        return sum(self.outcome.count(outcome) for outcome in outcomes)


@dataclass
class Costs:
    """What was reserved, and what of it came to nothing.

    Attributes:
        core_hours: cores asked for × time they were held, of all attempts that started.
        failed_core_hours: the part of attempts that ended without success.
        idle_core_hours: of attempts that succeeded: core-hours held less CPU time used, where that was measured.
        idle_gib_hours: of attempts that succeeded: memory asked for less the most that was used, × time held.
        gib_hours: memory asked for × time held, of attempts that succeeded and whose use was measured.
        cpu_core_hours: core-hours held of attempts that succeeded and whose CPU time was measured.
        assumed: attempts that asked for no cores; each counts as one core.
    """

    core_hours: float = 0.0
    failed_core_hours: float = 0.0
    idle_core_hours: float = 0.0
    idle_gib_hours: float = 0.0
    gib_hours: float = 0.0
    cpu_core_hours: float = 0.0
    assumed: int = 0


@dataclass
class Figures:
    """Everything the report is drawn from.

    Attributes:
        templates: in the order of the workflow.
        costs: hours reserved and wasted.
        stories: tasks that needed more than one attempt or failed, most attempts first.
        nodes: attempts by host; and those of them that failed.
        num_attempts: all attempts.
        now: time of the answer; what is not over is drawn up to then.
    """

    templates: list[TemplateFigures]
    costs: Costs
    stories: list[Story]
    nodes: Counter[str]
    failed_nodes: Counter[str]
    num_attempts: int
    now: float

    @property
    def has_run(self) -> bool:
        """Whether anything was attempted."""
        return self.num_attempts > 0


@lru_cache(4096)
def seconds_of(iso: str) -> float:
    """Seconds since 1970 of an ISO text in UTC; NaN for an empty one."""
    return datetime.fromisoformat(iso).replace(tzinfo=UTC).timestamp() if iso else NAN


def gather(facts: WorkflowFactsResponse, pages: Iterable[TraceResponse]) -> Figures:
    """Go through all attempts once."""
    now = seconds_of(facts.now)
    templates = {template.name: TemplateFigures(template.name) for template in facts.templates}
    figures = Figures([], Costs(), [], Counter(), Counter(), 0, now)
    stories: dict[int, Story] = {}
    for page in pages:
        for i in range(len(page.task_instance_id)):
            name = page.template[i]
            if name not in templates:  # added to the workflow after its facts were read
                templates[name] = TemplateFigures(name)
            _take(figures, templates[name], page, i)
            if page.attempt[i] > 1 or outcome_of(page.status[i]) > Outcome.DONE:
                _tell(stories, page, i)
        figures.num_attempts += len(page.task_instance_id)
    figures.templates = list(templates.values())
    figures.stories = sorted(stories.values(), key=lambda story: (-len(story.chapters), story.task_id))
    for story in figures.stories:
        story.chapters.sort(key=lambda chapter: chapter.attempt)
    return figures


def outcome_of(letter: str) -> Outcome:
    """How an attempt with this status letter is shown."""
    return _OUTCOME[TaskInstanceStatus(letter)]


def _take(figures: Figures, template: TemplateFigures, page: TraceResponse, i: int) -> None:
    outcome = outcome_of(page.status[i])
    queued, started, ended = _times(page, i)
    template.queued.append(queued)
    template.started.append(started)
    template.ended.append(ended)
    template.outcome.append(outcome)
    template.names.append(page.task_name[i])
    template.attempts.append(page.attempt[i])
    template.placed[page.cluster[i], page.queue[i]] += 1
    if page.node[i]:
        figures.nodes[page.node[i]] += 1
    if outcome > Outcome.DONE:
        template.causes[page.cause[i] or Cause.ORDERED.value] += 1
        if page.node[i]:
            figures.failed_nodes[page.node[i]] += 1
    until = figures.now if math.isnan(ended) else ended
    held = page.wallclock[i] or (max(0.0, until - started) if not math.isnan(started) else 0.0)
    is_done = outcome is Outcome.DONE
    memory = (page.maxrss[i] or 0) / GIB
    template.memory.add(page.requested_memory_gib[i], memory, is_done)
    template.runtime.add(page.requested_runtime[i], page.wallclock[i], is_done)
    cpu = page.cpu[i]
    busy = cpu / held if cpu and held else None
    template.cores.add(page.requested_cores[i], busy, is_done)
    _charge(figures.costs, page, i, held / 3600, outcome)


def _charge(costs: Costs, page: TraceResponse, i: int, hours: float, outcome: Outcome) -> None:
    cores = page.requested_cores[i]
    if not cores:
        cores = 1.0
        costs.assumed += 1
    costs.core_hours += cores * hours
    if outcome > Outcome.DONE:
        costs.failed_core_hours += cores * hours
    if outcome is not Outcome.DONE:
        return
    cpu, memory, maxrss = page.cpu[i], page.requested_memory_gib[i], page.maxrss[i]
    if cpu is not None and hours:
        costs.cpu_core_hours += cores * hours
        costs.idle_core_hours += max(0.0, cores * hours - cpu / 3600)
    if memory and maxrss:
        costs.gib_hours += memory * hours
        costs.idle_gib_hours += max(0.0, memory - maxrss / GIB) * hours


def _times(page: TraceResponse, i: int) -> tuple[float, float, float]:
    """Creation, start and end. Start and end are told a little late, the run time is measured: it is what counts."""
    queued, started, ended = (seconds_of(text[i]) for text in (page.queued, page.started, page.ended))
    wallclock = page.wallclock[i]
    if wallclock and not math.isnan(ended):
        began = ended - wallclock
        started = began if math.isnan(started) else min(started, began)
        if not math.isnan(queued):
            started = max(started, queued)
        ended = min(ended, started + wallclock)
    return queued, started, ended


def _tell(stories: dict[int, Story], page: TraceResponse, i: int) -> None:
    task_id = page.task_id[i]
    if task_id not in stories:
        if len(stories) >= MAX_STORIES:
            return
        stories[task_id] = Story(task_id, page.task_name[i], page.template[i], page.task_status[i])
    maxrss = page.maxrss[i]
    stories[task_id].chapters.append(
        Chapter(
            page.attempt[i],
            page.status[i],
            page.cause[i],
            page.exit_code[i],
            page.requested_memory_gib[i],
            maxrss / GIB if maxrss else None,
            page.wallclock[i],
            page.node[i],
            page.note[i] if page.note else "",
        )
    )


def failures_by_cause(figures: Figures) -> dict[str, Counter[str]]:
    """Attempts that did not succeed, by cause and template."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for template in figures.templates:
        for cause, count in template.causes.items():
            found[cause][template.name] += count
    return dict(found)
