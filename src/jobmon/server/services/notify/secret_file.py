"""Secrets from files that only their owner can read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from jobmon.core.exceptions import ConfigError


def read_secret(path: str, key: str) -> str:
    """The secret a file holds, without white space around it.

    Args:
        path: the file.
        key: the configuration key that names it, for errors.

    Raises:
        ConfigError: it cannot be read, is empty, or others can read it.
    """
    file = Path(path).expanduser()
    try:
        with open(file, encoding="utf-8") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            if mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise ConfigError(f"{key}: {file} can be read by others. Type: chmod 600 {file}")
            secret = stream.read(10_000).strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigError(f"{key}: {file} cannot be read: {why}") from None
    if not secret:
        raise ConfigError(f"{key}: {file} is empty.")
    return secret
