"""How tests are spread over the workers of pytest-xdist."""

from __future__ import annotations

import re

from xdist.scheduler import LoadScopeScheduling

# There is one cluster on a machine, and tests break it on purpose; one browser, with what it looks at, is enough for all.
SHARED = ("tests/slurm/", "tests/ui/test_browser_")
MILLION = re.compile(r"tests/growth/test_hot_statements\.py.*\[(\w+)")
"""Each of its databases takes a minute to make."""


class OneWorkerPerCluster(LoadScopeScheduling):  # type: ignore[misc]
    """Tests of one real cluster run one after the other, on one worker, and so do those in a browser; all others go to
    whichever worker is free.

    The marker ``xdist_group`` would say the same, but with pytest 9.2 and pytest-xdist 3.8 it has no effect: the one no
    longer lets the other append the group to a test's id.
    """

    def _split_scope(self, nodeid: str) -> str:
        if match := MILLION.match(nodeid):
            return f"the million of {match[1]}"
        return next((folder for folder in SHARED if nodeid.startswith(folder)), nodeid)
