"""``python -m bench.load [names…]``: measure the institute's load on each database and print the table."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench import machine
from bench.load.client import Refused
from bench.load.measures import MEASURES, Measure, Setting
from bench.load.place import LABELS, Kind
from bench.place import MeasurementError, NotHereError
from bench.row import in_words, replace_between

PAGE = Path(__file__).resolve().parents[2] / "docs" / "performance.md"
LONG = ("institute", "memory")
"""Names that have a table of their own; all others share one."""
SHORT = "databases"
REPLICAS = "replicas"
"""The table of more than one process."""


def main(words: Sequence[str] | None = None) -> int:
    """Measure; exit code 1 when something could not be measured."""
    options = arguments(words)
    kinds = [Kind(each) for each in options.on] or list(Kind)
    about = f"{machine.description()}; load {machine.load():.2f} at the start"
    print(about, line(headings(kinds)), sep="\n", flush=True)
    tables: dict[str, list[list[str]]] = {}
    for name in options.names or MEASURES:
        for measure in MEASURES[name]:
            if measure.is_long and not (options.full or options.names):
                continue
            values = [answer(measure, setting(kind, options)) for kind in kinds]
            found = cells(measure, values)
            tables.setdefault(table_of(name, options.processes), []).append(found)
            print(line(found), flush=True)
    if options.write:
        for table, answers in tables.items():
            write(PAGE, table, kinds, answers, f"`{command()}`, {datetime.now(UTC).date()}, on {about}.")
    return 1 if any("?" in each for answers in tables.values() for each in answers) else 0


def table_of(name: str, processes: int) -> str:
    """The table of the page a measurement goes into."""
    if processes > 1:
        return REPLICAS
    return name if name in LONG else SHORT


def command() -> str:
    """How this was called."""
    return f"python -m bench.load {' '.join(sys.argv[1:])}".strip()


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*MEASURES, []], metavar="name", help=", ".join(MEASURES))
    parser.add_argument(
        "--on", nargs="+", choices=list(Kind), default=[], help="databases; all where left out"
    )
    parser.add_argument("--processes", type=int, default=1, help="processes of the server")
    parser.add_argument("--scale", type=float, default=1.0, help="of the load; 1: that of the promise")
    parser.add_argument("--seconds", type=float, default=10.0, help="for which steady loads go on")
    parser.add_argument("--full", action="store_true", help="also what takes minutes")
    parser.add_argument("--write", action="store_true", help=f"write the table into docs/{PAGE.name}")
    return parser.parse_args(words)


def setting(kind: Kind, options: argparse.Namespace) -> Setting:
    """What to measure on a database."""
    return Setting(kind, options.processes, options.scale, options.seconds)


def answer(measure: Measure, on: Setting) -> float | None:
    """Measure one number; ``None`` for what could not be measured, and the others are measured all the same."""
    try:
        return measure.of(on)
    except (NotHereError, MeasurementError, Refused, RuntimeError, OSError, ValueError) as error:
        logging.getLogger("bench").error("%s on %s: %s", measure.name.strip(), LABELS[on.kind], error)
        return None


def headings(kinds: Sequence[Kind]) -> list[str]:
    """The first line."""
    return ["what", "budget", *(LABELS[kind] for kind in kinds), "ok?"]


def cells(measure: Measure, values: Sequence[float | None]) -> list[str]:
    """A line: name, budget, a number for each database, whether the budget is kept by all; ``?``: not measured."""
    limit = "" if measure.budget is None else f"{'≥' if measure.at_least else '≤'} "
    numbers = ["?" if value is None else in_words(value, measure.unit) for value in values]
    return [measure.name, limit + in_words(measure.budget, measure.unit), *numbers, verdict(measure, values)]


def verdict(measure: Measure, values: Sequence[float | None]) -> str:
    """Whether the budget is kept wherever it was measured."""
    budget, known = measure.budget, [value for value in values if value is not None]
    if budget is None or not known:
        return "–"
    kept = min(known) >= budget if measure.at_least else max(known) <= budget
    return "yes" if kept else "NO"


def line(words: Sequence[str]) -> str:
    """The line as the terminal shows it."""
    name, budget, *numbers, kept = words
    return " | ".join([f"{name:<66}", f"{budget:>12}", *(f"{each:>12}" for each in numbers), kept])


def write(page: Path, name: str, kinds: Sequence[Kind], answers: Iterable[Sequence[str]], about: str) -> None:
    """Replace a table in the page.

    Raises:
        ValueError: the page has no place for it.
    """
    rule = ["---", "---:", *("---:" for _ in kinds), "---"]
    table = "\n".join(f"| {' | '.join(row)} |" for row in [headings(kinds), rule, *answers])
    replace_between(page, f"<!-- {name} -->", f"<!-- end of {name} -->", f"{about}\n\n{table}")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that servers and databases go with it
    sys.exit(main())
