"""What the page on resources shows of the attempts that were read: of those chosen, as drawings, figures and YAML."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from jobmon.core.recommendation import memory_to_ask_for, runtime_to_ask_for
from jobmon.core.states import TaskInstanceStatus, colour_name
from jobmon.server.web.analysis.usage_shapes import Shape, histogram_of, shape_of
from jobmon.server.web.store.template_attempts import UsageSample
from jobmon.server.web.ui.drawing.axis import Axis, bytes_axis, reach, seconds_axis
from jobmon.server.web.ui.drawing.histogram import histogram
from jobmon.server.web.ui.drawing.scatter import MOST_POINTS, scatter
from jobmon.server.web.ui.rendering import duration, memory

_GIB = float(1 << 30)
NUM_BINS = 32
EXTREMES = 5
MANY_ATTEMPTS = 3
"""Attempts from this number on are chosen together."""


@dataclass(frozen=True)
class UsageChoice:
    """Which attempts are looked at; empty: all.

    Attributes:
        attempt: ``1``, ``2`` or ``3+``.
        outcome: ``done`` or ``failed``.
        place: cluster and queue, as ``cluster/queue``.
    """

    attempt: str = ""
    outcome: str = ""
    place: str = ""


@dataclass(frozen=True)
class UsageFigures:
    """What is shown.

    Attributes:
        num_attempts, num_read: attempts chosen, of those that were read.
        is_complete: those that were read are all.
        places: clusters and queues there are.
        memory, runtime: how they lie; bytes and seconds.
        scatter, memory_histogram, runtime_histogram: drawings; empty: nothing was measured.
        bins: both histograms as rows: from, to, number.
        extremes: tasks with the most memory and the longest run time: words, task id, value.
        yaml: resources to ask for; empty: nothing was measured.
        is_dense: the scatter shows density, not single attempts.
    """

    num_attempts: int
    num_read: int
    is_complete: bool
    places: list[str]
    memory: Shape
    runtime: Shape
    scatter: Markup
    memory_histogram: Markup
    runtime_histogram: Markup
    bins: list[tuple[str, list[tuple[str, str, int]]]]
    extremes: list[tuple[str, int, str]]
    yaml: str
    is_dense: bool


def usage_figures(sample: UsageSample, choice: UsageChoice, template: str) -> UsageFigures:
    """Figures of the attempts that are chosen.

    Args:
        sample: attempts that were read.
        choice: which of them.
        template: name of their template.
    """
    place_of = {key: f"{each.cluster}/{each.queue}" for key, each in sample.requests.items()}
    chosen = [i for i in range(len(sample)) if _is_chosen(sample, i, choice, place_of)]
    asked_memory = {key: (each.number("memory") or 0) * _GIB for key, each in sample.requests.items()}
    asked_runtime = {key: each.number("runtime") or 0 for key, each in sample.requests.items()}
    memories = [(sample.memory[i], asked_memory[sample.request_id[i]] or None) for i in chosen]
    runtimes = [(sample.runtime[i], asked_runtime[sample.request_id[i]] or None) for i in chosen]
    of_memory, of_runtime = shape_of(memories), shape_of(runtimes)
    y = bytes_axis(reach(of_memory.high, of_memory.requested), memory)
    x = seconds_axis(reach(of_runtime.high, of_runtime.requested), duration)
    points = [
        (sample.runtime[i], sample.memory[i], colour_name(TaskInstanceStatus(chr(sample.status[i]))))
        for i in chosen
        if sample.runtime[i] > 0 and sample.memory[i] > 0
    ]
    drawn = {
        "memory": _histogram([used for used, _ in memories], y, of_memory, "memory"),
        "run time": _histogram([used for used, _ in runtimes], x, of_runtime, "run time"),
    }
    return UsageFigures(
        num_attempts=len(chosen),
        num_read=len(sample),
        is_complete=sample.is_complete,
        places=sorted(set(place_of.values())),
        memory=of_memory,
        runtime=of_runtime,
        scatter=scatter(points, x, y, (of_runtime.requested, of_memory.requested), ("Run time", "Memory"))
        if points
        else Markup(""),
        memory_histogram=drawn["memory"][0],
        runtime_histogram=drawn["run time"][0],
        bins=[(name, rows) for name, (_, rows) in drawn.items() if rows],
        extremes=_extremes(sample, chosen),
        yaml=_yaml(sample, chosen, template, of_memory, of_runtime),
        is_dense=len(points) > MOST_POINTS,
    )


def _is_chosen(sample: UsageSample, i: int, choice: UsageChoice, place_of: dict[int, str]) -> bool:
    number = sample.attempt[i]
    if choice.attempt.isdigit() and number != int(choice.attempt):
        return False
    if choice.attempt.endswith("+") and number < MANY_ATTEMPTS:
        return False
    is_done = chr(sample.status[i]) == TaskInstanceStatus.DONE
    if choice.outcome and is_done != (choice.outcome == "done"):
        return False
    return not choice.place or place_of[sample.request_id[i]] == choice.place


def _histogram(
    values: list[float], axis: Axis, shape: Shape, name: str
) -> tuple[Markup, list[tuple[str, str, int]]]:
    """The drawing and its numbers; bins where nothing is are left out of these."""
    measured = [value for value in values if value > 0]
    if not measured:
        return Markup(""), []
    bins = histogram_of(measured, axis.end, NUM_BINS)
    rows = [
        (axis.words(axis.end * place / NUM_BINS), axis.words(axis.end * (place + 1) / NUM_BINS), count)
        for place, count in enumerate(bins)
        if count
    ]
    return histogram(bins, axis, shape.requested, name), rows


def _extremes(sample: UsageSample, chosen: list[int]) -> list[tuple[str, int, str]]:
    most = sorted(chosen, key=lambda i: -sample.memory[i])[:EXTREMES]
    longest = sorted(chosen, key=lambda i: -sample.runtime[i])[:EXTREMES]
    return [
        *(("Most memory", sample.task_id[i], memory(sample.memory[i])) for i in most if sample.memory[i]),
        *(
            ("Longest run time", sample.task_id[i], duration(sample.runtime[i]))
            for i in longest
            if sample.runtime[i]
        ),
    ]


def _yaml(sample: UsageSample, chosen: list[int], template: str, of_memory: Shape, of_runtime: Shape) -> str:
    """Resources as ``set_default_compute_resources_from_yaml`` reads them, for the clusters of the attempts."""
    import yaml

    requests = [sample.requests[key] for key in {sample.request_id[i] for i in chosen}]
    cores = max((each.number("cores") or 0 for each in requests), default=0)
    values: dict[str, Any] = {
        "cores": math.ceil(cores) or None,
        "memory": memory_to_ask_for(of_memory.high / _GIB),
        "runtime": runtime_to_ask_for(of_runtime.high),
    }
    known = {name: value for name, value in values.items() if value is not None}
    if not ({"memory", "runtime"} & known.keys()):
        return ""
    clusters = {cluster: dict(known) for cluster in sorted({each.cluster for each in requests})}
    text: str = yaml.safe_dump({"task_template_resources": {template: clusters}}, sort_keys=False)
    return text
