"""What every test on the real Slurm shares: a cluster that is whole before and after it, and no job left."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import lab
import pytest

HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """``-m slurm`` means these tests. That they run on one worker is the work of ``scheduling.py``."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.slurm)


@pytest.fixture(scope="session")
def _slurm() -> None:
    """The tests are skipped where there is no such cluster; with CI=true they fail."""
    lab.require_lab()


@pytest.fixture
def job_prefix() -> str:
    """What the names of this test's jobs begin with; no other job's name does."""
    return f"test-{secrets.token_hex(4)}"


@pytest.fixture(autouse=True)
def _whole_again(_slurm: None, job_prefix: str, tmp_path: Path) -> Iterator[None]:
    """The test begins and ends with a cluster that is whole, and leaves no job in its queue."""
    lab.heal()
    yield
    lab.heal()
    lab.cancel_all_of_test(job_prefix, tmp_path)
