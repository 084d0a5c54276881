"""``python -m jobmon_atpool.run_job PLACE SLOTS``: the process of one job. It waits for a slot and runs the command."""

from __future__ import annotations

import fcntl
import itertools
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

WAIT_SECONDS = 0.05


def take_slot(directory: Path, slots: int) -> IO[str]:
    """Wait for a slot; it is free again when the file is closed."""
    for number in itertools.cycle(range(slots)):
        slot = (directory / f"slot.{number}").open("w")
        try:
            fcntl.flock(slot, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            slot.close()
            time.sleep(WAIT_SECONDS / slots)
        else:
            return slot
    raise AssertionError("a pool has slots")


def main() -> int:
    """Run the job."""
    job, slots = Path(sys.argv[1]), int(sys.argv[2])
    with take_slot(job.parent.parent, slots):
        (job / "started").touch()
        exit_code = subprocess.call(["/bin/sh", "-c", (job / "command").read_text()])
        unfinished = job / "exit.part"
        unfinished.write_text(str(exit_code))
        unfinished.rename(job / "exit")
    return 0


if __name__ == "__main__":
    sys.exit(main())
