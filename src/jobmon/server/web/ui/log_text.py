"""What programs write, as text that a page can show: without colours, control characters and rewritten lines."""

from __future__ import annotations

import re

_ESCAPES = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_].*?(?:\x07|\x1b\\|$)|[@-Z\\-_]|[ -/]+[0-~])", re.DOTALL
)
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
_REWRITTEN = re.compile(r"[^\n]*\r(?=[^\n])")


def clean_log(text: str) -> str:
    """Lines as a terminal would have shown them in the end, as plain text.

    Escape sequences go; of a line that was written several times over, as progress bars are, the last version stays; other
    control characters, and those that turn the direction of writing, go.
    """
    text = _ESCAPES.sub("", text).replace("\r\n", "\n")
    return _CONTROLS.sub("", _REWRITTEN.sub("", text).replace("\r", "\n"))
