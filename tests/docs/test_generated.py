"""Pages made from tables in the code are up to date."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest

from jobmon.client.cli import cli
from jobmon.client.cli.flat import FLAT
from jobmon.client.cli.group import walk
from jobmon.core import states
from jobmon.core.configuration_keys import KEYS
from jobmon.plugins.slurm.asked import RESOURCES
from jobmon.plugins.slurm.listing import ENDED_STATES

DOCS = Path(__file__).resolve().parents[2] / "docs"
sys.path.insert(0, str(DOCS))
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
            marks = " *secret*" + " *no effect*" * key.is_idle
            assert f"| `{key.section}.{key.name}`{marks} |  |" in page


def test_every_command_is_in_the_page() -> None:
    """Those of today with their help, the earlier ones in a table; whatever terminal the page is made in."""
    page = PAGES["cli.md"]()
    for path, command in walk(cli):
        assert f"# jobmon {path}\n\n```text\nUsage: jobmon {path} " in page
        assert command.help
    for name, flat in FLAT.items():
        assert f"| `{name}` | `jobmon {flat.now}` |" in page
    assert max(len(line) for line in page.split("## Earlier names")[0].splitlines()) <= 130


def test_the_page_of_the_command_line_depends_on_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not on the terminal, nor on the configuration."""
    page = PAGES["cli.md"]()
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("JOBMON__HTTP__REQUEST_TIMEOUT", "1")
    assert PAGES["cli.md"]() == page


def test_every_table_has_its_place_in_a_page() -> None:
    """A table that nobody sees is none; and a page asks for no other."""
    from generate import TABLES

    pages = "".join(page.read_text(encoding="utf-8") for page in DOCS.rglob("*.md"))
    assert set(re.findall(r"^<!-- table: ([\w-]+)", pages, re.MULTILINE)) == set(TABLES)


def test_every_resource_and_connection_parameter_of_slurm_is_told() -> None:
    """By the plugin's own tables, in the page for its users."""
    page = PAGES["howto/slurm.md"]()
    assert [name for name in RESOURCES if f"\n| `{name}` |" not in page] == []
    assert [state for state in ENDED_STATES if f"\n| {state}" not in page] == []
    assert [cause for cause in states.RETRY_POLICY_CAUSES if f"\n| `{cause}` |" not in page] == []


def test_drawings_are_of_todays_tables() -> None:
    """A drawing that was not made again after a change of the states is found out."""
    import state_diagrams

    assert state_diagrams.stale() == [], "run 'make docs'"
    assert state_diagrams.stale_pages() == [], "run 'make docs'"
