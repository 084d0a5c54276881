"""What attempts used: which of them count, what is gathered of them, the interval of the mean."""

from __future__ import annotations

import pytest
from scene import LAUNCH_AND_START, Scene

from jobmon.core.exceptions import NotFoundError, UsageError
from jobmon.core.states import Cause, TaskInstanceEvent
from jobmon.serializers.define import TaskResourcesItem
from jobmon.server.web.analysis.usage_statistics import parse_confidence, spread_of, student_quantile
from jobmon.server.web.store import define, usage

DONE, FAIL = TaskInstanceEvent.FINISH, TaskInstanceEvent.FAIL
MIB = 2**20


# Abramowitz & Stegun, table 26.10, and the same at more digits
@pytest.mark.parametrize(
    ("confidence", "degrees", "expected"),
    [
        (0.95, 1, 12.7062047362),
        (0.95, 2, 4.30265272975),
        (0.95, 3, 3.18244630528),
        (0.95, 4, 2.77644510520),
        (0.99, 7, 3.49948329736),
        (0.5, 10, 0.69981206131),
        (0.999, 30, 3.64595864),
        (0.95, 120, 1.97993040505),
        (0.95, 10**6, 1.95996635682),
    ],
)
def test_quantiles_of_student(confidence: float, degrees: int, expected: float) -> None:
    assert student_quantile(confidence, degrees) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("confidence", [1e-6, 0.1, 0.5, 0.9, 0.99, 0.9999])
def test_series_and_expansion_meet(confidence: float) -> None:
    """More degrees of freedom give a smaller quantile, also where the method changes."""
    quantiles = [student_quantile(confidence, degrees) for degrees in range(195, 206)]
    assert quantiles == sorted(quantiles, reverse=True)
    assert quantiles[0] == pytest.approx(quantiles[-1], rel=2e-3)


@pytest.mark.parametrize("text", ["0.95", "95", "95%", " 95 % ", "0.95 "])
def test_a_level_as_fraction_or_percentage(text: str) -> None:
    assert parse_confidence(text) == pytest.approx(0.95)


@pytest.mark.parametrize("text", ["", "0", "1", "100%", "-5", "much", "nan", "inf"])
def test_a_level_that_is_none(text: str) -> None:
    with pytest.raises(UsageError, match=r"0\.95 or 95%"):
        parse_confidence(text)


def test_zeros_are_not_measured() -> None:
    found = spread_of([0, 5, 1, 0, 2, 4, 3], 0.95)
    assert (found.count, found.low, found.high, found.mean, found.median) == (5, 1, 5, 3, 3)
    assert found.ci == pytest.approx((3 - 1.963243, 3 + 1.963243), abs=1e-6)
    assert spread_of([2, 4]).median == 3
    assert spread_of([2, 4]).ci is None
    assert spread_of([2], 0.95).ci is None
    assert spread_of([0, 0]).count == 0


@pytest.fixture
def used(bound: Scene) -> Scene:
    """Task 0 succeeded at its second attempt, task 1 at once, task 2 failed, task 3 runs."""
    bound.is_out_of_order = True
    bound.start_run()
    bound.attempt(0, *LAUNCH_AND_START, FAIL, wallclock=9.0, maxrss=30 * MIB, cause=Cause.CODE)
    bound.attempt(0, *LAUNCH_AND_START, DONE, wallclock=2.0, maxrss=10 * MIB)
    bound.attempt(1, *LAUNCH_AND_START, DONE, wallclock=4.0, maxrss=0)
    bound.attempt(2, *LAUNCH_AND_START, FAIL, wallclock=6.0, maxrss=20 * MIB, cause=Cause.CODE)
    bound.attempt(3, *LAUNCH_AND_START)
    return bound


def test_usage_of_a_template_version(used: Scene) -> None:
    """Attempts that ended count, whatever their outcome; workflows and node args narrow it down."""
    version = used.ids["template"].id

    def read(workflows: list[int], node_args: dict[str, list[str]], ci: float | None = None):  # type: ignore[no-untyped-def]
        return used.read(lambda c: usage.template_version_read_usage(c, version, workflows, node_args, ci))

    found = read([], {})
    assert (found.num_tasks, found.num_attempts) == (3, 4)
    assert (found.memory.count, found.memory.low, found.memory.high) == (3, 10 * MIB, 30 * MIB)
    assert (found.runtime.count, found.runtime.mean, found.runtime.median) == (4, 5.25, 5.0)
    assert read([used.workflow_id], {"n": ["1", "2"]}, 0.9).runtime.ci is not None
    assert read([used.workflow_id], {"n": ["1", "2"]}).num_tasks == 2
    assert read([], {"n": ["no such value"]}).num_attempts == 0
    with pytest.raises(UsageError, match="no node arg data; it has n"):
        read([], {"data": ["data"]})
    with pytest.raises(NotFoundError, match="no workflow 999"):
        read([999], {})
    with pytest.raises(NotFoundError, match="no task template version 999"):
        used.read(lambda c: usage.template_version_read_usage(c, 999, [], {}, None))


def test_usage_of_a_workflow_by_cluster(used: Scene) -> None:
    """Of a template with successes only those count; of a task with failures only, the failures."""
    (row,) = used.read(lambda c: usage.workflow_read_usage(c, used.workflow_id))
    assert (row.task_template_name, row.cluster_name, row.queue_name) == ("fit", "dummy", "null.q")
    assert (row.num_attempts, row.cores.mean, row.memory.count, row.memory.high) == (2, 1, 1, 10 * MIB)
    assert (row.runtime.low, row.runtime.mean, row.runtime.high) == (2, 3, 4)
    (failed,) = used.read(lambda c: usage.task_read_usage(c, used.task_ids[2]))
    assert (failed.num_attempts, failed.runtime.high) == (1, 6)
    assert used.read(lambda c: usage.task_read_usage(c, used.task_ids[3])) == []
    with pytest.raises(NotFoundError, match="no task 999"):
        used.read(lambda c: usage.task_read_usage(c, 999))


def test_the_queue_most_attempts_were_in(used: Scene) -> None:
    """And attempts with different requests of the same cluster are one row."""
    queue = used.read(lambda c: define.cluster_read(c, "multiprocess")).queues[0].id
    item = TaskResourcesItem(queue, "O", {"cores": 3})
    used.ids["resources"] = used.write(lambda c: define.task_resources_get_or_create(c, [item]))[0]
    used.attempt(2, *LAUNCH_AND_START, DONE, wallclock=1.0, maxrss=5 * MIB)
    rows = used.read(lambda c: usage.workflow_read_usage(c, used.workflow_id))
    assert [(row.cluster_name, row.cores.high, row.num_attempts) for row in rows] == [
        ("dummy", 1, 2),
        ("multiprocess", 3, 1),
    ]
