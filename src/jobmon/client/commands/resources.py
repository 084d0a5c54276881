"""What tasks used, and the YAML file that asks for it next time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from jobmon.client.commands.records import Record
from jobmon.client.task_template_version import arg_text
from jobmon.core.exceptions import UsageError
from jobmon.core.requester import Requester
from jobmon.serializers.trace import WorkflowFactsResponse
from jobmon.serializers.usage import (
    ClusterUsageResponse,
    ClusterUsageRow,
    Extent,
    Spread,
    TemplateUsageResponse,
)

STRATEGIES = ("avg", "max", "min")
USAGE_COLUMNS = ("STATISTIC", "MEMORY", "RUNTIME")
_STATISTICS = tuple(
    f"{name}_{what}" for what in ("mem", "runtime") for name in ("min", "median", "mean", "max")
)
TEMPLATE_USAGE_COLUMNS = ("TEMPLATE", "VERSION", "TASKS", *(name.upper() for name in _STATISTICS))
INTERVAL_COLUMNS = ("CI_LOW_MEM", "CI_HIGH_MEM", "CI_LOW_RUNTIME", "CI_HIGH_RUNTIME")


# -- what was used ------------------------------------------------------------------------------------
def task_template_resources(
    task_template_version: int,
    workflows: int | Iterable[int] | None = None,
    node_args: Mapping[str, Any] | None = None,
    ci: float | str | None = None,
    requester: Requester | None = None,
) -> dict[str, Any] | None:
    """What the tasks of a task template version used.

    Attempts count that ended after they were started, successful or not. Where memory or run time was not measured
    (or is 0), the attempt is left out of that statistic.

    Args:
        task_template_version: id of the version.
        workflows: only in these workflows (ids); by default in all.
        node_args: only tasks with these node args: a value, or a list of values, for each.
        ci: confidence level of the interval of the mean: ``0.95``, ``"95"`` or ``"95%"``.
        requester: how to reach the server.

    Returns:
        ``None`` while no attempt has ended. Else ``num_tasks``; ``min_mem``, ``max_mem``, ``mean_mem`` and
        ``median_mem`` as texts such as ``"1048576B"``; ``min_runtime``, ``max_runtime``, ``mean_runtime`` and
        ``median_runtime`` in seconds; ``ci_mem`` (bytes) and ``ci_runtime`` (seconds) as ``[low, high]``, ``[None,
        None]`` when not asked for or when there are fewer than two values. A statistic without any value is ``None``.

    Raises:
        NotFoundError: the template version or a workflow does not exist.
        UsageError: the template has no such node arg, or the confidence level is none.
    """
    requester = requester or Requester.from_defaults()
    params: dict[str, Any] = {
        "workflow_id": [workflows] if isinstance(workflows, int) else list(workflows or ())
    }
    if node_args:
        wanted = {name: _texts(name, values) for name, values in node_args.items()}
        params["node_args"] = msgspec.json.encode(wanted).decode()
    if ci is not None:
        params["ci"] = str(ci)
    path = f"/monitor/task_template_version/{task_template_version}/usage"
    answer = requester.send("GET", path, None, TemplateUsageResponse, params=params)
    return _usage_of(answer) if answer.num_attempts else None


def workflow_template_usage(
    workflows: Sequence[int],
    template: str = "",
    node_args: Mapping[str, Any] | None = None,
    ci: float | str | None = None,
    requester: Requester | None = None,
) -> list[Record]:
    """What the tasks of some workflows used, by template: :func:`task_template_resources` of each of their templates.

    Args:
        workflows: their ids.
        template: only the template of this name.
        node_args: only tasks with these node args, see there.
        ci: confidence level of the interval of the mean, see there.
        requester: how to reach the server.

    Returns:
        For each template version a dictionary with the keys of ``TEMPLATE_USAGE_COLUMNS`` and ``INTERVAL_COLUMNS``; the
        values of one none of whose attempts has ended are ``None``.

    Raises:
        NotFoundError: a workflow does not exist.
        UsageError: they have no such template, or as there.
    """
    requester = requester or Requester.from_defaults()
    names: dict[int, str] = {}
    for workflow_id in dict.fromkeys(workflows):
        facts = requester.send("GET", f"/monitor/workflow/{workflow_id}/facts", None, WorkflowFactsResponse)
        names |= {each.task_template_version_id: each.name for each in facts.templates}
    if template and template not in names.values():
        ids = ", ".join(map(str, workflows))
        known = ", ".join(sorted(set(names.values()))) or "no templates"
        raise UsageError(f"Workflow {ids} has no tasks of a template '{template}'; it has {known}.")
    return [
        _template_record(
            name, version, task_template_resources(version, workflows, node_args, ci, requester) or {}
        )
        for version, name in names.items()
        if template in ("", name)
    ]


def _template_record(name: str, version: int, usage: Mapping[str, Any]) -> Record:
    values = [usage.get(each) for each in _STATISTICS]
    nothing = (None, None)
    ends = [*usage.get("ci_mem", nothing), *usage.get("ci_runtime", nothing)]
    columns = (*TEMPLATE_USAGE_COLUMNS, *INTERVAL_COLUMNS)
    memory = [None if end is None else memory_text(round(end)) for end in ends[:2]]
    row = (name, version, usage.get("num_tasks", 0), *values, *memory, *ends[2:])
    return dict(zip(columns, row, strict=True))


def _texts(name: str, values: Any) -> list[str]:
    is_many = isinstance(values, Iterable) and not isinstance(values, str | bytes | Mapping)
    return [arg_text(name, value) for value in (values if is_many else [values])]


def _usage_of(answer: TemplateUsageResponse) -> dict[str, Any]:
    usage: dict[str, Any] = {"num_tasks": answer.num_tasks}
    statistics = {"min": "low", "max": "high", "mean": "mean", "median": "median"}
    for name, attribute in statistics.items():
        usage[f"{name}_mem"] = _of(answer.memory, attribute, lambda value: memory_text(round(value)))
    for name, attribute in statistics.items():
        usage[f"{name}_runtime"] = _of(answer.runtime, attribute, lambda value: round(value, 3))
    usage["ci_mem"] = _interval(answer.memory)
    usage["ci_runtime"] = _interval(answer.runtime)
    return usage


def _of(spread: Spread, attribute: str, form: Any) -> Any:
    return form(getattr(spread, attribute)) if spread.count else None


def _interval(spread: Spread) -> list[float | None]:
    return [None, None] if spread.ci is None else [round(end, 3) for end in spread.ci]


def memory_text(amount: int) -> str:
    """Bytes as resources are written: ``1048576B``."""
    return f"{amount}B"


def usage_records(usage: Mapping[str, Any]) -> list[Record]:
    """What :func:`task_template_resources` tells, as rows for people."""
    rows = [
        {"STATISTIC": name, "MEMORY": usage[f"{name}_mem"], "RUNTIME": usage[f"{name}_runtime"]}
        for name in ("min", "max", "mean", "median")
    ]
    for end, position in (("ci low", 0), ("ci high", 1)):
        memory, runtime = usage["ci_mem"][position], usage["ci_runtime"][position]
        if memory is not None or runtime is not None:
            rows.append(
                {
                    "STATISTIC": end,
                    "MEMORY": None if memory is None else memory_text(round(memory)),
                    "RUNTIME": runtime,
                }
            )
    return rows


# -- what to ask for next time ------------------------------------------------------------------------
def create_resource_yaml(
    wfid: int | None,
    tid: int | None,
    v_mem: str = "avg",
    v_core: str = "avg",
    v_runtime: str = "max",
    clusters: Sequence[str] | None = None,
    requester: Requester | None = None,
) -> str:
    """A YAML text with resources for every template of a workflow, or of one task, made of what was used.

    It is what ``set_default_compute_resources_from_yaml`` and ``get_task_template(yaml_file=...)`` read. Memory and run
    time are those of attempts that succeeded (of templates none of whose attempts did: of all that ended), cores and
    queue those that were asked for; what was never measured is left out.

    Args:
        wfid: the workflow; or
        tid: the task.
        v_mem, v_core, v_runtime: ``avg``, ``max`` or ``min`` of the attempts.
        clusters: names of clusters to write for; by default those the tasks ran on.
        requester: how to reach the server.

    Raises:
        UsageError: not exactly one of workflow and task is given, a strategy is none of the three, or no attempt has
            ended yet.
        NotFoundError: there is no such workflow or task.
    """
    data = _get_yaml_data(wfid, tid, v_mem, v_core, v_runtime, requester or Requester.from_defaults())
    return _create_yaml(data, clusters)


def _get_yaml_data(
    wfid: int | None, tid: int | None, v_mem: str, v_core: str, v_runtime: str, requester: Requester
) -> dict[str, dict[str, dict[str, Any]]]:
    """Resources by template and cluster; under the empty name those of all clusters together, without a queue."""
    if (wfid is None) == (tid is None):
        raise UsageError("Name either a workflow or a task, not both and not neither.")
    for strategy in (v_mem, v_core, v_runtime):
        if strategy not in STRATEGIES:
            raise UsageError(f"'{strategy}' is no strategy; use one of {', '.join(STRATEGIES)}.")
    of = f"workflow/{wfid}" if tid is None else f"task/{tid}"
    rows = requester.send("GET", f"/monitor/{of}/usage", None, ClusterUsageResponse).rows
    if not rows:
        raise UsageError(
            f"No attempt of {of.replace('/', ' ')} has ended yet, so there is nothing to learn from; ask again later."
        )
    by_template: dict[str, list[ClusterUsageRow]] = {}
    for row in rows:
        by_template.setdefault(row.task_template_name, []).append(row)
    strategies = (v_core, v_mem, v_runtime)
    return {
        template: {
            "": _resources(found, *strategies),
            **{row.cluster_name: _resources([row], *strategies, queue=row.queue_name) for row in found},
        }
        for template, found in by_template.items()
    }


def _resources(
    rows: Sequence[ClusterUsageRow], v_core: str, v_mem: str, v_runtime: str, queue: str = ""
) -> dict[str, Any]:
    cores = _choose([row.cores for row in rows], v_core)
    memory = _choose([row.memory for row in rows], v_mem)
    runtime = _choose([row.runtime for row in rows], v_runtime)
    values = {
        "cores": cores,
        "memory": None if memory is None else memory_text(memory),
        "runtime": runtime,
        "queue": queue or None,
    }
    return {name: value for name, value in values.items() if value is not None}


def _choose(extents: Sequence[Extent], strategy: str) -> int | None:
    """The value the strategy takes, rounded up; ``None`` when nothing was measured."""
    measured = [extent for extent in extents if extent.count]
    if not measured:
        return None
    if strategy == "max":
        return math.ceil(max(extent.high for extent in measured))
    if strategy == "min":
        return math.ceil(min(extent.low for extent in measured))
    total = sum(extent.count * extent.mean for extent in measured)
    return math.ceil(round(total / sum(extent.count for extent in measured), 6))


def _create_yaml(
    data: Mapping[str, Mapping[str, Mapping[str, Any]]], clusters: Sequence[str] | None = None
) -> str:
    """The YAML text of what :func:`_get_yaml_data` found, for these clusters or for those that were used."""
    import yaml

    content = {
        template: {
            cluster: dict(by_cluster.get(cluster, by_cluster[""]))
            for cluster in (clusters or [name for name in by_cluster if name])
        }
        for template, by_cluster in data.items()
    }
    text: str = yaml.safe_dump({"task_template_resources": content}, sort_keys=False, allow_unicode=True)
    return text
