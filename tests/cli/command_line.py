"""A command line, carried out in this process."""

from __future__ import annotations

from collections.abc import Callable

from click.testing import Result

Run = Callable[..., Result]
"""Takes the words after ``jobmon``."""
