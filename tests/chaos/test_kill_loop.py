"""Serving processes are killed at random under load: every acknowledged change is in the database, once."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from kill_loop import SHAPE, kill_round

from databases import Backend, bare_database, parameters
from jobmon.server.web.db_admin import init_db

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(300)]

KILLS = {Backend.SQLITE: 16, Backend.MARIADB: 17, Backend.POSTGRESQL: 17}
"""50 in all; ``make chaos`` has 1 000."""


@pytest.mark.parametrize("backend", parameters())
def test_nothing_acknowledged_is_lost_or_doubled(backend: Backend, tmp_path: Path) -> None:
    """One to three processes on one database; the seed of a failure is in its message."""
    seed = random.SystemRandom().randrange(2**32)
    with bare_database(backend, tmp_path) as uri:
        init_db(uri)
        tally = kill_round(uri, tmp_path, KILLS[backend], random.Random(seed))
    assert tally.problems == [], f"seed {seed}"
    assert tally.kills == KILLS[backend]
    assert tally.finished >= SHAPE.workflows
    assert tally.acknowledged > SHAPE.tasks
