"""The list of workflows."""

from __future__ import annotations

from collections.abc import Mapping

from jobmon.server.web.store.monitor import workflows_read_status
from jobmon.server.web.ui.live import LiveSource
from jobmon.server.web.ui.page_router import Answer, PageRouter, View

pages = PageRouter()
LIVE: Mapping[str, LiveSource] = {}


@pages.page("/")
def workflows(view: View) -> Answer:
    """Workflows, newest first."""
    with view.read() as connection:
        rows = workflows_read_status(connection, [], [view.user] if view.user else [], 50)
    return view.html("workflows.html", rows=rows)
