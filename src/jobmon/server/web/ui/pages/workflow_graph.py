"""The templates of a workflow as a graph, and its attempts over time."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from markupsafe import Markup

from jobmon.core.exceptions import NotFoundError
from jobmon.server.web import dialect
from jobmon.server.web.store.template_graph import workflow_template_graph
from jobmon.server.web.store.timeline import MAX_BARS, Timeline, run_read_time, run_read_timeline
from jobmon.server.web.store.workflow_page import workflow_read_arrays, workflow_read_runs
from jobmon.server.web.ui.drawing.template_graph import MAX_BOXES, Box, template_graph
from jobmon.server.web.ui.drawing.timeline import timeline_drawing
from jobmon.server.web.ui.page_router import Answer, PageRouter, View
from jobmon.server.web.ui.pages.workflow_frame import Frame, part, read_frame, show

RUNS_OFFERED: Final = 20

pages = PageRouter()


@pages.page("/workflow/{workflow_id}/graph")
def graph(view: View, workflow_id: int) -> Answer:
    """Which templates wait for which."""
    with view.read() as connection:
        frame = read_frame(connection, workflow_id, view.now(connection))
        arrays = workflow_read_arrays(connection, workflow_id)
        found = workflow_template_graph(connection, workflow_id)
    shown = arrays[:MAX_BOXES]
    boxes = [
        Box(
            array.id,
            array.name,
            frame.counts[array.id].by_status if array.id in frame.counts else {},
            view.url(f"/workflow/{workflow_id}/template/{array.id}"),
        )
        for array in shown
    ]
    return show(
        view,
        "workflow_graph.html",
        frame,
        drawing=template_graph(boxes, found.upstream) if boxes else Markup(""),
        arrays=shown,
        names={array.id: array.name for array in arrays},
        num_more=len(arrays) - len(shown),
        upstream=found.upstream,
        found=found,
    )


# -- timeline -------------------------------------------------------------------------------------------
class By(StrEnum):
    """What the rows of a timeline are."""

    TEMPLATE = "template"
    NODE = "node"


@dataclass(frozen=True)
class _Drawn:
    """A timeline that is drawn, or not yet."""

    value: Markup | None
    age_seconds: float
    error: str
    timeline: Timeline | None


def _timeline(view: View, frame: Frame, by: By, run: int | None) -> _Drawn | None:
    """The timeline of a run; ``None``: there was none."""
    state, workflow_id = view.state, frame.head.id
    if frame.head.run is None:
        return None

    def work() -> Timeline:
        with state.database.read() as connection:
            now = dialect.utcnow(connection)
            time = run_read_time(connection, workflow_id, run, now)
            if time is None:
                raise NotFoundError(f"Workflow {workflow_id} has no run {run}.")
            return run_read_timeline(connection, time, now, by_node=by is By.NODE)

    found = state.computed.get(
        ("workflow timeline", workflow_id, by, run or frame.head.run.id), frame.progress_stamp, work
    )
    drawing = None if found.value is None else timeline_drawing(found.value, view.url("/task/"))
    return _Drawn(drawing, found.age_seconds, found.error, found.value)


def _values(view: View, frame: Frame, by: By, run: int | None) -> dict[str, Any]:
    return {"timeline": _timeline(view, frame, by, run), "by": by.value, "run": run, "max_bars": MAX_BARS}


@pages.page("/workflow/{workflow_id}/timeline")
def timeline(view: View, workflow_id: int, by: By = By.TEMPLATE, run: int | None = None) -> Answer:
    """What ran when in a run, by template or by node."""
    with view.read() as connection:
        frame = read_frame(connection, workflow_id, view.now(connection))
        runs = workflow_read_runs(connection, workflow_id, limit=RUNS_OFFERED)
        if run is not None and run_read_time(connection, workflow_id, run, frame.now) is None:
            raise NotFoundError(f"Workflow {workflow_id} has no run {run}.")
    return show(view, "workflow_timeline.html", frame, runs=runs, **_values(view, frame, by, run))


@pages.page("/workflow/{workflow_id}/timeline/drawing")
def timeline_part(view: View, workflow_id: int, by: By = By.TEMPLATE, run: int | None = None) -> Answer:
    """The drawing, once it is known."""
    with view.read() as connection:
        frame = read_frame(connection, workflow_id, view.now(connection))
    path = f"/workflow/{workflow_id}/timeline"
    return part(view, "workflow_timeline_drawing.html", frame, path, **_values(view, frame, by, run))
