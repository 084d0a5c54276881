"""``python -m bench [names…] [--full] [--write]``: measure the budgets on this machine and print the table."""

from __future__ import annotations

import argparse
import importlib
import logging
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench import machine
from bench.place import MeasurementError, NotHereError
from bench.row import HEADINGS, Answer, Row, line, markdown, replace_between

NAMES = (
    "import_time",
    "quickstart",
    "bind",
    "dummy_run",
    "multiprocess_throughput",
    "chain",
    "all_to_all",
    "resume",
    "status",
    "memory",
    "requests_per_task",
    "worker_events",
    "wrapper",
    "slurm_array",
    "slurm_submit",
    "slurm_steady",
)
PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
BEGIN, END = "<!-- results -->", "<!-- end of results -->"


def main(words: Sequence[str] | None = None) -> int:
    """Measure; exit code 1 when something could not be measured."""
    options = arguments(words)
    names = options.names or NAMES
    about = f"{machine.description()}; load {machine.load():.2f} at the start"
    print(about, line(HEADINGS), sep="\n", flush=True)
    answers = []
    for name in names:
        rows: Sequence[Row] = importlib.import_module(f"bench.{name}").ROWS
        for row in rows:
            if options.full or not row.is_full:
                answers.append(answer(row))
                print(line(answers[-1].cells), flush=True)
    if options.write:
        write(PAGE, answers, about, f"python -m bench{' --full' if options.full else ''}")
        print(f"written to {PAGE}")
    return 1 if any(each.value is None and not each.is_skipped for each in answers) else 0


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], metavar="name", help=", ".join(NAMES))
    parser.add_argument("--full", action="store_true", help="also what takes minutes: a million tasks")
    parser.add_argument("--write", action="store_true", help=f"write the table into docs/{PAGE.name}")
    options = parser.parse_args(words)
    if options.write and options.names:
        parser.error("--write replaces the whole table, so everything must be measured: give no names")
    return options


def answer(row: Row) -> Answer:
    """Measure one row; what goes wrong there does not keep the others from being measured."""
    try:
        return Answer(row, row.measure())
    except NotHereError as error:
        logging.getLogger("bench").warning("%s was not measured: %s", row.name.strip(), error)
        return Answer(row, None, is_skipped=True)
    except (MeasurementError, subprocess.TimeoutExpired) as error:
        logging.getLogger("bench").error("%s could not be measured: %s", row.name.strip(), error)
        return Answer(row, None)


def write(page: Path, answers: Sequence[Answer], about: str, command: str) -> None:
    """Replace the results in the page.

    Raises:
        ValueError: the page has no place for them.
    """
    today = datetime.now(UTC).date().isoformat()
    replace_between(page, BEGIN, END, f"`{command}`, {today}, on {about}.\n\n{markdown(answers)}")


if __name__ == "__main__":
    sys.exit(main())
