"""Messages on what went wrong: failures that are alike, and what they have in common."""

from __future__ import annotations

from msgspec import Struct


class SharedTrait(Struct):
    """Something that failures have in common and most of the other tasks of their template have not.

    Attributes:
        kind: ``node_arg``: a value of a node argument; ``node``: a host attempts ran on.
        name: name of the argument; empty for a host.
        value: the value, or the name of the host.
        template: the template whose tasks are compared.
        num_failed: failures that have it.
        num_failed_in_all: failures of the template.
        num_others: tasks of the comparison that have it.
        num_others_in_all: tasks of the comparison.
        are_others_done: the comparison is with the tasks that are done; false: with all that did not fail like this.
    """

    kind: str
    name: str
    value: str
    template: str
    num_failed: int
    num_failed_in_all: int
    num_others: int
    num_others_in_all: int
    are_others_done: bool


class ErrorClusterRow(Struct):
    """Failures that are alike.

    Attributes:
        pattern: what they say; where they differ in numbers, paths, dates or ids, with placeholders such as ``<n>``.
        where: function in which they happened, when the text tells; else empty.
        cause: why the attempts did not succeed.
        num_attempts: attempts that failed like this.
        num_tasks: tasks they belong to.
        example: end of the text of the latest of them.
        example_task_id, example_task_name, example_task_instance_id, example_stderr: the latest of them.
        first_seen, last_seen: ISO text, UTC.
        templates: attempts by name of template, most frequent first.
        nodes: attempts by host, most frequent first; at most ten.
        shared: what they have in common, most telling first.
    """

    pattern: str
    where: str
    cause: str
    num_attempts: int
    num_tasks: int
    example: str
    example_task_id: int
    example_task_name: str
    example_task_instance_id: int
    example_stderr: str
    first_seen: str
    last_seen: str
    templates: dict[str, int]
    nodes: dict[str, int]
    shared: list[SharedTrait] = []


class ErrorClustersResponse(Struct):
    """What went wrong in a workflow, most frequent first.

    Attributes:
        clusters: failures that are alike.
        num_clusters: kinds of failures there are, also those beyond the limit.
        num_errors: attempts that were looked at.
        num_failed_tasks: tasks they belong to.
        is_complete: false: there are more failed attempts; only the latest were looked at.
        shared: what all failures of a template have in common, where no single kind of them has it by itself.
        were_made_good: nothing failed that counts here, but there are failed attempts that others made good.
        conditions: what is the matter with the clusters it runs on, in sentences.
    """

    clusters: list[ErrorClusterRow]
    num_clusters: int
    num_errors: int
    num_failed_tasks: int
    is_complete: bool = True
    shared: list[SharedTrait] = []
    were_made_good: bool = False
    conditions: list[str] = []
