"""Routes for people who look: the command line, notebooks, the GUI."""

from __future__ import annotations

from jobmon.server.web.wire import WireRouter

router = WireRouter("/monitor")
