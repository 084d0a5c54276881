"""The command line ``jobmon``: reads arguments and prints; what is done is done in :mod:`jobmon.client.commands`.

Only click is imported before a command is carried out, so that ``--help`` is instant. Start reading at
:mod:`jobmon.client.cli.root`.
"""

from typing import TYPE_CHECKING, Any

from jobmon.client.cli.root import cli, main

if TYPE_CHECKING:
    from jobmon.client.cli_v1 import ClientCLI

__all__ = ["ClientCLI", "cli", "main"]


def __getattr__(name: str) -> Any:
    """``ClientCLI``, which few scripts use, when it is asked for."""
    if name != "ClientCLI":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from jobmon.client.cli_v1 import ClientCLI

    return ClientCLI
