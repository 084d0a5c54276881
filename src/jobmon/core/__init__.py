"""What every other part of Jobmon stands on.

States, errors, configuration, units, hashing, the HTTP requester, the local server's address book and
the plugin protocols. Imports nothing else of Jobmon and nothing heavy at import time.
Start reading at :mod:`jobmon.core.states`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    __version__: str


def __getattr__(name: str) -> str:
    """The version, looked up when it is asked for: reading package metadata takes longer than all the rest."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        found = version("jobmon")
    except PackageNotFoundError:  # running from a source tree that was never installed
        found = "0.0.0"
    globals()["__version__"] = found
    return found
