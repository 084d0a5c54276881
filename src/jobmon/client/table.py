"""Tables that fit where they go."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

NARROWEST_WORDS = 12
"""Columns the values of a record get at least, however narrow the terminal is."""


def psql_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as wide as its cells."""
    from tabulate import tabulate

    return tabulate(rows, headers=headers, tablefmt="psql", disable_numparse=True)


def fitting_table(headers: Sequence[str], rows: Sequence[Sequence[str]], width: int | None) -> str:
    """A table no wider than the terminal, where a table can be that narrow.

    As wide as its cells if there is room, else with cells broken between words, else each row as a record with a line
    for each cell, which only long words make wider than the terminal.

    Args:
        headers: names of the columns.
        rows: cells.
        width: columns of the terminal; ``None``: there is room for every cell.
    """
    table = psql_table(headers, rows)
    if width is None or _width(table) <= width:
        return table
    widths = _column_widths(headers, rows, width - 3 * len(headers) - 1)
    return _records(headers, rows, width) if widths is None else _narrow_table(headers, rows, widths)


def _width(text: str) -> int:
    return max((len(line) for line in text.splitlines()), default=0)


def _column_widths(headers: Sequence[str], rows: Sequence[Sequence[str]], room: int) -> list[int] | None:
    """Widths whose sum is no more than the room, and which break no word; ``None`` where there are none."""
    columns = list(zip(headers, *rows, strict=True))
    widths = [max(len(word) for cell in column for word in [*cell.split(), ""]) for column in columns]
    wanted = [max(_width(cell) for cell in column) for column in columns]
    spare = room - sum(widths)
    if spare < 0:
        return None
    for place in sorted(range(len(widths)), key=lambda place: wanted[place] - widths[place]):
        more = min(spare, wanted[place] - widths[place])
        widths[place] += more
        spare -= more
    return widths


def _narrow_table(headers: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int]) -> str:
    rule = "+".join("-" * (width + 2) for width in widths)
    lines = [f"+{rule}+", *_row_lines(headers, widths), f"|{rule}|"]
    for row in rows:
        lines += _row_lines(row, widths)
    return "\n".join([*lines, f"+{rule}+"])


def _row_lines(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    parts = [_wrap(cell, width) for cell, width in zip(cells, widths, strict=True)]
    return [
        "| "
        + " | ".join(
            f"{part[line] if line < len(part) else '':<{width}}"
            for part, width in zip(parts, widths, strict=True)
        )
        + " |"
        for line in range(max(len(part) for part in parts))
    ]


def _records(headers: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> str:
    first = max(len(header) for header in headers)
    room = max(NARROWEST_WORDS, width - first - 3)
    lines = []
    for number, row in enumerate(rows, start=1):
        lines.append(f"-[ {number} ]".ljust(first + 3 + room, "-"))
        for header, cell in zip(headers, row, strict=True):
            for place, line in enumerate(_wrap(cell, room)):
                lines.append(f"{'' if place else header:<{first}} | {line}".rstrip())
    return "\n".join(lines) or "(0 rows)"


def _wrap(text: str, width: int) -> list[str]:
    """Lines of a cell; a word that is longer than a line stays whole, so that it can be copied."""
    lines = []
    for line in text.splitlines():
        lines += textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False) or [""]
    return lines or [""]
