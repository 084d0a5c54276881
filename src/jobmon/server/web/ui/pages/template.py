"""The tasks of one template in a workflow: a table of them, what they used, what went wrong."""

from __future__ import annotations

from collections.abc import Mapping

from jobmon.server.web.ui.live import LiveSource
from jobmon.server.web.ui.page_router import PageRouter

pages = PageRouter()
LIVE: Mapping[str, LiveSource] = {}
