"""What went wrong in a workflow: failures that are alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from jobmon.core.words import CAUSE_WORDS
from jobmon.serializers.failures import ErrorClusterRow, ErrorClustersResponse
from jobmon.server.web.store.failures import workflow_read_error_clusters
from jobmon.server.web.store.workflow_page import workflow_read_arrays
from jobmon.server.web.ui.computed import PATIENCE_SECONDS, Figure
from jobmon.server.web.ui.page_router import Answer, PageRouter, View
from jobmon.server.web.ui.pages.workflow_frame import Frame, part, read_frame, show

if TYPE_CHECKING:
    from jobmon.server.web.state import ServerState

CLUSTERS_KEPT: Final = 200
CLUSTERS_SHOWN: Final = 40
FIRST_PAGE_SECONDS: Final = 0.04
"""The first page waits no longer for them."""

pages = PageRouter()


def error_clusters(
    state: ServerState,
    frame: Frame,
    *,
    is_recent: bool = True,
    patience_seconds: float = PATIENCE_SECONDS,
) -> Figure[ErrorClustersResponse]:
    """Failures of a workflow that are alike, once they are known."""

    def work() -> ErrorClustersResponse:
        with state.database.read() as connection:
            return workflow_read_error_clusters(connection, frame.head.id, CLUSTERS_KEPT, is_recent=is_recent)

    key = ("workflow errors", frame.head.id, is_recent)
    return state.computed.get(key, frame.failure_stamp, work, patience_seconds)


def top_errors(state: ServerState, frame: Frame) -> Figure[ErrorClustersResponse]:
    """The same for the first page; nothing is worked out where nothing has failed."""
    if not frame.has_failures:
        return Figure(ErrorClustersResponse([], 0, 0, 0))
    return error_clusters(state, frame, patience_seconds=FIRST_PAGE_SECONDS)


def chosen(clusters: Sequence[ErrorClusterRow], text: str, template: str) -> list[ErrorClusterRow]:
    """Clusters that hold a text, in capitals or not, and have failures of a template; empty: all."""
    wanted = text.casefold()
    return [
        cluster
        for cluster in clusters
        if (not template or template in cluster.templates)
        and (
            not wanted
            or any(
                wanted in each.casefold()
                for each in (
                    cluster.pattern,
                    cluster.where,
                    cluster.example,
                    cluster.example_task_name,
                    *cluster.nodes,
                )
            )
        )
    ]


def _values(view: View, frame: Frame, q: str, template: str, every: str) -> dict[str, Any]:
    found = (
        error_clusters(view.state, frame, is_recent=not every)
        if every or frame.has_failures
        else top_errors(view.state, frame)
    )
    matching = chosen(found.value.clusters, q, template) if found.value is not None else []
    return {
        "found": found,
        "clusters": matching[:CLUSTERS_SHOWN],
        "num_matching": len(matching),
        "q": q,
        "of_template": template,
        "every": every,
        "cause_words": CAUSE_WORDS,
    }


@pages.page("/workflow/{workflow_id}/errors")
def errors(view: View, workflow_id: int, q: str = "", template: str = "", every: str = "") -> Answer:
    """Failures that are alike; ``q``: with this text, ``every``: also those that other attempts made good."""
    with view.read() as connection:
        frame = read_frame(connection, workflow_id, view.now(connection))
        arrays = workflow_read_arrays(connection, workflow_id)
    names = list(dict.fromkeys(array.name for array in arrays))
    return show(view, "workflow_errors.html", frame, names=names, **_values(view, frame, q, template, every))


@pages.page("/workflow/{workflow_id}/errors/list")
def errors_part(view: View, workflow_id: int, q: str = "", template: str = "", every: str = "") -> Answer:
    """The list of them, once it is known."""
    with view.read() as connection:
        frame = read_frame(connection, workflow_id, view.now(connection))
    values = _values(view, frame, q, template, every)
    return part(view, "workflow_errors_list.html", frame, f"/workflow/{workflow_id}/errors", **values)


@pages.page("/workflow/{workflow_id}/errors/latest")
def latest_part(view: View, workflow_id: int) -> Answer:
    """The first of them, for the first page."""
    with view.read() as connection:
        frame = read_frame(connection, workflow_id, view.now(connection))
    found = top_errors(view.state, frame)
    return part(view, "workflow_latest_errors.html", frame, f"/workflow/{workflow_id}", errors=found)
