"""Messages about what attempts used: of one task template version, and of a workflow template by template."""

from __future__ import annotations

from msgspec import Struct


class Spread(Struct):
    """How a quantity spreads over attempts; attempts where it was not measured, or was 0, are left out.

    Attributes:
        count: attempts with a value; 0: there is nothing to tell, all else is 0.
        low, high: smallest and largest value.
        mean, median: the two averages.
        ci: ends of the confidence interval of the mean; null: not asked for, or fewer than two values.
    """

    count: int = 0
    low: float = 0.0
    high: float = 0.0
    mean: float = 0.0
    median: float = 0.0
    ci: tuple[float, float] | None = None


class TemplateUsageResponse(Struct):
    """What attempts of a task template version used; only attempts that ended count.

    Attributes:
        num_tasks: tasks with an attempt that ended.
        num_attempts: attempts that ended.
        memory: bytes.
        runtime: seconds.
    """

    num_tasks: int
    num_attempts: int
    memory: Spread
    runtime: Spread


class Extent(Struct):
    """Smallest value, average and largest value over attempts; ``count`` 0: there was none."""

    count: int = 0
    low: float = 0.0
    mean: float = 0.0
    high: float = 0.0


class ClusterUsageRow(Struct):
    """What the tasks of one template used on one cluster.

    Attributes:
        task_template_name: the template.
        cluster_name: where they ran.
        queue_name: the queue most of the attempts were in.
        num_attempts: attempts that count: those that succeeded; of a template none of whose attempts did, all that
            ended.
        cores: cores asked for.
        memory: bytes used.
        runtime: seconds used.
    """

    task_template_name: str
    cluster_name: str
    queue_name: str
    num_attempts: int
    cores: Extent
    memory: Extent
    runtime: Extent


class ClusterUsageResponse(Struct):
    """What the tasks of a workflow, or one task, used, by template and cluster; empty while no attempt has ended."""

    rows: list[ClusterUsageRow]
