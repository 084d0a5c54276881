"""The command line ``jobmon``: reads arguments and prints; what is done is done in :mod:`jobmon.client.commands`.

Only click is imported before a command is carried out, so that ``--help`` is instant. Start reading at
:mod:`jobmon.client.cli.root`.
"""

from jobmon.client.cli.root import cli, main

__all__ = ["cli", "main"]
