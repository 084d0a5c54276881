"""The recorded outputs are what their README says: a command first, then its answer, and nothing of where they were made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

RECORDED = Path(__file__).with_name("recorded")
FILES = sorted(path for path in RECORDED.glob("*/*"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_command_comes_first(path: Path) -> None:
    """Each file begins with its command; it says when it was reconstructed; JSON files hold JSON after that line."""
    command, _, answer = path.read_text().partition("\n")
    assert command.startswith("# ")
    assert ("reconstructed from the documentation" in command) == (path.parent.name != "22.05")
    if path.suffix == ".json" and "text/plain" not in command:
        json.loads(answer)


def test_no_trace_of_the_machine_they_were_made_on() -> None:
    """Directories and hosts of who recorded them were replaced, and no token was recorded."""
    for path in FILES:
        text = path.read_text()
        assert "/tmp/" not in text.replace("\\/", "/")
        assert "SLURM_JWT" not in text
        assert "eyJhbGci" not in text
