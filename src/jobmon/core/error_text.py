"""What the text of a failed attempt says: the line that tells most, and its pattern.

1. Of each text the one line that tells most is taken: the exception of a traceback (with the function of its innermost
   frame), else the last line that sounds like an error, else the last line. Where the cause is not the command's code,
   that is what was noted about the attempt, not what the command happened to write last.
2. What differs from task to task (numbers, paths, ids, dates, sizes) is folded into placeholders. Numbers that name an
   error (exit codes, signals, errno, status) stay.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from jobmon.core.states import Cause

LINE_CHARACTERS = 200
"""A pattern is made from so much of a line."""


# -- the telling line -----------------------------------------------------------------------------------
_TRACEBACK = "Traceback (most recent call last):"
_FRAME = re.compile(r'\s*File "[^"]*", line \d+(?:, in (\S+))?')
_EXCEPTION = re.compile(r"[A-Za-z_][\w.]*(?::\s|$)")
_SOUNDS_BAD = re.compile(
    r"(?:errors?|exception|\b(?:fatal|fail(?:ed|ure)?|cannot|can't|could not|abort(?:ed)?|killed|denied|not found|no such"
    r"|invalid|segmentation fault|out of memory|panic(?:ked)?))\b",
    re.IGNORECASE,
)
_SAYS_NOTHING = re.compile(
    r"\W*$|Execution halted|Calls: |\s*at \S+\(|make: \*\*\*|During handling of the above"
)
LOOKED_AT_LINES = 20
LOOKED_AT_CHARACTERS = 4000
CUT_CHARACTERS = 500


def telling_line(noted: str, text: str, cause: str, exit_code: int | None = None) -> tuple[str, str]:
    """The line that tells most about a failed attempt, and the function it names; both may be empty.

    Args:
        noted: what was noted about the attempt; its first line counts.
        text: end of what was noted, where that is more than a line, else of its stderr.
        cause: why it did not succeed; a value of :class:`~jobmon.core.states.Cause`.
        exit_code: of its command; negative: a signal; ``None``: unknown.
    """
    noted = noted.strip().partition("\n")[0].strip()
    is_code = cause in ("", Cause.CODE.value)
    if noted and (not is_code or (exit_code is not None and exit_code < 0)):
        return noted, ""
    lines = text.rstrip()[-LOOKED_AT_CHARACTERS:].splitlines()[-LOOKED_AT_LINES:]
    return _of_traceback(lines) or (_of_output(lines) or noted, "")


def _of_traceback(lines: Sequence[str]) -> tuple[str, str] | None:
    """Exception and innermost function of the last traceback."""
    for last in range(len(lines) - 1, -1, -1):
        if (frame := _FRAME.match(lines[last])) is not None:
            indent = len(lines[last]) - len(lines[last].lstrip())
            for line in lines[last + 1 :]:
                depth = len(line) - len(line.lstrip())
                if depth < indent and _EXCEPTION.match(line.lstrip()):
                    return line.strip(), frame[1] or ""
            return None
        if lines[last].strip() == _TRACEBACK:
            return None
    return None


def _of_output(lines: Sequence[str]) -> str:
    """The last line that sounds like an error, with what follows its colon; else the last that says something."""
    latest = [line[:CUT_CHARACTERS].rstrip() for line in lines if not _SAYS_NOTHING.match(line)]
    for place in range(len(latest) - 1, -1, -1):
        if _SOUNDS_BAD.search(latest[place]):
            if latest[place].endswith(":") and place + 1 < len(latest):
                return f"{latest[place].strip()} {latest[place + 1].strip()}"
            if latest[place][0] == " " and place and latest[place - 1].endswith(":"):
                return f"{latest[place - 1].strip()} {latest[place].strip()}"
            return latest[place].strip()
    return latest[-1].strip() if latest else ""


# -- folding --------------------------------------------------------------------------------------------
_FOLDED = re.compile(
    r"(?=[\d/~.'\"`-]|\b[a-fA-F])(?:"  # most places of most lines are done with here
    r"(?P<uuid>\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b)"
    r"|(?P<time>\b\d{4}[-/]\d\d[-/]\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?"
    r"|\b\d\d:\d\d:\d\d(?:[.,]\d+)?)"
    r"|(?P<path>(?P<mark>['\"`])[~.]{0,2}/[^'\"`]+(?P=mark)|(?<![\w<>])(?:~|\.{1,2})?/[^\s'\"`():,;<>\[\]]+)"
    r"|(?P<id>(?P<quote>['\"`])(?=[^'\"`\s]*\d)[^'\"`\s]+(?P=quote))"
    r"|(?P<hex>\b0x[0-9a-fA-F]+\b|\b(?=[0-9a-f]*\d)(?=\d*[a-f])[0-9a-f]{12,}\b)"
    r"|(?P<size>(?<![\w.])\d+(?:\.\d+)?\s?(?:[KMGTP]i?B?|bytes|B)\b)"
    r"|(?P<n>(?<!code )(?<!signal )(?<!Errno )(?<!errno )(?<!status )"
    r"(?:(?<![\w.])-?\d+(?:\.\d+)*(?:[eE][+-]?\d+)?|(?<=[A-Za-z_.])\d+)))"
)


@lru_cache(20_000)
def fold(line: str) -> str:
    """A line with what differs from task to task replaced by placeholders."""
    return " ".join(_FOLDED.sub(_placeholder, line).split())


def _placeholder(match: re.Match[str]) -> str:
    return "'<id>'" if match["id"] is not None else f"<{match.lastgroup}>"
