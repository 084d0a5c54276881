"""What went wrong in a workflow: failures that are alike, how many there are, and what they share."""

from __future__ import annotations

from jobmon.client.commands.records import Record, local_time
from jobmon.client.failures import describe_cluster, describe_trait
from jobmon.core.exceptions import UsageError
from jobmon.core.requester import Requester
from jobmon.core.words import counted, thousands
from jobmon.serializers.failures import ErrorClusterRow, ErrorClustersResponse

ERROR_COLUMNS = (
    "TASKS",
    "ATTEMPTS",
    "PATTERN",
    "WHERE",
    "CAUSE",
    "TEMPLATES",
    "NODES",
    "SHARED",
    "FIRST_SEEN",
    "LAST_SEEN",
    "EXAMPLE_TASK_ID",
    "EXAMPLE_TASK_INSTANCE_ID",
    "EXAMPLE",
)


def workflow_errors(
    workflow_id: int, limit: int = 10, all_attempts: bool = False, requester: Requester | None = None
) -> list[Record]:
    """Failures of a workflow that are alike, most frequent first.

    Args:
        workflow_id: the workflow.
        limit: at most so many kinds of failures.
        all_attempts: also attempts that were followed by others, and those of tasks that are done.
        requester: how to reach the server.

    Returns:
        For each kind a dictionary with the keys of ``ERROR_COLUMNS``.

    Raises:
        NotFoundError: there is no such workflow.
    """
    answer = workflow_error_clusters(workflow_id, limit, all_attempts, requester)
    return [error_record(row) for row in answer.clusters]


def workflow_error_clusters(
    workflow_id: int, limit: int = 10, all_attempts: bool = False, requester: Requester | None = None
) -> ErrorClustersResponse:
    """What :func:`workflow_errors` tells, as the server says it."""
    if limit < 1:
        raise UsageError(f"The limit must be at least 1, not {limit}.")
    requester = requester or Requester.from_defaults()
    params = {"limit": limit, "recent": "false" if all_attempts else "true"}
    path = f"/monitor/workflow/{workflow_id}/error_clusters"
    return requester.send("GET", path, None, ErrorClustersResponse, params=params)


def error_record(row: ErrorClusterRow) -> Record:
    """Failures that are alike as a plain row; times are ISO text, UTC."""
    values = (
        row.num_tasks,
        row.num_attempts,
        row.pattern,
        row.where,
        row.cause,
        row.templates,
        row.nodes,
        [describe_trait(trait) for trait in row.shared],
        row.first_seen,
        row.last_seen,
        row.example_task_id,
        row.example_task_instance_id,
        row.example,
    )
    return dict(zip(ERROR_COLUMNS, values, strict=True))


def flat_error_record(row: ErrorClusterRow) -> Record:
    """The same for CSV: lists are texts."""
    record = error_record(row)
    for name in ("TEMPLATES", "NODES"):
        record[name] = "; ".join(f"{key}: {count}" for key, count in record[name].items())
    record["SHARED"] = "; ".join(record["SHARED"])
    return record


def error_lines(workflow_id: int, answer: ErrorClustersResponse) -> list[str]:
    """What went wrong, for people: a summary, then each kind of failure, then what to type next."""
    if not answer.clusters and not answer.were_made_good:
        return [f"No attempt of workflow {workflow_id} has failed.", *answer.conditions]
    if not answer.clusters:
        return [
            *answer.conditions,
            f"No task of workflow {workflow_id} that is not done has failed.",
            f"Failures that another attempt made good:  jobmon workflow errors {workflow_id} --all",
        ]
    tasks = counted(answer.num_failed_tasks, "task")
    kinds = "one way" if answer.num_clusters == 1 else f"{thousands(answer.num_clusters)} ways"
    lines = [f"workflow {workflow_id}: {tasks} failed in {kinds}"]
    if not answer.is_complete:
        lines[0] += f"; only the latest {thousands(answer.num_errors)} failures were looked at"
    lines += [f"  {text}" for text in answer.conditions]
    lines += [f"  failures of {trait.template} together: {describe_trait(trait)}" for trait in answer.shared]
    for row in answer.clusters:
        span = " to ".join(dict.fromkeys(local_time(moment) for moment in (row.first_seen, row.last_seen)))
        headline, *rest = describe_cluster(row).splitlines()
        lines += ["", headline, f"  {span}", *rest]
    if answer.num_clusters > len(answer.clusters):
        rest_count = answer.num_clusters - len(answer.clusters)
        lines += [
            "",
            f"… and {thousands(rest_count)} more: jobmon workflow errors {workflow_id} -l {answer.num_clusters}",
        ]
    return [*lines, "", f"When the cause is mended:  jobmon workflow resume -w {workflow_id}"]
