"""What the pages cost is measured, here on a small workflow."""

from __future__ import annotations

import pytest
from bench.pages import __main__ as pages


def test_every_page_is_asked_for(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """And a few browsers watch while tasks end; whether the budgets are kept is another matter."""
    monkeypatch.setattr(pages, "WATCHERS", 3)
    monkeypatch.setattr(pages, "WATCHED_SECONDS", 3.0)
    pages.main(["--on", "sqlite", "--tasks", "2000", "--times", "1"])
    printed = capsys.readouterr().out
    for name in ("workflow", "timeline by node", "usage", "neighbourhood", "largest live update"):
        assert f"| {name} |" in printed.replace("|   ", "| ")
