"""Rows as CSV, piece by piece, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from jobmon.server.web.ui.page_router import Answer

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def csv_answer(file_name: str, columns: Sequence[str], pages: Iterable[Iterable[Sequence[Any]]]) -> Answer:
    """A file to be downloaded, which is made while it is sent.

    Args:
        file_name: its name: letters, digits, ``-``, ``_`` and ``.``.
        columns: its first line.
        pages: rows, some at a time.
    """
    headers = {"Content-Disposition": f'attachment; filename="{file_name}"'}
    return Answer(_pieces(columns, pages), media_type="text/csv", headers=headers)


def _pieces(columns: Sequence[str], pages: Iterable[Iterable[Sequence[Any]]]) -> Iterator[str]:
    yield _text([columns])
    for rows in pages:
        text = _text(rows)
        if text:
            yield text


def _text(rows: Iterable[Sequence[Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerows([cell_of(value) for value in row] for row in rows)
    return buffer.getvalue()


def cell_of(value: Any) -> Any:
    """A value as a cell: a text that a spreadsheet would take for a formula gets an apostrophe in front."""
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return "" if value is None else value
