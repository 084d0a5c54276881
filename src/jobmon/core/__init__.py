"""What every other part of Jobmon stands on.

States, errors, configuration, units, hashing, the HTTP requester, the local server's address book and
the plugin protocols. Imports nothing else of Jobmon and nothing heavy at import time.
Start reading at :mod:`jobmon.core.states`.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__: str = version("jobmon")
except PackageNotFoundError:  # running from a source tree that was never installed
    __version__ = "0.0.0"
