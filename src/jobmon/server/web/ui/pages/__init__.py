"""The pages, one module for each group."""

from __future__ import annotations

from collections.abc import Mapping

from jobmon.server.web.ui.live import LiveSource
from jobmon.server.web.ui.page_router import PageRouter
from jobmon.server.web.ui.pages import (
    actions,
    clusters,
    help_page,
    task,
    template,
    tool,
    workflow,
    workflows,
)

_GROUPS = (workflows, workflow, template, task, tool, clusters, actions)
LIVE_SOURCES: Mapping[str, LiveSource] = {
    kind: source for group in _GROUPS for kind, source in group.LIVE.items()
}
"""What browsers may watch, by kind of topic."""


def all_pages() -> list[PageRouter]:
    """Every group of pages."""
    return [*(group.pages for group in _GROUPS), help_page.pages]
