"""Files that appear complete or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobmon.core.exceptions import UsageError


@contextmanager
def replaced_when_complete(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A path to write to; when the block ends without an error, what is there takes the place of ``path``.

    Whoever reads ``path`` meanwhile reads the old file, and an error leaves it as it was.

    Raises:
        UsageError: the directory is missing or may not be written to.
    """
    final = Path(path)
    partial = final.with_name(f".{final.name}.{os.getpid()}.part")
    try:
        partial.touch()
    except OSError as error:
        raise UsageError(
            f"The file {final} cannot be written: {error.strerror}. Name a file in a directory that exists and "
            "is yours."
        ) from error
    try:
        yield partial
        partial.replace(final)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file, complete or not at all.

    Raises:
        UsageError: the directory is missing or may not be written to.
    """
    with replaced_when_complete(path) as partial:
        partial.write_text(text, encoding="utf-8")
