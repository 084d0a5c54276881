"""``flow.py`` in a hurry: ``python hasty_flow.py SPEC.json`` with constants of modules set first.

The variable ``HASTE`` holds them as a JSON object: ``{"jobmon.distributor.watch.UNTOLD_SECONDS": 3}``.
"""

import json
import os
import sys
from importlib import import_module
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])

if __name__ == "__main__":
    import flow

    for path, value in json.loads(os.environ["HASTE"]).items():
        module, _, constant = path.rpartition(".")
        getattr(import_module(module), constant)  # it is there
        setattr(import_module(module), constant, value)
    flow.main()
