"""Pages made from tables in the code are up to date."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from jobmon.core import states
from jobmon.core.configuration import KEYS

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = runpy.run_path(str(DOCS / "generate.py"))["PAGES"]


@pytest.mark.parametrize("name", sorted(PAGES))
def test_page_is_what_the_tables_say(name: str) -> None:
    """A page that was not written again after a change of its table is found out."""
    written = (DOCS / name).read_text(encoding="utf-8")
    assert PAGES[name]() == written, f"docs/{name} is out of date: run 'make docs'"


def test_every_configuration_key_and_every_state_has_its_line() -> None:
    """Nothing of the tables is missing in the pages."""
    configuration, machines = PAGES["configuration.md"](), PAGES["states.md"]()
    assert [key.env for key in KEYS if f"`{key.env}`" not in configuration] == []
    tables = (states.WORKFLOW, states.WORKFLOW_RUN, states.TASK, states.TASK_INSTANCE)
    rows = [f"| `{state}` | `{state.name}` |" for table in tables for state in table]
    assert [row for row in rows if row not in machines] == []


def test_secrets_are_marked_and_their_values_not_shown() -> None:
    """A secret key is recognised in the page, and its default is empty."""
    page = PAGES["configuration.md"]()
    for key in KEYS:
        if key.secret:
            assert f"| `{key.section}.{key.name}` *secret* |  |" in page
