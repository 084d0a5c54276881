"""The figures of the report: time, concurrency, costs, advice; and a page that stays small."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobmon.client.report import advice, charts, figures, timeline
from jobmon.client.report.html import render
from jobmon.core.states import Cause, TaskInstanceStatus, TaskStatus, WorkflowRunStatus, WorkflowStatus
from jobmon.serializers.failures import ErrorClustersResponse
from jobmon.serializers.trace import (
    ResourcesFacts,
    RunFacts,
    TemplateFacts,
    TraceResponse,
    WorkflowFactsResponse,
)

NO_ERRORS = ErrorClustersResponse([], 0, 0, 0)
BEGIN = datetime(2030, 1, 1, tzinfo=UTC)
DONE, FAILED = TaskInstanceStatus.DONE.value, TaskInstanceStatus.ERROR.value
GIB = 2**30


def iso(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return (BEGIN + timedelta(seconds=seconds)).replace(tzinfo=None).isoformat(timespec="milliseconds")


def facts(*templates: str, now: float = 10_000, **changes: Any) -> WorkflowFactsResponse:
    of_template = [
        TemplateFacts(
            name,
            1,
            "run {x}",
            2**31 - 1,
            {TaskStatus.DONE.value: 2},
            {1: 2},
            [ResourcesFacts("multiprocess", "null.q", '{"cores": 2, "memory": 4}', 2)],
        )
        for name in templates
    ]
    run = RunFacts(1, "ada", WorkflowRunStatus.DONE.value, "4", "4", "host", 7, iso(0), iso(100))
    values: dict[str, Any] = {
        "id": 5,
        "name": "w",
        "description": "",
        "workflow_args": "",
        "tool_name": "tool",
        "tool_version_id": 1,
        "status": WorkflowStatus.DONE.value,
        "created": iso(0),
        "changed": iso(100),
        "now": iso(now),
        "max_concurrently_running": 2**31 - 1,
        "attributes": {},
        "runs": [run],
        "templates": of_template,
        "num_attempts": 2,
    }
    return WorkflowFactsResponse(**{**values, **changes})


def page(*attempts: dict[str, Any]) -> TraceResponse:
    """Attempts of template ``a``; what is not said is ordinary."""
    ordinary: dict[str, Any] = {
        "task_id": 1,
        "workflow_run_id": 1,
        "task_name": "a_1",
        "template": "a",
        "node_args": "{}",
        "attempt": 1,
        "status": DONE,
        "task_status": TaskStatus.DONE.value,
        "cause": "",
        "exit_code": 0,
        "cluster": "multiprocess",
        "queue": "null.q",
        "node": "n1",
        "distributor_id": "1",
        "resource_type": "V",
        "requested_cores": 2.0,
        "requested_memory_gib": 4.0,
        "requested_runtime": 3600.0,
        "queued": iso(0),
        "started": iso(0),
        "ended": iso(3600),
        "wallclock": 3600.0,
        "cpu": 3600.0,
        "maxrss": GIB,
        "io": 0,
        "energy": None,
        "note": "",
    }
    rows = [{**ordinary, "task_instance_id": i + 1, **attempt} for i, attempt in enumerate(attempts)]
    names = [name for name in TraceResponse.__struct_fields__ if name != "next_after"]
    return TraceResponse(**{name: [row[name] for row in rows] for name in names})


def gathered(*attempts: dict[str, Any], now: float = 10_000) -> figures.Figures:
    return figures.gather(facts("a", now=now), [page(*attempts)])


def test_costs_of_attempts() -> None:
    """Held, wasted, idle and unused, each as the page defines it."""
    found = gathered(
        {},
        {"status": FAILED, "cause": Cause.CODE.value, "wallclock": 1800.0, "task_id": 2},
        {"requested_cores": None, "cpu": None, "maxrss": None, "task_id": 3},
    )
    costs = found.costs
    assert costs.core_hours == pytest.approx(2 + 1 + 1)
    assert costs.failed_core_hours == pytest.approx(1)
    assert costs.idle_core_hours == pytest.approx(2 - 1)
    assert costs.cpu_core_hours == pytest.approx(2)
    assert costs.idle_gib_hours == pytest.approx(4 - 1)
    assert costs.assumed == 1
    assert found.templates[0].causes == {Cause.CODE.value: 1}
    assert [story.task_id for story in found.stories] == [2]


def test_what_was_told_late_is_put_right() -> None:
    """Start and end are told together; the run time that was measured counts."""
    found = gathered({"queued": iso(10), "started": iso(20), "ended": iso(20.5), "wallclock": 5.0})
    (template,) = found.templates
    begin = BEGIN.timestamp()
    assert (template.started[0] - begin, template.ended[0] - begin) == pytest.approx((15.5, 20.5))
    running = gathered({"started": iso(30), "ended": "", "wallclock": None, "status": "R"}, now=40)
    assert running.costs.core_hours == pytest.approx(2 * 10 / 3600)
    assert math.isnan(running.templates[0].ended[0])


def test_idle_time_is_drawn_short() -> None:
    """Two runs of 100 s with a day between them take nearly all of the axis."""
    day = 86400.0
    found = gathered(
        {"ended": iso(100), "wallclock": None},
        {"queued": iso(day), "started": iso(day), "ended": iso(day + 100), "wallclock": None},
    )
    axis = timeline.axis_of(found)
    assert axis is not None
    assert axis.length == pytest.approx(200 + 200 / 30)
    ((_, left_out),) = axis.gaps
    assert left_out == pytest.approx(day - 100)
    assert axis.position(axis.start + day) == pytest.approx(100 + 200 / 30)
    assert "23 h 58 min idle" in charts.concurrency_chart(found, charts.curves_of(found, axis), axis)


@given(
    st.lists(
        st.tuples(st.floats(0, 1000, allow_nan=False), st.floats(0, 50), st.floats(0, 500), st.booleans()),
        min_size=1,
        max_size=30,
    ),
    st.integers(1, 300),
)
def test_no_time_is_lost_in_bins(attempts: list[tuple[float, float, float, bool]], num_bins: int) -> None:
    """Averages over bins add up to the time that was waited and run; idle stretches hold none of it."""
    found = gathered(
        *(
            {
                "queued": iso(queued),
                "started": iso(queued + wait),
                "ended": iso(queued + wait + run) if is_over else "",
                "wallclock": None,
            }
            for queued, wait, run, is_over in attempts
        ),
        now=2000,
    )
    axis = timeline.axis_of(found)
    assert axis is not None
    (template,) = found.templates
    running, waiting = timeline.running_and_waiting(template, axis, num_bins, found.now)
    width = axis.length / num_bins
    ends = [found.now if math.isnan(end) else end for end in template.ended]
    assert sum(running) * width == pytest.approx(
        sum(axis.position(e) - axis.position(s) for s, e in zip(template.started, ends, strict=True)),
        abs=1e-3,
    )
    assert sum(waiting) * width == pytest.approx(
        sum(
            axis.position(s) - axis.position(q)
            for q, s in zip(template.queued, template.started, strict=True)
        ),
        abs=1e-3,
    )
    assert min(running + waiting) >= -1e-6
    assert max(running) <= len(attempts) + 1e-6


def test_peaks_are_whole_numbers() -> None:
    """Three attempts on two slots: where one follows another at once, being told late makes no third one."""
    found = gathered(
        {"started": iso(0), "ended": iso(100), "wallclock": None},
        {"queued": iso(1), "started": iso(2), "ended": iso(50), "wallclock": None},
        {"queued": iso(1), "started": iso(49.8), "ended": iso(120), "wallclock": None},
    )
    (template,) = found.templates
    assert timeline.most_at_once(timeline.spans_running(template, found.now)) == 2
    assert timeline.most_at_once(timeline.spans_waiting(template, found.now)) == 2
    assert timeline.most_at_once([(5.0, 5.0)]) == 0
    axis = timeline.axis_of(found)
    assert axis is not None
    curves = charts.curves_of(found, axis)
    told = re.findall(r"(?:at most|peak) [^<]*", charts.concurrency_chart(found, curves, axis))
    assert told == ["at most 2", "at most 2"]
    assert "3 attempts, peak 3<" in charts.template_rows(found, curves, axis)


@pytest.mark.parametrize(
    ("peak_gib", "status", "verdict", "words"),
    [
        (1.0, DONE, "loose", r"4\.0 times what was needed\. 1229M is enough\."),
        (3.0, DONE, "fits", "Fits"),
        (3.9, DONE, "close", r"97% of the request was used\. Ask for 4793M\."),
        (4.5, TaskInstanceStatus.RESOURCE_ERROR.value, "close", r"4 GiB was too little.*Ask for 5530M"),
        (0, DONE, "unknown", "not measured"),
    ],
)
def test_advice_on_memory(peak_gib: float, status: str, verdict: str, words: str) -> None:
    (template,) = gathered({"maxrss": int(peak_gib * GIB), "status": status}).templates
    said = advice.memory_advice(template)
    assert said.verdict == verdict
    assert re.search(words, said.words)


def test_advice_on_time_and_cores() -> None:
    (template,) = gathered({"wallclock": 300.0, "cpu": 290.0, "requested_cores": 8.0}).templates
    assert advice.runtime_advice(template).words == "12 times what was needed. 6 min 30 s is enough."
    assert advice.cores_advice(template).words == "At most 1.0 were busy. 1 is enough."
    (slow,) = gathered({"wallclock": 3500.0, "ended": iso(3500)}).templates
    assert advice.runtime_advice(slow).verdict == "close"
    (busy,) = gathered({"cpu": 4 * 3600.0}).templates
    assert advice.cores_advice(busy).words == "Up to 4.0 were busy. Ask for 4."


def test_a_page_without_attempts() -> None:
    """A workflow that never ran has a report that says so."""
    never = facts("a", runs=[], num_attempts=0, status=WorkflowStatus.QUEUED.value)
    assert "has not been run yet" in render(never, figures.gather(never, [page()]), NO_ERRORS)
    assert "Nothing of this workflow has been attempted yet" in render(
        facts("a"), figures.gather(facts("a"), []), NO_ERRORS
    )


def test_the_page_of_a_large_workflow_is_small() -> None:
    """Attempts are binned and sampled, templates and names are cut: 12 000 attempts, 1 000 templates."""
    names = [f"template_{i}_{'x' * 200}" for i in range(1000)]
    long = facts(*names, workflow_args="y" * 1_000_000, description="z" * 1_000_000)
    pages = [
        page(
            *(
                {
                    "task_id": i,
                    "template": names[i % 1000],
                    "queued": iso(i / 100),
                    "started": iso(i / 100 + i % 7),
                    "ended": iso(i / 100 + 60),
                    "wallclock": None,
                    "status": FAILED if i % 3 else DONE,
                    "cause": Cause.CODE.value if i % 3 else "",
                }
                for i in range(start, start + 2000)
            )
        )
        for start in range(0, 12_000, 2000)
    ]
    found = figures.gather(long, pages)
    text = render(long, found, NO_ERRORS)
    assert found.num_attempts == 12_000
    assert len(text) < 2_000_000
    assert "12\u202f000 attempts" in text
    assert "more templates are not drawn" in text
