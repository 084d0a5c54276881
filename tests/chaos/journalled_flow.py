"""``python journalled_flow.py SPEC.json``: a control script that writes down what the server acknowledged to it.

The variable ``JOURNAL`` names the file; constants of modules are set as ``hasty_flow.py`` does.
"""

import os
import runpy
from pathlib import Path

from jobmon.core import requester
from jobmon.testing.journal import Journal, JournalingClient

_usual_client = requester._default_client
_journal = Journal(Path(os.environ["JOURNAL"]))


def _client(*arguments):
    return JournalingClient(_usual_client(*arguments), _journal)


if __name__ == "__main__":
    requester._default_client = _client
    faults = Path(__file__).resolve().parents[1] / "faults"
    runpy.run_path(str(faults / "hasty_flow.py"), run_name="__main__")
