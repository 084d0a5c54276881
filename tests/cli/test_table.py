"""Tables that fit the terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobmon.client.cli.options import echo_table
from jobmon.client.table import fitting_table, psql_table

HEADERS = ("ID", "NAME", "DONE", "PATH")
ROWS = (("1", "fit", "11 (100.0%)", "/a/b.o1"), ("2", "", "0 (0.0%)", ""))

WIDE = """\
+------+--------+-------------+---------+
| ID   | NAME   | DONE        | PATH    |
|------+--------+-------------+---------|
| 1    | fit    | 11 (100.0%) | /a/b.o1 |
| 2    |        | 0 (0.0%)    |         |
+------+--------+-------------+---------+"""

NARROW = """\
+----+------+----------+---------+
| ID | NAME | DONE     | PATH    |
|----+------+----------+---------|
| 1  | fit  | 11       | /a/b.o1 |
|    |      | (100.0%) |         |
| 2  |      | 0 (0.0%) |         |
+----+------+----------+---------+"""

RECORDS = """\
{}
ID   | 1
NAME | fit
DONE | 11 (100.0%)
PATH | /a/b.o1
{}
ID   | 2
NAME |
DONE | 0 (0.0%)
PATH |"""


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (80, WIDE),
        (41, WIDE),
        (34, NARROW),
        (33, RECORDS.format("-[ 1 ]".ljust(33, "-"), "-[ 2 ]".ljust(33, "-"))),
        (1, RECORDS.format("-[ 1 ]".ljust(19, "-"), "-[ 2 ]".ljust(19, "-"))),
    ],
)
def test_as_wide_as_there_is_room(width: int, expected: str) -> None:
    assert fitting_table(HEADERS, ROWS, width) == expected


def test_room_that_is_left_is_used() -> None:
    """Padding goes first, then line breaks between words."""
    table = fitting_table(HEADERS, ROWS, 38)
    assert {len(line) for line in table.splitlines()} == {37}
    assert "11 (100.0%)" in table
    assert fitting_table(HEADERS, (), 10) == "(0 rows)"


@given(
    st.lists(st.lists(st.text("ab c\n", max_size=30), min_size=3, max_size=3), min_size=1, max_size=4),
    st.integers(1, 120),
)
def test_no_word_is_lost_or_broken(rows: list[list[str]], width: int) -> None:
    table = fitting_table(("A", "B", "C"), rows, width)
    told = sorted(word for word in table.replace("|", " ").split() if set(word) <= set("abc"))
    assert told == sorted(word for row in rows for cell in row for word in cell.split())
    lines = [len(line) for line in table.splitlines()]
    longest = max((len(word) for row in rows for cell in row for word in cell.split()), default=0)
    assert max(lines) <= max(width, 16, longest + 4)


def test_a_pipe_gets_the_whole_table(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "10")
    echo_table([{"ID": 1, "NAME": None}], ("ID", "NAME"))
    assert capsys.readouterr().out == psql_table(("ID", "NAME"), [("1", "")]) + "\n"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    echo_table([{"ID": 1, "NAME": None}], ("ID", "NAME"))
    assert "-[ 1 ]" in capsys.readouterr().out
