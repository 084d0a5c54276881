"""One workflow: how far it is, what went wrong, when what ran."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection

from jobmon.serializers.monitor import EtaRow, RunningTaskRow
from jobmon.server.web import dialect
from jobmon.server.web.store.attributes import workflow_read_attributes
from jobmon.server.web.store.eta import workflow_read_eta, workflow_read_run_times
from jobmon.server.web.store.overview import run_read_longest_running
from jobmon.server.web.store.remote import workflow_read_conditions
from jobmon.server.web.store.timeline import Curve, run_read_time, workflow_read_curve
from jobmon.server.web.store.workflow_figures import TemplateFigures, workflow_read_template_figures
from jobmon.server.web.store.workflow_page import (
    workflow_read_arrays,
    workflow_read_stamp,
)
from jobmon.server.web.ui.computed import Figure
from jobmon.server.web.ui.drawing.curve import curve_drawing, curve_values
from jobmon.server.web.ui.live import LiveSource, Parts
from jobmon.server.web.ui.page_router import Answer, PageRouter, View
from jobmon.server.web.ui.pages import workflow_errors, workflow_graph, workflow_history
from jobmon.server.web.ui.pages.workflow_errors import top_errors
from jobmon.server.web.ui.pages.workflow_frame import Frame, base_of, part, read_frame, show
from jobmon.server.web.ui.rendering import environment

if TYPE_CHECKING:
    from jobmon.server.web.state import ServerState

TEMPLATES_ON_A_PAGE: Final = 100
LIVE_TEMPLATES: Final = 35
"""Templates whose numbers change by themselves on the page; more would be too much to send at once."""
MEASURED_TEMPLATES: Final = 6
"""Templates whose run times are looked up for the estimate, where none is among the latest attempts."""
RUNNING_SHOWN: Final = 8
PATIENCE_SECONDS: Final = 0.04
"""The first page waits so long for each of its figures that nobody has worked out yet."""
SETTLING_SECONDS: Final = 60
"""So long after its end the page is drawn again now and then: figures that take long come late."""

pages = PageRouter()
for _group in (workflow_graph, workflow_errors, workflow_history):
    pages.routes += _group.pages.routes


@dataclass(frozen=True, slots=True)
class Now:
    """How a workflow that may be being run is doing.

    Attributes:
        elapsed_seconds: how long its latest run has taken; null: it never ran.
        eta: when it may be done; null: it is not being run.
        running: attempts that have run longest.
        conditions: what is the matter with its clusters.
    """

    elapsed_seconds: float | None
    eta: EtaRow | None
    running: list[RunningTaskRow]
    conditions: list[str]


def _read_now(connection: Connection, frame: Frame) -> Now:
    head, run = frame.head, frame.head.run
    if run is None:
        return Now(None, None, [], [])
    if not frame.is_being_run:
        return Now(max(0.0, (run.changed - run.created).total_seconds()), None, [], [])
    to_do = [array_id for array_id, each in frame.counts.items() if each.num_unfinished]
    times = workflow_read_run_times(connection, head.id, to_do[:MEASURED_TEMPLATES], frame.now)
    return Now(
        times.run_seconds,
        workflow_read_eta(connection, head.id, frame.counts, frame.now, times),
        run_read_longest_running(connection, run.id, RUNNING_SHOWN, frame.now) if times.running else [],
        workflow_read_conditions(connection, head.id),
    )


def _figures(state: ServerState, frame: Frame) -> Figure[dict[int, TemplateFigures]]:
    def work() -> dict[int, TemplateFigures]:
        with state.database.read() as connection:
            return workflow_read_template_figures(connection, frame.head.id)

    return state.computed.get(
        ("workflow templates", frame.head.id), frame.progress_stamp, work, PATIENCE_SECONDS
    )


def _curve(state: ServerState, frame: Frame) -> Figure[Curve]:
    """Progress during the latest run; to be asked for only where there is one."""

    def work() -> Curve:
        with state.database.read() as connection:
            now = dialect.utcnow(connection)
            run = run_read_time(connection, frame.head.id, None, now)
            assert run is not None
            return workflow_read_curve(connection, frame.head.id, run, now)

    return state.computed.get(("workflow curve", frame.head.id), frame.progress_stamp, work, PATIENCE_SECONDS)


@pages.page("/workflow/{workflow_id}")
def overview(view: View, workflow_id: int, start: int = 0) -> Answer:
    """How a workflow is doing; ``start``: templates that are left out before the first one shown."""
    with view.read() as connection:
        frame = read_frame(connection, workflow_id, view.now(connection))
        now = _read_now(connection, frame)
        arrays = workflow_read_arrays(connection, workflow_id)
        attributes = {
            name: value or "" for name, value in workflow_read_attributes(connection, workflow_id).items()
        }
    start = max(0, start)
    return show(
        view,
        "workflow.html",
        frame,
        now=now,
        arrays=arrays[start : start + TEMPLATES_ON_A_PAGE],
        num_arrays=len(arrays),
        start=start,
        page=TEMPLATES_ON_A_PAGE,
        num_live=LIVE_TEMPLATES,
        attributes=attributes,
        figures=_figures(view.state, frame),
        errors=top_errors(view.state, frame),
        curve=_drawn(_curve(view.state, frame)) if frame.head.run else None,
    )


@dataclass(frozen=True)
class _Drawn:
    """A figure whose value is drawn."""

    value: Any
    age_seconds: float
    error: str


def _drawn(figure: Figure[Curve]) -> _Drawn:
    return _Drawn(
        None if figure.value is None else curve_drawing(figure.value), figure.age_seconds, figure.error
    )


@pages.page("/workflow/{workflow_id}/curve")
def curve_part(view: View, workflow_id: int) -> Answer:
    """The curve, once it is known."""
    with view.read() as connection:
        frame = read_frame(connection, workflow_id, view.now(connection))
    curve = _drawn(_curve(view.state, frame)) if frame.head.run else None
    return part(view, "workflow_curve.html", frame, f"/workflow/{workflow_id}", curve=curve)


@pages.page("/workflow/{workflow_id}/curve.json")
def curve_json(view: View, workflow_id: int) -> Answer:
    """Values of the curve; nothing while they are not known."""
    with view.read() as connection:
        frame = read_frame(connection, workflow_id, view.now(connection))
    found = _curve(view.state, frame).value if frame.head.run else None
    return view.json({} if found is None else curve_values(found))


# -- live -----------------------------------------------------------------------------------------------
def _stamp(state: ServerState, key: str) -> Hashable:
    with state.database.read() as connection:
        stamp = workflow_read_stamp(connection, int(key))
        age = (dialect.utcnow(connection) - stamp[1]).total_seconds()
    return (*stamp, age // 5 if age < SETTLING_SECONDS else None)


def _draw(state: ServerState, key: str) -> Parts:
    with state.database.read() as connection:
        frame = read_frame(connection, int(key), dialect.utcnow(connection))
        now = _read_now(connection, frame)
    return parts_of(frame, now, top_errors(state, frame), base_of(state))


def parts_of(frame: Frame, now: Now, errors: Figure[Any], base: str) -> Mapping[str, str]:
    """What changes on the page by itself, by name.

    Args:
        frame: the workflow.
        now: how it is doing.
        errors: what went wrong.
        base: what addresses of pages begin with.
    """
    macros = environment().get_template("_workflow.html").module
    drawn: dict[str, partial[str]] = {
        "status": partial(macros.status, frame, now),  # type: ignore[attr-defined]
        "progress": partial(macros.progress, frame),  # type: ignore[attr-defined]
        "running": partial(macros.running, now, base),  # type: ignore[attr-defined]
        "errors": partial(macros.latest_errors, frame, errors, base),  # type: ignore[attr-defined]
        "actions": partial(macros.actions, frame, base),  # type: ignore[attr-defined]
    }
    parts = {name: str(draw()).strip() for name, draw in drawn.items()}
    for array_id in sorted(frame.counts)[:LIVE_TEMPLATES]:
        parts[f"b{array_id}"] = str(macros.template_bar(frame.counts[array_id])).strip()  # type: ignore[attr-defined]
    return parts


LIVE: Mapping[str, LiveSource] = {"workflow": LiveSource(_stamp, _draw)}
