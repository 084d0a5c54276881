"""How often a server process looks for garbage in cycles.

A request makes thousands of objects and no cycles of its own, so that Python's usual thresholds have it walk over everything
the server keeps again and again for nothing: a sixth of the processor time of an event, as measured.
"""

from __future__ import annotations

import gc

THRESHOLDS = (50_000, 20, 100)


def collect_rarely() -> None:
    """Leave out for good what there is now, and look through what comes at these thresholds; called once, after the start."""
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
