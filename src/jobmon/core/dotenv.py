"""Settings of a directory: the file ``.env``.

Lines are ``NAME=value``, with or without ``export`` before them. A value may stand in single quotes (taken as it is) or
double quotes (``\\n``, ``\\t``, ``\\"`` and ``\\\\`` are understood); without quotes it ends before `` #``. Empty lines and
lines that begin with ``#`` are left out. The process environment is never changed, and always wins.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path

_LINE = re.compile(
    r"""\s*(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*=\s*
    (?: (?: '(?P<literal>[^']*)' | "(?P<quoted>(?:[^"\\]|\\.)*)" ) \s* (?:\#.*)?
      | (?P<plain>(?!['"])(?:(?!\s\#).)*?) \s* (?:(?<=\s)\#.*)? )$""",
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(.)")
_ESCAPES = {"n": "\n", "t": "\t", '"': '"', "\\": "\\"}


def read_dotenv(path: Path) -> dict[str, str]:
    """Names and values of a ``.env`` file; empty where there is none or it cannot be read.

    A line that is not understood is warned about, with its number, and left out.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    values: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.match(line)
        if match is None:
            warnings.warn(f"{path}, line {number}: not understood (ignored); write NAME=value", stacklevel=2)
            continue
        name, literal, quoted, plain = match.group("name", "literal", "quoted", "plain")
        if quoted is not None:
            quoted = _ESCAPE.sub(lambda found: _ESCAPES.get(found[1], found[0]), quoted)
        values[name] = next(value for value in (literal, quoted, plain) if value is not None)
    return values
