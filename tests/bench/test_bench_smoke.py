"""The measurements work; what they measure is nobody's business here."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from bench.place import NotHereError, measure
from bench.row import Answer, Row
from bench.slurm_place import default_queue, seconds_of
from bench.workflows import chain_run, independent_run
from bench.wrapper import wrappers

from bench import __main__ as bench_main

CHECKOUT = Path(__file__).resolve().parents[2]


def test_every_row_has_a_name_that_fits_into_the_table():
    """No row breaks the table of docs/performance.md, and no two rows that stand alone have one name."""
    rows = [row for name in bench_main.NAMES for row in importlib.import_module(f"bench.{name}").ROWS]
    names = [row.name for row in rows if not row.name.startswith("  ")]
    assert len(names) == len(set(names))
    assert not [cell for row in rows for cell in (row.name, row.others) if "|" in cell]


@pytest.mark.parametrize(
    ("value", "budget", "at_least", "verdict"),
    [
        (1, 2, False, "yes"),
        (3, 2, False, "NO"),
        (3, 2, True, "yes"),
        (None, 2, False, "NO"),
        (1, None, False, "–"),
    ],
)
def test_an_answer_says_whether_the_budget_is_kept(value, budget, at_least, verdict):
    """Upper and lower limits, what has no budget, and what could not be measured."""
    assert Answer(Row("x", "s", float, budget, at_least=at_least), value).cells[4] == verdict


def test_results_replace_those_of_the_page(tmp_path):
    """Everything outside the two marks stays as it is."""
    page = tmp_path / "page.md"
    page.write_text(f"above\n{bench_main.BEGIN}\nold\n{bench_main.END}\nbelow\n", encoding="utf-8")
    bench_main.write(page, [Answer(Row("bind", "s", float, 2), 1.5)], "a machine", "python -m bench")
    text = page.read_text(encoding="utf-8")
    assert text.startswith("above\n")
    assert text.endswith("below\n")
    assert "| bind | ≤ 2 s | 1.5 s | – | yes |" in text
    assert "old" not in text


def test_a_page_without_a_place_for_results_is_left_alone(tmp_path):
    """The marks are missing: the error names the page."""
    page = tmp_path / "page.md"
    page.write_text("prose\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"page\.md"):
        bench_main.write(page, [], "a machine", "python -m bench")
    assert page.read_text(encoding="utf-8") == "prose\n"


def test_the_page_has_a_place_for_results():
    """``--write`` finds its marks in docs/performance.md."""
    text = bench_main.PAGE.read_text(encoding="utf-8")
    assert text.index(bench_main.BEGIN) < text.index(bench_main.END)


@pytest.mark.e2e
@pytest.mark.parametrize(("function", "cluster"), [(independent_run, "dummy"), (chain_run, "multiprocess")])
def test_a_small_run_is_measured(function, cluster):
    """The costs of three tasks, in a place of their own."""
    costs = measure(function, 3, cluster)
    assert costs.wall > 0
    assert costs.client > 0
    assert costs.peak > 1_000_000


@pytest.mark.e2e
def test_the_command_prints_the_table():
    """``python -m bench import_time`` ends well and has a line for each row."""
    done = subprocess.run(
        [sys.executable, "-m", "bench", "import_time"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "import jobmon.client.api" in done.stdout


def test_what_is_not_on_this_machine_is_skipped():
    """A row that needs what is not here has neither a number nor a verdict."""

    def absent() -> float:
        raise NotHereError("there is no Slurm")

    found = bench_main.answer(Row("x", "s", absent, 2))
    assert (found.value, found.is_skipped, found.cells[4]) == (None, True, "–")


def test_without_slurm_its_rows_are_skipped(monkeypatch, tmp_path):
    """Nothing is measured, nothing is started, and the error says how to get one."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotHereError, match="make slurm"):
        default_queue()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("00:00.012", 0.012), ("01:02.5", 62.5), ("01:00:00", 3600), ("2-01:00:01", 176_401)],
)
def test_cpu_times_of_the_accounting_are_read(text, expected):
    """With and without hours, days and parts of a second."""
    assert seconds_of(text) == pytest.approx(expected)


@pytest.mark.e2e
def test_wrappers_are_measured():
    """A few, against a real server: what they cost before and after their command."""
    costs = measure(wrappers, 2)
    assert costs.before > 0
    assert costs.cpu > 0
    assert costs.peak > 1_000_000
