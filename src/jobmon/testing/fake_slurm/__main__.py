"""``python -m jobmon.testing.fake_slurm DIRECTORY``: a fake Slurm to try by hand, until Ctrl-C."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from jobmon.testing.fake_slurm import FakeSlurm


def main() -> int:
    """Run it."""
    if len(sys.argv) != 2:
        print("Usage: python -m jobmon.testing.fake_slurm DIRECTORY", file=sys.stderr)
        return 2
    signals = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    with FakeSlurm(Path(sys.argv[1]).absolute()) as slurm:
        print(f"export PATH={slurm.bin}:$PATH", flush=True)
        signal.sigwait(signals)
    return 0


if __name__ == "__main__":
    sys.exit(main())
