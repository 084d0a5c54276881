"""Files for the compute nodes: complete or not there at all, and readable by their owner only."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from jobmon.core.exceptions import SharedFileError


def write_private(path: Path, content: bytes) -> None:
    """Write a file, mode 0600; whoever reads it meanwhile reads the old one, and an error leaves that as it was.

    Raises:
        SharedFileError: it cannot be written.
    """
    draft = ""
    try:
        descriptor, draft = tempfile.mkstemp(prefix=f".{path.name[:100]}.", suffix=".part", dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:  # mkstemp creates mode 0600
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        os.replace(draft, path)
    except OSError as error:
        if draft:
            Path(draft).unlink(missing_ok=True)
        raise SharedFileError(
            f"The file {path}, which the compute nodes read, cannot be written: {error.strerror}. Make room there, "
            "or set distributor.shared_directory to another directory that this machine shares with them."
        ) from error
