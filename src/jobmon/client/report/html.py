"""The report as one HTML page: everything inline, no network, no script needed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from jobmon.client.commands.records import local_time
from jobmon.client.failures import describe_trait
from jobmon.client.report import advice, charts
from jobmon.client.report.figures import (
    Figures,
    Outcome,
    Story,
    TemplateFigures,
    failures_by_cause,
    outcome_of,
    seconds_of,
)
from jobmon.client.report.timeline import Axis, axis_of
from jobmon.core.constants import MaxConcurrentlyRunning
from jobmon.core.resources import describe_memory
from jobmon.core.states import (
    TASK_USER_LABEL,
    USER_LABELS,
    WORKFLOW_RUN_ALIVE,
    Cause,
    TaskInstanceStatus,
    TaskStatus,
    WorkflowRunStatus,
    WorkflowStatus,
    label,
)
from jobmon.core.words import CAUSE_WORDS, describe_duration, describe_resources
from jobmon.serializers.failures import ErrorClustersResponse
from jobmon.serializers.trace import RunFacts, TemplateFacts, WorkflowFactsResponse

MAX_STORIES = 12
MAX_TEMPLATES = 200
MAX_COMMAND = 2000
MAX_EXAMPLE = 6000
MAX_TEXT = 4000
CAUSE_CLASS: Mapping[str, str] = {Cause.RESOURCE: "resource", Cause.ORDERED: "ordered"}
LABEL_CLASS = {"DONE": "done", "FATAL": "failed", "RUNNING": "run", "SCHEDULED": "wait", "PENDING": "rest"}


def render(facts: WorkflowFactsResponse, figures: Figures, errors: ErrorClustersResponse) -> str:
    """The page."""
    axis = axis_of(figures)
    tried = [template for template in figures.templates if template.count]
    return _template().render(
        facts=facts,
        title=facts.name or f"workflow {facts.id}",
        figures=figures,
        status=WorkflowStatus(facts.status).name,
        status_class=_status_class(facts.status),
        made=_clock(facts.now),
        summary=_summary(facts, figures),
        task_bar=Markup(charts.share_bar(_task_parts(facts))),
        tasks=_task_counts(facts),
        cost=_costs(figures),
        timeline=_timeline(figures, axis) if axis else None,
        templates=[_template_row(template) for template in tried[:MAX_TEMPLATES]],
        templates_left_out=max(0, len(tried) - MAX_TEMPLATES),
        yaml=advice.recommended_yaml(figures),
        advice=advice,
        retries=_retries(facts, figures),
        errors=_errors(errors),
        shared_errors=[f"{trait.template}: {describe_trait(trait)}" for trait in errors.shared],
        num_errors=errors.num_errors,
        more_errors=max(0, errors.num_clusters - len(errors.clusters)),
        runs=[_run_row(run) for run in facts.runs],
        settings=_settings(facts),
        definitions=[_definition(template) for template in facts.templates[:MAX_TEMPLATES]],
        nodes=_nodes(figures),
    )


@lru_cache(1)
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("jobmon.client.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = charts.thousands
    environment.filters["cut"] = _cut
    return environment.get_template("template.html.j2")


def _cut(text: str, length: int) -> str:
    return charts.shorten(text, length)


def _clock(iso: str) -> str:
    return local_time(iso) or "—"


def _status_class(letter: str) -> str:
    status = WorkflowStatus(letter)
    if status is WorkflowStatus.DONE:
        return "done"
    return "failed" if status in (WorkflowStatus.FAILED, WorkflowStatus.ABORTED) else "live"


# -- summary ------------------------------------------------------------------------------------------
def _summary(facts: WorkflowFactsResponse, figures: Figures) -> list[tuple[str, str]]:
    users = list(dict.fromkeys(run.user for run in facts.runs))
    seconds = sum(_run_seconds(run, facts.now) for run in facts.runs)
    rows = [
        ("Run by", ", ".join(users) or "nobody yet"),
        ("First run began", _clock(facts.runs[0].created) if facts.runs else "—"),
        ("Last change", _clock(facts.changed)),
        ("Wall time", describe_duration(seconds) if facts.runs else "—"),
        ("Runs", str(len(facts.runs))),
        ("Attempts", charts.thousands(figures.num_attempts)),
    ]
    rows += [("Cluster", text) for text in facts.conditions]
    if facts.description:
        rows.append(("Description", _cut(facts.description, MAX_TEXT)))
    return rows


def _run_seconds(run: RunFacts, now: str) -> float:
    end = now if WorkflowRunStatus(run.status) in WORKFLOW_RUN_ALIVE else run.changed
    return max(0.0, seconds_of(end) - seconds_of(run.created))


def _counts(facts: WorkflowFactsResponse) -> dict[str, int]:
    counts = dict.fromkeys(USER_LABELS, 0)
    for template in facts.templates:
        for letter, count in template.tasks_by_status.items():
            counts[TASK_USER_LABEL[TaskStatus(letter)]] += count
    return counts


def _task_parts(facts: WorkflowFactsResponse) -> list[tuple[str, float]]:
    counts = _counts(facts)
    return [
        (LABEL_CLASS[name], counts[name]) for name in ("DONE", "FATAL", "RUNNING", "SCHEDULED", "PENDING")
    ]


def _task_counts(facts: WorkflowFactsResponse) -> list[tuple[str, str, int]]:
    counts = _counts(facts)
    return [(name, LABEL_CLASS[name], counts[name]) for name in USER_LABELS if counts[name]]


def _costs(figures: Figures) -> dict[str, str]:
    costs = figures.costs

    def share(part: float, whole: float) -> str:
        return f"{part / whole:.0%}" if whole else "—"

    return {
        "used": _hours(costs.core_hours, "core"),
        "failed": _hours(costs.failed_core_hours, "core"),
        "failed_share": share(costs.failed_core_hours, costs.core_hours),
        "idle": _hours(costs.idle_core_hours, "core"),
        "idle_share": share(costs.idle_core_hours, costs.cpu_core_hours),
        "memory": _hours(costs.idle_gib_hours, "GiB"),
        "memory_share": share(costs.idle_gib_hours, costs.gib_hours),
        "assumed": charts.thousands(costs.assumed) if costs.assumed else "",
    }


def _hours(hours: float, unit: str) -> str:
    """Core-hours or GiB-hours, small amounts in minutes or seconds: ``12.3 core-h``."""
    factor, name = next((each for each in ((1, "h"), (60, "min")) if hours * each[0] >= 1), (3600, "s"))
    amount = hours * factor
    text = charts.thousands(round(amount)) if amount >= 100 else f"{amount:.3g}"
    return f"{text} {unit}-{name}"


# -- timeline -----------------------------------------------------------------------------------------
def _timeline(figures: Figures, axis: Axis) -> dict[str, Any]:
    bars, drawn = charts.attempt_bars(figures, axis)
    curves = charts.curves_of(figures, axis)
    began = datetime.fromtimestamp(axis.start, UTC).replace(tzinfo=None).isoformat(timespec="milliseconds")
    shown = sum(1 for template in figures.templates if template.count)
    return {
        "began": _clock(began),
        "concurrency": Markup(charts.concurrency_chart(figures, curves, axis)),
        "rows": Markup(charts.template_rows(figures, curves, axis)),
        "rows_left_out": max(0, shown - charts.MAX_ROWS),
        "bars": Markup(bars),
        "drawn": drawn,
        "waits": _waits(figures),
    }


def _waits(figures: Figures) -> str:
    """How long attempts waited to start, in the middle."""
    waits = sorted(
        started - queued
        for template in figures.templates
        for queued, started in zip(template.queued, template.started, strict=True)
        if not math.isnan(started) and not math.isnan(queued)
    )
    return describe_duration(waits[len(waits) // 2]) if waits else ""


# -- templates ----------------------------------------------------------------------------------------
def _template_row(template: TemplateFigures) -> dict[str, Any]:
    memory, runtime, cores = template.memory, template.runtime, template.cores
    return {
        "name": template.name,
        "attempts": template.count,
        "failed": template.number_of(Outcome.FAILED, Outcome.RESOURCE),
        "places": ", ".join(f"{cluster} / {queue}" for (cluster, queue), _ in template.placed.most_common(2)),
        "resources": [
            _use("Memory", memory, describe_memory, advice.memory_advice(template)),
            _use("Run time", runtime, describe_duration, advice.runtime_advice(template)),
            _use("Cores", cores, lambda value: f"{value:.2g}", advice.cores_advice(template)),
        ],
    }


def _use(name: str, use: Any, form: Any, said: advice.Advice) -> dict[str, Any]:
    request, median = use.usual_request, use.median
    others = len(use.requested) - 1
    return {
        "name": name,
        "requested": "—" if request is None else form(request),
        "others": f"and {others} other{'s' if others > 1 else ''}" if others > 0 else "",
        "median": "—" if median is None else form(median),
        "peak": form(use.peak) if use.peak else "—",
        "bar": Markup(charts.usage_bar(request, median, use.peak)),
        "verdict": said.verdict,
        "words": said.words,
    }


# -- retries and errors -------------------------------------------------------------------------------
def _retries(facts: WorkflowFactsResponse, figures: Figures) -> dict[str, Any]:
    by_attempts: dict[int, int] = {}
    for template in facts.templates:
        for attempts, tasks in template.tasks_by_attempts.items():
            by_attempts[attempts] = by_attempts.get(attempts, 0) + tasks
    causes = failures_by_cause(figures)
    most = max((sum(counter.values()) for counter in causes.values()), default=0)
    rows = [
        {
            "words": CAUSE_WORDS.get(cause, cause),
            "count": sum(counter.values()),
            "templates": ", ".join(f"{name} {count}" for name, count in counter.most_common(4)),
            "bar": Markup(
                charts.share_bar(
                    [
                        (CAUSE_CLASS.get(cause, "failed"), sum(counter.values())),
                        ("none", most - sum(counter.values())),
                    ]
                )
            ),
        }
        for cause, counter in sorted(causes.items(), key=lambda item: -sum(item[1].values()))
    ]
    return {
        "by_attempts": sorted(by_attempts.items()),
        "causes": rows,
        "stories": [_story(story) for story in figures.stories[:MAX_STORIES]],
        "num_stories": len(figures.stories),
    }


def _story(story: Story) -> dict[str, Any]:
    return {
        "task_id": story.task_id,
        "name": story.name,
        "template": story.template,
        "status": TASK_USER_LABEL[TaskStatus(story.task_status)],
        "status_class": LABEL_CLASS[TASK_USER_LABEL[TaskStatus(story.task_status)]],
        "chapters": [
            {
                "status": label(TaskInstanceStatus(chapter.status)),
                "class": charts.OUTCOME_CLASS[outcome_of(chapter.status)],
                "words": _chapter_words(chapter),
            }
            for chapter in story.chapters
        ],
    }


def _chapter_words(chapter: Any) -> str:
    words = [f"attempt {chapter.attempt}"]
    if chapter.exit_code:
        code = chapter.exit_code
        words.append(f"exit code {code}" if code > 0 else f"signal {-code}")
    if chapter.requested_memory:
        used = f", used {describe_memory(chapter.used_memory)}" if chapter.used_memory else ""
        words.append(f"asked for {describe_memory(chapter.requested_memory)}{used}")
    if chapter.runtime:
        words.append(f"ran {describe_duration(chapter.runtime)}")
    if chapter.note:
        words.append(chapter.note)
    return " · ".join(words)


def _errors(errors: ErrorClustersResponse) -> list[dict[str, Any]]:
    return [
        {
            "pattern": _cut(cluster.pattern, 400),
            "where": cluster.where,
            "words": CAUSE_WORDS.get(cluster.cause, cluster.cause),
            "attempts": cluster.num_attempts,
            "tasks": cluster.num_tasks,
            "example": cluster.example[-MAX_EXAMPLE:],
            "task_id": cluster.example_task_id,
            "task_name": cluster.example_task_name,
            "stderr": cluster.example_stderr,
            "templates": ", ".join(list(cluster.templates)[:4]),
            "shared": [describe_trait(trait) for trait in cluster.shared],
        }
        for cluster in errors.clusters
    ]


# -- configuration ------------------------------------------------------------------------------------
def _run_row(run: RunFacts) -> dict[str, str]:
    is_alive = WorkflowRunStatus(run.status) in WORKFLOW_RUN_ALIVE
    return {
        "id": str(run.id),
        "status": WorkflowRunStatus(run.status).name,
        "user": run.user,
        "host": f"{run.hostname}, process {run.pid}" if run.hostname else "—",
        "versions": run.client_version
        if run.client_version == run.server_version
        else f"{run.client_version} (server {run.server_version})",
        "began": _clock(run.created),
        "ended": "not yet" if is_alive else _clock(run.changed),
    }


def _limit(limit: int) -> str:
    unlimited = limit >= MaxConcurrentlyRunning.MAXCONCURRENTLYRUNNING
    return "none" if unlimited else charts.thousands(limit)


def _settings(facts: WorkflowFactsResponse) -> list[tuple[str, str]]:
    return [
        ("Workflow", f"{facts.id}"),
        ("Tool", f"{facts.tool_name} (version {facts.tool_version_id})"),
        ("Registered", _clock(facts.created)),
        ("Workflow args", _cut(facts.workflow_args, MAX_TEXT)),
        ("Limit of tasks at once", _limit(facts.max_concurrently_running)),
        *((f"Attribute {name}", value or "") for name, value in facts.attributes.items()),
    ]


def _definition(template: TemplateFacts) -> dict[str, Any]:
    return {
        "name": template.name,
        "version": template.task_template_version_id,
        "command": _cut(template.command_template, MAX_COMMAND),
        "limit": _limit(template.max_concurrently_running),
        "tasks": sum(template.tasks_by_status.values()),
        "resources": [
            (f"{asked.cluster} / {asked.queue}", _resources_text(asked.resources), asked.num_tasks)
            for asked in template.resources
        ],
    }


def _resources_text(text: str) -> str:
    """Resources (JSON text) in units people read."""
    return describe_resources(json.loads(text)) or "nothing"


def _nodes(figures: Figures) -> Sequence[tuple[str, int, int]]:
    return [(node, count, figures.failed_nodes[node]) for node, count in figures.nodes.most_common(12)]
