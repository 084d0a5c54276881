"""What the text of a failure says: which line tells, and what of it is folded."""

from __future__ import annotations

import pytest

from jobmon.core.error_text import fold, telling_line
from jobmon.core.states import Cause

EXITED = "The command exited with code 1."
TRACEBACK = """starting
Traceback (most recent call last):
  File "/home/ada/fit.py", line {line}, in <module>
    main()
  File "/home/ada/fit.py", line 9, in load
    return table[key]
           ~~~~~^^^^^
{error}
"""
CHAINED = (
    TRACEBACK.format(line=1, error="OSError: first")
    + ("\nDuring handling of the above exception, another exception occurred:\n\n")
    + TRACEBACK.format(line=2, error="fit.NoData: second\n  with more to say")
)
R_TEXT = "reading\nError in read.csv(path) : \n  object 'y12' not found\nCalls: main -> read.csv\nExecution halted\n"


@pytest.mark.parametrize(
    ("line", "pattern"),
    [
        ("KeyError: 'loc_102'", "KeyError: '<id>'"),
        ("KeyError: 'age'", "KeyError: 'age'"),
        ("ValueError: bad value -3.5e-7 at 0x7f3a8c", "ValueError: bad value <n> at <hex>"),
        ("[Errno 2] No such file or directory: '/a/b c.csv'", "[Errno 2] No such file or directory: <path>"),
        ("cannot read ~/x/y.csv:12 or ../z", "cannot read <path>:<n> or <path>"),
        ("asked 312 MB of 2GiB at 2026-01-03 12:00:01,123", "asked <size> of <size> at <time>"),
        ("job 7a1c0d3e-0000-4000-8000-00000000beef", "job <uuid>"),
        ("digest a1b2c3d4e5f60718 of fit_12", "digest <hex> of fit_<n>"),
        ("The command exited with code 137.", "The command exited with code 137."),
        ("ended by signal 9 (SIGKILL), line 12", "ended by signal 9 (SIGKILL), line <n>"),
        ("n/a and/or  none", "n/a and/or none"),
    ],
)
def test_what_differs_from_task_to_task_is_folded(line: str, pattern: str) -> None:
    assert fold(line) == pattern


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (TRACEBACK.format(line=3, error="KeyError: 'age'"), ("KeyError: 'age'", "load")),
        (TRACEBACK.format(line=3, error="KeyError: 1")[40:], ("KeyError: 1", "load")),
        (CHAINED, ("fit.NoData: second", "load")),
        (R_TEXT, ("Error in read.csv(path) : object 'y12' not found", "")),
        ("ERROR: no data for 7\n12 rows written\n\n", ("ERROR: no data for 7", "")),
        ("one\ntwo\n-----\n", ("two", "")),
        ("", ("The command exited with code 1.", "")),
    ],
    ids=["python", "cut", "chained", "r", "error word", "last line", "nothing"],
)
def test_the_line_that_tells_most(text: str, expected: tuple[str, str]) -> None:
    assert telling_line(EXITED, text, Cause.CODE, 1) == expected


def test_where_the_code_is_not_the_cause_the_note_tells() -> None:
    """Whatever the command happened to write last."""
    noted = "Killed: it used 312 MB of 200 MB.\nloading"
    assert telling_line(noted, "loading", Cause.RESOURCE) == (noted.splitlines()[0], "")
    assert telling_line("ended by signal 11", "loading", Cause.CODE, -11) == ("ended by signal 11", "")
