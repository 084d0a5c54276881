"""``jobmon_distributor``: the documented address of a controller in a process of its own.

Scripts know the process that talks to a cluster as the distributor. Here one controller decides when *and* where, so
this module only reads the command line and hands over to :mod:`jobmon.swarm.host`, the one import against the layers.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Carry out ``start --cluster_name C --workflow_run_id N`` and exit: 0 the run ended, 1 an error, 2 not understood."""
    parser = argparse.ArgumentParser(
        prog="jobmon_distributor", description="Host the controller of a workflow run that was created."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    start = commands.add_parser("start", help="Take over the run and work on it until it ends.")
    start.add_argument(
        "--cluster_name", required=True, help="Accepted for scripts; the tasks say where they run."
    )
    start.add_argument("--workflow_run_id", type=int, required=True, help="Id of the run.")
    options = parser.parse_args(arguments)

    from jobmon.swarm.host import host_existing_run

    sys.exit(host_existing_run(options.cluster_name, options.workflow_run_id))


if __name__ == "__main__":
    main()
