"""A database that is stopped and killed again and again under a real run: each task is run once, and is done."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from database_stops import Stops, stop_round
from own_engines import OwnEngines

from databases import SERVERS, Backend, parameters

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def engines() -> Iterator[OwnEngines]:
    """Database servers of this process alone."""
    engines = OwnEngines()
    yield engines
    engines.remove()


@pytest.mark.parametrize("backend", parameters(SERVERS))
def test_a_run_rides_through(backend: Backend, engines: OwnEngines, tmp_path: Path) -> None:
    """A small one of what ``make chaos`` does with 5 000 tasks; the seed of a failure is in its message."""
    seed = random.SystemRandom().randrange(2**32)
    plan = Stops(600, (0.2, 1.0), command="sleep 0.02", most=4)
    found = stop_round(engines.engine(backend), tmp_path, plan, random.Random(seed))
    assert found.problems == [], f"seed {seed}"
    assert found.stops > 0
    assert found.acknowledged >= plan.tasks
