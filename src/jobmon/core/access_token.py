"""Bearer tokens: how they are made, and what is kept of them. The server stores the hash only, never a token."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from jobmon.core.exceptions import ConfigError

PREFIX = "jobmon_"
"""By which a token is known, to people and to programs that look for secrets in the wrong places."""
RANDOM_BYTES = 32


def new_token() -> str:
    """A token nobody has seen."""
    import secrets  # scripts read tokens, few make one

    return PREFIX + secrets.token_urlsafe(RANDOM_BYTES)


def token_hash(token: str) -> str:
    """SHA-256 of a token, in hexadecimal digits. A random token needs no slower one: there is nothing to guess."""
    return hashlib.sha256(token.encode()).hexdigest()


def read_token_file(path: str, key: str) -> str:
    """The token in a file.

    Args:
        path: the file; ``~`` is a home directory.
        key: the configuration key that names it.

    Raises:
        ConfigError: it cannot be read, holds no token, or can be read by others; the message says what to do.
    """
    file = Path(path).expanduser()
    try:
        with open(file, encoding="utf-8") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            token = opened.read().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise ConfigError(f"{key} {file} cannot be read: {reason}.") from error
    if stat.S_IMODE(mode) & 0o077:
        raise ConfigError(
            f"{key} {file} holds a secret but can be read or changed by others. Close it: chmod 600 {file}"
        )
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError(f"{key} {file} must hold one token on one line, and nothing else.")
    return token
