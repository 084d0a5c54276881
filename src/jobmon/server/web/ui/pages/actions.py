"""What owners may do to their workflows and tasks; each asks first."""

from __future__ import annotations

from collections.abc import Mapping

from jobmon.server.web.ui.live import LiveSource
from jobmon.server.web.ui.page_router import PageRouter

pages = PageRouter()
LIVE: Mapping[str, LiveSource] = {}
