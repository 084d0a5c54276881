"""Files that appear complete or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobmon.core.exceptions import UsageError

NAME_CHARACTERS = 200
"""Of the file's name in the name of its draft; file systems take 255 bytes."""


@contextmanager
def replaced_when_complete(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A path to write to; when the block ends without an error, what is there takes the place of ``path``.

    Whoever reads ``path`` meanwhile reads the old file, and an error leaves it as it was.

    Raises:
        UsageError: the directory is missing or may not be written to.
    """
    final = Path(path)
    mode = 0o666 & ~_umask()
    try:
        descriptor, name = tempfile.mkstemp(
            prefix=f".{final.name[:NAME_CHARACTERS]}.", suffix=".part", dir=final.parent
        )
        os.fchmod(descriptor, mode)
        os.close(descriptor)
    except OSError as error:
        raise UsageError(
            f"The file {final} cannot be written: {error.strerror}. Name a file in a directory that exists and "
            "is yours."
        ) from error
    partial = Path(name)
    try:
        yield partial
        partial.replace(final)
    finally:
        partial.unlink(missing_ok=True)


def _umask() -> int:
    """What the process takes from the rights of new files."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file, complete or not at all.

    Raises:
        UsageError: the directory is missing or may not be written to.
    """
    with replaced_when_complete(path) as partial:
        partial.write_text(text, encoding="utf-8")
