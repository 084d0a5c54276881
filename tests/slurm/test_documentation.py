"""The how-to "Running on Slurm" does what it says, on the real one."""

from __future__ import annotations

from pathlib import Path

import lab
import pytest

from code_blocks import ROOT, blocks, check, pages, place

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

PAGES = [page for page in pages() if any(block.needs_slurm for block in blocks(page))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_blocks_run(page: Path, tmp_path: Path, job_prefix: str) -> None:
    """Every block ends as the page says, in the order of the page, and leaves no job."""
    with place(tmp_path) as environment:
        for block in blocks(page):
            check(page, block, tmp_path / "here", environment)
    lab.wait_for(lambda: not lab.jobs_of_test(job_prefix, tmp_path), "the end of all jobs")


def test_the_page_of_slurm_is_among_them() -> None:
    """Nobody took its marks away."""
    assert ROOT / "docs" / "howto" / "slurm.md" in PAGES
