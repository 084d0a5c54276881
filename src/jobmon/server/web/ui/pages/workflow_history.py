"""What became of a workflow: its runs, its events, what users did; and what the next run would do."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from jobmon.serializers.plan import PlanReason
from jobmon.server.web.store.eta import workflow_read_eta, workflow_read_run_times
from jobmon.server.web.store.workflow_figures import OrderRow, Plan, workflow_read_orders, workflow_read_plan
from jobmon.server.web.store.workflow_page import (
    EVENTS_ON_A_PAGE,
    RUNS_ON_A_PAGE,
    workflow_read_arrays,
    workflow_read_events,
    workflow_read_runs,
)
from jobmon.server.web.ui.computed import Figure
from jobmon.server.web.ui.page_router import Answer, PageRouter, View
from jobmon.server.web.ui.pages.workflow_frame import Frame, part, read_frame, show

if TYPE_CHECKING:
    from jobmon.server.web.state import ServerState

TEMPLATES_SHOWN: Final = 100
MEASURED_TEMPLATES: Final = 6
REASON_WORDS: Final = {
    PlanReason.NEW: ("not run yet", "No attempt was made so far."),
    PlanReason.FAILED: ("failed", "Its latest attempt failed."),
    PlanReason.INTERRUPTED: ("interrupted", "Its latest attempt was ended by order."),
    PlanReason.LOST: ("lost", "Its latest attempt was lost with its node, its controller or the server."),
    PlanReason.RUNNING: (
        "being run",
        "The run that is alive works on it; the next one adopts it or ends it.",
    ),
    PlanReason.RESET: ("reset", "Somebody reset it by hand."),
    PlanReason.DONE: ("done: not run again", "It is done."),
}

pages = PageRouter()


# -- history --------------------------------------------------------------------------------------------
def _orders(state: ServerState, frame: Frame) -> Figure[list[OrderRow]]:
    def work() -> list[OrderRow]:
        with state.database.read() as connection:
            return workflow_read_orders(connection, frame.head.id)

    return state.computed.get(("workflow orders", frame.head.id), frame.progress_stamp, work)


@pages.page("/workflow/{workflow_id}/history")
def history(
    view: View, workflow_id: int, before: int | None = None, runs_before: int | None = None
) -> Answer:
    """Runs and events, newest first; those with ids below ``runs_before`` and ``before``."""
    with view.read() as connection:
        frame = read_frame(connection, workflow_id, view.now(connection))
        runs = workflow_read_runs(connection, workflow_id, before=runs_before)
        events = workflow_read_events(connection, workflow_id, before=before)
    return show(
        view,
        "workflow_history.html",
        frame,
        runs=runs,
        events=events,
        before=before,
        runs_before=runs_before,
        more_runs=runs[-1].id if len(runs) == RUNS_ON_A_PAGE else None,
        more_events=events[-1].id if len(events) == EVENTS_ON_A_PAGE else None,
        orders=_orders(view.state, frame),
    )


@pages.page("/workflow/{workflow_id}/history/orders")
def orders_part(view: View, workflow_id: int) -> Answer:
    """What users did to its tasks, once it is known."""
    with view.read() as connection:
        frame = read_frame(connection, workflow_id, view.now(connection))
    found = _orders(view.state, frame)
    return part(view, "workflow_orders.html", frame, f"/workflow/{workflow_id}/history", orders=found)


# -- plan -----------------------------------------------------------------------------------------------
def _plan(state: ServerState, frame: Frame) -> Figure[Plan]:
    def work() -> Plan:
        with state.database.read() as connection:
            return workflow_read_plan(connection, frame.head.id, frame.counts)

    return state.computed.get(("workflow plan", frame.head.id), frame.progress_stamp, work)


def _plan_values(view: View, frame: Frame) -> dict[str, Any]:
    found = _plan(view.state, frame)
    totals: Counter[PlanReason] = Counter()
    for counts in found.value.by_array.values() if found.value is not None else ():
        totals.update(counts)
    reasons = [reason for reason in REASON_WORDS if totals[reason]]
    return {"found": found, "totals": totals, "reasons": reasons, "words": REASON_WORDS}


@pages.page("/workflow/{workflow_id}/plan")
def plan(view: View, workflow_id: int) -> Answer:
    """What the next run would do, and how long this one may take."""
    eta = None
    with view.read() as connection:
        frame = read_frame(connection, workflow_id, view.now(connection))
        arrays = workflow_read_arrays(connection, workflow_id)
        if frame.is_being_run:
            to_do = [array_id for array_id, each in frame.counts.items() if each.num_unfinished]
            times = workflow_read_run_times(connection, workflow_id, to_do[:MEASURED_TEMPLATES], frame.now)
            eta = workflow_read_eta(connection, workflow_id, frame.counts, frame.now, times)
    return show(
        view,
        "workflow_plan.html",
        frame,
        arrays=arrays[:TEMPLATES_SHOWN],
        num_more=max(0, len(arrays) - TEMPLATES_SHOWN),
        eta=eta,
        **_plan_values(view, frame),
    )


@pages.page("/workflow/{workflow_id}/plan/tasks")
def plan_part(view: View, workflow_id: int) -> Answer:
    """The table of it, once it is known."""
    with view.read() as connection:
        frame = read_frame(connection, workflow_id, view.now(connection))
        arrays = workflow_read_arrays(connection, workflow_id)
    return part(
        view,
        "workflow_plan_table.html",
        frame,
        f"/workflow/{workflow_id}/plan",
        arrays=arrays[:TEMPLATES_SHOWN],
        num_more=max(0, len(arrays) - TEMPLATES_SHOWN),
        **_plan_values(view, frame),
    )
