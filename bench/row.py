"""One line of the table: what is measured, what is promised, what it is now, what others need."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One question with one number for an answer.

    Attributes:
        name: the question, in words; it must not hold a ``|``.
        unit: unit of budget and answer.
        measure: finds the answer.
        budget: what is promised; ``None`` where the number only stands beside another one.
        others: what the other systems need, in words, on the reference machine of the architecture document.
        at_least: the budget is a lower limit.
        is_full: takes so long that it is measured on demand only (``--full``).
    """

    name: str
    unit: str
    measure: Callable[[], float]
    budget: float | None = None
    others: str = ""
    at_least: bool = False
    is_full: bool = False


@dataclass(frozen=True)
class Answer:
    """A row with its number.

    Attributes:
        row: the question.
        value: the number; ``None`` when it could not be measured.
        is_skipped: what would be measured is not on this machine.
    """

    row: Row
    value: float | None
    is_skipped: bool = False

    @property
    def is_kept(self) -> bool | None:
        """Whether the budget is kept; ``None`` where there is none, or nothing to measure it with."""
        if self.row.budget is None or self.is_skipped:
            return None
        if self.value is None:
            return False
        return self.value >= self.row.budget if self.row.at_least else self.value <= self.row.budget

    @property
    def cells(self) -> tuple[str, str, str, str, str]:
        """The line: name, budget, ours, others, whether the budget is kept."""
        limit = "" if self.row.budget is None else f"{'≥' if self.row.at_least else '≤'} "
        verdict = {True: "yes", False: "NO", None: "–"}[self.is_kept]
        return (
            self.row.name,
            limit + in_words(self.row.budget, self.row.unit),
            in_words(self.value, self.row.unit),
            self.row.others or "–",
            verdict,
        )


HEADINGS = ("what", "budget", "ours", "peer, others", "ok?")


def in_words(value: float | None, unit: str) -> str:
    """A number with its unit, to three digits."""
    if value is None:
        return "–"
    digits = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{digits.replace(',', ' ')} {unit}".rstrip()


def line(cells: Iterable[str]) -> str:
    """The line as the terminal shows it."""
    name, budget, ours, others, verdict = cells
    return f"{name:<64} | {budget:>14} | {ours:>12} | {verdict:<3} | {others}"


def markdown(answers: Iterable[Answer]) -> str:
    """The lines as a table."""
    rows = [HEADINGS, ("---", "---:", "---:", "---", "---"), *(answer.cells for answer in answers)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def replace_between(page: Path, begin: str, end: str, text: str) -> None:
    """Replace what a page has between two marks.

    Raises:
        ValueError: it has no such marks.
    """
    before, has_begin, rest = page.read_text(encoding="utf-8").partition(begin)
    _, has_end, after = rest.partition(end)
    if not (has_begin and has_end):
        raise ValueError(f"{page} has no lines '{begin}' and '{end}', between which the table belongs.")
    page.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")
